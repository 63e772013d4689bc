"""No block for an hour: what becomes of gates, orders, metering windows, disputes, and of whole slots.

Slots of half an hour; the gate is 600 s before the slot's end, readings are taken for 900 s after it, disputes for
1,800 s after that; a block is late 300 s after something was due.
"""

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import market_outage
from chaincode.keys import uint
from chaincode.market_outage import MOVES_PER_BLOCK
from tests.chaincode.council import Council
from tests.chaincode.marketplace import (
    PERIOD_SLOTS,
    SLOT_S,
    TICK_S,
    audit,
    key_of,
    marketplace,
    order,
    product_state,
    refusal,
    state_of,
)
from tests.chaincode.world import World

GATE_S, METERING_S, DISPUTE_S, OUTAGE_S = 600, 900, 1_800, 300
WAY = ["OPEN", "CLOSED", "DELIVERED", "ESTIMATED", "SETTLED", "FINAL"]
"""All states of a product whose meters were silent."""


def product(world: World, slot: int) -> Any:
    return world.query("market", "product", slot=slot)


def windows(world: World, slot: int) -> tuple[int, int]:
    """(metered by, final at) of a product, in s after its end."""
    row = product(world, slot)
    return row[6] - row[4], row[7] - row[4]


def outages(world: World) -> list[tuple[int, int]]:
    return [row[1:3] for row in cast("Any", world.query("rules", "outages"))]


def run(world: World, until: int) -> None:
    """Make every block that is due until ``until``, and one then."""
    while (due := world.next_event()) is not None and due <= until:
        world.next_block(max(due, world.time))
    if world.time < until:
        world.next_block(until)


def catch_up(world: World) -> None:
    """Make blocks until nothing is due."""
    while (due := world.next_event()) is not None and due <= world.time:
        world.next_block(world.time)


def ways(world: World) -> dict[int, list[str]]:
    """The states through which every product has passed."""
    passed: dict[int, list[str]] = {}
    for event in world.events:
        if event.topic == "product":
            slot, state = cast("tuple[int, str]", event.data)
            passed.setdefault(slot, []).append("ESTIMATED" if state == "METERED" else state)
    return passed


def require_time(world: World, slot: int, dispute_s: int) -> None:
    """The clocks of a product's windows ran for as long as they should, not counting outages."""
    row = product(world, slot)
    ends, metered_by, final_at = row[4], row[6], row[7]
    for begins, stops, seconds in ((ends, metered_by, METERING_S), (metered_by, final_at, dispute_s)):
        stood_still = sum([max(0, min(until, stops) - max(since, begins)) for since, until in outages(world)])
        assert stops - begins - stood_still == seconds


def report(world: World, device: str, slot: int, import_wh: int = 0, export_wh: int = 0) -> None:
    registers = {"import_register": import_wh, "export_register": export_wh}
    meter = key_of(f"meter {device}")
    energy = {"import_wh": import_wh, "export_wh": export_wh}
    world.call(meter, "settlement", "report", device=device, slot=slot, **energy, **registers)


def test_an_outage_over_a_gate() -> None:
    """Orders from before are cleared once, what rests expires, later orders are refused; meters are heard."""
    world = marketplace()
    run(world, SLOT_S)
    buy = order(world, "home-1/load", "buy", wh=500, price=80)
    sell = order(world, "home-2/pv", "sell", wh=800, price=30)
    since = SLOT_S + TICK_S
    world.next_block(2 * SLOT_S + 400)
    assert outages(world) == [(since, 2 * SLOT_S + 400)], "the tick was due"
    assert (state_of(world, buy), state_of(world, sell)) == ("FILLED", "EXPIRED")
    assert product(world, 1)[15] == 1, "one auction makes up for all ticks"
    assert product_state(world, 1) == "DELIVERED"
    assert refusal(world, "home-1/load", "buy", slot=1) == "closed-product"
    assert windows(world, 1) == (METERING_S + 400, METERING_S + DISPUTE_S + 400)
    run(world, 2 * SLOT_S + 400 + METERING_S - 1)
    report(world, "home-1/load", 1, import_wh=500)
    run(world, 2 * SLOT_S + 400 + METERING_S)
    assert product_state(world, 1) == "SETTLED"
    audit(world)


def test_an_outage_over_a_whole_metering_window() -> None:
    """Meters have as long afterwards as they would have had."""
    world = marketplace()
    run(world, SLOT_S + 100)
    assert product_state(world, 0) == "DELIVERED"
    until = SLOT_S + 100 + 4 * 3_600
    world.next_block(until)
    since = SLOT_S + METERING_S
    assert outages(world) == [(since, until)], "until then nothing was due: the chain was idle"
    assert product_state(world, 0) == "SETTLED", "its window had passed while the chain was idle"
    assert windows(world, 0) == (METERING_S, METERING_S + DISPUTE_S + until - since)
    for slot in (1, 2, 7):
        ends = (slot + 1) * SLOT_S
        assert product_state(world, slot) == "DELIVERED"
        assert windows(world, slot) == (until - ends + METERING_S, until - ends + METERING_S + DISPUTE_S)
        report(world, "home-1/load", slot)
    run(world, until + METERING_S)
    assert [product_state(world, slot) for slot in (1, 2, 7)] == ["SETTLED"] * 3


def test_an_outage_within_a_metering_window() -> None:
    world = marketplace()
    run(world, SLOT_S + 100)
    order(world, "home-1/load", "buy")
    until = SLOT_S + 100 + TICK_S - 100 % TICK_S + 500
    world.next_block(until)
    lost_s = until - (SLOT_S + 110)
    assert outages(world) == [(SLOT_S + 110, until)]
    assert windows(world, 0) == (METERING_S + lost_s, METERING_S + DISPUTE_S + lost_s)
    assert windows(world, 1) == (METERING_S, METERING_S + DISPUTE_S), "its end is ahead"
    run(world, SLOT_S + METERING_S + lost_s - 1)
    assert product_state(world, 0) == "DELIVERED"
    run(world, SLOT_S + METERING_S + lost_s)
    assert product_state(world, 0) == "SETTLED"


def test_an_outage_over_a_whole_day() -> None:
    """Products whose whole trading time fell into it open and close without a trade, and pass through all states."""
    world = marketplace(periods=3)
    run(world, SLOT_S)
    sell = order(world, "home-2/pv", "sell", slot=3, wh=800, price=30)
    until = SLOT_S + 86_400 + 700
    world.next_block(until)
    catch_up(world)
    assert len(outages(world)) == 1
    assert state_of(world, sell) == "EXPIRED"
    delivered = [slot for slot in range(1, until // SLOT_S) if product_state(world, slot) == "DELIVERED"]
    assert delivered == list(range(1, until // SLOT_S))
    assert refusal(world, "home-1/load", "buy", slot=20) == "closed-product"
    for slot in delivered:
        report(world, "home-1/load", slot)
    current = until // SLOT_S
    assert [product_state(world, slot) for slot in range(current, current + 4)] == ["OPEN"] * 4
    order(world, "home-1/load", "buy", slot=current + 1)
    run(world, until + METERING_S + DISPUTE_S)
    passed = ways(world)
    assert all(passed[slot] == WAY for slot in range(current))
    audit(world)


def test_an_outage_over_the_end_of_a_period() -> None:
    """Orders and readings belong to the period of their slot, however late."""
    start = (PERIOD_SLOTS - 2) * SLOT_S
    world = marketplace(start=start, periods=2)
    slot = PERIOD_SLOTS - 1
    run(world, start + TICK_S)
    order(world, "home-1/load", "buy", slot=slot, wh=500, price=80)
    order(world, "home-2/pv", "sell", slot=slot, wh=500, price=30)
    run(world, start + 3 * TICK_S)
    order(world, "home-1/load", "buy", slot=slot, wh=300, price=80)
    world.next_block((PERIOD_SLOTS + 2) * SLOT_S)
    assert product_state(world, slot) == "DELIVERED" and product(world, slot)[11] == 0
    report(world, "home-1/load", slot, import_wh=600)
    report(world, "home-2/pv", slot, export_wh=500)
    run(world, world.time + METERING_S)
    settled = cast("Any", world.query("settlement", "settled", network="home-1", slot=slot))[0]
    assert settled[1] == 500 and settled[8] == 100
    budget = cast("Any", world.query("budget", "budget", device="home-1/load", period=0))
    assert budget[2] == 0, "nothing is held any more"
    audit(world)


def test_two_outages_in_a_row() -> None:
    world = marketplace()
    run(world, SLOT_S)
    first = SLOT_S + METERING_S
    world.next_block(first + 600)
    catch_up(world)
    second = cast("int", world.next_event())
    assert second > world.time
    world.next_block(second + 1_000)
    catch_up(world)
    assert outages(world) == [(first, first + 600), (second, second + 1_000)]
    passed = ways(world)
    run(world, world.time + 6 * SLOT_S)
    passed = ways(world)
    assert passed[0] == passed[1] == passed[2] == WAY
    assert windows(world, 0) == (METERING_S, METERING_S + DISPUTE_S + 600 + 1_000)


def test_an_idle_chain_has_had_no_outage() -> None:
    """A quarter of an hour without anything due, and a block at the moment when something is."""
    world = marketplace()
    run(world, 10 * SLOT_S)
    assert outages(world) == []
    due = cast("int", world.next_event())
    world.next_block(due + OUTAGE_S)
    assert outages(world) == [], "not later than a block may be"
    catch_up(world)
    due = cast("int", world.next_event())
    world.next_block(due + OUTAGE_S + 1)
    assert outages(world) == [(due, due + OUTAGE_S + 1)]
    events = [event.data for event in world.events if event.topic == "outage"]
    assert events == [(due, due + OUTAGE_S + 1)]


def test_a_chain_begins_without_an_outage() -> None:
    assert outages(marketplace(start=1_700_000_000, allocated=0)) == []


def test_work_that_one_block_leaves_to_the_next_is_no_outage() -> None:
    world = Council()
    world.change(open_before_s=900 * SLOT_S)
    while len(world.products()) < 901:
        world.next_block(world.time + 200)
    assert outages(world) == []


def test_moves_of_many_entries_are_bounded_and_everything_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """With three a block, and another outage before all are done."""
    assert MOVES_PER_BLOCK >= 1_000
    for moves in (MOVES_PER_BLOCK, 3):
        monkeypatch.setattr(market_outage, "MOVES_PER_BLOCK", moves)
        world = marketplace(dispute_window_s=20 * SLOT_S)
        run(world, 15 * SLOT_S)
        for until in (17 * SLOT_S, 19 * SLOT_S + 50):
            world.next_block(until)
        catch_up(world)
        assert len(outages(world)) == 2
        run(world, 45 * SLOT_S)
        assert all(way == WAY for slot, way in ways(world).items() if slot < 10)
        for slot in range(20):
            require_time(world, slot, 20 * SLOT_S)


def test_readings_wait_behind_nothing_while_entries_are_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are moved first: those that meters still report for."""
    monkeypatch.setattr(market_outage, "MOVES_PER_BLOCK", 3)
    world = marketplace(dispute_window_s=20 * SLOT_S)
    run(world, 15 * SLOT_S)
    world.next_block(15 * SLOT_S + METERING_S + 5_000)
    assert world.query("rules", "outages") != ()
    assert product_state(world, 15) == "OPEN", "the calendars wait"
    assert cast("int", world.next_event()) <= world.time, "and call for the next block"
    catch_up(world)
    assert product_state(world, 15) == "DELIVERED"


def test_an_entry_that_cannot_be_moved_holds_no_other_back() -> None:
    world = marketplace(dispute_window_s=20 * SLOT_S)
    run(world, 5 * SLOT_S)
    with world.transaction() as ctx:
        ctx.put(b"product/" + uint(2), "spoilt")
    before = {slot: windows(world, slot)[1] for slot in (0, 1, 3)}
    world.next_block(cast("int", world.next_event()) + 5_000)
    assert {slot: windows(world, slot)[1] - before[slot] for slot in before} == dict.fromkeys(before, 5_000)
    parked = [event.data for event in world.events if event.topic == "market-parked"]
    assert parked == [("outage 2", "internal")]
    catch_up(world)
    assert product_state(world, 5) == "DELIVERED"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2_000), st.sampled_from((0, 0, 0, 301, 2_000, 9_000, 90_000))), max_size=8))
def test_whatever_stands_still_products_pass_all_states_and_meters_have_their_time(
    steps: list[tuple[int, int]],
) -> None:
    """Blocks come whenever something is due, but for outages of any length at any moment."""
    world = marketplace(periods=1)
    for ahead, still in steps:
        run(world, world.time + ahead)
        due = max(world.next_event() or world.time, world.time)
        world.next_block(due + still)
        catch_up(world)
        assert (len(outages(world)) > 0) == any(event.topic == "outage" for event in world.events)
    run(world, world.time + 6 * SLOT_S)
    for slot, way in ways(world).items():
        assert way == WAY[: len(way)], "no state is left out, none comes twice"
        assert (len(way) == len(WAY)) == (product(world, slot)[7] <= world.time)
        require_time(world, slot, DISPUTE_S)
    assert sorted(ways(world)) == list(range(len(ways(world)))), "no slot is left out"
    audit(world)
