"""What is left of a slot whose details have been deleted: how many entries went, and one digest of each kind.

Nothing of a slot is deleted before it is FINAL and its retention is over (``market_retention``). The digest is a chain
over the entries in the order in which they go:

    digest = SHA-256(digest before, SHA-256(key), SHA-256(canonical encoding of the value)), at first 32 zero bytes

The two inner hashes are the entry as it stood in the state's Merkle tree, so a file that was exported before, with
its proofs, is proven by the digest as well.

State: table ``pruned/``: slot(8) -> (Part, ...), in the order in which they went.
"""

from hashlib import sha256
from typing import Final, NamedTuple, cast

from chaincode.contract import Context, ContractError
from chaincode.keys import uint

_PRUNED: Final = b"pruned/"

NO_ENTRIES: Final = bytes(32)
"""The digest of nothing."""


class Part(NamedTuple):
    """One kind of details of a slot: how many ``entries`` of the state went, and their ``digest``."""

    name: str
    entries: int
    digest: bytes


def chained(digest: bytes, key: bytes, encoded: bytes) -> bytes:
    """The digest when one more entry goes: ``key`` with the canonical encoding of its value."""
    return sha256(digest + sha256(key).digest() + sha256(encoded).digest()).digest()


def parts_of(ctx: Context, slot: int) -> tuple[Part, ...] | None:
    """What has been deleted of a slot; None if nothing has."""
    raw = ctx.get(_PRUNED + uint(slot))
    return None if raw is None else tuple([Part(*row) for row in cast("tuple[Part, ...]", raw)])


def put_parts(ctx: Context, slot: int, parts: tuple[Part, ...]) -> None:
    """Write it."""
    ctx.put(_PRUNED + uint(slot), tuple([tuple(part) for part in parts]))


def require_kept(ctx: Context, slot: int) -> None:
    """Raises ContractError("pruned") if the details of a slot have been deleted, or are being deleted."""
    if 0 <= slot < 2**64 and ctx.get(_PRUNED + uint(slot)) is not None:
        raise ContractError("pruned", f"the details of slot {slot} have been deleted; market.pruned has their digest")
