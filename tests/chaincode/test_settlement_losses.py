"""The homes' meters against the feeder's: what was lost, told as it is, and kept right by corrections."""

from typing import Any

from tests.chaincode.marketplace import SLOT_S, key_of
from tests.chaincode.test_settlement_corrections import AS_CONTRACTED, correct
from tests.chaincode.test_settlement_money import settled_world
from tests.chaincode.test_settlement_parking import fill, settle, traded
from tests.chaincode.test_settlement_readings import METERED_S
from tests.chaincode.test_settlement_release import book_of, mend, release
from tests.chaincode.world import World

FEEDER = key_of("meter of the feeder")


def metered_world() -> World:
    """Slot 1 is settled: the homes took 1,000 Wh and gave 1,000; the feeder's meter has a key."""
    world = settled_world(AS_CONTRACTED)
    world.call(key_of("utility"), "grid", "set_feeder_meter", key=FEEDER)
    return world


def feeder(world: World, slot: int = 1) -> Any:
    return world.query("settlement", "feeder", slot=slot)


def report(world: World, wh: tuple[int, int], slot: int = 1) -> None:
    figures = {"import_wh": wh[0], "export_wh": wh[1], "import_register": wh[0], "export_register": wh[1]}
    world.call(FEEDER, "settlement", "report_feeder", slot=slot, **figures)


def report_late(world: World, wh: tuple[int, int]) -> None:
    world.call(FEEDER, "settlement", "correct_feeder", first_slot=1, rows=((*wh, *wh),))


def told(world: World) -> list[Any]:
    return [event.data for event in world.events if event.topic == "feeder" and event.contract == "settlement"]


def test_without_a_feeders_reading_there_is_nothing_to_check() -> None:
    world = metered_world()
    assert feeder(world) is None and told(world) == []


def test_a_reading_before_the_slot_is_settled_is_told_with_it() -> None:
    world = metered_world()
    world.next_block(3 * SLOT_S)
    report(world, (70, 10), slot=2)
    assert told(world) == []
    world.next_block(3 * SLOT_S + METERED_S)
    # Nobody metered: six estimates of nothing.
    assert told(world) == [(2, *feeder(world, 2))] == [(2, 70, 10, 0, 0, 60, 6, 3)]


def test_corrections_keep_it_right_and_a_negative_loss_is_shown() -> None:
    world = metered_world()
    report_late(world, (30, 0))
    assert feeder(world) == (30, 0, 1_000, 1_000, 30, 0, 3)
    correct(world, "home-1/load", (1_050, 0))
    assert feeder(world) == (30, 0, 1_050, 1_000, -20, 0, 3), "they measure more than came in"
    correct(world, "home-2/pv", (0, 1_040))
    assert feeder(world) == (30, 0, 1_050, 1_040, 20, 0, 3)
    report_late(world, (45, 0))
    assert [row[5] for row in told(world)] == [30, -20, 20, 35]


def test_a_network_that_is_parked_is_not_in_the_sum_until_it_is_released() -> None:
    world = traded()
    sound = book_of(world, "home-1/load")
    fill(world, "home-1/load")
    settle(world)
    world.call(key_of("utility"), "grid", "set_feeder_meter", key=FEEDER)
    report_late(world, (0, 600))
    assert feeder(world) == (0, 600, 0, 1_700, 1_100, 2, 2)
    mend(world, "home-1/load", sound)
    release(world)
    assert feeder(world) == (0, 600, 1_100, 1_700, 0, 3, 3)
