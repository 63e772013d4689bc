"""Genesis: the document that a consortium agrees on before its first block.

A JSON file. Its chain id is the hash of its content in canonical form, so two networks that differ in
anything are two chains, and a node with the wrong file finds out at the first message.
"""

import re
from pathlib import Path
from typing import Any

import msgspec

from node.errors import ConfigError
from node.files import read_given
from node.model.codec import sha256
from node.model.epoch import Epoch, Validator
from node.model.keys import PUBLIC_KEY_BYTES, TAG_GENESIS

GENESIS_FORMAT = 1
MAX_GENESIS_BYTES = 32 * 1024 * 1024
"""Of a document with some ten thousand homes."""
MIN_MEMBERS = 4
_MEMBER_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,47}")


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The money of the chain: 1 token = ``10**decimals`` base units = 1 kWh at par; ``par`` in base units per Wh."""

    symbol: str
    decimals: int
    par: int


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A validator. ``public_key``: Ed25519, hex; ``tls_certificate``: the PEM that its links are pinned to."""

    name: str
    public_key: str
    tls_certificate: str


class Genesis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``contracts``: contract name to its settings (integers, strings, arrays), read by ``Contract.genesis``.

    Block time is ``time_origin + (clock - clock_origin) * time_scale`` seconds, where ``clock`` is the node's
    own UTC clock in seconds. In production both origins are 0 and the scale is 1; a testnet runs a day in minutes.
    """

    format: int
    name: str
    token: Token
    members: tuple[Member, ...]
    clock_origin: int
    time_origin: int
    time_scale: int
    contracts: dict[str, dict[str, Any]]

    @property
    def chain(self) -> bytes:
        """The chain's id: 32 bytes."""
        return sha256(TAG_GENESIS, _encoder.encode(self))

    @property
    def member_keys(self) -> tuple[bytes, ...]:
        """The members' public keys by index."""
        return tuple(bytes.fromhex(member.public_key) for member in self.members)

    @property
    def epoch(self) -> Epoch:
        """Epoch 0, which lasts until the members decide otherwise."""
        members = [Validator(member.name, member.public_key, member.tls_certificate) for member in self.members]
        return Epoch(0, 1, tuple(members))

    def block_time(self, clock_ms: int) -> int:
        """Block time in seconds for a clock reading in milliseconds since the epoch."""
        return self.time_origin + (clock_ms - self.clock_origin * 1000) * self.time_scale // 1000


_encoder = msgspec.msgpack.Encoder(order="deterministic")


def load_genesis(path: Path) -> Genesis:
    """Read and check a genesis file. Raises ConfigError: "no-genesis", "bad-genesis"."""
    return load_document(path)[0]


def load_document(path: Path) -> tuple[Genesis, bytes]:
    """The same, and the document's bytes, from one reading: a pipe can be read once. Raises as ``load_genesis``."""
    try:
        data = read_given(path, MAX_GENESIS_BYTES)
    except OSError as error:
        raise ConfigError("no-genesis", f"{path}: {error.strerror}") from error
    return parse_genesis(data, str(path)), data


def parse_genesis(data: bytes, source: str) -> Genesis:
    """The genesis in the JSON ``data``; ``source`` names it in errors. Raises ConfigError("bad-genesis")."""
    try:
        genesis = msgspec.json.decode(data, type=Genesis)
    except UnicodeDecodeError as error:
        raise ConfigError("bad-genesis", f"{source}: not UTF-8 text") from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ConfigError("bad-genesis", f"{source}: {error}") from error
    fault = _fault(genesis)
    if fault is not None:
        raise ConfigError("bad-genesis", f"{source}: {fault}")
    return genesis


def dump_genesis(genesis: Genesis) -> bytes:
    """The JSON of a genesis, indented for people."""
    return msgspec.json.format(msgspec.json.encode(genesis), indent=2) + b"\n"


def member_name_fault(name: str) -> str | None:
    """What is wrong with a member's name, which is also the name of directories and of the other side of links."""
    if _MEMBER_NAME.fullmatch(name):
        return None
    return f"{name!r} is no member's name: 1 to 48 of a-z, 0-9, `.` and `-`, a letter or digit first"


def _fault(genesis: Genesis) -> str | None:
    if genesis.format != GENESIS_FORMAT:
        return f"format {genesis.format}, this program reads format {GENESIS_FORMAT}"
    if len(genesis.members) < MIN_MEMBERS:
        return f"{len(genesis.members)} members, at least {MIN_MEMBERS} are needed"
    if genesis.time_scale < 1:
        return "time_scale is at least 1"
    try:
        _encoder.encode(genesis)
    except OverflowError:
        return "an integer has more than 64 bits"
    names = [member.name for member in genesis.members]
    fault = next((fault for name in names if (fault := member_name_fault(name))), None)
    if fault is not None:
        return fault
    if len(set(names)) != len(names):
        return "members' names are distinct"
    try:
        keys = genesis.member_keys
    except ValueError:
        return "a member's public_key is not hex"
    if any(len(key) != PUBLIC_KEY_BYTES for key in keys) or len(set(keys)) != len(keys):
        return "members' public keys are 32 bytes and distinct"
    return None
