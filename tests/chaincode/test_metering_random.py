"""Meters on bad lines: whatever is lost, late, wrong or put right, every Wh that a register ran is in a slot or told.

A true meter runs through a day. Its readings arrive in any order, one by one, in bulk or through the collector; some
never arrive, some are corrected later. What the ledger says is held against the true registers.
"""

import random
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode import settlement_readings
from chaincode.settlement_readings import Reading
from tests.chaincode.marketplace import SLOT_S
from tests.chaincode.meters import DAYS, Wh, collect, correct, day, signed, street
from tests.chaincode.world import World

DEVICE = "home-1/battery"
SLOTS = 30
LATER = 6
LIMIT_WH = 2_500  # of 5 kW in half an hour
OK = ((), 1, 2, 3, 4, "duplicate", "late")


class Meter:
    """The truth: what flowed in each slot, and the registers at its end."""

    def __init__(self, rand: random.Random) -> None:
        self.rand = rand
        self.flows: list[Wh] = [(rand.randrange(LIMIT_WH), rand.choice((0, rand.randrange(900)))) for _ in range(SLOTS)]
        self.registers: list[Wh] = []
        imported, exported = rand.randrange(10**6), rand.randrange(10**6)
        for wh in self.flows:
            imported, exported = imported + wh[0], exported + wh[1]
            self.registers.append((imported, exported))

    def start(self, slot: int) -> Wh:
        """The registers at a slot's beginning."""
        return tuple(map(int.__sub__, self.registers[slot], self.flows[slot]))  # type: ignore[return-value]

    def send(self, world: World, slot: int) -> Any:
        """Report a slot, and perhaps some before it, one way or another."""
        first = max(0, slot - self.rand.choice((0, 0, 0, 1, 3)))
        kind = self.rand.randrange(4)
        if kind == 0:
            rows = [signed(DEVICE, one, self.flows[one], self.registers[one]) for one in range(first, slot + 1)]
            return collect(world, rows)
        if kind == 1:
            return correct(world, DEVICE, first, self.flows[first : slot + 1], self.start(first))
        return day(world, DEVICE, first, self.flows[first : slot + 1], self.start(first))


def rows_of(world: World) -> dict[int, Reading]:
    """All that holds for the device."""
    with world.transaction() as ctx:
        found = {slot: settlement_readings.find(ctx, DEVICE, slot) for slot in range(SLOTS + LATER)}
    return {slot: one for slot, one in found.items() if one is not None}


def check(world: World, meter: Meter) -> None:
    """Between readings, slots sum up to what the registers ran, unless one of them may still be read."""
    rows = rows_of(world)
    estimated = sum(one.estimated for one in rows.values())
    assert world.query("settlement", "estimates", device=DEVICE, period=0) == (estimated, estimated <= 48)
    read = [slot for slot in sorted(rows) if rows[slot].is_read]
    for slot in read:
        assert rows[slot].energy == meter.flows[slot] and rows[slot].registers == meter.registers[slot]
    for first, last in pairwise(read):
        between = range(first + 1, last)
        if all(slot in rows for slot in between):
            for side in (0, 1):
                assert sum(rows[slot].energy[side] for slot in between) == sum(
                    meter.flows[slot][side] for slot in between
                )
                assert all(0 <= rows[slot].energy[side] <= LIMIT_WH for slot in between)
            assert not any(rows[slot].estimated for slot in between)
    for slot, one in rows.items():
        history = cast("tuple[Any, ...]", world.query("settlement", "readings", device=DEVICE, slot=slot))
        assert [Reading(*old).revision for old in history] == list(range(one.revision, -1, -1))


@pytest.mark.parametrize("seed", range(30))
def test_nothing_that_a_register_ran_is_lost(seed: int) -> None:
    rand = random.Random(seed)
    world = street(metering_window_s=rand.choice((900, 3_600, 4 * SLOT_S)), dispute_window_s=200 * SLOT_S)
    meter = Meter(rand)
    waiting: list[int] = []
    for slot in range(SLOTS):
        world.next_block((slot + 1) * SLOT_S)
        if rand.random() < 0.6:
            waiting.append(slot)
        rand.shuffle(waiting)
        while waiting and rand.random() < 0.7:
            told = meter.send(world, waiting.pop())
            assert told in OK or isinstance(told, tuple), told
        world.next_block(world.time + 900)
        if slot % 6 == 5:
            check(world, meter)
    world.next_block((SLOTS + 4) * SLOT_S)
    assert meter.send(world, SLOTS - 1) is not None
    correct(world, DEVICE, SLOTS - 1, [meter.flows[-1]], meter.start(SLOTS - 1))
    correct(world, DEVICE, 0, [meter.flows[0]], meter.start(0))
    for _ in range(3):
        world.next_block(world.time + 900)
    check(world, meter)
    rows = {slot: one for slot, one in rows_of(world).items() if slot < SLOTS}
    assert len(rows) == SLOTS and not any(one.estimated for one in rows.values())
    for side in (0, 1):
        assert sum(one.energy[side] for one in rows.values()) == sum(wh[side] for wh in meter.flows)


def test_neighbours_are_found_from_everywhere() -> None:
    world = street(metering_window_s=20 * SLOT_S)
    world.next_block(8 * SLOT_S)
    for slot in (5, 2):
        assert day(world, DEVICE, slot, [(0, 0)], (10 * slot, 0)) == ()
    with world.transaction() as ctx:

        def near(slot: int) -> tuple[int | None, int | None]:
            before = settlement_readings.read_before(ctx, DEVICE, slot)
            after = settlement_readings.read_after(ctx, DEVICE, slot)
            return before and before[0], after and after[0]

        assert [near(slot) for slot in (0, 2, 3, 5, 7)] == [(None, 2), (None, 5), (2, 5), (2, None), (5, None)]


@given(st.permutations(range(12)), st.integers(1, 12))
def test_neighbours_are_the_nearest_that_were_read(order: list[int], count: int) -> None:
    """In whatever order the readings come, what is found at once is what looking at every slot finds."""
    world = street(metering_window_s=20 * SLOT_S)
    world.next_block(12 * SLOT_S)
    for slot in order[:count]:
        assert day(world, DEVICE, slot, [(0, 0)]) == ()
    were_read = sorted(order[:count])
    with world.transaction() as ctx:
        for slot in range(13):
            before = settlement_readings.read_before(ctx, DEVICE, slot)
            after = settlement_readings.read_after(ctx, DEVICE, slot)
            assert (before and before[0]) == max((each for each in were_read if each < slot), default=None)
            assert (after and after[0]) == min((each for each in were_read if each > slot), default=None)


def test_what_a_correction_costs_does_not_grow_with_the_gap_before_it() -> None:
    """Whoever has been silent for a month could else fill blocks with corrections that are refused, and slow them."""
    world = street(slot_seconds=60, open_before_s=60, gate_before_end_s=10, metering_window_s=60, dispute_window_s=DAYS)
    steps = []
    for gap in (2, 200):
        first = world.time // 60 + 1
        for slot in (first, first + gap, first + gap + 1):
            while world.time < (slot + 1) * 60:
                world.next_block(world.time + 60)
            assert day(world, DEVICE, slot, [(0, 0)]) == ()
        with world.transaction() as ctx:
            before = ctx._steps_left
            assert settlement_readings.read_before(ctx, DEVICE, first + gap - 1) is not None
            assert settlement_readings.read_after(ctx, DEVICE, first + 1) is not None
            steps.append(before - ctx._steps_left)
    assert steps[0] == steps[1] <= 6


def test_registers_never_run_backwards_over_a_gap() -> None:
    world = street(metering_window_s=20 * SLOT_S)
    world.next_block(8 * SLOT_S)
    assert day(world, DEVICE, 5, [(0, 0)], (1_000, 0)) == ()
    assert day(world, DEVICE, 2, [(0, 0)], (1_001, 0)) == "register-mismatch"
    assert day(world, DEVICE, 2, [(0, 0)], (1_000, 0)) == ()
