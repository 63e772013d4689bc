"""What block time brings about in settlement: slots are estimated, settled and become final.

The settlement calendar (``market_calendar``) is worked through in ``begin_block``; ``settlement`` says what each step
means, and what becomes of a network that fails.
"""

from typing import Final, cast

from chaincode import (
    accounts,
    identity,
    market_calendar,
    market_outage,
    market_products,
    settlement_parking,
    settlement_run,
)
from chaincode.contract import Context
from chaincode.market_calendar import FINAL, METERED, SETTLEMENT, Entry
from chaincode.market_products import Product

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
    failure = ctx.attempt(lambda: done.append(_final(ctx, entry) if entry.kind == FINAL else _go_on(ctx, entry, work)))
    if failure is None:
        return done[0]
    market_calendar.remove(ctx, SETTLEMENT, entry.time, entry.kind, entry.slot)
    return settlement_parking.park(ctx, "", entry.slot, failure)


def _final(ctx: Context, entry: Entry) -> int:
    market_calendar.remove(ctx, SETTLEMENT, entry.time, FINAL, entry.slot)
    market_products.enter(ctx, entry.slot, market_products.require(ctx, entry.slot), market_products.FINAL)
    return 0


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
            devices = _settle(ctx, networks[index], entry.slot, product)
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


def _settle(ctx: Context, network: str, slot: int, product: Product) -> int:
    """Settle one network, or park it; the work."""
    done: list[int] = []
    failure = ctx.attempt(lambda: done.append(settlement_run.settle_network(ctx, network, slot, product)))
    return done[0] if failure is None else settlement_parking.park(ctx, network, slot, failure)


def _finish(ctx: Context, entry: Entry, product: Product) -> None:
    """All networks are settled or parked: the slot's end, and on to FINAL."""
    failure = ctx.attempt(lambda: _close(ctx, entry.slot))
    if failure is not None:
        settlement_parking.park(ctx, "", entry.slot, failure)
    market_calendar.remove(ctx, SETTLEMENT, entry.time, METERED, entry.slot)
    market_products.enter(ctx, entry.slot, product, market_products.SETTLED)
    market_calendar.put(ctx, SETTLEMENT, Entry(product.final_at, FINAL, entry.slot, ()))


def _close(ctx: Context, slot: int) -> None:
    """Tolls and rent leave the escrow; nothing is left in it but the proceeds of what is parked."""
    totals = market_products.totals_of(ctx, slot)
    settlement_run.pay_lines(ctx, slot, totals.tolls, totals.rent)
    left = accounts.balance(ctx, f"escrow:{slot}")
    assert left == 0 or settlement_parking.in_slot(ctx, slot), "a settled slot leaves money in escrow"
