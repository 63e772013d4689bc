"""What becomes of a budget at the end of its period: closed once, in order, by the owner's policy, in bounded work."""

from typing import Any, cast

import pytest

from chaincode import accounts, budget, budget_audit, budget_close, budget_lots, market_calendar, settlement_events
from chaincode.contract import MAX_AMOUNT
from chaincode.registry import default_registry
from tests.chaincode.marketplace import (
    ADMIN,
    ALLOCATED,
    PERIOD_SLOTS,
    SLOT_S,
    STREET,
    UTILITY,
    audit,
    balance,
    key_of,
    marketplace,
    order,
    settings,
)
from tests.chaincode.world import World

OVER_S = PERIOD_SLOTS * SLOT_S + 900 + 1_800
"""Block time at which the last slot of period 0 is FINAL."""
HOMES = ("home-1", "home-2", "home-3")
BUDGET = 2 * ALLOCATED


def go_to(world: World, time: int) -> None:
    """Block by block, as things fall due, until ``time``."""
    while (due := world.next_event()) is not None and due <= time:
        world.next_block(max(due, world.time))
    world.next_block(max(time, world.time))


def book(world: World, period: int, home: str = "home-1") -> accounts.NetworkBook:
    with world.transaction() as ctx:
        return accounts.network_book(ctx, home, period)


def device(world: World, name: str, period: int) -> accounts.DeviceBook:
    with world.transaction() as ctx:
        return accounts.device_book(ctx, name, period)


def closing(world: World, period: int, home: str = "home-1") -> Any:
    """(status, the fields of ``Closing`` but the block; None before)."""
    row = cast("Any", world.query("periods", "period", network=home, period=period))
    return row[0], row[6] and row[6][:-1]


def status(world: World, period: int, home: str = "home-1") -> str:
    return cast("str", closing(world, period, home)[0])


def lots(world: World, period: int, home: str = "home-1") -> Any:
    return world.query("periods", "lots", network=home, period=period)


def policy(world: World, home: str = "home-1", **terms: Any) -> None:
    world.call(key_of(home), "budget", "set_policy", network=home, **terms)


def issue(world: World, period: int, amount: int, home: str = "home-1") -> None:
    args = {"network": home, "period": period, "amount": amount, "reference": b"more %d" % world.time}
    world.call(UTILITY, "budget", "issue", **args)


def check(world: World, periods: int = 4) -> None:
    """Checklist 1: the conservation law, and nothing is lost or made."""
    audit(world)
    with world.transaction() as ctx:
        for home in HOMES:
            for period in range(periods):
                assert budget_audit.totals_of(ctx, home, period).balance(), (home, period)


def closed(world: World) -> list[Any]:
    """(owner, kind, period) of what was closed, in order."""
    return [(*event.keys, *event.data[:2]) for event in world.events if event.topic == "period-closed"]  # type: ignore[index]


def test_a_period_is_planned_active_closing_and_closed() -> None:
    world = marketplace(periods=2)
    assert [status(world, period) for period in (0, 1)] == ["active", "planned"]
    go_to(world, PERIOD_SLOTS * SLOT_S)
    assert closing(world, 0) == ("closing", None) and status(world, 1) == "active"
    waiting = cast("Any", world.query("periods", "period", network="home-1", period=0))[5]
    assert waiting == 2, "its last two slots may still change"
    go_to(world, OVER_S - 1)
    assert closing(world, 0) == ("closing", None)
    go_to(world, OVER_S)
    assert closing(world, 0) == ("closed", ("closed", 2, BUDGET, 0, BUDGET, 0, 0, 0))
    assert book(world, 0).carried_out == BUDGET == book(world, 1).carried_in == book(world, 1).pool
    assert device(world, "home-1/load", 0).withdrawn == ALLOCATED
    assert device(world, "home-1/load", 1).available == ALLOCATED, "what was planned stays as it was"
    assert lots(world, 1) == ((0, 1, BUDGET),) and lots(world, 0) == ()
    assert closed(world) == [(home, "pool", 0) for home in HOMES]
    (told,) = [event.data for event in world.events if event.topic == "period-closed" and event.keys == ("home-1",)]
    assert told == ("pool", 0, 2, BUDGET, 0, BUDGET, 0, 0, 0, 1)
    check(world)


def test_orders_for_the_slots_of_the_next_period_draw_on_it() -> None:
    world = marketplace(periods=2)
    go_to(world, (PERIOD_SLOTS - 2) * SLOT_S)
    order(world, "home-1/load", "buy", slot=PERIOD_SLOTS - 1, wh=1_000, price=50)
    order(world, "home-1/load", "buy", slot=PERIOD_SLOTS, wh=2_000, price=50)
    assert [device(world, "home-1/load", period).reserved for period in (0, 1)] == [50_000, 100_000]
    go_to(world, OVER_S)
    assert device(world, "home-1/load", 0)[:2] == (0, 0)
    check(world)


def test_nothing_is_shared_taken_or_given_in_a_period_that_is_closing_or_closed() -> None:
    world = marketplace()
    issue(world, 0, 100)
    own = key_of("home-1")
    calls: list[tuple[bytes, str, dict[str, Any]]] = [
        (UTILITY, "issue", {"network": "home-1", "amount": 1, "reference": b"late"}),
        (own, "allocate", {"network": "home-1", "amounts": (("home-1/load", 1),)}),
        (own, "share", {"giver": "home-1/load", "receiver": "home-1/battery", "amount": 1}),
        (own, "withdraw", {"network": "home-1", "amounts": (("home-1/load", 1),)}),
    ]
    for time, code in ((PERIOD_SLOTS * SLOT_S, "period-closing"), (OVER_S, "period-over")):
        go_to(world, time)
        for sender, method, args in calls:
            assert world.refused(sender, "budget", method, period=0, **args) == code, method
    check(world)


def test_closing_twice_moves_what_came_since_and_nothing_else() -> None:
    world = marketplace()
    go_to(world, OVER_S)
    before = book(world, 0), book(world, 1), lots(world, 1)
    for late in (0, 70):
        if late:  # as if a hold that failed had been released
            with world.transaction() as ctx:
                accounts.mint(ctx, "pool:home-1:0", late, "issue", b"late")
        with world.transaction() as ctx:
            budget_close.release(ctx, "pool", "home-1", 0, PERIOD_SLOTS - 1)
        assert status(world, 0) == "closing"
        world.next_block(world.time + 1)
        assert closing(world, 0) == ("closed", ("closed", 2, BUDGET, 0, BUDGET + late, 0, 0, 0))
        if not late:
            assert before == (book(world, 0), book(world, 1), lots(world, 1))
    assert lots(world, 1) == ((0, 1, BUDGET + 70),)
    check(world)


def test_the_cap_keeps_the_newest_and_the_rest_is_returned() -> None:
    world = marketplace()
    policy(world, carry_cap=5_000)
    go_to(world, OVER_S)
    assert closing(world, 0)[1][4:] == (5_000, BUDGET - 5_000, 0, 0)
    assert book(world, 0).returned == balance(world, "utility") == BUDGET - 5_000
    issue(world, 1, 2_000)
    go_to(world, OVER_S + PERIOD_SLOTS * SLOT_S)
    assert lots(world, 2) == ((0, 2, 3_000), (1, 1, 2_000)), "what is fresh is the newest"
    assert closing(world, 1)[1][4:6] == (5_000, 2_000)
    check(world)


def test_carry_over_expires_lot_by_lot() -> None:
    world = marketplace(allocated=0)
    policy(world, carry_periods=2)
    for period, amount in enumerate((1_000, 200, 30)):
        issue(world, period, amount)
        go_to(world, OVER_S + period * PERIOD_SLOTS * SLOT_S)
    assert lots(world, 3) == ((1, 2, 200), (2, 1, 30)), "what came in period 0 has been carried twice, and is returned"
    assert [book(world, period).returned for period in range(3)] == [0, 0, 1_000]
    with world.transaction() as ctx:  # the oldest is spent first
        accounts.transfer(ctx, "pool:home-1:3", accounts.UTILITY, 190, "retail", b"spent")
    go_to(world, OVER_S + 3 * PERIOD_SLOTS * SLOT_S)
    assert lots(world, 4) == ((2, 2, 30),) and book(world, 3).returned == 10
    check(world)


def test_what_is_left_is_redeemed_at_the_price_and_returned_without_one() -> None:
    world = marketplace()
    policy(world, carry_cap=0, excess="redeem")
    policy(world, "home-2", carry_cap=0, excess="redeem")
    world.call(UTILITY, "supply", "publish_price", permille=800, from_slot=20)
    go_to(world, OVER_S)
    assert closing(world, 0)[1][4:] == (0, 0, BUDGET, 0) and book(world, 0).redeemed == BUDGET
    assert cast("Any", world.query("accounts", "supply"))[1] == 2 * BUDGET
    world = marketplace()
    policy(world, carry_cap=0, excess="redeem")
    go_to(world, OVER_S)
    assert closing(world, 0)[1][4:] == (0, BUDGET, 0, 0)
    check(world)


def test_what_is_left_is_sold_up_to_the_agreements_cap() -> None:
    world = marketplace()
    terms = {"giver": "home-1", "taker": "home-2", "kind": "sale", "cap": 9_000, "automatic": True, "price": 700}
    span = {"first_slot": 1, "end_slot": 10_000, "same_class": False, "rank": 1}
    number = world.call(key_of("home-1"), "agreements", "propose", **terms, **span)
    world.call(key_of("home-2"), "agreements", "accept", agreement=number)
    policy(world, carry_cap=1_000, excess="sell", sale=number)
    go_to(world, OVER_S)
    assert closing(world, 0)[1][4:] == (1_000, BUDGET - 10_000, 0, 9_000)
    assert book(world, 0).sold == 9_000 == book(world, 1, "home-2").received
    check(world)


def test_a_network_that_fails_is_parked_and_closed_when_it_is_released() -> None:
    world = marketplace(periods=2)
    key = b"acc-network/home-2\0" + (1).to_bytes(4, "big")
    with world.transaction() as ctx:
        sound = accounts.network_book(ctx, "home-2", 1)
        ctx.put(key, tuple(sound._replace(earned=MAX_AMOUNT + 1)))
    go_to(world, OVER_S)
    assert [status(world, 0, home) for home in HOMES] == ["closed", "closing", "closed"]
    (row,) = cast("Any", world.query("settlement", "parked"))
    assert row[:3] == ("home-2", PERIOD_SLOTS - 1, "bad-amount") and row[4] == "period"
    assert device(world, "home-2/load", 0).available == ALLOCATED, "all or nothing"
    go_to(world, OVER_S + SLOT_S)
    with world.transaction() as ctx:
        ctx.put(key, tuple(accounts.network_book(ctx, "home-2", 1)._replace(earned=0)))
    world.call(ADMIN, "settlement", "release", index=0)
    go_to(world, OVER_S + SLOT_S)
    world.next_block(world.time + 1)
    assert closing(world, 0, "home-2") == ("closed", ("closed", 2, BUDGET, 0, BUDGET, 0, 0, 0))
    assert book(world, 1, "home-2").carried_in == BUDGET
    check(world)


def test_what_an_order_still_holds_is_not_left_in_a_closed_period() -> None:
    """A gate that was struck out frees nothing: the period is parked until the order is gone, but for the rest."""
    world = marketplace(periods=2)
    with world.transaction() as ctx:
        assert budget.hold(ctx, "home-2/load", 0, b"stuck", 40_000)
    go_to(world, OVER_S)
    assert closing(world, 0, "home-2")[0] == "closing"
    (row,) = cast("Any", world.query("settlement", "parked"))
    assert row[:3] == ("home-2", PERIOD_SLOTS - 1, "orders-open") and row[4] == "period"
    assert book(world, 1, "home-2").carried_in == BUDGET - 40_000
    world.call(ADMIN, "settlement", "release", index=0)
    for _ in range(2):
        world.next_block(world.time + 1)
    assert status(world, 0, "home-2") == "closing", "as long as it is held"
    with world.transaction() as ctx:
        budget.release(ctx, b"stuck", None)
    world.call(ADMIN, "settlement", "release", index=1)
    for _ in range(2):
        world.next_block(world.time + 1)
    assert status(world, 0, "home-2") == "closed"
    assert book(world, 1, "home-2").carried_in == BUDGET
    check(world)


def test_what_fails_twice_goes_into_the_first_period_that_is_not_over() -> None:
    """A period released after the next one was closed: its rest does not get stuck there."""
    world = marketplace(periods=2)
    key = b"bud-policy/home-2"
    with world.transaction() as ctx:
        ctx.put(key, ("pool", False, 0, "much"))  # no policy
    go_to(world, OVER_S)
    assert status(world, 0, "home-2") == "closing"
    with world.transaction() as ctx:
        ctx.delete(key)
    go_to(world, OVER_S + PERIOD_SLOTS * SLOT_S)
    assert [status(world, period, "home-2") for period in (0, 1)] == ["closing", "closed"]
    world.call(ADMIN, "settlement", "release", index=0)
    world.next_block(world.time + 1)
    world.next_block(world.time + 1)
    assert status(world, 0, "home-2") == "closed"
    assert lots(world, 2, "home-2") == ((0, 1, BUDGET), (1, 1, BUDGET))
    check(world)


@pytest.mark.parametrize("until", [1, 3])
def test_a_period_that_ends_while_the_market_is_down_is_closed_when_it_is_back(until: int) -> None:
    """Checklist 1: the same as if it had been up, for one period or several."""
    world = marketplace(periods=3)
    policy(world, carry_cap=1_000)
    go_to(world, (PERIOD_SLOTS - 5) * SLOT_S)
    back = (PERIOD_SLOTS * until + 3) * SLOT_S
    world.next_block(back)  # nobody could make a block meanwhile
    assert [event.data for event in world.events if event.topic == "outage"]
    assert [status(world, period) for period in range(until + 2)] == ["closing"] * until + ["active", "planned"]
    assert closed(world) == []
    go_to(world, back + 7 * SLOT_S)
    assert [status(world, period) for period in range(until)] == ["closed"] * until
    assert closed(world) == [(home, "pool", period) for period in range(until) for home in HOMES], "in order"
    # Into the period that runs by now; the cap is for all that is carried into one.
    assert [book(world, period + 1).carried_in for period in range(until)] == [0] * (until - 1) + [1_000]
    assert book(world, until, "home-2").carried_in == until * BUDGET
    check(world)


def test_what_is_carried_can_be_spent_however_long_a_slot_may_be_disputed() -> None:
    """Days with a dispute window of a week: what is left of a day does not lag behind them."""
    world = marketplace(dispute_window_s=7 * 86_400)
    go_to(world, OVER_S - 1_800 + 7 * 86_400)
    assert status(world, 0) == "closed" and book(world, 8).carried_in == BUDGET and lots(world, 8) == ((0, 1, BUDGET),)
    amounts = (("home-1/load", 5_000_000),)
    world.call(key_of("home-1"), "budget", "allocate", network="home-1", period=8, amounts=amounts)
    order(world, "home-1/load", "buy", slot=world.time // SLOT_S + 1, wh=1_000, price=50)
    assert device(world, "home-1/load", 8).reserved == 50_000
    check(world, 9)


def test_a_unit_released_after_the_close_counts_for_the_period_that_runs() -> None:
    world = marketplace(periods=2)
    key = b"acc-device/home-1/load\0" + bytes(4)
    with world.transaction() as ctx:
        full = accounts.device_book(ctx, "home-1/load", 0)
        ctx.put(key, tuple(full._replace(spent=MAX_AMOUNT - 5)))
    registers = {"import_register": 500, "export_register": 0}
    go_to(world, 2 * SLOT_S)
    args = {"device": "home-1/load", "slot": 1, "import_wh": 500, "export_wh": 0, **registers}
    world.call(key_of("meter home-1/load"), "settlement", "report", **args)
    go_to(world, OVER_S)
    assert status(world, 0) == "closed"
    with world.transaction() as ctx:
        ctx.put(key, tuple(accounts.device_book(ctx, "home-1/load", 0)._replace(spent=0)))
    before = device(world, "home-1/load", 0), device(world, "home-1/load", 1)
    world.call(ADMIN, "settlement", "release", index=0)
    world.next_block(world.time + 1)
    assert device(world, "home-1/load", 0) == before[0]
    assert device(world, "home-1/load", 1).spent == 50_000
    bill = cast("Any", world.query("settlement", "bill_of_period", network="home-1", period=0))
    assert bill[1] == 50_000, "the bill is that of the slot's own period"
    check(world)


def test_ten_thousand_devices_are_closed_in_bounded_work() -> None:
    """Checklist 2: the blocks go on, each with a bounded part, and every network is closed once."""
    devices = {
        f"n{network:02}/d{number:03}": (f"n{network:02}", "load", "b1", 1_000, 0)
        for network in range(40)
        for number in range(250)
    }
    parts = settings(devices, STREET)
    rows = cast("Any", parts["identity"]["devices"])
    parts["identity"]["devices"] = tuple((*row[:5], None, *row[6:]) for row in rows)  # connected nowhere: no readings
    world = World(default_registry(), parts)
    for network in dict.fromkeys(row[0] for row in devices.values()):
        own = [name for name in devices if name.startswith(network)]
        money = {"network": network, "period": 0}
        world.call(UTILITY, "budget", "issue", **money, amount=100 * len(own), reference=b"start")
        world.call(key_of(network), "budget", "allocate", **money, amounts=tuple((name, 100) for name in own))
    go_to(world, OVER_S - 1)
    per_block: list[int] = []
    told = len(world.events)
    while len(closed(world)) < 40:
        world.next_block(max(world.time, OVER_S))
        fresh = [event for event in world.events[told:] if event.topic == "transfer"]
        per_block.append(len(fresh))
        told = len(world.events)
    world.next_block(world.time)
    per_block = [count for count in per_block if count]
    most = settlement_events.WORK_PER_BLOCK * budget_close.DEVICES_OF_WORK + 256
    assert len(per_block) > 1 and max(per_block) < most and sum(per_block) == 10_000 + 40
    assert len(closed(world)) == len(set(closed(world))) == 40
    with world.transaction() as ctx:
        entry = market_calendar.find(ctx, market_calendar.SETTLEMENT, market_calendar.PERIOD)
        assert entry is None and next(ctx.scan(budget_close.QUEUE), None) is None
        assert all(budget_audit.totals_of(ctx, f"n{number:02}", 0).balance() for number in range(40))


def test_lots_that_are_too_many_become_fewer() -> None:
    world = marketplace(allocated=0)
    with world.transaction() as ctx:
        for since in range(100):
            budget_lots.add(ctx, "home-1", 200, [budget_lots.Lot(since, 200 - since, 10)])
        found = budget_lots.lots_of(ctx, "home-1", 200)
    assert len(found) == budget_lots.MAX_LOTS and sum(lot.amount for lot in found) == 1_000
    assert found[0][:2] == (0, 200) and found[-1] == (99, 101, 10)
