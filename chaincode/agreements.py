"""Agreements between networks: made by both owners, ended by either; and shares under them by hand.

One owner proposes, the other accepts or declines; who may act for both networks, because it owns both, or is the member
to which both belong, needs nobody else. What is agreed on and what was moved is kept by ``agreement_book.py``; what
automatic agreements do by themselves is in ``budget_outside.py``, sales are in ``sales.py``.

An agreement that has ended gives nothing further. What was given stays, and what is in a hold goes back if it is not
spent. One whose last slot is over has *lapsed*: it makes room for others without anybody ending it.
"""

from typing import Any, Final

from chaincode import (
    accounts,
    agreement_book,
    budget_calendar,
    budget_charge,
    budget_policy,
    budget_share,
    budget_state,
    identity,
    roles,
    slots,
)
from chaincode.agreement_book import FOR_EVER, KINDS, OPEN, PROPOSED, SALE, SHARE, Agreement, Movement
from chaincode.arguments import GiverPeriod
from chaincode.budget_outside import rule_of
from chaincode.budget_share import BY_HAND, MAX_BY_HAND, OTHER, POOL, Share
from chaincode.contract import Context, Contract, ContractError, Subject, Value, query, transaction
from chaincode.network_classes import are_alike
from chaincode.subjects import BUDGET, NETWORK, a_network, closed

MAX_CAP: Final = 2**58
"""Base units: as many as may be issued and not redeemed."""
MAX_PRICE: Final = 100_000
"""Of a sale, in thousandths of par: a hundred times par."""
MAX_AGREED: Final = 64
"""Agreements in which one network gives, and as many in which it takes: what one automatic help has to look at."""
MAX_ASKED: Final = 16
"""Proposals of one network that wait for an answer."""
MAX_LISTED: Final = 100


def parties(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    """The audience of what concerns an agreement: both sides."""
    terms = agreement_book.agreement_of(ctx, args["agreement"])
    return Subject(NETWORK, terms.giver, BUDGET), Subject(NETWORK, terms.taker, BUDGET)


class Agreements(Contract):
    """Proposing, accepting and ending agreements between networks. Amounts are in base units."""

    name = "agreements"
    results = BUDGET

    @transaction
    def propose(
        self,
        ctx: Context,
        *,
        giver: str,
        taker: str,
        kind: str,
        cap: int,
        automatic: bool,
        same_class: bool,
        rank: int,
        price: int,
        first_slot: int,
        end_slot: int,
    ) -> Value:
        """Offer the other side an agreement; in force at once if the sender acts for both. Returns its number.

        ``kind``: "share" or "sale"; ``cap``: at most so much in each period of either side; ``automatic``: a share that
        the chain itself makes when the taker is in need, a sale that it makes when a period of the giver closes;
        ``rank``: the smaller is asked first; ``price``: of a sale, in thousandths of par, else 0; from ``first_slot``
        on, before ``end_slot`` (0: until somebody ends it). By an owner of the two networks, or the member of both.
        Raises ContractError: unknown-network, wrong-key, bad-agreement, with-itself, duplicate-agreement, too-many.
        """
        slot = slots.current(ctx)
        ours = _sides(ctx, giver, taker)
        terms = Agreement(
            giver, taker, kind, cap, automatic, same_class, rank, price, first_slot, end_slot, PROPOSED, ours[0], slot
        )
        _check_terms(terms, slot)
        older = agreement_book.live(ctx, giver, taker, kind)
        if older is not None and not agreement_book.has_lapsed(agreement_book.agreement_of(ctx, older), slot):
            raise ContractError("duplicate-agreement", f"agreement {older} is proposed or agreed", (older,))
        number = agreement_book.add(ctx, terms)
        agreement_book.put_live(ctx, terms, number)
        if len(ours) == 2:
            _conclude(ctx, number, terms)
        else:
            _enlist(ctx, agreement_book.ASKS, ours[0], number, MAX_ASKED)
            _tell(ctx, number, terms)
        return number

    @transaction
    def accept(self, ctx: Context, *, agreement: int) -> Value:
        """Agree to what the other side has proposed. Raises ContractError: unknown-agreement, wrong-key, not-proposed,
        too-many.
        """
        found = _answered(ctx, agreement)
        _conclude(ctx, agreement, found)
        return None

    @transaction
    def decline(self, ctx: Context, *, agreement: int) -> Value:
        """Do not agree to what the other side has proposed. Raises as ``accept``."""
        found = _answered(ctx, agreement)
        _close(ctx, agreement, found, agreement_book.DECLINED)
        return None

    @transaction
    def withdraw(self, ctx: Context, *, agreement: int) -> Value:
        """Take back a proposal that waits. Raises ContractError: unknown-agreement, wrong-key, not-proposed."""
        found = agreement_book.agreement_of(ctx, agreement)
        require_side(ctx, found, found.proposer)
        _require_proposed(ctx, found)
        _delist(ctx, agreement_book.ASKS, found.proposer, agreement)
        _close(ctx, agreement, found, agreement_book.WITHDRAWN)
        return None

    @transaction
    def end(self, ctx: Context, *, agreement: int) -> Value:
        """End an agreement, by either side. What was given stays; what is not spent of it still goes back.

        Raises ContractError: unknown-agreement, wrong-key, not-in-force.
        """
        found = agreement_book.agreement_of(ctx, agreement)
        _sides(ctx, found.giver, found.taker)
        if agreement_book.state_at(found, slots.current(ctx)) != OPEN:
            raise ContractError("not-in-force", "it is only proposed, or over")
        _delist(ctx, agreement_book.GIVES, found.giver, agreement)
        _delist(ctx, agreement_book.TAKES, found.taker, agreement)
        _close(ctx, agreement, found, agreement_book.ENDED)
        return None

    @transaction
    def share(self, ctx: Context, *, agreement: int, period: int, amount: int) -> Value:
        """Give ``amount`` of the giver's ``period`` to the taker, for good, by the giver. Returns the taker's period.

        That is the running one, or for a period that has not begun the first that covers no slot before it. What the
        taker owes is paid first. Raises ContractError: unknown-agreement, wrong-key, wrong-kind, not-in-force,
        other-class, unknown-period, period-over, in-arrears, bad-amount, over-cap, insufficient-funds.
        """
        found = agreement_book.agreement_of(ctx, agreement)
        require_side(ctx, found, found.giver)
        require_ready(ctx, agreement, SHARE)
        budget_state.require_open_period(ctx, found.giver, period)
        target = taker_period(ctx, found, period)
        require_room(ctx, agreement, period, target, amount)
        names = f"pool:{found.giver}:{period}", f"pool:{found.taker}:{target}"
        accounts.give(ctx, *names, amount, "share", ctx.tx_id)
        agreement_book.use(ctx, agreement, period, target, amount)
        rule = rule_of(agreement)
        share = Share(OTHER + found.giver, POOL, amount, 0, b"", slots.current(ctx), ctx.tx_id, BY_HAND, rule)
        record = budget_share.record(ctx, found.taker, target, share)
        agreement_book.add_movement(ctx, agreement, Movement(period, target, record))
        budget_charge.pay_owed(ctx, found.taker, target, ctx.tx_id)
        return target

    @query(of=parties)
    def agreement(self, ctx: Context, *, agreement: int) -> Value:
        """(number, giver, taker, kind, cap, automatic, same_class, rank, price, first slot, end slot or 0, state,
        proposer, slot of the last change, whether in force now, the giver's period now, what was given in it).

        State: "proposed", "open", "declined", "withdrawn", "ended" or "lapsed". In force: agreed, within its slots, and
        between networks of one class if that is asked for.
        """
        return _row(ctx, agreement)

    @query(of=closed)
    def agreements(self, ctx: Context, *, first: int = 0) -> Value:
        """All agreements from the ``first``-th on (0: the oldest), at most 100, as ``agreement`` gives them."""
        if first < 0:
            raise ContractError("bad-args", "the first number of a list is 0")
        end = min(agreement_book.count(ctx), first + MAX_LISTED)
        return tuple([_row(ctx, number) for number in range(first + 1, end + 1)])

    @query(of=a_network(BUDGET))
    def of_network(self, ctx: Context, *, network: str, after: int = 0) -> Value:
        """The agreements of a network with numbers above ``after``, at most 100, as ``agreement`` gives them."""
        identity.network_of(ctx, network)
        if after < 0:
            raise ContractError("bad-args", "numbers of agreements are above 0")
        return tuple([_row(ctx, number) for number in agreement_book.numbers_of(ctx, network, after, MAX_LISTED)])

    @query(of=parties)
    def movements(self, ctx: Context, *, agreement: int, first: int = 0) -> Value:
        """The shares under an agreement from the ``first``-th on, at most 100, oldest first: (giver, its period,
        taker, its period, receiving device or "" for the pool, amount, returned, why, rule, reference, slot, tx id).
        """
        found = agreement_book.agreement_of(ctx, agreement)
        if first < 0:
            raise ContractError("bad-args", "the first number of a list is 0")
        rows = []
        for giver_period, target, record in agreement_book.movements_of(ctx, agreement, first, MAX_LISTED):
            share = budget_share.shares_of(ctx, found.taker, target, record, 1)[0]
            sides = found.giver, giver_period, found.taker, target, share.receiver
            moved = share.amount, share.returned, share.why, share.rule, share.reference, share.slot, share.tx_id
            rows.append((*sides, *moved))
        return tuple(rows)

    @query(of=parties)
    def left(self, ctx: Context, *, agreement: int, period: GiverPeriod) -> Value:
        """(what was given under the agreement in the giver's ``period``, what may still be given of it by hand)."""
        found = agreement_book.agreement_of(ctx, agreement)
        budget_state.require_period(ctx, found.giver, period)
        left = agreement_book.left(ctx, agreement, period, taker_period(ctx, found, period))
        return (agreement_book.used(ctx, agreement, period), left)


def require_side(ctx: Context, agreement: Agreement, network: str) -> None:
    """The sender acts for ``network``, a side of the agreement. Raises ContractError("wrong-key")."""
    if network not in _sides(ctx, agreement.giver, agreement.taker):
        raise ContractError("wrong-key", f"not a key that may act for {network}")


def require_ready(ctx: Context, number: int, kind: str) -> Agreement:
    """Something of ``kind`` may be given under the agreement now.

    Raises ContractError: unknown-agreement, wrong-kind, not-in-force, other-class, in-arrears.
    """
    found = agreement_book.agreement_of(ctx, number)
    if found.kind != kind:
        raise ContractError("wrong-kind", f"agreement {number} is about a {found.kind}")
    if not agreement_book.is_in_force(found, slots.current(ctx)):
        raise ContractError("not-in-force", f"agreement {number} is not in force in this slot")
    if found.same_class and not are_alike(ctx, found.giver, found.taker):
        raise ContractError("other-class", f"{found.giver} and {found.taker} are not of one class")
    if budget_state.debt_of(ctx, found.giver):
        raise ContractError("in-arrears", f"{found.giver} owes the utility")
    return found


def require_room(ctx: Context, number: int, giver_period: int, target: int, amount: int) -> None:
    """The agreement's cap, and the counters of both networks, have room for ``amount`` of the giver's period into the
    taker's period ``target``.

    Raises ContractError: bad-amount, over-cap.
    """
    found = agreement_book.agreement_of(ctx, number)
    left = agreement_book.left(ctx, number, giver_period, target)
    if amount <= 0:
        raise ContractError("bad-amount", "an amount is above 0")
    if amount > left:
        raise ContractError("over-cap", f"{left} of {found.cap} may still be given", (left, amount, number))
    gives = accounts.network_book(ctx, found.giver, giver_period)
    gets = accounts.network_book(ctx, found.taker, target)
    if max(gives.sent, gives.sold, gets.received) + amount > MAX_BY_HAND:
        raise ContractError("bad-amount", "what goes by hand leaves room in the books for what goes by itself")


def taker_period(ctx: Context, agreement: Agreement, period: int) -> int:
    """The taker's period into which money of the giver's ``period`` goes by hand: the running one, or if that period
    has not begun the first that covers no slot before it. So nothing is moved to an earlier slot than it was meant for,
    round through whose calendar ever, and what a network is issued at most in a period stays that.
    """
    first, _ = budget_calendar.slots_of(ctx, agreement.giver, period)
    now = slots.current(ctx)
    target = budget_calendar.period_of(ctx, agreement.taker, max(first, now))
    begins, _ = budget_calendar.slots_of(ctx, agreement.taker, target)
    return target + 1 if begins < first and now < first else target


def _sides(ctx: Context, giver: str, taker: str) -> tuple[str, ...]:
    """For which of the two networks the sender acts, by the right "agree"; both for the member of both.

    Raises ContractError: unknown-network, with-itself, wrong-key.
    """
    both = identity.network_of(ctx, giver), identity.network_of(ctx, taker)
    if giver == taker:
        raise ContractError("with-itself", f"{giver} cannot agree on anything with itself")
    ours = []
    for network in both:
        by_owner = ctx.sender == network.owner_key
        by_member = both[0].member == both[1].member and ctx.sender == roles.member_of(ctx, network.member).key
        holders = roles.RIGHTS["agree"]
        if ("owner" in holders and by_owner) or ("member" in holders and by_member):
            ours.append(network.id)
    if not ours:
        raise ContractError("wrong-key", f"not the key of the owner of {giver} or {taker}, or of the member of both")
    return tuple(ours)


def _check_terms(terms: Agreement, slot: int) -> None:
    """Raises ContractError("bad-agreement")."""
    prices = (1, MAX_PRICE) if terms.kind == SALE else (0, 0)
    if terms.kind not in KINDS or not prices[0] <= terms.price <= prices[1]:
        raise ContractError("bad-agreement", f"a share without a price, or a sale at 1 to {MAX_PRICE} thousandths")
    if not 0 < terms.cap <= MAX_CAP or not 0 <= terms.rank <= budget_policy.MAX_RANK:
        raise ContractError("bad-agreement", f"cap 1 to {MAX_CAP}, rank 0 to {budget_policy.MAX_RANK}")
    if not 0 <= terms.first <= accounts.MAX_SLOT or terms.end > accounts.MAX_SLOT:
        raise ContractError("bad-agreement", f"slots are 0 to {accounts.MAX_SLOT}")
    if terms.end != FOR_EVER and terms.end <= max(terms.first, slot):
        raise ContractError("bad-agreement", "its end lies behind its first slot, and ahead of now")


def _answered(ctx: Context, number: int) -> Agreement:
    """A proposal that the sender, who acts for the other side, answers now; it waits no longer."""
    found = agreement_book.agreement_of(ctx, number)
    require_side(ctx, found, found.taker if found.proposer == found.giver else found.giver)
    _require_proposed(ctx, found)
    _delist(ctx, agreement_book.ASKS, found.proposer, number)
    return found


def _require_proposed(ctx: Context, agreement: Agreement) -> None:
    if agreement_book.state_at(agreement, slots.current(ctx)) != PROPOSED:
        raise ContractError("not-proposed", "it has been answered or taken back, or it has lapsed")


def _conclude(ctx: Context, number: int, agreement: Agreement) -> None:
    """Both sides agree from now on. Raises ContractError("too-many")."""
    _enlist(ctx, agreement_book.GIVES, agreement.giver, number, MAX_AGREED)
    _enlist(ctx, agreement_book.TAKES, agreement.taker, number, MAX_AGREED)
    agreed = agreement._replace(state=OPEN, slot=slots.current(ctx))
    agreement_book.put(ctx, number, agreed)
    _tell(ctx, number, agreed)


def _close(ctx: Context, number: int, agreement: Agreement, state: str) -> None:
    """It is neither proposed nor agreed from now on."""
    closed = agreement._replace(state=state, slot=slots.current(ctx))
    agreement_book.put(ctx, number, closed)
    agreement_book.put_live(ctx, closed, None)
    _tell(ctx, number, closed)


def _enlist(ctx: Context, table: bytes, network: str, number: int, most: int) -> None:
    """Note an agreement among those of ``network``; what has lapsed there makes room for it.

    Raises ContractError("too-many").
    """
    slot = slots.current(ctx)
    listed = agreement_book.listed(ctx, table, network)
    kept = [each for each in listed if not agreement_book.has_lapsed(agreement_book.agreement_of(ctx, each), slot)]
    if len(kept) >= most:
        raise ContractError("too-many", f"{network} has {most} already")
    agreement_book.put_listed(ctx, table, network, (*kept, number))


def _delist(ctx: Context, table: bytes, network: str, number: int) -> None:
    listed = agreement_book.listed(ctx, table, network)
    agreement_book.put_listed(ctx, table, network, tuple([each for each in listed if each != number]))


def _tell(ctx: Context, number: int, agreement: Agreement) -> None:
    ctx.emit("agreement", (agreement.giver, agreement.taker), (number, agreement.kind, agreement.state))


def _row(ctx: Context, number: int) -> tuple[Value, ...]:
    found = agreement_book.agreement_of(ctx, number)
    slot = slots.current(ctx)
    alike = not found.same_class or are_alike(ctx, found.giver, found.taker)
    period = budget_calendar.period_of(ctx, found.giver, slot)
    shown = found._replace(state=agreement_book.state_at(found, slot))
    in_force = agreement_book.is_in_force(found, slot) and alike
    return (number, *shown, in_force, period, agreement_book.used(ctx, number, period))
