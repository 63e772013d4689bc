"""How well a vehicle's daily need of electricity is forecast, and whether the range matters.

A year is driven (broker.vehicles.mobility) by a vehicle that charges at home as soon as it is back. What comes out of
its battery from 3:00 to 3:00 is the truth. At 3:00 the day to come is forecast from the days before:

- ``range-aware``: the days' km, trip by trip between two plugs, become Wh by the vehicle's range, and the newsvendor's
  quantile is taken of them (what broker.vehicles.outlook does).
- ``range-blind``: the same, as if the battery had no end.
- ``history-mean``: the mean of what came out of the battery on all days before.
- ``history-quantile``: the same quantile of what came out of the battery on all days before: it knows no km and no
  weekday, but the range is in its figures.

Cost: Wh short times what a Wh short costs beyond one bought in time, and Wh too many times what one taken too early
costs.
"""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from broker.site import Vehicle
from broker.vehicles.energy import drive
from broker.vehicles.fleet import MAKES
from broker.vehicles.history import DrivingHistory, day_of
from broker.vehicles.mobility import AT_HOME, Mobility, Trip, Trips, slots
from broker.vehicles.outlook import newsvendor
from broker.vehicles.statistics import DAY_STARTS_HOUR, DRIVERS, Driver, Floats, installed_statistics
from broker.vehicles.ways import ways_of, weighted_quantile

METHODS: Final = ("range-aware", "range-blind", "history-mean", "history-quantile")
SLOT_SECONDS: Final = 3600
FIRST_DAY: Final = datetime.date(2023, 1, 2)
DAYS: Final = 364
NEW_DAYS: Final = 14
"""A vehicle is new for so long."""
BUY_PRICE: Final = 220_000
CHEAP_PRICE: Final = 120_000
SHORTAGE_PRICES: Final = {"bev": (600_000, 1_080_000), "phev": (333_000, 600_000)}
"""Base units per Wh, usual and dear. Of a battery car: a public charger, at about three times the price at home or at
twice the dearest retail. Of a hybrid: six litres of fuel per 100 km, at 1 or 1.8 a litre, for the 180 Wh that a km
takes."""
_ENDLESS_WH: Final = 10**9


@dataclass(frozen=True, slots=True)
class Score:
    """Of one vehicle's year. ``mae_wh``: of the median (the means of METHODS[2] for what it is); ``mean_mae_wh`` and
    ``mean_error_wh``: of the expected value; ``short_wh`` and ``idle_wh``: of the quantile bid. All a day's mean;
    ``cost``: of that bid, base units a day; ``dear_cost``: of the one where a shortage is dear."""

    mae_wh: float
    mean_mae_wh: float
    mean_error_wh: float
    short_wh: float
    idle_wh: float
    cost: float
    dear_cost: float


@dataclass(frozen=True, slots=True)
class Year:
    """One vehicle's: ``scores`` once it is known, and ``new`` in its first days, by method. ``beyond_permille``: of the
    days that drive farther than its range."""

    make: str
    driver: Driver
    seed: int
    need_wh: float
    beyond_permille: int
    scores: dict[str, Score]
    new: dict[str, Score]


def evaluate(seeds: Iterable[int], makes: Iterable[str] = tuple(MAKES), days: int = DAYS) -> list[Year]:
    """Each driver's year with each make, for each of ``seeds``. Raises ConfigError: "no-mobility", "bad-mobility"."""
    mobility = Mobility(installed_statistics())
    makes = tuple(makes)
    return [
        drive_year(mobility.draw(seed, driver, FIRST_DAY, days + 1), make, driver, seed, days)
        for seed in seeds
        for driver in DRIVERS
        for make in makes
    ]


def drive_year(trips: list[Trip], make: str, driver: Driver, seed: int, days: int) -> Year:
    """Forecast every day of ``days`` before it begins, and score what came."""
    vehicle = MAKES[make]
    per_day = 24 * 3600 // SLOT_SECONDS
    start = DAY_STARTS_HOUR * 3600 // SLOT_SECONDS
    by_slot = slots(trips, vehicle, SLOT_SECONDS, (days + 1) * per_day, frozenset((AT_HOME,)))
    truth = _driven(vehicle, by_slot)[start : start + days * per_day].reshape(days, per_day).sum(axis=1)
    km = np.array(by_slot.km)[start : start + days * per_day].reshape(days, per_day).sum(axis=1)
    bids = _Bids(vehicle)
    seen = DrivingHistory(SLOT_SECONDS)
    first = (FIRST_DAY - datetime.date(1970, 1, 1)).days * per_day + start
    guesses = []
    for day in range(days):
        guesses.append(bids.of(seen, day_of(first + day * per_day, SLOT_SECONDS)[0], truth[:day]))
        for slot in range(start + day * per_day, start + (day + 1) * per_day):
            seen.append(first - start + slot, by_slot.places[slot], by_slot.km[slot])
    table = np.array(guesses)  # days, methods, figures
    known, new = min(NEW_DAYS, days - 1), slice(1, NEW_DAYS)
    return Year(
        make=make,
        driver=driver,
        seed=seed,
        need_wh=float(truth.mean()),
        beyond_permille=round(1000 * float((km > vehicle.electric_range_km).mean())),
        scores={name: bids.score(table[known:, i], truth[known:]) for i, name in enumerate(METHODS)},
        new={name: bids.score(table[new, i], truth[new]) for i, name in enumerate(METHODS)},
    )


def _driven(vehicle: Vehicle, trips: Trips) -> Floats:
    """What comes out of the battery, slot by slot, if it charges whenever it is plugged in."""
    level, driven = vehicle.capacity_wh, []
    most = vehicle.charge_w * SLOT_SECONDS // 3600 * vehicle.efficiency_permille // 1000
    for place, used in zip(trips.places, trips.used_wh, strict=True):
        level, short = drive(level, used)
        driven.append(used - short)
        if place:
            level = min(vehicle.capacity_wh, level + most)
    return np.array(driven, np.float64)


class _Bids:
    """Forecasts and scores of one vehicle."""

    def __init__(self, vehicle: Vehicle) -> None:
        self._vehicles = (vehicle, replace(vehicle, capacity_wh=_ENDLESS_WH))
        self._short = tuple(price - BUY_PRICE for price in SHORTAGE_PRICES[vehicle.kind])
        self._idle = BUY_PRICE - CHEAP_PRICE
        self._levels = (0.5, *(newsvendor(short, self._idle) for short in self._short))

    def of(self, seen: DrivingHistory, day: int, past: Floats) -> list[tuple[float, ...]]:
        """By method: the expected value, the median, and the bids for both shortage prices, Wh."""
        guesses = []
        for vehicle in self._vehicles:
            ways = ways_of(vehicle, seen.days(), SLOT_SECONDS, day, False)
            use = ways.days_use()[:, None]
            quantiles = (float(weighted_quantile(use, ways.weights, level)[0]) for level in self._levels)
            guesses.append((float(np.average(use[:, 0], weights=ways.weights)), *quantiles))
        mean = float(past.mean()) if len(past) else 0.0
        metered = np.quantile(past, self._levels, method="inverted_cdf") if len(past) else np.zeros(3)
        return [*guesses, (mean,) * 4, (mean, *(float(each) for each in metered))]

    def score(self, guesses: Floats, truth: Floats) -> Score:
        """``guesses``: (days, 4), as of ``of``."""
        missed = truth[:, None] - guesses
        short, idle = np.maximum(0.0, missed).mean(axis=0), np.maximum(0.0, -missed).mean(axis=0)
        return Score(
            mae_wh=float(short[1] + idle[1]),
            mean_mae_wh=float(short[0] + idle[0]),
            mean_error_wh=float(-missed[:, 0].mean()),
            short_wh=float(short[2]),
            idle_wh=float(idle[2]),
            cost=float(short[2] * self._short[0] + idle[2] * self._idle),
            dear_cost=float(short[3] * self._short[1] + idle[3] * self._idle),
        )
