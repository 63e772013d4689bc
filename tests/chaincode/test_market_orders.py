"""Every rule that an order must meet, and what becomes of it."""

from typing import Any, cast

import pytest

from chaincode.contract import ContractError
from tests.chaincode.market_auditor import Auditor
from tests.chaincode.marketplace import (
    ALLOCATED,
    DEVICES,
    FEED_IN,
    RETAIL,
    SLOT_S,
    TICK_S,
    UTILITY,
    audit,
    balance,
    key_of,
    marketplace,
    order,
    position,
    product_state,
    refusal,
    state_of,
    tick,
)


def test_a_buyer_and_a_seller_meet_at_the_next_tick() -> None:
    world = marketplace()
    buy = order(world, "home-1/load", "buy", wh=500, price=80)
    sell = order(world, "home-2/pv", "sell", wh=800, price=30)
    assert (state_of(world, buy), state_of(world, sell)) == ("ACCEPTED", "ACCEPTED")
    assert world.next_event() == TICK_S
    tick(world)
    assert (state_of(world, buy), state_of(world, sell)) == ("FILLED", "PARTIAL")
    # The seller's rest fixes the price at its bus: 30. The toll of the line between is 7.
    assert world.query("market", "trades", slot=1) == ((0, buy, sell, 500, 37, 30, 7),)
    bought, sold = position(world, "home-1/load"), position(world, "home-2/pv")
    assert (bought.bought_wh, bought.paid, bought.tolls) == (500, 18_500, 3_500)
    assert (sold.sold_wh, sold.proceeds, sold.open_sell_wh) == (500, 15_000, 300)
    assert balance(world, "escrow:1") == 18_500
    assert balance(world, "device:home-1/load:0") == ALLOCATED - 18_500
    assert balance(world, "reserved:home-1/load:0") == 0
    audit(world)


def test_the_orders_of_a_block_at_a_tick_belong_to_the_next_one() -> None:
    world = marketplace()
    world.next_block(TICK_S)
    buy = order(world, "home-1/load", "buy")
    order(world, "home-3/pv", "sell")
    world.next_block(2 * TICK_S - 1)
    assert state_of(world, buy) == "ACCEPTED"
    world.next_block(5 * TICK_S + 3)  # the ticks in between are made up for by one auction
    assert state_of(world, buy) == "FILLED"
    assert len(world.query("market", "auctions", slot=1)) == 1  # type: ignore[arg-type]
    world.next_block(6 * TICK_S)
    assert len(world.query("market", "auctions", slot=1)) == 1, "cleared without new orders"  # type: ignore[arg-type]


def test_with_a_tick_of_zero_every_block_clears() -> None:
    world = marketplace(tick_s=0)
    buy = order(world, "home-1/load", "buy")
    order(world, "home-3/pv", "sell")
    assert state_of(world, buy) == "ACCEPTED"
    world.next_block()
    assert state_of(world, buy) == "FILLED"


def test_who_may_place() -> None:
    world = marketplace()
    assert refusal(world, "home-9/load", "buy") == "unknown-device"
    assert refusal(world, "home-1/load", "buy", key=key_of("home-2/load")) == "wrong-key"
    by_owner = {"device": "home-1/load", "side": "buy", "slot": 1, "energy_wh": 100, "price": 50}
    world.call(key_of("home-1"), "market", "place", **by_owner)


@pytest.mark.parametrize("price", [FEED_IN - 1, RETAIL + 1, -1, 2**63])
def test_a_limit_lies_between_the_tariffs(price: int) -> None:
    assert refusal(marketplace(), "home-1/load", "buy", price=price) == "bad-price"


@pytest.mark.parametrize("wh", [99, 0, -1, -100])
def test_a_small_order_is_refused(wh: int) -> None:
    assert refusal(marketplace(), "home-1/load", "buy", wh=wh) == "bad-energy"


def test_small_orders_undo_a_position_once() -> None:
    world = marketplace()
    order(world, "home-3/ev", "buy", wh=150, price=90)
    order(world, "home-2/pv", "sell", wh=150, price=20)
    tick(world)
    first = order(world, "home-3/ev", "sell", wh=99, price=100)
    assert refusal(world, "home-3/ev", "sell", wh=52) == "bad-energy", "only 51 Wh are left to undo"
    order(world, "home-3/ev", "sell", wh=51, price=100)
    world.call(key_of("home-3/ev"), "market", "cancel", order=first)
    order(world, "home-3/ev", "sell", wh=99, price=100)


def test_a_small_order_may_undo_a_position() -> None:
    world = marketplace()
    order(world, "home-1/battery", "buy", wh=150)
    order(world, "home-3/pv", "sell", wh=150)
    tick(world)
    assert position(world, "home-1/battery").bought_wh == 150
    assert refusal(world, "home-1/battery", "buy", wh=50) == "bad-energy"
    order(world, "home-1/battery", "sell", wh=50)


@pytest.mark.parametrize("slot", [-1, 99, 2**63, 2**64 - 1])
def test_a_product_that_is_not_open(slot: int) -> None:
    assert refusal(marketplace(), "home-1/load", "buy", slot=slot) == "closed-product"


def test_side_and_force_have_two_values_each() -> None:
    world = marketplace()
    args = {"device": "home-1/load", "slot": 1, "energy_wh": 100, "price": 50}
    key = key_of("home-1/load")
    assert world.refused(key, "market", "place", side="lend", **args) == "bad-args"
    assert world.refused(key, "market", "place", side="buy", until="later", **args) == "bad-args"


def test_a_device_orders_no_more_than_its_connection_carries() -> None:
    world = marketplace()
    order(world, "home-1/battery", "buy", wh=2_000)
    assert refusal(world, "home-1/battery", "buy", wh=501) == "over-capacity"
    order(world, "home-1/battery", "buy", wh=500)
    assert refusal(world, "home-1/load", "sell", wh=100) == "over-capacity"


def test_a_device_may_trade_out_of_an_earlier_position() -> None:
    world = marketplace()
    order(world, "home-1/battery", "buy", wh=2_500)
    order(world, "home-3/pv", "sell", wh=2_500)
    tick(world)
    assert refusal(world, "home-1/battery", "buy", wh=100) == "over-capacity"
    order(world, "home-1/battery", "sell", wh=5_000)  # undo 2,500, and give out 2,500
    assert refusal(world, "home-1/battery", "sell", wh=100) == "over-capacity"


def test_a_network_does_not_trade_with_itself_at_a_bus() -> None:
    world = marketplace()
    buy = order(world, "home-1/load", "buy")
    assert refusal(world, "home-1/battery", "sell") == "own-cross"
    order(world, "home-1/battery", "buy", wh=100)
    order(world, "home-1/battery", "sell", slot=2)  # another product
    order(world, "home-3/pv", "sell", wh=200, price=90)  # another network
    world.call(key_of("home-1/load"), "market", "cancel", order=buy)
    assert refusal(world, "home-1/battery", "sell") == "own-cross", "the battery's own buy is still open"


def test_the_other_side_is_free_once_all_orders_are_gone() -> None:
    world = marketplace()
    buy = order(world, "home-1/load", "buy", wh=100)
    order(world, "home-3/pv", "sell", wh=100)
    tick(world)
    assert state_of(world, buy) == "FILLED"
    order(world, "home-1/battery", "sell", wh=100)


def test_an_order_for_one_auction_ends_with_it() -> None:
    world = marketplace()
    buy = order(world, "home-1/load", "buy", wh=500, price=60, until="auction")
    never = order(world, "home-2/load", "buy", wh=300, price=30, until="auction")
    order(world, "home-3/pv", "sell", wh=200, price=40)
    tick(world)
    assert (state_of(world, buy), state_of(world, never)) == ("EXPIRED", "EXPIRED")
    assert position(world, "home-1/load").bought_wh == 200
    assert balance(world, "reserved:home-1/load:0") == balance(world, "reserved:home-2/load:0") == 0
    assert world.query("market", "book", slot=1) == ()


def test_cancelling_sets_the_money_free() -> None:
    world = marketplace()
    buy = order(world, "home-1/load", "buy", wh=1_000, price=50)
    assert balance(world, "reserved:home-1/load:0") == 50_000
    assert world.refused(key_of("home-2/load"), "market", "cancel", order=buy) == "wrong-key"
    assert world.refused(key_of("home-1/load"), "market", "cancel", order=bytes(32)) == "unknown-order"
    assert world.refused(key_of("home-1/load"), "market", "cancel", order=b"x") == "unknown-order"
    world.call(key_of("home-1"), "market", "cancel", order=buy)
    assert state_of(world, buy) == "CANCELLED"
    assert balance(world, "reserved:home-1/load:0") == 0
    assert balance(world, "device:home-1/load:0") == ALLOCATED
    assert world.refused(key_of("home-1"), "market", "cancel", order=buy) == "not-open"
    order(world, "home-3/pv", "sell")
    tick(world)
    assert world.query("market", "trades", slot=1) == ()


def test_at_the_gate_the_book_is_cleared_then_emptied_then_closed() -> None:
    world = marketplace()
    buy = order(world, "home-1/load", "buy", slot=0, wh=500)
    sell = order(world, "home-3/pv", "sell", slot=0, wh=800)
    rest = order(world, "home-2/load", "buy", slot=0, price=20)
    world.next_block(1_199 + 1)  # no block in between met a tick
    assert product_state(world, 0) == "CLOSED"
    assert (state_of(world, buy), state_of(world, sell), state_of(world, rest)) == ("FILLED", "EXPIRED", "EXPIRED")
    assert refusal(world, "home-1/load", "buy", slot=0) == "closed-product"
    assert world.query("market", "book", slot=0) == ()
    assert balance(world, "reserved:home-2/load:0") == 0


def test_more_than_a_block_can_expire_goes_on_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaincode.market_events.WORK_PER_BLOCK", 30)
    world = marketplace()
    for _ in range(10):
        order(world, "home-1/load", "buy", slot=0, wh=100)
    world.next_block(TICK_S)
    for _ in range(60):
        if product_state(world, 0) == "CLOSED" and world.query("market", "book", slot=0) == ():
            break
        world.next_block(1_200)
        assert world.next_event() is not None
        assert refusal(world, "home-1/load", "buy", slot=0) == "closed-product"
    else:
        raise AssertionError("the book was never emptied")
    assert balance(world, "reserved:home-1/load:0") == 0


def test_when_many_orders_wait_the_next_block_clears_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaincode.market_trading.MAX_NEW_ORDERS", 4)
    world = marketplace()
    buys = [order(world, "home-1/load", "buy", wh=100) for _ in range(5)]
    order(world, "home-3/pv", "sell", wh=500)
    world.next_block(1)
    assert [state_of(world, buy) for buy in buys] == ["FILLED"] * 5
    assert world.next_event() == 1_200


def test_a_device_has_so_many_open_orders_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaincode.market_trading.MAX_OPEN_ORDERS", 2)
    world = marketplace()
    order(world, "home-1/load", "buy", wh=100)
    last = order(world, "home-1/load", "buy", wh=100)
    assert refusal(world, "home-1/load", "buy", wh=100) == "too-many"
    world.call(key_of("home-1/load"), "market", "cancel", order=last)
    order(world, "home-1/load", "buy", wh=100)


def test_a_device_has_placed_so_many_orders_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaincode.market_trading.MAX_ORDERS", 3)
    world = marketplace()
    for _ in range(3):
        placed = order(world, "home-1/load", "buy", wh=100)
        world.call(key_of("home-1/load"), "market", "cancel", order=placed)
    assert refusal(world, "home-1/load", "buy", wh=100) == "too-many"
    order(world, "home-1/load", "buy", wh=100, slot=2)


def test_a_buyer_without_money_is_helped_or_rejected_at_the_end_of_the_block() -> None:
    world = marketplace(allocated=60_000)
    world.next_block(46 * SLOT_S)  # near the end of the period others can spare most of what they have
    helped = order(world, "home-1/load", "buy", slot=47, wh=1_000, price=90)  # has 60,000, needs 90,000
    assert state_of(world, helped) == "WAITING"
    assert world.refused(key_of("home-1/load"), "market", "cancel", order=helped) == "not-open"
    hopeless = order(world, "home-2/load", "buy", slot=47, wh=5_000, price=100)
    assert world.query("market", "book", slot=47) == ()
    world.next_block(world.time + 1)
    assert state_of(world, hopeless) == "REJECTED"
    assert position(world, "home-2/load", 47).open_orders == 0
    assert position(world, "home-2/load", 47).open_buy_wh == 0
    assert state_of(world, helped) == "ACCEPTED"
    assert balance(world, "reserved:home-1/load:0") == 90_000
    order(world, "home-3/pv", "sell", slot=47, price=40)
    tick(world)
    assert state_of(world, helped) == "FILLED"
    audit(world)


def test_a_free_order_needs_no_hold() -> None:
    world = marketplace(tariffs=((0, 10, 0),))
    buy = order(world, "home-1/load", "buy", price=0)
    order(world, "home-3/pv", "sell", price=0)
    tick(world)
    assert state_of(world, buy) == "FILLED"
    assert position(world, "home-1/load").paid == 0


def test_a_device_that_is_nowhere_does_not_trade_and_one_that_moves_loses_its_orders() -> None:
    world = marketplace()
    key = key_of("home-3/ev")
    early = order(world, "home-3/ev", "buy", slot=1)
    late = order(world, "home-3/ev", "buy", slot=2)
    world.call(key, "identity", "connect", device="home-3/ev", bus="b2", slot=2)
    assert (state_of(world, early), state_of(world, late)) == ("ACCEPTED", "ACCEPTED")
    world.next_block(1)
    assert (state_of(world, early), state_of(world, late)) == ("ACCEPTED", "CANCELLED")
    again = order(world, "home-3/ev", "buy", slot=2)
    assert position(world, "home-3/ev", 2).bus == "b2"
    order(world, "home-2/pv", "sell", slot=2)
    tick(world)
    assert state_of(world, again) == "FILLED"
    assert world.refused(key, "identity", "disconnect", device="home-3/ev", slot=2) == "has-fills"
    world.call(key, "identity", "disconnect", device="home-3/ev", slot=3)
    assert refusal(world, "home-3/ev", "buy", slot=3) == "not-connected"


def test_a_device_that_moves_places_its_next_order_when_the_old_ones_are_gone() -> None:
    world = marketplace()
    devices = ("home-1/battery", "home-1/load")
    auditor = Auditor(world, DEVICES)
    old = order(world, "home-1/battery", "sell", wh=100, price=50)
    world.next_block(1)
    for device in devices:
        world.call(key_of("admin"), "identity", "connect", device=device, bus="b2", slot=1)
    assert refusal(world, "home-1/battery", "sell", wh=100) == "not-connected"
    world.next_block(2)
    assert state_of(world, old) == "CANCELLED"
    auditor.check()
    with world.transaction() as ctx:
        assert list(ctx.scan(b"side/")) == [], "nobody has open orders"
    order(world, "home-1/battery", "sell", wh=100, price=50)
    auditor.check()
    assert refusal(world, "home-1/load", "buy", wh=100, price=60) == "own-cross"
    tick(world)
    assert world.query("market", "trades", slot=1) == ()


def test_a_network_that_owes_does_not_sell() -> None:
    world = marketplace(allocated=0)
    world.next_block(SLOT_S)
    reading = {"device": "home-1/battery", "slot": 0, "import_wh": 1_000, "export_wh": 0}
    world.call(
        key_of("meter home-1/battery"), "settlement", "report", **reading, import_register=1_000, export_register=0
    )
    world.next_block(2_700)
    assert refusal(world, "home-1/battery", "sell", slot=2) == "in-arrears"
    assert refusal(world, "home-1/battery", "buy", slot=2) == "over-budget"
    money = {"network": "home-1", "period": 0}
    world.call(UTILITY, "budget", "issue", **money, amount=1_000_000, reference=b"more")
    order(world, "home-1/battery", "sell", slot=2)


def test_orders_are_listed_newest_first() -> None:
    world = marketplace()
    ids = [order(world, "home-1/load", "buy", wh=100 + i, slot=slot) for i, slot in enumerate((1, 2, 1))]
    rows = world.query("market", "orders", device="home-1/load", slot=1)
    assert [row[0] for row in rows] == [ids[2], ids[0]]  # type: ignore[union-attr, index]
    rows = world.query("market", "orders", device="home-1/load")
    assert [row[0] for row in rows] == [ids[2], ids[0], ids[1]]  # type: ignore[union-attr, index]


def test_many_orders_are_asked_part_by_part() -> None:
    world = marketplace()
    ids = [order(world, "home-1/load", "buy", wh=100 + i, slot=1) for i in range(5)][::-1]
    elsewhere = order(world, "home-1/load", "buy", slot=2)
    asked: dict[str, Any] = {"device": "home-1/load", "slot": 1, "most": 2}
    found: list[Any] = []
    while rows := cast("tuple[Any, ...]", world.query("market", "orders", **asked)):
        assert len(rows) <= 2
        found += [row[0] for row in rows]
        asked["before"] = found[-1]
    assert found == ids
    refusals: list[tuple[str, Any, str]] = [
        ("before", elsewhere, "unknown-order"),
        ("before", b"x", "unknown-order"),
        ("most", 0, "bad-args"),
        ("slot", None, "bad-args"),
    ]
    for name, other, code in refusals:
        with pytest.raises(ContractError, match=code):
            world.query("market", "orders", **{**asked, name: other})


def test_the_book_shows_levels() -> None:
    world = marketplace()
    for wh, price in ((100, 50), (200, 60), (300, 50)):
        order(world, "home-1/load", "buy", wh=wh, price=price)
    order(world, "home-2/pv", "sell", wh=400, price=70)
    assert world.query("market", "book", slot=1) == (
        ("b1", "buy", 60, 200, 1),
        ("b1", "buy", 50, 400, 2),
        ("b2", "sell", 70, 400, 1),
    )
    order(world, "home-3/pv", "sell", wh=500, price=70)
    assert world.query("market", "depth", slot=1) == (("buy", 60, 200, 1), ("buy", 50, 400, 2), ("sell", 70, 900, 2))
