"""Files that grow at their end, and the directory that they are in, as far as durability asks for it.

What is written is on disk after ``sync`` alone, and a name is after the directory's. The simulator has its own.

``read_given`` and ``read_start`` read what people hand over, of whom it is not known what they name: they end, whatever
that is.
"""

import errno
import os
from pathlib import Path
from typing import Protocol

MAX_GIVEN_BYTES = 64 * 1024 * 1024
"""More than any document that people give a command."""


def read_given(path: Path, most: int = MAX_GIVEN_BYTES) -> bytes:
    """A whole file of at most ``most`` bytes. Raises OSError, also if it has more, as a device may without end."""
    data = read_start(path, most)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"more than {most} bytes", str(path))
    return data


def read_start(path: Path, most: int) -> bytes:
    """A file's first ``most`` bytes, and one more if there are more: for who has words of its own for what is too long.
    Raises OSError."""
    with path.open("rb") as file:
        return file.read(most + 1)


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells that the file at ``path`` is another one than before; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


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


class OsDirectory:
    """A directory of the operating system; made if it is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_dir():
            path.mkdir(parents=True)
            sync_directory(path.parent)

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
        sync_directory(self._path)


def sync_directory(path: Path) -> None:
    """Return when the names in a directory are on disk. Raises OSError."""
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
