"""What need not be read again: that the program's own contracts were checked, and passed, as they are now.

Reading them takes half a second of each start (``chaincode/checker.py``). So what has passed is noted beside Python's
own compiled files, under a digest of everything that could have made the outcome another one: Python's version, the
rules, and every module of ``chaincode``. Whoever can write there can change the compiled contracts themselves; who may
not write there, or was told to keep no bytecode, reads them at each start.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

import chaincode
from chaincode.checker import passed, take_as_passed

_SOURCES: Final = Path(chaincode.__path__[0])
NOTE: Final = _SOURCES / "__pycache__" / f"checked.{sys.implementation.cache_tag}.json"
MAX_BYTES: Final = 1 << 16


class Note(msgspec.Struct, frozen=True):
    """``digest``: of what was read; ``modules``: the names of those that passed together."""

    digest: str
    modules: frozenset[str]


@contextmanager
def noted(note: Path = NOTE, sources: Path = _SOURCES) -> Iterator[None]:
    """What is checked within need not be checked if a note says so; what has been is noted."""
    digest = _digest(sources)
    known = _read(note)
    if known is not None and known.digest == digest:
        take_as_passed(known.modules)
        yield
        return
    unread = not passed()  # what this process has read before may have been changed since
    yield
    if unread and not sys.dont_write_bytecode:
        _write(note, Note(digest, passed()))


def _digest(sources: Path) -> str:
    said = hashlib.sha256(sys.version.encode())
    for path in sorted(sources.glob("*.py")):
        text = path.read_bytes()
        said.update(f"\0{path.name}\0{len(text)}\0".encode() + text)
    return said.hexdigest()


def _read(note: Path) -> Note | None:
    """The note; None if there is none that can be read."""
    try:
        with note.open("rb") as file:
            return msgspec.json.decode(file.read(MAX_BYTES), type=Note)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _write(path: Path, note: Note) -> None:
    """Leave a note if one can be left here; as with Python's own files, it is no matter if not."""
    try:
        path.parent.mkdir(exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.stem)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(note))
        Path(draft).replace(path)
    except OSError:
        Path(draft).unlink(missing_ok=True)
