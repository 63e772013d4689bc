"""What remains of an auction: enough for anybody to check it without a solver.

An auction's record holds its prices, its flows, and what had flowed before; beside it lie its orders, with what was
filled, and its trades, in pages. Together with the grid's version they say everything: ``check`` works the clearing
out from the prices and compares.

State: table ``auction/``: slot(8) number(4) -> Auction; table ``auction-order/``: slot(8) number(4) page(4) ->
(OrderRow, ...); table ``auction-trade/``: the same with (Trade, ...). Numbers and pages count from 0 without gaps.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from chaincode import pruned
from chaincode.auction import Clearing, ClearingError, Order, Trade
from chaincode.auction_check import verify_clearing
from chaincode.contract import Context, ContractError, Value
from chaincode.keys import uint
from chaincode.tree import Tree

_AUCTION: Final = b"auction/"
_ORDERS: Final = b"auction-order/"
_TRADES: Final = b"auction-trade/"
TABLES: Final = ("auction", "auction-order", "auction-trade")
"""Where auctions lie, by the names of ``pruned.Part``."""

PAGE_ROWS: Final = 128
ANSWER_PAGES: Final = 64
"""So many pages of orders, and as many of trades, are in one answer."""


class Auction(NamedTuple):
    """One auction of one product. Money in base units; ``time`` and ``height``: the block's.

    ``key_prices`` per bus, in base units per Wh times the auction's KEY_SCALE; ``flows_before`` and ``flows`` per line
    in Wh, from parent to child positive: contracted before, and by this auction.
    """

    time: int
    grid_version: int
    orders: int
    trades: int
    energy_wh: int
    paid: int
    received: int
    tolls: int
    rent: int
    welfare: int
    key_prices: tuple[int, ...]
    prices: tuple[int, ...]
    flows_before: tuple[int, ...]
    flows: tuple[int, ...]
    height: int


class OrderRow(NamedTuple):
    """An order as the auction saw it (``chaincode.auction.Order``), and the Wh filled."""

    id: bytes
    bus: int
    side: int
    price: int
    energy_wh: int
    age: int
    renewable: bool
    filled_wh: int


def capacities(tree: Tree, flows: Sequence[int]) -> tuple[list[int | None], list[int | None]]:
    """Per line, the Wh that an auction may still contract downwards and upwards after net ``flows``."""
    down = [None if limit is None else limit - flow for limit, flow in zip(tree.limit_down_wh, flows, strict=True)]
    up = [None if limit is None else limit + flow for limit, flow in zip(tree.limit_up_wh, flows, strict=True)]
    return down, up


def write(ctx: Context, slot: int, number: int, auction: Auction, orders: Sequence[Order], clearing: Clearing) -> None:
    """Keep an auction, with its orders by id and its trades as they were split."""
    at = _at(slot, number)
    ctx.put(_AUCTION + at, tuple(auction))
    fills = clearing.fills
    rows: list[Value] = [(*order, fills.get(order.id, 0)) for order in sorted(orders)]
    for page in range(0, len(rows), PAGE_ROWS):
        ctx.put(_ORDERS + at + uint(page // PAGE_ROWS, 4), tuple(rows[page : page + PAGE_ROWS]))
    trades: list[Value] = [tuple(trade) for trade in clearing.trades]
    for page in range(0, len(trades), PAGE_ROWS):
        ctx.put(_TRADES + at + uint(page // PAGE_ROWS, 4), tuple(trades[page : page + PAGE_ROWS]))


def read(ctx: Context, slot: int, number: int) -> Auction:
    """The auction ``number`` of a product. Raises ContractError: unknown-auction, pruned."""
    known = 0 <= slot < 2**64 and 0 <= number < 2**32
    raw = ctx.get(_AUCTION + uint(slot) + uint(number, 4)) if known else None
    if raw is None:
        pruned.require_kept(ctx, slot)
        raise ContractError("unknown-auction", f"slot {slot} has no auction {number}")
    return Auction(*cast("Auction", raw))


def read_orders(
    ctx: Context, slot: int, number: int, auction: Auction, first: int = 0, pages: int | None = None
) -> list[OrderRow]:
    """The orders that took part, by id; from page ``first`` on, at most ``pages`` pages, by default all."""
    found = _rows(ctx, _ORDERS + _at(slot, number), auction.orders, first, pages)
    return [OrderRow(*cast("OrderRow", row)) for row in found]


def read_trades(
    ctx: Context, slot: int, number: int, auction: Auction, first: int = 0, pages: int | None = None
) -> list[Trade]:
    """Its trades, by the buyer's order, then the seller's; pages as in ``read_orders``."""
    found = _rows(ctx, _TRADES + _at(slot, number), auction.trades, first, pages)
    return [Trade(*cast("Trade", row)) for row in found]


def entries(
    slot: int, number: int, auction: Auction, orders: Sequence[OrderRow], trades: Sequence[Trade]
) -> list[tuple[bytes, Value]]:
    """The entries of the state that hold an auction, in the order in which they are deleted."""
    at = _at(slot, number)
    found: list[tuple[bytes, Value]] = [(_AUCTION + at, tuple(auction))]
    tables: tuple[tuple[bytes, Sequence[tuple[Value, ...]]], ...] = ((_ORDERS, orders), (_TRADES, trades))
    for table, rows in tables:
        for page in range(0, len(rows), PAGE_ROWS):
            page_rows = tuple([tuple(row) for row in rows[page : page + PAGE_ROWS]])
            found.append((table + at + uint(page // PAGE_ROWS, 4), page_rows))
    return found


def keys_of(slot: int, number: int, auction: Auction) -> list[bytes]:
    """The keys of these entries."""
    at = _at(slot, number)
    found = [_AUCTION + at]
    for table, rows in ((_ORDERS, auction.orders), (_TRADES, auction.trades)):
        found += [table + at + uint(page, 4) for page in range(_pages(rows))]
    return found


def check(tree: Tree, auction: Auction, orders: Sequence[OrderRow], trades: Sequence[Trade]) -> None:
    """Whether this is the clearing that the rules demand. ``tree``: the auction's version of the grid, limits in Wh
    per slot.

    Raises ClearingError as ``verify_clearing`` does; "wrong-shape" too if there are not as many orders, trades
    or lines as the record says; "wrong-fill" if the energy does not add up.
    """
    lines = len(tree.buses)
    if (len(orders), len(trades), len(auction.flows_before)) != (auction.orders, auction.trades, lines):
        raise ClearingError("wrong-shape", "orders, trades or lines are missing")
    down, up = capacities(tree, auction.flows_before)
    clearing = Clearing(
        key_prices=auction.key_prices,
        prices=auction.prices,
        fills={row.id: row.filled_wh for row in sorted(orders) if row.filled_wh},
        flows=auction.flows,
        trades=tuple(trades),
        paid=auction.paid,
        received=auction.received,
        tolls=auction.tolls,
        rent=auction.rent,
        welfare=auction.welfare,
    )
    verify_clearing(tree, down, up, [Order(*row[:7]) for row in orders], clearing)
    if sum([trade.energy_wh for trade in trades]) != auction.energy_wh:
        raise ClearingError("wrong-fill", "the trades do not add up to the auction's energy")


def _rows(ctx: Context, prefix: bytes, count: int, first: int, pages: int | None) -> list[Value]:
    end = _pages(count) if pages is None else min(_pages(count), first + pages)
    rows: list[Value] = []
    for page in range(first, end):
        rows += cast("tuple[Value, ...]", ctx.get(prefix + uint(page, 4)))
    return rows


def _pages(count: int) -> int:
    return (count + PAGE_ROWS - 1) // PAGE_ROWS


def _at(slot: int, number: int) -> bytes:
    return uint(slot) + uint(number, 4)
