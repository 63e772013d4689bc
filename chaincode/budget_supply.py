"""What enters the world and what leaves it: caps, issue, the redemption price, tokens redeemed and returned.

A *holder* is a network or a company (a member); its kind is "network" or "company". Only the utility issues, never
more to a holder in one of its periods than the *cap*: the one that was set for that period, else the one for every
period, else none. A cap may be set below what is issued; then no more is. It binds what the utility issues to this
holder and nothing else: neither what comes from others, nor earnings, nor the feed-in that settlement issues.

The *redemption price* is published by the utility in thousandths of par, at most par, from a slot that has not begun;
0 means that nothing is redeemed. Whoever redeems says the least price that is accepted, and the price of that moment is
kept with what was redeemed: tokens burnt, and a credit of ``amount * permille // 1000`` that the utility owes outside
the ledger. It notes the bill on which it has credited it, once.

What a network owes is paid before it redeems or returns anything (``in-arrears`` while not all of it is).

State (*holder* is kind NUL name): ``sup-issue/`` holder NUL period(4) reference -> amount; ``sup-cap/`` holder NUL
period(4), or nothing for every period -> amount; ``sup-price/`` -> ((from slot, permille), ...); ``sup-redemption/`` ->
count; ``sup-redemption/`` number(8) -> Redemption; ``sup-open/`` number(8) -> True until it is credited;
``sup-redeemed/`` holder -> count; ``sup-redeemed/`` holder NUL index(8) -> number; ``sup-reference/`` holder NUL
reference -> number.
"""

from itertools import islice
from typing import Final, NamedTuple, cast

from chaincode import accounts, budget_calendar, budget_charge, budget_closed, budget_state, identity, roles, slots
from chaincode.accounts import UTILITY
from chaincode.contract import MAX_AMOUNT, Context, ContractError
from chaincode.keys import uint

NETWORK: Final = "network"
COMPANY: Final = "company"

MAX_OUTSTANDING: Final = 2**58
"""Base units that may be issued and not redeemed at one time: far below 63 bits, so that a balance has room for
feed-in that settlement issues beyond it. Counters of what went by are no balances: they grow with every round that
money makes, and each is bounded where it is counted."""
MAX_REFERENCE: Final = 64
MAX_PRICES: Final = 16
"""Published and not yet followed by the next one: the price in force and those to come."""
PAR_PERMILLE: Final = 1_000

_ISSUES: Final = b"sup-issue/"
_CAPS: Final = b"sup-cap/"
_PRICES: Final = b"sup-price/"
_REDEMPTIONS: Final = b"sup-redemption/"
_OPEN: Final = b"sup-open/"
_REDEEMED: Final = b"sup-redeemed/"
_REFERENCES: Final = b"sup-reference/"


class Redemption(NamedTuple):
    """Tokens that ``name`` has redeemed. ``amount`` and ``credit`` in base units; ``permille``: the price; ``time``: of
    the block, s; ``bill``: the utility's reference of the credit, empty until there is one, at ``credited_at``.
    """

    kind: str
    name: str
    period: int
    amount: int
    permille: int
    credit: int
    reference: bytes
    time: int
    tx_id: bytes
    bill: bytes = b""
    credited_at: int = 0


def account_of(kind: str, name: str, period: int) -> str:
    """The account in which a holder keeps what nobody has been given yet."""
    return f"{'pool' if kind == NETWORK else kind}:{name}:{period}"


def require_holder(ctx: Context, kind: str, name: str) -> None:
    """Raises ContractError: unknown-network, unknown-member, bad-args."""
    if kind == NETWORK:
        identity.network_of(ctx, name)
    elif kind == COMPANY:
        roles.member_of(ctx, name)
    else:
        raise ContractError("bad-args", f"tokens are held by a {NETWORK} or a {COMPANY}, not by a {kind[:20]!r}")


def require_open(ctx: Context, kind: str, name: str, period: int) -> None:
    """The holder's ``period`` is known and not over. Raises ContractError: unknown-period, period-closing, period-over,
    and as ``require_holder`` does."""
    require_holder(ctx, kind, name)
    if kind == NETWORK:
        budget_state.require_open_period(ctx, name, period)
    else:
        budget_state.require_open(company_status(ctx, name, period), period)


def company_status(ctx: Context, member: str, period: int) -> str:
    """ "planned", "active", "closing" or "closed". Raises ContractError("unknown-period") for one that is none, or too
    far ahead.
    """
    now = slots.current(ctx)
    latest = budget_calendar.company_period_of(ctx, member, now) + budget_state.PERIODS_AHEAD
    if not 0 <= period <= latest:
        raise ContractError("unknown-period", f"period {period} is not between 0 and {latest}")
    first, end = budget_calendar.company_slots_of(ctx, member, period)
    if now < end:
        return budget_state.PLANNED if now < first else budget_state.ACTIVE
    is_closed = budget_closed.is_closed(ctx, COMPANY, member, period, end)
    return budget_state.CLOSED if is_closed else budget_state.CLOSING


def set_cap(ctx: Context, kind: str, name: str, period: int | None, amount: int | None) -> None:
    """At most ``amount`` is issued in a period, or in every period that has no cap of its own; None: no such cap.

    Raises ContractError: bad-amount, no-change, and as ``require_open`` does.
    """
    if period is None:
        require_holder(ctx, kind, name)
    else:
        require_open(ctx, kind, name, period)
    if amount is not None and not 0 <= amount <= MAX_AMOUNT:
        raise ContractError("bad-amount", "a cap is an integer from 0 to 2^63-1")
    key = _cap_key(kind, name, period)
    if ctx.get(key) == amount:
        raise ContractError("no-change", "this is the cap already")
    if amount is None:
        ctx.delete(key)
    else:
        ctx.put(key, amount)
    ctx.emit("cap-set", (name,), (kind, period, amount))


def caps_of(ctx: Context, kind: str, name: str, period: int) -> tuple[int | None, int | None]:
    """(the cap of ``period`` alone, the one of every period), in base units; None where there is none."""
    own, every = ctx.get(_cap_key(kind, name, period)), ctx.get(_cap_key(kind, name, None))
    return cast("int | None", own), cast("int | None", every)


def cap_of(ctx: Context, kind: str, name: str, period: int) -> int | None:
    """What caps the issue of ``period``; None if nothing does."""
    own, every = caps_of(ctx, kind, name, period)
    return every if own is None else own


def issued_to(ctx: Context, kind: str, name: str, period: int) -> int:
    """What was issued to a holder in ``period``, in base units."""
    book = accounts.network_book if kind == NETWORK else accounts.company_book
    return book(ctx, name, period).issued


def issue(ctx: Context, kind: str, name: str, period: int, amount: int, reference: bytes) -> int:
    """New tokens for a holder, under a reference not used there before. The total of the period.

    What a network owes is paid out of it first. Raises ContractError: bad-reference, duplicate-id, bad-amount,
    over-cap (details: the cap, what is issued), and as ``require_open`` does.
    """
    require_open(ctx, kind, name, period)
    require_reference(reference)
    key = _ISSUES + _holder(kind, name) + b"\0" + period.to_bytes(4, "big") + reference
    if ctx.get(key) is not None:
        raise ContractError("duplicate-id", "an issue with this reference has been made")
    issued, redeemed = accounts.supply(ctx)
    if not 0 < amount <= MAX_OUTSTANDING - (issued - redeemed):
        raise ContractError("bad-amount", f"at most {MAX_OUTSTANDING} base units are issued and not redeemed")
    cap, before = cap_of(ctx, kind, name, period), issued_to(ctx, kind, name, period)
    if cap is not None and before + amount > cap:
        raise ContractError("over-cap", f"{before} of {cap} are issued to {name} in period {period}", (cap, before))
    accounts.mint(ctx, account_of(kind, name, period), amount, "issue", reference)
    ctx.put(key, amount)
    if kind == NETWORK:
        budget_charge.pay_owed(ctx, name, period, reference)
    return before + amount


def publish_price(ctx: Context, permille: int, from_slot: int) -> None:
    """The redemption price from ``from_slot`` on, in place of what was published for it and later.

    Raises ContractError: bad-price, slot-begun (details: the first slot that has not begun), no-change, too-many.
    """
    if not 0 <= permille <= PAR_PERMILLE:
        raise ContractError("bad-price", f"a redemption price is 0 to {PAR_PERMILLE} thousandths of par")
    now = slots.current(ctx)
    if not now < from_slot <= accounts.MAX_SLOT:
        raise ContractError("slot-begun", f"a price holds from slot {now + 1} on at the earliest", (now + 1,))
    rows = prices(ctx)
    kept = tuple([row for row in rows if row[0] < from_slot])
    if kept == rows and price_at(ctx, from_slot) == permille:
        raise ContractError("no-change", "this is the price already")
    if len(kept) >= MAX_PRICES:
        raise ContractError("too-many", f"at most {MAX_PRICES} prices are published ahead")
    ctx.put(_PRICES, (*kept, (from_slot, permille)))
    ctx.emit("redemption-price", (), (permille, from_slot))


def prices(ctx: Context) -> tuple[tuple[int, int], ...]:
    """(from slot, permille), ascending: the price in force, if there has been one, and those to come."""
    rows = cast("tuple[tuple[int, int], ...]", ctx.get(_PRICES) or ())
    now = slots.current(ctx)
    begun = len([row for row in rows if row[0] <= now])
    return rows[max(0, begun - 1) :]


def price_at(ctx: Context, slot: int) -> int:
    """The redemption price of the slot under way or a later one, in thousandths of par; 0: nothing is redeemed."""
    price = 0
    for from_slot, permille in prices(ctx):
        if from_slot <= slot:
            price = permille
    return price


def redeem(
    ctx: Context, kind: str, name: str, period: int, amount: int, reference: bytes, least: int
) -> tuple[int, int, int]:
    """Burn tokens that a holder has not given on, at the price of the moment. (Number of the record, price, credit).

    Raises ContractError: bad-reference, duplicate-id, no-redemption, price-changed (details: the price, ``least``),
    bad-amount, in-arrears, insufficient-funds (details: what is there, ``amount``), and as ``require_open`` does.
    """
    require_open(ctx, kind, name, period)
    require_reference(reference)
    key = _REFERENCES + _holder(kind, name) + b"\0" + reference
    if ctx.get(key) is not None:
        raise ContractError("duplicate-id", "something was redeemed under this reference")
    permille = price_at(ctx, slots.current(ctx))
    if permille == 0:
        raise ContractError("no-redemption", "the utility has published no price at which it redeems")
    if permille < least:
        raise ContractError("price-changed", f"the price is {permille} permille, not {least}", (permille, least))
    _require_free(ctx, kind, name, period, amount)
    credit = amount * permille // PAR_PERMILLE
    if credit == 0:
        raise ContractError("bad-amount", "so little would be redeemed for nothing")
    number = _burn(ctx, Redemption(kind, name, period, amount, permille, credit, reference, ctx.time, ctx.tx_id))
    ctx.put(key, number)
    return number, permille, credit


def redeem_at_close(ctx: Context, network: str, period: int, amount: int, reference: bytes) -> int:
    """What is left in a pool when its period closes, at the price of the moment. The amount redeemed: 0, and nothing
    done, while the utility redeems nothing.

    The caller has paid what the network owes. Raises ContractError: bad-amount, insufficient-funds.
    """
    permille = price_at(ctx, slots.current(ctx))
    credit = amount * permille // PAR_PERMILLE
    if credit == 0:
        return 0
    _burn(ctx, Redemption(NETWORK, network, period, amount, permille, credit, reference, ctx.time, ctx.tx_id))
    return amount


def credit(ctx: Context, number: int, bill: bytes) -> None:
    """The utility has credited what was redeemed under ``number`` on ``bill``.

    Raises ContractError: bad-reference, unknown-redemption, already-credited.
    """
    require_reference(bill)
    found = redemption_of(ctx, number)
    if found.bill:
        raise ContractError("already-credited", f"redemption {number} is on a bill")
    ctx.put(_REDEMPTIONS + uint(number), tuple(found._replace(bill=bill, credited_at=ctx.time)))
    ctx.delete(_OPEN + uint(number))
    ctx.emit("redemption-credited", (found.name,), (number, bill))


def give_back(ctx: Context, kind: str, name: str, period: int, amount: int, reference: bytes) -> None:
    """Tokens that a holder has not given on go back to the utility for nothing.

    Raises ContractError: bad-reference, bad-amount, in-arrears, insufficient-funds (details as of ``redeem``), and as
    ``require_open`` does.
    """
    require_open(ctx, kind, name, period)
    require_reference(reference)
    _require_free(ctx, kind, name, period, amount)
    accounts.transfer(ctx, account_of(kind, name, period), UTILITY, amount, "return", reference)


def redemption_of(ctx: Context, number: int) -> Redemption:
    """The record ``number``. Raises ContractError("unknown-redemption")."""
    value = ctx.get(_REDEMPTIONS + uint(number)) if number >= 0 else None
    if value is None:
        raise ContractError("unknown-redemption", f"nothing was redeemed under number {number}")
    return Redemption(*cast("Redemption", value))


def redemptions_of(ctx: Context, kind: str, name: str, first: int, most: int) -> tuple[tuple[int, Redemption], ...]:
    """(number, record) of what a holder has redeemed, from its ``first`` on, oldest first; at most ``most``."""
    own = _REDEEMED + _holder(kind, name)
    end = min(cast("int | None", ctx.get(own)) or 0, first + most)
    numbers = [cast("int", ctx.get(own + b"\0" + uint(index))) for index in range(first, end)]
    return tuple([(number, redemption_of(ctx, number)) for number in numbers])


def open_redemptions(ctx: Context, first: int, most: int) -> tuple[tuple[int, Redemption], ...]:
    """(number, record) of what is not credited yet, from number ``first`` on, oldest first; at most ``most``."""
    after = _OPEN + uint(first - 1) if first > 0 else b""
    found = islice(ctx.scan(_OPEN, after=after), most)
    numbers = [int.from_bytes(key[len(_OPEN) :], "big") for key, _ in found]
    return tuple([(number, redemption_of(ctx, number)) for number in numbers])


def require_reference(reference: bytes) -> None:
    """Raises ContractError("bad-reference")."""
    if not 0 < len(reference) <= MAX_REFERENCE:
        raise ContractError("bad-reference", f"a reference is 1 to {MAX_REFERENCE} bytes")


def _require_free(ctx: Context, kind: str, name: str, period: int, amount: int) -> None:
    """The holder, and no network of a company, owes anything, and it has ``amount`` that it has not given on."""
    if not 0 < amount <= MAX_AMOUNT:
        raise ContractError("bad-amount", "an amount is an integer from 1 to 2^63-1")
    if kind == NETWORK:
        budget_charge.pay_owed(ctx, name, period, ctx.tx_id)
        if budget_state.debt_of(ctx, name):
            raise ContractError("in-arrears", f"{name} owes the utility")
    elif owing := budget_state.arrears_of(ctx, name):
        raise ContractError("in-arrears", f"{owing} networks of {name} owe the utility", (owing,))
    held = accounts.balance(ctx, account_of(kind, name, period))
    if held < amount:
        raise ContractError("insufficient-funds", f"{name} has {held}", (held, amount))


def _burn(ctx: Context, record: Redemption) -> int:
    accounts.burn(ctx, account_of(*record[:3]), record.amount, "redeem", record.reference)
    number = cast("int | None", ctx.get(_REDEMPTIONS)) or 0
    ctx.put(_REDEMPTIONS + uint(number), tuple(record))
    ctx.put(_REDEMPTIONS, number + 1)
    ctx.put(_OPEN + uint(number), True)
    own = _REDEEMED + _holder(record.kind, record.name)
    index = cast("int | None", ctx.get(own)) or 0
    ctx.put(own + b"\0" + uint(index), number)
    ctx.put(own, index + 1)
    keys = (record.name,)
    ctx.emit("redeemed", keys, (number, record.kind, record.period, record.amount, record.permille, record.credit))
    return number


def _holder(kind: str, name: str) -> bytes:
    return kind.encode() + b"\0" + name.encode()


def _cap_key(kind: str, name: str, period: int | None) -> bytes:
    return _CAPS + _holder(kind, name) + b"\0" + (b"" if period is None else period.to_bytes(4, "big"))
