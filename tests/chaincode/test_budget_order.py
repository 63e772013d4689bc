"""What the order of a block's transactions means for budgets: nothing; and orders that come to nothing take nothing.

Also: a thousand devices that run out in one block are shared out in the same way however they stand in it, in work
that grows as they do.
"""

from itertools import permutations
from typing import Any, NamedTuple, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import budget, budget_share, slots
from chaincode.accounts import Accounts
from chaincode.budget import Budget
from chaincode.contract import ContractError
from chaincode.grid import Grid
from chaincode.identity import Identity
from tests.at_length import examples
from tests.chaincode import neighbourhood
from tests.chaincode.budget_town import DEVICES, NETWORK_OF, NETWORKS, BudgetTown
from tests.chaincode.marketplace import RETAIL, SLOT_S, TICK_S, UTILITY, key_of, state_of
from tests.chaincode.neighbourhood import at_slot
from tests.chaincode.world import World

BUYERS = tuple(device for device, row in DEVICES.items() if row[1] != "pv" and row[0] in NETWORKS[:2])
Order = tuple[str, int, int]
"""Device, Wh, price."""


class Story(NamedTuple):
    """``funds``: what each device and each pool has; ``terms``: of each network's policy; ``agreed``: pairs of networks
    of which the first helps the second; ``orders`` of one block, of devices of the first two networks.
    """

    funds: dict[str, int]
    terms: dict[str, tuple[bool, int]]
    agreed: list[tuple[str, str]]
    orders: list[Order]


stories = st.builds(
    Story,
    st.fixed_dictionaries(
        {
            **dict.fromkeys(DEVICES, st.sampled_from([0, 0, 5_000, 20_000, 150_000])),
            **dict.fromkeys(NETWORKS, st.sampled_from([0, 50_000, 200_000])),
        }
    ),
    st.fixed_dictionaries({name: st.tuples(st.booleans(), st.sampled_from([0, 10_000])) for name in NETWORKS}),
    st.lists(st.sampled_from(list(permutations(NETWORKS, 2))), min_size=2, max_size=5, unique=True),
    st.lists(
        st.tuples(st.sampled_from(BUYERS), st.integers(100, 900), st.integers(60, RETAIL)),
        min_size=2,
        max_size=4,
        unique_by=lambda order: order[0],
    ),
)


def town(story: Story) -> BudgetTown:
    """The last slot of a period: what a device has it can give, but for a fourth of its allocation."""
    world = BudgetTown(1)
    for network in NETWORKS:
        own = [device for device, owner in NETWORK_OF.items() if owner == network]
        amounts = tuple((device, story.funds[device]) for device in own if story.funds[device])
        issued = sum(amount for _, amount in amounts) + story.funds[network]
        of: dict[str, Any] = {"network": network, "period": 0}
        if issued:
            world.call(UTILITY, "budget", "issue", **of, amount=issued, reference=b"start")
            world.call(key_of(network), "budget", "allocate", **of, amounts=amounts)
        helps, floor = story.terms[network]
        rows = tuple((device, rank, floor, True, None, 0, 0) for rank, device in enumerate(own))
        terms = {"pool_helps": helps, "pool_floor": floor, "devices": rows}
        world.call(key_of(network), "budget", "set_policy", network=network, **terms)
    for giver, taker in story.agreed:
        terms = {"kind": "share", "cap": 60_000, "automatic": True, "same_class": False, "rank": 1, "price": 0}
        sides = {"giver": giver, "taker": taker, "first_slot": 0, "end_slot": 0}
        number = world.call(key_of(giver), "agreements", "propose", **sides, **terms)
        world.call(key_of(taker), "agreements", "accept", agreement=number)
    world.go_to(3 * SLOT_S)
    return world


def place(world: BudgetTown, orders: list[Order]) -> dict[str, bytes]:
    """Orders of the slot under way, in one block; by device their ids, the same in whatever order they come."""
    ids: dict[str, bytes] = {}
    for device, wh, price in orders:
        what: dict[str, Any] = {"side": "buy", "slot": 3, "energy_wh": wh, "price": price, "reference": device.encode()}
        try:
            ids[device] = cast("bytes", world.call(key_of(device), "market", "place", device=device, **what))
        except ContractError as error:
            assert error.code in ("over-budget", "own-cross")
    return ids


def money_of(world: BudgetTown) -> dict[Any, dict[str, int]]:
    """All books, without what is no money."""
    world.audit()
    noted = ("stopped", "received_slot")
    found = sorted(world.auditor.books.items())
    books = {of: {name: held for name, held in book.items() if name not in noted and held} for of, book in found}
    return {of: book for of, book in books.items() if book}


@settings(max_examples=examples(25), deadline=None)
@given(stories, st.randoms(use_true_random=False))
def test_shuffling_a_block_gives_nobody_more(story: Story, random: Any) -> None:
    """Whoever comes first in the block, the same orders are held, and everybody has the same, helped by the same."""
    outcomes = []
    for _ in range(2):
        world = town(story)
        ids = place(world, story.orders)
        world.next_block(world.time + TICK_S)
        states = {device: state_of(world, order) for device, order in ids.items()}
        shares = sorted(share[:4] for share in world.auditor.shares)
        outcomes.append((money_of(world), states, shares, world.auditor.state_of))
        random.shuffle(story.orders)
    assert outcomes[0] == outcomes[1]


@settings(max_examples=examples(25), deadline=None)
@given(stories, st.lists(st.sampled_from(BUYERS), unique=True))
def test_orders_that_come_to_nothing_leave_all_givers_what_they_had(story: Story, cancelled: list[str]) -> None:
    """Some are cancelled, the others expire at the gate: every device, pool and helper has what it had before."""
    world = town(story)
    before = money_of(world)
    ids = place(world, story.orders)
    world.next_block(world.time + TICK_S)
    held = {device: state_of(world, order) for device, order in ids.items()}
    for device in cancelled:
        if held.get(device) == "ACCEPTED":
            world.call(key_of(device), "market", "cancel", order=ids[device])
    world.go_to(4 * SLOT_S - 500)
    after = money_of(world)
    assert after == before
    assert not any(event.topic == "fill" for event in world.events)


def crowd(networks: int) -> World:
    """``networks`` of 200 devices, of which every second one has money."""
    names = [f"n{number}" for number in range(networks)]
    devices = [f"{network}/{number:03}" for network in names for number in range(200)]
    parts = neighbourhood.settings()
    parts["identity"]["networks"] = tuple((name, "club", key_of(name).hex(), "b1") for name in names)
    parts["identity"]["devices"] = tuple(neighbourhood.device_row(device, "load") for device in devices)
    world = World([Accounts(), Grid(), Identity(), Budget()], parts)
    with world.transaction() as ctx:
        slots.configure(ctx, SLOT_S)
    for name in names:
        of: dict[str, Any] = {"network": name, "period": 0}
        amounts = tuple((f"{name}/{number:03}", 1_000 + number) for number in range(100))
        world.call(neighbourhood.UTILITY, "budget", "issue", **of, amount=10**6, reference=b"1")
        world.call(key_of(name), "budget", "allocate", **of, amounts=amounts)
    at_slot(world, 9)
    return world


def run_out(world: World, devices: list[str]) -> tuple[dict[bytes, bool], dict[Any, Any], int]:
    """All ``devices`` need 500 in one block: what is decided, all that was shared, and the steps that deciding took."""
    with world.transaction() as ctx:
        for device in devices:
            assert not budget.hold(ctx, device, 0, device.encode(), 500)
        before = ctx._steps_left
        decided = dict(budget.resolve_needs(ctx))
        shared = {
            (network, share.giver, share.receiver): share.amount
            for network in dict.fromkeys(device.partition("/")[0] for device in devices)
            for share in budget_share.shares_of(ctx, network, 0, 0, 10**4)
        }
        return decided, shared, before - ctx._steps_left


def test_a_thousand_devices_that_run_out_in_one_block() -> None:
    """Ten networks with a hundred needs each: the same outcome in any order, and twice the work of half as many."""
    steps, outcomes = [], []
    for networks, turn in ((5, 1), (10, 1), (10, -1)):
        needy = [f"n{number}/{device}" for number in range(networks) for device in range(100, 200)][::turn]
        decided, shared, took = run_out(crowd(networks), needy)
        assert all(decided.values()) and len(decided) == 100 * networks
        assert sum(shared.values()) == 500 * len(needy)
        steps.append(took)
        outcomes.append((sorted(decided.items()), shared))
    assert outcomes[1] == outcomes[2]
    assert steps[1] <= 2 * steps[0] * 1.02 and steps[1] < 60 * 1_000, steps
