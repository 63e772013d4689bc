"""From kilometres to energy. A plug-in hybrid needs electricity for no more than its electric range, fuel covers the
rest; a battery car needs it for every kilometre, and keeps a reserve.

Wh in whole numbers. A distance is what is driven between two chances to charge, in km.
"""

import numpy as np
import numpy.typing as npt

from broker.site import Vehicle

Ints = npt.NDArray[np.int64]


def trip_wh(vehicle: Vehicle, km: int) -> int:
    """The electricity that ``km`` take: of a plug-in hybrid no more than its electric range."""
    if vehicle.kind == "phev":
        km = min(km, vehicle.electric_range_km)
    return km * vehicle.wh_per_km


def battery_wh(vehicle: Vehicle, km: int) -> int:
    """What of it can come out of a battery that was full. What a battery car drives beyond that is charged on its way,
    whatever a broker does at home."""
    return min(vehicle.capacity_wh, trip_wh(vehicle, km))


def ready_wh(vehicle: Vehicle, km: int) -> int:
    """What is to be in it before it drives ``km``: a battery car's reserve on top, as far as there is room."""
    if km <= 0:
        return 0
    reserve = vehicle.reserve_wh if vehicle.kind == "bev" else 0
    return min(vehicle.capacity_wh, trip_wh(vehicle, km) + reserve)


def drive(level_wh: int, used_wh: int) -> tuple[int, int]:
    """The level after ``used_wh`` were wanted of it, and how much was short: fuel, or a public charger."""
    taken = min(level_wh, used_wh)
    return level_wh - taken, used_wh - taken


def battery_table(vehicle: Vehicle, km: Ints) -> Ints:
    """``battery_wh`` of each."""
    electric = np.minimum(km, vehicle.electric_range_km) if vehicle.kind == "phev" else km
    return np.minimum(vehicle.capacity_wh, electric * vehicle.wh_per_km)


def ready_table(vehicle: Vehicle, km: Ints) -> Ints:
    """``ready_wh`` of each."""
    reserve = vehicle.reserve_wh if vehicle.kind == "bev" else 0
    return np.where(km > 0, np.minimum(vehicle.capacity_wh, battery_table(vehicle, km) + reserve), 0)
