"""Lists of ascending numbers in the state that can be proven complete: dense indices and a count.

A scan could leave entries out, so whoever reads with proofs reads a list's count, and then the entries one by one. A
list at ``start`` has the state ``start`` -> count; ``start`` index(8) -> number.
"""

from typing import cast

from chaincode.contract import Context
from chaincode.keys import uint


def append(ctx: Context, start: bytes, number: int) -> None:
    """Add a number that is above all others."""
    count = _count(ctx, start)
    ctx.put(start + uint(count), number)
    ctx.put(start, count + 1)


def above(ctx: Context, start: bytes, after: int, most: int) -> tuple[int, ...]:
    """The numbers above ``after``, ascending, at most ``most``."""
    count = _count(ctx, start)
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if _at(ctx, start, middle) > after:
            high = middle
        else:
            low = middle + 1
    return tuple([_at(ctx, start, index) for index in range(low, min(count, low + most))])


def _count(ctx: Context, start: bytes) -> int:
    return cast("int | None", ctx.get(start)) or 0


def _at(ctx: Context, start: bytes, index: int) -> int:
    return cast("int", ctx.get(start + uint(index)))
