"""A history holds what was read, and is cleaned of what cannot be without looking ahead."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.forecast.history import KEPT_DAYS, History
from node.errors import RefusedError

HOUR = 3600
FIRST = 410_000


def _days(count: int, level: float = 500.0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return level * (1 + 0.5 * np.sin(np.arange(24 * count) * 2 * np.pi / 24))


def test_slots_passed_over_are_gaps_and_a_second_reading_takes_the_place_of_the_first() -> None:
    history = History(FIRST, HOUR)
    for slot, wh in (
        (FIRST, 10),
        (FIRST + 1, 20),
        (FIRST + 4, 50),
        (FIRST + 1, 21),
        (FIRST + 4, 50),
        (FIRST + 3, None),
    ):
        history.append(slot, wh)

    assert [history.value(FIRST + k) for k in range(-1, 6)] == [None, 10, 21, None, None, 50, None]
    assert history.end == FIRST + 5


def test_the_first_reading_says_where_an_empty_history_begins() -> None:
    history = History(FIRST, HOUR)
    history.append(FIRST - 100, 7)
    history.append(FIRST - 101, 8)

    assert history.value(FIRST - 100) == 7
    assert history.value(FIRST - 101) is None, "older than all that is held: let go"
    assert history.end == FIRST - 99


def test_a_clock_that_leaps_ahead_by_years_leaves_a_bounded_history() -> None:
    history = History(FIRST, HOUR, [1.0, 2.0])
    history.append(FIRST + 10**9, 3)

    assert history.value(FIRST + 10**9) == 3
    assert history.value(FIRST) is None
    assert len(history.cleaned().wh) == 1


def test_no_more_is_held_than_is_bounded_and_the_latest_is_always_there() -> None:
    history = History(FIRST, HOUR)
    slots = 24 * KEPT_DAYS * 5 // 2
    for slot in range(FIRST, FIRST + slots):
        history.append(slot, slot % 1000)

    kept = history.cleaned()
    assert 24 * KEPT_DAYS <= len(kept.wh) <= 2 * 24 * KEPT_DAYS
    assert kept.end == history.end == FIRST + slots
    assert all(history.value(slot) == slot % 1000 for slot in range(kept.first_slot, kept.end))


@pytest.mark.parametrize("slot_seconds", [0, -3600, 7000, 86_400])
def test_slots_that_do_not_divide_a_day_are_refused(slot_seconds: int) -> None:
    with pytest.raises(RefusedError, match="bad-slot-length"):
        History(FIRST, slot_seconds)


def test_negative_readings_spikes_and_what_the_device_cannot_do_are_gaps() -> None:
    """Gaps and spikes in history."""
    wh = _days(20)
    wh[100], wh[200], wh[300] = -5.0, 100 * wh[200], np.inf
    wh[301] = 1400.0

    cleaned = History(FIRST, HOUR, wh).cleaned(most_wh=1000).wh

    assert set(np.flatnonzero(np.isnan(cleaned))) == {100, 200, 300, 301}


def test_what_lasts_is_believed_after_a_few_readings() -> None:
    """A house that stood nearly empty for a month and is lived in again is no series of spikes."""
    wh = np.concatenate([np.full(24 * 30, 40.0), np.full(24 * 7, 2000.0)])
    missing = np.isnan(History(FIRST, HOUR, wh).cleaned().wh)

    assert missing.sum() <= 24
    assert not missing[-6 * 24 :].any()


def test_after_nothing_but_zeros_there_are_no_spikes() -> None:
    wh = np.concatenate([np.zeros(24 * 30), [3000.0]])
    assert History(FIRST, HOUR, wh).cleaned().wh[-1] == 3000.0


@given(st.integers(0, 24 * 40 - 1), st.floats(-1e6, 1e9) | st.just(float("nan")), st.integers(0, 2**32 - 1))
def test_cleaning_does_not_look_ahead(place: int, wh: float, seed: int) -> None:
    series = np.random.default_rng(seed).gamma(1.0, 300.0, 24 * 40)
    series[seed % len(series)] *= 100
    changed = series.copy()
    changed[place:] = wh

    before, after = (History(FIRST, HOUR, each).cleaned().wh[:place] for each in (series, changed))

    np.testing.assert_array_equal(before, after)
