"""Batches, blocks and their digests.

A *batch* is what a primary proposes; it names no parent and no view, so a view change carries it over
unchanged. A *block* is a batch in its place in the chain, with the roots that executing it there gave.

A batch's digest covers its transactions by their own digests. So a stored body can have single transactions *erased*,
each replaced by its digest, and still be checked against the header. A digest covers the transaction's signature: it
tells nothing to those who have not got that, however few the possible contents are.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from node.errors import CodecError
from node.model.codec import sha256
from node.model.keys import TAG_BATCH, TAG_BLOCK
from node.model.merkle_list import list_root
from node.model.transaction import Transaction, decode_transaction, digest_of

MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_BATCH_ITEMS = 4096
"""Of all transactions together, each of which is one item at least (``Transaction.items``)."""

DIGEST_BYTES: Final = 32

NULL_BATCH: Final = b""
"""The body of a null batch: only a view change makes one, to fill a gap. No transactions, no hooks."""
NULL_DIGEST: Final = sha256(TAG_BATCH, b"null")


class Batch(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """``time`` is block time in seconds as the proposer saw it; ``transactions`` are raw bytes, put in order
    only when executed; ``proposer`` is the index of the member that made it.
    """

    chain: bytes
    epoch: int
    proposer: int
    time: int
    transactions: tuple[bytes, ...]


class DecodedBatch(msgspec.Struct, frozen=True):
    """A batch with its digest and its transactions decoded (their signatures not yet checked).

    ``tx_root``: the list root over the transactions' digests, in batch order; the block's header names it.
    """

    batch: Batch
    digest: bytes
    transactions: tuple[Transaction, ...]
    tx_root: bytes


class StoredBatch(msgspec.Struct, frozen=True):
    """A batch as a ledger keeps it, of which transactions may have been erased. ``transactions``: those that are left,
    in the batch's order; ``places``: where in the batch they stand; ``erased``: how many are gone.
    """

    batch: Batch
    digest: bytes
    transactions: tuple[Transaction, ...]
    places: tuple[int, ...]
    erased: int
    tx_root: bytes


class Header(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A block's header. ``time = max(parent's time, batch's time)``; there is no view in it.

    ``members_hash`` (``epoch.members_hash``) is of the members at this height, ``next_members_hash`` of those at the
    next: another one in the last block of an epoch only, whose certificate thus proves who comes after.
    """

    chain: bytes
    epoch: int
    height: int
    parent_hash: bytes
    batch_digest: bytes
    time: int
    tx_root: bytes
    receipts_root: bytes
    state_root: bytes
    members_hash: bytes
    next_members_hash: bytes

    @property
    def hash(self) -> bytes:
        """SHA-256 over the tagged canonical encoding; 32 bytes."""
        return sha256(TAG_BLOCK, encode_header(self))


class Block(msgspec.Struct, frozen=True):
    """A header and the body that it was made from: an encoded batch, or ``NULL_BATCH``."""

    header: Header
    body: bytes


_batch_decoder = msgspec.msgpack.Decoder(Batch)
_header_decoder = msgspec.msgpack.Decoder(Header)
_encoder = msgspec.msgpack.Encoder()


def encode_batch(batch: Batch) -> bytes:
    """The canonical bytes of a batch: its body in a block and on the wire."""
    return _encoder.encode(batch)


def decode_batch(body: bytes) -> DecodedBatch:
    """The batch in ``body``. Depends on nothing but the bytes.

    Raises CodecError: "oversize", "malformed", "non-canonical", or what ``decode_transaction`` raises;
    "duplicate" if a transaction stands in it twice. ``NULL_BATCH`` is not a batch: "malformed".
    """
    batch = _decoded(body)
    transactions = tuple(decode_transaction(raw) for raw in batch.transactions)
    if sum([tx.items for tx in transactions]) > MAX_BATCH_ITEMS:
        raise CodecError("oversize", f"a batch of more than {MAX_BATCH_ITEMS} items")
    if len({tx.id for tx in transactions}) != len(transactions):
        raise CodecError("duplicate", "a transaction stands in the batch twice")
    tx_root = list_root([tx.digest for tx in transactions])
    return DecodedBatch(batch, _digest(batch, tx_root), transactions, tx_root)


def _decoded(body: bytes) -> Batch:
    if len(body) > MAX_BATCH_BYTES:
        raise CodecError("oversize", f"a batch of {len(body)} bytes, at most {MAX_BATCH_BYTES} are allowed")
    try:
        batch = _batch_decoder.decode(body)
        canonical = _encoder.encode(batch)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CodecError("malformed", f"not a batch: {error}") from error
    if canonical != body:
        raise CodecError("non-canonical", "the batch is not in canonical form")
    if len(batch.transactions) > MAX_BATCH_ITEMS:
        raise CodecError("oversize", f"a batch of {len(batch.transactions)} transactions")
    return batch


def decode_stored_batch(body: bytes) -> StoredBatch:
    """The batch in a body that a ledger keeps. An item of DIGEST_BYTES is the digest of a transaction that was erased:
    no transaction is so short. The digest and the root are those that the whole batch had, so the header's.

    Raises CodecError as ``decode_batch``; what it is not told of is how many items the erased transactions had.
    """
    batch = _decoded(body)
    places = tuple([place for place, raw in enumerate(batch.transactions) if len(raw) != DIGEST_BYTES])
    transactions = tuple([decode_transaction(batch.transactions[place]) for place in places])
    digests = list(batch.transactions)
    for place, tx in zip(places, transactions, strict=True):
        digests[place] = tx.digest
    if len(set(digests)) != len(digests):
        raise CodecError("duplicate", "a transaction stands in the batch twice")
    tx_root = list_root(digests)
    erased = len(digests) - len(places)
    return StoredBatch(batch, _digest(batch, tx_root), transactions, places, erased, tx_root)


def transaction_in(body: bytes, place: int) -> Transaction | None:
    """The transaction at a place of a body that a ledger keeps; None if it has been erased."""
    raw = _batch_decoder.decode(body).transactions[place]
    return None if len(raw) == DIGEST_BYTES else decode_transaction(raw)


def digests_in(body: bytes) -> list[bytes]:
    """The digests of the transactions in a body that a ledger keeps, erased ones too, in their order."""
    if body == NULL_BATCH:
        return []
    return [raw if len(raw) == DIGEST_BYTES else digest_of(raw) for raw in _batch_decoder.decode(body).transactions]


def is_erased(body: bytes) -> bool:
    """Whether this is the body of a batch of which transactions have been erased."""
    try:
        return decode_stored_batch(body).erased > 0
    except CodecError:
        return False


def without_transactions(batch: Batch, digests: Mapping[int, bytes]) -> bytes:
    """The body of a batch in which the transactions at these places are replaced by their digests."""
    raws = tuple([digests.get(place, raw) for place, raw in enumerate(batch.transactions)])
    return encode_batch(msgspec.structs.replace(batch, transactions=raws))


def batch_digest(batch: Batch, tx_digests: list[bytes]) -> bytes:
    """What a pre-prepare binds to (view, height): covers every field, and every signature."""
    return _digest(batch, list_root(tx_digests))


def decoded_batch(batch: Batch, transactions: tuple[Transaction, ...]) -> DecodedBatch:
    """A batch just made of decoded ``transactions``, as ``decode_batch`` would give it from the encoded batch."""
    tx_root = list_root([tx.digest for tx in transactions])
    return DecodedBatch(batch, _digest(batch, tx_root), transactions, tx_root)


def _digest(batch: Batch, tx_root: bytes) -> bytes:
    head = (batch.chain, batch.epoch, batch.proposer, batch.time, tx_root)
    return sha256(TAG_BATCH, _encoder.encode(head))


def encode_header(header: Header) -> bytes:
    """The canonical bytes of a header."""
    return _encoder.encode(header)


def decode_header(data: bytes) -> Header:
    """The header in ``data``. Raises CodecError("malformed" or "non-canonical")."""
    try:
        header = _header_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise CodecError("malformed", f"not a block header: {error}") from error
    if _encoder.encode(header) != data:
        raise CodecError("non-canonical", "the header is not in canonical form")
    return header
