"""What nobody can guess who has not seen the chain's signatures: the blind, in the replicated state.

A header is public, and what it commits to may have few possible values: a meter's reading of a slot, what is left of
a budget. So receipts and events are hashed with a blind (``model/receipt.py``), and so is every entry of the state: a
proof shows the digests of entries beside the one asked for, and by these nobody is to try values. With every block that
has transactions the blind takes up their signatures, of which each is unguessable to those who do not hold its key:

    blind after a block  = SHA-256(TAG_BLIND, blind before, the signatures in the order of their bytes)
    blind of its results = SHA-256(TAG_BLIND, blind after, height)
    blind of a call      = SHA-256(TAG_BLIND, blind before, the call's id)
    blind of an entry    = SHA-256(TAG_ENTRY, blind of the results of the block that wrote it, key), 16 bytes

Before the first block it is 32 zero bytes. No query reads it. Validators know it, and whoever has all signatures up to
a block can work it out; once one of them is erased, nobody can any more.
"""

from collections.abc import Sequence

from chaincode.contract import Value
from node.model.codec import sha256
from node.model.keys import TAG_BLIND, TAG_ENTRY

BLIND = b"blind/"
"""Where it lies in the state: a table of one entry."""
FIRST_BLIND = bytes(32)
ENTRY_BYTES = 16
"""Of a blind before an encoded value."""


def read(value: Value) -> bytes:
    """The blind from the state's entry."""
    return value if isinstance(value, bytes) else FIRST_BLIND


def stirred(blind: bytes, signatures: Sequence[bytes]) -> bytes:
    """The blind after a block with these signatures, in the order of their bytes."""
    return sha256(TAG_BLIND, blind, *signatures)


def of_results(blind: bytes, height: int) -> bytes:
    """The blind of a block's receipts and events; ``blind``: as it is after the block."""
    return sha256(TAG_BLIND, blind, height.to_bytes(8, "big"))


def of_call(blind: bytes, call: bytes) -> bytes:
    """What a transaction or a hook, by its id, may hide values with; ``blind``: as it was before the block."""
    return sha256(TAG_BLIND, blind, call)


def of_entry(blind: bytes, key: bytes) -> bytes:
    """What stands before the encoded value of ``key``; ``blind``: of the results of the block that writes it."""
    return sha256(TAG_ENTRY, blind, key)[:ENTRY_BYTES]
