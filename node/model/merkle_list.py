"""The Merkle tree over a list (RFC 6962, section 2.1): transactions and receipts of a block.

Leaves are hashed with a 0x00 prefix, inner nodes with 0x01, so that neither can pose as the other.
"""

from collections.abc import Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()


def list_root(items: Sequence[bytes]) -> bytes:
    """The 32-byte root over ``items``; EMPTY_ROOT for none."""
    return leaves_root([sha256(b"\x00" + item).digest() for item in items])


def leaves_root(leaves: list[bytes]) -> bytes:
    """The root over items whose hashes, each with its 0x00 prefix, are ``leaves``; EMPTY_ROOT for none."""
    if not leaves:
        return EMPTY_ROOT
    level = leaves
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def list_proof(items: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The audit path of ``items[index]``, leaf level first."""
    path: list[bytes] = []
    level = [sha256(b"\x00" + item).digest() for item in items]
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level = _parents(level)
        index //= 2
    return tuple(path)


def list_proof_is_valid(root: bytes, item: bytes, index: int, count: int, path: Sequence[bytes]) -> bool:
    """Whether ``path`` proves that ``item`` stands at ``index`` of the ``count`` items under ``root``."""
    if not 0 <= index < count:
        return False
    node = sha256(b"\x00" + item).digest()
    rest = list(path)
    while count > 1:
        if index ^ 1 < count:
            if not rest:
                return False
            sibling = rest.pop(0)
            node = sha256(b"\x01" + (sibling + node if index & 1 else node + sibling)).digest()
        index //= 2
        count = (count + 1) // 2
    return not rest and node == root


def _parents(level: list[bytes]) -> list[bytes]:
    paired = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
    if len(level) & 1:
        paired.append(level[-1])  # an odd node rises unchanged: never duplicated (CVE-2012-2459)
    return paired
