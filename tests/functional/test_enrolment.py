"""Devices that come, are lost and come back, on a real network: their keys change, and nothing else does."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from node.enrolment import read_code
from node.errors import RefusedError
from node.gateway.client import Client
from node.keyfile import PASSPHRASE_VARIABLE, TESTNET, load_key, save_key
from node.model.keys import Signer, generate_key
from node.setup import KEY_NAME
from node.signer import save_external
from testnet.cluster import Cluster, last_line
from testnet.genesis import PASSPHRASE_NAME
from testnet.neighbourhood import KEYS_NAME
from tests.functional.trading import Device, device

EV = "home-3/ev"


class Street:
    """A network, the passphrase of its keys, and commands against it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.keys = cluster.network.directory / KEYS_NAME
        self.passphrase = (self.keys / PASSPHRASE_NAME).read_text().strip()
        self.said: list[str] = []
        """All that commands have printed."""

    def run(self, *words: str, key: str | Path = "", stdin: str = "", home: Path | None = None) -> Result:
        """``home``: the wallet's home that names the gateways, in place of the environment."""
        signing = ["--key", str(self.keys / f"{key}.json" if isinstance(key, str) else key)] if key else []
        env: dict[str, str | None] = {PASSPHRASE_VARIABLE: self.passphrase}
        env["WATT_NODE"] = " ".join(self.cluster.network.gateways) if home is None else None
        env |= {} if home is None else {"WATT_WALLET": str(home)}
        result = CliRunner().invoke(main, [*words, *signing], env=env, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        self.said.append(result.output)
        return result

    def done(self, *words: str, key: str | Path = "", stdin: str = "", home: Path | None = None) -> Any:
        """The JSON of a command that must succeed."""
        result = self.run(*words, "--json", key=key, stdin=stdin, home=home)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def key(self, path: Path) -> Signer:
        return load_key(path, self.passphrase)

    def ask(self, reader: Signer, contract: str, method: str, **args: Any) -> Any:
        async def use() -> Any:
            async with Client(self.cluster.network.gateways, reader) as client:
                return await client.query(contract, method, args)

        return asyncio.run(use())

    def order(self, name: str, key: Signer) -> tuple[str, str, Any]:
        """What becomes of an order for ``name`` that ``key`` signs: the state, the code, and what it returned."""
        trader = Device(self.cluster.network.directory, name) if name == EV else device(self.cluster, "home-3/load")
        trader.id, trader.key = name, key  # type: ignore[assignment]

        async def use() -> tuple[str, str, Any]:
            async with Client(self.cluster.network.gateways, key) as client:
                raw = await trader.order(client)
                try:
                    status = await client.wait(await client.submit(raw))
                except RefusedError as error:
                    return "refused", error.code, None
                return status.state, status.code, status.result

        return asyncio.run(use())


@pytest.fixture(scope="module")
def street(own_network: Cluster) -> Street:
    return Street(own_network)


def test_a_lost_car_is_enrolled_again_and_trades_on(street: Street, tmp_path: Path) -> None:
    """Its owner resets the key; the thief's key is worth nothing; the new one has the funds and the order of before."""
    old, owner = street.key(street.keys / "home-3.ev.json"), street.key(street.keys / "home-3.json")
    state, code, placed = street.order(EV, old)
    assert (state, code) == ("committed", "ok")
    before = street.ask(owner, "market", "order", order=placed)
    code_file = tmp_path / "code"
    home, genesis = tmp_path / "wallet", street.cluster.network.directory / "genesis.json"
    street.done("wallet", "init", "--wallet", str(home), "--genesis", str(genesis))
    told = street.done("wallet", "reset-key", EV, "--yes", "--code-file", str(code_file), key="home-3", home=home)
    assert read_code(code_file.read_text()).gateways == tuple(street.cluster.network.gateways), "those of the home"
    assert "code" not in told and (code_file.stat().st_mode & 0o777) == 0o600
    assert street.order(EV, old)[:2] in {("refused", "unknown-sender"), ("committed", "wrong-key")}
    lost = street.run("wallet", "orders", EV, key="home-3.ev", home=home)
    assert lost.stderr.startswith("watt: unknown-sender: ") and "reset" in lost.stderr

    out = tmp_path / "ev.key"
    words = ("wallet", "enrol", "--out", str(out), "--code-file", str(code_file))
    made = street.done(*words)
    assert (made["kind"], made["name"]) == ("device", EV)
    new = street.key(out)
    assert made["public_key"] == new.public_key.hex()
    assert street.order(EV, new)[:2] == ("committed", "ok")
    assert street.ask(owner, "market", "order", order=placed) == before, "what was ordered before is still open"
    assert street.done(*words) == made, "run again after an interruption, it says that it is done"

    used = street.run("wallet", "enrol", "--out", str(tmp_path / "thief.key"), "--code-file", str(code_file))
    assert used.exit_code == 1 and used.stderr.startswith("watt: code-used: ")
    assert not (tmp_path / "thief.key").exists()
    secret = read_code(code_file.read_text())
    for said in street.said:
        assert code_file.read_text().strip() not in said and secret.seed.hex() not in said


def test_a_new_device_comes_with_a_code(street: Street, tmp_path: Path) -> None:
    """Registered by the member without a key; the code is read from standard input, as a scanner would type it."""
    name = "home-3/charger"
    words = ["admin", "device", "enrol", name, "--network", "home-3", "--kind", "charger", "--import-w", "7000"]
    save_key(tmp_path / "meter.key", generate_key(), street.passphrase, TESTNET)
    utility = street.key(street.keys / "utility.json").public_key.hex()
    chain = street.cluster.network.genesis.chain.hex()
    prove = ["keys", "prove", name, "--kind", "meter", "--by", utility, "--chain", chain]
    words += ["--meter-key", street.run(*prove, key=tmp_path / "meter.key").stdout.strip(), "--bus", "bus-3"]
    assert street.run(*words, "--json", key="utility").exit_code == 2, "who would see the code?"
    shown = street.run(*words, key="utility")
    assert shown.exit_code == 0, shown.output
    code = next(line for line in shown.stdout.splitlines() if line.startswith("WATT1"))
    out = tmp_path / "charger.key"
    wrong = code[:50] + ("A" if code[50] != "A" else "B") + code[51:]
    bad = street.run("wallet", "enrol", "--out", str(out), stdin=wrong)
    assert bad.exit_code == 1 and bad.stderr.startswith("watt: bad-code: ") and wrong not in bad.output
    street.done("wallet", "enrol", "--out", str(out), stdin=f" {code[:40].lower()}\n{code[40:]}\n")
    made = street.key(out)
    uses = street.ask(made, "identity", "whoami", key=made.public_key)
    assert uses == (("device", name),)
    seed = read_code(code).seed.hex()
    for path in street.cluster.network.directory.rglob("*"):
        if path.is_file() and path.suffix in (".log", ".txt", ".json"):
            assert code not in path.read_text(errors="replace") and seed not in path.read_text(errors="replace")


def test_a_key_that_another_program_holds_takes_over(street: Street, tmp_path: Path) -> None:
    """The load rotates its own key to one that a signer signs with, and back; what has the key already is told so."""
    sealed, external = tmp_path / "sealed.json", tmp_path / "external.json"
    key = generate_key()
    save_key(sealed, key, street.passphrase, TESTNET)
    (tmp_path / "passphrase").write_text(street.passphrase)
    command = [*signer_command(), "--key", str(sealed), "--passphrase-file", str(tmp_path / "passphrase")]
    named = street.run("keys", "external", "--out", str(external), "--", *command)
    assert named.stdout.strip() == key.public_key.hex(), named.output
    street.done("wallet", "rotate-key", "home-3/load", "--new-key", str(external), key="home-3.load")
    before = street.key(street.keys / "home-3.load.json")
    assert street.order("home-3/load", before)[1] in {"unknown-sender", "wrong-key"}
    again = street.run("wallet", "rotate-key", "home-3/load", "--new-key", str(sealed), key=external)
    assert again.exit_code == 1 and "no-change" in again.stderr
    street.done("wallet", "rotate-key", "home-3/load", "--new-key", str(street.keys / "home-3.load.json"), key=external)
    assert street.order("home-3/load", before)[:2] == ("committed", "ok")


def test_a_node_votes_with_a_key_that_another_program_holds(street: Street) -> None:
    """Three of four are needed: it is one of them. When its signer dies it stops, and says why."""
    cluster = street.cluster
    first, *_, last = cluster.network.nodes
    cluster.stop(last)
    key, sealed = last.directory / KEY_NAME, last.directory / "sealed.json"
    key.rename(sealed)
    words = [*signer_command(), "--key", str(sealed), "--passphrase-file", str(last.directory / PASSPHRASE_NAME)]
    save_external(key, words)
    cluster.start(last)
    cluster.wait_ready()
    cluster.stop(first)
    assert street.order("home-3/load", street.key(street.keys / "home-3.load.json"))[:2] == ("committed", "ok")
    pid = cluster.pid(last)
    assert pid is not None
    (signer,) = _children(pid, "signer")
    os.kill(signer, 9)
    end = time.monotonic() + 20
    while cluster.pid(last) is not None and time.monotonic() < end:
        time.sleep(0.1)
    assert cluster.pid(last) is None and "signer-failed" in last_line(last)


def signer_command() -> list[str]:
    return [sys.executable, "-m", "cli.main", "keys", "signer", "file"]


def _children(pid: int, word: str) -> Sequence[int]:
    """The processes that ``pid`` has started whose command line has ``word`` in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and word in (entry / "cmdline").read_text().split("\0"):
                found.append(int(entry.name))
    return found
