"""The durable vote log: what a replica must still know of its own votes after a crash.

An append-only file of frames behind a header. One ``append`` is one frame with one checksum and one fdatasync,
however many records it holds: the next frame is written only after the one before it is on disk. So a crash can
damage the last frame alone, and a damaged frame *before* a sound one means that the disk lost what it had
promised to keep: nobody knows what else it has forgotten.

    file    "watt vote log 3\n" | chain (32) | epoch (8) | salt (8) | CRC32 of these
    frame   the salt's first 4 bytes | length (4) | sequence (8) | CRC32 over salt, length, sequence, payload | payload
    payload records, each length (4) | bytes

All integers are big-endian. The salt is random per file: without knowing it nobody can put bytes into a
transaction that look like a sound frame once the frame around them is torn, or like the beginnings of thousands, each
of which would have to be looked at.

The log is rewritten (``rewrite``) as a new file that takes the old one's name: write, sync, rename, sync the directory.

**Epochs.** Votes of one epoch mean nothing in another, so a log is of one epoch. A log of an older epoch than the
ledger's is dropped, but for what says that memory is lost: the node died between the epoch's last block and the log's
rewriting, and had not voted since.

**What cannot be trusted is set aside.** A damaged log, or one of a later epoch than the ledger's, does not stop the
node: the file is kept as ``votes.log.damaged-N``, and a new one begins with the records that say that memory is lost
(``lost_records``), in one step: a crash must not make a member forget that it has forgotten. So does one that is
missing: ``watt node init`` makes an empty log, not yet of any chain, so that even a first start finds one. A log of
another chain is a mistake of the operator, and is left alone.
"""

import os
import struct
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from node.errors import NodeFault, StoreFault
from node.files import Directory, File
from node.limits import VOTE_LOG_BYTES

LOG_NAME: Final = "votes.log"
NEW_NAME: Final = "votes.log.new"
ASIDE_NAME: Final = "votes.log.damaged-"
MOST_ASIDE: Final = 8
"""So many are kept; the last gives way to a newer one."""

_MAGIC = b"watt vote log 3\n"
_SALT_BYTES = 8
_HEADER = struct.Struct(">16s32sQ8sI")
_NO_CHAIN = bytes(32)
_MARK_BYTES = 4
_FRAME = struct.Struct(">4sIQI")
_FRAME_HEAD = struct.Struct(">IQ")
_LENGTH = struct.Struct(">I")
_MAX_FRAME_BYTES = 1 << 30


class VoteLog:
    """An open log. After an error of the disk it refuses to go on: nobody knows what such a disk still holds."""

    def __init__(
        self, directory: Directory, chain: bytes, epoch: int, salt: Callable[[int], bytes], rewrite_above_bytes: int
    ) -> None:
        """Use ``VoteLog.open``."""
        self._directory = directory
        self._chain = chain
        self.epoch = epoch
        """The epoch that the records are of."""
        self.set_aside = ""
        """If what this member has voted for is lost, as was found when the log was opened: why, and where the damaged
        log is."""
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
        epoch: int = 0,
        *,
        lost_records: Sequence[bytes] = (),
        salt: Callable[[int], bytes] = os.urandom,
        rewrite_above_bytes: int = VOTE_LOG_BYTES,
    ) -> "tuple[VoteLog, list[bytes]]":
        """The log in ``directory`` and the records that it holds, oldest first.

        ``epoch``: that of the ledger's next block. A torn tail is cut off (``torn_bytes``); if there is no log, or none
        that can be trusted (``set_aside``), it is a new one with ``lost_records``. ``salt`` gives that many random
        bytes; ``rewrite_above_bytes``: see ``wants_rewrite``.
        Raises NodeFault("vote-log-other-chain"), StoreFault("vote-log-failed").
        """
        log = cls(directory, chain, epoch, salt, rewrite_above_bytes)
        data: bytes | None = None
        try:
            data = directory.read(LOG_NAME)
            if data is None:
                log.set_aside = f"{LOG_NAME} is missing"
                log._write_new(lost_records)
                return log, list(lost_records)
            return log, log._recover(data, lost_records)
        except _DamagedError as damage:
            log._begin_anew(str(damage), data or b"", lost_records)
            return log, list(lost_records)
        except OSError as error:
            raise _failed(error) from error

    @classmethod
    def create(cls, directory: Directory, *, salt: Callable[[int], bytes] = os.urandom) -> None:
        """Make the empty log of a node that has never run, on whatever chain it will. Raises OSError."""
        log = cls(directory, _NO_CHAIN, 0, salt, VOTE_LOG_BYTES)
        log._write_new([])
        log.close()

    @staticmethod
    def is_in_use(directory: Directory) -> bool:
        """Whether the log there is of a chain already: the node has run. A damaged one is. Raises OSError."""
        data = directory.read(LOG_NAME)
        return data is not None and data[len(_MAGIC) : len(_MAGIC) + len(_NO_CHAIN)] != _NO_CHAIN

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

    def rewrite(self, records: Sequence[bytes], *, epoch: int | None = None) -> None:
        """Replace all that the log holds by ``records``, durably; they are of ``epoch``, if that is given.

        Raises StoreFault("vote-log-failed").
        """
        self._usable()
        self.epoch = self.epoch if epoch is None else epoch
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
        content = _header(self._chain, self.epoch, salt)
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

    def _recover(self, data: bytes, lost_records: Sequence[bytes]) -> list[bytes]:
        chain, epoch, self._salt = _read_header(data)
        if chain not in (self._chain, _NO_CHAIN):
            raise NodeFault(
                "vote-log-other-chain", "the vote log belongs to another chain; look at data_dir and genesis"
            )
        if epoch > self.epoch:
            raise _DamagedError(f"is of epoch {epoch}, and the ledger only reaches epoch {self.epoch}")
        records: list[bytes] = []
        offset = _HEADER.size
        while (end := _frame_end(data, offset, self._salt, self._sequence)) is not None:
            records += _records(data[offset + _FRAME.size : end])
            self._sequence += 1
            offset = end
        if _holds_frame(data, offset + 1, self._salt, self._sequence):
            raise _DamagedError(f"is damaged at byte {offset}, before sound records")
        self.torn_bytes = len(data) - offset
        if epoch < self.epoch or chain == _NO_CHAIN:
            records = [record for record in records if record in lost_records]
            self._write_new(records)
            return records
        self._file = self._directory.open(LOG_NAME)
        if self.torn_bytes:
            self._file.truncate(offset)
        # What was read, and under which name, may still have been in memory alone when the process died.
        self._file.sync()
        self._directory.sync()
        self._size = self._rewritten_size = offset
        return records

    def _begin_anew(self, damage: str, data: bytes, records: Sequence[bytes]) -> None:
        """Keep a copy of the log, and put one with ``records`` in its place: until then the damaged one is there."""
        try:
            name = self._free_name()
            copy = self._directory.create(name)
            copy.append(data)
            copy.sync()
            copy.close()
            self._write_new(records)
        except OSError as error:
            raise _failed(error) from error
        self.set_aside = f"{LOG_NAME} {damage}; it is kept as {name}"

    def _free_name(self) -> str:
        names = [f"{ASIDE_NAME}{number}" for number in range(1, MOST_ASIDE + 1)]
        return next((name for name in names if self._directory.read(name) is None), names[-1])


class _DamagedError(Exception):
    """The log cannot be trusted; says why."""


def _failed(error: OSError) -> StoreFault:
    return StoreFault("vote-log-failed", f"the vote log cannot be read or written: {error.strerror or error}")


def _header(chain: bytes, epoch: int, salt: bytes) -> bytes:
    head = _HEADER.pack(_MAGIC, chain, epoch, salt, 0)[: -_LENGTH.size]
    return head + _LENGTH.pack(zlib.crc32(head))


def _read_header(data: bytes) -> tuple[bytes, int, bytes]:
    """Chain, epoch, salt."""
    # The header was synced before the file got its name: no crash can tear it.
    if len(data) < _HEADER.size:
        raise _DamagedError("is shorter than its header")
    magic, chain, epoch, salt, checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC or checksum != zlib.crc32(data[: _HEADER.size - _LENGTH.size]):
        raise _DamagedError("has a damaged header, or one of another format")
    return bytes(chain), epoch, bytes(salt)


def _frame(salt: bytes, sequence: int, records: Sequence[bytes]) -> bytes:
    payload = b"".join(part for record in records for part in (_LENGTH.pack(len(record)), record))
    return _FRAME.pack(salt[:_MARK_BYTES], len(payload), sequence, _checksum(salt, sequence, payload)) + payload


def _checksum(salt: bytes, sequence: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_FRAME_HEAD.pack(len(payload), sequence), zlib.crc32(salt)))


def _frame_end(data: bytes, offset: int, salt: bytes, sequence: int) -> int | None:
    """Where the sound frame ``sequence`` at ``offset`` ends; None if there is none."""
    if offset + _FRAME.size > len(data):
        return None
    mark, length, found, checksum = _FRAME.unpack_from(data, offset)
    end = offset + _FRAME.size + length
    if mark != salt[:_MARK_BYTES] or found != sequence or length > _MAX_FRAME_BYTES or end > len(data):
        return None
    payload = data[offset + _FRAME.size : end]
    return end if checksum == _checksum(salt, sequence, payload) else None


def _holds_frame(data: bytes, start: int, salt: bytes, sequence: int) -> bool:
    """Whether a sound frame that follows ``sequence`` stands anywhere from ``start`` on."""
    mark = salt[:_MARK_BYTES]
    offset = data.find(mark, start)
    while offset != -1 and offset + _FRAME.size <= len(data):
        found = _FRAME.unpack_from(data, offset)[2]
        if found > sequence and _frame_end(data, offset, salt, found) is not None:
            return True
        offset = data.find(mark, offset + 1)
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
