"""An auction of one product, inside a block: the book in; fills, money in escrow, trades and a record out.

Each fill of a buy takes its price from the order's hold into ``escrow:SLOT``, and what the limit had held beyond the
price goes back to the device at once. What sellers, the grid operator and the congestion account are due waits in
escrow until the slot is settled: at any time it holds what buyers paid for the slot.
"""

from chaincode import (
    budget,
    grid,
    identity,
    market_book,
    market_calendar,
    market_certificate,
    market_orders,
    market_products,
    market_trading,
)
from chaincode.auction import BUY, KEY_SCALE, Clearing, Order, settle_money, solve
from chaincode.contract import Context, Value
from chaincode.grid import Pinned
from chaincode.market_book import Pending
from chaincode.market_calendar import MARKET, TICK
from chaincode.market_orders import Fill
from chaincode.market_orders import Order as OrderRecord
from chaincode.market_products import Product


def run(ctx: Context, slot: int, product: Product) -> int:
    """Clear the product's new orders, if there are any. Returns how many orders took part."""
    pending = market_book.find_pending(ctx, slot)
    if pending is None:
        return 0
    forget(ctx, slot)
    pinned = grid.pinned(ctx, product.grid_version)
    tree = pinned.tree
    totals = market_products.totals_of(ctx, slot)
    flows_before = market_products.flows_of(ctx, slot) or (0,) * len(tree.buses)
    down, up = market_certificate.capacities(tree, flows_before)
    orders, clearing = _clear(ctx, slot, pinned, (down, up), pending)
    assert clearing.rent >= 0, "an auction earned less than its tolls"
    assert clearing.paid == clearing.received + clearing.tolls + clearing.rent, "an auction's money does not add up"

    price_at = dict(zip(tree.buses, clearing.prices, strict=True))
    tolls_of: dict[bytes, int] = {}
    for trade in clearing.trades:
        if trade.toll:
            tolls_of[trade.buy] = tolls_of.get(trade.buy, 0) + trade.toll * trade.energy_wh
    for order_id, wh in clearing.fills.items():
        _fill(ctx, totals.auctions, order_id, wh, price_at, tolls_of.get(order_id, 0))
    energy_wh = sum([trade.energy_wh for trade in clearing.trades])
    auction = market_certificate.Auction(
        ctx.time, product.grid_version, len(orders), len(clearing.trades), energy_wh,
        clearing.paid, clearing.received, clearing.tolls, clearing.rent, clearing.welfare,
        clearing.key_prices, clearing.prices, flows_before, clearing.flows, ctx.height,
    )  # fmt: skip
    market_certificate.write(ctx, slot, totals.auctions, auction, orders, clearing)
    market_products.put_totals(
        ctx,
        slot,
        market_products.Totals(
            totals.auctions + 1,
            totals.trades + len(clearing.trades),
            totals.energy_wh + energy_wh,
            totals.paid + clearing.paid,
            totals.received + clearing.received,
            totals.tolls + clearing.tolls,
            totals.rent + clearing.rent,
        ),
    )
    flows = tuple([before + flow for before, flow in zip(flows_before, clearing.flows, strict=True)])
    market_products.put_flows(ctx, slot, flows)
    for order_id in market_book.take_instant(ctx, slot):
        order = market_orders.require_order(ctx, order_id)
        if order.state in market_orders.OPEN_STATES:
            market_trading.end(ctx, order_id, order, market_orders.EXPIRED)
    data: Value = (slot, totals.auctions, len(orders), len(clearing.trades), energy_wh, clearing.paid)
    ctx.emit("auction", (), data)
    return len(orders)


def forget(ctx: Context, slot: int) -> None:
    """The product's new orders wait for an auction no more: it is held, or never will be."""
    pending = market_book.find_pending(ctx, slot)
    if pending is not None:
        market_book.put_pending(ctx, slot, None)
        market_calendar.remove(ctx, MARKET, pending.tick, TICK, slot)


def _clear(
    ctx: Context,
    slot: int,
    pinned: Pinned,
    capacities: tuple[list[int | None], list[int | None]],
    pending: Pending,
) -> tuple[list[Order], Clearing]:
    """Clear the book, reading as little of it as gives the result of all of it: the orders read, and the result."""
    last = pending.auction - 1
    prices = (0,) * len(pinned.buses) if last < 0 else market_certificate.read(ctx, slot, last).prices
    groups = market_book.groups(ctx, slot, pinned, *capacities, pending, prices)
    while True:
        orders = [order for group in groups for order in group.orders]
        solution = solve(pinned.tree, *capacities, orders)
        filled = dict(zip(solution.book.ids, solution.filled, strict=True))
        dry = [
            group
            for group in groups  # of one bus and side, the last is filled only if all are
            if group.ahead is not None and filled[group.orders[-1].id] == group.orders[-1].energy_wh
        ]
        if not dry:
            return orders, settle_money(pinned.tree, *solution)
        market_book.read_on(dry, [key // KEY_SCALE for key in solution.key_prices], pending)


def _fill(ctx: Context, number: int, order_id: bytes, wh: int, price_at: dict[str, int], tolls: int) -> None:
    """Fill ``wh`` of an order in auction ``number`` at its bus's price: book, order, position, and a buyer's money."""
    order = market_orders.require_order(ctx, order_id)
    price = price_at[order.bus]
    filled_wh = order.filled_wh + wh
    done = filled_wh == order.energy_wh
    state = market_orders.FILLED if done else market_orders.PARTIAL
    auctions = market_orders.filled_in(order.auctions, number)
    order = OrderRecord(*order[:11], state, filled_wh, order.money + wh * price, *order[14:16], order.height, auctions)
    market_orders.put_order(ctx, order_id, order)
    if done:
        market_book.remove(ctx, order, order_id)
    else:
        market_book.put(ctx, order, order_id)
    position = market_orders.find_position(ctx, order.device, order.slot)
    assert position is not None, "an order without a position"
    if not position.bought_wh and not position.sold_wh:
        identity.note_fill(ctx, order.device, order.slot)
    position = market_orders.shrunk(ctx, position, order, wh, Fill(wh, wh * price, tolls), closed=done)
    market_orders.put_position(ctx, order.device, order.slot, position)
    if order.side == BUY:
        _pay(ctx, order_id, order, wh, price)
    data: Value = (order_id, order.state, order.slot, market_orders.SIDE_NAMES[order.side], wh, price, filled_wh)
    ctx.emit("fill", (order.device, order.network), data)


def _pay(ctx: Context, order_id: bytes, order: OrderRecord, wh: int, price: int) -> None:
    """From the order's hold into escrow; what was held beyond the price is set free."""
    if order.price:
        budget.settle(ctx, order_id, wh * price, wh * (order.price - price), f"escrow:{order.slot}", "trade")
