"""Keys change, and what they act for stays: the ids, their money, orders, readings and history.

Two ways. To *rotate* a key puts another one in its place at once; the new one signs that it agrees
(``enrolments.possession_message``), so that nobody is locked out by a slip of the pen, and nobody is given what it does
not want. To *reset* a key that is lost leaves none in its place, and a one-time key to *enrol* another one with
(``enrolments.py``). Either way the key before can do nothing more from that transaction on, not even with what it has
signed already: a call is judged when it is executed. What its holder had begun goes on.

Who may change what is in ``roles.RIGHTS``: a device its own key, its owner and member for it; an owner its own, its
member for it; a meter's whoever vouches for it by registering devices; a member its own. An admin may change a member's
key for it unless the member has power over others (``roles.is_guarded``): one admin alone must not become the utility,
or read as an auditor. Then the validators' admins vote (``motions.py``). Their own keys are seats of ``governance.py``.

State: that of ``roles.py``, ``identity_records.py`` and ``enrolments.py``.
"""

from typing import Any, Final

from chaincode import enrolments, identity_records, roles, subjects
from chaincode.contract import Context, Contract, ContractError, Subject, Value, query, transaction
from chaincode.enrolments import DEVICE, KINDS, MEMBER, METER, NETWORK
from chaincode.roles import ADMIN, RIGHTS
from chaincode.subjects import REGISTRY, public

_RIGHT_OF: Final = {
    DEVICE: "change-device-key",
    METER: "change-meter-key",
    NETWORK: "change-owner-key",
    MEMBER: "change-member-key",
}
ROTATED: Final = "rotated"
RESET: Final = "reset"
ENROLLED: Final = "enrolled"
VOTED: Final = "voted"


def _of_holder(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    """The device, network or member whose key it is."""
    kind = subjects.DEVICE if args["kind"] == METER else args["kind"]
    return (Subject(kind, args["name"], subjects.REGISTRY),) if kind in subjects.HOLDERS else ()


class KeyChanges(Contract):
    """Changing keys, and enrolling the first ones. ``proof``: the new key's signature over
    ``enrolments.possession_message``, a one-time key's over ``one_time_message``."""

    name = "keys"
    results = REGISTRY

    def knows(self, ctx: Context, key: bytes) -> bool:
        found = roles.one_time_of(ctx, key)
        return found is not None and ctx.time <= found[2]

    @transaction
    def rotate_device_key(self, ctx: Context, *, device: str, key: bytes, proof: bytes) -> Value:
        """From now on ``key`` acts for ``device``. By its own key, its owner's, or the network's member's.

        Raises ContractError: unknown-device, wrong-key, bad-key, bad-signature, no-change, key-in-use, too-many.
        """
        return _rotate(ctx, DEVICE, device, key, proof)

    @transaction
    def rotate_meter_key(self, ctx: Context, *, device: str, key: bytes, proof: bytes) -> Value:
        """From now on ``key`` is the meter's of ``device``. By an admin, or the network's member. What the key before
        has signed and nobody handed in is worth nothing any more. Raises as ``rotate_device_key``."""
        return _rotate(ctx, METER, device, key, proof)

    @transaction
    def rotate_owner_key(self, ctx: Context, *, network: str, key: bytes, proof: bytes) -> Value:
        """From now on ``key`` is the owner's of ``network``. By the owner's key, or the network's member's.

        Raises ContractError: unknown-network, and as ``rotate_device_key``.
        """
        return _rotate(ctx, NETWORK, network, key, proof)

    @transaction
    def rotate_member_key(self, ctx: Context, *, member: str, key: bytes, proof: bytes) -> Value:
        """From now on ``key`` is the member's. By its own key; by an admin if the member has no power over others.

        Raises ContractError: unknown-member, and as ``rotate_device_key``.
        """
        return _rotate(ctx, MEMBER, member, key, proof)

    @transaction
    def rotate_admin_key(self, ctx: Context, *, key: bytes, proof: bytes) -> Value:
        """From now on ``key`` is what the sender's was: one of the admins that the genesis names. ``proof`` is for the
        kind "admin" and no id. Raises ContractError: bad-key, bad-signature, unknown-admin, duplicate-key, key-in-use.
        """
        enrolments.require_possession(ctx, ADMIN, "", key, proof)
        _require_free(ctx, key)
        if not roles.has_right(ctx, "change-admin-key", {ADMIN: roles.admins(ctx)}):
            raise ContractError("unknown-admin", "no admin of the genesis has this key")
        _change_admin(ctx, ctx.sender, key, ROTATED)
        return None

    @transaction
    def reset_device_key(self, ctx: Context, *, device: str, one_time_key: bytes, until: int, proof: bytes) -> Value:
        """No key acts for ``device`` until ``one_time_key`` has enrolled one, by block time ``until``. By whom:
        ``rotate_device_key``. Raises ContractError: unknown-device, wrong-key, bad-key, bad-signature, bad-expiry
        (details: the latest time), key-in-use.
        """
        return _reset(ctx, DEVICE, device, one_time_key, until, proof)

    @transaction
    def reset_meter_key(self, ctx: Context, *, device: str, one_time_key: bytes, until: int, proof: bytes) -> Value:
        """No key is the meter's of ``device`` until one is enrolled. By whom: ``rotate_meter_key``; raises as
        ``reset_device_key``."""
        return _reset(ctx, METER, device, one_time_key, until, proof)

    @transaction
    def reset_owner_key(self, ctx: Context, *, network: str, one_time_key: bytes, until: int, proof: bytes) -> Value:
        """No key is the owner's of ``network`` until one is enrolled. By whom: ``rotate_owner_key``.

        Raises ContractError: unknown-network, and as ``reset_device_key``.
        """
        return _reset(ctx, NETWORK, network, one_time_key, until, proof)

    @transaction
    def reset_member_key(self, ctx: Context, *, member: str, one_time_key: bytes, until: int, proof: bytes) -> Value:
        """No key is the member's until one is enrolled. By whom: ``rotate_member_key``.

        Raises ContractError: unknown-member, and as ``reset_device_key``.
        """
        return _reset(ctx, MEMBER, member, one_time_key, until, proof)

    @transaction
    def enrol(self, ctx: Context, *, key: bytes, proof: bytes) -> Value:
        """From now on ``key`` acts for what the sender, a one-time key, enrols; the sender is dead. Returns (kind, id).

        Raises ContractError: no-enrolment (it was used, replaced or never one), enrolment-over (details: since when),
        bad-key, bad-signature, no-change (of the sender itself), key-in-use, too-many.
        """
        found = roles.one_time_of(ctx, ctx.sender)
        if found is None or not roles.has_right(ctx, "enrol", {"one-time-key": (ctx.sender,)}):
            raise ContractError("no-enrolment", "this key enrols nothing: it has been used, or replaced")
        kind, name, until = found
        if until < ctx.time:
            raise ContractError("enrolment-over", f"it was good until block time {until}", (until,))
        enrolments.require_possession(ctx, kind, name, key, proof)
        if key == ctx.sender:
            raise ContractError("no-change", "a one-time key does not enrol itself: others may have seen it")
        _change(ctx, kind, name, key, ENROLLED)
        return (kind, name)

    @query(of=public, proven=subjects.closed)  # a key can be chosen so that another's entry lies beside
    def enrolment(self, ctx: Context, *, one_time_key: bytes) -> Value:
        """(kind, id, until which block time) of what a one-time key enrols; None if it has been used or replaced, or
        never was one. Kinds: "device", "meter", "network" (its owner), "member"."""
        roles.check_key(one_time_key)
        return roles.one_time_of(ctx, one_time_key)

    @query(of=_of_holder)
    def waiting(self, ctx: Context, *, kind: str, name: str) -> Value:
        """Until which block time a key of ``name`` can be enrolled; None if no one-time key waits for it."""
        if kind not in KINDS:
            raise ContractError("bad-kind", f"a kind of key is one of {KINDS}")
        one_time_key = enrolments.waiting(ctx, kind, name)
        found = None if one_time_key is None else roles.one_time_of(ctx, one_time_key)
        return None if found is None else found[2]


def check_member_key(ctx: Context, name: str, key: bytes) -> None:
    """Whether a vote may give the member ``name`` this key.

    Raises ContractError: unknown-member, bad-key, no-change.
    """
    roles.check_key(key)
    if roles.member_of(ctx, name).key == key:
        raise ContractError("no-change", f"this is the key of member {name}")


def set_member_key(ctx: Context, name: str, key: bytes) -> None:
    """What was voted. Raises ContractError as ``check_member_key``."""
    check_member_key(ctx, name, key)
    enrolments.make_room(ctx, key)
    _change(ctx, MEMBER, name, key, VOTED)


def check_admin_key(ctx: Context, old: bytes, key: bytes) -> None:
    """Whether a vote may give ``key`` to the admin of the genesis that has ``old``, or had it: a thief of a key that is
    voted about could rotate it.

    Raises ContractError: unknown-admin, bad-key, duplicate-key.
    """
    roles.check_key(key)
    if roles.admin_place(ctx, old) is None:
        raise ContractError("unknown-admin", "no admin of the genesis has, or had, this key")
    _require_no_admins(ctx, key)


def set_admin_key(ctx: Context, old: bytes, key: bytes) -> None:
    """What was voted. Raises ContractError as ``check_admin_key``."""
    check_admin_key(ctx, old, key)
    enrolments.make_room(ctx, key)
    _change_admin(ctx, old, key, VOTED)


def _change_admin(ctx: Context, old: bytes, key: bytes, how: str) -> None:
    _require_no_admins(ctx, key)
    place = roles.admin_place(ctx, old)
    assert place is not None, "the key of no admin"
    roles.change_admin(ctx, place, key)
    ctx.emit("key-changed", (), (ADMIN, "", how))


def _require_no_admins(ctx: Context, key: bytes) -> None:
    if key in roles.admins(ctx):
        raise ContractError("duplicate-key", "this is the key of an admin already")


def _require_free(ctx: Context, key: bytes) -> None:
    roles.check_key(key)
    if roles.one_time_of(ctx, key) is not None:
        raise ContractError("key-in-use", "a one-time key enrols another one, and acts for nothing")


def _rotate(ctx: Context, kind: str, name: str, key: bytes, proof: bytes) -> Value:
    _require_right(ctx, kind, name)
    enrolments.require_possession(ctx, kind, name, key, proof)
    _change(ctx, kind, name, key, ROTATED)
    return None


def _reset(ctx: Context, kind: str, name: str, one_time_key: bytes, until: int, proof: bytes) -> Value:
    _require_right(ctx, kind, name)
    _change(ctx, kind, name, roles.NO_KEY, RESET)
    enrolments.begin(ctx, kind, name, one_time_key, until, proof)
    return None


def _change(ctx: Context, kind: str, name: str, key: bytes, how: str) -> None:
    """``key`` instead of the one before, which acts for ``name`` no longer; what waited to enrol one waits no more."""
    enrolments.end(ctx, kind, name)
    if kind in (DEVICE, METER):
        device = identity_records.device_of(ctx, name)
        old = device.key if kind == DEVICE else device.meter_key
        changed = device._replace(key=key) if kind == DEVICE else device._replace(meter_key=key)
        identity_records.put_device(ctx, changed)
        told: tuple[str, ...] = (device.id, device.network)
    elif kind == NETWORK:
        network = identity_records.network_of(ctx, name)
        old, told = network.owner_key, (network.id,)
        identity_records.put_network(ctx, network._replace(owner_key=key))
    else:
        member = roles.member_of(ctx, name)
        old, told = member.key, (member.id,)
        roles.change_member_key(ctx, member, key)
    if key == old and key != roles.NO_KEY:
        raise ContractError("no-change", f"this is the key of {kind} {name}")
    roles.drop_use(ctx, old, kind, name)
    roles.add_use(ctx, key, kind, name, is_voted=how == VOTED)
    ctx.emit("key-changed", told, (kind, name, how))


def _require_right(ctx: Context, kind: str, name: str) -> None:
    """The sender may change the key of ``name``. Raises ContractError: unknown-device, unknown-network, unknown-member,
    wrong-key."""
    for holder in RIGHTS[_RIGHT_OF[kind]]:
        if holder == ADMIN:
            guarded = kind == MEMBER and roles.is_guarded(roles.member_of(ctx, name))
            if not guarded and roles.has_role(ctx, ctx.sender, ADMIN):
                return
        elif ctx.sender == _key_of(ctx, holder, kind, name):
            return
    raise ContractError("wrong-key", f"not a key that may change that of {kind} {name}")


def _key_of(ctx: Context, holder: str, kind: str, name: str) -> bytes:
    """The key of ``holder`` ("device", "owner" or "member") as seen from ``name``."""
    if kind == MEMBER:
        return roles.member_of(ctx, name).key
    if holder == "device":
        return identity_records.device_of(ctx, name).key
    of = identity_records.device_of(ctx, name).network if kind in (DEVICE, METER) else name
    network = identity_records.network_of(ctx, of)
    return network.owner_key if holder == "owner" else roles.member_of(ctx, network.member).key
