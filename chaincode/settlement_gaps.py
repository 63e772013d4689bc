"""Gaps: what registers show of slots whose own readings were lost.

A gap is the slots between two neighbouring readings of a device. What its registers ran over the gap, import and
export apart, replaces the estimates there:

1. Nothing happens while the metering window of a slot of the gap is open: its reading may still come.
2. What is FINAL stands, and is taken off what flowed; so does all but the newest ``MAX_DIVIDED`` slots.
3. The rest is divided in proportion to what is usual in these slots of the day (largest remainder, then the earlier
   slot; equal parts if all are 0), as far as the connection carries: what is above is divided among the others. What no
   slot can take, and what stands in FINAL slots beyond what flowed, is told by the event ``gap-rest``; it shows in the
   feeder's loss. Contracts have no say in it: energy that went to where it was contracted would make silence pay.
4. If the device was connected nowhere in some slots of the gap, nobody knows where it fed in: exports are not raised
   above the estimates then. What it drew is charged all the same: silence must not pay.

A correction of one of the two readings, or of a slot in the gap, divides it anew, by the same means.

Gaps are worked off at the end of the block, a bounded number of slots, the rest in the next blocks. A gap that fails is
undone by itself; its estimates stand. Readings further apart than ``settlement_readings.MAX_GAP_SLOTS`` are not
neighbours: what lies between them stands as estimated.
"""

from typing import Final, NamedTuple

from chaincode import (
    identity,
    market_orders,
    market_products,
    settlement_checks,
    settlement_queue,
    settlement_readings,
)
from chaincode.apportion import apportion_within
from chaincode.contract import Context
from chaincode.identity import Device
from chaincode.market_products import Product
from chaincode.settlement_checks import Joint
from chaincode.settlement_corrections import may_reopen, reopen
from chaincode.settlement_readings import Reading

WORK_PER_BLOCK: Final = 1_000
"""Slots of gaps looked at in one block, about an eighth of a second; the last gap may go beyond."""
GAP_WORK: Final = 10
MAX_DIVIDED: Final = 1_500
"""Slots of one gap that may change: a month of half hours. Those before them are only added up."""


class _Slot(NamedTuple):
    slot: int
    row: Reading
    product: Product


class _Gap(NamedTuple):
    """``rows``: what may change, ascending; ``flowed``: what they have together, import and export in Wh; ``is_whole``:
    the device was connected in all slots of the gap."""

    rows: list[_Slot]
    flowed: tuple[int, int]
    is_whole: bool


def note(ctx: Context, device: str, first: int, last: int, joint: Joint) -> None:
    """The slots from ``first`` to ``last`` were read just now: look at the gaps on either side."""
    if joint.before is not None and joint.before < first - 1:
        settlement_queue.put(ctx, device, first)
    if joint.after is not None and joint.after > last + 1:
        settlement_queue.put(ctx, device, joint.after)


def go_on(ctx: Context) -> None:
    """Spread what waits, as far as one block goes."""
    work = WORK_PER_BLOCK
    while work > 0:
        waiting = settlement_queue.take(ctx)
        if waiting is None:
            return
        work -= GAP_WORK + _spread_apart(ctx, *waiting)


def _spread_apart(ctx: Context, device_id: str, end: int) -> int:
    """Spread a gap, or leave it as it is if that fails; how many slots were looked at."""
    done: list[int] = []
    failure = ctx.attempt(lambda: done.append(_spread(ctx, device_id, end)))
    if failure is None:
        return done[0]
    ctx.emit("gap-failed", (device_id,), (end, failure.code))
    return WORK_PER_BLOCK


def _spread(ctx: Context, device_id: str, end: int) -> int:
    """Give the slots before ``end`` their parts of what the registers show; how many slots were looked at."""
    device = identity.device_of(ctx, device_id)
    last = settlement_readings.find(ctx, device_id, end)
    rows: list[tuple[int, Reading]] = []
    for slot, row in settlement_readings.rows_before(ctx, device_id, end):
        if row.is_read:
            if last is not None and last.is_read:
                gap = _gap(ctx, device, (slot, row), rows[::-1], (end, last))
                if gap is not None and gap.rows:
                    _divide(ctx, device, gap, last)
                elif gap is not None:  # FINAL, or connected nowhere: nobody is charged, but it is told
                    settlement_queue.tell_rest(ctx, device, (slot + 1, end - 1), gap.flowed)
            return end - slot
        rows.append((slot, row))
    return len(rows)


def _gap(
    ctx: Context,
    device: Device,
    first: tuple[int, Reading],
    rows: list[tuple[int, Reading]],
    last: tuple[int, Reading],
) -> _Gap | None:
    """The gap between two readings; None while the metering window of one of its slots is open."""
    known = dict(rows)
    unfinished = market_products.oldest_unfinished(ctx)
    for slot in range(max(first[0] + 1, unfinished), last[0]):
        if slot not in known and identity.place_at(device, slot) is not None:
            product = market_products.find(ctx, slot)
            if product is not None and product.state in _UNMETERED:
                return None
    flowed = [late - early for late, early in zip(last[1].start, first[1].registers, strict=True)]
    open_rows = []
    for index, (slot, row) in enumerate(rows):
        may_change = slot >= unfinished and len(rows) - index <= MAX_DIVIDED
        product = market_products.find(ctx, slot) if may_change else None
        if product is None or ctx.time >= product.final_at or not may_reopen(ctx, device.network, slot):
            flowed = [flow - wh for flow, wh in zip(flowed, row.energy, strict=True)]
        else:
            open_rows.append(_Slot(slot, row, product))
    return _Gap(open_rows, (flowed[0], flowed[1]), len(rows) == last[0] - first[0] - 1)


_UNMETERED: Final = (market_products.OPEN, market_products.CLOSED, market_products.DELIVERED)


def _divide(ctx: Context, device: Device, gap: _Gap, last: Reading) -> None:
    slots = [entry.slot for entry in gap.rows]
    caps = settlement_checks.limits_wh(device, gap.rows[0].product)
    parts: list[list[int]] = []
    for side, flowed in enumerate(gap.flowed):
        weights = [entry.row.usual[side] for entry in gap.rows]
        total = max(flowed, 0)
        if side == _EXPORT and not gap.is_whole:
            total = min(total, sum([_estimated_export(ctx, device, entry) for entry in gap.rows]))
        parts.append(apportion_within(total, weights, slots, caps[side]))
    for entry, import_wh, export_wh in zip(gap.rows, *parts, strict=True):
        if entry.row.estimated or entry.row.energy != (import_wh, export_wh):
            row = Reading(import_wh, export_wh, 0, 0, False, last.cause, last.height, 0, entry.row.usual)
            row = settlement_readings.replace(ctx, device.id, entry.slot, entry.product.period, entry.row, row)
            settlement_queue.tell_spread(ctx, device, entry.slot, row)
            reopen(ctx, device.network, entry.slot, last.cause)
    rest = gap.flowed[0] - sum(parts[0]), gap.flowed[1] - sum(parts[1])
    settlement_queue.tell_rest(ctx, device, (slots[0], slots[-1]), rest)


def _estimated_export(ctx: Context, device: Device, entry: _Slot) -> int:
    position = market_orders.find_position(ctx, device.id, entry.slot)
    return settlement_readings.estimate((entry.row.usual[0], entry.row.usual[1]), position)[_EXPORT]


_EXPORT: Final = 1
