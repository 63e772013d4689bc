"""Upgrades of contracts on the ledger: which one is scheduled, which are active, and how one becomes active.

An upgrade is a *bundle* of modules that every member reviews and installs beside its node; the ledger knows it by the
digest of its content alone. A vote schedules it (``motions.py``). In the first block at or after its height that runs
hooks, before them, the bundle's ``migrate`` changes the state and its contracts take the place of those of the same
names, or come after the others. That is one step: if anything of it fails, all of it is undone, the upgrade is
recorded as failed, and the block goes on with the contracts that there were. What is installed where does not matter
for that: a node that has not got the bundle does not execute the block.

Which contracts there are is thus a matter of the state (``Registry.at``), and a client that is shown a state is shown
this with it.

State: ``upgrades/active`` -> (Active, ...) in the order in which they became so; ``upgrades/scheduled`` -> Scheduled.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias, cast

from chaincode import motion_record
from chaincode.contract import Context, Contract, ContractError, Value
from chaincode.validators import Get

ACTIVE: Final = b"upgrades/active"
"""The key that every proven answer comes with: it says whose code the answer is to be computed by."""
SCHEDULED: Final = b"upgrades/scheduled"
RESERVED: Final = ("governance", "motions")
"""The contracts that decide about upgrades, and that the ledger itself reads, are not upgraded so."""


Migrate: TypeAlias = Callable[[Context], object]


class Bundle(NamedTuple):
    """What is installed under a digest."""

    contracts: tuple[Contract, ...]
    migrate: Migrate


Find: TypeAlias = Callable[[bytes], Bundle | None]
"""The bundle with a digest, if it is installed here."""


class Active(NamedTuple):
    """An upgrade in force since ``height``; ``contracts``: the names of those that are its own still."""

    name: str
    digest: bytes
    height: int
    contracts: tuple[str, ...]


class Scheduled(NamedTuple):
    """An upgrade that is decided and not yet active."""

    first_height: int
    motion: int
    name: str
    digest: bytes


def active(get: Get) -> tuple[Active, ...]:
    """The upgrades in force, oldest first. A later one takes over the contracts that it names."""
    rows = cast("tuple[tuple[str, bytes, int, tuple[str, ...]], ...]", get(ACTIVE) or ())
    return tuple([Active(*row) for row in rows])


def scheduled(get: Get) -> Scheduled | None:
    """The upgrade that is decided and not yet active, if there is one."""
    row = cast("tuple[int, int, str, bytes] | None", get(SCHEDULED))
    return None if row is None else Scheduled(*row)


def schedule(ctx: Context, coming: Scheduled) -> None:
    """Let an upgrade become active at its height; nothing else is scheduled."""
    assert scheduled(ctx.get) is None, "two upgrades at a time"
    ctx.put(SCHEDULED, tuple(coming))


def cancel(ctx: Context, digest: bytes, motion: int) -> None:
    """What was scheduled is not, by the motion of this number. Raises ContractError("no-upgrade") if this one is not,
    any more, or was voted anew since: who wanted the one before called off was not asked about that.
    """
    coming = scheduled(ctx.get)
    if coming is None or coming.digest != digest or coming.motion > motion:
        raise ContractError("no-upgrade", "this upgrade is not scheduled")
    ctx.delete(SCHEDULED)
    motion_record.ended(ctx, coming.motion, "canceled")


def activate(ctx: Context, coming: Scheduled, bundle: Bundle) -> None:
    """Migrate the state, and let the bundle's contracts be those of the chain. Raises whatever its migration does."""
    bundle.migrate(ctx)
    names = tuple([contract.name for contract in bundle.contracts])
    rows: list[Value] = []
    for name, digest, height, contracts in active(ctx.get):
        left = tuple([contract for contract in contracts if contract not in names])
        if left:
            rows.append((name, digest, height, left))
    ctx.put(ACTIVE, (*rows, (coming.name, coming.digest, ctx.height, names)))
    ctx.delete(SCHEDULED)
    motion_record.ended(ctx, coming.motion, motion_record.DONE)
    ctx.emit("upgrade-active", (), (coming.motion, coming.name, coming.digest, names))


def fail(ctx: Context, coming: Scheduled, code: str) -> None:
    """The upgrade did not become active, and is not tried again."""
    ctx.delete(SCHEDULED)
    motion_record.ended(ctx, coming.motion, code)
    ctx.emit("upgrade-failed", (), (coming.motion, coming.name, coming.digest, code))
