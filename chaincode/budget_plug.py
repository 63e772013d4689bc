"""What a plug is told: ``curtail`` when a device is stopped, ``restore`` when it may run again, always in turn.

A device that is not critical is cut off when it is stopped in the active period. It is restored when the stop is
lifted, and at the latest when that period is over: a stop concerns its period alone. For each device the two events
alternate, ``curtail`` first, each of them with the period in which the device was cut off.

What is cut off when its period ends is restored in the first block after, MAX_A_BLOCK devices a block. Whoever is
stopped in the new period before its turn has come is restored first.

State: ``bud-cut/`` device -> Cut; ``bud-cut-end/`` slot(8) device -> 1: cut off until this slot begins, if not restored
before.
"""

from itertools import islice
from typing import Final, NamedTuple, cast

from chaincode import budget_calendar, identity, slots
from chaincode.contract import Context
from chaincode.keys import UINT_BYTES, uint

MAX_A_BLOCK: Final = 512

ENDS: Final = b"bud-cut-end/"
_CUTS: Final = b"bud-cut/"


class Cut(NamedTuple):
    """A device is cut off since block ``height`` of ``time`` (s), of ``period``, which ends when slot ``end`` begins.

    ``tx_id``: the transaction or block hook that did it.
    """

    period: int
    end: int
    time: int
    height: int
    tx_id: bytes


def cut_of(ctx: Context, device: str) -> Cut | None:
    """Since when ``device`` is cut off; None if it is not."""
    value = ctx.get(_CUTS + device.encode())
    return None if value is None else Cut(*cast("Cut", value))


def curtail(ctx: Context, device: str, period: int) -> None:
    """``device`` was stopped in ``period``: it is cut off if that is the active one, and it is not critical."""
    found = identity.device_of(ctx, device)
    first, end = budget_calendar.slots_of(ctx, found.network, period)
    if found.critical or not first <= slots.current(ctx) < end:
        return
    before = cut_of(ctx, device)
    if before is not None:
        _restore(ctx, device, found.network, before)
    ctx.put(_CUTS + device.encode(), tuple(Cut(period, end, ctx.time, ctx.height, ctx.tx_id)))
    ctx.put(ENDS + uint(end) + device.encode(), 1)
    ctx.emit("curtail", (device, found.network), period)


def restore(ctx: Context, device: str, period: int) -> None:
    """The stop of ``device`` in ``period`` is lifted: it runs again, if it was cut off for it."""
    cut = cut_of(ctx, device)
    if cut is not None and cut.period == period:
        _restore(ctx, device, identity.device_of(ctx, device).network, cut)


def turn(ctx: Context) -> None:
    """Restore what was cut off in a period that is over, as far as one block goes."""
    due = []
    for key, _ in islice(ctx.scan(ENDS), MAX_A_BLOCK):
        if _end_of(ctx, key) > ctx.time:
            break
        due.append(key[len(ENDS) + UINT_BYTES :].decode())
    for device in due:
        cut = cut_of(ctx, device)
        assert cut is not None, "entered as cut off, and is not"
        _restore(ctx, device, identity.device_of(ctx, device).network, cut)


def next_turn(ctx: Context) -> int | None:
    """The block time at which ``turn`` next has something to do."""
    found = next(ctx.scan(ENDS), None)
    return None if found is None else _end_of(ctx, found[0])


def _end_of(ctx: Context, key: bytes) -> int:
    """The block time at which the period of an entry of ``ENDS`` is over."""
    return slots.starts_at(ctx, int.from_bytes(key[len(ENDS) : len(ENDS) + UINT_BYTES], "big"))


def _restore(ctx: Context, device: str, network: str, cut: Cut) -> None:
    ctx.delete(_CUTS + device.encode())
    ctx.delete(ENDS + uint(cut.end) + device.encode())
    ctx.emit("restore", (device, network), cut.period)
