"""Orders, and each device's position in each product.

An order's life: ACCEPTED -> PARTIAL -> FILLED, CANCELLED or EXPIRED. A buy that the device's own money does not cover
is WAITING until the end of its block, when all needs of the block are decided together: then ACCEPTED, or REJECTED.
What breaks a rule at once is refused with a code and leaves no trace.

A device has one *position* record per slot: what it bought and sold, what its open orders could add, and its last
order; each order names the one before it, so that a device's orders can be listed, and proven complete, without an
index of their own. ``side/`` holds on which side of a product a network's devices at one bus have open orders; it is
touched only when a device's first order opens and its last one closes.

State: table ``order/``: order id(32) -> Order; table ``position/``: device, slot(8) -> Position; table ``side/``:
slot(8) network, bus -> (side, devices with open orders).
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple, cast

from chaincode.auction_types import BUY, SELL
from chaincode.contract import Context, ContractError, Of, Subject
from chaincode.keys import text, uint
from chaincode.subjects import DEVICE

WAITING: Final = "WAITING"
ACCEPTED: Final = "ACCEPTED"
PARTIAL: Final = "PARTIAL"
FILLED: Final = "FILLED"
CANCELLED: Final = "CANCELLED"
EXPIRED: Final = "EXPIRED"
REJECTED: Final = "REJECTED"
OPEN_STATES: Final = (ACCEPTED, PARTIAL)

SIDES: Final = {"buy": BUY, "sell": SELL}
SIDE_NAMES: Final = ("buy", "sell")

MAX_AUCTIONS: Final = 256
"""So many auctions that filled it an order remembers; the later ones are found by walking through auctions."""

_ORDER: Final = b"order/"
_POSITION: Final = b"position/"
_SIDE: Final = b"side/"


class Order(NamedTuple):
    """``energy_wh`` and ``filled_wh`` in Wh, ``price`` (the limit) in base units per Wh, ``money`` in base units: paid
    by a buyer or due to a seller so far. ``instant``: for one auction only; ``renewable``: a buyer's wish or a
    seller's tag; ``age``: the number of the first auction that it took part in; ``before``: the device's order before
    this one in the same product, empty if it is the first; ``tx`` and ``height``: the transaction that placed it, and
    its block; ``auctions``: the numbers of those that filled it, ascending, 4 bytes each, the first MAX_AUCTIONS.
    """

    device: str
    network: str
    slot: int
    bus: str
    side: int
    energy_wh: int
    price: int
    instant: bool
    renewable: bool
    placed: int
    age: int
    state: str
    filled_wh: int
    money: int
    before: bytes
    tx: bytes
    height: int
    auctions: bytes = b""


class Position(NamedTuple):
    """What a device has contracted, and may still contract, for one slot. Energies in Wh, money in base units.

    ``open_buy_wh`` and ``open_sell_wh``: what is unfilled of its open orders, of which there are ``open_orders``, all
    at ``bus``; ``paid`` went into escrow for what it bought, ``tolls`` of it for lines; ``proceeds`` lie there for
    what it sold.
    """

    network: str
    bus: str
    bought_wh: int
    sold_wh: int
    open_buy_wh: int
    open_sell_wh: int
    open_orders: int
    orders: int
    last_order: bytes
    paid: int
    tolls: int
    proceeds: int


class Fill(NamedTuple):
    """Of one order in one auction: Wh, what they cost or earn, and how much of a buyer's cost is tolls."""

    wh: int
    money: int
    tolls: int


NOTHING: Final = Fill(0, 0, 0)


def order_id(
    ctx: Context, device: str, content: tuple[int, int, int, int, bool, bool], secret: bytes, row: int = 0
) -> bytes:
    """The hash of an order's content, (side, slot, energy, price, instant, renewable), of the transaction's id, and of
    the order's number among several of one transaction. All of this can be guessed, so the hash is of the ``secret`` of
    the slot's period, too (``pseudonyms.py``): an id says nothing of whose order it is.
    """
    if row:
        hidden = b"order %d %b%b%b" % (row, secret, ctx.tx_id, device.encode())
    else:
        hidden = b"order %b%b%b" % (secret, ctx.tx_id, device.encode())
    return sha256(hidden + b" %d %d %d %d %d %d" % content).digest()


def referred_id(
    ctx: Context, device: str, content: tuple[int, int, int, int, bool, bool], secret: bytes, reference: bytes
) -> bytes:
    """The hash of an order's content and of what its device calls it: the same in whatever transaction it comes."""
    named = b"order of %b%b%d %b%b" % (secret, ctx.chain, len(reference), reference, device.encode())
    return sha256(named + b" %d %d %d %d %d %d" % content).digest()


def find_order(ctx: Context, order: bytes) -> Order | None:
    """The order with this id, or None."""
    raw = ctx.get(_ORDER + order)
    return None if raw is None else Order(*cast("Order", raw))


def require_order(ctx: Context, order: bytes) -> Order:
    """The order with this id. Raises ContractError("unknown-order")."""
    found = find_order(ctx, order) if len(order) == 32 else None
    if found is None:
        raise ContractError("unknown-order", "no order has this id")
    return found


def from_own(data: str, argument: str) -> Of:
    """The audience of what is a device's from an order on, which ``argument`` names, empty: from the first. Nobody's if
    the order is another device's, else whoever has one of their own could list anybody's; nor if there is none, as
    whoever names any id at all chooses what a proof of that shows beside it.
    """

    def subjects(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
        if args[argument] and require_order(ctx, args[argument]).device != args["device"]:
            return ()
        return (Subject(DEVICE, args["device"], data),)

    return subjects


def filled_in(auctions: bytes, number: int) -> bytes:
    """What an order remembers (``Order.auctions``) when the auction ``number`` has filled it, too."""
    return auctions + number.to_bytes(4, "big") if len(auctions) < 4 * MAX_AUCTIONS else auctions


def filled_by(order: Order, auctions: int) -> Sequence[int]:
    """The numbers of the auctions that filled an order, ascending; from the last one that it remembers on, of all
    ``auctions`` that its slot has had.
    """
    known = [int.from_bytes(order.auctions[at : at + 4], "big") for at in range(0, len(order.auctions), 4)]
    return known if len(known) < MAX_AUCTIONS else [*known, *range(known[-1] + 1, auctions)]


def put_order(ctx: Context, order_id: bytes, order: Order) -> None:
    """Write an order."""
    ctx.put(_ORDER + order_id, tuple(order))


def find_position(ctx: Context, device: str, slot: int) -> Position | None:
    """The device's position in a slot; None if it never had an order there."""
    raw = ctx.get(_POSITION + text(device) + uint(slot))
    return None if raw is None else Position(*cast("Position", raw))


def put_position(ctx: Context, device: str, slot: int, position: Position) -> None:
    """Write a position."""
    ctx.put(_POSITION + text(device) + uint(slot), tuple(position))


def orders_of(ctx: Context, device: str, slot: int, most: int) -> list[tuple[bytes, Order]]:
    """The device's orders in a slot, the newest first, at most ``most``."""
    position = find_position(ctx, device, slot)
    return orders_from(ctx, b"" if position is None else position.last_order, most)


def orders_from(ctx: Context, first: bytes, most: int) -> list[tuple[bytes, Order]]:
    """The order with this id and those of its device and slot that are older, at most ``most``; none if it is empty."""
    found: list[tuple[bytes, Order]] = []
    after = first
    while after and len(found) < most:
        order = require_order(ctx, after)
        found.append((after, order))
        after = order.before
    return found


def check_capacity(position: Position, side: int, energy_wh: int, import_limit_wh: int, export_limit_wh: int) -> None:
    """A device's net position must stay within its limits whichever of its open orders are filled.

    That is: with all its open sells filled and no open buy, and the reverse. Raises ContractError("over-capacity")
    with the details (Wh that could be ordered, Wh asked).
    """
    net = position.bought_wh - position.sold_wh
    if side == BUY:
        room = import_limit_wh - net - position.open_buy_wh
    else:
        room = export_limit_wh + net - position.open_sell_wh
    if energy_wh > room:
        raise ContractError(
            "over-capacity", "beyond what the connection carries in this slot", (max(room, 0), energy_wh)
        )


def check_side(ctx: Context, position: Position, slot: int, side: int) -> None:
    """Open orders of one network at one bus and product are all on one side. Raises ContractError("own-cross")."""
    if position.open_orders:
        other = position.open_sell_wh if side == BUY else position.open_buy_wh
        crossed = other > 0
    else:
        on = ctx.get(_side_key(slot, position.network, position.bus))
        crossed = isinstance(on, tuple) and on[0] != side
    if crossed:
        raise ContractError("own-cross", "this network has open orders on the other side at this bus")


def open_order(ctx: Context, position: Position, order: Order, order_id: bytes) -> None:
    """Count a new order in its device's ``position``, after ``check_side``."""
    network, bus, bought_wh, sold_wh, open_buy_wh, open_sell_wh, open_orders, orders, _, paid, tolls, proceeds = (
        position
    )
    if not open_orders:
        _count_device(ctx, order.slot, position, order.side, 1)
    if order.side == BUY:
        open_buy_wh += order.energy_wh
    else:
        open_sell_wh += order.energy_wh
    counted = Position(
        network, bus, bought_wh, sold_wh, open_buy_wh, open_sell_wh, open_orders + 1, orders + 1, order_id,
        paid, tolls, proceeds,
    )  # fmt: skip
    put_position(ctx, order.device, order.slot, counted)


def shrunk(ctx: Context, position: Position, order: Order, open_wh: int, fill: Fill, *, closed: bool) -> Position:
    """The position when ``open_wh`` of an order are no longer open, because of ``fill`` or because it ends.

    ``closed``: the order is not open any more.
    """
    network, bus, bought_wh, sold_wh, open_buy_wh, open_sell_wh, open_orders, orders, last, paid, tolls, due = position
    if closed:
        open_orders -= 1
        if not open_orders:
            _count_device(ctx, order.slot, position, order.side, -1)
    if order.side == BUY:
        open_buy_wh -= open_wh
        bought_wh += fill.wh
        paid += fill.money
        tolls += fill.tolls
    else:
        open_sell_wh -= open_wh
        sold_wh += fill.wh
        due += fill.money
    return Position(
        network, bus, bought_wh, sold_wh, open_buy_wh, open_sell_wh, open_orders, orders, last, paid, tolls, due
    )


def _count_device(ctx: Context, slot: int, position: Position, side: int, change: int) -> None:
    key = _side_key(slot, position.network, position.bus)
    on = ctx.get(key)
    devices = change + (on[1] if isinstance(on, tuple) else 0)  # type: ignore[operator]
    if devices:
        ctx.put(key, (side, devices))
    else:
        ctx.delete(key)


def _side_key(slot: int, network: str, bus: str) -> bytes:
    return _SIDE + uint(slot) + text(network) + bus.encode()
