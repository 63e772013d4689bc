"""The state tree of a node: which of its nodes lie in memory, and when they are written.

Most keys that a block changes are changed again soon, and every change changes the nodes above it. So nodes are not
written with every block. The subtrees below depth 2, 256 of them, are written in turns: with each block those whose
turn it is, as they stood before that block; whatever changed is written once in ``ROUND_BLOCKS`` blocks. What a block
changed is written as the list of its keys, which is kept for as many blocks. At the start the subtrees are read as
they were written, and the listed keys are set to what the state has now: since the tree is a function of the
entries alone, that is the head's.

A subtree that is a single entry, which thus lies higher up, is stored as a node at depth 2 with this one entry.
Depths 0 and 1 follow from depth 2 and are not stored.
"""

from collections.abc import Mapping

from node.errors import CodecError, StoreFault
from node.ledger.layout import CHANGED, NODE, STATE, after_prefix, at_height
from node.ledger.merkle import (
    DIGITS,
    EMPTY_NODE,
    ENTRY_BYTES,
    HASH_BYTES,
    TreeUpdate,
    child_of,
    entries_of,
    is_node,
    node_of,
    only_entry,
    single,
    updated,
)
from node.ledger.store import Store
from node.model.codec import decode_trusted, encode, sha256

ROUND_BLOCKS = 32
STORED_DEPTH = 2
UPPER_LEVELS = 4
"""Nodes of depths 0 to 3 are always in memory: at most 4369."""
CACHED_NODES = 32_768
"""Nodes further down: this many in memory, as many again of the generation before, and those not yet written."""

_SUBTREES = tuple(high + low for high in DIGITS for low in DIGITS)
_STORE_PREFIX = [NODE + bytes([depth]) for depth in range(64)]


class Tree:
    """The tree over a store's state. ``update`` computes; only ``apply`` changes it."""

    def __init__(self, store: Store) -> None:
        """The tree as of the newest block in the store. Raises StoreFault for nodes that are none."""
        self._store = store
        self._upper = _load_upper(store)
        self._dirty: dict[str, dict[str, bytes | None]] = {}
        """By subtree: the nodes that changed since it was written last; None for those that are gone. What the
        caches below hold of such a node is old, until ``apply`` replaces it."""
        self._young: dict[str, bytes] = {}
        self._old: dict[str, bytes] = {}
        changed: dict[bytes, bytes | None] = {}
        for _, keys in store.scan(CHANGED, after_prefix(CHANGED)):
            changed.update((key, store.get(STATE + key)) for key in _keys(keys))
        self._take(self.update(changed))

    @property
    def root(self) -> bytes:
        """The root's hash: 32 bytes."""
        return sha256(self._upper[""])

    def upper(self, depth: int) -> dict[str, bytes]:
        """The nodes above ``depth``, which is at most ``UPPER_LEVELS``, by path."""
        return {path: node for path, node in self._upper.items() if len(path) < depth}

    def update(self, changes: Mapping[bytes, bytes | None]) -> TreeUpdate:
        """The tree with ``changes`` (key to encoded value, None to delete) made, as a difference to this one."""
        return updated(self._upper[""], self.node, changes)

    def puts(self, height: int, changes: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
        """What the store must write with the block at ``height``, which makes ``changes``; before ``apply``."""
        puts: dict[bytes, bytes | None] = {at_height(CHANGED, height): encode(tuple(changes))}
        if height >= ROUND_BLOCKS:
            puts[at_height(CHANGED, height - ROUND_BLOCKS)] = None
        for subtree in _turn(height):
            for path, node in self._dirty.get(subtree, {}).items():
                puts[_store_key(path)] = node
            top = self._top(subtree)
            if len(top) != HASH_BYTES:
                puts[_store_key(subtree)] = single(top, STORED_DEPTH) if top else None
        return puts

    def apply(self, height: int, update: TreeUpdate) -> None:
        """Take over the update of the block at ``height``, which the store has just written."""
        for subtree in _turn(height):
            for path, node in self._dirty.pop(subtree, {}).items():
                if len(path) < UPPER_LEVELS:
                    continue
                if node is not None:
                    self._remember(path, node)
                else:
                    self._young.pop(path, None)
                    self._old.pop(path, None)
        self._take(update)

    def prove(self, key: bytes) -> tuple[bytes, ...]:
        """The proof that ``key`` has the value that it has, or none: the nodes along its path, root first."""
        path = sha256(key).hex()
        proof = []
        for depth in range(len(path)):
            node = self.node(path[:depth])
            proof.append(node)
            if len(child_of(node, path[depth])) != HASH_BYTES:
                break
        return tuple(proof)

    def node(self, path: str) -> bytes:
        """The node at ``path``. Raises StoreFault if it is not there."""
        node: bytes | None
        if len(path) < UPPER_LEVELS:
            node = self._upper.get(path)
        else:
            dirty = self._dirty.get(path[:STORED_DEPTH])
            node = (dirty.get(path) if dirty is not None else None) or self._young.get(path)
            if node is None:
                node = self._old.get(path) or self._stored(path)
                if node is not None:
                    self._remember(path, node)
        if node is None:
            raise StoreFault("db-corrupt", f"the state tree has no node at {path!r}")
        return node

    def _stored(self, path: str) -> bytes | None:
        node = self._store.get(_store_key(path))
        if node is not None and not is_node(node):
            raise StoreFault("db-corrupt", f"the state tree has no node at {path!r}, but {len(node)} other bytes")
        return node

    def _top(self, subtree: str) -> bytes:
        """What the tree has where ``subtree`` begins: nothing, a node's hash, or its only entry."""
        above = self._upper.get(subtree[0])
        if above is not None:
            return child_of(above, subtree[1])
        entry = child_of(self._upper[""], subtree[0])
        return entry if entry[:HASH_BYTES].hex().startswith(subtree) else b""

    def _take(self, update: TreeUpdate) -> None:
        upper, subtree, dirty = self._upper, "", dict[str, bytes | None]()
        for path, node in update.nodes.items():
            if len(path) < UPPER_LEVELS:
                if node is None:
                    upper.pop(path, None)
                else:
                    upper[path] = node
                if len(path) < STORED_DEPTH:
                    continue
            if not subtree or not path.startswith(subtree):
                subtree = path[:STORED_DEPTH]
                dirty = self._dirty.setdefault(subtree, {})
            dirty[path] = node

    def _remember(self, path: str, node: bytes) -> None:
        if len(self._young) >= CACHED_NODES:
            self._old = self._young
            self._young = {}
        self._young[path] = node


def stored(nodes: Mapping[str, bytes]) -> dict[bytes, bytes | None]:
    """What the store keeps of ``nodes``, which are some or all of a tree that is written as a whole."""
    puts: dict[bytes, bytes | None] = {}
    for path, node in nodes.items():
        if len(path) >= STORED_DEPTH:
            puts[_store_key(path)] = node
        else:
            for entry in entries_of(node):
                puts[_store_key(entry[:HASH_BYTES].hex()[:STORED_DEPTH])] = single(entry, STORED_DEPTH)
    return puts


def _turn(height: int) -> tuple[str, ...]:
    """The subtrees that are written with the block at ``height``."""
    return _SUBTREES[height % ROUND_BLOCKS :: ROUND_BLOCKS]


def _store_key(path: str) -> bytes:
    return _STORE_PREFIX[len(path)] + path.encode()


def _keys(data: bytes) -> tuple[bytes, ...]:
    try:
        keys = decode_trusted(data)
    except CodecError as error:
        raise StoreFault("db-corrupt", f"a list of changed keys cannot be read: {error}") from error
    if not isinstance(keys, tuple) or not all(isinstance(key, bytes) for key in keys):
        raise StoreFault("db-corrupt", "a list of changed keys is none")
    return keys  # type: ignore[return-value]


def _load_upper(store: Store) -> dict[str, bytes]:
    """The upper nodes as they were written last: depths 2 and 3 read, 1 and 0 made from what depth 2 holds."""
    upper: dict[str, bytes] = {}
    for depth in range(STORED_DEPTH, UPPER_LEVELS):
        prefix = _STORE_PREFIX[depth]
        for key, node in store.scan(prefix, after_prefix(prefix)):
            if not is_node(node):
                raise StoreFault("db-corrupt", f"a node of the state tree is none, but {len(node)} other bytes")
            upper[key[len(prefix) :].decode()] = node
    children: dict[str, dict[str, bytes]] = {}
    for subtree in _SUBTREES:
        if subtree in upper:
            entry = only_entry(upper[subtree])
            if entry is not None:
                del upper[subtree]
            children.setdefault(subtree[0], {})[subtree[1]] = entry or sha256(upper[subtree])
    top: dict[str, bytes] = {}
    for digit, below in children.items():
        first = next(iter(below.values()))
        if len(below) == 1 and len(first) == ENTRY_BYTES:
            top[digit] = first
        else:
            upper[digit] = node_of(below)
            top[digit] = sha256(upper[digit])
    upper[""] = node_of(top) if top else EMPTY_NODE
    return upper
