"""Which forecast to believe: each week the one that was best in the weeks before, by series and by lead.

Weeks begin on Thursdays at midnight, as the epoch did. At the beginning of each the learnt forecasts are refitted to
all that is known by then; their errors of the last ERROR_WEEKS, made before the slots in question came, become their
quantiles by time of day and lead; and for each band of leads that candidate is picked whose quantiles had the least
pinball loss in the last HOLD_OUT_WEEKS. During the week that stays, so a forecast costs next to nothing. The week that
is running is never learnt from. Until there is enough to choose by, a baseline answers.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from broker.forecast.baselines import baselines
from broker.forecast.features import REACH_DAYS, Kind, Rows, filled, from_scale, rows, to_scale
from broker.forecast.forecaster import LEVELS, Weather, check_horizon, quantiles_of
from broker.forecast.history import Floats, Slots, Values
from broker.forecast.prior import Prior
from broker.forecast.ridge import Ridge

if TYPE_CHECKING:  # scikit-learn is imported by those who boost
    from broker.forecast.boosting import Boosting

ERROR_WEEKS: Final = 6
HOLD_OUT_WEEKS: Final = 10
HELD_OUT_FADE: Final = 0.9
"""So much less a week counts than the one after it."""
BOOSTED_EVERY: Final = 4
"""Weeks."""
LEARNT_WEEKS: Final = 52
"""A chooser that starts anew goes back so far."""
BANDS_HOURS: Final = (1, 3, 6, 12, 24)
"""A choice is made for leads of up to so many hours, and one for those beyond."""
FIRST_CHOICE: Final[Mapping[Kind, str]] = {"load": "week-mean", "sun": "yesterday"}
BOOSTED: Final = "boosting"
COMBINED: Final = "combination"
"""Of ridge regression and boosting: half way between."""
BLENDED: Final = "blend"
"""Of that, twice, and the first choice: the mean of their quantiles."""
CHOSEN: Final = "chosen"
FAVOUR: Final[Mapping[Kind, float]] = {"load": 1.0, "sun": 0.97}
"""So much of the blend's loss counts when it is compared with the others. Which of them a few weeks' clouds suited is
mostly luck, so what hedges between them is left only for what is clearly better."""

FEWEST_ERRORS: Final = 20
"""Quantiles rest on so many."""

Forecasts: TypeAlias = dict[str, npt.NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """What the learnt candidates said for a week's firsts, by their names; ``scale`` and ``lit``: see Rows."""

    points: dict[str, Floats]
    scale: Floats
    lit: npt.NDArray[np.bool_]


@dataclass(slots=True)
class _Learnt:
    """What is known at the beginning of ``week``, for leads of so many ``days``. ``said``: in the last weeks;
    ``losses``: the pinball losses of the last weeks, by candidate and lead; ``spreads``: the learnt candidates' errors
    as quantiles, by the first's time of day and lead; ``choice``: by lead."""

    week: int
    days: int
    weathered: bool
    ridge: Ridge
    boosting: "Boosting | None"
    digest: bytes = b""
    said: list[_Said] = field(default_factory=list)
    losses: list[dict[str, Floats]] = field(default_factory=list)
    tail: Rows | None = None
    spreads: dict[str, Floats] = field(default_factory=dict)
    choice: list[str] = field(default_factory=list)


class Chooser:
    """A Forecaster of one series, which it is to be called with again and again: what it has learnt it keeps, and
    learns anew if the series turns out to be another one. Not for two series in turn.

    ``only``: the candidate to answer with, whatever the choice. Without ``boosted`` there is no boosting and no
    combination, and a year is learnt in seconds.
    """

    def __init__(self, kind: Kind, prior: Prior, only: str | None = None, boosted: bool = True) -> None:
        self.name: str = only or CHOSEN
        self._kind: Kind = kind
        self._prior = prior
        self._boosted = boosted
        self._baselines = baselines(prior)
        self._learnt: _Learnt | None = None

    def predict(
        self, history: Values, firsts: Sequence[int] | Slots, count: int, weather: Weather | None = None
    ) -> npt.NDArray[np.int64]:
        """See Forecaster."""
        return self.candidates(history, firsts, count, weather)[self.name]

    def candidates(
        self, history: Values, firsts: Sequence[int] | Slots, count: int, weather: Weather | None = None
    ) -> Forecasts:
        """The forecasts of every candidate by its name, and of what was chosen among them as "chosen"."""
        check_horizon(history, count)
        starts = np.asarray(firsts, dtype=np.int64)
        days = -(-count // history.day_slots)
        answer = {each.name: each.predict(history, starts, count) for each in self._baselines}
        for name in (*self._learners(), CHOSEN):
            answer[name] = np.zeros((len(starts), count, len(LEVELS)), dtype=np.int64)
        weeks = starts // (7 * history.day_slots)
        for week in np.unique(weeks):
            at = np.flatnonzero(weeks == week)
            learnt = self._at(history, int(week), days, weather)
            based = {each.name: answer[each.name][at] for each in self._baselines}
            looked = _rows(self._kind, history, starts[at], learnt.days, weather)
            for name, quantiles in self._week(history, learnt, starts[at], count, looked, based).items():
                answer[name][at] = quantiles
        return answer

    def choices(self, history: Values, first: int, count: int, weather: Weather | None = None) -> list[str]:
        """What answers for each lead of a forecast from ``first``."""
        days = -(-count // history.day_slots)
        return self._at(history, first // (7 * history.day_slots), days, weather).choice[:count]

    def _learners(self) -> tuple[str, ...]:
        return (Ridge.name, BOOSTED, COMBINED, BLENDED) if self._boosted else (Ridge.name, BLENDED)

    def _week(
        self, history: Values, learnt: _Learnt, firsts: Slots, count: int, looked: Rows, based: Forecasts
    ) -> Forecasts:
        """The quantiles of all candidates for firsts of one week, and the chosen ones."""
        answer = dict(based)
        fallback = based[FIRST_CHOICE[self._kind]]
        for name, points in self._points(learnt, looked).items():
            if name not in learnt.spreads:
                answer[name] = fallback
                continue
            spread = learnt.spreads[name][firsts % history.day_slots]
            wh = from_scale(self._kind, points[:, :, None] + spread, looked.scale)[:, :count]
            wh = np.where(looked.lit[:, :count, None], wh, 0.0)
            known = np.isfinite(wh).all(axis=2, keepdims=True)
            most = self._prior.most_w * history.slot_seconds / 3600
            whole = np.rint(np.clip(np.where(known, wh, 0.0), 0.0, most)).astype(np.int64)
            answer[name] = np.where(known, whole, fallback)
        learnt_best = answer[COMBINED if self._boosted else Ridge.name]
        answer[BLENDED] = (2 * learnt_best + fallback + 1) // 3
        chosen = np.empty_like(fallback)
        for lead in range(count):
            chosen[:, lead] = answer[learnt.choice[lead]][:, lead]
        answer[CHOSEN] = chosen
        return answer

    def _points(self, learnt: _Learnt, looked: Rows) -> dict[str, Floats]:
        ridge = learnt.ridge.points(looked)
        if learnt.boosting is None:
            return {Ridge.name: ridge}
        boosted = learnt.boosting.points(looked)
        return {Ridge.name: ridge, BOOSTED: boosted, COMBINED: (ridge + boosted) / 2}

    def _at(self, history: Values, week: int, days: int, weather: Weather | None) -> _Learnt:
        """What is known at the beginning of ``week``: gone on from what is kept, or from the beginning."""
        length = 7 * history.day_slots
        kept = self._learnt
        weathered = weather is not None
        if (
            kept is None
            or kept.week > week
            or kept.days < days
            or kept.weathered != weathered
            or kept.digest != _digest(history, kept.week)
        ):
            begin = max(-(-history.first_slot // length), week - LEARNT_WEEKS)
            kept = _Learnt(min(begin, week), days, weathered, Ridge(), _boosting(self._kind) if self._boosted else None)
            _settle(self._kind, history, kept)
        while kept.week < week:
            self._go_on(history, kept, weather, week - kept.week)
        kept.digest = _digest(history, week)
        self._learnt = kept
        return kept

    def _go_on(self, history: Values, learnt: _Learnt, weather: Weather | None, missing: int) -> None:
        """Live through the next of ``missing`` weeks, and learn from it. What would have been said in a week is asked
        only of those that the last one's quantiles and choice rest on."""
        length, leads = 7 * history.day_slots, learnt.days * history.day_slots
        firsts = np.arange(learnt.week * length, (learnt.week + 1) * length)
        looked = _rows(self._kind, history, firsts, learnt.days, weather)
        if missing <= ERROR_WEEKS + HOLD_OUT_WEEKS:
            based = {each.name: each.predict(history, firsts, leads) for each in self._baselines}
            answers = self._week(history, learnt, firsts, leads, looked, based)
            slots = firsts[:, None] + np.arange(leads)
            known = np.where(slots <= firsts[-1], history.at(slots), np.nan)
            losses = {name: pinball(said, known) for name, said in answers.items() if name != CHOSEN}
            learnt.losses = [*learnt.losses, losses][-HOLD_OUT_WEEKS:]
            learnt.said = [*learnt.said, _Said(self._points(learnt, looked), looked.scale, looked.lit)][-ERROR_WEEKS:]
        # The last firsts' slots lie in the week after; their rows wait until all is known.
        if learnt.tail is not None:
            looked = looked.after(learnt.tail)
            firsts = np.arange(firsts[0] - len(learnt.tail.x), firsts[-1] + 1)
        done, learnt.tail = looked.part(slice(0, -leads)), looked.part(slice(-leads, None))
        real = history.at(firsts[:-leads, None] + np.arange(leads))
        figures = to_scale(self._kind, real, np.maximum(done.scale, 1.0))
        learnt.ridge.learn(done, figures)
        learnt.week += 1
        if learnt.boosting is not None:
            learnt.boosting.learn(done, figures)
            if learnt.week % BOOSTED_EVERY == 0 and missing <= ERROR_WEEKS + HOLD_OUT_WEEKS + BOOSTED_EVERY:
                learnt.boosting.fit()
        _settle(self._kind, history, learnt)


def _boosting(kind: Kind) -> "Boosting":
    from broker.forecast.boosting import Boosting  # noqa: PLC0415  # only who boosts waits for scikit-learn

    return Boosting(kind)


def _settle(kind: Kind, history: Values, learnt: _Learnt) -> None:
    """Make quantiles and choices of what is known at the beginning of the week."""
    day, leads = history.day_slots, learnt.days * history.day_slots
    start = learnt.week * 7 * day
    weeks = range(learnt.week - len(learnt.said), learnt.week)
    names = learnt.said[-1].points if learnt.said else ()
    for name in names:
        errors = []
        for week, said in zip(weeks, learnt.said, strict=True):
            slots = np.arange(week * 7 * day, (week + 1) * 7 * day)[:, None] + np.arange(leads)
            real = to_scale(kind, history.at(slots), np.maximum(said.scale, 1.0))
            usable = said.lit & (slots < start)
            errors.append(np.where(usable, real - said.points.get(name, np.nan), np.nan))
        learnt.spreads[name] = _spread(np.concatenate(errors), day)
    hours = (np.arange(leads) + 1) * history.slot_seconds / 3600
    bands = np.searchsorted(BANDS_HOURS, hours)
    learnt.choice = [FIRST_CHOICE[kind]] * leads
    if learnt.losses:
        candidates = list(learnt.losses[-1])
        losses = np.array([[week[name] for name in candidates] for week in learnt.losses])
        total = (HELD_OUT_FADE ** np.arange(len(losses))[::-1, None, None] * losses).sum(axis=0)
        total[candidates.index(BLENDED)] *= FAVOUR[kind]
        for band in np.unique(bands):
            best = int(np.argmin(total[:, bands == band].sum(axis=1)))
            learnt.choice = [candidates[best] if bands[k] == band else learnt.choice[k] for k in range(leads)]


def _spread(errors: Floats, day: int) -> Floats:
    """The quantiles of the errors (firsts, leads) by the first's time of day, the slots next to it counted with it:
    shape (day, leads, 10); NaN where there are fewer than FEWEST_ERRORS."""
    leads = errors.shape[1]
    blank = np.full((1, leads), np.nan)
    near = np.stack([errors, np.vstack([blank, errors[:-1]]), np.vstack([errors[1:], blank])])
    samples = near.reshape(3, -1, day, leads).transpose(2, 3, 0, 1).reshape(day * leads, -1)
    quantiles, counts = quantiles_of(samples)
    quantiles[counts < FEWEST_ERRORS] = np.nan
    return quantiles.reshape(day, leads, len(LEVELS))


def _rows(kind: Kind, history: Values, firsts: Slots, days: int, weather: Weather | None) -> Rows:
    """Rows of all the leads of so many days, for firsts of one week."""
    day = history.day_slots
    start = (int(firsts[0]) // (7 * day)) * 7 * day - REACH_DAYS * day
    slots = np.arange(start, int(firsts.max()))
    series = filled(Values(start, history.slot_seconds, history.at(slots)))
    parts = [rows(kind, series, firsts, np.arange(each * day, (each + 1) * day), weather) for each in range(days)]
    return Rows(
        np.concatenate([part.x for part in parts], axis=1),
        np.concatenate([part.scale for part in parts], axis=1),
        np.concatenate([part.lit for part in parts], axis=1),
    )


def _digest(history: Values, week: int) -> bytes:
    """Of what was before a week: whether a series is the one that was learnt from. Its last day does not count:
    readings of it that come late are no reason to learn everything anew."""
    end = (week * 7 - 1) * history.day_slots
    before = history.at(np.arange(end - REACH_DAYS * history.day_slots, end))
    return hashlib.blake2b(before.tobytes(), key=str((week, history.slot_seconds)).encode()).digest()


def pinball(said: npt.NDArray[np.int64], real: Floats) -> Floats:
    """The mean pinball loss of the quantiles (n, k, 10) by lead, Wh, over what is known of ``real`` (n, k); 0 where
    nothing is."""
    short = real[:, :, None] - said
    loss = np.maximum(LEVELS * short, (LEVELS - 1) * short).mean(axis=2)
    known = np.isfinite(loss)
    mean: Floats = np.where(known, loss, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return mean
