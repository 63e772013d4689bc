"""The contracts' state as one dictionary, for an exchange in one process: nothing is encoded, hashed or stored.

It is what ``chaincode.contract.State`` asks for, and gives the same answers as the node's own. A table's keys are
sorted when somebody first scans it, and kept sorted from then on.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Any, Final

from chaincode.contract import ContractError, Value
from node.ledger.state import MAX_KEY_BYTES
from node.model.codec import pack

_MISSING: Final[Any] = object()


class LocalState:
    """``begin`` starts a transaction, ``undo`` takes back what was written since."""

    def __init__(self) -> None:
        self.values: dict[bytes, Value] = {}
        self.get = self.values.get
        self._sorted: dict[bytes, list[bytes]] = {}
        self._journal: list[tuple[bytes, Any]] = []

    def encoded(self, key: bytes) -> bytes | None:
        """The canonical bytes of the value at ``key``, or None."""
        value = self.values.get(key)
        return None if value is None else pack(value)

    def put(self, key: bytes, value: Value) -> None:
        """Set ``key``; a NamedTuple becomes the plain tuple of its fields. Raises ValueError for a key too long."""
        if type(value) is not tuple and isinstance(value, tuple):
            value = tuple(value)
        before = self.values.get(key, _MISSING)
        if before is _MISSING:
            if len(key) > MAX_KEY_BYTES:
                raise ValueError(f"a key of {len(key)} bytes, at most {MAX_KEY_BYTES} are allowed")
            keys = self._sorted.get(key[: key.find(b"/") + 1])
            if keys is not None:
                insort(keys, key)
        self._journal.append((key, before))
        self.values[key] = value

    def delete(self, key: bytes) -> None:
        """Remove ``key``, if it is there."""
        before = self.values.pop(key, _MISSING)
        if before is not _MISSING:
            self._journal.append((key, before))
            self._forget(key)

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, Value]]:
        """The pairs with ``start <= key < end``, within one table, in byte order or against it. Other keys may be
        written while the scan is under way."""
        table = start[: start.find(b"/") + 1]
        keys = self._sorted.get(table)
        if keys is None:
            keys = self._sorted[table] = sorted([key for key in self.values if key.startswith(table)])
        return self._backward(keys, start, end) if reverse else self._forward(keys, start, end)

    def begin(self) -> None:
        """Start a transaction: all before it stays."""
        self._journal.clear()

    def undo(self) -> None:
        """Forget what was written since ``begin``."""
        self.rollback(0)

    def mark(self) -> int:
        """A point within the transaction to which ``rollback`` returns."""
        return len(self._journal)

    def rollback(self, mark: int) -> None:
        """Forget what was written since ``mark``; marks made since then are void."""
        for key, before in reversed(self._journal[mark:]):
            if before is _MISSING:
                del self.values[key]
                self._forget(key)
            else:
                if key not in self.values:
                    keys = self._sorted.get(key[: key.find(b"/") + 1])
                    if keys is not None:
                        insort(keys, key)
                self.values[key] = before
        del self._journal[mark:]

    def check(self, mark: int) -> None:
        """Nothing is stored, so nothing need be storable."""

    def _forget(self, key: bytes) -> None:
        keys = self._sorted.get(key[: key.find(b"/") + 1])
        if keys is not None:
            del keys[bisect_left(keys, key)]

    def _forward(self, keys: list[bytes], start: bytes, end: bytes) -> Iterator[tuple[bytes, Value]]:
        place = bisect_left(keys, start)
        while place < len(keys) and (key := keys[place]) < end:
            yield key, self.values[key]
            place = place + 1 if place < len(keys) and keys[place] is key else bisect_right(keys, key)

    def _backward(self, keys: list[bytes], start: bytes, end: bytes) -> Iterator[tuple[bytes, Value]]:
        place = bisect_left(keys, end) - 1
        while place >= 0 and (key := keys[place]) >= start:
            yield key, self.values[key]
            place = place - 1 if place < len(keys) and keys[place] is key else bisect_left(keys, key) - 1


class LocalView:
    """The same state for a query, whose writes are refused with "read-only"."""

    def __init__(self, state: LocalState) -> None:
        self.get = state.get
        self.encoded = state.encoded
        self.scan = state.scan

    def put(self, key: bytes, value: Value) -> None:
        """Refused."""
        raise ContractError("read-only", "a query writes")

    def delete(self, key: bytes) -> None:
        """Refused."""
        raise ContractError("read-only", "a query writes")

    def mark(self) -> int:
        """Nothing is ever written."""
        return 0

    def check(self, mark: int) -> None:
        """Nothing is ever written."""

    def rollback(self, mark: int) -> None:
        """Nothing is ever written."""
