"""The auction against optimisers that know nothing of it: linear programming, enumeration, the textbook."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode.auction import BUY, SELL, Clearing, Order, clear
from chaincode.auction_check import verify_clearing
from chaincode.tree import Line, Tree
from tests.at_length import examples
from tests.chaincode.auction_markets import Market, Oracle, markets, one_bus, order, order_lists


def volume(market: Market, clearing: Clearing) -> int:
    return sum(clearing.fills.get(item.id, 0) for item in market.orders if item.side == BUY)


@settings(max_examples=examples(250), deadline=None)
@given(markets())
def test_welfare_and_volume_equal_the_linear_programs(market: Market) -> None:
    clearing, oracle = market.clear(), Oracle(market)
    assert clearing.welfare == oracle.best_welfare()
    assert volume(market, clearing) == oracle.most_filled(
        [item.side == BUY for item in market.orders], clearing.welfare
    )


@settings(max_examples=examples(100), deadline=None)
@given(markets(), st.sampled_from([BUY, SELL]), st.sampled_from([0, 1, 2]))
def test_older_orders_get_the_most_they_can_under_any_limits(market: Market, side: int, age: int) -> None:
    """For either side and every age, no clearing of the same welfare fills more from orders not younger than that."""
    clearing = market.clear()
    counted = [item.side == side and item.age <= age for item in market.orders]
    filled = sum(clearing.fills.get(item.id, 0) for item, count in zip(market.orders, counted, strict=True) if count)
    assert filled == Oracle(market).most_filled(counted, clearing.welfare)


@settings(max_examples=examples(100), deadline=None)
@given(markets())
def test_every_result_passes_the_check(market: Market) -> None:
    tree = market.tree
    verify_clearing(tree, tree.limit_down_wh, tree.limit_up_wh, market.orders, market.clear())


@settings(max_examples=examples(150), deadline=None)
@given(order_lists(1))
def test_one_bus_is_the_textbook_intersection(orders: tuple[Order, ...]) -> None:
    """Sort both sides, trade until they cross: the price lies between the last traded and the first not traded."""
    buys = sorted((item.price for item in orders if item.side == BUY for _ in range(item.energy_wh)), reverse=True)
    sells = sorted(item.price for item in orders if item.side == SELL for _ in range(item.energy_wh))
    traded = 0
    while traded < min(len(buys), len(sells)) and buys[traded] >= sells[traded]:
        traded += 1
    market = Market(one_bus(), orders)
    clearing = market.clear()
    assert volume(market, clearing) == traded
    assert clearing.welfare == sum(buys[:traded]) - sum(sells[:traded])
    if traded:
        lowest = max([sells[traded - 1], *buys[traded : traded + 1]])
        highest = min([buys[traded - 1], *sells[traded : traded + 1]])
        assert clearing.prices[0] in {(lowest + highest) // 2, (lowest + highest + 1) // 2}


def test_the_floor_of_the_middle() -> None:
    orders = [order("b", 0, BUY, 13, 5), order("s", 0, SELL, 10, 5)]
    assert clear(one_bus(), [None], [None], orders).prices == (11,)


def brute_force(orders: tuple[Order, ...], toll: int, limit_down: int | None, limit_up: int | None) -> tuple[int, int]:
    """(welfare, volume) of the best of all clearings on two buses."""
    best = (0, 0)
    for fills in itertools.product(*(range(item.energy_wh + 1) for item in orders)):
        surplus, welfare, bought = [0, 0], 0, 0
        for item, wh in zip(orders, fills, strict=True):
            surplus[item.bus] += wh if item.side == SELL else -wh
            welfare += wh * (item.price if item.side == BUY else -item.price)
            bought += wh if item.side == BUY else 0
        up = surplus[1]
        if surplus[0] == -up and (limit_up is None or up <= limit_up) and (limit_down is None or -up <= limit_down):
            best = max(best, (welfare - toll * abs(up), bought))
    return best


@pytest.mark.parametrize("toll", [0, 1])
@pytest.mark.parametrize(("limit_down", "limit_up"), [(None, None), (0, None), (1, 1)])
def test_every_tiny_market(toll: int, limit_down: int | None, limit_up: int | None) -> None:
    """All markets of up to three orders on two buses, three prices, one or two Wh: against enumeration."""
    tree = Tree.build("a", [Line("a", "b", toll, limit_down, limit_up)])
    kinds = list(itertools.product((0, 1), (BUY, SELL), (0, 1, 2), (1, 2)))
    tried = 0
    for count in (1, 2, 3):
        for chosen in itertools.combinations_with_replacement(kinds, count):
            orders = tuple(Order(bytes([number + 1]), *kind, number % 2) for number, kind in enumerate(chosen))
            clearing = clear(tree, [None, limit_down], [None, limit_up], orders)
            bought = sum(clearing.fills.get(item.id, 0) for item in orders if item.side == BUY)
            assert (clearing.welfare, bought) == brute_force(orders, toll, limit_down, limit_up), orders
            tried += 1
    assert tried == 24 + 300 + 2600


@settings(max_examples=examples(60), deadline=None)
@given(markets(), st.integers(1, 2**40), st.integers(1, 2**40))
def test_exact_at_any_size(market: Market, times_price: int, times_energy: int) -> None:
    """Prices and tolls times a, energies and limits times b: the welfare times a x b, to the last unit."""
    tree = market.tree
    huge = Tree(
        tree.buses,
        tree.parent,
        tuple(toll * times_price for toll in tree.toll),
        tuple(None if limit is None else limit * times_energy for limit in tree.limit_down_wh),
        tuple(None if limit is None else limit * times_energy for limit in tree.limit_up_wh),
    )
    orders = tuple(
        item._replace(price=item.price * times_price, energy_wh=item.energy_wh * times_energy) for item in market.orders
    )
    clearing = Market(huge, orders).clear()
    assert clearing.welfare == market.clear().welfare * times_price * times_energy
    verify_clearing(huge, huge.limit_down_wh, huge.limit_up_wh, orders, clearing)


def test_the_largest_amounts() -> None:
    most = 2**63 - 1
    tree = Tree.build("a", [Line("a", "b", most // 2, most, most)])
    orders = [order("b", 0, BUY, most, most), order("s", 1, SELL, 1, most), order("t", 1, SELL, 0, most - 1)]
    clearing = clear(tree, tree.limit_down_wh, tree.limit_up_wh, orders)
    assert clearing.fills == {b"b": most, b"s": 1, b"t": most - 1}
    assert clearing.welfare == most * most - 1 - (most // 2) * most
    verify_clearing(tree, tree.limit_down_wh, tree.limit_up_wh, orders, clearing)
