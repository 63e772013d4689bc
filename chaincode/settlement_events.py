"""What block time brings about in settlement: slots are estimated, settled and become final.

The settlement calendar (``market_calendar``) is worked through in ``begin_block``; ``settlement`` says what each step
means, and what becomes of a network that fails.
"""

from typing import Final, cast

from chaincode import (
    budget_close,
    identity,
    market_calendar,
    market_outage,
    market_products,
    market_retention,
    settlement_losses,
    settlement_parking,
    settlement_rent,
    settlement_run,
    settlement_units,
)
from chaincode.contract import Context
from chaincode.market_calendar import AGAIN, FINAL, METERED, PERIOD, PRUNE, RENT, SETTLEMENT, Entry
from chaincode.market_products import Product
from chaincode.settlement_parking import CALENDAR, CLOSE, SETTLE, Unit

WORK_PER_BLOCK: Final = 1_000
"""Devices estimated or settled in one block."""
ENTRY_WORK: Final = 5

_ESTIMATING: Final = 0
_SETTLING: Final = 1


def go_on(ctx: Context) -> None:
    """Let everything happen that is due, as far as one block goes."""
    work = 0 if market_outage.is_busy(ctx) else WORK_PER_BLOCK
    while work > 0:
        entry = market_calendar.first(ctx, SETTLEMENT)
        if entry is None or entry.time > ctx.time:
            return
        work -= ENTRY_WORK + _happen(ctx, entry, work)


def _happen(ctx: Context, entry: Entry, work: int) -> int:
    """Let a due entry of the calendar happen, as far as ``work`` devices go; how many it was.

    An entry that fails outside of its units is struck out, and parked with the slot.
    """
    done: list[int] = []
    failure = ctx.attempt(lambda: done.append(_event(ctx, entry, work)))
    if failure is None:
        return done[0]
    market_calendar.remove(ctx, SETTLEMENT, entry.time, entry.kind, entry.slot)
    return settlement_parking.park(ctx, Unit(CALENDAR, "", entry.slot, (entry.kind, entry.cursor)), failure)


def _event(ctx: Context, entry: Entry, work: int) -> int:
    if entry.kind == PRUNE:
        return market_retention.go_on(ctx, entry, work)
    if entry.kind == AGAIN:
        return _again(ctx, entry, work)
    if entry.kind == RENT:
        return settlement_rent.go_on(ctx, entry)
    if entry.kind == PERIOD:
        return budget_close.go_on(ctx, entry, work)
    return _final(ctx, entry, work) if entry.kind == FINAL else _go_on(ctx, entry, work)


def _again(ctx: Context, entry: Entry, work: int) -> int:
    """What of a slot is queued: all of it, or the rest in the next block."""
    market_calendar.remove(ctx, SETTLEMENT, entry.time, AGAIN, entry.slot)
    done, nothing_left = settlement_units.work_off(ctx, entry.slot, work)
    if not nothing_left:
        market_calendar.put(ctx, SETTLEMENT, entry)
    return done


def _final(ctx: Context, entry: Entry, work: int) -> int:
    """Nothing of the slot changes any more: what is queued comes first."""
    done, nothing_left = settlement_units.work_off(ctx, entry.slot, work)
    if not nothing_left:
        return done
    market_calendar.remove(ctx, SETTLEMENT, entry.time, FINAL, entry.slot)
    market_products.enter(ctx, entry.slot, market_products.require(ctx, entry.slot), market_products.FINAL)
    market_retention.schedule(ctx, entry.slot, entry.time)
    settlement_rent.look(ctx)
    return done


def _go_on(ctx: Context, entry: Entry, work: int) -> int:
    """Estimate or settle the networks of a slot from its cursor on, each a unit by itself."""
    product = market_products.require(ctx, entry.slot)
    step, index, estimated = cast("tuple[int, int, int]", entry.cursor or (_ESTIMATING, 0, 0))
    networks = identity.networks_of(ctx)
    done = 0
    while index < len(networks) and done < work:
        if step == _ESTIMATING:
            devices, missing = _estimate(ctx, networks[index], entry.slot, product)
            estimated += missing
        else:
            devices = settlement_units.apart(ctx, Unit(SETTLE, networks[index], entry.slot))
        done += devices + 1
        index += 1
    if index < len(networks):
        market_calendar.put(ctx, SETTLEMENT, entry._replace(cursor=(step, index, estimated)))
    elif step == _ESTIMATING:
        state = market_products.ESTIMATED if estimated else market_products.METERED
        market_products.enter(ctx, entry.slot, product, state)
        market_calendar.put(ctx, SETTLEMENT, entry._replace(cursor=(_SETTLING, 0, estimated)))
    else:
        _finish(ctx, entry, product)
    return done


def _estimate(ctx: Context, network: str, slot: int, product: Product) -> tuple[int, int]:
    """(work, readings estimated). A network whose estimates fail is parked when it is settled: "not-metered"."""
    done: list[tuple[int, int]] = []
    failure = ctx.attempt(lambda: done.append(settlement_run.estimate_network(ctx, network, slot, product)))
    return done[0] if failure is None else (settlement_parking.UNIT_WORK, 0)


def _finish(ctx: Context, entry: Entry, product: Product) -> None:
    """All networks are settled or parked: the slot's end, and on to FINAL."""
    settlement_units.apart(ctx, Unit(CLOSE, "", entry.slot))
    market_calendar.remove(ctx, SETTLEMENT, entry.time, METERED, entry.slot)
    market_products.enter(ctx, entry.slot, product, market_products.SETTLED)
    market_calendar.put(ctx, SETTLEMENT, Entry(product.final_at, FINAL, entry.slot, ()))
    settlement_losses.tell(ctx, entry.slot)
