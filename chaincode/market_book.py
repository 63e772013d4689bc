"""The order book: what rests in the market, as a range of keys in the order in which an auction wants it.

Per product, bus and side the best price comes first, within a price the oldest order. Reading starts at the best and
goes no further than an auction can reach, so that its cost follows the new orders and not the resting ones:

- An order can trade only if somebody's limit, less the tolls on the way and around lines that are full, meets its own.
  The best limit that reaches each bus is found by two walks over the tree from the best order of every bus.
- Orders that were left at rest by one auction cannot trade with each other in the next, whatever has been contracted
  since: every trade has at least one new order. So of all resting sells no more Wh can be filled than there are new
  buys, and the reverse. The nearest to the last auction's prices are read; where that turns out to be too little,
  because all that was read of a bus and side is filled, more of these is.
- The first order of each bus and side that cannot be filled is read as well, since it bounds the price.

State: table ``book/``: slot(8) bus side(1) price(8) age(4) order id(32) -> (Wh left, renewable); buys hold 2^63-1 -
price, so that the highest comes first. Table ``pending/``: slot(8) -> Pending, while a product has new orders. Table
``instant/``: slot(8) order id -> True for new orders that are to live for one auction only.
"""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heapreplace
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


class Group:
    """The orders of one side at one bus, the best first, as far as they have been read.

    ``orders``: what has been read, whole levels; ``ahead``: the next one, None if nobody reaches any that is behind.
    A *level* is what shares price and age, and so its fill; it is never read in part.
    """

    __slots__ = ("_at", "_bound", "_prefix", "_rows", "ahead", "bus", "orders", "side")

    def __init__(self, bus: int, side: int, prefix: bytes, rows: Iterator[tuple[bytes, Value]], ahead: Order) -> None:
        self.bus = bus
        self.side = side
        self.ahead: Order | None = ahead
        self.orders: list[Order] = []
        self._prefix = prefix
        self._at = len(prefix)
        self._rows = rows
        self._bound: int | None = None

    def reach(self, bound: int | None) -> None:
        """Beyond the limit ``bound`` nobody trades; None: nobody at all. Of such orders only the first is read."""
        self._bound = bound
        self._stop_beyond()

    def beyond(self, price: int) -> int:
        """How much worse than ``price`` the order ahead is for whoever takes it."""
        assert self.ahead is not None, "nothing is ahead"
        return self.ahead.price - price if self.side == SELL else price - self.ahead.price

    def take(self) -> Order:
        """Read the order ahead."""
        taken = self.ahead
        assert taken is not None, "nothing is ahead"
        self.orders.append(taken)
        found = next(self._rows, None)
        self.ahead = None
        if found is not None and found[0].startswith(self._prefix):
            self.ahead = _seen(found[0], self._at, self.bus, self.side, found[1])
            self._stop_beyond()
        return taken

    def take_level(self) -> None:
        """Read the order ahead, if there is one, and whatever shares its level."""
        if self.ahead is not None:
            last = self.take()
            while self.ahead is not None and _level(self.ahead) == _level(last):
                self.take()

    def _stop_beyond(self) -> None:
        ahead = self.ahead
        if ahead is not None and (self._bound is None or self.beyond(self._bound) > 0):
            self.orders.append(ahead)
            self.ahead = None


def groups(
    ctx: Context,
    slot: int,
    pinned: Pinned,
    capacity_down: Sequence[int | None],
    capacity_up: Sequence[int | None],
    pending: Pending,
    prices: Sequence[int],
) -> list[Group]:
    """Every bus and side that has orders, in the order of the book, read as far as the next auction is likely to go.

    ``prices``: the last auction's.
    """
    found = _open_groups(ctx, slot, pinned.index_of)
    heads = {(group.bus, group.side): group.ahead.price for group in found if group.ahead is not None}
    ceiling, floor = reach(pinned.tree, capacity_down, capacity_up, heads)
    for group in found:
        group.reach(ceiling[group.bus] if group.side == SELL else floor[group.bus])
    _read_nearest(found, prices, pending, within=False)
    return found


def read_on(dry: Sequence[Group], prices: Sequence[int], pending: Pending) -> None:
    """Read more of groups that ran dry in an auction with these ``prices``."""
    _read_nearest(dry, prices, pending, within=True)


def _read_nearest(chosen: Sequence[Group], prices: Sequence[int], pending: Pending, *, within: bool) -> None:
    """Of what rested before the auction read as much as its new orders leave to each side, at least an eighth of them:
    the nearest to ``prices``, and all on the way to it; if ``within``, nothing that is beyond them. Then a level more
    of each group, which shows whether this was enough.
    """
    new = pending.buy_wh, pending.sell_wh
    for side, other, own in ((SELL, *new), (BUY, *reversed(new))):
        most_wh = max(other - own, other // 8)
        rows = [group for group in chosen if group.side == side]
        nearest = [
            (beyond, index)
            for index, group in enumerate(rows)
            if group.ahead is not None and ((beyond := group.beyond(prices[group.bus])) <= 0 or not within)
        ]
        heapify(nearest)
        while nearest and most_wh > 0:
            index = nearest[0][1]
            group = rows[index]
            taken = group.take()
            if taken.age != pending.auction:
                most_wh -= taken.energy_wh
            if group.ahead is None or ((beyond := group.beyond(prices[group.bus])) > 0 and within):
                heappop(nearest)
            else:
                heapreplace(nearest, (group.beyond(prices[group.bus]), index))
        for group in rows:
            group.take_level()


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


def _open_groups(ctx: Context, slot: int, index_of: dict[str, int]) -> list[Group]:
    """Every bus and side that has orders, each with its best order ahead, by jumping from group to group."""
    start = BOOK + uint(slot)
    found: list[Group] = []
    after = b""
    while True:
        rows = ctx.scan(start, after=after)
        first = next(rows, None)
        if first is None:
            return found
        key, value = first
        end = key.index(b"\0", _BUS_AT)
        bus, side = index_of[key[_BUS_AT:end].decode()], _SIDE_BYTES.index(key[end + 1 : end + 2])
        prefix = key[: end + 2]
        found.append(Group(bus, side, prefix, rows, _seen(key, end + 2, bus, side, value)))
        after = prefix + _LAST


def _seen(key: bytes, at: int, bus: int, side: int, value: Value) -> Order:
    """A row of the book as an auction sees it; its price begins at ``key[at]``."""
    price = int.from_bytes(key[at : at + 8], "big")
    age = int.from_bytes(key[at + 8 : at + 12], "big")
    left_wh, renewable = cast("tuple[int, bool]", value)
    return Order(key[at + 12 :], bus, side, MAX_AMOUNT - price if side == BUY else price, left_wh, age, renewable)


def _level(order: Order) -> tuple[int, int]:
    return order.price, min(order.age, OLDEST_MERGED_AGE)


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
