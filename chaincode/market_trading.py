"""Placing and cancelling orders: every rule that an order must meet, in one place.

Refusal codes: unknown-device, wrong-key, bad-reference, duplicate, closed-product, bad-price, bad-energy,
not-connected, too-many, over-capacity, own-cross, in-arrears, unmetered; what the budget says of a device that may not
buy; and over-budget, which a buyer whose own money does not suffice learns at the end of the block, when it is known
whether others of its network help.
"""

from typing import Final, TypeAlias

from chaincode import (
    budget,
    grid,
    identity,
    market_book,
    market_calendar,
    market_orders,
    market_products,
    pseudonyms,
    settlement_readings,
)
from chaincode.auction_types import BUY, SELL
from chaincode.contract import MAX_AMOUNT, Context, ContractError, Value
from chaincode.identity import Device
from chaincode.market_book import Pending
from chaincode.market_calendar import MARKET, TICK
from chaincode.market_orders import Order, Position
from chaincode.market_products import Product

MIN_ORDER_WH: Final = 100
"""Smaller orders are refused, except to trade out of a position."""
MAX_OPEN_ORDERS: Final = 256
"""Open orders of one device in one slot."""
MAX_ORDERS: Final = 4_096
"""Orders of one device in one slot in all: to find the open ones is to walk through them."""
MAX_REFERENCE: Final = 32
"""Bytes of an order's reference."""
MAX_NEW_ORDERS: Final = 5_000
"""When so many new orders of a product wait, the next block clears them, tick or not."""


Wanted: TypeAlias = tuple[str, str, int, int, int, str, bool, bytes]
"""What a sender wants to be ordered, as it came: device, side, slot, energy_wh, price, until, renewable, reference.

The reference is empty, or what tells this order from the device's others of the same content, however often it comes.
"""
Meant: TypeAlias = tuple[int, bool, bool, bytes]
"""An order that is no other: its side (``auction_types``), whether it is for one auction only, the wish or tag, its id.
"""


def place(ctx: Context, wanted: Wanted) -> bytes:
    """Check an order, hold its money, and put it into the book. The order's id."""
    device = identity.require_device_key(ctx, wanted[0])
    meant = meaning(ctx, device, wanted)
    order, period, amount = admit(ctx, device, wanted, meant)
    order_id = meant[3]
    if amount == 0 or budget.hold(ctx, wanted[0], period, order_id, amount):
        enter(ctx, order_id, order)
    else:
        market_orders.put_order(ctx, order_id, order)
    return order_id


def replace(ctx: Context, old_id: bytes, wanted: Wanted) -> bytes:
    """Take an order back and place another, or do neither. The new order's id.

    Nobody else's money is asked for: what the new order needs is there once the old one has given back what it held,
    or it is over-budget.
    """
    old = market_orders.require_order(ctx, old_id)
    identity.require_device_key(ctx, old.device)
    device = identity.require_device_key(ctx, wanted[0])
    meant = meaning(ctx, device, wanted)
    _take_back(ctx, old_id, old)
    order, period, amount = admit(ctx, device, wanted, meant)
    order_id = meant[3]
    if amount and not budget.hold(ctx, wanted[0], period, order_id, amount):
        raise ContractError("over-budget", "the device's own money does not suffice for the replacement")
    enter(ctx, order_id, order)
    return order_id


def meaning(ctx: Context, device: Device, wanted: Wanted, row: int = 0) -> Meant:
    """Which order is wanted of ``device``, whose key has been checked; ``row``: its number among those of one
    transaction.

    Raises ContractError: bad-args, bad-reference, duplicate.
    """
    device_id, side_name, slot, energy_wh, price, until, renewable, reference = wanted
    side = market_orders.SIDES.get(side_name)
    if side is None:
        raise ContractError("bad-args", "side is buy or sell")
    if until not in ("gate", "auction"):
        raise ContractError("bad-args", "until is gate or auction")
    instant = until == "auction"
    tag = device.renewable if side == SELL else renewable
    content = side, slot, energy_wh, price, instant, tag
    secret = _secret(ctx, slot)
    if not reference:
        return side, instant, tag, market_orders.order_id(ctx, device_id, content, secret, row)
    if len(reference) > MAX_REFERENCE:
        raise ContractError("bad-reference", f"an order's reference is at most {MAX_REFERENCE} bytes")
    order_id = market_orders.referred_id(ctx, device_id, content, secret, reference)
    before = market_orders.referred_id(ctx, device_id, content, b"", reference)  # while there was no secret
    if any(market_orders.find_order(ctx, each) is not None for each in dict.fromkeys((order_id, before))):
        raise ContractError("duplicate", "this order, with this reference, has been placed")
    return side, instant, tag, order_id


def admit(ctx: Context, device: Device, wanted: Wanted, meant: Meant) -> tuple[Order, int, int]:
    """Check an order against every rule but the money's, and count it in its device's position.

    The order, still WAITING and not written; the period whose budget pays for it; how much that has to hold.
    """
    side, instant, tag, order_id = meant
    device_id, _, slot, energy_wh, price, _, _, _ = wanted
    product = _open_product(ctx, slot)
    if not product.feed_in <= price <= product.retail:
        raise ContractError("bad-price", "a limit lies from feed-in to retail", (product.feed_in, product.retail))
    bus = identity.place_at(device, slot)
    if bus is None or not _has_bus(ctx, product, bus):
        raise ContractError("not-connected", "the device is connected nowhere in this slot")
    position = _position(ctx, device_id, device.network, bus, slot)
    _check_energy(position, side, energy_wh)
    if position.open_orders >= MAX_OPEN_ORDERS or position.orders >= MAX_ORDERS:
        raise ContractError(
            "too-many", f"a device has at most {MAX_OPEN_ORDERS} open orders in a slot, and {MAX_ORDERS} in all"
        )
    seconds = product.ends - product.starts
    market_orders.check_capacity(
        position, side, energy_wh, device.import_w * seconds // 3600, device.export_w * seconds // 3600
    )
    if energy_wh * price > MAX_AMOUNT:
        raise ContractError("bad-energy", "the order's value passes 63 bits")
    market_orders.check_side(ctx, position, slot, side)
    if side == SELL:
        if budget.in_arrears(ctx, device.network):
            raise ContractError("in-arrears", "the network owes the utility, and may not sell until it has paid")
        if not settlement_readings.may_sell(ctx, device_id, product.period):
            raise ContractError("unmetered", "too many of the device's readings in this period are estimates")
    period = budget.period_of(ctx, device.network, slot)
    if side == BUY:
        refusal = budget.may_buy(ctx, device_id, period)
        if refusal is not None:
            raise ContractError(refusal, "the budget lets this device not buy now")
    order = Order(
        device_id, device.network, slot, bus, side, energy_wh, price, instant, tag, ctx.time, 0,
        market_orders.WAITING, 0, 0, position.last_order, ctx.tx_id, ctx.height,
    )  # fmt: skip
    market_orders.open_order(ctx, position, order, order_id)
    return order, period, energy_wh * price if side == BUY else 0


def cancel(ctx: Context, order_id: bytes) -> None:
    """Take an open order back, by its device or its network's owner. Raises ContractError: unknown-order, wrong-key,
    not-open.
    """
    order = market_orders.require_order(ctx, order_id)
    identity.require_device_key(ctx, order.device)
    _take_back(ctx, order_id, order)


def end(ctx: Context, order_id: bytes, order: Order, state: str) -> None:
    """Close an order that rests in the book: what it still holds goes back."""
    market_book.remove(ctx, order, order_id)
    close(ctx, order_id, order, state)


def enter(ctx: Context, order_id: bytes, order: Order) -> None:
    """An order whose money is held enters the book."""
    order = Order(*order[:10], _count_new(ctx, order), market_orders.ACCEPTED, *order[12:])
    market_orders.put_order(ctx, order_id, order)
    market_book.put(ctx, order, order_id)
    if order.instant:
        market_book.put_instant(ctx, order.slot, order_id)
    _tell(ctx, order_id, order)


def close(ctx: Context, order_id: bytes, order: Order, state: str) -> None:
    """An order that is in no book ends: what it holds, if anything, goes back."""
    if order.side == BUY and order.price and state != market_orders.REJECTED:
        budget.release(ctx, order_id, None)
    position = market_orders.find_position(ctx, order.device, order.slot)
    assert position is not None, "an order without a position"
    left_wh = order.energy_wh - order.filled_wh
    position = market_orders.shrunk(ctx, position, order, left_wh, market_orders.NOTHING, closed=True)
    market_orders.put_position(ctx, order.device, order.slot, position)
    order = order._replace(state=state)
    market_orders.put_order(ctx, order_id, order)
    _tell(ctx, order_id, order)


def cancel_moved(ctx: Context) -> None:
    """At the end of the block: a device that is to hang elsewhere loses its open orders from that slot on.

    However often it has moved in the block it is looked at once: every open slot is.
    """
    firsts: dict[str, int] = {}
    for device, slot in identity.take_moves(ctx):
        firsts[device] = min(slot, firsts.get(device, slot))
    for device, first_slot in firsts.items():
        _cancel_apart(ctx, device, first_slot)


def park(ctx: Context, what: str, failure: ContractError) -> None:
    """Tell that a part of a hook's work failed and was undone, so that the rest goes on without it."""
    ctx.emit("market-parked", (), (what, failure.code))


def _take_back(ctx: Context, order_id: bytes, order: Order) -> None:
    if order.state not in market_orders.OPEN_STATES:
        raise ContractError("not-open", f"the order is {order.state}")
    end(ctx, order_id, order, market_orders.CANCELLED)


def _cancel_apart(ctx: Context, device: str, first_slot: int) -> None:
    failure = ctx.attempt(lambda: _cancel_from(ctx, device, first_slot))
    if failure is not None:
        park(ctx, f"move {device} {first_slot}", failure)


def _cancel_from(ctx: Context, device: str, first_slot: int) -> None:
    for slot in range(first_slot, market_products.next_to_open(ctx) or 0):
        position = market_orders.find_position(ctx, device, slot)
        order_id, still_open = (b"", 0) if position is None else (position.last_order, position.open_orders)
        while still_open and order_id:
            order = market_orders.require_order(ctx, order_id)
            if order.state in market_orders.OPEN_STATES:
                end(ctx, order_id, order, market_orders.CANCELLED)
                still_open -= 1
            order_id = order.before


def _count_new(ctx: Context, order: Order) -> int:
    """Add an order to what waits for the product's next auction, whose number this returns.

    The first one enters that auction in the calendar.
    """
    pending = market_book.find_pending(ctx, order.slot)
    if pending is None:
        tick_s = market_products.require(ctx, order.slot).tick_s
        tick = ctx.time if tick_s == 0 else (ctx.time // tick_s + 1) * tick_s
        market_calendar.put(ctx, MARKET, market_calendar.Entry(tick, TICK, order.slot, 0))
        pending = Pending(market_products.totals_of(ctx, order.slot).auctions, 0, 0, 0, tick)
    auction, orders, buy_wh, sell_wh, tick = pending
    if orders + 1 == MAX_NEW_ORDERS:
        market_calendar.remove(ctx, MARKET, tick, TICK, order.slot)
        tick = ctx.time
        market_calendar.put(ctx, MARKET, market_calendar.Entry(tick, TICK, order.slot, 0))
    if order.side == BUY:
        buy_wh += order.energy_wh
    else:
        sell_wh += order.energy_wh
    market_book.put_pending(ctx, order.slot, Pending(auction, orders + 1, buy_wh, sell_wh, tick))
    return auction


def _secret(ctx: Context, slot: int) -> bytes:
    """What hides whose the orders of a slot are; empty if there is no such product."""
    product = market_products.find(ctx, slot) if 0 <= slot <= market_products.MAX_SLOT else None
    return b"" if product is None else pseudonyms.pin(ctx, product.period)


def _tell(ctx: Context, order_id: bytes, order: Order) -> None:
    data: Value = (
        order_id, order.state, order.slot, market_orders.SIDE_NAMES[order.side],
        order.energy_wh, order.price, order.filled_wh,
    )  # fmt: skip
    ctx.emit("order", (order.device, order.network), data)


def _open_product(ctx: Context, slot: int) -> Product:
    product = market_products.find(ctx, slot) if 0 <= slot <= market_products.MAX_SLOT else None
    if product is None or product.state != market_products.OPEN or ctx.time >= product.gate:
        raise ContractError("closed-product", f"slot {slot} takes no orders now")
    return product


def _has_bus(ctx: Context, product: Product, bus: str) -> bool:
    """Whether the grid that the product pinned has the bus; the newest grid has every bus that a device hangs on."""
    version = product.grid_version
    return version == grid.current_version(ctx) or bus in grid.pinned(ctx, version).index_of


def _position(ctx: Context, device: str, network: str, bus: str, slot: int) -> Position:
    position = market_orders.find_position(ctx, device, slot)
    if position is None:
        return Position(network, bus, 0, 0, 0, 0, 0, 0, b"", 0, 0, 0)
    if position.bus == bus:
        return position
    if position.open_orders:
        # Moved in this very block, at whose end they are cancelled: until then the position stands where they do.
        raise ContractError("not-connected", "the device has just moved, and still has open orders where it was")
    return position._replace(bus=bus)


def _check_energy(position: Position, side: int, energy_wh: int) -> None:
    """At least MIN_ORDER_WH, or no more than would undo what the device has contracted, its open orders counted."""
    if energy_wh >= MIN_ORDER_WH:
        return
    net = position.bought_wh - position.sold_wh
    undo = net - position.open_sell_wh if side == SELL else -net - position.open_buy_wh
    if not 0 < energy_wh <= undo:
        raise ContractError("bad-energy", f"an order is for at least {MIN_ORDER_WH} Wh", (MIN_ORDER_WH,))
