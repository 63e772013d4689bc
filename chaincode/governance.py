"""Who validates: members are added, removed and given new keys at a stated height, by a quorum of member admins.

Every validator has an admin, whose key decides for it and is not the node's. An admin proposes a change and thereby
approves it; others approve it by its number and digest, so that nobody approves anything but what it has read. When
more than two thirds of the validators in force approve, the change is *scheduled*: from its height on there is a new
epoch with the changed set. That height is at least ``NOTICE`` above the deciding block, so that every replica knows of
an epoch's end before it could work on a block beyond. A proposal that is not decided in time has lapsed.

One change is scheduled at a time: until it is in force, an approval that would decide another is refused with
"change-pending", and may be sent again afterwards. What a change has to fulfil is looked at when it is proposed, and
again when it is decided.

Genesis settings: ``admins``: arrays ``[validator, key in hex]``, one for each of them. Without settings nobody ever
changes the membership. ``validators``, the ledger adds from the genesis document: ``(name, key in hex, certificate)``.

State, besides that of ``validators.py``: ``gov-proposal/`` -> count; ``gov-proposal/`` number(8) -> Proposal;
``gov-open/`` -> numbers of the open proposals; ``gov-admin/`` key(32) -> True, for whoever was an admin ever.
"""

from hashlib import sha256
from typing import Final, NamedTuple, cast

from chaincode.contract import Context, Contract, ContractError, Value, query, transaction
from chaincode.keys import key, uint
from chaincode.validators import (
    EpochRow,
    Seat,
    add_epoch,
    check_name,
    check_seat,
    check_set,
    epoch_count,
    epoch_head,
    epoch_in_force,
    epoch_row,
    hex_key,
    newest_epoch,
    pem_text,
)

ADD: Final = "add"
REMOVE: Final = "remove"
ROTATE: Final = "rotate"
KINDS: Final = (ADD, REMOVE, ROTATE)

NOTICE: Final = 33
"""Heights between the deciding block and the first of the new epoch, at least: twice the window of consensus, and 1."""
MAX_AHEAD: Final = 100_000
"""How far ahead a change may be planned: while it is scheduled, no other one is decided."""
MAX_OPEN_PER_ADMIN: Final = 2
"""With at most 40 admins, 80 open proposals at most."""
MAX_LISTED: Final = 100

_PROPOSALS: Final = b"gov-proposal/"
_OPEN: Final = b"gov-open/"
_ADMINS: Final = b"gov-admin/"
_DIGEST_TAG: Final = b"watt/membership/1\0"


class Proposal(NamedTuple):
    """A change that waits for approvals: (validator, admin key) each. What ``kind`` does not need is empty."""

    number: int
    kind: str
    seat: tuple[str, bytes, str, bytes, str]
    first_height: int
    proposer: bytes
    digest: bytes
    approvals: tuple[tuple[str, bytes], ...]


class Governance(Contract):
    """Proposing, approving and withdrawing changes of the membership."""

    name = "governance"

    def genesis(self, ctx: Context, settings: dict[str, Value]) -> None:
        if not settings:
            return
        admins = dict(cast("tuple[tuple[str, Value], ...]", settings.get("admins", ())))
        validators = cast("tuple[tuple[str, str, str], ...]", settings["validators"])
        names = [name for name, _, _ in validators]
        if sorted(admins) != sorted(names):
            raise ContractError("bad-settings", "governance.admins names every validator of the genesis, and no other")
        seats = [Seat(name, hex_key(own), pem, hex_key(admins[name]), "") for name, own, pem in validators]
        _begin(ctx, 1, tuple(seats))

    def knows(self, ctx: Context, key: bytes) -> bool:
        return ctx.get(_ADMINS + key) is not None

    @transaction
    def propose(
        self,
        ctx: Context,
        *,
        kind: str,
        name: str,
        first_height: int,
        public_key: bytes = b"",
        tls_certificate: bytes = b"",
        admin_key: bytes = b"",
        address: str = "",
    ) -> Value:
        """Propose a change from ``first_height`` on, and approve it for the validators that the sender decides for.

        "add" needs everything; "rotate" ``public_key`` and ``tls_certificate`` (``address``: "" leaves it); "remove"
        nothing. ``tls_certificate``: PEM. Returns (number, digest, approvals that are missing).

        Raises ContractError: no-governance, not-allowed, bad-kind, bad-args, bad-id, bad-key, bad-certificate,
        bad-address, unknown-validator, no-change, duplicate-name, duplicate-key, duplicate-certificate, too-few,
        too-many, too-soon and too-far (details: the nearest or farthest height), too-many-proposals, change-pending.
        """
        force = _require_admin(ctx)
        if kind not in KINDS:
            raise ContractError("bad-kind", f"a change is one of {KINDS}")
        _check_given(kind, public_key, tls_certificate, admin_key, address)
        if first_height < ctx.height + NOTICE:
            raise ContractError(
                "too-soon", f"height {ctx.height + NOTICE} is the nearest possible", (ctx.height + NOTICE,)
            )
        if first_height > ctx.height + MAX_AHEAD:
            raise ContractError("too-far", f"at most {MAX_AHEAD} heights ahead", (ctx.height + MAX_AHEAD,))
        still_open = _sweep(ctx, force)
        if [proposal.proposer for proposal in still_open].count(ctx.sender) >= MAX_OPEN_PER_ADMIN:
            raise ContractError("too-many-proposals", f"an admin has at most {MAX_OPEN_PER_ADMIN} open proposals")
        number = cast("int | None", ctx.get(_PROPOSALS)) or 0
        seat = (name, public_key, pem_text(tls_certificate), admin_key, address)
        proposal = Proposal(number, kind, seat, first_height, ctx.sender, b"", ())
        proposal = proposal._replace(digest=digest_of(ctx.chain, number, kind, seat, first_height))
        _changed(newest_epoch(ctx).seats, proposal)
        ctx.put(_PROPOSALS, number + 1)
        _set_open(ctx, (*[other.number for other in still_open], number))
        ctx.emit("membership-proposed", (name,), (number, kind, first_height, proposal.digest))
        return (number, proposal.digest, _approve(ctx, force, proposal))

    @transaction
    def approve(self, ctx: Context, *, proposal: int, digest: bytes) -> Value:
        """Approve an open proposal for the validators that the sender decides for. Returns the approvals missing.

        Raises ContractError: no-governance, not-allowed, unknown-proposal, wrong-digest, lapsed (details: the last
        height at which it could be decided), change-pending (details: the height at which the other is in force), and
        what ``propose`` raises of a change that has become impossible.
        """
        force = _require_admin(ctx)
        found = _proposal(ctx, proposal)
        if found.digest != digest:
            raise ContractError("wrong-digest", f"proposal {proposal} has another digest")
        return _approve(ctx, force, found)

    @transaction
    def withdraw(self, ctx: Context, *, proposal: int) -> Value:
        """Take back an open proposal, if it is the sender's, or else the sender's approval of it.

        Raises ContractError: no-governance, not-allowed (also if the sender has not approved it), unknown-proposal.
        """
        _require_admin(ctx)
        found = _proposal(ctx, proposal)
        if found.proposer == ctx.sender:
            _close(ctx, found.number)
            ctx.emit("membership-withdrawn", (found.seat[0],), (proposal,))
            return None
        left = tuple([approval for approval in found.approvals if approval[1] != ctx.sender])
        if left == found.approvals:
            raise ContractError("not-allowed", f"proposal {proposal} is another admin's, who has not approved it")
        ctx.put(key(_PROPOSALS, proposal), tuple(found._replace(approvals=left)))
        ctx.emit("membership-approval-withdrawn", (found.seat[0],), (proposal, len(left)))
        return None

    @query
    def proposals(self, ctx: Context) -> Value:
        """All open proposals that have not lapsed, each in full: (number, digest, kind, name, public key, certificate,
        admin key, address, first height, last height at which it can be decided, proposer's key, validators that
        approve, validators that do not yet, approvals that are missing)."""
        force = epoch_in_force(ctx)
        rows = []
        for found in _open(ctx):
            if _is_alive(ctx, force, found):
                _, yes, no, missing = _count(force, found)
                own = (found.number, found.digest, found.kind, *found.seat, found.first_height)
                rows.append((*own, found.first_height - NOTICE, found.proposer, yes, no, missing))
        return tuple(rows)

    @query
    def epochs(self, ctx: Context, *, first: int = 0) -> Value:
        """Epochs from number ``first`` on, at most 100: ((number, first height, how many validators), ...)."""
        if first < 0:
            raise ContractError("bad-args", "the first epoch is 0")
        count = min(epoch_count(ctx.get), first + MAX_LISTED)
        heads = [(number, *epoch_head(ctx.get, number)) for number in range(first, count)]
        return tuple([(number, first_height, len(seats)) for number, first_height, seats in heads])

    @query
    def validators(self, ctx: Context, *, epoch: int | None = None) -> Value:
        """The validators of an epoch, by default of the one in force: (number, first height, ((name, public key,
        certificate, admin key, address), ...)). Raises ContractError: no-governance, unknown-epoch."""
        found = epoch_in_force(ctx)
        if epoch is not None:
            if not 0 <= epoch < epoch_count(ctx.get):
                raise ContractError("unknown-epoch", f"there is no epoch {epoch}")
            found = epoch_row(ctx.get, epoch)
        return (found.number, found.first_height, tuple([tuple(seat) for seat in found.seats]))


def _begin(ctx: Context, first_height: int, seats: tuple[Seat, ...]) -> EpochRow:
    epoch = add_epoch(ctx, first_height, seats)
    for seat in seats:
        ctx.put(_ADMINS + seat.admin_key, True)
    return epoch


def _require_admin(ctx: Context) -> EpochRow:
    """The epoch in force. Raises ContractError: no-governance; not-allowed if the sender decides for no validator."""
    force = epoch_in_force(ctx)
    if not any(seat.admin_key == ctx.sender for seat in force.seats):
        raise ContractError("not-allowed", "only the admins of validators decide who validates")
    return force


def _check_given(kind: str, public_key: bytes, tls_certificate: bytes, admin_key: bytes, address: str) -> None:
    """Raises ContractError("bad-args") for something that the kind of change has no use for, or "add" lacks."""
    if kind == REMOVE and (public_key or tls_certificate or admin_key or address):
        raise ContractError("bad-args", "to remove a validator takes its name alone")
    if kind == ROTATE and admin_key:
        raise ContractError("bad-args", "a rotation leaves the admin as it is")
    if kind == ADD and not address:
        raise ContractError("bad-args", "a new validator has an address")


def digest_of(
    chain: bytes, number: int, kind: str, seat: tuple[str, bytes, str, bytes, str], first_height: int
) -> bytes:
    """What an approval names: it covers the chain, the proposal's number and everything that would change."""
    name, public_key, tls_certificate, admin_key, address = seat
    parts = (chain, kind.encode(), name.encode(), public_key, tls_certificate.encode(), admin_key)
    digest = sha256(_DIGEST_TAG + uint(number) + uint(first_height))
    for part in (*parts, address.encode()):
        digest.update(uint(len(part)) + part)
    return digest.digest()


def _changed(seats: tuple[Seat, ...], proposal: Proposal) -> tuple[Seat, ...]:
    """The validators after the change. Raises ContractError, see ``propose``."""
    new = Seat(*proposal.seat)
    check_name(new.name)
    if proposal.kind == ADD:
        check_seat(new)
        after = (*seats, new)
    else:
        old = next((seat for seat in seats if seat.name == new.name), None)
        if old is None:
            raise ContractError("unknown-validator", f"there is no validator {new.name}")
        if proposal.kind == REMOVE:
            after = tuple([seat for seat in seats if seat != old])
        else:
            new = new._replace(admin_key=old.admin_key, address=new.address or old.address)
            check_seat(new)
            if (new.public_key, new.tls_certificate) == (old.public_key, old.tls_certificate):
                raise ContractError("no-change", f"{new.name} has this key and this certificate")
            after = tuple([new if seat == old else seat for seat in seats])
    check_set(after)
    return after


def _approve(ctx: Context, force: EpochRow, proposal: Proposal) -> int:
    """Note the sender's approvals, and schedule the change if they decide it. Returns how many are missing."""
    last_height = proposal.first_height - NOTICE
    if ctx.height > last_height:
        raise ContractError(
            "lapsed", f"proposal {proposal.number} could be decided until {last_height}", (last_height,)
        )
    own = [(seat.name, seat.admin_key) for seat in force.seats if seat.admin_key == ctx.sender]
    fresh = [approval for approval in own if approval not in proposal.approvals]
    approved = proposal._replace(approvals=(*proposal.approvals, *fresh))
    valid, _, _, missing = _count(force, approved)
    if missing:
        # Approvals of validators that are gone are dropped, so that there are never more than validators.
        ctx.put(key(_PROPOSALS, proposal.number), tuple(approved._replace(approvals=valid)))
        ctx.emit("membership-approved", (proposal.seat[0],), (proposal.number, len(valid), missing))
        return missing
    newest = newest_epoch(ctx)
    if newest.number != force.number:
        raise ContractError(
            "change-pending", f"another change is in force from {newest.first_height} on", (newest.first_height,)
        )
    epoch = _begin(ctx, proposal.first_height, _changed(force.seats, proposal))
    _close(ctx, proposal.number)
    ctx.emit(
        "membership-scheduled", (proposal.seat[0],), (proposal.number, proposal.kind, epoch.number, epoch.first_height)
    )
    return 0


def _count(
    force: EpochRow, proposal: Proposal
) -> tuple[tuple[tuple[str, bytes], ...], tuple[str, ...], tuple[str, ...], int]:
    """The approvals that count, whose these are, who has not approved, and how many approvals are missing.

    An approval counts for a validator that is in force with the admin that gave it.
    """
    valid = tuple([(s.name, s.admin_key) for s in force.seats if (s.name, s.admin_key) in proposal.approvals])
    yes = tuple([name for name, _ in valid])
    no = tuple([seat.name for seat in force.seats if seat.name not in yes])
    return valid, yes, no, max(0, 2 * len(force.seats) // 3 + 1 - len(valid))


def _proposal(ctx: Context, number: int) -> Proposal:
    value = ctx.get(key(_PROPOSALS, number)) if number >= 0 else None
    if value is None:
        raise ContractError("unknown-proposal", f"there is no open proposal {number}")
    return Proposal(*cast("Proposal", value))


def _open(ctx: Context) -> list[Proposal]:
    return [_proposal(ctx, number) for number in cast("tuple[int, ...]", ctx.get(_OPEN) or ())]


def _set_open(ctx: Context, numbers: tuple[int, ...]) -> None:
    ctx.put(_OPEN, numbers)


def _close(ctx: Context, number: int) -> None:
    ctx.delete(key(_PROPOSALS, number))
    _set_open(ctx, tuple([other for other in cast("tuple[int, ...]", ctx.get(_OPEN) or ()) if other != number]))


def _is_alive(ctx: Context, force: EpochRow, proposal: Proposal) -> bool:
    """Whether it can still be decided, and its proposer still decides for somebody."""
    in_time = ctx.height <= proposal.first_height - NOTICE
    return in_time and any(seat.admin_key == proposal.proposer for seat in force.seats)


def _sweep(ctx: Context, force: EpochRow) -> list[Proposal]:
    """The open proposals; those that have lapsed are forgotten."""
    alive = []
    for proposal in _open(ctx):
        if _is_alive(ctx, force, proposal):
            alive.append(proposal)
        else:
            ctx.delete(key(_PROPOSALS, proposal.number))
    return alive
