"""What every forecast has in common: the interface, the errors of the past as quantiles, and the net of load and sun.

A forecast for the slots ``first``, ``first + 1``, ... is made at the beginning of ``first``: all before it may be
known, nothing of it or after it is used, whatever the series holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from broker.forecast.history import Floats, Slots, Values
from broker.view import LEVELS_PERMILLE, Quantiles
from node.errors import RefusedError

LEVELS: Final[Floats] = np.array(LEVELS_PERMILLE) / 1000
MOST_DAYS_AHEAD: Final = 7
ROWS_AT_ONCE: Final = 1 << 16
"""The nets of so many slots are sorted at a time: it bounds the memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Weather:
    """Forecasts of the weather as they were published. ``values[i, j]``: what was published in slot
    ``first_slot + i`` about ``leads[j]`` slots later, a figure for each variable; NaN where there is none. ``leads``
    rises."""

    first_slot: int
    leads: tuple[int, ...]
    values: Floats

    def ahead(self, firsts: Slots, count: int) -> Floats:
        """What was known at the beginning of each of ``firsts``, that is was published in the slot before it, of its
        ``count`` slots: shape (firsts, count, variables). Between leads a straight line, beyond them the nearest."""
        wanted = np.arange(1, count + 1)
        right = np.clip(np.searchsorted(self.leads, wanted), 1, max(1, len(self.leads) - 1))
        left = right - 1
        right = np.minimum(right, len(self.leads) - 1)
        leads = np.array(self.leads, dtype=np.float64)
        span = np.maximum(leads[right] - leads[left], 1.0)
        share = np.clip((wanted - leads[left]) / span, 0.0, 1.0)[:, None]
        index = firsts - 1 - self.first_slot
        inside = (index >= 0) & (index < len(self.values))
        issued = np.where(inside[:, None, None], self.values[np.where(inside, index, 0)], np.nan)
        ahead: Floats = issued[:, left] * (1 - share) + issued[:, right] * share
        return ahead


class Forecaster(Protocol):
    """Forecasts of one kind of series, load or sun."""

    @property
    def name(self) -> str: ...

    def predict(
        self, history: Values, firsts: Sequence[int] | Slots, count: int, weather: Weather | None = None
    ) -> npt.NDArray[np.int64]:
        """Quantiles of the ``count`` slots from each of ``firsts``: shape (len(firsts), count, 10), Wh, not decreasing
        along the last axis. Of ``history`` only what is before the first in question is used.

        Raises RefusedError: "bad-horizon" unless ``count`` is 1 to MOST_DAYS_AHEAD days of slots.
        """
        ...


def check_horizon(history: Values, count: int) -> None:
    """Raises RefusedError: "bad-horizon"."""
    if not 1 <= count <= MOST_DAYS_AHEAD * history.day_slots:
        raise RefusedError("bad-horizon", f"{count} slots ahead: 1 to {MOST_DAYS_AHEAD} days of slots can be foreseen")


def quantiles_of(samples: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The LEVELS of each row of ``samples`` (rows, n), NaN being no sample, and how many there are. Of n samples the
    k-th smallest is the quantile k / (n + 1), as it is for the next one drawn from where they came from. A row without
    samples is all NaN."""
    ordered = np.sort(samples, axis=1)  # NaN last
    counts = np.isfinite(ordered).sum(axis=1)
    last = np.maximum(counts - 1, 0)[:, None]
    position = np.clip(LEVELS * (counts[:, None] + 1) - 1, 0, last)
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, last)
    low = np.take_along_axis(ordered, below, axis=1)
    high = np.take_along_axis(ordered, above, axis=1)
    return low + (high - low) * (position - below), counts


def net_quantiles(load: Quantiles, sun: Quantiles) -> Quantiles:
    """Load less sun, of arrays of shape (..., 10), their errors taken to have nothing to do with each other: of the
    hundred differences, which are equally likely, each ten in order have their mean for a quantile. So the expected
    net is the expected load less the expected sun."""
    if load.shape != sun.shape or load.shape[-1] != len(LEVELS):
        raise RefusedError("bad-quantiles", f"quantiles of shape {load.shape} and {sun.shape} have no difference")
    levels = len(LEVELS)
    loads, suns = load.reshape(-1, levels), sun.reshape(-1, levels)
    net = np.empty_like(loads)
    for start in range(0, len(loads), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        every = (loads[rows, :, None] - suns[rows, None, :]).reshape(-1, levels * levels)
        every.sort(axis=1)
        net[rows] = np.rint(every.reshape(-1, levels, levels).mean(axis=2))
    return net.reshape(load.shape)
