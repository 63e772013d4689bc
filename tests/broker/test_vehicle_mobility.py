"""Trips as the published statistics have them: well-formed, spread as they are there, and the same for a seed."""

import datetime
import itertools
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from broker.vehicles.fleet import MAKES, fleet
from broker.vehicles.mobility import LONGEST_COMMUTE_KM, Mobility, Trip, slots
from broker.vehicles.prior import WEEKDAYS, WEEKEND_DAYS
from broker.vehicles.statistics import DRIVERS, HOME, Driver, find_statistics, installed_statistics, read_statistics
from node.errors import ConfigError

MONDAY = datetime.date(2024, 1, 1)
BOTH = frozenset(("home", "work"))


@pytest.fixture(scope="module")
def mobility() -> Mobility:
    return Mobility(installed_statistics())


@pytest.fixture(scope="module")
def free_years(mobility: Mobility) -> list[list[Trip]]:
    """Twelve years of drivers in their free time: about 8,000 trips."""
    return [mobility.draw(seed, "freetime", MONDAY, 364) for seed in range(12)]


@pytest.mark.parametrize("driver", DRIVERS)
def test_trips_are_one_after_the_other_and_end_at_home(mobility: Mobility, driver: Driver) -> None:
    trips = mobility.draw(3, driver, MONDAY, 200)
    assert len(trips) > 200
    for trip, following in itertools.pairwise(trips):
        assert trip.departure < trip.arrival < following.departure
        assert trip.place != following.place or trip.place == "elsewhere"
    assert all(trip.km >= 1 for trip in trips)
    by_day: dict[int, list[Trip]] = {}
    for trip in trips:
        by_day.setdefault((trip.departure - 180) // 1440, []).append(trip)
    for day, its in by_day.items():
        assert its[-1].place == "home" and its[-1].arrival <= (day + 1) * 1440 + 180
        if driver != "freetime" and day % 7 < 5:
            assert "work" in {trip.place for trip in its}, "a worker who drives on a weekday drives to work"
        if driver == "freetime":
            assert "work" not in {trip.place for trip in its}


def test_a_worker_has_one_way_to_work(mobility: Mobility) -> None:
    trips = [Trip(0, 0, "home", 1), *mobility.draw(5, "fulltime", MONDAY, 364)]
    legs = {trip.km for before, trip in itertools.pairwise(trips) if {before.place, trip.place} == {"home", "work"}}
    assert len(legs) == 1 and legs.pop() <= LONGEST_COMMUTE_KM


@pytest.mark.parametrize("slot_seconds", [900, 1800, 3600])
@pytest.mark.parametrize("plugs", [frozenset(("home",)), BOTH])
def test_slots_lose_no_kilometre_and_are_plugged_nowhere_on_the_way(
    mobility: Mobility, slot_seconds: int, plugs: frozenset[str]
) -> None:
    trips = mobility.draw(7, "parttime", MONDAY, 100)
    for vehicle in MAKES.values():
        series = slots(trips, vehicle, slot_seconds, 101 * 86_400 // slot_seconds, plugs)
        assert sum(series.km) == sum(trip.km for trip in trips)
        assert min(series.km) >= 0 and min(series.used_wh) >= 0
        assert set(series.places) <= plugs | {""}
        length = slot_seconds / 60
        for trip in trips:
            on_the_way = range(int(trip.departure // length), int(-(-trip.arrival // length)))
            assert all(series.places[slot] == "" for slot in on_the_way)
        away = 0
        for place, used in zip(series.places, series.used_wh, strict=True):
            away = 0 if place else away + used
            assert away <= vehicle.capacity_wh, "between two plugs no more than a battery holds"
            assert not (place and used)


def test_a_hybrid_takes_what_its_range_takes_of_each_outing(mobility: Mobility) -> None:
    trips = [Trip(480, 510, "elsewhere", 30), Trip(600, 630, "home", 30), Trip(1200, 1215, "elsewhere", 9)]
    series = slots(trips, MAKES["phev-50"], 3600, 24, frozenset(("home",)))
    assert sum(series.used_wh[:12]) == 50 * 180 and sum(series.used_wh[12:]) == 9 * 180
    assert series.places[:7] == ("home",) * 7 and series.places[8:11] == ("",) * 3
    assert series.at_start(0) == "home" and series.at_start(9) == "" and series.at_start(11) == "home"


def test_the_same_seed_gives_the_same_year_whoever_asked_before(mobility: Mobility) -> None:
    fresh = Mobility(installed_statistics())
    fresh.draw(99, "fulltime", MONDAY, 30)
    assert fresh.draw(4, "parttime", MONDAY, 60) == mobility.draw(4, "parttime", MONDAY, 60)
    assert fresh.draw(4, "parttime", MONDAY, 60) != fresh.draw(5, "parttime", MONDAY, 60)


def test_as_many_trips_a_day_as_published(free_years: list[list[Trip]]) -> None:
    """Within 0.03 of each published chance, on 3,120 weekdays and 1,248 days of weekends."""
    counts: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
    for trips in free_years:
        days = Counter((trip.departure - 180) // 1440 for trip in trips)
        for day in range(364):
            counts[day % 7 >= 5][days[day]] += 1
    for counted, published in zip(counts, installed_statistics().trips, strict=True):
        drawn = np.array([counted[number] for number in range(6)]) / sum(counted.values())
        assert np.abs(drawn - published).max() < 0.03


def test_distances_are_spread_as_published(free_years: list[list[Trip]]) -> None:
    """The chance of each class of distance within 0.03, on 8,000 trips; the rest is the rules' doing: what must fit
    into a day is a little shorter."""
    classes = installed_statistics().classes
    km = np.array([trip.km for trips in free_years for trip in trips])
    for above, up_to in sorted({(row[0], row[1]) for row in classes}):
        published = classes[(classes[:, 0] == above) & (classes[:, 1] == up_to), 4].sum()
        assert abs(((km > above) & (km <= up_to)).mean() - published) < 0.03, (above, up_to)


def test_departures_are_spread_over_the_day_as_published(free_years: list[list[Trip]]) -> None:
    """Of weekdays' trips in eight parts of the day, within 0.06: the rules move some (nobody comes home twice in a
    row), and the table knows none."""
    table = installed_statistics().departures["freetime", 0]
    published = table.sum(axis=1).reshape(8, 6).sum(axis=1)
    minutes = np.array(
        [t.departure - 180 for trips in free_years for t in trips if (t.departure - 180) // 1440 % 7 < 5]
    )
    drawn = np.bincount(minutes % 1440 // 180, minlength=8) / len(minutes)
    assert np.abs(drawn - published).max() < 0.06
    assert table[:, HOME].sum() > 0.3


def test_the_prior_is_of_the_same_making() -> None:
    """Its mean day is about as long as the statistics' mean day."""
    for days, weekend in ((WEEKDAYS, 0), (WEEKEND_DAYS, 1)):
        km = [sum(int(trip.rpartition(" ")[2]) for trip in day.split(", ") if trip) for day in days]
        table = installed_statistics()
        middle = float(((table.classes[:, 0] + table.classes[:, 1]) / 2 * table.classes[:, 4]).sum())
        expected = middle * float(table.trips[weekend] @ np.arange(6))
        assert 0.7 * expected < np.mean(km) < 1.4 * expected


def test_a_fleet_is_dealt_by_its_seed() -> None:
    devices = [f"car-{number}" for number in range(12)]
    dealt = fleet(1, devices, MONDAY, 14, 3600)
    assert dealt == fleet(1, devices, MONDAY, 14, 3600) != fleet(2, devices, MONDAY, 14, 3600)
    assert [each.vehicle.device for each in dealt] == devices
    assert Counter(each.vehicle.kind for each in dealt) == {"bev": 6, "phev": 6}
    assert sum(each.vehicle.discharge_w > 0 for each in dealt) == 4
    assert all(len(each.trips.places) == 14 * 24 for each in dealt)
    assert {"freetime", "fulltime"} <= {each.driver for each in dealt}
    for each in dealt:
        assert each.charges_at_work or "work" not in each.trips.places
    assert not any(each.charges_at_work for each in fleet(1, devices, MONDAY, 14, 3600, plugs_at_work=False))


@pytest.mark.parametrize(
    ("file", "text", "code"),
    [
        ("TripsPerDay.csv", None, "no-mobility"),
        ("TripsPerDay.csv", "trip,weekday,weekend\n0,1,1\n", "bad-mobility"),
        ("TripsPerDay.csv", "trip,weekday,weekend\n0,-1,1\n1,0,0\n2,0,0\n3,0,0\n4,0,0\n5,2,0\n", "bad-mobility"),
        ("DepartureDestinationTrip_Free.csv", "days,time,moon\n", "bad-mobility"),
        ("DepartureDestinationTrip_Worker.csv", "", "bad-mobility"),
        ("DistanceDurationTrip.csv", "km,10,5\n1,1,1\n", "bad-mobility"),
        ("rules.yml", "__import__('os')", "bad-mobility"),
        ("rules.yml", "{'fulltime': 1}", "bad-mobility"),
    ],
)
def test_tables_that_are_not_as_expected_are_refused(tmp_path: Path, file: str, text: str | None, code: str) -> None:
    directory = tmp_path / "tables"
    shutil.copytree(find_statistics(), directory)
    read_statistics(directory)
    if text is None:
        (directory / file).unlink()
    else:
        (directory / file).write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_statistics(directory)
    assert refused.value.code == code
