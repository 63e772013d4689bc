"""What block time brings about in the market: products open, are cleared, close, and pass on to settlement.

The market's calendar (``market_calendar``) is worked through in ``begin_block``; ``market`` says what each of its
entries means, and what becomes of one that fails.
"""

from collections.abc import Callable
from typing import Final

from chaincode import (
    budget,
    grid,
    market_book,
    market_calendar,
    market_clearing,
    market_orders,
    market_outage,
    market_products,
    market_rules,
    market_trading,
    tariffs,
)
from chaincode.contract import Context, ContractError
from chaincode.market_calendar import DELIVERED, GATE, MARKET, METERED, OPEN, SETTLEMENT, TICK, Entry
from chaincode.market_products import Product

WORK_PER_BLOCK: Final = 2_500
"""Calendar work of one block: an order that is cleared or expires is one, every entry ENTRY_WORK besides.

About a tenth of a second: an auction of everything at once would stop the chain for longer than its members wait for
one another before they suspect the primary.
"""
ENTRY_WORK: Final = 10

_KINDS: Final = {OPEN: "open", TICK: "tick", GATE: "gate", DELIVERED: "delivered"}


def go_on(ctx: Context) -> None:
    """Let everything happen that is due, as far as one block goes."""
    failure = ctx.attempt(lambda: market_outage.notice(ctx))
    if failure is not None:
        market_trading.park(ctx, "outage", failure)
        market_outage.give_up(ctx)
    failure = ctx.attempt(lambda: market_rules.go_on(ctx))
    if failure is not None:
        market_trading.park(ctx, "rules", failure)
        market_rules.drop_scheduled(ctx)
    work = 0 if market_outage.is_busy(ctx) else WORK_PER_BLOCK
    while work > 0:
        entry = market_calendar.first(ctx, MARKET)
        if entry is None or entry.time > ctx.time:
            return
        work -= ENTRY_WORK + _happen(ctx, entry, work)


def _happen(ctx: Context, entry: Entry, work: int) -> int:
    """Let a due entry of the calendar happen, or park it; the work that it took, in orders."""
    took, failure = _apart(ctx, lambda: _event(ctx, entry, work))
    if failure is None:
        return took
    market_trading.park(ctx, f"{_KINDS[entry.kind]} {entry.slot}", failure)
    market_calendar.remove(ctx, MARKET, entry.time, entry.kind, entry.slot)
    if entry.kind == OPEN:
        _leave_out(ctx, entry)
    return work  # nobody knows what it took


def _event(ctx: Context, entry: Entry, work: int) -> int:
    time, kind, slot, _ = entry
    if kind == GATE:
        return _gate(ctx, entry, work)
    market_calendar.remove(ctx, MARKET, time, kind, slot)
    if kind == OPEN:
        _open(ctx, slot)
        return 0
    product = market_products.require(ctx, slot)
    if kind == TICK:
        return market_clearing.run(ctx, slot, product)
    product = market_outage.given_back(ctx, product)
    market_products.enter(ctx, slot, product, market_products.DELIVERED)
    market_calendar.put(ctx, SETTLEMENT, Entry(product.metered_by, METERED, slot, ()))
    return 0


def _apart(ctx: Context, unit: Callable[[], int]) -> tuple[int, ContractError | None]:
    """(the work that a unit took, None), or (0, why it failed and was undone)."""
    took: list[int] = []
    failure = ctx.attempt(lambda: took.append(unit()))
    return (took[0], None) if failure is None else (0, failure)


def _open(ctx: Context, slot: int) -> None:
    """Open a product, pinning its terms; a chain's first block begins with the first slot that can be traded."""
    settings = market_products.settings_of(ctx)
    if market_products.next_to_open(ctx) is None:
        slot = (ctx.time + settings.gate_before_end_s) // settings.slot_seconds
    starts = slot * settings.slot_seconds
    opens = starts - settings.open_before_s
    market_products.set_next_to_open(ctx, slot)
    if opens > ctx.time:
        market_calendar.put(ctx, MARKET, Entry(opens, OPEN, slot, 0))
        return
    ends = starts + settings.slot_seconds
    retail, feed_in = tariffs.tariff_at(ctx, settings, slot)
    product = Product(
        state=market_products.OPEN,
        opens=opens,
        starts=starts,
        ends=ends,
        gate=ends - settings.gate_before_end_s,
        metered_by=ends + settings.metering_window_s,
        final_at=ends + settings.metering_window_s + settings.dispute_window_s,
        grid_version=grid.current_version(ctx),
        retail=retail,
        feed_in=feed_in,
        period=budget.common_period(ctx, slot),
        tick_s=settings.tick_s,
        internal=settings.internal(retail, feed_in),
        mix_permille=settings.mix_permille,
    )
    market_products.enter(ctx, slot, product, market_products.OPEN)
    if (retail, feed_in) != settings.tariff(slot):
        ctx.emit("tariff", (), (slot, retail, feed_in))
    market_products.set_next_to_open(ctx, slot + 1)
    market_calendar.put(ctx, MARKET, Entry(product.gate, GATE, slot, 0))
    market_calendar.put(ctx, MARKET, Entry(max(opens + settings.slot_seconds, 0), OPEN, slot + 1, 0))


def _leave_out(ctx: Context, entry: Entry) -> None:
    """A slot that could not be opened never is; the next one has its turn."""
    slot = entry.slot
    if market_products.next_to_open(ctx) is not None:
        slot += 1
        market_products.set_next_to_open(ctx, slot)
    market_calendar.put(ctx, MARKET, Entry(entry.time + market_products.settings_of(ctx).slot_seconds, OPEN, slot, 0))


def _gate(ctx: Context, entry: Entry, work: int) -> int:
    """The last auction, then what rests expires: as much as one block may do, the rest in the next.

    The auction and each order are units by themselves within it, so that one that fails does not hold up the gate.
    """
    slot = entry.slot
    product = market_products.require(ctx, slot)
    done = 0
    if product.state == market_products.OPEN:
        done = _clear_last(ctx, slot, product, work)
        product = market_products.enter(ctx, slot, product, market_products.CLOSED)
    resting: list[market_book.Entry] = []
    for resting_order in market_book.entries(ctx, slot):
        if done + len(resting) >= work:
            break
        resting.append(resting_order)
    else:
        market_calendar.remove(ctx, MARKET, entry.time, GATE, slot)
        market_calendar.put(ctx, MARKET, Entry(product.ends, DELIVERED, slot, 0))
    for found in resting:
        _expire(ctx, slot, found)
    return done + len(resting)


def _clear_last(ctx: Context, slot: int, product: Product, work: int) -> int:
    """The auction at the gate, or none if it fails; the work that it took."""
    took, failure = _apart(ctx, lambda: market_clearing.run(ctx, slot, product))
    if failure is None:
        return took
    market_trading.park(ctx, f"gate {slot}", failure)
    market_clearing.forget(ctx, slot)
    market_book.take_instant(ctx, slot)
    return work


def _expire(ctx: Context, slot: int, found: market_book.Entry) -> None:
    def unit() -> None:
        order = market_orders.require_order(ctx, found.order)
        market_trading.end(ctx, found.order, order, market_orders.EXPIRED)

    failure = ctx.attempt(unit)
    if failure is not None:
        market_trading.park(ctx, f"order {found.order.hex()}", failure)
        market_book.drop(ctx, slot, found)
