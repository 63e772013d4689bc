"""Meter readings: what is accepted, and what stands in for one that never came.

A meter signs, per slot, what went in and out and its cumulative registers at the slot's end. With the registers a
lost reading shows: readings of neighbouring slots must join without a gap, and over a gap the register cannot have run
less than the slot says.

A device without a reading when the metering window ends is *estimated*, so that silence never pays: import = the
larger of its contract and the mean of the same slot on the seven days before, export = the smaller of the two; without
history the mean is 0. Estimates do not count as history.

State: table ``reading/``: device, slot(8) -> Reading; table ``meter/``: device -> the last slot with a reading of its
own.
"""

from typing import Final, NamedTuple, cast

from chaincode import identity, market_products
from chaincode.contract import MAX_AMOUNT, Context, ContractError
from chaincode.keys import text, uint
from chaincode.market_orders import Position
from chaincode.market_products import DAY_S, Product

_READING: Final = b"reading/"
_METER: Final = b"meter/"
HISTORY_DAYS: Final = 7


class Reading(NamedTuple):
    """Wh in and out during the slot; the meter's registers at its end in Wh, 0 if ``estimated``; the transaction (of an
    estimate: the block's hook) that it comes from, and its block."""

    import_wh: int
    export_wh: int
    import_register: int
    export_register: int
    estimated: bool
    cause: bytes
    height: int


def find(ctx: Context, device: str, slot: int) -> Reading | None:
    """The reading, or the estimate, of a device in a slot."""
    raw = ctx.get(_READING + text(device) + uint(slot))
    return None if raw is None else Reading(*cast("Reading", raw))


def report(ctx: Context, device_id: str, slot: int, energy: tuple[int, int], registers: tuple[int, int]) -> Reading:
    """Check and keep what a meter says: (imported, exported) Wh and registers.

    Raises ContractError: unknown-device, wrong-key, negative, no-product, too-early, late, not-connected, duplicate,
    conflict, out-of-limit (details: limit, reading), register-mismatch.
    """
    device = identity.require_meter(ctx, device_id)
    if min(*energy, *registers) < 0:
        raise ContractError("negative", "energies and registers are not below zero")
    product = market_products.require(ctx, slot)
    reading = Reading(*energy, *registers, False, ctx.tx_id, ctx.height)
    _check_window(ctx, product)
    if identity.place_at(device, slot) is None:
        raise ContractError("not-connected", "the device was connected nowhere in this slot")
    known = find(ctx, device_id, slot)
    if known is not None:
        code = "duplicate" if known[:4] == reading[:4] else "conflict"
        raise ContractError(code, "this slot has a reading already", known[:4])
    seconds = product.ends - product.starts
    for wh, limit_w in zip(energy, (device.import_w, device.export_w), strict=True):
        if wh > limit_w * seconds // 3600:
            raise ContractError("out-of-limit", "more than the connection carries", (limit_w * seconds // 3600, wh))
    if max(registers) > MAX_AMOUNT:
        raise ContractError("out-of-limit", "a register passes 63 bits", (MAX_AMOUNT, max(registers)))
    _check_registers(ctx, device_id, slot, reading)
    _put(ctx, device_id, slot, reading)
    last = _last_read(ctx, device_id)
    if last is None or last < slot:
        ctx.put(_METER + text(device_id), slot)
    ctx.emit("reading", (device_id, device.network), (slot, *energy, *registers))
    return reading


def estimate(ctx: Context, device: str, slot: int, slot_seconds: int, position: Position | None) -> Reading:
    """Stand in for a missing reading, and keep it."""
    net = 0 if position is None else position.bought_wh - position.sold_wh
    mean_import, mean_export = _means(ctx, device, slot, DAY_S // slot_seconds)
    reading = Reading(max(net, 0, mean_import), min(max(-net, 0), mean_export), 0, 0, True, ctx.tx_id, ctx.height)
    _put(ctx, device, slot, reading)
    return reading


def _check_window(ctx: Context, product: Product) -> None:
    if ctx.time < product.ends:
        raise ContractError("too-early", "the slot is not over", (product.ends,))
    if ctx.time >= product.metered_by:
        raise ContractError("late", "the slot's metering window is over", (product.metered_by,))


def _check_registers(ctx: Context, device: str, slot: int, reading: Reading) -> None:
    before = find(ctx, device, slot - 1) if slot else None
    after = find(ctx, device, slot + 1)
    fits = True
    if before is not None and not before.estimated:
        fits = _advance(before, reading) == (reading.import_wh, reading.export_wh)
    else:
        last = _last_read(ctx, device)
        earlier = find(ctx, device, last) if last is not None and last < slot else None
        if earlier is not None:
            imported, exported = _advance(earlier, reading)
            fits = imported >= reading.import_wh and exported >= reading.export_wh
    if fits and after is not None and not after.estimated:
        fits = _advance(reading, after) == (after.import_wh, after.export_wh)
    if not fits:
        raise ContractError("register-mismatch", "the registers do not join those of the other slots")


def _advance(earlier: Reading, later: Reading) -> tuple[int, int]:
    """What the registers say went in and out between two readings."""
    return later.import_register - earlier.import_register, later.export_register - earlier.export_register


def _means(ctx: Context, device: str, slot: int, slots_per_day: int) -> tuple[int, int]:
    history = []
    for days in range(1, HISTORY_DAYS + 1):
        earlier = slot - days * slots_per_day
        reading = find(ctx, device, earlier) if earlier >= 0 else None
        if reading is not None and not reading.estimated:
            history.append(reading)
    if not history:
        return 0, 0
    imported = sum([reading.import_wh for reading in history])
    exported = sum([reading.export_wh for reading in history])
    return imported // len(history), exported // len(history)


def _last_read(ctx: Context, device: str) -> int | None:
    slot = ctx.get(_METER + text(device))
    return slot if isinstance(slot, int) else None


def _put(ctx: Context, device: str, slot: int, reading: Reading) -> None:
    ctx.put(_READING + text(device) + uint(slot), tuple(reading))
