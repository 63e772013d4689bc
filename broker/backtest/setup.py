"""What a backtest replays: a run's settings, and the season of homes that they stand for.

Seasons are whole months of the data: of a data set that holds parts of several springs the longest stretch counts. The
first week of the data is in no season, since brokers would have next to nothing to forecast from; "all" takes it in
only where there is no more. All that lies before the season is known to brokers when it begins, nothing that
comes later ever is.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from broker.data.homes import Homes, load_homes
from node.errors import ConfigError

MONTHS: Final[Mapping[str, tuple[int, ...]]] = {
    "spring": (3, 4, 5),
    "summer": (6, 7, 8),
    "autumn": (9, 10, 11),
    "winter": (12, 1, 2),
    "year": tuple(range(1, 13)),
}
ALL: Final = "all"
SEASONS: Final = (*MONTHS, ALL)
WARM_UP_DAYS: Final = 7


class Run(msgspec.Struct, frozen=True):
    """One run. ``homes``: a file of homes, "" for the seventeen of the data set; ``season``: one of SEASONS, or "" with
    ``first_day`` and ``days`` given; ``grid``: "street", "simbench", "none" or a file; ``feed_in``: base units per Wh,
    None as in the homes' data; ``tolls_permille``, ``limits_permille``: of the grid's; ``seed``: of trips and chance.
    """

    strategy: str
    season: str = "summer"
    first_day: str = ""
    days: int = 0
    seed: int = 1
    homes: str = ""
    vehicles: bool = True
    grid: str = "street"
    feed_in: int | None = None
    tolls_permille: int = 1000
    limits: bool = True
    limits_permille: int = 1000

    @property
    def name(self) -> str:
        """All but the seed in a few words."""
        parts = [self.season or f"{self.first_day} and {self.days} days", self.strategy]
        parts += [] if self.tolls_permille == 1000 else [f"{self.tolls_permille / 10:g} % tolls"]
        parts += [] if self.limits else ["no limits"]
        parts += [] if self.limits_permille == 1000 else [f"{self.limits_permille / 10:g} % limits"]
        parts += [] if self.feed_in is None else [f"feed-in {self.feed_in / 1_000_000:g}"]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Span:
    """The season within the data: slots [``first``, ``first + count``) counted from the data's first."""

    first: int
    count: int


def read_homes(run: Run) -> Homes:
    """The homes' data, whole days. Raises ConfigError as the readers do, and "bad-season" if there is no whole day."""
    if run.homes:
        from broker.data.homes_file import read_homes_file  # noqa: PLC0415

        homes = read_homes_file(Path(run.homes))
    else:
        homes = load_homes()
    day = homes.slots_per_day
    skipped = -homes.first_slot % day
    days = (homes.count - skipped) // day
    if days < 1:
        raise ConfigError("bad-season", "the data hold no whole day, from midnight to midnight, UTC")
    homes = homes.part(homes.first_slot + skipped, days * day)
    return homes if run.feed_in is None else homes.fed_in_at(run.feed_in)


def span_of(run: Run, homes: Homes) -> Span:
    """Which part of the data is replayed. Raises ConfigError "bad-season" if the data do not hold it."""
    first_day = day_of(homes, 0)
    count = homes.count // homes.slots_per_day
    every = [first_day + datetime.timedelta(days=number) for number in range(count)]
    if run.season == ALL:
        days = every[WARM_UP_DAYS if count > WARM_UP_DAYS else 0 :]
    elif run.season:
        days = _longest([day for day in every[WARM_UP_DAYS:] if day.month in MONTHS[run.season]])
        if not days:
            raise ConfigError("bad-season", f"the data hold no day of {run.season} that has a week before it")
    else:
        first = datetime.date.fromisoformat(run.first_day)
        days = [day for day in every if first <= day < first + datetime.timedelta(days=run.days)]
        if len(days) != run.days:
            raise ConfigError(
                "bad-season", f"the data hold {every[0]} to {every[-1]}, not {run.days} days from {first}"
            )
    days = days[: run.days or None]
    return Span(homes.slot_of(days[0]) - homes.first_slot, len(days) * homes.slots_per_day)


def day_of(homes: Homes, index: int) -> datetime.date:
    """The day in which slot ``index`` of the data begins."""
    return datetime.datetime.fromtimestamp((homes.first_slot + index) * homes.slot_seconds, datetime.UTC).date()


def _longest(days: list[datetime.date]) -> list[datetime.date]:
    """The longest stretch of days without a gap, the first of equals."""
    breaks = [0, *[index for index, (one, next_) in enumerate(pairwise(days), 1) if (next_ - one).days > 1], len(days)]
    begin, end = max(pairwise(breaks), key=lambda pair: pair[1] - pair[0])
    return days[begin:end]
