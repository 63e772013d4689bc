"""The secret that hides whose an order is: who stirs it, when it counts, and that an id says nothing without it."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import pytest

from chaincode import market_orders, pseudonyms
from chaincode.auction_types import BUY
from chaincode.contract import ContractError
from tests.chaincode.council import Council
from tests.chaincode.marketplace import DEVICES, PERIOD_SLOTS, SLOT_S, TICK_S, key_of, marketplace, order
from tests.chaincode.town import NAMES, admin
from tests.chaincode.world import World

CLUB, ENTROPY = key_of("club"), bytes(range(32))
LOAD = "home-1/load"


def stir(world: World, entropy: bytes = ENTROPY) -> None:
    world.call(CLUB, "privacy", "add_entropy", entropy=entropy)


def secret(world: World, period: int = 0) -> bytes:
    with world.transaction() as ctx:
        return pseudonyms.secret_of(ctx, period)


def pseudonym(world: World, device: str, slot: int = 1) -> Any:
    return world.query("privacy", "pseudonym", device=device, slot=slot)


def guesses(world: World, names: Iterable[str]) -> dict[bytes, str]:
    """The ids that everybody can work out for an order as ``order`` places it, for transactions as they are numbered
    here: from names, and from what is public."""
    content = b" %d %d %d %d %d %d" % (BUY, 1, 1000, 80, False, False)
    transactions = [sha256(b"test" + number.to_bytes(8, "big")).digest() for number in range(200)]
    return {
        sha256(b"order %b%b%b" % (tx_id, name.encode(), content)).digest(): name
        for tx_id in transactions
        for name in names
    }


def test_without_entropy_an_order_is_found_by_trying_names_and_with_it_is_not() -> None:
    world = marketplace()
    assert world.query("privacy", "is_secret") is False
    found = order(world, LOAD, "buy", price=80)
    assert guesses(world, DEVICES).get(found) == LOAD
    assert pseudonym(world, LOAD) == (0, "")
    stir(world)
    assert world.query("privacy", "is_secret") is True and secret(world) == b""
    hidden = order(world, LOAD, "buy", price=80)
    assert hidden not in guesses(world, DEVICES) and secret(world)
    period, name = pseudonym(world, LOAD)
    assert period == 0 and len(name) == 16
    assert len({pseudonym(world, device)[1] for device in DEVICES}) == len(DEVICES)


def test_a_periods_secret_stays_and_the_next_one_has_another() -> None:
    world = marketplace(periods=2)
    stir(world)
    order(world, LOAD, "buy")
    first = secret(world), pseudonym(world, LOAD)
    stir(world, bytes(32))
    order(world, LOAD, "buy", wh=900)
    assert (secret(world), pseudonym(world, LOAD)) == first
    world.next_block((PERIOD_SLOTS - 1) * SLOT_S)
    order(world, LOAD, "buy", slot=PERIOD_SLOTS)
    assert secret(world, 1) not in (b"", first[0])
    assert pseudonym(world, LOAD, PERIOD_SLOTS)[1] not in ("", first[1][1])


def test_the_same_entropy_in_another_order_or_by_fewer_members_is_another_secret() -> None:
    secrets = set()
    for entropies in ([b"1" * 32], [b"2" * 32], [b"1" * 32, b"2" * 32], [b"2" * 32, b"1" * 32]):
        world = marketplace()
        for entropy in entropies:
            stir(world, entropy)
        order(world, LOAD, "buy")
        secrets.add(secret(world))
    assert len(secrets) == 4


def test_a_reference_is_placed_once_across_the_first_entropy_too() -> None:
    world = marketplace()
    args: dict[str, Any] = {
        "device": LOAD,
        "side": "buy",
        "slot": 1,
        "energy_wh": 500,
        "price": 80,
        "reference": b"mine",
    }
    key = key_of(LOAD)
    world.call(key, "market", "place", **args)
    stir(world)
    assert world.refused(key, "market", "place", **args) == "duplicate"
    order(world, LOAD, "buy", wh=200)
    assert secret(world)
    assert world.refused(key, "market", "place", **args) == "duplicate"
    args["reference"] = b"another"
    hidden = world.call(key, "market", "place", **args)
    assert world.refused(key, "market", "place", **args) == "duplicate"
    with world.transaction() as ctx:
        content = (BUY, 1, 500, 80, False, False)
        assert market_orders.referred_id(ctx, LOAD, content, b"", b"another") != hidden


def test_members_and_validators_admins_stir_and_nobody_else() -> None:
    world = marketplace()
    for sender in (key_of("home-1"), key_of(LOAD), key_of("nobody")):
        assert world.refused(sender, "privacy", "add_entropy", entropy=ENTROPY) == "not-allowed"
    for entropy in (b"", ENTROPY[1:], ENTROPY + b"0"):
        assert world.refused(CLUB, "privacy", "add_entropy", entropy=entropy) == "bad-entropy"
    council = Council()
    council.call(admin(NAMES[0]), "privacy", "add_entropy", entropy=ENTROPY)
    assert council.refused(key_of("home-1"), "privacy", "add_entropy", entropy=ENTROPY) == "not-allowed"


def test_no_question_about_the_secret_has_a_proof() -> None:
    world = marketplace()
    stir(world)
    order(world, LOAD, "buy")
    world.next_block(world.time + TICK_S)
    asked: dict[str, dict[str, Any]] = {"is_secret": {}, "pseudonym": {"device": LOAD, "slot": 1}}
    for method, args in asked.items():
        with pytest.raises(ContractError, match="not-provable"):
            world.proven_reads("privacy", method, **args)
    for slot in (-1, 2**60):
        with pytest.raises(ContractError, match="bad-args"):
            world.query("privacy", "pseudonym", device=LOAD, slot=slot)
