"""Sales of tokens between networks: offered, accepted, paid for outside of the ledger, and confirmed.

A sale rests on an agreement of the kind "sale": it names the price, in thousandths of par, and how much may be sold in
a period of either side. The seller offers tokens of one of its periods. When the buyer accepts, naming its payment, the
tokens move from pool to pool: sold there, received here. What is *due* is the amount times the price over 1,000,
rounded down, in base units of money outside: at 1,000 a token costs what it is worth at par. The ledger does not see
the payment; the seller confirms it.

What is left of a closing period may be sold by a *standing* sale (``at_close``), if the agreement is automatic: the
buyer has accepted in advance, and says afterwards how it paid.

======== ========================================================================================================
OFFERED  the seller offers; nothing has moved. LAPSED, without anybody's doing, when its period or the agreement is over
STANDING the tokens have moved at the close of a period; the buyer has not named a payment yet
SOLD     the tokens have moved, and the buyer has named its payment
PAID     the seller has confirmed the payment
======== ========================================================================================================

An offer may also be WITHDRAWN by the seller, or DECLINED by the buyer. Offers reserve nothing: what the pool or the
agreement's cap has no longer when one is accepted is refused.

State: ``sale/`` -> count; ``sale/`` number(8) -> Sale; ``sale-of/`` agreement(8): the numbers of all (``numbered.py``);
``sale-open/`` agreement(8) -> the numbers of its offers that wait.
"""

from typing import Any, Final, NamedTuple, cast

from chaincode import (
    accounts,
    agreement_book,
    agreements,
    budget_calendar,
    budget_charge,
    budget_policy,
    budget_state,
    keys,
    numbered,
    slots,
)
from chaincode.agreement_book import SALE, Agreement
from chaincode.contract import MAX_AMOUNT, Context, Contract, ContractError, Subject, Value, query, transaction
from chaincode.network_classes import are_alike
from chaincode.subjects import BUDGET

OFFERED: Final = "offered"
STANDING: Final = "standing"
SOLD: Final = "sold"
PAID: Final = "paid"
WITHDRAWN: Final = "withdrawn"
DECLINED: Final = "declined"
LAPSED: Final = "lapsed"

PERMILLE: Final = 1000
MAX_OFFERS: Final = 16
"""Offers under one agreement that wait for an answer."""
MAX_REFERENCE: Final = 64
MAX_LISTED: Final = 100

_SALES: Final = b"sale/"
_OF: Final = b"sale-of/"
_OPEN: Final = b"sale-open/"


class Sale(NamedTuple):
    """``amount`` base units of the seller's ``period`` at ``price`` thousandths of par, for ``due`` base units of money
    outside. ``state``: OFFERED, STANDING, SOLD, PAID, WITHDRAWN or DECLINED; ``buyer_period``: where the tokens went,
    -1 before; ``payment``: the buyer's reference; ``slot``: of the last change; ``tx_id``: what moved the tokens.
    """

    agreement: int
    period: int
    amount: int
    price: int
    due: int
    state: str
    buyer_period: int
    payment: bytes
    slot: int
    tx_id: bytes


def _of_sale(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    return agreements.parties(ctx, {"agreement": sale_of(ctx, args["sale"]).agreement})


class Sales(Contract):
    """Offering, accepting and confirming sales of tokens. Amounts are in base units."""

    name = "sales"
    results = BUDGET

    @transaction
    def offer(self, ctx: Context, *, agreement: int, period: int, amount: int) -> Value:
        """Offer tokens of the seller's ``period`` to the buyer, at the agreement's price. Returns the sale's number.

        Raises ContractError: unknown-agreement, wrong-key, wrong-kind, not-in-force, other-class, in-arrears,
        unknown-period, period-over, bad-amount, over-cap, insufficient-funds, too-many.
        """
        terms = agreement_book.agreement_of(ctx, agreement)
        agreements.require_side(ctx, terms, terms.giver)
        _require_sellable(ctx, agreement, period, amount)
        held = accounts.network_book(ctx, terms.giver, period).pool
        if held < amount:
            raise ContractError("insufficient-funds", f"the pool has {held}", (held, amount))
        waiting = [number for number in _open(ctx, agreement) if _state(ctx, sale_of(ctx, number)) == OFFERED]
        if len(waiting) >= MAX_OFFERS:
            raise ContractError("too-many", f"{MAX_OFFERS} offers wait already")
        due = amount * terms.price // PERMILLE
        sale = Sale(agreement, period, amount, terms.price, due, OFFERED, -1, b"", slots.current(ctx), b"")
        number = _add(ctx, sale)
        ctx.put(_OPEN + keys.uint(agreement), (*waiting, number))
        return number

    @transaction
    def withdraw(self, ctx: Context, *, sale: int) -> Value:
        """Take back an offer that waits. By the seller. Raises ContractError: unknown-sale, wrong-key, not-offered."""
        found = sale_of(ctx, sale)
        _require_seller(ctx, found)
        _close_offer(ctx, sale, found, WITHDRAWN)
        return None

    @transaction
    def decline(self, ctx: Context, *, sale: int) -> Value:
        """Refuse an offer that waits. By the buyer. Raises ContractError: unknown-sale, wrong-key, not-offered."""
        found = sale_of(ctx, sale)
        _require_buyer(ctx, found)
        _close_offer(ctx, sale, found, DECLINED)
        return None

    @transaction
    def accept(self, ctx: Context, *, sale: int, payment: bytes) -> Value:
        """Buy what is offered, naming the payment, or name that of a standing sale. By the buyer. The tokens go into
        the buyer's running period, or from a period that has not begun into the first that covers no slot before it;
        what the buyer owes is paid first. Returns what is due.

        Raises ContractError: unknown-sale, wrong-key, bad-reference, not-offered, and as ``offer`` does.
        """
        found = sale_of(ctx, sale)
        _require_buyer(ctx, found)
        if not 0 < len(payment) <= MAX_REFERENCE:
            raise ContractError("bad-reference", f"a payment's reference is 1 to {MAX_REFERENCE} bytes")
        if found.state == STANDING:
            _put(ctx, sale, found._replace(state=SOLD, payment=payment))
            return found.due
        terms = agreement_book.agreement_of(ctx, found.agreement)
        _require_sellable(ctx, found.agreement, found.period, found.amount)
        buyer_period = agreements.taker_period(ctx, terms, found.period)
        _close_offer(ctx, sale, found, SOLD)
        sold = found._replace(state=SOLD, payment=payment, buyer_period=buyer_period, tx_id=ctx.tx_id)
        _move(ctx, sale, sold, terms, payment)
        return found.due

    @transaction
    def confirm_payment(self, ctx: Context, *, sale: int) -> Value:
        """The money has arrived. By the seller. Raises ContractError: unknown-sale, wrong-key, not-sold."""
        found = sale_of(ctx, sale)
        _require_seller(ctx, found)
        if found.state not in (SOLD, STANDING):
            raise ContractError("not-sold", "nothing has moved that is not paid for")
        _put(ctx, sale, found._replace(state=PAID))
        return None

    @query(of=_of_sale)
    def sale(self, ctx: Context, *, sale: int) -> Value:
        """(number, seller, buyer, agreement, the seller's period, amount, price in thousandths of par, what is due,
        state, the buyer's period or -1, payment reference, slot of the last change, tx id of what moved the tokens).

        State: "offered", "lapsed", "withdrawn", "declined", "standing", "sold" or "paid".
        """
        return _row(ctx, sale)

    @query(of=agreements.parties)
    def sales(self, ctx: Context, *, agreement: int, after: int = 0) -> Value:
        """The sales under an agreement with numbers above ``after``, at most 100, as ``sale`` gives them."""
        agreement_book.agreement_of(ctx, agreement)
        if after < 0:
            raise ContractError("bad-args", "numbers of sales are above 0")
        numbers = numbered.above(ctx, _OF + keys.uint(agreement), after, MAX_LISTED)
        return tuple([_row(ctx, number) for number in numbers])


def at_close(ctx: Context, network: str, period: int, amount: int) -> int:
    """Sell up to ``amount`` of the pool of a closing period under the agreement that the owner's policy names, into the
    buyer's running period; what was sold: at most what the agreement's cap has left, 0 if it is not automatic, not in
    force, for one class and the networks are not, or not this network's.
    """
    number = budget_policy.policy_of(ctx, network).sale
    if not 0 < number <= agreement_book.count(ctx):
        return 0
    terms = agreement_book.agreement_of(ctx, number)
    slot = slots.current(ctx)
    fits = terms.giver == network and terms.kind == SALE and terms.automatic
    if not fits or not agreement_book.is_in_force(terms, slot):
        return 0
    if terms.same_class and not are_alike(ctx, terms.giver, terms.taker):
        return 0
    buyer_period = budget_calendar.period_of(ctx, terms.taker, slot)
    gives, gets = accounts.network_book(ctx, network, period), accounts.network_book(ctx, terms.taker, buyer_period)
    left = agreement_book.left(ctx, number, period, buyer_period)
    part = min(amount, gives.pool, left, MAX_AMOUNT - gives.sold, MAX_AMOUNT - gets.received)
    if part <= 0:
        return 0
    due = part * terms.price // PERMILLE
    sale = Sale(number, period, part, terms.price, due, STANDING, buyer_period, b"", slot, ctx.tx_id)
    _move(ctx, _add(ctx, sale), sale, terms, ctx.tx_id)
    return part


def sale_of(ctx: Context, number: int) -> Sale:
    """Raises ContractError("unknown-sale")."""
    value = ctx.get(_SALES + keys.uint(number)) if number > 0 else None
    if value is None:
        raise ContractError("unknown-sale", f"there is no sale {number}")
    return Sale(*cast("Sale", value))


def _require_sellable(ctx: Context, number: int, period: int, amount: int) -> None:
    """``amount`` of the seller's ``period`` may be sold under the agreement now, but for what its pool has."""
    terms = agreements.require_ready(ctx, number, SALE)
    budget_state.require_open_period(ctx, terms.giver, period)
    agreements.require_room(ctx, number, period, agreements.taker_period(ctx, terms, period), amount)


def _require_seller(ctx: Context, sale: Sale) -> None:
    terms = agreement_book.agreement_of(ctx, sale.agreement)
    agreements.require_side(ctx, terms, terms.giver)


def _require_buyer(ctx: Context, sale: Sale) -> None:
    terms = agreement_book.agreement_of(ctx, sale.agreement)
    agreements.require_side(ctx, terms, terms.taker)


def _move(ctx: Context, number: int, sale: Sale, terms: Agreement, reference: bytes) -> None:
    """Pool to pool; what the buyer owes is paid out of it."""
    source, target = f"pool:{terms.giver}:{sale.period}", f"pool:{terms.taker}:{sale.buyer_period}"
    accounts.give(ctx, source, target, sale.amount, "sale", reference)
    agreement_book.use(ctx, sale.agreement, sale.period, sale.buyer_period, sale.amount)
    _put(ctx, number, sale)
    budget_charge.pay_owed(ctx, terms.taker, sale.buyer_period, reference)


def _add(ctx: Context, sale: Sale) -> int:
    """Enter a new sale; its number, from 1 on."""
    number = (cast("int | None", ctx.get(_SALES)) or 0) + 1
    ctx.put(_SALES, number)
    numbered.append(ctx, _OF + keys.uint(sale.agreement), number)
    _put(ctx, number, sale)
    return number


def _put(ctx: Context, number: int, sale: Sale) -> None:
    """Write a sale as it is from now on, and tell of it."""
    ctx.put(_SALES + keys.uint(number), tuple(sale._replace(slot=slots.current(ctx))))
    terms = agreement_book.agreement_of(ctx, sale.agreement)
    ctx.emit("sale", (terms.giver, terms.taker), (number, sale.agreement, sale.state, sale.amount, sale.due))


def _close_offer(ctx: Context, number: int, sale: Sale, state: str) -> None:
    """An offer waits no longer. Raises ContractError("not-offered"), also if it has lapsed."""
    if _state(ctx, sale) != OFFERED:
        raise ContractError("not-offered", "it has been answered or taken back, or it has lapsed")
    left = tuple([each for each in _open(ctx, sale.agreement) if each != number])
    key = _OPEN + keys.uint(sale.agreement)
    if left:
        ctx.put(key, left)
    else:
        ctx.delete(key)
    if state != SOLD:
        _put(ctx, number, sale._replace(state=state))


def _open(ctx: Context, agreement: int) -> tuple[int, ...]:
    """The offers under an agreement that nobody has answered; some may have lapsed."""
    return cast("tuple[int, ...] | None", ctx.get(_OPEN + keys.uint(agreement))) or ()


def _state(ctx: Context, sale: Sale) -> str:
    """The state of a sale now, LAPSED included."""
    if sale.state != OFFERED:
        return sale.state
    terms = agreement_book.agreement_of(ctx, sale.agreement)
    slot = slots.current(ctx)
    is_over = agreement_book.state_at(terms, slot) != agreement_book.OPEN
    return LAPSED if is_over or budget_calendar.slots_of(ctx, terms.giver, sale.period)[1] <= slot else OFFERED


def _row(ctx: Context, number: int) -> tuple[Value, ...]:
    found = sale_of(ctx, number)
    terms = agreement_book.agreement_of(ctx, found.agreement)
    return (number, terms.giver, terms.taker, *found._replace(state=_state(ctx, found)))
