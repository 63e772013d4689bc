"""Attacker: another user or program of a machine on which a node runs or a wallet is used, and whoever reads its logs.

It sees lists of processes, logs, what commands print when they go wrong, and core files that are left lying about. None
of them holds a passphrase, a seed or a private key; and logs name no person or device. What it sees there, ids of
transactions and public keys, it can ask a gateway about, and is told nothing.
"""

import asyncio
import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.control import LogLevel, ask
from node.errors import RefusedError
from node.gateway.client import Client
from node.gateway.service import UNKNOWN_S
from node.keyfile import KIND_TLS_KEY, load_key, unseal
from node.model.keys import generate_key
from node.setup import TLS_KEY_NAME
from testnet.cluster import LOG_NAME, Cluster
from testnet.genesis import NetworkNode
from testnet.neighbourhood import KEYS_NAME
from tests.functional.test_faults import all_level, trade, until
from tests.functional.trading import Device, device

WRONG = "a passphrase that is not the one"


@pytest.fixture(scope="module")
def talkative(own_network: Cluster) -> Iterator[Cluster]:
    """A network whose nodes log all that they can."""
    for node in own_network.network.nodes:
        ask(node.config.path(node.config.data_dir), LogLevel(level="debug"))
    yield own_network


def passphrase(cluster: Cluster, directory: Path) -> str:
    return (directory / "passphrase").read_text("utf-8").strip()


def secrets(cluster: Cluster) -> list[bytes]:
    """Every secret of the network: passphrases, seeds and TLS keys, in each form in which they may be written."""
    raw: list[bytes] = []
    words: list[bytes] = [WRONG.encode()]
    directories = [node.directory for node in cluster.network.nodes] + [cluster.network.directory / KEYS_NAME]
    for directory in directories:
        opening = passphrase(cluster, directory)
        words.append(opening.encode())
        for path in directory.glob("*.json"):
            if path.name == TLS_KEY_NAME:
                words += [line for line in unseal(path, KIND_TLS_KEY, opening).splitlines() if len(line) > 40]
            elif b'"kind": "ed25519"' in path.read_bytes():
                raw.append(load_key(path, opening).seed)
    assert len(raw) > 10 and len(words) > 5
    return words + [
        form for seed in raw for form in (seed, seed.hex().encode(), base64.b64encode(seed), repr(seed)[2:-1].encode())
    ]


def assert_hides(cluster: Cluster, text: bytes, where: str) -> None:
    for secret in secrets(cluster):
        assert secret not in text, f"{where} holds a secret"


def watt(cluster: Cluster, *words: str, **environment: str) -> tuple[int, bytes, bytes]:
    """A wallet's command in a process: its exit status, all that it prints, and its command line as others see it."""
    child = subprocess.Popen(
        [sys.executable, "-X", "dev", "-m", "cli.main", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "WATT_NODE": cluster.network.gateways[0], **environment},
    )
    line = Path(f"/proc/{child.pid}/cmdline").read_bytes()
    said, _ = child.communicate(timeout=60)
    return child.returncode, said, line


def test_logs_at_their_most_talkative_hold_no_secret_and_no_name(talkative: Cluster) -> None:
    who = device(talkative, "home-1/load")
    asyncio.run(trade(talkative, who, 3))
    key = talkative.network.directory / KEYS_NAME / "home-1.load.json"
    watt(talkative, "wallet", "cancel", "00" * 32, "--key", str(key), WATT_PASSPHRASE=WRONG)
    for node in talkative.network.nodes:
        log = (node.directory / LOG_NAME).read_bytes()
        assert b"executed tx=" in log
        assert_hides(talkative, log, f"the log of {node.name}")
        assert b"home-1" not in log and who.key.public_key.hex().encode() not in log


def test_whoever_knows_an_id_or_a_key_from_a_log_is_not_told_when_its_holder_was_active(talkative: Cluster) -> None:
    """Checklist 4. Of a grant and of an order alike; the refusals are those of an id and a key that nobody has."""
    owner = Device(talkative.network.directory, "home-1")
    friend, neighbour = generate_key(), device(talkative, "home-3/load")
    genesis, gateway = talkative.network.genesis, talkative.network.gateways[1]

    async def scenario() -> None:
        async with Client(gateway, owner.key, chain=genesis.chain) as client:
            until = (await client.node_info()).now + 3600
            grant = {"kind": "network", "name": "home-1", "reader": friend.public_key, "until": until}
            raw = await owner.sign(client, "grants", "grant", grant | {"classes": ["market", "budget"]})
            tx_id = await client.submit(raw)
            assert (await client.wait(tx_id)).code == "ok"
            assert await client.nonce(owner.key.public_key) > 0
        log = (talkative.network.nodes[1].directory / LOG_NAME).read_bytes()
        assert tx_id.hex().encode()[:8] in log, "that is where a neighbour reads it"
        strangers = (None, "sign-first"), (friend, "not-allowed"), (neighbour.key, "not-allowed")
        for reader, code in strangers:
            async with Client(gateway, reader, chain=genesis.chain) as client:
                began = time.monotonic()
                assert await client.status(tx_id) == await client.status(bytes(32))
                assert time.monotonic() - began >= 2 * UNKNOWN_S, "not when the block has been read, but as late as any"
                for key in (owner.key.public_key, device(talkative, "home-1/load").key.public_key, bytes(32)):
                    with pytest.raises(RefusedError) as caught:
                        await client.nonce(key)
                    assert caught.value.code == code
        async with Client(gateway, neighbour.key, chain=genesis.chain) as client:
            began = time.monotonic()
            with pytest.raises(RefusedError, match="timed-out"):
                await client.wait(tx_id, 0.5)
            assert time.monotonic() - began >= 0.5
            assert await client.nonce(neighbour.key.public_key) >= 0

    asyncio.run(scenario())


def test_what_a_wallet_prints_and_its_command_line_hold_no_secret(talkative: Cluster) -> None:
    keys = talkative.network.directory / KEYS_NAME
    key, opening = str(keys / "home-1.json"), passphrase(talkative, keys)
    tries: list[tuple[int, tuple[str, ...], str]] = [
        (1, ("wallet", "balance", "home-1/load", "--trust-node", "--key", key), WRONG),
        (0, ("wallet", "balance", "home-1/load", "--trust-node", "--key", key), opening),
        (1, ("wallet", "grant", "999", "--key", key), opening),
        (1, ("wallet", "cancel", "00" * 32, "--key", str(talkative.network.directory / "genesis.json")), opening),
        (0, ("wallet", "balance", "home-1/load", "--trust-node", "--json", "--key", key), opening),
    ]
    for status, words, word in tries:
        code, said, line = watt(talkative, *words, WATT_PASSPHRASE=word)
        assert code == status or (status == 1 and code in (1, 2)), said
        assert_hides(talkative, said, " ".join(words))
        assert_hides(talkative, line, "the list of processes")


def test_the_list_of_processes_shows_no_secret_of_a_node(talkative: Cluster) -> None:
    for node in talkative.network.nodes:
        pid = talkative.pid(node)
        assert pid is not None
        for process in [pid, *_children(pid)]:
            assert_hides(talkative, Path(f"/proc/{process}/cmdline").read_bytes(), "a node's command line")


def test_files_of_a_node_hold_no_secret_unsealed(talkative: Cluster) -> None:
    """A thief of the disk, who has the passphrase file apart: keys lie sealed, and in no other file of the node."""
    for node in talkative.network.nodes:
        seed = load_key(node.config.path(node.config.key_file), passphrase(talkative, node.directory)).seed
        for path in node.directory.rglob("*"):
            if path.is_file() and path.name != "passphrase":
                data = path.read_bytes()
                assert seed not in data and seed.hex().encode() not in data, path
                assert b"PRIVATE KEY" not in data, path


def test_another_user_of_the_machine_reads_nothing_that_a_node_stores(talkative: Cluster) -> None:
    """State and blocks hold everybody's readings. The umask of whoever starts a node by hand is mostly 022."""
    for node in talkative.network.nodes:
        data = node.config.path(node.config.data_dir)
        files = [path for path in data.rglob("*") if path.is_file()]
        assert len(files) > 5
        assert not [path for path in files if path.stat().st_mode & 0o077]


def test_a_node_that_crashes_leaves_no_core_file(talkative: Cluster) -> None:
    victim = talkative.network.nodes[3]
    before = _cores(victim)
    pid = talkative.pid(victim)
    assert pid is not None
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert limits.split("Max core file size")[1].split()[:2] == ["0", "0"]
    os.kill(pid, signal.SIGABRT)
    talkative.wait_end(victim)
    assert _cores(victim) == before
    talkative.start(victim)
    until(lambda: all_level(talkative), "the node is not back")


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def _cores(node: NetworkNode) -> set[Path]:
    places = (Path.cwd(), node.directory, Path("/tmp"), Path("/var/crash"))
    return {path for place in places if place.is_dir() for path in place.glob("core*") if path.is_file()}
