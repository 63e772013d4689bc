"""Who paid for whom: what each giver gave a device in a period, less what came back, added up as it happens.

What an owner asks first of a device that uses too much is answered by one read, however many shares there were. The
MAX_GIVERS first givers of a device and period have a row each, all others one together.

State: ``bud-paid/`` device NUL period(4) -> ((giver, base units), ...), in the order in which they first gave.
"""

from typing import Final, NamedTuple, cast

from chaincode.contract import Context

MAX_GIVERS: Final = 32
OTHERS: Final = "*"
"""Stands for all givers beyond MAX_GIVERS."""

_PAID: Final = b"bud-paid/"


class Paid(NamedTuple):
    """``giver``, as in a share, or OTHERS, gave ``amount`` base units that did not come back."""

    giver: str
    amount: int


def note(ctx: Context, device: str, period: int, giver: str, amount: int) -> None:
    """``giver`` gave ``amount`` for ``device`` (negative: so much came back)."""
    rows = dict(paid_of(ctx, device, period))
    if giver not in rows and len(rows) >= MAX_GIVERS:
        giver = OTHERS
    rows[giver] = rows.get(giver, 0) + amount
    ctx.put(_key(device, period), tuple(rows.items()))


def paid_of(ctx: Context, device: str, period: int) -> tuple[Paid, ...]:
    """Who gave for ``device`` in ``period``, in the order in which they first did; rows of 0: all came back."""
    rows = cast("tuple[tuple[str, int], ...]", ctx.get(_key(device, period)) or ())
    return tuple([Paid(*row) for row in rows])


def _key(device: str, period: int) -> bytes:
    return _PAID + device.encode() + b"\0" + period.to_bytes(4, "big")
