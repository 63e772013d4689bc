"""Agreements between networks as they stand in the ledger: who gives whom what, how much of it, and what was moved.

An agreement is directed: ``giver`` helps ``taker``, or sells to it. It is *in force* in a slot if both sides have
agreed and the slot lies within what they agreed on. What it allows is counted in the billing periods of either side,
each by its own calendar: at most ``cap`` in each, less what came back unused, so that neither side makes more of it by
planning shorter periods. Nothing follows from two agreements in a row: a path is no agreement.

State: ``agr-agreement/`` -> count; ``agr-agreement/`` number(8) -> Agreement; ``agr-live/`` giver NUL taker NUL kind
-> the number of the one that is proposed or agreed; ``agr-gives/``, ``agr-takes/``, ``agr-asks/`` network -> the
numbers of those agreed in which it gives, or takes, and of its own proposals; ``agr-of/`` network NUL: the numbers of
all (``numbered.py``);
``agr-used/`` number(8) period(4) -> what was given in the giver's period; ``agr-taken/`` number(8) period(4) -> what
came into the taker's; ``agr-movement/`` number(8) -> count; ``agr-movement/`` number(8) index(4) -> Movement.
"""

from typing import Final, NamedTuple, cast

from chaincode import keys, numbered
from chaincode.contract import Context, ContractError

SHARE: Final = "share"
SALE: Final = "sale"
KINDS: Final = (SHARE, SALE)

PROPOSED: Final = "proposed"
OPEN: Final = "open"
DECLINED: Final = "declined"
WITHDRAWN: Final = "withdrawn"
ENDED: Final = "ended"
LAPSED: Final = "lapsed"
"""What an agreement is called whose last slot is over; it is kept as what it was before."""

FOR_EVER: Final = 0
"""The end of an agreement that has none."""

_AGREEMENTS: Final = b"agr-agreement/"
_LIVE: Final = b"agr-live/"
GIVES: Final = b"agr-gives/"
TAKES: Final = b"agr-takes/"
ASKS: Final = b"agr-asks/"
_OF: Final = b"agr-of/"
_USED: Final = b"agr-used/"
_TAKEN: Final = b"agr-taken/"
_MOVEMENTS: Final = b"agr-movement/"


class Agreement(NamedTuple):
    """``cap``: at most so much in a period of either side; ``automatic``: the chain itself helps, or sells at close;
    ``same_class``: only while both networks are of one class; ``rank``: the smaller is asked first; ``price``: of a
    sale, in thousandths of par; from ``first`` on, before ``end`` (slots; FOR_EVER: no end); ``state``: PROPOSED, OPEN,
    DECLINED, WITHDRAWN or ENDED; ``proposer``: the network that proposed it; ``slot``: of its last change of state.
    """

    giver: str
    taker: str
    kind: str
    cap: int
    automatic: bool
    same_class: bool
    rank: int
    price: int
    first: int
    end: int
    state: str
    proposer: str
    slot: int


class Movement(NamedTuple):
    """A share under an agreement: from the giver's ``giver_period`` to the taker's ``taker_period``, where it is
    number ``record`` of the taker's shares.
    """

    giver_period: int
    taker_period: int
    record: int


def agreement_of(ctx: Context, number: int) -> Agreement:
    """Raises ContractError("unknown-agreement")."""
    value = ctx.get(_key(number)) if number >= 0 else None
    if value is None:
        raise ContractError("unknown-agreement", f"there is no agreement {number}")
    return Agreement(*cast("Agreement", value))


def put(ctx: Context, number: int, agreement: Agreement) -> None:
    """Replace an agreement."""
    ctx.put(_key(number), tuple(agreement))


def add(ctx: Context, agreement: Agreement) -> int:
    """Enter a new agreement; its number, from 1 on."""
    number = count(ctx) + 1
    ctx.put(_AGREEMENTS, number)
    put(ctx, number, agreement)
    for network in (agreement.giver, agreement.taker):
        numbered.append(ctx, keys.key(_OF, network), number)
    return number


def count(ctx: Context) -> int:
    """How many agreements were ever proposed."""
    return cast("int | None", ctx.get(_AGREEMENTS)) or 0


def numbers_of(ctx: Context, network: str, after: int, most: int) -> tuple[int, ...]:
    """The numbers above ``after`` of all agreements with ``network`` on a side, of whatever state; at most ``most``."""
    return numbered.above(ctx, keys.key(_OF, network), after, most)


def has_lapsed(agreement: Agreement, slot: int) -> bool:
    """Whether its last slot is before ``slot``."""
    return agreement.end != FOR_EVER and agreement.end <= slot


def state_at(agreement: Agreement, slot: int) -> str:
    """Its state in ``slot``, LAPSED included."""
    lapsed = agreement.state in (PROPOSED, OPEN) and has_lapsed(agreement, slot)
    return LAPSED if lapsed else agreement.state


def is_in_force(agreement: Agreement, slot: int) -> bool:
    """Whether something may be given under it in ``slot``; what the classes of the networks allow is not asked here."""
    return agreement.state == OPEN and agreement.first <= slot and not has_lapsed(agreement, slot)


def listed(ctx: Context, table: bytes, network: str) -> tuple[int, ...]:
    """The agreements of ``network`` in one of GIVES, TAKES and ASKS, ascending; lapsed ones may be among them."""
    return cast("tuple[int, ...] | None", ctx.get(table + network.encode())) or ()


def put_listed(ctx: Context, table: bytes, network: str, numbers: tuple[int, ...]) -> None:
    """Replace what ``listed`` answers."""
    if numbers:
        ctx.put(table + network.encode(), numbers)
    else:
        ctx.delete(table + network.encode())


def live(ctx: Context, giver: str, taker: str, kind: str) -> int | None:
    """The number of the agreement that is proposed or agreed; it may have lapsed. None if there is none."""
    return cast("int | None", ctx.get(_live_key(giver, taker, kind)))


def put_live(ctx: Context, agreement: Agreement, number: int | None) -> None:
    """Replace what ``live`` answers; None: there is none."""
    key = _live_key(agreement.giver, agreement.taker, agreement.kind)
    if number is None:
        ctx.delete(key)
    else:
        ctx.put(key, number)


def used(ctx: Context, number: int, period: int) -> int:
    """What was given, or sold, under an agreement in the giver's ``period``, less what came back."""
    return _counted(ctx, _USED, number, period)


def taken(ctx: Context, number: int, period: int) -> int:
    """What came, or was bought, under an agreement into the taker's ``period``, less what went back."""
    return _counted(ctx, _TAKEN, number, period)


def left(ctx: Context, number: int, giver_period: int, taker_period: int) -> int:
    """What may still be given under an agreement from the one period into the other."""
    most = max(used(ctx, number, giver_period), taken(ctx, number, taker_period))
    return agreement_of(ctx, number).cap - most


def use(ctx: Context, number: int, giver_period: int, taker_period: int, amount: int) -> None:
    """Count ``amount`` as given from the one period into the other; a negative one has come back."""
    for table, period in ((_USED, giver_period), (_TAKEN, taker_period)):
        ctx.put(_count_key(table, number, period), _counted(ctx, table, number, period) + amount)


def add_movement(ctx: Context, number: int, movement: Movement) -> None:
    """Enter a share under an agreement."""
    start = _MOVEMENTS + keys.uint(number)
    index = cast("int | None", ctx.get(start)) or 0
    ctx.put(start + index.to_bytes(4, "big"), tuple(movement))
    ctx.put(start, index + 1)


def movements_of(ctx: Context, number: int, first: int, most: int) -> tuple[Movement, ...]:
    """The shares under an agreement from number ``first`` on, oldest first, at most ``most``."""
    start = _MOVEMENTS + keys.uint(number)
    end = min(cast("int | None", ctx.get(start)) or 0, first + most)
    found = [ctx.get(start + index.to_bytes(4, "big")) for index in range(first, end)]
    return tuple([Movement(*cast("Movement", value)) for value in found])


def _key(number: int) -> bytes:
    return _AGREEMENTS + keys.uint(number)


def _live_key(giver: str, taker: str, kind: str) -> bytes:
    return keys.key(_LIVE, giver, taker) + kind.encode()


def _counted(ctx: Context, table: bytes, number: int, period: int) -> int:
    return cast("int | None", ctx.get(_count_key(table, number, period))) or 0


def _count_key(table: bytes, number: int, period: int) -> bytes:
    return table + keys.uint(number) + period.to_bytes(4, "big")
