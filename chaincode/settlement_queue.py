"""Gaps that may be spread now: noted where a reading is kept, worked off at the end of the block.

State: table ``gap/``: height(8) device, slot(8) -> 1: the reading of this slot, which ends a gap, is new, or something
before it is.
"""

from typing import Final

from chaincode.contract import Context
from chaincode.identity import Device
from chaincode.keys import text, uint
from chaincode.settlement_readings import Reading

GAPS: Final = b"gap/"


def put(ctx: Context, device: str, slot: int) -> None:
    """The gap before the reading of ``slot`` is to be looked at; once a block is enough."""
    ctx.put(GAPS + uint(ctx.height) + text(device) + uint(slot), 1)


def take(ctx: Context) -> tuple[str, int] | None:
    """(device, slot) of what has waited longest, struck out; None if nothing waits."""
    found = next(ctx.scan(GAPS), None)
    if found is None:
        return None
    key = found[0]
    ctx.delete(key)
    return key[len(GAPS) + 8 : -9].decode(), int.from_bytes(key[-8:], "big")


def is_empty(ctx: Context) -> bool:
    """Whether nothing waits."""
    return next(ctx.scan(GAPS), None) is None


def tell_spread(ctx: Context, device: Device, slot: int, row: Reading) -> None:
    """A slot has its part of what a gap's registers show."""
    ctx.emit("spread", (device.id, device.network), (slot, row.revision, row.import_wh, row.export_wh))


def tell_rest(ctx: Context, device: Device, slots: tuple[int, int], rest: tuple[int, int]) -> None:
    """What the registers over a gap show, less what its slots have: above 0 what they could not take, below 0 what
    stands there beyond it. Nothing is told of (0, 0).
    """
    if rest != (0, 0):
        ctx.emit("gap-rest", (device.id, device.network), (*slots, *rest))
