"""What became of motions that were decided: kept for ever, so that whoever asks why something is so finds the vote.

State: ``motions/`` -> count of decided ones; ``motions/`` index(8) -> Decided; ``motion-place/`` number(8) -> index.
"""

from typing import Any, Final, NamedTuple, cast

from chaincode.contract import Context
from chaincode.keys import key

DONE: Final = "ok"
WAITS: Final = "scheduled"
MAX_LISTED: Final = 100

_DECIDED: Final = b"motions/"
_PLACES: Final = b"motion-place/"


class Decided(NamedTuple):
    """A motion that was decided at ``height``. ``outcome``: "scheduled", and from ``ended`` on "ok", or why not."""

    number: int
    kind: str
    subject: tuple[Any, ...]
    first_height: int
    height: int
    outcome: str
    ended: int | None


def decided(ctx: Context, number: int, kind: str, subject: tuple[Any, ...], first_height: int) -> None:
    """The votes are there; it takes effect at ``first_height``."""
    index = count(ctx)
    ctx.put(key(_DECIDED, index), (number, kind, subject, first_height, ctx.height, WAITS, None))
    ctx.put(key(_PLACES, number), index)
    ctx.put(_DECIDED, index + 1)


def ended(ctx: Context, number: int, outcome: str) -> None:
    """It has taken effect, or cannot."""
    place = key(_DECIDED, cast("int", ctx.get(key(_PLACES, number))))
    ctx.put(place, tuple(Decided(*cast("Decided", ctx.get(place)))._replace(outcome=outcome, ended=ctx.height)))


def count(ctx: Context) -> int:
    """How many have been decided."""
    return cast("int | None", ctx.get(_DECIDED)) or 0


def listed(ctx: Context, first: int) -> tuple[Decided, ...]:
    """Those from the ``first`` on, counted from 0 in the order in which they were decided, at most 100."""
    rows = [ctx.get(key(_DECIDED, index)) for index in range(first, min(count(ctx), first + MAX_LISTED))]
    return tuple([Decided(*cast("Decided", row)) for row in rows])
