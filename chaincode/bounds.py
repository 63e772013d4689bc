"""How far the arguments of ``arguments.py`` go, by the state as it is."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from chaincode import account_books, agreement_book, budget_calendar, budget_state, identity_records, roles, slots
from chaincode import arguments as of
from chaincode import market_products as products
from chaincode.budget_supply import COMPANY
from chaincode.contract import Context, ContractError

Bound: TypeAlias = Callable[[Context, Mapping[str, Any], Any], None]
"""(context, all arguments, the one that is bounded): raises ContractError if there can be nothing of it."""


def _slot(ctx: Context, args: Mapping[str, Any], slot: int) -> None:
    if products.opened_within(ctx, slot, slot + 1) != range(slot, slot + 1):
        raise ContractError("no-product", f"slot {slot} is not open yet, or older than the chain")


def _network_period(ctx: Context, args: Mapping[str, Any], period: int) -> None:
    _of_network(ctx, args["network"], period)


def _device_period(ctx: Context, args: Mapping[str, Any], period: int) -> None:
    _of_network(ctx, identity_records.device_of(ctx, args["device"]).network, period)


def _company_period(ctx: Context, args: Mapping[str, Any], period: int) -> None:
    _of_company(ctx, args["member"], period)


def _holder_period(ctx: Context, args: Mapping[str, Any], period: int) -> None:
    check = _of_company if args["kind"] == COMPANY else _of_network
    check(ctx, args["name"], period)


def _giver_period(ctx: Context, args: Mapping[str, Any], period: int) -> None:
    _of_network(ctx, agreement_book.agreement_of(ctx, args["agreement"]).giver, period)


def _common_period(ctx: Context, args: Mapping[str, Any], period: int) -> None:
    _require(ctx, lambda slot: budget_calendar.common_period(ctx, slot), period)


def _account(ctx: Context, args: Mapping[str, Any], account: str) -> None:
    kind, owner, number = account_books.parse(account)
    if kind == "escrow":
        _slot(ctx, args, number)
    elif kind == "company":
        _of_company(ctx, owner, number)
    elif kind == "pool":
        _of_network(ctx, owner, number)
    elif kind in account_books.INSIDE:
        _of_network(ctx, identity_records.device_of(ctx, owner).network, number)


BOUNDS: Final[Mapping[str, Bound]] = {
    of.SLOT: _slot,
    of.NETWORK_PERIOD: _network_period,
    of.DEVICE_PERIOD: _device_period,
    of.COMPANY_PERIOD: _company_period,
    of.HOLDER_PERIOD: _holder_period,
    of.GIVER_PERIOD: _giver_period,
    of.COMMON_PERIOD: _common_period,
    of.ACCOUNT: _account,
}
"""By what stands in the annotation."""


def _of_network(ctx: Context, network: str, period: int) -> None:
    _require(ctx, lambda slot: budget_calendar.period_of(ctx, network, slot), period)


def _of_company(ctx: Context, member: str, period: int) -> None:
    roles.member_of(ctx, member)
    _require(ctx, lambda slot: budget_calendar.company_period_of(ctx, member, slot), period)


def _require(ctx: Context, period_of: Callable[[int], int], period: int) -> None:
    """``period`` is one that began after the chain, or with it, and is not too far ahead."""
    span = products.span(ctx)
    first = 0 if span is None else period_of(span[0])
    latest = period_of(slots.current(ctx)) + budget_state.PERIODS_AHEAD
    if not first <= period <= latest:
        raise ContractError("unknown-period", f"period {period} is not between {first} and {latest}")
