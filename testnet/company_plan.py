"""The company: twelve shops with four networks each, and what every device takes hour by hour in June 2014.

What is data comes from ``company_data.py`` (buildings) and ``company_profiles.py`` (BDEW's profiles). A shop is one
building; shops 10 to 12 are buildings 1 to 3 again, 52 weeks later.

===============  ==================================  ==========================================================
network          devices                             what they take
===============  ==================================  ==========================================================
HVAC             `unit-1`, `unit-2`, ...             cooling load / ``COOLING_COP``, staged: the first unit alone, the
                                                     next when it is at its capacity, ...
                 `water-1`, ...                      hot water / ``HOT_WATER_EFFICIENCY``, staged in the same way
refrigeration    `cold-room`, `case-1`, ...          profile G3, a stated amount a year each
lighting         `equipment`                         the building's equipment, as it stands
                 `circuit-1`, ...                    the shop's profile, a stated amount a year each
                 `panels`                            the building's solar generation, where it has panels
EV chargers      `charger-1`, ...                    the shop's profile (cars come when customers do), so much a year
                 `vans`                              every night from 22 to 4, at one power
===============  ==================================  ==========================================================

Assumed, not measured: which building and profile a shop has, COP and efficiency, staging, how many devices there are,
all amounts a year, the vans. The neighbour is assumed as a whole, but for its profile.
"""

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from testnet.company_data import HOURS, Building, read_buildings
from testnet.company_profiles import Profiles

FIRST_DAY: Final = datetime.date(2014, 6, 1)
MOST_DAYS: Final = 30
DAYS_BEFORE: Final = 28
"""Of these four weeks before the first day the owners know what each device took."""
LATER: Final = datetime.timedelta(days=364)

HVAC: Final = "hvac"
REFRIGERATION: Final = "refrigeration"
LIGHTING: Final = "lighting"
CHARGERS: Final = "chargers"
CLASSES: Final = (HVAC, REFRIGERATION, LIGHTING, CHARGERS)
LEAST_DEVICES: Final = 4
MOST_DEVICES: Final = 12
SHOP_PROFILES: Final = ("g4", "g5", "g4", "g2", "g0", "g4", "g6", "g1", "g4", "g0", "g5", "g2")
"""Of the shops in turn."""

COOLING_COP: Final = (3, 1)
"""Heat moved per electricity: 3."""
HOT_WATER_EFFICIENCY: Final = (9, 10)
COLD_ROOM_KWH: Final = 15_000
CASE_KWH: Final = (4_000, 600)
"""A year: the first device of its kind, and how much more each further one takes."""
CIRCUIT_KWH: Final = (2_500, 300)
CHARGER_KWH: Final = (9_000, 1_000)
VANS_W: Final = 7_000
VANS_HOURS: Final = (22, 23, 0, 1, 2, 3)

NEIGHBOUR: Final = "arcade"
NEIGHBOUR_NETWORK: Final = "arcade/common"
NEIGHBOUR_PROFILE: Final = "g0"
NEIGHBOUR_KWH: Final = (12_000, 4_000)
NEIGHBOUR_DEVICES: Final = 4


class DevicePlan(NamedTuple):
    """``wh``: taken from the grid less given to it in each hour from the first day on; ``before_wh``: in the hours of
    the ``DAYS_BEFORE`` days before."""

    id: str
    kind: str
    critical: bool
    wh: tuple[int, ...]
    before_wh: tuple[int, ...]

    @property
    def limits_w(self) -> tuple[int, int]:
        """Import and export limit: a tenth above the most that it ever does, in whole kW."""
        most = max(0, *self.wh, *self.before_wh), max(0, *(-wh for wh in (*self.wh, *self.before_wh)))
        return -(-most[0] * 11 // 10_000) * 1_000, -(-most[1] * 11 // 10_000) * 1_000


class NetworkPlan(NamedTuple):
    """``shop``: counted from 1, 0 for the neighbour's; ``kind``: of CLASSES."""

    id: str
    shop: int
    kind: str
    bus: str
    devices: tuple[DevicePlan, ...]


class Company(NamedTuple):
    """``networks``: the company's, shop by shop; ``neighbour``: the network of somebody else."""

    days: int
    networks: tuple[NetworkPlan, ...]
    neighbour: NetworkPlan

    @property
    def all_networks(self) -> tuple[NetworkPlan, ...]:
        """The company's and the neighbour's."""
        return *self.networks, self.neighbour


class _Hours(NamedTuple):
    """Of one device, one of two spans of time."""

    first: datetime.date
    days: int


def make_company(buildings: Path, profiles: Path, days: int) -> Company:
    """The company for the first ``days`` days of June 2014. Raises what the readers raise."""
    spans = _Hours(FIRST_DAY, days), _Hours(FIRST_DAY - datetime.timedelta(days=DAYS_BEFORE), DAYS_BEFORE)
    now, later = ([read_buildings(buildings, first + shift, n) for first, n in spans] for shift in (_NOW, LATER))
    year = Profiles(profiles, FIRST_DAY.year)
    networks: list[NetworkPlan] = []
    for number in range(1, len(SHOP_PROFILES) + 1):
        source, index = (now, number - 1) if number <= len(now[0]) else (later, number - 1 - len(now[0]))
        networks += _shop(number, source[0][index], source[1][index], _Drawn(year, spans))
    drawn = _Drawn(year, spans)
    devices = tuple(
        drawn.device(
            f"{NEIGHBOUR_NETWORK}/{name}", "load", NEIGHBOUR_PROFILE, NEIGHBOUR_KWH[0] + index * NEIGHBOUR_KWH[1]
        )
        for index, name in enumerate(_numbered("area", NEIGHBOUR_DEVICES))
    )
    neighbour = NetworkPlan(NEIGHBOUR_NETWORK, 0, LIGHTING, NEIGHBOUR, devices)
    return Company(days, tuple(networks), neighbour)


_NOW: Final = datetime.timedelta(0)


class _Drawn(NamedTuple):
    """Draws devices from a profile, for both spans."""

    year: Profiles
    spans: tuple[_Hours, _Hours]

    def device(self, name: str, kind: str, profile: str, kwh_a_year: int, *, critical: bool = False) -> DevicePlan:
        wh, before = (self.year.wh(profile, first, days, kwh_a_year) for first, days in self.spans)
        return DevicePlan(name, kind, critical, wh, before)


def count_of(shop: int, kind: str) -> int:
    """How many devices a network has: 4 to 12, different from shop to shop."""
    return LEAST_DEVICES + (5 * shop + 2 * CLASSES.index(kind)) % (MOST_DEVICES - LEAST_DEVICES + 1)


def _shop(number: int, now: Building, before: Building, drawn: _Drawn) -> Iterator[NetworkPlan]:
    bus = f"shop-{number:02}"
    devices = {
        HVAC: _hvac(f"{bus}/{HVAC}", count_of(number, HVAC), now, before),
        REFRIGERATION: _refrigeration(f"{bus}/{REFRIGERATION}", count_of(number, REFRIGERATION), drawn),
        LIGHTING: _lighting(f"{bus}/{LIGHTING}", number, now, before, drawn),
        CHARGERS: _chargers(f"{bus}/{CHARGERS}", number, drawn),
    }
    for kind in CLASSES:
        yield NetworkPlan(f"{bus}/{kind}", number, kind, bus, tuple(devices[kind]))


def _hvac(network: str, count: int, now: Building, before: Building) -> Iterator[DevicePlan]:
    heaters = 0 if not any((*now.hot_water_wh, *before.hot_water_wh)) else 1 + count // 8
    cooling = [divided(building.cooling_wh, COOLING_COP) for building in (now, before)]
    water = [divided(building.hot_water_wh, HOT_WATER_EFFICIENCY) for building in (now, before)]
    for what, heat, units in (("unit", cooling, count - heaters), ("water", water, heaters)):
        for name, wh, before_wh in zip(_numbered(what, units), *staged(heat, units), strict=True):
            yield DevicePlan(f"{network}/{name}", "load", False, wh, before_wh)


def _refrigeration(network: str, count: int, drawn: _Drawn) -> Iterator[DevicePlan]:
    yield drawn.device(f"{network}/cold-room", "load", "g3", COLD_ROOM_KWH, critical=True)
    for index, name in enumerate(_numbered("case", count - 1)):
        yield drawn.device(f"{network}/{name}", "load", "g3", CASE_KWH[0] + index * CASE_KWH[1], critical=True)


def _lighting(network: str, shop: int, now: Building, before: Building, drawn: _Drawn) -> Iterator[DevicePlan]:
    profile, count = SHOP_PROFILES[shop - 1], count_of(shop, LIGHTING)
    yield DevicePlan(f"{network}/equipment", "load", False, now.equipment_wh, before.equipment_wh)
    if now.pv_w:
        series = (tuple(-wh for wh in building.sun_wh) for building in (now, before))
        yield DevicePlan(f"{network}/panels", "pv", False, *series)
    for index, name in enumerate(_numbered("circuit", count - (2 if now.pv_w else 1))):
        yield drawn.device(f"{network}/{name}", "load", profile, CIRCUIT_KWH[0] + index * CIRCUIT_KWH[1])


def _chargers(network: str, shop: int, drawn: _Drawn) -> Iterator[DevicePlan]:
    profile, count = SHOP_PROFILES[shop - 1], count_of(shop, CHARGERS)
    for index, name in enumerate(_numbered("charger", count - 1)):
        yield drawn.device(f"{network}/{name}", "charger", profile, CHARGER_KWH[0] + index * CHARGER_KWH[1])
    night = tuple(VANS_W if hour in VANS_HOURS else 0 for hour in range(HOURS))
    yield DevicePlan(f"{network}/vans", "charger", False, *(night * span.days for span in drawn.spans))


def _numbered(what: str, count: int) -> list[str]:
    return [f"{what}-{number}" for number in range(1, count + 1)]


def divided(series: Sequence[int], ratio: tuple[int, int]) -> tuple[int, ...]:
    """Each figure divided by ``ratio[0] / ratio[1]``; the sum up to any hour is right to one Wh, never more."""
    result, before, total = [], 0, 0
    for wh in series:
        total += wh
        result.append(total * ratio[1] // ratio[0] - before)
        before = total * ratio[1] // ratio[0]
    return tuple(result)


def staged(spans: Sequence[Sequence[int]], units: int) -> tuple[list[tuple[int, ...]], ...]:
    """Each span's series for every unit: equal ones, of which the next only runs when those before it are full. Their
    sum is the span's in every hour."""
    capacity = -(-max(wh for span in spans for wh in span) // units) if units else 0
    return tuple(
        [tuple(max(0, min(capacity, wh - unit * capacity)) for wh in span) for unit in range(units)] for span in spans
    )
