"""Seventeen real homes: one measured day of the CityLearn 2022 challenge as integers in Wh per half-hour slot.

The source is the wheel `citylearn==2.1.2`, the last one that ships its data, as ``broker.data.homes`` reads it: a
year of hours from 1 August 2016 on.

What is ours and not measured:
- An hour is split evenly into two half-hour slots (the odd Wh goes to the second).
- The data set holds no EV. ``_ev`` gives each home a plain daily need and a daily routine.
- Battery efficiency is taken as the round trip and charged to the way in: `stored = charged * 9 // 10`.
"""

import datetime
from dataclasses import dataclass
from pathlib import Path

from broker.data.homes import FIRST_DAY, read_buildings
from broker.data.homes import Home as MeasuredHome
from node.errors import ConfigError

HOURS = 24
SLOTS = 48
SUNNY_SHARE = 5
"""A candidate day is among the sunniest 1/SUNNY_SHARE of all days."""

PAST_DAYS = 28
EV_CHARGER_W = 3_600
EV_WH_PER_KM = 160


@dataclass(frozen=True, slots=True)
class Battery:
    """``efficiency_permille``: round trip, lost on the way in."""

    capacity_wh: int
    power_w: int
    efficiency_permille: int
    initial_wh: int


@dataclass(frozen=True, slots=True)
class Ev:
    """It must take ``need_wh``, for a trip of ``km``, in the slots [first_slot, departure_slot) of the day, at most
    ``power_w``."""

    km: int
    need_wh: int
    power_w: int
    first_slot: int
    departure_slot: int


@dataclass(frozen=True, slots=True)
class Home:
    """One building. ``load_wh`` and ``sun_wh``: Wh in the day's 48 slots; ``load_past_wh`` and ``sun_past_wh``: in
    those of the days before, at most PAST_DAYS, all that the home knows of itself when the day begins."""

    name: str
    building: int
    pv_w: int
    load_wh: tuple[int, ...]
    sun_wh: tuple[int, ...]
    load_past_wh: tuple[int, ...]
    sun_past_wh: tuple[int, ...]
    battery: Battery
    ev: Ev


@dataclass(frozen=True, slots=True)
class Community:
    """``date``: the measured day; ``exchangeable_wh``: what homes lacked while others had too much, hour by hour."""

    date: datetime.date
    homes: tuple[Home, ...]
    exchangeable_wh: int


@dataclass(frozen=True, slots=True)
class _Building:
    number: int
    pv_w: int
    battery: Battery
    load_wh: tuple[int, ...]
    sun_wh: tuple[int, ...]


def load_community(directory: Path, day: datetime.date | None = None) -> Community:
    """The homes of ``directory`` on ``day``; by default on the most interesting day, see ``choose_day``.

    Raises ConfigError: "no-homes" if the files are not there, "bad-homes" if they do not hold what they should
    or not the day and the day before it.
    """
    buildings = [_building(home) for home in read_buildings(directory)]
    days = len(buildings[0].load_wh) // HOURS
    index = choose_day(buildings) if day is None else (day - FIRST_DAY).days
    if not 1 <= index < days:
        raise ConfigError("bad-homes", f"{directory} does not hold {day} and the day before it")
    homes = tuple(_home(building, index) for building in buildings)
    return Community(FIRST_DAY + datetime.timedelta(days=index), homes, _exchangeable(buildings, index))


def choose_day(buildings: list[_Building]) -> int:
    """Among the sunniest fifth of the days, the one with most energy that one home has too much of in an hour in
    which another lacks it, before any storage; the earlier of equals. The first day has no day before it."""
    days = range(1, len(buildings[0].load_wh) // HOURS)
    if not days:
        raise ConfigError("bad-homes", "the data hold fewer than two days")
    sun = {day: sum(sum(building.sun_wh[_hours(day)]) for building in buildings) for day in days}
    sunny = sorted(days, key=lambda day: (-sun[day], day))[: max(1, len(days) // SUNNY_SHARE)]
    return max(sunny, key=lambda day: (_exchangeable(buildings, day), -day))


def _exchangeable(buildings: list[_Building], day: int) -> int:
    total = 0
    for hour in range(day * HOURS, (day + 1) * HOURS):
        nets = [building.sun_wh[hour] - building.load_wh[hour] for building in buildings]
        total += min(sum(net for net in nets if net > 0), -sum(net for net in nets if net < 0))
    return total


def _hours(day: int) -> slice:
    return slice(day * HOURS, (day + 1) * HOURS)


def _home(building: _Building, day: int) -> Home:
    today = _hours(day)
    past = slice(max(0, day - PAST_DAYS) * HOURS, day * HOURS)
    return Home(
        name=f"home-{building.number:02d}",
        building=building.number,
        pv_w=building.pv_w,
        load_wh=_half_hours(building.load_wh[today]),
        sun_wh=_half_hours(building.sun_wh[today]),
        load_past_wh=_half_hours(building.load_wh[past]),
        sun_past_wh=_half_hours(building.sun_wh[past]),
        battery=building.battery,
        ev=_ev(building.number),
    )


def _half_hours(hours: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(half for wh in hours for half in (wh // 2, wh - wh // 2))


def _ev(number: int) -> Ev:
    """An assumption, not data: 30 to 60 km a day at 160 Wh/km. Two homes of three commute and charge overnight,
    to leave at 07:30; the third stays at home by day and leaves at 17:00."""
    km = 30 + 5 * (number % 7)
    if number % 3 == 0:
        return Ev(km, km * EV_WH_PER_KM, EV_CHARGER_W, first_slot=14, departure_slot=34)
    return Ev(km, km * EV_WH_PER_KM, EV_CHARGER_W, first_slot=0, departure_slot=15)


def _building(home: MeasuredHome) -> _Building:
    assert home.battery is not None, "every building of the data set has one"
    return _Building(
        number=int(home.name.removeprefix("home-")),
        pv_w=home.panels_w,
        battery=Battery(
            capacity_wh=home.battery.capacity_wh,
            power_w=home.battery.charge_w,
            efficiency_permille=home.battery.efficiency_permille,
            initial_wh=home.battery.capacity_wh // 2,
        ),
        load_wh=tuple(home.load_wh.tolist()),
        sun_wh=tuple(home.sun_wh.tolist()),
    )
