"""The exchange: products, orders, gates, auctions.

Theory of operation
===================

A *product* is one delivery slot. It opens a day before delivery, takes orders until its gate, and then belongs to
settlement. Everything that time brings about stands in a calendar (``market_calendar``) and happens in ``begin_block``
of the first block at or after its time, before the block's own transactions:

    entry       what happens                                             then
    OPEN        the terms are pinned and orders are taken                OPEN of the next slot, GATE of this one
    TICK        the product's new orders are cleared                     (entered by the first new order)
    GATE        the last auction; what rests expires; no more orders     DELIVERED at the slot's end
    DELIVERED   energy has flowed; readings are taken                    METERED, in settlement's calendar

A block's transactions are a set, so every order of a block counts as placed at the block's time. Orders of all blocks
since a product's last auction are one age class. Ticks lie at multiples of ``tick_s``; a tick that no block met is
made up for by the next block, and several missed ones are one auction. Only products with new orders are cleared.

A block does a bounded amount of calendar work (``WORK_PER_BLOCK``, in orders); what is left stays in the calendar,
due, and the next block goes on with it.

Each entry is a unit by itself, and so is each order that expires, waits for its money or is cancelled by a move. One
that fails is undone alone, and the event ``market-parked`` with (what, code) tells; the calendar goes on without it.
A slot that cannot open is left out; an auction that fails is held with the next 5,000 new orders or at the gate, and
if it fails there too the product closes without it; an order that cannot expire is taken out of the book.

Genesis settings (in seconds, if they end in _s):

    slot_seconds       length of a slot; divides a day                          default 1800
    open_before_s      how long before delivery starts a product opens          default 86400
    gate_before_end_s  how long before its slot's end a product closes          default 600
    tick_s             auctions at multiples of this; 0 = in every block        default 10
    metering_window_s  how long after the slot's end readings are taken         default 3600
    dispute_window_s   how long after that the slot becomes final               default 604800
    retention_s        how long a final slot's details are kept, 0 for ever     default 0
    outage_s           how late a due block may be before readings get more time  default 300
    internal_permille  the internal price, from feed-in (0) to retail (1,000)   default 0
    mix_permille       how much of the utility's energy is renewable            default 0
    max_estimates      standing estimates of a period before a device may not sell  default 48
    tariffs            the utility's prices by time of use: arrays [second of the UTC day, retail, feed-in],
                       in base units per Wh, ascending, the first from second 0; required

State: ``market_products``, ``market_orders``, ``market_bulk``, ``market_book``, ``market_calendar`` and
``market_certificate`` name their tables.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from chaincode import (
    grid,
    market_book,
    market_bulk,
    market_calendar,
    market_certificate,
    market_events,
    market_orders,
    market_products,
    market_rules,
    market_trading,
    pruned,
    subjects,
    tariffs,
)
from chaincode.arguments import Slot
from chaincode.auction_types import SELL
from chaincode.contract import Context, Contract, ContractError, Subject, Value, query, transaction
from chaincode.market_calendar import MARKET, OPEN, Entry
from chaincode.market_orders import SIDE_NAMES, Order
from chaincode.market_products import Product
from chaincode.subjects import DEVICE, NETWORK, a_device, closed, public

Row: TypeAlias = tuple[str, int, int, int, str, bool, bytes]
"""An order of a list: side, slot, energy_wh, price, until, renewable, reference."""

MAX_ROWS: Final = 10_000
"""A query's answer has at most so many rows; of trades and auctions the newest."""


def _of_order(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    order = market_orders.require_order(ctx, args["order"])
    return Subject(DEVICE, order.device, subjects.MARKET), Subject(NETWORK, order.network, subjects.MARKET)


class Market(Contract):
    """Orders in; auctions and trades out."""

    name = "market"
    results = subjects.MARKET
    indexed = (market_calendar.MARKET, market_book.BOOK, market_book.PENDING, market_book.INSTANT)

    def genesis(self, ctx: Context, settings: dict[str, Value]) -> None:
        if settings:
            market_rules.begin(ctx, settings)
            market_calendar.put(ctx, MARKET, Entry(ctx.time, OPEN, 0, 0))

    def begin_block(self, ctx: Context) -> None:
        market_events.go_on(ctx)

    def end_block(self, ctx: Context) -> None:
        failure = ctx.attempt(lambda: market_bulk.decide_waiting(ctx))
        if failure is not None:
            market_trading.park(ctx, "needs", failure)
        market_trading.cancel_moved(ctx)

    def next_event(self, ctx: Context) -> int | None:
        entry = market_calendar.first(ctx, MARKET)
        return None if entry is None else entry.time

    @transaction
    def place(
        self,
        ctx: Context,
        *,
        device: str,
        side: str,
        slot: int,
        energy_wh: int,
        price: int,
        until: str = "gate",
        renewable: bool = False,
        reference: bytes = b"",
    ) -> Value:
        """Place an order for ``device``; returns its id. By the device's key or its network's owner.

        ``side``: buy or sell; ``energy_wh``: at least 100, or what undoes a position; ``price``: the limit, all-in,
        base units per Wh; ``until``: gate or auction (one auction only); ``renewable``: a buyer's wish (sellers are
        tagged by what their device is); ``reference``: up to 32 bytes, with which the same order is placed once,
        however often it is sent. Raises ContractError: unknown-device, wrong-key, bad-reference, duplicate,
        closed-product, bad-price, bad-energy, not-connected, too-many, over-capacity, own-cross, in-arrears,
        unmetered, and what the budget says of a device that may not buy.
        """
        wanted = (device, side, slot, energy_wh, price, until, renewable, reference)
        return market_trading.place(ctx, wanted)

    @transaction
    def place_many(self, ctx: Context, *, device: str, orders: tuple[Row, ...]) -> Value:
        """Place all ``orders`` of ``device``, at most 96, or none of them; returns their ids.

        Each is (side, slot, energy_wh, price, until, renewable, reference), as in ``place``. If the device's own money
        does not suffice for all, all wait for the end of the block. Raises ContractError as ``place`` does, with the
        row's number as first detail; bad-args and too-many for a list that is empty or too long.
        """
        return market_bulk.place_many(ctx, device, [(device, *row) for row in orders])

    @transaction
    def replace(
        self,
        ctx: Context,
        *,
        order: bytes,
        device: str,
        side: str,
        slot: int,
        energy_wh: int,
        price: int,
        until: str = "gate",
        renewable: bool = False,
        reference: bytes = b"",
    ) -> Value:
        """Take back what is open of ``order`` and place another one, as ``place`` does, or do neither; the new id.

        Only the device's own money counts, with what the old order held. Raises ContractError as ``cancel`` and
        ``place`` do, and over-budget.
        """
        wanted = (device, side, slot, energy_wh, price, until, renewable, reference)
        return market_trading.replace(ctx, order, wanted)

    @transaction
    def cancel(self, ctx: Context, *, order: bytes) -> Value:
        """Take an open order back. Raises ContractError: unknown-order, wrong-key, not-open."""
        market_trading.cancel(ctx, order)
        return None

    @query(of=public)
    def settings(self, ctx: Context) -> Value:
        """The rules as they are now, the fields of ``market_products.Settings``."""
        return tuple(market_products.settings_of(ctx))

    @query(of=public)
    def tariff(self, ctx: Context, *, slot: int) -> Value:
        """(retail, feed-in) of a slot in base units per Wh: what its product has pinned, or as it would be now."""
        known = market_products.opened_within(ctx, slot, slot + 1)
        product = market_products.find(ctx, slot) if known else None
        if product is not None:
            return product.retail, product.feed_in
        return tariffs.tariff_at(ctx, market_products.settings_of(ctx), slot)

    @query(of=public)
    def products(self, ctx: Context) -> Value:
        """The rows of ``product`` for every slot that is open or not yet final, ascending."""
        end = market_products.next_to_open(ctx) or 0
        first = max(market_products.oldest_unfinished(ctx), end - MAX_ROWS)
        rows = [(slot, market_products.find(ctx, slot)) for slot in range(first, end)]
        return tuple([_product_row(ctx, slot, product) for slot, product in rows if product is not None])

    @query(of=public)
    def span(self, ctx: Context) -> Value:
        """(the chain's first slot, the first that has not opened yet), between which all products lie, but that one
        which could not be opened is left out; None before the first block.
        """
        return market_products.span(ctx)

    @query(of=public)
    def product(self, ctx: Context, *, slot: Slot) -> Value:
        """(slot, state, opens, starts, ends, gate, metered by, final at, grid version, retail, feed-in, period,
        tick_s, internal price, mix_permille, auctions, trades, energy_wh, paid, received, tolls, rent).
        """
        return _product_row(ctx, slot, market_products.require(ctx, slot))

    @query(of=closed)
    def book(self, ctx: Context, *, slot: int) -> Value:
        """The resting orders by price: ((bus, side, price, energy_wh, orders), ...), buys first, best first."""
        levels: list[tuple[str, str, int, int, int]] = []
        market_products.require(ctx, slot)
        for entry in market_book.entries(ctx, slot):
            level = (entry.bus, SIDE_NAMES[entry.side], entry.price)
            if levels and levels[-1][:3] == level:
                levels[-1] = (*level, levels[-1][3] + entry.left_wh, levels[-1][4] + 1)
            elif len(levels) < MAX_ROWS:
                levels.append((*level, entry.left_wh, 1))
        return tuple(levels)

    @query(of=public)
    def depth(self, ctx: Context, *, slot: Slot) -> Value:
        """What rests in a product, wherever it is: ((side, price, energy_wh, orders), ...), buys first, best first."""
        market_products.require(ctx, slot)
        levels: dict[tuple[int, int], tuple[int, int]] = {}
        for entry in market_book.entries(ctx, slot):
            level = entry.side, entry.price
            energy_wh, orders = levels.get(level, (0, 0))
            if orders or len(levels) < MAX_ROWS:
                levels[level] = energy_wh + entry.left_wh, orders + 1
        best_first = sorted(levels, key=lambda level: (level[0], level[1] if level[0] == SELL else -level[1]))
        return tuple([(SIDE_NAMES[side], price, *levels[side, price]) for side, price in best_first])

    @query(of=public, proven=closed)
    def prices(self, ctx: Context, *, slot: int) -> Value:
        """The last auction's (number, time, ((bus, price), ...)); None before the first."""
        product = market_products.require(ctx, slot)
        number = market_products.totals_of(ctx, slot).auctions - 1
        if number < 0:
            return None
        auction = market_certificate.read(ctx, slot, number)
        buses = grid.pinned(ctx, product.grid_version).buses
        return number, auction.time, tuple(zip(buses, auction.prices, strict=True))

    @query(of=_of_order)
    def order(self, ctx: Context, *, order: bytes) -> Value:
        """(id, device, network, slot, bus, side, energy_wh, price, until, renewable, placed, age, state, filled_wh,
        money).
        """
        return _order_row(order, market_orders.require_order(ctx, order))

    @query(of=market_orders.from_own(subjects.MARKET, "before"))
    def orders(
        self, ctx: Context, *, device: str, slot: Slot | None = None, before: bytes = b"", most: int = MAX_ROWS
    ) -> Value:
        """The rows of ``order`` for a device's orders in a slot, newest first; without one, in all open slots.

        In a slot at most ``most``, and with ``before`` those older than this order of the same device and slot. Raises
        ContractError: unknown-order, pruned, bad-args.
        """
        rows: list[Value] = []
        if slot is not None:
            pruned.require_kept(ctx, slot)
            return tuple([_order_row(*found) for found in _orders_before(ctx, device, slot, before, most)])
        if before or most != MAX_ROWS:
            raise ContractError("bad-args", "a part of the orders is one of a slot")
        for each in _open_slots(ctx):
            rows += [_order_row(*found) for found in market_orders.orders_of(ctx, device, each, MAX_ROWS - len(rows))]
        return tuple(rows)

    @query(of=a_device(subjects.MARKET))
    def position(self, ctx: Context, *, device: str, slot: Slot) -> Value:
        """(network, bus, bought_wh, sold_wh, open_buy_wh, open_sell_wh, open orders, orders, last order, paid, tolls,
        proceeds) or None."""
        pruned.require_kept(ctx, slot)
        position = market_orders.find_position(ctx, device, slot)
        return None if position is None else tuple(position)

    @query(of=closed)
    def trades(self, ctx: Context, *, slot: int) -> Value:
        """((auction, buy order, sell order, energy_wh, buyer price, seller price, toll), ...) in order of auctions."""
        rows: list[Value] = []
        for number in range(market_products.totals_of(ctx, slot).auctions - 1, -1, -1):
            auction = market_certificate.read(ctx, slot, number)
            trades = market_certificate.read_trades(ctx, slot, number, auction)
            rows += [(number, *trade) for trade in reversed(trades)]
            if len(rows) >= MAX_ROWS:
                break
        return tuple(reversed(rows[:MAX_ROWS]))

    @query(of=a_device(subjects.MARKET))
    def device_trades(self, ctx: Context, *, device: str, slot: Slot) -> Value:
        """A device's trades in a slot: ((auction, side, order, other order, energy_wh, price, other's price, toll),
        ...).
        """
        pruned.require_kept(ctx, slot)
        own = dict(market_orders.orders_of(ctx, device, slot, MAX_ROWS))
        auctions = market_products.totals_of(ctx, slot).auctions if own else 0
        filled = {number for order in own.values() for number in market_orders.filled_by(order, auctions)}
        rows: list[Value] = []
        for number in sorted(filled):
            auction = market_certificate.read(ctx, slot, number)
            for trade in market_certificate.read_trades(ctx, slot, number, auction):
                buy, sell, wh, buyer_price, seller_price, toll = trade
                if buy in own:
                    rows.append((number, "buy", buy, sell, wh, buyer_price, seller_price, toll))
                if sell in own:
                    rows.append((number, "sell", sell, buy, wh, seller_price, buyer_price, toll))
        return tuple(rows[:MAX_ROWS])

    @query(of=public, proven=closed)
    def auctions(self, ctx: Context, *, slot: int) -> Value:
        """((number, time, grid version, orders, trades, energy_wh, paid, received, tolls, rent, welfare), ...)."""
        end = market_products.totals_of(ctx, slot).auctions
        first = max(0, end - MAX_ROWS)
        return tuple([(number, *market_certificate.read(ctx, slot, number)[:10]) for number in range(first, end)])

    @query(of=closed)
    def auction(self, ctx: Context, *, slot: int, number: int, first: int = 0) -> Value:
        """One auction's certificate: (record, orders, trades), the fields of ``market_certificate.Auction``,
        ``OrderRow`` and ``chaincode.auction.Trade``; ``market_certificate.check`` proves it.

        The record says how many there are; orders and trades come in pages of 128, 64 pages of each from page
        ``first`` on. Raises ContractError: unknown-auction, pruned, bad-range.
        """
        if first < 0:
            raise ContractError("bad-range", "the first page is 0")
        auction = market_certificate.read(ctx, slot, number)
        page = (slot, number, auction, first, market_certificate.ANSWER_PAGES)
        orders, trades = market_certificate.read_orders(ctx, *page), market_certificate.read_trades(ctx, *page)
        return tuple(auction), tuple([tuple(row) for row in orders]), tuple([tuple(trade) for trade in trades])

    @query(of=public)
    def pruned(self, ctx: Context, *, slot: Slot) -> Value:
        """What is left of a slot whose details have been deleted: ((name, entries, digest), ...), the fields of
        ``pruned.Part``; None while all is there.
        """
        parts = pruned.parts_of(ctx, slot)
        return None if parts is None else tuple([tuple(part) for part in parts])


def _open_slots(ctx: Context) -> Iterable[int]:
    settings = market_products.settings_of(ctx)
    first = max(0, ctx.time // settings.slot_seconds - 1)
    return range(first, market_products.next_to_open(ctx) or 0)


def _orders_before(ctx: Context, device: str, slot: int, before: bytes, most: int) -> list[tuple[bytes, Order]]:
    if not 0 < most <= MAX_ROWS:
        raise ContractError("bad-args", f"from 1 to {MAX_ROWS} orders")
    if not before:
        return market_orders.orders_of(ctx, device, slot, most)
    newer = market_orders.require_order(ctx, before)
    if (newer.device, newer.slot) != (device, slot):
        raise ContractError("unknown-order", "it is not an order of this device in this slot")
    return market_orders.orders_from(ctx, newer.before, most)


def _product_row(ctx: Context, slot: int, product: Product) -> Value:
    return slot, *product, *market_products.totals_of(ctx, slot)


def _order_row(order_id: bytes, order: Order) -> Value:
    until = "auction" if order.instant else "gate"
    return (
        order_id, order.device, order.network, order.slot, order.bus, SIDE_NAMES[order.side], order.energy_wh,
        order.price, until, order.renewable, order.placed, order.age, order.state, order.filled_wh, order.money,
    )  # fmt: skip
