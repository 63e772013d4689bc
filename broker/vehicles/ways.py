"""The ways in which a vehicle's day may go: the days that were seen, and the prior, each with its weight."""

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np

from broker.site import Vehicle
from broker.vehicles.energy import battery_table, ready_table
from broker.vehicles.history import AWAY, CODES, Days, DrivingHistory, Ints, weekday_of
from broker.vehicles.prior import WEIGHT_DAYS, prior_days
from broker.vehicles.statistics import Floats

READY_HOURS: Final = 4
"""How long before a trip may start it is to be ready."""
FORGET: Final = 0.994
"""What a day weighs of what it weighed the day before."""
UNLIKE: Final = 0.3
"""What a day weighs on which it had been out by now and today has not, or the other way round."""
HALVED_PER_HOUR: Final = 1.0
"""How often what a day weighs is halved for each hour that it had been away for longer or shorter by now."""
STAYS_DAYS: Final = 0.25
"""What it weighs that all stays as it is for the rest of the day, in days that were seen."""


@dataclass(frozen=True, eq=False)
class Ways:
    """Ways in which a day may go; rows: ways, columns: slots from 3:00 on. ``need``: where a way leaves in a slot, what
    is to be in it then, Wh; ``used``: Wh driven in a slot. ``weights``: of the rows."""

    place: Ints
    before: Ints
    away: Ints
    been_out: Ints
    need: Ints
    used: Ints
    weights: Floats

    def like_today(self, seen: DrivingHistory, day: int, column: int) -> "Ways":
        """Only those that had gone until ``column`` as today did, and that nothing changes any more."""
        place, slots = CODES[seen.place], self.place.shape[1]
        if place == AWAY:
            apart = np.abs(self.away[:, column] - seen.away_slots()) * HALVED_PER_HOUR * 24 / slots
            alike = np.where(self.before[:, column] == AWAY, 0.5**apart, 0.0)
        else:
            as_far = self.been_out[:, column] == int(seen.been_out(day))
            alike = np.where(self.before[:, column] == place, np.where(as_far, 1.0, UNLIKE), 0.0)
        need = self.need.copy()
        need[:, :column] = 0
        stays = np.zeros((1, slots), np.int64)
        return Ways(
            place=np.concatenate([self.place, stays + place]),
            before=self.before,
            away=self.away,
            been_out=self.been_out,
            need=np.concatenate([need, stays]),
            used=np.concatenate([self.used, stays]),
            weights=np.concatenate([self.weights * alike, [STAYS_DAYS]]),
        )

    def chance(self, place: int, part: slice) -> Floats:
        """That it stands at ``place`` all slot long, slot by slot."""
        chances: Floats = self.weights @ (self.place[:, part] == place) / self.weights.sum()
        return chances

    def expected_use(self, part: slice) -> Floats:
        """Wh driven, slot by slot."""
        use: Floats = self.weights @ self.used[:, part] / self.weights.sum()
        return use

    def days_use(self) -> Ints:
        """Wh driven in the whole day, by way."""
        use: Ints = self.used.sum(axis=1)
        return use

    def ready(self, quantile: float, part: slice) -> Ints:
        """What suffices in so many of all cases for a trip that starts within READY_HOURS."""
        slots = self.need.shape[1]
        if quantile <= 0:
            return np.zeros(slots, np.int64)[part]
        values, reached = self._by_need
        return _least_reaching(values[:, part], reached[:, part], quantile)

    @functools.cached_property
    def _by_need(self) -> tuple[Ints, Floats]:
        """What trips within READY_HOURS need, column by column in order, and the weight up to each. Tomorrow's is asked
        for all day long."""
        needs = self.need.copy()
        for ahead in range(1, READY_HOURS * needs.shape[1] // 24):
            np.maximum(needs[:, :-ahead], self.need[:, ahead:], out=needs[:, :-ahead])
        return _in_order(needs, self.weights)


def weighted_quantile(values: Ints, weights: Floats, quantile: float) -> Ints:
    """Of each column: the least of ``values`` with at least so much of the rows' weight at or below it."""
    return _least_reaching(*_in_order(values, weights), quantile)


def _in_order(values: Ints, weights: Floats) -> tuple[Ints, Floats]:
    """Each column's values in order, and the rows' weight up to each of them."""
    order = np.argsort(values, axis=0)
    reached: Floats = np.cumsum(weights[order], axis=0)
    ordered: Ints = np.take_along_axis(values, order, axis=0)
    return ordered, reached


def _least_reaching(ordered: Ints, reached: Floats, quantile: float) -> Ints:
    row = np.argmax(reached >= quantile * reached[-1] * (1 - 1e-12), axis=0)
    chosen: Ints = ordered[row, np.arange(ordered.shape[1])]
    return chosen


def pooled_weight(values: Floats, weekdays: Ints, weekday: int) -> float:
    """What another weekday's day weighs beside one of ``weekday``'s own: 1 while they are too few to tell the weekdays
    apart, or no different; the less the farther the weekdays' means are apart, and the more own days there are
    (Bühlmann's credibility, by the days' Wh)."""
    groups = [values[weekdays == each] for each in np.unique(weekdays)]
    counts = np.array([len(group) for group in groups])
    if len(groups) < 2 or counts.min() < 2:
        return 1.0
    within = float(np.mean([group.var(ddof=1) for group in groups]))
    between = float(np.var([group.mean() for group in groups], ddof=1)) - within * float(np.mean(1 / counts))
    if between <= 0:
        return 1.0
    own = float((weekdays == weekday).sum())
    return within / (within + between * own)


@functools.lru_cache(maxsize=128)
def ways_of(vehicle: Vehicle, known: Days, slot_seconds: int, day: int, works: bool) -> Ways:
    """All that were seen of the same part of the week, and the prior."""
    weekday = weekday_of(day)
    weekend = weekday >= 5
    same = known.weekday == weekday
    alike = (known.weekday >= 5) == weekend
    day_wh = battery_table(vehicle, known.km.sum(axis=1))
    pooled = pooled_weight(day_wh[alike].astype(np.float64), known.weekday[alike], weekday)
    weights = np.where(same, 1.0, pooled) * FORGET ** (day - known.number)
    prior = prior_days(weekend, slot_seconds, works)
    tables = (
        np.concatenate([getattr(known, name)[alike], getattr(prior, name)])
        for name in ("place", "before", "away", "been_out", "start_km", "since", "km")
    )
    place, before, away, been_out, start_km, since, km = tables
    return Ways(
        place=place,
        before=before,
        away=away,
        been_out=been_out,
        need=ready_table(vehicle, start_km),
        used=np.where(place == AWAY, battery_table(vehicle, since) - battery_table(vehicle, since - km), 0),
        weights=np.concatenate([weights[alike], np.full(len(prior), WEIGHT_DAYS / len(prior))]),
    )
