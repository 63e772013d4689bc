"""A part of the market's work that fails is undone alone and told of; everything else goes on."""

from typing import cast

import pytest

from chaincode.market_products import DAY_S
from tests.chaincode.marketplace import (
    ALLOCATED,
    SLOT_S,
    audit,
    balance,
    key_of,
    marketplace,
    order,
    position,
    product_state,
    state_of,
    tick,
)
from tests.chaincode.world import World


def lose(world: World, *orders: bytes) -> None:
    """Damage the state: these orders' records are gone."""
    with world.transaction() as ctx:
        for order_id in orders:
            ctx.delete(b"order/" + order_id)


def parked(world: World) -> list[tuple[str, str]]:
    """(what, code) of each part that failed."""
    return [cast("tuple[str, str]", event.data) for event in world.events if event.topic == "market-parked"]


def test_an_auction_that_fails_holds_up_neither_the_others_nor_its_slot() -> None:
    world = marketplace(outage_s=DAY_S)  # hours without a block are none
    broken = order(world, "home-1/load", "buy", slot=1, wh=500, price=80, until="auction")
    waiting = order(world, "home-2/load", "buy", slot=1, wh=500, price=80)
    order(world, "home-3/pv", "sell", slot=1, wh=2_000, price=30)
    sound = order(world, "home-1/load", "buy", slot=2, wh=500, price=80)
    order(world, "home-3/pv", "sell", slot=2, wh=500, price=30)
    lose(world, broken)
    tick(world)
    assert parked(world) == [("tick 1", "unknown-order")]
    world.next_block(world.time)
    assert (state_of(world, sound), state_of(world, waiting)) == ("FILLED", "ACCEPTED")
    assert position(world, "home-3/pv").sold_wh == 0, "the auction is undone as a whole"
    assert balance(world, "escrow:1") == 0
    later = order(world, "home-2/load", "buy", slot=1, wh=200, price=70)
    tick(world)
    assert state_of(world, later) == "ACCEPTED"
    world.next_block(2 * SLOT_S - 600)
    for _ in range(4):
        world.next_block(world.time)
    assert parked(world)[1:] == [("gate 1", "unknown-order"), (f"order {broken.hex()}", "unknown-order")]
    assert product_state(world) == "CLOSED"
    assert (state_of(world, waiting), state_of(world, later)) == ("EXPIRED", "EXPIRED")
    assert world.query("market", "book", slot=1) == ()
    assert balance(world, "device:home-2/load:0") == ALLOCATED
    world.next_block(4 * SLOT_S)
    world.next_block(world.time)
    assert product_state(world) in ("SETTLED", "FINAL")
    assert len(parked(world)) == 3
    audit(world)


@pytest.mark.parametrize("damaged", [b"product/", b"book/"])
def test_a_gate_that_cannot_be_read_holds_up_no_other_slot(damaged: bytes) -> None:
    """Neither its own record nor its book: whatever of it fails outside the auction and its orders."""
    world = marketplace(outage_s=DAY_S)
    order(world, "home-2/load", "buy", slot=1, wh=500, price=80)
    sound = order(world, "home-1/load", "buy", slot=2, wh=500, price=80)
    tick(world)
    with world.transaction() as ctx:
        (key,) = [key for key, _ in ctx.scan(damaged) if (1).to_bytes(8, "big") == key[len(damaged) :][:8]]
        ctx.put(key, "nonsense")
    gate = 2 * SLOT_S - 600
    world.next_block(gate)
    world.next_block(gate)
    assert parked(world) == [("gate 1", "internal")]
    assert world.next_event() != gate, "it is struck out, not due again and again"
    world.next_block(gate + SLOT_S)
    world.next_block(world.time)
    assert (product_state(world, 2), state_of(world, sound)) == ("CLOSED", "EXPIRED")
    assert len(parked(world)) == 1


def test_a_slot_that_cannot_open_is_left_out() -> None:
    world = marketplace()
    with world.transaction() as ctx:
        version = ctx.get(b"grid/")
        ctx.delete(b"grid/")
    world.next_block(SLOT_S)
    assert parked(world) == [("open 4", "not-configured")]
    with world.transaction() as ctx:
        assert version is not None
        ctx.put(b"grid/", version)
    world.next_block(2 * SLOT_S)
    assert product_state(world, 5) == "OPEN"
    assert world.query("market", "products") is not None
    order(world, "home-1/load", "buy", slot=5)
    assert len(parked(world)) == 1


def test_an_order_that_cannot_be_decided_gives_its_money_back() -> None:
    world = marketplace(allocated=60_000)
    world.next_block(46 * SLOT_S)
    world.next_block(world.time + 1)
    broken = order(world, "home-1/load", "buy", slot=47, wh=1_000, price=70)
    helped = order(world, "home-2/load", "buy", slot=47, wh=1_000, price=70)
    assert (state_of(world, broken), state_of(world, helped)) == ("WAITING", "WAITING")
    lose(world, broken)
    world.next_block(world.time + 1)
    assert parked(world) == [(f"order {broken.hex()}", "unknown-order")]
    assert state_of(world, helped) == "ACCEPTED"
    assert balance(world, "reserved:home-1/load:0") == 0
    audit(world)


def test_a_move_that_cannot_be_carried_out_stops_no_other() -> None:
    world = marketplace()
    broken = order(world, "home-1/battery", "sell")
    sound = order(world, "home-3/ev", "sell")
    for device in ("home-1/battery", "home-3/ev"):
        sender = key_of("admin" if device == "home-1/battery" else device)
        world.call(sender, "identity", "connect", device=device, bus="b2", slot=1)
    lose(world, broken)
    world.next_block(1)
    assert parked(world) == [("move home-1/battery 1", "unknown-order")]
    assert state_of(world, sound) == "CANCELLED"
