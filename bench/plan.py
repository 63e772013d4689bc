"""What does a plan cost a home-size machine: the linear program, the curve to trade by, control within the slot?

Made-up days of homes with panels, a battery and a vehicle that drives to work, forecast in quantiles, each as unlike
the others as days are. Medians are processor time of one thread, which other work on the machine lengthens less than
the clock's; the longest plan is by the clock, since that is what a broker waits for.
"""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, TypeVar

import click
import numpy as np

from broker.planning.control import Here, Stock, control
from broker.planning.curve import curve
from broker.planning.planner import Planner
from broker.planning.stores import next_need
from broker.site import Battery, Panels, Site, Vehicle
from broker.view import LEVELS_PERMILLE, Outlook, Plan, Prices, VehicleOutlook
from cli.output import json_option, print_json, print_table

Result = TypeVar("Result")

HOME, WORK = "home", "work"
LIMITS_W: Final = {"load": 15_000, "pv": 6_000, "battery": 5_000, "ev": 7_000}
SITE: Final = Site(
    network=HOME,
    bus=HOME,
    load="load",
    panels=Panels("pv", 6_000),
    battery=Battery("battery", 6_400, 5_000, 5_000, 900),
    vehicle=Vehicle("ev", "bev", 50_000, 7_000, 5_000, 900, 160, 5_000),
    slot_seconds=3600,
    import_w=LIMITS_W,
    export_w=LIMITS_W,
)
FEED_IN: Final = 80_000
RETAIL: Final = (220_000, 500_000)


@click.command()
@click.option("--plans", default=1_000, show_default=True, type=click.IntRange(1), help="Plans to make.")
@click.option(
    "--slots", default=24, show_default=True, type=click.IntRange(1, 192), help="Slots that a plan looks ahead."
)
@click.option("--seed", default=1, show_default=True, help="Of the made-up days.")
@json_option
def plan(plans: int, slots: int, seed: int, as_json: bool) -> None:
    """Measure plans of a home with panels, a battery and a vehicle.

    Example: watt bench plan --plans 1000
    """
    result = measure(plans, slots, seed)
    if as_json:
        print_json(result)
    else:
        print_table("Plans of a home: medians", ["", ">"], list(result.items()))


def measure(plans: int, slots: int, seed: int) -> dict[str, object]:
    """The figures that the command prints."""
    random = Random(seed)
    outlooks = [_outlook(random, slots) for _ in range(plans)]
    planner = Planner(SITE)
    made, plan_ms, longest = _timed(planner.plan, [(outlook,) for outlook in outlooks])
    pairs = list(zip(outlooks, made, strict=True))
    curves, curve_ms, _ = _timed(curve, [(SITE, *pair, 0, HOME) for pair in pairs])
    _, control_ms, _ = _timed(control, [_moment(random, *pair) for pair in pairs])
    return {
        "plans": plans,
        "slots": slots,
        "plan_ms": round(plan_ms, 3),
        "longest_plan_by_the_clock_ms": round(longest, 3),
        "curve_ms": round(curve_ms, 3),
        "steps_of_a_curve": round(statistics.mean(len(each.steps) for each in curves), 1),
        "control_us": round(control_ms * 1_000, 1),
        "plans_that_fell_back": sum(bool(each.note) for each in made),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }


def _timed(function: Callable[..., Result], calls: Sequence[tuple[Any, ...]]) -> tuple[list[Result], float, float]:
    """What each call returns; the median of their processor times and the longest by the clock, ms."""
    results, times, longest = [], [], 0.0
    for call in calls:
        begun, clock = time.process_time(), time.perf_counter()
        results.append(function(*call))
        times.append((time.process_time() - begun) * 1_000)
        longest = max(longest, (time.perf_counter() - clock) * 1_000)
    return results, statistics.median(times), longest


def _outlook(random: Random, slots: int) -> Outlook:
    """A day from a random hour on: a load that swings, sun at noon, work from nine to five on five days of seven."""
    begin, cloud, works = random.randrange(24), random.random(), random.random() < 5 / 7
    chance = np.random.default_rng(random.randrange(2**32))
    hours = (begin + np.arange(slots)) % 24
    sun = 4_000 * cloud * np.maximum(0, np.sin((hours - 6) / 12 * np.pi))
    load = 700 + 500 * np.sin((hours - 13) / 12 * np.pi)
    net = (load - sun)[:, None] + chance.normal(0, 300 + sun[:, None] / 4, (slots, len(LEVELS_PERMILLE)))
    retail = [RETAIL[15 <= hour < 20] for hour in hours.tolist()]
    buy = [price - random.randrange((price - FEED_IN) // 2) for price in retail]
    sell = [price - random.randrange((price - FEED_IN) // 4) for price in buy]
    prices = Prices(tuple(retail), (FEED_IN,) * slots, tuple(buy), tuple(sell))
    buses = [WORK if works and 9 <= hour < 17 else "" if works and hour in (8, 17) else HOME for hour in hours.tolist()]
    trips = [works and hour in (8, 17) for hour in hours.tolist()]
    least, used = tuple([12_000 * trip for trip in trips]), tuple([6_000 * trip for trip in trips])
    vehicle = VehicleOutlook(random.randrange(50_000), tuple(buses), least, used, 2 * max(RETAIL))
    quantiles = np.sort(np.rint(net).astype(np.int64), axis=1)
    return Outlook(quantiles, prices, random.randrange(6_400), vehicle, {WORK: prices})


def _moment(random: Random, outlook: Outlook, made: Plan) -> tuple[Site, Here, Stock, Stock | None, Here | None]:
    """The first slot as it turns out."""
    retail = outlook.prices.retail[0]
    seen = outlook.vehicle
    assert seen is not None
    car = Stock(seen.level_wh, next_need(seen, 0), made.vehicle_wh[0], made.vehicle_value[0]) if seen.buses[0] else None
    here = Here(random.randrange(-2_000, 2_000), random.choice(outlook.net[0].tolist()), retail, FEED_IN)
    battery = Stock(outlook.battery_wh, 0, made.battery_wh[0], made.battery_value[0])
    return SITE, here, battery, car, Here(0, 0, retail, FEED_IN) if seen.buses[0] == WORK else None
