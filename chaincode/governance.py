"""Who validates: members are added, removed and given new keys at a stated height, by a quorum of member admins.

Every validator has an admin, whose key decides for it and is not the node's. They decide by ballot (``ballot.py``):
when more than two thirds of the validators in force approve, the change is *scheduled*: from its height on there is a
new epoch with the changed set. That height is at least ``NOTICE`` above the deciding block, so that every replica knows
of an epoch's end before it could work on a block beyond.

One change is scheduled at a time: until it is in force, an approval that would decide another is refused with
"change-pending", and may be sent again afterwards. What a change has to fulfil is looked at when it is proposed, and
again when it is decided.

Genesis settings: ``admins``: arrays ``[validator, key in hex]``, one for each of them. Without settings nobody ever
changes the membership. ``validators``, the ledger adds from the genesis document: ``(name, key in hex, certificate)``.

State, besides that of ``validators.py`` and of the ballot: ``gov-admin/`` key(32) -> True for whoever decides now or in
the epoch to come; for whoever did, the height from which on it does no more.
"""

from typing import Final, TypeAlias, cast

from chaincode import ballot
from chaincode.ballot import MAX_AHEAD, MAX_OPEN_PER_ADMIN, NOTICE, Ballot, Proposal
from chaincode.contract import Context, Contract, ContractError, Value, query, transaction
from chaincode.subjects import public
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

__all__ = ["MAX_AHEAD", "MAX_OPEN_PER_ADMIN", "NOTICE", "Governance", "digest_of", "proposed_keys"]

SeatRow: TypeAlias = tuple[str, bytes, str, bytes, str]
"""The fields of a ``Seat``. What a kind of change does not need is empty."""

ADD: Final = "add"
REMOVE: Final = "remove"
ROTATE: Final = "rotate"
KINDS: Final = (ADD, REMOVE, ROTATE)

MAX_LISTED: Final = 100

_ADMINS: Final = b"gov-admin/"
_BALLOT: Final = Ballot(b"gov-proposal/", b"gov-open/", b"watt/membership/1\0")


class Governance(Contract):
    """Proposing, approving and withdrawing changes of the membership."""

    name = "governance"
    standing = (_ADMINS,)

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
        found = ctx.get(_ADMINS + key)
        return found is True or (found is not None and ctx.height < cast("int", found))

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

        "add" needs everything; "remove" nothing; "rotate" ``public_key`` and ``tls_certificate``, and what is given of
        ``address`` and ``admin_key``. An admin who has lost its own key is replaced so, together with its node's keys,
        by which an epoch is known. ``tls_certificate``: PEM. Returns (number, digest, approvals that are missing).

        Raises ContractError: no-governance, not-allowed, bad-kind, bad-args, bad-id, bad-key, bad-certificate,
        bad-address, unknown-validator, no-change, duplicate-name, duplicate-key, duplicate-certificate, too-few,
        too-many, too-soon and too-far (details: the nearest or farthest height), too-many-proposals, change-pending.
        """
        force = ballot.require_admin(ctx)
        if kind not in KINDS:
            raise ContractError("bad-kind", f"a change is one of {KINDS}")
        _check_given(kind, public_key, tls_certificate, admin_key, address)
        seat = (name, public_key, pem_text(tls_certificate), admin_key, address)
        parts = _parts(ctx.chain, kind, seat)
        proposal = ballot.submit(ctx, _BALLOT, force, (kind, seat), first_height, parts)
        _changed(newest_epoch(ctx).seats, kind, seat)
        ctx.emit("membership-proposed", (name,), (proposal.number, kind, first_height, proposal.digest))
        return (proposal.number, proposal.digest, _approve(ctx, force, proposal))

    @transaction
    def approve(self, ctx: Context, *, proposal: int, digest: bytes) -> Value:
        """Approve an open proposal for the validators that the sender decides for. Returns the approvals missing.

        Raises ContractError: no-governance, not-allowed, unknown-proposal, wrong-digest, lapsed (details: the last
        height at which it could be decided), change-pending (details: the height at which the other is in force), and
        what ``propose`` raises of a change that has become impossible.
        """
        force = ballot.require_admin(ctx)
        return _approve(ctx, force, ballot.require(ctx, _BALLOT, proposal, digest))

    @transaction
    def withdraw(self, ctx: Context, *, proposal: int) -> Value:
        """Take back an open proposal, if it is the sender's, or else the sender's approval of it.

        Raises ContractError: no-governance, not-allowed (also if the sender has not approved it), unknown-proposal.
        """
        ballot.require_admin(ctx)
        left, closed = ballot.withdraw(ctx, _BALLOT, proposal)
        name = _subject(left)[1][0]
        if closed:
            ctx.emit("membership-withdrawn", (name,), (proposal,))
        else:
            ctx.emit("membership-approval-withdrawn", (name,), (proposal, len(left.approvals)))
        return None

    @query(of=public)
    def proposals(self, ctx: Context) -> Value:
        """All open proposals that have not lapsed, each in full: (number, digest, kind, name, public key, certificate,
        admin key, address, first height, last height at which it can be decided, proposer's key, validators that
        approve, validators that do not yet, approvals that are missing)."""
        force = epoch_in_force(ctx)
        rows = []
        for found in ballot.alive(ctx, _BALLOT, force):
            kind, seat = _subject(found)
            _, yes, no, missing = ballot.count(force, found)
            own = (found.number, found.digest, kind, *seat, found.first_height)
            rows.append((*own, found.first_height - NOTICE, found.proposer, yes, no, missing))
        return tuple(rows)

    @query(of=public)
    def epochs(self, ctx: Context, *, first: int = 0) -> Value:
        """Epochs from number ``first`` on, at most 100: ((number, first height, how many validators), ...)."""
        if first < 0:
            raise ContractError("bad-args", "the first epoch is 0")
        count = min(epoch_count(ctx.get), first + MAX_LISTED)
        heads = [(number, *epoch_head(ctx.get, number)) for number in range(first, count)]
        return tuple([(number, first_height, len(seats)) for number, first_height, seats in heads])

    @query(of=public)
    def validators(self, ctx: Context, *, epoch: int | None = None) -> Value:
        """The validators of an epoch, by default of the one in force: (number, first height, ((name, public key,
        certificate, admin key, address), ...)). Raises ContractError: no-governance, unknown-epoch."""
        found = epoch_in_force(ctx)
        if epoch is not None:
            if not 0 <= epoch < epoch_count(ctx.get):
                raise ContractError("unknown-epoch", f"there is no epoch {epoch}")
            found = epoch_row(ctx.get, epoch)
        return (found.number, found.first_height, tuple([tuple(seat) for seat in found.seats]))


def proposed_keys(ctx: Context) -> tuple[bytes, ...]:
    """The keys of nodes that open proposals would make validators."""
    if not epoch_count(ctx.get):
        return ()
    subjects = [_subject(found) for found in ballot.alive(ctx, _BALLOT, epoch_in_force(ctx))]
    return tuple([seat[1] for kind, seat in subjects if kind in (ADD, ROTATE)])


def _begin(ctx: Context, first_height: int, seats: tuple[Seat, ...]) -> EpochRow:
    before = newest_epoch(ctx).seats if epoch_count(ctx.get) else ()
    epoch = add_epoch(ctx, first_height, seats)
    for seat in before:
        ctx.put(_ADMINS + seat.admin_key, first_height)
    for seat in seats:
        ctx.put(_ADMINS + seat.admin_key, True)
    return epoch


def _subject(proposal: Proposal) -> tuple[str, SeatRow]:
    """(kind, seat) of a proposal."""
    return cast("tuple[str, SeatRow]", proposal.subject)


def _check_given(kind: str, public_key: bytes, tls_certificate: bytes, admin_key: bytes, address: str) -> None:
    """Raises ContractError("bad-args") for something that the kind of change has no use for, or "add" lacks."""
    if kind == REMOVE and (public_key or tls_certificate or admin_key or address):
        raise ContractError("bad-args", "to remove a validator takes its name alone")
    if kind == ADD and not address:
        raise ContractError("bad-args", "a new validator has an address")


def digest_of(chain: bytes, number: int, kind: str, seat: SeatRow, first_height: int) -> bytes:
    """What an approval names: it covers the chain, the proposal's number and everything that would change."""
    return ballot.digest_of(_BALLOT.tag, number, first_height, _parts(chain, kind, seat))


def _parts(chain: bytes, kind: str, seat: SeatRow) -> tuple[bytes, ...]:
    name, public_key, tls_certificate, admin_key, address = seat
    return chain, kind.encode(), name.encode(), public_key, tls_certificate.encode(), admin_key, address.encode()


def _changed(seats: tuple[Seat, ...], kind: str, seat: SeatRow) -> tuple[Seat, ...]:
    """The validators after the change. Raises ContractError, see ``propose``."""
    new = Seat(*seat)
    check_name(new.name)
    if kind == ADD:
        check_seat(new)
        after = (*seats, new)
    else:
        old = next((seat for seat in seats if seat.name == new.name), None)
        if old is None:
            raise ContractError("unknown-validator", f"there is no validator {new.name}")
        if kind == REMOVE:
            after = tuple([seat for seat in seats if seat != old])
        else:
            new = new._replace(admin_key=new.admin_key or old.admin_key, address=new.address or old.address)
            check_seat(new)
            if (new.public_key, new.tls_certificate) == (old.public_key, old.tls_certificate):
                raise ContractError("no-change", f"{new.name} has this key and this certificate")
            after = tuple([new if seat == old else seat for seat in seats])
    check_set(after)
    return after


def _approve(ctx: Context, force: EpochRow, proposal: Proposal) -> int:
    """Note the sender's approvals, and schedule the change if they decide it. Returns how many are missing."""
    kind, seat = _subject(proposal)
    valid, _, _, missing = ballot.approve(ctx, _BALLOT, force, proposal)
    if missing:
        ctx.emit("membership-approved", (seat[0],), (proposal.number, len(valid), missing))
        return missing
    newest = newest_epoch(ctx)
    if newest.number != force.number:
        raise ContractError(
            "change-pending", f"another change is in force from {newest.first_height} on", (newest.first_height,)
        )
    epoch = _begin(ctx, proposal.first_height, _changed(force.seats, kind, seat))
    ballot.close(ctx, _BALLOT, proposal.number)
    ctx.emit("membership-scheduled", (seat[0],), (proposal.number, kind, epoch.number, epoch.first_height))
    return 0
