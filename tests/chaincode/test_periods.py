"""Calendars of billing periods: every slot in exactly one period, and no plan moves what has begun or holds money."""

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import budget_calendar
from chaincode.contract import ContractError
from chaincode.registry import default_registry
from tests.chaincode.marketplace import ADMIN, DEVICES, PERIOD_SLOTS, SLOT_S, STREET, UTILITY, key_of, marketplace
from tests.chaincode.marketplace import settings as marketplace_settings
from tests.chaincode.world import World

DAY = 48
"""Slots; as long as a period of the consortium here."""
EARLIEST = 2 * DAY
"""At time 0: the first boundary that is a day, and the time for which products are open, away."""


def plan(world: World, first: int, *lengths: int, network: str = "home-1") -> Any:
    return world.call(key_of(network), "periods", "plan", network=network, first_slot=first, lengths=lengths)


def refused(world: World, first: int, *lengths: int, network: str = "home-1", sender: bytes | None = None) -> str:
    args = {"network": network, "first_slot": first, "lengths": lengths}
    return world.refused(key_of(network) if sender is None else sender, "periods", "plan", **args)


def plan_company(world: World, first: int, *lengths: int) -> Any:
    return world.call(key_of("club"), "periods", "plan_company", member="club", first_slot=first, lengths=lengths)


def periods_of(world: World, slots: range, network: str = "home-1") -> list[int]:
    with world.transaction() as ctx:
        return [budget_calendar.period_of(ctx, network, slot) for slot in slots]


def issue(world: World, period: int, network: str = "home-1") -> None:
    args = {"network": network, "period": period, "amount": 1_000, "reference": b"%d" % len(world.events)}
    world.call(UTILITY, "budget", "issue", **args)


def empty(**market: Any) -> World:
    return marketplace(allocated=0, **market)


lengths_of_periods = st.lists(st.sampled_from((DAY, 2 * DAY, 7 * DAY, 31 * DAY)), min_size=1, max_size=4)
plans = st.tuples(st.sampled_from(("network", "company")), st.integers(0, 12), lengths_of_periods, st.integers(0, 40))
issues = st.tuples(st.just("issue"), st.integers(0, 8), st.just([DAY]), st.integers(0, 10))


@settings(max_examples=40, deadline=None)
@given(actions=st.lists(st.one_of(plans, plans, issues), max_size=8))
def test_every_slot_lies_in_exactly_one_period(actions: list[tuple[str, int, list[int], int]]) -> None:
    """Checklist 1: whatever is planned one after the other, numbers ascend without gaps, each period holds exactly its
    slots, and what has begun or holds money stays as it was.
    """
    world = empty()
    booked = {-1: (0, 0)}  # periods with money: their slots
    for action, ahead, lengths, days in actions:
        world.next_block(world.time + days * DAY * SLOT_S)
        now = world.time // SLOT_S
        old = periods_of(world, range(max(0, now - 300), now + DAY))
        with world.transaction() as ctx:
            scope = own = budget_calendar.scope_of(ctx, "home-1")
            if action == "company":
                made = budget_calendar.company_scope("club")
                scope = made if budget_calendar.is_made(ctx, made) else b""
            number = budget_calendar.scope_period(ctx, scope, now + 2 * DAY) + 1 + ahead
            first = budget_calendar.scope_slots(ctx, scope, number)[0]
        if action == "issue":
            issue(world, number)
            with world.transaction() as ctx:
                booked[number] = budget_calendar.slots_of(ctx, "home-1", number)
        elif number <= max(booked) and (action == "network" or not own.startswith(b"network")):
            with pytest.raises(ContractError, match="period-in-use"):
                (plan_company if action == "company" else plan)(world, first, *lengths)
        else:
            assert (plan_company if action == "company" else plan)(world, first, *lengths) == number
        assert periods_of(world, range(max(0, now - 300), now + DAY)) == old
        with world.transaction() as ctx:
            assert all(budget_calendar.slots_of(ctx, "home-1", at) == booked[at] for at in booked if at >= 0)
    with world.transaction() as ctx:
        slot = 0
        last = budget_calendar.period_of(ctx, "home-1", world.time // SLOT_S + 200 * DAY)
        for period in range(last + 1):
            first, end = budget_calendar.slots_of(ctx, "home-1", period)
            assert first == slot < end, "no gap, no overlap"
            inside = [budget_calendar.period_of(ctx, "home-1", at) for at in (first, (first + end) // 2, end - 1)]
            assert inside == [period] * 3
            slot = end


def test_months_are_planned_in_one_call() -> None:
    world = empty()
    assert plan(world, EARLIEST, 31 * DAY, 31 * DAY, 30 * DAY) == 2
    assert world.query("periods", "calendar", network="home-1") == (
        "network",
        ((0, 0, PERIOD_SLOTS), (2, EARLIEST, 31 * DAY), (4, EARLIEST + 62 * DAY, 30 * DAY)),
    )
    found = cast("Any", world.query("periods", "period", network="home-1", period=3))
    assert found == ("planned", 33 * DAY, 64 * DAY, 33 * 86_400, 64 * 86_400, 31 * DAY, None)
    assert periods_of(world, range(95 * DAY, 95 * DAY + 1)) == [5], "the last length goes on"
    told = [(event.keys, event.data) for event in world.events if event.topic == "period-planned"]
    assert told == [(("home-1",), (2, EARLIEST, (31 * DAY, 31 * DAY, 30 * DAY)))]
    # Other networks go on with the consortium's.
    assert world.query("periods", "calendar", network="home-2") == ("consortium", ((0, 0, PERIOD_SLOTS),))


def test_a_company_plans_for_its_networks_but_those_with_a_calendar_of_their_own() -> None:
    world = empty()
    plan(world, EARLIEST, 7 * DAY, network="home-2")
    assert plan_company(world, EARLIEST + DAY, 2 * DAY) == 3
    assert world.query("periods", "calendar", network="home-1") == ("company", ((0, 0, DAY), (3, 3 * DAY, 2 * DAY)))
    assert cast("Any", world.query("periods", "calendar", network="home-2"))[0] == "network"
    assert cast("Any", world.query("periods", "company_calendar", member="club"))[0] == "company"
    assert cast("Any", world.query("periods", "company_calendar", member="utility"))[0] == "consortium"
    # A network's own calendar goes on from its company's.
    assert plan(world, 5 * DAY, DAY) == 4
    assert periods_of(world, range(0, 7 * DAY, DAY)) == [0, 1, 2, 3, 3, 4, 5]
    args = {"member": "club", "first_slot": 9 * DAY, "lengths": (DAY,)}
    assert world.refused(key_of("home-1"), "periods", "plan_company", **args) == "wrong-key"


@pytest.mark.parametrize(
    ("first", "lengths", "code"),
    [
        (EARLIEST + 1, (DAY,), "period-overlaps"),
        (DAY, (DAY,), "period-begun"),
        (EARLIEST, (), "bad-length"),
        (EARLIEST, (DAY - 1,), "bad-length"),
        (EARLIEST, (DAY, 93 * DAY), "bad-length"),
        (EARLIEST, (DAY,) * 37, "bad-length"),
        (-1, (DAY,), "unknown-period"),
        (500 * DAY, (DAY,), "unknown-period"),
        (2**60, (DAY,), "unknown-period"),
    ],
)
def test_what_cannot_be_planned(first: int, lengths: tuple[int, ...], code: str) -> None:
    world = empty()
    assert refused(world, first, *lengths) == code
    assert world.query("periods", "calendar", network="home-1") == ("consortium", ((0, 0, PERIOD_SLOTS),))


def test_only_the_owner_plans() -> None:
    world = empty()
    for sender in (key_of("home-2"), key_of("home-1/load"), key_of("club"), UTILITY, ADMIN):
        assert refused(world, EARLIEST, DAY, sender=sender) == "wrong-key"
    assert refused(world, EARLIEST, DAY, network="home-9", sender=ADMIN) == "unknown-network"


def test_a_period_that_holds_money_is_not_moved() -> None:
    world = empty()
    issue(world, 4)
    assert refused(world, 4 * DAY, 2 * DAY) == "period-in-use"
    assert refused(world, 3 * DAY, 2 * DAY) == "period-in-use"
    args = {"member": "club", "first_slot": 4 * DAY, "lengths": (2 * DAY,)}
    assert world.refused(key_of("club"), "periods", "plan_company", **args) == "period-in-use"
    assert plan(world, 5 * DAY, 2 * DAY) == 5
    assert plan_company(world, 4 * DAY, 2 * DAY) == 4, "whoever has a calendar of its own is not concerned"
    world.call(key_of("home-2"), "budget", "set_forecast", device="home-2/pv", period=9, amount=5)
    assert plan(world, 4 * DAY, 2 * DAY, network="home-2") == 4, "a forecast is no money"


def test_a_slot_that_has_opened_stays_where_it_is() -> None:
    """Also if the time for which products are open has become shorter since."""
    world = empty(open_before_s=3 * DAY * SLOT_S)
    assert refused(world, 3 * DAY, DAY) == "period-begun"
    assert plan(world, 4 * DAY, 2 * DAY) == 4


def test_stretches_that_are_over_are_put_aside_and_found_again() -> None:
    world = empty()
    lengths = [2 * DAY if number % 2 else DAY for number in range(30)]
    first = EARLIEST
    expected = [0, 1]
    for turn in range(4):
        assert plan(world, first, *lengths) == 2 + 30 * turn
        for number, length in enumerate(lengths, 2 + 30 * turn):
            expected += [number] * (length // DAY)
        first += sum(lengths)
        world.next_block((first - 4 * DAY) * SLOT_S)
    assert len(cast("Any", world.query("periods", "calendar", network="home-1"))[1]) < 34
    assert periods_of(world, range(0, first, DAY)) == expected
    with world.transaction() as ctx:
        for period in range(122):
            at = expected.index(period)
            assert budget_calendar.slots_of(ctx, "home-1", period)[0] == at * DAY


def test_a_calendar_is_bounded() -> None:
    world = empty()
    lengths = (DAY, 2 * DAY) * 18
    plan(world, EARLIEST, *lengths)
    first = EARLIEST + sum(lengths)
    assert refused(world, first, *lengths) == "too-many"
    assert plan(world, EARLIEST, DAY) == 2, "a new plan replaces all that comes after its first slot"
    assert cast("Any", world.query("periods", "calendar", network="home-1"))[1] == ((0, 0, DAY),)


def with_calendars(**calendars: Any) -> World:
    parts = marketplace_settings(DEVICES, STREET)
    return World(default_registry(), {**parts, "periods": calendars}, time=40 * DAY * SLOT_S)


def test_calendars_may_be_there_from_the_beginning() -> None:
    world = with_calendars(
        companies=(("club", 31 * DAY, 28 * DAY), ("club", 59 * DAY, 31 * DAY)), networks=(("home-2", 31 * DAY, DAY),)
    )
    assert world.query("periods", "calendar", network="home-1") == (
        "company",
        ((31, 31 * DAY, 28 * DAY), (32, 59 * DAY, 31 * DAY)),
    )
    assert cast("Any", world.query("periods", "period", network="home-1", period=31))[0] == "active"
    assert cast("Any", world.query("periods", "calendar", network="home-2"))[0] == "network"
    assert plan(world, 90 * DAY, 30 * DAY) == 33


@pytest.mark.parametrize(
    ("calendars", "code"),
    [
        ({"months": ()}, "bad-settings"),
        ({"companies": (("club", 0),)}, "bad-settings"),
        ({"companies": (("club", 1, DAY),)}, "period-overlaps"),
        ({"companies": (("club", 0, 1),)}, "bad-length"),
        ({"companies": (("clan", 0, DAY),)}, "unknown-member"),
        ({"networks": (("home-9", 0, DAY),)}, "unknown-network"),
    ],
)
def test_calendars_that_cannot_be(calendars: dict[str, Any], code: str) -> None:
    with pytest.raises(ContractError) as refusal:
        with_calendars(**calendars)
    assert refusal.value.code == code


def test_what_was_over_when_the_chain_began_is_not_there() -> None:
    """Of a network and of a company: nothing of it can ever change. The period in which the chain began is not over."""
    begin = 5 * PERIOD_SLOTS * SLOT_S + 7 * SLOT_S
    world = marketplace(allocated=0, start=begin)
    world.next_block(begin)
    of: dict[str, Any] = {"network": "home-1"}

    def status(period: int) -> tuple[str, str]:
        of_company: Any = world.query("companies", "company", member="club", period=period)
        budget: Any = world.query("budget", "network_budget", **of, period=period)
        found: Any = world.query("periods", "period", **of, period=period)
        assert found[0] == budget[0]
        return budget[0], of_company[0]

    def is_unknown(period: int) -> bool:
        try:
            status(period)
        except ContractError as refusal:
            return refusal.code == "unknown-period"
        return False

    assert [status(period) for period in (5, 6)] == [("active", "active"), ("planned", "planned")]
    assert is_unknown(0) and is_unknown(4)
    world.next_block(6 * PERIOD_SLOTS * SLOT_S)
    assert status(5) == ("closing", "closing") and is_unknown(4)
    args = {**of, "amount": 1, "reference": b"r"}
    assert world.refused(UTILITY, "budget", "issue", **args, period=4) == "period-over"
    assert world.refused(UTILITY, "budget", "issue", **args, period=5) == "period-closing"
