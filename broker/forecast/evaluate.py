"""How good the forecasts are: rolling, home by home and month by month, against what came.

Every forecast is made as a broker would have made it, from what lay before; only then is it compared. Its mean absolute
error is given twice: in parts of that of yesterday's value at the same time over the same slots (``relative_mae``:
below 1 is better than yesterday), and in parts of that of yesterday's value over all the history before the month
(``mase``: Hyndman and Koehler, "Another look at measures of forecast accuracy", 2006, with a day for the season: it
also tells whether the month is harder than what lay before it). The figure that stands for a forecast there is its
median, the mean of the quantiles about it.
"""

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from broker.data.homes import Home, Homes
from broker.forecast.choose import Chooser, pinball
from broker.forecast.features import Kind
from broker.forecast.forecaster import Weather
from broker.forecast.history import Floats, History, Values
from broker.forecast.prior import Prior, StandardLoad, StandardSun

SPLITS: Final = (
    (datetime.date(2016, 11, 1), 30),
    (datetime.date(2017, 2, 1), 28),
    (datetime.date(2017, 5, 1), 31),
    (datetime.date(2017, 7, 1), 30),
)
"""The months tried, first day and days: one of each season. A day is left at the end of the year to foresee."""
KINDS: Final[tuple[Kind, ...]] = ("load", "sun")
PREDICTED: Final = ("temperature_c", "diffuse_w_m2", "direct_w_m2")


@dataclass(frozen=True, slots=True)
class Skill:
    """Of one method in one month at one home. ``hour``, ``day`` and ``all``: an hour ahead, a day ahead, and over the
    whole day ahead. ``relative_mae_*`` and ``mase_*``: see the module; ``pinball_*``: the mean pinball loss of the
    quantiles, Wh; ``band_80``: the share of what came between the tenth and the ninetieth percentile, which are the
    means of the quantiles about them, where it is not sure to be nothing, as at night."""

    home: str
    series: Kind
    month: str
    method: str
    relative_mae_hour: float
    relative_mae_day: float
    relative_mae_all: float
    mase_hour: float
    mase_day: float
    mase_all: float
    pinball_hour: float
    pinball_day: float
    pinball_all: float
    band_80: float

    def as_json(self) -> dict[str, Any]:
        return {name: round(each, 4) if isinstance(each, float) else each for name, each in asdict(self).items()}


def series_of(homes: Homes, home: Home, kind: Kind) -> tuple[Values, Prior]:
    """What was measured, cleaned, and what would be expected without it."""
    wh = home.load_wh if kind == "load" else home.sun_wh
    most = None if kind == "load" else home.panels_w * homes.slot_seconds / 3600
    history = History(homes.first_slot, homes.slot_seconds, wh.astype(np.float64))
    return history.cleaned(most), StandardLoad() if kind == "load" else StandardSun(home.panels_w)


def weather_of(homes: Homes) -> Weather | None:
    """What the data set calls predictions, as if they had been published; see docs/forecasts.md for what they are."""
    if homes.weather is None:
        return None
    weather = homes.weather
    leads = (0, *(hours * 3600 // homes.slot_seconds for hours in (6, 12, 24)))
    named = [[name, *(f"{name}_{hours}h" for hours in (6, 12, 24))] for name in PREDICTED]
    values = np.stack([np.stack([weather[column] for column in columns], axis=1) for columns in named], axis=2)
    return Weather(homes.first_slot, leads, values)


def evaluate(homes: Homes, home: Home, kind: Kind, weather: Weather | None = None) -> Iterator[Skill]:
    """The skill of every method in every month of SPLITS that the data hold, in order, for one series."""
    series, prior = series_of(homes, home, kind)
    chooser = Chooser(kind, prior)
    day = homes.slots_per_day
    for first, days in SPLITS:
        start = homes.slot_of(first)
        firsts = np.arange(start, start + days * day)
        if start < homes.first_slot + day or firsts[-1] + day > homes.end_slot:
            continue
        slots = firsts[:, None] + np.arange(day)
        real, yesterday = series.at(slots), series.at(slots - day)
        scale = seasonal_error(series, start)
        for method, said in chooser.candidates(series, firsts, day, weather).items():
            yield _skill(home.name, kind, f"{first:%Y-%m}", method, said, real, yesterday, scale)


def seasonal_error(series: Values, before: int) -> float:
    """The mean absolute error, Wh, of the value a day earlier in all that is known before the slot ``before``."""
    known = series.at(np.arange(series.first_slot, before))
    return float(np.nanmean(np.abs(known[series.day_slots :] - known[: -series.day_slots])))


def _skill(
    home: str,
    kind: Kind,
    month: str,
    method: str,
    said: npt.NDArray[np.int64],
    real: Floats,
    yesterday: Floats,
    scale: float,
) -> Skill:
    middle = said.shape[2] // 2
    errors = np.abs(said[:, :, middle - 1 : middle + 1].mean(axis=2) - real)
    usual = np.abs(yesterday - real)
    known = np.isfinite(errors) & np.isfinite(usual)
    scales = scale * known.sum(axis=0)
    errors, usual = np.where(known, errors, 0.0).sum(axis=0), np.where(known, usual, 0.0).sum(axis=0)
    hour = real.shape[1] // 24 - 1
    losses = pinball(said, real)
    low, high = said[:, :, :2].mean(axis=2), said[:, :, -2:].mean(axis=2)
    inside = (real >= low) & (real <= high)
    open_slots = known & ((high > 0) | (real > 0))
    return Skill(
        home=home,
        series=kind,
        month=month,
        method=method,
        relative_mae_hour=float(errors[hour] / usual[hour]),
        relative_mae_day=float(errors[-1] / usual[-1]),
        relative_mae_all=float(errors.sum() / usual.sum()),
        mase_hour=float(errors[hour] / scales[hour]),
        mase_day=float(errors[-1] / scales[-1]),
        mase_all=float(errors.sum() / scales.sum()),
        pinball_hour=float(losses[hour]),
        pinball_day=float(losses[-1]),
        pinball_all=float(losses.mean()),
        band_80=float(inside[open_slots].mean()),
    )


def mean(skills: Sequence[Skill]) -> dict[str, float]:
    """Of each figure over ``skills``, which are all of one method."""
    names = [name for name, value in asdict(skills[0]).items() if isinstance(value, float)]
    return {name: float(np.mean([getattr(skill, name) for skill in skills])) for name in names}
