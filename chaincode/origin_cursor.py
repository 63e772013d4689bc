"""How far the origins of energy are assigned: what is needed until then is asked for by those who would delete it.

State: ``origin/next`` -> Cursor.
"""

from typing import Final, NamedTuple, cast

from chaincode import market_products
from chaincode.contract import Context

_CURSOR: Final = b"origin/next"


class Cursor(NamedTuple):
    """Every slot below ``slot`` is assigned; of this one, so many auctions are followed and networks assigned."""

    slot: int
    auctions: int = 0
    networks: int = 0


def cursor_of(ctx: Context) -> Cursor | None:
    """How far origins are assigned; None before the first slot is known."""
    raw = ctx.get(_CURSOR)
    return None if raw is None else Cursor(*cast("tuple[int, int, int]", raw))


def put_cursor(ctx: Context, cursor: Cursor) -> None:
    """Write it."""
    ctx.put(_CURSOR, tuple(cursor))


def oldest_open(ctx: Context) -> int:
    """The first slot that is not final yet, or whose energy's origin is not assigned."""
    unfinished = market_products.oldest_unfinished(ctx)
    cursor = cursor_of(ctx)
    return unfinished if cursor is None else min(unfinished, cursor.slot)
