"""Motions: what the validators' admins decide besides the membership and the market's rules.

    upgrade          other code for contracts, from a height on (``upgrades.py``)
    cancel-upgrade   a scheduled upgrade is not to be
    tolls            another rate, other steps of lines (``grid.py``)
    auditor          a member that may read everything, as a regulator does
    no-auditor       it may no longer
    member-key       another key for a member that has lost its own (``key_changes.py``)
    admin-key        another key in the place of an admin's of the genesis

They decide by ballot (``ballot.py``), as about the membership: an admin proposes from a stated height on, others
approve by number and digest, and with more than two thirds of the validators' approvals the motion is scheduled. Of
upgrades, of tolls, of auditors and of keys one is scheduled at a time; until it is in force, an approval that would
decide another ends with "change-pending". A motion is looked at when it is proposed and again when it is decided.

At its height, or in the first block after it that runs hooks, it comes into force before the calendar does anything. If
it cannot, since what it is about is not what it was, it is recorded as failed and nothing changes. A cancellation
counts as soon as it is decided, which may be up to the last block before the upgrade's.

Without ``governance.admins`` in the genesis document nobody decides about anything here. State: that of the ballot,
``motion-scheduled/`` class -> (first height, number, kind, subject), and what ``motion_record.py`` and ``upgrades.py``
keep.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias, cast

from chaincode import auditors, ballot, grid, key_changes, motion_record, upgrades
from chaincode.ballot import MAX_AHEAD, NOTICE, Ballot, Proposal
from chaincode.contract import Context, Contract, ContractError, Value, query, transaction
from chaincode.roles import check_id
from chaincode.subjects import public
from chaincode.upgrades import Scheduled
from chaincode.validators import EpochRow, epoch_in_force

UPGRADE: Final = "upgrade"
CANCEL: Final = "cancel-upgrade"
TOLLS: Final = "tolls"
AUDITOR: Final = "auditor"
NO_AUDITOR: Final = "no-auditor"
MEMBER_KEY: Final = "member-key"
ADMIN_KEY: Final = "admin-key"

Subject: TypeAlias = tuple[Any, ...]
"""Of upgrade and cancel-upgrade: (name, digest); tolls: (rate or None, ((from, to, step), ...)); auditor: (name, key);
no-auditor: (name,); member-key: (name, key); admin-key: (old key, key)."""
Steps: TypeAlias = tuple[tuple[str, str, int], ...]

MAX_STEPS: Final = 400
"""Of lines in one motion: it is one value of the state."""
DIGEST_BYTES: Final = 32

_SCHEDULED: Final = b"motion-scheduled/"
_BALLOT: Final = Ballot(b"motion-proposal/", b"motion-open/", b"watt/motion/1\0")


class Motions(Contract):
    """Proposing, approving and withdrawing; what is decided, and what became of it."""

    name = "motions"

    def begin_block(self, ctx: Context) -> None:
        for name in _ONE_AT_A_TIME:
            coming = _coming(ctx, name)
            if coming is not None and coming[0] <= ctx.height:
                _come_into_force(ctx, name, *coming)

    @transaction
    def propose_upgrade(self, ctx: Context, *, name: str, digest: bytes, first_height: int) -> Value:
        """Propose that the bundle with ``digest`` takes effect. Returns (number, digest of the motion, approvals that
        are missing), as all proposals do.

        All proposals raise ContractError: no-governance, not-allowed, too-soon and too-far (details: the nearest or
        farthest height), too-many-proposals, change-pending. This one: bad-id, bad-digest, no-change.
        """
        return _propose(ctx, UPGRADE, (name, digest), first_height)

    @transaction
    def cancel_upgrade(self, ctx: Context, *, digest: bytes) -> Value:
        """Propose that the upgrade which is scheduled is not to be. Raises ContractError: no-upgrade."""
        coming = upgrades.scheduled(ctx.get)
        if coming is None or coming.digest != digest:
            raise ContractError("no-upgrade", "this upgrade is not scheduled")
        until = min(coming.first_height - 1, ctx.height + MAX_AHEAD - NOTICE)
        return _propose(ctx, CANCEL, (coming.name, digest), until + NOTICE)

    @transaction
    def propose_tolls(self, ctx: Context, *, first_height: int, rate: int | None = None, steps: Steps = ()) -> Value:
        """Propose other tolls: ``rate`` in base units per Wh and metre, None leaves it; ``steps``: (from, to, step) of
        lines, base units per Wh. Raises ContractError: too-many, unknown-line, no-change, and what ``grid.check`` does.
        """
        return _propose(ctx, TOLLS, (rate, steps), first_height)

    @transaction
    def propose_auditor(self, ctx: Context, *, name: str, key: bytes, first_height: int) -> Value:
        """Propose that the member ``name`` with ``key``, who is made one if there is none, becomes an auditor.
        Raises ContractError: bad-id, bad-key, duplicate-id, no-change, too-many."""
        return _propose(ctx, AUDITOR, (name, key), first_height)

    @transaction
    def dismiss_auditor(self, ctx: Context, *, name: str, first_height: int) -> Value:
        """Propose that a member is an auditor no longer. Raises ContractError: unknown-member, no-change."""
        return _propose(ctx, NO_AUDITOR, (name,), first_height)

    @transaction
    def propose_member_key(self, ctx: Context, *, name: str, key: bytes, first_height: int) -> Value:
        """Propose another key for the member ``name``, which has lost its own, or had it stolen.
        Raises ContractError: unknown-member, bad-key, no-change."""
        return _propose(ctx, MEMBER_KEY, (name, key), first_height)

    @transaction
    def propose_admin_key(self, ctx: Context, *, old: bytes, key: bytes, first_height: int) -> Value:
        """Propose ``key`` for the one of the admins that the genesis names who has ``old``, or had it last.
        Raises ContractError: unknown-admin, bad-key, duplicate-key."""
        return _propose(ctx, ADMIN_KEY, (old, key), first_height)

    @transaction
    def approve(self, ctx: Context, *, proposal: int, digest: bytes) -> Value:
        """Approve an open motion for the validators that the sender decides for. Returns the approvals missing.

        Raises ContractError: no-governance, not-allowed, unknown-proposal, wrong-digest, lapsed (details: the last
        height at which it could be decided), change-pending (details: the height at which the other is in force), and
        what its proposal raises of a motion that has become impossible.
        """
        force = ballot.require_admin(ctx)
        return _approve(ctx, force, ballot.require(ctx, _BALLOT, proposal, digest))

    @transaction
    def withdraw(self, ctx: Context, *, proposal: int) -> Value:
        """Take back an open motion, if it is the sender's, or else the sender's approval of it.

        Raises ContractError: no-governance, not-allowed (also if the sender has not approved it), unknown-proposal.
        """
        ballot.require_admin(ctx)
        left, closed = ballot.withdraw(ctx, _BALLOT, proposal)
        if closed:
            ctx.emit("motion-withdrawn", (), (proposal,))
        else:
            ctx.emit("motion-approval-withdrawn", (), (proposal, len(left.approvals)))
        return None

    @query(of=public)
    def proposals(self, ctx: Context) -> Value:
        """All open motions that have not lapsed: (number, digest, kind, subject, first height, last height at which it
        can be decided, proposer's key, validators that approve, validators that do not yet, approvals that are
        missing)."""
        force = epoch_in_force(ctx)
        rows = []
        for found in ballot.alive(ctx, _BALLOT, force):
            _, yes, no, missing = ballot.count(force, found)
            own = (found.number, found.digest, *found.subject, found.first_height)
            rows.append((*own, found.first_height - NOTICE, found.proposer, yes, no, missing))
        return tuple(rows)

    @query(of=public)
    def scheduled(self, ctx: Context) -> Value:
        """What is decided and not yet in force: (first height, number, kind, subject) each."""
        coming = upgrades.scheduled(ctx.get)
        rows: list[Value] = [_coming(ctx, name) for name in _ONE_AT_A_TIME]
        if coming is not None:
            rows.append((coming.first_height, coming.motion, UPGRADE, (coming.name, coming.digest)))
        return tuple([row for row in rows if row is not None])

    @query(of=public)
    def history(self, ctx: Context, *, first: int = 0) -> Value:
        """The motions that were decided, in that order, from the ``first`` on, counted from 0, at most 100: (number,
        kind, subject, first height, height of the block that decided, outcome, height of that or None). The outcome is
        "scheduled", "ok", "canceled", or the code with which it failed. Raises ContractError: bad-range."""
        if first < 0:
            raise ContractError("bad-range", "the first number of a list is 0")
        return tuple([tuple(row) for row in motion_record.listed(ctx, first)])

    @query(of=public)
    def upgrades(self, ctx: Context) -> Value:
        """The upgrades in force: (name, digest, height, contracts that are its own still) each, oldest first."""
        return tuple([tuple(row) for row in upgrades.active(ctx.get)])

    @query(of=public)
    def auditors(self, ctx: Context) -> Value:
        """The members that may read everything: (name, key) each."""
        return auditors.listed(ctx)


def digest_of(chain: bytes, number: int, kind: str, subject: Subject, first_height: int) -> bytes:
    """What an approval names: it covers the chain, the motion's number and everything that would change."""
    return ballot.digest_of(_BALLOT.tag, number, first_height, _parts(chain, kind, subject))


def _parts(chain: bytes, kind: str, subject: Subject) -> tuple[bytes, ...]:
    """The kind says how many of them there are, and of what type each is."""
    parts = [chain, kind.encode()]
    for item in subject:
        rows = item if isinstance(item, tuple) else ((item,),)
        parts += [cell if isinstance(cell, bytes) else str(cell).encode() for row in rows for cell in row]
    return tuple(parts)


def _propose(ctx: Context, kind: str, subject: Subject, first_height: int) -> Value:
    force = ballot.require_admin(ctx)
    _check(ctx, kind, subject)
    parts = _parts(ctx.chain, kind, subject)
    proposal = ballot.submit(ctx, _BALLOT, force, (kind, subject), first_height, parts)
    ctx.emit("motion-proposed", (), (proposal.number, kind, first_height, proposal.digest))
    return (proposal.number, proposal.digest, _approve(ctx, force, proposal))


def _approve(ctx: Context, force: EpochRow, proposal: Proposal) -> int:
    """Note the sender's approvals, and schedule the motion if they decide it. Returns how many are missing."""
    kind, subject = cast("tuple[str, Subject]", proposal.subject)
    valid, _, _, missing = ballot.approve(ctx, _BALLOT, force, proposal)
    if missing:
        ctx.emit("motion-approved", (), (proposal.number, len(valid), missing))
        return missing
    _check(ctx, kind, subject)
    motion_record.decided(ctx, proposal.number, kind, subject, proposal.first_height)
    ballot.close(ctx, _BALLOT, proposal.number)
    if kind == CANCEL:
        upgrades.cancel(ctx, subject[1], proposal.number)
        motion_record.ended(ctx, proposal.number, motion_record.DONE)
        ctx.emit("upgrade-canceled", (), (proposal.number, *subject))
        return 0
    if kind == UPGRADE:
        _require_free(upgrades.scheduled(ctx.get))
        upgrades.schedule(ctx, Scheduled(proposal.first_height, proposal.number, *subject))
    else:
        place = _SCHEDULED + _KINDS[kind].of.encode()
        _require_free(ctx.get(place))
        ctx.put(place, (proposal.first_height, proposal.number, kind, subject))
    ctx.emit("motion-scheduled", (), (proposal.number, kind, proposal.first_height))
    return 0


def _require_free(pending: Any) -> None:
    if pending is not None:
        raise ContractError("change-pending", f"another one is in force from {pending[0]} on", (pending[0],))


def _check(ctx: Context, kind: str, subject: Subject) -> None:
    """Whether it could come into force now. Raises ContractError, see the proposals."""
    if kind == UPGRADE:
        _check_upgrade(ctx, *subject)
    elif kind != CANCEL:
        _KINDS[kind].check(ctx, *subject)


def _check_upgrade(ctx: Context, name: str, digest: bytes) -> None:
    check_id(name)
    if len(digest) != DIGEST_BYTES:
        raise ContractError("bad-digest", f"a bundle's digest is {DIGEST_BYTES} bytes, not {len(digest)}")
    if any(row.digest == digest for row in upgrades.active(ctx.get)):
        raise ContractError("no-change", "this upgrade is in force")


def _check_tolls(ctx: Context, rate: int | None, steps: Steps) -> None:
    if len(steps) > MAX_STEPS:
        raise ContractError("too-many", f"{len(steps)} lines, at most {MAX_STEPS} in one motion")
    grid.with_tolls(ctx, rate, steps)


def _coming(ctx: Context, name: str) -> tuple[int, int, str, Subject] | None:
    return cast("tuple[int, int, str, Subject] | None", ctx.get(_SCHEDULED + name.encode()))


def _come_into_force(ctx: Context, name: str, first_height: int, number: int, kind: str, subject: Subject) -> None:
    failure = ctx.attempt(lambda: _KINDS[kind].do(ctx, *subject))
    outcome = motion_record.DONE if failure is None else failure.code
    ctx.delete(_SCHEDULED + name.encode())
    motion_record.ended(ctx, number, outcome)
    ctx.emit("motion-in-force" if failure is None else "motion-failed", (), (number, kind, first_height, outcome))


class _Kind(NamedTuple):
    """What is scheduled here: ``of``, of which one is at a time; how its subject is looked at, and what it does."""

    of: str
    check: Callable[..., object]
    do: Callable[..., object]


_KINDS: Final[dict[str, _Kind]] = {
    TOLLS: _Kind("tolls", _check_tolls, grid.set_tolls),
    AUDITOR: _Kind("auditors", auditors.check_new, auditors.appoint),
    NO_AUDITOR: _Kind("auditors", auditors.require, auditors.dismiss),
    MEMBER_KEY: _Kind("keys", key_changes.check_member_key, key_changes.set_member_key),
    ADMIN_KEY: _Kind("keys", key_changes.check_admin_key, key_changes.set_admin_key),
}
_ONE_AT_A_TIME: Final = ("auditors", "keys", "tolls")
"""In the order in which they come into force at one height."""
