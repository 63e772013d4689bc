"""What a broker has seen of a vehicle: slot by slot where it was plugged in and how many km it drove. Cut into days
from 3:00 to 3:00, the last 24 weeks of which are kept as tables.

Slots are counted from the epoch; the time of day is UTC.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from broker.vehicles.statistics import DAY_STARTS_HOUR

AWAY: Final = 0
HOME: Final = 1
WORK: Final = 2
CODES: Final = {"": AWAY, "home": HOME, "work": WORK}
GAP_SECONDS: Final = 3 * 3600
"""So long a gap is taken to be like what was before it; a day with a longer one is no day that was seen."""
_UNKNOWN: Final = -1
KEPT_DAYS: Final = 24 * 7
_DAY_SECONDS: Final = 24 * 3600
_EPOCH_WEEKDAY: Final = 3
"""The first of January 1970 was a Thursday."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Days:
    """Rows: days; columns: slots from 3:00 on. ``place``: a code of CODES; ``before``: where it stood when the slot
    began; ``away``: how many slots it had been away then; ``been_out``: 1 if it had left that day before; ``km``:
    driven in the slot; ``since``: driven from the last plug to the slot's end; ``start_km``: of all that is driven
    until the next plug, where the slot is the first away, else 0. ``weekday``: Monday is 0; ``number``: of the day,
    rising.
    """

    place: Ints
    before: Ints
    away: Ints
    been_out: Ints
    km: Ints
    since: Ints
    start_km: Ints
    weekday: Ints
    number: Ints

    def __len__(self) -> int:
        return len(self.weekday)


def day_of(slot: int, slot_seconds: int) -> tuple[int, int]:
    """The number of the day from 3:00 on that ``slot`` belongs to, and the slot's place in it."""
    seconds = slot * slot_seconds - DAY_STARTS_HOUR * 3600
    return seconds // _DAY_SECONDS, seconds % _DAY_SECONDS // slot_seconds


def weekday_of(day: int) -> int:
    """Monday is 0."""
    return (day + _EPOCH_WEEKDAY) % 7


class DrivingHistory:
    """Grows by what was seen; forgets what is older than 24 weeks."""

    def __init__(self, slot_seconds: int) -> None:
        """``slot_seconds``: a divisor of an hour, or an hour."""
        if not 0 < slot_seconds <= 3600 or 3600 % slot_seconds:
            raise ValueError("a slot is an hour or a whole part of one")
        self.slot_seconds = slot_seconds
        self.place = "home"
        """Where it stands at this moment."""
        self._next: int | None = None
        self._places: list[int] = []
        self._km: list[int] = []
        self._days: tuple[int, Days] | None = None

    @property
    def next_slot(self) -> int | None:
        """The one after the last that was seen."""
        return self._next

    @property
    def seen_slots(self) -> int:
        """How many are kept."""
        return len(self._places)

    def append(self, slot: int, place: str, km: int) -> None:
        """``place``: where it was plugged in all slot long, "home" or "work", else "". A few slots that were missed
        are taken to be like the one before, without a km. What is known already is passed over."""
        if self._next is None:
            self._next = slot
        if slot < self._next:
            return
        most = KEPT_DAYS * _DAY_SECONDS // self.slot_seconds
        gap = min(slot - self._next, most)
        last = self._places[-1] if self._places else CODES[place]
        filling = last if gap * self.slot_seconds <= GAP_SECONDS else _UNKNOWN
        self._places.extend([filling] * gap + [CODES[place]])
        self._km.extend([0] * gap + [max(0, km)])
        self._next = slot + 1
        self.place = place
        if len(self._places) > most + _DAY_SECONDS // self.slot_seconds:
            cut = len(self._places) - most
            del self._places[:cut], self._km[:cut]

    def stands(self, place: str) -> None:
        """Where it is plugged in at this moment, which may be another place than in the last slot."""
        self.place = place if place in CODES else ""

    def away_slots(self) -> int:
        """For how many slots it has been away; 0 while it is plugged in."""
        if self.place:
            return 0
        count = 0
        for code in reversed(self._places):
            if code != AWAY:
                break
            count += 1
        return count

    def been_out(self, day: int) -> bool:
        """Whether it was away in a slot of ``day``."""
        if self._next is None:
            return False
        number, column = day_of(self._next - 1, self.slot_seconds)
        return number == day and AWAY in self._places[-column - 1 :]

    def days(self) -> Days:
        """The days that have been seen from their beginning to their end."""
        today = day_of(self._next, self.slot_seconds)[0] if self._next is not None else 0
        if self._days is None or self._days[0] != today:
            self._days = (today, self._cut())
        return self._days[1]

    def _cut(self) -> Days:
        columns = _DAY_SECONDS // self.slot_seconds
        if self._next is None:
            return tabulate(np.zeros(0, np.int64), np.zeros(0, np.int64), columns, 0)
        first = self._next - len(self._places)
        day, column = day_of(first, self.slot_seconds)
        skip = (columns - column) % columns
        whole = max(0, len(self._places) - skip) // columns
        part = slice(skip, skip + whole * columns)
        places = np.array(self._places[part], np.int64)
        table = tabulate(
            np.where(places == _UNKNOWN, HOME, places), np.array(self._km[part], np.int64), columns, day + bool(skip)
        )
        seen = (places != _UNKNOWN).reshape(whole, columns).all(axis=1)
        return Days(**{field.name: getattr(table, field.name)[seen] for field in fields(Days)})


def tabulate(places: Ints, km: Ints, columns: int, first_day: int) -> Days:
    """Days one after the other, ``columns`` slots each, as tables."""
    count = len(places)
    slots = np.arange(count)
    is_away = places == AWAY
    previous = np.concatenate([[HOME], places[:-1]]) if count else places
    before = np.where((previous == AWAY) & ~is_away, places, previous)
    last_plugged = np.maximum.accumulate(np.where(is_away, -1, slots)) if count else slots
    away = np.where(before == AWAY, slots - 1 - np.concatenate([[-1], last_plugged[:-1]]), 0) if count else slots
    total = np.cumsum(km)
    at_plug = np.where(last_plugged >= 0, total[last_plugged], 0) if count else total
    since = np.where(is_away, total - at_plug, 0)
    next_plugged = np.full(count, count)
    if count:
        next_plugged = np.minimum.accumulate(np.where(is_away, count, slots)[::-1])[::-1]
    starts = is_away & (previous != AWAY)
    start_km = np.where(starts, total[np.minimum(next_plugged, count) - 1] - total + km, 0) if count else km
    day_of_slot = slots // columns
    first_out = np.full(count // columns, count)
    np.minimum.at(first_out, day_of_slot[is_away], slots[is_away])
    been_out = (slots > first_out[day_of_slot]).astype(np.int64) if count else slots
    number = first_day + np.arange(count // columns)
    shape = (count // columns, columns)
    return Days(
        place=places.reshape(shape),
        before=before.reshape(shape),
        away=away.reshape(shape),
        been_out=been_out.reshape(shape),
        km=km.reshape(shape),
        since=since.reshape(shape),
        start_km=start_km.reshape(shape),
        weekday=(number + _EPOCH_WEEKDAY) % 7,
        number=number,
    )
