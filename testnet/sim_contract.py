"""A small real contract for the simulator: payments that can fail, and a calendar that wants blocks.

What it does is so simple that ``testnet/checker.py`` re-derives every balance by itself.
"""

from typing import ClassVar

from chaincode.contract import MAX_AMOUNT, Context, Contract, ContractError, Value, query, transaction
from chaincode.keys import key

ACCOUNT = b"bank-account/"
CLOCK = b"bank-clock/"

CHIME_S = 3
"""The calendar strikes at every block time that is a multiple of this."""


class Bank(Contract):
    """Accounts are public keys; every one of them starts with what the genesis gives it."""

    name: ClassVar[str] = "bank"
    indexed: ClassVar[tuple[bytes, ...]] = (ACCOUNT,)

    def genesis(self, ctx: Context, settings: dict[str, Value]) -> None:
        accounts = settings["accounts"]
        balance = settings["balance"]
        if type(accounts) is not tuple or type(balance) is not int:
            raise ContractError("bad-settings")
        for owner in accounts:
            if type(owner) is not str:
                raise ContractError("bad-settings")
            ctx.put(key(ACCOUNT, bytes.fromhex(owner)), balance)
        ctx.put(key(CLOCK), 0)

    def begin_block(self, ctx: Context) -> None:
        strokes = ctx.time // CHIME_S - ctx.previous_time // CHIME_S
        if strokes > 0:
            struck = ctx.get(key(CLOCK))
            ctx.put(key(CLOCK), (struck if type(struck) is int else 0) + strokes)
            ctx.emit("chime", (), strokes)

    def next_event(self, ctx: Context) -> int | None:
        return (ctx.time // CHIME_S + 1) * CHIME_S

    @transaction
    def pay(self, ctx: Context, *, to: bytes, amount: int) -> Value:
        """Move ``amount`` from the sender to ``to``; returns what the sender has left."""
        if not 0 < amount <= MAX_AMOUNT or to == ctx.sender:
            raise ContractError("bad-amount")
        left = _balance(ctx, ctx.sender) - amount
        if left < 0:
            raise ContractError("insufficient-funds", details=(left + amount,))
        ctx.put(key(ACCOUNT, ctx.sender), left)
        ctx.put(key(ACCOUNT, to), _balance(ctx, to) + amount)
        ctx.emit("paid", (), amount)
        return left

    @query
    def balance(self, ctx: Context, *, owner: bytes) -> Value:
        """What ``owner`` has."""
        return _balance(ctx, owner)

    @query
    def strokes(self, ctx: Context) -> Value:
        """How often the calendar has struck since the first block."""
        return ctx.get(key(CLOCK))


def _balance(ctx: Context, owner: bytes) -> int:
    value = ctx.get(key(ACCOUNT, owner))
    return value if type(value) is int else 0
