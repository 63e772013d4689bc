"""A broker's journal: a directory of bounded files, a JSON object a line, and the lock that keeps a second broker out.

    lock               held while a broker runs
    journal-000017.log what was decided, placed, matched, read and settled; the newest FILES of them are kept

A line is handed to the operating system before what it tells of is done, and is not synced: a killed process loses
nothing, a power cut at most the last seconds. Trading does not rest on it: the ledger knows orders, fills and readings,
and an order that is repeated is refused as a duplicate. A damaged line is left out and told of. When the disk is
full the broker goes on trading and says that what it does is not written down; explanations of that time are missing.
"""

import errno
import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from node.errors import ConfigError

log = logging.getLogger("watt.broker")

FILES: Final = 16
FILE_BYTES: Final = 2 * 1024 * 1024
LINE_BYTES: Final = 256 * 1024
"""A longer line is damage."""
LOCK_NAME: Final = "lock"

Entry = Mapping[str, Any]
"""A line: ``kind``, ``time`` (block time, s) and what the kind brings, see ``agent``."""


class Journal:
    """The journal in ``directory``, to be written by one process. Use ``close`` at the end.

    Raises ConfigError: "already-running" if another broker holds the directory, "cannot-write".
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: int | None = None
        self._size = 0
        self._fault = ""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError("cannot-write", f"{directory}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise ConfigError("already-running", f"another broker keeps its journal in {directory}") from error

    def write(self, kind: str, time: int, **what: Any) -> None:
        """Add a line. If the disk does not take it that is said, once, and the broker goes on."""
        line = json.dumps({"kind": kind, "time": time, **what}, separators=(",", ":"), default=_jsonable).encode()
        try:
            if self._file is None or self._size + len(line) > FILE_BYTES:
                self._turn_over()
            assert self._file is not None
            _write_all(self._file, line + b"\n")
        except OSError as error:
            self._failed(error)
            return
        self._size += len(line) + 1
        if self._fault:
            log.info("the journal is written again")
            self._fault = ""

    def close(self) -> None:
        """Let go of the directory."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        os.close(self._lock)

    def _turn_over(self) -> None:
        """Begin a new file; the oldest go. What was torn by a crash is thereby at the end of an older file."""
        files = files_of(self._directory)
        number = _number(files[-1]) + 1 if files else 1
        path = self._directory / f"journal-{number:06d}.log"
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._file is not None:
            os.close(self._file)
        self._file, self._size = file, 0
        for old in files[: max(0, len(files) + 1 - FILES)]:
            old.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> None:
        reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error.strerror)
        if reason != self._fault:
            log.error("the journal in %s cannot be written: %s; trading goes on", self._directory, reason)
        self._fault = reason
        if self._file is not None:  # what came of the line nobody knows: the next one begins a file
            os.close(self._file)
            self._file = None


def files_of(directory: Path) -> list[Path]:
    """The journal's files, oldest first."""
    return sorted(directory.glob("journal-*.log"), key=_number)


def entries(directory: Path) -> Iterator[Entry]:
    """All lines that can be read, oldest first. A torn or damaged one is left out, and the log says how many were."""
    for path in files_of(directory):
        damaged = 0
        try:
            data = path.read_bytes()
        except OSError as error:
            log.warning("%s cannot be read: %s; what it told is not known", path, error.strerror)
            continue
        for line in data.split(b"\n"):
            entry = _parsed(line)
            if entry is not None:
                yield entry
            elif line:
                damaged += 1
        if damaged:
            log.warning("%s: %d damaged lines are left out", path, damaged)


def _parsed(line: bytes) -> Entry | None:
    if not line or len(line) > LINE_BYTES:
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_one = isinstance(entry, dict) and isinstance(entry.get("kind"), str) and type(entry.get("time")) is int
    return entry if is_one else None


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("journal-")
    return int(digits) if digits.isascii() and digits.isdecimal() else 0


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return value.tolist()
    raise TypeError(f"no JSON for {type(value).__name__}")
