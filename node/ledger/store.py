"""Where bytes are kept: LevelDB for nodes, memory for the simulator, replays and tests.

A store is ordered bytes to bytes. A write is one atomic, synchronous batch: after it returns, all of it
survives a power loss; before, none of it may. Nothing else writes.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import plyvel
from sortedcontainers import SortedDict

from node.errors import ConfigError, StoreFault

WRITE_BUFFER_BYTES = 16 * 1024 * 1024
BLOCK_CACHE_BYTES = 32 * 1024 * 1024

_CANNOT_WRITE = frozenset(
    os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
)
"""How LevelDB's message of an I/O error ends if the data are sound, but nothing can be written."""


class View(Protocol):
    """A store as it was at one moment, whatever is written afterwards. Raises StoreFault as stores do."""

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The pairs with ``start <= key < end`` in byte order; writes may go on meanwhile."""

    def close(self) -> None:
        """Let go of what only this view still needs."""


class Store(Protocol):
    """Ordered bytes to bytes. Every method raises StoreFault if the disk or the database fails."""

    def get(self, key: bytes) -> bytes | None:
        """The value at ``key``, or None."""

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The pairs with ``start <= key < end`` in byte order, or against it. No writes while it is under way."""

    def write(self, puts: Mapping[bytes, bytes | None]) -> None:
        """Set every key to its value, or delete it for None: all or nothing, and durable on return."""

    def view(self) -> View:
        """The store as it is now, for readers that take their time. Close it before the store."""

    def compact(self, start: bytes, end: bytes) -> None:
        """Let no file keep what was deleted or overwritten of ``start <= key < end``. Takes its time; any thread's."""

    def close(self) -> None:
        """Release the files. The store is not used afterwards."""


class MemoryStore:
    """A store in memory, which loses nothing but itself."""

    def __init__(self) -> None:
        self._items: SortedDict = SortedDict()

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._items.get(key)
        return value

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        for key in self._items.irange(start, end, inclusive=(True, False), reverse=reverse):
            yield key, self._items[key]

    def write(self, puts: Mapping[bytes, bytes | None]) -> None:
        for key, value in puts.items():
            if value is None:
                self._items.pop(key, None)
            else:
                self._items[key] = value

    def view(self) -> View:
        return self.copy()

    def compact(self, start: bytes, end: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def copy(self) -> "MemoryStore":
        """What a power loss at this moment would leave."""
        other = MemoryStore()
        other._items = self._items.copy()
        return other


class LevelStore:
    """A store in a LevelDB directory. One process at a time may have it open.

    ``synced``: whether every write is durable on return. Without it a power loss takes the newest writes away, never
    an older one alone: for a database under construction, see ``sync_files``.

    Raises ConfigError: "db-missing" if there is none at ``path`` and ``create`` is false, "db-locked",
    "db-corrupt", "cannot-write" (permissions, no space), "db-unusable" (not a directory, something in it is no plain
    file, the disk does not answer).
    """

    def __init__(self, path: Path, *, create: bool, synced: bool = True) -> None:
        self.path = path
        self._synced = synced
        if not create and not (path / "CURRENT").exists():
            raise ConfigError("db-missing", f"there is no database in {path}")
        _require_plain_files(path)
        try:
            self._db: Any = plyvel.DB(
                str(path),
                create_if_missing=create,
                paranoid_checks=True,
                write_buffer_size=WRITE_BUFFER_BYTES,
                lru_cache_size=BLOCK_CACHE_BYTES,
                bloom_filter_bits=10,
                compression=None,  # hashes and signatures do not compress
            )
        except plyvel.CorruptionError as error:
            raise ConfigError("db-corrupt", f"{path}: {_text(error)}") from error
        except (plyvel.Error, OSError) as error:
            text = _text(error)
            if "IO error: lock " in text:
                raise ConfigError("db-locked", f"another process has {path} open") from error
            raise ConfigError(_code(text), f"{path}: {text}") from error

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise _fault(error) from error
        return value

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        try:
            with self._db.iterator(start=start, stop=end, reverse=reverse, verify_checksums=True) as pairs:
                yield from pairs
        except plyvel.Error as error:
            raise _fault(error) from error

    def write(self, puts: Mapping[bytes, bytes | None]) -> None:
        batch = self._db.write_batch(sync=self._synced)
        put, delete = batch.put, batch.delete
        for key, value in puts.items():
            if value is None:
                delete(key)
            else:
                put(key, value)
        try:
            batch.write()
        except plyvel.Error as error:
            raise _fault(error) from error

    def view(self) -> View:
        return _LevelView(self._db.snapshot())

    def compact(self, start: bytes, end: bytes) -> None:
        try:
            self._db.compact_range(start=start, stop=end)
        except plyvel.Error as error:
            raise _fault(error) from error

    def close(self) -> None:
        self._db.close()


class _LevelView:
    """A snapshot of LevelDB's own; what it reads does not displace what the cache holds for the node."""

    def __init__(self, snapshot: Any) -> None:
        self._snapshot = snapshot

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            with self._snapshot.iterator(start=start, stop=end, verify_checksums=True, fill_cache=False) as pairs:
                yield from pairs
        except plyvel.Error as error:
            raise _fault(error) from error

    def close(self) -> None:
        self._snapshot.close()


def sync_files(directory: Path) -> None:
    """Make all files of a directory durable, for a database written without ``synced``. Raises OSError."""
    for path in [*sorted(directory.iterdir()), directory]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _require_plain_files(directory: Path) -> None:
    """LevelDB names the files that it writes by number. Who gave away a database, to be restored or audited, could have
    left a link of that name in it: what it leads to would be written over. Raises ConfigError("db-unusable")."""
    try:
        with os.scandir(directory) as entries:
            other = next((entry.name for entry in entries if not entry.is_file(follow_symlinks=False)), None)
    except OSError:
        return  # it is still to be made, or LevelDB says what is wrong with it
    if other is not None:
        raise ConfigError("db-unusable", f"{directory}: {other[:64]!r} is no plain file, as all of a database are")


def _fault(error: Exception) -> StoreFault:
    corrupt = isinstance(error, plyvel.CorruptionError)
    return StoreFault("db-corrupt" if corrupt else "db-failed", f"the database failed: {_text(error)}")


def _code(text: str) -> str:
    """Why a database cannot be opened, from LevelDB's "IO error: PATH: what the system said"."""
    if text.rpartition(": ")[2] in _CANNOT_WRITE:
        return "cannot-write"
    # LevelDB reports a missing table file as an input error of that file.
    return "db-corrupt" if "CURRENT" in text or "MANIFEST" in text or ".ldb" in text else "db-unusable"


def _text(error: Exception) -> str:
    """LevelDB's own words, which it gives as bytes."""
    words = error.args[0] if error.args else ""
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else str(error)
