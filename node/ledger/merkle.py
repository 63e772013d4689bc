"""The Merkle tree over the state: 16-ary, sparse, its root a function of the entries alone.

An entry's path is the 64 hexadecimal digits of SHA-256(key). An entry lies at the shallowest prefix of its
path that no other entry shares, but never above the root's children. Every node is the bytes that are hashed:

    0x01 || inner (2 bytes) || leaf (2 bytes) || children in ascending order of their digit

``inner`` and ``leaf`` are big-endian bit sets, digit 0 the highest bit, which say at which digits there is
an inner node, and at which a single entry. An inner child is its node's hash (32 bytes), an entry is
SHA-256(key) || SHA-256(value), 64 bytes. Which of the two stands where is thus itself hashed. A node other
than the root has at least two entries below it; a tree without entries is the node without children.

A proof, of presence or absence, is the nodes from the root down to the one where the key's path ends.

In the database a node stands under its path. Nodes of the upper ``UPPER_LEVELS`` levels are all kept in
memory; those that have no entry among their children are not stored, since they follow from the level below.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

from node.errors import StoreFault
from node.ledger.layout import NODE
from node.ledger.store import Store

UPPER_LEVELS = 4
CACHED_NODES = 32_768
"""Nodes below the upper levels: this many in memory, and up to as many again of the generation before."""

EMPTY_NODE = b"\x01\0\0\0\0"
EMPTY_ROOT = sha256(EMPTY_NODE).digest()

_HEAD = 5
_HASH = 32
_ENTRY = 64
_DIGITS = "0123456789abcdef"
_NEXT_DIGIT = dict(pairwise(_DIGITS))
_BIT = {digit: 0x8000 >> number for number, digit in enumerate(_DIGITS)}
_BEFORE = {digit: -(0x10000 >> number) for number, digit in enumerate(_DIGITS)}
"""Of a bit set, the bits of all digits below this one."""
_STORE_PREFIX = [NODE + bytes([depth]) for depth in range(64)]
_BISECT_FROM = 24
"""From this many changes on, the end of a digit's run is searched, not walked to."""


class TreeUpdate(NamedTuple):
    """What a block does to the tree: its new root, and the changed nodes by path, None for those that are gone."""

    root: bytes
    nodes: dict[str, bytes | None]


class Tree:
    """The tree in a store. ``update`` computes; only ``apply`` changes it."""

    def __init__(self, store: Store) -> None:
        """Raises StoreFault if a stored node is none."""
        self._store = store
        self._upper = _load_upper(store)
        self._young: dict[str, bytes] = {}
        self._old: dict[str, bytes] = {}

    @property
    def root(self) -> bytes:
        """The root's hash: 32 bytes."""
        return sha256(self._upper[""]).digest()

    def update(self, changes: Mapping[bytes, bytes | None]) -> TreeUpdate:
        """The tree with ``changes`` (key to encoded value, None to delete) made, as a difference to this one."""
        entries = []
        for key, value in changes.items():
            digest = sha256(key)
            entry = b"" if value is None else digest.digest() + sha256(value).digest()
            entries.append((digest.hexdigest(), entry))
        if not entries:
            return TreeUpdate(self.root, {})
        entries.sort()
        change = _Change(self, [path for path, _ in entries], [entry for _, entry in entries])
        root = change.descend("", self._upper[""], 0, len(entries))
        return TreeUpdate(root, change.nodes)

    def puts(self, update: TreeUpdate) -> dict[bytes, bytes | None]:
        """What the store must write for ``update``."""
        puts: dict[bytes, bytes | None] = {}
        for path, node in update.nodes.items():
            if len(path) >= UPPER_LEVELS or _has_entries(node):
                puts[_store_key(path)] = node
            elif _has_entries(self._upper.get(path)):
                puts[_store_key(path)] = None
        return puts

    def apply(self, update: TreeUpdate) -> None:
        """Take over an update that the store has just written."""
        for path, node in update.nodes.items():
            if node is None:
                self._upper.pop(path, None)
                self._young.pop(path, None)
                self._old.pop(path, None)
            elif len(path) < UPPER_LEVELS:
                self._upper[path] = node
            else:
                self._remember(path, node)

    def prove(self, key: bytes) -> tuple[bytes, ...]:
        """The proof that ``key`` has the value that it has, or none: the nodes along its path, root first."""
        path = sha256(key).hexdigest()
        proof = []
        for depth in range(len(path)):
            node = self.node(path[:depth])
            proof.append(node)
            if len(_child(node, int(path[depth], 16))) != _HASH:
                break
        return tuple(proof)

    def node(self, path: str) -> bytes:
        """The node at ``path``. Raises StoreFault if it is not there."""
        node = self._upper.get(path) or self._young.get(path)
        if node is None:
            node = self._old.get(path) or self._store.get(_store_key(path))
            if node is None:
                raise StoreFault("db-corrupt", f"the state tree has no node at {path!r}")
            self._remember(path, node)
        return node

    def _remember(self, path: str, node: bytes) -> None:
        if len(self._young) >= CACHED_NODES:
            self._old = self._young
            self._young = {}
        self._young[path] = node


class _Change:
    """One update under way: sorted paths with their new entries (empty to delete), and the nodes made so far."""

    def __init__(self, tree: Tree, paths: list[str], entries: list[bytes]) -> None:
        self._node = tree.node
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
            at = _HEAD + _HASH * (inner & before).bit_count()
            if leaf:
                at += _ENTRY * (leaf & before).bit_count()
            if inner & bit:
                size = _HASH
                child = path + digit
                new = self.descend(child, self._node(child), low, end)
            elif leaf & bit:
                size = _ENTRY
                if end - low == 1 and children[at : at + _HASH] == bytes.fromhex(paths[low]):
                    new = entries[low]
                else:
                    single = _single(bytes(children[at : at + _ENTRY]), depth + 1)
                    new = self.descend(path + digit, single, low, end)
            else:
                size = 0
                new = entries[low] if end - low == 1 else self.descend(path + digit, EMPTY_NODE, low, end)
            children[at : at + size] = new
            if len(new) != size:
                inner = inner | bit if len(new) == _HASH else inner & ~bit
                leaf = leaf | bit if len(new) == _ENTRY else leaf & ~bit
            low = end
        if inner == 0 and leaf & (leaf - 1) == 0 and depth:
            self.nodes[path] = None
            return bytes(children[_HEAD:])
        children[1:_HEAD] = (inner << 16 | leaf).to_bytes(4, "big")
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


def verify_proof(root: bytes, key: bytes, value: bytes | None, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that under ``root`` the key's encoded value is ``value``; None: that it has none."""
    key_hash = sha256(key).digest()
    path = key_hash.hex()
    expected = root
    for depth, node in enumerate(proof[: len(path)]):
        if len(node) < _HEAD or sha256(node).digest() != expected:
            return False
        expected = _child(node, int(path[depth], 16))
        if len(expected) != _HASH:
            if depth != len(proof) - 1:
                return False
            if value is None:
                return expected[:_HASH] != key_hash
            return expected == key_hash + sha256(value).digest()
    return False


def _child(node: bytes, digit: int) -> bytes:
    """What stands at ``digit``: nothing, an inner node's hash, or an entry."""
    inner = node[1] << 8 | node[2]
    leaf = node[3] << 8 | node[4]
    bit = 0x8000 >> digit
    before = -(bit << 1)
    at = _HEAD + _HASH * (inner & before).bit_count() + _ENTRY * (leaf & before).bit_count()
    return node[at : at + (_HASH if inner & bit else _ENTRY if leaf & bit else 0)]


def _single(entry: bytes, depth: int) -> bytes:
    """A node that holds one entry only: the start of the node that it will share."""
    digit = entry[depth // 2] >> 4 if depth % 2 == 0 else entry[depth // 2] & 15
    return b"\x01\0\0" + (0x8000 >> digit).to_bytes(2, "big") + entry


def _has_entries(node: bytes | None) -> bool:
    return node is not None and (node[3] != 0 or node[4] != 0)


def _store_key(path: str) -> bytes:
    return _STORE_PREFIX[len(path)] + path.encode()


def _load_upper(store: Store) -> dict[str, bytes]:
    """All nodes of the upper levels: read, or rebuilt from the level below."""
    upper: dict[str, bytes] = {}
    below: dict[str, bytes] = {}
    for depth in range(UPPER_LEVELS, -1, -1):
        level = {} if depth == UPPER_LEVELS else _parents(below)
        for key, node in store.scan(NODE + bytes([depth]), NODE + bytes([depth + 1])):
            if len(node) < _HEAD:
                raise StoreFault("db-corrupt", f"a node of the state tree has {len(node)} bytes")
            level[key[2:].decode()] = node
        if depth < UPPER_LEVELS:
            upper.update(level)
        below = level
    upper.setdefault("", EMPTY_NODE)
    return upper


def _parents(nodes: Mapping[str, bytes]) -> dict[str, bytes]:
    """The nodes one level up, as far as they have no entries of their own."""
    inner: dict[str, int] = {}
    hashes: dict[str, list[bytes]] = {}
    for path in sorted(nodes):
        parent = path[:-1]
        inner[parent] = inner.get(parent, 0) | 0x8000 >> int(path[-1], 16)
        hashes.setdefault(parent, []).append(sha256(nodes[path]).digest())
    return {
        parent: b"\x01" + (bits << 16).to_bytes(4, "big") + b"".join(hashes[parent]) for parent, bits in inner.items()
    }
