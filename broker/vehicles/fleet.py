"""Vehicles for the homes of a study: one each, of typical makes, with a driver and what he drives.

The makes are classes, not products: battery, range and plug are of the size that manufacturers' data sheets give for
cars of the class, rounded; the consumption is about what approval tests (WLTP) give, at the plug's side of the motor.
Of what is taken at the plug 90 % stay in the battery, whole round trip, as field tests of chargers find. A tenth of a
battery car's battery is its reserve. Every third vehicle can give back, with the power that it charges with. Half of
those who drive to work can charge there. These shares are assumptions of the study, not statistics.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from broker.site import Vehicle
from broker.vehicles.mobility import AT_HOME, AT_WORK, Mobility, Trips, slots
from broker.vehicles.statistics import Driver, Statistics, installed_statistics

EFFICIENCY_PERMILLE: Final = 900
MAKES: Final = {
    "phev-25": Vehicle("", "phev", 4_500, 3_700, 0, EFFICIENCY_PERMILLE, 180, 0),
    "phev-50": Vehicle("", "phev", 9_000, 3_700, 0, EFFICIENCY_PERMILLE, 180, 0),
    "phev-80": Vehicle("", "phev", 14_400, 7_400, 0, EFFICIENCY_PERMILLE, 180, 0),
    "bev-250": Vehicle("", "bev", 40_000, 7_400, 0, EFFICIENCY_PERMILLE, 160, 4_000),
    "bev-400": Vehicle("", "bev", 64_000, 11_000, 0, EFFICIENCY_PERMILLE, 160, 6_400),
}
"""By kind and electric range in km."""

_MIX: Final = ("bev-250", "phev-50", "bev-400", "phev-80", "bev-250", "phev-25")
_DRIVERS: Final[tuple[Driver, ...]] = ("fulltime", "freetime", "fulltime", "parttime")


@dataclass(frozen=True, slots=True)
class Driven:
    """``make``: a key of MAKES; ``charges_at_work``: whether it can, when it is there."""

    vehicle: Vehicle
    make: str
    driver: Driver
    charges_at_work: bool
    trips: Trips


def fleet(
    seed: int,
    devices: Sequence[str],
    first: datetime.date,
    days: int,
    slot_seconds: int,
    statistics: Statistics | None = None,
    *,
    plugs_at_work: bool = True,
) -> tuple[Driven, ...]:
    """A vehicle for each of ``devices`` (the vehicles' names), and its slots of ``days`` days from ``first``'s midnight
    on. Who gets which is a matter of ``seed``; how many of each there are is not. ``statistics``: those of the
    installed wheel, if none are given; ``plugs_at_work``: False where nobody can charge there. Raises ConfigError:
    "no-mobility", "bad-mobility"."""
    mobility = Mobility(statistics or installed_statistics())
    chance = np.random.default_rng([seed, len(devices)])
    count = len(devices)
    makes, drivers, gives, works = (chance.permutation(count) for _ in range(4))
    dealt = []
    for index, device in enumerate(devices):
        make = _MIX[makes[index] % len(_MIX)]
        driver = _DRIVERS[drivers[index] % len(_DRIVERS)]
        at_work = plugs_at_work and driver != "freetime" and works[index] % 2 == 0
        vehicle = replace(MAKES[make], device=device)
        if gives[index] % 3 == 0:
            vehicle = replace(vehicle, discharge_w=vehicle.charge_w)
        trips = mobility.draw(int(chance.integers(2**31)), driver, first, days)
        plugs = frozenset((AT_HOME, AT_WORK)) if at_work else frozenset((AT_HOME,))
        by_slot = slots(trips, vehicle, slot_seconds, days * 24 * 3600 // slot_seconds, plugs)
        dealt.append(Driven(vehicle, make, driver, at_work, by_slot))
    return tuple(dealt)
