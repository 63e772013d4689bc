"""Products come and go by block time alone; what they pin stays; and the settings that say so."""

from typing import Any, cast

import pytest

from chaincode.auction import ClearingError, Trade
from chaincode.contract import ContractError
from chaincode.market_certificate import Auction, OrderRow, check
from chaincode.tree import Line, Tree
from tests.chaincode.marketplace import (
    FEED_IN,
    RETAIL,
    SLOT_S,
    STREET,
    TICK_S,
    UTILITY,
    key_of,
    marketplace,
    order,
    product_state,
    refusal,
    tick,
)
from tests.chaincode.world import World


def states(world: World) -> dict[int, str]:
    return {row[0]: row[1] for row in cast("tuple[Any, ...]", world.query("market", "products"))}


def test_a_chain_opens_what_can_still_be_traded() -> None:
    assert states(marketplace()) == dict.fromkeys((0, 1, 2, 3), "OPEN")


@pytest.mark.parametrize(
    "time, first",
    [(10**6, 555), (555 * SLOT_S + 1_199, 555), (555 * SLOT_S + 1_200, 556), (1_700_000_000, 944_444)],
)
def test_a_chain_may_begin_at_any_time(time: int, first: int) -> None:
    world = marketplace(allocated=0, start=time)
    last = (time + 3 * SLOT_S) // SLOT_S
    assert states(world) == dict.fromkeys(range(first, last + 1), "OPEN")


def test_the_life_of_a_product() -> None:
    world = marketplace()
    seen: list[tuple[int, str]] = []
    while product_state(world) != "FINAL":
        if not seen or seen[-1][1] != product_state(world):
            seen.append((world.time, product_state(world)))
        due = world.next_event()
        assert due is not None and due > world.time
        world.next_block(due)
    assert seen == [(0, "OPEN"), (3_000, "CLOSED"), (3_600, "DELIVERED"), (4_500, "SETTLED")]
    assert world.time == 6_300
    of_slot = [event.data for event in world.events if event.topic == "product"]
    assert (1, "ESTIMATED") in of_slot


def test_a_chain_that_stood_still_catches_up_in_order() -> None:
    """By rules that give no time back (``test_market_outage.py`` has those that do)."""
    world = marketplace(outage_s=20 * SLOT_S)
    world.next_block(20 * SLOT_S)
    assert {slot: state for slot, state in states(world).items() if state != "FINAL"} == {
        18: "SETTLED",
        19: "DELIVERED",
        20: "OPEN",
        21: "OPEN",
        22: "OPEN",
        23: "OPEN",
    }
    moved = [cast("tuple[int, str]", event.data) for event in world.events if event.topic == "product"]
    for slot in range(15):
        assert [state for number, state in moved if number == slot] == [
            "OPEN", "CLOSED", "DELIVERED", "ESTIMATED", "SETTLED", "FINAL",
        ]  # fmt: skip


def test_tariffs_go_by_the_time_of_day() -> None:
    world = marketplace(tariffs=((0, 100, 20), (3_600, 300, 30), (7_200, 200, 25)))
    assert [world.query("market", "tariff", slot=slot) for slot in (0, 1, 2, 3, 4, 47, 48)] == [
        (100, 20), (100, 20), (300, 30), (300, 30), (200, 25), (200, 25), (100, 20),
    ]  # fmt: skip
    assert refusal(world, "home-1/load", "buy", slot=1, price=250) == "bad-price"
    order(world, "home-1/load", "buy", slot=2, price=250)


def test_a_product_keeps_the_grid_that_it_opened_with() -> None:
    world = marketplace()
    lines = (("t", "b1", 100, 5, None, None), ("b1", "b2", 100, 40, None, None), ("t", "b3", 1, 1, None, None))
    world.call(UTILITY, "grid", "publish", root="t", lines=lines)
    order(world, "home-1/load", "buy", wh=500, price=80)
    order(world, "home-2/pv", "sell", wh=800, price=30)
    tick(world)
    assert cast("Any", world.query("market", "trades", slot=1))[0][6] == 7
    world.call(key_of("home-3/ev"), "identity", "connect", device="home-3/ev", bus="b3", slot=2)
    assert refusal(world, "home-3/ev", "buy", slot=2) == "not-connected"
    world.next_block(SLOT_S)
    order(world, "home-3/ev", "buy", slot=4)


def test_a_certificate_proves_its_auction_and_no_other() -> None:
    world = marketplace()
    order(world, "home-1/load", "buy", wh=500, price=80)
    order(world, "home-3/ev", "buy", wh=100, price=40)
    order(world, "home-2/pv", "sell", wh=800, price=30)
    tick(world)
    record, rows, deals = cast("Any", world.query("market", "auction", slot=1, number=0))
    auction, orders, trades = Auction(*record), [OrderRow(*row) for row in rows], [Trade(*row) for row in deals]
    tree = Tree.build("t", [Line(str(row[0]), str(row[1]), row[3]) for row in STREET])
    check(tree, auction, orders, trades)
    dearer = orders[0]._replace(price=orders[0].price + 1)
    for forged in (
        (auction._replace(paid=auction.paid + 1), orders, trades),
        (auction._replace(energy_wh=auction.energy_wh + 1), orders, trades),
        (auction._replace(key_prices=auction.key_prices[::-1]), orders, trades),
        (auction, orders[1:], trades),
        (auction, orders, trades[1:]),
        (auction._replace(trades=len(trades) - 1), orders, trades[1:]),
        (auction, [dearer._replace(filled_wh=dearer.filled_wh - 1), *orders[1:]], trades),
    ):
        with pytest.raises(ClearingError):
            check(tree, *forged)


def test_queries_of_what_is_not_there() -> None:
    world = marketplace()
    for method in ("product", "book", "prices"):
        with pytest.raises(ContractError, match="no-product"):
            world.query("market", method, slot=99)
    for number in (0, -1, 2**40):
        with pytest.raises(ContractError, match="unknown-auction"):
            world.query("market", "auction", slot=1, number=number)
    for slot in (-1, 2**63 - 1):
        with pytest.raises(ContractError, match="no-product"):
            world.query("market", "product", slot=slot)
    assert world.query("market", "prices", slot=1) is None
    assert world.query("market", "trades", slot=99) == ()
    assert world.query("market", "position", device="home-1/load", slot=1) is None
    assert world.query("market", "settings")[:4] == (SLOT_S, 3 * SLOT_S, 600, TICK_S)  # type: ignore[index]


@pytest.mark.parametrize(
    "wrong",
    [
        {"slot_seconds": 1_700},
        {"slot_seconds": "1800"},
        {"slot_seconds": 0},
        {"tick_s": -1},
        {"open_before_s": 10**7},
        {"gate_before_end_s": 4 * SLOT_S},
        {"metering_window_s": True},
        {"tariffs": ()},
        {"tariffs": ((1, RETAIL, FEED_IN),)},
        {"tariffs": ((0, FEED_IN, RETAIL),)},
        {"tariffs": ((0, RETAIL, -1),)},
        {"tariffs": ((0, RETAIL, FEED_IN), (0, RETAIL, FEED_IN))},
        {"tariffs": ((0, RETAIL),)},
        {"tariffs": "cheap"},
        {"ticks": 10},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match="bad-settings"):
        marketplace(**wrong)
