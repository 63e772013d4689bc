"""Leave to read: what owners and companies share with others, for a time.

A grant names one subject (a device, a network with all its devices, or a company's own holdings), one key, the classes
of data (``subjects.py``) and the block time until which it holds, a year at most: leave that nobody remembers ends by
itself. The owner gives it for its network and each device of it, a company for itself. It holds from the block after,
and until it is revoked or over, or the owner or company has another key; whoever has read meanwhile has read.

State: that of ``access.py``.
"""

from typing import Any, Final

from chaincode import access, identity, roles
from chaincode.access import Grant
from chaincode.contract import Context, Contract, ContractError, Subject, Value, query, transaction
from chaincode.subjects import CLASSES, DEVICE, GRANTS, HOLDERS, MEMBER, NETWORK

MAX_GRANTS: Final = 64
"""Of one subject, those that are over left out."""
MAX_SECONDS: Final = 366 * 86_400


def _of_subject(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    return (Subject(args["kind"], args["name"], GRANTS),) if args["kind"] in HOLDERS else ()


class Grants(Contract):
    """Giving leave to read, and taking it back."""

    name = "grants"

    @transaction
    def grant(
        self, ctx: Context, *, kind: str, name: str, reader: bytes, classes: tuple[str, ...], until: int
    ) -> Value:
        """Let the key ``reader`` read ``classes`` of the ``kind`` ("device", "network" or "member") ``name`` until the
        block time ``until``; what was granted to that key before is replaced. By the owner, or the company itself.

        Raises ContractError: bad-kind, unknown-device, unknown-network, unknown-member, wrong-key, bad-key, bad-class,
        bad-until (details: the last second that can be granted), too-many.
        """
        _require_holder(ctx, kind, name)
        roles.check_key(reader)
        if not classes or any(each not in CLASSES for each in classes) or len(set(classes)) != len(classes):
            raise ContractError("bad-class", f"some of {CLASSES}, each once")
        latest = ctx.time + MAX_SECONDS
        if not ctx.time < until <= latest:
            raise ContractError("bad-until", f"a grant ends within {MAX_SECONDS} s from now", (latest,))
        kept = _kept(ctx, kind, name, reader)
        if len(kept) >= MAX_GRANTS:
            raise ContractError("too-many", f"{MAX_GRANTS} keys may read {name} already")
        grant = Grant(reader, tuple([each for each in CLASSES if each in classes]), until, ctx.sender)
        access.put_grants(ctx, kind, name, (*kept, grant))
        access.note_reader(ctx, grant)
        ctx.emit("granted", (name,), (kind, *grant[:-1]))
        return None

    @transaction
    def revoke(self, ctx: Context, *, kind: str, name: str, reader: bytes) -> Value:
        """Take back what was granted to the key ``reader``. By the owner, or the company itself.

        Raises ContractError: bad-kind, unknown-device, unknown-network, unknown-member, wrong-key, unknown-grant.
        """
        _require_holder(ctx, kind, name)
        if all(grant.reader != reader for grant in _valid(ctx, kind, name)):
            raise ContractError("unknown-grant", f"nothing of {name} is granted to this key")
        access.put_grants(ctx, kind, name, _kept(ctx, kind, name, reader))
        ctx.emit("revoked", (name,), (kind, reader))
        return None

    @query(of=_of_subject)
    def granted(self, ctx: Context, *, kind: str, name: str) -> Value:
        """What is granted of a subject and not over: ((reader, classes, until), ...), oldest first. What is granted of
        a network holds for its devices, and is listed with the network alone.

        Raises ContractError: bad-kind, unknown-device, unknown-network, unknown-member.
        """
        return tuple([tuple(grant[:-1]) for grant in _valid(ctx, kind, name)])


def _kept(ctx: Context, kind: str, name: str, reader: bytes) -> tuple[Grant, ...]:
    """The grants of a subject that hold, but that of ``reader``."""
    return tuple([grant for grant in _valid(ctx, kind, name) if grant.reader != reader])


def _valid(ctx: Context, kind: str, name: str) -> tuple[Grant, ...]:
    """The grants of a subject that hold now."""
    holder = _owner_of(ctx, kind, name)
    grants = access.grants_of(ctx, kind, name)
    return tuple([grant for grant in grants if grant.until >= ctx.time and grant.giver == holder])


def _require_holder(ctx: Context, kind: str, name: str) -> None:
    holder = "member" if kind == MEMBER else "owner"
    if not roles.has_right(ctx, "share-data", {holder: (_owner_of(ctx, kind, name),)}):
        raise ContractError("wrong-key", f"not the key of whoever may share what {name} has")


def _owner_of(ctx: Context, kind: str, name: str) -> bytes:
    """The key of whoever may share a subject's data."""
    if kind == MEMBER:
        return roles.member_of(ctx, name).key
    if kind not in (DEVICE, NETWORK):
        raise ContractError("bad-kind", f"one of {HOLDERS} can be shared")
    network = identity.device_of(ctx, name).network if kind == DEVICE else name
    return identity.network_of(ctx, network).owner_key
