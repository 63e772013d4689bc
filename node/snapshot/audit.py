"""The audit of a node's data, which may begin with a snapshot, and of which readings may have been erased.

Data that begin with block 0 and are whole are replayed from genesis (``node/audit.py``). Otherwise there are blocks
that cannot be: those up to a snapshot that the data began with, those that something has been erased of, and all that
come between them and the next state that is certified. So:

    from genesis on  every block replayed, up to the first of which something has been erased
    the base         its certificate, by the members whom the boundaries of the epochs prove from genesis on
    up to a snapshot every block's hash, parent, body, signatures, certificate, results; not that these follow from it;
                     of what has been erased the digests, from which the header's roots follow
    from there on    every block replayed on the snapshot's state, which the members have certified
    at the head      every entry of the state and every node of its tree, against the head's certified root

Without a snapshot the third part goes up to the head. The report says which blocks were replayed, and what is gone.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import zip_longest

from chaincode.registry import Registry
from node.audit import (
    AuditReport,
    Replay,
    ReplayLedger,
    Speed,
    check_certificate,
    check_end,
    rarely_collected,
    require_signed,
    verify_chain,
)
from node.audit_ahead import Ahead, Pending, bad, default_jobs, reading, workers
from node.epochs import verified_epochs
from node.errors import CodecError, RefusedError
from node.ledger import layout
from node.ledger.chain import UNUSED_CODES, Ledger, check_mark
from node.ledger.erasing import Erased, erased_in, newest_erased, oldest_erased
from node.ledger.layout import STATE, after_prefix, at_height
from node.ledger.merkle import built
from node.ledger.store import MemoryStore, Store
from node.ledger.tree import STORED_DEPTH, Tree
from node.model.block import NULL_DIGEST, Header, decode_header
from node.model.epoch import Boundary, Epoch
from node.model.genesis import Genesis
from node.model.keys import verify
from node.model.merkle_list import EMPTY_ROOT
from node.model.receipt import Results, decode_receipt, decode_results
from node.snapshot.load import load
from node.snapshot.offer import Trust, checked_offer
from node.snapshot.shelf import Shelf


def verify_data(
    store: Store,
    genesis: Genesis,
    registry: Registry,
    shelf: Shelf,
    progress: Callable[[int, int], None] = lambda height, head: None,
    jobs: int | None = None,
) -> AuditReport:
    """Check all that ``store`` holds, which is only read. ``shelf``: the node's snapshots; others: ``verify_chain``.

    Raises as ``verify_chain``.
    """
    with reading("the base"):
        mark, base = store.get(layout.FORMAT), store.get(layout.BASE)
        is_whole = oldest_erased(store) is None
    if mark is None or (base is None and is_whole):
        return verify_chain(store, genesis, registry, progress, jobs)
    check_mark(mark, genesis.chain)
    with reading("the head"):
        ledger = Ledger.open(store, genesis, registry)
    return _Audit(store, genesis, registry, ledger).run(shelf, progress, default_jobs() if jobs is None else jobs)


class _Audit:
    """One audit of a chain that cannot be replayed as a whole."""

    def __init__(self, store: Store, genesis: Genesis, registry: Registry, ledger: Ledger) -> None:
        self._store = store
        self._genesis = genesis
        self._chain = genesis.chain
        self._registry = registry
        self._base = ledger.base
        self._head = ledger.head
        self._boundaries = ledger.boundaries()
        try:
            self._epochs: Sequence[Epoch] = verified_epochs(genesis, self._boundaries, verify)
        except RefusedError as error:
            raise bad(self._base, error.message) from error
        self._places: dict[bytes, bytes] = {}
        self._unused: set[bytes] = set()
        """Transactions that were not executed in the block that has their place: a copy of an executed one, perhaps."""
        self._transactions = 0
        self._erased_blocks = 0
        self._erased = Erased()

    def run(self, shelf: Shelf, progress: Callable[[int, int], None], jobs: int) -> AuditReport:
        """Check everything."""
        began, own = time.perf_counter(), time.process_time()
        head, parent = self._head.height, self._stored_header(self._base)
        early = None if self._base else Replay.from_genesis(self._store, self._genesis, self._registry)
        if self._base:
            check_certificate(self._store, self._chain, self._epochs, parent, verify)
        first_erased = oldest_erased(self._store) or head + 1
        replayed_to = 0 if early is None else min(head, first_erased - 1)
        late = self._replay_from(shelf)
        start = head if late is None else late.ledger.head.height
        with rarely_collected(), workers(jobs) as pool, ExitStack() as replays:
            for replay, last in ((early, replayed_to), (late, head)):
                if replay is not None:
                    replays.enter_context(replay.up_to(last, beside=jobs > 0))
            ahead = Ahead(self._store, self._genesis, pool, jobs)
            for pending in ahead.blocks(self._base + 1, head):
                require_signed(pending)
                with reading(f"height {pending.height}"):
                    parent = self._check_block(parent, pending)
                if early is not None and pending.height <= replayed_to:
                    early.block(pending)
                elif late is not None and pending.height > start:
                    late.block(pending)
                progress(pending.height, head)
        check_end(self._store, head)
        self._check_places()
        self._check_state()
        replay_s = sum([replay.seconds for replay in (early, late) if replay is not None])
        own_s = time.process_time() - own
        speed = Speed(time.perf_counter() - began, replay_s, ahead.signatures, ahead.seconds, jobs, own_s)
        gone = self._erased_blocks, self._erased.transactions
        return AuditReport(
            head, self._head.state_root, self._transactions, self._base, start + 1, replayed_to, *gone, speed
        )

    def _stored_header(self, height: int) -> Header:
        with reading(f"height {height}"):
            data = self._store.get(at_height(layout.HEADER, height))
        try:
            if data is not None:
                return decode_header(data)
        except CodecError as error:
            raise bad(height, f"its header cannot be read: {error}") from error
        raise bad(height, "its header is missing")

    def _replay_from(self, shelf: Shelf) -> Replay | None:
        """A replay from the oldest snapshot that is not below the base, nor a block of which something has been erased;
        None if there is none.

        A snapshot is believed as far as it is certified: a damaged one is passed over.
        """
        least = max(self._base, newest_erased(self._store))
        for manifest in reversed(shelf.kept):
            if not least <= manifest.height < self._head.height:
                continue
            replay_store = MemoryStore()
            try:
                target = checked_offer(manifest.offer, Trust(self._genesis.chain, self._epochs, verify))
                if target.header != self._stored_header(manifest.height):
                    continue
                boundaries = [each for each in self._boundaries if _height(each) <= target.height]
                load(
                    replay_store,
                    self._genesis,
                    target,
                    boundaries,
                    lambda prefix, at=target: shelf.read(at.height, at.depth, prefix),  # type: ignore[misc]
                )
            except RefusedError:
                continue
            ledger = ReplayLedger.open(replay_store, self._genesis, self._registry)
            return Replay(self._store, replay_store, ledger, self._genesis, self._registry)
        return None

    def _check_block(self, parent: Header, pending: Pending) -> Header:
        """What can be said of a block without executing it; its header."""
        height, header, stored = pending.height, self._stored_header(pending.height), pending.stored
        if header.height != height or header.parent_hash != parent.hash:
            raise bad(height, "it does not follow the block before it")
        if (header.batch_digest, header.tx_root) != (
            (NULL_DIGEST, EMPTY_ROOT) if stored is None else (stored.digest, stored.tx_root)
        ):
            raise bad(height, "its body is not the one that its header names")
        check_certificate(self._store, self._chain, self._epochs, header, pending.known)
        data = self._store.get(at_height(layout.RESULTS, height))
        try:
            results = None if data is None else decode_results(data)
            if results is None or results.root != header.receipts_root:
                raise bad(height, "its receipts or events are not those that its header names")
            self._count(pending, results)
        except CodecError as error:
            raise bad(height, f"its results cannot be read: {error}") from error
        return header

    def _count(self, pending: Pending, results: Results) -> None:
        """Note where transactions are, and what has been erased, which is to be what the database says of it."""
        height, stored = pending.height, pending.stored
        blinds = results.blinds or (results.blind,) * len(results.receipts)
        kept = [index for index, blind in zip(range(len(results.receipts)), blinds, strict=False) if blind]
        if kept != ([] if stored is None else list(stored.places)):
            raise bad(height, "its receipts are not those of the transactions that are left")
        gone = Erased(0 if stored is None else stored.erased, results.erased)
        if gone != erased_in(self._store, height):
            raise bad(height, "something of it is missing that is not said to have been erased")
        for index in kept:
            receipt = decode_receipt(results.receipts[index])
            if receipt.code not in UNUSED_CODES or receipt.tx_id not in self._places:
                self._places[receipt.tx_id] = height.to_bytes(8, "big") + index.to_bytes(4, "big")
                if receipt.code in UNUSED_CODES:
                    self._unused.add(receipt.tx_id)
        self._transactions += len(kept)
        self._erased_blocks += gone != Erased()
        self._erased = self._erased.plus(gone)

    def _check_places(self) -> None:
        """Whether the index of transactions says where the blocks have them."""
        head = self._head.height
        if self._erased_blocks:  # the index may have named another block, of which the transaction is erased
            for tx_id in self._unused:
                if self._store.get(layout.TRANSACTION + tx_id) is None:
                    del self._places[tx_id]
        expected = sorted(self._places.items())
        with reading(f"height {head}: the place of a transaction"):
            stored = self._store.scan(layout.TRANSACTION, after_prefix(layout.TRANSACTION))
            for pair, place in zip_longest(((key[1:], value) for key, value in stored), expected):
                if pair != place:
                    raise bad(head, f"the place of a transaction differs from the blocks': {(pair or place)[0].hex()}")

    def _check_state(self) -> None:
        """Whether the state is the one that the head's root commits to, and its tree as well."""
        head, end = self._head.height, after_prefix(STATE)
        with reading(f"height {head}: an entry of the state"):
            state = {key[len(STATE) :]: value for key, value in self._store.scan(STATE, end)}
        root, nodes = built("", state)
        if root != self._head.state_root:
            raise bad(head, f"the state's root is {root.hex()[:16]}, the head's {self._head.state_root.hex()[:16]}")
        with reading(f"height {head}: a node of the state tree"):
            tree = Tree(self._store)
            for path, node in nodes.items():
                if len(path) >= STORED_DEPTH and tree.node(path) != node:
                    raise bad(head, f"a node of the state tree is not the state's: {path}")


def _height(boundary: Boundary) -> int:
    """The height of the last block before the epoch that a boundary proves."""
    return decode_header(boundary.header).height
