"""What registers show of slots whose readings were lost."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode.apportion import apportion_within
from chaincode.contract import ContractError, Value
from tests.chaincode.marketplace import DEVICES, SLOT_S, key_of, marketplace, order
from tests.chaincode.meters import Wh, correct, day, energy, row, street, told
from tests.chaincode.world import World

LOAD, BATTERY, EV = "home-1/load", "home-1/battery", "home-3/ev"
WINDOW_S = 900
LONG = 40 * SLOT_S


def over(world: World, slot: int) -> None:
    """Go on until ``slot`` is over, every slot in a block of its own."""
    while world.time < (slot + 1) * SLOT_S:
        world.next_block((world.time // SLOT_S + 1) * SLOT_S)


def reads(world: World, device: str, slot: int, wh: Wh, registers: Wh) -> Value:
    """Report one slot; () if it is taken."""
    return day(world, device, slot, [wh], (registers[0] - wh[0], registers[1] - wh[1]))


def closed(world: World, slot: int) -> None:
    """Go on until its metering window has ended; the block after that has settled it."""
    over(world, slot)
    world.next_block((slot + 1) * SLOT_S + WINDOW_S)


def standing(world: World, device: str = LOAD) -> int:
    """How many estimates stand in the first period."""
    return cast("tuple[int, bool]", world.query("settlement", "estimates", device=device, period=0))[0]


def test_a_reading_after_a_gap_replaces_its_estimates_in_proportion() -> None:
    world = street(dispute_window_s=LONG)
    over(world, 0)
    assert day(world, LOAD, 0, [(100, 0)]) == ()
    closed(world, 3)
    assert standing(world) == 3 and energy(world, LOAD, 2) == (0, 0)
    over(world, 4)
    assert reads(world, LOAD, 4, (50, 0), (1_000, 0)) == ()
    world.next_block()
    # 850 Wh over three slots that were estimated at nothing: in equal parts.
    assert [energy(world, LOAD, slot) for slot in (1, 2, 3)] == [(284, 0), (283, 0), (283, 0)]
    assert standing(world) == 0
    found, reading = row(world, LOAD, 2), row(world, LOAD, 4)
    assert found is not None and reading is not None
    assert not found.estimated and not found.is_read and found.revision == 1 and found.usual == (0, 0)
    assert found.cause == reading.cause, "it rests on the reading that showed it"
    assert told(world, "spread") == [(1, 1, 284, 0), (2, 1, 283, 0), (3, 1, 283, 0)]
    history = cast("tuple[tuple[object, ...], ...]", world.query("settlement", "readings", device=LOAD, slot=2))
    assert [old[:2] for old in history] == [(283, 0), (0, 0)] and history[1][4] is True


def test_parts_are_in_proportion_to_what_is_usual_import_and_export_apart() -> None:
    # Six slots a day: yesterday's readings are what is usual today.
    slot_s = 14_400
    world = street(slot_seconds=slot_s, open_before_s=slot_s, metering_window_s=900, dispute_window_s=60 * slot_s)
    for slot, wh in enumerate([(100, 0), (300, 60), (0, 0), (600, 20), (0, 0), (0, 0)]):
        world.next_block((slot + 1) * slot_s)
        start = sum(w[0] for w in YESTERDAY[:slot]), sum(w[1] for w in YESTERDAY[:slot])
        assert day(world, BATTERY, slot, [wh], start) == ()
    assert day(world, BATTERY, 5, [(0, 0)], (1_000, 80)) == "duplicate"
    for slot in (6, 7, 8, 9, 10):
        world.next_block((slot + 1) * slot_s + 900)
    assert [energy(world, BATTERY, slot) for slot in (6, 7, 8, 9)] == [(100, 0), (300, 0), (0, 0), (600, 0)]
    world.next_block(12 * slot_s)
    # 2,001 Wh in and 11 Wh out since. Nothing was sold, so the estimated exports are 0: they have no say in it.
    assert day(world, BATTERY, 11, [(0, 0)], (1_000 + 2_001, 80 + 11)) == ()
    world.next_block()
    assert [energy(world, BATTERY, slot) for slot in (6, 7, 8, 9, 10)] == [
        (200, 0),
        (600, 8),
        (0, 0),
        (1_201, 3),
        (0, 0),
    ]


def test_contracts_have_no_say_in_how_a_gap_is_divided() -> None:
    """What was bought for one slot and used in another costs what it costs, also if nobody read the meter."""
    world = marketplace(outage_s=300 * 86_400, dispute_window_s=LONG)

    def report(slot: int, register: int) -> None:
        own = {"import_wh": 0, "export_wh": 0, "import_register": register, "export_register": 0}
        world.call(key_of(f"meter {LOAD}"), "settlement", "report", device=LOAD, slot=slot, **own)

    over(world, 0)
    report(0, 0)
    order(world, LOAD, "buy", slot=2, wh=1_000, price=90)
    order(world, "home-2/pv", "sell", slot=2, wh=1_000, price=30)
    for slot in (1, 2, 3):
        closed(world, slot)
    assert [energy(world, LOAD, slot) for slot in (1, 2, 3)] == [(0, 0), (1_000, 0), (0, 0)], "estimated as bought"
    over(world, 4)
    report(4, 900)
    for _ in range(2):
        world.next_block(world.time + WINDOW_S)
    assert [energy(world, LOAD, slot) for slot in (1, 2, 3)] == [(300, 0)] * 3, "without history in equal parts"


YESTERDAY = [(100, 0), (300, 60), (0, 0), (600, 20), (0, 0), (0, 0)]


def test_one_lost_reading_between_two_is_never_an_estimate() -> None:
    world = street(metering_window_s=2 * SLOT_S + 900)
    over(world, 0)
    assert day(world, LOAD, 0, [(100, 0)]) == ()
    over(world, 2)
    assert day(world, LOAD, 2, [(30, 0)], (470, 0)) == ()
    closed(world, 3)
    assert energy(world, LOAD, 1) == (370, 0) and standing(world) == 0
    assert told(world, "spread") == [(1, 0, 370, 0)]
    assert not [event for event in world.events if event.topic == "estimated" and LOAD in event.keys]


def test_slots_whose_window_is_open_wait_for_its_end() -> None:
    world = street(metering_window_s=4 * SLOT_S, dispute_window_s=LONG)
    over(world, 0)
    assert day(world, LOAD, 0, [(100, 0)]) == ()
    over(world, 3)
    assert day(world, LOAD, 3, [(10, 0)], (700, 0)) == ()
    world.next_block()
    assert row(world, LOAD, 1) is None and row(world, LOAD, 2) is None
    world.next_block(6 * SLOT_S)
    # The window of slot 1 is over, that of slot 2 is not: its reading may still come.
    assert energy(world, LOAD, 1) == (0, 0) and row(world, LOAD, 2) is None and standing(world) == 1
    world.next_block(7 * SLOT_S)
    world.next_block()
    assert energy(world, LOAD, 1) == (300, 0) and energy(world, LOAD, 2) == (300, 0) and standing(world) == 0


def test_what_is_final_stands_and_is_taken_off() -> None:
    world = street(dispute_window_s=3 * SLOT_S)
    over(world, 0)
    assert day(world, LOAD, 0, [(400, 0)]) == ()
    over(world, 46)
    assert reads(world, LOAD, 46, (0, 0), (400, 0)) == ()
    over(world, 47)
    assert reads(world, LOAD, 47, (0, 0), (400, 0)) == ()
    # Slots 48 (an estimate of 400, by yesterday) and 49 are FINAL when 53 is read.
    over(world, 53)
    assert reads(world, LOAD, 53, (0, 0), (1_010, 0)) == ()
    world.next_block()
    assert [energy(world, LOAD, slot)[0] for slot in range(48, 53)] == [400, 0, 70, 70, 70]


def test_more_than_the_connection_carries_is_told() -> None:
    world = street(dispute_window_s=LONG)
    over(world, 0)
    assert day(world, LOAD, 0, [(0, 0)]) == ()
    closed(world, 2)
    over(world, 3)
    assert reads(world, LOAD, 3, (0, 0), (12_345, 0)) == ()
    world.next_block()
    assert energy(world, LOAD, 1) == (5_000, 0) and energy(world, LOAD, 2) == (5_000, 0)
    assert told(world, "gap-rest") == [(1, 2, 2_345, 0)]


def test_a_gap_with_a_stay_elsewhere_raises_no_exports() -> None:
    world = street(dispute_window_s=LONG)
    over(world, 0)
    assert day(world, EV, 0, [(0, 0)]) == ()
    world.call(key_of(EV), "identity", "disconnect", device=EV, slot=2)
    world.call(key_of(EV), "identity", "connect", device=EV, bus="b1", slot=4)
    world.call(key_of(EV), "identity", "disconnect", device=EV, slot=2)
    closed(world, 3)
    world.call(key_of(EV), "identity", "connect", device=EV, bus="b1", slot=4)
    over(world, 4)
    assert reads(world, EV, 4, (0, 0), (3_000, 900)) == ()
    world.next_block()
    assert energy(world, EV, 1) == (3_000, 0)
    assert told(world, "gap-rest") == [(1, 1, 0, 900)]


def test_before_the_first_reading_nothing_is_known() -> None:
    world = street(dispute_window_s=LONG)
    closed(world, 1)
    over(world, 2)
    assert reads(world, LOAD, 2, (5, 0), (9_000, 0)) == ()
    world.next_block()
    assert energy(world, LOAD, 0) == (0, 0) and standing(world) == 2


def test_a_correction_at_the_end_of_a_gap_divides_it_anew() -> None:
    world = street(dispute_window_s=LONG)
    over(world, 0)
    assert day(world, LOAD, 0, [(100, 0)]) == ()
    closed(world, 2)
    over(world, 3)
    assert reads(world, LOAD, 3, (50, 0), (450, 0)) == ()
    world.next_block()
    assert [energy(world, LOAD, slot)[0] for slot in (1, 2)] == [150, 150]
    assert correct(world, LOAD, 3, [(50, 0)], (500, 0)) == 1
    world.next_block()
    assert [energy(world, LOAD, slot)[0] for slot in (1, 2)] == [200, 200]
    # And one in its middle: the rest is the other slot's.
    assert correct(world, LOAD, 1, [(390, 0)], (100, 0)) == 1
    world.next_block()
    assert [energy(world, LOAD, slot)[0] for slot in (1, 2, 3)] == [390, 10, 50]
    assert standing(world) == 0


def test_too_many_estimates_end_selling_until_they_are_resolved() -> None:
    world = street(dispute_window_s=LONG, max_estimates=2)
    over(world, 0)
    assert day(world, BATTERY, 0, [(0, 0)]) == ()
    closed(world, 2)
    assert world.query("settlement", "estimates", device=BATTERY, period=0) == (2, True)
    closed(world, 3)
    assert world.query("settlement", "estimates", device=BATTERY, period=0) == (3, False)
    assert world.query("settlement", "estimates", device=BATTERY, period=1) == (0, True)
    over(world, 4)
    assert reads(world, BATTERY, 4, (0, 0), (30, 0)) == ()
    world.next_block()
    assert world.query("settlement", "estimates", device=BATTERY, period=0) == (0, True)


@given(
    parts=st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 5_000)), min_size=1, max_size=12),
    limit=st.integers(1, 60_000),
    start=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
)
def test_a_gap_is_divided_without_loss(parts: list[Wh], limit: int, start: Wh) -> None:
    """What the registers ran is in the slots, or told: never below 0, never beyond what the connection carries."""
    limit_w = limit * 3_600 // SLOT_S
    devices = {**DEVICES, BATTERY: ("home-1", "battery", "b1", limit_w, limit_w)}
    world = street(devices, dispute_window_s=LONG)
    over(world, 0)
    assert day(world, BATTERY, 0, [(0, 0)], start) == ()
    end = len(parts) + 1
    closed(world, end - 1)
    over(world, end)
    flowed = sum(wh[0] for wh in parts), sum(wh[1] for wh in parts)
    assert day(world, BATTERY, end, [(0, 0)], (start[0] + flowed[0], start[1] + flowed[1])) == ()
    world.next_block()
    slots = [energy(world, BATTERY, slot) for slot in range(1, end)]
    rest = cast("list[tuple[int, ...]]", told(world, "gap-rest")) or [(1, end - 1, 0, 0)]
    carried = limit_w * SLOT_S // 3_600
    for side in (0, 1):
        assert all(0 <= wh[side] <= carried for wh in slots)
        assert sum(wh[side] for wh in slots) + rest[0][2 + side] == flowed[side]
        assert rest[0][2 + side] == max(0, flowed[side] - carried * len(parts))
    assert standing(world, BATTERY) == 0


weights_and_total = st.tuples(
    st.lists(st.one_of(st.just(0), st.integers(0, 10_000)), min_size=1, max_size=30), st.integers(0, 400_000)
)


@given(problem=weights_and_total, cap=st.integers(0, 20_000))
def test_parts_within_a_cap(problem: tuple[list[int], int], cap: int) -> None:
    weights, total = problem
    names = list(range(len(weights)))
    parts = apportion_within(total, weights, names, cap)
    assert all(0 <= part <= cap for part in parts)
    assert sum(parts) == min(total, cap * len(weights))
    # Whoever weighs more has no less; and below the cap two parts are as their weights, but for the last unit.
    order = sorted(names, key=lambda i: (-weights[i], i))
    assert [parts[i] for i in order] == sorted(parts, reverse=True)
    free = [i for i in names if parts[i] < cap and any(weights)]
    for one in free:
        for other in free:
            assert abs(parts[one] * weights[other] - parts[other] * weights[one]) <= weights[one] + weights[other]
    shuffled = apportion_within(total, weights[::-1], names[::-1], cap)
    assert shuffled[::-1] == parts


def test_a_cap_is_not_negative() -> None:
    with pytest.raises(ContractError, match="bad-amount"):
        apportion_within(1, [1], [1], -1)


def test_what_flowed_while_a_car_was_connected_nowhere_is_told() -> None:
    world = street(dispute_window_s=LONG)
    over(world, 0)
    assert day(world, EV, 0, [(5, 0)]) == ()
    world.call(key_of(EV), "identity", "disconnect", device=EV, slot=2)
    over(world, 1)
    assert reads(world, EV, 1, (5, 0), (10, 0)) == ()
    world.call(key_of(EV), "identity", "connect", device=EV, bus="b1", slot=3)
    over(world, 3)
    assert reads(world, EV, 3, (5, 0), (4_015, 0)) == ()
    world.next_block()
    assert told(world, "gap-rest") == [(2, 2, 4_000, 0)]


def test_readings_too_far_apart_are_no_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaincode.settlement_readings.MAX_GAP_SLOTS", 20)
    world = street(dispute_window_s=LONG)
    over(world, 0)
    assert day(world, LOAD, 0, [(5, 0)]) == ()
    closed(world, 22)
    assert row(world, LOAD, 20) is not None
    over(world, 23)
    assert reads(world, LOAD, 23, (5, 0), (100_000, 0)) == ()
    world.next_block()
    assert told(world, "spread") == []


@pytest.mark.parametrize("dispute_window_s", [LONG, 3 * SLOT_S])
def test_however_long_a_meter_was_silent_all_that_flowed_is_charged(
    dispute_window_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaincode.settlement_gaps.MAX_DIVIDED", 4)
    world = street(dispute_window_s=dispute_window_s)
    over(world, 1)
    assert day(world, LOAD, 1, [(5, 0)]) == ()
    closed(world, 9)
    over(world, 10)
    assert reads(world, LOAD, 10, (5, 0), (1_010, 0)) == ()
    for _ in range(3):
        world.next_block()
    divided = [slot for slot in range(2, 10) if energy(world, LOAD, slot) != (0, 0)]
    assert divided == ([6, 7, 8, 9] if dispute_window_s == LONG else [7, 8, 9]), "the newest that are open"
    assert sum(energy(world, LOAD, slot)[0] for slot in range(2, 10)) == 1_000
