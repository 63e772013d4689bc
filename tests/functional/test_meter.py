"""`watt meter` on a real network whose slots last a second: every way in which a reading comes."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import Result

from tests.functional.metered import SLOT_S, VALIDATOR, Street, started_street

DEVICES = ("home-1/load", "home-1/pv", "home-2/load")


class Meters(Street):
    """`watt meter` on the network."""

    def meter(self, *words: str, by: str | None = None, offline: bool = False) -> Result:
        return self.run("meter", *words, by=by, offline=offline)

    def answer(self, *words: str, by: str | None = None, status: int = 0) -> Any:
        return self.json("meter", *words, by=by, status=status)

    def readings(self, *words: str, by: str | None = None) -> list[tuple[Any, ...]]:
        found = self.answer("readings", *words, by=by)["readings"]
        return [(row["revision"], row["state"], row["import_wh"], row["export_wh"]) for row in found]


@pytest.fixture(scope="module")
def meters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meters]:
    yield from started_street(Meters, tmp_path_factory.mktemp("meters"), DEVICES, 30 * SLOT_S)


def over(meters: Meters, slots: int) -> int:
    """Wait until so many slots are over since the first that was listed; the last of them but one, at least."""
    deadline = time.monotonic() + 60
    first = None
    while True:
        opened = [row["slot"] for row in meters.json("market", "products") if row["state"] == "OPEN"]
        if opened:
            first = min(opened) if first is None else first
            if min(opened) >= first + slots:
                return int(min(opened)) - 2
        assert time.monotonic() < deadline, opened
        time.sleep(0.2)


def test_every_way_in_which_a_reading_comes(meters: Meters) -> None:
    """One by one, a day, collected, corrected: and what holds at the end, with what it replaced."""
    load, pv, other = DEVICES
    first = over(meters, 3) - 1
    words = ["--import", "0.4kWh", "--export", "0", "--import-register", "100.4kWh", "--export-register", "0"]
    taken = meters.meter("report", load, str(first), *words, by=f"{load}.meter")
    assert "taken in block" in taken.stdout, taken.stderr
    refused = meters.meter("report", load, str(first), *words, by=f"{load}.meter")
    assert refused.exit_code == 1 and refused.stderr.startswith("watt: duplicate: this slot has this reading already")
    assert meters.meter("report", load, str(first + 1), *words, by=f"{pv}.meter").stderr.startswith("watt: wrong-key: ")

    rows = [(first, 401, 0, 100_401, 0), (first + 1, 10, 0, 100_410, 0), (first + 900, 0, 0, 100_410, 0)]
    path = meters.file("day.csv", rows)
    answer = meters.answer("day", load, path, by=f"{load}.meter", status=1)
    assert answer["taken"] == 1
    assert [(row["slot"], row["code"]) for row in answer["refused"]] == [
        (first, "conflict"),
        (first + 900, "no-product"),
    ]

    path = meters.file("pv.csv", [(first, 0, 700, 5, 9_700), (first + 1, 0, 50, 5, 9_750)])
    signed = meters.directory / "pv.signed"
    signed.write_text(meters.meter("sign", pv, path, by=f"{pv}.meter", offline=True).stdout)
    forged = meters.directory / "forged.signed"
    forged.write_text(meters.meter("sign", other, path, by=f"{pv}.meter", offline=True).stdout)
    answer = meters.answer("collect", str(signed), str(forged), by="club", status=1)
    assert answer["taken"] == 2 and {row["code"] for row in answer["refused"]} == {"bad-signature"}
    again = meters.answer("collect", str(signed), by="club")
    assert again["taken"] == 0 and [row["code"] for row in again["refused"]] == ["duplicate", "duplicate"]
    assert meters.meter("collect", str(signed), by="home-1").stderr.startswith("watt: not-allowed: ")

    path = meters.file("corrected.csv", [(first, 300, 0, 100_300, 0), (first + 1, 110, 0, 100_410, 0)])
    assert meters.answer("correct", load, path, by=f"{load}.meter")["changed"] == 2
    assert meters.readings(load, "--slot", str(first)) == [(1, "read", 300, 0), (0, "read", 400, 0)]
    refused = meters.meter("correct", load, path, by=f"{load}.meter")
    assert refused.stderr.startswith(f"watt: duplicate: slots {first} to {first + 1}: this slot has this reading")

    path = meters.file("feeder.csv", [(first, 1_000, 0, 1_000, 0), (first + 1, 60, 0, 1_060, 0)])
    assert meters.answer("feeder", path, by="feeder")["taken"] == 2
    path = meters.file("feeder.csv", [(first + 1, 61, 0, 1_061, 0)])
    assert meters.answer("feeder", path, "--correct", by="feeder")["changed"] == 1
    feeder = ("--feeder", "--slot", str(first + 1))
    assert meters.readings(*feeder, by=VALIDATOR) == [(1, "read", 61, 0), (0, "read", 60, 0)]
    assert "Readings of the feeder" in meters.meter("readings", *feeder, by=VALIDATOR).stdout
    for words in ([load, "--slot", str(first)], ["--feeder", "--slot", str(first + 1)]):
        proven = meters.answer("readings", *words, "--genesis", str(meters.genesis), by=VALIDATOR)
        assert proven.pop("proven").startswith("at block ")
        assert proven == meters.answer("readings", *words, "--trust-node", by=VALIDATOR)
    shown = meters.meter("readings", load, "--slot", str(first), "--genesis", str(meters.genesis)).stdout
    assert shown.splitlines()[-1].startswith("proven at block ")
    nowhere = ("readings", "home-9/load", "--slot", str(first), "--genesis", str(meters.genesis))
    for by, code in ((VALIDATOR, "unknown-device"), ("club", "not-allowed")):
        unknown = meters.meter(*nowhere, by=by)
        assert unknown.exit_code == 1 and unknown.stderr.startswith(f"watt: {code}: ")


def test_what_registers_show_of_lost_readings(meters: Meters) -> None:
    """A meter that was silent reports again: its estimates give way to what its registers show."""
    device = DEVICES[2]
    first = over(meters, 3)
    path = meters.file("first.csv", [(first, 0, 0, 1_000, 0)])
    assert meters.answer("day", device, path, by=f"{device}.meter")["taken"] == 1
    end = over(meters, 3)
    path = meters.file("end.csv", [(end, 0, 0, 1_000 + 100 * (end - first - 1), 0)])
    assert meters.answer("day", device, path, by=f"{device}.meter")["taken"] == 1
    deadline = time.monotonic() + 60
    while len(meters.readings(device, "--slot", str(first + 1))) < 2:
        assert time.monotonic() < deadline, "the last window of the gap ends some slots after its slot"
        time.sleep(0.3)
    assert meters.readings(device, "--slot", str(first + 1)) == [(1, "spread", 100, 0), (0, "estimated", 0, 0)]
