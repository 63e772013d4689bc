"""Standard load profiles of German businesses (BDEW): which part of a year's energy falls into an hour.

The source is the wheel `demandlib==0.2.2`, whose `selp_series.csv` is read as a file; its code, which needs pandas, is
never run. The file holds a week of quarter hours for each of three seasons. As demandlib does it, a year takes for each
day the day of the week of its season, and what comes out is divided by the year's sum. Holidays are treated as any day.

The profiles that are used here, as BDEW calls them: G0 business in general, G1 weekdays 8 to 18, G2 mostly in the
evening, G3 round the clock, G4 shop or hairdresser, G5 bakery, G6 weekends.
"""

import csv
import datetime
from pathlib import Path
from typing import Final

from broker.data.installed import find_installed
from node.errors import ConfigError

PROFILES: Final = ("g0", "g1", "g2", "g3", "g4", "g5", "g6")
QUARTERS: Final = 4
HOURS: Final = 24
_SUMMER: Final = ((5, 15), (9, 14))
_TRANSITIONS: Final = (((3, 21), (5, 14)), ((9, 15), (10, 31)))


def find_profiles() -> Path:
    """The directory of the installed profiles. Raises ConfigError("no-profiles")."""
    missing = "demandlib==0.2.2 is not installed: pip install --no-deps -r requirements/demo.txt"
    return find_installed("demandlib", "bdew/bdew_data", ConfigError("no-profiles", missing))


class Profiles:
    """The profiles of one year."""

    def __init__(self, directory: Path, year: int) -> None:
        """Raises ConfigError: "no-profiles", "bad-profiles"."""
        path = directory / "selp_series.csv"
        try:
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self._hours = {name: _by_hour(rows, name) for name in PROFILES}
            self._sums = {name: self._year(name, year) for name in PROFILES}
        except OSError as error:
            raise ConfigError("no-profiles", f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise ConfigError("bad-profiles", f"{path} is not the file expected: {error!r}") from error

    def shares(self, name: str, first: datetime.date, days: int) -> list[float]:
        """Which part of the year's energy falls into each hour of ``days`` days from ``first`` on."""
        return [hour / self._sums[name] for day in _days(first, days) for hour in self._day(name, day)]

    def wh(self, name: str, first: datetime.date, days: int, kwh_a_year: int) -> tuple[int, ...]:
        """The hours' Wh of somebody who takes so much in a year. Rounding never adds up: the sum up to any hour is
        right to half a Wh."""
        series, before, exact = [], 0, 0.0
        for share in self.shares(name, first, days):
            exact += share * kwh_a_year * 1000
            series.append(round(exact) - before)
            before = round(exact)
        return tuple(series)

    def _day(self, name: str, day: datetime.date) -> tuple[float, ...]:
        return self._hours[name][season(day), day.isoweekday()]

    def _year(self, name: str, year: int) -> float:
        first = datetime.date(year, 1, 1)
        days = (datetime.date(year + 1, 1, 1) - first).days
        return sum(sum(self._day(name, day)) for day in _days(first, days))


def season(day: datetime.date) -> str:
    """The season of a day as BDEW draws it."""
    date = day.month, day.day
    if _SUMMER[0] <= date <= _SUMMER[1]:
        return "summer"
    return "transition" if any(first <= date <= last for first, last in _TRANSITIONS) else "winter"


def _days(first: datetime.date, days: int) -> list[datetime.date]:
    return [first + datetime.timedelta(days=number) for number in range(days)]


def _by_hour(rows: list[dict[str, str]], name: str) -> dict[tuple[str, int], tuple[float, ...]]:
    """(season, day of the week from 1) -> what falls into each hour. Raises ValueError if a day is not whole."""
    quarters: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        quarters.setdefault((row["period"], int(row["weekday"])), []).append(float(row[name]))
    whole = {(period, day) for period in ("winter", "transition", "summer") for day in range(1, 8)}
    if set(quarters) != whole or any(len(day) != QUARTERS * HOURS for day in quarters.values()):
        raise ValueError("not three weeks of quarter hours")
    return {
        of: tuple(sum(day[start : start + QUARTERS]) for start in range(0, len(day), QUARTERS))
        for of, day in quarters.items()
    }
