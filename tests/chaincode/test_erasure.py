"""Erasure on request: what was measured goes as far as no rule needs it, and a count and a digest stay."""

from typing import Any, cast

import pytest

from chaincode import pruned, settlement_readings
from chaincode.contract import ContractError, Event
from chaincode.erasable import Held, in_call, in_event, may_go
from chaincode.identity_records import Device, add_device
from chaincode.keys import text, uint
from chaincode.pruned import Erased
from node.model.codec import encode
from tests.chaincode.marketplace import DEVICES, audit, key_of
from tests.chaincode.test_market_retention import SLOT_S, SLOTS_PER_DAY, go_to, report, town, trade
from tests.chaincode.world import World

WEEK = 7 * SLOTS_PER_DAY
FINAL_S = 2_700


def measured(slots: int = 2 * SLOTS_PER_DAY) -> World:
    """So many slots with readings of all meters, all of them FINAL; nothing goes by itself."""
    world = town(retention_s=0)
    trade(world, 1)
    for slot in range(slots):
        go_to(world, (slot + 1) * SLOT_S)
        for device in DEVICES:
            report(world, device, slot, 300 if device.endswith("load") else 0, 200 if device.endswith("pv") else 0)
    go_to(world, slots * SLOT_S + FINAL_S)
    return world


def rows_of(world: World, table: str, subject: str) -> dict[bytes, Any]:
    """The entries of a table that are of a network or device."""
    with world.transaction() as ctx:
        return dict(ctx.scan(table.encode() + b"/" + text(subject)))


def erased(world: World, network: str, **args: Any) -> Erased:
    return Erased(*cast("Any", world.query("erasure", "erased", network=network, **args)))


def test_who_may_ask_for_what() -> None:
    world = measured()
    last = 2 * SLOTS_PER_DAY - 1
    assert world.refused(key_of("home-1"), "erasure", "erase", network="home-9", last_slot=1) == "unknown-network"
    for stranger in ("home-1", "utility", "admin", "home-2/pv", "meter home-2/pv"):
        assert world.refused(key_of(stranger), "erasure", "erase", network="home-2", last_slot=1) == "wrong-key"
    of_another = {"network": "home-2", "device": "home-1/load"}
    assert world.refused(key_of("home-2"), "erasure", "erase", **of_another, last_slot=1) == "unknown-device"
    for slot in (-1, last + 1, last + 9, 2**40, 2**63):
        assert world.refused(key_of("home-2"), "erasure", "erase", network="home-2", last_slot=slot) == "not-final"
    assert world.call(key_of("home-2"), "erasure", "erase", network="home-2", last_slot=3) == (0, 3)
    for slot in (2, 3):
        assert world.refused(key_of("home-2"), "erasure", "erase", network="home-2", last_slot=slot) == "already-erased"
    assert world.call(key_of("club"), "erasure", "erase", network="home-2", last_slot=last) == (4, last)
    assert world.call(key_of("home-2"), "erasure", "erase", network="home-2", device="home-2/pv", last_slot=1) == (0, 1)
    assert world.query("erasure", "erased", network="home-1") is None


def test_it_goes_from_the_state_when_no_rule_needs_it_and_a_digest_stays() -> None:
    world = measured()
    kept = 2 * SLOTS_PER_DAY - 1
    before = {table: rows_of(world, table, "home-2") for table in ("settled", "settled-entry")}
    readings = {name: rows_of(world, "reading", name) for name in ("home-2/pv", "home-2/load")}
    others = rows_of(world, "reading", "home-1/load")
    world.call(key_of("home-2"), "erasure", "erase", network="home-2", last_slot=kept)
    assert ("erasure-asked", ("home-2",), (0, kept)) in [(e.topic, e.keys, e.data) for e in world.events]
    go_to(world, (WEEK - 1) * SLOT_S)
    assert rows_of(world, "settled", "home-2").items() >= before["settled"].items(), (
        "estimates of the week after need the readings"
    )
    go_to(world, (kept + WEEK + 2) * SLOT_S + FINAL_S)
    done = erased(world, "home-2")
    assert (done.asked, done.first_kept, done.due) == (kept, kept + 1, 0)
    left = {name: rows_of(world, "reading", name) for name in readings}
    for name, rows in readings.items():
        assert min(left[name]) == b"reading/" + text(name) + uint(kept), "the last reading stays"
        assert len(rows) == kept + 1
    assert not [key for key in rows_of(world, "settled", "home-2") if key[-8:] <= uint(kept)]
    assert not [key for key in rows_of(world, "settled-entry", "home-2") if key in before["settled-entry"]]
    assert rows_of(world, "reading", "home-1/load").items() >= others.items()
    gone = 2 * kept + len(before["settled"]) + len(before["settled-entry"])
    assert done.entries >= gone and done.digest != pruned.NO_ENTRIES
    assert ("erased", ("home-2",), (kept, done.entries)) in [(e.topic, e.keys, e.data) for e in world.events]
    for method, args in (("settled", {"network": "home-2"}), ("reading", {"device": "home-2/pv"})):
        assert world_code(world, "settlement", method, slot=2, **args) == "pruned"
    assert world_code(world, "settlement", "readings", device="home-2/load", slot=2) == "pruned"
    assert world_code(world, "origin", "slot", network="home-2", slot=2) == "pruned"
    assert world.query("settlement", "reading", device="home-1/load", slot=2) is not None
    audit(world)


def world_code(world: World, contract: str, method: str, **args: Any) -> str:
    with pytest.raises(ContractError) as refusal:
        world.query(contract, method, **args)
    return refusal.value.code


def test_of_a_device_only_its_readings_go() -> None:
    world = measured()
    before = rows_of(world, "settled", "home-2")
    world.call(key_of("home-2"), "erasure", "erase", network="home-2", device="home-2/pv", last_slot=3)
    go_to(world, (3 + WEEK + 2) * SLOT_S + FINAL_S)
    assert not [key for key in rows_of(world, "reading", "home-2/pv") if key[-8:] <= uint(3)]
    assert erased(world, "home-2", device="home-2/pv").entries == 4
    assert rows_of(world, "settled", "home-2").items() >= before.items()
    assert rows_of(world, "reading", "home-2/load")
    assert world_code(world, "settlement", "reading", device="home-2/pv", slot=1) == "pruned"


def test_a_device_that_bears_the_name_of_a_network_erases_nothing_of_it() -> None:
    world = measured(2)
    keys = key_of("thief"), key_of("meter thief")
    with world.transaction() as ctx:  # as a genesis document may have it: it is not registered later
        add_device(ctx, Device("home-2", "home-1", "load", *keys, 1, 0, False, False, ()))
    world.call(key_of("home-1"), "erasure", "erase", network="home-1", device="home-2", last_slot=1)
    assert erased(world, "home-1", device="home-2").asked == 1
    assert world.query("erasure", "erased", network="home-2") is None
    with world.transaction() as ctx:
        assert may_go(ctx, (Held(1, "home-1", "home-2"),))
        assert not may_go(ctx, (Held(1, "home-2", ""),)) and not may_go(ctx, (Held(1, "", "home-2/pv"),))
    assert world.call(key_of("home-2"), "erasure", "erase", network="home-2", last_slot=1) == (0, 1)


def test_a_reading_lies_beside_a_blind_that_nobody_is_shown() -> None:
    world = measured(2)
    (key, row), *_ = rows_of(world, "reading", "home-2/pv").items()
    shown = world.query("settlement", "reading", device="home-2/pv", slot=0)
    assert row[:-1] == shown and len(row[-1]) == settlement_readings.BLIND_BYTES
    assert encode(row[-1]) not in encode(shown) and key.startswith(b"reading/")


def test_what_holds_readings_is_found_in_whatever_arguments_come() -> None:
    found = in_call("settlement", "report", {"device": "a", "slot": 3})
    assert found == (Held(3, "", "a"),)
    assert in_call("settlement", "report_day", {"device": "a", "first_slot": 3, "rows": [[1], [2]]}) == (
        Held(3, "", "a"),
        Held(4, "", "a"),
    )
    rows = [["a", 1, 0, 0, 0, 0, b""], ["b", 2, 0, 0, 0, 0, b""], ["a", 1, 9, 0, 0, 0, b""]]
    assert in_call("settlement", "collect", {"rows": rows}) == (Held(1, "", "a"), Held(2, "", "b"))
    for contract, method, args in (
        ("market", "place", {"device": "a", "slot": 3}),
        ("settlement", "report", {}),
        ("settlement", "report", {"device": b"a", "slot": 3}),
        ("settlement", "report", {"device": "a", "slot": -1}),
        ("settlement", "report", {"device": "a", "slot": True}),
        ("settlement", "report_day", {"device": "a", "first_slot": "x", "rows": [[1]]}),
        ("settlement", "collect", {"rows": [1, "ab", [], ["a"]]}),
        ("settlement", "collect", {"rows": 7}),
        ("settlement", "release", {"index": 1}),
    ):
        assert in_call(contract, method, cast("Any", args)) == (), (method, args)
    assert in_event(Event("settlement", "reading", ("a", "home"), (3, 1, 0, 1, 0))) == (Held(3, "home", "a"),)
    assert in_event(Event("settlement", "settled", ("home",), (3, 1))) == (Held(3, "home", ""),)
    assert in_event(Event("market", "reading", ("a", "home"), (3,))) == ()
    assert in_event(Event("settlement", "feeder-reading", (), (3, 0, 1))) == ()


def test_nothing_may_go_that_can_be_corrected_or_was_not_asked_for() -> None:
    world = measured()
    with world.transaction() as ctx:
        assert not may_go(ctx, ())
        assert not may_go(ctx, (Held(1, "", "home-2/pv"),)), "it is kept for ever, and nobody asked"
    world.call(key_of("home-2"), "erasure", "erase", network="home-2", last_slot=3)
    with world.transaction() as ctx:
        assert may_go(ctx, (Held(1, "", "home-2/pv"),)) and may_go(ctx, (Held(3, "home-2", ""),))
        assert not may_go(ctx, (Held(4, "", "home-2/pv"),)) and not may_go(ctx, (Held(1, "", "home-1/load"),))
        assert may_go(ctx, (Held(1, "", "home-1/load"), Held(1, "", "home-2/pv"))), "what a collector brought"
        assert not may_go(ctx, (Held(1, "", "home-2/pv"), Held(10**6, "", "home-2/pv"))), "not all of it is FINAL"
        assert may_go(ctx, (Held(1, "", "nobody"),)), "of a device that there never was"
