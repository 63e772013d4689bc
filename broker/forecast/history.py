"""One series of a site, Wh by slot, with what is missing and what cannot be left out.

Slots are the ledger's, ``time // slot_seconds``. A slot that was not read is a gap, NaN in the arrays. What is unlikely
is judged by what came before it alone, so that a forecast from a long series equals one from its beginning.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from node.errors import RefusedError

DAY_SECONDS: Final = 86_400
KEPT_DAYS: Final = 400
"""A history holds so much and lets go of what is older."""
JUDGED_BY_DAYS: Final = 28
JUDGED_FROM: Final = 24
"""Of the slots of the last JUDGED_BY_DAYS so many are to be known before any is called a spike."""
SPIKE: Final = 10.0
"""So many times the 99 % quantile of the slots before it is a spike."""

Floats = npt.NDArray[np.float64]
Slots = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """A series that forecasts are made from: Wh of the slots from ``first_slot`` on, NaN where nothing is known."""

    first_slot: int
    slot_seconds: int
    wh: Floats

    @property
    def end(self) -> int:
        """The slot after the last."""
        return self.first_slot + len(self.wh)

    @property
    def day_slots(self) -> int:
        return DAY_SECONDS // self.slot_seconds

    def at(self, slots: Slots) -> Floats:
        """The values of ``slots``, of any shape; NaN outside the series."""
        index = slots - self.first_slot
        inside = (index >= 0) & (index < len(self.wh))
        if not len(self.wh):
            return np.full(slots.shape, np.nan)
        return np.where(inside, self.wh[np.where(inside, index, 0)], np.nan)


class History:
    """What has been read of one device. Raises RefusedError: "bad-slot-length" unless slots divide a day evenly."""

    def __init__(self, first_slot: int, slot_seconds: int, wh: Iterable[float] = ()) -> None:
        if slot_seconds <= 0 or DAY_SECONDS % slot_seconds or slot_seconds > DAY_SECONDS // 2:
            raise RefusedError("bad-slot-length", f"slots of {slot_seconds} s do not divide a day")
        self._slot_seconds = slot_seconds
        self._kept = KEPT_DAYS * DAY_SECONDS // slot_seconds
        given = np.array(wh if isinstance(wh, np.ndarray) else list(wh), dtype=np.float64).reshape(-1)
        dropped = max(0, len(given) - self._kept)
        self._first_slot = first_slot + dropped
        self._size = len(given) - dropped
        self._wh = np.full(2 * self._kept, np.nan)
        self._wh[: self._size] = given[dropped:]

    @property
    def end(self) -> int:
        """The slot after the last that is held."""
        return self._first_slot + self._size

    def append(self, slot: int, wh: int | None) -> None:
        """Take in a reading; None: there was none. One for a slot already held takes its place, and slots passed over
        are gaps; one older than all that is held is let go."""
        if slot < self._first_slot:
            if self._size:
                return
            self._first_slot = slot
        if slot - self.end >= self._kept:  # nothing of what was can be kept
            self._first_slot, self._size = slot, 0
        while slot >= self._first_slot + len(self._wh):
            self._forget()
        index = slot - self._first_slot
        self._wh[self._size : index + 1] = np.nan
        self._wh[index] = np.nan if wh is None else wh
        self._size = max(self._size, index + 1)

    def _forget(self) -> None:
        """Make room: of a full array the older half goes."""
        kept = self._wh[self._kept : self._size].copy()
        self._first_slot, self._size = self._first_slot + self._kept, len(kept)
        self._wh[: self._size] = kept

    def value(self, slot: int) -> int | None:
        """What was read; None in a gap."""
        index = slot - self._first_slot
        if not 0 <= index < self._size or not np.isfinite(self._wh[index]):
            return None
        return round(float(self._wh[index]))

    def cleaned(self, most_wh: float | None = None) -> Values:
        """The series as forecasts should see it: gaps where a reading is negative, is no number, is more than
        ``most_wh`` (what the device can at all), or is a spike: more than SPIKE times the 99 % quantile of the slots
        of the JUDGED_BY_DAYS before it. Since that quantile counts what was called a spike, what lasts is believed
        after a few readings. A series in which all before was zero has no spikes."""
        wh = self._wh[: self._size].copy()
        wh[~np.isfinite(wh) | (wh < 0)] = np.nan
        if most_wh is not None:
            wh[wh > most_wh] = np.nan
        window = JUDGED_BY_DAYS * DAY_SECONDS // self._slot_seconds
        limit = SPIKE * _quantile_before(wh, window)
        wh[(limit > 0) & (wh > limit)] = np.nan
        return Values(self._first_slot, self._slot_seconds, wh)


def _quantile_before(wh: Floats, window: int) -> Floats:
    """For each value the 99 % quantile of the ``window`` before it, 0 where too few are known. The quantile is of those
    before the value's day began, that is of the same for each block of 24, which is fast."""
    limits = np.zeros(len(wh))
    for start in range(0, len(wh), JUDGED_FROM):
        known = wh[max(0, start - window) : start]
        known = known[np.isfinite(known)]
        if len(known) >= JUDGED_FROM:
            rank = int(0.99 * (len(known) - 1))
            limits[start : start + JUDGED_FROM] = np.partition(known, rank)[rank]
    return limits
