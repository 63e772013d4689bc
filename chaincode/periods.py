"""Billing periods: whose calendar says what, planning another one, and how far the closing of a period is.

By default a network's periods are its company's, and those the consortium's (``budget_calendar``). The owner may plan
a calendar for a network, the member one for all its networks that have none of their own: from a slot on, periods of
the lengths given, the last length for ever. What has begun, or holds money, is never moved:

- the calendar changes where a period of the present one begins ("period-overlaps");
- that slot has not opened for trade, and begins more than a day and ``open_before_s`` from now ("period-begun");
- no network concerned has, or ever had, money in that period or a later one ("period-in-use"); forecasts do not count;
- a period is a day to 92 days long, or as short as the consortium's if that is less, and at most 100 of the
  consortium's ("bad-length"), so that a bill of it can name the rent of each of them.

Genesis settings, both optional: ``companies``, ``networks``: arrays ``[member or network, first slot, length]``,
calendars that are there from the beginning; several rows of one owner go on from one another.

What becomes of a period's money at its end is in ``budget_close``. State: that of ``budget_calendar``.
"""

from itertools import count
from typing import Final, cast

from chaincode import (
    account_books,
    budget_calendar,
    budget_close,
    budget_closed,
    budget_lots,
    budget_state,
    budget_supply,
    identity,
    market_products,
    roles,
    settlement_rent,
    slots,
)
from chaincode.arguments import CompanyPeriod, NetworkPeriod
from chaincode.contract import Context, Contract, ContractError, Value, query, transaction
from chaincode.subjects import BUDGET, REGISTRY, a_company, a_network

MAX_DAYS: Final = 92
MAX_COMMON_PERIODS: Final = 100
"""A period is at most so many periods of the consortium long."""
MAX_LENGTHS: Final = 36
"""Periods of different lengths that one call may plan: three years of months."""
DAY_S: Final = market_products.DAY_S
_COMPANIES: Final = "companies"
_GENESIS: Final = (_COMPANIES, "networks")
_PAGE: Final = 500


class Periods(Contract):
    """Planning calendars of billing periods, and asking about periods."""

    name = "periods"
    results = BUDGET
    indexed = (budget_close.DUE, budget_close.QUEUE)

    def genesis(self, ctx: Context, settings: dict[str, Value]) -> None:
        unknown = [name for name in settings if name not in _GENESIS]
        if unknown:
            raise ContractError("bad-settings", f"periods has no setting {min(unknown)!r}")
        for name in _GENESIS:
            for row in cast("tuple[Value, ...]", settings.get(name, ())):
                match row:
                    case (str(owner), int(first_slot), int(length)):
                        _plan_at_genesis(ctx, name, owner, first_slot, length)
                    case _:
                        raise ContractError("bad-settings", f"periods: each of {name} is [id, first slot, length]")

    @transaction
    def plan(self, ctx: Context, *, network: str, first_slot: int, lengths: tuple[int, ...]) -> Value:
        """From ``first_slot`` on the periods of ``network`` are ``lengths`` slots long, one after the other, then all
        as long as the last. Owner only. Returns the number of the first.

        From now on the network does not follow its company's calendar any more. Raises ContractError:
        unknown-network, wrong-key, bad-length, unknown-period, period-overlaps, period-begun, period-in-use, too-many.
        """
        identity.require_owner(ctx, network)
        present = budget_calendar.scope_of(ctx, network)
        number = _check(ctx, present, first_slot, lengths)
        _require_unused(ctx, "pool", network, number)
        _plan(ctx, budget_calendar.network_scope(network), present, first_slot, lengths)
        ctx.emit("period-planned", (network,), (number, first_slot, lengths))
        return number

    @transaction
    def plan_company(self, ctx: Context, *, member: str, first_slot: int, lengths: tuple[int, ...]) -> Value:
        """``plan`` for the company ``member`` and all its networks without a calendar of their own. By its key.

        Raises ContractError: unknown-member, wrong-key, bad-length, unknown-period, period-overlaps, period-begun,
        period-in-use, too-many.
        """
        identity.require_member(ctx, member)
        scope = budget_calendar.company_scope(member)
        present = scope if budget_calendar.is_made(ctx, scope) else b""
        number = _check(ctx, present, first_slot, lengths)
        _require_unused(ctx, "company", member, number)
        for first in count(0, _PAGE):
            networks = identity.networks_of_member(ctx, member, first, _PAGE)
            for network in networks:
                if not budget_calendar.is_made(ctx, budget_calendar.network_scope(network)):
                    _require_unused(ctx, "pool", network, number)
            if len(networks) < _PAGE:
                break
        _plan(ctx, scope, present, first_slot, lengths)
        ctx.emit("period-planned", (member,), (number, first_slot, lengths))
        return number

    @query(of=a_network(REGISTRY))
    def calendar(self, ctx: Context, *, network: str) -> Value:
        """(whose calendar the network has: "network", "company" or "consortium", the stretches from the one under way
        on, or a little earlier: (number of its first period, its first slot, slots of a period), ...).

        Raises ContractError("unknown-network").
        """
        scope = budget_calendar.scope_of(ctx, network)
        whose = scope.partition(b"\0")[0].decode() or "consortium"
        return whose, tuple([tuple(stretch) for stretch in budget_calendar.stretches_of(ctx, scope)])

    @query(of=a_company(REGISTRY))
    def company_calendar(self, ctx: Context, *, member: str) -> Value:
        """The same of a company: "company" or "consortium". Raises ContractError("unknown-member")."""
        roles.member_of(ctx, member)
        scope = budget_calendar.company_scope(member)
        if not budget_calendar.is_made(ctx, scope):
            scope = b""
        stretches = budget_calendar.stretches_of(ctx, scope)
        return "company" if scope else "consortium", tuple([tuple(stretch) for stretch in stretches])

    @query(of=a_network(REGISTRY))
    def period(self, ctx: Context, *, network: str, period: NetworkPeriod) -> Value:
        """(status, first slot, first slot of the next, when it begins, when it ends, slots that are not over, closing).

        Status: "planned", "active", "closing" or "closed". Times in s since the epoch. A slot is over when it is FINAL,
        was never opened, or stands still for good; before all are, nothing is closed. Closing: the fields of
        ``budget_closed.Closing``, None before. Raises ContractError: unknown-network, unknown-period.
        """
        status = budget_state.status_of(ctx, network, period)
        extent = _extent(ctx, *budget_calendar.slots_of(ctx, network, period))
        return (status, *extent, _closing(ctx, "pool", network, period))

    @query(of=a_company(REGISTRY))
    def company_period(self, ctx: Context, *, member: str, period: CompanyPeriod) -> Value:
        """The same of a company. Raises ContractError: unknown-member, unknown-period."""
        roles.member_of(ctx, member)
        status = budget_supply.company_status(ctx, member, period)
        extent = _extent(ctx, *budget_calendar.company_slots_of(ctx, member, period))
        return (status, *extent, _closing(ctx, "company", member, period))

    @query(of=a_network(BUDGET))
    def lots(self, ctx: Context, *, network: str, period: NetworkPeriod) -> Value:
        """What was carried into a period that is not closed: (the period in which it was fresh, how often it has been
        carried, amount), oldest first. Raises ContractError: unknown-network, unknown-period.
        """
        budget_state.require_period(ctx, network, period)
        return tuple([tuple(lot) for lot in budget_lots.lots_of(ctx, network, period)])


def _extent(ctx: Context, first: int, end: int) -> tuple[int, int, int, int, int]:
    """(first slot, end slot, when each begins, slots that are not over)."""
    over = settlement_rent.first_not_over(ctx) or 0
    return first, end, slots.starts_at(ctx, first), slots.starts_at(ctx, end), max(0, end - max(first, over))


def _closing(ctx: Context, kind: str, owner: str, period: int) -> Value:
    found = budget_closed.closing_of(ctx, kind, owner, period)
    return None if found is None else tuple(found)


def _plan_at_genesis(ctx: Context, name: str, owner: str, first_slot: int, length: int) -> None:
    """A calendar that is there from the beginning: nothing has begun, and nothing is in use."""
    if name == _COMPANIES:
        roles.member_of(ctx, owner)
        scope = budget_calendar.company_scope(owner)
        present = scope if budget_calendar.is_made(ctx, scope) else b""
    else:
        scope, present = budget_calendar.network_scope(owner), budget_calendar.scope_of(ctx, owner)
    _check_lengths(ctx, (length,))
    _check_boundary(ctx, present, first_slot)
    _plan(ctx, scope, present, first_slot, (length,))


def _check(ctx: Context, present: bytes, first_slot: int, lengths: tuple[int, ...]) -> int:
    """Whether the calendar of ``present`` may change so; the number of the period that begins there."""
    _check_lengths(ctx, lengths)
    number = _check_boundary(ctx, present, first_slot)
    latest = budget_calendar.scope_period(ctx, present, slots.current(ctx)) + budget_state.PERIODS_AHEAD
    if number > latest:
        raise ContractError("unknown-period", f"period {number} is later than {latest}")
    earliest = ctx.time + DAY_S + market_products.settings_of(ctx).open_before_s
    opened = market_products.next_to_open(ctx) or 0
    if slots.starts_at(ctx, first_slot) < earliest or first_slot < opened:
        raise ContractError("period-begun", f"a period that is planned begins at {earliest} or later", (earliest,))
    return number


def _check_boundary(ctx: Context, present: bytes, first_slot: int) -> int:
    """The number of the period that begins at ``first_slot``."""
    if not 0 <= first_slot <= market_products.MAX_SLOT:
        raise ContractError("unknown-period", f"a slot is 0 to {market_products.MAX_SLOT}")
    number = budget_calendar.scope_period(ctx, present, first_slot)
    first, end = budget_calendar.scope_slots(ctx, present, number)
    if first != first_slot:
        raise ContractError("period-overlaps", f"period {number} goes from slot {first} to {end - 1}", (first, end))
    return number


def _check_lengths(ctx: Context, lengths: tuple[int, ...]) -> None:
    day = DAY_S // slots.seconds(ctx)
    first, end = budget_calendar.common_slots(ctx, 0)
    least, most = min(day, end - first), min(MAX_DAYS * day, MAX_COMMON_PERIODS * (end - first))
    if not 0 < len(lengths) <= MAX_LENGTHS:
        raise ContractError("bad-length", f"1 to {MAX_LENGTHS} lengths of periods")
    if not all(least <= length <= most for length in lengths):
        raise ContractError("bad-length", f"a period is {least} to {most} slots long", (least, most))


def _require_unused(ctx: Context, kind: str, owner: str, number: int) -> None:
    latest = account_books.latest_period(ctx, kind, owner)
    if latest >= number:
        raise ContractError("period-in-use", f"{owner} has money in period {latest}", (latest,))


def _plan(ctx: Context, scope: bytes, present: bytes, first_slot: int, lengths: tuple[int, ...]) -> None:
    budget_calendar.extend(ctx, scope, present, first_slot, lengths)
    if scope != present:
        over = settlement_rent.first_not_over(ctx)
        budget_close.note_calendar(ctx, scope, slots.current(ctx) if over is None else over)
