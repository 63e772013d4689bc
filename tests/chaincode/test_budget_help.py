"""Who helps after the devices: the pool and other networks, in which order, within which limits; and all of it comes
back to whoever gave.
"""

from typing import Any, TypeAlias

import networkx
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import accounts, budget, budget_share
from chaincode.account_books import NetworkBook
from chaincode.accounts import DeviceBook
from chaincode.budget import Charge
from tests.chaincode.budget_steps import book, check_sum, hold, resolve
from tests.chaincode.federation import NETWORKS, agree, agreement, federation, issue, owner, pool
from tests.chaincode.neighbourhood import at_slot
from tests.chaincode.world import World

EV, LOAD = "a-1/ev", "a-1/load"
DEVICES = tuple(f"{network}/{kind}" for network in NETWORKS for kind in ("load", "ev"))


def policy(world: World, network: str = "a-1", **terms: Any) -> None:
    world.call(owner(network), "budget", "set_policy", network=network, **{"pool_helps": True, **terms})


def allocate(world: World, device: str, amount: int, period: int = 0) -> None:
    network = device.partition("/")[0]
    issue(world, network, amount, period)
    world.call(owner(network), "budget", "allocate", network=network, period=period, amounts=((device, amount),))


def shares(world: World, network: str = "a-1", period: int = 0) -> list[tuple[Any, ...]]:
    """(giver, receiver, amount, returned, why, rule)."""
    with world.transaction() as ctx:
        found = budget_share.shares_of(ctx, network, period, 0, 10_000)
    return [(*share[:4], share.why, share.rule) for share in found]


def charge(world: World, amounts: dict[str, int], network: str = "a-1") -> tuple[int, ...]:
    with world.transaction() as ctx:
        charges = [Charge(device, amount) for device, amount in amounts.items()]
        return budget.charge_all(ctx, network, 0, charges, "utility", "retail", b"run")


def release(world: World, reference: bytes, amount: int | None = None) -> None:
    with world.transaction() as ctx:
        budget.release(ctx, reference, amount)


def test_an_order_is_helped_by_devices_then_the_pool_then_other_networks() -> None:
    world = federation()
    allocate(world, LOAD, 100)
    issue(world, "a-1", 70)
    issue(world, "b-1", 200)
    at_slot(world, 5)  # the load spares 50
    hold(world, EV, b"o1", 51)
    assert resolve(world) == {b"o1": False}, "the pool does not help unless the owner says so"
    policy(world, pool_floor=20)
    at_slot(world, 6)  # 60 then
    hold(world, EV, b"o2", 60 + 50 + 1)
    assert resolve(world) == {b"o2": False}, "down to its floor"
    number = agree(world, "b-1", "a-1", cap=80)
    hold(world, EV, b"o3", 60 + 70 + 80 + 1)
    assert resolve(world) == {b"o3": False}
    assert (pool(world, "a-1"), pool(world, "b-1"), shares(world)) == (70, 200, [])
    hold(world, EV, b"o4", 60 + 70 + 80)
    assert resolve(world) == {b"o4": True}, "no floor is kept at the cost of others"
    assert shares(world) == [
        (LOAD, EV, 60, 0, "order", "rank 100"),
        ("", EV, 70, 0, "order", "pool"),
        ("@b-1", EV, 80, 0, "order", f"agreement {number}"),
    ]
    assert (pool(world, "a-1"), pool(world, "b-1"), agreement(world, number)["used"]) == (0, 120, 80)
    assert book(world, EV) | {"reserved": 210, "allocated": 150, "borrowed": 60} == book(world, EV)
    with world.transaction() as ctx:
        budget.post(ctx, b"o4", 70, "escrow:9", "trade")  # 60 of the load's, 10 of the pool's
    release(world, b"o4", 90)  # last in, first out: 80 go back to b-1, 10 to the pool
    assert (pool(world, "a-1"), pool(world, "b-1"), agreement(world, number)["used"]) == (10, 200, 0)
    release(world, b"o4")
    assert (pool(world, "a-1"), book(world, LOAD)["lent"]) == (60, 60)
    assert [share[2:4] for share in shares(world)] == [(60, 0), (70, 60), (80, 80)]
    assert book(world, EV) | {"reserved": 0, "allocated": 10, "borrowed": 60, "spent": 70} == book(world, EV)
    check_sum(world)


def test_a_charge_is_paid_by_devices_the_pool_other_networks_and_then_owed() -> None:
    world = federation()
    allocate(world, LOAD, 100)
    issue(world, "a-1", 30)
    issue(world, "b-1", 200)
    number = agree(world, "b-1", "a-1", cap=40)
    at_slot(world, 5)
    policy(world, pool_floor=20)  # that binds what goes to orders; a charge is to be paid
    assert charge(world, {EV: 50 + 30 + 40 + 5}) == (120,)
    assert shares(world) == [
        (LOAD, EV, 50, 0, "retail", "rank 100"),
        ("", EV, 30, 0, "retail", "pool"),
        ("@b-1", EV, 40, 0, "retail", f"agreement {number}"),
    ]
    assert book(world, EV) | {"owed": 5, "allocated": 40, "borrowed": 50, "spent": 90, "state": "limited"} == book(
        world, EV
    )
    check_sum(world)


def test_who_was_helped_by_a_pool_gives_nothing_in_that_slot() -> None:
    world = federation()
    policy(world)
    issue(world, "a-1", 500)
    at_slot(world, 9)
    hold(world, LOAD, b"o1", 100)
    assert resolve(world) == {b"o1": True}
    release(world, b"o1")
    with world.transaction() as ctx:
        accounts.mint(ctx, "escrow:1", 100, "test", b"")
        accounts.transfer(ctx, "escrow:1", f"device:{LOAD}:0", 100, "test", b"")
        assert accounts.device_book(ctx, LOAD, 0).received_slot == 9
    hold(world, EV, b"o2", 401)
    assert resolve(world) == {b"o2": True}
    assert [share[0] for share in shares(world)] == ["", ""]
    at_slot(world, 10)
    with world.transaction() as ctx:
        assert [spare.giver for spare in budget_share.spares(ctx, "a-1", 0, {EV: None})] == [LOAD]


def test_a_limit_is_a_limit_for_help_of_every_kind() -> None:
    world = federation()
    allocate(world, LOAD, 1_000)
    issue(world, "a-1", 500)
    policy(world, devices=((EV, 100, 0, True, 120, 0, 0),))
    at_slot(world, 9)
    hold(world, EV, b"o1", 121)
    hold(world, EV, b"o2", 70)
    hold(world, EV, b"o3", 50)
    assert resolve(world) == {b"o1": False, b"o2": True, b"o3": True}, "its own needs alone go without"
    assert charge(world, {EV: 200}) == (200,), "what the pool pays to the utility is not given to the device"
    assert [share[:3] for share in shares(world)][-1] == ("", EV, 200)
    release(world, b"o3")
    hold(world, EV, b"o4", 51)
    assert resolve(world) == {b"o4": False}
    hold(world, EV, b"o5", 50)
    assert resolve(world) == {b"o5": True}, "what came back makes room"


def test_what_is_owed_is_paid_before_the_pool_helps() -> None:
    world = federation()
    policy(world)
    assert charge(world, {LOAD: 60}) == (0,)
    with world.transaction() as ctx:  # issued, before anybody came to ask for what is owed
        accounts.mint(ctx, "pool:a-1:0", 100, "test", b"")
    hold(world, EV, b"o1", 41)
    assert resolve(world) == {b"o1": False}
    assert (pool(world, "a-1"), book(world, LOAD)["owed"]) == (40, 0)


def test_networks_that_need_help_help_nobody_in_that_block() -> None:
    world = federation()
    for network in ("a-1", "b-1"):
        policy(world, network, pool_floor=0)
        issue(world, network, 100)
    agree(world, "b-1", "a-1", cap=1_000)
    hold(world, EV, b"o1", 150)
    hold(world, "b-1/ev", b"o2", 90)
    assert resolve(world) == {b"o1": False, b"o2": True}, "b-1 has a need of its own, wherever that stands"


orders = st.lists(
    st.tuples(st.sampled_from(DEVICES), st.integers(1, 300), st.booleans()), min_size=1, max_size=8
)  # device, amount, whether it is in the next block
Money: TypeAlias = tuple[list[DeviceBook], list[NetworkBook]]
purses = st.lists(st.integers(0, 300), min_size=len(DEVICES), max_size=len(DEVICES))
pools = st.lists(st.integers(0, 300), min_size=len(NETWORKS), max_size=len(NETWORKS))
pairs = st.lists(st.tuples(st.sampled_from(NETWORKS), st.sampled_from(NETWORKS)), max_size=5, unique=True)


def drawn(purse: list[int], pool_amounts: list[int], helps: list[tuple[str, str]], floors: list[int]) -> World:
    """A federation near the end of a period, with agreements, floors and something in everybody's hands."""
    world = federation()
    for device, amount in zip(DEVICES, purse, strict=True):
        if amount:
            allocate(world, device, amount)
    for network, amount, floor in zip(NETWORKS, pool_amounts, floors, strict=False):
        if amount:
            issue(world, network, amount)
        rows = tuple((f"{network}/{kind}", 1, floor // 2, True, None, 0, 0) for kind in ("load", "ev"))
        policy(world, network, pool_floor=floor, devices=rows)
    for giver, taker in helps:
        if giver != taker:
            agree(world, giver, taker, cap=150)
    at_slot(world, 8)
    return world


def money(world: World) -> Money:
    """Everybody's books, without what says when a device was helped."""
    with world.transaction() as ctx:
        devices = [accounts.device_book(ctx, device, 0)._replace(received_slot=-1, stopped=0) for device in DEVICES]
        return devices, [accounts.network_book(ctx, network, 0) for network in NETWORKS]


def try_orders(world: World, wanted: list[tuple[str, int, bool]], floors: list[int]) -> list[bytes]:
    """Orders of two blocks in one slot; those that are held."""
    held = []
    for later in (False, True):
        for number, (device, amount, is_later) in enumerate(wanted):
            if is_later == later:
                with world.transaction() as ctx:
                    stopped = budget.may_buy(ctx, device, 0)
                if stopped is None and hold(world, device, b"order %d" % number, amount):
                    held.append(b"order %d" % number)
        before = money(world)
        held += [reference for reference, done in resolve(world).items() if done]
        givers_keep_what_they_need(world, before, floors)
        world.next_block(world.time)
    return held


def givers_keep_what_they_need(world: World, before: Money, floors: list[int]) -> None:
    """Whoever gave more since ``before`` has left what it needs for the last two slots of ten, and its floor."""
    after = money(world)
    for device, was, found in zip(DEVICES, before[0], after[0], strict=True):
        if found.lent > was.lent:
            floor = floors[NETWORKS.index(device.partition("/")[0])] // 2
            assert found.available >= floor + -(-found.allocated * 2 // 10), device
    for floor, was_pool, pool_now in zip(floors, before[1], after[1], strict=False):
        if pool_now.sent > was_pool.sent:
            assert pool_now.pool >= floor


@settings(max_examples=25, deadline=None)
@given(purses, pools, pairs, pools, orders, st.randoms(use_true_random=False))
def test_orders_that_are_taken_back_drain_nobody(
    purse: list[int],
    pool_amounts: list[int],
    helps: list[tuple[str, str]],
    floors: list[int],
    wanted: list[tuple[str, int, bool]],
    fate: Any,
) -> None:
    world = drawn(purse, pool_amounts, helps, floors)
    before = money(world)
    held = try_orders(world, wanted, floors)
    fate.shuffle(held)
    for reference in held:
        with world.transaction() as ctx:
            found = budget.hold_of(ctx, reference)
        assert found is not None
        release(world, reference, fate.randint(1, found.amount))
        release(world, reference)
    assert money(world) == before
    with world.transaction() as ctx:
        for network in NETWORKS:
            for share in budget_share.shares_of(ctx, network, 0, 0, 10_000):
                assert share.returned == share.amount
    for giver, taker in helps:
        if giver != taker:
            number = 1 + [pair for pair in helps if pair[0] != pair[1]].index((giver, taker))
            assert agreement(world, number)["used"] == 0
    check_sum(world)


@settings(max_examples=25, deadline=None)
@given(purses, pools, pairs, pools, orders, st.sampled_from(DEVICES), st.integers(1, 400))
def test_nothing_goes_round_in_a_circle_and_floors_hold(
    purse: list[int],
    pool_amounts: list[int],
    helps: list[tuple[str, str]],
    floors: list[int],
    wanted: list[tuple[str, int, bool]],
    charged: str,
    amount: int,
) -> None:
    world = drawn(purse, pool_amounts, helps, floors)
    try_orders(world, wanted, floors)
    before = money(world)
    charge(world, {charged: amount}, charged.partition("/")[0])
    givers_keep_what_they_need(world, before, floors)
    given: networkx.DiGraph[str] = networkx.DiGraph()
    with world.transaction() as ctx:
        for network in NETWORKS:
            for share in budget_share.shares_of(ctx, network, 0, 0, 10_000):
                assert (share.slot, share.why in ("order", "retail")) == (8, True)
                giver = share.giver or f"pool of {network}"
                given.add_edge(f"pool of {giver[1:]}" if giver.startswith("@") else giver, share.receiver)
                if giver.startswith("@"):
                    given.add_edge(f"pool of {giver[1:]}", f"pool of {network}")
    assert networkx.is_directed_acyclic_graph(given)
    check_sum(world)


def test_by_hand_the_owner_may_do_what_the_rules_do_not() -> None:
    world = federation()
    allocate(world, LOAD, 100)
    for giver, receiver in ((LOAD, EV), (EV, LOAD)):
        world.call(owner("a-1"), "budget", "share", giver=giver, receiver=receiver, period=0, amount=100)
    assert [share[:3] + share[4:] for share in shares(world)] == [
        (LOAD, EV, 100, "by-hand", "owner"),
        (EV, LOAD, 100, "by-hand", "owner"),
    ]
    at_slot(world, 10)
    late = {"giver": LOAD, "receiver": EV, "period": 0, "amount": 1}
    assert world.refused(owner("a-1"), "budget", "share", **late) == "period-closing"
