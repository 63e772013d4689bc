"""Erasing from stored blocks what holds readings, once the rules say that it may go (``chaincode/erasable.py``).

Of a transaction its digest stays in the body, of its receipt and of an event the leaf under the header's
``receipts_root``; the index forgets the transaction's id, which covers no signature and so could be guessed by. All of
a block goes in one atomic write, with the marks that say that it is done: a crash in between leaves a block as it was
or as it shall be, and the next round finds what is left by the marks that are still there.

A block that holds readings is marked with each of their slots when it is stored (``layout.READINGS``). A mark goes when
nothing of its slot is left in the block. Blocks above ``horizon`` are left alone, so that who lags behind a little, and
who audits from a snapshot, can execute them.

What was overwritten lies in LevelDB's files until they are compacted; ``UNCOMPACTED`` says whether that is still to do.
"""

from collections.abc import Iterator
from typing import NamedTuple

from chaincode.erasable import in_call, in_event, may_go
from chaincode.erasure import NETWORK_TABLES
from chaincode.pruned import is_gone, newest_asked
from chaincode.settlement_readings import READING_TABLES
from node.errors import CodecError, StoreFault
from node.ledger import layout
from node.ledger.chain import Ledger
from node.ledger.layout import after_prefix, at_height
from node.ledger.reading import head_context
from node.ledger.store import Store
from node.model.block import NULL_BATCH, decode_stored_batch, without_transactions
from node.model.codec import decode, encode
from node.model.receipt import decode_event, decode_results, encode_results, split_events

_STATE_TABLES = (*READING_TABLES, *NETWORK_TABLES)
"""Where the state held what goes with the blocks' part."""


class Erased(NamedTuple):
    """How many transactions, and receipts and events, of a block or of several are erased."""

    transactions: int = 0
    results: int = 0

    def plus(self, other: "Erased") -> "Erased":
        """The sums of both."""
        return Erased(self.transactions + other.transactions, self.results + other.results)


def erased_in(store: Store, height: int) -> Erased:
    """What a store says to be erased of the block at ``height``. Raises StoreFault."""
    data = store.get(at_height(layout.ERASED, height))
    if data is None:
        return Erased()
    try:
        match decode(data):
            case (int(transactions), int(results)):
                return Erased(transactions, results)
    except CodecError:
        pass
    raise StoreFault("db-corrupt", f"what is erased of block {height} cannot be read")


def newest_erased(store: Store) -> int:
    """The highest block of which something is erased; 0 if there is none. Raises StoreFault."""
    found = next(store.scan(layout.ERASED, after_prefix(layout.ERASED), reverse=True), None)
    return 0 if found is None else int.from_bytes(found[0][1:], "big")


def oldest_erased(store: Store) -> int | None:
    """The lowest block of which something is erased; None if there is none. Raises StoreFault."""
    found = next(store.scan(layout.ERASED, after_prefix(layout.ERASED)), None)
    return None if found is None else int.from_bytes(found[0][1:], "big")


def erase_all(store: Store, ledger: Ledger, horizon: int, *, asked: bool) -> Iterator[Erased]:
    """One round through the marked blocks up to ``horizon``: what was erased, step by step, nothing in most of them.

    ``asked``: also for what owners have asked for; otherwise for slots alone whose retention is over. Blocks may be
    stored between the steps. Raises StoreFault.
    """
    newest = newest_asked(head_context(ledger)) if asked else -1
    start = layout.READINGS
    while (found := next(store.scan(start, after_prefix(layout.READINGS)), None)) is not None:
        slot, height = _place(found[0])
        if height > horizon or not (slot <= newest or is_gone(head_context(ledger), slot)):
            start = _mark(slot + 1, 0)
            yield Erased()
        else:
            yield erase_block(store, ledger, height, slot)
            start = _mark(slot, height + 1)


def erase_block(store: Store, ledger: Ledger, height: int, slot: int) -> Erased:
    """Erase what may go of one block because of ``slot``. Raises StoreFault."""
    body, data = store.get(at_height(layout.BODY, height)), store.get(at_height(layout.RESULTS, height))
    if body is None or data is None:
        raise StoreFault("db-corrupt", f"block {height}, which is marked with slot {slot}, is missing")
    puts: dict[bytes, bytes | None] = {}
    left = False
    digests: dict[int, bytes] = {}
    places: set[int] = set()
    try:
        results = decode_results(data)
        stored = None if body == NULL_BATCH else decode_stored_batch(body)
        transactions = () if stored is None else zip(stored.places, stored.transactions, strict=True)
        for place, tx in transactions:
            held = in_call(tx.payload.contract, tx.payload.method, tx.payload.args)
            if not any(each.slot == slot for each in held):
                continue
            if may_go(head_context(ledger), held):
                digests[place] = tx.digest
                place_of = store.get(layout.TRANSACTION + tx.id)
                if place_of is not None and place_of[:8] == height.to_bytes(8, "big"):
                    puts[layout.TRANSACTION + tx.id] = None
            else:
                left = True
        for place, encoded in enumerate(split_events(results.events)):
            event = decode_event(encoded)
            held = () if event is None else in_event(event)
            if held and held[0].slot == slot:
                if may_go(head_context(ledger), held):
                    places.add(place)
                else:
                    left = True
    except CodecError as error:
        raise StoreFault("db-corrupt", f"block {height} cannot be read: {error}") from error
    if not left:
        puts[_mark(slot, height)] = None
    done = Erased(len(digests), len(digests) + len(places))
    if digests and stored is not None:
        puts[at_height(layout.BODY, height)] = without_transactions(stored.batch, digests)
    if done.results:
        puts[at_height(layout.RESULTS, height)] = encode_results(results.without(digests.keys(), places))
        puts[at_height(layout.ERASED, height)] = encode(tuple(erased_in(store, height).plus(done)))
        puts[layout.UNCOMPACTED] = _widened(store.get(layout.UNCOMPACTED), height)
    if puts:
        store.write(puts)
    return done


def to_compact(store: Store) -> list[tuple[bytes, bytes]]:
    """The ranges of keys in which the files may hold what was erased; none if there are none. Raises StoreFault."""
    data = store.get(layout.UNCOMPACTED)
    if data is None:
        return []
    first, end = data[:8], (int.from_bytes(data[8:], "big") + 1).to_bytes(8, "big")
    ranges = [(family + first, family + end) for family in (layout.BODY, layout.RESULTS)]
    ranges.append((layout.TRANSACTION, after_prefix(layout.TRANSACTION)))
    tables = [layout.STATE + table for table in _STATE_TABLES]
    return [*ranges, *((table, after_prefix(table)) for table in tables)]


def compacted(store: Store) -> None:
    """What ``to_compact`` named has been compacted. Raises StoreFault."""
    store.write({layout.UNCOMPACTED: None})


def _widened(data: bytes | None, height: int) -> bytes:
    here = height.to_bytes(8, "big")
    return here + here if data is None else min(data[:8], here) + max(data[8:], here)


def _mark(slot: int, height: int) -> bytes:
    return layout.READINGS + slot.to_bytes(8, "big") + height.to_bytes(8, "big")


def _place(mark: bytes) -> tuple[int, int]:
    return int.from_bytes(mark[1:9], "big"), int.from_bytes(mark[9:], "big")
