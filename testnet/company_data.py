"""Nine commercial and apartment buildings of the CityLearn 2021 challenge, hour by hour, as integers in Wh.

The source is the wheel `citylearn==2.1.2`, which is read as files and never imported. Per building `Building_N.csv`
holds four years of hours from 1 January on. The years have no numbers, but days of the week (`Day Type`, 1 is Sunday),
and these are those of 2014 to 2017; 29 February 2016 is missing. Of the columns are used:

- `Equipment Electric Power [kWh]`: electric as it stands;
- `Cooling Load [kWh]` and `DHW Heating [kWh]`: heat, not electricity. The plan of the company divides it
  (``company_plan.py``);
- `Solar Generation [W/kW]`, times the panels' nominal power in `schema.json` for those buildings that have panels.
"""

import csv
import datetime
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node.errors import ConfigError

DATASET: Final = "citylearn_challenge_2021"
FIRST_DAY: Final = datetime.date(2014, 1, 1)
HOURS: Final = 24
YEAR_HOURS: Final = 8_760

EQUIPMENT: Final = "Equipment Electric Power [kWh]"
COOLING: Final = "Cooling Load [kWh]"
HOT_WATER: Final = "DHW Heating [kWh]"
SUN: Final = "Solar Generation [W/kW]"


@dataclass(frozen=True, slots=True)
class Building:
    """One building, each series in Wh for consecutive hours. ``cooling_wh`` and ``hot_water_wh`` are heat; without
    panels ``pv_w`` is 0, and ``sun_wh`` nothing but zeros."""

    number: int
    pv_w: int
    equipment_wh: tuple[int, ...]
    cooling_wh: tuple[int, ...]
    hot_water_wh: tuple[int, ...]
    sun_wh: tuple[int, ...]


def read_buildings(directory: Path, first: datetime.date, days: int) -> tuple[Building, ...]:
    """All buildings for ``days`` days from ``first`` on, which lie in one year.

    Raises ConfigError: "no-homes" if the files are not there, "bad-homes" if they do not hold what they should or not
    these days.
    """
    start = _first_row(first, days)
    try:
        schema = json.loads((directory / "schema.json").read_bytes())
        entries = sorted(schema["buildings"].items(), key=lambda item: int(item[0].removeprefix("Building_")))
        return tuple(_read_building(directory, name, entry, start, days * HOURS) for name, entry in entries)
    except OSError as error:
        raise ConfigError("no-homes", f"{error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise ConfigError("bad-homes", f"{directory} is not the data set expected: {error!r}") from error


def _first_row(first: datetime.date, days: int) -> int:
    """The row of the first hour. A leap day is missing, so that a year always has as many hours."""
    last = first + datetime.timedelta(days=days - 1)
    day = first.timetuple().tm_yday - 1
    is_cut = first.year % 4 == 0 and last > datetime.date(first.year, 2, 28)
    if first.year != last.year or first < FIRST_DAY or is_cut:
        raise ConfigError("bad-homes", f"the data hold no {days} consecutive days from {first} on within one year")
    return (first.year - FIRST_DAY.year) * YEAR_HOURS + day * HOURS


def _read_building(directory: Path, name: str, entry: dict[str, Any], start: int, hours: int) -> Building:
    panel_kw = entry["pv"]["attributes"]["nominal_power"] if "pv" in entry else 0.0
    with (directory / f"{name}.csv").open(newline="") as file:
        header = next(csv.reader(file))
        rows = list(itertools.islice(csv.reader(file), start, start + hours))
    if len(rows) != hours:
        raise ValueError(f"{name}.csv holds {len(rows)} of {hours} hours from row {start} on")

    def wh(column: str, factor: float) -> tuple[int, ...]:
        place = header.index(column)
        return tuple(round(factor * float(row[place])) for row in rows)

    return Building(
        number=int(name.removeprefix("Building_")),
        pv_w=round(panel_kw * 1000),
        equipment_wh=wh(EQUIPMENT, 1000),
        cooling_wh=wh(COOLING, 1000),
        hot_water_wh=wh(HOT_WATER, 1000),
        sun_wh=wh(SUN, panel_kw),  # W per kW of panel, times kW of panel, over one hour: Wh
    )
