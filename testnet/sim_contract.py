"""A small real contract for the simulator: payments that can fail, and a calendar that wants blocks.

What it does is so simple that ``testnet/checker.py`` re-derives every balance by itself.
"""

from typing import ClassVar, NamedTuple

from chaincode.contract import MAX_AMOUNT, Context, Contract, ContractError, Value, query, transaction
from chaincode.keys import key
from chaincode.upgrades import Bundle
from node.model.codec import sha256

ACCOUNT = b"bank-account/"
CLOCK = b"bank-clock/"
FEES = b"bank-fees/"
SERVED = b"bank-served/"

CHIME_S = 3
"""The calendar strikes at every block time that is a multiple of this."""

GIFT = 20
"""What an upgrade's migration gives to every account."""


class Bank(Contract):
    """Accounts are public keys; every one of them starts with what the genesis gives it."""

    name: ClassVar[str] = "bank"
    fee: ClassVar[int] = 0
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
            ctx.put(key(CLOCK), _number(ctx, key(CLOCK)) + strokes)
            ctx.emit("chime", (), strokes)

    def next_event(self, ctx: Context) -> int | None:
        return (ctx.time // CHIME_S + 1) * CHIME_S

    @transaction
    def pay(self, ctx: Context, *, to: bytes, amount: int) -> Value:
        """Move ``amount`` from the sender to ``to``; returns what the sender has left."""
        if not 0 < amount <= MAX_AMOUNT or to == ctx.sender:
            raise ContractError("bad-amount")
        left = _balance(ctx, ctx.sender) - amount - self.fee
        if left < 0:
            raise ContractError("insufficient-funds", details=(left + amount + self.fee,))
        if self.fee:
            ctx.put(key(FEES), _number(ctx, key(FEES)) + self.fee)
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


class FeeBank(Bank):
    """What an upgrade makes of it: payments cost something, and each block that runs hooks is counted.

    So no block and no payment comes out alike by the code before and after.
    """

    fee: ClassVar[int] = 1

    def begin_block(self, ctx: Context) -> None:
        super().begin_block(ctx)
        place = key(SERVED, self.fee)
        ctx.put(place, _number(ctx, place) + 1)

    @query
    def fees(self, ctx: Context) -> Value:
        """What all payments have cost."""
        return _number(ctx, key(FEES))

    @query
    def served(self, ctx: Context, *, fee: int) -> Value:
        """In how many blocks that ran hooks this was what a payment costs."""
        return _number(ctx, key(SERVED, fee))


class DearBank(FeeBank):
    """What a later upgrade makes of it, or another one in the first place."""

    fee: ClassVar[int] = 3


def _balance(ctx: Context, owner: bytes) -> int:
    return _number(ctx, key(ACCOUNT, owner))


def _number(ctx: Context, place: bytes) -> int:
    value = ctx.get(place)
    return value if type(value) is int else 0


def _give(ctx: Context) -> None:
    for place, balance in tuple(ctx.scan(ACCOUNT)):
        assert type(balance) is int
        ctx.put(place, balance + GIFT)


def _give_and_fail(ctx: Context) -> None:
    _give(ctx)
    raise ContractError("gift-refused")


class Package(NamedTuple):
    """An upgrade as members vote on it; ``fee``: what payments cost then. ``fails``: its migration does, in the end."""

    name: str
    bundle: Bundle
    fee: int
    fails: bool = False

    @property
    def digest(self) -> bytes:
        """What the vote names it by."""
        return sha256(b"simulated bundle\0", self.name.encode())


PACKAGES = (
    Package("fees", Bundle((FeeBank(),), _give), FeeBank.fee),
    Package("dear-fees", Bundle((DearBank(),), _give), DearBank.fee),
    Package("refused-gift", Bundle((DearBank(),), _give_and_fail), DearBank.fee, fails=True),
)
