"""Whatever a device does with its orders, it is not helped beyond what it lacks, and everything adds up."""

from random import Random
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from chaincode import accounts, budget, budget_share
from chaincode.budget_share import POOL
from tests.chaincode.budget_auditor import Auditor
from tests.chaincode.budget_steps import hold, resolve
from tests.chaincode.federation import NETWORKS
from tests.chaincode.test_budget_help import EV, LOAD, allocate, charge, policy, release, shares
from tests.chaincode.test_budget_secured import check, money, post, town
from tests.chaincode.world import World

DEVICES = tuple(f"{network}/{kind}" for network in NETWORKS for kind in ("load", "ev"))
NETWORK_OF = {device: device.partition("/")[0] for device in DEVICES}
MEMBER_OF = {network: "acme" if network[0] == "a" else "bolt" for network in NETWORKS}
steps = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), st.integers(1, 250)),
        st.tuples(st.just("list"), st.integers(2, 250)),
        st.tuples(st.just("charge"), st.integers(1, 150)),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("less"), st.integers(0, 9)),
        st.tuples(st.just("block"), st.just(0)),
    ),
    min_size=3,
    max_size=14,
)
MANY_SHARES = [
    ("hold", 1), ("hold", 39), ("less", 0), ("hold", 43), ("hold", 72), ("block", 0), ("charge", 104), ("less", 0),
    ("charge", 7), ("less", 0), ("hold", 1), ("hold", 227),
]  # fmt: skip
posts = st.lists(st.tuples(st.integers(0, 13), st.integers(1, 100), st.integers(0, 30)), max_size=5)


class Dodger:
    """A device that does what it likes, and an auditor who reads all that is told."""

    def __init__(self, own: int, floor: int) -> None:
        self.world = town()
        allocate(self.world, EV, own)
        policy(self.world, devices=((LOAD, 1, floor, True, None, 0, 0),))
        self.auditor = Auditor(NETWORK_OF, MEMBER_OF)
        self.auditor.read(self.world.events, 9)
        self.read = len(self.world.events)
        self.own = own + 100
        self.paid = 0
        self.held: list[bytes] = []
        self.count = 0

    def do(self, what: str, amount: int) -> None:
        self.count += 1
        reference = b"%d" % self.count
        if what == "hold" and hold(self.world, EV, reference, amount):
            self.held.append(reference)
        elif what == "list":
            parts = [(0, reference + b"a", amount // 2), (0, reference + b"b", amount - amount // 2)]
            with self.world.transaction() as ctx:
                if budget.hold_all(ctx, EV, reference, parts):
                    self.held += [reference for _, reference, _ in parts]
        elif what == "charge":
            self.paid += charge(self.world, {EV: amount})[0]
        elif what == "cancel" and self.held:
            release(self.world, self.held.pop(amount % len(self.held)))
        elif what == "less" and self.held:
            release(self.world, self.held[amount % len(self.held)], 1)
        self.block()

    def block(self) -> None:
        for reference, done in resolve(self.world).items():
            with self.world.transaction() as ctx:
                every = [reference, reference + b"a", reference + b"b"]
                found = [each for each in every if budget.hold_of(ctx, each) is not None]
            assert bool(found) == done
            self.held += found
        with self.world.transaction() as ctx:
            self.held = [each for each in self.held if budget.hold_of(ctx, each) is not None]
        self.check()

    def check(self) -> None:
        check(self.world)
        self.auditor.read(self.world.events[self.read :], 9)
        self.read = len(self.world.events)
        with self.world.transaction() as ctx:
            self.auditor.check(ctx)
            self.auditor.check_shares("a-1", 0, budget_share.shares_of(ctx, "a-1", 0, 0, 1_000))


def back_without_name(world: World) -> int:
    """What came back to the pool in one sum because it was of more shares than a hold may name."""
    with world.transaction() as ctx:
        withdrawn = accounts.network_book(ctx, "a-1", 0).withdrawn
        every = budget_share.shares_of(ctx, "a-1", 0, 0, 1_000)
    return withdrawn - sum(
        [share.returned for share in every if share.giver == POOL and share.why != budget_share.ORDER]
    )


@settings(max_examples=60, deadline=None)
@example(39, 1_750, MANY_SHARES, Random(1))
@given(st.integers(1, 300), st.sampled_from([0, 1_750, 1_800]), steps, st.randoms(use_true_random=False))
def test_whose_orders_all_end_unfilled_is_given_what_it_lacked_beyond_all_its_money(
    own: int, floor: int, done: list[tuple[str, int]], fate: Any
) -> None:
    dodger = Dodger(own, floor)
    for what, amount in done:
        dodger.do(what, amount)
    fate.shuffle(dodger.held)
    for reference in dodger.held:
        release(dodger.world, reference)
        dodger.check()
    given_in_all = sum(share[2] - share[3] for share in shares(dodger.world)) - back_without_name(dodger.world)
    available, reserved, claimed = money(dodger.world, EV)
    assert given_in_all == max(0, dodger.paid - dodger.own)
    assert (reserved, claimed) == (0, 0)
    assert available == max(0, dodger.own - dodger.paid)
    own_devices = [share for share in shares(dodger.world) if share[0] in DEVICES]
    assert available == 0 or all(share[2] == share[3] for share in own_devices), "a donor is out of pocket"


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.sampled_from([0, 1_750, 1_800]), steps, posts)
def test_filled_in_parts_and_cancelled_all_adds_up(
    own: int, floor: int, done: list[tuple[str, int]], filled: list[tuple[int, int, int]]
) -> None:
    dodger = Dodger(own, floor)
    for number, (what, amount) in enumerate(done):
        dodger.do(what, amount)
        for at, cost, back in filled:
            if at == number and dodger.held:
                reference = dodger.held[-1]
                with dodger.world.transaction() as ctx:
                    found = budget.hold_of(ctx, reference)
                assert found is not None
                paid = min(cost, found.amount)
                post(dodger.world, reference, paid, min(back, found.amount - paid))
                dodger.block()
    for reference in dodger.held:
        release(dodger.world, reference)
        dodger.check()
    assert money(dodger.world, EV)[1:] == (0, 0)
