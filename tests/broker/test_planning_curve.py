"""The curve that a site trades by, and its control within the slot: against trying out everything."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.planning import pieces as pieces_module
from broker.planning.control import Flows, Here, Stock, control
from broker.planning.curve import curve
from broker.planning.stores import stored
from broker.site import Battery, Panels, Site, Vehicle
from broker.view import Curve, Outlook, Plan, Prices, VehicleOutlook

WIDE = {"home/load": 20_000, "home/pv": 20_000, "home/battery": 20_000, "home/ev": 20_000}
BATTERY = Battery("home/battery", 1_000, 400, 300, 800)
CAR = Vehicle("home/ev", "bev", 2_000, 300, 200, 900, 150, 0)
BARE = Site("home", "bus", "home/load", Panels("home/pv", 5_000), None, None, 3600, import_w=WIDE, export_w=WIDE)
FULL = replace(BARE, battery=BATTERY, vehicle=CAR)

nets = st.lists(st.integers(-12, 12).map(lambda x: 50 * x), min_size=10, max_size=10).map(sorted)
tariffs = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda pair: sorted(10_000 * x for x in pair))


def one_slot(
    net: list[int], retail: int, feed_in: int, battery: Stock | None = None, car: Stock | None = None, bus: str = "bus"
) -> tuple[Outlook, Plan]:
    """An outlook and a plan of one slot."""
    prices = Prices((retail,), (feed_in,), (retail,), (feed_in,))
    least = (0, car.least_wh) if car is not None else (0, 0)
    seen = None if car is None else VehicleOutlook(car.level_wh, (bus, ""), least, (0, 0), 1_000_000)
    outlook = Outlook(np.array([net]), prices, battery.level_wh if battery is not None else 0, seen, {"work": prices})
    plan = Plan(
        (battery.planned_wh if battery else 0,),
        (car.planned_wh if car else 0,),
        (battery.value if battery else 0,),
        (car.value if car else 0,),
    )
    return outlook, plan


def deviation(position: int, net: int, retail: int, feed_in: int) -> int:
    """What it costs to end elsewhere than contracted."""
    return retail * max(net - position, 0) - feed_in * max(position - net, 0)


@given(nets, tariffs, st.integers(0, 200_000))
def test_without_stores_the_quantity_is_the_newsvendors_quantile(net: list[int], tariff: list[int], price: int) -> None:
    """The quantile (retail - price) / (retail - feed-in) of the net load, exactly."""
    feed_in, retail = tariff
    found = curve(BARE, *one_slot(net, retail, feed_in), 0, "bus")
    if feed_in < price < retail:
        # The least q such that the chance of a net of at most q reaches the ratio.
        ratio_cases = -(-10 * (retail - price) // (retail - feed_in))
        assert found.wanted_wh(price) == net[ratio_cases - 1]
        costs = {q: price * q * 10 + sum(deviation(q, each, retail, feed_in) for each in net) for q in net}
        assert costs[found.wanted_wh(price)] == min(costs.values())


def check_shape(site: Site, found: Curve) -> None:
    """Steps fall in value, and nobody trades beyond the ledger's limits."""
    values = [step.value for step in found.steps]
    assert values == sorted(values, reverse=True)
    assert all(step.energy_wh > 0 for step in found.steps)
    most = found.start_wh + sum(step.energy_wh for step in found.steps)
    assert -sum(site.export_w.values()) <= found.start_wh <= most <= max(sum(site.import_w.values()), found.start_wh)


stocks = st.builds(
    Stock,
    level_wh=st.integers(0, 20).map(lambda x: 50 * x),
    least_wh=st.just(0),
    planned_wh=st.just(0),
    value=st.integers(0, 24).map(lambda x: x * 10_000),
    worth=st.just(()),
)
"""Planned: nothing, so that with no nudge the curve is the exact optimum."""


@settings(max_examples=60)
@given(nets, tariffs, stocks, st.sampled_from([1000, 800]), st.integers(1, 199_999))
def test_with_a_battery_no_other_quantity_is_better(
    net: list[int], tariff: list[int], stock: Stock, kept: int, price: int
) -> None:
    """Every position in steps of 10 Wh, every case, every flow of the battery: nothing beats the curve's."""
    feed_in, retail = tariff
    if not feed_in < price < retail:
        return
    battery = replace(BATTERY, efficiency_permille=kept)
    site = replace(BARE, battery=battery)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "NUDGE_PERMILLE", 0)
        found = curve(site, *one_slot(net, retail, feed_in, stock), 0, "bus")
    check_shape(site, found)
    room = min(battery.charge_w, (battery.capacity_wh - stock.level_wh) * 1000 // kept)
    flows = np.unique(np.r_[-min(battery.discharge_w, stock.level_wh) : 1 : 10, 0 : room + 1 : 10, room, 0])
    worth = np.where(flows > 0, flows * kept / 1000, flows) * stock.value
    positions = np.arange(-1_200, 1_601, 10)

    def total(position: int) -> float:
        """The expected cost, of contract, deviation and what is in the battery."""
        cases = 0.0
        for each in net:
            short = each + flows - position
            cases += float((retail * np.maximum(short, 0) - feed_in * np.maximum(-short, 0) - worth).min())
        return price * position + cases / 10

    best = min(total(position) for position in positions.tolist())
    assert total(found.wanted_wh(price)) <= best + 5 * (retail - feed_in) + 1  # half a step of 10 Wh


@given(nets, tariffs, stocks, stocks, st.integers(-400, 400), st.integers(-300, 300), st.sampled_from(["bus", "work"]))
def test_a_curve_falls_and_keeps_to_the_limits(
    net: list[int], tariff: list[int], battery: Stock, car: Stock, planned: int, driven: int, bus: str
) -> None:
    """At home and at work, whatever is planned, with limits that bind."""
    feed_in, retail = tariff
    tight = {"home/load": 300, "home/pv": 0, "home/battery": 250, "home/ev": 100}
    site = replace(FULL, import_w=tight, export_w={**tight, "home/load": 0, "home/pv": 200})
    outlook, plan = one_slot(
        net, retail, feed_in, battery._replace(planned_wh=planned), car._replace(planned_wh=driven), bus
    )
    for where in {"bus", bus}:
        found = curve(site, outlook, plan, 0, where)
        check_shape(site, found)
        sums: dict[str, int] = {}
        for step in found.steps:
            sums[step.device] = sums.get(step.device, 0) + step.energy_wh
        assert all(wh <= site.import_w[device] + site.export_w[device] for device, wh in sums.items())
        if where == "work":
            assert {step.device for step in found.steps} <= {"home/ev"}


def test_who_trades_what_and_why() -> None:
    """A sunny hour: the panels sell what would be stored; an evening: the load buys what the battery does not give."""
    stock = Stock(500, 0, 0, 150_000)
    site = replace(BARE, battery=BATTERY)
    found = curve(site, *one_slot([-900] * 10, 200_000, 50_000, stock), 0, "bus")
    assert {(step.device, step.why) for step in found.steps if step.value < 130_000} == {("home/pv", "own sun")}
    found = curve(site, *one_slot([900] * 10, 200_000, 50_000, stock), 0, "bus")
    assert [(step.device, step.energy_wh) for step in found.steps] == [("home/load", 300), ("home/battery", 400)]
    assert found.start_wh == 600


@settings(max_examples=150)
@given(nets, tariffs, stocks, stocks, st.integers(-15, 15).map(lambda x: 40 * x), st.integers(-9, 9), st.booleans())
def test_control_does_the_best_that_can_be_done(
    net: list[int], tariff: list[int], battery: Stock, car: Stock, position: int, planned: int, away: bool
) -> None:
    """Within capacity, power and what the next trip needs; as good as any flow in steps of 10 Wh."""
    feed_in, retail = tariff
    car = car._replace(least_wh=300)
    here = Here(position, net[0], retail, feed_in)
    there = Here(planned * 10, 0, retail, feed_in) if away else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "NUDGE_PERMILLE", 0)
        flows = control(FULL, here, battery, car, there)
    nudged = control(
        FULL, here, battery._replace(planned_wh=planned * 40), car._replace(planned_wh=-planned * 20), there
    )
    for each in (flows, nudged):
        assert -BATTERY.discharge_w <= each.battery_wh <= BATTERY.charge_w
        assert 0 <= stored(battery.level_wh, each.battery_wh, 800) <= BATTERY.capacity_wh
        assert -CAR.discharge_w <= each.vehicle_wh <= CAR.charge_w
        after = stored(car.level_wh, each.vehicle_wh, 900)
        assert after <= CAR.capacity_wh
        assert each.vehicle_wh >= 0 or after >= car.least_wh

    def total(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        """Cost of both stores' flows."""
        at_home = one + (0 if away else two) - (position - net[0])
        cost = retail * np.maximum(at_home, 0) - feed_in * np.maximum(-at_home, 0)
        if there is not None:
            short = two - there.position_wh
            cost = cost + retail * np.maximum(short, 0) - feed_in * np.maximum(-short, 0)
        worth = np.where(one > 0, one * 0.8, one) * battery.value + np.where(two > 0, two * 0.9, two) * car.value
        return np.asarray(cost - worth)

    most = min(BATTERY.charge_w, (BATTERY.capacity_wh - battery.level_wh) * 1000 // 800)
    ones = np.arange(-min(BATTERY.discharge_w, battery.level_wh), most + 1, 10)
    top = min(CAR.charge_w, (CAR.capacity_wh - car.level_wh) * 1000 // 900)
    twos = np.arange(-max(0, min(CAR.discharge_w, car.level_wh - 300)), top + 1, 10)
    best = total(ones[:, None], twos[None, :]).min()
    mine = total(np.array([flows.battery_wh]), np.array([flows.vehicle_wh]))[0]
    assert mine <= best + 1_000  # values are rounded down to whole base units


falling = st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 24)), min_size=1, max_size=4).map(
    lambda pairs: tuple(
        zip(
            sorted(level for level, _ in pairs),
            sorted((10_000 * value for _, value in pairs), reverse=True),
            strict=True,
        )
    )
)


@settings(max_examples=150)
@given(
    st.integers(0, 1_000),
    falling,
    tariffs,
    st.integers(-900, 900),
    st.sampled_from([1000, 800]),
)
def test_with_values_by_level_control_does_the_best_too(
    level: int, worth: tuple[tuple[int, int], ...], tariff: list[int], surplus: int, kept: int
) -> None:
    """As good as any flow of whole Wh, the last values holding beyond their levels."""
    feed_in, retail = tariff
    battery = replace(BATTERY, efficiency_permille=kept)
    site = replace(BARE, battery=battery)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "NUDGE_PERMILLE", 0)
        flow = control(site, Here(surplus, 0, retail, feed_in), Stock(level, 0, 0, 0, worth), None).battery_wh

    def total(flow: int) -> float:
        short = flow - surplus
        after = level + (flow * kept / 1000 if flow > 0 else flow)
        held, last = 0.0, 0
        for upto, value in worth:
            held += max(0.0, min(after, upto) - last) * value
            last = max(last, upto)
        held += max(0.0, after - last) * worth[-1][1]
        return retail * max(short, 0) - feed_in * max(-short, 0) - held

    most = min(battery.charge_w, (battery.capacity_wh - level) * 1000 // kept)
    best = min(total(each) for each in range(-min(battery.discharge_w, level), most + 1))
    assert total(flow) <= best + 4 * 240_000  # a Wh at each edge, of what goes in


def test_control_without_stores() -> None:
    assert control(BARE, Here(100, 900, 200_000, 50_000), None, None) == Flows(0, 0)
    stock = Stock(500, 0, 0, 150_000)
    assert control(replace(FULL, battery=None), Here(0, 100, 100_000, 50_000), None, stock).battery_wh == 0
    assert control(FULL, Here(0, 100, 200_000, 50_000), stock, None) == Flows(-100, 0)


def test_of_equal_slots_control_takes_the_planned() -> None:
    """At a price just worth it the plan alone knows how much is to be charged now."""
    here = Here(0, 0, 180_000, 50_000)
    stock = Stock(0, 0, 250, 200_000)
    site = replace(BARE, vehicle=CAR)
    assert control(site, here, None, stock) == Flows(0, 250)
    assert control(site, here, None, stock._replace(planned_wh=0)) == Flows(0, 0)
