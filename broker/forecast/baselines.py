"""The forecasts that are always there: yesterday, last week, and the mean of the last seven days at the same time.

Each says of a slot what was at the same time of day some days before. Of a slot that lies ``back`` days or less after
the last that is known, only what is ``back`` days and more before it is used; hence a forecast depends on the slot and
on ``back`` alone, and those of a whole year are a table. Its quantiles are its own errors at that time of day over the
last ERROR_DAYS. Until there are a week of those, they are mixed with what is expected of a site that is not known.
"""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from broker.forecast.forecaster import Weather, check_horizon, quantiles_of
from broker.forecast.history import Floats, Slots, Values
from broker.forecast.prior import Prior

ERROR_DAYS: Final = 42
TRUSTED_ERRORS: Final = 7
"""So many errors make a forecast's quantiles its own."""

Rule: TypeAlias = Literal["yesterday", "last-week", "week-mean"]


class Baseline:
    """One of the rules. Where a day is missing, the day before it stands in, up to a week back."""

    def __init__(self, rule: Rule, prior: Prior) -> None:
        self.name: str = rule
        self._rule = rule
        self._prior = prior

    def predict(
        self, history: Values, firsts: Sequence[int] | Slots, count: int, weather: Weather | None = None
    ) -> npt.NDArray[np.int64]:
        """See Forecaster. The weather is not used."""
        check_horizon(history, count)
        starts = np.asarray(firsts, dtype=np.int64)
        answer = np.empty((len(starts), count, 10), dtype=np.int64)
        for day in range(-(-count // history.day_slots)):
            leads = np.arange(day * history.day_slots, min(count, (day + 1) * history.day_slots))
            targets, places = np.unique(starts[:, None] + leads, return_inverse=True)
            table = self._table(history, targets, day + 1)
            answer[:, leads] = table[places.reshape(len(starts), len(leads))]
        return answer

    def _table(self, history: Values, targets: Slots, back: int) -> npt.NDArray[np.int64]:
        """The quantiles of each of ``targets`` (rising), from what is ``back`` days and more before it."""
        if not len(targets):
            return np.empty((0, 10), dtype=np.int64)
        day = history.day_slots
        start = int(targets[0]) - (back + ERROR_DAYS - 1) * day
        covered = np.arange(start, int(targets[-1]) + 1)
        said = point(self._rule, history, covered, back)
        errors = history.at(covered) - said
        days = np.arange(back, back + ERROR_DAYS) * day
        spread, counts = quantiles_of(errors[(targets - start)[:, None] - days])
        own = said[targets - start][:, None] + spread
        prior = self._prior.quantiles(targets, history.slot_seconds, mean_until(history, targets - back * day))
        trust = np.where(np.isfinite(own[:, :1]), np.minimum(counts, TRUSTED_ERRORS)[:, None] / TRUSTED_ERRORS, 0.0)
        mixed = trust * np.where(np.isfinite(own), own, 0.0) + (1 - trust) * prior
        return np.rint(np.clip(mixed, 0.0, self._prior.most_w * history.slot_seconds / 3600)).astype(np.int64)


def point(rule: Rule, history: Values, slots: Slots, back: int) -> Floats:
    """What the rule says of each of ``slots``, Wh, from what is ``back`` days and more before it; NaN where none of
    what it looks at is known."""
    day = history.day_slots
    week = history.at(slots[:, None] - np.arange(back, back + 7) * day)
    if rule == "week-mean":
        known = np.isfinite(week)
        total = np.where(known, week, 0.0).sum(axis=1)
        return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)
    if rule == "last-week":
        weeks = -(-back // 7)
        week = np.column_stack([history.at(slots[:, None] - np.arange(weeks, weeks + 2) * 7 * day), week])
    known = np.isfinite(week)
    picked: Floats = np.take_along_axis(week, known.argmax(axis=1)[:, None], axis=1)[:, 0]
    return picked


def mean_until(history: Values, slots: Slots) -> Floats:
    """For each of ``slots`` the mean of all that is known up to it and with it, NaN if nothing is, Wh."""
    known = np.isfinite(history.wh)
    totals = np.concatenate([[0.0], np.cumsum(np.where(known, history.wh, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    upto = np.clip(slots + 1 - history.first_slot, 0, len(history.wh))
    return np.where(counts[upto] > 0, totals[upto] / np.maximum(counts[upto], 1), np.nan)


def baselines(prior: Prior) -> tuple[Baseline, ...]:
    """All three."""
    rules: tuple[Rule, ...] = ("yesterday", "last-week", "week-mean")
    return tuple(Baseline(rule, prior) for rule in rules)
