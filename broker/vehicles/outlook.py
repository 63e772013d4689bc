"""What a vehicle is expected to do in the slots to come, from nothing but what was seen of it so far.

Every day that was seen is one way in which the day may go. It weighs the more the more it is like the day in question
(the same weekday; weekdays or weekend days together while there are few of them; what is typical of all drivers while
there is next to nothing, see broker.vehicles.prior), and of today's, those weigh most that had gone until now as today
did: plugged in or away since about as long. So a vehicle that has left early is gone, one that has not left when it
always had is taken to stay, and one that is not back is not waited for.

*What is to be in it* is the newsvendor's quantile of what would be needed if it left. One Wh too few costs
``shortage_price`` less what it would have cost; one Wh too many costs that it was taken now and not when it is
cheapest. A trip may start in any slot: what was needed on the days on which one starts within ``READY_HOURS`` up to a
slot is to be ready when that slot begins. Distances become energy by the vehicle's range (broker.vehicles.energy)
before the quantile is taken: a hybrid's long trips do not ask for more than its battery holds.
"""

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np

from broker.site import Vehicle
from broker.vehicles.energy import battery_table, ready_table
from broker.vehicles.history import AWAY, CODES, HOME, WORK, Days, DrivingHistory, Ints, day_of, weekday_of
from broker.vehicles.prior import WEIGHT_DAYS, prior_days
from broker.vehicles.statistics import Floats
from broker.view import Prices, VehicleOutlook

READY_HOURS: Final = 4
FORGET: Final = 0.988
"""What a day weighs of what it weighed the day before."""
POOLED_WEEKS: Final = 3
"""With so many days of the same weekday seen, another weekday's day weighs half as much as one of them."""
UNPRICED_QUANTILE: Final = 0.9
UNLIKE: Final = 0.3
"""What a day weighs on which it had been out by now and today has not, or the other way round."""
HALVED_PER_HOUR: Final = 1.0
"""How often what a day weighs is halved for each hour that it had been away for longer or shorter by now."""
STAYS_DAYS: Final = 0.25
"""What it weighs that all stays as it is for the rest of the day, in days that were seen."""


def ready_quantile(shortage_price: int, prices: Prices | None) -> float:
    """How sure it is to be that there is enough: (what one Wh too few costs) : (that + what one too many costs)."""
    if prices is None or not prices.buy:
        return UNPRICED_QUANTILE
    usual, cheapest = float(np.median(prices.buy)), float(min(*prices.buy, *prices.sell))
    short = max(0.0, shortage_price - usual)
    idle = max(1.0, usual - cheapest)
    return short / (short + idle)


def outlook(
    vehicle: Vehicle,
    seen: DrivingHistory,
    level_wh: int,
    first_slot: int,
    count: int,
    homes_bus: str,
    work_bus: str,
    shortage_price: int,
    slot_seconds: int,
    prices: Prices | None = None,
) -> VehicleOutlook:
    """Of ``count`` slots from ``first_slot`` on. ``work_bus``: "" if it cannot charge there. ``prices``: at home, from
    which follows what it costs to hold too much; without them one day in ten is let fall short. A vehicle that is
    away at this moment is never said to be plugged in in the first slot."""
    quantile = ready_quantile(shortage_price, prices)
    buses: list[str] = []
    least: list[int] = []
    used: list[float] = []
    slot = first_slot
    while len(buses) < count:
        day, column = day_of(slot, slot_seconds)
        ways = _ways(vehicle, seen.days(), slot_seconds, day, bool(work_bus))
        if slot == first_slot:
            ways = ways.like_today(seen, day, column)
        part = slice(column, column + count - len(buses))
        home, work = ways.chance(HOME, part) >= 0.5, ways.chance(WORK, part) >= 0.5
        buses.extend(np.where(home, homes_bus, np.where(work, work_bus, "")).tolist())
        least.extend(ways.ready(quantile, part).tolist())
        used.extend(ways.expected_use(part).tolist())
        slot = first_slot + len(buses)
    if not seen.place or (seen.place == "work" and not work_bus):
        buses[0] = ""
    return VehicleOutlook(
        level_wh=level_wh,
        buses=tuple(buses),
        least_wh=tuple(least),
        used_wh=_whole(used),
        shortage_price=shortage_price,
    )


def _whole(series: list[float]) -> tuple[int, ...]:
    """Rounded so that the sum up to any slot is right to half a Wh."""
    ends = np.rint(np.cumsum(series)).astype(np.int64)
    return tuple(np.diff(ends, prepend=0).tolist())


@dataclass(frozen=True, eq=False)
class _Ways:
    """Ways in which a day may go; rows: ways, columns: slots from 3:00 on. ``need``: where a way leaves in a slot, what
    is to be in it then, Wh; ``used``: Wh driven in a slot. ``weights``: of the rows."""

    place: Ints
    before: Ints
    away: Ints
    been_out: Ints
    need: Ints
    used: Ints
    weights: Floats

    def like_today(self, seen: DrivingHistory, day: int, column: int) -> "_Ways":
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
        return _Ways(
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

    def ready(self, quantile: float, part: slice) -> Ints:
        """What suffices in so many of all cases for a trip that starts in the slot or not long before."""
        slots = self.need.shape[1]
        needs = self.need.copy()
        for back in range(1, READY_HOURS * slots // 24):
            np.maximum(needs[:, back:], self.need[:, :-back], out=needs[:, back:])
        return weighted_quantile(needs[:, part], self.weights, quantile)


def weighted_quantile(values: Ints, weights: Floats, quantile: float) -> Ints:
    """Of each column: the least of ``values`` with at least so much of the rows' weight at or below it."""
    order = np.argsort(values, axis=0)
    reached = np.cumsum(weights[order], axis=0)
    row = np.argmax(reached >= quantile * reached[-1] * (1 - 1e-12), axis=0)
    columns = np.arange(values.shape[1])
    chosen: Ints = values[order[row, columns], columns]
    return chosen


@functools.lru_cache(maxsize=512)
def _ways(vehicle: Vehicle, known: Days, slot_seconds: int, day: int, works: bool) -> _Ways:
    """All that were seen of the same part of the week, and the prior."""
    weekday = weekday_of(day)
    weekend = weekday >= 5
    same = known.weekday == weekday
    alike = (known.weekday >= 5) == weekend
    pooled = 1.0 / (1.0 + float(same.sum()) / POOLED_WEEKS)
    weights = np.where(same, 1.0, pooled) * FORGET ** (day - known.number)
    prior = prior_days(weekend, slot_seconds, works)
    tables = (
        np.concatenate([getattr(known, name)[alike], getattr(prior, name)])
        for name in ("place", "before", "away", "been_out", "start_km", "since", "km")
    )
    place, before, away, been_out, start_km, since, km = tables
    return _Ways(
        place=place,
        before=before,
        away=away,
        been_out=been_out,
        need=ready_table(vehicle, start_km),
        used=np.where(place == AWAY, battery_table(vehicle, since) - battery_table(vehicle, since - km), 0),
        weights=np.concatenate([weights[alike], np.full(len(prior), WEIGHT_DAYS / len(prior))]),
    )
