"""Who may read what: the table of readers, leave given and taken back, and what stands beside each query."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode import access, identity_records
from chaincode.contract import ContractError, Subject
from chaincode.grants import MAX_GRANTS, MAX_SECONDS
from chaincode.registry import default_registry
from chaincode.subjects import (
    BUDGET,
    CLASSES,
    CONSORTIUM,
    DEVICE,
    EVERYBODY,
    GRANTS,
    KEY,
    MARKET,
    MEMBER,
    NETWORK,
    READINGS,
    REGISTRY,
    ROLE,
    closed,
)
from tests.chaincode.keyed import CLUB as CLUB_KEY
from tests.chaincode.keyed import EV, OWNER_1, agreed, rotate, signer, world_of_signers
from tests.chaincode.marketplace import ADMIN, DEVICES, UTILITY, key_of, marketplace, order
from tests.chaincode.world import World

CLUB, OWNER, OTHER = key_of("club"), key_of("home-1"), key_of("home-2")
LOAD, METER, BATTERY = key_of("home-1/load"), key_of("meter home-1/load"), key_of("home-1/battery")
FRIEND, STRANGER = key_of("a friend"), key_of("stranger")
KEYS = (CLUB, OWNER, OTHER, LOAD, METER, BATTERY, ADMIN, UTILITY, FRIEND, STRANGER, b"", b"x")

CLOSED = {
    "agreements.agreements",  # of all networks
    "market.book",  # by bus: a bus may be one home
    "market.trades",  # who traded with whom, and how far apart they are
    "market.auction",  # orders by bus, and what flowed over every line
    "settlement.rent",  # what every network paid in tolls
}
"""The queries that only those may ask who see everything, and why. A query that is not declared is closed as well."""


@pytest.fixture(scope="module")
def world() -> World:
    return marketplace()


def allowed(world: World, subject: Subject) -> set[bytes]:
    with world.transaction() as ctx:
        return {key for key in KEYS if access.may_read(ctx, key, (subject,))}


def audience(world: World, contract: str, method: str, *, proven: bool = False, **args: Any) -> tuple[Subject, ...]:
    with world.transaction() as ctx:
        return world.registry.audience(ctx, contract, method, args, proven=proven)


def test_every_query_says_whose_data_it_answers_with() -> None:
    undeclared, shut = set(), set()
    for contract in default_registry().contracts:
        for name in dir(contract):
            method = getattr(contract, name)
            if getattr(method, "chaincode_kind", "") == "query":
                of = method.chaincode_of
                undeclared |= {f"{contract.name}.{name}"} if of is None else set()
                shut |= {f"{contract.name}.{name}"} if of is closed else set()
    assert not undeclared, "say who may ask, beside the query"
    assert shut == CLOSED


@pytest.mark.parametrize("data", CLASSES)
def test_a_device_is_its_owners_its_members_and_its_own(world: World, data: str) -> None:
    measures = {METER} if data in (READINGS, REGISTRY) else set()
    admins = {ADMIN, UTILITY} if data == REGISTRY else set()
    assert allowed(world, Subject(DEVICE, "home-1/load", data)) == {CLUB, OWNER, LOAD} | measures | admins


@pytest.mark.parametrize("data", [*CLASSES, GRANTS])
def test_a_network_is_its_owners_and_its_members(world: World, data: str) -> None:
    inside = {LOAD, BATTERY, ADMIN, UTILITY} if data == REGISTRY else set()
    assert allowed(world, Subject(NETWORK, "home-1", data)) == {CLUB, OWNER} | inside


def test_what_is_not_a_households(world: World) -> None:
    assert allowed(world, Subject(MEMBER, "club", BUDGET)) == {CLUB}
    assert allowed(world, Subject(ROLE, "utility", BUDGET)) == {UTILITY}
    assert allowed(world, Subject(ROLE, "auditor", BUDGET)) == set()
    assert allowed(world, Subject(KEY, STRANGER.hex(), REGISTRY)) == {STRANGER, ADMIN, UTILITY}
    assert allowed(world, Subject(CONSORTIUM, "", REGISTRY)) == {ADMIN, UTILITY}
    assert allowed(world, EVERYBODY) == set(KEYS)


@pytest.mark.parametrize("kind", [DEVICE, NETWORK, MEMBER, "", "page"])
def test_what_does_not_exist_is_nobodys(world: World, kind: str) -> None:
    for data in CLASSES:
        assert allowed(world, Subject(kind, "home-9/load", data)) <= {ADMIN, UTILITY}


def test_auditors_read_everything(world: World) -> None:
    world = marketplace()
    with world.transaction() as ctx:
        ctx.put(b"role-member/eye", ("eye", FRIEND, ("auditor",)))
        ctx.put(b"role-key/" + FRIEND, 1)
        ctx.put(b"role-key/" + FRIEND + bytes(4), ("member", "eye"))
        assert access.may_read(ctx, FRIEND, ())
        assert not access.may_read(ctx, OWNER, ())


def test_leave_to_read_holds_for_its_classes_and_ends_by_itself() -> None:
    world = marketplace()
    world.call(
        OWNER, "grants", "grant", kind=NETWORK, name="home-1", reader=FRIEND, classes=(READINGS, MARKET), until=99
    )
    seen = {data for data in CLASSES if FRIEND in allowed(world, Subject(NETWORK, "home-1", data))}
    assert seen == {data for data in CLASSES if FRIEND in allowed(world, Subject(DEVICE, "home-1/load", data))}
    assert seen == {READINGS, MARKET}
    assert FRIEND not in allowed(world, Subject(DEVICE, "home-2/load", READINGS))
    assert world.query("grants", "granted", kind=NETWORK, name="home-1") == ((FRIEND, (MARKET, READINGS), 99),)
    world.next_block(99)
    assert FRIEND in allowed(world, Subject(NETWORK, "home-1", READINGS))
    world.next_block(100)
    assert FRIEND not in allowed(world, Subject(NETWORK, "home-1", READINGS))
    assert world.query("grants", "granted", kind=NETWORK, name="home-1") == ()


def test_leave_for_one_device_is_not_leave_for_its_network() -> None:
    world = marketplace()
    world.call(OWNER, "grants", "grant", kind=DEVICE, name="home-1/load", reader=FRIEND, classes=CLASSES, until=99)
    assert FRIEND in allowed(world, Subject(DEVICE, "home-1/load", READINGS))
    assert FRIEND not in allowed(world, Subject(DEVICE, "home-1/battery", READINGS))
    assert FRIEND not in allowed(world, Subject(NETWORK, "home-1", READINGS))
    assert FRIEND not in allowed(world, Subject(DEVICE, "home-1/load", GRANTS))
    world.call(OWNER, "grants", "grant", kind=DEVICE, name="home-1/load", reader=FRIEND, classes=(MARKET,), until=50)
    assert world.query("grants", "granted", kind=DEVICE, name="home-1/load") == ((FRIEND, (MARKET,), 50),)
    world.call(OWNER, "grants", "revoke", kind=DEVICE, name="home-1/load", reader=FRIEND)
    assert FRIEND not in allowed(world, Subject(DEVICE, "home-1/load", MARKET))
    assert [event.topic for event in world.events[-3:]] == ["granted", "granted", "revoked"]


@pytest.mark.parametrize(
    ("sender", "code", "change"),
    [
        (LOAD, "wrong-key", {}),
        (CLUB, "wrong-key", {}),
        (OTHER, "wrong-key", {}),
        (OWNER, "bad-kind", {"kind": "bus"}),
        (OWNER, "unknown-network", {"name": "home-9"}),
        (OWNER, "unknown-device", {"kind": DEVICE}),
        (OWNER, "wrong-key", {"kind": MEMBER, "name": "club"}),
        (OWNER, "bad-key", {"reader": b"short"}),
        (OWNER, "bad-key", {"reader": bytes(32)}),
        (OWNER, "bad-class", {"classes": ()}),
        (OWNER, "bad-class", {"classes": (MARKET, MARKET)}),
        (OWNER, "bad-class", {"classes": (GRANTS,)}),
        (OWNER, "bad-until", {"until": 0}),
        (OWNER, "bad-until", {"until": MAX_SECONDS + 1}),
    ],
)
def test_what_cannot_be_granted(world: World, sender: bytes, code: str, change: dict[str, Any]) -> None:
    args: dict[str, Any] = {"kind": NETWORK, "name": "home-1", "reader": FRIEND, "classes": (MARKET,), "until": 99}
    assert world.refused(sender, "grants", "grant", **{**args, **change}) == code


def test_grants_are_bounded_and_those_that_are_over_make_room() -> None:
    world = marketplace()
    args: dict[str, Any] = {"kind": MEMBER, "name": "club", "classes": (BUDGET,)}
    for number in range(MAX_GRANTS):
        world.call(CLUB, "grants", "grant", **args, reader=key_of(f"friend {number}"), until=1 if number == 7 else 99)
    assert world.refused(CLUB, "grants", "grant", **args, reader=FRIEND, until=99) == "too-many"
    world.next_block(2)
    world.call(CLUB, "grants", "grant", **args, reader=FRIEND, until=99)
    assert world.refused(CLUB, "grants", "revoke", kind=MEMBER, name="club", reader=STRANGER) == "unknown-grant"
    assert FRIEND in allowed(world, Subject(MEMBER, "club", BUDGET))


def test_leave_ends_with_the_key_that_gave_it() -> None:
    """Who lived here before, and let another key of its own in, reads nothing of those who live here now."""
    world = world_of_signers()
    reader, tenant, tower = signer("second key"), signer("next tenant"), signer("club's next key")
    subjects = [(NETWORK, "home-1", OWNER_1), (DEVICE, EV, OWNER_1), (MEMBER, "club", CLUB_KEY)]
    for kind, name, giver in subjects:
        args = {"kind": kind, "name": name, "reader": reader.public_key}
        world.call(giver.public_key, "grants", "grant", **args, classes=CLASSES, until=99)
    assert may_read(world, reader.public_key) == {(kind, name) for kind, name, _ in subjects}
    rotate(world, "network", "home-1", CLUB_KEY, tenant)
    assert may_read(world, reader.public_key) == {(MEMBER, "club")}
    for kind, name in ((NETWORK, "home-1"), (DEVICE, EV)):
        assert world.query("grants", "granted", kind=kind, name=name) == ()
        args = {"kind": kind, "name": name, "reader": reader.public_key}
        assert world.refused(tenant.public_key, "grants", "revoke", **args) == "unknown-grant"
    rotate(world, "member", "club", CLUB_KEY, tower)
    assert may_read(world, reader.public_key) == set()
    args = {"kind": DEVICE, "name": EV, "reader": reader.public_key}
    world.call(tenant.public_key, "grants", "grant", **args, classes=(MARKET,), until=99)
    assert world.query("grants", "granted", kind=DEVICE, name=EV) == ((reader.public_key, (MARKET,), 99),)


def may_read(world: World, key: bytes) -> set[tuple[str, str]]:
    """Of which of the subjects of that test ``key`` may read orders."""
    with world.transaction() as ctx:
        subjects = ((NETWORK, "home-1"), (DEVICE, EV), (MEMBER, "club"))
        return {each for each in subjects if access.may_read(ctx, key, (Subject(*each, MARKET),))}


def test_a_name_that_several_have_lets_nobody_read_anothers() -> None:
    """A network called as somebody's device is registered by its rival, who would read its events, or blind it. That is
    refused; a genesis document may have such names."""
    world = marketplace()
    for name in ("home-1/load", "home-1", "club"):
        args = agreed(ADMIN, network=name, member="utility", owner_key=signer("rival"), bus="t")
        assert world.refused(ADMIN, "identity", "register_network", **args) == "duplicate-id"
        member = agreed(ADMIN, member=name, key=signer("rival"), roles=())
        assert world.refused(ADMIN, "identity", "register_member", **member) == "duplicate-id"
    with world.transaction() as ctx:
        identity_records.add_network(ctx, identity_records.Network("home-1/load", "utility", OTHER, "t", 0))
        assert set(access.named_readers(ctx, "home-1/battery", MARKET)) == {BATTERY, OWNER, CLUB}
        assert access.named_readers(ctx, "home-1/load", MARKET) == {}
        assert access.named_readers(ctx, "home-9", MARKET) == {}


def test_an_order_is_read_by_whose_it_is_and_an_unknown_one_by_nobody(world: World) -> None:
    placed = order(world, "home-1/load", "buy")
    assert audience(world, "market", "order", order=placed) == (
        Subject(DEVICE, "home-1/load", MARKET),
        Subject(NETWORK, "home-1", MARKET),
    )
    assert audience(world, "market", "order", order=bytes(32)) == audience(world, "market", "order", order=b"") == ()


def test_accounts_are_their_holders(world: World) -> None:
    def of(account: str) -> tuple[Subject, ...]:
        return audience(world, "accounts", "account", account=account)

    assert of("device:home-1/load:0") == of("reserved:home-1/load:0") == (Subject(DEVICE, "home-1/load", BUDGET),)
    assert of("pool:home-1:0") == (Subject(NETWORK, "home-1", BUDGET),)
    assert of("company:club:0") == (Subject(MEMBER, "club", BUDGET),)
    assert of("utility") == of("escrow:5") == (EVERYBODY,)
    assert of("nonsense") == ()


def test_what_says_more_in_its_proof_than_in_its_answer_is_not_proven_to_all(world: World) -> None:
    for method in ("prices", "auctions"):
        assert audience(world, "market", method, slot=1) == (EVERYBODY,)
        assert audience(world, "market", method, slot=1, proven=True) == ()


def test_a_question_that_is_none_is_refused_before_anybody_looks(world: World) -> None:
    cases: tuple[tuple[str, str, dict[str, Any], str], ...] = (
        ("nobody", "x", {}, "unknown-contract"),
        ("market", "place", {}, "unknown-method"),
        ("market", "order", {}, "bad-args"),
        ("market", "order", {"order": 7}, "bad-args"),
    )
    for contract, method, args, code in cases:
        with pytest.raises(ContractError, match=code):
            audience(world, contract, method, **args)


@given(st.sampled_from(list(DEVICES)), st.sampled_from(CLASSES), st.binary(min_size=32, max_size=32))
def test_no_guessed_key_reads_anything(device: str, data: str, key: bytes) -> None:
    world = _guessed()
    with world.transaction() as ctx:
        network = DEVICES[device][0]
        assert not access.may_read(ctx, key, (Subject(DEVICE, device, data), Subject(NETWORK, network, data)))


_WORLDS: list[World] = []


def _guessed() -> World:
    if not _WORLDS:
        _WORLDS.append(marketplace())
    return _WORLDS[0]
