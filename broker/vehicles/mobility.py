"""A year of a driver's trips, drawn from published statistics (broker.vehicles.statistics): the truth of a study, of
which a broker sees what is past. The same seed, the same trips.

A day is drawn as: how many trips; how far each; then when they start and where they go, until the rules hold that the
statistics bring (what has to be slept at home and spent at work, how long a stay lasts, that the last trip goes home).
The tables know no trip's way back and no person's habit. So that a driver has one, the way between home and work is
drawn once (up to 100 km: nobody drives farther every day) and is the same each day, and a day of two trips goes and
comes back the same way.
"""

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from broker.site import Vehicle
from broker.vehicles.energy import battery_wh
from broker.vehicles.statistics import (
    DAY_STARTS_HOUR,
    DRIVERS,
    HOME,
    MOST_TRIPS,
    WORK,
    Driver,
    Rules,
    Statistics,
)

AT_HOME: Final = "home"
AT_WORK: Final = "work"
LONGEST_COMMUTE_KM: Final = 100
_SHAPES: Final = 150
"""How many days' shapes (half hours and places) are kept of a kind, to draw from."""
_BATCH: Final = 8192
_MOST_BATCHES: Final = 60
_TRIES: Final = 400
_MINUTES: Final = 24 * 60

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trip:
    """Minutes from the first day's midnight. ``place``: where it goes, "home", "work" or another."""

    departure: int
    arrival: int
    place: str
    km: int


@dataclass(frozen=True, slots=True)
class Trips:
    """By slot: where it stands all slot long, "home" or "work", else "" (elsewhere, or driving at some time in the
    slot); the Wh that it takes from the battery (see ``slots``); the km that it drives."""

    places: tuple[str, ...]
    used_wh: tuple[int, ...]
    km: tuple[int, ...]

    def at_start(self, slot: int) -> str:
        """Where it is plugged in when ``slot`` begins: what a broker can see early in it."""
        return (self.places[slot - 1] if slot else "") or self.places[slot]


class Mobility:
    """Draws trips. Keeps the shapes of days that it has found to comply."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._kept: dict[tuple[Driver, int, int], tuple[Ints, Ints]] = {}

    def draw(self, seed: int, driver: Driver, first: datetime.date, days: int) -> list[Trip]:
        """The trips of ``days`` days from ``first`` on, one after the other."""
        chance = np.random.default_rng([seed, DRIVERS.index(driver)])
        commute = self._distance(chance, LONGEST_COMMUTE_KM)
        trips: list[Trip] = []
        for day in range(days):
            weekday = (first.weekday() + day) % 7
            kind = max(0, weekday - 4)
            count = int(chance.choice(MOST_TRIPS + 1, p=self._statistics.trips[min(kind, 1)]))
            earliest = trips[-1].arrival if trips else 0
            if count:
                trips.extend(self._day(chance, driver, kind, count, commute, day * _MINUTES, earliest))
        return trips

    def _day(
        self,
        chance: np.random.Generator,
        driver: Driver,
        kind: int,
        count: int,
        commute: tuple[int, int],
        start: int,
        earliest: int,
    ) -> list[Trip]:
        """One day's; none if a driver finds no way to comply with so many."""
        rules = self._statistics.rules[driver, min(kind, 1)]
        halves, places = self._shapes(driver, kind, count)
        for attempt in range(_TRIES if len(halves) else 0):
            if attempt % 20 == 0:
                drawn = [self._distance(chance) for _ in range(count)]
            index = int(chance.integers(len(halves)))
            ways = _ways(places[index], drawn, commute)
            minutes = np.array([[way[1] for way in ways]])
            departures = DAY_STARTS_HOUR * 60 + halves[index] * 30 + chance.integers(30, size=count)
            if (
                start + departures[0] > earliest
                and _complies(departures[None, :], minutes, places[index][None, :], rules)[0]
            ):
                return [
                    Trip(start + int(departure), start + int(departure) + way[1], _name(int(place)), way[0])
                    for departure, place, way in zip(departures, places[index], ways, strict=True)
                ]
        return []

    def _distance(self, chance: np.random.Generator, most_km: int | None = None) -> tuple[int, int]:
        """A way's km and minutes."""
        km, minutes = self._distances(chance, 1, most_km)
        return int(km[0]), int(minutes[0])

    def _distances(self, chance: np.random.Generator, count: int, most_km: int | None = None) -> tuple[Ints, Ints]:
        """Within a class any whole km is as likely as another, and the minutes rise with them."""
        classes = self._statistics.classes
        if most_km is not None:
            classes = classes[classes[:, 1] <= most_km]
        chosen = classes[chance.choice(len(classes), size=count, p=classes[:, 4] / classes[:, 4].sum())]
        km = chosen[:, 0] + chance.integers(1, (chosen[:, 1] - chosen[:, 0]).astype(np.int64) + 1)
        share = (km - chosen[:, 0]) / (chosen[:, 1] - chosen[:, 0])
        minutes = np.rint(chosen[:, 2] + share * (chosen[:, 3] - chosen[:, 2]))
        return km.astype(np.int64), minutes.astype(np.int64)

    def _shapes(self, driver: Driver, kind: int, count: int) -> tuple[Ints, Ints]:
        """Half hours from 3:00 and places of days that comply: two arrays of (days, ``count``)."""
        key = (driver, kind, count)
        if key not in self._kept:
            self._kept[key] = self._find_shapes(driver, kind, count)
        return self._kept[key]

    def _find_shapes(self, driver: Driver, kind: int, count: int) -> tuple[Ints, Ints]:
        chance = np.random.default_rng([kind, count])  # of no year: what is kept must not hang on who asked first
        table = self._statistics.departures[driver, kind]
        rules = self._statistics.rules[driver, min(kind, 1)]
        cumulated = np.cumsum(table.ravel())
        found: list[tuple[Ints, Ints]] = []
        for _ in range(_MOST_BATCHES):
            drawn = np.searchsorted(cumulated, chance.random((_BATCH, count)) * cumulated[-1], side="right")
            drawn.sort(axis=1)  # by half hour, since that is the table's first index
            halves, places = np.divmod(drawn, table.shape[1])
            minutes = np.stack([self._distances(chance, _BATCH)[1] for _ in range(count)], axis=1)
            departures = DAY_STARTS_HOUR * 60 + halves * 30 + chance.integers(30, size=halves.shape)
            good = _complies(departures, minutes, places, rules)
            found.append((halves[good], places[good]))
            if sum(len(each[0]) for each in found) >= _SHAPES:
                break
        return np.concatenate([each[0] for each in found])[:_SHAPES], np.concatenate([each[1] for each in found])[
            :_SHAPES
        ]


def _name(place: int) -> str:
    return {HOME: AT_HOME, WORK: AT_WORK}.get(place, "elsewhere")


def _ways(places: Ints, drawn: list[tuple[int, int]], commute: tuple[int, int]) -> list[tuple[int, int]]:
    """Each trip's km and minutes, given those that were drawn: the habits."""
    ways, here = list(drawn), HOME
    if len(ways) == 2:
        ways[1] = ways[0]
    for index, place in enumerate(places):
        if {here, int(place)} == {HOME, WORK}:
            ways[index] = commute
        here = int(place)
    return ways


def _complies(departures: Ints, minutes: Ints, places: Ints, rules: Rules) -> npt.NDArray[np.bool_]:
    """Which of the days (rows) comply. Minutes of the day; the night before the first and after the last trip is spent
    at home."""
    arrivals = departures + minutes
    day_end = (24 + DAY_STARTS_HOUR) * 60
    good = (places[:, -1] == HOME) & (arrivals[:, -1] <= day_end)
    before = np.concatenate([np.full((len(places), 1), HOME), places[:, :-1]], axis=1)
    good &= (before != places).all(axis=1)
    stays = departures[:, 1:] - arrivals[:, :-1]
    good &= (stays >= 60 * np.array(rules.least_stay)[places[:, :-1]]).all(axis=1) & (stays > 0).all(axis=1)
    worked = np.where(places[:, :-1] == WORK, stays, 0).sum(axis=1) / 60
    at_work = (places == WORK).any(axis=1)
    good &= np.where(at_work, (worked >= rules.work[0]) & (worked <= rules.work[1]), not rules.must_work)
    at_home = departures[:, 0] - DAY_STARTS_HOUR * 60 + day_end - arrivals[:, -1]
    at_home = at_home + np.where(places[:, :-1] == HOME, stays, 0).sum(axis=1)
    good &= at_home >= 60 * rules.home
    answer: npt.NDArray[np.bool_] = good
    return answer


def slots(trips: list[Trip], vehicle: Vehicle, slot_seconds: int, count: int, plugs: frozenset[str]) -> Trips:
    """``trips`` as ``count`` slots from the first day's midnight on. ``plugs``: at which of "home" and "work" it can
    charge. A trip's km are spread over its slots by time. Between two chances to charge (slots in which it is plugged
    in from beginning to end) the battery gives what it can hold at most: ``energy.battery_wh``."""
    length = slot_seconds / 60
    places = [""] * count
    km = [0] * count
    here, since = AT_HOME, 0
    for trip in trips:
        _stand(places, here if here in plugs else "", since / length, trip.departure / length)
        _spread(km, trip, length)
        here, since = trip.place, trip.arrival
    _stand(places, here if here in plugs else "", since / length, count)
    return Trips(tuple(places), _used(places, km, vehicle), tuple(km))


def _stand(places: list[str], place: str, since: float, until: float) -> None:
    """Slots from beginning to end between ``since`` and ``until``, counted in slots."""
    for slot in range(math.ceil(since), min(math.floor(until), len(places))):
        places[slot] = place


def _spread(km: list[int], trip: Trip, length: float) -> None:
    """A trip's whole km over its slots, by time; the last takes what rounding left."""
    before = 0
    for slot in range(int(trip.departure // length), min(math.ceil(trip.arrival / length), len(km))):
        share = min(1.0, ((slot + 1) * length - trip.departure) / (trip.arrival - trip.departure))
        so_far = round(trip.km * share)
        km[slot] += so_far - before
        before = so_far


def _used(places: Sequence[str], km: Sequence[int], vehicle: Vehicle) -> tuple[int, ...]:
    used, since_plug = [], 0
    for place, driven in zip(places, km, strict=True):
        before = battery_wh(vehicle, since_plug)
        since_plug = 0 if place else since_plug + driven
        used.append(0 if place else battery_wh(vehicle, since_plug) - before)
    return tuple(used)
