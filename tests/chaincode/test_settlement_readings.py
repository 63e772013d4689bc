"""Which readings are taken, and what stands in for those that never come."""

from typing import Any, cast

import pytest

from chaincode.contract import ContractError
from tests.chaincode.marketplace import SLOT_S, key_of, marketplace, order, product_state, tick
from tests.chaincode.world import World

METERED_S = 900  # the metering window


def report(
    world: World, device: str, slot: int, wh: tuple[int, int], registers: tuple[int, int] | None = None
) -> str | None:
    """Report with the meter's key; the code if it is refused. Registers default to the slot's own energies."""
    imported, exported = wh if registers is None else registers
    args = {"device": device, "slot": slot, "import_wh": wh[0], "export_wh": wh[1]}
    args |= {"import_register": imported, "export_register": exported}
    sender = key_of(f"meter {device}")
    try:
        world.call(sender, "settlement", "report", **args)
    except ContractError as error:
        return error.code
    return None


def reading(world: World, device: str, slot: int) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", world.query("settlement", "reading", device=device, slot=slot))


def test_a_reading_is_kept_with_its_cause() -> None:
    world = marketplace()
    world.next_block(SLOT_S)
    assert report(world, "home-1/battery", 0, (300, 100), (5_300, 2_100)) is None
    assert reading(world, "home-1/battery", 0)[:5] == (300, 100, 5_300, 2_100, False)
    assert len(reading(world, "home-1/battery", 0)[5]) == 32
    assert world.query("settlement", "reading", device="home-1/load", slot=0) is None


def test_refusals() -> None:
    world = marketplace()
    assert report(world, "home-1/load", 0, (0, 0)) == "too-early"
    world.next_block(SLOT_S)
    assert report(world, "home-9/load", 0, (0, 0)) == "unknown-device"
    args = {"slot": 0, "import_wh": 0, "export_wh": 0, "import_register": 0, "export_register": 0}
    device_key = key_of("home-1/load")
    assert world.refused(device_key, "settlement", "report", device="home-1/load", **args) == "wrong-key"
    assert report(world, "home-1/load", 0, (-1, 0)) == "negative"
    assert report(world, "home-1/load", 0, (0, 0), (0, -1)) == "negative"
    assert report(world, "home-1/load", 0, (5_001, 0)) == "out-of-limit"
    assert report(world, "home-1/load", 0, (0, 1)) == "out-of-limit"
    assert report(world, "home-1/load", 0, (0, 0), (2**63, 0)) == "out-of-limit"
    assert report(world, "home-1/load", 99, (0, 0)) == "no-product"
    assert report(world, "home-1/load", 0, (1_000, 0)) is None
    assert report(world, "home-1/load", 0, (1_000, 0)) == "duplicate"
    assert report(world, "home-1/load", 0, (1_001, 0)) == "conflict"
    world.next_block(SLOT_S + METERED_S)
    assert report(world, "home-2/load", 0, (0, 0)) == "late"


def test_a_device_that_was_nowhere_has_no_reading() -> None:
    world = marketplace()
    world.call(key_of("home-3/ev"), "identity", "disconnect", device="home-3/ev", slot=1)
    world.next_block(2 * SLOT_S)
    assert report(world, "home-3/ev", 1, (0, 0)) == "not-connected"
    world.next_block(2 * SLOT_S + METERED_S)
    assert world.query("settlement", "reading", device="home-3/ev", slot=1) is None


@pytest.mark.parametrize("slots", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0)])
def test_registers_join_in_whatever_order_readings_come(slots: tuple[int, ...]) -> None:
    world = marketplace(metering_window_s=4 * SLOT_S)
    world.next_block(3 * SLOT_S)
    energies, registers = (100, 200, 300), (1_100, 1_300, 1_600)
    for slot in slots:
        assert report(world, "home-1/load", slot, (energies[slot], 0), (registers[slot], 0)) is None


def test_registers_that_do_not_join_are_refused() -> None:
    world = marketplace(metering_window_s=8 * SLOT_S)
    world.next_block(4 * SLOT_S)
    assert report(world, "home-1/load", 1, (100, 0), (1_100, 0)) is None
    assert report(world, "home-1/load", 2, (200, 0), (1_301, 0)) == "register-mismatch"
    assert report(world, "home-1/load", 0, (50, 0), (1_001, 0)) == "register-mismatch"
    # Over a gap the register may have run more than the slot says, not less.
    assert report(world, "home-1/load", 3, (200, 0), (1_299, 0)) == "register-mismatch"
    assert report(world, "home-1/load", 3, (200, 0), (1_500, 0)) is None
    assert report(world, "home-1/load", 2, (300, 0), (1_400, 0)) == "register-mismatch"
    assert report(world, "home-1/load", 2, (200, 0), (1_300, 0)) is None


def test_the_first_register_holds_at_least_what_flowed_in_its_slot() -> None:
    world = marketplace()
    world.next_block(SLOT_S)
    assert report(world, "home-1/load", 0, (700, 0), (300, 0)) == "register-mismatch"
    assert report(world, "home-1/load", 0, (700, 0), (700, 0)) is None


def test_without_history_silence_costs_the_contract() -> None:
    world = marketplace()
    order(world, "home-1/battery", "buy", wh=500)
    order(world, "home-2/pv", "sell", wh=500, price=30)
    tick(world)
    world.next_block(2 * SLOT_S)
    assert product_state(world) == "DELIVERED"
    for device in ("home-1/load", "home-2/load", "home-3/pv", "home-3/ev"):
        assert report(world, device, 1, (0, 0)) is None
    world.next_block(2 * SLOT_S + METERED_S)
    # The buyer is taken to have used what it bought; the seller to have delivered nothing.
    assert reading(world, "home-1/battery", 1)[:5] == (500, 0, 0, 0, True)
    assert reading(world, "home-2/pv", 1)[:5] == (0, 0, 0, 0, True)
    states = [event.data for event in world.events if event.topic == "product"]
    assert (1, "ESTIMATED") in states
    assert product_state(world) == "SETTLED"


def test_with_all_readings_a_product_is_metered() -> None:
    world = marketplace()
    world.next_block(SLOT_S)
    for device in ("home-1/load", "home-1/battery", "home-2/load", "home-2/pv", "home-3/pv", "home-3/ev"):
        assert report(world, device, 0, (0, 0)) is None
    world.next_block(SLOT_S + METERED_S)
    assert (0, "METERED") in [event.data for event in world.events if event.topic == "product"]


def test_an_estimate_takes_the_mean_of_the_days_before_and_never_favours_the_silent() -> None:
    # Six slots a day; seven days of readings of the first one.
    world = marketplace(
        slot_seconds=14_400, open_before_s=14_400, metering_window_s=14_400, outage_s=8 * 86_400, periods=3
    )
    imported = [1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_001]
    register = 0
    for day, wh in enumerate(imported):
        world.next_block((6 * day + 1) * 14_400)
        register += wh
        if day != 2:  # one of them was itself estimated, and is no history
            assert report(world, "home-1/battery", 6 * day, (wh, wh // 10), (register, register)) is None
    world.next_block((6 * 7 - 1) * 14_400)
    order(world, "home-1/battery", "sell", slot=42, wh=1_000)
    order(world, "home-2/load", "buy", slot=42, wh=1_000, price=80)
    tick(world)
    world.next_block(44 * 14_400)
    history = [wh for day, wh in enumerate(imported) if day != 2]
    mean_import = sum(history) // len(history)
    mean_export = sum(wh // 10 for wh in history) // len(history)
    # It sold 1,000 Wh: it gets no more than its mean export for granted, and is charged its mean import.
    assert reading(world, "home-1/battery", 42)[:2] == (mean_import, min(1_000, mean_export))
