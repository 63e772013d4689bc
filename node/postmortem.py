"""What can be seen of a node that does not run, from what it left on disk. Nothing is changed by looking."""

import errno
import fcntl
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from node.config import Config, split_address
from node.diagnosis import DISK_ADVICE, NO_DISK_BYTES, NOTE, PROBLEM, STALLED, Finding, megabytes
from node.errors import RefusedError, WattError
from node.files import File, OsDirectory
from node.model.genesis import Genesis, load_genesis
from node.setup import DATABASE_NAME, VOTES_NAME
from node.votelog import LOG_NAME, VoteLog
from node.watch import damaged_files

LOG_TAIL_BYTES: Final = 64 * 1024
MAX_LINE: Final = 500
"""So much of a log's line is repeated to people."""
_FAULT = re.compile(r"node-fault code=([a-z-]+): (.*)|^watt: ([a-z-]+): (.*)")
_PROBE_S = 1.0
_ANY_EPOCH = 1 << 62
"""A log of an earlier epoch than the ledger's is sound, and what the ledger's is, is not known here."""


def findings_on_disk(config: Config, log_file: Path | None) -> list[Finding]:
    """Why a node is down, as far as can be told. ``log_file``: its log, if the configuration does not say."""
    data = config.path(config.data_dir)
    found = [*_process(config, data), *_last_words(_log(config, log_file)), *_identity(config, data), *_disk(data)]
    return sorted(found, key=lambda finding: (STALLED, PROBLEM, NOTE).index(finding.level))


def probe(address: str) -> str:
    """What answers at host:port: "listens", or why nothing does."""
    try:
        with socket.create_connection(split_address(address), timeout=_PROBE_S):
            return "something listens there"
    except TimeoutError:
        return f"nothing answers there within {_PROBE_S:g} s"
    except OSError as error:
        refused = error.errno == errno.ECONNREFUSED
        return "nothing listens there" if refused else f"it cannot be reached: {error.strerror or error}"


def _process(config: Config, data: Path) -> Iterator[Finding]:
    if _is_locked(data / DATABASE_NAME / "LOCK"):
        text = f"another process has {data} open, and no socket to ask it by: look at its log"
        yield Finding(STALLED, "no-control-socket", text)
        return
    yield Finding(STALLED, "down", f"no node runs in {data}: start it with `watt node run`, unless the reason is below")
    for name, address in (("peer", config.peer.listen), ("gateway", config.gateway.listen)):
        if probe(address) == "something listens there":
            yield Finding(PROBLEM, "port-in-use", f"`{name}.listen`, {address}, is taken by another process")


def _is_locked(lock: Path) -> bool:
    """Whether another process holds LevelDB's lock."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _log(config: Config, log_file: Path | None) -> Path | None:
    if log_file is not None:
        return log_file
    return config.path(config.log_file) if config.log_file else None


def _last_words(path: Path | None) -> Iterator[Finding]:
    if path is None:
        yield Finding(NOTE, "no-log", "no log file is configured: --log says where the node's output went")
        return
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
            lines = [line[:MAX_LINE] for line in file.read(LOG_TAIL_BYTES).decode("utf-8", "replace").splitlines()]
    except OSError as error:
        yield Finding(NOTE, "no-log", f"{path}: {error.strerror}")
        return
    last = lines[-1] if lines else ""
    for line in reversed(lines[-3:]):
        if (match := _FAULT.search(line)) is not None:
            code, message = (match[1], match[2]) if match[1] else (match[3], match[4])
            yield Finding(PROBLEM, code, f"it ended with: {message} (docs/operations.md says what to do about {code})")
            return
    if " stopped height=" in last:
        yield Finding(NOTE, "stopped", f"it was stopped in good order: {last}")
    elif last:
        text = f"it ended without a word: it was killed, crashed, or its machine failed; the log ends with: {last}"
        yield Finding(PROBLEM, "killed", text)


def _identity(config: Config, data: Path) -> Iterator[Finding]:
    try:
        genesis = load_genesis(config.path(config.genesis))
    except RefusedError as error:
        yield Finding(STALLED, error.code, error.message)
        return
    if not (data / DATABASE_NAME).is_dir():
        if not VoteLog.is_in_use(_Untouched(data / VOTES_NAME)):
            text = f"{data} holds no chain yet: `watt node run` or `watt node join` will fetch it"
            yield Finding(NOTE, "no-data", text)
            return
        yield Finding(STALLED, "db-missing", f"{data / DATABASE_NAME} is gone: restore the data directory as a whole")
    if not (data / VOTES_NAME / LOG_NAME).exists():
        text = (
            f"{data / VOTES_NAME / LOG_NAME} is gone, as after `watt node restore`: this member does not know any more "
            "what it has voted for; started, it follows, and votes again some twenty blocks later"
        )
        yield Finding(PROBLEM, "vote-log-missing", text)
    else:
        yield from _vote_log(data, genesis)


def _vote_log(data: Path, genesis: Genesis) -> Iterator[Finding]:
    try:
        votes, _ = VoteLog.open(_Untouched(data / VOTES_NAME), genesis.chain, _ANY_EPOCH)
    except WattError as error:
        yield Finding(PROBLEM, error.code, error.message)
        return
    if votes.set_aside:
        text = f"{votes.set_aside.partition(';')[0]}: started now, it would follow, and not vote at first"
        yield Finding(PROBLEM, "vote-log-damaged", text)
    elif votes.torn_bytes:
        text = (
            f"the vote log ends in {votes.torn_bytes} bytes of an unfinished write, as after a crash: they are dropped"
        )
        yield Finding(NOTE, "vote-log-torn", text)


def _disk(data: Path) -> Iterator[Finding]:
    at = next((path for path in (data, *data.parents) if path.exists()), Path("/"))
    free = shutil.disk_usage(at).free
    if free < NO_DISK_BYTES:
        yield Finding(STALLED, "disk-full", f"{megabytes(free)} are left on the disk of {at}: {DISK_ADVICE}")
    damaged = damaged_files(data)
    if damaged:
        yield Finding(PROBLEM, "damaged-file", f"set aside as damaged: {', '.join(damaged)}; look at the disk")


class _Untouched(OsDirectory):
    """A vote log's directory to look at: what the log would mend at its opening stays as it is."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self, name: str) -> File:  # type: ignore[override]  # a narrower file than the parent's
        return _Nothing()

    def open(self, name: str) -> File:  # type: ignore[override]
        return _Nothing()

    def rename(self, old: str, new: str) -> None:
        """There is nothing to rename."""

    def sync(self) -> None:
        """There is nothing to sync."""


class _Nothing:
    """A file that takes everything and keeps nothing."""

    def append(self, data: bytes) -> None: ...

    def truncate(self, size: int) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...
