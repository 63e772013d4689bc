"""Small contracts that the tests of the runtime run."""

from chaincode.arguments import Slot
from chaincode.contract import Context, Contract, ContractError, Value, query, transaction
from chaincode.keys import key

COUNTS = b"sample-count/"
BOOK = b"sample-book/"


class Sample(Contract):
    """Counters, a small book kept sorted, and every way to fail."""

    name = "sample"
    indexed = (BOOK,)

    def genesis(self, ctx: Context, settings: dict[str, Value]) -> None:
        start = settings.get("start", 0)
        if not isinstance(start, int):
            raise ContractError("bad-settings", "start is an integer")
        ctx.put(key(COUNTS, "total"), start)

    def begin_block(self, ctx: Context) -> None:
        ctx.emit("began", (), ctx.height)
        if ctx.get(key(COUNTS, "poison")) is not None:
            ctx.put(key(COUNTS, "lost"), 1)
            raise ContractError("poisoned", "asked for it")

    def next_event(self, ctx: Context) -> int | None:
        return ctx.time + 5

    def helper(self, ctx: Context) -> Value:
        return None

    @transaction
    def echo(
        self,
        ctx: Context,
        *,
        number: int,
        word: str,
        raw: bytes,
        flag: bool,
        pairs: tuple[tuple[str, int], ...],
        many: tuple[tuple[int, ...], ...],
        maybe: int | None = None,
    ) -> Value:
        return number, word, raw, flag, pairs, many, maybe

    @transaction
    def add(self, ctx: Context, *, name: str, amount: int) -> Value:
        """Adds to a counter and to the total; emits; refuses a result below zero with what is missing."""
        mine = ctx.get(key(COUNTS, name)) or 0
        total = ctx.get(key(COUNTS, "total")) or 0
        assert isinstance(mine, int) and isinstance(total, int)
        ctx.put(key(COUNTS, name), mine + amount)
        ctx.put(key(COUNTS, "total"), total + amount)
        ctx.emit("added", (name,), (amount, mine + amount))
        if mine + amount < 0:
            raise ContractError("below-zero", "a counter is never negative", (mine, amount))
        return mine + amount

    @transaction
    def rest(self, ctx: Context, *, price: int) -> Value:
        """Puts an entry into the sorted book; returns how many are in it."""
        ctx.put(key(BOOK, price, ctx.tx_id), (price, ctx.height))
        return len(tuple(ctx.scan(BOOK)))

    @transaction
    def take(self, ctx: Context) -> Value:
        """Takes the cheapest entry from the book; returns its price, or None."""
        for place, entry in ctx.scan(BOOK):
            ctx.delete(place)
            assert isinstance(entry, tuple)
            return entry[0]
        return None

    @transaction
    def fail(self, ctx: Context, *, how: str) -> Value:
        """Writes, then fails in the way asked for."""
        ctx.put(key(COUNTS, "lost"), 1)
        ctx.emit("lost", (), None)
        if how == "mistake":
            raise KeyError(how)
        if how == "machine":
            raise OSError(how)
        if how == "endless":
            while True:
                ctx.get(key(COUNTS, "lost"))
        if how == "large":
            ctx.put(key(COUNTS, "large"), b"x" * 70_000)
        if how == "list":
            ctx.put(key(COUNTS, "list"), ([1],))  # type: ignore[arg-type]
        if how == "huge":
            ctx.put(key(COUNTS, "huge"), 2**64)
        if how == "long-key":
            ctx.put(key(COUNTS, b"k" * 300), 1)
        if how == "result":
            return {}  # type: ignore[return-value]
        if how == "details":
            raise ContractError("odd", "", ("not an integer", b""))  # type: ignore[arg-type]
        if how == "events":
            for number in range(100):
                ctx.emit("lost", (), b"x" * 1000 + bytes([number]))
        return None

    @transaction
    def poison(self, ctx: Context) -> Value:
        """From now on the hook of every block fails."""
        ctx.put(key(COUNTS, "poison"), 1)
        return None

    @query
    def count(self, ctx: Context, *, name: str = "total") -> Value:
        return ctx.get(key(COUNTS, name))

    @query
    def book(self, ctx: Context) -> Value:
        return tuple(entry for _, entry in ctx.scan(BOOK))

    @query
    def write(self, ctx: Context) -> Value:
        ctx.put(key(COUNTS, "total"), 0)
        return None

    @query
    def mistake(self, ctx: Context) -> Value:
        raise KeyError("a mistake")


class Plain(Contract):
    """Hooks at both ends and a calendar."""

    name = "plain"

    def begin_block(self, ctx: Context) -> None:
        ctx.emit("began", (), ctx.time)

    def end_block(self, ctx: Context) -> None:
        ctx.emit("ended", (), ctx.time)

    def next_event(self, ctx: Context) -> int | None:
        return ctx.time + 3


class BadIndex(Contract):
    """Its table does not end in a slash."""

    name = "bad-index"
    indexed = (b"orders",)


class Positional(Contract):
    """An argument that is not keyword-only."""

    name = "positional"

    @transaction
    def go(self, ctx: Context, amount: int) -> Value:
        return amount


class Bounded(Contract):
    """A transaction with an argument that is bounded as queries' are."""

    name = "bounded"

    @transaction
    def go(self, ctx: Context, *, slot: Slot | None = None) -> Value:
        return slot


class Unreadable(Contract):
    """An argument of a type that cannot be checked."""

    name = "unreadable"

    @transaction
    def go(self, ctx: Context, *, amounts: dict[str, int]) -> Value:
        return len(amounts)
