"""Enrolment codes: all that a new device needs to enrol a key of its own, in one line that can be pasted or scanned.

    WATT1 + base32 (RFC 4648, no padding) of: chain(32) seed(32) kind(1) until(5) length(1) id length(1) addresses
    checksum(4)

``seed`` makes the one-time key; ``kind`` is the place in ``enrolments.KINDS``; ``until`` is in block time, big-endian;
``addresses`` are gateways, with a space between; the checksum is of all that is before it. Upper-case letters and
digits alone, so that a QR code stays small. Spaces, hyphens and lower case, which come in on the way, do no harm.

A code is a secret until it has been used, or is over: whoever reads it first may enrol its own key.
"""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Final

from chaincode.enrolments import KINDS, one_time_message, possession_message
from chaincode.roles import MAX_ID
from node.errors import RefusedError
from node.model.codec import sha256
from node.model.keys import SEED_BYTES, Signer, SigningKey, verify

PREFIX: Final = "WATT1"
MAX_CODE_CHARACTERS: Final = 1024
MAX_ADDRESSES: Final = 255
"""In bytes, all together."""
_CHAIN_BYTES: Final = 32
_TIME_BYTES: Final = 5
_CHECKSUM_BYTES: Final = 4
_HEAD_BYTES: Final = _CHAIN_BYTES + SEED_BYTES + 1 + _TIME_BYTES
_TAG: Final = b"watt/enrolment-code/1\0"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a code says. ``kind`` and ``name``: whose key; ``until``: block time; ``gateways``: HOST:PORT each."""

    chain: bytes
    kind: str
    name: str
    until: int
    gateways: tuple[str, ...]
    seed: bytes = field(repr=False)

    @property
    def one_time_key(self) -> SigningKey:
        """What signs the enrolment, and nothing else."""
        return SigningKey(self.seed)

    def code(self) -> str:
        """The line. Raises RefusedError("bad-address") if the gateways' addresses are too long for it."""
        name, addresses = self.name.encode(), " ".join(self.gateways).encode()
        if len(addresses) > MAX_ADDRESSES:
            raise RefusedError("bad-address", f"a code has room for {MAX_ADDRESSES} characters of gateways")
        body = self.chain + self.seed + bytes([KINDS.index(self.kind)]) + self.until.to_bytes(_TIME_BYTES, "big")
        body += bytes([len(name)]) + name + bytes([len(addresses)]) + addresses
        return PREFIX + base64.b32encode(body + _checksum(body)).decode().rstrip("=")


def read_code(text: str) -> Enrolment:
    """What a code says. Raises RefusedError("bad-code"), which never repeats what was read."""
    letters = "".join(text.upper().split()).replace("-", "")
    if len(letters) > MAX_CODE_CHARACTERS or not letters.startswith(PREFIX):
        raise RefusedError("bad-code", f"an enrolment code is one line that begins with {PREFIX}")
    letters = letters.removeprefix(PREFIX)
    try:
        data = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError) as error:
        raise RefusedError("bad-code", "a letter that no enrolment code has: read it again") from error
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if checksum != _checksum(body):
        raise RefusedError("bad-code", "a part is missing, or a letter is wrong: read it again")
    return _decoded(body)


def enrol_args(enrolment: Enrolment, key: Signer) -> dict[str, bytes]:
    """The arguments of ``keys.enrol``, to be signed by the one-time key."""
    by = enrolment.one_time_key.public_key
    return {"key": key.public_key, "proof": possession(enrolment.chain, enrolment.kind, enrolment.name, by, key)}


def possession(chain: bytes, kind: str, name: str, by: bytes, key: Signer) -> bytes:
    """The new key's word that it is to act for ``name``; ``by``: the key that signs the call."""
    return key.sign(possession_message(chain, kind, name, by, key.public_key))


def require_possession(chain: bytes, kind: str, name: str, by: bytes, key: bytes, proof: bytes) -> None:
    """Refuse what the contract would, and say which key it is. Raises RefusedError("bad-signature")."""
    if not verify(key, possession_message(chain, kind, name, by, key), proof):
        raise RefusedError(
            "bad-signature",
            f"{key.hex()} has not signed that it is to act for {kind} {name} on this network, as {by.hex()} registers "
            "it: its holder runs `watt keys prove`",
        )


def one_time_proof(enrolment: Enrolment, by: bytes) -> bytes:
    """The one-time key's word that it is to enrol what ``enrolment`` says; ``by``: the key that signs the call."""
    key = enrolment.one_time_key
    return key.sign(one_time_message(enrolment.chain, enrolment.kind, enrolment.name, by, key.public_key))


def _decoded(body: bytes) -> Enrolment:
    try:
        kind, until = KINDS[body[_CHAIN_BYTES + SEED_BYTES]], body[_HEAD_BYTES - _TIME_BYTES : _HEAD_BYTES]
        name, rest = _text(body[_HEAD_BYTES:])
        addresses, end = _text(rest)
    except (IndexError, UnicodeDecodeError) as error:
        raise RefusedError("bad-code", "made by a later version of this program") from error
    if end or not 0 < len(name) <= MAX_ID:
        raise RefusedError("bad-code", "made by a later version of this program")
    seed = body[_CHAIN_BYTES : _CHAIN_BYTES + SEED_BYTES]
    return Enrolment(body[:_CHAIN_BYTES], kind, name, int.from_bytes(until, "big"), tuple(addresses.split()), seed)


def _text(data: bytes) -> tuple[str, bytes]:
    """A text with its length before it, and what comes behind. Raises IndexError, UnicodeDecodeError."""
    end = 1 + data[0]
    if len(data) < end:
        raise IndexError
    return data[1:end].decode("ascii"), data[end:]


def _checksum(body: bytes) -> bytes:
    return sha256(_TAG, body)[:_CHECKSUM_BYTES]
