"""Transfers of money, which no state keeps: from the events of blocks, with what proves that they are all.

The file is one record after the other, length (4 bytes, big-endian) and encoded (header, certificate, results): of
every block with a block time in the period, and of the one before them and the one behind, if there are these. A reader
checks each certificate, that each block is the parent of the next, and that receipts and events give the header's
``receipts_root``; so no block and no event is missing. Of what was erased (readings) its leaf stands there.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from cli.audit_files import TRANSFER
from node.epochs import header_fault
from node.errors import CodecError, RefusedError
from node.ledger import layout
from node.ledger.chain import Ledger
from node.ledger.layout import at_height
from node.ledger.store import Store
from node.model.block import Header, decode_header, encode_header
from node.model.certificate import decode_certificate, encode_certificate
from node.model.codec import Value, decode, encode
from node.model.epoch import Epoch
from node.model.genesis import Genesis
from node.model.keys import verify
from node.model.receipt import Results, decode_event, decode_results, encode_results, split_events

MAX_RECORD_BYTES: Final = 256 * 1024 * 1024


class Blocks(NamedTuple):
    """What the blocks of a period show: ``rows`` of TRANSFER; the lowest and the highest block; how many events of
    them are erased. ``begins``, ``ends``: whether the blocks beyond the period are there, so that none of it can be
    missing; at the chain's beginning there is nothing before, and behind its head nothing yet."""

    rows: list[tuple[Value, ...]]
    first: int
    last: int
    erased: int
    begins: bool
    ends: bool


def write_blocks(file: BinaryIO, store: Store, ledger: Ledger, begin: int, end: int) -> int:
    """Write the blocks with times from ``begin`` on, before ``end``; how many. Raises RefusedError("below-base") if the
    data begin later, StoreFault, OSError."""
    first = _first_at(ledger, begin)
    if first <= ledger.base and ledger.base > 0:
        raise RefusedError(
            "below-base", f"the data begin with a snapshot of block {ledger.base}, in or behind the period"
        )
    count = 0
    for height in range(max(1, first - 1), ledger.head.height + 1):
        block, certificate = ledger.block(height), ledger.certificate(height)
        results = store.get(at_height(layout.RESULTS, height))
        if block is None or certificate is None or results is None:
            raise RefusedError("no-block", f"block {height} is not in the data")
        record = encode((encode_header(block.header), encode_certificate(certificate), results))
        file.write(len(record).to_bytes(4, "big") + record)
        count += 1
        if block.header.time >= end:
            break
    return count


def read_blocks(path: Path, genesis: Genesis, epochs: Sequence[Epoch], begin: int, end: int) -> Blocks:
    """Check the file and read its transfers. Raises RefusedError("bad-audit") and OSError."""
    rows: list[tuple[Value, ...]] = []
    parent: Header | None = None
    first: Header | None = None
    erased = 0
    with path.open("rb") as file:
        for header, results in _records(file, genesis, epochs):
            if parent is not None and (header.height, header.parent_hash) != (parent.height + 1, parent.hash):
                raise _bad(f"block {header.height} does not follow block {parent.height}")
            parent, first = header, first or header
            if begin <= header.time < end:
                erased += results.erased
                rows += _transfers(header, results)
    if parent is None or first is None:
        return Blocks([], 0, 0, 0, begins=False, ends=False)
    begins = first.height == 1 or first.time < begin
    return Blocks(rows, first.height, parent.height, erased, begins=begins, ends=parent.time >= end)


def _records(file: BinaryIO, genesis: Genesis, epochs: Sequence[Epoch]) -> Iterator[tuple[Header, Results]]:
    while size := file.read(4):
        length = int.from_bytes(size, "big")
        if len(size) != 4 or length > MAX_RECORD_BYTES:
            raise _bad("a record is cut off, or larger than any")
        data = file.read(length)
        if len(data) != length:
            raise _bad("a record is cut off")
        try:
            match decode(data):
                case (bytes(head), bytes(proof), bytes(told)):
                    header, certificate, results = decode_header(head), decode_certificate(proof), decode_results(told)
                case _:
                    raise _bad("a record is no block")
            fault = header_fault(genesis.chain, epochs, header, certificate, verify)
            if fault is not None:
                raise _bad(f"block {header.height}: {fault}")
            if results.root != header.receipts_root or encode_results(results) != told:
                raise _bad(f"block {header.height}: its events are not those that its header names")
        except CodecError as error:
            raise _bad(f"a record cannot be read: {error.message}") from error
        yield header, results


def _transfers(header: Header, results: Results) -> Iterator[tuple[Value, ...]]:
    for place, encoded in enumerate(split_events(results.events)):
        event = decode_event(encoded)
        if event is None or event.topic != "transfer":
            continue
        if not isinstance(event.data, tuple) or len(event.data) != len(TRANSFER) - 3:
            raise _bad(f"block {header.height}: a transfer of another form")
        yield header.height, header.time, place, *event.data


def _first_at(ledger: Ledger, begin: int) -> int:
    """The first block with a time of ``begin`` or later; times never fall. The head's next if there is none."""
    low, high = max(1, ledger.base + 1), ledger.head.height + 1
    while low < high:
        middle = (low + high) // 2
        block = ledger.block(middle)
        if block is None:
            raise RefusedError("no-block", f"block {middle} is not in the data")
        if block.header.time < begin:
            low = middle + 1
        else:
            high = middle
    return low


def _bad(why: str) -> RefusedError:
    return RefusedError("bad-audit", f"the export cannot be believed: {why}")
