"""What was parked is done again when an admin says so: as if it had never failed, and once."""

from typing import Any, cast

from chaincode import accounts, settlement_parking
from chaincode.contract import MAX_AMOUNT
from tests.chaincode.marketplace import audit, balance, key_of, product_state
from tests.chaincode.test_settlement_parking import device_key, fill, parked, settle, sums, traded
from tests.chaincode.world import World

ADMIN = key_of("admin")


def release(world: World, index: int = 0) -> None:
    world.call(ADMIN, "settlement", "release", index=index)
    world.next_block(world.time + 1)


def mend(world: World, device: str, book: accounts.DeviceBook) -> None:
    with world.transaction() as ctx:
        ctx.put(device_key(device), tuple(book))


def book_of(world: World, device: str) -> accounts.DeviceBook:
    with world.transaction() as ctx:
        return accounts.device_book(ctx, device, 0)


def of_its_own(world: World) -> int:
    """What the utility has, less what was issued because it had not enough at the time."""
    issued, _, _ = cast("tuple[int, int, int]", world.query("accounts", "audit"))
    return balance(world, "utility") - issued


def test_a_released_network_is_settled_as_it_would_have_been() -> None:
    world, untroubled = traded(), traded()
    sound = book_of(world, "home-1/load")
    fill(world, "home-1/load")
    settle(world)
    settle(untroubled)
    failed_at = world.time
    mend(world, "home-1/load", sound)
    release(world)
    assert parked(world) == (("home-1", 1, "bad-amount", failed_at, "settle", world.time),)
    settled, expected = cast("Any", sums(world, "home-1")), cast("Any", sums(untroubled, "home-1"))
    assert settled[:2] == expected[:2]
    assert of_its_own(world) == of_its_own(untroubled)
    for account in ("grid-operator", "device:home-1/load:0", "pool:home-2:0"):
        assert balance(world, account) == balance(untroubled, account)
    audit(world)
    with world.transaction() as ctx:
        assert settlement_parking.in_slot(ctx, 1) == 0
    told = [event.data for event in world.events if event.topic == "settlement-released"]
    assert told == [(0, "settle", "home-1", 1)]
    metered = cast("Any", world.query("settlement", "bill_of_period", network="home-1", period=0))
    assert metered == untroubled.query("settlement", "bill_of_period", network="home-1", period=0)


def test_what_fails_again_stays_parked_under_its_number() -> None:
    world = traded()
    fill(world, "home-1/load")
    settle(world)
    release(world)
    assert parked(world) == (("home-1", 1, "bad-amount", world.time, "settle", 0),)
    assert sums(world, "home-1") is None


def test_a_final_slots_parked_network_is_settled_for_the_first_time() -> None:
    world = traded()
    sound = accounts.NetworkBook()
    with world.transaction() as ctx:
        ctx.put(b"acc-network/home-2\0" + bytes(4), tuple(accounts.NetworkBook(0, 0, 0, MAX_AMOUNT, 0)))
    settle(world)
    world.next_block(world.time + 1_800)
    assert product_state(world) == "FINAL" and balance(world, "escrow:1") == 30_000
    with world.transaction() as ctx:
        ctx.put(b"acc-network/home-2\0" + bytes(4), tuple(sound))
    release(world)
    assert balance(world, "escrow:1") == 0
    assert balance(world, "pool:home-2:0") == 30_000
    audit(world)


def test_missing_estimates_are_made_at_the_release() -> None:
    world = traded()
    with world.transaction() as ctx:
        ctx.put(b"position/home-3/ev\0" + (1).to_bytes(8, "big"), ("nonsense",))
    settle(world)
    with world.transaction() as ctx:
        ctx.delete(b"position/home-3/ev\0" + (1).to_bytes(8, "big"))
    release(world)
    assert cast("Any", sums(world, "home-3"))[0][16] == 1  # estimated: the ev, whose records were unreadable


def test_a_slots_end_is_released() -> None:
    world = traded()
    with world.transaction() as ctx:
        accounts.mint(ctx, "escrow:1", 1, "test", b"")  # what nobody can ever claim
    settle(world)
    assert parked(world) == (("", 1, "internal", world.time, "close", 0),)
    assert (balance(world, "escrow:1"), balance(world, "grid-operator")) == (7_001, 0)
    with world.transaction() as ctx:
        accounts.burn(ctx, "escrow:1", 1, "test", b"")
    release(world)
    assert (balance(world, "escrow:1"), balance(world, "grid-operator")) == (0, 7_000)
    audit(world)


def test_who_may_release_what() -> None:
    world = traded()
    sound = book_of(world, "home-1/load")
    fill(world, "home-1/load")
    settle(world)
    assert world.refused(key_of("home-1"), "settlement", "release", index=0) == "not-allowed"
    assert world.refused(ADMIN, "settlement", "release", index=1) == "unknown-unit"
    assert world.refused(ADMIN, "settlement", "release", index=-1) == "unknown-unit"
    mend(world, "home-1/load", sound)
    world.call(ADMIN, "settlement", "release", index=0)
    release(world)  # said twice, done once
    assert len([event for event in world.events if event.topic == "settlement-released"]) == 1
    assert world.refused(ADMIN, "settlement", "release", index=0) == "not-parked"
