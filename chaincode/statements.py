"""What a bill is made of: a network's settled slots, its devices' contracts, and where each of them comes from.

Queries only, and nothing is stored for them: they put together what market and settlement keep, in pieces that a node
answers in a few tens of milliseconds, and that can be proven entry by entry. An answer ends where its work does
(``MAX_WORK``) and says where to go on. ``cli/statement.py`` adds it up.

Who sold to whom stands in the auctions' trades; an order remembers the auctions that filled it (``Order.auctions``), so
that only these are read.
"""

from typing import Final

from chaincode import (
    budget_calendar,
    budget_state,
    identity,
    market_certificate,
    market_orders,
    market_products,
    origin_state,
    pruned,
    settlement_ledger,
    settlement_parking,
    settlement_readings,
    settlement_rent,
    slots,
)
from chaincode.arguments import NetworkPeriod
from chaincode.auction_types import BUY, Trade
from chaincode.contract import Context, Contract, ContractError, Value, query
from chaincode.market_certificate import PAGE_ROWS
from chaincode.market_orders import Order
from chaincode.subjects import READINGS, a_network

MAX_WORK: Final = 12_000
"""An answer reads about so many rows: at most 600 entries, each of which may have to be proven."""
READ_WORK: Final = 20
"""What reading one entry counts for; a page of an auction's trades counts for its rows."""


class Statements(Contract):
    """Bills, and what they rest on."""

    name = "statements"

    @query(of=a_network(READINGS))
    def period(self, ctx: Context, *, network: str, period: NetworkPeriod) -> Value:
        """(status, first slot, first slot of the next period, seconds of a slot, first slot that has not opened, owed,
        slots settled, sums, rents, slots assigned, origin).

        ``owed``: all that the network owes the utility now, of whatever period. Sums and origin: the fields of
        ``settlement_ledger.Settled`` over the settled slots and of ``origin_state.Sums`` over those whose origins are
        known for good, kept when their details are not. Rents, of each of the consortium's periods that end within this
        one: (its number, its last slot, the fields of ``settlement_ledger.RentPart`` of the network, and as a row those
        of ``settlement_rent.Rent`` of all). Raises ContractError: unknown-network, unknown-period.
        """
        identity.network_of(ctx, network)
        status = budget_state.status_of(ctx, network, period)
        first, end = budget_calendar.slots_of(ctx, network, period)
        opened = market_products.next_to_open(ctx) or 0
        of_period = settlement_ledger.period_sums(ctx, network, period)
        within = settlement_rent.periods_within(ctx, first, end)
        rents = tuple([_rent(ctx, network, common) for common in within])
        owed = budget_state.debt_of(ctx, network)
        assigned, origin = origin_state.period_sums(ctx, network, period)
        known = (of_period.slots, tuple(of_period.sums), rents, assigned, tuple(origin))
        return status, first, end, slots.seconds(ctx), opened, owed, *known

    @query(of=a_network(READINGS))
    def slots(self, ctx: Context, *, network: str, first_slot: int, end_slot: int) -> Value:
        """A network's settled slots from ``first_slot`` on, before ``end_slot``: (where to go on or None, rows).

        A row: (slot, product's state, retail, feed-in, internal price, note, sums, entries, blocks); sums and entries
        are the fields of ``settlement_ledger.Settled`` and ``Entry``, blocks the heights at which the revisions were
        booked; None, () and () where there are none, and the note says why: "parked" (some network could not be settled
        in this slot), "pruned" (the details have been deleted), or "". Slots that never opened are left out. Raises
        ContractError: unknown-network, bad-range.
        """
        identity.network_of(ctx, network)
        _check_range(first_slot, end_slot)
        rows: list[Value] = []
        work = 0
        for slot in market_products.opened_within(ctx, first_slot, end_slot):
            if work >= MAX_WORK:
                return slot, tuple(rows)
            work += 3 * READ_WORK
            product = market_products.find(ctx, slot)
            if product is None:
                continue
            over = product.state in (market_products.SETTLED, market_products.FINAL)
            note = "pruned" if over and pruned.is_gone(ctx, slot, network) else ""
            settled = None if note else settlement_ledger.settled_of(ctx, network, slot)
            entries: tuple[Value, ...] = ()
            if settled is not None:
                entries = tuple([tuple(entry) for entry in settlement_ledger.entries_of(ctx, network, slot)])
                work += 2 * READ_WORK + len(entries)
            elif over and not note and settlement_parking.in_slot(ctx, slot):
                note = "parked"
            sums = None if settled is None else tuple(settled)
            terms = slot, product.state, product.retail, product.feed_in, product.internal
            blocks = () if settled is None else settlement_ledger.blocks_of(ctx, network, slot)
            rows.append((*terms, note, sums, entries, blocks))
        return None, tuple(rows)

    @query(of=a_network(READINGS))
    def origins(self, ctx: Context, *, network: str, first_slot: int, end_slot: int) -> Value:
        """What a network used from ``first_slot`` on, before ``end_slot``, by origin, as far as it is known for good:
        (where to go on or None, ((slot, parts), ...)), the fields of ``origin_assign.Used`` each.

        Raises ContractError: unknown-network, bad-range.
        """
        identity.network_of(ctx, network)
        _check_range(first_slot, end_slot)
        rows: list[Value] = []
        work = 0
        for slot in market_products.opened_within(ctx, first_slot, end_slot):
            if work >= MAX_WORK:
                return slot, tuple(rows)
            work += READ_WORK
            origin = origin_state.read(ctx, network, slot)
            if origin is not None:
                rows.append((slot, tuple([tuple(part) for part in origin.used])))
                work += len(origin.used)
        return None, tuple(rows)

    @query(of=market_orders.from_own(READINGS, "order"))
    def contracts(
        self,
        ctx: Context,
        *,
        device: str,
        first_slot: int,
        end_slot: int,
        order: bytes = b"",
        auction: int = 0,
        row: int = 0,
    ) -> Value:
        """What a device contracted and metered, slot by slot: (where to go on or None, slots, fills, orders).

        - slots: (slot, position, readings), for those with either, if their details are kept; the fields of
          ``market_orders.Position``, or None, and of ``settlement_readings.Reading``, newest first;
        - fills: (slot, auction, its time, its block, order, other order, Wh, price, other's price, toll), base units
          per Wh; the older orders last;
        - orders: (id, device, network, bus, side, price, renewable, placed, transaction, block) of every order in
          ``fills`` that is still kept, each once.

        Where to go on: (first_slot, order, auction, row), to be passed as they are. Raises ContractError:
        unknown-device, bad-range.
        """
        identity.device_of(ctx, device)
        _check_range(first_slot, end_slot)
        rows: list[Value] = []
        fills: list[Value] = []
        orders: dict[bytes, Value] = {}
        work = 0
        for slot in market_products.opened_within(ctx, first_slot, end_slot):
            if work >= MAX_WORK:
                return (slot, b"", 0, 0), tuple(rows), tuple(fills), tuple(orders.values())
            position = market_orders.find_position(ctx, device, slot)
            readings = settlement_readings.history(ctx, device, slot)
            work += (2 + max(len(readings), 1)) * READ_WORK
            if position is not None and pruned.parts_of(ctx, slot) is not None:
                order = b""
                continue
            if not order and (position is not None or readings):
                rows.append((slot, position and tuple(position), tuple([tuple(reading) for reading in readings])))
            order_id = order or (b"" if position is None else position.last_order)
            while order_id:
                if work >= MAX_WORK:
                    return (slot, order_id, auction, row), tuple(rows), tuple(fills), tuple(orders.values())
                found = market_orders.require_order(ctx, order_id)
                work += READ_WORK
                stopped, done = _fills(ctx, (order_id, found), auction, row, MAX_WORK - work, fills, orders)
                work += done
                if stopped is not None:
                    return (slot, order_id, *stopped), tuple(rows), tuple(fills), tuple(orders.values())
                order_id, auction, row = found.before, 0, 0
            order = b""
        return None, tuple(rows), tuple(fills), tuple(orders.values())


def _rent(ctx: Context, network: str, period: int) -> Value:
    """A network's part in the rent of a period of the consortium, and the whole of it."""
    of_all: Value = tuple(settlement_rent.rent_of(ctx, period))
    last = budget_calendar.common_slots(ctx, period)[1] - 1
    return (period, last, *settlement_ledger.rent_part(ctx, network, period), of_all)


def _check_range(first_slot: int, end_slot: int) -> None:
    if not 0 <= first_slot <= end_slot <= market_products.MAX_SLOT:
        raise ContractError("bad-range", f"slots go up to {market_products.MAX_SLOT}, the first one first")


def _fills(
    ctx: Context,
    own: tuple[bytes, Order],
    auction: int,
    row: int,
    work_left: int,
    fills: list[Value],
    orders: dict[bytes, Value],
) -> tuple[tuple[int, int] | None, int]:
    """Add an order's fills from ``auction`` and ``row`` on: (where it stopped for want of work, or None; the work)."""
    order_id, order = own
    work = 0
    for number in market_orders.filled_by(order, market_products.totals_of(ctx, order.slot).auctions):
        if number < auction:
            continue
        first = row if number == auction else 0
        if work >= work_left:
            return (number, first), work
        record = market_certificate.read(ctx, order.slot, number)
        work += READ_WORK
        for page in range(first // PAGE_ROWS, (record.trades + PAGE_ROWS - 1) // PAGE_ROWS):
            if work >= work_left:
                return (number, max(first, page * PAGE_ROWS)), work
            trades = market_certificate.read_trades(ctx, order.slot, number, record, page, 1)
            work += len(trades)
            for index, trade in enumerate(trades, page * PAGE_ROWS):
                if order_id not in (trade.buy, trade.sell) or index < first:
                    continue
                if work >= work_left:
                    return (number, index), work
                work += _note(ctx, own, trade, (number, record.time, record.height), fills, orders)
            if order.side == BUY and trades[-1].buy > order_id:
                break  # trades are in order of the buyers' orders
    return None, work


def _note(
    ctx: Context,
    own: tuple[bytes, Order],
    trade: Trade,
    auction: tuple[int, int, int],
    fills: list[Value],
    orders: dict[bytes, Value],
) -> int:
    """Add one fill, and the two orders of its trade; the work."""
    order_id, order = own
    buys = trade.buy == order_id
    other_id = trade.sell if buys else trade.buy
    prices = trade[3:5] if buys else (trade.seller_price, trade.buyer_price)
    fills.append((order.slot, *auction, order_id, other_id, trade.energy_wh, *prices, trade.toll))
    orders[order_id] = _order_row(order_id, order)
    if other_id in orders:
        return 0
    other = market_orders.find_order(ctx, other_id)
    if other is not None:
        orders[other_id] = _order_row(other_id, other)
    return READ_WORK


def _order_row(order_id: bytes, order: Order) -> Value:
    side = market_orders.SIDE_NAMES[order.side]
    place = (order.device, order.network, order.bus, side)
    return order_id, *place, order.price, order.renewable, order.placed, order.tx, order.height
