"""Keys that are rotated, lost and enrolled: exactly the present ones may act, and what they act for stays."""

from typing import Any, cast

import pytest

from chaincode import enrolments, key_changes, roles
from chaincode.ballot import NOTICE
from chaincode.contract import ContractError
from node.model.keys import verify
from node.model.transaction import Transaction, sign_transaction
from tests.chaincode.council import Council
from tests.chaincode.keyed import (
    ADMIN,
    CLUB,
    DAY_S,
    EV,
    OWNER_1,
    OWNER_2,
    ROTATE,
    UTILITY,
    agreed,
    enrol,
    knows,
    may_trade,
    one_time_proof,
    proof,
    refused,
    reset,
    resetting,
    rotate,
    rotation,
    signer,
    uses,
    world_of_signers,
)
from tests.chaincode.market_chain import FOREVER, KEYS, MarketChain
from tests.chaincode.neighbourhood import STRANGER
from tests.chaincode.town import admin


def test_a_device_gets_another_key_and_keeps_its_money() -> None:
    world, new = world_of_signers(), signer("new")
    utility = UTILITY.public_key
    world.call(utility, "budget", "issue", network="home-1", period=0, amount=100, reference=b"1")
    world.call(OWNER_1.public_key, "budget", "allocate", network="home-1", period=0, amounts=((EV, 60),))
    before = world.query("accounts", "account", account=f"device:{EV}:0")
    rotate(world, "device", EV, OWNER_1, new)
    assert world.query("accounts", "account", account=f"device:{EV}:0") == before == 60
    assert may_trade(world, EV, new) and not may_trade(world, EV, signer(EV))
    assert uses(world, new) == {("device", EV)} and uses(world, signer(EV)) == set()
    assert not knows(world, signer(EV)) and knows(world, new)
    event = world.events[-1]
    assert (event.topic, event.keys, event.data) == ("key-changed", (EV, "home-1"), ("device", EV, "rotated"))


def test_who_may_rotate_what() -> None:
    """The table: for each kind of key, each of all who sign."""
    everybody = {"device": signer(EV), "meter": signer(f"meter of {EV}"), "owner": OWNER_1, "member": CLUB}
    everybody |= {"admin": ADMIN, "utility": UTILITY, "other owner": OWNER_2, "other device": signer("home-1/load")}
    subjects = {"device": EV, "meter": EV, "network": "home-1", "member": "club"}
    allowed = {
        "device": {"device", "owner", "member"},
        "meter": {"member", "admin"},
        "network": {"owner", "member"},
        "member": {"member", "admin"},
    }
    for kind, name in subjects.items():
        for who, key in everybody.items():
            world, new = world_of_signers(), signer("new")
            if who in allowed[kind]:
                rotate(world, kind, name, key, new)
                assert (kind, name) in uses(world, new)
            else:
                args = rotation(kind, name, key, new)
                assert refused(world, key, f"rotate_{ROTATE[kind]}_key", **args) == "wrong-key", (kind, who)
                code = resetting(kind, name, key, new)
                assert refused(world, key, f"reset_{ROTATE[kind]}_key", **code) == "wrong-key", (kind, who)


def test_one_admin_does_not_become_the_utility() -> None:
    world, new = world_of_signers(), signer("new")
    assert refused(world, ADMIN, "rotate_member_key", **rotation("member", "utility", ADMIN, new)) == "wrong-key"
    code = resetting("member", "utility", ADMIN, new)
    assert refused(world, ADMIN, "reset_member_key", **code) == "wrong-key"
    rotate(world, "member", "utility", UTILITY, new)
    issue = {"network": "home-1", "period": 0, "amount": 1, "reference": b"1"}
    assert world.refused(UTILITY.public_key, "budget", "issue", **issue) == "not-allowed"
    world.call(new.public_key, "budget", "issue", **issue)


def test_an_admin_of_the_genesis_changes_its_own_key() -> None:
    world, new = world_of_signers(), signer("new")
    given = {"key": new.public_key, "proof": proof("admin", "", ADMIN.public_key, new)}
    assert refused(world, CLUB, "rotate_admin_key", **given) == "bad-signature"
    stolen = {"key": new.public_key, "proof": proof("admin", "", CLUB.public_key, new)}
    assert refused(world, CLUB, "rotate_admin_key", **stolen) == "unknown-admin"
    world.call(ADMIN.public_key, "keys", "rotate_admin_key", **given)
    member: dict[str, Any] = {"member": "shop", "key": signer("shop"), "roles": ()}
    before = agreed(ADMIN.public_key, **member)
    assert world.refused(ADMIN.public_key, "identity", "register_member", **before) == "not-allowed"
    world.call(new.public_key, "identity", "register_member", **agreed(new.public_key, **member))
    again = {"key": new.public_key, "proof": proof("admin", "", new.public_key, new)}
    assert refused(world, new, "rotate_admin_key", **again) == "duplicate-key"


@pytest.mark.parametrize(
    ("key", "signed", "code"),
    [
        (bytes(31), b"", "bad-key"),
        (roles.NO_KEY, b"", "bad-key"),
        (signer("new").public_key, b"", "bad-signature"),
        (signer("new").public_key, proof("device", EV, OWNER_2.public_key, signer("new")), "bad-signature"),
        (signer("new").public_key, proof("meter", EV, OWNER_1.public_key, signer("new")), "bad-signature"),
        (signer("new").public_key, proof("device", "home-1/pv", OWNER_1.public_key, signer("new")), "bad-signature"),
        (signer(EV).public_key, proof("device", EV, OWNER_1.public_key, signer(EV)), "no-change"),
    ],
)
def test_a_key_that_does_not_agree_is_not_taken(key: bytes, signed: bytes, code: str) -> None:
    world = world_of_signers()
    assert refused(world, OWNER_1, "rotate_device_key", device=EV, key=key, proof=signed) == code
    assert may_trade(world, EV, signer(EV)) and uses(world, signer(EV)) == {("device", EV)}


def test_the_key_of_nobody_takes_no_signature() -> None:
    """Not even the signature that a verifier without a list of small-order points takes for any message."""
    for r in (bytes(32), bytes([1, *[0] * 31])):
        assert not verify(roles.NO_KEY, b"anything", r + bytes(32))


def test_a_lost_device_enrols_a_key_made_on_the_new_one() -> None:
    world, once, new = world_of_signers(), signer("once"), signer("new")
    reset(world, "device", EV, OWNER_1, once)
    assert not may_trade(world, EV, signer(EV)) and uses(world, signer(EV)) == set()
    assert world.query("keys", "enrolment", one_time_key=once.public_key) == ("device", EV, DAY_S)
    assert world.query("keys", "waiting", kind="device", name=EV) == DAY_S
    assert knows(world, once) and not may_trade(world, EV, once) and uses(world, once) == set()
    enrol(world, "device", EV, once, new)
    assert may_trade(world, EV, new) and uses(world, new) == {("device", EV)}
    assert not knows(world, once), "a key that is dead fills no mempool"
    assert world.query("keys", "enrolment", one_time_key=once.public_key) is None
    assert world.query("keys", "waiting", kind="device", name=EV) is None
    again = proof("device", EV, once.public_key, signer("thief"))
    assert refused(world, once, "enrol", key=signer("thief").public_key, proof=again) == "no-enrolment"
    assert [event.data for event in world.events if event.topic == "key-changed"] == [
        ("device", EV, "reset"),
        ("device", EV, "enrolled"),
    ]


def test_a_code_is_over_when_its_time_is() -> None:
    world, once, new = world_of_signers(), signer("once"), signer("new")
    latest = world.time + enrolments.MAX_ENROLMENT_S
    for until in (world.time, latest + 1, -1):
        code = resetting("device", EV, OWNER_1, once, until)
        assert refused(world, OWNER_1, "reset_device_key", **code) == "bad-expiry"
    assert may_trade(world, EV, signer(EV)), "nothing has happened"
    reset(world, "device", EV, OWNER_1, once, 100)
    world.next_block(100)
    assert knows(world, once)
    world.next_block(101)
    assert not knows(world, once)
    signed = {"key": new.public_key, "proof": proof("device", EV, once.public_key, new)}
    assert refused(world, once, "enrol", **signed) == "enrolment-over"
    other = signer("another code")
    reset(world, "device", EV, OWNER_1, other, 200)
    assert refused(world, once, "enrol", **signed) == "no-enrolment", "replaced"
    enrol(world, "device", EV, other, new)
    assert may_trade(world, EV, new)


def test_a_one_time_key_enrols_one_thing_and_does_nothing_else() -> None:
    world, once = world_of_signers(), signer("once")
    busy = resetting("device", EV, OWNER_1, OWNER_2)
    assert refused(world, OWNER_1, "reset_device_key", **busy) == "key-in-use"
    reset(world, "device", EV, OWNER_1, once)
    again = resetting("device", "home-1/pv", OWNER_1, once)
    assert refused(world, OWNER_1, "reset_device_key", **again) == "key-in-use"
    itself = {"key": once.public_key, "proof": proof("device", EV, once.public_key, once)}
    assert refused(world, once, "enrol", **itself) == "no-change"
    assert refused(world, once, "rotate_device_key", device=EV, **itself) == "wrong-key"
    taken = rotation("device", "home-1/pv", OWNER_1, once)
    assert refused(world, OWNER_1, "rotate_device_key", **taken) == "key-in-use"
    network = agreed(CLUB.public_key, network="home-9", member="club", owner_key=once, bus="b1")
    assert world.refused(CLUB.public_key, "identity", "register_network", **network) == "key-in-use"
    issue = {"network": "home-1", "period": 0, "amounts": ((EV, 0),)}
    assert world.refused(once.public_key, "budget", "allocate", **issue) == "wrong-key"


@pytest.mark.parametrize("kind, name", [("device", EV), ("meter", EV), ("network", "home-1"), ("member", "club")])
def test_anothers_key_is_nobodys_one_time_key(kind: str, name: str) -> None:
    """Who could make it one would keep its holder from using it: a call that names it can be seen before it is done."""
    world, theirs, by = world_of_signers(), signer("theirs"), CLUB
    good = resetting(kind, name, by, theirs)
    for signed in (
        bytes(64),
        one_time_proof(kind, name, OWNER_2.public_key, theirs),
        one_time_proof(kind, "home-2/load", by.public_key, theirs),
        one_time_proof("network" if kind == "meter" else "meter", name, by.public_key, theirs),
        one_time_proof(kind, name, by.public_key, signer("mine")),
        proof(kind, name, by.public_key, theirs),
    ):
        assert refused(world, by, f"reset_{ROTATE[kind]}_key", **good | {"proof": signed}) == "bad-signature"
    assert not knows(world, theirs)
    world.call(by.public_key, "keys", f"reset_{ROTATE[kind]}_key", **good)
    assert knows(world, theirs)


def test_a_device_is_registered_with_a_code_instead_of_a_key() -> None:
    world, once, new = world_of_signers(), signer("once"), signer("new")
    device: dict[str, Any] = {
        "device": "home-2/ev",
        "network": "home-2",
        "kind": "ev",
        "meter_key": signer("meter"),
        "bus": None,
    }
    by = CLUB.public_key
    device |= {"import_w": 7_000, "export_w": 0, "critical": False, "renewable": False}
    for bad, code in ((bytes(32), "bad-key"), (CLUB, "key-in-use"), (STRANGER, "bad-signature")):
        call = agreed(by, **device, key=bad, enrol_until=DAY_S)
        assert world.refused(by, "identity", "register_device", **call) == code
    assert world.refused(by, "identity", "register_device", **agreed(by, **device, key=bytes(32))) == "bad-key"
    call = agreed(by, **device, key=once, enrol_until=world.time + 60)
    acting = proof("device", "home-2/ev", by, once)
    assert world.refused(by, "identity", "register_device", **call | {"proof": acting}) == "bad-signature"
    world.call(by, "identity", "register_device", **call)
    assert not may_trade(world, "home-2/ev", once)
    enrol(world, "device", "home-2/ev", once, new)
    assert may_trade(world, "home-2/ev", new) and may_trade(world, "home-2/ev", OWNER_2)


def test_an_owner_who_lost_everything_and_a_member_that_changes() -> None:
    world, once, new = world_of_signers(), signer("once"), signer("new")
    reset(world, "network", "home-1", CLUB, once)
    call = {"network": "home-1", "period": 0, "amounts": ((EV, 0),)}
    assert world.refused(OWNER_1.public_key, "budget", "allocate", **call) == "wrong-key"
    enrol(world, "network", "home-1", once, new)
    assert may_trade(world, EV, new) and not may_trade(world, EV, OWNER_1)
    assert uses(world, OWNER_1) == set()
    other = signer("club's next")
    rotate(world, "member", "club", CLUB, other)
    assert refused(world, CLUB, "rotate_owner_key", **rotation("network", "home-1", CLUB, OWNER_1)) == "wrong-key"
    rotate(world, "network", "home-1", other, OWNER_1)


def test_a_key_of_many_uses_loses_one_of_them() -> None:
    """Whoever has most uses: the last one fills the gap, and the others stay."""
    world, new = world_of_signers(), signer("new")
    for name in ("home-1/battery", EV, "home-1/load"):
        rotate(world, "device", name, OWNER_1, OWNER_1)
    everything = {("network", "home-1"), ("device", "home-1/battery"), ("device", EV), ("device", "home-1/load")}
    assert uses(world, OWNER_1) == everything
    rotate(world, "device", "home-1/battery", OWNER_1, new)
    assert uses(world, OWNER_1) == everything - {("device", "home-1/battery")}
    rotate(world, "network", "home-1", OWNER_1, new)
    assert uses(world, new) == {("device", "home-1/battery"), ("network", "home-1")}
    rotate(world, "device", EV, new, new)
    rotate(world, "device", "home-1/load", new, new)
    assert uses(world, OWNER_1) == set() and not knows(world, OWNER_1)


def test_a_vote_gives_the_utility_another_key_and_an_admin_too() -> None:
    """What ``motions.py`` does when it comes into force."""
    world, new = world_of_signers(), signer("new")
    with world.transaction() as ctx:
        key_changes.set_member_key(ctx, "utility", new.public_key)
        with pytest.raises(ContractError, match="no-change"):
            key_changes.check_member_key(ctx, "utility", new.public_key)
        with pytest.raises(ContractError, match="unknown-admin"):
            key_changes.check_admin_key(ctx, CLUB.public_key, new.public_key)
        key_changes.set_admin_key(ctx, ADMIN.public_key, new.public_key)
        with pytest.raises(ContractError, match="duplicate-key"):
            key_changes.check_admin_key(ctx, new.public_key, new.public_key)
    world.call(new.public_key, "budget", "issue", network="home-1", period=0, amount=1, reference=b"1")
    shop = agreed(new.public_key, member="shop", key=signer("shop"), roles=())
    world.call(new.public_key, "identity", "register_member", **shop)
    assert not knows(world, UTILITY) and not knows(world, ADMIN)
    assert [event.data for event in world.events if event.topic == "key-changed"] == [
        ("member", "utility", "voted"),
        ("admin", "", "voted"),
    ]


def test_validators_vote_on_the_key_that_the_utility_has_lost() -> None:
    """Three of four admins; at the height the key is another one, and a vote that has become pointless fails alone."""
    council, new = Council(), signer("new")
    at = council.height + NOTICE
    voted = {"name": "utility", "key": new.public_key, "first_height": at}
    proposed = cast("Any", council.call(admin("ada"), "motions", "propose_member_key", **voted))
    for who in ("bob", "cyd"):
        council.call(admin(who), "motions", "approve", proposal=proposed[0], digest=proposed[1])
    old = cast("Any", council.query("identity", "member", member="utility"))[1]
    assert old != new.public_key
    assert council.query("motions", "scheduled") == ((at, proposed[0], "member-key", ("utility", new.public_key)),)
    council.height = at - 1
    council.next_block()
    assert cast("Any", council.query("identity", "member", member="utility"))[1] == new.public_key
    assert council.query("identity", "whoami", key=old) == ()
    assert cast("Any", council.query("motions", "history"))[0][5] == "ok"
    again = {"name": "utility", "key": new.public_key, "first_height": council.height + NOTICE}
    assert council.refused(admin("ada"), "motions", "propose_member_key", **again) == "no-change"
    nobody = {"old": old, "key": new.public_key, "first_height": council.height + NOTICE}
    assert council.refused(admin("ada"), "motions", "propose_admin_key", **nobody) == "unknown-admin"


def test_what_the_old_key_has_signed_ends_in_the_block() -> None:
    """An order that waited in a mempool, in the block after the change and in the very block: it is judged when it is
    executed, and its nonce is used up either way."""
    chain, new, device = MarketChain(), signer("new"), "home-1/load"
    owner = KEYS["home-1"]
    money = {"network": "home-1", "period": 0}
    chain.commit(chain.execute(0, [chain.tx("utility", "budget", "issue", **money, amount=10**6, reference=b"1")]))
    chain.commit(chain.execute(1, [chain.tx("home-1", "budget", "allocate", **money, amounts=[[device, 10**6]])]))
    buy = {"device": device, "side": "buy", "slot": 2, "energy_wh": 100, "price": 80, "until": "gate"}
    first, together, later = (chain.tx(device, "market", "place", **buy) for _ in range(3))
    by_new = sign_transaction(new, chain.chain, 1, "market", "place", buy, FOREVER)
    proof = new.sign(enrolments.possession_message(chain.chain, "device", device, owner.public_key, new.public_key))
    change = chain.tx("home-1", "keys", "rotate_device_key", device=device, key=new.public_key, proof=proof)

    def codes(time: int, *transactions: Transaction) -> list[str]:
        execution = chain.execute(time, list(transactions))
        chain.commit(execution)
        return [receipt.code for receipt in execution.receipts]

    assert codes(2, first) == ["ok"]
    changed, order = codes(3, change, together)
    assert changed == "ok" and order in ("ok", "wrong-key"), "whichever is first by the block's order"
    assert codes(4, later, by_new) == ["wrong-key", "ok"]
