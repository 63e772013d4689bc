"""Calendars of billing periods: which slots of a network make up which period.

A *calendar* cuts time into periods without gaps, numbered from 0. It is a list of stretches (number, first slot,
length): from ``first slot`` on, beginning with period ``number``, periods are ``length`` slots long, until the next
stretch begins. The last one goes on for ever.

A network has a calendar of its own, or else its company's (the member that it belongs to), or else the consortium's:
one stretch, ``period_slots`` of the genesis settings from slot 0. What the whole consortium shares, such as congestion
rent, is counted by the consortium's periods (``common_period``).

State: ``bud-length/`` -> slots of a period of the consortium; ``bud-calendar/`` scope -> stretches.
"""

from bisect import bisect_right
from typing import Final, NamedTuple, cast

from chaincode import accounts, identity
from chaincode.contract import Context, ContractError

_LENGTH: Final = b"bud-length/"
_CALENDARS: Final = b"bud-calendar/"


class Stretch(NamedTuple):
    """From slot ``first`` on, beginning with period ``number``, periods are ``length`` slots long."""

    number: int
    first: int
    length: int


def configure(ctx: Context, period_slots: int) -> None:
    """Set the consortium's calendar, at genesis."""
    ctx.put(_LENGTH, period_slots)


def common_period(ctx: Context, slot: int) -> int:
    """The consortium's period in which ``slot`` lies. Raises ContractError("unknown-period")."""
    return _checked(slot // _length(ctx), slot)


def common_slots(ctx: Context, period: int) -> tuple[int, int]:
    """(first slot of a period of the consortium, first slot of the next)."""
    length = _length(ctx)
    return period * length, (period + 1) * length


def period_of(ctx: Context, network: str, slot: int) -> int:
    """The period of ``network`` in which ``slot`` lies. Raises ContractError: unknown-network, unknown-period."""
    return _period_in(ctx, stretches_of(ctx, network), slot)


def slots_of(ctx: Context, network: str, period: int) -> tuple[int, int]:
    """(first slot of a network's period, first slot of the next). Raises ContractError("unknown-network")."""
    return _slots_in(ctx, stretches_of(ctx, network), period)


def company_period_of(ctx: Context, member: str, slot: int) -> int:
    """The period of the company ``member`` in which ``slot`` lies. Raises ContractError("unknown-period")."""
    return _period_in(ctx, scope_calendar(ctx, company_scope(member)), slot)


def company_slots_of(ctx: Context, member: str, period: int) -> tuple[int, int]:
    """(first slot of a company's period, first slot of the next)."""
    return _slots_in(ctx, scope_calendar(ctx, company_scope(member)), period)


def stretches_of(ctx: Context, network: str) -> tuple[Stretch, ...] | None:
    """The calendar of a network, its own or its company's; None if it has the consortium's.

    Raises ContractError("unknown-network").
    """
    found = scope_calendar(ctx, network_scope(network))
    if found is not None:
        return found
    return scope_calendar(ctx, company_scope(identity.network_of(ctx, network).member))


def network_scope(network: str) -> bytes:
    """The key of a network's own calendar."""
    return b"network\0" + network.encode()


def company_scope(member: str) -> bytes:
    """The key of a company's calendar."""
    return b"company\0" + member.encode()


def scope_calendar(ctx: Context, scope: bytes) -> tuple[Stretch, ...] | None:
    """The calendar that was made for ``scope``; None if there is none."""
    raw = ctx.get(_CALENDARS + scope)
    return None if raw is None else tuple([Stretch(*row) for row in cast("tuple[tuple[int, int, int], ...]", raw)])


def put_calendar(ctx: Context, scope: bytes, stretches: tuple[Stretch, ...]) -> None:
    """Give ``scope`` a calendar."""
    ctx.put(_CALENDARS + scope, tuple([tuple(stretch) for stretch in stretches]))


def _period_in(ctx: Context, stretches: tuple[Stretch, ...] | None, slot: int) -> int:
    if stretches is None:
        return common_period(ctx, slot)
    number, first, length = stretches[max(0, bisect_right(stretches, slot, key=_first) - 1)]
    return _checked(number + (slot - first) // length, slot)


def _slots_in(ctx: Context, stretches: tuple[Stretch, ...] | None, period: int) -> tuple[int, int]:
    if stretches is None:
        return common_slots(ctx, period)
    number, first, length = stretches[max(0, bisect_right(stretches, period, key=_number) - 1)]
    starts = first + (period - number) * length
    return starts, starts + length


def _first(stretch: Stretch) -> int:
    return stretch.first


def _number(stretch: Stretch) -> int:
    return stretch.number


def _checked(period: int, slot: int) -> int:
    if not 0 <= period <= accounts.MAX_PERIOD:
        raise ContractError("unknown-period", f"slot {slot} lies in no period")
    return period


def _length(ctx: Context) -> int:
    value = ctx.get(_LENGTH)
    if not isinstance(value, int):
        raise ContractError("not-configured", "the genesis settings have no budget")
    return value
