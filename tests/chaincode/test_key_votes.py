"""What is voted about keys comes about, whatever those do who do not want it: a motion is public for 33 blocks."""

from typing import Any, cast

from chaincode import roles
from chaincode.ballot import NOTICE
from chaincode.contract import Value
from chaincode.roles import AUDITOR, has_role
from tests.chaincode.council import Council
from tests.chaincode.keyed import one_time_proof, proof, signer
from tests.chaincode.marketplace import ADMIN, key_of
from tests.chaincode.town import admin

NEW = signer("new").public_key
DEVICE = "home-1/load"


def propose(council: Council, method: str, **args: Any) -> tuple[int, bytes]:
    args["first_height"] = council.height + NOTICE
    return cast("tuple[int, bytes, int]", council.call(admin("ada"), "motions", method, **args))[:2]


def decide(council: Council, number: int, digest: bytes) -> None:
    for who in ("bob", "cyd"):
        council.call(admin(who), "motions", "approve", proposal=number, digest=digest)


def outcome(council: Council) -> Value:
    """What became of the motion that is decided, at its height."""
    council.height += NOTICE - 1
    council.next_block()
    return cast("tuple[tuple[Value, ...], ...]", council.query("motions", "history"))[-1][5]


def take_as_one_time_key(council: Council) -> None:
    """What the new key's holder can do with whoever has a device; without its holder nobody can."""
    given = {"device": DEVICE, "one_time_key": NEW, "until": council.time + 3600}
    assert council.refused(key_of(DEVICE), "keys", "reset_device_key", **given, proof=bytes(64)) == "bad-signature"
    signed = one_time_proof("device", DEVICE, key_of(DEVICE), signer("new"))
    council.call(key_of(DEVICE), "keys", "reset_device_key", **given, proof=signed)


def test_a_household_does_not_keep_the_utilitys_stolen_key_in_office() -> None:
    """Its next key waits to enrol a device, since before the vote or after it: that makes room."""
    for is_early in (True, False):
        council = Council()
        if is_early:
            take_as_one_time_key(council)
        motion = propose(council, "propose_member_key", name="utility", key=NEW)
        decide(council, *motion)
        if not is_early:
            take_as_one_time_key(council)
        assert outcome(council) == "ok"
        assert cast("Any", council.query("identity", "member", member="utility"))[1] == NEW
        assert council.query("keys", "enrolment", one_time_key=NEW) is None, "the enrolment has made room"
        assert council.query("keys", "waiting", kind="device", name=DEVICE) is None


def test_nor_by_giving_the_new_key_more_than_a_key_may_have() -> None:
    council = Council()
    motion = propose(council, "propose_member_key", name="utility", key=NEW)
    decide(council, *motion)
    with council.transaction() as ctx:
        for number in range(roles.MAX_USES_OF_A_KEY):
            roles.add_use(ctx, NEW, "meter", f"meter-{number}")
    assert outcome(council) == "ok"


def test_a_thief_of_an_admins_key_does_not_get_away_by_changing_it() -> None:
    """Who has an admin's key may rotate it. The vote names the key that was stolen, and means whose it was."""
    council, last = Council(), ADMIN
    motion = propose(council, "propose_admin_key", old=ADMIN, key=NEW)
    for step in ("before it is decided", "after it", "and once more"):
        if step == "after it":
            decide(council, *motion)
        next_key = signer(step)
        given = {"key": next_key.public_key, "proof": proof("admin", "", last, next_key)}
        council.call(last, "keys", "rotate_admin_key", **given)
        last = next_key.public_key
    assert outcome(council) == "ok"
    with council.transaction() as ctx:
        assert has_role(ctx, NEW, roles.ADMIN)
        assert not has_role(ctx, last, roles.ADMIN) and not has_role(ctx, ADMIN, roles.ADMIN)


def test_a_household_does_not_keep_an_auditor_away() -> None:
    council = Council()
    motion = propose(council, "propose_auditor", name="regulator", key=NEW)
    decide(council, *motion)
    take_as_one_time_key(council)
    assert outcome(council) == "ok"
    with council.transaction() as ctx:
        assert has_role(ctx, NEW, AUDITOR)
