"""Keys that are elsewhere: a program signs, and this process never sees the secret.

A key file of the kind "external" names a command and the public key that it signs for. The command is started when it
is first needed and kept; requests and answers are lines of JSON on its standard input and output, one at a time
(docs/keys.md states them for whoever writes a signer):

    {"public_key": true}              {"public_key": "<64 hex digits>"}
    {"sign": "<hex>"}                 {"signature": "<128 hex digits>"}
                                      {"error": "<why not>"}

Every signature is checked against the public key before it is used. A signer that is silent for too long, ends, or
says something else is ended: "signer-failed". The next request starts it again, but for a node's: that stops
(``Pen``), since it must not vote with a key that may be in two minds, nor make its peers wait.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from threading import Lock
from typing import IO, Final

import msgspec

from node.errors import ConfigError, NodeFault, RefusedError
from node.keyfile import (
    KEY_FILE_FORMAT,
    PASSPHRASE_VARIABLE,
    decode_key_file,
    load_key,
    public_key_of,
    write_private,
)
from node.model.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Signer, verify

KIND_EXTERNAL: Final = "external"
MAX_ANSWER_BYTES: Final = 4096
MAX_WORDS: Final = 64
START_S: Final = 15.0
"""For the first answer: a program has to be loaded, and a token opened."""
SIGN_S: Final = 60.0
"""For a signature of a person's key, which may have to be touched."""
NODE_SIGN_S: Final = 0.5
"""For one of a node's key: it is made on the event loop, and the others' patience with a primary is a second or two."""
_WRITABLE_BY_OTHERS: Final = 0o022


class ExternalFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON. ``public_key``: hex; ``command``: the program and its arguments, run in the file's directory."""

    format: int
    kind: str
    public_key: str
    command: list[str]


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    public_key: str | None = None
    signature: str | None = None
    error: str | None = None


class _Kind(msgspec.Struct, frozen=True):
    kind: str


def is_external(path: Path) -> bool:
    """Whether this is a key file that names a signer, so that no passphrase is needed."""
    try:
        return decode_key_file(path, _Kind).kind == KIND_EXTERNAL
    except ConfigError:
        return False


def open_signer(path: Path, passphrase: str, patience_s: float = SIGN_S) -> Signer:
    """The key that a file holds, or that its signer holds. ``passphrase``: for a file that holds one.

    Raises ConfigError: "no-key-file", "bad-key-file", "wrong-passphrase", "signer-failed".
    """
    return ExternalSigner.open(path, patience_s) if is_external(path) else load_key(path, passphrase)


def save_external(path: Path, command: list[str]) -> bytes:
    """Write a key file that names ``command``, which is asked for its public key and to sign something. The public key.

    Raises ConfigError: "signer-failed", "bad-key-file" (no command), "key-exists", "cannot-write".
    """
    with ExternalSigner(command, path.absolute().parent, b"", SIGN_S) as asked:
        asked.sign(b"watt/signer-test/1\0")
        document = ExternalFile(KEY_FILE_FORMAT, KIND_EXTERNAL, asked.public_key.hex(), command)
    write_private(path, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    return asked.public_key


class ExternalSigner:
    """A ``Signer`` whose signatures another process makes. ``public_key``: b"" takes the signer's word for it."""

    def __init__(self, command: list[str], directory: Path, public_key: bytes, patience_s: float) -> None:
        """Starts the signer. Raises ConfigError("signer-failed"), also if it signs for another key."""
        self.public_key = public_key
        self._command = command
        self._directory = directory
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None
        self._asking = Lock()
        with self._asking:
            self._ready()

    @classmethod
    def open(cls, path: Path, patience_s: float) -> "ExternalSigner":
        """The signer that a key file names. Raises ConfigError: "no-key-file"; "bad-key-file", also if others may write
        to the file: what it says is run; "signer-failed"."""
        document = decode_key_file(path, ExternalFile)
        public_key = public_key_of(path)
        if document.format != KEY_FILE_FORMAT or not 0 < len(document.command) <= MAX_WORDS:
            raise ConfigError("bad-key-file", f"{path}: not a command that this program could run")
        if path.stat().st_mode & _WRITABLE_BY_OTHERS:
            raise ConfigError("bad-key-file", f"{path}: others may write to it, and what it says is run: chmod 600")
        if len(public_key) != PUBLIC_KEY_BYTES:
            raise ConfigError("bad-key-file", f"{path}: a public key has {2 * PUBLIC_KEY_BYTES} hex digits")
        return cls(document.command, path.absolute().parent, public_key, patience_s)

    def __enter__(self) -> "ExternalSigner":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``, checked. Raises RefusedError("signer-failed")."""
        with self._asking:
            self._ready()
            signature = _unhex(self._ask({"sign": message.hex()}, self._patience_s).signature, SIGNATURE_BYTES)
            if not verify(self.public_key, message, signature):
                raise self._failed("what it gave is no signature of its key over this message")
            return signature

    def require_running(self) -> None:
        """Raises RefusedError("signer-failed") if the signer has ended, and would have to be started again."""
        if self._process is None or self._process.poll() is not None:
            raise self._failed("it ended")

    def close(self) -> None:
        """End the signer, if it runs."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its session is its own, see _ready
        process.wait()

    def __del__(self) -> None:
        self.close()

    def _ready(self) -> None:
        """The signer runs, and is the right one."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        unlike = {PASSPHRASE_VARIABLE}  # another secret is no business of the signer
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=self._directory,
                env={name: value for name, value in os.environ.items() if name not in unlike},
                start_new_session=True,  # what interrupts us does not interrupt it, and its children end with it
                bufsize=0,
            )
        except (OSError, ValueError) as error:
            raise ConfigError("signer-failed", f"{self._command[0]} does not start: {error}") from error
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        key = _unhex(self._ask({"public_key": True}, START_S).public_key, PUBLIC_KEY_BYTES)
        if not key or (self.public_key and key != self.public_key):
            raise self._failed(f"it signs for {key.hex() or 'no key'}, not for {self.public_key.hex() or 'one'}")
        self.public_key = key

    def _ask(self, request: dict[str, object], patience_s: float) -> _Answer:
        """One line there, one line back."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise self._failed("it does not run")
        deadline = time.monotonic() + patience_s
        try:
            _write(process.stdin, msgspec.json.encode(request) + b"\n", deadline)
            line = _read_line(process.stdout, deadline)
            answer = msgspec.json.decode(line, type=_Answer)
        except TimeoutError as error:
            raise self._failed(f"no answer within {patience_s:g} s") from error
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._failed(str(error)) from error
        if answer.error is not None:
            raise self._failed(f"it says: {answer.error[:200]!r}")
        return answer

    def _failed(self, why: str) -> ConfigError:
        self.close()
        return ConfigError("signer-failed", f"{Path(self._command[0]).name}: {why}")


class Pen:
    """A node's signer: when it has failed once, or ended, the node is to stop and not to vote. To start a program again
    takes longer than the event loop can wait."""

    def __init__(self, signer: ExternalSigner) -> None:
        self._signer = signer
        self._fault: NodeFault | None = None

    @property
    def public_key(self) -> bytes:
        return self._signer.public_key

    def sign(self, message: bytes) -> bytes:
        """Raises NodeFault("signer-failed"), from the first failure on."""
        if self._fault is None:
            try:
                self._signer.require_running()
                return self._signer.sign(message)
            except RefusedError as error:
                self._fault = NodeFault(error.code, error.message)
        raise self._fault


def _write(pipe: IO[bytes], data: bytes, deadline: float) -> None:
    """Raises TimeoutError, OSError."""
    rest = memoryview(data)
    while rest:
        _wait(pipe, select.POLLOUT, deadline)
        rest = rest[os.write(pipe.fileno(), rest) :]


def _read_line(pipe: IO[bytes], deadline: float) -> bytes:
    """The next line, which is all that is there. Raises TimeoutError, OSError."""
    line = b""
    while not line.endswith(b"\n"):
        _wait(pipe, select.POLLIN, deadline)
        part = os.read(pipe.fileno(), MAX_ANSWER_BYTES)
        if not part:
            raise OSError("it ended")
        line += part
        if len(line) > MAX_ANSWER_BYTES or b"\n" in line[:-1]:
            raise OSError("it said more than one short line")
    return line


def _wait(pipe: IO[bytes], event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _unhex(text: str | None, length: int) -> bytes:
    """The bytes, or b"" if it is not hex of that many."""
    try:
        found = bytes.fromhex(text or "")
    except ValueError:
        return b""
    return found if len(found) == length else b""
