"""Budgets told as stories: issue, allocate, hold, be helped, be charged, owe, be watched."""

from typing import Any, cast

import pytest

from chaincode import accounts, budget, budget_alerts, budget_state
from chaincode.budget import Charge
from chaincode.contract import MAX_AMOUNT, ContractError, Value
from tests.chaincode.neighbourhood import (
    DEVICES,
    OWNER_1,
    OWNER_2,
    STRANGER,
    UTILITY,
    at_slot,
    fund,
    key_of,
    neighbourhood,
)
from tests.chaincode.world import World

BATTERY, EV, LOAD, PV = DEVICES
BUDGET_FIELDS = (
    "state", "available", "reserved", "allocated", "earned", "spent", "lent", "borrowed", "owed", "forecast", "used",
    "used_wh",
)  # fmt: skip


def hold(world: World, device: str, ref: bytes, amount: int, period: int = 0) -> bool:
    with world.transaction() as ctx:
        return budget.hold(ctx, device, period, ref, amount)


def resolve(world: World) -> dict[bytes, bool]:
    with world.transaction() as ctx:
        return dict(budget.resolve_needs(ctx))


def charge(world: World, amounts: dict[str, int], target: str = "utility", period: int = 0) -> tuple[int, ...]:
    with world.transaction() as ctx:
        charges = [Charge(device, amount) for device, amount in amounts.items()]
        return budget.charge_all(ctx, "home-1", period, charges, target, "retail", b"run")


def credit(world: World, device: str, amount: int, period: int = 0) -> None:
    """Pay ``device`` for energy, out of an escrow that another network has filled."""
    with world.transaction() as ctx:
        accounts.mint(ctx, "escrow:1", amount, "test", b"")
        budget.credit(ctx, device, period, amount, "escrow:1", "sale", b"run")


def book(world: World, device: str, period: int = 0) -> dict[str, Any]:
    values = cast("tuple[Value, ...]", world.query("budget", "budget", device=device, period=period))
    return dict(zip(BUDGET_FIELDS, values, strict=True))


def pool(world: World, period: int = 0) -> int:
    return cast("int", world.query("accounts", "account", account=f"pool:home-1:{period}"))


def topics(world: World, *wanted: str) -> list[tuple[str, str]]:
    return [(event.topic, event.keys[0]) for event in world.events if event.topic in wanted]


def check_sum(world: World) -> None:
    issued, redeemed, whole = cast("tuple[int, int, int]", world.query("accounts", "audit"))
    assert issued - redeemed == whole


# --- issue and allocate


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
    assert status == ("active", 2000, 0, 1000, 1000, 0, 0, 0)
    check_sum(world)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": 0}, "bad-amount"),
        ({"amount": -5}, "bad-amount"),
        ({"amount": MAX_AMOUNT + 1}, "bad-amount"),
        ({"amount": budget.MAX_OUTSTANDING + 1}, "bad-amount"),
        ({"amount": 2**64}, "bad-args"),
        ({"period": -1}, "unknown-period"),
        ({"period": budget_state.PERIODS_AHEAD + 8}, "unknown-period"),
        ({"period": 6}, "period-over"),
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
        ("set_policy", {"network": "home-1", "proceeds": "pool", "donors": ()}),
        ("acknowledge", {"network": "home-1", "alert": 0}),
    ]
    for sender in (UTILITY, OWNER_2, key_of(LOAD), STRANGER):
        for method, args in calls:
            assert world.refused(sender, "budget", method, **args) == "wrong-key", method
    forecast = {"device": LOAD, "period": 0, "amount": 5}
    assert world.refused(OWNER_2, "budget", "set_forecast", **forecast) == "wrong-key"
    world.call(key_of(LOAD), "budget", "set_forecast", **forecast)
    assert book(world, LOAD)["forecast"] == 5


def test_allocate_by_history() -> None:
    world = neighbourhood()
    with world.transaction() as ctx:
        for device, used in ((LOAD, 500), (EV, 300), (PV, 0)):
            budget.note_use(ctx, device, 4, used, used)
    at_slot(world, 12)  # period 0 is over, period 1 active
    fund(world, {}, period=2, spare=1000)
    args = {"network": "home-1", "period": 2, "devices": (PV, LOAD, EV)}
    shares = world.call(OWNER_1, "budget", "allocate_by_history", **args, amount=101)
    # Period 1 is not over yet, so period 0 counts: 500 : 300 of 101 is 63.125 : 37.875.
    assert shares == ((LOAD, 63), (EV, 38))
    assert book(world, EV, 2)["available"] == 38
    args["devices"] = (PV, PV)
    assert world.refused(OWNER_1, "budget", "allocate_by_history", **args, amount=1) == "bad-amount"
    args["devices"] = (PV, "home-2/load")
    assert world.refused(OWNER_1, "budget", "allocate_by_history", **args, amount=100) == "other-network"


def test_without_history_all_get_the_same() -> None:
    world = neighbourhood()
    fund(world, {}, spare=10)
    shares = world.call(
        OWNER_1, "budget", "allocate_by_history", network="home-1", period=0, amount=10, devices=DEVICES
    )
    assert shares == ((BATTERY, 3), (EV, 3), (LOAD, 2), (PV, 2))


def test_the_utility_redeems_what_it_has() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 100})
    charge(world, {LOAD: 60})
    assert world.refused(UTILITY, "budget", "redeem", amount=61, reference=b"x") == "insufficient-funds"
    world.call(UTILITY, "budget", "redeem", amount=60, reference=b"x")
    assert world.query("accounts", "supply") == (100, 60)
    check_sum(world)


# --- holds


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
    world.call(OWNER_1, "budget", "set_policy", network="home-1", proceeds="pool", donors=((BATTERY, 100, 150, True),))
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
    donors = ((EV, 1, 0, True), (BATTERY, 100, 0, True), (LOAD, 100, 100, True))
    world.call(OWNER_1, "budget", "set_policy", network="home-1", proceeds="pool", donors=donors)
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
    world.call(OWNER_1, "budget", "set_policy", network="home-1", proceeds="pool", donors=((LOAD, 1, 0, False),))
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


# --- states


def test_a_device_sinks_and_rises() -> None:
    world = neighbourhood()
    fund(world, {EV: 1000})
    assert book(world, EV)["state"] == "active"
    hold(world, EV, b"o1", 801)
    assert book(world, EV)["state"] == "low"
    hold(world, EV, b"o2", 189)
    assert book(world, EV)["state"] == "depleted"
    with world.transaction() as ctx:
        assert budget.may_buy(ctx, EV, 0) is None
    hold(world, EV, b"o3", 50)
    assert resolve(world) == {b"o3": False}
    assert book(world, EV)["state"] == "limited"
    with world.transaction() as ctx:
        assert budget.may_buy(ctx, EV, 0) == "over-budget"
        assert budget.may_buy(ctx, EV, 1) is None
        budget.release(ctx, b"o2", None)
    assert book(world, EV)["state"] == "low"
    with world.transaction() as ctx:
        budget.release(ctx, b"o1", None)
    assert book(world, EV)["state"] == "active"
    assert topics(world, "curtail", "restore") == [("curtail", EV), ("restore", EV)]
    states = [cast("Any", event.data)[1] for event in world.events if event.topic == "budget-state"]
    assert states == ["active", "low", "depleted", "limited", "low", "active"]


def test_nobody_is_curtailed_for_another_period_than_the_active_one() -> None:
    world = neighbourhood()
    assert not hold(world, EV, b"o1", 10, period=1)
    assert resolve(world) == {b"o1": False}
    assert book(world, EV, 1)["state"] == "depleted"  # planned: not allocated yet, and not needed yet
    at_slot(world, 10)
    charge(world, {EV: 5}, period=0)
    assert book(world, EV, 0)["state"] == "limited"  # over: settled late
    assert topics(world, "curtail") == []
    charge(world, {EV: 5}, period=1)
    assert topics(world, "curtail") == [("curtail", EV)]


def test_too_large_an_order_alone_stops_nobody() -> None:
    world = neighbourhood()
    fund(world, {EV: 1000})
    hold(world, EV, b"o1", 1001)
    assert resolve(world) == {b"o1": False}
    assert book(world, EV)["state"] == "active"


def test_a_critical_device_comes_into_grace() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 100})
    assert charge(world, {LOAD: 150}) == (100,)
    assert book(world, LOAD) | {"state": "grace", "owed": 50} == book(world, LOAD)
    assert topics(world, "curtail") == []


# --- charges and credits


def test_a_charge_goes_from_pocket_to_pocket() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000, EV: 30}, spare=200)
    at_slot(world, 5)
    assert charge(world, {EV: 800}) == (730,)  # its own 30, 500 of LOAD, 200 of the pool
    assert (book(world, LOAD)["lent"], pool(world), book(world, EV)["owed"]) == (500, 0, 70)
    assert book(world, EV)["state"] == "limited"
    shares = cast("tuple[Any, ...]", world.query("budget", "shares", network="home-1", period=0))
    assert [share[:5] for share in shares] == [(LOAD, EV, 500, 0, b"run"), ("", EV, 200, 0, b"run")]
    with world.transaction() as ctx:
        assert budget.in_arrears(ctx, "home-1") and not budget.in_arrears(ctx, "home-2")
        assert accounts.balance(ctx, "utility") == 730
    check_sum(world)


def test_charges_of_one_run_share_what_is_there() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 200, EV: 10, PV: 10}, spare=50)
    at_slot(world, 5)  # LOAD spares 100
    paid = charge(world, {EV: 210, PV: 110, BATTERY: 0})
    # Missing 200 and 100: of LOAD's 100 they get 67 and 33, of the pool's 50 33 and 17.
    assert paid == (10 + 67 + 33, 10 + 33 + 17, 0)
    assert (book(world, EV)["owed"], book(world, PV)["owed"], book(world, BATTERY)["owed"]) == (100, 50, 0)
    check_sum(world)


def test_who_can_pay_its_own_charge_can_help_others() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000})
    at_slot(world, 5)
    assert charge(world, {LOAD: 100, EV: 400}) == (100, 400)
    assert book(world, LOAD) | {"available": 500, "lent": 400, "spent": 100} == book(world, LOAD)


def test_bad_charges() -> None:
    world = neighbourhood()
    for amounts, code in (
        ({"home-2/load": 1}, "other-network"),
        ({"x": 1}, "unknown-device"),
        ({EV: -1}, "bad-amount"),
    ):
        with pytest.raises(ContractError) as caught:
            charge(world, amounts)
        assert caught.value.code == code


def test_proceeds_go_to_the_pool_or_by_policy_to_the_device() -> None:
    world = neighbourhood()
    credit(world, PV, 100)
    assert pool(world) == 100
    world.call(OWNER_1, "budget", "set_policy", network="home-1", proceeds="device", donors=())
    credit(world, PV, 100)
    assert book(world, PV) | {"available": 100, "earned": 100, "state": "active"} == book(world, PV)
    assert world.query("budget", "policy", network="home-1") == (
        "device", tuple((device, 100, 0, True) for device in DEVICES)
    )  # fmt: skip
    for args in ({"proceeds": "me"}, {"donors": ((PV, -1, 0, True),)}, {"donors": ((PV, 1, -1, True),)}):
        good: dict[str, Any] = {"network": "home-1", "proceeds": "pool", "donors": ()}
        assert world.refused(OWNER_1, "budget", "set_policy", **good | args) == "bad-policy"


def test_what_is_owed_is_paid_first_from_the_next_pool() -> None:
    world = neighbourhood()
    charge(world, {LOAD: 100, EV: 60})
    charge(world, {LOAD: 40})
    credit(world, PV, 120)
    assert (book(world, LOAD)["owed"], book(world, EV)["owed"], pool(world)) == (20, 60, 0)
    at_slot(world, 10)
    fund(world, {EV: 40}, period=1, spare=80)  # 120 are issued, of which 80 were owed
    assert pool(world, 1) == 0
    assert (book(world, LOAD)["owed"], book(world, EV)["owed"]) == (0, 0)


def test_owed_is_paid_at_issue_and_counts_in_the_period_that_pays() -> None:
    world = neighbourhood()
    charge(world, {EV: 60})
    at_slot(world, 10)
    issue = {"network": "home-1", "period": 1, "reference": b"r"}
    world.call(UTILITY, "budget", "issue", **issue, amount=100)
    status = world.query("budget", "network_budget", network="home-1", period=1)
    assert status == ("active", 100, 0, 40, 0, 0, 60, 0)
    assert topics(world, "owed", "owed-paid") == [("owed", EV), ("owed-paid", EV)]
    with world.transaction() as ctx:
        assert not budget.in_arrears(ctx, "home-1")
        assert accounts.balance(ctx, "utility") == 60
    assert book(world, EV)["state"] == "limited"  # period 0 is what it was: nothing is available there
    check_sum(world)


def test_a_stop_ends_only_when_nothing_is_owed() -> None:
    world = neighbourhood()
    charge(world, {EV: 60})
    world.call(OWNER_1, "budget", "set_policy", network="home-1", proceeds="device", donors=())
    credit(world, EV, 50)
    assert book(world, EV) | {"available": 50, "state": "limited"} == book(world, EV)
    world.call(UTILITY, "budget", "issue", network="home-1", period=0, amount=100, reference=b"r")
    assert book(world, EV) | {"available": 50, "state": "active", "owed": 0} == book(world, EV)
    assert topics(world, "curtail", "restore") == [("curtail", EV), ("restore", EV)]


# --- alerts


def alerts(world: World) -> list[tuple[Any, ...]]:
    return list(cast("tuple[tuple[Any, ...], ...]", world.query("budget", "alerts", network="home-1")))


def use(world: World, device: str, slot: int, spent: int, estimated: bool = False) -> None:
    with world.transaction() as ctx:
        budget.note_use(ctx, device, slot, spent, 100, estimated, b"reading-%d" % slot)


def test_spending_ahead_of_the_elapsed_share() -> None:
    world = neighbourhood()
    fund(world, {EV: 1000})
    use(world, EV, 0, 110)  # the elapsed share is 100, and a tenth is tolerated
    assert alerts(world) == []
    at_slot(world, 3)
    use(world, EV, 1, 111)
    assert alerts(world) == [(EV, 0, "ahead", 3, 3 * 1800, (b"reading-1",), False)]
    use(world, EV, 2, 500)
    assert len(alerts(world)) == 1
    assert book(world, EV) | {"used": 721, "used_wh": 300} == book(world, EV)
    assert topics(world, "alert") == [("alert", EV)]


def test_above_forecast_for_some_slots_in_a_row() -> None:
    world = neighbourhood(above_alert_slots=3)
    world.call(OWNER_1, "budget", "set_forecast", device=EV, period=0, amount=1000)
    for slot, spent in enumerate((101, 101, 100, 101, 101, 101)):
        use(world, EV, slot, spent)
    assert [alert[2:6:3] for alert in alerts(world)] == [("above-forecast", (b"reading-3", b"reading-4", b"reading-5"))]


def test_borrowing_once_and_often() -> None:
    world = neighbourhood(borrow_alert=2)
    fund(world, {LOAD: 1000})
    at_slot(world, 5)
    for ref in (b"o1", b"o2", b"o3"):
        hold(world, EV, ref, 10)
        resolve(world)
    told = [(alert[2], alert[5]) for alert in alerts(world)]
    assert told == [("borrowed", (b"o1",)), ("borrowed-often", (b"o1", b"o2"))]


def test_estimated_readings_and_acknowledging() -> None:
    world = neighbourhood()
    use(world, EV, 0, 0, estimated=True)
    use(world, EV, 1, 0, estimated=True)
    at_slot(world, 10)
    use(world, EV, 10, 0, estimated=True)
    assert [alert[:3] for alert in alerts(world)] == [(EV, 0, "estimated"), (EV, 1, "estimated")]
    world.call(OWNER_1, "budget", "acknowledge", network="home-1", alert=1)
    assert [alert[6] for alert in alerts(world)] == [False, True]
    for number in (-1, 2, 2**63 - 1):
        assert world.refused(OWNER_1, "budget", "acknowledge", network="home-1", alert=number) == "unknown-alert"
    assert budget_alerts.CAUSES[-1] == "estimated"


# --- periods and settings


def test_periods() -> None:
    world = neighbourhood()
    assert world.query("budget", "period", slot=9) == (0, 0, 10, "active")
    assert world.query("budget", "period", slot=10) == (1, 10, 20, "planned")
    at_slot(world, 10)
    assert world.query("budget", "period", slot=9) == (0, 0, 10, "over")
    for slot in (-1, 2**63 - 1):
        with pytest.raises(ContractError, match="unknown-period"):
            world.query("budget", "period", slot=slot)


@pytest.mark.parametrize(
    "change",
    [{"period_slots": 0}, {"low_permille": 1001}, {"low_permille": -1}, {"borrow_alert": 0}, {"colour": 3},
     {"period_slots": True}],
)  # fmt: skip
def test_bad_settings(change: dict[str, int]) -> None:
    with pytest.raises(ContractError, match="bad-settings"):
        neighbourhood(**change)
