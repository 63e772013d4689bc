"""What is expected of a site of which nothing, or little, has been measured: a standard day, with wide quantiles.

The standard day of a load is a plain one of ours: a quiet night, a rise to midday and a peak in the evening, as every
published profile of households has it, in tenths that anybody can check. It needs no data set to be installed, and
what it gets wrong is outweighed within a week of the site's own readings. (Against the profile "H0" of the German
utilities it correlates by more than 0.95.) The standard day of panels is half a sine from 6:00 to 18:00; where they
stand and how is better used: ``broker.forecast.sun``.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from broker.forecast.history import DAY_SECONDS, Floats, Slots

STANDARD_W: Final = 400
"""The mean power of a home, about 3,500 kWh a year."""

# fmt: off
LOAD_TENTHS: Final = (6, 5, 4, 4, 4, 5, 8, 10, 11, 12, 12, 13, 13, 12, 11, 10, 10, 12, 14, 15, 15, 13, 12, 9)
"""Each hour's load, in tenths of the mean."""
LOAD_SPREAD: Final = (0.2, 0.35, 0.5, 0.6, 0.75, 0.9, 1.1, 1.4, 1.8, 2.8)
"""The quantiles of an hour's load, in parts of what the standard day says: homes differ, and so do days."""
SUN_SPREAD: Final = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)
"""The quantiles of an hour's sun, in parts of a clear sky's: anything is as likely."""
# fmt: on


class Prior(Protocol):
    """What is expected of a series before it is known."""

    @property
    def most_w(self) -> float:
        """What can at most be: a forecast never says more."""
        ...

    def quantiles(self, slots: Slots, slot_seconds: int, mean_wh: Floats) -> Floats:
        """Wh, shape (slots, 10). ``mean_wh``: for each slot the mean of what has been read until it is foreseen, NaN
        if nothing has."""
        ...


@dataclass(frozen=True, slots=True)
class StandardLoad:
    """A load's standard day, stretched to the mean of what was read, if anything was."""

    mean_w: int = STANDARD_W
    most_w: float = float("inf")

    def quantiles(self, slots: Slots, slot_seconds: int, mean_wh: Floats) -> Floats:
        hour = slots * slot_seconds % DAY_SECONDS // 3600
        mean = np.where(np.isfinite(mean_wh), mean_wh, self.mean_w * slot_seconds / 3600)
        shape = np.array(LOAD_TENTHS)[hour] / 10
        wide: Floats = (mean * shape)[:, None] * np.array(LOAD_SPREAD)
        return wide


@dataclass(frozen=True, slots=True)
class StandardSun:
    """The standard day of panels that give ``most_w`` at the most."""

    most_w: float

    def quantiles(self, slots: Slots, slot_seconds: int, mean_wh: Floats) -> Floats:
        middle = (slots * slot_seconds % DAY_SECONDS + slot_seconds / 2) / DAY_SECONDS
        clear = np.maximum(0.0, np.sin((middle - 0.25) * 2 * np.pi)) * self.most_w * slot_seconds / 3600
        wide: Floats = clear[:, None] * np.array(SUN_SPREAD)
        return wide
