"""Plans: no dearer than the best of all plans of a small case, duals that are what a Wh is worth, and bad input."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.planning import planner as planner_module
from broker.planning.control import Here, Stock, control
from broker.planning.planner import Planner
from broker.planning.rules import charge_on_arrival, rule_plan, self_consumption
from broker.planning.stores import next_need, stored
from broker.site import Battery, Panels, Site, Vehicle
from broker.view import Outlook, Plan, Prices, Quantiles, VehicleOutlook

UNIT = 100
BATTERY = Battery("home/battery", 3 * UNIT, 2 * UNIT, 2 * UNIT, 1000)
LIMITS = {"home/load": 20_000, "home/pv": 20_000, "home/battery": 20_000, "home/ev": 20_000}
SITE = Site("home", "bus", "home/load", Panels("home/pv", 5_000), BATTERY, None, 3600, import_w=LIMITS, export_w=LIMITS)
CAR = Vehicle("home/ev", "bev", 20_000, 4_000, 4_000, 900, 150, 2_000)
BIG = replace(SITE, battery=Battery("home/battery", 6_400, 5_000, 5_000, 900), vehicle=CAR)


def flat(prices: list[int], feed_in: int = 80_000) -> Prices:
    """Nobody to trade with."""
    return Prices(tuple(prices), (feed_in,) * len(prices), tuple(prices), (feed_in,) * len(prices))


def sure(net: list[int]) -> Quantiles:
    """A forecast that is certain."""
    return np.repeat(np.array(net, dtype=np.int64)[:, None], 10, axis=1)


def slot_cost(quantiles: list[int], moved: float, buy: int, sell: int) -> float:
    """The expected cost of a slot, case by case."""
    costs = [buy * max(net + moved, 0) - sell * max(-net - moved, 0) for net in quantiles]
    return float(sum(costs)) / len(costs)


def cost(outlook: Outlook, flows: tuple[int, ...], battery: Battery, stock: float) -> float:
    """Of the battery's flows; impossible ones cost everything."""
    level = float(outlook.battery_wh)
    total = 0.0
    for index, flow in enumerate(flows):
        level += flow * battery.efficiency_permille / 1000 if flow > 0 else flow
        if not -1 <= level <= battery.capacity_wh + 1:
            return float("inf")
        total += slot_cost(outlook.net[index].tolist(), flow, outlook.prices.buy[index], outlook.prices.sell[index])
    return total - level * stock


def usual(outlook: Outlook) -> float:
    """The stated worth of what is left: the mean marginal price of a horizon whose stores do nothing."""
    parts: list[float] = [
        sell + (buy - sell) * sum(net > 0 for net in row) / 10
        for sell, buy, row in zip(outlook.prices.sell, outlook.prices.buy, outlook.net.tolist(), strict=True)
    ]
    return max(0.0, sum(parts) / len(parts))


tiny = st.integers(1, 4).flatmap(
    lambda slots: st.tuples(
        st.lists(
            st.lists(st.integers(-4, 4).map(lambda x: x * UNIT), min_size=10, max_size=10).map(sorted),
            min_size=slots,
            max_size=slots,
        ),
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted), min_size=slots, max_size=slots),
        st.integers(0, 3),
        st.sampled_from([1000, 900, 500]),
    )
)


@settings(max_examples=120)
@given(tiny)
def test_no_plan_on_a_grid_is_cheaper(case: tuple[list[list[int]], list[list[int]], int, int]) -> None:
    """Against every plan in whole units of 100 Wh; without loss the best of them is as good as the program's."""
    rows, prices, level, kept = case
    battery = replace(BATTERY, efficiency_permille=kept)
    sell, buy = (tuple(pair[place] * 100_000 for pair in prices) for place in (0, 1))
    outlook = Outlook(np.array(rows), Prices(buy, sell, buy, sell), level * UNIT, None, {})
    plan = Planner(replace(SITE, battery=battery)).plan(outlook)
    stock = usual(outlook)
    best = min(
        cost(outlook, flows, battery, stock) for flows in product(range(-2 * UNIT, 3 * UNIT, UNIT), repeat=len(rows))
    )
    slack = 2 * len(rows) * 1_000_000  # whole Wh
    mine = cost(outlook, plan.battery_wh, battery, stock)
    assert mine <= best + slack
    if kept == 1000:
        assert mine >= best - slack


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 6_400), st.integers(0, 6))
def test_a_stored_wh_is_worth_what_the_plan_saves_with_it(seed: int, level: int, slot: int) -> None:
    """The value at the end of a slot lies between what 50 Wh more save from there on, and what 50 Wh less cost."""
    random = np.random.default_rng(seed)
    battery = Battery("home/battery", 6_400, 2_000, 2_000, 900)
    site = replace(SITE, battery=battery)
    net = np.sort(random.normal(200, 1_000, (8, 10)).astype(np.int64), axis=1)
    buy = random.integers(150_000, 500_000, 8)
    sell = tuple((buy * 2 // 5).tolist())
    prices = Prices(tuple(buy.tolist()), sell, tuple(buy.tolist()), sell)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner_module, "stock_value", lambda _: 0.2)
        planner = Planner(site)
        plan = planner.plan(Outlook(net, prices, level, None, {}))
        for flow in plan.battery_wh[: slot + 1]:
            level = stored(level, flow, 900)

        def later(start: int) -> float:
            rest = Prices(*(part[slot + 1 :] for part in (prices.retail, sell, prices.buy, sell)))
            outlook = Outlook(net[slot + 1 :], rest, start, None, {})
            return cost(outlook, planner.plan(outlook).battery_wh, battery, 200_000)

        here, step, slack = later(level), 50, 8 * 500_000
        if level + step <= battery.capacity_wh:
            assert step * plan.battery_value[slot] >= here - later(level + step) - slack
        if level >= step:
            assert step * plan.battery_value[slot] <= later(level - step) - here + slack


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(0, 6_400))
def test_level_by_level_it_is_worth_what_later_slots_save(seed: int, level: int) -> None:
    """Each step of the worth is what the plans from there on differ by; together they span all that can be reached."""
    random = np.random.default_rng(seed)
    battery = Battery("home/battery", 6_400, 2_000, 3_000, 900)
    net = np.sort(random.normal(200, 1_000, (8, 10)).astype(np.int64), axis=1)
    buy = tuple(random.integers(150_000, 500_000, 8).tolist())
    sell = tuple(price * 2 // 5 for price in buy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner_module, "stock_value", lambda _: 0.2)
        planner = Planner(replace(SITE, battery=battery))
        worth = planner.plan(Outlook(net, Prices(buy, sell, buy, sell), level, None, {})).battery_worth

        def later(start: int) -> float:
            rest = Prices(buy[1:], sell[1:], buy[1:], sell[1:])
            outlook = Outlook(net[1:], rest, start, None, {})
            return cost(outlook, planner.plan(outlook).battery_wh, battery, 200_000)

        last = max(0, level - 3_000)
        assert worth[-1][0] == pytest.approx(min(6_400, level + 1_800), abs=50)
        for upto, value in worth:
            assert (upto - last) * value == pytest.approx(later(last) - later(upto), abs=20 * 500_000)
            last = upto
    assert [value for _, value in worth] == sorted((value for _, value in worth), reverse=True)


def test_a_vehicles_wh_is_worth_what_it_costs_where_it_is_charged() -> None:
    """Nights at 0.2, days at 0.5: what it lacks for its trip is charged at night, and so much is it worth."""
    slots = 16
    prices = flat([500_000] * 6 + [200_000] * 6 + [500_000] * 4)
    least = [0] * 14 + [12_000, 0]
    used = [0] * 14 + [10_000, 0]
    buses = ("bus",) * 14 + ("", "")
    seen = VehicleOutlook(3_000, buses, tuple(least), tuple(used), 1_000_000)
    site = replace(BIG, battery=None, vehicle=replace(CAR, discharge_w=0))
    plan = Planner(site).plan(Outlook(sure([500] * slots), prices, 0, seen, {}))
    assert sum(plan.vehicle_wh[6:12]) == pytest.approx(10_000, abs=5)
    assert not any(plan.vehicle_wh[:6]) and not any(plan.vehicle_wh[12:])
    assert plan.vehicle_value[3] == pytest.approx(200_000 / 0.9, rel=1e-3)


def test_a_shortage_is_paid_for_once_however_many_slots_ask() -> None:
    """A run of slots that ask for the same: worth charging up to the shortage price, not to a multiple of it."""
    prices = flat([900_000] * 6)
    seen = VehicleOutlook(0, ("bus",) * 6, (0, 0, 3_000, 3_000, 3_000, 0), (0, 0, 1_000, 1_000, 1_000, 0), 700_000)
    plan = Planner(replace(BIG, battery=None)).plan(Outlook(sure([0] * 6), prices, 0, seen, {}))
    assert not any(plan.vehicle_wh)
    dearer = replace(seen, shortage_price=1_100_000)
    plan = Planner(replace(BIG, battery=None)).plan(Outlook(sure([0] * 6), prices, 0, dearer, {}))
    assert sum(plan.vehicle_wh[:2]) == pytest.approx(3_000 / 0.9, abs=3)


def test_a_vehicle_gives_only_what_its_next_trip_leaves_and_only_where_it_is_plugged_in() -> None:
    prices = flat([900_000] * 4 + [100_000] * 4)
    away = {"work": flat([800_000] * 8, feed_in=700_000)}
    seen = VehicleOutlook(
        10_000,
        ("bus", "bus", "", "work", "work", "", "bus", "bus"),
        (0, 0, 6_000, 0, 0, 5_000, 0, 0),
        (0,) * 8,
        2_000_000,
    )
    outlook = Outlook(sure([3_000] * 8), prices, 0, seen, away)
    plan = Planner(replace(BIG, battery=None)).plan(outlook)
    level = seen.level_wh
    for slot, flow in enumerate(plan.vehicle_wh):
        assert not flow or seen.buses[slot]
        level = stored(level, flow, CAR.efficiency_permille)
        assert flow >= 0 or level >= next_need(seen, slot)
    assert sum(plan.vehicle_wh[:2]) == -4_000
    assert plan.vehicle_wh[3] + plan.vehicle_wh[4] == -1_000
    fixed = Planner(replace(BIG, battery=None, vehicle=replace(CAR, discharge_w=0))).plan(outlook)
    assert min(fixed.vehicle_wh) >= 0


@pytest.mark.parametrize("retail", [-50_000, 0, 300_000])
def test_negative_prices_are_lived_with(retail: int) -> None:
    """Who is paid to take energy fills the stores, and does not burn any by giving and taking at once."""
    prices = flat([retail] * 4 + [300_000] * 4, feed_in=min(retail, 0) - 10_000)
    plan = Planner(replace(SITE, battery=Battery("home/battery", 6_400, 5_000, 5_000, 900))).plan(
        Outlook(sure([500] * 8), prices, 1_000, None, {})
    )
    if retail < 0:
        assert min(plan.battery_wh[:4]) >= 0
        assert sum(plan.battery_wh[:4]) == pytest.approx(6_000, abs=5)
    assert not plan.note


def test_odd_input() -> None:
    """No horizon, nothing that stores, nothing that fits, a level that cannot be, parts that do not match."""
    none = Outlook(np.zeros((0, 10), dtype=np.int64), Prices((), (), (), ()), 0, None, {})
    assert Planner(SITE).plan(none) == Plan((), (), (), ())
    bare = Planner(replace(SITE, battery=None)).plan(Outlook(sure([5, 5]), flat([10, 10]), 0, None, {}))
    assert bare == Plan((0, 0), (0, 0), (0, 0), (0, 0))
    empty = replace(SITE, battery=Battery("home/battery", 0, 0, 0, 1000))
    assert Planner(empty).plan(Outlook(sure([500, -500]), flat([300_000] * 2), 0, None, {})).battery_wh == (0, 0)
    beyond = Planner(SITE).plan(Outlook(sure([500] * 3), flat([300_000] * 3), 99_999, None, {}))
    assert sum(beyond.battery_wh) >= -BATTERY.capacity_wh
    with pytest.raises(ValueError, match="an outlook of 3 slots has parts of"):
        Planner(SITE).plan(Outlook(sure([1, 2, 3]), flat([10, 10]), 0, None, {}))
    with pytest.raises(ValueError, match="quantiles of shape"):
        Planner(SITE).plan(Outlook(np.zeros((2, 9), dtype=np.int64), flat([10, 10]), 0, None, {}))


@pytest.mark.parametrize("bound", ["MOST_ITERATIONS", "MOST_S"])
def test_a_plan_that_cannot_be_computed_is_the_plain_rules(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Out of steps or out of time: control, given the plan's values, does what the rules say; the note tells of it."""
    monkeypatch.setattr(planner_module, bound, 0)
    net = [800, -2_000, 300, 1_500]
    seen = VehicleOutlook(2_000, ("bus",) * 4, (0, 0, 0, 9_000), (0,) * 4, 1_000_000)
    outlook = Outlook(sure(net), flat([220_000] * 4), 3_000, seen, {})
    plan = Planner(BIG).plan(outlook)
    assert plan == rule_plan(BIG, outlook)
    assert "plain rules" in plan.note
    assert plan.vehicle_wh[0] == charge_on_arrival(BIG, 2_000) == 4_000
    only = replace(BIG, vehicle=None)
    quiet = replace(outlook, vehicle=None)
    plan = Planner(only).plan(quiet)
    level = 3_000
    for slot, wh in enumerate(net):
        stock = Stock(level, 0, plan.battery_wh[slot], plan.battery_value[slot])
        flow = control(only, Here(0, wh, 220_000, 80_000), stock, None).battery_wh
        assert flow == self_consumption(only, wh, level) == plan.battery_wh[slot]
        level = stored(level, flow, 900)


def test_the_same_outlook_the_same_plan() -> None:
    """Whatever was planned before with the same planner."""
    random = np.random.default_rng(3)
    planner = Planner(BIG)
    outlooks = [
        Outlook(np.sort(random.integers(-2_000, 3_000, (24, 10)), axis=1), flat([220_000] * 24), 3_000, None, {})
        for _ in range(5)
    ]
    first = [planner.plan(outlook) for outlook in outlooks]
    assert [Planner(BIG).plan(outlook) for outlook in reversed(outlooks)] == first[::-1]
