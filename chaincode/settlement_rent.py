"""Rent goes back to those who used the lines, so that nobody earns by keeping a line short.

Where a line is full, buyers pay more than sellers receive and tolls cost. That *rent* waits in the congestion account.
When nothing of a billing period's slots can change any more, its rent is divided among the networks in proportion to
the tolls that they paid in it (largest remainder, then id), each part into the network's pool of the period then
running, debts first. If nobody paid tolls the rent counts as the next period's.

Tolls count for energy that stayed where it was bought (``settlement_lines.lasting_tolls``). Else two buses of one owner
could trade with each other to and fro over a cheap line, deliver nothing, and take the rent of others for the tolls.

*Over* is a period when each of its slots is FINAL, was never opened, or stands still because the calendar has struck
it out: what such a slot still pays when it is released counts for the first period that is not over by then.

The work is bounded: in its first pass over the networks that paid tolls the calendar writes down everyone's whole part
and remainder, in order of remainder; in the second each is paid, the first ones a base unit more.

State: table ``rent/``: the empty key -> the first slot that was not over when last looked at; table ``rent-period/``:
period(4) -> Rent; table ``rent-toll/``: period(4) network -> tolls, until they are divided by; table ``rent-part/``:
period(4) how far from the largest remainder(8) network -> whole part, until it is paid.
"""

from itertools import islice
from typing import Final, NamedTuple, TypeAlias, cast

from chaincode import (
    accounts,
    budget,
    budget_charge,
    budget_close,
    market_calendar,
    market_products,
    settlement_ledger,
    settlement_parking,
    slots,
)
from chaincode.contract import Context, Value
from chaincode.keys import uint
from chaincode.market_calendar import MARKET, RENT, SETTLEMENT, Entry
from chaincode.settlement_parking import Unit

COLLECTING: Final = "collecting"
RETURNING: Final = "returning"
RETURNED: Final = "returned"
CARRIED: Final = "carried"

SLOTS_LOOKED_AT: Final = 100
"""In one block at most: an entry of the calendar each, if they are over."""
PAGE_ROWS: Final = 200
"""Networks divided among or paid in one block's turn."""

_NEXT: Final = b"rent/"
_PERIODS: Final = b"rent-period/"
_TOLLS: Final = b"rent-toll/"
_PARTS: Final = b"rent-part/"


Page: TypeAlias = "list[tuple[bytes, Value]]"


class Rent(NamedTuple):
    """Of a billing period, in base units: ``rent`` to return, of which ``carried`` comes from the period before;
    ``tolls`` that count; ``returned`` so far; ``state``: of COLLECTING, RETURNING, RETURNED, or CARRIED to the next.
    """

    rent: int = 0
    carried: int = 0
    tolls: int = 0
    returned: int = 0
    state: str = COLLECTING


def rent_of(ctx: Context, period: int) -> Rent:
    """What is known of a period's rent."""
    raw = ctx.get(_PERIODS + uint(period, 4))
    return Rent() if raw is None else Rent(*cast("Rent", raw))


def periods_within(ctx: Context, first: int, end: int) -> range:
    """The consortium's periods whose last slot lies from ``first`` on and before ``end``: whose rent is in a bill of
    these slots.
    """
    length = budget.common_slots(ctx, 0)[1]
    return range(first // length, end // length)


def note_rent(ctx: Context, slot: int, period: int, amount: int) -> None:
    """``amount`` of rent has come into the congestion account for ``slot``."""
    period = _counting(ctx, slot, period)
    if amount:
        of = rent_of(ctx, period)
        _put(ctx, period, of._replace(rent=of.rent + amount))


def note_tolls(ctx: Context, network: str, slot: int, period: int, amount: int) -> None:
    """``network`` paid ``amount`` of tolls in ``slot`` that count."""
    period = _counting(ctx, slot, period)
    if amount:
        of = rent_of(ctx, period)
        _put(ctx, period, of._replace(tolls=of.tolls + amount))
        key = _TOLLS + uint(period, 4) + network.encode()
        ctx.put(key, (cast("int | None", ctx.get(key)) or 0) + amount)
        settlement_ledger.note_counted(ctx, network, period, amount)


def first_not_over(ctx: Context) -> int | None:
    """The first slot that is not over, as far as was looked; None before any was settled."""
    return cast("int | None", ctx.get(_NEXT))


def look(ctx: Context) -> None:
    """A slot has become FINAL: see which slots are over by now, let the rent of each period that is be returned, and
    the periods of networks that are be closed.
    """
    slot = first_not_over(ctx)
    if slot is None:
        return
    for _ in range(SLOTS_LOOKED_AT):
        if not _is_over(ctx, slot):
            break
        slot += 1
        ctx.put(_NEXT, slot)
        if budget.common_period(ctx, slot) != budget.common_period(ctx, slot - 1):
            _begin(ctx, budget.common_period(ctx, slot - 1), slot - 1)
            budget_close.note_end(ctx, slot, b"")
    budget_close.look(ctx, slot)


def go_on(ctx: Context, entry: Entry) -> int:
    """Divide and pay a period's rent, a page of networks; ``entry.slot``: the period's last. The work."""
    period = budget.common_period(ctx, entry.slot)
    of = rent_of(ctx, period)
    paying, left = cast("tuple[bool, int]", entry.cursor)
    page = list(islice(ctx.scan((_PARTS if paying else _TOLLS) + uint(period, 4)), PAGE_ROWS))
    if page:
        left = _pay(ctx, period, entry.slot, left, page) if paying else _divide(ctx, period, of, left, page)
        market_calendar.put(ctx, SETTLEMENT, entry._replace(cursor=(paying, left)))
    elif not paying:
        market_calendar.put(ctx, SETTLEMENT, entry._replace(cursor=(True, left)))
    else:
        assert left == 0, "rent that nobody gets"
        market_calendar.remove(ctx, SETTLEMENT, entry.time, RENT, entry.slot)
        _put(ctx, period, of._replace(state=RETURNED))
        ctx.emit("rent-returned", (), (period, of.rent, of.returned))
    return len(page)


def pay(ctx: Context, network: str, period: int, amount: int) -> None:
    """Pay a network its part of the rent of ``period``: into its pool of the period that runs, debts first."""
    running = budget.period_of(ctx, network, slots.current(ctx))
    reference = b"rent " + uint(period, 4)
    accounts.transfer(ctx, accounts.CONGESTION, f"pool:{network}:{running}", amount, "rent", reference)
    budget_charge.pay_owed(ctx, network, running, reference)
    settlement_ledger.note_rent(ctx, network, period, amount)
    of = rent_of(ctx, period)
    _put(ctx, period, of._replace(returned=of.returned + amount))
    ctx.emit("rent", (network,), (period, amount, running))


def _counting(ctx: Context, slot: int, period: int) -> int:
    """The period that what is paid now for ``slot`` counts for: its own, or the first that is not over."""
    next_slot = first_not_over(ctx)
    if next_slot is None:
        ctx.put(_NEXT, slot)
        return period
    return max(period, budget.common_period(ctx, next_slot))


def _is_over(ctx: Context, slot: int) -> bool:
    """Whether ``slot`` is FINAL or was left out; or both calendars have passed its end without making it FINAL."""
    if slot >= (market_products.next_to_open(ctx) or 0):
        return False
    found: list[bool] = []
    failure = ctx.attempt(lambda: found.append(_has_ended(ctx, slot)))
    return found[0] if failure is None else True  # its record cannot even be read


def _has_ended(ctx: Context, slot: int) -> bool:
    product = market_products.find(ctx, slot)
    if product is None or product.state == market_products.FINAL:
        return True
    due = [market_calendar.first(ctx, table) for table in (MARKET, SETTLEMENT)]
    return all(entry is None or entry.time > product.final_at for entry in due)


def _begin(ctx: Context, period: int, last_slot: int) -> None:
    """A period is over: from now on nothing counts for it."""
    of = rent_of(ctx, period)
    if of.tolls:
        _put(ctx, period, of._replace(state=RETURNING))
        market_calendar.put(ctx, SETTLEMENT, Entry(ctx.time, RENT, last_slot, (False, of.rent)))
    elif of.rent:
        _put(ctx, period, of._replace(state=CARRIED))
        to = rent_of(ctx, period + 1)
        _put(ctx, period + 1, to._replace(rent=to.rent + of.rent, carried=to.carried + of.rent))
    else:
        _put(ctx, period, of._replace(state=RETURNED))


def _divide(ctx: Context, period: int, of: Rent, left: int, page: Page) -> int:
    """Write down the whole parts of a page of networks, in order of their remainders; what is left of the rent."""
    for key, tolls in page:
        network = key[len(_TOLLS) + 4 :]
        part, remainder = divmod(of.rent * cast("int", tolls), of.tolls)
        ctx.put(_PARTS + uint(period, 4) + uint(of.tolls - remainder) + network, part)
        ctx.delete(key)
        left -= part
    return left


def _pay(ctx: Context, period: int, last_slot: int, left: int, page: Page) -> int:
    """Pay a page of networks, each by itself, and one base unit more as long as some are left; how many are then."""
    for key, part in page:
        extra = min(left, 1)
        left -= extra
        ctx.delete(key)
        _pay_apart(ctx, key[len(_PARTS) + 12 :].decode(), period, last_slot, cast("int", part) + extra)
    return left


def _pay_apart(ctx: Context, network: str, period: int, last_slot: int, amount: int) -> None:
    if not amount:
        return
    failure = ctx.attempt(lambda: pay(ctx, network, period, amount))
    if failure is not None:
        settlement_parking.park(ctx, Unit(settlement_parking.RENT, network, last_slot, (period, amount)), failure)


def _put(ctx: Context, period: int, of: Rent) -> None:
    ctx.put(_PERIODS + uint(period, 4), tuple(of))
