"""What is left of a slot whose details have been deleted: how many entries went, and one digest of each kind.

Nothing of a slot is deleted before it is FINAL and its retention is over (``market_retention``). The digest is a chain
over the entries in the order in which they go:

    digest = SHA-256(digest before, SHA-256(key), SHA-256(canonical encoding of the value))

At first it is 32 zero bytes where the entries are an auction's (``OPEN``), so that a file that was exported before is
proven by the digest as well. Of all others nobody has them all but those who see everything; what a home used in a slot
has so few possible values that whoever knows its neighbours' could try them until the digest fits. So these begin with
a blind (``Context.blind``), which nobody can work out without the blocks.

Of a network or a device whose owner asked for it (``erasure.py``) the readings go earlier, and one digest over all of
them stays, which begins so, too.

State: table ``pruned/``: slot(8) -> (Part, ...), in the order in which they went; ``erased/``: network, and the device
if it is one's -> Erased. A device's name alone would not do: a genesis document may give it to a network as well.
"""

from hashlib import sha256
from typing import Final, NamedTuple, cast

from chaincode.contract import Context, ContractError
from chaincode.keys import text, uint

_PRUNED: Final = b"pruned/"
_ERASED: Final = b"erased/"

NO_ENTRIES: Final = bytes(32)
"""The digest of nothing."""
OPEN: Final = ("auction", "auction-order", "auction-trade")
"""The kinds of details that are exported, and compared with what the chain has kept of them. Orders have ids that
nobody can guess; what is said of an auction, all traders in it are shown."""


class Part(NamedTuple):
    """One kind of details of a slot: how many ``entries`` of the state went, and their ``digest``."""

    name: str
    entries: int
    digest: bytes


class Erased(NamedTuple):
    """What is erased of a network or a device: asked for up to the slot ``asked``, done for all before ``first_kept``;
    how many ``entries`` of the state went, and their ``digest``; ``due``: the block time at which it goes on, 0 when it
    is done."""

    asked: int
    first_kept: int
    entries: int
    digest: bytes
    due: int


def chained(digest: bytes, key: bytes, encoded: bytes) -> bytes:
    """The digest when one more entry goes: ``key`` with the canonical encoding of its value."""
    return sha256(digest + sha256(key).digest() + sha256(encoded).digest()).digest()


def beginning(ctx: Context, kind: str = "") -> bytes:
    """What the digest of a kind of details begins with."""
    return NO_ENTRIES if kind in OPEN else ctx.blind


def parts_of(ctx: Context, slot: int) -> tuple[Part, ...] | None:
    """What has been deleted of a slot; None if nothing has."""
    raw = ctx.get(_PRUNED + uint(slot))
    return None if raw is None else tuple([Part(*row) for row in cast("tuple[Part, ...]", raw)])


def put_parts(ctx: Context, slot: int, parts: tuple[Part, ...]) -> None:
    """Write it."""
    ctx.put(_PRUNED + uint(slot), tuple([tuple(part) for part in parts]))


def erased_of(ctx: Context, network: str, device: str = "") -> Erased | None:
    """What is erased of a network, or of one of its devices; None if nobody has asked for it."""
    raw = ctx.get(_erased_key(network, device))
    return None if raw is None else Erased(*cast("Erased", raw))


def put_erased(ctx: Context, network: str, device: str, erased: Erased) -> None:
    """Write it; ``device`` is empty for all of a network."""
    ctx.put(_erased_key(network, device), tuple(erased))


def newest_asked(ctx: Context) -> int:
    """The last slot that anybody has asked to be erased; -1 if nobody has."""
    return max([Erased(*cast("Erased", raw)).asked for _, raw in ctx.scan(_ERASED)], default=-1)


def is_gone(ctx: Context, slot: int, network: str = "", device: str = "") -> bool:
    """Whether the details of a slot have been deleted, or are being deleted: everybody's, or those of the network or
    of its device, if they are named."""
    if not 0 <= slot < 2**64:
        return False
    if ctx.get(_PRUNED + uint(slot)) is not None:
        return True
    names = [(network, each) for each in dict.fromkeys(("", device)) if network]
    found = [erased_of(ctx, *each) for each in names]
    return any(erased is not None and slot < erased.first_kept for erased in found)


def require_kept(ctx: Context, slot: int, network: str = "", device: str = "") -> None:
    """Raises ContractError("pruned") if ``is_gone``."""
    if is_gone(ctx, slot, network, device):
        raise ContractError("pruned", f"the details of slot {slot} have been deleted; market.pruned has their digest")


def _erased_key(network: str, device: str) -> bytes:
    return _ERASED + text(network) + (text(device) if device else b"")
