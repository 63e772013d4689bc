"""One network that cannot be settled: it alone is undone and parked, and everybody else's calendar goes on."""

from typing import Any, cast

from chaincode import accounts
from chaincode.contract import MAX_AMOUNT
from node.ledger.layout import STATE
from tests.chaincode.marketplace import SLOT_S, audit, balance, order, product_state, tick
from tests.chaincode.test_settlement_money import patient
from tests.chaincode.test_settlement_readings import METERED_S, report
from tests.chaincode.world import World

PROCEEDS = 30_000  # of home-2/pv for the 1,000 Wh that it sold to home-1/load


def traded() -> World:
    """A market in which home-1 bought from home-2, metered, just before slot 1 is settled."""
    world = patient()
    order(world, "home-1/load", "buy", wh=1_000, price=50)
    order(world, "home-2/pv", "sell", wh=1_200, price=30)
    tick(world)
    world.next_block(2 * SLOT_S)
    for device, wh in {"home-1/load": (1_100, 0), "home-2/pv": (0, 1_000), "home-3/pv": (0, 700)}.items():
        assert report(world, device, 1, wh) is None
    return world


def device_key(device: str) -> bytes:
    return b"acc-device/" + device.encode() + b"\0" + bytes(4)


def fill(world: World, device: str) -> None:
    """Bring what a device has spent so near to 63 bits that its next charge cannot be counted."""
    with world.transaction() as ctx:
        full = accounts.device_book(ctx, device, 0)._replace(spent=MAX_AMOUNT - 5)
        ctx.put(device_key(device), tuple(full))


def settle(world: World) -> None:
    world.next_block(2 * SLOT_S + METERED_S)


def parked(world: World) -> Any:
    return world.query("settlement", "parked")


def sums(world: World, network: str, slot: int = 1) -> Any:
    return world.query("settlement", "settled", network=network, slot=slot)


def test_a_network_that_fails_is_parked_and_the_others_settle() -> None:
    world, untroubled = traded(), traded()
    fill(world, "home-1/load")
    before = balance(world, "device:home-1/load:0")
    settle(world)
    settle(untroubled)
    assert product_state(world) == "SETTLED"
    assert parked(world) == (("home-1", 1, "bad-amount", world.time, "settle", 0),)
    told = [event for event in world.events if event.topic == "settlement-parked"]
    assert [(event.keys, event.data) for event in told] == [(("home-1",), ("home-1", 1, "bad-amount"))]
    assert sums(world, "home-1") is None
    assert balance(world, "device:home-1/load:0") == before
    for network in ("home-2", "home-3"):
        assert sums(world, network) == sums(untroubled, network)
    assert balance(world, "escrow:1") == 0  # a buyer's network had nothing in it
    audit(world)


def test_what_a_parked_seller_earned_stays_in_escrow() -> None:
    world = traded()
    with world.transaction() as ctx:
        ctx.put(b"acc-network/home-2\0" + bytes(4), tuple(accounts.NetworkBook(0, 0, 0, MAX_AMOUNT, 0)))
    settle(world)
    assert parked(world) == (("home-2", 1, "bad-amount", world.time, "settle", 0),)
    assert balance(world, "escrow:1") == PROCEEDS
    assert balance(world, "grid-operator") == 7_000
    audit(world)
    world.next_block(world.time + 1_800)
    assert product_state(world) == "FINAL"


def test_a_corrupted_record_is_a_failure_of_its_unit() -> None:
    world = traded()
    assert report(world, "home-3/ev", 1, (0, 0)) is None
    with world.transaction() as ctx:
        ctx.put(b"reading/home-3/pv\0" + (1).to_bytes(8, "big"), ("nonsense",))
    settle(world)
    assert parked(world) == (("home-3", 1, "internal", world.time, "settle", 0),)
    assert sums(world, "home-1") is not None
    audit(world)


def test_an_estimate_that_fails_parks_its_network() -> None:
    world = traded()
    with world.transaction() as ctx:
        ctx.put(b"position/home-3/ev\0" + (1).to_bytes(8, "big"), ("nonsense",))
    settle(world)
    assert parked(world) == (("home-3", 1, "not-metered", world.time, "settle", 0),)
    assert sums(world, "home-2") is not None


def test_feed_in_beyond_what_can_be_issued_parks_its_network() -> None:
    world = traded()
    with world.transaction() as ctx:
        ctx.put(b"acc-supply/", (MAX_AMOUNT - 5, MAX_AMOUNT - 5 - sum(accounts.supply(ctx)[:1])))
    settle(world)
    assert parked(world) == (("home-3", 1, "bad-amount", world.time, "settle", 0),)
    assert product_state(world) == "SETTLED"
    audit(world)


def test_a_slot_that_cannot_even_be_begun_is_struck_out() -> None:
    world = traded()
    with world.transaction() as ctx:
        (key,) = [key for key, _ in ctx.scan(b"product/") if key.endswith((1).to_bytes(8, "big"))]
        ctx.put(key, ("nonsense",))
    settle(world)
    assert [row[:3] for row in parked(world)] == [("", 1, "internal")]
    world.next_block(3 * SLOT_S + METERED_S)
    assert product_state(world, 2) == "SETTLED"
    audit(world)


def test_slot_after_slot_is_settled_without_the_one_that_fails() -> None:
    world = traded()
    fill(world, "home-1/load")
    settle(world)
    for slot, register in ((2, 1_300), (3, 1_600)):
        world.next_block((slot + 1) * SLOT_S)
        assert report(world, "home-1/load", slot, (100 * slot, 0), (register, 0)) is None
        world.next_block((slot + 1) * SLOT_S + METERED_S)
        assert product_state(world, slot) == "SETTLED"
        assert sums(world, "home-3", slot) is not None
    assert [row[:3] for row in parked(world)] == [("home-1", slot, "bad-amount") for slot in (1, 2, 3)]
    assert [row[1] for row in cast("Any", world.query("settlement", "parked", first=1))] == [2, 3]
    assert world.query("settlement", "parked", first=3) == ()
    audit(world)


def test_a_failure_leaves_the_same_state_everywhere() -> None:
    states = []
    for _ in range(2):
        world = traded()
        fill(world, "home-1/load")
        settle(world)
        world.next_block()
        states.append(list(world._store.scan(STATE, bytes([STATE[0] + 1]))))
    assert states[0] == states[1]
