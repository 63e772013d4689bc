"""The Merkle tree over the state: 16-ary, sparse, its root a function of the entries alone.

An entry's path is the 64 hexadecimal digits of SHA-256(key). An entry lies at the shallowest prefix of its
path that no other entry shares, but never above the root's children. Every node is the bytes that are hashed:

    0x01 || inner (2 bytes) || leaf (2 bytes) || children in ascending order of their digit

``inner`` and ``leaf`` are big-endian bit sets, digit 0 the highest bit, which say at which digits there is
an inner node, and at which a single entry. An inner child is its node's hash (32 bytes), an entry is
SHA-256(key) || SHA-256(value), 64 bytes. Which of the two stands where is thus itself hashed. A node other
than the root has at least two entries below it; a tree without entries is the node without children.

A proof, of presence or absence, is the nodes from the root down to the one where the key's path ends; it is checked
where clients do it, in ``node/light.py``.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

HASH_BYTES = 32
ENTRY_BYTES = 64
HEAD_BYTES = 5
EMPTY_NODE = b"\x01\0\0\0\0"
EMPTY_ROOT = sha256(EMPTY_NODE).digest()

DIGITS = "0123456789abcdef"
_NEXT_DIGIT = dict(pairwise(DIGITS))
_BIT = {digit: 0x8000 >> number for number, digit in enumerate(DIGITS)}
_BEFORE = {digit: -(0x10000 >> number) for number, digit in enumerate(DIGITS)}
"""Of a bit set, the bits of all digits below this one."""
_BISECT_FROM = 24
"""From this many changes on, the end of a digit's run is searched, not walked to."""


class TreeUpdate(NamedTuple):
    """What a block does to the tree: its new root, and the changed nodes by path, None for those that are gone."""

    root: bytes
    nodes: dict[str, bytes | None]


def updated(root_node: bytes, node: Callable[[str], bytes], changes: Mapping[bytes, bytes | None]) -> TreeUpdate:
    """The tree with ``changes`` (key to encoded value, None to delete) made. ``node``: the node at a path."""
    entries = []
    for key, value in changes.items():
        digest = sha256(key).digest()
        entries.append((digest.hex(), b"" if value is None else digest + sha256(value).digest()))
    if not entries:
        return TreeUpdate(sha256(root_node).digest(), {})
    entries.sort()
    change = _Change(node, [path for path, _ in entries], [entry for _, entry in entries])
    root = change.descend("", root_node, 0, len(entries))
    return TreeUpdate(root, change.nodes)


class _Change:
    """One update under way: sorted paths with their new entries (empty to delete), and the nodes made so far."""

    def __init__(self, node: Callable[[str], bytes], paths: list[str], entries: list[bytes]) -> None:
        self._node = node
        self._paths = paths
        self._entries = entries
        self.nodes: dict[str, bytes | None] = {}

    def descend(self, path: str, node: bytes, low: int, high: int) -> bytes:
        """Make the changes ``low..high``, all below ``path``, in ``node``.

        Returns what the parent has to put in its place: nothing, the one entry left, or the new node's hash.
        """
        paths, entries = self._paths, self._entries
        depth = len(path)
        inner = node[1] << 8 | node[2]
        leaf = node[3] << 8 | node[4]
        children = bytearray(node)
        while low < high:
            digit = paths[low][depth]
            end = low + 1
            if end < high and paths[end][depth] == digit:
                end = self._run_end(path, digit, end, high)
            bit, before = _BIT[digit], _BEFORE[digit]
            at = HEAD_BYTES + HASH_BYTES * (inner & before).bit_count()
            if leaf:
                at += ENTRY_BYTES * (leaf & before).bit_count()
            if inner & bit:
                size = HASH_BYTES
                child = path + digit
                new = self.descend(child, self._node(child), low, end)
            elif leaf & bit:
                size = ENTRY_BYTES
                if end - low == 1 and children[at : at + HASH_BYTES] == bytes.fromhex(paths[low]):
                    new = entries[low]
                else:
                    child_node = single(bytes(children[at : at + ENTRY_BYTES]), depth + 1)
                    new = self.descend(path + digit, child_node, low, end)
            else:
                size = 0
                new = entries[low] if end - low == 1 else self.descend(path + digit, EMPTY_NODE, low, end)
            children[at : at + size] = new
            if len(new) != size:
                inner = inner | bit if len(new) == HASH_BYTES else inner & ~bit
                leaf = leaf | bit if len(new) == ENTRY_BYTES else leaf & ~bit
            low = end
        if inner == 0 and leaf & (leaf - 1) == 0 and depth:
            self.nodes[path] = None
            return bytes(children[HEAD_BYTES:])
        children[1:HEAD_BYTES] = (inner << 16 | leaf).to_bytes(4, "big")
        node = bytes(children)
        self.nodes[path] = node
        return sha256(node).digest()

    def _run_end(self, path: str, digit: str, low: int, high: int) -> int:
        """The end of the run of changes whose next digit is ``digit``, which goes on at ``low``."""
        paths = self._paths
        if high - low >= _BISECT_FROM:
            after = _NEXT_DIGIT.get(digit)
            return high if after is None else bisect_left(paths, path + after, low, high)
        depth = len(path)
        while low < high and paths[low][depth] == digit:
            low += 1
        return low


def built(path: str, entries: Mapping[bytes, bytes]) -> tuple[bytes, dict[str, bytes]]:
    """The subtree at ``path`` that has exactly ``entries`` (key to encoded value), whose paths all begin with ``path``.

    Returns what stands in its place in the node above (nothing, its only entry, or its node's hash; at the empty path
    always a hash), and its nodes by path.
    """
    digests = sorted([(sha256(key), value) for key, value in entries.items()], key=lambda pair: pair[0].digest())
    change = _Change(
        lambda missing: EMPTY_NODE,
        [digest.hexdigest() for digest, _ in digests],
        [digest.digest() + sha256(value).digest() for digest, value in digests],
    )
    top = change.descend(path, EMPTY_NODE, 0, len(digests))
    return top, {place: node for place, node in change.nodes.items() if node is not None}


def entries_of(node: bytes) -> list[bytes]:
    """The single entries that stand in a node, 64 bytes each, in ascending order."""
    children = [child_of(node, digit) for digit in DIGITS]
    return [child for child in children if len(child) == ENTRY_BYTES]


def child_of(node: bytes, digit: str) -> bytes:
    """What stands at ``digit``: nothing, an inner node's hash, or an entry."""
    inner = node[1] << 8 | node[2]
    leaf = node[3] << 8 | node[4]
    bit, before = _BIT[digit], _BEFORE[digit]
    at = HEAD_BYTES + HASH_BYTES * (inner & before).bit_count() + ENTRY_BYTES * (leaf & before).bit_count()
    return node[at : at + (HASH_BYTES if inner & bit else ENTRY_BYTES if leaf & bit else 0)]


def is_node(data: bytes) -> bool:
    """Whether these bytes have the form of a node: as many children as its bit sets say."""
    if len(data) < HEAD_BYTES or data[0] != 1:
        return False
    inner = data[1] << 8 | data[2]
    leaf = data[3] << 8 | data[4]
    return (
        not inner & leaf and len(data) == HEAD_BYTES + HASH_BYTES * inner.bit_count() + ENTRY_BYTES * leaf.bit_count()
    )


def node_of(children: Mapping[str, bytes]) -> bytes:
    """The node with these children by digit, each an inner node's hash or an entry."""
    inner = sum([_BIT[digit] for digit, child in children.items() if len(child) == HASH_BYTES])
    leaf = sum([_BIT[digit] for digit, child in children.items() if len(child) == ENTRY_BYTES])
    return (
        b"\x01" + (inner << 16 | leaf).to_bytes(4, "big") + b"".join([child for _, child in sorted(children.items())])
    )


def single(entry: bytes, depth: int) -> bytes:
    """A node at ``depth`` that holds one entry only."""
    digit = entry[depth // 2] & 15 if depth % 2 else entry[depth // 2] >> 4
    return b"\x01\0\0" + (0x8000 >> digit).to_bytes(2, "big") + entry


def only_entry(node: bytes) -> bytes | None:
    """The entry of a node that holds nothing else; None for any other node."""
    return node[HEAD_BYTES:] if len(node) == HEAD_BYTES + ENTRY_BYTES and node[1] == node[2] == 0 else None
