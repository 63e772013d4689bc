"""A day of a car that moves between three buses: it trades, is metered and settled where it is connected."""

from typing import Any, cast

from chaincode import market_trading
from chaincode.market_products import DAY_S
from tests.chaincode.market_auditor import Auditor
from tests.chaincode.marketplace import (
    DEVICES,
    SLOT_S,
    audit,
    key_of,
    marketplace,
    order,
    position,
    refusal,
    state_of,
    tick,
)
from tests.chaincode.world import World

CAR = "home-3/ev"
PLACES = ((0, "b1"), (16, "b2"), (18, "t"), (20, ""), (22, "b2"), (36, "b1"))
"""From which slot on it is where: at home, at work, at a charger on the way, on the road, back at work, at home."""
SUN_PRICE = 30
"""What home 2 asks for at b2; at b1 that is 37, at the transformer 42."""
PRICES = {"b1": 37, "b2": 30, "t": 42}


def connect(world: World, slot: int, bus: str) -> None:
    if bus:
        world.call(key_of(CAR), "identity", "connect", device=CAR, bus=bus, slot=slot)
    else:
        world.call(key_of(CAR), "identity", "disconnect", device=CAR, slot=slot)


def refused_move(world: World, slot: int, bus: str) -> str:
    return world.refused(key_of(CAR), "identity", "connect", device=CAR, bus=bus, slot=slot)


def place_of(slot: int) -> str:
    return [bus for start, bus in PLACES if start <= slot][-1]


def test_a_day_of_a_car() -> None:
    world = marketplace(periods=2, outage_s=DAY_S)
    auditor = Auditor(world, DEVICES)
    register = 0
    for slot in range(48):
        world.next_block(slot * SLOT_S)
        register = read_meter(world, slot - 1, register)
        for start, bus in PLACES:
            if start == slot + 2:
                move(world, start, bus)
        buy_sun(world, slot + 1)
        auditor.check()
    world.next_block(52 * SLOT_S)
    for _ in range(4):
        world.next_block(world.time)
    assert {entry[1] for slot in range(1, 48) for entry in settled(world, slot)} == {"b1", "b2", "t"}
    for slot in range(1, 47):
        assert [entry[:4] for entry in settled(world, slot)] == expected(slot), slot
    audit(world)


def read_meter(world: World, slot: int, register: int) -> int:
    """The car takes just what it bought; what its meter shows then."""
    if slot < 1:
        return register
    args = {"device": CAR, "slot": slot, "export_wh": 0, "export_register": 0}
    key = key_of(f"meter {CAR}")
    if not place_of(slot):
        reading = {"import_wh": 0, "import_register": register}
        assert world.refused(key, "settlement", "report", **args, **reading) == "not-connected"
        return register
    world.call(key, "settlement", "report", **args, import_wh=400, import_register=register + 400)
    return register + 400


def move(world: World, start: int, bus: str) -> None:
    """Two slots ahead, with an order in the slot where it will not be any more."""
    if not place_of(start - 1):
        return connect(world, start, bus)
    before = order(world, CAR, "buy", slot=start - 1, wh=100, price=25)
    after = order(world, CAR, "buy", slot=start, wh=100, price=25)
    connect(world, start, bus)
    assert refusal(world, CAR, "buy", slot=start, wh=100) == "not-connected", "its order there is still open"
    world.next_block(world.time + 1)
    assert state_of(world, after) == "CANCELLED"
    assert position(world, CAR, start).open_orders == 0
    assert state_of(world, before) == "ACCEPTED", "there it stays until then"
    world.call(key_of(CAR), "market", "cancel", order=before)


def buy_sun(world: World, slot: int) -> None:
    """Buy 400 Wh of home 2's sun where the car will be, and stay there from then on."""
    bus = place_of(slot)
    if not bus:
        assert refusal(world, CAR, "buy", slot=slot, wh=400, price=90) == "not-connected"
        return
    bid = order(world, CAR, "buy", slot=slot, wh=400, price=90)
    order(world, "home-2/pv", "sell", slot=slot, wh=1_000, price=SUN_PRICE)
    tick(world)
    row = cast("Any", world.query("market", "order", order=bid))
    assert (row[4], row[12], row[14]) == (bus, "FILLED", 400 * PRICES[bus])
    (trade,) = cast("Any", world.query("market", "device_trades", device=CAR, slot=slot))
    assert trade[5:] == (PRICES[bus], SUN_PRICE, PRICES[bus] - SUN_PRICE)
    for there in ("b1", "b2", "t"):
        assert refused_move(world, slot, there) == "has-fills"
    assert refused_move(world, slot - 2, bus) == "slot-over"


def settled(world: World, slot: int) -> list[tuple[Any, ...]]:
    """The car's entries of a slot."""
    _, entries, _ = cast("Any", world.query("settlement", "settled", network="home-3", slot=slot))
    return [entry for entry in entries if entry[0] == CAR]


def expected(slot: int) -> list[tuple[str, str, str, int]]:
    """It paid for sun and for the way, and nothing else: what it bought is what it took."""
    bus = place_of(slot)
    if not bus:
        return []
    toll = [(CAR, bus, "toll", 400)] if PRICES[bus] != SUN_PRICE else []
    return [(CAR, bus, "bought", 400), *toll]


def test_a_device_that_moves_often_in_a_block_is_looked_at_once() -> None:
    world = marketplace()
    bids = {slot: order(world, CAR, "buy", slot=slot, wh=400, price=50) for slot in (1, 2, 3)}
    world.next_block()
    for slot in (3, 2, 3) * 20:
        connect(world, slot, "b2")
    with world.transaction() as ctx:
        before = ctx._steps_left
        market_trading.cancel_moved(ctx)
        took = before - ctx._steps_left
    assert took < 60 * 2 + 60, "every move is read and forgotten, the slots are gone through once"
    assert {slot: state_of(world, bid) for slot, bid in bids.items()} == {1: "ACCEPTED", 2: "CANCELLED", 3: "CANCELLED"}
