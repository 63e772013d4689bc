"""What is learnt, what is chosen, and that neither rests on what was not known yet."""

import time
from functools import cache

import numpy as np
import pytest

from broker.forecast.baselines import Baseline
from broker.forecast.choose import CHOSEN, Chooser, Forecasts
from broker.forecast.features import Kind, filled
from broker.forecast.forecaster import Weather
from broker.forecast.history import Floats, History, Values
from broker.forecast.prior import Prior, StandardLoad, StandardSun

HOUR = 3600
WEEK = 168
FIRST = 2_500 * WEEK
PEAK_W = 4000
PRIORS: dict[Kind, Prior] = {"load": StandardLoad(), "sun": StandardSun(PEAK_W)}


@cache
def _wh(kind: Kind, weeks: int = 30) -> Floats:
    """A load that goes on for some hours as it is, or a sun whose clouds do."""
    rng = np.random.default_rng(5)
    hours = np.arange(weeks * WEEK)
    noise = np.zeros(len(hours))
    for k in range(1, len(noise)):
        noise[k] = 0.85 * noise[k - 1] + rng.normal(0, 0.25)
    if kind == "load":
        load: Floats = 500 * (1 + 0.5 * np.sin((hours % 24 - 13) * 2 * np.pi / 24)) * np.exp(noise)
        return load
    clear = np.maximum(0, np.sin((hours % 24 - 6) * np.pi / 12)) * PEAK_W * 0.8
    sun: Floats = clear / (1 + np.exp(-2 - 2 * noise))
    return sun


def _series(kind: Kind, weeks: int = 30) -> Values:
    return History(FIRST, HOUR, _wh(kind, weeks)).cleaned()


@cache
def _said(kind: Kind) -> tuple[Forecasts, Floats]:
    """Of eight weeks at the end: the forecasts of all candidates, and what came."""
    series = _series(kind)
    firsts = np.arange(series.end - 8 * WEEK, series.end - 24)
    said = Chooser(kind, PRIORS[kind]).candidates(series, firsts, 24)
    return said, series.at(firsts[:, None] + np.arange(24))


def _errors(kind: Kind, method: str, lead: int) -> float:
    said, real = _said(kind)
    return float(np.abs(said[method][:, lead, 4:6].mean(axis=1) - real[:, lead]).mean())


@pytest.mark.parametrize("kind", ["load", "sun"])
def test_what_is_learnt_beats_the_baselines_where_there_is_something_to_learn(kind: Kind) -> None:
    """Ridge and boosting where rolling hold-out says that they win."""
    best = min(_errors(kind, rule, 0) for rule in ("yesterday", "last-week", "week-mean"))
    for learnt in ("ridge", "boosting", "combination", CHOSEN):
        assert _errors(kind, learnt, 0) < 0.8 * best, learnt
    assert _errors(kind, CHOSEN, 23) < 1.05 * min(_errors(kind, each, 23) for each in _said(kind)[0])


@pytest.mark.parametrize("kind", ["load", "sun"])
def test_quantiles_are_in_order_within_bounds_and_hold_what_they_say(kind: Kind) -> None:
    said, real = _said(kind)
    for method, quantiles in said.items():
        assert (np.diff(quantiles, axis=2) >= 0).all(), method
        assert quantiles.min() >= 0
        if kind == "sun":
            assert quantiles.max() <= PEAK_W
            assert quantiles[real == 0].max() == 0, "night"
        low, high = quantiles[..., :2].mean(axis=2), quantiles[..., -2:].mean(axis=2)
        day = high > 0
        assert 0.7 < ((real >= low) & (real <= high))[day].mean() < 0.9, method


@pytest.mark.parametrize("kind", ["load", "sun"])
@pytest.mark.parametrize("hour", [0, 55])
def test_nothing_from_the_first_slot_on_is_looked_at_by_any_method(kind: Kind, hour: int) -> None:
    """Never fit on what a broker could not have known."""
    series = _series(kind, 16)
    first = FIRST + 13 * WEEK + hour
    known = first - FIRST
    rng = np.random.default_rng(hour)
    others = [series.wh[:known]]
    for noise in (rng.gamma(1.0, 2000.0, 300), np.full(300, np.nan)):
        others.append(np.concatenate([series.wh[:known], noise]))
    expected = Chooser(kind, PRIORS[kind]).candidates(series, [first - 3, first], 24)
    for wh in others:
        changed = Values(FIRST, HOUR, wh)
        for method, said in Chooser(kind, PRIORS[kind]).candidates(changed, [first - 3, first], 24).items():
            np.testing.assert_array_equal(said, expected[method], err_msg=method)


def test_a_week_at_once_is_what_slot_after_slot_is() -> None:
    series = _series("load")
    start = series.end - 3 * WEEK
    firsts = np.arange(start - 5, start + WEEK + 5)
    at_once = Chooser("load", StandardLoad(), boosted=False).predict(series, firsts, 24)
    growing = Chooser("load", StandardLoad(), boosted=False)
    for k, first in enumerate(firsts.tolist()):
        known = Values(FIRST, HOUR, series.wh[: first - FIRST])
        np.testing.assert_array_equal(growing.predict(known, [first], 24)[0], at_once[k])


def test_another_series_is_learnt_anew() -> None:
    one, other = _series("load"), Values(FIRST, HOUR, _series("load").wh[::-1].copy())
    chooser = Chooser("load", StandardLoad(), boosted=False)
    chooser.predict(one, [one.end], 24)

    after = chooser.predict(other, [other.end], 24)

    np.testing.assert_array_equal(after, Chooser("load", StandardLoad(), boosted=False).predict(other, [other.end], 24))


def test_a_reading_that_comes_late_is_used_and_nothing_learnt_anew() -> None:
    series = _series("load")
    start = series.end - WEEK
    late = series.wh[: start - FIRST].copy()
    late[-2:] = np.nan
    chooser = Chooser("load", StandardLoad(), boosted=False)
    without = chooser.predict(Values(FIRST, HOUR, late), [start], 24)
    begun = time.process_time()
    chooser.predict(Values(FIRST, HOUR, late), [start], 24)
    usual = time.process_time() - begun

    begun = time.process_time()
    told = chooser.predict(Values(FIRST, HOUR, series.wh[: start - FIRST]), [start], 24)

    assert time.process_time() - begun < 5 * usual
    assert (told != without).any()


@pytest.mark.parametrize("kind", ["load", "sun"])
@pytest.mark.parametrize("hours", [0, 1, 24, 24 * 9, 24 * 25])
def test_a_young_site_is_foreseen_by_a_baseline(kind: Kind, hours: int) -> None:
    """A new home with no history."""
    series = Values(FIRST, HOUR, _wh(kind)[:hours])
    said = Chooser(kind, PRIORS[kind]).predict(series, [series.end], 24)
    assert said.max() > 0
    if hours <= 24:
        rule = Baseline("week-mean" if kind == "load" else "yesterday", PRIORS[kind])
        np.testing.assert_array_equal(said, rule.predict(series, [series.end], 24))


@pytest.mark.parametrize("kind", ["load", "sun"])
def test_gaps_spikes_negatives_and_a_silent_meter_leave_sensible_forecasts(kind: Kind) -> None:
    """Gaps and spikes in history."""
    rng = np.random.default_rng(1)
    wh = _wh(kind).copy()
    whole = History(FIRST, HOUR, wh).cleaned()
    wh[rng.integers(0, len(wh), 200)] = np.nan
    wh[rng.integers(0, len(wh), 20)] *= 100
    wh[rng.integers(0, len(wh), 20)] = -300
    wh[2000:2100] = np.nan
    wh[-40:] = np.nan  # nothing was heard of the meter since
    series = History(FIRST, HOUR, wh).cleaned()

    said = Chooser(kind, PRIORS[kind], boosted=False).predict(series, [series.end], 24)[0].mean(axis=1)
    usual = Chooser(kind, PRIORS[kind], boosted=False).predict(whole, [series.end], 24)[0].mean(axis=1)

    assert 0.5 * usual.sum() < said.sum() < 2 * usual.sum()
    assert said.max() < 2 * usual.max()


@pytest.mark.parametrize("kind", ["load", "sun"])
def test_constant_zeros_stay_nothing(kind: Kind) -> None:
    series = History(FIRST, HOUR, np.zeros(20 * WEEK)).cleaned()
    assert Chooser(kind, PRIORS[kind]).predict(series, [series.end], 24).max() == 0


def test_half_hours_and_two_days_ahead() -> None:
    series = History(FIRST * 2, HOUR // 2, np.repeat(_wh("load", 16) / 2, 2)).cleaned()
    chooser = Chooser("load", StandardLoad(), boosted=False)

    said = chooser.predict(series, [series.end - 96], 96)[0]

    assert said.shape == (96, 10)
    assert len(chooser.choices(series, series.end - 96, 96)) == 96
    assert 0.3 < said[:, 4].mean() / np.nanmean(series.wh[-96:]) < 3
    shorter = chooser.predict(series, [series.end - 96], 10)[0]
    np.testing.assert_array_equal(shorter, said[:10])


def test_weather_that_tells_the_sun_is_made_use_of_and_its_absence_borne() -> None:
    series = _series("sun")
    clear = np.tile(series.wh.reshape(-1, 24).max(axis=0), len(series.wh) // 24)
    share = np.where(clear > 0, series.wh / np.maximum(clear, 1), 0.5)
    ahead = np.stack([np.roll(share, -lead) for lead in range(25)], axis=1)[:, :, None]
    weather = Weather(FIRST, tuple(range(25)), ahead)
    firsts = np.arange(series.end - 2 * WEEK, series.end - 24)
    real = series.at(firsts[:, None] + np.arange(24))
    chooser = Chooser("sun", PRIORS["sun"], boosted=False)

    without = chooser.predict(series, firsts, 24)
    told = chooser.predict(series, firsts, 24, weather)

    errors = [np.abs(said[:, :, 4:6].mean(axis=2) - real).mean() for said in (told, without)]
    assert errors[0] < 0.6 * errors[1]
    gone = Weather(FIRST, weather.leads, weather.values[:-WEEK])
    lost = chooser.predict(series, [series.end - 24], 24, gone)
    np.testing.assert_array_equal(lost, Baseline("yesterday", PRIORS["sun"]).predict(series, [series.end - 24], 24))


def test_gaps_are_filled_from_the_days_before_alone() -> None:
    wh = _wh("load").copy()
    wh[30:90] = np.nan
    series = filled(Values(FIRST, HOUR, wh))
    assert series.wh[30] == wh[6]
    assert series.wh[30 + 48] == pytest.approx(wh[6])
    assert np.isfinite(series.wh).all()


def test_a_forecast_takes_less_than_fifty_milliseconds() -> None:
    """An agent foresees in every slot."""
    series = _series("load")
    chooser = Chooser("load", StandardLoad())
    start = series.end - WEEK // 2
    chooser.predict(series, [start], 24)
    took = []
    for first in range(start, start + 20):
        begun = time.process_time()
        chooser.predict(series, [first], 24)
        took.append(time.process_time() - begun)
    assert float(np.median(took)) < 0.05
