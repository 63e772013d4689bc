"""Attackers: an aggregator that invents what meters say, an owner or a device that speaks for its meter, another's
meter, and whoever brings a reading of another slot or chain.

A collector can leave out and delay; nothing else of this is taken, by any node, whatever program sends it.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from chaincode.settlement_messages import reading_message
from cli.session import Account
from node.errors import RefusedError
from node.gateway.client import Client
from tests.functional.metered import SLOT_S, Street, key, started_street

LOAD, PV = "home-1/load", "home-1/pv"
FIGURES = (400, 0, 100_400, 0)


class Forger(Street):
    """Signs and sends what `watt meter` would not."""

    def outcome(self, who: str, method: str, args: dict[str, Any]) -> str:
        async def send() -> str:
            async with Client(self.node, reader=key(who)) as client:
                chain = (await client.node_info()).chain
                return (await Account(client, key(who), chain).outcome("settlement", method, args)).code

        return asyncio.run(send())

    def chain(self) -> bytes:
        async def ask() -> bytes:
            async with Client(self.node) as client:
                return (await client.node_info()).chain

        return asyncio.run(ask())

    def row(
        self, signer: str, device: str, slot: int, figures: tuple[int, int, int, int], chain: bytes | None = None
    ) -> tuple[Any, ...]:
        """A row for `collect`, signed by a key that may or may not be the meter's."""
        message = reading_message(
            chain or self.chain(), device, slot, (figures[0], figures[1]), (figures[2], figures[3])
        )
        return (device, slot, *figures, key(signer).sign(message))


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forger]:
    yield from started_street(Forger, tmp_path_factory.mktemp("forger"), (LOAD, PV), 30 * SLOT_S)


def slot_that_is_over(street: Forger) -> int:
    """The newest one of at least two."""
    deadline = time.monotonic() + 60
    first = None
    while True:
        opened = [row["slot"] for row in street.json("market", "products") if row["state"] == "OPEN"]
        if opened:
            first = min(opened) if first is None else first
            if min(opened) >= first + 3:
                return int(min(opened)) - 2
        assert time.monotonic() < deadline, "no slot is over"
        time.sleep(0.2)


def test_nobody_speaks_for_a_meter(street: Forger) -> None:
    slot = slot_that_is_over(street)
    names = ("import_wh", "export_wh", "import_register", "export_register")
    report = {"device": LOAD, "slot": slot, **dict(zip(names, FIGURES, strict=True))}
    for who in ("home-1", LOAD, f"{PV}.meter", "club", "utility", "admin"):
        assert street.outcome(who, "report", report) == "wrong-key", who
    with pytest.raises(RefusedError) as refusal:
        street.outcome("stranger", "report", report)
    assert refusal.value.code == "unknown-sender"


def test_a_collector_brings_what_meters_have_signed_or_nothing(street: Forger) -> None:
    slot, meter = slot_that_is_over(street), f"{LOAD}.meter"
    good = street.row(meter, LOAD, slot, FIGURES)
    forged: dict[str, tuple[Any, ...]] = {
        "invented": street.row("club", LOAD, slot, FIGURES),
        "by the device's own key": street.row(LOAD, LOAD, slot, FIGURES),
        "by another's meter": street.row(f"{PV}.meter", LOAD, slot, FIGURES),
        "of another chain": street.row(meter, LOAD, slot, FIGURES, chain=bytes(32)),
        "of another slot": (LOAD, slot - 1, *good[2:]),
        "of another device": (PV, *good[1:]),
        "less drawn": (LOAD, slot, 399, *good[3:]),
        "more fed in": (*good[:3], 1, *good[4:]),
        "another register": (*good[:4], 100_401, *good[5:]),
        "another export register": (*good[:5], 1, good[6]),
        "a signature of zeros": (*good[:6], bytes(64)),
        "a signature cut short": (*good[:6], good[6][:63]),
    }
    for name, row in forged.items():
        assert street.outcome("club", "collect", {"rows": [row]}) != "ok", name
    assert street.outcome("home-1", "collect", {"rows": [good]}) == "not-allowed"
    assert street.outcome("club", "collect", {"rows": [good, forged["invented"]]}) == "ok"  # the second is left out
    assert street.outcome("club", "collect", {"rows": [forged["less drawn"]]}) == "conflict"
    (held,) = street.json("meter", "readings", LOAD, "--slot", str(slot))["readings"]
    assert (held["import_wh"], held["export_wh"]) == FIGURES[:2]


def test_what_is_impossible_is_not_believed_of_the_meter_itself(street: Forger) -> None:
    """A stolen meter's key: more than the connection carries, registers that do not join, a second word on one slot."""
    slot, meter = slot_that_is_over(street), f"{PV}.meter"
    names = ("import_wh", "export_wh", "import_register", "export_register")

    def report(at: int, *figures: int) -> str:
        return street.outcome(meter, "report", {"device": PV, "slot": at, **dict(zip(names, figures, strict=True))})

    assert report(slot, 0, 10**9, 0, 10**9) == "out-of-limit"
    assert report(slot, 0, -5, 0, 10) == "negative"
    assert report(slot + 1000, 0, 5, 0, 10) == "no-product"
    assert report(slot, 0, 5, 0, 1_000) == "ok"
    assert report(slot, 0, 5, 0, 1_000) == "duplicate"
    assert report(slot, 0, 6, 0, 1_000) == "conflict"
    assert report(slot - 1, 0, 5, 0, 2_000) == "register-mismatch"
