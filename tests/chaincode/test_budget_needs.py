"""Needs that stand or fall together: met in all their periods or in none, and given back to the last base unit."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import accounts, budget
from chaincode.budget_needs import MAX_NEEDS
from tests.chaincode.budget_steps import EV, LOAD, book, check_sum
from tests.chaincode.neighbourhood import DEVICES, at_slot, fund, neighbourhood
from tests.chaincode.world import World

amounts = st.integers(1, 400)
parts = st.lists(st.tuples(st.sampled_from([0, 1]), amounts), min_size=1, max_size=4)
needs = st.lists(st.tuples(st.sampled_from(DEVICES), parts), min_size=1, max_size=6)
purses = st.fixed_dictionaries({device: st.integers(0, 600) for device in DEVICES})


def ask(world: World, asked: list[tuple[str, list[tuple[int, int]]]]) -> dict[bytes, list[bytes]]:
    """Ask for all of these lists in one block: list -> its holds."""
    holds: dict[bytes, list[bytes]] = {}
    for number, (device, rows) in enumerate(asked):
        group = b"list %d" % number
        holds[group] = [group + b"/%d" % row for row in range(len(rows))]
        with world.transaction() as ctx:
            wanted = [(period, ref, amount) for ref, (period, amount) in zip(holds[group], rows, strict=True)]
            budget.hold_all(ctx, device, group, wanted)
    return holds


def books(world: World) -> dict[tuple[str, int], dict[str, Any]]:
    return {(device, period): book(world, device, period) for device in DEVICES for period in (0, 1)}


@settings(max_examples=50, deadline=None)
@given(needs, purses, purses)
def test_all_or_nothing_and_back_to_the_givers(
    asked: list[tuple[str, list[tuple[int, int]]]], now: dict[str, int], then: dict[str, int]
) -> None:
    world = neighbourhood()
    for period, purse in ((0, now), (1, then)):
        fund(world, {device: amount for device, amount in purse.items() if amount}, spare=1, period=period)
    at_slot(world, 9)  # near the end of period 0, others can spare most of what they have; in period 1 nothing
    before = books(world)
    holds = ask(world, asked)
    with world.transaction() as ctx:
        decided = dict(budget.resolve_needs(ctx))
        assert budget.resolve_needs(ctx) == ()
    check_sum(world)
    with world.transaction() as ctx:
        for number, (device, rows) in enumerate(asked):
            group = b"list %d" % number
            held = [budget.hold_of(ctx, ref) for ref in holds[group]]
            if not decided.get(group, True):
                assert held == [None] * len(rows), "a part of a refused list is held"
                continue
            for found, (period, amount) in zip(held, rows, strict=True):
                assert found is not None and found[:3] == (device, period, amount)
                assert sum(gift.amount for gift in found.gifts) <= amount
                assert all(gift.giver != device for gift in found.gifts)
        all_held = [budget.hold_of(ctx, ref) for refs in holds.values() for ref in refs]
        for at in before:
            mine = sum(one.amount for one in all_held if one is not None and (one.device, one.period) == at)
            assert accounts.device_book(ctx, *at).reserved == mine
        for refs in holds.values():
            for ref in reversed(refs):
                budget.release(ctx, ref, None)
    after = books(world)
    for at, was in before.items():
        assert {**after[at], "state": ""} == {**was, "state": ""}, "something did not come back"
    check_sum(world)


def test_what_is_refused_for_one_period_costs_nothing_in_the_other() -> None:
    world = neighbourhood()
    fund(world, {EV: 100, LOAD: 500}, period=0)
    fund(world, {EV: 100}, period=1)
    at_slot(world, 9)
    holds = ask(world, [(EV, [(0, 300), (1, 101)]), (EV, [(0, 200)])])
    with world.transaction() as ctx:
        assert budget.resolve_needs(ctx) == ((b"list 0", False), (b"list 1", True))
        found = budget.hold_of(ctx, holds[b"list 1"][0])
        assert found is not None and [gift[:2] for gift in found.gifts] == [(LOAD, 100)]
    assert book(world, EV, 1)["available"] == 100


def test_a_block_considers_so_many_needs_of_a_network_whole_lists_at_a_time() -> None:
    world = neighbourhood()
    fund(world, {EV: 10_000})
    lists = [(EV, [(0, 5_001), (0, 5_000)]), *[(EV, [(0, 10_001)])] * MAX_NEEDS, (EV, [(0, 6_000), (0, 4_001)])]
    holds = ask(world, lists)
    with world.transaction() as ctx:
        assert not any(granted for _, granted in budget.resolve_needs(ctx))
        assert all(budget.hold_of(ctx, ref) is None for refs in holds.values() for ref in refs)
    assert book(world, EV)["available"] == 10_000
