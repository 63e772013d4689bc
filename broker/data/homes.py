"""Homes as measured, slot by slot: what a season is replayed from.

Seventeen real homes for a year come from the CityLearn 2022 challenge: the wheel `citylearn==2.1.2`, read as files and
never imported. Per home `Building_N.csv` has 8,760 hours; `Equipment Electric Power [kWh]` is the load (cooling and
heating are in it) and `Solar Generation [W/kW]` times the nominal power in `schema.json` the sun. `pricing.csv`,
`carbon_intensity.csv` and `weather.csv` go with them row by row. The first row is 23:00-24:00 on 31 July 2016 and left
out; the others are the hours from 1 August on, which are taken for UTC.

What is ours and not measured: a token is a dollar, so that the price column is retail; what is fed in is paid
``FEED_IN``, since the data say nothing of it; of what goes into a battery its round trip's efficiency is kept, and it
is charged and discharged at its nominal power at most.
"""

import csv
import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from broker.data.installed import find_installed
from broker.site import Battery, Panels, Site
from node.errors import ConfigError

DATASET: Final = "citylearn_challenge_2022_phase_all"
FIRST_DAY: Final = datetime.date(2016, 8, 1)
ROWS_BEFORE_FIRST_DAY: Final = 1
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
TOKEN: Final = 10**9
"""Base units of a token. A price of one token per kWh is a thousandth of it per Wh."""
PER_KWH: Final = TOKEN // 1_000
FEED_IN: Final = 80_000
"""Assumed: 0.08 tokens per kWh, in base units per Wh."""
LOAD_W: Final = 25_000
"""What a home's connection lets in at least; more, where it was measured that the home takes more."""

Series = npt.NDArray[np.int64]

_WEATHER: Final = {
    "temperature_c": "Outdoor Drybulb Temperature [C]",
    "humidity_pct": "Relative Humidity [%]",
    "diffuse_w_m2": "Diffuse Solar Radiation [W/m2]",
    "direct_w_m2": "Direct Solar Radiation [W/m2]",
}
_PREDICTED_HOURS: Final = (6, 12, 24)


@dataclass(frozen=True, slots=True)
class Home:
    """``load_wh`` and ``sun_wh``: Wh in each slot; ``panels_w``: the most that its panels give, 0 without any."""

    name: str
    load_wh: Series
    sun_wh: Series
    panels_w: int
    battery: Battery | None

    def site(self, bus: str, slot_seconds: int) -> Site:
        """What a broker trades for there, without a vehicle: "NAME/load", "NAME/pv", "NAME/battery"."""
        devices = device_names(self.name)
        load_w = max(LOAD_W, 2 * power_w(int(self.load_wh.max(initial=0)), slot_seconds))
        panels = Panels(devices["pv"], self.panels_w) if self.panels_w else None
        import_w, export_w = {devices["load"]: load_w}, {devices["load"]: 0}
        if panels is not None:
            import_w[panels.device], export_w[panels.device] = 0, panels.peak_w
        if self.battery is not None:
            import_w[self.battery.device] = self.battery.charge_w
            export_w[self.battery.device] = self.battery.discharge_w
        return Site(
            network=self.name,
            bus=bus,
            load=devices["load"],
            panels=panels,
            battery=self.battery,
            vehicle=None,
            slot_seconds=slot_seconds,
            import_w=import_w,
            export_w=export_w,
        )


@dataclass(frozen=True, slots=True)
class Homes:
    """All series have an entry for each slot from ``first_slot`` on. ``retail`` and ``feed_in``: base units per Wh;
    ``carbon``: g of CO2 per kWh from the utility, None if unknown; ``weather``: by name (``temperature_c``,
    ``humidity_pct``, ``diffuse_w_m2``, ``direct_w_m2``, and each with ``_6h``, ``_12h``, ``_24h``: what had been
    predicted in that slot for so many hours later), None if unknown.
    """

    first_slot: int
    slot_seconds: int
    homes: tuple[Home, ...]
    retail: Series
    feed_in: Series
    carbon: Series | None
    weather: Mapping[str, npt.NDArray[np.float64]] | None

    @property
    def count(self) -> int:
        """Slots."""
        return len(self.retail)

    @property
    def end_slot(self) -> int:
        """The first slot after the data."""
        return self.first_slot + self.count

    @property
    def slots_per_day(self) -> int:
        """Slots of a day."""
        return DAY_S // self.slot_seconds

    def slot_of(self, day: datetime.date) -> int:
        """The slot that begins at midnight of ``day``."""
        return _midnight(day) // self.slot_seconds

    def between(self, first: datetime.date, days: int) -> "Homes":
        """The same for ``days`` days from ``first`` on. Raises ConfigError("bad-homes") if they are not all
        there."""
        start = self.slot_of(first)
        if days < 1 or start < self.first_slot or start + days * self.slots_per_day > self.end_slot:
            raise ConfigError("bad-homes", f"the data do not hold {days} days from {first} on")
        return self.part(start, days * self.slots_per_day)

    def part(self, first_slot: int, count: int) -> "Homes":
        """The same for ``count`` slots from ``first_slot`` on, all of which there are."""
        at = slice(first_slot - self.first_slot, first_slot - self.first_slot + count)
        return Homes(
            first_slot=first_slot,
            slot_seconds=self.slot_seconds,
            homes=tuple([replace(home, load_wh=home.load_wh[at], sun_wh=home.sun_wh[at]) for home in self.homes]),
            retail=self.retail[at],
            feed_in=self.feed_in[at],
            carbon=None if self.carbon is None else self.carbon[at],
            weather=None if self.weather is None else {name: values[at] for name, values in self.weather.items()},
        )

    def fed_in_at(self, price: int) -> "Homes":
        """The same with another feed-in, base units per Wh; never above retail."""
        return replace(self, feed_in=np.minimum(self.retail, price))

    def only(self, count: int) -> "Homes":
        """The first ``count`` homes."""
        return replace(self, homes=self.homes[:count])


def device_names(home: str) -> dict[str, str]:
    """What a home's devices are called on the ledger, by kind."""
    return {kind: f"{home}/{kind}" for kind in ("load", "pv", "battery", "ev")}


def power_w(wh: int, slot_seconds: int) -> int:
    """The mean power of so much in one slot, rounded up."""
    return -(-wh * 3600 // slot_seconds)


def find_homes(dataset: str = DATASET) -> Path:
    """The directory of an installed data set. Raises ConfigError("no-homes")."""
    missing = "citylearn==2.1.2 is not installed: pip install --no-deps -r requirements/demo.txt"
    return find_installed("citylearn", f"data/{dataset}", ConfigError("no-homes", missing))


def load_homes(directory: Path | None = None, feed_in: int = FEED_IN) -> Homes:
    """The year of the seventeen homes, by default of the installed data set.

    Raises ConfigError: "no-homes" if the files are not there, "bad-homes" if they do not hold what they should.
    """
    place = find_homes() if directory is None else directory
    homes = read_buildings(place)
    try:
        retail = _whole(_column(place / "pricing.csv", "Electricity Pricing [$/kWh]") * PER_KWH)
        carbon = _whole(_column(place / "carbon_intensity.csv", "kg_CO2/kWh") * 1000)
        weather = _weather(place / "weather.csv")
    except OSError as error:
        raise ConfigError("no-homes", f"{error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError("bad-homes", f"{place} is not the data set expected: {error!r}") from error
    if {len(homes[0].load_wh)} != {len(series) for series in (retail, carbon, *weather.values())}:
        raise ConfigError("bad-homes", f"{place}: the series differ in length")
    return Homes(
        first_slot=_midnight(FIRST_DAY) // HOUR_S,
        slot_seconds=HOUR_S,
        homes=homes,
        retail=retail,
        feed_in=np.minimum(retail, feed_in),
        carbon=carbon,
        weather=weather,
    )


def read_buildings(directory: Path) -> tuple[Home, ...]:
    """The homes of a data set of this form. Raises ConfigError as ``load_homes`` does."""
    try:
        schema = json.loads((directory / "schema.json").read_bytes())
        entries = sorted(schema["buildings"].items(), key=lambda item: int(item[0].removeprefix("Building_")))
        homes = tuple(_home(directory, name, entry) for name, entry in entries)
    except OSError as error:
        raise ConfigError("no-homes", f"{error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError("bad-homes", f"{directory} is not the data set expected: {error!r}") from error
    if len({len(series) for home in homes for series in (home.load_wh, home.sun_wh)}) != 1:
        raise ConfigError("bad-homes", f"{directory}: the buildings' series differ in length, or there is none")
    return homes


def _home(directory: Path, building: str, entry: dict[str, dict[str, dict[str, float]]]) -> Home:
    storage = entry["electrical_storage"]["attributes"]
    panel_kw = entry["pv"]["attributes"]["nominal_power"]
    name = f"home-{int(building.removeprefix('Building_')):02d}"
    power = round(storage["nominal_power"] * 1000)
    columns = _columns(directory / f"{building}.csv", ("Equipment Electric Power [kWh]", "Solar Generation [W/kW]"))
    return Home(
        name=name,
        load_wh=_whole(columns[0] * 1000),
        sun_wh=_whole(columns[1] * panel_kw),  # W per kW of panel, times kW of panel, over one hour: Wh
        panels_w=round(panel_kw * 1000),
        battery=Battery(
            device=device_names(name)["battery"],
            capacity_wh=round(storage["capacity"] * 1000),
            charge_w=power,
            discharge_w=power,
            efficiency_permille=round(storage["efficiency"] * 1000),
        ),
    )


def _weather(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    names = dict(_WEATHER)
    for name, column in _WEATHER.items():
        names |= {f"{name}_{hours}h": f"{hours}h Prediction {column}" for hours in _PREDICTED_HOURS}
    return dict(zip(names, _columns(path, tuple(names.values())), strict=True))


def _column(path: Path, name: str) -> npt.NDArray[np.float64]:
    return _columns(path, (name,))[0]


def _columns(path: Path, names: tuple[str, ...]) -> list[npt.NDArray[np.float64]]:
    """The named columns of a file, from the first whole day on."""
    with path.open(newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        places = [header.index(name) for name in names]
        values: list[Any] = [[float(row[place]) for place in places] for row in rows]
    table = np.array(values[ROWS_BEFORE_FIRST_DAY:], dtype=np.float64)
    if not np.isfinite(table).all():
        raise ValueError(f"{path.name} holds what is no number")
    return [np.ascontiguousarray(table[:, index]) for index in range(len(names))]


def _whole(values: npt.NDArray[np.float64]) -> Series:
    return np.rint(values).astype(np.int64)


def _midnight(day: datetime.date) -> int:
    return int(datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC).timestamp())
