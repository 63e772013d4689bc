"""The durable vote log: what a replica must still know of its own votes after a crash.

An append-only file of frames behind a header. One ``append`` is one frame with one checksum and one fdatasync,
however many records it holds: the next frame is written only after the one before it is on disk. So a crash can
damage the last frame alone, and a damaged frame *before* a sound one means that the disk lost what it had
promised to keep: the node must not vote on such a memory.

    file    "watt vote log 1\\n" | chain (32) | salt (8) | CRC32 of these
    frame   "VOTE" | length (4) | sequence (8) | CRC32 over salt, length, sequence, payload | payload
    payload records, each length (4) | bytes

All integers are big-endian. The salt is random per file: without knowing it nobody can put bytes into a
transaction that look like a sound frame once the frame around them is torn.

The log is rewritten (``rewrite``) as a new file that takes the old one's name: write, sync, rename, sync the directory.
"""

import os
import struct
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final, Protocol

from node.errors import NodeFault, StoreFault
from node.limits import VOTE_LOG_BYTES

LOG_NAME: Final = "votes.log"
NEW_NAME: Final = "votes.log.new"

_MAGIC = b"watt vote log 1\n"
_SALT_BYTES = 8
_HEADER = struct.Struct(">16s32s8sI")
_MARK = b"VOTE"
_FRAME = struct.Struct(">4sIQI")
_FRAME_HEAD = struct.Struct(">IQ")
_LENGTH = struct.Struct(">I")
_MAX_FRAME_BYTES = 1 << 30


class File(Protocol):
    """An open file that grows at its end. Errors are OSError."""

    def append(self, data: bytes) -> None:
        """Write at the end; durable only after ``sync``."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file to its first ``size`` bytes; durable only after ``sync``."""
        ...

    def sync(self) -> None:
        """Return when all that was written is on disk."""
        ...

    def close(self) -> None: ...


class Directory(Protocol):
    """The directory of the log: the operating system's, or the simulator's. Errors are OSError."""

    def read(self, name: str) -> bytes | None:
        """The whole file, or None if there is none."""
        ...

    def create(self, name: str) -> File:
        """A new, empty file, in place of an old one of that name."""
        ...

    def open(self, name: str) -> File:
        """The existing file, for appending."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Atomic; durable only after ``sync``."""
        ...

    def sync(self) -> None:
        """Return when the names are on disk."""
        ...


class VoteLog:
    """An open log. After an error of the disk it refuses to go on: nobody knows what such a disk still holds."""

    def __init__(
        self, directory: Directory, chain: bytes, salt: Callable[[int], bytes], rewrite_above_bytes: int
    ) -> None:
        """Use ``VoteLog.open``."""
        self._directory = directory
        self._chain = chain
        self._new_salt = salt
        self._rewrite_above_bytes = rewrite_above_bytes
        self._file: File | None = None
        self._salt = b""
        self._sequence = 0
        self._size = 0
        self._rewritten_size = 0
        self._failed = False
        self.around_sync: Callable[[], AbstractContextManager[object]] = nullcontext
        """Entered around every sync of an append: for whoever wants to time the disk."""
        self.torn_bytes = 0
        """How many bytes of an unfinished frame were cut off the end when the log was opened."""

    @classmethod
    def open(
        cls,
        directory: Directory,
        chain: bytes,
        *,
        salt: Callable[[int], bytes] = os.urandom,
        rewrite_above_bytes: int = VOTE_LOG_BYTES,
    ) -> "tuple[VoteLog, list[bytes]]":
        """The log in ``directory`` and the records that it holds, oldest first; a new one if there is none.

        A torn tail is cut off (``torn_bytes``). ``salt`` gives that many random bytes;
        ``rewrite_above_bytes``: see ``wants_rewrite``.
        Raises NodeFault: "vote-log-corrupt", "vote-log-other-chain"; StoreFault("vote-log-failed").
        """
        log = cls(directory, chain, salt, rewrite_above_bytes)
        try:
            data = directory.read(LOG_NAME)
            records = log._recover(data) if data is not None else []
            if data is None:
                log._write_new([])
        except OSError as error:
            raise _failed(error) from error
        return log, records

    def append(self, records: Sequence[bytes]) -> None:
        """Return when all ``records`` are on disk. Raises StoreFault("vote-log-failed")."""
        file = self._usable()
        frame = _frame(self._salt, self._sequence, records)
        try:
            file.append(frame)
            with self.around_sync():
                file.sync()
        except OSError as error:
            self._failed = True
            raise _failed(error) from error
        self._sequence += 1
        self._size += len(frame)

    @property
    def size_bytes(self) -> int:
        """How long the file is."""
        return self._size

    @property
    def wants_rewrite(self) -> bool:
        """Whether the file has grown beyond its bound and to twice what the last rewriting left."""
        return self._size > max(self._rewrite_above_bytes, 2 * self._rewritten_size)

    def rewrite(self, records: Sequence[bytes]) -> None:
        """Replace all that the log holds by ``records``, durably. Raises StoreFault("vote-log-failed")."""
        self._usable()
        try:
            self._write_new(records)
        except OSError as error:
            self._failed = True
            raise _failed(error) from error

    def close(self) -> None:
        """Release the file. Nothing is lost by not calling this."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _usable(self) -> File:
        if self._failed or self._file is None:
            raise StoreFault("vote-log-failed", "the vote log is closed, or failed before")
        return self._file

    def _write_new(self, records: Sequence[bytes]) -> None:
        salt = self._new_salt(_SALT_BYTES)
        content = _header(self._chain, salt)
        if records:
            content += _frame(salt, 0, records)
        file = self._directory.create(NEW_NAME)
        file.append(content)
        file.sync()
        self._directory.rename(NEW_NAME, LOG_NAME)
        self._directory.sync()
        self.close()
        self._file, self._salt = file, salt
        self._sequence = 1 if records else 0
        self._size = self._rewritten_size = len(content)

    def _recover(self, data: bytes) -> list[bytes]:
        self._salt = _salt_of(data, self._chain)
        records: list[bytes] = []
        offset = _HEADER.size
        while (end := _frame_end(data, offset, self._salt, self._sequence)) is not None:
            records += _records(data[offset + _FRAME.size : end])
            self._sequence += 1
            offset = end
        if _holds_frame(data, offset + 1, self._salt, self._sequence):
            raise NodeFault("vote-log-corrupt", f"the vote log is damaged at byte {offset}, before sound records")
        self._file = self._directory.open(LOG_NAME)
        if offset < len(data):
            self._file.truncate(offset)
            self.torn_bytes = len(data) - offset
        # What was read, and under which name, may still have been in memory alone when the process died.
        self._file.sync()
        self._directory.sync()
        self._size = self._rewritten_size = offset
        return records


def _failed(error: OSError) -> StoreFault:
    return StoreFault("vote-log-failed", f"the vote log cannot be read or written: {error.strerror or error}")


def _header(chain: bytes, salt: bytes) -> bytes:
    head = _MAGIC + chain + salt
    return head + _LENGTH.pack(zlib.crc32(head))


def _salt_of(data: bytes, chain: bytes) -> bytes:
    # The header was synced before the file got its name: no crash can tear it.
    if len(data) < _HEADER.size:
        raise NodeFault("vote-log-corrupt", "the vote log is shorter than its header")
    magic, found, salt, checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC or checksum != zlib.crc32(data[: _HEADER.size - _LENGTH.size]):
        raise NodeFault("vote-log-corrupt", "the vote log's header is damaged, or of another format")
    if found != chain:
        raise NodeFault("vote-log-other-chain", "the vote log belongs to another chain")
    return bytes(salt)


def _frame(salt: bytes, sequence: int, records: Sequence[bytes]) -> bytes:
    payload = b"".join(part for record in records for part in (_LENGTH.pack(len(record)), record))
    return _FRAME.pack(_MARK, len(payload), sequence, _checksum(salt, sequence, payload)) + payload


def _checksum(salt: bytes, sequence: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_FRAME_HEAD.pack(len(payload), sequence), zlib.crc32(salt)))


def _frame_end(data: bytes, offset: int, salt: bytes, sequence: int) -> int | None:
    """Where the sound frame ``sequence`` at ``offset`` ends; None if there is none."""
    if offset + _FRAME.size > len(data):
        return None
    mark, length, found, checksum = _FRAME.unpack_from(data, offset)
    end = offset + _FRAME.size + length
    if mark != _MARK or found != sequence or length > _MAX_FRAME_BYTES or end > len(data):
        return None
    payload = data[offset + _FRAME.size : end]
    return end if checksum == _checksum(salt, sequence, payload) else None


def _holds_frame(data: bytes, start: int, salt: bytes, sequence: int) -> bool:
    """Whether a sound frame that follows ``sequence`` stands anywhere from ``start`` on."""
    offset = data.find(_MARK, start)
    while offset != -1 and offset + _FRAME.size <= len(data):
        found = _FRAME.unpack_from(data, offset)[2]
        if found > sequence and _frame_end(data, offset, salt, found) is not None:
            return True
        offset = data.find(_MARK, offset + 1)
    return False


def _records(payload: bytes) -> list[bytes]:
    records: list[bytes] = []
    offset = 0
    while offset < len(payload):
        (length,) = _LENGTH.unpack_from(payload, offset)
        offset += _LENGTH.size
        records.append(payload[offset : offset + length])
        offset += length
    return records


class OsDirectory:
    """A directory of the operating system; made if it is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_dir():
            path.mkdir(parents=True)
            _sync_directory(path.parent)

    def read(self, name: str) -> bytes | None:
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, name: str) -> "OsFile":
        return OsFile(self._path / name, os.O_CREAT | os.O_TRUNC)

    def open(self, name: str) -> "OsFile":
        return OsFile(self._path / name, 0)

    def rename(self, old: str, new: str) -> None:
        (self._path / old).replace(self._path / new)

    def sync(self) -> None:
        _sync_directory(self._path)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class OsFile:
    """A file of the operating system, opened for appending."""

    def __init__(self, path: Path, flags: int) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)

    def append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)
