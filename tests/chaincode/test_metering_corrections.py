"""Late corrections until a slot is FINAL, what they replace, and the feeder's meter."""

from typing import cast

import pytest

from chaincode import settlement_feeder
from chaincode.contract import ContractError, Value
from chaincode.settlement_amendments import MAX_REVISIONS
from tests.chaincode.marketplace import SLOT_S, UTILITY, key_of
from tests.chaincode.meters import FEEDER_KEY, collect, correct, day, energy, meter, row, running, signed, street, told
from tests.chaincode.world import World

LOAD, BATTERY = "home-1/load", "home-1/battery"
WINDOW_S = 900


@pytest.fixture
def morning() -> World:
    """Three slots are read and settled, none is final."""
    world = street(dispute_window_s=40 * SLOT_S)
    for slot in range(3):
        world.next_block((slot + 1) * SLOT_S)
        for device in (LOAD, BATTERY):
            assert day(world, device, slot, [(100, 0)], (100 * slot, 0)) == ()
    world.next_block(3 * SLOT_S + WINDOW_S)
    return world


def settled(world: World, slot: int, network: str = "home-1") -> tuple[Value, ...]:
    """A network's sums of a slot."""
    found = cast("tuple[tuple[Value, ...], ...]", world.query("settlement", "settled", network=network, slot=slot))
    return found[0]


def imported(world: World, slot: int) -> int:
    """What a network's bill says it drew."""
    bill = world.query("settlement", "bill", network="home-1", first_slot=slot, last_slot=slot)
    fields = cast("tuple[int, ...]", bill)
    return fields[3 + 14]


def test_a_correction_replaces_and_remembers(morning: World) -> None:
    before = row(morning, LOAD, 1)
    assert correct(morning, LOAD, 1, [(80, 0), (120, 0)], (100, 0)) == 2
    after = row(morning, LOAD, 1)
    assert before is not None and after is not None
    assert after.energy == (80, 0) and after.registers == (180, 0) and after.revision == 1
    history = morning.query("settlement", "readings", device=LOAD, slot=1)
    assert history == (tuple(after), tuple(before))
    assert told(morning, "corrected") == [(1, 1, 80, 0, 180, 0), (2, 1, 120, 0, 300, 0)]
    assert energy(morning, LOAD, 0) == (100, 0)


def test_what_was_settled_is_settled_anew(morning: World) -> None:
    assert imported(morning, 1) == 200
    assert correct(morning, LOAD, 1, [(80, 0), (120, 0)], (100, 0)) == 2
    morning.next_block()
    morning.next_block()
    assert imported(morning, 1) == 180 and imported(morning, 2) == 220


def test_a_correction_joins_what_is_around_it(morning: World) -> None:
    assert correct(morning, LOAD, 1, [(80, 0)], (100, 0)) == "register-mismatch", "slot 2 begins at 200"
    assert correct(morning, LOAD, 1, [(80, 0)], (120, 0)) == "register-mismatch", "slot 0 ends at 100"
    rows = ((80, 0, 180, 0), (120, 0, 301, 0))
    sender = meter(LOAD).public_key
    assert morning.refused(sender, "settlement", "correct", device=LOAD, first_slot=1, rows=rows) == "register-mismatch"
    assert energy(morning, LOAD, 1) == (100, 0), "as a whole or not at all"
    # Both ends may move if all rows move with them.
    assert correct(morning, LOAD, 0, [(150, 0), (90, 0), (20, 0)], (900, 0)) == 3


def test_refusals(morning: World) -> None:
    assert correct(morning, LOAD, 1, [(100, 0)], (100, 0)) == "duplicate", "nothing would change"
    assert correct(morning, LOAD, 2, [(5_001, 0)], (200, 0)) == "out-of-limit"
    assert correct(morning, LOAD, 2, [(-1, 0)], (300, 0)) == "negative"
    assert correct(morning, LOAD, 4, [(1, 0)], (300, 0)) == "too-early"
    assert correct(morning, LOAD, 999, [(1, 0)], (300, 0)) == "no-product"
    assert correct(morning, "home-9/load", 1, [(1, 0)]) == "unknown-device"
    assert correct(morning, LOAD, 1, []) == "bad-rows"
    args = {"device": LOAD, "first_slot": 2, "rows": running([(7, 0)], (200, 0))}
    assert morning.refused(key_of(LOAD), "settlement", "correct", **args) == "wrong-key"
    assert correct(morning, LOAD, 0, [(0, 0)] * 97) == "bad-rows"


def test_nothing_is_corrected_once_it_is_final() -> None:
    world = street(dispute_window_s=SLOT_S)
    world.next_block(SLOT_S)
    assert day(world, LOAD, 0, [(100, 0)]) == ()
    world.next_block(2 * SLOT_S + WINDOW_S - 1)
    assert correct(world, LOAD, 0, [(90, 0)], (10, 0)) == 1
    world.next_block(2 * SLOT_S + WINDOW_S)
    assert correct(world, LOAD, 0, [(95, 0)], (5, 0)) == "late"
    assert energy(world, LOAD, 0) == (90, 0)


def test_a_correction_stands_in_for_a_lost_reading(morning: World) -> None:
    morning.next_block(4 * SLOT_S + WINDOW_S)
    assert collect(morning, [signed(LOAD, 3, (40, 0), (340, 0))]) == "late", "collectors bring readings in time only"
    assert morning.query("settlement", "estimates", device=LOAD, period=0) == (1, True)
    assert correct(morning, LOAD, 3, [(40, 0)], (300, 0)) == 1
    assert morning.query("settlement", "estimates", device=LOAD, period=0) == (0, True)
    found = row(morning, LOAD, 3)
    assert found is not None and found.is_read and not found.estimated and found.revision == 1


def test_while_the_window_is_open_a_wrong_reading_is_corrected_too(morning: World) -> None:
    morning.next_block(4 * SLOT_S)
    assert correct(morning, LOAD, 3, [(40, 0)], (300, 0)) == 1
    assert correct(morning, LOAD, 3, [(41, 0)], (300, 0)) == 1
    assert day(morning, LOAD, 3, [(42, 0)], (300, 0)) == "conflict"
    assert energy(morning, LOAD, 3) == (41, 0)


def test_a_slot_is_corrected_a_bounded_number_of_times(morning: World) -> None:
    for wh in range(MAX_REVISIONS):
        assert correct(morning, LOAD, 2, [(wh, 0)], (200, 0)) == 1
    assert correct(morning, LOAD, 2, [(77, 0)], (200, 0)) == "too-many"


def feed(world: World, slot: int, wh: tuple[int, int], registers: tuple[int, int], key: bytes = FEEDER_KEY) -> Value:
    """Report the feeder's slot; None, or the code of the refusal."""
    args = {"slot": slot, "import_wh": wh[0], "export_wh": wh[1]}
    args |= {"import_register": registers[0], "export_register": registers[1]}
    try:
        return world.call(key, "settlement", "report_feeder", **args)
    except ContractError as error:
        return error.code


def test_the_feeders_meter_reports_and_corrects_until_final() -> None:
    world = street(dispute_window_s=SLOT_S)
    world.next_block(2 * SLOT_S)
    assert feed(world, 2, (1, 0), (1, 0)) == "too-early"
    assert feed(world, 0, (900_000, 0), (5_900_000, 10)) is None, "no device's limit is the feeder's"
    assert feed(world, 0, (900_000, 0), (5_900_000, 10)) == "duplicate"
    assert feed(world, 0, (900_001, 0), (5_900_001, 10)) == "conflict"
    assert feed(world, 1, (0, 40), (5_900_000, 51)) == "register-mismatch"
    assert feed(world, 1, (0, -1), (5_900_000, 51)) == "negative"
    assert feed(world, 99, (0, 0), (5_900_000, 51)) == "no-product"
    assert feed(world, 1, (0, 40), (2**63, 50)) == "out-of-limit"
    assert feed(world, 1, (0, 2**60 + 1), (2**63 - 1, 2**62)) == "out-of-limit"
    assert feed(world, 1, (0, 40), (5_900_000, 50)) is None
    assert feed(world, 1, (0, 40), (5_900_000, 50), UTILITY) == "wrong-key"
    rows = ((899_000, 5, 5_899_000, 15), (1_000, 35, 5_900_000, 50))
    assert world.call(FEEDER_KEY, "settlement", "correct_feeder", first_slot=0, rows=rows) == 2
    assert world.refused(FEEDER_KEY, "settlement", "correct_feeder", first_slot=0, rows=rows) == "duplicate"
    history = cast("tuple[tuple[Value, ...], ...]", world.query("settlement", "feeder_readings", slot=1))
    assert [old[:4] for old in history] == [(1_000, 35, 5_900_000, 50), (0, 40, 5_900_000, 50)]
    with world.transaction() as ctx:
        found = settlement_feeder.find(ctx, 0)
        assert found is not None and found.energy == (899_000, 5)
    assert told(world, "feeder-reading")[-1] == (1, 1, 1_000, 35, 5_900_000, 50)
    world.next_block(2 * SLOT_S + WINDOW_S)
    assert feed(world, 0, (1, 0), (1, 0)) == "late"


def test_without_a_feeder_meter_nobody_speaks_for_it() -> None:
    world = World(street().registry, {"market": {"tariffs": ((0, 100, 20),), "slot_seconds": SLOT_S}})
    assert feed(world, 0, (0, 0), (0, 0)) == "no-feeder-meter"


def test_lost_readings_of_the_feeder_show() -> None:
    world = street(dispute_window_s=9 * SLOT_S)
    world.next_block(4 * SLOT_S)
    assert feed(world, 0, (10, 0), (10, 0)) is None
    assert feed(world, 3, (10, 0), (9, 0)) == "register-mismatch"
    assert feed(world, 3, (10, 0), (500, 0)) is None
    assert feed(world, 2, (481, 0), (490, 0)) == "register-mismatch"
    assert feed(world, 2, (400, 0), (490, 0)) is None
    assert world.query("settlement", "feeder_readings", slot=1) == ()


def test_another_meter_at_the_feeder_has_registers_of_its_own() -> None:
    world = street(dispute_window_s=9 * SLOT_S)
    world.next_block(2 * SLOT_S + 1)
    assert feed(world, 0, (10, 0), (900_010, 0)) is None
    world.call(UTILITY, "grid", "set_feeder_meter", key=key_of("new"))
    world.next_block(4 * SLOT_S)
    assert feed(world, 3, (10, 0), (30, 0), key_of("new")) is None
    assert feed(world, 2, (21, 0), (21, 0), key_of("new")) == "register-mismatch", "its own readings join"
    assert feed(world, 2, (20, 0), (20, 0), key_of("new")) is None
    assert feed(world, 1, (5, 0), (900_014, 0), key_of("new")) == "register-mismatch", "as do those of the one before"
    rows = ((5, 0, 900_015, 0), (19, 0, 20, 0))
    assert world.call(key_of("new"), "settlement", "correct_feeder", first_slot=1, rows=rows) == 2
    world.call(UTILITY, "grid", "set_feeder_meter", key=key_of("new"))
    world.next_block(5 * SLOT_S)
    assert feed(world, 4, (0, 0), (29, 0), key_of("new")) == "register-mismatch", "the same key is the same meter"
