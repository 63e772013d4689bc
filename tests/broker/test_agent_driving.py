"""Where a vehicle is expected: by what was said, by what was seen, and by the routine until then."""

from broker.driving import ENOUGH_DAYS, Driving
from broker.site import Vehicle
from broker.site_file import VehicleTable
from broker.state_file import DeviceState

SLOT_S = 1800
DAY = 48
MIDNIGHT = 832_032 // DAY * DAY
CAR = Vehicle("h/ev", "bev", 40_000, 7000, 0, 900, 160, 0)
TABLE = VehicleTable(40_000, km_a_day=50)
NOW = MIDNIGHT * SLOT_S


def driving() -> Driving:
    return Driving(CAR, TABLE, "bus-1", SLOT_S)


def said(
    time: int = NOW, plugged: bool | None = True, leaves: int | None = None, need: int | None = None
) -> DeviceState:
    return DeviceState(time, None, plugged, leaves, need)


def test_the_routine_until_anything_is_known() -> None:
    seen = driving().outlook(NOW, MIDNIGHT, DAY, 9000, None, 1_500_000)
    away = [index for index, bus in enumerate(seen.buses) if not bus]
    assert away == list(range(15, 35)), "from 7:30 to 17:30"
    assert seen.least_wh[15] == seen.used_wh[15] == 8000 and sum(seen.least_wh) == 8000
    assert (seen.level_wh, seen.shortage_price) == (9000, 3_000_000)


def test_what_was_said_counts_more() -> None:
    leaves = NOW + 20 * SLOT_S
    seen = driving().outlook(NOW, MIDNIGHT, DAY, 9000, said(leaves=leaves, need=20_000), 1_500_000)
    assert seen.buses[:20] == ("bus-1",) * 20 and seen.buses[20] == ""
    assert seen.least_wh[20] == 20_000 and seen.least_wh[15] == 0, "not the routine's trip"
    gone = driving().outlook(NOW, MIDNIGHT, DAY, 9000, said(plugged=False, leaves=leaves), 1_500_000)
    assert set(gone.buses[:20]) == {""}, "it left early"
    back = driving().outlook(NOW + 20 * SLOT_S, MIDNIGHT + 20, DAY, 9000, said(), 1_500_000)
    assert back.buses[0] == "bus-1", "it is there, though it never is at ten"
    past = driving().outlook(NOW, MIDNIGHT, DAY, 9000, said(leaves=NOW - 60), 1_500_000)
    assert past.least_wh[15] == 8000, "a departure that has passed tells nothing of the next"


def test_what_was_seen_counts_after_a_week() -> None:
    car = driving()
    for slot in range(MIDNIGHT - (ENOUGH_DAYS + 14) * DAY, MIDNIGHT):
        is_away = 20 <= slot % DAY < 30
        car.saw(slot, "" if is_away else "home", 90 if slot % DAY == 29 else 0)
    seen = car.outlook(NOW, MIDNIGHT, DAY, 9000, said(), 1_500_000)
    assert seen.buses[16] == "bus-1" and seen.buses[25] == "", "away from 10 to 15, not by the routine"
    assert max(seen.least_wh) >= 85 * 160
