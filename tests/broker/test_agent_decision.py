"""A decision over random sites' states: orders that the market takes, money that is there, and nothing twice."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.changes import Action, Cancel, Place, Replace
from broker.decision import Budget, Decider, Decision, Knowledge, Terms
from broker.prices import PriceBook
from broker.site import Battery, Panels, Site, Vehicle
from broker.strategies.table import STRATEGIES
from broker.view import OpenOrder, VehicleOutlook

SLOT_S, FIRST, COUNT, TRADED = 1800, 832_008, 12, 3
LOAD, SUN, BATTERY, EV = "h/load", "h/pv", "h/battery", "h/ev"
DEVICES = (LOAD, SUN, BATTERY, EV)
SITE = Site(
    network="h",
    bus="bus-1",
    load=LOAD,
    panels=Panels(SUN, 4000),
    battery=Battery(BATTERY, 6400, 3000, 3000, 900),
    vehicle=Vehicle(EV, "bev", 30_000, 7000, 3000, 900, 160, 2000),
    slot_seconds=SLOT_S,
    import_w={LOAD: 8000, SUN: 0, BATTERY: 3000, EV: 7000},
    export_w={LOAD: 0, SUN: 4000, BATTERY: 3000, EV: 3000},
)


@st.composite
def knowledge(draw: st.DrawFn) -> Knowledge:
    nets = np.sort(np.array(draw(st.lists(st.integers(-2000, 4000), min_size=COUNT * 10, max_size=COUNT * 10))))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    net = np.sort(rng.permutation(nets).reshape(COUNT, 10), axis=1)
    retail = draw(st.sampled_from([800_000, 1_000_000, 1_500_000]))
    leaves = draw(st.integers(1, COUNT - 1))
    vehicle = VehicleOutlook(
        level_wh=draw(st.integers(0, 30_000)),
        buses=tuple("bus-1" if index < leaves else "" for index in range(COUNT)),
        least_wh=tuple(15_000 if index == leaves else 0 for index in range(COUNT)),
        used_wh=tuple(9_000 if index == leaves else 0 for index in range(COUNT)),
        shortage_price=3_000_000,
    )
    orders, positions = [], []
    for slot in range(TRADED):
        side = draw(st.sampled_from(["buy", "sell"]))
        rows = draw(st.lists(st.tuples(st.sampled_from(DEVICES), st.integers(1, 1500)), max_size=4))
        orders.append(tuple(OpenOrder(bytes([slot, n]), name, side, wh, 600_000) for n, (name, wh) in enumerate(rows)))  # type: ignore[arg-type]
        positions.append(draw(st.dictionaries(st.sampled_from([LOAD, BATTERY]), st.integers(-1000, 1500))))
    tokens = {device: draw(st.integers(0, 4 * 10**9)) for device in DEVICES}
    budget = Budget(7, tokens, draw(st.integers(0, 1000)), draw(st.integers(0, 1000)))
    return Knowledge(
        now=FIRST * SLOT_S + 60,
        first=FIRST,
        terms=tuple(Terms((FIRST + index + 1) * SLOT_S - 600, retail, 400_000) for index in range(COUNT)),
        net=net.astype(np.int64),
        battery_wh=draw(st.integers(0, 6400)),
        vehicle=draw(st.sampled_from([None, vehicle])),
        orders=tuple(orders),
        positions=tuple(positions),
        budgets=(budget,) * TRADED,
        buses=dict.fromkeys(DEVICES, "bus-1"),
        renewable_permille=300,
    )


def placed(action: Action) -> Place | None:
    """The order that an action brings into the book, if it brings one."""
    return action.new if isinstance(action, Replace) else action if isinstance(action, Place) else None


def new_cost(known: Knowledge, decision: Decision) -> Mapping[str, int]:
    """What the decision's orders hold beyond what those held that they replace, by device."""
    held = {order.id: order.energy_wh * order.price for each in known.orders for order in each if order.side == "buy"}
    cost = dict.fromkeys(DEVICES, 0)
    for action in decision.actions:
        order = placed(action)
        if order is not None and order.side == "buy":
            back = held.get(action.order, 0) if isinstance(action, Replace) else 0
            cost[order.device] += order.energy_wh * order.price - back
    return cost


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@given(known=knowledge())
@settings(max_examples=12, deadline=None)
def test_what_is_decided_the_market_takes_and_the_budget_covers(name: str, known: Knowledge) -> None:
    decision = Decider(SITE, STRATEGIES[name], PriceBook(SLOT_S)).decide(known)
    for index, each in enumerate(decision.slots):
        open_after = {order.id: (order.device, order.side) for order in known.orders[index]}
        references = []
        for action in each.actions:
            if isinstance(action, Cancel | Replace):
                del open_after[action.order]
            order = placed(action)
            if order is not None:
                terms = known.terms[index]
                assert order.slot == each.slot and order.energy_wh >= 100
                assert terms.feed_in <= order.price <= terms.retail
                assert len(order.reference) <= 32 and order.why
                references.append(order.reference)
                open_after[order.reference] = order.device, order.side  # type: ignore[assignment]
        assert len({side for _, side in open_after.values()}) <= 1, "all of a site's orders are on one side"
        assert len(set(references)) == len(references)
    again = Decider(SITE, STRATEGIES[name], PriceBook(SLOT_S)).decide(known)
    assert again.actions == decision.actions, "the same knowledge, the same orders"
    gone = {action.order for action in decision.actions if isinstance(action, Cancel)}
    freed = dict.fromkeys(DEVICES, 0)
    for old in (old for each in known.orders for old in each if old.id in gone and old.side == "buy"):
        freed[old.device] += old.energy_wh * old.price
    for device, cost in new_cost(known, decision).items():
        assert cost <= known.budgets[0].available[device] + freed[device]
