"""A policy: set as a whole, refused if it contradicts itself, remembered when it is replaced; and its limits."""

from functools import cache
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode import agreement_book, budget_policy
from chaincode.budget_contradictions import FAULTS, NAMES, faults_of
from chaincode.budget_policy import MAX_PAST, Donor, Policy, Row
from chaincode.contract import MAX_AMOUNT, ContractError
from tests.chaincode.budget_steps import BATTERY, EV, LOAD, PV, book, charge, hold, pool, resolve
from tests.chaincode.neighbourhood import OWNER_1, OWNER_2, at_slot, fund, neighbourhood
from tests.chaincode.world import World

DEFAULTS = (tuple(Policy()), ())


def row(device: str, **terms: Any) -> Row:
    return (device, *Donor(**terms))


def set_policy(world: World, *rows: Row, **terms: Any) -> None:
    world.call(OWNER_1, "budget", "set_policy", network="home-1", devices=rows, **terms)


def policy(world: World, slot: int | None = None) -> Any:
    return world.query("budget", "policy", network="home-1", slot=slot)


def test_a_policy_replaces_the_one_before_whole() -> None:
    world = neighbourhood()
    assert policy(world) == DEFAULTS
    set_policy(world, row(LOAD, limit=50, floor=5), row(EV, rank=1), proceeds="device", pool_helps=True, pool_floor=7)
    assert policy(world) == (
        ("device", True, 7, MAX_AMOUNT, 0, "return", 0, "by-hand"),
        ((EV, 1, 0, True, None, 0, 0), (LOAD, 100, 5, True, 50, 0, 0)),
    )
    set_policy(world, row(PV, gives=False), row(BATTERY))
    assert policy(world) == (tuple(Policy()), ((PV, 100, 0, False, None, 0, 0),))
    set_policy(world)
    assert policy(world) == DEFAULTS


CONTRADICTIONS: list[tuple[str, int, dict[str, Any], tuple[Row, ...]]] = [
    ("unknown-proceeds", -1, {"proceeds": "me"}, ()),
    ("unknown-excess", -1, {"excess": "burn"}, ()),
    ("unknown-rule", -1, {"allocation": "even"}, ()),
    ("out-of-range", -1, {"pool_floor": -1}, ()),
    ("out-of-range", -1, {"carry_cap": -1}, ()),
    ("out-of-range", -1, {"carry_periods": 1_001}, ()),
    ("out-of-range", -1, {"sale": -1, "excess": "sell", "carry_cap": 0}, ()),
    ("out-of-range", 1, {}, (row(EV), row(LOAD, rank=1_001))),
    ("out-of-range", 0, {}, (row(LOAD, limit=-1),)),
    ("out-of-range", 0, {"allocation": "fixed"}, (row(LOAD, share=1_001),)),
    ("sale-without-agreement", -1, {"excess": "sell", "carry_cap": 5}, ()),
    ("agreement-without-sale", -1, {"sale": 3}, ()),
    ("nothing-left", -1, {"excess": "redeem"}, ()),
    ("nothing-carried", -1, {"carry_cap": 0, "carry_periods": 2}, ()),
    ("nothing-fixed", -1, {"allocation": "fixed"}, (row(LOAD, limit=4),)),
    ("not-fixed", 0, {"allocation": "history"}, (row(LOAD, amount=4),)),
    ("not-fixed", 0, {}, (row(LOAD, share=4),)),
    ("amount-and-share", 0, {"allocation": "fixed"}, (row(LOAD, amount=4, share=4),)),
    ("shares-above-whole", 2, {"allocation": "fixed"}, (row(LOAD, share=600), row(EV, share=400), row(PV, share=1))),
    ("amount-above-limit", 0, {"allocation": "fixed"}, (row(LOAD, amount=4, limit=3),)),
    ("floor-above-limit", 0, {}, (row(LOAD, floor=4, limit=3),)),
    ("floor-without-giving", 0, {}, (row(LOAD, floor=4, gives=False),)),
    ("device-twice", 1, {}, (row(LOAD), row(LOAD, rank=1))),
]


@pytest.mark.parametrize(("name", "index", "terms", "rows"), CONTRADICTIONS, ids=lambda each: str(each)[:40])
def test_a_contradiction_is_refused_and_nothing_changes(
    name: str, index: int, terms: dict[str, Any], rows: tuple[Row, ...]
) -> None:
    world = neighbourhood()
    set_policy(world, row(EV, rank=7))
    with pytest.raises(ContractError) as caught:
        set_policy(world, *rows, **terms)
    assert (caught.value.code, caught.value.details) == ("bad-policy", (NAMES.index(name), index))
    assert policy(world) == (tuple(Policy()), (row(EV, rank=7),))


def test_every_contradiction_has_been_tried() -> None:
    assert {name for name, *_ in CONTRADICTIONS} == set(FAULTS)


def test_strange_devices_are_refused_by_their_own_codes() -> None:
    world = neighbourhood()
    for device, code in (("home-1/kettle", "unknown-device"), ("home-2/load", "other-network")):
        args: dict[str, Any] = {"network": "home-1", "devices": (row(LOAD), row(device))}
        assert world.refused(OWNER_1, "budget", "set_policy", **args) == code
    assert world.refused(OWNER_2, "budget", "set_policy", network="home-1") == "wrong-key"
    assert world.refused(OWNER_1, "budget", "set_policy", network="home-9") == "unknown-network"
    assert policy(world) == DEFAULTS


def test_what_is_left_is_sold_under_a_sale_of_the_network_itself() -> None:
    world = neighbourhood()
    terms = {"cap": 5, "automatic": True, "same_class": False, "rank": 1, "price": 900, "first": 0, "end": 0}
    of = {"state": agreement_book.OPEN, "proposer": "home-1", "slot": 0, **terms}
    with world.transaction() as ctx:
        for number, (giver, taker, kind) in enumerate(
            (("home-1", "home-2", "sale"), ("home-2", "home-1", "sale"), ("home-1", "home-2", "share")), 1
        ):
            agreement = agreement_book.Agreement(giver=giver, taker=taker, kind=kind, **of)  # type: ignore[arg-type]
            agreement_book.put(ctx, number, agreement)
        agreement_book.put(ctx, 4, agreement._replace(kind="sale", automatic=False))
    args: dict[str, Any] = {"network": "home-1", "excess": "sell", "carry_cap": 0}
    for number, code in ((2, "other-network"), (3, "wrong-kind"), (4, "wrong-kind"), (5, "unknown-agreement")):
        assert world.refused(OWNER_1, "budget", "set_policy", **args, sale=number) == code
    world.call(OWNER_1, "budget", "set_policy", **args, sale=1)
    assert policy(world)[0][5:7] == ("sell", 1)


amounts = st.one_of(st.integers(0, 10), st.just(MAX_AMOUNT))
donors = st.builds(
    Donor,
    rank=st.integers(0, 1_000),
    floor=amounts,
    gives=st.booleans(),
    limit=st.one_of(st.none(), amounts),
    amount=amounts,
    share=st.integers(0, 1_000),
)
policies = st.builds(
    Policy,
    proceeds=st.sampled_from(["pool", "device"]),
    pool_helps=st.booleans(),
    pool_floor=amounts,
    carry_cap=amounts,
    carry_periods=st.integers(0, 3),
    excess=st.sampled_from(["return", "redeem", "sell"]),
    sale=st.integers(0, 2),
    allocation=st.sampled_from(["by-hand", "fixed", "history", "forecast"]),
)


@cache
def shared() -> World:
    """One world for all examples: each sets the whole policy."""
    return neighbourhood()


@given(policy_=policies, terms=st.lists(donors, max_size=4))
def test_the_chain_takes_what_has_no_fault_and_only_that(policy_: Policy, terms: list[Donor]) -> None:
    world = shared()
    rows = tuple((device, *donor) for device, donor in zip((LOAD, EV, PV, BATTERY), terms, strict=False))
    args = {"network": "home-1", "devices": rows, **policy_._asdict()}
    if faults_of(policy_, rows):
        assert world.refused(OWNER_1, "budget", "set_policy", **args) == "bad-policy"
        return
    if policy_.sale:
        assert world.refused(OWNER_1, "budget", "set_policy", **args) == "unknown-agreement"
        return
    world.call(OWNER_1, "budget", "set_policy", **args)
    found, kept = policy(world)
    assert found == tuple(policy_)
    assert set(kept) == {each for each in rows if each[1:] != tuple(Donor())}


def test_replaced_policies_are_known_by_the_slot_in_which_they_ended() -> None:
    world = neighbourhood()
    for slot in (3, 5, 5, 8):
        at_slot(world, slot)
        set_policy(world, row(LOAD, rank=slot))
    assert policy(world, slot=2) == DEFAULTS
    for slot, rank in ((3, 3), (4, 3), (5, 5), (7, 5), (8, 8), (100, 8)):
        assert policy(world, slot=slot)[1] == (row(LOAD, rank=rank),), slot
    for slot in range(9, 9 + MAX_PAST):
        at_slot(world, slot)
        set_policy(world, row(LOAD, rank=slot))
    with world.transaction() as ctx:
        kept = list(ctx.scan(b"bud-past/home-1\0"))
    assert len(kept) == MAX_PAST + 1  # and how many there have been
    assert policy(world, slot=2)[1] == (row(LOAD, rank=8),)  # the oldest that is kept


def test_no_allocation_or_share_by_hand_passes_a_limit() -> None:
    world = neighbourhood()
    set_policy(world, row(LOAD, limit=100))
    fund(world, {LOAD: 60, EV: 60}, spare=200)
    args: dict[str, Any] = {"network": "home-1", "period": 0}
    with pytest.raises(ContractError) as caught:
        world.call(OWNER_1, "budget", "allocate", **args, amounts=((EV, 5), (LOAD, 41)))
    assert (caught.value.code, caught.value.details) == ("over-limit", (40, 41))
    assert (pool(world), book(world, EV)["allocated"]) == (200, 60)
    share: dict[str, Any] = {"giver": EV, "receiver": LOAD, "period": 0}
    assert world.refused(OWNER_1, "budget", "share", **share, amount=41) == "over-limit"
    world.call(OWNER_1, "budget", "share", **share, amount=30)
    assert world.refused(OWNER_1, "budget", "allocate", **args, amounts=((LOAD, 11),)) == "over-limit"
    world.call(OWNER_1, "budget", "withdraw", **args, amounts=((LOAD, 50),))
    world.call(OWNER_1, "budget", "allocate", **args, amounts=((LOAD, 60),))
    with world.transaction() as ctx:
        assert budget_policy.room_of(ctx, LOAD, 0) == 0
        assert budget_policy.room_of(ctx, EV, 0) is None
        assert budget_policy.room_of(ctx, LOAD, 1) == 100
    assert cast("int", book(world, LOAD)["available"]) == 100


def test_no_automatic_share_passes_a_limit() -> None:
    world = neighbourhood()
    set_policy(world, row(LOAD, limit=100))
    fund(world, {LOAD: 60, EV: 500}, spare=30)
    at_slot(world, 9)
    assert not hold(world, LOAD, b"o1", 101)
    assert resolve(world) == {b"o1": False}  # 41 more than it has, and room for 40
    assert not hold(world, LOAD, b"o2", 100)
    assert resolve(world) == {b"o2": True}
    assert book(world, LOAD)["borrowed"] == 40
    at_slot(world, 9)
    assert charge(world, {LOAD: 50}) == (30,)  # the pool pays what it has: that is no share; the rest is owed
    assert (book(world, LOAD)["borrowed"], book(world, LOAD)["owed"], pool(world)) == (40, 20, 0)
