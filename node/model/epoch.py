"""Epochs: who the members are, and from which height on.

Membership changes at a stated height. All blocks from an epoch's first height to the one before the next epoch's are
proposed and certified by its members, and by nobody else.
"""

from collections.abc import Sequence

import msgspec

from node.errors import CodecError
from node.model.codec import encode, sha256
from node.model.keys import TAG_MEMBERS


class Validator(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A member that votes. ``public_key``: Ed25519, hex; ``tls_certificate``: the PEM that its links are pinned to."""

    name: str
    public_key: str
    tls_certificate: str


class Epoch(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """``first_height``: of the epoch's first block; 1 for epoch 0, to which block 0 belongs too. A member's index is
    its place in ``members``; it means nothing in another epoch."""

    number: int
    first_height: int
    members: tuple[Validator, ...]

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The members' public keys by index."""
        return tuple([bytes.fromhex(member.public_key) for member in self.members])

    @property
    def base(self) -> int:
        """The height of the last block before this epoch: what its first block stands on."""
        return self.first_height - 1

    def index_of(self, name: str) -> int | None:
        """The index of the member with this name, or None if it is no member in this epoch."""
        return next((index for index, member in enumerate(self.members) if member.name == name), None)

    def member(self, name: str) -> Validator | None:
        """The member with this name, or None if there is none in this epoch."""
        return next((member for member in self.members if member.name == name), None)

    @property
    def hash(self) -> bytes:
        """``members_hash`` of its members."""
        return members_hash(self.members)


class Boundary(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What proves an epoch to those who know the one before: the encoded ``header`` and ``certificate`` of the last
    block before it, and its members, whom that header names by their hash."""

    header: bytes
    certificate: bytes
    members: tuple[Validator, ...]


_boundary_decoder = msgspec.msgpack.Decoder(Boundary)
_encoder = msgspec.msgpack.Encoder()


def encode_boundary(boundary: Boundary) -> bytes:
    """The canonical bytes of a boundary."""
    return _encoder.encode(boundary)


def decode_boundary(data: bytes) -> Boundary:
    """The boundary in ``data``. Raises CodecError("malformed" or "non-canonical")."""
    try:
        boundary = _boundary_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CodecError("malformed", f"not a boundary of epochs: {error}") from error
    if _encoder.encode(boundary) != data:
        raise CodecError("non-canonical", "the boundary is not in canonical form")
    return boundary


def members_hash(members: Sequence[Validator]) -> bytes:
    """What a block header binds an epoch's members by: name, key in hex and TLS certificate of each, in index order."""
    rows = tuple([(member.name, member.public_key, member.tls_certificate) for member in members])
    return sha256(TAG_MEMBERS, encode(rows))
