"""The neighbourhood with keys that can sign, and the calls that change them."""

from typing import Any

from chaincode import enrolments, identity, slots
from chaincode.accounts import Accounts
from chaincode.budget import Budget
from chaincode.contract import ContractError
from chaincode.grants import Grants
from chaincode.grid import Grid
from chaincode.identity import Identity
from chaincode.key_changes import KeyChanges
from node.model.codec import sha256
from node.model.keys import SigningKey
from tests.chaincode import neighbourhood
from tests.chaincode.neighbourhood import DEVICES, key_of
from tests.chaincode.world import CHAIN, World

EV = "home-1/ev"
DAY_S = 24 * 3600
ROTATE = {"device": "device", "meter": "meter", "network": "owner", "member": "member"}


def signer(name: str) -> SigningKey:
    return SigningKey(sha256(b"signer", name.encode()))


ADMIN, CLUB, UTILITY = signer("admin"), signer("club"), signer("utility")
OWNER_1, OWNER_2 = signer("owner-1"), signer("owner-2")


def world_of_signers() -> World:
    """The neighbourhood with real keys, so that what is signed can be checked."""
    given = neighbourhood.settings()
    known = {key_of(name).hex(): signer(name).public_key.hex() for name in _NAMES}

    def real(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(real(each) for each in value)
        return known.get(value, value) if isinstance(value, str) else value

    given["identity"] = {name: real(rows) for name, rows in given["identity"].items()}
    world = World([Accounts(), Grid(), Identity(), KeyChanges(), Grants(), Budget()], given)
    with world.transaction() as ctx:
        slots.configure(ctx, neighbourhood.SLOT_S)
    return world


_OF_DEVICES = (*DEVICES, "home-2/load")
_PEOPLE = ("admin", "club", "utility", "operator", "owner-1", "owner-2")
_NAMES = (*_PEOPLE, *_OF_DEVICES, *(f"meter of {device}" for device in _OF_DEVICES))


def proof(kind: str, name: str, by: bytes, new: SigningKey) -> bytes:
    return new.sign(enrolments.possession_message(CHAIN, kind, name, by, new.public_key))


def rotation(kind: str, name: str, by: SigningKey, new: SigningKey) -> dict[str, Any]:
    subject = {"network": "network", "member": "member"}.get(kind, "device")
    return {subject: name, "key": new.public_key, "proof": proof(kind, name, by.public_key, new)}


def rotate(world: World, kind: str, name: str, by: SigningKey, new: SigningKey) -> None:
    world.call(by.public_key, "keys", f"rotate_{ROTATE[kind]}_key", **rotation(kind, name, by, new))


def reset(world: World, kind: str, name: str, by: SigningKey, one_time: SigningKey, until: int = DAY_S) -> None:
    subject = {"network": "network", "member": "member"}.get(kind, "device")
    args = {subject: name, "one_time_key": one_time.public_key, "until": until}
    world.call(by.public_key, "keys", f"reset_{ROTATE[kind]}_key", **args)


def enrol(world: World, kind: str, name: str, one_time: SigningKey, new: SigningKey) -> None:
    signed = proof(kind, name, one_time.public_key, new)
    assert world.call(one_time.public_key, "keys", "enrol", key=new.public_key, proof=signed) == (kind, name)


def may_trade(world: World, device: str, key: SigningKey) -> bool:
    try:
        with world.transaction(key.public_key) as ctx:
            identity.require_device_key(ctx, device)
    except ContractError as error:
        assert error.code == "wrong-key"
        return False
    return True


def uses(world: World, key: SigningKey) -> set[tuple[str, str]]:
    found = world.query("identity", "whoami", key=key.public_key)
    assert isinstance(found, tuple) and len(set(found)) == len(found)
    return set(found)  # type: ignore[arg-type]


def knows(world: World, key: SigningKey) -> bool:
    with world.transaction() as ctx:
        return world.registry.knows(ctx, key.public_key)


def refused(world: World, by: SigningKey, method: str, **args: Any) -> str:
    return world.refused(by.public_key, "keys", method, **args)
