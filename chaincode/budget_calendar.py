"""Calendars of billing periods: which slots of a network make up which period.

A *calendar* cuts time into periods without gaps, numbered from 0. It is a list of stretches (number, first slot,
length): from ``first slot`` on, beginning with period ``number``, periods are ``length`` slots long, until the next
stretch begins. The first stretch begins with period 0 at slot 0, the last one goes on for ever.

A network has a calendar of its own, or else its company's (the member that it belongs to), or else the consortium's:
one stretch, ``period_slots`` of the genesis settings from slot 0. What the whole consortium shares, such as congestion
rent, is counted by the consortium's periods (``common_period``). ``periods`` says who may plan a calendar, and when.

Every order asks for its period, so what it reads is short: stretches that are over are put aside, one by one under
their number, and are found there by halving.

State: ``bud-length/`` -> slots of a period of the consortium; ``bud-calendar/`` scope -> (how many stretches are put
aside, the others, oldest first); ``bud-calendar/`` scope NUL index(4) -> a stretch that was put aside.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias, cast

from chaincode import accounts, identity, slots
from chaincode.contract import Context, ContractError

MAX_STRETCHES: Final = 64
"""Of one calendar, from the one under way on."""

_LENGTH: Final = b"bud-length/"
_CALENDARS: Final = b"bud-calendar/"

Row: TypeAlias = tuple[int, int, int]


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
    return _period_in(ctx, scope_of(ctx, network), slot)


def slots_of(ctx: Context, network: str, period: int) -> tuple[int, int]:
    """(first slot of a network's period, first slot of the next). Raises ContractError("unknown-network")."""
    return _slots_in(ctx, scope_of(ctx, network), period)


def company_period_of(ctx: Context, member: str, slot: int) -> int:
    """The period of the company ``member`` in which ``slot`` lies. Raises ContractError("unknown-period")."""
    return _period_in(ctx, _made(ctx, company_scope(member)), slot)


def company_slots_of(ctx: Context, member: str, period: int) -> tuple[int, int]:
    """(first slot of a company's period, first slot of the next)."""
    return _slots_in(ctx, _made(ctx, company_scope(member)), period)


def scope_of(ctx: Context, network: str) -> bytes:
    """Whose calendar a network has: its own scope, its company's, or, empty, the consortium's.

    Raises ContractError("unknown-network").
    """
    return _made(ctx, network_scope(network)) or _made(ctx, company_scope(identity.network_of(ctx, network).member))


def network_scope(network: str) -> bytes:
    """The key of a network's own calendar."""
    return b"network\0" + network.encode()


def company_scope(member: str) -> bytes:
    """The key of a company's calendar."""
    return b"company\0" + member.encode()


def is_made(ctx: Context, scope: bytes) -> bool:
    """Whether a calendar was planned for ``scope``."""
    return bool(_made(ctx, scope))


def scope_period(ctx: Context, scope: bytes, slot: int) -> int:
    """The period of the calendar of ``scope`` (empty: the consortium's) in which ``slot`` lies."""
    return _period_in(ctx, scope, slot)


def scope_slots(ctx: Context, scope: bytes, period: int) -> tuple[int, int]:
    """(first slot of a period of that calendar, first slot of the next)."""
    return _slots_in(ctx, scope, period)


def stretches_of(ctx: Context, scope: bytes) -> tuple[Stretch, ...]:
    """The calendar of ``scope`` (empty: the consortium's) from the stretch under way on, or a little earlier."""
    if not scope:
        return (Stretch(0, 0, _length(ctx)),)
    _, rows = _read(ctx, scope)
    return tuple([Stretch(*row) for row in rows])


def extend(ctx: Context, scope: bytes, present: bytes, first: int, lengths: Sequence[int]) -> None:
    """Let the calendar of ``scope`` be that of ``present`` until slot ``first``, which begins a period of it, and go on
    with periods of ``lengths`` slots, the last of them for ever. Raises ContractError("too-many").
    """
    number = _period_in(ctx, present, first)
    aside, rows = _copied(ctx, present, scope)
    rows = [row for row in rows if row[1] < first]
    for length in lengths:
        if not rows or rows[-1][2] != length:
            rows.append((number, first, length))
        number, first = number + 1, first + length
    now = slots.current(ctx)
    while len(rows) > 1 and rows[1][1] <= now:
        ctx.put(_aside(scope, aside), rows.pop(0))
        aside += 1
    if len(rows) > MAX_STRETCHES:
        raise ContractError("too-many", f"a calendar has at most {MAX_STRETCHES} stretches from now on")
    ctx.put(_CALENDARS + scope, (aside, tuple(rows)))


def _copied(ctx: Context, present: bytes, scope: bytes) -> tuple[int, list[Row]]:
    """(how many stretches are put aside, the others) of the calendar that ``scope`` has so far."""
    if not present:
        return 0, [(0, 0, _length(ctx))]
    aside, rows = _read(ctx, present)
    if present != scope:
        for index in range(aside):
            ctx.put(_aside(scope, index), ctx.get(_aside(present, index)))
    return aside, list(rows)


def _made(ctx: Context, scope: bytes) -> bytes:
    """``scope`` if it has a calendar, else empty."""
    return scope if ctx.get(_CALENDARS + scope) is not None else b""


def _read(ctx: Context, scope: bytes) -> tuple[int, tuple[Row, ...]]:
    return cast("tuple[int, tuple[Row, ...]]", ctx.get(_CALENDARS + scope))


def _period_in(ctx: Context, scope: bytes, slot: int) -> int:
    if not scope:
        return common_period(ctx, slot)
    number, first, length = _stretch_at(ctx, scope, slot, _first)
    return _checked(number + (slot - first) // length, slot)


def _slots_in(ctx: Context, scope: bytes, period: int) -> tuple[int, int]:
    if not scope:
        return common_slots(ctx, period)
    number, first, length = _stretch_at(ctx, scope, period, _number)
    starts = first + (period - number) * length
    return starts, starts + length


def _stretch_at(ctx: Context, scope: bytes, place: int, by: Callable[[Row], int]) -> Row:
    """The last stretch that begins at or before ``place``, a slot or a number; the first one, if none does."""
    aside, rows = _read(ctx, scope)
    found = bisect_right(rows, place, key=by)
    if found or not aside:
        return rows[max(0, found - 1)]
    low, high = 0, aside  # among those put aside: from ``low`` on, before ``high``
    while high - low > 1:
        middle = (low + high) // 2
        if by(_put_aside(ctx, scope, middle)) <= place:
            low = middle
        else:
            high = middle
    return _put_aside(ctx, scope, low)


def _put_aside(ctx: Context, scope: bytes, index: int) -> Row:
    return cast("Row", ctx.get(_aside(scope, index)))


def _aside(scope: bytes, index: int) -> bytes:
    return _CALENDARS + scope + b"\0" + index.to_bytes(4, "big")


def _first(row: Row) -> int:
    return row[1]


def _number(row: Row) -> int:
    return row[0]


def _checked(period: int, slot: int) -> int:
    if not 0 <= period <= accounts.MAX_PERIOD:
        raise ContractError("unknown-period", f"slot {slot} lies in no period")
    return period


def _length(ctx: Context) -> int:
    value = ctx.get(_LENGTH)
    if not isinstance(value, int):
        raise ContractError("not-configured", "the genesis settings have no budget")
    return value
