"""Where a site's vehicle is expected to be, and what it is to hold: from what was said, what was seen, or the routine.

What the state file says of the coming trip (when it ``leaves`` and what it ``need_wh``) counts most; what comes after
is expected from what was seen, and until a week was seen from the routine in the site's file.
"""

from typing import Final

from broker.forecast.history import DAY_SECONDS
from broker.site import Vehicle
from broker.site_file import VehicleTable, seconds_of_day
from broker.state_file import DeviceState
from broker.vehicles.energy import ready_wh, trip_wh
from broker.vehicles.history import DrivingHistory
from broker.vehicles.outlook import outlook as seen_outlook
from broker.view import VehicleOutlook

ENOUGH_DAYS: Final = 7


class Driving:
    """One vehicle, its past and its routine. ``home``: the bus of its site."""

    def __init__(self, vehicle: Vehicle, table: VehicleTable, home: str, slot_seconds: int) -> None:
        self._vehicle = vehicle
        self._table = table
        self._home = home
        self._slot_seconds = slot_seconds
        self._seen = DrivingHistory(slot_seconds)

    def move_home(self, bus: str) -> None:
        """Its site hangs at another bus from now on."""
        self._home = bus

    def saw(self, slot: int, place: str, km: int) -> None:
        """Where it was all slot long, "home" or "", and what it drove in it."""
        self._seen.append(slot, place, km)

    def outlook(
        self, now: int, first: int, count: int, level_wh: int, state: DeviceState | None, dearest: int
    ) -> VehicleOutlook:
        """Of ``count`` slots from ``first`` on. ``state``: what was said of it last; ``dearest``: retail price."""
        shortage = self._table.shortage_price or 2 * dearest
        if self._seen.seen_slots >= ENOUGH_DAYS * DAY_SECONDS // self._slot_seconds:
            self._seen.stands("home" if state is None or state.plugged is not False else "")
            expected = seen_outlook(
                self._vehicle, self._seen, level_wh, first, count, self._home, "", shortage, self._slot_seconds
            )
        else:
            expected = self._routine(first, count, level_wh, shortage)
        return expected if state is None else self._with_said(expected, now, first, state)

    def _routine(self, first: int, count: int, level_wh: int, shortage: int) -> VehicleOutlook:
        """Every day the same."""
        day = DAY_SECONDS // self._slot_seconds
        leaves = seconds_of_day(self._table.leaves) // self._slot_seconds
        arrives = -(-seconds_of_day(self._table.arrives) // self._slot_seconds)
        least = ready_wh(self._vehicle, self._table.km_a_day)
        used = trip_wh(self._vehicle, self._table.km_a_day)
        buses, leasts, useds = [], [], []
        for slot in range(first, first + count):
            time = slot % day
            is_away = leaves <= time < arrives if leaves <= arrives else time >= leaves or time < arrives
            buses.append("" if is_away else self._home)
            leasts.append(least if time == leaves else 0)
            useds.append(used if time == leaves else 0)
        return VehicleOutlook(level_wh, tuple(buses), tuple(leasts), tuple(useds), shortage)

    def _with_said(self, expected: VehicleOutlook, now: int, first: int, state: DeviceState) -> VehicleOutlook:
        """What was said of it goes before what is expected, until it comes back."""
        buses, least, used = list(expected.buses), list(expected.least_wh), list(expected.used_wh)
        leaves = None if state.leaves is None or state.leaves <= now else state.leaves // self._slot_seconds - first
        if leaves is not None:
            stays = min(leaves, len(buses))
            for index in range(stays):
                least[index] = used[index] = 0
                buses[index] = self._home if state.plugged is not False else ""
            if 0 <= leaves < len(buses):
                wanted = state.need_wh if state.need_wh is not None else ready_wh(self._vehicle, self._table.km_a_day)
                least[leaves], buses[leaves] = min(wanted, self._vehicle.capacity_wh), ""
                used[leaves] = max(used[leaves], min(wanted, self._vehicle.capacity_wh))
        elif state.plugged is False:  # it has left, perhaps early: it is back when it usually is
            index = 0
            while index < len(buses) and (buses[index] == "" or index == 0):
                buses[index], least[index] = "", 0
                index += 1
        elif state.plugged:
            buses[0] = self._home
        return VehicleOutlook(expected.level_wh, tuple(buses), tuple(least), tuple(used), expected.shortage_price)
