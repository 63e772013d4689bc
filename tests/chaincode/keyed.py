"""The neighbourhood with keys that can sign, and the calls that register and change them."""

from functools import cache
from typing import Any, Final

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
NO_PROOF: Final = bytes(64)


@cache
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
    """The word of ``new`` that it is to act for ``name``, for ``by`` to hand in."""
    return new.sign(enrolments.possession_message(CHAIN, kind, name, by, new.public_key))


def one_time_proof(kind: str, name: str, by: bytes, one_time: SigningKey) -> bytes:
    """The word of ``one_time`` that it is to enrol a key of ``name``."""
    return one_time.sign(enrolments.one_time_message(CHAIN, kind, name, by, one_time.public_key))


def agreed(by: bytes, **args: Any) -> dict[str, Any]:
    """The arguments of ``register_member``, ``register_network`` or ``register_device`` that ``by`` signs: with the
    keys of those who are given in place of their keys, and their proofs. Bytes stay, with a proof that proves nothing.
    """
    if "device" in args:
        sign = one_time_proof if args.get("enrol_until") else proof
        own = _given(sign, "device", args["device"], by, args.pop("key"))
        meter = _given(proof, "meter", args["device"], by, args.pop("meter_key"))
        return {**args, "key": own[0], "proof": own[1], "meter_key": meter[0], "meter_proof": meter[1]}
    if "network" in args:
        owner = _given(proof, "network", args["network"], by, args.pop("owner_key"))
        return {**args, "owner_key": owner[0], "proof": owner[1]}
    key = _given(proof, "member", args["member"], by, args.pop("key"))
    return {**args, "key": key[0], "proof": key[1]}


def _given(sign: Any, kind: str, name: str, by: bytes, key: Any) -> tuple[bytes, bytes]:
    return (key.public_key, sign(kind, name, by, key)) if isinstance(key, SigningKey) else (key, NO_PROOF)


def rotation(kind: str, name: str, by: SigningKey, new: SigningKey) -> dict[str, Any]:
    subject = {"network": "network", "member": "member"}.get(kind, "device")
    return {subject: name, "key": new.public_key, "proof": proof(kind, name, by.public_key, new)}


def rotate(world: World, kind: str, name: str, by: SigningKey, new: SigningKey) -> None:
    world.call(by.public_key, "keys", f"rotate_{ROTATE[kind]}_key", **rotation(kind, name, by, new))


def reset(world: World, kind: str, name: str, by: SigningKey, one_time: SigningKey, until: int = DAY_S) -> None:
    world.call(by.public_key, "keys", f"reset_{ROTATE[kind]}_key", **resetting(kind, name, by, one_time, until))


def resetting(kind: str, name: str, by: SigningKey, one_time: SigningKey, until: int = DAY_S) -> dict[str, Any]:
    subject = {"network": "network", "member": "member"}.get(kind, "device")
    signed = one_time_proof(kind, name, by.public_key, one_time)
    return {subject: name, "one_time_key": one_time.public_key, "until": until, "proof": signed}


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
