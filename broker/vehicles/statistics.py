"""How people drive: three published tables of German mobility statistics (Mobilität in Tabellen), as the wheel
`emobpy==0.6.2` brings them (Gaete-Morales et al., Scientific Data 8, 152, 2021). They are read as files; no code of
the wheel is run.

- `TripsPerDay.csv`: how likely a day has 0 to 5 trips, on weekdays and at weekends.
- `DepartureDestinationTrip_Worker.csv` and `_Free.csv`: for weekdays, Saturday and Sunday, how likely a trip starts in
  a half hour and goes to a destination, both at once. Half hours before 3:00 end the day before.
- `DistanceDurationTrip.csv`: how likely a trip's km and minutes fall into a class, both at once. A row or column is
  named by its upper end, and begins where the one before ends.
- `rules.yml`: what a day must comply with, by driver. It is written as one literal, and read as that.
"""

import ast
import csv
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from broker.data.installed import find_installed
from node.errors import ConfigError

Driver: TypeAlias = Literal["fulltime", "parttime", "freetime"]
DRIVERS: Final[tuple[Driver, ...]] = ("fulltime", "parttime", "freetime")
PLACES: Final = ("errands", "escort", "home", "leisure", "shopping", "workplace")
HOME: Final = PLACES.index("home")
WORK: Final = PLACES.index("workplace")
DAY_KINDS: Final = ("weekdays", "saturday", "sunday")
MOST_TRIPS: Final = 5
HALF_HOURS: Final = 48
DAY_STARTS_HOUR: Final = 3
"""A day's trips end before the next day's 3:00: nobody is cut in two at midnight."""

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rules:
    """Hours. ``least_stay``: at each of PLACES; ``work``: at least and at most in all, if there at all; ``home``: at
    least in all; ``must_work``: the day has a trip to work, if it has any."""

    least_stay: tuple[float, ...]
    home: float
    work: tuple[float, float]
    must_work: bool


@dataclass(frozen=True, eq=False)
class Statistics:
    """``trips``: by weekday (0) or weekend (1), the chance of 0 to 5. ``departures``: by driver and kind of day, the
    chance of (half hour of the day from 3:00 on, place). ``classes``: rows of (more than km, up to km, more than
    minutes, up to minutes, chance). ``rules``: by driver, weekday (0) or weekend (1)."""

    trips: Floats
    departures: dict[tuple[Driver, int], Floats]
    classes: Floats
    rules: dict[tuple[Driver, int], Rules]


def find_statistics() -> Path:
    """The directory of the installed tables. Raises ConfigError("no-mobility")."""
    missing = "emobpy==0.6.2 is not installed: pip install --no-deps -r requirements/demo.txt"
    return find_installed("emobpy", "data/eg2/config_files", ConfigError("no-mobility", missing))


@functools.cache
def installed_statistics() -> Statistics:
    """Of the installed wheel. Raises ConfigError: "no-mobility", "bad-mobility"."""
    return read_statistics(find_statistics())


def read_statistics(directory: Path) -> Statistics:
    """Raises ConfigError: "no-mobility", "bad-mobility"."""
    try:
        rules = ast.literal_eval((directory / "rules.yml").read_text())
        return Statistics(
            trips=_trips(directory / "TripsPerDay.csv"),
            departures={
                (driver, kind): table
                for driver in DRIVERS
                for kind, table in enumerate(_departures(directory / _departures_file(driver)))
            },
            classes=_classes(directory / "DistanceDurationTrip.csv"),
            rules={
                (driver, weekend): _rules(rules[driver][name])
                for driver in DRIVERS
                for weekend, name in enumerate(("weekday", "weekend"))
            },
        )
    except OSError as error:
        raise ConfigError("no-mobility", f"{directory}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, IndexError, SyntaxError, csv.Error) as error:
        raise ConfigError("bad-mobility", f"{directory} holds not the tables expected: {error!r}") from error


def _departures_file(driver: Driver) -> str:
    return f"DepartureDestinationTrip_{'Free' if driver == 'freetime' else 'Worker'}.csv"


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return [row for row in csv.reader(file) if row]


def _chances(table: Floats) -> Floats:
    """``table`` made to add up to 1, as it does but for rounding."""
    if not (np.isfinite(table).all() and (table >= 0).all() and table.sum() > 0):
        raise ValueError("a chance is negative, or none is positive")
    chances: Floats = table / table.sum()
    return chances


def _trips(path: Path) -> Floats:
    table = np.array([[float(cell) for cell in row] for row in _rows(path)[1:]])
    if table.shape != (MOST_TRIPS + 1, 3) or list(table[:, 0]) != list(range(MOST_TRIPS + 1)):
        raise ValueError(f"{path.name}: not 0 to {MOST_TRIPS} trips")
    return np.array([_chances(table[:, 1]), _chances(table[:, 2])])


def _departures(path: Path) -> list[Floats]:
    header, *rows = _rows(path)
    if tuple(header[2:]) != PLACES:
        raise ValueError(f"{path.name}: not the places expected")
    tables = []
    for kind in DAY_KINDS:
        table = np.array([[float(cell) for cell in row[1:]] for row in rows if row[0] == kind])
        if table.shape != (HALF_HOURS, 1 + len(PLACES)) or not np.allclose(table[:, 0] * 2, range(HALF_HOURS)):
            raise ValueError(f"{path.name}: not {HALF_HOURS} half hours of {kind}")
        tables.append(_chances(np.roll(table[:, 1:], -2 * DAY_STARTS_HOUR, axis=0)))
    return tables


def _classes(path: Path) -> Floats:
    header, *rows = _rows(path)
    km, minutes = [0.0, *(float(row[0]) for row in rows)], [0.0, *(float(cell) for cell in header[1:])]
    if sorted(km) != km or sorted(minutes) != minutes:
        raise ValueError(f"{path.name}: classes do not rise")
    minutes[0] = minutes[1] / 2  # the first class begins with no minutes at all: nobody is so fast
    chances = _chances(np.array([[float(cell) for cell in row[1:]] for row in rows]))
    return np.array(
        [
            (km[i], km[i + 1], minutes[j], minutes[j + 1], chances[i, j])
            for i in range(len(km) - 1)
            for j in range(len(minutes) - 1)
            if chances[i, j] > 0
        ]
    )


def _rules(rules: dict[str, Any]) -> Rules:
    stays, least, most = rules["min_state_duration"], rules["overall_min_time_at"], rules.get("overall_max_time_at", {})
    return Rules(
        least_stay=tuple(float(stays.get(place, 0.0)) for place in PLACES),
        home=float(least["home"]),
        work=(float(least.get("workplace", 0.0)), float(most.get("workplace", 24.0))),
        must_work=bool(rules.get("at_least_one_trip", {}).get("workplace", False)),
    )
