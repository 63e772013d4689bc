"""Own money in orders is no reason to be helped: what comes out of them goes first to who helped in the meantime."""

from collections import defaultdict
from typing import Any, cast

import pytest

from chaincode import accounts, budget, budget_secured
from chaincode.budget_share import MAX_DONORS
from node.executor import TRANSACTION_STEPS, TRANSACTION_VALUE_BYTES
from node.model.receipt import encode_event
from tests.chaincode import marketplace, test_budget_crowds
from tests.chaincode.budget_steps import check_sum, hold, resolve
from tests.chaincode.federation import agree, agreement, federation, issue, owner, pool, terms
from tests.chaincode.marketplace import SLOT_S, UTILITY, key_of, order, state_of, tick
from tests.chaincode.neighbourhood import ADMIN, at_slot, fund, neighbourhood
from tests.chaincode.test_budget_help import EV, LOAD, allocate, charge, policy, release, shares
from tests.chaincode.world import World

OWN = 300_000
NOW = 24


def money(world: World, device: str) -> tuple[int, int, int]:
    """Available, reserved, and how much of that is claimed."""
    with world.transaction() as ctx:
        book = accounts.device_book(ctx, device, 0)
    return book.available, book.reserved, book.claimed


def post(world: World, reference: bytes, amount: int, back: int = 0) -> None:
    with world.transaction() as ctx:
        budget.settle(ctx, reference, amount, back, "escrow:9", "trade")


def check(world: World) -> None:
    """What is claimed of a device is the gifts in its holds and what is secured on it, and it is reserved."""
    check_sum(world)
    claims: dict[tuple[str, int], int] = defaultdict(int)
    with world.transaction() as ctx:
        for _, value in ctx.scan(b"bud-hold/"):
            device, period, _, gifts = cast("Any", value)
            claims[device, period] += sum(gift[1] for gift in gifts)
        for key, value in ctx.scan(b"bud-secured/"):
            device, _, numbers = key.removeprefix(b"bud-secured/").partition(b"\0")
            claims[device.decode(), int.from_bytes(numbers[:4], "big")] += cast("int", value)
        for key, value in ctx.scan(b"acc-device/"):
            device, _, number = key.removeprefix(b"acc-device/").partition(b"\0")
            book = accounts.DeviceBook(*cast("Any", value))
            assert claims[device.decode(), int.from_bytes(number, "big")] == book.claimed <= book.reserved


def helped_street(giver: str) -> tuple[World, str]:
    """home-1/load has OWN; so has who can help it: a device, the pool or another network. The giver's account.

    Half of the period is over.
    """
    world = marketplace.marketplace(allocated=0)
    issued = {"home-1": OWN if giver == "network" else 2 * OWN, "home-3": OWN}
    for home, amount in issued.items():
        world.call(UTILITY, "budget", "issue", network=home, period=0, amount=amount, reference=b"a")
    amounts: tuple[tuple[str, int], ...] = (("home-1/load", OWN),)
    if giver == "device":
        amounts += (("home-1/battery", OWN),)
    world.call(key_of("home-1"), "budget", "allocate", network="home-1", period=0, amounts=amounts)
    if giver == "network":
        world.call(key_of("club"), "agreements", "propose", **terms("home-3", "home-1", cap=2 * OWN))
    if giver == "pool":
        world.call(key_of("home-1"), "budget", "set_policy", network="home-1", pool_helps=True)
    go_to(world, NOW * SLOT_S)
    return world, {"device": "device:home-1/battery:0", "pool": "pool:home-1:0", "network": "pool:home-3:0"}[giver]


def go_to(world: World, time: int) -> None:
    while (due := world.next_event()) is not None and due <= time:
        world.next_block(max(due, world.time))
    world.next_block(max(time, world.time))


def hide(world: World) -> list[bytes]:
    """All that the load has goes into orders that never clear: nobody sells below what the utility pays."""
    later = range(NOW + 1, NOW + 4)
    return [order(world, "home-1/load", "buy", slot=slot, wh=5_000, price=20) for slot in later]


def cancel(world: World, orders: list[bytes]) -> None:
    for number in orders:
        world.call(key_of("home-1/load"), "market", "cancel", order=number)
    world.next_block(world.time + 1)


@pytest.mark.parametrize("giver", ["device", "pool", "network"])
def test_a_charge_is_not_dodged_by_orders_that_never_clear(giver: str) -> None:
    world, helper = helped_street(giver)
    before = marketplace.balance(world, helper)
    go_to(world, (NOW + 1) * SLOT_S)
    meter = key_of("meter home-1/load")
    figures = {"import_wh": 1_400, "export_wh": 0, "import_register": 1_400, "export_register": 0}
    world.call(meter, "settlement", "report", device="home-1/load", slot=NOW, **figures)
    decoys = hide(world)
    go_to(world, (NOW + 1) * SLOT_S + 960)
    given = before - marketplace.balance(world, helper)
    assert given == 140_000, "it was helped: nobody owes what others can pay"
    cancel(world, decoys)
    assert marketplace.balance(world, helper) == before
    with world.transaction() as ctx:
        assert sum(accounts.device_book(ctx, "home-1/load", 0)[:2]) == OWN - given
    check(world)
    marketplace.audit(world)


@pytest.mark.parametrize("giver", ["device", "pool", "network"])
def test_an_order_is_not_paid_by_others_because_of_orders_that_never_clear(giver: str) -> None:
    world, helper = helped_street(giver)
    before = marketplace.balance(world, helper)
    world.next_block(world.time + 1)
    decoys = hide(world)
    order(world, "home-3/pv", "sell", slot=NOW, wh=1_400, price=88)
    wanted = order(world, "home-1/load", "buy", slot=NOW, wh=1_400, price=100)
    tick(world)
    tick(world)
    assert state_of(world, wanted) == "FILLED"
    assert marketplace.balance(world, helper) < before
    cancel(world, decoys)
    assert marketplace.balance(world, helper) == before
    with world.transaction() as ctx:
        book = accounts.device_book(ctx, "home-1/load", 0)
    assert (book.available, book.reserved, book.claimed) == (OWN - book.spent, 0, 0) and book.spent > 0
    check(world)
    marketplace.audit(world)


def town() -> World:
    """The load of a-1 spares 200, its pool 100, b-1 whatever it is asked for; the EV has 100 of its own."""
    world = federation()
    allocate(world, EV, 100)
    allocate(world, LOAD, 2_000)
    issue(world, "a-1", 100)
    issue(world, "b-1", 10_000)
    policy(world)
    agree(world, "b-1", "a-1", cap=5_000)
    at_slot(world, 9)
    return world


def test_it_does_not_matter_which_hold_comes_back_first() -> None:
    for first, second in ((b"decoy", b"wanted"), (b"wanted", b"decoy")):
        world = town()
        hold(world, EV, b"decoy", 100)
        hold(world, EV, b"wanted", 150)
        assert resolve(world) == {b"wanted": True}
        assert money(world, EV) == (0, 250, 150), "100 secured, 50 a gift"
        release(world, first)
        check(world)
        release(world, second)
        assert money(world, EV) == (100, 0, 0)
        assert [share[2:4] for share in shares(world)] == [(150, 150)]
        check(world)


def test_what_is_spent_secures_nothing_and_is_no_loan_on_later_money() -> None:
    world = town()
    hold(world, EV, b"decoy", 100)
    assert charge(world, {EV: 80}) == (80,)
    assert money(world, EV) == (0, 100, 80)
    post(world, b"decoy", 50, 10)  # 10 come back, to the load
    assert money(world, EV) == (0, 40, 40)
    check(world)
    post(world, b"decoy", 30)
    assert money(world, EV) == (0, 10, 10)
    post(world, b"decoy", 10)
    allocate(world, EV, 500)
    hold(world, EV, b"later", 400)
    release(world, b"later")
    assert money(world, EV) == (500, 0, 0)
    assert [share[2:4] for share in shares(world)] == [(80, 10)]
    check(world)


def test_who_helped_last_is_repaid_first_but_for_the_order_that_comes_back() -> None:
    world = town()
    policy(world, devices=((LOAD, 1, 1_790, True, None, 0, 0),))  # it spares ten
    hold(world, EV, b"decoy", 100)
    hold(world, EV, b"o1", 10)
    assert resolve(world) == {b"o1": True}
    at_slot(world, 9)
    assert charge(world, {EV: 20}) == (20,)  # 10 by the load, which has 2,000 allocated and its floor, 10 by the pool
    before = [share[:4] for share in shares(world)]
    assert sum(share[2] for share in before) == 30
    release(world, b"o1", 4)
    assert [share[3] for share in shares(world)] == [4, *[0] * (len(before) - 1)], "who helped o1 is asked first"
    release(world, b"decoy", 20)
    assert next(share[2] - share[3] for share in shares(world)) == 6, "the others came later"
    release(world, b"decoy", 10)
    assert money(world, EV)[0] == 4
    check(world)


def test_lists_secure_what_was_theirs_before() -> None:
    world = town()
    with world.transaction() as ctx:
        parts = [(0, b"a", 100), (0, b"b", 60), (0, b"c", 40)]
        assert not budget.hold_all(ctx, EV, b"list", parts)
    assert resolve(world) == {b"list": True}
    assert money(world, EV) == (0, 200, 100)
    release(world, b"a")  # its own money, and others paid for the rest
    assert money(world, EV) == (0, 100, 0)
    assert [share[2:4] for share in shares(world)] == [(100, 100)]
    for reference in (b"b", b"c"):
        release(world, reference)
    assert money(world, EV) == (100, 0, 0)
    check(world)


def test_another_network_has_its_money_and_its_cap_again_though_the_agreement_is_over() -> None:
    world = town()
    policy(world, devices=((LOAD, 1, 0, False, None, 0, 0),), pool_floor=100, pool_helps=True)
    hold(world, EV, b"decoy", 100)
    assert charge(world, {EV: 190}) == (190,), "the pool pays 100, and the other network"
    assert pool(world, "b-1") == 10_000 - 90
    assert money(world, EV) == (0, 100, 100)
    world.call(owner("b-1"), "agreements", "end", agreement=1)
    release(world, b"decoy")
    assert (pool(world, "b-1"), agreement(world, 1)["used"]) == (10_000, 0)
    assert (money(world, EV), pool(world, "a-1")) == ((0, 0, 0), 10), "the pool has ten again of what it paid"
    with world.transaction() as ctx:
        assert accounts.device_book(ctx, EV, 0).withdrawn == 10
    check(world)


def test_another_network_takes_the_place_of_the_devices_own_when_it_helps_with_an_order() -> None:
    for fills in (False, True):
        world = town()
        policy(world, devices=((LOAD, 1, 1_710, True, None, 0, 0),), pool_floor=100)  # the load spares 90
        hold(world, EV, b"decoy", 100)
        assert charge(world, {EV: 90}) == (90,)
        policy(world, devices=((LOAD, 1, 0, False, None, 0, 0),))
        hold(world, EV, b"wanted", 180)  # the pool gives a hundred, the other network eighty
        assert resolve(world) == {b"wanted": True}
        assert [share[:3] for share in shares(world)] == [(LOAD, EV, 90), ("", EV, 100), ("@b-1", EV, 80)]
        check(world)
        if fills:
            post(world, b"wanted", 180)
        release(world, b"decoy")
        assert pool(world, "b-1") == 10_000, "strangers have theirs before the device's own network"
        release(world, b"wanted")
        assert money(world, EV) == ((0, 0, 0) if fills else (10, 0, 0))
        assert sum(share[2] - share[3] for share in shares(world)) == (170 if fills else 0)
        check(world)


def test_what_owners_give_is_not_secured_and_what_is_not_needed_neither() -> None:
    world = town()
    hold(world, EV, b"decoy", 100)
    world.call(owner("a-1"), "budget", "share", giver=LOAD, receiver=EV, period=0, amount=50)
    assert money(world, EV) == (50, 100, 0)
    assert charge(world, {EV: 50}) == (50,)
    release(world, b"decoy")
    assert money(world, EV) == (100, 0, 0)


def test_who_has_very_much_secured_is_helped_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_secured, "MAX_SECURED", 3)
    world = town()
    hold(world, EV, b"decoy", 100)
    for _ in range(3):
        assert charge(world, {EV: 5}) == (5,)
    hold(world, EV, b"more", 5)
    assert resolve(world) == {b"more": False}
    for _ in range(2):
        assert charge(world, {EV: 7}) == (7,), "its network's pool pays all the same"
    assert (money(world, EV), pool(world, "a-1")) == ((0, 100, 29), 86)
    check(world)
    release(world, b"decoy", 90)
    assert (money(world, EV), pool(world, "a-1")) == ((61, 10, 0), 100)
    check(world)


def test_a_release_that_repays_as_many_as_may_fits_into_a_transaction() -> None:
    world = neighbourhood()
    with world.transaction(ADMIN) as ctx:
        names = [
            test_budget_crowds.add(ctx, "home-1", f"home-1/{'d' * 38}{index:03d}") for index in range(2 * MAX_DONORS)
        ]
    ev = "home-1/ev"
    fund(world, dict.fromkeys(names, 100) | {ev: 2_000})
    at_slot(world, 9)  # each can spare 90, and is low then
    hold(world, ev, b"decoy", 1_000)
    hold(world, ev, b"r" * 63, 1_000)
    for number in range(2):  # the first ones' money is secured, that of the others is a gift
        hold(world, ev, b"%d" % number * 64, 90 * MAX_DONORS)
        assert list(resolve(world).values()) == [True]
    told = len(world.events)
    with world.transaction() as ctx:
        before = ctx._steps_left
        budget.release(ctx, b"1" * 64, None)
        budget.release(ctx, b"decoy", None)
        assert before - ctx._steps_left < TRANSACTION_STEPS
    assert sum(len(encode_event(event)) for event in world.events[told:]) < TRANSACTION_VALUE_BYTES
    check(world)
