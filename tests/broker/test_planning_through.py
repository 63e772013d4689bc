"""Control part by part of a slot, with the contracts that are known in each."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.planning.control import Course, Here, Phase, Stock, control, through
from broker.planning.curve import Begun, curve
from tests.broker.test_planning_curve import BATTERY, CAR, FULL, nets, one_slot, stocks, tariffs

positions = st.integers(-15, 15).map(lambda x: 40 * x)
FIRST_S, SECOND_S = 300, 600


def run(phases: list[Phase], net: int, tariff: list[int], battery: Stock, car: Stock, away: bool) -> Course:
    feed_in, retail = tariff
    there = Here(0, 0, retail, feed_in) if away else None
    return through(FULL, Here(0, net, retail, feed_in), battery, car, there, phases)


@settings(max_examples=150)
@given(st.tuples(positions, positions, positions, positions), positions, tariffs, stocks, stocks, st.booleans())
def test_what_is_contracted_later_moves_no_more_than_the_time_left_lets_it(
    contracts: tuple[int, int, int, int], net: int, tariff: list[int], battery: Stock, car: Stock, away: bool
) -> None:
    """Whatever the second auction brings, what was done before it is done; levels and power are kept to."""
    at_first, at_second, otherwise, at_work = contracts
    car = car._replace(least_wh=300)
    known = [Phase(FIRST_S, 0, 0), Phase(SECOND_S, at_first, at_work)]
    before = run(known, net, tariff, battery, car, away)
    ends = [
        run([*known, Phase(3600, home, at_work)], net, tariff, battery, car, away) for home in (at_second, otherwise)
    ]
    left = 3600 - SECOND_S
    for end in ends:
        moved = end.done.battery_wh - before.done.battery_wh, end.done.vehicle_wh - before.done.vehicle_wh
        if at_first in (at_second, otherwise):
            continue  # one part then, rounded as one
        assert -BATTERY.discharge_w * left // 3600 <= moved[0] <= BATTERY.charge_w * left // 3600
        assert -CAR.discharge_w * left // 3600 <= moved[1] <= CAR.charge_w * left // 3600
    for each in (before, *ends):
        assert each.battery is not None
        assert each.vehicle is not None
        assert 0 <= each.battery.level_wh <= BATTERY.capacity_wh
        assert min(car.level_wh, 300) <= each.vehicle.level_wh <= CAR.capacity_wh
        assert -BATTERY.discharge_w <= each.done.battery_wh <= BATTERY.charge_w


@given(positions, positions, tariffs, stocks, stocks, st.booleans())
def test_parts_with_the_same_contracts_are_one(
    position: int, net: int, tariff: list[int], battery: Stock, car: Stock, away: bool
) -> None:
    """So that who has no contracts neither gains nor loses by the parts."""
    parts = [Phase(until, position, 0) for until in (FIRST_S, SECOND_S, 3600)]
    assert run(parts, net, tariff, battery, car, away) == run(parts[2:], net, tariff, battery, car, away)
    feed_in, retail = tariff
    there = Here(0, 0, retail, feed_in) if away else None
    whole = control(FULL, Here(position, net, retail, feed_in), battery, car, there)
    assert run(parts, net, tariff, battery, car, away).done == whole


def test_a_sale_that_comes_late_is_delivered_as_far_as_power_lasts() -> None:
    """Of 300 Wh sold at the gate of an hour, a battery of 300 W gives the 50 Wh of ten minutes."""
    stock = Stock(500, 0, 0, 100_000)
    here = Here(0, 0, 200_000, 50_000)
    late = through(FULL, here, stock, None, None, [Phase(3000, 0, 0), Phase(3600, -300, 0)])
    early = through(FULL, here, stock, None, None, [Phase(300, 0, 0), Phase(3600, -300, 0)])
    assert (late.done.battery_wh, early.done.battery_wh) == (-50, -275)
    assert late.battery is not None
    assert late.battery.level_wh == 450


def test_a_store_that_turns_round_loses_by_it() -> None:
    """100 Wh of own sun kept, then given for a sale: a fifth is lost, though the slot's sum is nothing."""
    stock = Stock(500, 0, 0, 190_000)
    here = Here(0, -200, 200_000, 50_000)
    course = through(FULL, here, stock, None, None, [Phase(1800, 0, 0), Phase(3600, -200, 0)])
    assert course.done.battery_wh == 0
    assert course.battery is not None
    assert course.battery.level_wh == 480


@given(nets, tariffs, stocks)
def test_a_curve_within_the_slot_offers_what_is_left_to_do(net: list[int], tariff: list[int], battery: Stock) -> None:
    """All that can be sold is what was done and what the power of the time left gives; with all of the slot left and
    nothing done it is the curve of the whole slot."""
    feed_in, retail = tariff
    site = replace(FULL, vehicle=None)
    outlook, plan = one_slot(net, retail, feed_in, battery)
    middle = sum(sorted(net)[4:6]) // 2
    here = Here(0, middle, retail, feed_in)
    stock = Stock(battery.level_wh, 0, 0, battery.value)
    whole = Begun(3600, through(site, here, stock, None, None, []))
    assert curve(site, outlook, plan, 0, "bus", whole) == curve(site, outlook, plan, 0, "bus")
    course = through(site, here, stock, None, None, [Phase(1800, 0, 0)])
    half = curve(site, outlook, plan, 0, "bus", Begun(1800, course))
    assert course.battery is not None
    give = min(BATTERY.discharge_w // 2, course.battery.level_wh)
    take = min(BATTERY.charge_w // 2, (BATTERY.capacity_wh - course.battery.level_wh) * 1000 // 800)
    edges = [each + course.done.battery_wh + side for each in net for side in (-give, take)]
    assert min(edges) <= half.wanted_wh(retail) or half.wanted_wh(retail) == 0
    assert half.wanted_wh(feed_in - 1) <= max(*edges, 0)
