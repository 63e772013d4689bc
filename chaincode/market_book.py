"""The order book: what rests in the market, as a range of keys in the order in which an auction wants it.

Per product, bus and side the best price comes first, within a price the oldest order. Reading starts at the best and
goes no further than an auction can reach, so that its cost follows the new orders and not the resting ones:

- An order can trade only if somebody's limit, less the tolls on the way and around lines that are full, meets its own.
  The best limit that reaches each bus is found by two walks over the tree from the best order of every bus.
- Orders that were left at rest by one auction cannot trade with each other in the next, whatever has been contracted
  since: every trade has at least one new order. So of the resting sells of one bus no more Wh can be filled than there
  are new buys, and the reverse.
- The first order of each bus and side that cannot be filled is read as well, since it bounds the price.

State: table ``book/``: slot(8) bus side(1) price(8) age(4) order id(32) -> (Wh left, renewable); buys hold 2^63-1 -
price, so that the highest comes first. Table ``pending/``: slot(8) -> Pending, while a product has new orders. Table
``instant/``: slot(8) order id -> True for new orders that are to live for one auction only.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, cast

from chaincode.auction import BUY, OLDEST_MERGED_AGE, SELL, Order
from chaincode.contract import MAX_AMOUNT, Context, Value
from chaincode.grid import Pinned
from chaincode.keys import text, uint
from chaincode.market_orders import Order as OrderRecord
from chaincode.tree import Tree

BOOK: Final = b"book/"
PENDING: Final = b"pending/"
INSTANT: Final = b"instant/"

_SIDE_BYTES: Final = (b"b", b"s")
_BUS_AT: Final = len(BOOK) + 8
_LAST: Final = b"\xff"  # behind every price: they have 63 bits


class Pending(NamedTuple):
    """A product's new orders: the number of the auction that they wait for, how many there are, the Wh to buy and to
    sell, and when the auction is to be.
    """

    auction: int
    orders: int
    buy_wh: int
    sell_wh: int
    tick: int


class Entry(NamedTuple):
    """One resting order."""

    bus: str
    side: int
    price: int
    age: int
    order: bytes
    left_wh: int
    renewable: bool


def find_pending(ctx: Context, slot: int) -> Pending | None:
    """What waits for the product's next auction; None if nothing is new."""
    raw = ctx.get(PENDING + uint(slot))
    return None if raw is None else Pending(*cast("Pending", raw))


def put_pending(ctx: Context, slot: int, pending: Pending | None) -> None:
    """Write or remove it."""
    if pending is None:
        ctx.delete(PENDING + uint(slot))
    else:
        ctx.put(PENDING + uint(slot), tuple(pending))


def put(ctx: Context, order: OrderRecord, order_id: bytes) -> None:
    """Enter an order, or change what is left of it."""
    ctx.put(_key(order, order_id), (order.energy_wh - order.filled_wh, order.renewable))


def remove(ctx: Context, order: OrderRecord, order_id: bytes) -> None:
    """Take an order out."""
    ctx.delete(_key(order, order_id))


def drop(ctx: Context, slot: int, entry: Entry) -> None:
    """Take out what was read, whatever the order itself says."""
    key = _group(slot, entry.bus, entry.side) + _rank(entry.side, entry.price, entry.age)
    ctx.delete(key + entry.order)


def put_instant(ctx: Context, slot: int, order: bytes) -> None:
    """Note that the order ends with the coming auction."""
    ctx.put(INSTANT + uint(slot) + order, True)


def take_instant(ctx: Context, slot: int) -> list[bytes]:
    """The orders that end with this auction; forgotten hereby."""
    keys = [key for key, _ in ctx.scan(INSTANT + uint(slot))]
    for key in keys:
        ctx.delete(key)
    return [key[len(INSTANT) + 8 :] for key in keys]


def entries(ctx: Context, slot: int) -> Iterator[Entry]:
    """All resting orders of a product: by bus, buys first, best first. Not to be written to meanwhile."""
    for key, value in ctx.scan(BOOK + uint(slot)):
        yield _entry(key, value)


class Group(NamedTuple):
    """The orders of one side at one bus, as far as an auction can reach.

    ``bound``: beyond this limit nobody trades (None: nobody at all); ``most_wh``: of what rested before the auction
    no more is filled.
    """

    name: str
    bus: int
    side: int
    bound: int | None
    most_wh: int


def groups(
    ctx: Context,
    slot: int,
    pinned: Pinned,
    capacity_down: Sequence[int | None],
    capacity_up: Sequence[int | None],
    pending: Pending,
) -> list[Group]:
    """Every bus and side that has orders, in the order of the book."""
    heads = _heads(ctx, slot, pinned.index_of)
    ceiling, floor = reach(pinned.tree, capacity_down, capacity_up, heads)
    return [
        Group(pinned.buses[bus], bus, SELL, ceiling[bus], pending.buy_wh)
        if side == SELL
        else Group(pinned.buses[bus], bus, BUY, floor[bus], pending.sell_wh)
        for bus, side in heads
    ]


def read(ctx: Context, slot: int, group: Group, depth_wh: int, auction: int) -> tuple[list[Order], bool]:
    """A group's orders from the best on: until ``depth_wh`` of what rested before ``auction``, or the first that
    nobody reaches, which is read too. And whether there is more behind them that could be reached.

    Orders that share the last one's price and age come along, since they share its fill.
    """
    prefix = _group(slot, group.name, group.side)
    _, bus, side, bound, _ = group
    at = len(prefix)
    chosen: list[Order] = []
    last: tuple[int, int] | None = None
    for key, value in ctx.scan(prefix):
        price = int.from_bytes(key[at : at + 8], "big")
        age = int.from_bytes(key[at + 8 : at + 12], "big")
        if side == BUY:
            price = MAX_AMOUNT - price
        level = (price, min(age, OLDEST_MERGED_AGE))
        if depth_wh <= 0 and level != last:
            return chosen, True
        last = level
        left_wh, renewable = cast("tuple[int, bool]", value)
        chosen.append(Order(key[at + 12 :], bus, side, price, left_wh, age, renewable))
        if bound is None or (price < bound if side == BUY else price > bound):
            break
        if age != auction:
            depth_wh -= left_wh
    return chosen, False


def reach(
    tree: Tree,
    capacity_down: Sequence[int | None],
    capacity_up: Sequence[int | None],
    heads: dict[tuple[int, int], int],
) -> tuple[list[int | None], list[int | None]]:
    """Per bus: what a seller there could get at best, and what a buyer there would have to pay at least.

    ``heads``: (bus, side) -> the best price of its orders. None: nobody can be reached.
    """
    ceiling = [heads.get((bus, BUY)) for bus in range(len(tree.buses))]
    floor = [heads.get((bus, SELL)) for bus in range(len(tree.buses))]
    parent, toll = tree.parent, tree.toll
    for bus in range(len(parent) - 1, 0, -1):
        above = parent[bus]
        if capacity_down[bus] != 0:  # a seller above sells to a buyer below
            ceiling[above] = _higher(ceiling[above], ceiling[bus], -toll[bus])
        if capacity_up[bus] != 0:  # a buyer above buys from a seller below
            floor[above] = _lower(floor[above], floor[bus], toll[bus])
    for bus in range(1, len(parent)):
        above = parent[bus]
        if capacity_up[bus] != 0:
            ceiling[bus] = _higher(ceiling[bus], ceiling[above], -toll[bus])
        if capacity_down[bus] != 0:
            floor[bus] = _lower(floor[bus], floor[above], toll[bus])
    return ceiling, floor


def _higher(one: int | None, other: int | None, change: int) -> int | None:
    if other is None or (one is not None and one >= other + change):
        return one
    return other + change


def _lower(one: int | None, other: int | None, change: int) -> int | None:
    if other is None or (one is not None and one <= other + change):
        return one
    return other + change


def _heads(ctx: Context, slot: int, index_of: dict[str, int]) -> dict[tuple[int, int], int]:
    """The best price of every bus and side that has orders, by jumping from group to group."""
    prefix = BOOK + uint(slot)
    heads: dict[tuple[int, int], int] = {}
    after = b""
    while True:
        first = next(ctx.scan(prefix, after=after), None)
        if first is None:
            return heads
        key = first[0]
        end = key.index(b"\0", _BUS_AT)
        side, price = _side_and_price(key, end)
        heads[index_of[key[_BUS_AT:end].decode()], side] = price
        after = key[: end + 2] + _LAST


def _group(slot: int, bus: str, side: int) -> bytes:
    return BOOK + uint(slot) + text(bus) + _SIDE_BYTES[side]


def _key(order: OrderRecord, order_id: bytes) -> bytes:
    return _group(order.slot, order.bus, order.side) + _rank(order.side, order.price, order.age) + order_id


def _rank(side: int, price: int, age: int) -> bytes:
    return uint(price if side == SELL else MAX_AMOUNT - price) + uint(age, 4)


def _side_and_price(key: bytes, end_of_bus: int) -> tuple[int, int]:
    price = int.from_bytes(key[end_of_bus + 2 : end_of_bus + 10], "big")
    if key[end_of_bus + 1] == _SIDE_BYTES[BUY][0]:
        return BUY, MAX_AMOUNT - price
    return SELL, price


def _entry(key: bytes, value: Value) -> Entry:
    end = key.index(b"\0", _BUS_AT)
    side, price = _side_and_price(key, end)
    age = int.from_bytes(key[end + 10 : end + 14], "big")
    left_wh, renewable = cast("tuple[int, bool]", value)
    return Entry(key[_BUS_AT:end].decode(), side, price, age, key[end + 14 :], left_wh, renewable)
