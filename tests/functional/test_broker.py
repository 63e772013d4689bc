"""A street's brokers on real nodes, where a half-hour slot takes three seconds: they trade, are killed and come back,
lose every gateway and find them again, and say why they did what they did."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from node.keyfile import TESTNET, load_key, save_key
from testnet.cluster import Cluster, last_line
from testnet.genesis import GENESIS_NAME, PASSPHRASE_NAME, free_ports
from testnet.neighbourhood import HOMES, KEYS_NAME, build_neighbourhood, fund

SCALE = 600
ORIGIN = 1_497_571_200 + 9 * 3600
"""A morning in June."""
MARKET = {"tick_s": 300, "metering_window_s": 1800, "outage_s": 86_400}
TABLES = {
    "home-1": "[panels]\npeak_w = 6000\n",
    "home-2": "[battery]\ncapacity_wh = 6400\n",
    "home-3": '[vehicle]\ncapacity_wh = 20000\nleaves = "21:30"\narrives = "08:30"\nkm_a_day = 100\n',
}


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Four nodes, three homes with their budgets."""
    directory = tmp_path_factory.mktemp("street")
    network = build_neighbourhood(
        directory / "net", nodes=4, base_port=None, time_scale=SCALE, time_origin=ORIGIN, market=MARKET
    )
    cluster = Cluster(network)
    try:
        cluster.start_all()
        cluster.wait_ready()
        asyncio.run(fund(network))
        yield cluster
    finally:
        cluster.stop_all()
        for node in network.nodes:
            print(node.name, last_line(node))  # shown by pytest if a test failed


class Brokers:
    """The sites' files, and one process that trades for them."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "broker.log"
        self.process: subprocess.Popen[bytes] | None = None
        (self.dead,) = free_ports(1)
        keys = cluster.network.directory / KEYS_NAME
        shutil.copy(cluster.network.directory / GENESIS_NAME, directory / GENESIS_NAME)
        shutil.copy(keys / PASSPHRASE_NAME, directory / PASSPHRASE_NAME)
        for home in TABLES:
            shutil.copy(keys / f"{home}.json", directory / f"{home}.json")
            (directory / f"{home}.toml").write_text(self.text(cluster, home))

    def text(self, cluster: Cluster, home: str) -> str:
        """home-3 names the ledger by its id alone, so its broker cannot know how fast block time runs."""
        chain = cluster.network.genesis.chain.hex()
        ledger = f'chain = "{chain}"' if home == "home-3" else f'genesis = "{GENESIS_NAME}"'
        gateways = json.dumps([f"127.0.0.1:{self.dead}", *cluster.network.gateways[home == "home-3" :]])
        return (
            f'network = "{home}"\ngateways = {gateways}\n{ledger}\nkey_file = "{home}.json"\n'
            f'passphrase_file = "{PASSPHRASE_NAME}"\njournal = "{home}"\nsetpoints_file = "{home}.setpoints.json"\n'
            f"decide_every = 600\npoll_ms = 100\n{TABLES[home]}"
        )

    def start(self) -> None:
        command = [sys.executable, "-m", "cli.main", "broker", "run", "--config", str(self.directory)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(15)

    def until(self, done: Callable[[], bool], seconds: float = 25) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert self.process is not None and self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)

    def entries(self, home: str, kind: str) -> list[dict[str, Any]]:
        lines = [
            line for path in sorted((self.directory / home).glob("*.log")) for line in path.read_text().splitlines()
        ]
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [entry for entry in found if entry["kind"] == kind]

    def explain(self, home: str, *words: str) -> Result:
        config = ["--config", str(self.directory / f"{home}.toml")]
        return CliRunner().invoke(main, ["broker", "explain", *config, *words])


@pytest.fixture
def brokers(street: Cluster, tmp_path: Path) -> Iterator[Brokers]:
    found = Brokers(street, tmp_path)
    yield found
    if found.process is not None and found.process.poll() is None:
        found.process.kill()
        found.process.wait()


def _wanted(decisions: list[dict[str, Any]]) -> dict[int, tuple[int, int]]:
    """By slot the least and the most that the home would hold if all was filled that a decision wished for."""
    wanted: dict[int, tuple[int, int]] = {}
    for slot in (slot for decision in decisions for slot in decision["slots"]):
        sums = {side: sum(wish[2] for wish in slot["wishes"] if wish[1] == side) for side in ("buy", "sell")}
        least, most = wanted.get(slot["slot"], (0, 0))
        low, high = slot["position"] - sums["sell"], slot["position"] + sums["buy"]
        wanted[slot["slot"]] = min(least, low), max(most, high)
    return wanted


async def _positions(street: Cluster, home: str, slots: list[int]) -> dict[int, int]:
    """What the home has contracted, bought minus sold, as the ledger has it."""
    found: dict[int, int] = {}
    async with street.network.client() as client:
        for slot in slots:
            for kind in HOMES[home]:
                match await client.query("market", "position", {"device": f"{home}/{kind}", "slot": slot}):
                    case (_, _, int(bought), int(sold), *_):
                        found[slot] = found.get(slot, 0) + bought - sold
    return found


def test_a_street_trades_is_killed_and_comes_back(street: Cluster, brokers: Brokers) -> None:
    """The first gateway does not exist, then the one in use is killed, then the brokers themselves."""
    brokers.start()
    brokers.until(lambda: bool(brokers.entries("home-1", "fill")) and bool(brokers.entries("home-3", "fill")))
    victim = street.network.nodes[0]
    street.kill(victim)
    before = len(brokers.entries("home-2", "decision"))
    brokers.until(lambda: len(brokers.entries("home-2", "decision")) > before)
    street.start(victim)
    assert brokers.end(signal.SIGKILL) == -signal.SIGKILL
    decided = {home: len(brokers.entries(home, "decision")) for home in TABLES}
    brokers.start()
    brokers.until(lambda: all(len(brokers.entries(home, "decision")) > decided[home] + 1 for home in TABLES))
    assert brokers.end() == 0
    refused = [entry["code"] for home in TABLES for entry in brokers.entries(home, "refused")]
    assert set(refused) <= {"closed-product", "duplicate", "not-open", "expired", "nonce-used", "over-budget"}, refused

    clocks = {home: [entry["words"] for entry in brokers.entries(home, "said")] for home in TABLES}
    assert any("s ahead of the ledger's: block time is used" in words for words in clocks["home-3"])
    assert not any("clock" in words for words in clocks["home-1"])
    for home in TABLES:  # nothing was ordered twice: each home stands where some decision of its own wanted it
        wanted = _wanted(brokers.entries(home, "decision"))
        stands = asyncio.run(_positions(street, home, sorted(wanted)))
        for slot, (least, most) in wanted.items():
            assert least <= stands.get(slot, 0) <= most, (home, slot)
        filled = {fill["slot"] for fill in brokers.entries(home, "fill")}
        assert filled <= set(stands)

    told = brokers.explain("home-1", "--last", "3")
    assert told.exit_code == 0, told.output
    for words in ("home-1, slot ", "forecast  load ", "prices    utility 1.000 / 0.300", "a standard day stands in"):
        assert words in told.output
    assert "to sell" in told.output and "for home-1/pv" in told.output and "own sun" in told.output
    story = json.loads(brokers.explain("home-3", "--json", "--last", "1").output)[0]
    assert story["decisions"][-1]["vehicle"]["value"] > 0
    assert brokers.explain("home-3", "--slot", "7").output.startswith("watt: unknown-slot: ")
    setpoint = json.loads((brokers.directory / "home-2.setpoints.json").read_text())
    assert setpoint["site"] == "home-2" and set(setpoint["devices"]) == {"home-2/battery"}
    assert setpoint["until"] == (setpoint["slot"] + 1) * 1800 and setpoint["devices"]["home-2/battery"]["why"]


def test_all_gateways_go_and_come_back(street: Cluster, brokers: Brokers) -> None:
    """The broker waits, says so, and trades on; it keeps what it ordered out of the journal's sight nowhere."""
    brokers.start()
    brokers.until(lambda: bool(brokers.entries("home-1", "sent")))
    for node in street.network.nodes:
        street.kill(node)
    brokers.until(lambda: "no gateway answers" in brokers.log.read_text())
    decided = len(brokers.entries("home-1", "decision"))
    street.start_all()
    brokers.until(lambda: len(brokers.entries("home-1", "decision")) > decided + 1, 40)
    said = [entry["words"] for entry in brokers.entries("home-1", "said") if entry["concern"] == "gateways"]
    assert said[0].startswith("no gateway answers") and said[-1] == ""
    second = CliRunner().invoke(main, ["broker", "run", "--config", str(brokers.directory / "home-1.toml")])
    assert second.exit_code == 1 and second.stderr.endswith(
        f"another broker keeps its journal in {brokers.directory / 'home-1'}\n"
    )
    assert brokers.end() == 0


def test_what_cannot_start_says_why(street: Cluster, brokers: Brokers) -> None:
    path = brokers.directory / "home-1.toml"
    good = path.read_text()
    passphrase = (brokers.directory / PASSPHRASE_NAME).read_text().strip()
    for name, whose in (("stranger.json", "home-2.json"), ("utility.json", "utility.json")):
        key = load_key(street.network.directory / KEYS_NAME / whose, passphrase)
        save_key(brokers.directory / name, key, passphrase, TESTNET)
    (utilitys := brokers.directory / "utilitys.toml").write_text(
        good.replace('"home-1"', '"home-9"', 1).replace("home-1.json", "utility.json", 1)
    )
    unknown = CliRunner().invoke(main, ["broker", "run", "--config", str(utilitys)])
    assert unknown.exit_code == 1 and unknown.stderr.splitlines()[-1].startswith("watt: unknown-network: ")
    for old, new, code in (
        ('network = "home-1"', 'network = "home-9"', "wrong-key"),
        ('key_file = "home-1.json"', 'key_file = "stranger.json"', "wrong-key"),
        ('key_file = "home-1.json"', 'key_file = "nowhere.json"', "no-key-file"),
        (f'genesis = "{GENESIS_NAME}"', f'chain = "{"ab" * 32}"', "wrong-network"),
        ("[panels]", "[battery]\ncapacity_wh = 5\n[panels]", "bad-site"),
        ("decide_every = 600", "decide_evry = 600", "bad-config"),
        ("decide_every = 600", 'history_file = "home-1.toml"', "bad-history"),
    ):
        path.write_text(good.replace(old, new, 1))
        result = CliRunner().invoke(main, ["broker", "run", "--config", str(path)])
        assert result.exit_code == 1 and result.stderr.splitlines()[-1].startswith(f"watt: {code}: "), result.output
