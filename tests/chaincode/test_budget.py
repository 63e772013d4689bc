"""Budgets told as stories: issue, allocate, hold, be helped; periods and settings."""

from typing import Any, cast

import pytest

from chaincode import budget, budget_state, budget_supply
from chaincode.contract import MAX_AMOUNT, ContractError
from tests.chaincode.budget_steps import (
    BATTERY,
    EV,
    LOAD,
    PV,
    book,
    charge,
    check_sum,
    hold,
    pool,
    resolve,
)
from tests.chaincode.neighbourhood import (
    OWNER_1,
    OWNER_2,
    STRANGER,
    UTILITY,
    at_slot,
    fund,
    key_of,
    neighbourhood,
)


def test_issue_and_allocate() -> None:
    world = neighbourhood()
    issue = {"network": "home-1", "period": 0, "amount": 1000}
    assert world.call(UTILITY, "budget", "issue", **issue, reference=b"a") == 1000
    assert world.call(UTILITY, "budget", "issue", **issue, reference=b"b") == 2000
    assert world.refused(UTILITY, "budget", "issue", **issue, reference=b"a") == "duplicate-id"
    amounts = ((LOAD, 700), (EV, 300))
    assert world.call(OWNER_1, "budget", "allocate", network="home-1", period=0, amounts=amounts) == 1000
    assert book(world, LOAD)["available"] == 700
    status = world.query("budget", "network_budget", network="home-1", period=0)
    assert status == ("active", 2000, 0, 1000, 1000, *(0,) * 10)
    check_sum(world)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": 0}, "bad-amount"),
        ({"amount": -5}, "bad-amount"),
        ({"amount": MAX_AMOUNT + 1}, "bad-amount"),
        ({"amount": budget_supply.MAX_OUTSTANDING + 1}, "bad-amount"),
        ({"amount": 2**64}, "bad-args"),
        ({"period": -1}, "unknown-period"),
        ({"period": budget_state.PERIODS_AHEAD + 8}, "unknown-period"),
        ({"period": 6}, "period-closing"),
        ({"network": "home-9"}, "unknown-network"),
        ({"reference": b""}, "bad-reference"),
        ({"reference": bytes(65)}, "bad-reference"),
    ],
)
def test_bad_issues(change: dict[str, Any], code: str) -> None:
    world = neighbourhood()
    at_slot(world, 70)
    good: dict[str, Any] = {"network": "home-1", "period": 7, "amount": 10, "reference": b"r"}
    assert world.refused(UTILITY, "budget", "issue", **good | change) == code
    world.call(UTILITY, "budget", "issue", **good)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amounts": ((LOAD, 0),)}, "bad-amount"),
        ({"amounts": ((LOAD, -1),)}, "bad-amount"),
        ({"amounts": ((LOAD, 60), (EV, 41))}, "insufficient-funds"),
        ({"amounts": (("home-2/load", 1),)}, "other-network"),
        ({"amounts": (("home-1/bike", 1),)}, "unknown-device"),
        ({"network": "home-9"}, "unknown-network"),
        ({"network": "home-2"}, "wrong-key"),
        ({"period": 500}, "unknown-period"),
    ],
)
def test_bad_allocations(change: dict[str, Any], code: str) -> None:
    world = neighbourhood()
    fund(world, {}, spare=100)
    good: dict[str, Any] = {"network": "home-1", "period": 0, "amounts": ((LOAD, 1),)}
    assert world.refused(OWNER_1, "budget", "allocate", **good | change) == code
    assert pool(world) == 100


def test_who_may_do_what_with_budgets() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 100}, spare=100)
    for sender in (OWNER_1, key_of(LOAD), STRANGER, b""):
        args = {"network": "home-1", "period": 0, "amount": 1, "reference": b"x"}
        assert world.refused(sender, "budget", "issue", **args) == "not-allowed"
        assert world.refused(sender, "budget", "redeem", amount=1, reference=b"x") == "not-allowed"
    calls: list[tuple[str, dict[str, Any]]] = [
        ("allocate", {"network": "home-1", "period": 0, "amounts": ((LOAD, 1),)}),
        ("allocate_by_history", {"network": "home-1", "period": 0, "amount": 1, "devices": (LOAD,)}),
        ("share", {"giver": LOAD, "receiver": EV, "period": 0, "amount": 1}),
        ("set_policy", {"network": "home-1", "proceeds": "pool", "devices": ()}),
        ("acknowledge", {"network": "home-1", "alert": 0}),
    ]
    for sender in (UTILITY, OWNER_2, key_of(LOAD), STRANGER):
        for method, args in calls:
            assert world.refused(sender, "budget", method, **args) == "wrong-key", method
    forecast = {"device": LOAD, "period": 0, "amount": 5}
    for sender in (OWNER_2, key_of(LOAD)):
        assert world.refused(sender, "budget", "set_forecast", **forecast) == "wrong-key", "budgets are divided by it"
    world.call(OWNER_1, "budget", "set_forecast", **forecast)
    assert book(world, LOAD)["forecast"] == 5


def test_the_utility_redeems_what_it_has() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 100})
    charge(world, {LOAD: 60})
    assert world.refused(UTILITY, "budget", "redeem", amount=61, reference=b"x") == "insufficient-funds"
    world.call(UTILITY, "budget", "redeem", amount=60, reference=b"x")
    assert world.query("accounts", "supply") == (100, 60)
    check_sum(world)


def test_a_hold_is_posted_in_parts_and_the_rest_released() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000})
    assert hold(world, LOAD, b"o1", 600)
    with world.transaction() as ctx:
        budget.post(ctx, b"o1", 250, "escrow:9", "trade")
        budget.release(ctx, b"o1", 50)
        assert budget.hold_of(ctx, b"o1") == (LOAD, 0, 300, ())
        budget.release(ctx, b"o1", None)
        budget.release(ctx, b"o1", None)  # nothing left, nothing done
        assert budget.hold_of(ctx, b"o1") is None
    assert book(world, LOAD) | {"available": 750, "reserved": 0, "spent": 250} == book(world, LOAD)
    check_sum(world)


@pytest.mark.parametrize(("ref", "amount", "code"), [
    (b"o2", 1, "unknown-hold"), (b"o1", 101, "over-budget"), (b"o1", 0, "bad-amount"), (b"o1", -1, "bad-amount"),
])  # fmt: skip
def test_what_a_hold_does_not_give(ref: bytes, amount: int, code: str) -> None:
    world = neighbourhood()
    fund(world, {LOAD: 100})
    hold(world, LOAD, b"o1", 100)
    for way in ("post", "release"):
        with pytest.raises(ContractError) as caught, world.transaction() as ctx:
            if way == "post":
                budget.post(ctx, ref, amount, "escrow:9", "trade")
            else:
                budget.release(ctx, ref, amount)
        assert caught.value.code == code
    assert book(world, LOAD)["reserved"] == 100


def test_what_others_can_spare() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000, BATTERY: 1000, EV: 10})
    at_slot(world, 4)  # six of ten slots are left: 600 of each allocation is needed, 400 can be spared
    assert not hold(world, EV, b"o1", 810)
    assert resolve(world) == {b"o1": True}
    assert (book(world, BATTERY)["lent"], book(world, LOAD)["lent"]) == (400, 400)
    assert book(world, EV) | {"available": 0, "reserved": 810, "borrowed": 800} == book(world, EV)
    world.next_block()
    assert not hold(world, PV, b"o2", 1)
    assert resolve(world) == {b"o2": False}


def test_forecast_use_and_floor_keep_money_back() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000, BATTERY: 1000, EV: 1000})
    world.call(
        OWNER_1,
        "budget",
        "set_policy",
        network="home-1",
        proceeds="pool",
        devices=((BATTERY, 100, 150, True, None, 0, 0),),
    )
    world.call(OWNER_1, "budget", "set_forecast", device=LOAD, period=0, amount=1500)
    at_slot(world, 4)
    with world.transaction() as ctx:
        budget.note_use(ctx, EV, 3, 600, 100)  # 600 in four slots, so 900 in six
    assert not hold(world, PV, b"o1", 450)
    # LOAD: 1000 - 1500 * 6/10 = 100; BATTERY: 1000 - 600 - 150 = 250; EV: 1000 - 900 = 100; together exactly enough.
    assert resolve(world) == {b"o1": True}
    assert [book(world, device)["lent"] for device in (LOAD, BATTERY, EV)] == [100, 250, 100]


def test_donors_are_asked_by_rank_then_spare_then_id() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000, BATTERY: 1000, EV: 500})
    at_slot(world, 5)  # spares: 500, 500, 250
    donors = ((EV, 1, 0, True, None, 0, 0), (BATTERY, 100, 0, True, None, 0, 0), (LOAD, 100, 100, True, None, 0, 0))
    world.call(OWNER_1, "budget", "set_policy", network="home-1", proceeds="pool", devices=donors)
    hold(world, PV, b"o1", 700)
    resolve(world)
    # EV by its rank first, then BATTERY with 500 before LOAD with 400.
    assert [book(world, device)["lent"] for device in (EV, BATTERY, LOAD)] == [250, 450, 0]
    shares = world.query("budget", "shares", network="home-1", period=0)
    assert [share[:5] for share in cast("tuple[Any, ...]", shares)] == [
        (EV, PV, 250, 0, b"o1"),
        (BATTERY, PV, 450, 0, b"o1"),
    ]
    assert world.query("budget", "shares", network="home-1", period=0, first=2) == ()
    with pytest.raises(ContractError, match="bad-args"):
        world.query("budget", "shares", network="home-1", period=0, first=-1)


def test_who_does_not_give_is_not_asked() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000, BATTERY: 1000})
    at_slot(world, 9)
    world.call(
        OWNER_1, "budget", "set_policy", network="home-1", proceeds="pool", devices=((LOAD, 1, 0, False, None, 0, 0),)
    )
    hold(world, PV, b"o1", 901)
    assert resolve(world) == {b"o1": False}
    hold(world, PV, b"o2", 900)
    assert resolve(world) == {b"o2": True}
    assert book(world, LOAD)["lent"] == 0


def test_all_needs_of_a_block_are_decided_together() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000, BATTERY: 900})
    at_slot(world, 5)  # LOAD spares 500, BATTERY 450
    hold(world, EV, b"o1", 600)
    hold(world, PV, b"o2", 300)
    assert resolve(world) == {b"o1": True, b"o2": True}
    shares = cast("tuple[Any, ...]", world.query("budget", "shares", network="home-1", period=0))
    # LOAD's 500 are divided 600 : 300, 333.33 : 166.67; BATTERY gives what is missing then.
    assert [share[:3] for share in shares] == [(LOAD, EV, 333), (LOAD, PV, 167), (BATTERY, EV, 267), (BATTERY, PV, 133)]


def test_a_network_whose_needs_cannot_be_decided_holds_up_no_other() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000})
    at_slot(world, 5)
    hold(world, EV, b"o1", 400)
    hold(world, "home-2/load", b"o2", 400)
    with world.transaction() as ctx:  # damage the state: the list of home-2's devices is gone
        ctx.delete(b"network-devices/home-2\0" + bytes(4))
    assert resolve(world) == {b"o1": True, b"o2": False}
    assert [event.data for event in world.events if event.topic == "needs-refused"] == [(0, "internal")]
    assert resolve(world) == {}, "and it is not tried for ever"


def test_when_not_all_needs_can_be_met_the_greatest_goes_without() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000, EV: 20})
    at_slot(world, 5)
    for ref, device, amount in ((b"o1", EV, 320), (b"o2", PV, 301), (b"o3", PV, 150)):
        assert not hold(world, device, ref, amount)
    # 300, 301 and 150 are missing, 500 can be spared.
    assert resolve(world) == {b"o1": True, b"o2": False, b"o3": True}
    assert resolve(world) == {}


def test_a_need_that_own_money_covers_by_now_needs_no_help() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000, EV: 100})
    at_slot(world, 5)
    hold(world, EV, b"o1", 100)
    assert not hold(world, EV, b"o2", 90)
    with world.transaction() as ctx:
        budget.release(ctx, b"o1", None)
    assert resolve(world) == {b"o2": True}
    assert book(world, EV)["borrowed"] == 0


def test_what_is_released_unspent_goes_back_to_its_donors_last_in_first_out() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 200, BATTERY: 100, EV: 10})
    at_slot(world, 5)
    hold(world, EV, b"o1", 150)  # its own 10, 100 of LOAD, then 40 of BATTERY
    assert resolve(world) == {b"o1": True}
    with world.transaction() as ctx:
        budget.post(ctx, b"o1", 30, "escrow:9", "trade")  # its own 10, and 20 of LOAD's
        budget.release(ctx, b"o1", 50)  # 40 to BATTERY, 10 to LOAD
    assert (book(world, LOAD)["lent"], book(world, BATTERY)["lent"], book(world, EV)["borrowed"]) == (90, 0, 90)
    with world.transaction() as ctx:
        budget.release(ctx, b"o1", None)
    assert book(world, LOAD) | {"available": 180, "lent": 20} == book(world, LOAD)
    assert book(world, EV) | {"available": 0, "reserved": 0, "borrowed": 20, "spent": 30} == book(world, EV)
    shares = cast("tuple[Any, ...]", world.query("budget", "shares", network="home-1", period=0))
    assert [share[:4] for share in shares] == [(LOAD, EV, 100, 80), (BATTERY, EV, 40, 40)]


def test_settling_a_fill_pays_and_gives_back_at_once() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 200, EV: 10})
    at_slot(world, 5)
    hold(world, LOAD, b"o1", 100)
    with world.transaction() as ctx:
        budget.settle(ctx, b"o1", 50, 10, "escrow:9", "trade")
        budget.settle(ctx, b"o1", 0, 5, "escrow:9", "trade")
        budget.settle(ctx, b"o1", 5, 0, "escrow:9", "trade")
        assert budget.hold_of(ctx, b"o1") == (LOAD, 0, 30, ())
    assert book(world, LOAD) | {"available": 115, "reserved": 30, "spent": 55} == book(world, LOAD)
    for amount, back, code in ((20, 11, "over-budget"), (31, 0, "over-budget"), (0, -1, "bad-amount")):
        with pytest.raises(ContractError) as caught, world.transaction() as ctx:
            budget.settle(ctx, b"o1", amount, back, "escrow:9", "trade")
        assert caught.value.code == code
    assert not hold(world, EV, b"o2", 20)  # ten of them lent by LOAD
    resolve(world)
    with world.transaction() as ctx:
        budget.settle(ctx, b"o2", 12, 8, "escrow:9", "trade")
    assert book(world, EV) | {"available": 0, "reserved": 0, "spent": 12, "borrowed": 2} == book(world, EV)
    check_sum(world)


def test_own_money_comes_back_after_the_donors_had_theirs() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 200, EV: 50})
    at_slot(world, 5)
    hold(world, EV, b"o1", 120)
    resolve(world)
    with world.transaction() as ctx:
        budget.release(ctx, b"o1", None)
    assert (book(world, EV)["available"], book(world, LOAD)["available"]) == (50, 200)


def test_who_received_does_not_give_until_the_next_slot() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000, BATTERY: 1000, EV: 100})
    at_slot(world, 9)
    world.call(OWNER_1, "budget", "share", giver=LOAD, receiver=BATTERY, period=0, amount=900)
    hold(world, EV, b"o1", 300)
    assert resolve(world) == {b"o1": False}
    at_slot(world, 10)
    hold(world, EV, b"o2", 300)
    assert resolve(world) == {b"o2": True}


def test_sharing_by_hand() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000})
    world.call(OWNER_1, "budget", "share", giver=LOAD, receiver=EV, period=0, amount=1000)
    assert (book(world, LOAD)["available"], book(world, EV)["available"]) == (0, 1000)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"giver": LOAD, "receiver": PV}, "insufficient-funds"),
        ({"receiver": "home-2/load"}, "other-network"),
        ({"receiver": EV}, "bad-account"),
        ({"giver": "nobody"}, "unknown-device"),
        ({"amount": 0}, "bad-amount"),
        ({"period": -1}, "unknown-period"),
    ]
    for change, code in cases:
        args = {"giver": EV, "receiver": LOAD, "period": 0, "amount": 1} | change
        assert world.refused(OWNER_1, "budget", "share", **args) == code


def test_periods() -> None:
    world = neighbourhood()
    assert world.query("budget", "period", network="home-1", slot=9) == (0, 0, 10, "active")
    assert world.query("budget", "period", network="home-1", slot=10) == (1, 10, 20, "planned")
    at_slot(world, 10)
    assert world.query("budget", "period", network="home-1", slot=9) == (0, 0, 10, "closing")
    for slot in (-1, 2**63 - 1):
        with pytest.raises(ContractError, match="unknown-period"):
            world.query("budget", "period", network="home-1", slot=slot)


@pytest.mark.parametrize(
    "change",
    [{"period_slots": 0}, {"low_permille": 1001}, {"low_permille": -1}, {"borrow_alert": 0}, {"colour": 3},
     {"period_slots": True}],
)  # fmt: skip
def test_bad_settings(change: dict[str, int]) -> None:
    with pytest.raises(ContractError, match="bad-settings"):
        neighbourhood(**change)
