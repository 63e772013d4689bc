"""A transaction: what a wallet signs, as opaque bytes from there on.

On the wire and in a batch a transaction is ``signature (64 bytes) || payload``. The payload is canonical
MessagePack: a map with the seven keys of ``Payload`` in ascending order. The signature covers
``TAG_TX_SIGN || payload``, exactly the bytes that travel; nothing is ever re-encoded.

Two digests: the *id* covers the payload alone (replay protection, ``Status``); the *digest* covers the
signature too, and is what every cache of "verified" uses, so that nobody can smuggle a forged signature
in under a known id. An id follows from the payload, which can be guessed; a digest does not: what is public of
a block are digests.
"""

from typing import Any

import msgspec

from node.errors import CodecError
from node.model.codec import sha256
from node.model.keys import (
    SIGNATURE_BYTES,
    TAG_TX_DIGEST,
    TAG_TX_ID,
    TAG_TX_SIGN,
    Signer,
    Verify,
)

MAX_TRANSACTION_BYTES = 64 * 1024
MAX_TRANSACTION_ITEMS = 2048
"""The longest array that an argument may be."""
MAX_NONCE = 2**63 - 1


class Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What is signed. The fields are in the order of their bytes on the wire: ascending by name.

    ``args``: argument name to value (int, str, bytes, bool, None, arrays of these); ``chain``: the chain's
    id, 32 bytes; ``contract`` and ``method``: what to call; ``nonce``: see ``node/executor.py``;
    ``not_after``: block time in seconds after which it is void; ``sender``: public key, 32 bytes.
    """

    args: dict[str, Any]
    chain: bytes
    contract: str
    method: str
    nonce: int
    not_after: int
    sender: bytes


_decoder = msgspec.msgpack.Decoder(Payload)
_encoder = msgspec.msgpack.Encoder(order="deterministic")


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """A decoded transaction together with the bytes that it came from. Its signature is *not* yet checked.

    ``items``: how many things it asks for: what its longest array holds, at least 1. A hundred readings in one
    transaction are work for a hundred, and blocks are bounded by it.
    """

    raw: bytes
    payload: Payload
    id: bytes
    digest: bytes
    items: int = 1

    def signature_is_valid(self, verify: Verify) -> bool:
        """Whether the sender's key made the signature."""
        signed = TAG_TX_SIGN + self.raw[SIGNATURE_BYTES:]
        return verify(self.payload.sender, signed, self.raw[:SIGNATURE_BYTES])


def decode_transaction(raw: bytes) -> Transaction:
    """The transaction in ``raw``. Size, form and ranges are checked here; signature and state are not.

    Raises CodecError: "oversize", "malformed", "non-canonical", "bad-nonce", "bad-sender", "bad-chain".
    """
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise CodecError("oversize", f"{len(raw)} bytes, at most {MAX_TRANSACTION_BYTES} are allowed")
    body = raw[SIGNATURE_BYTES:]
    try:
        payload = _decoder.decode(body)
        canonical = _encoder.encode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, OverflowError) as error:
        raise CodecError("malformed", f"not a transaction: {error}") from error
    if canonical != body:
        raise CodecError("non-canonical", "the payload is not in canonical form")
    if not 0 <= payload.nonce <= MAX_NONCE:
        raise CodecError("bad-nonce", f"nonce {payload.nonce} is not between 0 and 2**63-1")
    if not 0 <= payload.not_after <= MAX_NONCE:
        raise CodecError("bad-expiry", f"not_after {payload.not_after} is not a time")
    if len(payload.sender) != 32:
        raise CodecError("bad-sender", "the sender is not a 32-byte key")
    if len(payload.chain) != 32:
        raise CodecError("bad-chain", "the chain is not a 32-byte id")
    items = 1
    for value in payload.args.values():
        if type(value) is list and len(value) > items:
            items = len(value)
    if items > MAX_TRANSACTION_ITEMS:
        raise CodecError("oversize", f"an array of {items} items, at most {MAX_TRANSACTION_ITEMS} are allowed")
    return Transaction(raw, payload, sha256(TAG_TX_ID, body), sha256(TAG_TX_DIGEST, raw), items)


def tx_id_of(raw: bytes) -> bytes:
    """The id of a signed transaction, whatever it says: 32 bytes."""
    return sha256(TAG_TX_ID, raw[SIGNATURE_BYTES:])


def digest_of(raw: bytes) -> bytes:
    """The digest of a signed transaction, whatever it says: 32 bytes."""
    return sha256(TAG_TX_DIGEST, raw)


def sign_transaction(
    signer: Signer, chain: bytes, nonce: int, contract: str, method: str, args: dict[str, Any], not_after: int
) -> Transaction:
    """A signed transaction, ready to submit."""
    body = _encoder.encode(Payload(args, chain, contract, method, nonce, not_after, signer.public_key))
    return decode_transaction(signer.sign(TAG_TX_SIGN + body) + body)
