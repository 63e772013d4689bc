"""A street whose meters can sign: for the tests of readings, gaps and corrections.

world = street(metering_window_s=4 * SLOT_S)         # slots of half an hour from block time 0 on
world.next_block(SLOT_S)
day(world, "home-1/load", 0, [(100, 0)])             # by the meter; registers run on by themselves
collect(world, [signed("home-1/load", 0, (100, 0), (100, 0))])
"""

from collections.abc import Sequence
from typing import Any, cast

from chaincode.contract import ContractError, Value
from chaincode.registry import default_registry
from chaincode.settlement_messages import reading_message
from chaincode.settlement_readings import Reading
from node.model.keys import SigningKey
from tests.chaincode.marketplace import DEVICES, STREET, key_of, settings
from tests.chaincode.world import CHAIN, World

Wh = tuple[int, int]
COLLECTOR = key_of("club")
FEEDER_KEY = key_of("feeder")
DAYS = 86_400


def meter(device: str) -> SigningKey:
    """The meter's key."""
    return SigningKey(key_of(f"meter {device}"))


def street(devices: dict[str, tuple[str, str, str, int, int]] = DEVICES, **market: Value) -> World:
    """The street of ``marketplace`` without money, and no outage however far a test jumps."""
    rows = settings(devices, STREET, **{"outage_s": 300 * DAYS, **market})
    signing = [(*row[:4], meter(row[0]).public_key.hex(), *row[5:]) for row in rows["identity"]["devices"]]
    rows["identity"]["devices"] = tuple(signing)
    rows["grid"]["feeder_meter"] = FEEDER_KEY.hex()
    return World(default_registry(), rows)


def signed(device: str, slot: int, wh: Wh, registers: Wh, key: SigningKey | None = None) -> tuple[Value, ...]:
    """A row for a collector, signed by the device's meter, or by ``key``."""
    message = reading_message(CHAIN, device, slot, wh, registers)
    return (device, slot, *wh, *registers, (key or meter(device)).sign(message))


def collect(world: World, rows: Sequence[tuple[Value, ...]], sender: bytes = COLLECTOR) -> Value:
    """By the collector: the rows refused, or the code if the transaction is."""
    return _called(world, sender, "collect", rows=tuple(rows))


def day(world: World, device: str, first_slot: int, rows: Sequence[Wh], start: Wh = (0, 0)) -> Value:
    """By the meter, whose registers stood at ``start``: the rows refused, or the code if the transaction is."""
    return _called(
        world, meter(device).public_key, "report_day", device=device, first_slot=first_slot, rows=running(rows, start)
    )


def correct(world: World, device: str, first_slot: int, rows: Sequence[Wh], start: Wh = (0, 0)) -> Value:
    """By the meter: how many slots have changed, or the code of the refusal."""
    return _called(
        world, meter(device).public_key, "correct", device=device, first_slot=first_slot, rows=running(rows, start)
    )


def running(rows: Sequence[Wh], start: Wh) -> tuple[tuple[int, int, int, int], ...]:
    """Rows with the registers of a meter that stood at ``start``."""
    imported, exported = start
    full = []
    for wh in rows:
        imported, exported = imported + wh[0], exported + wh[1]
        full.append((*wh, imported, exported))
    return tuple(full)


def row(world: World, device: str, slot: int) -> Reading | None:
    """What holds for a device in a slot."""
    value = world.query("settlement", "reading", device=device, slot=slot)
    return None if value is None else Reading(*cast("Any", value))


def energy(world: World, device: str, slot: int) -> Wh:
    """Its Wh in and out."""
    found = row(world, device, slot)
    assert found is not None
    return found.energy


def told(world: World, topic: str) -> list[Value]:
    """The data of all events of a topic."""
    return [event.data for event in world.events if event.topic == topic]


def _called(world: World, sender: bytes, method: str, **args: Any) -> Value:
    try:
        return world.call(sender, "settlement", method, **args)
    except ContractError as error:
        return error.code
