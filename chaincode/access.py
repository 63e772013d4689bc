"""Who may read what is whose, by the state as it is now: one table in code.

A subject (``subjects.py``) can be read by these keys, and by those whom they share it with:

    device      its own; its network's owner's; the member's that the network belongs to; its meter's what it measures
                (readings) and where it hangs (registry)
    network     its owner's; its member's; its devices' the registry
    member      its own: what the company holds itself, not what its homes do
    role        the member's that has it
    key         itself
    consortium  nobody's

An admin reads every registry, and the utility may ask them. An auditor reads everything, as validators do, whose
disks hold it: those the node knows (``node/gateway/access.py``). A grant is somebody's leave for a key to read
classes of data of one subject until a block time; that of a network holds for its devices. It ends with the key that
gave it: who owns a home from now on need not find out whom the one before let in.

State: ``grant/`` kind, name -> (Grant, ...), in the order in which they were given; ``grant-to/`` key -> the latest
time until which anything was ever granted to it.
"""

from typing import Final, NamedTuple, TypeAlias, cast

from chaincode import roles
from chaincode.contract import Context, ContractError, Subject
from chaincode.identity_records import device_of, devices_of, network_of
from chaincode.keys import text
from chaincode.roles import member_of
from chaincode.subjects import DEVICE, EVERYBODY, HOLDERS, KEY, MEMBER, NETWORK, READINGS, REGISTRY, ROLE

TABLE: Final = b"grant/"
_TO: Final = b"grant-to/"
FOR_GOOD: Final = 2**63 - 1
"""Until when a key reads that needs no grant."""
STANDING: Final = (TABLE, b"device/", b"network/", b"role-member/", b"role-single/")
"""The tables that the answers of ``readers`` hang on."""

Readers: TypeAlias = dict[bytes, int]
"""Keys that may read, each until a block time."""


class Grant(NamedTuple):
    """``reader``: the key that may read; ``classes``: of the data; ``until``: block time, included; ``giver``: the key
    of the owner, or the company, that gave it."""

    reader: bytes
    classes: tuple[str, ...]
    until: int
    giver: bytes


def grants_of(ctx: Context, kind: str, name: str) -> tuple[Grant, ...]:
    """What has been granted of a subject, and not been revoked; some may be over, or of a key that was before."""
    rows = cast("tuple[tuple[bytes, tuple[str, ...], int, bytes], ...]", ctx.get(_key(kind, name)) or ())
    return tuple([Grant(*row) for row in rows])


def put_grants(ctx: Context, kind: str, name: str, grants: tuple[Grant, ...]) -> None:
    """Replace what has been granted of a subject."""
    if grants:
        ctx.put(_key(kind, name), tuple([tuple(grant) for grant in grants]))
    else:
        ctx.delete(_key(kind, name))


def note_reader(ctx: Context, grant: Grant) -> None:
    """Remember that somebody let ``grant.reader`` read."""
    ctx.put(_TO + grant.reader, max(grant.until, cast("int | None", ctx.get(_TO + grant.reader)) or 0))


def was_let_in(ctx: Context, key: bytes) -> bool:
    """Whether anybody has let ``key`` read anything until now or later, revoked or not."""
    return (cast("int | None", ctx.get(_TO + key)) or -1) >= ctx.time


def may_read(ctx: Context, key: bytes, subjects: tuple[Subject, ...]) -> bool:
    """Whether ``key`` may read one of ``subjects``, now; an empty key is a stranger's."""
    if EVERYBODY in subjects:
        return True
    if len(key) != roles.KEY_BYTES or key == roles.NO_KEY:
        return False
    if any(readers(ctx, subject).get(key, -1) >= ctx.time for subject in subjects):
        return True
    of_registry = any(subject.data == REGISTRY for subject in subjects)
    return (of_registry and _asks_registries(ctx, key)) or is_auditor(ctx, key)


def are_there(ctx: Context, subjects: tuple[Subject, ...]) -> bool:
    """Whether all devices, networks and members among ``subjects`` exist: those have readers."""
    return all(subject.kind not in HOLDERS or readers(ctx, subject) for subject in subjects)


def is_auditor(ctx: Context, key: bytes) -> bool:
    """Whether ``key`` reads everything."""
    return key != roles.NO_KEY and roles.has_role(ctx, key, roles.AUDITOR)


def is_admin(ctx: Context, key: bytes) -> bool:
    """Whether ``key`` reads every registry, and is told of every change of it."""
    return key != roles.NO_KEY and roles.has_role(ctx, key, roles.ADMIN)


def _asks_registries(ctx: Context, key: bytes) -> bool:
    """Whether ``key`` may ask every registry: the utility does, too, as it issues tokens for everybody's periods."""
    return is_admin(ctx, key) or roles.has_role(ctx, key, roles.UTILITY)


def readers(ctx: Context, subject: Subject) -> Readers:
    """The keys that may read a subject by themselves or by a grant; none if there is no such subject."""
    try:
        return _readers(ctx, subject)
    except ContractError as error:
        if error.code == "step-limit":
            raise
        return {}


def named_readers(ctx: Context, name: str, data: str) -> Readers:
    """The same where only a name is known, as in the keys of an event. Where it is the name of several, of a device
    here and a network there, only those may read who may read each: nobody gains by choosing another's name."""
    found = [keys for kind in HOLDERS if (keys := readers(ctx, Subject(kind, name, data)))]
    common = found[0] if found else {}
    for other in found[1:]:
        common = {key: min(until, other[key]) for key, until in common.items() if key in other}
    return common


def _readers(ctx: Context, subject: Subject) -> Readers:
    kind, name, data = subject
    if kind == DEVICE:
        device = device_of(ctx, name)
        network = network_of(ctx, device.network)
        measures = (device.meter_key,) if data in (READINGS, REGISTRY) else ()
        keys = (device.key, network.owner_key, member_of(ctx, network.member).key, *measures)
        of_network = _granted(ctx, NETWORK, network.id, data, network.owner_key)
        return {**of_network, **_granted(ctx, DEVICE, name, data, network.owner_key), **_own(keys)}
    if kind == NETWORK:
        network = network_of(ctx, name)
        inside = [device_of(ctx, each).key for each in devices_of(ctx, name)] if data == REGISTRY else []
        keys = (network.owner_key, member_of(ctx, network.member).key, *inside)
        return {**_granted(ctx, NETWORK, name, data, network.owner_key), **_own(keys)}
    if kind == MEMBER:
        member = member_of(ctx, name)
        return {**_granted(ctx, MEMBER, name, data, member.key), **_own((member.key,))}
    if kind == ROLE:
        key = roles.single_key(ctx, name)
        return {} if key is None else _own((key,))
    return _own((bytes.fromhex(name),)) if kind == KEY else {}


def _own(keys: tuple[bytes, ...]) -> Readers:
    return dict.fromkeys(keys, FOR_GOOD)


def _granted(ctx: Context, kind: str, name: str, data: str, holder: bytes) -> Readers:
    """What ``holder``, who may share the subject's data now, has granted."""
    grants = grants_of(ctx, kind, name)
    return {each.reader: each.until for each in grants if data in each.classes and each.giver == holder}


def _key(kind: str, name: str) -> bytes:
    return TABLE + text(kind) + name.encode()
