"""Who takes part in the experiment, and where: seventeen measured homes and five shops on SimBench's grid LV3.101.

What is data: the homes (CityLearn 2022, ``broker/data/homes.py``); four shops, which are measured commercial buildings
of CityLearn 2021 (``company_data.py``); the hours of a bakery, which are BDEW's standard profile G5
(``company_profiles.py``); the grid, its metres, its thermal limits, which of its buses have panels and which are
businesses (``simbench.py``).

SimBench gives panels to seventeen buses of the grid and a business profile to five. The homes hang on the former, the
shops on the latter; one bus has both, and goes to the bakery, so that home 15, whose panels hardly give anything, gets
a bus without. A shop's profile there says what it is, and its peak load there how large:

=======  ==========================  ==================  ================================
shop     SimBench's profile          building            panels
=======  ==========================  ==================  ================================
shop-1   G6-A, weekends, 12 kW       2, a restaurant     none
shop-2   G5-A, bakery, 8 kW          BDEW's G5           1.8 kW, as SimBench has there
shop-3   G1-C, weekdays, 8 kW        1, an office        the building's own, to scale
shop-4   G1-C, weekdays, 9 kW        4, a row of shops   the building's own, to scale
shop-5   G4-A, a shop, 14 kW         3, a retail store   none
=======  ==========================  ==================  ================================

Assumed: a building is scaled so that its largest hour is SimBench's peak; cooling takes a third of the heat that it
moves. Its hours are those of a year that began on the same day of the week (1 August 2016 was a Monday, and 4 August
2014 was). Its panels give what the median home's give for each watt. A home's driver works in the shop whose turn it
is. Tolls are ``RATE`` for each metre: about 0.02 tokens for a kWh across the grid.
"""

import csv
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from broker.data.homes import FIRST_DAY, Home, Homes, Series, find_homes
from cli.grid_file import GridVersion
from node.errors import ConfigError
from testnet.company_data import DATASET as BUILDINGS
from testnet.company_data import Building, read_buildings
from testnet.company_profiles import Profiles, find_profiles
from testnet.simbench import SUBNET, find_data, load_subnet, natural

RATE: Final = 40
"""Base units per Wh and metre."""
WEAK_PERMILLE: Final = 25
"""Of the thermal limits, in the variant with a weak grid: 4.7 kW on a line. As it is, the grid carries many times what
the community trades, and its limits show nothing."""
COOLING_COP: Final = 3
SHOPS_FIRST_DAY: Final = datetime.date(2014, 8, 4)
BAKERY: Final = 0
"""In place of a building's number."""
SHOPS: Final[Mapping[str, int]] = {
    "LV3.101-Bus-8": 2,
    "LV3.101-Bus-17": BAKERY,
    "LV3.101-Bus-51": 1,
    "LV3.101-Bus-58": 4,
    "LV3.101-Bus-132": 3,
}
"""Bus -> building."""
SHADED: Final = "home-15"
SHADED_BUS: Final = "LV3.101-Bus-71"


class Place(NamedTuple):
    """A bus on a map: degrees, and metres of line from the transformer's low side; ``feeder``: the first bus of the
    line out of the transformer that it hangs on, "" above it."""

    longitude: float
    latitude: float
    metres: int
    feeder: str


class Community(NamedTuple):
    """``buses`` and ``work_buses``: where each of ``homes`` is, and where its driver works ("" for shops, which have
    no vehicle); ``places``: by bus."""

    homes: Homes
    buses: tuple[str, ...]
    work_buses: tuple[str, ...]
    grid: GridVersion
    places: Mapping[str, Place]

    @property
    def transformer(self) -> str:
        """The bus at its low side."""
        return self.grid.lines[0][1]

    def metres(self, one: str, other: str) -> int:
        """Of line between two buses."""
        up = {child: (parent, length) for parent, child, length, *_ in self.grid.lines}
        ways: list[dict[str, int]] = []
        for start in (one, other):
            bus, way = start, {start: 0}
            while bus in up:
                parent, length = up[bus]
                way[parent] = way[bus] + length
                bus = parent
            ways.append(way)
        return min(ways[0][bus] + ways[1][bus] for bus in ways[0] if bus in ways[1])


def make_community(homes: Homes) -> Community:
    """``homes``: the whole year of the data set. Raises ConfigError as the readers do; "bad-homes" for other homes."""
    hours = homes.count
    days = -(-hours // 24)
    if homes.slot_seconds != 3600 or homes.first_slot != homes.slot_of(FIRST_DAY) or hours > 365 * 24:
        raise ConfigError("bad-homes", "SimBench's grid is for the whole year of the data set's homes, hour by hour")
    data = find_data()
    subnet = load_subnet(data)
    peaks = {bus: peak_w for bus, profile, peak_w in subnet.loads if profile.startswith("G")}
    panels = _panels(data)
    sun = _sun_of_a_watt(homes)
    buildings = {building.number: building for building in _buildings(days)}
    shops = []
    for number, (bus, building) in enumerate(SHOPS.items(), 1):
        name = f"shop-{number}"
        if building == BAKERY:
            load, panels_w = _bakery(days, peaks[bus])[:hours], panels[bus]
        else:
            load, panels_w = _scaled(buildings[building], peaks[bus])
        shops.append(Home(name, load[:hours], _whole(sun * panels_w), panels_w, None))
    sunny = iter(sorted(set(panels) - set(SHOPS), key=natural))
    buses = [SHADED_BUS if home.name == SHADED else next(sunny) for home in homes.homes]
    works = [list(SHOPS)[number % len(SHOPS)] for number in range(len(buses))]
    all_homes = Homes(
        homes.first_slot, homes.slot_seconds, (*homes.homes, *shops), homes.retail, homes.feed_in, homes.carbon,
        homes.weather,
    )  # fmt: skip
    version = subnet.version
    return Community(
        homes=all_homes,
        buses=(*buses, *SHOPS),
        work_buses=(*works, *("" for _ in shops)),
        grid=version._replace(rate=RATE),
        places=_places(data, version),
    )


def _buildings(days: int) -> list[Building]:
    """The two years in which the days lie, one after the other."""
    rest = (datetime.date(SHOPS_FIRST_DAY.year + 1, 1, 1) - SHOPS_FIRST_DAY).days
    parts = [(SHOPS_FIRST_DAY, min(days, rest))]
    if days > rest:
        parts.append((SHOPS_FIRST_DAY + datetime.timedelta(days=rest), days - rest))
    directory = find_homes(BUILDINGS)
    read = [read_buildings(directory, first, count) for first, count in parts]
    return [
        Building(
            number=same[0].number,
            pv_w=same[0].pv_w,
            equipment_wh=tuple(wh for part in same for wh in part.equipment_wh),
            cooling_wh=tuple(wh for part in same for wh in part.cooling_wh),
            hot_water_wh=(),
            sun_wh=(),
        )
        for same in zip(*read, strict=True)
    ]


def _scaled(building: Building, peak_w: int) -> tuple[Series, int]:
    """What it takes, its largest hour ``peak_w``, and its panels."""
    full = np.array(building.equipment_wh) + np.array(building.cooling_wh) / COOLING_COP
    factor = peak_w / full.max()
    return _whole(full * factor), round(building.pv_w * factor)


def _bakery(days: int, peak_w: int) -> Series:
    shares = np.array(Profiles(find_profiles(), FIRST_DAY.year).shares("g5", FIRST_DAY, days))
    return _whole(shares / shares.max() * peak_w)


def _sun_of_a_watt(homes: Homes) -> npt.NDArray[np.float64]:
    """Wh of each slot that the median home's panels give for each watt of them."""
    return np.median([home.sun_wh / home.panels_w for home in homes.homes if home.panels_w], axis=0)


def _whole(values: npt.NDArray[np.float64]) -> Series:
    return np.rint(values).astype(np.int64)


def _panels(data: Path) -> dict[str, int]:
    """SimBench's panels: bus -> W."""
    with (data / "RES.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter=";")
        return {
            row["node"].replace(" ", "-"): round(float(row["pRES"]) * 10**6) for row in rows if row["subnet"] == SUBNET
        }


def _places(data: Path, grid: GridVersion) -> dict[str, Place]:
    """Where SimBench draws each bus; the lines come parents first."""
    with (data / "Coordinates.csv").open(encoding="utf-8", newline="") as file:
        points = {row["id"]: (float(row["x"]), float(row["y"])) for row in csv.DictReader(file, delimiter=";")}
    with (data / "Node.csv").open(encoding="utf-8", newline="") as file:
        nodes = {row["id"].replace(" ", "-"): row["coordID"] for row in csv.DictReader(file, delimiter=";")}
    places = {grid.root: Place(*points[nodes[grid.root]], 0, "")}
    for depth, (parent, child, metres, *_) in enumerate(grid.lines):
        above = places[parent]
        feeder = above.feeder or (child if depth else "")
        places[child] = Place(*points[nodes[child]], above.metres + metres, feeder)
    return places
