"""Auditors: members that may read everything, such as a regulator. The role is given and taken by vote alone
(``motions.py``), never by one admin; it gives no other right.

State: ``role-auditors/`` -> their names, in the order in which they were appointed.
"""

from typing import Final, cast

from chaincode import enrolments, roles
from chaincode.contract import Context, ContractError
from chaincode.roles import AUDITOR, Member

MAX_AUDITORS: Final = 16

_AUDITORS: Final = b"role-auditors/"


def listed(ctx: Context) -> tuple[tuple[str, bytes], ...]:
    """(name, key) of each."""
    return tuple([(name, roles.member_of(ctx, name).key) for name in _names(ctx)])


def check_new(ctx: Context, name: str, key: bytes) -> Member | None:
    """Whether this can become one; the member, if there is one of the name.

    Raises ContractError: bad-id, bad-key, duplicate-id, no-change, too-many.
    """
    roles.check_id(name)
    roles.check_key(key)
    if name in _names(ctx):
        raise ContractError("no-change", f"{name} is an auditor")
    if len(_names(ctx)) >= MAX_AUDITORS:
        raise ContractError("too-many", f"there are {MAX_AUDITORS} auditors, no more can be")
    found = roles.find_member(ctx, name)
    if found is not None and found.key != key:
        raise ContractError("duplicate-id", f"there is a member {name}, with another key")
    return found


def require(ctx: Context, name: str) -> Member:
    """The auditor of this name. Raises ContractError: unknown-member, no-change."""
    found = roles.member_of(ctx, name)
    if name not in _names(ctx):
        raise ContractError("no-change", f"{name} is no auditor")
    return found


def appoint(ctx: Context, name: str, key: bytes) -> None:
    """Make it one, and a member if it is none. Raises ContractError as ``check_new``."""
    found = check_new(ctx, name, key)
    if found is None:
        found = Member(name, key, ())
        enrolments.make_room(ctx, key)
        roles.add_member(ctx, found, is_voted=True)
    roles.set_roles(ctx, found, (*found.roles, AUDITOR))
    ctx.put(_AUDITORS, (*_names(ctx), name))


def dismiss(ctx: Context, name: str) -> None:
    """It stays a member. Raises ContractError as ``require``."""
    found = require(ctx, name)
    roles.set_roles(ctx, found, tuple([role for role in found.roles if role != AUDITOR]))
    ctx.put(_AUDITORS, tuple([other for other in _names(ctx) if other != name]))


def _names(ctx: Context) -> tuple[str, ...]:
    return cast("tuple[str, ...]", ctx.get(_AUDITORS) or ())
