"""Is this clearing the one that the rules demand? One pass over orders and buses, no search.

The key prices are the proof. Given them and the fills, every condition is local:

1. *Feasible*: no order is filled beyond its energy, energy balances at each bus, each flow is within its line.
2. *Optimal* (complementary slackness): orders inside the key price of their bus are full, those outside empty, and
   each line's flow is one that its two prices allow. Together with 1 that proves the greatest welfare, and because
   it holds for keys and not just for prices, the greatest volume and the right of older orders too.
3. *The right one of the optimal prices*: the clearing itself says what one Wh more or less out of a subtree would
   cost, by a walk up over what is not yet full; from that each price follows by the auction's rule.
4. *The right one of the optimal quantities*: the rule for ties is worked out anew, from the prices.
5. *Trades and money*: the split is worked out anew from fills and flows, and all sums are added up.

1 to 3 share no code with the search for prices, so a mistake there cannot hide here.
"""

from collections.abc import Iterable, Sequence

from chaincode.auction import Book, settle_money, usable_limits
from chaincode.auction_prices import price_at_rest
from chaincode.auction_quantities import fill, line_interval
from chaincode.auction_types import KEY_SCALE, Clearing, ClearingError, Order
from chaincode.tree import Tree


def verify_clearing(
    tree: Tree,
    capacity_down: Sequence[int | None],
    capacity_up: Sequence[int | None],
    orders: Iterable[Order],
    clearing: Clearing,
) -> None:
    """Check ``clearing`` as the result of ``clear`` with the other arguments.

    ClearingError, besides those of ``clear``: wrong-shape, wrong-fill, unbalanced, over-limit, not-optimal,
    wrong-price, wrong-tie, wrong-split, wrong-sum. The message names the bus, line or order.
    """
    book = Book(orders, len(tree.buses))
    energy = sum(book.energy)
    limit_down = usable_limits(tree, capacity_down, energy)
    limit_up = usable_limits(tree, capacity_up, energy)
    toll = [toll * KEY_SCALE for toll in tree.toll]
    grid = (tree.parent, toll, limit_down, limit_up)

    buses = len(tree.buses)
    if not len(clearing.key_prices) == len(clearing.prices) == len(clearing.flows) == buses or clearing.flows[0]:
        raise ClearingError("wrong-shape", f"prices and flows need one entry for each of {buses} buses, flows[0] = 0")
    filled = _filled(book, clearing)
    flow_up = [-flow for flow in clearing.flows]
    _check_balance(tree, book, filled, flow_up)
    _check_optimal(tree, book, filled, flow_up, clearing.key_prices, grid)
    _check_prices(tree, book, filled, flow_up, clearing.key_prices, grid)
    for bus, (price, key_price) in enumerate(zip(clearing.prices, clearing.key_prices, strict=True)):
        if price != key_price // KEY_SCALE:
            raise ClearingError("wrong-price", f"bus {tree.buses[bus]}: {price} is not the published form of its key")

    ruled_filled, ruled_flow = fill(book.bus, book.selling, book.key, book.energy, grid, clearing.key_prices)
    for order, (ruled, given) in enumerate(zip(ruled_filled, filled, strict=True)):
        if ruled != given:
            raise ClearingError("wrong-tie", f"order {book.ids[order]!r}: {given} Wh, by the rule for ties {ruled}")
    if ruled_flow != flow_up:
        raise ClearingError("wrong-tie", "the flows are not those of the rule for ties")

    ruled_clearing = settle_money(tree, book, clearing.key_prices, filled, flow_up)
    if ruled_clearing.trades != clearing.trades:
        raise ClearingError("wrong-split", "the trades do not follow the flows, nearest first")
    if ruled_clearing != clearing:
        raise ClearingError("wrong-sum", "paid, received, tolls, rent or welfare do not add up")


def _filled(book: Book, clearing: Clearing) -> list[int]:
    filled = [clearing.fills.get(order_id, 0) for order_id in book.ids]
    if len(clearing.fills) != len(filled) - filled.count(0):
        raise ClearingError("wrong-fill", "a fill is zero or of an unknown order")
    for order_id, wh, energy in zip(book.ids, filled, book.energy, strict=True):
        if not 0 <= wh <= energy:
            raise ClearingError("wrong-fill", f"order {order_id!r}: {wh} of {energy} Wh")
    return filled


def _check_balance(tree: Tree, book: Book, filled: Sequence[int], flow_up: Sequence[int]) -> None:
    surplus = [-flow for flow in flow_up]
    for bus in range(1, len(flow_up)):
        surplus[tree.parent[bus]] += flow_up[bus]
    for bus, sells, wh in zip(book.bus, book.selling, filled, strict=True):
        surplus[bus] += wh if sells else -wh
    for bus, wh in enumerate(surplus):
        if wh:
            raise ClearingError("unbalanced", f"bus {tree.buses[bus]}: {wh} Wh more in than out")


_Grid = tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]


def _check_optimal(
    tree: Tree, book: Book, filled: Sequence[int], flow_up: Sequence[int], prices: Sequence[int], grid: _Grid
) -> None:
    parent, toll, limit_down, limit_up = grid
    for bus in range(1, len(parent)):
        if not -limit_down[bus] <= flow_up[bus] <= limit_up[bus]:
            raise ClearingError("over-limit", f"line to {tree.buses[bus]}: {-flow_up[bus]} Wh downwards")
        low, high = line_interval(prices[bus], prices[parent[bus]], toll[bus], limit_down[bus], limit_up[bus])
        if not low <= flow_up[bus] <= high:
            raise ClearingError("not-optimal", f"line to {tree.buses[bus]}: its flow does not fit its prices")
    for order, (bus, sells, key) in enumerate(zip(book.bus, book.selling, book.key, strict=True)):
        better = prices[bus] - key if sells else key - prices[bus]
        if (better > 0 and filled[order] != book.energy[order]) or (better < 0 and filled[order]):
            raise ClearingError("not-optimal", f"order {book.ids[order]!r}: its fill does not fit the price")


def _check_prices(
    tree: Tree, book: Book, filled: Sequence[int], flow_up: Sequence[int], prices: Sequence[int], grid: _Grid
) -> None:
    """Each price must follow from its parent's and from what the next Wh in or out of the subtree would be worth."""
    parent, toll, limit_down, limit_up = grid
    wants_in: list[int | None] = [None] * len(parent)  # the dearest unit that one Wh more would serve
    wants_out: list[int | None] = [None] * len(parent)  # the cheapest that would provide one
    for bus, sells, key, wh, energy in zip(book.bus, book.selling, book.key, filled, book.energy, strict=True):
        if wh if sells else wh < energy:  # a seller to replace, or a buyer to serve
            wants_in[bus] = _dearer(wants_in[bus], key)
        if wh < energy if sells else wh:
            wants_out[bus] = _cheaper(wants_out[bus], key)
    for bus in range(len(parent) - 1, 0, -1):
        above = parent[bus]
        buys, sells_at = wants_in[bus], wants_out[bus]
        if buys is not None and flow_up[bus] > -limit_down[bus]:  # less up earns its toll back, more down costs it
            wants_in[above] = _dearer(wants_in[above], buys + toll[bus] if flow_up[bus] > 0 else buys - toll[bus])
        if sells_at is not None and flow_up[bus] < limit_up[bus]:
            wants_out[above] = _cheaper(
                wants_out[above], sells_at - toll[bus] if flow_up[bus] < 0 else sells_at + toll[bus]
            )
    for bus in range(len(parent)):
        buys, sells_at = wants_in[bus], wants_out[bus]
        if bus == 0:
            ruled = price_at_rest(buys, sells_at, None, None)
        else:
            low, high = prices[parent[bus]] - toll[bus], prices[parent[bus]] + toll[bus]
            if flow_up[bus] > 0 or (sells_at is not None and sells_at < low):
                full = flow_up[bus] == limit_up[bus]
                ruled = min(low, sells_at) if full and sells_at is not None else low
            elif flow_up[bus] < 0 or (buys is not None and buys > high):
                full = flow_up[bus] == -limit_down[bus]
                ruled = max(high, buys) if full and buys is not None else high
            else:
                ruled = price_at_rest(buys, sells_at, low, high)
        if prices[bus] != ruled:
            raise ClearingError("wrong-price", f"bus {tree.buses[bus]}: key {prices[bus]}, by the rule {ruled}")


def _dearer(one: int | None, other: int) -> int:
    return other if one is None or one < other else one


def _cheaper(one: int | None, other: int) -> int:
    return other if one is None or one > other else one
