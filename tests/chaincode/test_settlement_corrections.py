"""Slots that are settled anew: reversals and new entries, only the difference moves, everything stays conserved."""

from typing import Any, cast

import pytest

from chaincode import accounts, budget_audit, settlement_corrections
from chaincode.contract import MAX_AMOUNT, ContractError
from chaincode.settlement_ledger import Entry, Settled, standing
from tests.chaincode.marketplace import (
    ALLOCATED,
    DEVICES,
    SLOT_S,
    audit,
    balance,
    key_of,
    order,
    product_state,
    tick,
)
from tests.chaincode.test_settlement_money import entries, patient, settled_world, spent
from tests.chaincode.test_settlement_readings import METERED_S, report
from tests.chaincode.test_settlement_rent import go_to
from tests.chaincode.world import World

AS_CONTRACTED = {"home-1/load": (1_000, 0), "home-2/pv": (0, 1_000)}
FINAL_AT = 2 * SLOT_S + METERED_S + 1_800
HOMES = ("home-1", "home-2", "home-3")


def say(world: World, device: str, wh: tuple[int, int], slot: int = 1) -> None:
    """A meter's new word about a slot, its registers beginning with it."""
    meter = key_of(f"meter {device}")
    world.call(meter, "settlement", "correct", device=device, first_slot=slot, rows=((*wh, *wh),))


def correct(world: World, device: str, wh: tuple[int, int], slot: int = 1) -> bytes:
    """``say``, and the block that settles anew; the transaction of the reading."""
    say(world, device, wh, slot)
    row = cast("tuple[Any, ...]", world.query("settlement", "reading", device=device, slot=slot))
    world.next_block(world.time + 1)
    check(world)
    return cast("bytes", row[5])


def check(world: World) -> None:
    """Money and budgets are conserved."""
    audit(world)
    with world.transaction() as ctx:
        for home in HOMES:
            assert budget_audit.totals_of(ctx, home, 0).balance()


def sums(world: World, network: str, slot: int = 1) -> Settled:
    return Settled(*cast("Any", world.query("settlement", "settled", network=network, slot=slot))[0])


def rows(world: World, network: str, slot: int = 1) -> list[Entry]:
    answer = cast("Any", world.query("settlement", "settled", network=network, slot=slot))
    return [Entry(*row) for row in answer[1]]


def used(world: World, device: str) -> tuple[int, int]:
    """What the budget says the device has used: (base units, Wh)."""
    row = cast("tuple[Any, ...]", world.query("budget", "budget", device=device, period=0))
    return row[10], row[11]


def wealth(world: World, network: str) -> int:
    """All that a network has, less what it owes."""
    row = cast("tuple[Any, ...]", world.query("budget", "network_budget", network=network, period=0))
    return cast("int", row[3] + row[4] + row[5] - row[7])


def test_who_paid_too_much_gets_it_back() -> None:
    world = settled_world({"home-1/load": (1_300, 0), "home-2/pv": (0, 1_000)})
    assert balance(world, "utility") == 30_000 and used(world, "home-1/load") == (67_000, 1_300)
    cause = correct(world, "home-1/load", (1_100, 0))
    first, *_, old, new = rows(world, "home-1")
    assert first.reason == "bought" and first.revision == 0
    assert old == Entry("home-1/load", "b1", "retail", -300, 30_000, 0, cause, 1)
    assert new == Entry("home-1/load", "b1", "retail", 100, -10_000, 0, cause, 1)
    assert (sums(world, "home-1").retail_wh, sums(world, "home-1").revision) == (100, 1)
    assert balance(world, "utility") == 10_000
    assert balance(world, "pool:home-1:0") == 20_000, "a refund is a credit as any other"
    assert used(world, "home-1/load") == (47_000, 1_100)
    assert [event.data for event in world.events if event.topic == "settled-anew"] == [(1, *sums(world, "home-1"))]


def test_who_paid_too_little_is_charged() -> None:
    world = settled_world(AS_CONTRACTED)
    correct(world, "home-1/load", (1_500, 0))
    assert spent(world, "home-1/load") == 37_000 + 50_000
    assert balance(world, "utility") == 50_000
    assert rows(world, "home-1")[2:] == [rows(world, "home-1")[-1]]


def test_who_received_too_much_gives_it_back_and_owes_what_nobody_has() -> None:
    world = patient(allocated=0)
    for device in DEVICES:
        world.next_block(max(world.time, 2 * SLOT_S))
        assert report(world, device, 1, (0, 2_000) if device == "home-2/pv" else (0, 0)) is None
    world.next_block(2 * SLOT_S + METERED_S)
    assert balance(world, "pool:home-2:0") == 40_000
    donors = (("home-2/pv", 100, 0, True, None, 0, 0),)
    world.call(key_of("home-2"), "budget", "set_policy", network="home-2", proceeds="pool", devices=donors)
    with world.transaction() as ctx:  # the pool spends what it has
        accounts.transfer(ctx, "pool:home-2:0", "grid-operator", 35_000, "test", b"")
    correct(world, "home-2/pv", (0, 500))
    assert balance(world, "pool:home-2:0") == 0
    assert rows(world, "home-2")[-1].amount == 10_000
    owed = cast("Any", world.query("budget", "network_budget", network="home-2", period=0))[7]
    assert owed == 30_000 - 5_000
    assert balance(world, "utility") == 5_000 and sums(world, "home-2").owed == 25_000
    # What is credited later pays the debt first.
    correct(world, "home-2/pv", (0, 2_000))
    assert cast("Any", world.query("budget", "network_budget", network="home-2", period=0))[7] == 0
    assert balance(world, "pool:home-2:0") == 5_000


def test_a_neighbours_correction_moves_what_is_settled_inside() -> None:
    world = settled_world({"home-1/load": (1_000, 0), "home-2/pv": (0, 1_500), "home-2/load": (300, 0)})
    reading = cast("Any", world.query("settlement", "reading", device="home-2/load", slot=1))[5]
    cause = correct(world, "home-2/pv", (0, 1_100))
    new = [entry for entry in rows(world, "home-2") if entry.revision == 1 and entry.energy_wh > 0]
    assert [entry[:5] for entry in new] == [
        ("home-2/load", "b2", "internal", 100, -2_000),
        ("home-2/load", "b2", "retail", 200, -20_000),
        ("home-2/pv", "b2", "internal", 100, 2_000),
    ]
    assert {entry.cause for entry in rows(world, "home-2") if entry.revision} == {cause}
    assert reading in [entry.cause for entry in rows(world, "home-2") if entry.device == "home-2/load"]
    assert sum(entry.energy_wh for entry in rows(world, "home-2") if entry.reason == "feed-in") == 0


def test_what_stands_is_what_was_booked_less_what_was_reversed() -> None:
    world = settled_world({"home-1/load": (1_000, 0), "home-2/pv": (0, 1_500), "home-2/load": (300, 0)})
    for wh in (1_100, 1_800, 900, 1_500):
        correct(world, "home-2/pv", (0, wh))
    once = settled_world({"home-1/load": (1_000, 0), "home-2/pv": (0, 1_500), "home-2/load": (300, 0)})
    left = sorted(entry[:5] for entry in standing(rows(world, "home-2")))
    assert left == sorted(entry[:5] for entry in rows(once, "home-2"))
    for name in Settled._fields:
        if name not in ("entries", "revision"):
            assert getattr(sums(world, "home-2"), name) == getattr(sums(once, "home-2"), name)
    assert wealth(world, "home-2") == wealth(once, "home-2")
    assert balance(world, "utility") - minted(world) == balance(once, "utility") - minted(once)


def minted(world: World) -> int:
    """What settlement issued, because the utility had not enough."""
    issued, _, _ = cast("tuple[int, int, int]", world.query("accounts", "audit"))
    return issued - len(DEVICES) * ALLOCATED


def test_several_corrections_in_one_block_are_one_revision() -> None:
    world = settled_world(AS_CONTRACTED)
    for wh in ((1_200, 0), (1_300, 0)):
        say(world, "home-1/load", wh)
    say(world, "home-1/battery", (0, 50))
    load = cast("Any", world.query("settlement", "reading", device="home-1/load", slot=1))[5]
    battery = cast("Any", world.query("settlement", "reading", device="home-1/battery", slot=1))[5]
    world.next_block(world.time + 1)
    check(world)
    assert sums(world, "home-1").revision == 1
    new = {(entry.device, entry.reason): entry.cause for entry in rows(world, "home-1") if entry.revision == 1}
    assert new == {
        ("home-1/load", "internal"): load,
        ("home-1/load", "retail"): load,
        ("home-1/battery", "internal"): battery,
    }


def test_an_estimate_that_is_confirmed_names_the_reading_and_moves_nothing() -> None:
    world = patient()
    order(world, "home-1/load", "buy", wh=1_000, price=50)
    order(world, "home-2/pv", "sell", wh=1_200, price=30)
    tick(world)
    world.next_block(2 * SLOT_S + METERED_S)
    before = {account: balance(world, account) for account in ("utility", "pool:home-2:0", "device:home-2/pv:0")}
    assert [entry.reason for entry in rows(world, "home-2")] == ["sold", "retail"]  # nothing is known: no export
    cause = correct(world, "home-2/pv", (0, 0))
    assert before == {account: balance(world, account) for account in before}
    assert rows(world, "home-2")[-1].cause == cause
    assert (sums(world, "home-2").estimated, sums(world, "home-2").revision) == (1, 1)


def test_what_a_device_has_used_by_a_correction_may_be_alarming() -> None:
    def alarms(world: World) -> list[tuple[Any, ...]]:
        alerts = cast("Any", world.query("budget", "alerts", network="home-1"))
        return [(alert[0], *[proof[:2] + proof[3:4] for proof in alert[7]]) for alert in alerts if alert[2] == "ahead"]

    world = settled_world(AS_CONTRACTED, patient(allocated=500_000))
    assert alarms(world) == []
    cause = correct(world, "home-1/load", (4_000, 0))
    assert alarms(world) == [("home-1/load", ("correction", 1, cause))]
    correct(world, "home-1/load", (1_000, 0))
    assert alarms(world) == [("home-1/load", ("correction", 1, cause))], "what was raised stands"
    assert used(world, "home-1/load") == (37_000, 1_000)


def test_nothing_is_queued_before_it_is_settled_nor_once_it_is_final() -> None:
    world = patient()
    with world.transaction() as ctx:
        settlement_corrections.reopen(ctx, "home-1", 0)
        assert settlement_corrections.queued(ctx, 0) is None
        assert settlement_corrections.may_reopen(ctx, "home-1", 0)
    world = settled_world({})
    world.next_block(FINAL_AT)
    assert product_state(world) == "FINAL"
    with world.transaction() as ctx:
        settlement_corrections.reopen(ctx, "home-1", 1)
        assert settlement_corrections.queued(ctx, 1) is None
        assert not settlement_corrections.may_reopen(ctx, "home-1", 1)
    meter = key_of("meter home-1/load")
    args = {"device": "home-1/load", "first_slot": 1, "rows": ((5, 0, 5, 0),)}
    assert world.refused(meter, "settlement", "correct", **args) == "late"


def test_a_slot_becomes_final_after_its_corrections(monkeypatch: pytest.MonkeyPatch) -> None:
    world = settled_world(AS_CONTRACTED)
    for device, wh in (("home-1/load", 1_100), ("home-2/load", 100), ("home-3/ev", 100)):
        say(world, device, (wh, 0))
    monkeypatch.setattr("chaincode.settlement_events.WORK_PER_BLOCK", 1)
    world.next_block(FINAL_AT)
    blocks = 0
    while product_state(world) != "FINAL":
        assert cast("int", world.next_event()) <= world.time
        world.next_block(world.time)
        check(world)
        blocks += 1
    assert blocks > 2
    for home in HOMES:
        assert (sums(world, home).retail_wh, sums(world, home).revision) == (100, 1)


def test_what_is_queued_when_a_slot_is_due_to_be_final_is_done_before(monkeypatch: pytest.MonkeyPatch) -> None:
    world = settled_world(AS_CONTRACTED)
    monkeypatch.setattr("chaincode.settlement_events.WORK_PER_BLOCK", 1)
    world.next_block(FINAL_AT)  # slot 2 is settled first, and takes some blocks
    assert product_state(world) == "SETTLED"
    with world.transaction() as ctx:
        for home in HOMES:
            settlement_corrections.reopen(ctx, home, 1)
    while product_state(world) != "FINAL":
        assert [event.data for event in world.events if event.data == (1, "FINAL")] == []
        world.next_block(world.time)
    assert [sums(world, home).revision for home in HOMES] == [1, 1, 1]


def test_a_correction_between_settling_and_the_slots_end_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    world = patient()
    monkeypatch.setattr("chaincode.settlement_events.WORK_PER_BLOCK", 3)
    world.next_block(2 * SLOT_S + METERED_S)
    while world.query("settlement", "settled", network="home-1", slot=1) is None:
        world.next_block(world.time)
    assert product_state(world) == "ESTIMATED"
    say(world, "home-1/load", (100, 0))
    while product_state(world) != "SETTLED":
        world.next_block(world.time)
    while cast("int", world.next_event()) <= world.time:
        world.next_block(world.time)
    assert (sums(world, "home-1").retail_wh, sums(world, "home-1").revision) == (100, 1)


def test_a_correction_that_fails_is_parked_alone_and_can_be_released() -> None:
    world = settled_world(AS_CONTRACTED)
    key = b"acc-device/home-1/load\0" + bytes(4)
    with world.transaction() as ctx:
        sound = accounts.device_book(ctx, "home-1/load", 0)
        ctx.put(key, tuple(sound._replace(spent=MAX_AMOUNT - 5)))
    say(world, "home-1/load", (1_100, 0))
    say(world, "home-2/load", (100, 0))
    world.next_block(world.time + 1)
    assert (sums(world, "home-1").revision, sums(world, "home-2").revision) == (0, 1)
    parked = cast("Any", world.query("settlement", "parked"))
    assert parked == (("home-1", 1, "bad-amount", world.time, "correct", 0),)
    assert balance(world, "utility") == 10_000
    with world.transaction() as ctx:
        ctx.put(key, tuple(sound))
    world.call(key_of("admin"), "settlement", "release", index=0)
    world.next_block(world.time + 1)
    check(world)
    assert sums(world, "home-1").retail_wh == 100
    assert cast("Any", world.query("settlement", "parked"))[0][5] == world.time


def test_a_correction_of_a_final_slot_is_not_released() -> None:
    world = settled_world({}, patient(retention_s=1))
    with world.transaction() as ctx:
        book = accounts.device_book(ctx, "home-1/load", 0)
        ctx.put(b"acc-device/home-1/load\0" + bytes(4), tuple(book._replace(spent=MAX_AMOUNT - 5)))
    say(world, "home-1/load", (100, 0))
    world.next_block(FINAL_AT)
    assert product_state(world) == "FINAL"
    assert world.refused(key_of("admin"), "settlement", "release", index=0) == "final"
    go_to(world, 2 * FINAL_AT)
    assert world.query("market", "pruned", slot=1) is not None, "it does not keep the slot's details for ever"


def test_a_slot_is_not_settled_anew_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement_corrections, "MAX_REVISIONS", 2)
    world = settled_world({})
    correct(world, "home-1/load", (100, 0))
    correct(world, "home-1/load", (200, 0))
    with pytest.raises(ContractError, match="too-many"):
        say(world, "home-1/load", (300, 0))


def test_entries_fill_their_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaincode.settlement_ledger.PAGE_ROWS", 3)
    world = settled_world({"home-1/load": (1_100, 0), "home-2/pv": (0, 1_000)})
    for turn in range(6):
        correct(world, "home-1/load", (1_200 + turn, 0))
    booked = rows(world, "home-1")
    assert len(booked) == sums(world, "home-1").entries == 3 + 6 * 2
    assert [entry.revision for entry in booked] == [0, 0, 0] + [turn for turn in range(1, 7) for _ in "ab"]
    heights = cast("Any", world.query("settlement", "settled", network="home-1", slot=1))[2]
    assert len(heights) == 7 and list(heights) == sorted(heights) and heights[-1] == world.height
    assert entries(world, "home-1")[-1] == ("home-1/load", "retail", 205, -20_500, 0)


def test_what_nobody_paid_is_no_money_when_it_is_taken_back() -> None:
    world = patient(allocated=0)
    world.call(key_of("home-1"), "budget", "set_policy", network="home-1", proceeds="device", devices=())
    settled_world({"home-1/load": (5_000, 0)}, world)
    assert cast("Any", world.query("budget", "network_budget", network="home-1", period=0))[7] == 500_000
    for wh, owed in ((0, 0), (5_000, 500_000), (2_000, 200_000), (5_000, 500_000)):
        correct(world, "home-1/load", (wh, 0))
        budget = cast("Any", world.query("budget", "network_budget", network="home-1", period=0))
        assert (budget[4], budget[7]) == (0, owed), "nothing is available, and what stands is owed, once"
