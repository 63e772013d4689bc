"""A new version of the grid is for products that open from then on: tolls, rates and limits of the others stay."""

from typing import cast

from chaincode import grid
from chaincode.auction import Trade
from chaincode.contract import Value
from chaincode.grid import LineSettings
from chaincode.market_certificate import Auction, OrderRow, check
from cli.answers import PRODUCT, record
from tests.chaincode.marketplace import SLOT_S, STREET, UTILITY, marketplace, order, tick
from tests.chaincode.world import World

NARROW: tuple[LineSettings, ...] = (("t", "b1", 100, 5, None, None), ("b1", "b2", 3, 4, None, 200))
"""200 W from b2 up to b1: 100 Wh in a slot."""
RATE = 2


def test_each_product_is_cleared_on_the_grid_that_it_opened_with() -> None:
    world = marketplace()
    assert world.call(UTILITY, "grid", "publish", root="t", lines=NARROW, rate=RATE) == 2
    world.next_block(SLOT_S)
    versions = {slot: _product(world, slot)["grid_version"] for slot in (1, 2, 3, 4)}
    assert versions == {1: 1, 2: 1, 3: 1, 4: 2}
    for slot in (3, 4):
        order(world, "home-1/load", "buy", slot=slot, wh=500, price=80)
        order(world, "home-2/pv", "sell", slot=slot, wh=800, price=30)
    tick(world)
    wide, narrow = _product(world, 3), _product(world, 4)
    assert (wide["energy_wh"], wide["tolls"], wide["rent"]) == (500, 500 * 7, 0)
    assert (narrow["energy_wh"], narrow["tolls"]) == (100, 100 * (RATE * 3 + 4))
    assert narrow["rent"] == 100 * (80 - 30 - 10), (
        "the line is full: its rent is what the prices differ beyond the toll"
    )
    _prove(world, 3, 0, cast("tuple[LineSettings, ...]", STREET))
    _prove(world, 4, RATE, NARROW)


def test_the_newest_of_several_versions_counts_when_a_product_opens() -> None:
    world = marketplace()
    for rate in (1, 2, 3):
        world.call(UTILITY, "grid", "publish", root="t", lines=NARROW, rate=rate)
    world.next_block(SLOT_S)
    world.call(UTILITY, "grid", "publish", root="t", lines=NARROW, rate=4)
    world.next_block(2 * SLOT_S)
    assert [_product(world, slot)["grid_version"] for slot in (3, 4, 5)] == [1, 4, 5]


def _product(world: World, slot: int) -> dict[str, int]:
    return record(world.query("market", "product", slot=slot), PRODUCT)


def _prove(world: World, slot: int, rate: int, lines: tuple[LineSettings, ...]) -> None:
    """The auction's certificate holds on that grid, built as whoever verifies it does."""
    answer = cast("tuple[tuple[Value, ...], ...]", world.query("market", "auction", slot=slot, number=0))
    rows, deals = (cast("tuple[tuple[Value, ...], ...]", part) for part in answer[1:])
    orders = [OrderRow(*row) for row in rows]  # type: ignore[arg-type]
    trades = [Trade(*row) for row in deals]  # type: ignore[arg-type]
    check(grid.build("t", rate, lines, SLOT_S).tree, Auction(*answer[0]), orders, trades)  # type: ignore[arg-type]
