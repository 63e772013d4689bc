"""Which billing periods of a network are closed, and what became of their money.

A period is *closing* from its end. When all its slots are over nothing more is settled into it: from then on what is
still paid or earned for one of its slots counts for the period that runs (``booking_period``). It is *closed* when its
rest has been carried over or given away (``budget_close``).

State: ``period-settled/`` kind NUL owner -> the first period that may still be settled into; ``period-closing/`` kind
NUL owner NUL period(4) -> Closing. Kind: "pool" for a network, "company" for a member.
"""

from typing import Final, NamedTuple, cast

from chaincode import budget_calendar, market_products, slots
from chaincode.contract import Context

QUEUED: Final = "queued"
PARKED: Final = "parked"
CLOSED: Final = "closed"

_SETTLED: Final = b"period-settled/"
_CLOSINGS: Final = b"period-closing/"


class Closing(NamedTuple):
    """How far the closing of a period has got, and what it moved, in base units. ``state``: QUEUED; PARKED, if it
    failed and waits for a release; CLOSED. ``collected``: taken back from devices into the pool, and ``devices``, how
    many had any; ``owed``: paid to the utility for debts; ``carried`` into the next period; ``returned``, ``redeemed``,
    ``sold``; ``height``: the block in which it was closed last, 0 before.
    """

    state: str = QUEUED
    devices: int = 0
    collected: int = 0
    owed: int = 0
    carried: int = 0
    returned: int = 0
    redeemed: int = 0
    sold: int = 0
    height: int = 0


def booking_period(ctx: Context, network: str, slot: int) -> int:
    """The period that pays, or is paid, for what is settled of ``slot`` now: its own, or once that is settled for good
    the one that runs.
    """
    period = budget_calendar.period_of(ctx, network, slot)
    if period < settled_before(ctx, "pool", network):
        return budget_calendar.period_of(ctx, network, slots.current(ctx))
    return period


def settled_before(ctx: Context, kind: str, owner: str) -> int:
    """The first period that may still be settled into: all before it are closed, or about to be."""
    return cast("int | None", ctx.get(_SETTLED + _owner(kind, owner))) or 0


def set_settled_before(ctx: Context, kind: str, owner: str, period: int) -> None:
    """All slots of the periods before ``period`` are over."""
    ctx.put(_SETTLED + _owner(kind, owner), period)


def closing_of(ctx: Context, kind: str, owner: str, period: int) -> Closing | None:
    """How far the closing of a period is; None before it begins, and if there never was any money in it."""
    raw = ctx.get(_closing(kind, owner, period))
    return None if raw is None else Closing(*cast("Closing", raw))


def put_closing(ctx: Context, kind: str, owner: str, period: int, closing: Closing) -> None:
    """Note it."""
    ctx.put(_closing(kind, owner, period), tuple(closing))


def is_closed(ctx: Context, kind: str, owner: str, period: int, end: int) -> bool:
    """Whether a period, which ends before slot ``end``, is closed; one that was over when the chain began always is."""
    span = market_products.span(ctx)
    if span is not None and end <= span[0]:
        return True
    if period >= settled_before(ctx, kind, owner):
        return False
    found = closing_of(ctx, kind, owner, period)
    return found is None or found.state == CLOSED


def _closing(kind: str, owner: str, period: int) -> bytes:
    return _CLOSINGS + _owner(kind, owner) + b"\0" + period.to_bytes(4, "big")


def _owner(kind: str, owner: str) -> bytes:
    return kind.encode() + b"\0" + owner.encode()
