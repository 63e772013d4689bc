"""What an auction reads of the book: as little as it may, and the result is that of the whole book."""

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import grid, market_book, market_certificate, market_products
from chaincode.auction import BUY, SELL, Clearing, clear
from chaincode.contract import ContractError, Value
from chaincode.tree import Line, Tree
from tests.at_length import examples
from tests.chaincode.market_auditor import whole_book
from tests.chaincode.marketplace import FEED_IN, RETAIL, SLOT_S, marketplace, order, tick
from tests.chaincode.world import World

BUSES = ("t", "a", "b", "c", "d")
SLOT = 1

limit_w = st.one_of(st.none(), st.none(), st.sampled_from([0, 400, 2_000, 6_000]))
lines = st.tuples(
    *[
        st.tuples(
            st.sampled_from(BUSES[:child]), st.just(BUSES[child]), st.just(0), st.integers(0, 12), limit_w, limit_w
        )
        for child in range(1, len(BUSES))
    ]
)
placed = st.tuples(
    st.sampled_from(BUSES), st.sampled_from(["buy", "sell"]), st.integers(100, 900),
    st.one_of(st.integers(FEED_IN, RETAIL), st.sampled_from([45, 50, 55])),
    st.sampled_from(["gate", "gate", "auction"]),
)  # fmt: skip
rounds = st.lists(st.lists(placed, min_size=1, max_size=14), min_size=1, max_size=5)


def whole(world: World) -> tuple[Clearing, int]:
    """The clearing of everything in the book, and how many orders that is."""
    with world.transaction() as ctx:
        product = market_products.require(ctx, SLOT)
        tree = grid.pinned(ctx, product.grid_version).tree
        flows = market_products.flows_of(ctx, SLOT) or (0,) * len(tree.buses)
        book = whole_book(ctx, SLOT, tree)
    return clear(tree, *market_certificate.capacities(tree, flows), book), len(book)


@settings(max_examples=examples(150), deadline=None)
@given(grid_lines=lines, all_rounds=rounds)
def test_reading_part_of_the_book_changes_nothing(
    grid_lines: tuple[tuple[Value, ...], ...], all_rounds: list[list[tuple[str, str, int, int, str]]]
) -> None:
    # A buyer and a seller of their own network for every bus: nobody is on both sides.
    devices = {
        f"{side}-{bus}/ev": (f"{side}-{bus}", "ev", bus, 10**6, 10**6) for bus in BUSES for side in ("buy", "sell")
    }
    world = marketplace(devices, grid_lines, allocated=10**12)
    for number, orders in enumerate(all_rounds):
        for bus, side, wh, price, until in orders:
            order(world, f"{side}-{bus}/ev", side, wh=wh, price=price, until=until)
        expected, orders_at_rest = whole(world)
        tick(world)
        record, rows, trades = cast("Any", world.query("market", "auction", slot=SLOT, number=number))
        auction = market_certificate.Auction(*record)
        assert auction.key_prices == expected.key_prices
        assert {row[0]: row[7] for row in rows if row[7]} == expected.fills
        assert trades == tuple(tuple(trade) for trade in expected.trades)
        assert auction.orders <= orders_at_rest


def test_the_cost_follows_the_new_orders_and_not_the_resting_ones() -> None:
    devices = {
        "buyers/ev": ("buyers", "ev", "a", 10**9, 0),
        "sellers/ev": ("sellers", "ev", "b", 0, 10**9),
        "last/ev": ("last", "ev", "a", 10**9, 0),
    }
    world = marketplace(devices, (("t", "a", 0, 5, None, None), ("a", "b", 0, 5, None, None)), allocated=10**12)
    for i in range(200):
        order(world, "buyers/ev", "buy", wh=100, price=30 + i % 10)
        order(world, "sellers/ev", "sell", wh=100, price=60 + i % 10)
    tick(world)
    order(world, "last/ev", "buy", wh=250, price=70)
    tick(world)
    _, rows, trades = cast("Any", world.query("market", "auction", slot=SLOT, number=1))
    assert sum(trade[2] for trade in trades) == 250
    # Of the sells, the twenty that share the best price; of the buys, the new one and the best at rest.
    assert len(rows) <= 22


def test_reach_goes_over_tolls_and_stops_at_full_lines() -> None:
    tree = Tree.build("t", [Line("t", "a", 5), Line("a", "b", 7), Line("t", "c", 1)])
    t, a, c, b = (tree.index_of()[bus] for bus in ("t", "a", "c", "b"))
    heads = {(b, BUY): 60, (c, SELL): 40}
    none: list[int | None] = [None] * 4
    ceiling, floor = market_book.reach(tree, none, none, heads)
    assert [ceiling[bus] for bus in (t, a, b, c)] == [48, 53, 60, 47]
    assert [floor[bus] for bus in (t, a, b, c)] == [41, 46, 53, 40]
    full_down = list(none)
    full_down[b] = 0
    ceiling, floor = market_book.reach(tree, full_down, none, heads)
    assert [ceiling[bus] for bus in (t, a, b, c)] == [None, None, 60, None]
    assert [floor[bus] for bus in (t, a, b, c)] == [41, 46, None, 40]


def test_the_largest_prices_and_tolls_can_be_kept() -> None:
    """A grid at the bound of tolls, a tariff at the bound of prices: what an auction writes still fits the state."""
    most = market_products.max_price(SLOT_S)
    lines = (("t", "a", 0, grid.MAX_TOLLS - 1, None, None), ("a", "b", 0, 1, None, None))
    devices = {"n1/ev": ("n1", "ev", "b", 1_000, 1_000), "n2/ev": ("n2", "ev", "t", 1_000, 1_000)}
    world = marketplace(devices, lines, allocated=2**56, tariffs=((0, most, 0),))
    order(world, "n1/ev", "buy", wh=100, price=most)
    order(world, "n2/ev", "sell", wh=100, price=most)
    tick(world)
    _, _, prices = cast("Any", world.query("market", "prices", slot=1))
    assert max(price for _, price in prices) <= most + grid.MAX_TOLLS


def test_tolls_and_tariffs_beyond_the_bound_are_refused() -> None:
    with pytest.raises(ContractError, match="bad-toll"):
        marketplace(lines=(("t", "a", 0, grid.MAX_TOLLS, None, None), ("a", "b", 0, 1, None, None)))
    with pytest.raises(ContractError, match="bad-settings"):
        marketplace(tariffs=((0, market_products.max_price(SLOT_S) + 1, 0),))
    with pytest.raises(ContractError, match="bad-settings"):
        marketplace(slot_seconds=2 * SLOT_S, tariffs=((0, market_products.max_price(SLOT_S), 0),))
