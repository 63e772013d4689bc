"""Kilometres to energy, exact at the edges: the range, the reserve, the empty and the full battery."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.site import Vehicle
from broker.vehicles.energy import battery_table, battery_wh, drive, ready_table, ready_wh, trip_wh

PHEV = Vehicle("hybrid", "phev", 9_000, 3_700, 0, 900, 180, 0)
BEV = Vehicle("car", "bev", 40_000, 7_400, 7_400, 900, 160, 4_000)


@st.composite
def vehicles(draw: st.DrawFn) -> Vehicle:
    kind = draw(st.sampled_from(("bev", "phev")))
    capacity = draw(st.integers(1, 120_000))
    return Vehicle(
        "any",
        "bev" if kind == "bev" else "phev",
        capacity,
        draw(st.integers(1, 22_000)),
        0,
        draw(st.integers(1, 1000)),
        draw(st.integers(1, 400)),
        draw(st.integers(0, capacity)) if kind == "bev" else 0,
    )


@pytest.mark.parametrize(("km", "wh"), [(0, 0), (1, 180), (49, 8_820), (50, 9_000), (51, 9_000), (1_000, 9_000)])
def test_a_hybrid_needs_no_more_than_its_range(km: int, wh: int) -> None:
    assert PHEV.electric_range_km == 50
    assert trip_wh(PHEV, km) == wh == battery_wh(PHEV, km) == ready_wh(PHEV, km)


def test_a_range_that_is_no_whole_number_of_kilometres_is_rounded_down() -> None:
    odd = replace(PHEV, capacity_wh=9_179)
    assert trip_wh(odd, 51) == 9_000
    assert trip_wh(replace(PHEV, capacity_wh=9_180), 51) == 9_180


@pytest.mark.parametrize(
    ("km", "trip", "ready"),
    [(0, 0, 0), (1, 160, 4_160), (225, 36_000, 40_000), (226, 36_160, 40_000), (250, 40_000, 40_000)],
)
def test_a_battery_car_keeps_its_reserve_as_far_as_there_is_room(km: int, trip: int, ready: int) -> None:
    assert (trip_wh(BEV, km), ready_wh(BEV, km)) == (trip, ready)


def test_a_battery_car_drives_on_beyond_its_range_but_not_on_what_its_battery_held() -> None:
    assert trip_wh(BEV, 400) == 64_000
    assert battery_wh(BEV, 400) == 40_000


@given(vehicles(), st.integers(0, 2_000), st.integers(0, 2_000))
def test_more_kilometres_never_need_less_nor_more_than_the_battery_holds(vehicle: Vehicle, km: int, more: int) -> None:
    assert trip_wh(vehicle, km) <= trip_wh(vehicle, km + more)
    assert ready_wh(vehicle, km) <= ready_wh(vehicle, km + more) <= vehicle.capacity_wh
    assert battery_wh(vehicle, km) <= ready_wh(vehicle, km) or km == 0
    if vehicle.kind == "phev":
        assert trip_wh(vehicle, km) == min(km, vehicle.electric_range_km) * vehicle.wh_per_km


@given(vehicles(), st.lists(st.integers(0, 2_000), max_size=20))
def test_tables_say_the_same(vehicle: Vehicle, km: list[int]) -> None:
    table = np.array(km, np.int64)
    assert battery_table(vehicle, table).tolist() == [battery_wh(vehicle, each) for each in km]
    assert ready_table(vehicle, table).tolist() == [ready_wh(vehicle, each) for each in km]


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_is_driven_comes_out_of_the_battery_or_is_short(level: int, used: int) -> None:
    after, short = drive(level, used)
    assert after >= 0 and short >= 0
    assert level - after + short == used
    assert after == 0 or short == 0
