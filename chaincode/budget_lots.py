"""Lots: how often the tokens in a pool have been carried over, so that carry-over can expire.

What comes into a network's pool in a period is *fresh*; what was carried in lies there in lots, by the period in which
it was fresh and how often it has been carried. The oldest tokens are spent first. So at the close what is left is
fresh as far as there was as much, and then of the newest lots. Of this the newest is kept: at most ``carry_cap`` in
all, and nothing that has been carried ``carry_periods`` times already (0: for ever).

State: ``carry-lots/`` network NUL period(4) -> (Lot, ...), oldest first, until the period is closed.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from chaincode.contract import Context

MAX_LOTS: Final = 64
"""Of one network and period: beyond that the two oldest become one, with the age of the older."""

_LOTS: Final = b"carry-lots/"


class Lot(NamedTuple):
    """``amount`` base units that were fresh in the period ``since``, and have been carried over ``times`` times."""

    since: int
    times: int
    amount: int


def lots_of(ctx: Context, network: str, period: int) -> tuple[Lot, ...]:
    """The lots that were carried into a period, oldest first; none any more once it is closed."""
    rows = cast("tuple[Lot, ...] | None", ctx.get(_key(network, period))) or ()
    return tuple([Lot(*row) for row in rows])


def add(ctx: Context, network: str, period: int, lots: Sequence[Lot]) -> None:
    """Carry ``lots`` into a period."""
    amounts: dict[tuple[int, int], int] = {}
    for lot in (*lots_of(ctx, network, period), *lots):
        amounts[lot.since, lot.times] = amounts.get((lot.since, lot.times), 0) + lot.amount
    rows = [Lot(*age, amount) for age, amount in sorted(amounts.items()) if amount]
    while len(rows) > MAX_LOTS:
        older, newer = rows[:2]
        rows[:2] = [older._replace(times=max(older.times, newer.times), amount=older.amount + newer.amount)]
    if rows:
        ctx.put(_key(network, period), tuple([tuple(lot) for lot in rows]))


def forget(ctx: Context, network: str, period: int) -> None:
    """A period is closed: what was in it is somewhere else."""
    ctx.delete(_key(network, period))


def left(lots: Sequence[Lot], fresh: Lot, rest: int) -> list[Lot]:
    """What ``rest`` base units at the end of a period consist of, newest first. ``lots``: carried in, oldest first;
    ``fresh``: all that came in besides.
    """
    parts: list[Lot] = []
    for lot in (fresh, *reversed(lots)):
        amount = min(lot.amount, rest)
        rest -= amount
        if amount:
            parts.append(lot._replace(amount=amount))
    if rest:  # a release of what was spent: as old as what is fresh
        parts.append(fresh._replace(amount=rest))
    return parts


def kept(parts: Sequence[Lot], cap: int, most_times: int) -> list[Lot]:
    """What of ``parts``, newest first, is carried over, as it is in the next period: at most ``cap`` base units."""
    carried: list[Lot] = []
    for lot in parts:
        amount = min(lot.amount, cap)
        if amount and (most_times == 0 or lot.times < most_times):
            carried.append(Lot(lot.since, lot.times + 1, amount))
            cap -= amount
    return carried


def _key(network: str, period: int) -> bytes:
    return _LOTS + network.encode() + b"\0" + period.to_bytes(4, "big")
