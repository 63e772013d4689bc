"""The way in for the operator of a running node: a socket in its data directory that only the node's own user can open.

One JSON document a line goes in, one comes back: ``{"command": "links", "drop_to": ["north"]}`` and
``{"result": ...}`` or ``{"code": ..., "message": ...}``. Requests, connections and waiting are bounded; a handler is
a plain call in the node's event loop, so it is quick. Nothing here can make a node vote: it shows, cuts links, copies.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from node.errors import ConfigError, RefusedError
from node.limits import CONTROL_CONNECTIONS, CONTROL_IDLE_SECONDS, CONTROL_REQUEST_BYTES

log = logging.getLogger("watt.control")

CONTROL_NAME: Final = "control.sock"
ASK_SECONDS: Final = 5.0
"""How long an answer may take: a node that does not answer by then is stopped, swapped out, or far too busy."""
_MAX_REPLY_BYTES = 4 * 1024 * 1024
_MAX_ADDRESS_BYTES = 100
"""A unix socket's address has 108 bytes on Linux, 104 elsewhere, with its zero."""


class Diagnose(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="command", tag="diagnosis"):
    """What this node is doing, and what it waits for: ``node/diagnosis.py``, Report."""


class Links(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="command", tag="links"):
    """Cut links: send nothing to the members in ``drop_to``, hear nothing from those in ``drop_from``; each list
    replaces the one before it, None leaves it as it is. The answer says who is cut off now."""

    drop_to: tuple[str, ...] | None = None
    drop_from: tuple[str, ...] | None = None


class LogLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="command", tag="log"):
    """Log of ``room`` ("" for all) what is of ``level`` or graver; "" changes nothing. The answer says what holds now:
    room to level."""

    room: str = ""
    level: str = ""


class MakeBackup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="command", tag="backup"):
    """Begin a backup into ``directory``, which must not be there; without one, tell how the last stands: the answer is
    a ``node/backup.py`` Status."""

    directory: str = ""


Request: TypeAlias = Diagnose | Links | LogLevel | MakeBackup
Handlers: TypeAlias = Mapping[type[Request], Callable[[Any], object]]
"""What to do for each kind of request. A handler raises RefusedError if it refuses."""

_requests = msgspec.json.Decoder(Request)


class _Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    result: Any = None
    code: str = ""
    message: str = ""


_answers = msgspec.json.Decoder(_Answer)


class ControlServer:
    """Listens at ``data/control.sock``, mode 0600."""

    def __init__(self, data: Path, handlers: Handlers) -> None:
        self._path = data / CONTROL_NAME
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; a socket that an earlier run left there is replaced (the database's lock says that it is over).

        Raises ConfigError: "path-too-long", "cannot-write".
        """
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            self._path.unlink(missing_ok=True)
            with _address(self._path) as address:
                listening.bind(address)
        except OSError as error:
            listening.close()
            raise ConfigError("cannot-write", f"{self._path}: {error.strerror or error}") from error
        except ConfigError:
            listening.close()
            raise
        finally:
            os.umask(mask)
        self._server = await asyncio.start_unix_server(self._accept, sock=listening, limit=CONTROL_REQUEST_BYTES)

    async def stop(self) -> None:
        """Close it, and all connections."""
        if self._server is None:
            return
        self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._path.unlink(missing_ok=True)
        self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._connections) < CONTROL_CONNECTIONS:
                self._connections.add(task)
                await self._serve(reader, writer)
            else:
                writer.write(_refusal("busy", "too many connections at once"))
        except (ConnectionError, TimeoutError):
            log.debug("a connection ended in the middle of a request")
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(CONTROL_IDLE_SECONDS):
                try:
                    line = await reader.readline()
                except ValueError:  # longer than the reader's limit: there is no telling where the next one begins
                    writer.write(_refusal("oversize", f"a request has at most {CONTROL_REQUEST_BYTES} bytes"))
                    return
                if not line:
                    return
                writer.write(self._answer(line))
                await writer.drain()

    def _answer(self, line: bytes) -> bytes:
        try:
            request = _requests.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return _refusal("malformed", str(error))
        try:
            return msgspec.json.encode(_Answer(self._handlers[type(request)](request))) + b"\n"
        except RefusedError as refusal:
            return _refusal(refusal.code, refusal.message)
        except Exception as error:  # the edge: an operator's question does not end a node
            log.error("internal: a request failed", exc_info=error)
            return _refusal("internal", "the node could not answer; its log says why")


def ask(data: Path, request: Request) -> Any:
    """Put a request to the node that runs in ``data``, and return its result.

    Raises RefusedError: "not-running" (nobody listens there), "no-answer" (a process is there and does not speak within
    ASK_SECONDS), "not-allowed" (another user's), and whatever the node refuses with.
    """
    path = data / CONTROL_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ASK_SECONDS)
        try:
            with _address(path) as address:
                connection.connect(address)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            line = _read_line(connection)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise RefusedError("not-running", f"no node runs in {data}") from error
        except PermissionError as error:
            raise RefusedError("not-allowed", f"{path} belongs to another user") from error
        except OSError as error:  # a time-out, or the node ended meanwhile
            raise RefusedError("no-answer", f"the node in {data} does not answer: {error}") from error
    try:
        answer = _answers.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RefusedError("no-answer", f"the node in {data} gave no whole answer") from error
    if answer.code:
        raise RefusedError(answer.code, answer.message)
    return answer.result


def _read_line(connection: socket.socket) -> bytes:
    parts = bytearray()
    while not parts.endswith(b"\n") and len(parts) < _MAX_REPLY_BYTES:
        part = connection.recv(65536)
        if not part:
            break
        parts += part
    return bytes(parts)


def _refusal(code: str, message: str) -> bytes:
    return msgspec.json.encode(_Answer(code=code, message=message)) + b"\n"


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """An address for ``path`` that is short enough: a long one goes by the descriptor of its directory, where the
    system can name a file so. Raises ConfigError("path-too-long"), OSError."""
    if len(os.fsencode(path)) <= _MAX_ADDRESS_BYTES:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        by_descriptor = Path(f"/proc/self/fd/{descriptor}")
        if not by_descriptor.exists():
            raise ConfigError("path-too-long", f"{path} is too long for a socket; move the data directory")
        yield str(by_descriptor / path.name)
    finally:
        os.close(descriptor)
