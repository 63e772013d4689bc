"""What the learnt forecasts look at: recent slots, the same time of other days, the time of day and the weekday.

Series are learnt on a scale on which errors are of like size all day. For a load that is the square root. For the sun
it is the share of the *envelope*, the most that the same time of day has had in the ENVELOPE_DAYS before, which knows
the season, the roof and the trees without being told; where the envelope is dark, the forecast is nothing.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from broker.forecast.forecaster import Weather
from broker.forecast.history import DAY_SECONDS, Floats, Slots, Values

Kind: TypeAlias = Literal["load", "sun"]

ENVELOPE_DAYS: Final = 21
DARK_PERMILLE: Final = 5
"""A slot is dark if its envelope is less than so much of the brightest one of the day."""
MOST_SHARE: Final = 1.3
"""Of the envelope: more sun than that is not learnt from."""
REACH_DAYS: Final = 60
"""Nothing older than so many days before a slot is looked at for it."""
EPOCH_WEEKDAY: Final = 3
"""1 January 1970 was a Thursday."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Of each first and each lead (n, k): ``x`` (n, k, p) what is looked at; ``scale`` by which a figure on the scale
    is turned back; ``lit``: whether anything is to be foreseen at all."""

    x: Floats
    scale: Floats
    lit: npt.NDArray[np.bool_]

    def part(self, which: slice) -> "Rows":
        """Of some of the firsts."""
        return Rows(self.x[which], self.scale[which], self.lit[which])

    def after(self, others: "Rows") -> "Rows":
        """``others``' firsts and then these."""
        return Rows(
            np.concatenate([others.x, self.x]),
            np.concatenate([others.scale, self.scale]),
            np.concatenate([others.lit, self.lit]),
        )


def filled(values: Values) -> Values:
    """The series with each gap given the mean of the same time of the seven days before it, they being filled
    already; NaN where there is none."""
    missing = ~np.isfinite(values.wh)
    if not missing.any():
        return values
    day = values.day_slots
    wh = values.wh.copy()
    for start in range(0, len(wh), day):
        block = wh[start : start + day]
        gaps = np.flatnonzero(~np.isfinite(block))
        if len(gaps) and start:
            before = start + gaps[:, None] - np.arange(1, 8) * day
            week = np.where(before >= 0, wh[np.maximum(before, 0)], np.nan)
            block[gaps] = _mean(week)
    return Values(values.first_slot, values.slot_seconds, wh)


def to_scale(kind: Kind, wh: Floats, scale: Floats) -> Floats:
    """Wh -> the scale that is learnt on; see Rows.scale."""
    if kind == "load":
        return np.sqrt(np.maximum(wh, 0.0))
    share: Floats = np.clip(wh / scale, 0.0, MOST_SHARE)
    return share


def from_scale(kind: Kind, figures: Floats, scale: Floats) -> Floats:
    """The reverse, broadcast over the axes that ``scale`` lacks at the end."""
    figures = np.maximum(figures, 0.0)
    return figures**2 if kind == "load" else figures * scale.reshape(scale.shape + (1,) * (figures.ndim - scale.ndim))


def rows(kind: Kind, series: Values, firsts: Slots, leads: Slots, weather: Weather | None) -> Rows:
    """What is known at the beginning of each of ``firsts`` of the slots ``leads`` later. ``series``: without gaps.
    All leads are of one day ahead: ``leads // day_slots`` is the same."""
    targets = firsts[:, None] + leads
    back = int(leads[0]) // series.day_slots + 1
    clock = _clock(series, targets)
    if kind == "load":
        root = Values(series.first_slot, series.slot_seconds, np.sqrt(np.maximum(series.wh, 0.0)))
        scale, lit = np.ones(targets.shape), np.ones(targets.shape, dtype=np.bool_)
        x = _load_rows(root, firsts, targets, back, clock)
    else:
        scale = envelope(series, targets, back)
        bright = envelope(series, firsts[:, None] - np.arange(1, series.day_slots + 1), 1).max(axis=1)
        lit = scale > np.maximum(bright, 1.0)[:, None] * DARK_PERMILLE / 1000
        x = _sun_rows(series, firsts, targets, back, clock)
    if weather is not None:
        x = np.concatenate([x, weather.ahead(firsts, int(leads[-1]) + 1)[:, leads]], axis=2)
    return Rows(x, scale, lit)


def envelope(series: Values, slots: Slots, back: int) -> Floats:
    """The most of the same time of the ENVELOPE_DAYS before, from ``back`` days on, Wh; 0 where none is known."""
    lowest = int(slots.min())
    every = np.arange(lowest, int(slots.max()) + 1)
    days = series.at(every[:, None] - np.arange(back, back + ENVELOPE_DAYS) * series.day_slots)
    most: Floats = np.where(np.isfinite(days), days, 0.0).max(axis=1)
    return most[slots - lowest]


def _load_rows(root: Values, firsts: Slots, targets: Slots, back: int, clock: Floats) -> Floats:
    day = root.day_slots
    hour = day // 24 or 1
    recent = root.at(firsts[:, None] - np.array([1, 2, 3]))
    before = root.at(firsts[:, None] - np.arange(1, 7 * day + 1))
    means = np.column_stack([before[:, : 6 * hour].mean(axis=1), before[:, :day].mean(axis=1), before.mean(axis=1)])
    usual = _mean(root.at((firsts - 1)[:, None] - np.arange(1, 8) * day))
    usual2 = _mean(root.at((firsts - 2)[:, None] - np.arange(1, 8) * day))
    origin = np.column_stack([recent, means, usual, usual2])
    same = targets - back * day
    month = root.at(same[..., None] - np.arange(28) * day)
    weeks = -(-back // 7)
    late = np.minimum(same + 1, firsts[:, None] - 1)
    local = np.stack(
        [
            root.at(same),
            root.at(same - 1),
            root.at(late),
            month[..., 1],
            month[..., :3].mean(axis=-1),
            root.at(targets - weeks * 7 * day),
            month[..., :7].mean(axis=-1),
            _mean(month[..., 7:]),
            _mean(root.at(targets[..., None] - (np.arange(4) + weeks) * 7 * day)),
        ],
        axis=-1,
    )
    off = (recent[:, 0] - usual)[:, None, None] * clock[..., :4]
    spread = np.broadcast_to(origin[:, None, :], (*targets.shape, origin.shape[1]))
    return np.concatenate([spread, local, off, clock], axis=-1)


def _sun_rows(series: Values, firsts: Slots, targets: Slots, back: int, clock: Floats) -> Floats:
    day = series.day_slots
    hours = np.arange(1, 3 * day + 1)
    past = firsts[:, None] - hours
    wh, most = series.at(past), envelope(series, past, 1)
    share = _last_lit(wh, most)
    tops = np.maximum(np.stack([most[:, k * day : (k + 1) * day].sum(axis=1) for k in range(3)], axis=1), 1.0)
    days = np.stack([wh[:, k * day : (k + 1) * day].sum(axis=1) for k in range(3)], axis=1) / tops
    origin = np.column_stack([share, days])
    same = targets[..., None] - np.arange(back, back + 7) * day
    top = np.maximum(envelope(series, targets, back), 1.0)[..., None]
    week = np.clip(series.at(same) / top, 0.0, MOST_SHARE)
    around = np.clip(
        np.stack([series.at(same[..., 0] - 1), series.at(np.minimum(same[..., 0] + 1, firsts[:, None] - 1))], axis=-1)
        / top,
        0.0,
        MOST_SHARE,
    )
    local = np.concatenate(
        [week[..., :3], around, week.mean(axis=-1, keepdims=True), np.sort(week, axis=-1)[..., 2:6:3]], axis=-1
    )
    spread = np.broadcast_to(origin[:, None, :], (*targets.shape, origin.shape[1]))
    moved = [spread[..., k : k + 1] * clock[..., :4] for k in (0, 2)]
    return np.concatenate([spread, local, *moved, clock[..., :6]], axis=-1)


def _last_lit(wh: Floats, most: Floats) -> Floats:
    """The shares of the envelope in the last two lit slots, the latest first, of rows that go back in time; lit is
    what has a fifth of the day's top."""
    lit = most > 0.2 * np.maximum(most.max(axis=1, keepdims=True), 1.0)
    latest = lit.argmax(axis=1)
    picks = np.stack([latest, np.minimum(latest + 1, most.shape[1] - 1)], axis=1)
    share = np.take_along_axis(wh, picks, axis=1) / np.maximum(np.take_along_axis(most, picks, axis=1), 1.0)
    return np.clip(share, 0.0, MOST_SHARE)


def _clock(series: Values, slots: Slots) -> Floats:
    """Sines and cosines of the time of day, the weekday, and the time of day at weekends."""
    seconds = slots * series.slot_seconds
    angle = (seconds % DAY_SECONDS) * (2 * np.pi / DAY_SECONDS)
    weekday = (seconds // DAY_SECONDS + EPOCH_WEEKDAY) % 7
    waves = [wave(turn * angle) for turn in (1, 2, 3) for wave in (np.sin, np.cos)]
    days = [(weekday == each).astype(np.float64) for each in range(6)]
    free = (weekday >= 5).astype(np.float64)
    return np.stack([*waves, *days, *(free * wave for wave in waves[:4])], axis=-1)


def _mean(samples: Floats) -> Floats:
    """Of the last axis without what is NaN; NaN if all is."""
    known = np.isfinite(samples)
    count = known.sum(axis=-1)
    return np.where(count > 0, np.where(known, samples, 0.0).sum(axis=-1) / np.maximum(count, 1), np.nan)
