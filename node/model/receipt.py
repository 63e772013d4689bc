"""What executing a block gave: one receipt per transaction, and the events.

``receipts_root`` in a header is the list root (``merkle_list.py``) over the receipts in the batch's order and, behind
them, the events in the order of execution: each is a leaf by itself, proven by a path, and each can be erased by
itself. What is left of an erased one is its leaf's 32 bytes, from which the root still follows.

A reading has few possible values, so a bare hash of it could be guessed. Every leaf therefore covers a *blind* of its
own beside the item: 16 bytes that follow from the block's blind, which follows from all signatures since the chain
began (``ledger/blinding.py``). The blind of an erased item is erased with it.

    leaf = SHA-256(0x00, TAG_RECEIPT or TAG_EVENT, blind (16), encoded receipt or event)
"""

from collections.abc import Collection, Sequence
from hashlib import sha256, shake_256
from typing import Any, Final, NamedTuple, cast

import msgpack

from chaincode.contract import Event, Value
from node.errors import CodecError
from node.model.codec import decode_trusted, encode
from node.model.keys import TAG_BLINDS, TAG_EVENT, TAG_RECEIPT
from node.model.merkle_list import leaves_root

OK = "ok"
LEAF_BYTES: Final = 32
"""No receipt is encoded in so few bytes: one has its transaction's id in it."""
BLIND_BYTES: Final = 16
_ERASED_EVENT: Final = b"\xc4\x20"
"""How 32 bytes begin in canonical MessagePack; events are arrays."""


class Receipt(NamedTuple):
    """What became of a transaction. ``code``: "ok", or why it had no effect; ``details``: integers that explain it."""

    tx_id: bytes
    code: str
    details: tuple[int, ...]
    result: Value


class Results(NamedTuple):
    """A block's results, encoded: ``receipts`` in the batch's order; ``events`` in the order of execution.

    ``blind``: the block's, 32 bytes, from which that of every item follows. Once something has been erased it is
    empty, and ``blinds`` has those of the items that are left, b"" for the others; what stands for an erased
    receipt is its leaf, for an erased event the encoding of its leaf.
    """

    receipts: tuple[bytes, ...]
    events: bytes
    blind: bytes
    blinds: tuple[bytes, ...] = ()

    @property
    def root(self) -> bytes:
        """The header's ``receipts_root``. Raises CodecError("malformed") for what was never a block's results."""
        return leaves_root(self._leaves(split_events(self.events)))

    @property
    def erased(self) -> int:
        """How many receipts and events have been erased."""
        return sum([not blind for blind in self.blinds])

    def without(self, receipts: Collection[int], events: Collection[int]) -> "Results":
        """The same with these receipts and events erased, by their places; those that are gone already stay so."""
        told = split_events(self.events)
        leaves, first = self._leaves(told), len(self.receipts)
        gone = {*receipts, *(first + index for index in events)}
        blinds = self.blinds or blinds_of(self.blind, len(leaves))
        return Results(
            tuple([leaves[index] if index in gone else each for index, each in enumerate(self.receipts)]),
            join_events([_ERASED_EVENT + leaves[i] if i in gone else each for i, each in enumerate(told, first)]),
            b"",
            tuple([b"" if index in gone else blind for index, blind in enumerate(blinds)]),
        )

    def _leaves(self, events: Sequence[bytes]) -> list[bytes]:
        count = len(self.receipts) + len(events)
        blinds = self.blinds or blinds_of(self.blind, count)
        if len(blinds) != count:
            raise CodecError("malformed", "results with another number of blinds than of items")
        leaves = []
        for receipt, blind in zip(self.receipts, blinds, strict=False):
            leaves.append(_leaf(TAG_RECEIPT, blind, receipt) if blind else receipt)
        for event, blind in zip(events, blinds[len(self.receipts) :], strict=True):
            leaves.append(_leaf(TAG_EVENT, blind, event) if blind else event[len(_ERASED_EVENT) :])
        if any(len(leaf) != LEAF_BYTES for leaf in leaves):
            raise CodecError("malformed", "what stands for an erased receipt or event is no leaf")
        return leaves


def results_root(receipts: Sequence[bytes], events: Sequence[bytes], blind: bytes) -> bytes:
    """``Results.root`` of a block just executed: ``events`` one by one, as ``encode_event`` gave them."""
    blinds = blinds_of(blind, len(receipts) + len(events))
    leaves = [_leaf(TAG_RECEIPT, each, receipt) for receipt, each in zip(receipts, blinds, strict=False)]
    leaves += [_leaf(TAG_EVENT, each, event) for event, each in zip(events, blinds[len(receipts) :], strict=True)]
    return leaves_root(leaves)


def blinds_of(blind: bytes, count: int) -> tuple[bytes, ...]:
    """The blinds of a block's ``count`` items."""
    stream = shake_256(TAG_BLINDS + blind).digest(BLIND_BYTES * count)
    return tuple([stream[start : start + BLIND_BYTES] for start in range(0, len(stream), BLIND_BYTES)])


def _leaf(tag: bytes, blind: bytes, item: bytes) -> bytes:
    return sha256(b"\x00" + tag + blind + item).digest()


def encode_receipt(receipt: Receipt) -> bytes:
    """The canonical bytes of a receipt. Raises CodecError("bad-value")."""
    return encode(tuple(receipt))


def decode_receipt(data: bytes) -> Receipt:
    """The receipt in ``data``, which this node encoded. Raises CodecError("malformed")."""
    return Receipt(*_record(data, 4))


def encode_event(event: Event) -> bytes:
    """The canonical bytes of an event. Raises CodecError("bad-value")."""
    return encode((event.contract, event.topic, event.keys, event.data))


def join_events(events: Sequence[bytes]) -> bytes:
    """The canonical bytes of a block's events: the array of what ``encode_event`` gave."""
    header: bytes = msgpack.Packer().pack_array_header(len(events))
    return header + b"".join(events)


def split_events(data: bytes) -> list[bytes]:
    """The encodings that ``join_events`` has joined. Raises CodecError("malformed")."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(data)))
    unpacker.feed(data)
    try:
        parts, start = [], 0
        for index in range(unpacker.read_array_header() + 1):
            if index:
                unpacker.skip()
                parts.append(data[start : unpacker.tell()])
            start = unpacker.tell()
    except (msgpack.UnpackException, ValueError, RecursionError) as error:
        raise CodecError("malformed", "not a list of events") from error
    if start != len(data):
        raise CodecError("malformed", "something behind a list of events")
    return parts


def decode_events(data: bytes) -> tuple[Event, ...]:
    """The events in ``data`` that are not erased; this node encoded them. Raises CodecError("malformed")."""
    try:
        decoded = cast(tuple[tuple[Any, ...] | bytes, ...], decode_trusted(data))
        return tuple([Event(*event) for event in decoded if type(event) is not bytes])
    except TypeError as error:
        raise CodecError("malformed", "not a list of events") from error


def decode_event(data: bytes) -> Event | None:
    """One of ``split_events``; None if it is erased. Raises CodecError("malformed")."""
    decoded = decode_trusted(data)
    return None if type(decoded) is bytes else Event(*_fields(decoded, 4))


def encode_results(results: Results) -> bytes:
    """The bytes under which the ledger keeps a block's results."""
    return encode(tuple(results))


def decode_results(data: bytes) -> Results:
    """The results in ``data``, which this node encoded. Raises CodecError("malformed")."""
    results = Results(*_record(data, 4))
    if type(results.receipts) is not tuple or type(results.blinds) is not tuple:
        raise CodecError("malformed", "not a block's results")
    if any(type(part) is not bytes for part in (*results.receipts, results.events, results.blind, *results.blinds)):
        raise CodecError("malformed", "not a block's results")
    return results


def kept_receipts(results: Results) -> tuple[Receipt, ...]:
    """The receipts that are not erased, decoded. Raises CodecError("malformed")."""
    blinds = results.blinds[: len(results.receipts)] or (results.blind,) * len(results.receipts)
    return tuple([decode_receipt(each) for each, blind in zip(results.receipts, blinds, strict=True) if blind])


def _record(data: bytes, fields: int) -> tuple[Any, ...]:
    return _fields(decode_trusted(data), fields)


def _fields(record: object, fields: int) -> tuple[Any, ...]:
    if not isinstance(record, tuple) or len(record) != fields:
        raise CodecError("malformed", f"not a record of {fields} fields")
    return record
