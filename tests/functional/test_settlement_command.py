"""Settlement on a real network whose slots last a second: a correction, the feeder's losses, rent, what is parked."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chaincode.settlement_ledger import Entry, Settled
from node.gateway.client import Client
from tests.functional.metered import SLOT_S, VALIDATOR, Street, key, started_street

LOAD, PV = "home-1/load", "home-1/pv"


class Settling(Street):
    """`watt` and what settlement answers on the network."""

    def say(self, *words: str, rows: list[tuple[int, int, int, int, int]], by: str) -> None:
        """A meter's file of (slot, import, export, import register, export register)."""
        result = self.run("meter", *words, self.file("readings.csv", rows), by=by)
        assert result.exit_code == 0, result.output

    def ask(self, method: str, **args: Any) -> Any:
        async def ask() -> Any:
            async with Client([self.node], key("club")) as client:
                return await client.query("settlement", method, args)

        return asyncio.run(ask())

    def until(self, found: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 60
        while not (answer := found()):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        return answer

    def settled(self, slot: int) -> tuple[Settled, list[Entry]]:
        sums, entries, blocks = self.until(lambda: self.ask("settled", network="home-1", slot=slot))
        assert len(blocks) == sums[-1] + 1
        return Settled(*sums), [Entry(*row) for row in entries]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settling]:
    yield from started_street(Settling, tmp_path_factory.mktemp("street"), (LOAD, PV), 4 * SLOT_S)


def test_a_late_correction_is_a_reversal_and_a_new_entry(street: Settling) -> None:
    """Late corrections until FINAL; every entry names its cause, and losses show."""
    opened = street.until(
        lambda: [row["slot"] for row in street.json("market", "products") if row["state"] == "DELIVERED"]
    )
    slot = max(opened)
    street.say("day", LOAD, rows=[(slot, 400, 0, 400, 0)], by=f"{LOAD}.meter")
    street.say("day", PV, rows=[(slot, 0, 100, 0, 100)], by=f"{PV}.meter")
    sums, entries = street.settled(slot)
    assert (sums.internal_wh, sums.retail_wh, sums.utility_only) == (100, 300, 30_000)
    assert [entry.owed for entry in entries if entry.reason == "retail"] == [30_000], "nobody has been issued anything"

    losses = ("admin", "settlement", "losses", str(slot))
    assert "has not been read" in street.run(*losses, by=VALIDATOR).stdout
    assert street.run(*losses).stderr.startswith("watt: not-allowed: ")
    street.say("feeder", "--correct", rows=[(slot, 290, 0, 290, 0)], by="feeder")
    street.say("correct", LOAD, rows=[(slot, 360, 0, 360, 0)], by=f"{LOAD}.meter")
    street.until(lambda: street.settled(slot)[0].revision == 1)
    sums, entries = street.settled(slot)
    assert (sums.retail_wh, sums.utility_only) == (260, 26_000)
    reading = street.ask("reading", device=LOAD, slot=slot)
    anew = [entry[2:5] for entry in entries if entry.revision == 1]
    assert anew == [
        ("internal", -100, 2_000), ("retail", -300, 30_000), ("internal", 100, -2_000), ("retail", 260, -26_000),
    ]  # fmt: skip
    assert {entry.cause for entry in entries if entry.revision == 1} == {reading[5]}, "what corrected it"
    found = street.json(*losses, by=VALIDATOR)
    assert (found["feeder_import_wh"], found["import_wh"], found["loss_wh"]) == (290, 360, 30)
    assert "lost: 0.030 kWh" in street.run(*losses, by=VALIDATOR).stdout


def test_what_an_admin_asks_and_decides(street: Settling) -> None:
    assert street.json("admin", "settlement", "parked", by="admin") == []
    refused = street.run("admin", "settlement", "release", "0", by="admin")
    assert refused.exit_code == 1 and refused.stderr.startswith("watt: unknown-unit: nothing was parked under")
    assert street.run("admin", "settlement", "release", "0", by="club").stderr.startswith("watt: not-allowed: ")
    rent = street.json("admin", "settlement", "rent", by=VALIDATOR)
    assert (rent["state"], rent["rent"], rent["networks"]) == ("collecting", 0, [])
    assert "collecting: 0.000 of 0.000 tokens" in street.run("admin", "settlement", "rent", by=VALIDATOR).stdout


def test_an_owner_plans_months_and_a_company_weeks(street: Settling) -> None:
    found = street.json("admin", "period", "show", "home-1")
    assert (found["status"], found["calendar_of"], found["closing"], found["lots"]) == (
        "active",
        "consortium",
        None,
        [],
    )
    today = found["period"]
    planned = street.json("admin", "period", "plan", "home-1", "--months", "2023-12", "--count", "3", by="home-1")
    number = planned["period"]
    assert number > today + 1
    found = street.json("admin", "period", "show", "home-1", "--period", str(number + 2))
    assert (found["status"], found["end_slot"] - found["first_slot"]) == ("planned", 29 * 1_440), "2024 is a leap year"
    shown = street.run("admin", "period", "show", "home-1", "--period", str(number)).stdout
    assert f"period {number} is planned: from slot " in shown and "(2023-12-01 00:00 UTC)" in shown
    assert "by the calendar of the network" in shown
    week = ("--first", "2024-01-01", "--days", "7")
    assert "begins with period" in street.run("admin", "period", "plan", "club", "--company", *week, by="club").stdout
    found = street.json("admin", "period", "show", "club", "--company")
    assert (found["status"], found["calendar_of"], found["lots"], len(found["calendar"])) == (
        "active",
        "company",
        [],
        2,
    )
    assert len(street.json("admin", "period", "show", "home-1")["calendar"]) == 3, "it has a calendar of its own"

    early = street.run("admin", "period", "plan", "home-1", "--first", "2023-11-15", "--days", "7", by="home-1")
    assert early.exit_code == 1 and early.stderr.startswith("watt: period-begun: ")
    inside = street.run("admin", "period", "plan", "home-1", "--months", "2024-04", by="home-1")
    assert inside.exit_code == 1 and inside.stderr.startswith("watt: period-overlaps: ")
    assert street.run("admin", "period", "plan", "home-1", *week, by="club").stderr.startswith("watt: wrong-key: ")
    neither = street.run("admin", "period", "plan", "home-1", "--days", "7", by="home-1")
    assert neither.exit_code == 2 and "say --months" in neither.stderr
