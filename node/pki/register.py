"""What a CA has issued and revoked: a file of JSON lines, only ever appended to, each synced before anything leaves.

An unfinished last line is what a crash leaves: nothing was handed out on the strength of it, and it is dropped.
"""

import datetime
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from node.errors import ConfigError
from node.pki.trust import read_chain

Reason: TypeAlias = Literal["unspecified", "key-compromise", "superseded", "cessation"]
REGISTER_NAME: Final = "register.jsonl"


class Issued(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="event", tag="issued"):
    """``serial`` in hex; times are UTC, ISO 8601; ``certificate`` PEM; ``renews``: the serial of the one before, if
    any."""

    serial: str
    kind: str
    member: str
    names: tuple[str, ...]
    begins: str
    ends: str
    certificate: str
    renews: str = ""


class Revoked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="event", tag="revoked"):
    """``reason``: as RFC 5280 names them."""

    serial: str
    at: str
    reason: Reason


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="event", tag="listed"):
    """A revocation list was signed; ``number`` counts them."""

    number: int
    at: str


Event: TypeAlias = Issued | Revoked | Listed
_events = msgspec.json.Decoder(Event)


class Register:
    """The events of one CA, in order."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.issued = {event.serial: event for event in events if isinstance(event, Issued)}
        self.revoked = {event.serial: event for event in events if isinstance(event, Revoked)}
        self.lists = sum(isinstance(event, Listed) for event in events)

    def find(self, serial: str) -> Issued:
        """The certificate whose serial begins so. Raises ConfigError("unknown-certificate") if none does, or
        several."""
        wanted = serial.lower().removeprefix("0x")
        found = [issued for known, issued in self.issued.items() if wanted and known.startswith(wanted)]
        if len(found) != 1:
            how = "no certificate has" if not found else f"{len(found)} certificates have"
            raise ConfigError("unknown-certificate", f"{how} a serial that begins with `{serial[:40]}`")
        return found[0]


def read_register(directory: Path) -> Register:
    """What is in the file; nothing, if there is none. Raises ConfigError("bad-register")."""
    path = directory / REGISTER_NAME
    try:
        return Register(_decode(path, path.read_bytes()))
    except FileNotFoundError:
        return Register(())
    except OSError as error:
        raise ConfigError("bad-register", f"{path}: {error.strerror}") from error


class RegisterWriter:
    """The register while it is locked: read, and appended to."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._descriptor = descriptor
        with os.fdopen(os.dup(descriptor), "rb") as file:
            data = file.read()
        self._events = _decode(path, data)
        self._sound = data.rfind(b"\n") + 1
        self.content = Register(self._events)

    def append(self, event: Event) -> None:
        """Write and sync one event."""
        os.ftruncate(self._descriptor, self._sound)
        line = msgspec.json.encode(event) + b"\n"
        if os.pwrite(self._descriptor, line, self._sound) != len(line):
            raise OSError(28, "the register could not be written whole")
        os.fsync(self._descriptor)
        self._sound += len(line)
        self._events = [*self._events, event]
        self.content = Register(self._events)


@contextmanager
def writing(directory: Path) -> Iterator[RegisterWriter]:
    """The register, locked against other commands. Raises ConfigError: "ca-busy", "bad-register", "cannot-write"."""
    path = directory / REGISTER_NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError("cannot-write", f"{path}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError("ca-busy", f"another command is at work on {directory}") from error
        yield RegisterWriter(path, descriptor)
    except OSError as error:
        raise ConfigError("cannot-write", f"{path}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _decode(path: Path, data: bytes) -> list[Event]:
    events = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), 1):
        try:
            event = _events.decode(line)
            _require_readable(event)
            events.append(event)
        except (ValueError, RecursionError, ConfigError) as error:  # msgspec's errors are ValueErrors, too
            raise ConfigError("bad-register", f"{path}, line {number}: {error}; put back a copy of the file") from error
    return events


def _require_readable(event: Event) -> None:
    """Raises ValueError or ConfigError for what a CA never writes."""
    if isinstance(event, Issued):
        datetime.datetime.fromisoformat(event.ends)
        read_chain(event.certificate.encode())
    else:
        datetime.datetime.fromisoformat(event.at)
    if not isinstance(event, Listed):
        int(event.serial, 16)
