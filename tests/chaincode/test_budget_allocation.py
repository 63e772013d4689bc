"""Dividing a budget among devices: by hand, use, forecast and policy, within limits; and taking it back."""

from typing import Any

import pytest

from chaincode import accounts, budget
from tests.chaincode.budget_steps import BATTERY, EV, LOAD, PV, book, charge, check_sum, hold, pool
from tests.chaincode.neighbourhood import DEVICES, OWNER_1, OWNER_2, UTILITY, at_slot, fund, neighbourhood
from tests.chaincode.test_budget_policy import row, set_policy
from tests.chaincode.world import World

HOME: dict[str, Any] = {"network": "home-1", "period": 0}


def issue(world: World, amount: int, period: int = 0) -> None:
    reference = len(world.events).to_bytes(8, "big")
    world.call(UTILITY, "budget", "issue", network="home-1", period=period, amount=amount, reference=reference)


def allocated(world: World, period: int = 0) -> dict[str, int]:
    found = {device: book(world, device, period)["allocated"] for device in DEVICES}
    return {device: amount for device, amount in found.items() if amount}


def by_policy(world: World, period: int = 0) -> dict[str, int]:
    given: Any = world.call(OWNER_1, "budget", "allocate_by_policy", network="home-1", period=period)
    check_sum(world)
    return dict(given)


def used(world: World, **amounts: int) -> None:
    with world.transaction() as ctx:
        for name, amount in amounts.items():
            budget.note_use(ctx, f"home-1/{name}", 4, amount, amount)


def test_the_policy_leaves_allocation_to_the_owner_unless_it_says_how() -> None:
    world = neighbourhood()
    issue(world, 100)
    assert world.refused(OWNER_1, "budget", "allocate_by_policy", **HOME) == "no-rule"
    set_policy(world, row(LOAD, amount=10), allocation="fixed")
    assert world.refused(OWNER_2, "budget", "allocate_by_policy", **HOME) == "wrong-key"
    at_slot(world, 10)
    assert world.refused(OWNER_1, "budget", "allocate_by_policy", **HOME) == "period-closing"


def test_fixed_amounts_and_shares_are_targets() -> None:
    world = neighbourhood()
    set_policy(world, row(LOAD, amount=300), row(EV, share=250), row(PV, share=333), allocation="fixed")
    issue(world, 1000)
    assert by_policy(world) == {LOAD: 300, EV: 250, PV: 333}
    assert by_policy(world) == {}  # twice is the same as once
    issue(world, 100)
    assert by_policy(world) == {EV: 25, PV: 33}  # of 1,100: 275 and 366
    world.call(OWNER_1, "budget", "withdraw", **HOME, amounts=((LOAD, 100),))
    assert by_policy(world) == {LOAD: 100}
    assert pool(world) == 1100 - 300 - 275 - 366


def test_fixed_amounts_that_the_pool_lacks_are_refused_whole() -> None:
    world = neighbourhood()
    set_policy(world, row(LOAD, amount=300), row(EV, amount=300), allocation="fixed")
    issue(world, 599)
    assert world.refused(OWNER_1, "budget", "allocate_by_policy", **HOME) == "insufficient-funds"
    assert allocated(world) == {}


def test_by_history_the_pool_is_divided_above_its_floor_and_within_limits() -> None:
    world = neighbourhood()
    used(world, load=500, ev=300, battery=200)
    at_slot(world, 10)
    set_policy(world, row(LOAD, limit=100), allocation="history", pool_floor=100)
    issue(world, 701, 1)
    # LOAD has room for 100 of its 301; the other 501 go 3 to 2: 300.6 and 200.4.
    assert by_policy(world, 1) == {LOAD: 100, EV: 301, BATTERY: 200}
    assert pool(world, 1) == 100
    assert by_policy(world, 1) == {}
    world.call(OWNER_1, "budget", "allocate", network="home-1", period=1, amounts=((PV, 40),))
    issue(world, 90, 1)
    # There are 691 now, PV keeps its 40: EV and BATTERY should have 355 and 236, and share the 50 above the floor.
    assert by_policy(world, 1) == {EV: 30, BATTERY: 20}
    assert pool(world, 1) == 100


def test_by_history_what_nobody_has_room_for_stays_in_the_pool() -> None:
    world = neighbourhood()
    used(world, load=500)
    at_slot(world, 10)
    set_policy(world, row(LOAD, limit=100), allocation="history")
    issue(world, 700, 1)
    assert by_policy(world, 1) == {LOAD: 100}  # the others used nothing
    args: dict[str, Any] = {"network": "home-1", "period": 1, "amount": 100, "devices": (LOAD,)}
    assert world.refused(OWNER_1, "budget", "allocate_by_history", **args) == "over-limit"


def test_by_forecast_each_gets_what_it_lacks_or_its_part_of_it() -> None:
    world = neighbourhood()
    set_policy(world, row(EV, limit=50), allocation="forecast")
    for device, amount in ((LOAD, 200), (EV, 90), (BATTERY, 100)):
        world.call(OWNER_1, "budget", "set_forecast", device=device, period=0, amount=amount)
    issue(world, 176)
    # LOAD 200, EV its limit 50, BATTERY 100: together 350, of which 176 are there.
    assert by_policy(world) == {LOAD: 101, EV: 25, BATTERY: 50}
    issue(world, 500)
    assert by_policy(world) == {LOAD: 99, EV: 25, BATTERY: 50}
    assert allocated(world) == {LOAD: 200, EV: 50, BATTERY: 100}
    assert pool(world) == 326


def test_an_amount_in_proportion_to_forecasts() -> None:
    world = neighbourhood()
    issue(world, 100)
    args: dict[str, Any] = {**HOME, "amount": 100, "devices": (LOAD, EV, PV)}
    assert world.refused(OWNER_1, "budget", "allocate_by_forecast", **args) == "no-forecast"
    for device, amount in ((LOAD, 2), (EV, 1)):
        world.call(OWNER_1, "budget", "set_forecast", device=device, period=0, amount=amount)
    assert world.refused(OWNER_2, "budget", "allocate_by_forecast", **args) == "wrong-key"
    for change in ({"devices": ()}, {"amount": 0}, {"devices": (LOAD, LOAD)}):
        refused = world.refused(OWNER_1, "budget", "allocate_by_forecast", **args | change)
        assert refused in ("bad-amount", "no-forecast")
    assert world.call(OWNER_1, "budget", "allocate_by_forecast", **args) == ((LOAD, 67), (EV, 33))


def test_withdrawn_tokens_are_the_pools_and_can_be_allocated_anew() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 100, EV: 50})
    assert hold(world, LOAD, b"o1", 70)
    for amounts in (((LOAD, 31),), ((EV, 5), (LOAD, 31))):
        assert world.refused(OWNER_1, "budget", "withdraw", **HOME, amounts=amounts) == "insufficient-funds"
    for amounts, code in ((((LOAD, 0),), "bad-amount"), ((("home-2/load", 1),), "other-network")):
        assert world.refused(OWNER_1, "budget", "withdraw", **HOME, amounts=amounts) == code
    assert world.refused(OWNER_2, "budget", "withdraw", **HOME, amounts=((LOAD, 1),)) == "wrong-key"
    assert world.call(OWNER_1, "budget", "withdraw", **HOME, amounts=((LOAD, 30), (EV, 50))) == 80
    assert world.call(OWNER_1, "budget", "allocate", **HOME, amounts=((PV, 80),)) == 0
    with world.transaction() as ctx:
        found = accounts.device_book(ctx, LOAD, 0)
        assert (found.available, found.reserved, found.allocated, found.withdrawn) == (0, 70, 100, 30)
    check_sum(world)
    at_slot(world, 10)
    assert world.refused(OWNER_1, "budget", "withdraw", **HOME, amounts=((PV, 1),)) == "period-closing"


def test_what_is_withdrawn_pays_debts_first() -> None:
    world = neighbourhood()
    fund(world, {EV: 50})
    set_policy(world, row(EV, gives=False))
    charge(world, {LOAD: 20})
    assert book(world, LOAD)["owed"] == 20
    assert world.call(OWNER_1, "budget", "withdraw", **HOME, amounts=((EV, 50),)) == 30
    assert book(world, LOAD)["owed"] == 0
    check_sum(world)


@pytest.mark.parametrize("rule", ["history", "forecast"])
def test_without_anything_to_go_by_history_is_equal_parts_and_forecast_nothing(rule: str) -> None:
    world = neighbourhood()
    set_policy(world, row(PV, limit=0), allocation=rule)
    issue(world, 90)
    expected = {} if rule == "forecast" else {LOAD: 30, EV: 30, BATTERY: 30}
    assert by_policy(world) == expected


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
