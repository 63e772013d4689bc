"""Budgets told as stories: sink and rise, be charged, owe, be watched."""

from typing import Any, cast

import pytest

from chaincode import accounts, budget, budget_charge, budget_state, identity
from chaincode.contract import MAX_AMOUNT, ContractError
from chaincode.identity_records import Device, add_device
from node.executor import TRANSACTION_VALUE_BYTES
from node.model.codec import pack
from node.model.receipt import encode_event
from tests.chaincode.budget_steps import (
    BATTERY,
    EV,
    LOAD,
    PV,
    book,
    charge,
    check_sum,
    credit,
    hold,
    pool,
    resolve,
    topics,
)
from tests.chaincode.neighbourhood import (
    DEVICES,
    OWNER_1,
    UTILITY,
    at_slot,
    fund,
    key_of,
    neighbourhood,
)
from tests.chaincode.world import World


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
    world.call(OWNER_1, "budget", "set_policy", network="home-1", proceeds="device")
    credit(world, PV, 100)
    assert book(world, PV) | {"available": 100, "earned": 100, "state": "active"} == book(world, PV)
    assert world.query("budget", "policy", network="home-1") == (
        ("device", False, 0, MAX_AMOUNT, 0, "return", 0, "by-hand"), ()
    )  # fmt: skip


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
    assert status == ("active", 100, 0, 40, 0, 0, 60, *(0,) * 8)
    assert topics(world, "owed", "owed-paid") == [("owed", EV), ("owed-paid", EV)]
    with world.transaction() as ctx:
        assert not budget.in_arrears(ctx, "home-1")
        assert accounts.balance(ctx, "utility") == 60
    assert book(world, EV)["state"] == "limited"  # period 0 is what it was: nothing is available there
    check_sum(world)


def test_a_stop_ends_only_when_nothing_is_owed() -> None:
    world = neighbourhood()
    charge(world, {EV: 60})
    world.call(OWNER_1, "budget", "set_policy", network="home-1", proceeds="device")
    credit(world, EV, 50)
    assert book(world, EV) | {"available": 50, "state": "limited"} == book(world, EV)
    world.call(UTILITY, "budget", "issue", network="home-1", period=0, amount=100, reference=b"r")
    assert book(world, EV) | {"available": 50, "state": "active", "owed": 0} == book(world, EV)
    assert topics(world, "curtail", "restore") == [("curtail", EV), ("restore", EV)]


def many_owing(devices: int) -> tuple[World, list[str]]:
    """A world whose home-1 has so many devices more, with names at their longest, and every one of them owes 10."""
    world = neighbourhood()
    names = [f"home-1/{number:041d}" for number in range(devices)]
    with world.transaction() as ctx:
        for name in names:
            keys = key_of(name), key_of(f"meter of {name}")
            add_device(ctx, Device(name, "home-1", "load", *keys, 10_000, 0, False, False, ()))
    charge(world, dict.fromkeys(names, 10))
    return world, names


def test_a_network_in_which_everybody_owes_is_paid_off_by_and_by() -> None:
    world, names = many_owing(identity.MAX_DEVICES - len(DEVICES))
    owing = len(names)
    while owing:
        told = len(world.events)
        reference = b"r" * 63 + bytes([owing])
        world.call(UTILITY, "budget", "issue", network="home-1", period=0, amount=5000, reference=reference)
        owing = max(0, owing - budget_charge.MAX_CLAIMS_PAID)
        assert cast("tuple[int, ...]", world.query("budget", "network_budget", network="home-1", period=0))[7] == (
            10 * owing
        )
        assert sum(len(encode_event(event)) for event in world.events[told:]) < TRANSACTION_VALUE_BYTES
    check_sum(world)


def test_the_list_of_claims_is_bounded() -> None:
    world, names = many_owing(identity.MAX_DEVICES - len(DEVICES))
    for period in range(1, 5):
        charge(world, dict.fromkeys(names, 10), period=period)
    with world.transaction() as ctx:
        total, claims = budget_state.owed_of(ctx, "home-1")
    assert total == 50 * len(names)
    assert len(claims) < budget_charge.MAX_CLAIMS + identity.MAX_DEVICES
    assert len(pack((total, tuple(tuple(claim) for claim in claims)))) < TRANSACTION_VALUE_BYTES
