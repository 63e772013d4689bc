"""`watt meter` on a real network whose slots last a second: every way in which a reading comes."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from node.keyfile import TESTNET, save_key
from node.model.codec import sha256
from node.model.keys import SigningKey
from testnet.cluster import Cluster, last_line
from testnet.genesis import GENESIS_NAME, build_network

SLOT_S = 60
START = 1_700_000_000 // SLOT_S * SLOT_S
PASSPHRASE = "secret"
DEVICES = ("home-1/load", "home-1/pv", "home-2/load")


def key(name: str) -> SigningKey:
    """One of the network's keys."""
    return SigningKey(sha256(b"meter test", name.encode()))


def public(name: str) -> str:
    return key(name).public_key.hex()


class Meters:
    """`watt meter` on the network."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.node = cluster.network.gateways[0]
        self.genesis = cluster.network.directory / GENESIS_NAME
        self.directory = directory

    def run(self, *words: str, by: str | None = None, offline: bool = False) -> Result:
        signing = []
        if by is not None:
            path = self.directory / f"{by.replace('/', '-')}.json"
            if not path.exists():
                save_key(path, key(by), PASSPHRASE, TESTNET)
            signing = ["--key", str(path)]
        where = ["--genesis", str(self.genesis)] if offline else ["--node", self.node]
        return CliRunner().invoke(main, ["meter", *words, *where, *signing], env={"WATT_PASSPHRASE": PASSPHRASE})

    def json(self, *words: str, by: str | None = None, status: int = 0) -> Any:
        result = self.run(*words, "--json", by=by)
        assert result.exit_code == status, result.output
        return json.loads(result.stdout)

    def file(self, name: str, rows: list[tuple[int, int, int, int, int]]) -> str:
        path = self.directory / name
        lines = [",".join(str(cell) for cell in row) for row in rows]
        path.write_text("\n".join(["slot,import,export,import_register,export_register", *lines, ""]))
        return str(path)

    def readings(self, *words: str) -> list[tuple[Any, ...]]:
        found = self.json("readings", *words)["readings"]
        return [(row["revision"], row["state"], row["import_wh"], row["export_wh"]) for row in found]


@pytest.fixture(scope="module")
def meters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meters]:
    contracts: dict[str, Any] = {
        "grid": {"root": "t", "lines": [], "feeder_meter": public("feeder")},
        "identity": {
            "members": [["club", public("club"), ["aggregator"]], ["utility", public("utility"), ["utility"]]],
            "networks": [[network, "club", public(network), "t"] for network in ("home-1", "home-2")],
            "devices": [
                [name, name[:6], name[7:], public(name), public(f"{name}.meter"), "t", 60_000, 60_000, False, False]
                for name in DEVICES
            ],
        },
        "budget": {"period_slots": 1_440},
        "market": {
            "tariffs": [[0, 100, 20]],
            "slot_seconds": SLOT_S,
            "open_before_s": 2 * SLOT_S,
            "gate_before_end_s": 10,
            "metering_window_s": 30 * SLOT_S,
            "dispute_window_s": 86_400,
            "outage_s": 86_400,
        },
    }
    directory = tmp_path_factory.mktemp("meters")
    network = build_network(
        directory / "net", contracts, base_port=None, time_scale=SLOT_S, time_origin=START, name="meters"
    )
    cluster = Cluster(replace(network, nodes=network.nodes[:3]))
    try:
        cluster.start_all()
        cluster.wait_ready()
        yield Meters(cluster, directory)
    finally:
        cluster.stop_all()
        for node in cluster.network.nodes:
            print(node.name, last_line(node))  # shown by pytest if a test failed


def over(meters: Meters, slots: int) -> int:
    """Wait until so many slots are over since the first that was listed; the last of them but one, at least."""
    deadline = time.monotonic() + 60
    first = None
    while True:
        result = CliRunner().invoke(main, ["market", "products", "--node", meters.node, "--json"])
        opened = [row["slot"] for row in json.loads(result.stdout) if row["state"] == "OPEN"]
        if opened:
            first = min(opened) if first is None else first
            if min(opened) >= first + slots:
                return int(min(opened)) - 2
        assert time.monotonic() < deadline, result.output
        time.sleep(0.2)


def test_every_way_in_which_a_reading_comes(meters: Meters) -> None:
    """One by one, a day, collected, corrected: and what holds at the end, with what it replaced."""
    load, pv, other = DEVICES
    first = over(meters, 3) - 1
    words = ["--import", "0.4kWh", "--export", "0", "--import-register", "100.4kWh", "--export-register", "0"]
    taken = meters.run("report", load, str(first), *words, by=f"{load}.meter")
    assert "taken in block" in taken.stdout, taken.stderr
    refused = meters.run("report", load, str(first), *words, by=f"{load}.meter")
    assert refused.exit_code == 1 and refused.stderr.startswith("watt: duplicate: this slot has this reading already")
    assert meters.run("report", load, str(first + 1), *words, by=f"{pv}.meter").stderr.startswith("watt: wrong-key: ")

    rows = [(first, 401, 0, 100_401, 0), (first + 1, 10, 0, 100_410, 0), (first + 900, 0, 0, 100_410, 0)]
    path = meters.file("day.csv", rows)
    answer = meters.json("day", load, path, by=f"{load}.meter", status=1)
    assert answer["taken"] == 1
    assert [(row["slot"], row["code"]) for row in answer["refused"]] == [
        (first, "conflict"),
        (first + 900, "no-product"),
    ]

    path = meters.file("pv.csv", [(first, 0, 700, 5, 9_700), (first + 1, 0, 50, 5, 9_750)])
    signed = meters.directory / "pv.signed"
    signed.write_text(meters.run("sign", pv, path, by=f"{pv}.meter", offline=True).stdout)
    forged = meters.directory / "forged.signed"
    forged.write_text(meters.run("sign", other, path, by=f"{pv}.meter", offline=True).stdout)
    answer = meters.json("collect", str(signed), str(forged), by="club", status=1)
    assert answer["taken"] == 2 and {row["code"] for row in answer["refused"]} == {"bad-signature"}
    again = meters.json("collect", str(signed), by="club")
    assert again["taken"] == 0 and [row["code"] for row in again["refused"]] == ["duplicate", "duplicate"]
    assert meters.run("collect", str(signed), by="home-1").stderr.startswith("watt: not-allowed: ")

    path = meters.file("corrected.csv", [(first, 300, 0, 100_300, 0), (first + 1, 110, 0, 100_410, 0)])
    assert meters.json("correct", load, path, by=f"{load}.meter")["changed"] == 2
    assert meters.readings(load, "--slot", str(first)) == [(1, "read", 300, 0), (0, "read", 400, 0)]
    refused = meters.run("correct", load, path, by=f"{load}.meter")
    assert refused.stderr.startswith(f"watt: duplicate: slots {first} to {first + 1}: this slot has this reading")

    path = meters.file("feeder.csv", [(first, 1_000, 0, 1_000, 0), (first + 1, 60, 0, 1_060, 0)])
    assert meters.json("feeder", path, by="feeder")["taken"] == 2
    path = meters.file("feeder.csv", [(first + 1, 61, 0, 1_061, 0)])
    assert meters.json("feeder", path, "--correct", by="feeder")["changed"] == 1
    assert meters.readings("--feeder", "--slot", str(first + 1)) == [(1, "read", 61, 0), (0, "read", 60, 0)]
    assert "Readings of the feeder" in meters.run("readings", "--feeder", "--slot", str(first)).stdout
    for words in ([load, "--slot", str(first)], ["--feeder", "--slot", str(first + 1)]):
        proven = meters.json("readings", *words, "--genesis", str(meters.genesis))
        assert proven.pop("proven").startswith("at block ") and proven == meters.json("readings", *words)
    shown = meters.run("readings", load, "--slot", str(first), "--genesis", str(meters.genesis)).stdout
    assert shown.splitlines()[-1].startswith("proven at block ")
    unknown = meters.run("readings", "home-9/load", "--slot", str(first), "--genesis", str(meters.genesis))
    assert unknown.exit_code == 1 and unknown.stderr.startswith("watt: unknown-device: ")


def test_what_registers_show_of_lost_readings(meters: Meters) -> None:
    """A meter that was silent reports again: its estimates give way to what its registers show."""
    device = DEVICES[2]
    first = over(meters, 3)
    path = meters.file("first.csv", [(first, 0, 0, 1_000, 0)])
    assert meters.json("day", device, path, by=f"{device}.meter")["taken"] == 1
    end = over(meters, 3)
    path = meters.file("end.csv", [(end, 0, 0, 1_000 + 100 * (end - first - 1), 0)])
    assert meters.json("day", device, path, by=f"{device}.meter")["taken"] == 1
    deadline = time.monotonic() + 60
    while len(meters.readings(device, "--slot", str(first + 1))) < 2:
        assert time.monotonic() < deadline, "the last window of the gap ends some slots after its slot"
        time.sleep(0.3)
    assert meters.readings(device, "--slot", str(first + 1)) == [(1, "spread", 100, 0), (0, "estimated", 0, 0)]
