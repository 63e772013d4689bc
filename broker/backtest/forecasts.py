"""What each home's broker foresees, slot by slot of a season: made week by week, for speed, by the agent's own code.

A forecaster uses of a series only what lies before the slot that it forecasts from, so those of a whole week can be had
at once. What it is fitted on ends where the week begins.
"""

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from broker.backtest.setup import Span
from broker.data.homes import Homes
from broker.forecast.choose import Chooser
from broker.forecast.forecaster import Forecaster, net_quantiles
from broker.forecast.history import History
from broker.forecast.prior import StandardLoad, StandardSun
from broker.view import LEVELS_PERMILLE, Quantiles

WEEK_DAYS: Final = 7
MIDDLE: Final = len(LEVELS_PERMILLE) // 2


class Forecasts(Protocol):
    """The nets of all homes as foreseen in each slot of the season."""

    def net(self, home: int, index: int) -> Quantiles:
        """Of home number ``home`` at the beginning of slot ``index`` of the season: a row for each slot of a day."""
        ...

    def skill(self, home: int) -> tuple[float | None, float | None]:
        """The mean absolute error of the median of the coming slot's load and sun, in that of yesterday's figure; None
        if that had none."""
        ...


class WeekByWeek:
    """The forecasters of an agent, over the whole data of the homes. What was foreseen in a week is kept."""

    def __init__(self, homes: Homes, span: Span) -> None:
        self._homes, self._span = homes, span
        self._day = homes.slots_per_day
        self._loads = [History(homes.first_slot, homes.slot_seconds, home.load_wh).cleaned() for home in homes.homes]
        self._suns = [History(homes.first_slot, homes.slot_seconds, home.sun_wh).cleaned() for home in homes.homes]
        self._load_models: list[Forecaster] = [Chooser("load", StandardLoad(), boosted=False) for _ in homes.homes]
        self._sun_models: list[Forecaster] = [
            Chooser("sun", StandardSun(home.panels_w), boosted=False) for home in homes.homes
        ]
        self._nets: dict[int, list[npt.NDArray[np.int32]]] = {}
        self._errors = np.zeros((len(homes.homes), 4))

    def net(self, home: int, index: int) -> Quantiles:
        week, inside = divmod(index, WEEK_DAYS * self._day)
        if week not in self._nets:
            self._nets[week] = self._foresee(week)
        quantiles: Quantiles = self._nets[week][home][inside].astype(np.int64)
        return quantiles

    def skill(self, home: int) -> tuple[float | None, float | None]:
        load, load_before, sun, sun_before = self._errors[home].tolist()
        return (
            round(load / load_before, 4) if load_before else None,
            round(sun / sun_before, 4) if sun_before else None,
        )

    def _foresee(self, week: int) -> list[npt.NDArray[np.int32]]:
        """Of every home, an array (slots of the week, slots ahead, 10)."""
        first = week * WEEK_DAYS * self._day
        count = min(WEEK_DAYS * self._day, self._span.count - first)
        firsts = np.arange(count, dtype=np.int64) + self._homes.first_slot + self._span.first + first
        nets = []
        for number, home in enumerate(self._homes.homes):
            load = self._load_models[number].predict(self._loads[number], firsts, self._day)
            if home.panels_w:
                sun = self._sun_models[number].predict(self._suns[number], firsts, self._day)
            else:
                sun = np.zeros_like(load)
            nets.append(net_quantiles(load, sun).astype(np.int32))
            at = self._span.first + first
            self._judge(number, 0, load, home.load_wh, at)
            self._judge(number, 2, sun, home.sun_wh, at)
        return nets

    def _judge(self, home: int, column: int, said: Quantiles, true: npt.NDArray[np.int64], at: int) -> None:
        """Add up the errors of the week's forecasts of the coming slot, and yesterday's."""
        known = max(0, self._day - at)  # at the data's beginning there is no yesterday
        median = said[known:, 0, MIDDLE - 1 : MIDDLE + 1].mean(axis=1)
        flowed = true[at + known : at + known + len(median)]
        yesterday = true[at + known - self._day : at + known - self._day + len(median)]
        self._errors[home, column] += np.abs(flowed - median).sum()
        self._errors[home, column + 1] += np.abs(flowed - yesterday).sum()
