"""What a vehicle is expected to do in the slots to come, from nothing but what was seen of it so far.

Every day that was seen is one way in which the day may go. It weighs the more the more it is like the day in question
(the same weekday; weekdays or weekend days together while there are few of them; what is typical of all drivers while
there is next to nothing, see broker.vehicles.prior), and of today's, those weigh most that had gone until now as today
did: plugged in or away since about as long. So a vehicle that has left early is gone, one that has not left when it
always had is taken to stay, and one that is not back is not waited for.

*What is to be in it* is the newsvendor's quantile of what is needed on the days on which a trip starts within
``ways.READY_HOURS``. One Wh too few costs ``shortage_price`` less what it would have cost. One Wh too many is not
lost: it was taken at the usual price and not when it is cheapest, and waits for a trip; if it can be given back, it was
not given where it is dearest. A day of waiting is taken to cost that, so the hours count for their share of a day.
Distances become energy by the vehicle's range (broker.vehicles.energy) before the quantile is taken: a hybrid's long
trips ask for no more than its battery holds.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from broker.site import Vehicle
from broker.vehicles.history import HOME, WORK, DrivingHistory, day_of
from broker.vehicles.ways import READY_HOURS, ways_of
from broker.view import Prices, VehicleOutlook

UNPRICED_QUANTILE: Final = 0.9


def ready_quantile(vehicle: Vehicle, shortage_price: int, prices: Prices | None) -> float:
    """How sure it is to be that there is enough: (what one Wh too few costs) : (that + what one too many costs)."""
    if prices is None or not prices.buy:
        return UNPRICED_QUANTILE
    usual = float(np.median(prices.buy))
    worth = max(prices.buy) if vehicle.discharge_w else usual
    idle = worth - min(*prices.buy, *prices.sell)
    return newsvendor(shortage_price - usual, idle * READY_HOURS / 24)


def newsvendor(short: float, idle: float) -> float:
    """0 if to be short costs nothing, 1 if to have too much costs nothing."""
    return max(0.0, short) / (max(0.0, short) + max(1.0, idle))


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
    quantile = ready_quantile(vehicle, shortage_price, prices)
    buses: list[str] = []
    least: list[int] = []
    used: list[float] = []
    slot = first_slot
    while len(buses) < count:
        day, column = day_of(slot, slot_seconds)
        ways = ways_of(vehicle, seen.days(), slot_seconds, day, bool(work_bus))
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
        least_wh=_less_what_is_driven(buses, least, used),
        used_wh=_whole(used),
        shortage_price=shortage_price,
    )


def _less_what_is_driven(buses: Sequence[str], least: Sequence[int], used: Sequence[float]) -> tuple[int, ...]:
    """What is to be ready is for a vehicle that has not left yet, while the level that a plan expects falls by the mean
    of what is driven. So that it is not charged for twice, what was driven since is taken off, until it is back."""
    asked, driven = [], 0.0
    for slot, wanted in enumerate(least):
        if not wanted or (slot and buses[slot] and not buses[slot - 1]):
            driven = 0.0
        asked.append(max(0, wanted - int(driven)))
        driven += used[slot]
    return tuple(asked)


def _whole(series: list[float]) -> tuple[int, ...]:
    """Rounded so that the sum up to any slot is right to half a Wh."""
    ends = np.rint(np.cumsum(series)).astype(np.int64)
    return tuple(np.diff(ends, prepend=0).tolist())
