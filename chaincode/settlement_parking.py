"""Units of settlement that failed: noted here and left as they were, so that the calendar goes on without them.

==========  ===========================================================================================================
unit        what of it has not happened
==========  ===========================================================================================================
settle      one network in one slot was not settled: what its buyers paid at clearing is with the sellers' proceeds in
            the slot's escrow, its readings stand
close       a slot's end: tolls and rent are in its escrow
correct     a network's slot was not settled anew: the settlement before it stands
rent        a network's part of a period's rent is with the congestion account
period      a network's, or a company's, billing period was not closed: what was left in it is there (with the code
            "orders-open" only what orders still hold: all else has moved)
calendar    an entry of the calendar failed outside of its units, and was struck out: what it stood for waits
==========  ===========================================================================================================

Nothing of a parked unit has moved. When its reason is gone, an admin *releases* it: it is done in the next block, as
any other, and is parked anew under its number if it fails again.

State: table ``parked/``: the empty key -> count; index(4) -> Parked, oldest first; table ``parked-slot/``: slot(8) ->
how many units of it are parked, corrections aside; table ``releasing/``: slot(8) index(4) -> True.
"""

from typing import Final, NamedTuple, cast

from chaincode import market_calendar, market_products
from chaincode.contract import Context, ContractError, Value
from chaincode.keys import uint
from chaincode.market_calendar import AGAIN, SETTLEMENT, Entry

SETTLE: Final = "settle"
CLOSE: Final = "close"
CORRECT: Final = "correct"
RENT: Final = "rent"
PERIOD: Final = "period"
CALENDAR: Final = "calendar"

_PARKED: Final = b"parked/"
_OF_SLOT: Final = b"parked-slot/"
RELEASING: Final = b"releasing/"
UNIT_WORK: Final = 25
"""What a failed unit counts of a block's work, in devices."""


class Unit(NamedTuple):
    """One unit: what it is, of which network ("": of none alone) and slot, and what else must be known to do it."""

    kind: str
    network: str
    slot: int
    detail: Value = ()


class Parked(NamedTuple):
    """``network`` ("": the slot itself) could not be settled for ``slot``: last tried at block ``time`` (s), refused
    with ``code``. ``unit``: what was to be done; ``released``: the block time at which it was, 0 before.
    """

    network: str
    slot: int
    code: str
    time: int
    unit: str
    released: int
    detail: Value


def park(ctx: Context, unit: Unit, failure: ContractError) -> int:
    """Note that a unit failed, and tell; the work that it counts for."""
    count = count_of(ctx)
    ctx.put(_PARKED, count + 1)
    if unit.kind != CORRECT:
        ctx.put(_OF_SLOT + uint(unit.slot), in_slot(ctx, unit.slot) + 1)
    return _note(ctx, count, unit, failure)


def count_of(ctx: Context) -> int:
    """How many units were ever parked."""
    count = ctx.get(_PARKED)
    return count if isinstance(count, int) else 0


def in_slot(ctx: Context, slot: int) -> int:
    """How many units of ``slot`` are parked now and must be done for it to be whole. Corrections are none of them: when
    the slot is FINAL what stood before them stands for good.
    """
    count = ctx.get(_OF_SLOT + uint(slot))
    return count if isinstance(count, int) else 0


def parked(ctx: Context, first: int, most: int) -> list[Parked]:
    """What was parked, from number ``first`` on, oldest first, at most ``most``."""
    return [_row(ctx, index) for index in range(first, min(count_of(ctx), first + most))]


def release(ctx: Context, index: int) -> None:
    """Have a parked unit done in the next block. Raises ContractError: unknown-unit, not-parked, final."""
    if not 0 <= index < count_of(ctx):
        raise ContractError("unknown-unit", f"nothing was parked under the number {index}")
    row = _row(ctx, index)
    if row.released:
        raise ContractError("not-parked", "this unit has been released and done")
    if row.unit == CORRECT and market_products.is_final(ctx, row.slot):
        raise ContractError("final", "the slot cannot change any more")
    ctx.put(RELEASING + uint(row.slot) + uint(index, 4), True)
    market_calendar.put(ctx, SETTLEMENT, Entry(ctx.time, AGAIN, row.slot, ()))


def releasing(ctx: Context, slot: int) -> tuple[int, Unit] | None:
    """The first unit of ``slot`` that is to be done again, and its number; None if there is none."""
    found = next(ctx.scan(RELEASING + uint(slot)), None)
    if found is None:
        return None
    index = int.from_bytes(found[0][-4:], "big")
    row = _row(ctx, index)
    return index, Unit(row.unit, row.network, row.slot, row.detail)


def settle_release(ctx: Context, index: int, unit: Unit, failure: ContractError | None) -> int:
    """A released unit has been tried: it is done, or parked as before. The work of a failure, 0 if it is done."""
    ctx.delete(RELEASING + uint(unit.slot) + uint(index, 4))
    if failure is not None:
        return _note(ctx, index, unit, failure)
    ctx.put(_PARKED + uint(index, 4), tuple(_row(ctx, index)._replace(released=ctx.time)))
    left = in_slot(ctx, unit.slot) - (unit.kind != CORRECT)
    if left:
        ctx.put(_OF_SLOT + uint(unit.slot), left)
    else:
        ctx.delete(_OF_SLOT + uint(unit.slot))
    ctx.emit("settlement-released", _keys(unit), (index, unit.kind, unit.network, unit.slot))
    return 0


def _note(ctx: Context, index: int, unit: Unit, failure: ContractError) -> int:
    row = Parked(unit.network, unit.slot, failure.code, ctx.time, unit.kind, 0, unit.detail)
    ctx.put(_PARKED + uint(index, 4), tuple(row))
    ctx.emit("settlement-parked", _keys(unit), (unit.network, unit.slot, failure.code))
    return UNIT_WORK


def _keys(unit: Unit) -> tuple[str, ...]:
    return (unit.network,) if unit.network else ()


def _row(ctx: Context, index: int) -> Parked:
    return Parked(*cast("Parked", ctx.get(_PARKED + uint(index, 4))))
