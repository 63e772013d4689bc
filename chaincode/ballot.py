"""Ballots: how the validators' admins decide about a change, whatever it is about.

An admin proposes a change from a stated height on and thereby approves it for the validators that it decides for;
others approve it by its number and digest, so that nobody approves anything but what it has read. When more than two
thirds of the validators in force approve, it is decided, at least ``NOTICE`` heights before it takes effect. A proposal
that is not decided in time has lapsed, as has one whose proposer decides for nobody any more.

Each contract that decides so has a ballot of its own: the tables of its proposals, and the tag of its digests. What a
proposal would change, its *subject*, only the contract understands.

State, per ballot: ``proposals`` -> count; ``proposals`` number(8) -> Proposal; ``open`` -> numbers of the open ones.
"""

from hashlib import sha256
from typing import Any, Final, NamedTuple, cast

from chaincode import roles
from chaincode.contract import Context, ContractError
from chaincode.keys import key, uint
from chaincode.validators import EpochRow, epoch_in_force

NOTICE: Final = 33
"""Heights between the deciding block and the first of the change, at least: twice the window of consensus, and 1."""
MAX_AHEAD: Final = 100_000
"""How far ahead a change may be planned: while it is scheduled, no other one is decided."""
MAX_OPEN_PER_ADMIN: Final = 2
"""With at most 40 admins, 80 open proposals of a ballot at most."""


class Ballot(NamedTuple):
    """Where a contract's proposals are kept (two tables), and what its digests begin with."""

    proposals: bytes
    open: bytes
    tag: bytes


class Proposal(NamedTuple):
    """A change that waits for approvals: (validator, admin key) each. ``subject``: what would change."""

    number: int
    subject: tuple[Any, ...]
    first_height: int
    proposer: bytes
    digest: bytes
    approvals: tuple[tuple[str, bytes], ...]


class Count(NamedTuple):
    """The approvals that count; the validators that they are of; those that have not approved; how many are missing."""

    valid: tuple[tuple[str, bytes], ...]
    yes: tuple[str, ...]
    no: tuple[str, ...]
    missing: int


def require_admin(ctx: Context) -> EpochRow:
    """The epoch in force. Raises ContractError: no-governance; not-allowed if the sender decides for no validator."""
    force = epoch_in_force(ctx)
    if not roles.has_right(ctx, "govern", {"validator-admin": [seat.admin_key for seat in force.seats]}):
        raise ContractError("not-allowed", "only the admins of validators decide")
    return force


def submit(
    ctx: Context, ballot: Ballot, force: EpochRow, subject: tuple[Any, ...], first_height: int, parts: tuple[bytes, ...]
) -> Proposal:
    """Enter a proposal, which nobody has approved yet; ``parts``: the subject in the bytes that its digest covers.

    Raises ContractError: too-soon and too-far (details: the nearest or farthest height), too-many-proposals.
    """
    if first_height < ctx.height + NOTICE:
        raise ContractError("too-soon", f"height {ctx.height + NOTICE} is the nearest possible", (ctx.height + NOTICE,))
    if first_height > ctx.height + MAX_AHEAD:
        raise ContractError("too-far", f"at most {MAX_AHEAD} heights ahead", (ctx.height + MAX_AHEAD,))
    still_open = _sweep(ctx, ballot, force)
    if [proposal.proposer for proposal in still_open].count(ctx.sender) >= MAX_OPEN_PER_ADMIN:
        raise ContractError("too-many-proposals", f"an admin has at most {MAX_OPEN_PER_ADMIN} open proposals")
    number = cast("int | None", ctx.get(ballot.proposals)) or 0
    digest = digest_of(ballot.tag, number, first_height, parts)
    ctx.put(ballot.proposals, number + 1)
    ctx.put(ballot.open, (*[other.number for other in still_open], number))
    return Proposal(number, subject, first_height, ctx.sender, digest, ())


def approve(ctx: Context, ballot: Ballot, force: EpochRow, proposal: Proposal) -> Count:
    """Approve for the validators that the sender decides for. With nothing missing it is decided: the caller sees to
    what then happens, and closes it. Raises ContractError("lapsed"), details: until when it could be decided.
    """
    last_height = proposal.first_height - NOTICE
    if not _is_alive(ctx, force, proposal):
        raise ContractError(
            "lapsed", f"proposal {proposal.number} was open until {last_height}, or its proposer left", (last_height,)
        )
    own = [(seat.name, seat.admin_key) for seat in force.seats if seat.admin_key == ctx.sender]
    fresh = [approval for approval in own if approval not in proposal.approvals]
    approved = proposal._replace(approvals=(*proposal.approvals, *fresh))
    counted = count(force, approved)
    if counted.missing:
        # Approvals of validators that are gone are dropped, so that there are never more than validators.
        ctx.put(key(ballot.proposals, proposal.number), tuple(approved._replace(approvals=counted.valid)))
    return counted


def withdraw(ctx: Context, ballot: Ballot, number: int) -> tuple[Proposal, bool]:
    """Take back an open proposal, if it is the sender's, or else the sender's approval of it: (the proposal as it is
    left, whether it is closed). Raises ContractError: unknown-proposal; not-allowed if neither is the sender's.
    """
    found = proposal_of(ctx, ballot, number)
    if found.proposer == ctx.sender:
        close(ctx, ballot, number)
        return found, True
    left = tuple([approval for approval in found.approvals if approval[1] != ctx.sender])
    if left == found.approvals:
        raise ContractError("not-allowed", f"proposal {number} is another admin's, who has not approved it")
    found = found._replace(approvals=left)
    ctx.put(key(ballot.proposals, number), tuple(found))
    return found, False


def count(force: EpochRow, proposal: Proposal) -> Count:
    """An approval counts for a validator that is in force with the admin that gave it."""
    valid = tuple([(s.name, s.admin_key) for s in force.seats if (s.name, s.admin_key) in proposal.approvals])
    yes = tuple([name for name, _ in valid])
    no = tuple([seat.name for seat in force.seats if seat.name not in yes])
    return Count(valid, yes, no, max(0, 2 * len(force.seats) // 3 + 1 - len(valid)))


def proposal_of(ctx: Context, ballot: Ballot, number: int) -> Proposal:
    """An open proposal. Raises ContractError("unknown-proposal")."""
    value = ctx.get(key(ballot.proposals, number)) if number >= 0 else None
    if value is None:
        raise ContractError("unknown-proposal", f"there is no open proposal {number}")
    return Proposal(*cast("Proposal", value))


def require(ctx: Context, ballot: Ballot, number: int, digest: bytes) -> Proposal:
    """The open proposal with that digest. Raises ContractError: unknown-proposal, wrong-digest."""
    found = proposal_of(ctx, ballot, number)
    if found.digest != digest:
        raise ContractError("wrong-digest", f"proposal {number} has another digest")
    return found


def alive(ctx: Context, ballot: Ballot, force: EpochRow) -> list[Proposal]:
    """The open proposals that have not lapsed, oldest first."""
    return [proposal for proposal in _open(ctx, ballot) if _is_alive(ctx, force, proposal)]


def close(ctx: Context, ballot: Ballot, number: int) -> None:
    """A proposal is decided, or taken back."""
    ctx.delete(key(ballot.proposals, number))
    numbers = cast("tuple[int, ...]", ctx.get(ballot.open) or ())
    ctx.put(ballot.open, tuple([other for other in numbers if other != number]))


def digest_of(tag: bytes, number: int, first_height: int, parts: tuple[bytes, ...]) -> bytes:
    """What an approval names: it covers the ballot, the proposal's number and height, and all ``parts`` of it."""
    digest = sha256(tag + uint(number) + uint(first_height))
    for part in parts:
        digest.update(uint(len(part)) + part)
    return digest.digest()


def _open(ctx: Context, ballot: Ballot) -> list[Proposal]:
    return [proposal_of(ctx, ballot, number) for number in cast("tuple[int, ...]", ctx.get(ballot.open) or ())]


def _is_alive(ctx: Context, force: EpochRow, proposal: Proposal) -> bool:
    """Whether it can still be decided, and its proposer still decides for somebody."""
    in_time = ctx.height <= proposal.first_height - NOTICE
    return in_time and any(seat.admin_key == proposal.proposer for seat in force.seats)


def _sweep(ctx: Context, ballot: Ballot, force: EpochRow) -> list[Proposal]:
    """The open proposals; those that have lapsed are forgotten."""
    living = []
    for proposal in _open(ctx, ballot):
        if _is_alive(ctx, force, proposal):
            living.append(proposal)
        else:
            ctx.delete(key(ballot.proposals, proposal.number))
    return living
