"""What panels can give, from where they stand and how: for a site that has their data but no readings yet.

The sun's place and a clear sky's irradiance are pvlib's (Haurwitz's model, split by Erbs's), put onto the plane of the
panels; what they make of it is taken to be in proportion, 1,000 W/m2 giving the peak, less LOSSES_PERMILLE.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from broker.forecast.history import Floats, Slots
from broker.forecast.prior import SUN_SPREAD
from node.errors import RefusedError

LOSSES_PERMILLE: Final = 140
"""Wires, inverter, dirt, warmth: pvlib's PVWatts takes 14 % too."""
STEP_SECONDS: Final = 900
"""The sun is looked for so often within a slot."""
KEPT_CALLS: Final = 64


@dataclass(frozen=True, slots=True)
class PanelSun:
    """A Prior. ``latitude`` and ``longitude`` in degrees, north and east positive; ``tilt`` from level; ``azimuth``
    clockwise from north. Raises RefusedError("bad-panels") if one of them cannot be."""

    most_w: float
    latitude: float
    longitude: float
    tilt: float
    azimuth: float

    def __post_init__(self) -> None:
        limits = (
            (self.latitude, -90, 90),
            (self.longitude, -180, 180),
            (self.tilt, 0, 90),
            (self.azimuth, 0, 360),
            (self.most_w, 0, 1e9),
        )
        if not all(low <= value <= high for value, low, high in limits):
            raise RefusedError("bad-panels", f"panels cannot stand so: {self}")

    def quantiles(self, slots: Slots, slot_seconds: int, mean_wh: Floats) -> Floats:
        """See Prior; what has been read is not asked."""
        wide: Floats = self.clear_wh(slots, slot_seconds)[:, None] * np.array(SUN_SPREAD)
        return wide

    def clear_wh(self, slots: Slots, slot_seconds: int) -> Floats:
        """What the panels give under a clear sky, Wh."""
        unique, places = np.unique(slots, return_inverse=True)
        clear: Floats = _clear_wh(self, tuple(unique.tolist()), slot_seconds)[places.reshape(slots.shape)]
        return clear

    def wh(self, slots: Slots, slot_seconds: int, global_w_m2: Floats) -> Floats:
        """What they give if so much comes down on level ground in each slot, Wh: irradiance measured or foreseen."""
        return _on_panels(self, slots, slot_seconds, global_w_m2)


@lru_cache(maxsize=KEPT_CALLS)
def _clear_wh(panels: PanelSun, slots: tuple[int, ...], slot_seconds: int) -> Floats:
    return _on_panels(panels, np.array(slots, dtype=np.int64), slot_seconds, None)


def _on_panels(panels: PanelSun, slots: Slots, slot_seconds: int, global_w_m2: Floats | None) -> Floats:
    """Of each slot the mean over its steps, Wh; under a clear sky without ``global_w_m2``."""
    import pandas as pd  # noqa: PLC0415  # with pvlib it takes a second: only who has panels' data waits for it
    from pvlib import clearsky, irradiance, solarposition  # noqa: PLC0415

    if not len(slots):
        return np.zeros(0)
    steps = max(1, slot_seconds // STEP_SECONDS)
    middles = (np.arange(steps) + 0.5) * slot_seconds / steps
    times = pd.to_datetime((slots[:, None] * slot_seconds + middles).reshape(-1), unit="s", utc=True)
    sun = solarposition.get_solarposition(times, panels.latitude, panels.longitude)
    zenith, azimuth = sun["apparent_zenith"].to_numpy(), sun["azimuth"].to_numpy()
    if global_w_m2 is None:
        level = clearsky.haurwitz(sun["apparent_zenith"])["ghi"].to_numpy()
    else:
        level = np.where(zenith < 90, np.repeat(np.maximum(global_w_m2, 0.0), steps), 0.0)
    split = irradiance.erbs(pd.Series(level, index=times), pd.Series(zenith, index=times), times)
    whole = irradiance.get_total_irradiance(
        panels.tilt, panels.azimuth, zenith, azimuth, split["dni"].to_numpy(), level, split["dhi"].to_numpy()
    )["poa_global"]
    power = np.nan_to_num(np.asarray(whole)) / 1000 * panels.most_w * (1000 - LOSSES_PERMILLE) / 1000
    mean = np.clip(power, 0.0, panels.most_w).reshape(len(slots), steps).mean(axis=1)
    wh: Floats = mean * slot_seconds / 3600
    return wh
