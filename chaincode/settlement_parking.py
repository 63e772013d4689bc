"""Units of settlement that failed: noted here and left as they were, so that the calendar goes on without them.

A *unit* is one network in one slot; or a slot's end (tolls, rent, the escrow), or a whole slot that cannot even be
begun: its network is "". Nothing of a parked unit has moved: what its buyers paid at clearing is with the sellers'
proceeds in the slot's escrow, its readings stand, and the rows here say what a later release has to settle.

State: table ``parked/``: the empty key -> count; index(4) -> Parked, oldest first; ``parked-slot/`` slot(8) -> count.
"""

from typing import Final, NamedTuple, cast

from chaincode.contract import Context, ContractError
from chaincode.keys import uint

_PARKED: Final = b"parked/"
_OF_SLOT: Final = b"parked-slot/"
UNIT_WORK: Final = 25
"""What a failed unit counts of a block's work, in devices."""


class Parked(NamedTuple):
    """``network`` ("": the slot itself) could not be settled for ``slot``: at block ``time`` (s), for ``code``."""

    network: str
    slot: int
    code: str
    time: int


def park(ctx: Context, network: str, slot: int, failure: ContractError) -> int:
    """Note that a unit failed, and tell; the work that it counts for."""
    count = count_of(ctx)
    ctx.put(_PARKED + uint(count, 4), tuple(Parked(network, slot, failure.code, ctx.time)))
    ctx.put(_PARKED, count + 1)
    ctx.put(_OF_SLOT + uint(slot), in_slot(ctx, slot) + 1)
    ctx.emit("settlement-parked", (network,) if network else (), (network, slot, failure.code))
    return UNIT_WORK


def count_of(ctx: Context) -> int:
    """How many units were ever parked."""
    count = ctx.get(_PARKED)
    return count if isinstance(count, int) else 0


def in_slot(ctx: Context, slot: int) -> int:
    """How many units of ``slot`` are parked."""
    count = ctx.get(_OF_SLOT + uint(slot))
    return count if isinstance(count, int) else 0


def parked(ctx: Context, first: int, most: int) -> list[Parked]:
    """What is parked, from number ``first`` on, oldest first, at most ``most``."""
    end = min(count_of(ctx), first + most)
    return [Parked(*cast("Parked", ctx.get(_PARKED + uint(index, 4)))) for index in range(first, end)]
