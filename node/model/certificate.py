"""Commit certificates: the proof that a quorum of members agreed on a block, state root included.

A certificate is a quorum of commit votes over identical signed bytes, hence of one view. Two nodes may
hold different certificates for one block, so a certificate is never hashed into anything nor compared.
"""

from collections.abc import Sequence

import msgspec

from node.errors import CodecError
from node.model.codec import encode
from node.model.keys import TAG_VOTE, Verify


class Certificate(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """``votes``: (member index, 64-byte signature), ascending by index, over ``commit_bytes`` of the rest."""

    epoch: int
    view: int
    height: int
    block_hash: bytes
    votes: tuple[tuple[int, bytes], ...]


_decoder = msgspec.msgpack.Decoder(Certificate)
_encoder = msgspec.msgpack.Encoder()


def commit_bytes(chain: bytes, epoch: int, view: int, height: int, block_hash: bytes) -> bytes:
    """What a commit vote signs: the state after the block at ``height``, since its hash binds the root."""
    return TAG_VOTE + encode(("commit", chain, epoch, view, height, block_hash))


def certificate_fault(
    certificate: Certificate, chain: bytes, members: Sequence[bytes], quorum: int, verify: Verify
) -> str | None:
    """None if the certificate proves its block to anyone who knows the members' keys, else what is wrong.

    ``members``: public keys by index; ``quorum``: how many distinct members must have signed.
    """
    indices = [index for index, _ in certificate.votes]
    if indices != sorted(set(indices)):
        return "votes are not one per member in ascending order"
    if indices and not 0 <= indices[0] <= indices[-1] < len(members):
        return "a vote is of no member"
    if len(indices) < quorum:
        return f"{len(indices)} votes, a quorum is {quorum}"
    c = certificate
    signed = commit_bytes(chain, c.epoch, c.view, c.height, c.block_hash)
    for index, signature in certificate.votes:
        if not verify(members[index], signed, signature):
            return f"the vote of member {index} is not signed by it"
    return None


def encode_certificate(certificate: Certificate) -> bytes:
    """The canonical bytes of a certificate."""
    return _encoder.encode(certificate)


def decode_certificate(data: bytes) -> Certificate:
    """The certificate in ``data``. Raises CodecError("malformed" or "non-canonical")."""
    try:
        certificate = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise CodecError("malformed", f"not a certificate: {error}") from error
    if _encoder.encode(certificate) != data:
        raise CodecError("non-canonical", "the certificate is not in canonical form")
    return certificate
