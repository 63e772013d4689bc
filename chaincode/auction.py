"""The auction: orders in, prices and trades out. A pure function.

Theory of operation
===================

*What is maximised.* Orders to buy and to sell energy in one delivery slot lie at the buses of a radial grid. Moving
one Wh over a line costs the line's toll; a line may have a limit each way. The auction maximises the gain from
trade: what the filled buyers would have paid, less what the filled sellers asked, less the tolls. Energy balances
at every bus. This is the spatial price equilibrium of Samuelson (1952) and Takayama and Judge (1964); its
solution comes with one price per bus, which sellers at the bus receive and buyers at the bus pay, and along a line
the prices differ by at most the toll; by exactly the toll, in the direction of flow, where energy flows below the
limit; by more only where the line is full.

*Four steps*, each in a module of its own, each linear or O(n log n):

    auction_prices      a walk up adds the net supply curves, a walk down fixes the price of every bus
    auction_quantities  orders inside the price are full, those outside empty, those at it share
    auction_split       who sold to whom: nearest first, along the net flows
    auction_check       the proof: the same conditions, checked without any of the above's search

*Ties are settled by prices too.* With M = KEY_SCALE and c the age class (0 = oldest), a sell at price p has the key
p M + c, a buy p M + M-1-c, a toll t weighs t M, and the auction runs on keys; the published price is the key price
// M. Since 2c < M-1, a buy and a sell of equal price differ by at least one key unit in favour of trading, and an
older order has the better key. Dividing by M maps every equilibrium of the keys onto one of the prices, so the
welfare is untouched; and among the clearings of greatest welfare, the one found has

  - the greatest volume, and
  - for either side and every age class c, the most energy filled from orders not younger than c.

Both hold under any limits: the difference of two clearings splits into paths through the tree, each of
which joins two orders and is feasible alone. If another clearing of the same welfare had more volume, one of its paths
would raise a buy and a sell, which gains M-1-c-c' > 0 in keys; if it had more energy from older orders of one
side, one path would raise an older order and lower a younger one (or raise an order of the other side), which gains as
well. Either contradicts the optimum of the keys.

*What it depends on.* Integers only, so the optimum is exact. Orders are taken as a set: they are sorted by id first,
and the tree's indices follow from names. Orders of one bus, side and key share pro rata (largest remainder, then id).

*Cost by what is new.* After an auction the orders left at rest cannot trade with each other, whatever flows
were contracted, since a toll is paid on every auction's own flow. So a new auction fills at most as much from
resting sells as there is new demand, and the reverse. One Wh more, since the first unit left over may bound the price:
so deep into each bus's resting orders an auction can look; with these alone its result is that of the whole book.
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

from chaincode.auction_prices import equilibrium_prices
from chaincode.auction_quantities import fill
from chaincode.auction_split import split
from chaincode.auction_types import (
    BUY,
    KEY_SCALE,
    OLDEST_MERGED_AGE,
    SELL,
    Clearing,
    ClearingError,
    Order,
    Trade,
)
from chaincode.contract import MAX_AMOUNT
from chaincode.tree import Tree

__all__ = [
    "BUY",
    "KEY_SCALE",
    "OLDEST_MERGED_AGE",
    "SELL",
    "Book",
    "Clearing",
    "ClearingError",
    "Order",
    "Solution",
    "Trade",
    "clear",
    "settle_money",
    "solve",
]


class Book:
    """The orders of one auction, validated and sorted by id, column by column."""

    __slots__ = ("bus", "energy", "ids", "key", "price", "renewable", "selling")

    def __init__(self, orders: Iterable[Order], buses: int) -> None:
        """ClearingError: bad-order, duplicate-order."""
        self.ids: list[bytes] = []
        self.bus: list[int] = []
        self.selling: list[bool] = []
        self.price: list[int] = []
        self.energy: list[int] = []
        self.key: list[int] = []
        self.renewable: list[bool] = []
        previous = b""
        for order in sorted(orders, key=itemgetter(0)):
            order_id, bus, side, price, energy, age, renewable = order
            if not (0 <= bus < buses and 0 <= price <= MAX_AMOUNT and 0 < energy <= MAX_AMOUNT and age >= 0):
                raise ClearingError("bad-order", f"order {order_id!r}: bus, price, energy or age out of range")
            if not order_id:
                raise ClearingError("bad-order", "an order without an id")
            if order_id == previous:
                raise ClearingError("duplicate-order", f"order {order_id!r} is there twice")
            previous = order_id
            age_class = min(age, OLDEST_MERGED_AGE)
            if side == SELL:
                self.selling.append(True)
                self.key.append(price * KEY_SCALE + age_class)
            elif side == BUY:
                self.selling.append(False)
                self.key.append(price * KEY_SCALE + KEY_SCALE - 1 - age_class)
            else:
                raise ClearingError("bad-order", f"order {order_id!r}: the side is BUY or SELL")
            self.ids.append(order_id)
            self.bus.append(bus)
            self.price.append(price)
            self.energy.append(energy)
            self.renewable.append(renewable)


def usable_limits(tree: Tree, capacity: Sequence[int | None], energy_wh: int) -> list[int]:
    """Per line, what may flow; without limit all the energy there is, as no flow exceeds it. May raise bad-capacity."""
    if len(capacity) != len(tree.buses):
        raise ClearingError("bad-capacity", f"{len(capacity)} capacities for {len(tree.buses)} buses")
    limits = [energy_wh if limit is None else limit for limit in capacity]
    limits[0] = 0
    if min(limits) < 0:
        raise ClearingError("bad-capacity", f"the line to {tree.buses[limits.index(min(limits))]}: below zero")
    return limits


class Solution(NamedTuple):
    """Prices (in keys) per bus, the filled Wh of each order of ``book``, and per bus the Wh that flow to its parent."""

    book: Book
    key_prices: list[int]
    filled: list[int]
    flow_up: list[int]


def clear(
    tree: Tree,
    capacity_down: Sequence[int | None],
    capacity_up: Sequence[int | None],
    orders: Iterable[Order],
) -> Clearing:
    """Run one auction.

    ``capacity_down[i]`` and ``capacity_up[i]``: the Wh that may still flow over the line above bus i from parent to
    child and from child to parent, i.e. K_down - F and K_up + F with F the net flow contracted so far; None = no
    limit; entry 0 is unused. Prices in base units per Wh, energies in Wh, money in base units; all exact.
    ClearingError: bad-order, duplicate-order, bad-capacity.
    """
    return settle_money(tree, *solve(tree, capacity_down, capacity_up, orders))


def solve(
    tree: Tree,
    capacity_down: Sequence[int | None],
    capacity_up: Sequence[int | None],
    orders: Iterable[Order],
) -> Solution:
    """The first two steps of ``clear``, of which ``settle_money`` makes the others."""
    book = Book(orders, len(tree.buses))
    energy = sum(book.energy)
    limit_down = usable_limits(tree, capacity_down, energy)
    limit_up = usable_limits(tree, capacity_up, energy)
    toll = [toll * KEY_SCALE for toll in tree.toll]

    orders_at: list[list[tuple[int, int]]] = [[] for _ in tree.buses]
    demand_at = [0] * len(tree.buses)
    for bus, sells, key, wh in zip(book.bus, book.selling, book.key, book.energy, strict=True):
        orders_at[bus].append((key, wh))
        if not sells:
            demand_at[bus] += wh
    key_prices = equilibrium_prices(tree.parent, toll, limit_down, limit_up, orders_at, demand_at)

    grid = (tree.parent, toll, limit_down, limit_up)
    filled, flow_up = fill(book.bus, book.selling, book.key, book.energy, grid, key_prices)
    return Solution(book, key_prices, filled, flow_up)


def settle_money(
    tree: Tree, book: Book, key_prices: Sequence[int], filled: Sequence[int], flow_up: Sequence[int]
) -> Clearing:
    """Split fills into trades, and add up who pays what."""
    prices = [key_price // KEY_SCALE for key_price in key_prices]
    ids, bus = book.ids, book.bus
    trades = []
    paid = received = 0
    for buyer, seller, wh, toll in split(tree.parent, tree.toll, flow_up, bus, book.selling, filled, book.renewable):
        buyer_price, seller_price = prices[bus[buyer]], prices[bus[seller]]
        paid += buyer_price * wh
        received += seller_price * wh
        trades.append(Trade(ids[buyer], ids[seller], wh, buyer_price, seller_price, toll))
    tolls = sum(toll * abs(flow) for toll, flow in zip(tree.toll, flow_up, strict=True))
    gain = sum(
        [
            -price * wh if sells else price * wh
            for price, wh, sells in zip(book.price, filled, book.selling, strict=True)
        ]
    )
    return Clearing(
        key_prices=tuple(key_prices),
        prices=tuple(prices),
        fills={order_id: wh for order_id, wh in zip(ids, filled, strict=True) if wh},
        flows=tuple([-flow for flow in flow_up]),
        trades=tuple(trades),
        paid=paid,
        received=received,
        tolls=tolls,
        rent=paid - received - tolls,
        welfare=gain - tolls,
    )
