"""What executing a block gave: one receipt per transaction, and the events.

``receipts_root`` in a header is the list root (``merkle_list.py``) over the receipts in the batch's order and,
as the last item, all events of the block. So a receipt is proven by a path, and events by all of them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import msgpack

from chaincode.contract import Event, Value
from node.errors import CodecError
from node.model.codec import decode_trusted, encode
from node.model.keys import TAG_EVENTS, TAG_RECEIPT
from node.model.merkle_list import list_root

OK = "ok"


class Receipt(NamedTuple):
    """What became of a transaction. ``code``: "ok", or why it had no effect; ``details``: integers that explain it."""

    tx_id: bytes
    code: str
    details: tuple[int, ...]
    result: Value


class Results(NamedTuple):
    """A block's results, encoded: ``receipts`` in the batch's order; ``events`` in the order of execution."""

    receipts: tuple[bytes, ...]
    events: bytes

    @property
    def root(self) -> bytes:
        """The header's ``receipts_root``."""
        return list_root([TAG_RECEIPT + receipt for receipt in self.receipts] + [TAG_EVENTS + self.events])


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


def decode_events(data: bytes) -> tuple[Event, ...]:
    """The events in ``data``, which this node encoded. Raises CodecError("malformed")."""
    try:
        return tuple([Event(*event) for event in cast(tuple[tuple[Any, ...], ...], decode_trusted(data))])
    except TypeError as error:
        raise CodecError("malformed", "not a list of events") from error


def encode_results(results: Results) -> bytes:
    """The bytes under which the ledger keeps a block's results."""
    return encode(tuple(results))


def decode_results(data: bytes) -> Results:
    """The results in ``data``, which this node encoded. Raises CodecError("malformed")."""
    results = Results(*_record(data, 2))
    if type(results.receipts) is not tuple or any(
        type(part) is not bytes for part in (*results.receipts, results.events)
    ):
        raise CodecError("malformed", "not a block's results")
    return results


def _record(data: bytes, fields: int) -> tuple[Any, ...]:
    record = decode_trusted(data)
    if not isinstance(record, tuple) or len(record) != fields:
        raise CodecError("malformed", f"not a record of {fields} fields")
    return record
