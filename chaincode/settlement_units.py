"""The units of settlement, each done by itself: in its turn, because it was queued, or because it was released.

A unit that fails is undone alone and parked (``settlement_parking``), and the calendar goes on.
"""

from typing import cast

from chaincode import (
    accounts,
    budget_close,
    budget_closed,
    budget_share,
    market_calendar,
    market_products,
    settlement_anew,
    settlement_corrections,
    settlement_losses,
    settlement_parking,
    settlement_rent,
    settlement_run,
)
from chaincode.contract import Context, ContractError, Value
from chaincode.market_calendar import SETTLEMENT, Entry
from chaincode.settlement_parking import CALENDAR, CLOSE, CORRECT, PERIOD, RENT, SETTLE, Unit


def apart(ctx: Context, unit: Unit) -> int:
    """Do a unit by itself, or park it; the work."""
    work, failure = _attempt(ctx, unit)
    return work if failure is None else settlement_parking.park(ctx, unit, failure)


def work_off(ctx: Context, slot: int, work: int) -> tuple[int, bool]:
    """Do what of ``slot`` was released or is to be settled anew, as far as ``work`` devices go; how many it was, and
    whether nothing is left.
    """
    done = 0
    while done < work:
        released = settlement_parking.releasing(ctx, slot)
        if released is None:
            break
        done += 1 + _again(ctx, *released)
    while done < work:
        queued = settlement_corrections.queued(ctx, slot)
        if queued is None:
            break
        network, causes = queued
        settlement_corrections.forget(ctx, network, slot)
        done += 1 + apart(ctx, Unit(CORRECT, network, slot, causes))
    if done:
        settlement_losses.tell(ctx, slot)
    left = settlement_parking.releasing(ctx, slot) or settlement_corrections.queued(ctx, slot)
    return done, left is None


def _again(ctx: Context, index: int, unit: Unit) -> int:
    """Do a unit that was released; the work."""
    work, failure = _attempt(ctx, unit, again=True)
    return work + settlement_parking.settle_release(ctx, index, unit, failure)


def _attempt(ctx: Context, unit: Unit, *, again: bool = False) -> tuple[int, ContractError | None]:
    """(the work that a unit took, None), or (0, why it failed and was undone)."""
    took: list[int] = []
    failure = ctx.attempt(lambda: took.append(_do(ctx, unit, again)))
    return (took[0], None) if failure is None else (0, failure)


def _do(ctx: Context, unit: Unit, again: bool) -> int:
    slot = unit.slot
    if unit.kind in (SETTLE, CORRECT):
        period = budget_closed.booking_period(ctx, unit.network, slot)
        shares = budget_share.count_of(ctx, unit.network, period)
        work = _settle(ctx, unit, again)
        return work + budget_share.count_of(ctx, unit.network, period) - shares  # each takes as long as a device
    if unit.kind == RENT:
        period, amount = cast("tuple[int, int]", unit.detail)
        settlement_rent.pay(ctx, unit.network, period, amount)
    elif unit.kind == PERIOD:
        kind, owner, number = cast("tuple[str, str, int]", unit.detail)
        budget_close.release(ctx, kind, owner, number, slot)
    elif unit.kind == CLOSE:
        _close(ctx, slot)
    else:
        assert unit.kind == CALENDAR, "an unknown unit"
        entry, cursor = cast("tuple[int, Value]", unit.detail)
        market_calendar.put(ctx, SETTLEMENT, Entry(ctx.time, entry, slot, cursor))
    return 0


def _settle(ctx: Context, unit: Unit, again: bool) -> int:
    """Settle a network anew, or for the first time; one that was released may lack estimates as well. The devices."""
    network, slot = unit.network, unit.slot
    if unit.kind == CORRECT:
        return settlement_anew.settle_anew(ctx, network, slot, cast("tuple[bytes, ...]", unit.detail))
    product = market_products.require(ctx, slot)
    if again:
        settlement_run.estimate_network(ctx, network, slot, product)
    work, tolls = settlement_run.settle_network(ctx, network, slot, product)
    settlement_rent.note_tolls(ctx, network, slot, product.period, tolls)
    return work


def _close(ctx: Context, slot: int) -> None:
    """Tolls and rent leave the escrow; nothing is left in it but the proceeds of what is parked."""
    product, totals = market_products.require(ctx, slot), market_products.totals_of(ctx, slot)
    settlement_run.pay_lines(ctx, slot, totals.tolls, totals.rent)
    settlement_rent.note_rent(ctx, slot, product.period, totals.rent)
    left = accounts.balance(ctx, f"escrow:{slot}")
    assert left == 0 or settlement_parking.in_slot(ctx, slot), "a settled slot leaves money in escrow"
