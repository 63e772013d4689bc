"""What a broker expects of a vehicle, from what it has seen of it and nothing else."""

import datetime
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.site import Vehicle
from broker.vehicles.fleet import MAKES
from broker.vehicles.history import CODES, KEPT_DAYS, DrivingHistory, day_of, tabulate, weekday_of
from broker.vehicles.mobility import Mobility, Trips, slots
from broker.vehicles.outlook import newsvendor, outlook, ready_quantile
from broker.vehicles.statistics import installed_statistics
from broker.vehicles.ways import pooled_weight, weighted_quantile
from broker.view import Prices, VehicleOutlook

MONDAY = datetime.date(2024, 1, 1)
FIRST = (MONDAY - datetime.date(1970, 1, 1)).days * 24
"""The slot of an hour that begins at Monday's midnight."""
CAR = MAKES["bev-250"]
HYBRID = MAKES["phev-50"]
SHORTAGE = 1_000_000
HOME_DAY: tuple[str, ...] = ("home",) * 24
WORK_DAY: tuple[str, ...] = (*("home",) * 7, *("",) * 10, *("home",) * 7)
"""Away from 7:00 to 17:00."""


def seen_days(*days: tuple[tuple[str, ...], int]) -> DrivingHistory:
    """``days`` from a Monday's midnight on, each its places and the km of its last hour away."""
    seen = DrivingHistory(3600)
    for number, (places, km) in enumerate(days):
        last = max((hour for hour, place in enumerate(places) if not place), default=-1)
        for hour, place in enumerate(places):
            seen.append(FIRST + number * 24 + hour, place, km if hour == last else 0)
    return seen


def look(seen: DrivingHistory, slot: int, count: int = 24, vehicle: Vehicle = CAR) -> VehicleOutlook:
    return outlook(vehicle, seen, 20_000, slot, count, "H", "W", SHORTAGE, 3600)


def weeks(count: int, km: int = 60) -> list[tuple[tuple[str, ...], int]]:
    week: list[tuple[tuple[str, ...], int]] = [(WORK_DAY, km)] * 5 + [(HOME_DAY, 0)] * 2
    return week * count


def require_sound(vehicle_outlook: VehicleOutlook, count: int, capacity_wh: int) -> None:
    assert len(vehicle_outlook.buses) == len(vehicle_outlook.least_wh) == len(vehicle_outlook.used_wh) == count
    assert set(vehicle_outlook.buses) <= {"H", "W", ""}
    assert all(0 <= least <= capacity_wh for least in vehicle_outlook.least_wh)
    assert all(used >= 0 for used in vehicle_outlook.used_wh)


def test_with_no_history_it_is_at_home_at_night_and_something_is_kept_ready_by_day() -> None:
    seen = DrivingHistory(3600)
    expected = look(seen, FIRST)
    require_sound(expected, 24, CAR.capacity_wh)
    assert expected.buses[:6] == ("H",) * 6 and expected.buses[23] == "H"
    assert expected.least_wh[8] > CAR.reserve_wh
    assert 1_000 < sum(expected.used_wh) < 10_000


def test_one_day_seen_counts_beside_what_is_typical() -> None:
    """Its first whole day from 3:00 on, to a vehicle that is new."""
    seen = seen_days((WORK_DAY, 100), (HOME_DAY[:3], 0))
    none, one = look(DrivingHistory(3600), FIRST + 27), look(seen, FIRST + 27)
    require_sound(one, 24, CAR.capacity_wh)
    assert sum(one.used_wh) > sum(none.used_wh) + 1_000
    assert one.buses[0] == "H"


def test_habits_are_learnt_by_weekday() -> None:
    """Eight weeks of work from 7:00 to 17:00, 60 km, and weekends at home."""
    seen = seen_days(*weeks(8))
    monday = FIRST + 56 * 24
    expected = look(seen, monday, 48)
    assert expected.buses == tuple("H" if place else "" for place in WORK_DAY * 2)
    assert expected.least_wh[31] == pytest.approx(60 * 160 + CAR.reserve_wh, abs=100)
    assert expected.least_wh[7] == pytest.approx(60 * 160 + CAR.reserve_wh, abs=100)
    assert abs(sum(expected.used_wh[:24]) - 9_600) < 1_000
    for each in weeks(1)[:5]:
        seen = _and(seen, each)
    saturday = look(seen, monday + 5 * 24)
    assert saturday.buses == ("H",) * 24
    assert sum(saturday.used_wh) < 1_500


def _and(seen: DrivingHistory, day: tuple[tuple[str, ...], int]) -> DrivingHistory:
    assert seen.next_slot is not None
    for hour, place in enumerate(day[0]):
        seen.append(seen.next_slot, place, day[1] if hour == 16 and not place else 0)
    return seen


def test_a_weekday_that_differs_from_the_others_is_told_apart() -> None:
    """On Fridays it drives 160 km, on all other days 20."""
    seen = seen_days(*([(WORK_DAY, 20)] * 4 + [(WORK_DAY, 160)] + [(HOME_DAY, 0)] * 2) * 10)
    monday = FIRST + 70 * 24
    assert look(seen, monday).least_wh[7] < 60 * 160
    for _ in range(4):
        _and(seen, (WORK_DAY, 20))
    assert look(seen, monday + 96).least_wh[7] == pytest.approx(160 * 160 + CAR.reserve_wh, abs=100)


def test_a_vehicle_that_left_early_is_gone() -> None:
    seen = seen_days(*weeks(8))
    for hour in range(5):
        seen.append(FIRST + 56 * 24 + hour, "home", 0)
    before = look(seen, FIRST + 56 * 24 + 5)
    assert before.buses[:2] == ("H", "H")
    seen.stands("")
    after = look(seen, FIRST + 56 * 24 + 5)
    assert after.buses[0] == "", "it cannot be sold from where it is not"
    seen.append(FIRST + 56 * 24 + 5, "", 3)
    assert look(seen, FIRST + 56 * 24 + 6).buses[:3] == ("", "", "")


def test_a_vehicle_that_did_not_leave_is_taken_to_stay() -> None:
    seen = seen_days(*weeks(8))
    for hour in range(11):
        seen.append(FIRST + 56 * 24 + hour, "home", 0)
    expected = look(seen, FIRST + 56 * 24 + 11)
    assert expected.buses[:6] == ("H",) * 6
    assert expected.least_wh[0] <= 60 * 160 + CAR.reserve_wh


def test_a_vehicle_that_does_not_come_home_is_not_waited_for() -> None:
    seen = seen_days(*weeks(8))
    for hour in range(7):
        seen.append(FIRST + 56 * 24 + hour, "home", 0)
    for hour in range(7, 24):
        seen.append(FIRST + 56 * 24 + hour, "", 10)
        expected = look(seen, FIRST + 56 * 24 + hour + 1)
        require_sound(expected, 24, CAR.capacity_wh)
        assert expected.buses[0] == ""
    assert expected.buses[1:3] == ("", ""), "it is always back by now: nobody knows when it comes"


def test_a_plug_at_work_counts_only_where_there_is_one() -> None:
    at_work = (*("home",) * 7, "", *("work",) * 8, "", *("home",) * 7)
    seen = seen_days(*([(at_work, 40)] * 5 + [(HOME_DAY, 0)] * 2) * 4)
    monday = FIRST + 28 * 24
    assert look(seen, monday).buses[8:16] == ("W",) * 8
    without = outlook(CAR, seen, 0, monday, 24, "H", "", SHORTAGE, 3600)
    assert "W" not in without.buses and without.buses[10] == ""
    for hour in range(9):
        seen.append(monday + hour, at_work[hour], 0)
    assert look(seen, monday + 9).buses[:6] == ("W",) * 6
    assert outlook(CAR, seen, 0, monday + 9, 24, "H", "", SHORTAGE, 3600).buses[0] == ""


def test_a_hybrids_long_trips_ask_for_no_more_than_it_holds() -> None:
    seen = seen_days(*weeks(6, km=200))
    expected = look(seen, FIRST + 42 * 24, vehicle=HYBRID)
    assert max(expected.least_wh) == HYBRID.capacity_wh == 50 * 180
    assert sum(expected.used_wh) <= HYBRID.capacity_wh + 10


def prices(buy: int, cheap: int) -> Prices:
    return Prices(retail=(buy,) * 24, feed_in=(0,) * 24, buy=(buy,) * 24, sell=(cheap,) * 24)


def test_the_dearer_it_is_to_be_short_the_more_is_kept_ready() -> None:
    seen = DrivingHistory(3600)
    asked = [
        sum(outlook(CAR, seen, 0, FIRST, 24, "H", "", shortage, 3600, prices(220_000, 120_000)).least_wh)
        for shortage in (100_000, 220_000, 250_000, 400_000, 1_000_000, 5_000_000)
    ]
    assert asked == sorted(asked) and asked[0] == asked[1] == 0 < asked[2] < asked[-1]


@given(st.integers(0, 10**7), st.integers(-(10**6), 10**6), st.integers(0, 10**6))
def test_the_quantile_is_one(shortage: int, buy: int, spread: int) -> None:
    """Also where prices are negative."""
    level = ready_quantile(CAR, shortage, prices(buy, buy - spread))
    assert 0 <= level <= 1
    assert level <= ready_quantile(CAR, shortage + 1000, prices(buy, buy - spread))
    if shortage <= buy:
        assert level == 0
    assert newsvendor(3.0, 1.0) == 0.75


def test_what_can_give_back_where_that_is_dear_is_kept_less_ready() -> None:
    dear = Prices((600_000,) * 3, (0,) * 3, (200_000, 200_000, 600_000), (50_000,) * 3)
    assert ready_quantile(replace(CAR, discharge_w=1), SHORTAGE, dear) < ready_quantile(CAR, SHORTAGE, dear)


@settings(max_examples=40)
@given(
    st.integers(0, 1_500),
    st.integers(0, 2**32 - 1),
    st.sampled_from(("phev-25", "phev-80", "bev-250")),
    st.sampled_from(("", "home", "work")),
)
def test_nothing_of_the_future_is_used(until: int, chance: int, make: str, now: str) -> None:
    """Two histories that agree up to a slot and no further give the same outlook there, whatever comes then; and any
    history gives a sound one."""
    rng = np.random.default_rng(chance)
    places, km = rng.choice(["", "home", "work"], (2, 1_524)), rng.integers(0, 300, (2, 1_524))
    places[1, :until], km[1, :until] = places[0, :until], km[0, :until]
    answers = []
    for which in range(2):
        seen = DrivingHistory(3600)
        for slot in range(until):
            seen.append(FIRST + slot, str(places[which, slot]), int(km[which, slot]))
        seen.stands(now)
        answers.append(look(seen, FIRST + until, 30, MAKES[make]))
        for slot in range(until, 1_524):
            seen.append(FIRST + slot, str(places[which, slot]), int(km[which, slot]))
    assert answers[0] == answers[1]
    require_sound(answers[0], 30, MAKES[make].capacity_wh)
    assert answers[0].buses[0] in {"": ("",), "home": ("H", "W", ""), "work": ("H", "W", "")}[now]


def drawn(days: int, slot_seconds: int = 3600) -> Trips:
    trips = Mobility(installed_statistics()).draw(11, "fulltime", MONDAY, days)
    return slots(trips, CAR, slot_seconds, days * 86_400 // slot_seconds, frozenset(("home", "work")))


def test_where_it_will_be_is_known_better_than_by_saying_home_or_as_now() -> None:
    """Half a day ahead, every hour of five weeks after four of learning."""
    trips, seen = drawn(63), DrivingHistory(3600)
    right, at_home, as_now = 0, 0, 0
    for slot in range(63 * 24 - 12):
        now = trips.at_start(slot)
        seen.stands(now)
        if slot >= 28 * 24:
            expected = outlook(CAR, seen, 0, FIRST + slot, 12, "home", "work", SHORTAGE, 3600)
            actual = trips.places[slot : slot + 12]
            right += sum(map(str.__eq__, expected.buses, actual))
            at_home, as_now = at_home + actual.count("home"), as_now + actual.count(now)
        seen.append(FIRST + slot, trips.places[slot], trips.km[slot])
    assert right > at_home and right > as_now


@pytest.mark.parametrize("slot_seconds", [900, 1800])
def test_slots_shorter_than_an_hour_will_do(slot_seconds: int) -> None:
    per_hour = 3600 // slot_seconds
    trips, seen = drawn(8, slot_seconds), DrivingHistory(slot_seconds)
    for slot in range(7 * 24 * per_hour):
        seen.stands(trips.at_start(slot))
        expected = outlook(CAR, seen, 0, FIRST * per_hour + slot, 24, "H", "W", SHORTAGE, slot_seconds)
        require_sound(expected, 24, CAR.capacity_wh)
        seen.append(FIRST * per_hour + slot, trips.places[slot], trips.km[slot])


def test_the_expected_use_is_right_in_the_mean() -> None:
    """Within a fifth of what was driven, over 13 weeks after five of learning."""
    trips, seen = drawn(18 * 7), DrivingHistory(3600)
    expected = 0
    for slot in range(18 * 7 * 24):
        if slot >= 35 * 24 and slot % 24 == 3:
            expected += sum(look(seen, FIRST + slot).used_wh)
        seen.append(FIRST + slot, trips.places[slot], trips.km[slot])
    assert 0.8 < expected / sum(trips.used_wh[35 * 24 + 3 :]) < 1.25


def test_the_history_forgets_what_is_old_and_passes_over_what_it_knows() -> None:
    seen = seen_days(*weeks(30))
    assert len(seen.days()) in (KEPT_DAYS - 1, KEPT_DAYS)
    assert seen.next_slot == FIRST + 210 * 24
    seen.append(FIRST, "", 500)
    assert seen.next_slot == FIRST + 210 * 24 and seen.place == "home"
    gap = seen_days((WORK_DAY, 10))
    gap.append(FIRST + 60, "", 7)
    assert gap.seen_slots == 61 and gap.away_slots() == 1
    gap.append(FIRST + 10**6, "home", 0)
    assert gap.seen_slots <= (KEPT_DAYS + 1) * 24
    require_sound(look(gap, FIRST + 10**6 + 1), 24, CAR.capacity_wh)


def test_a_day_with_a_long_gap_is_no_day_that_was_seen() -> None:
    seen = seen_days(*weeks(4))
    known = len(seen.days())
    short, long = seen_days(*weeks(4)), seen_days(*weeks(4))
    for history, first in ((seen, 0), (short, 3), (long, 4)):
        for hour in range(first, 28):
            history.append(FIRST + 28 * 24 + hour, WORK_DAY[hour % 24], 0)
    assert len(seen.days()) == known + 2 == len(short.days())
    assert len(long.days()) == known, "the night before and the day that it begins"


def test_a_place_that_nobody_knows_is_away_and_slots_that_do_not_divide_an_hour_are_refused() -> None:
    seen = DrivingHistory(3600)
    seen.stands("the moon")
    assert seen.place == ""
    for seconds in (0, 7200, 3599, -900):
        with pytest.raises(ValueError, match="a slot is"):
            DrivingHistory(seconds)


def test_days_run_from_three_to_three() -> None:
    assert weekday_of(day_of(FIRST + 3, 3600)[0]) == 0 and day_of(FIRST + 3, 3600)[1] == 0
    assert weekday_of(day_of(FIRST + 2, 3600)[0]) == 6 and day_of(FIRST + 2, 3600)[1] == 23


@given(st.lists(st.tuples(st.sampled_from((0, 1, 2)), st.integers(0, 90)), min_size=24, max_size=96))
def test_tables_agree_with_a_walk_through_the_slots(seen: list[tuple[int, int]]) -> None:
    seen = seen[: len(seen) // 24 * 24]
    places, km = (np.array(each, np.int64) for each in zip(*seen, strict=True))
    days = tabulate(places, km, 24, 0)
    since = away = 0
    for slot, (place, driven) in enumerate(seen):
        at = divmod(slot, 24)
        assert days.away[at] == (away if place == CODES[""] else 0)
        since, away = (0, 0) if place else (since + driven, away + 1)
        assert days.since[at] == since
        later = [other for other, _ in seen[slot:]]
        ends = next((index for index, other in enumerate(later) if other), len(later))
        starts = not place and (slot == 0 or seen[slot - 1][0] != CODES[""])
        assert days.start_km[at] == (sum(each for _, each in seen[slot : slot + ends]) if starts else 0)
        assert days.been_out[at] == any(other == CODES[""] for other, _ in seen[at[0] * 24 : slot])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=30), st.floats(0.01, 1))
def test_a_weighted_quantile_is_that_of_repeated_values(rows: list[tuple[int, int]], level: float) -> None:
    values, weights = (np.array(each) for each in zip(*rows, strict=True))
    repeated = np.sort(np.repeat(values, weights))
    reached = np.arange(1, len(repeated) + 1) / len(repeated)
    expected = repeated[np.argmax(reached >= level - 1e-9)]
    assert weighted_quantile(values[:, None], weights.astype(np.float64), level - 1e-9)[0] == expected


def test_weekdays_that_do_not_differ_count_alike() -> None:
    rng = np.random.default_rng(1)
    weekdays = np.arange(100) % 5
    same = rng.normal(10_000, 4_000, 100)
    assert pooled_weight(same, weekdays, 0) > 0.3
    assert pooled_weight(same + 20_000 * (weekdays == 4), weekdays, 4) < 0.05
    assert pooled_weight(same[:3], weekdays[:3], 0) == 1.0 == pooled_weight(same[:0], weekdays[:0], 0)


def test_the_same_history_gives_the_same_outlook_and_a_longer_one_begins_alike() -> None:
    one, two = seen_days(*weeks(2)), seen_days(*weeks(2))
    slot = FIRST + 14 * 24
    assert look(one, slot, 40) == look(two, slot, 40)
    for shorter, longer in pairwise(look(one, slot, count) for count in (1, 12, 24, 40)):
        assert longer.buses[: len(shorter.buses)] == shorter.buses
        assert longer.least_wh[: len(shorter.buses)] == shorter.least_wh
        assert longer.used_wh[: len(shorter.buses)] == shorter.used_wh
    assert look(one, slot, vehicle=replace(CAR, device="other")) == look(one, slot)
