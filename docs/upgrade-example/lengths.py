"""How long the lines of a grid are: the rule, and where the sums are kept.

State: ``grid-metres/`` version(8) -> metres of all lines.
"""

from typing import Final

from chaincode.contract import Context, ContractError, Value
from chaincode.grid import LineSettings
from chaincode.keys import key

MAX_METRES: Final = 50_000
"""Of one line. ``chaincode/grid.py`` allows 1,000 km, as a bound against mistakes and not as a rule."""

_METRES: Final = b"grid-metres/"


def require_short(lines: tuple[LineSettings, ...]) -> None:
    """Raises ContractError("line-too-long"), details: the first line's metres, and the most."""
    for parent, child, metres, *_ in lines:
        if metres > MAX_METRES:
            raise ContractError("line-too-long", f"from {parent} to {child}", (metres, MAX_METRES))


def note(ctx: Context, version: int, lines: tuple[LineSettings, ...]) -> None:
    """Keep the sum of a version."""
    ctx.put(key(_METRES, version), sum([line[2] for line in lines]))


def metres(ctx: Context, version: int) -> Value:
    """The sum of a version; None if there is none of the number."""
    return ctx.get(key(_METRES, version))
