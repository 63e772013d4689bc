"""The forecasts that are always there, from a first day on and from whatever was read; and nets in quantiles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.data.installed import find_installed
from broker.forecast.baselines import baselines
from broker.forecast.forecaster import LEVELS, Weather, net_quantiles, quantiles_of
from broker.forecast.history import History, Values
from broker.forecast.prior import LOAD_TENTHS, STANDARD_W, StandardLoad, StandardSun
from node.errors import ConfigError, RefusedError

HOUR = 3600
FIRST = 17_000 * 24
LOAD = baselines(StandardLoad())


def _series(days: int, seed: int = 1) -> Values:
    rng = np.random.default_rng(seed)
    usual = 400 + 300 * np.sin((np.arange(24 * days) % 24 - 12) * 2 * np.pi / 24)
    return History(FIRST, HOUR, usual * rng.gamma(8.0, 1 / 8, 24 * days)).cleaned()


def test_of_the_same_every_day_every_rule_says_it_again() -> None:
    day = np.arange(24) * 10.0
    series = History(FIRST, HOUR, np.tile(day, 60)).cleaned()
    for each in LOAD:
        said = each.predict(series, [series.end, series.end - 30], 48)
        assert (said[0] == np.tile(day, 2)[:, None]).all(), each.name
        assert (said[1, 6:30] == day[:, None]).all()


def test_each_rule_looks_where_it_says() -> None:
    series = _series(70)
    wh, first = series.wh, series.end - 24
    raw = {
        "yesterday": wh[-48:-24],
        "last-week": wh[-24 * 8 : -24 * 7],
        "week-mean": wh[-24 * 8 : -24].reshape(7, 24).mean(axis=0),
    }
    for each in LOAD:
        middle = each.predict(series, [first], 24)[0, :, 4:6].mean(axis=1)
        # The median of its own errors, near nothing here, is added to what it says.
        assert np.abs(middle - raw[each.name]).mean() < 80, each.name


def test_eight_of_ten_fall_between_the_tenth_and_the_ninetieth_percentile() -> None:
    series = _series(300)
    firsts = np.arange(FIRST + 24 * 60, series.end - 24)
    real = series.at(firsts[:, None] + np.arange(24))
    for each in LOAD:
        said = each.predict(series, firsts, 24)
        low, high = said[..., :2].mean(axis=2), said[..., -2:].mean(axis=2)
        assert 0.76 < ((real >= low) & (real <= high)).mean() < 0.84, each.name
        assert (np.diff(said, axis=2) >= 0).all()


@pytest.mark.parametrize("slot_seconds", [HOUR, HOUR // 2, HOUR // 4])
def test_a_new_home_has_a_standard_day_with_wide_quantiles(slot_seconds: int) -> None:
    """A new home with no history."""
    slots = 86_400 // slot_seconds
    empty = History(17_000 * slots, slot_seconds).cleaned()
    for each in LOAD:
        said = each.predict(empty, [17_000 * slots], slots)[0]
        assert abs(said.mean(axis=1).sum() - 24 * STANDARD_W) < 0.1 * 24 * STANDARD_W
        assert (said[:, 9] > 10 * said[:, 0]).all()
    for each in baselines(StandardSun(4000)):
        said = each.predict(empty, [17_000 * slots], slots)[0]
        assert said[0].max() == 0, "at night"
        assert 3700 < said.max() * 3600 / slot_seconds <= 4000


def test_a_series_that_began_yesterday_stretches_the_standard_day() -> None:
    one_day = History(FIRST, HOUR, np.full(24, 2000.0)).cleaned()
    for each in LOAD:
        said = each.predict(one_day, [one_day.end], 24)[0]
        assert 1500 < said.mean() < 2600, each.name
        assert (said[:, 9] > 2 * said[:, 0]).all(), "one day is no proof of the next"


@pytest.mark.parametrize("wh", [np.full(24 * 40, np.nan), np.zeros(24 * 40), np.full(24 * 40, -7.0), np.zeros(0)])
def test_gaps_zeros_and_nonsense_give_forecasts_all_the_same(
    wh: "np.ndarray[tuple[int], np.dtype[np.float64]]",
) -> None:
    series = History(FIRST, HOUR, wh).cleaned()
    for each in LOAD:
        said = each.predict(series, [FIRST + 24 * 40], 24)
        assert (said >= 0).all()
        assert (said.max() == 0) == (len(wh) > 0 and wh[0] == 0)


def test_a_missing_day_is_stood_in_for_by_the_one_before() -> None:
    series = _series(60)
    holed = series.wh.copy()
    holed[-24:] = np.nan
    for each in LOAD:
        whole = each.predict(series, [series.end], 24).astype(np.float64)
        after = each.predict(Values(FIRST, HOUR, holed), [series.end], 24)
        assert np.abs(after - whole).mean() < 150, each.name


def test_panels_never_give_more_than_their_peak() -> None:
    series = History(FIRST, HOUR, _series(60).wh * 5).cleaned()
    assert baselines(StandardSun(1000))[0].predict(series, [series.end], 24).max() == 1000


@pytest.mark.parametrize("count", [0, -1, 24 * 7 + 1])
def test_a_horizon_of_nothing_or_of_more_than_a_week_is_refused(count: int) -> None:
    with pytest.raises(RefusedError, match="bad-horizon"):
        LOAD[0].predict(_series(30), [FIRST], count)


def test_no_firsts_no_forecasts() -> None:
    assert LOAD[0].predict(_series(30), [], 24).shape == (0, 24, 10)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 24 * 60), st.integers(1, 72), st.sampled_from(LOAD), st.floats(0, 1e6) | st.just(float("nan")))
def test_nothing_from_the_first_slot_on_is_looked_at(place: int, count: int, each: object, wh: float) -> None:
    assert isinstance(each, type(LOAD[0]))
    series = _series(60)
    changed = series.wh.copy()
    changed[place:] = wh
    firsts = [FIRST + place, FIRST + max(0, place - 30)]

    said = each.predict(series, firsts, count)

    np.testing.assert_array_equal(said, each.predict(Values(FIRST, HOUR, changed), firsts, count))
    np.testing.assert_array_equal(said, each.predict(Values(FIRST, HOUR, series.wh[:place]), firsts, count))


def test_quantiles_of_few_samples() -> None:
    said, counts = quantiles_of(np.array([[3.0, np.nan, 1.0, 2.0], [np.nan] * 4, [5.0, np.nan, np.nan, np.nan]]))
    assert counts.tolist() == [3, 0, 1]
    assert said[0, 0] == 1 and said[0, 9] == 3 and abs(said[0, 4:6].mean() - 2) < 1e-9
    assert np.isnan(said[1]).all()
    assert (said[2] == 5).all()


@given(st.lists(st.integers(0, 5000), min_size=20, max_size=20), st.integers(1, 3))
def test_the_expected_net_is_the_expected_load_less_the_expected_sun(figures: list[int], rows: int) -> None:
    load = np.tile(np.sort(np.array(figures[:10])), (rows, 2, 1))
    sun = np.tile(np.sort(np.array(figures[10:])), (rows, 2, 1))

    net = net_quantiles(load, sun)

    assert net.shape == (rows, 2, 10) and net.dtype == np.int64
    assert np.abs(net.mean(axis=2) - (load.mean(axis=2) - sun.mean(axis=2))).max() <= 0.5
    assert (np.diff(net, axis=2) >= 0).all()
    assert net.min() >= load.min() - sun.max() and net.max() <= load.max() - sun.min()


def test_quantiles_of_two_shapes_have_no_net() -> None:
    with pytest.raises(RefusedError, match="bad-quantiles"):
        net_quantiles(np.zeros((24, 10), dtype=np.int64), np.zeros((23, 10), dtype=np.int64))


def test_weather_is_that_of_the_slot_before_and_straight_between_leads() -> None:
    values = np.arange(10 * 3, dtype=np.float64).reshape(10, 3, 1)
    weather = Weather(FIRST, (0, 6, 24), values)

    ahead = weather.ahead(np.array([FIRST + 1, FIRST, FIRST + 11]), 30)

    assert ahead.shape == (3, 30, 1)
    np.testing.assert_allclose(ahead[0, [0, 5, 23, 29], 0], [1 / 6, 1, 2, 2])
    assert np.isnan(ahead[1:]).all(), "published before or after all that there is"


def test_the_standard_day_is_like_published_ones() -> None:
    """The shares of the table are what the module says they are."""
    assert sum(LOAD_TENTHS) == 240
    place = find_installed("demandlib", "bdew/bdew_data", ConfigError("no-profiles", "demandlib is not installed"))
    lines = [line.split(",") for line in (place / "selp_series.csv").read_text().splitlines()]
    column = lines[0].index("h0")
    hours = np.zeros(24)
    for line in lines[1:]:
        hours[int(line[0][11:13])] += float(line[column])
    assert np.corrcoef(hours, LOAD_TENTHS)[0, 1] > 0.95
    assert LEVELS.mean() == pytest.approx(0.5)
