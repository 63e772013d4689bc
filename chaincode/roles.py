"""Members, the keys that act for somebody, and the one table of who may do what.

A key belongs to a member of the consortium, to the owner of a network, to a device or to a meter; one key may
serve several of them. Who has a right stands in ``RIGHTS`` and nowhere else; whose key the holder of one is, those
contracts know that ask for it: ``identity.py`` for networks and devices, the others for what is theirs.

Keys change (``key_changes.py``); what they act for stays. The key of whoever has none at present is ``NO_KEY``. What a
key acts for its holder has agreed to (``enrolments.py``).

State: ``role-admins/`` -> admin keys; ``role-admin-was/`` key(32) -> whose place among them it had; ``role-member/``
member -> Member; ``role-single/`` role -> the member that has it; ``role-key/`` key(32) -> how many uses; ``role-key/``
key(32), index(4) -> (kind, id), members first; ``role-one-time/`` key(32) -> what a one-time key enrols
(``enrolments.py``).
"""

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple, cast

from chaincode.contract import Context, ContractError

ADMIN: Final = "admin"
UTILITY: Final = "utility"
GRID_OPERATOR: Final = "grid-operator"
VALIDATOR: Final = "validator"
AGGREGATOR: Final = "aggregator"
MEMBER_ROLES: Final = (ADMIN, UTILITY, GRID_OPERATOR, VALIDATOR, AGGREGATOR)
"""The roles that a member may be given."""
SINGLE_ROLES: Final = (UTILITY, GRID_OPERATOR)
"""Roles with an account of their own, so one member's each."""
AUDITOR: Final = "auditor"
"""May read everything. Given by vote alone (``auditors.py``), so it is none of MEMBER_ROLES."""

RIGHTS: Final[dict[str, tuple[str, ...]]] = {
    # right: who has it. "owner", "device" and "meter" are the keys of the network or device that the call is about,
    # "member" the key of the member that the network belongs to, or of the company itself, "validator-admin" one that
    # decides for a validator (``governance.py``), "feeder-meter" the one that the grid operator has named
    # (``grid.py``), "one-time-key" one that enrols another one (``enrolments.py``); all others are roles of members.
    "register-member": (ADMIN,),
    "register-network": (ADMIN, "member"),
    "register-device": (ADMIN, "member"),
    "connect": ("device", "owner"),
    "trade": ("device", "owner"),
    "forecast": ("owner",),
    "request": ("device", "owner"),
    "report": ("meter",),
    "collect": (AGGREGATOR,),
    "report-feeder": ("feeder-meter",),
    "manage-budget": ("owner",),
    "agree": ("owner", "member"),
    "change-device-key": ("device", "owner", "member"),
    "change-owner-key": ("owner", "member"),
    "change-meter-key": (ADMIN, "member"),
    "change-member-key": ("member", ADMIN),
    "change-admin-key": (ADMIN,),
    "enrol": ("one-time-key",),
    "erase": ("owner", "member"),
    "share-data": ("owner", "member"),
    "add-entropy": ("member", "validator-admin"),
    "manage-company": ("member",),
    "release": (ADMIN,),
    "issue": (UTILITY,),
    "redeem": (UTILITY,),
    "publish-tariffs": (UTILITY,),
    "publish-grid": (GRID_OPERATOR,),
    "govern": ("validator-admin",),
}

ENTRUSTED: Final = (VALIDATOR, AGGREGATOR)
"""The roles that give no power over others. A member that has another one keeps its key from any single admin."""

KEY_BYTES: Final = 32
NO_KEY: Final = bytes(KEY_BYTES)
"""Stands where a key was that has been lost, until another one is enrolled. Nobody can sign for it: it is a point of
small order, which the one verifier of the network refuses."""
MAX_USES_OF_A_KEY: Final = 4096
MAX_ID: Final = 48

_FIRST: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_REST: Final = _FIRST + "./-"
_ADMINS: Final = b"role-admins/"
_FORMER_ADMINS: Final = b"role-admin-was/"
_MEMBERS: Final = b"role-member/"
_SINGLES: Final = b"role-single/"
_KEYS: Final = b"role-key/"
_ONE_TIME: Final = b"role-one-time/"
STANDING: Final = (_ADMINS, _KEYS, _ONE_TIME)
"""The tables that say which keys act for anybody."""


class Member(NamedTuple):
    """An organisation of the consortium. ``key``: Ed25519, 32 bytes; ``roles``: of MEMBER_ROLES."""

    id: str
    key: bytes
    roles: tuple[str, ...]


def check_id(name: str) -> None:
    """An id is 1 to 48 of a-z, 0-9, '.', '/', '-', the first a letter or digit. Raises ContractError("bad-id")."""
    good = 0 < len(name) <= MAX_ID and name[0] in _FIRST and all(letter in _REST for letter in name)
    if not good:
        raise ContractError("bad-id", f"{name[:60]!r}: 1 to {MAX_ID} of a-z 0-9 . / -, the first a letter or digit")


def check_key(key: bytes) -> None:
    """A public key is 32 bytes, and somebody's. Raises ContractError("bad-key")."""
    if len(key) != KEY_BYTES:
        raise ContractError("bad-key", f"a public key is {KEY_BYTES} bytes, not {len(key)}")
    if key == NO_KEY:
        raise ContractError("bad-key", "this is the key of nobody")


def set_admins(ctx: Context, keys: tuple[bytes, ...]) -> None:
    """The keys that may do what an admin may without being a member's."""
    ctx.put(_ADMINS, keys)


def add_member(ctx: Context, member: Member, *, is_voted: bool = False) -> None:
    """``is_voted``: as ``add_use``. Raises ContractError: bad-id, bad-key, duplicate-id, bad-role, role-taken."""
    check_id(member.id)
    check_key(member.key)
    if ctx.get(_MEMBERS + member.id.encode()) is not None:
        raise ContractError("duplicate-id", f"there is a member {member.id}")
    for index, role in enumerate(member.roles):
        if role not in MEMBER_ROLES or role in member.roles[:index]:
            raise ContractError("bad-role", f"{role[:40]!r} is not one of {MEMBER_ROLES}, or named twice")
        if role in SINGLE_ROLES:
            if ctx.get(_SINGLES + role.encode()) is not None:
                raise ContractError("role-taken", f"there is a {role} already")
            ctx.put(_SINGLES + role.encode(), member.id)
    ctx.put(_MEMBERS + member.id.encode(), tuple(member))
    add_use(ctx, member.key, "member", member.id, is_voted=is_voted)


def member_of(ctx: Context, member: str) -> Member:
    """Raises ContractError("unknown-member")."""
    value = ctx.get(_MEMBERS + member.encode())
    if value is None:
        raise ContractError("unknown-member", f"there is no member {member[:MAX_ID]!r}")
    return Member(*cast("tuple[str, bytes, tuple[str, ...]]", value))


def find_member(ctx: Context, member: str) -> Member | None:
    """The member of this name, if there is one."""
    return None if ctx.get(_MEMBERS + member.encode()) is None else member_of(ctx, member)


def set_roles(ctx: Context, member: Member, names: tuple[str, ...]) -> None:
    """Other roles for ``member``, of which none is one of SINGLE_ROLES that it has not got."""
    ctx.put(_MEMBERS + member.id.encode(), tuple(member._replace(roles=names)))


def change_member_key(ctx: Context, member: Member, key: bytes) -> None:
    """Another key for ``member``, or NO_KEY. Who may, ``key_changes.py`` has seen to."""
    ctx.put(_MEMBERS + member.id.encode(), tuple(member._replace(key=key)))


def is_guarded(member: Member) -> bool:
    """Whether it has a role that gives power over others."""
    return any(role not in ENTRUSTED for role in member.roles)


def admins(ctx: Context) -> tuple[bytes, ...]:
    """The keys that ``set_admins`` has set."""
    return cast("tuple[bytes, ...]", ctx.get(_ADMINS) or ())


def admin_place(ctx: Context, key: bytes) -> int | None:
    """Which of the admins has this key, or had it last; None if none ever had."""
    now = admins(ctx)
    return now.index(key) if key in now else cast("int | None", ctx.get(_FORMER_ADMINS + key))


def change_admin(ctx: Context, place: int, key: bytes) -> None:
    """Another key for the admin at a place."""
    now = admins(ctx)
    ctx.put(_FORMER_ADMINS + now[place], place)
    set_admins(ctx, (*now[:place], key, *now[place + 1 :]))


def set_one_time(ctx: Context, key: bytes, enrols: tuple[str, str, int] | None) -> None:
    """What a one-time key enrols, and until which block time; None: it is dead."""
    if enrols is None:
        ctx.delete(_ONE_TIME + key)
    else:
        ctx.put(_ONE_TIME + key, enrols)


def one_time_of(ctx: Context, key: bytes) -> tuple[str, str, int] | None:
    """(kind, id, block time until which it may) of what a one-time key enrols; None if it is none, or dead."""
    return cast("tuple[str, str, int] | None", ctx.get(_ONE_TIME + key))


def add_use(ctx: Context, key: bytes, kind: str, name: str, *, is_voted: bool = False) -> None:
    """Note that ``key`` acts for ``name``; kind: "member", "network", "device", "meter". What is voted has no bound:
    whoever is against it could have the key act for as much as a key may.

    Raises ContractError: too-many; key-in-use for a one-time key, which acts for nothing.
    """
    if key == NO_KEY:
        return
    if one_time_of(ctx, key) is not None:
        raise ContractError("key-in-use", "a one-time key enrols another one, and acts for nothing")
    count = cast("int | None", ctx.get(_KEYS + key)) or 0
    if count >= MAX_USES_OF_A_KEY and not is_voted:
        raise ContractError("too-many", f"one key acts for at most {MAX_USES_OF_A_KEY}")
    place = count
    if kind == "member" and (place := len(members_of(ctx, key))) < count:
        ctx.put(_use(key, count), ctx.get(_use(key, place)))
    ctx.put(_use(key, place), (kind, name))
    ctx.put(_KEYS + key, count + 1)


def drop_use(ctx: Context, key: bytes, kind: str, name: str) -> None:
    """``key`` acts for ``name`` no longer: the last of its uses takes the place of this one, or of the last member,
    which takes that of a member."""
    if key == NO_KEY:
        return
    last = cast("int", ctx.get(_KEYS + key)) - 1
    place = next(index for index in range(last + 1) if ctx.get(_use(key, index)) == (kind, name))
    if kind == "member" and (end_of_members := len(members_of(ctx, key)) - 1) != place:
        ctx.put(_use(key, place), ctx.get(_use(key, end_of_members)))
        place = end_of_members
    if place != last:
        ctx.put(_use(key, place), ctx.get(_use(key, last)))
    ctx.delete(_use(key, last))
    if last:
        ctx.put(_KEYS + key, last)
    else:
        ctx.delete(_KEYS + key)


def uses_of(ctx: Context, key: bytes) -> tuple[tuple[str, str], ...]:
    """What ``key`` acts for: (kind, id)."""
    check_key(key)
    return tuple(each_use(ctx, key))


def each_use(ctx: Context, key: bytes) -> Iterator[tuple[str, str]]:
    """``uses_of``, read one by one: for whoever may stop early."""
    for index in range(cast("int | None", ctx.get(_KEYS + key)) or 0):
        yield cast("tuple[str, str]", ctx.get(_use(key, index)))


def members_of(ctx: Context, key: bytes) -> tuple[str, ...]:
    """The members whose key it is, mostly none or one. They come first among its uses, so that no more of these are
    looked at, however many devices and meters it acts for."""
    return tuple([name for _, name in itertools.takewhile(lambda use: use[0] == "member", each_use(ctx, key))])


def first_use(ctx: Context, key: bytes) -> tuple[str, str] | None:
    """One thing that ``key`` acts for, a member if it is one's key: (kind, id)."""
    return cast("tuple[str, str] | None", ctx.get(_use(key, 0)))


def acts(ctx: Context, key: bytes) -> bool:
    """Whether ``key`` is one of the genesis admins', or acts for a member, network, device or meter."""
    return ctx.get(_KEYS + key) is not None or key in admins(ctx)


def has_role(ctx: Context, key: bytes, role: str) -> bool:
    """Whether ``key`` is that of a member with ``role``, or for ADMIN one of the genesis admins'."""
    if len(key) != KEY_BYTES:
        return False
    if role == ADMIN and key in admins(ctx):
        return True
    if role in SINGLE_ROLES:
        return single_key(ctx, role) == key
    return any(role in member_of(ctx, name).roles for name in members_of(ctx, key))


def single_key(ctx: Context, role: str) -> bytes | None:
    """The key of the one member that has ``role``, which is one of SINGLE_ROLES; None if nobody has."""
    holder = ctx.get(_SINGLES + role.encode())
    return None if holder is None else member_of(ctx, cast("str", holder)).key


def has_right(ctx: Context, right: str, keys: Mapping[str, Collection[bytes]] | None = None) -> bool:
    """Whether the sender has a right, by a role or by its key. ``keys``: holder -> which keys it has in this case; for
    holders that are no roles, and instead of a role's where only some with that role are meant. Nobody else counts."""
    known = keys or {}
    for holder in RIGHTS[right]:
        if holder in known:
            if ctx.sender in known[holder]:
                return True
        elif holder in MEMBER_ROLES and has_role(ctx, ctx.sender, holder):
            return True
    return False


def require_right(ctx: Context, right: str, keys: Mapping[str, Collection[bytes]] | None = None) -> None:
    """The sender has a right, as ``has_right`` knows. Raises ContractError("not-allowed")."""
    if not has_right(ctx, right, keys):
        raise ContractError("not-allowed", f"{right} is for {' or '.join(RIGHTS[right])}")


def _use(key: bytes, index: int) -> bytes:
    return _KEYS + key + index.to_bytes(4, "big")
