"""Assigning origins as slots become final: in their order, a bounded amount in each block.

What a store gives out depends on all that charged it, so slots are assigned one after the other, each when it is FINAL
and all before it are done. First its auctions are followed in their order, then each network is assigned. A slot that
will never become FINAL, because its part of a calendar was struck out, is assigned as it stands when everything due by
its time has happened. An auction or a network that fails is left out alone, and so is a slot whose product cannot be
read; the event ``origin-parked`` with (what, slot, code) tells, where what is empty for the slot.
"""

from collections.abc import Callable
from typing import Final

from chaincode import budget_calendar, identity, market_calendar, market_products, origin_cursor, origin_state
from chaincode.contract import Context
from chaincode.market_calendar import MARKET, SETTLEMENT
from chaincode.market_products import Product
from chaincode.origin_cursor import Cursor

WORK_PER_BLOCK: Final = 1_000
"""Trades followed and devices assigned in one block; an auction is followed as a whole."""


def go_on(ctx: Context) -> None:
    """Assign what has become final, as far as one block goes."""
    cursor = origin_cursor.cursor_of(ctx)
    if cursor is None:
        if market_products.next_to_open(ctx) is not None:  # in the chain's first block, when nothing is final yet
            origin_cursor.put_cursor(ctx, Cursor(market_products.oldest_unfinished(ctx)))
        return
    work = WORK_PER_BLOCK
    while work > 0:
        after, took = _step_apart(ctx, cursor)
        if after == cursor:
            return
        origin_cursor.put_cursor(ctx, after)
        cursor = after
        work -= 1 + took


def due(ctx: Context) -> int | None:
    """The block time at which there is something to assign: now, or when something else makes a slot final."""
    cursor = origin_cursor.cursor_of(ctx)
    return ctx.time if cursor is not None and market_products.is_final(ctx, cursor.slot) else None


def _step_apart(ctx: Context, cursor: Cursor) -> tuple[Cursor, int]:
    """``_step`` as a unit by itself: a slot whose records cannot be read is passed over."""
    stepped: list[tuple[Cursor, int]] = []
    failure = ctx.attempt(lambda: stepped.append(_step(ctx, cursor)))
    if failure is None:
        return stepped[0]
    ctx.emit("origin-parked", (), ("", cursor.slot, failure.code))
    return Cursor(cursor.slot + 1), WORK_PER_BLOCK


def _step(ctx: Context, cursor: Cursor) -> tuple[Cursor, int]:
    """The next auction or network of the slot, or on to the next slot: where it has got to, which is the same if the
    slot is not ripe, and the work.
    """
    slot, auctions, networks = cursor
    if slot >= (market_products.next_to_open(ctx) or 0):
        return cursor, 0
    product = market_products.find(ctx, slot)
    if product is None:
        return Cursor(slot + 1), 0
    if not _is_ripe(ctx, product):
        return cursor, 0
    if auctions < market_products.totals_of(ctx, slot).auctions:
        work = _apart(ctx, f"auction {auctions}", slot, lambda: origin_state.follow(ctx, slot, auctions))
        return Cursor(slot, auctions + 1), work
    names = identity.networks_of(ctx, networks, 1)
    if not names:
        return Cursor(slot + 1), 0
    work = _apart(ctx, names[0], slot, lambda: _assign(ctx, names[0], slot, product))
    return Cursor(slot, auctions, networks + 1), work


def _is_ripe(ctx: Context, product: Product) -> bool:
    """Whether nothing that a slot's origins rest on can change any more."""
    if product.state == market_products.FINAL:
        return True
    if product.final_at > ctx.time:
        return False
    waiting = [market_calendar.first(ctx, table) for table in (MARKET, SETTLEMENT)]
    return all(entry is None or entry.time > product.final_at for entry in waiting)


def _assign(ctx: Context, network: str, slot: int, product: Product) -> int:
    origin = origin_state.origin_of(ctx, network, slot, product)
    origin_state.write(ctx, network, slot, budget_calendar.period_of(ctx, network, slot), origin)
    ctx.emit("origin", (network,), (slot, *origin_state.sums(origin.used, origin.given)))
    return len(origin.used) + len(origin.given)


def _apart(ctx: Context, what: str, slot: int, unit: Callable[[], int]) -> int:
    took: list[int] = []
    failure = ctx.attempt(lambda: took.append(unit()))
    if failure is None:
        return took[0]
    ctx.emit("origin-parked", (), (what, slot, failure.code))
    return WORK_PER_BLOCK
