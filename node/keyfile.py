"""Secrets at rest: a JSON file that holds one secret sealed under a passphrase.

The passphrase goes through argon2id, the secret into a secretbox (XSalsa20-Poly1305), both from libsodium. The
argon2 limits stand in the file, so a file made with other limits still opens. Nothing unsealed is ever
written; files are readable by their owner only, and one that is not is told of. There is no agent: a process that
needs a secret unseals it itself, and leaves no core file from then on.
"""

import base64
import logging
import os
import stat
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec
import nacl.exceptions
import nacl.pwhash
import nacl.secret
import nacl.utils

from node.errors import ConfigError
from node.files import read_given, read_start
from node.model.keys import SEED_BYTES, SigningKey
from node.secrecy import close_memory

log = logging.getLogger("watt.keys")

KEY_FILE_FORMAT = 1
KIND_SIGNING_KEY = "ed25519"
KIND_TLS_KEY = "tls-key"
PASSPHRASE_VARIABLE = "WATT_PASSPHRASE"
MAX_KEY_FILE_BYTES = 64 * 1024
MAX_MEMORY_BYTES = 1 << 30
MAX_PASSPHRASE_BYTES = 4096
MAX_OPERATIONS = 16
OTHERS: Final = 0o077
"""The permissions that nobody but its owner should have of a key file."""


class Limits(NamedTuple):
    """What one guess of the passphrase costs: argon2id passes, and memory in bytes."""

    operations: int
    memory_bytes: int


STRONG: Final = Limits(nacl.pwhash.argon2id.OPSLIMIT_MODERATE, nacl.pwhash.argon2id.MEMLIMIT_MODERATE)
"""Three passes over 256 MiB: about half a second."""
TESTNET: Final = Limits(nacl.pwhash.argon2id.OPSLIMIT_MIN, nacl.pwhash.argon2id.MEMLIMIT_MIN)
"""As cheap as libsodium allows: for generated passphrases that lie beside the file in a local network."""


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON. ``public_key``: hex, empty if the secret has none; ``salt`` and ``box``: base64."""

    format: int
    kind: str
    public_key: str
    operations: int
    memory_bytes: int
    salt: str
    box: str


class _Claim(msgspec.Struct, frozen=True):
    """What every kind of key file says."""

    public_key: str


def seal(path: Path, kind: str, secret: bytes, passphrase: str, *, public_key: bytes = b"", limits: Limits) -> None:
    """Write ``secret`` to a new file. Raises ConfigError("key-exists") rather than overwrite one."""
    close_memory()
    write_private(path, _sealed(kind, secret, passphrase, public_key.hex(), limits))


def reseal(path: Path, passphrase: str, new_passphrase: str, limits: Limits = STRONG) -> str:
    """Seal what the file holds under another passphrase; at every moment the file opens with one of the two.
    Its public key, in hex.

    Copies of the file still open with the one before. Raises ConfigError: "no-key-file", "bad-key-file",
    "wrong-passphrase", "cannot-write"; "key-exists" if a copy is there, left over by a change that was interrupted.
    """
    before = read_key_file(path)
    secret = unseal(path, before.kind, passphrase)
    copy = path.with_name(path.name + ".new")
    write_private(copy, _sealed(before.kind, secret, new_passphrase, before.public_key, limits))
    try:
        copy.replace(path)
    except OSError as error:
        copy.unlink(missing_ok=True)
        raise ConfigError("cannot-write", f"{path}: {error.strerror}") from error
    return before.public_key


def _sealed(kind: str, secret: bytes, passphrase: str, public_key: str, limits: Limits) -> bytes:
    """The bytes of a key file."""
    salt = nacl.utils.random(nacl.pwhash.argon2id.SALTBYTES)
    box = nacl.secret.SecretBox(_stretch(passphrase, salt, limits)).encrypt(secret)
    document = KeyFile(
        KEY_FILE_FORMAT,
        kind,
        public_key,
        limits.operations,
        limits.memory_bytes,
        base64.b64encode(salt).decode(),
        base64.b64encode(bytes(box)).decode(),
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def unseal(path: Path, kind: str, passphrase: str) -> bytes:
    """The secret in the file.

    Raises ConfigError: "no-key-file", "bad-key-file" (not one, or of another kind), "wrong-passphrase" (or the
    sealed part was tampered with: the two look the same).
    """
    close_memory()
    document = read_key_file(path)
    if document.kind != kind:
        raise ConfigError("bad-key-file", f"{path}: holds a {document.kind}, not a {kind}")
    try:
        salt = base64.b64decode(document.salt, validate=True)
        sealed = base64.b64decode(document.box, validate=True)
        key = _stretch(passphrase, salt, Limits(document.operations, document.memory_bytes))
    except (ValueError, nacl.exceptions.CryptoError) as error:
        raise ConfigError("bad-key-file", f"{path}: {error}") from error
    try:
        return bytes(nacl.secret.SecretBox(key).decrypt(sealed))
    except (nacl.exceptions.CryptoError, ValueError) as error:
        raise ConfigError("wrong-passphrase", f"{path} does not open with this passphrase") from error


def read_key_file(path: Path) -> KeyFile:
    """The file with its secret still sealed: whose key it is can be read without the passphrase.

    Raises ConfigError: "no-key-file", "bad-key-file".
    """
    document = decode_key_file(path, KeyFile)
    if document.format != KEY_FILE_FORMAT:
        raise ConfigError("bad-key-file", f"{path}: format {document.format}, this program reads {KEY_FILE_FORMAT}")
    if not (0 < document.operations <= MAX_OPERATIONS and 0 < document.memory_bytes <= MAX_MEMORY_BYTES):
        raise ConfigError("bad-key-file", f"{path}: argon2 limits out of range")
    return document


_File = TypeVar("_File", bound=msgspec.Struct)


def decode_key_file(path: Path, form: type[_File]) -> _File:
    """A key file of the kind whose ``form`` it has; one that others than its owner can read is told of, once.

    Raises ConfigError: "no-key-file", "bad-key-file".
    """
    try:
        data, mode = read_start(path, MAX_KEY_FILE_BYTES), stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigError("no-key-file", f"{path}: {error.strerror}") from error
    if len(data) > MAX_KEY_FILE_BYTES:
        raise ConfigError("bad-key-file", f"{path}: larger than any key file")
    if mode & OTHERS:
        _tell_open(path, mode)
    try:
        return msgspec.json.decode(data, type=form)
    except UnicodeDecodeError as error:
        raise ConfigError("bad-key-file", f"{path}: not UTF-8 text") from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ConfigError("bad-key-file", f"{path}: {error}") from error


@cache
def _tell_open(path: Path, mode: int) -> None:
    log.warning("key-file-open %s: mode %03o, others can read it or replace it: chmod 600", path, mode)


def save_key(path: Path, key: SigningKey, passphrase: str, limits: Limits = STRONG) -> None:
    """Seal a signing key into a new file. Raises ConfigError("key-exists")."""
    seal(path, KIND_SIGNING_KEY, key.seed, passphrase, public_key=key.public_key, limits=limits)


def load_key(path: Path, passphrase: str) -> SigningKey:
    """The signing key in the file. Raises ConfigError: "no-key-file", "bad-key-file", "wrong-passphrase"."""
    seed = unseal(path, KIND_SIGNING_KEY, passphrase)
    if len(seed) != SEED_BYTES:
        raise ConfigError("bad-key-file", f"{path}: a seed of {len(seed)} bytes")
    return SigningKey(seed)


def public_key_of(path: Path) -> bytes:
    """The public key that a file claims, without opening it. Raises ConfigError: "no-key-file", "bad-key-file"."""
    try:
        return bytes.fromhex(decode_key_file(path, _Claim).public_key)
    except ValueError as error:
        raise ConfigError("bad-key-file", f"{path}: its public_key is not hex") from error


def read_passphrase(path: Path | None) -> str | None:
    """The passphrase from a file (its first line) or else from WATT_PASSPHRASE; None if neither is given.

    Raises ConfigError: "no-passphrase" if the file cannot be read.
    """
    if path is None:
        return os.environ.get(PASSPHRASE_VARIABLE)
    try:
        if path.stat().st_mode & OTHERS:
            _tell_open(path, stat.S_IMODE(path.stat().st_mode))
        lines = read_given(path, MAX_PASSPHRASE_BYTES).decode().splitlines()
    except OSError as error:
        raise ConfigError("no-passphrase", f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError("no-passphrase", f"{path} is not UTF-8 text") from error
    if not lines or not lines[0]:
        raise ConfigError("no-passphrase", f"{path} is empty")
    return lines[0]


def write_private(path: Path, data: bytes) -> None:
    """Create a file that only its owner can read, synced; the whole of it or none.

    Raises ConfigError: "key-exists", "cannot-write".
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError("key-exists", f"{path} is there already; it is never overwritten") from error
    except OSError as error:
        raise ConfigError("cannot-write", f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ConfigError("cannot-write", f"{path}: {error.strerror}") from error


def _stretch(passphrase: str, salt: bytes, limits: Limits) -> bytes:
    return nacl.pwhash.argon2id.kdf(
        nacl.secret.SecretBox.KEY_SIZE,
        passphrase.encode("utf-8"),
        salt,
        opslimit=limits.operations,
        memlimit=limits.memory_bytes,
    )
