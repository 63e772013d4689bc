"""What plugs are told: `curtail` and `restore` in turn for each device, whatever happens, and every state once."""

from collections import defaultdict
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chaincode import budget, budget_plug, budget_state
from chaincode.contract import ContractError
from tests.chaincode.budget_steps import EV, LOAD, charge, credit, hold, resolve, topics
from tests.chaincode.neighbourhood import (
    DEVICES,
    OWNER_1,
    PERIOD_SLOTS,
    SLOT_S,
    UTILITY,
    at_slot,
    fund,
    neighbourhood,
    one_more,
)
from tests.chaincode.world import World

CUT = ("curtail", "restore")


def told(world: World) -> list[tuple[str, str, int]]:
    """(topic, device, period)."""
    return [(event.topic, event.keys[0], cast("int", event.data)) for event in world.events if event.topic in CUT]


def device(world: World, name: str) -> dict[str, Any]:
    fields = (
        "height", "time", "network", "period", "state", "since", "available", "reserved", "budget", "owed", "cut",
    )  # fmt: skip
    return dict(zip(fields, cast("tuple[Any, ...]", world.query("overview", "device", device=name)), strict=True))


def test_a_plug_is_switched_on_again_when_the_period_ends() -> None:
    world = neighbourhood()
    at_slot(world, 4)
    hold(world, EV, b"o1", 5)
    resolve(world)
    assert told(world) == [("curtail", EV, 0)]
    found = device(world, EV)
    assert (found["state"], found["since"][:2], found["since"][3:]) == ("limited", (4 * SLOT_S, 2), ("order", b"o1"))
    assert found["cut"][:3] == (0, 4 * SLOT_S, 2)
    assert world.next_event() == PERIOD_SLOTS * SLOT_S
    at_slot(world, PERIOD_SLOTS)
    assert told(world) == [("curtail", EV, 0), ("restore", EV, 0)]
    assert device(world, EV)["cut"] is None and device(world, EV)["state"] == "depleted"
    assert world.next_event() is None


def test_a_debt_is_paid_after_the_period_that_made_it() -> None:
    world = neighbourhood()
    charge(world, {EV: 50})
    assert device(world, EV)["since"][3:] == ("debt", b"run") and device(world, EV)["owed"] == 50
    at_slot(world, 3 * PERIOD_SLOTS)
    world.call(UTILITY, "budget", "issue", network="home-1", period=3, amount=100, reference=b"r")
    fund(world, {EV: 10}, period=3)
    assert told(world) == [("curtail", EV, 0), ("restore", EV, 0)]


def test_who_is_stopped_in_the_new_period_first_is_restored_before() -> None:
    world = neighbourhood()
    charge(world, {EV: 5})
    with world.transaction() as ctx:  # the calendar has not come to it yet
        ctx.time = (PERIOD_SLOTS + 2) * SLOT_S
        budget.charge(ctx, EV, 1, 5, "utility", "retail", b"late")
    assert told(world) == [("curtail", EV, 0), ("restore", EV, 0), ("curtail", EV, 1)]
    at_slot(world, PERIOD_SLOTS + 2)
    assert len(told(world)) == 3


def test_grace_is_no_curtailment() -> None:
    world = neighbourhood()
    charge(world, {LOAD: 50})
    fund(world, {LOAD: 100}, spare=50)
    assert [event.data for event in world.events if event.topic == "budget-state" and event.keys[0] == LOAD] == [
        (0, "grace"), (0, "active"),
    ]  # fmt: skip
    assert told(world) == []


def test_money_that_only_passes_through_changes_no_state() -> None:
    """A charge that others pay in full: what they give is there between two movements, and gone."""
    world = neighbourhood()
    fund(world, {LOAD: 1000, EV: 10})
    at_slot(world, 9)
    charge(world, {EV: 10})
    before = len(topics(world, "budget-state"))
    charge(world, {EV: 50})
    assert [name for _, name in topics(world, "budget-state")[before:]] == []
    assert told(world) == []


def test_many_plugs_are_restored_in_bounded_blocks() -> None:
    world = neighbourhood()
    names = [one_more(world, f"home-1/x{number}") for number in range(40)]
    charge(world, dict.fromkeys(names, 7))
    most, budget_plug.MAX_A_BLOCK = budget_plug.MAX_A_BLOCK, 16  # type: ignore[misc]
    try:
        for restored in (16, 32, 40, 40):
            world.next_block(PERIOD_SLOTS * SLOT_S)
            assert len(topics(world, "restore")) == restored
    finally:
        budget_plug.MAX_A_BLOCK = most  # type: ignore[misc]


class Plugs(RuleBasedStateMachine):
    """Anything that moves money to and from devices, over several periods."""

    def __init__(self) -> None:
        super().__init__()
        self.world = neighbourhood()
        self.number = 0
        self.held: list[bytes] = []
        self.seen = 0
        self.is_cut: dict[str, int | None] = dict.fromkeys(DEVICES)
        self.states: dict[tuple[str, int], str] = defaultdict(lambda: "depleted")

    @property
    def period(self) -> int:
        return self.world.time // SLOT_S // PERIOD_SLOTS

    @rule(amounts=st.dictionaries(st.sampled_from(DEVICES), st.integers(1, 300), min_size=1), spare=st.integers(0, 90))
    def allocate(self, amounts: dict[str, int], spare: int) -> None:
        money = {"network": "home-1", "period": self.period}
        self.number += 1
        reference = b"r%d" % self.number
        self.world.call(UTILITY, "budget", "issue", **money, amount=sum(amounts.values()) + spare, reference=reference)
        self._try("allocate", network="home-1", amounts=tuple(amounts.items()))  # what it owes is paid first

    @rule(name=st.sampled_from(DEVICES), amount=st.integers(1, 300))
    def withdraw(self, name: str, amount: int) -> None:
        self._try("withdraw", network="home-1", amounts=((name, amount),))

    @rule(giver=st.sampled_from(DEVICES), receiver=st.sampled_from(DEVICES), amount=st.integers(1, 200))
    def share(self, giver: str, receiver: str, amount: int) -> None:
        self._try("share", giver=giver, receiver=receiver, amount=amount)

    @rule(name=st.sampled_from(DEVICES), amounts=st.lists(st.integers(1, 300), min_size=1, max_size=3))
    def order(self, name: str, amounts: list[int]) -> None:
        for amount in amounts:
            self.number += 1
            hold(self.world, name, b"o%d" % self.number, amount, self.period)
            self.held.append(b"o%d" % self.number)
        resolve(self.world)

    @rule(paid=st.integers(0, 50))
    def fill(self, paid: int) -> None:
        with self.world.transaction() as ctx:
            for ref in self.held[:2]:
                found = budget.hold_of(ctx, ref)
                if found is not None:
                    part = min(paid, found.amount)
                    budget.settle(ctx, ref, part, found.amount - part, "utility", "retail")
        del self.held[:2]

    @rule(charges=st.dictionaries(st.sampled_from(DEVICES), st.integers(1, 400), min_size=1), late=st.booleans())
    def settle(self, charges: dict[str, int], late: bool) -> None:
        charge(self.world, charges, period=max(0, self.period - late))

    @rule(name=st.sampled_from(DEVICES), amount=st.integers(1, 300), itself=st.booleans())
    def earn(self, name: str, amount: int, itself: bool) -> None:
        policy = "device" if itself else "pool"
        self.world.call(OWNER_1, "budget", "set_policy", network="home-1", proceeds=policy)
        credit(self.world, name, amount, period=self.period)

    @rule(slots=st.integers(0, 25))
    def go_on(self, slots: int) -> None:
        at_slot(self.world, self.world.time // SLOT_S + slots)

    def _try(self, method: str, **args: Any) -> None:
        try:
            self.world.call(OWNER_1, "budget", method, period=self.period, **args)
        except ContractError as refusal:
            assert refusal.code in ("insufficient-funds", "bad-account"), refusal

    @invariant()
    def told_in_turn_and_once(self) -> None:
        for event in self.world.events[self.seen :]:
            if event.topic in CUT:
                self._switch(event.keys[0], event.topic, cast("int", event.data))
            elif event.topic == "budget-state":
                period, state = cast("tuple[int, str]", event.data)
                assert self.states[event.keys[0], period] != state, "told twice"
                self.states[event.keys[0], period] = state
        self.seen = len(self.world.events)
        with self.world.transaction() as ctx:
            for name in DEVICES:
                cut = budget_plug.cut_of(ctx, name)
                assert (cut and cut.period) == self.is_cut[name]
                for period in range(max(0, self.period - 2), self.period + 1):
                    assert budget_state.state_of(ctx, name, period) == self.states[name, period]
                is_limited = self.states[name, self.period] == "limited"
                assert (self.is_cut[name] is not None) == is_limited

    def _switch(self, name: str, topic: str, period: int) -> None:
        if topic == "curtail":
            assert self.is_cut[name] is None, "curtailed twice"
            self.is_cut[name] = period
        else:
            assert self.is_cut[name] == period, "restored what was not curtailed, or of another period"
            self.is_cut[name] = None


Plugs.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPlugs = Plugs.TestCase
