"""The world state: ordered bytes to decoded values, with overlays for blocks that are not yet stored.

Two layers. ``WorldState`` is the state after the head block: values of *indexed* tables (see
``Contract.indexed``) all in memory with their keys sorted, others read from the store and kept decoded in a
bounded cache. ``Overlay`` lies on it while one block executes: a dictionary of what changed, and a journal
that undoes one transaction. Dropping an overlay is forgetting it; ``WorldState.apply`` takes its changes
over once the store has them.

Values are ``None, bool, int, str, bytes`` and tuples of these; exactly these types, so that what one node
remembers from execution and another reads back from disk can never differ.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from sortedcontainers import SortedList

from chaincode.contract import Value
from chaincode.keys import table_of
from node.errors import CodecError, StoreFault
from node.ledger.blinding import ENTRY_BYTES, FIRST_BLIND, of_entry
from node.ledger.layout import STATE, after_prefix
from node.ledger.store import Store
from node.model.codec import decode_trusted, pack

MAX_KEY_BYTES = 256
CACHED_VALUES = 65_536
"""Decoded values of tables that are not indexed: this many, and up to as many again of the generation before."""

_MISSING: Final[Any] = object()
_SCALARS = frozenset({type(None), bool, int, str, bytes})
_CHUNK = 64


def _stored(data: bytes) -> Value:
    try:
        return decode_trusted(data[ENTRY_BYTES:])
    except CodecError as error:
        raise StoreFault("db-corrupt", f"a value of the state cannot be read: {error.message}") from error


class WorldState:
    """The state after the head block. Only ``apply`` changes it."""

    def __init__(self, store: Store, indexed: Iterable[bytes] = ()) -> None:
        self._store = store
        self._values: dict[bytes, Value] = {}
        self.indexed_values: Mapping[bytes, Value] = self._values
        """All entries of the indexed tables."""
        self._sorted: dict[bytes, SortedList] = {}
        self._young: dict[bytes, Value] = {}
        self._old: dict[bytes, Value] = {}
        self.index(indexed)

    def index(self, tables: Iterable[bytes]) -> None:
        """Keep these tables in memory from now on, their keys sorted, besides those that are already. What is read
        stays the same: an upgrade may have brought a contract that scans them in every block."""
        for table in tables:
            if table in self._sorted:
                continue
            self._sorted[table] = SortedList()
            start = STATE + table
            for key, data in self._store.scan(start, after_prefix(start)):
                self._values[key[1:]] = _stored(data)
                self._sorted[table].add(key[1:])
            self._young, self._old = {}, {}  # they may hold entries of the table

    def get(self, key: bytes) -> Value:
        """The value at ``key``, or None."""
        value = self._values.get(key, _MISSING)
        if value is not _MISSING:
            return value  # type: ignore[no-any-return]
        value = self._young.get(key, _MISSING)
        if value is not _MISSING:
            return value  # type: ignore[no-any-return]
        if table_of(key) in self._sorted:
            return None
        value = self._old.get(key, _MISSING)
        if value is _MISSING:
            data = self._store.get(STATE + key)
            value = None if data is None else _stored(data)
        self._remember(key, value)
        return value  # type: ignore[no-any-return]

    def encoded(self, key: bytes) -> bytes | None:
        """The canonical bytes of the value at ``key``, or None."""
        data = self.blinded(key)
        return None if data is None else data[ENTRY_BYTES:]

    def blinded(self, key: bytes) -> bytes | None:
        """The same behind its blind, as the Merkle tree binds it."""
        return self._store.get(STATE + key)

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, Value]]:
        """The pairs with ``start <= key < end``, within one table, in byte order or against it."""
        keys = self._sorted.get(table_of(start))
        if keys is None:
            for key, data in self._store.scan(STATE + start, STATE + end, reverse):
                yield key[1:], _stored(data)
        else:
            values = self._values
            for key in keys.irange(start, end, (True, False), reverse):
                yield key, values[key]

    def overlay(self) -> "Overlay":
        """A fresh layer for one block on top of this state. It is void once ``apply`` has been called."""
        return Overlay(self)

    def apply(self, values: Mapping[bytes, Value]) -> None:
        """Take over what the store has just written: key to value, or None where it was deleted."""
        indexed, known = self._sorted, self._values
        added: dict[bytes, list[bytes]] = {table: [] for table in indexed}
        for key, value in values.items():
            table = table_of(key)
            if table not in indexed:
                self._remember(key, value)
            elif value is None:
                if known.pop(key, _MISSING) is not _MISSING:
                    indexed[table].remove(key)
            else:
                if key not in known:
                    added[table].append(key)
                known[key] = value
        for table, new in added.items():
            indexed[table].update(new)

    def _remember(self, key: bytes, value: Value) -> None:
        if len(self._young) >= CACHED_VALUES:
            self._old = self._young
            self._young = {}
        self._young[key] = value


class _Current(dict[bytes, Value]):
    """What a block has read and written so far: most of what it reads, it reads several times."""

    def __init__(self, below: Callable[[bytes], Value]) -> None:
        super().__init__()
        self._below = below

    def __missing__(self, key: bytes) -> Value:
        value = self[key] = self._below(key)
        return value


class Overlay:
    """One block's changes on top of a WorldState; implements ``chaincode.contract.State``.

    ``begin`` starts a transaction, ``keep`` or ``undo`` ends it; nothing is written outside of one.
    """

    get: Callable[[bytes], Value]
    """The value at a key, or None."""

    def __init__(self, base: WorldState) -> None:
        self._base = base
        self._current = _Current(base.get)
        self.get = self._current.__getitem__
        self._indexed = base.indexed_values
        self._writes: dict[bytes, Value] = {}
        self._encoded: dict[bytes, bytes | None] = {}
        self._sealed: dict[bytes, bytes | None] | None = None
        self._packed: dict[bytes, tuple[Value, bytes]] = {}
        """Of the transaction under way: what its parts were checked by, each value with its encoding."""
        self._journal: list[tuple[bytes, Any]] = []
        # Per table: keys written here that are not indexed below; sorted only when somebody scans.
        self._touched: dict[bytes, SortedList] = {}
        self._unsorted: dict[bytes, list[bytes]] = {}
        self._seen: set[bytes] = set()

    def encoded(self, key: bytes) -> bytes | None:
        """The canonical bytes of the value at ``key``, or None. What was written here must be storable."""
        value = self._writes.get(key, _MISSING)
        if value is _MISSING:
            return self._base.encoded(key)
        return None if value is None else pack(value)

    def put(self, key: bytes, value: Value) -> None:
        """Set ``key``; a NamedTuple becomes the plain tuple of its fields.

        Raises TypeError for a value that is no state value, ValueError for a key that is none.
        """
        kind = type(value)
        if kind is not tuple:
            if isinstance(value, tuple):
                value = tuple(value)
            elif value is None or kind not in _SCALARS:
                raise TypeError(f"a {kind.__name__} is no value of the state: tuples and scalars are")
        before = self._writes.get(key, _MISSING)
        if before is _MISSING and key not in self._seen:
            self._note(key)
        self._journal.append((key, before))
        self._writes[key] = self._current[key] = value

    def delete(self, key: bytes) -> None:
        """Remove ``key``, if it is there."""
        before = self._writes.get(key, _MISSING)
        if before is _MISSING and key not in self._seen:
            self._note(key)
        self._journal.append((key, before))
        self._writes[key] = self._current[key] = None

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, Value]]:
        """The pairs with ``start <= key < end``, within one table, in byte order or against it.

        Keys of that range are not written while the scan is under way; others may be.
        """
        writes = self._writes
        below = self._base.scan(start, end, reverse)
        above = self._touched_keys(start, end, reverse)
        fresh = next(above, None)
        for key, value in below:
            while fresh is not None and (fresh > key if reverse else fresh < key):
                written = writes.get(fresh)
                if written is not None:
                    yield fresh, written
                fresh = next(above, None)
            if fresh == key:
                fresh = next(above, None)
            current = writes.get(key, _MISSING)
            if current is _MISSING:
                yield key, value
            elif current is not None:
                yield key, current
        while fresh is not None:
            written = writes.get(fresh)
            if written is not None:
                yield fresh, written
            fresh = next(above, None)

    def begin(self) -> None:
        """Start a transaction."""
        self._journal = []
        self._packed = {}
        self._sealed = None

    def undo(self) -> None:
        """Forget what was written since ``begin``."""
        self.rollback(0)
        self.begin()

    def mark(self) -> int:
        """A point within the transaction to which ``rollback`` returns."""
        return len(self._journal)

    def rollback(self, mark: int) -> None:
        """Forget what was written since ``mark``; the transaction goes on. Marks made since then are void."""
        journal = self._journal
        for key, before in reversed(journal[mark:]):
            if before is _MISSING:
                del self._writes[key], self._current[key]
            else:
                self._writes[key] = self._current[key] = before
        del journal[mark:]

    def check(self, mark: int) -> None:
        """Raises what ``seal`` would raise for what was written since ``mark``."""
        self._encode(mark)

    def seal(self) -> int:
        """Encode what was written since ``begin``; returns the size of the largest value, in bytes.

        Raises TypeError, ValueError or OverflowError for a value that holds what no state value may.
        """
        self._sealed = self._encode(0)
        return max(map(len, filter(None, self._sealed.values())), default=0)

    def keep(self) -> None:
        """End the transaction; what it wrote stays. Raises what ``seal`` raises, if that was not called."""
        if self._sealed is None:
            self.seal()
        assert self._sealed is not None
        self._encoded.update(self._sealed)
        self.begin()

    def changes(self, blind: bytes = FIRST_BLIND) -> dict[bytes, bytes | None]:
        """All keys that kept transactions wrote to their encoded values behind their blinds, as they are stored, or
        None for those that they deleted. ``blind``: of the block's results (``blinding.py``)."""
        return {key: None if value is None else of_entry(blind, key) + value for key, value in self._encoded.items()}

    def values(self) -> Mapping[bytes, Value]:
        """The same keys to their values: exactly what a restarted node would decode, since ``seal`` let them pass."""
        return self._writes

    def _encode(self, mark: int) -> dict[bytes, bytes | None]:
        """The keys written since ``mark`` to their encoded values, None for those that are deleted."""
        encoded: dict[bytes, bytes | None] = {}
        writes, packed = self._writes, self._packed
        for key, _ in islice(self._journal, mark, None):
            if key in encoded:
                continue
            value = writes[key]
            if value is None:
                encoded[key] = None
                continue
            known = packed.get(key)
            if known is None or known[0] is not value:
                if type(value) is tuple:
                    require_plain(value)
                known = packed[key] = (value, pack(value))
            encoded[key] = known[1]
        return encoded

    def _note(self, key: bytes) -> None:
        """A key is written for the first time: check it, and let scans find it."""
        if len(key) > MAX_KEY_BYTES:
            raise ValueError(f"a key of {len(key)} bytes, at most {MAX_KEY_BYTES} are allowed")
        table = table_of(key)
        self._seen.add(key)
        if key not in self._indexed:
            unsorted = self._unsorted.get(table)
            if unsorted is None:
                self._unsorted[table] = [key]
            else:
                unsorted.append(key)

    def _touched_keys(self, start: bytes, end: bytes, reverse: bool) -> Iterator[bytes]:
        """Keys written here within the range that the base does not know by its index, in order.

        In chunks: other keys may be written, and the list be sorted anew, while a scan is under way.
        """
        table = table_of(start)
        if table not in self._touched and table not in self._unsorted:
            return
        last = None
        while True:
            new = self._unsorted.pop(table, None)
            if new is not None:
                self._touched.setdefault(table, SortedList()).update(new)
            keys = self._touched[table]
            if last is None:
                chunk = list(islice(keys.irange(start, end, (True, False), reverse), _CHUNK))
            elif reverse:
                chunk = list(islice(keys.irange(start, last, (True, False), True), _CHUNK))
            else:
                chunk = list(islice(keys.irange(last, end, (False, False)), _CHUNK))
            yield from chunk
            if len(chunk) < _CHUNK:
                return
            last = chunk[-1]


def require_plain(value: tuple[Any, ...]) -> None:
    """Raises TypeError unless all within ``value`` are plain tuples and scalars, as state values are."""
    if _SCALARS.issuperset(map(type, value)):
        return
    for item in value:
        kind = type(item)
        if kind is tuple:
            require_plain(item)
        elif kind not in _SCALARS:
            raise TypeError(f"a {kind.__name__} within a value of the state")


def require_value(value: object) -> None:
    """Raises TypeError unless ``value`` is made of tuples and scalars; NamedTuples are tuples here."""
    if isinstance(value, tuple):
        if not _SCALARS.issuperset(map(type, value)):
            for item in value:
                require_value(item)
    elif type(value) not in _SCALARS:
        raise TypeError(f"a {type(value).__name__} is no value")
