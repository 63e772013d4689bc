"""A small contract, and bundles that upgrade it: one that works, two whose migrations fail."""

from pathlib import Path

from chaincode.contract import Context, Contract, ContractError, Value, query, transaction
from chaincode.keys import key
from chaincode.subjects import public

MANIFEST = '{"name": "tally-2", "version": "2", "contracts": ["tally", "echo"], "summary": "counts what it adds"}'

TALLY = """
from chaincode.contract import Context, Contract, ContractError, Value, query, transaction
from chaincode.keys import key
from chaincode.subjects import public
from . import limits

class Tally(Contract):
    name = "tally"
    indexed = (b"tally-seen/",)

    @transaction
    def add(self, ctx: Context, *, name: str, amount: int) -> Value:
        limits.require(amount)
        total, count = ctx.get(key(b"tally/", name)) or (0, 0)
        ctx.put(key(b"tally/", name), (total + amount, count + 1))
        ctx.put(key(b"tally-seen/", name), ctx.height)
        return total + amount

    @query(of=public)
    def total(self, ctx: Context, *, name: str) -> Value:
        return (ctx.get(key(b"tally/", name)) or (0, 0))[0]

    @query(of=public)
    def count(self, ctx: Context, *, name: str) -> Value:
        return (ctx.get(key(b"tally/", name)) or (0, 0))[1]

    @query(of=public)
    def seen(self, ctx: Context) -> Value:
        return tuple([height for _, height in ctx.scan(b"tally-seen/")])


class Echo(Contract):
    name = "echo"

    def begin_block(self, ctx: Context) -> None:
        ctx.emit("here", (), ctx.height)


CONTRACTS = (Tally(), Echo())


def migrate(ctx: Context) -> None:
    for place, total in [*ctx.scan(b"tally/")]:
        ctx.put(place, (total, 1))
        ctx.put(b"tally-seen/" + place[len(b"tally/"):], ctx.height)
    ctx.emit("migrated", (), None)
"""

LIMITS = """
from chaincode.contract import ContractError

def require(amount: int) -> None:
    if amount > 100:
        raise ContractError("too-much-at-once", "at most 100")
"""


class Tally(Contract):
    """Adds."""

    name = "tally"

    @transaction
    def add(self, ctx: Context, *, name: str, amount: int) -> Value:
        """Returns the total."""
        total = ctx.get(key(b"tally/", name)) or 0
        assert isinstance(total, int)
        if total + amount < 0:
            raise ContractError("below-zero", "never", (total,))
        ctx.put(key(b"tally/", name), total + amount)
        return total + amount

    @query(of=public)
    def total(self, ctx: Context, *, name: str) -> Value:
        """The total."""
        return ctx.get(key(b"tally/", name)) or 0


def write(directory: Path, **changed: str) -> Path:
    """The bundle's files, some with another content; "" leaves one out. ``upgrade__py`` names upgrade.py."""
    files = {"upgrade.json": MANIFEST, "upgrade.py": TALLY, "limits.py": LIMITS}
    files.update({name.replace("__", "."): text for name, text in changed.items()})
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        if text:
            (directory / name).write_text(text)
    return directory


def failing(directory: Path) -> Path:
    """A bundle whose migration does a part of its work and ends with a refusal."""
    return write(directory, upgrade__py=TALLY + '    raise ContractError("not-so", "it cannot be")\n')


def endless(directory: Path) -> Path:
    """A bundle whose migration does a part of its work and goes on for ever, without looking at the state."""
    return write(directory, upgrade__py=TALLY + "    while True:\n        pass\n")
