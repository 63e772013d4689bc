"""Whether what the outlook asks for is enough: a vehicle that takes no Wh that its outlook does not ask for, and takes
it as late as its plug allows. No plan is worse for being ready, so what falls short here is the most that trusting the
outlook can cost. Beside it the vehicle that is always filled up, whose level is what a plan may not use.
"""

import datetime
from dataclasses import dataclass
from typing import Final

from broker.site import Vehicle
from broker.vehicles.energy import drive
from broker.vehicles.evaluate import BUY_PRICE, CHEAP_PRICE, FIRST_DAY, SHORTAGE_PRICES, SLOT_SECONDS
from broker.vehicles.fleet import MAKES
from broker.vehicles.history import DrivingHistory
from broker.vehicles.mobility import AT_HOME, Mobility, Trips, slots
from broker.vehicles.outlook import outlook
from broker.vehicles.statistics import DRIVERS, installed_statistics
from broker.view import Prices

DAYS: Final = 84
_AHEAD: Final = 18
_PRICES: Final = Prices(
    retail=(BUY_PRICE,) * 24, feed_in=(0,) * 24, buy=(*(BUY_PRICE,) * 23, CHEAP_PRICE), sell=(CHEAP_PRICE,) * 24
)


@dataclass(frozen=True, slots=True)
class Held:
    """Means over drivers and days, Wh: what trips took of the battery or would have, what was short with the outlook
    and when always full; the mean level, likewise."""

    make: str
    wanted_wh: float
    short_wh: float
    full_short_wh: float
    level_wh: float
    full_level_wh: float


def hold(make: str, seed: int, days: int = DAYS) -> Held:
    """One of each driver. Raises ConfigError: "no-mobility", "bad-mobility"."""
    vehicle, mobility, slot_count = MAKES[make], Mobility(installed_statistics()), days * 24 * 3600 // SLOT_SECONDS
    wanted = short = full_short = level = full_level = 0.0
    for driver in DRIVERS:
        trips = slots(
            mobility.draw(seed, driver, FIRST_DAY, days), vehicle, SLOT_SECONDS, slot_count, frozenset((AT_HOME,))
        )
        wanted += sum(trips.used_wh)
        outcome, full = _walk(vehicle, trips, as_asked=True), _walk(vehicle, trips, as_asked=False)
        short, level = short + outcome[0], level + outcome[1]
        full_short, full_level = full_short + full[0], full_level + full[1]
    whole, slots_in_all = days * len(DRIVERS), slot_count * len(DRIVERS)
    return Held(
        make, wanted / whole, short / whole, full_short / whole, level / slots_in_all, full_level / slots_in_all
    )


def _walk(vehicle: Vehicle, trips: Trips, *, as_asked: bool) -> tuple[int, int]:
    """What was short, and the sum of the levels at the slots' ends."""
    seen = DrivingHistory(SLOT_SECONDS)
    first = (FIRST_DAY - datetime.date(1970, 1, 1)).days * 24 * 3600 // SLOT_SECONDS
    most = vehicle.charge_w * SLOT_SECONDS // 3600 * vehicle.efficiency_permille // 1000
    level, short, levels = vehicle.capacity_wh, 0, 0
    for slot, place in enumerate(trips.places):
        if place:
            wish = vehicle.capacity_wh
            if as_asked:
                seen.stands(trips.at_start(slot))
                asked = outlook(
                    vehicle,
                    seen,
                    level,
                    first + slot,
                    _AHEAD,
                    "home",
                    "",
                    SHORTAGE_PRICES[vehicle.kind][1],
                    SLOT_SECONDS,
                    _PRICES,
                ).least_wh
                wish = max(asked[ahead] - most * (ahead - 1) for ahead in range(1, _AHEAD))
            level = max(level, min(vehicle.capacity_wh, level + most, wish))
        level, lacking = drive(level, trips.used_wh[slot])
        short, levels = short + lacking, levels + level
        seen.append(first + slot, place, trips.km[slot])
    return short, levels
