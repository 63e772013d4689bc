"""The market's rules, changed by vote: the validators' admins decide, as they do about the membership.

Whatever the genesis document sets for the market, but for the length of a slot, can be changed: times and windows, the
tick, the tariffs, the internal price, the utility's mix. An admin proposes new values for some settings from a stated
height on; others approve by number and digest (``ballot.py``); with more than two thirds of the validators' approvals
the change is scheduled, and ``market_rules.py`` says how it comes into force. Products that are open then keep the
terms that they opened with.

What is not named stays as it is. A change is checked as genesis settings are: when it is proposed, and again when it is
decided, against the rules of that time. One change is scheduled at a time; until it is in force, an approval that would
decide another is refused with "change-pending".

Without ``governance.admins`` in the genesis document nobody ever changes the rules. State: that of the ballot.
"""

from typing import Final, TypeAlias, cast

from chaincode import ballot, market_outage, market_products, market_rules
from chaincode.ballot import NOTICE, Ballot, Proposal
from chaincode.contract import Context, Contract, ContractError, Value, query, transaction
from chaincode.market_products import Settings
from chaincode.subjects import public
from chaincode.validators import EpochRow, epoch_in_force

Changes: TypeAlias = tuple[tuple[str, int], ...]
"""(setting, value) each: fields of ``market_products.Settings``."""
Tariffs: TypeAlias = tuple[tuple[int, int, int], ...]
"""(second of the UTC day, retail, feed-in) each, in base units per Wh; none: they stay as they are."""

MAX_LISTED: Final = 100

_BALLOT: Final = Ballot(b"rules-proposal/", b"rules-open/", b"watt/rules/1\0")


class Rules(Contract):
    """Proposing, approving and withdrawing changes of the market's rules; which rules there were when."""

    name = "rules"

    @transaction
    def propose(self, ctx: Context, *, first_height: int, settings: Changes = (), tariffs: Tariffs = ()) -> Value:
        """Propose a change from ``first_height`` on, and approve it for the validators that the sender decides for.

        ``settings``: any of the market's genesis settings but slot_seconds; ``tariffs``: all of them, anew. Returns
        (number, digest, approvals that are missing).

        Raises ContractError: no-governance, not-allowed, not-configured, bad-settings, no-change, too-soon and too-far
        (details: the nearest or farthest height), too-many-proposals, change-pending.
        """
        force = ballot.require_admin(ctx)
        pending = market_rules.scheduled(ctx)
        market_rules.changed(
            market_products.settings_of(ctx) if pending is None else pending.settings, settings, tariffs
        )
        parts = _parts(ctx.chain, settings, tariffs)
        proposal = ballot.submit(ctx, _BALLOT, force, (settings, tariffs), first_height, parts)
        ctx.emit("rules-proposed", (), (proposal.number, first_height, proposal.digest))
        return (proposal.number, proposal.digest, _approve(ctx, force, proposal))

    @transaction
    def approve(self, ctx: Context, *, proposal: int, digest: bytes) -> Value:
        """Approve an open proposal for the validators that the sender decides for. Returns the approvals missing.

        Raises ContractError: no-governance, not-allowed, unknown-proposal, wrong-digest, lapsed (details: the last
        height at which it could be decided), change-pending (details: the height at which the other is in force), and
        bad-settings or no-change of a change that has become impossible.
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
        if closed:
            ctx.emit("rules-withdrawn", (), (proposal,))
        else:
            ctx.emit("rules-approval-withdrawn", (), (proposal, len(left.approvals)))
        return None

    @query(of=public)
    def proposals(self, ctx: Context) -> Value:
        """All open proposals that have not lapsed: (number, digest, settings, tariffs, first height, last height at
        which it can be decided, proposer's key, validators that approve, validators that do not yet, approvals that
        are missing)."""
        force = epoch_in_force(ctx)
        rows = []
        for found in ballot.alive(ctx, _BALLOT, force):
            _, yes, no, missing = ballot.count(force, found)
            own = (found.number, found.digest, *_subject(found), found.first_height)
            rows.append((*own, found.first_height - NOTICE, found.proposer, yes, no, missing))
        return tuple(rows)

    @query(of=public)
    def scheduled(self, ctx: Context) -> Value:
        """The rules that are decided and not yet in force: (first height, proposal, the fields of
        ``market_products.Settings``); None if there are none."""
        coming = market_rules.scheduled(ctx)
        return None if coming is None else (coming.first_height, coming.proposal, tuple(coming.settings))

    @query(of=public)
    def history(self, ctx: Context, *, first: int = 0) -> Value:
        """The rules that there have been, from version ``first`` on, at most 100: (version, height and block time from
        which on it is in force, proposal or None, the fields of ``market_products.Settings``).
        Raises ContractError: bad-range."""
        rows: list[Value] = []
        for number in _listed(first, market_rules.version_count(ctx)):
            height, time, proposal, settings = market_rules.version(ctx, number)
            rows.append((number, height, time, proposal, tuple(settings)))
        return tuple(rows)

    @query(of=public)
    def outages(self, ctx: Context, *, first: int = 0) -> Value:
        """The times when no block could be made, from number ``first`` on, at most 100: (number, since, until, height
        of the block that ended it). Raises ContractError: bad-range."""
        numbers = _listed(first, market_outage.outage_count(ctx))
        return tuple([(number, *market_outage.outage_of(ctx, number)) for number in numbers])


def digest_of(chain: bytes, number: int, settings: Changes, tariffs: Tariffs, first_height: int) -> bytes:
    """What an approval names: it covers the chain, the proposal's number and everything that would change."""
    return ballot.digest_of(_BALLOT.tag, number, first_height, _parts(chain, settings, tariffs))


def _parts(chain: bytes, settings: Changes, tariffs: Tariffs) -> tuple[bytes, ...]:
    """In decimal digits: a value may be no valid one when the digest is made."""
    named = [part for name, value in settings for part in (name.encode(), str(value).encode())]
    return (chain, *named, b"tariffs", *[str(figure).encode() for tariff in tariffs for figure in tariff])


def _subject(proposal: Proposal) -> tuple[Changes, Tariffs]:
    return cast("tuple[Changes, Tariffs]", proposal.subject)


def _listed(first: int, count: int) -> range:
    if first < 0:
        raise ContractError("bad-range", "the first number of a list is 0")
    return range(first, min(count, first + MAX_LISTED))


def _approve(ctx: Context, force: EpochRow, proposal: Proposal) -> int:
    """Note the sender's approvals, and schedule the change if they decide it. Returns how many are missing."""
    valid, _, _, missing = ballot.approve(ctx, _BALLOT, force, proposal)
    if missing:
        ctx.emit("rules-approved", (), (proposal.number, len(valid), missing))
        return missing
    pending = market_rules.scheduled(ctx)
    if pending is not None:
        raise ContractError(
            "change-pending", f"another change is in force from {pending.first_height} on", (pending.first_height,)
        )
    after: Settings = market_rules.changed(market_products.settings_of(ctx), *_subject(proposal))
    market_rules.schedule(ctx, proposal.first_height, proposal.number, after)
    ballot.close(ctx, _BALLOT, proposal.number)
    ctx.emit("rules-scheduled", (), (proposal.number, proposal.first_height))
    return 0
