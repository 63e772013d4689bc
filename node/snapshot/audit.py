"""The audit of a node's data, which may begin with a snapshot.

Data that begin with block 0 are replayed from genesis (``node/audit.py``). Others have no state to replay their first
blocks on, unless the node keeps a snapshot that is old enough. So:

    the base         its certificate, by the members whom the boundaries of the epochs prove from genesis on
    up to a snapshot every block's hash, parent, body, signatures, certificate, results; not that these follow from it
    from there on    every block replayed on the snapshot's state, which the members have certified
    at the head      every entry of the state and every node of its tree, against the head's certified root

Without such a snapshot the second part goes up to the head. The report says from which block on was replayed.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import zip_longest
from multiprocessing import get_context
from os import cpu_count

from chaincode.registry import Registry
from node.audit import (
    MAX_WORKERS,
    AuditReport,
    Pending,
    bad,
    check_certificate,
    check_end,
    read_ahead,
    reading,
    replay_block,
    verify_chain,
)
from node.epochs import verified_epochs
from node.errors import CodecError, RefusedError
from node.executor import Executor
from node.ledger import layout
from node.ledger.chain import UNUSED_CODES, Ledger, check_mark
from node.ledger.layout import STATE, after_prefix, at_height
from node.ledger.merkle import built
from node.ledger.store import MemoryStore, Store
from node.ledger.tree import STORED_DEPTH, Tree
from node.model.block import NULL_DIGEST, Header, decode_header
from node.model.epoch import Boundary, Epoch
from node.model.genesis import Genesis
from node.model.keys import verify
from node.model.receipt import decode_receipt, decode_results
from node.snapshot.load import load
from node.snapshot.offer import Trust, checked_offer
from node.snapshot.shelf import Shelf


def verify_data(
    store: Store,
    genesis: Genesis,
    registry: Registry,
    shelf: Shelf,
    progress: Callable[[int, int], None] = lambda height, head: None,
) -> AuditReport:
    """Check all that ``store`` holds, which is only read. ``shelf``: the node's snapshots.

    Raises as ``verify_chain``.
    """
    with reading("the base"):
        mark, base = store.get(layout.FORMAT), store.get(layout.BASE)
    if mark is None or base is None:
        return verify_chain(store, genesis, registry, progress)
    check_mark(mark, genesis.chain)
    with reading("the head"):
        ledger = Ledger.open(store, genesis, registry)
    return _Audit(store, genesis, registry, ledger).run(shelf, progress)


class _Audit:
    """One audit of a chain with a base."""

    def __init__(self, store: Store, genesis: Genesis, registry: Registry, ledger: Ledger) -> None:
        self._store = store
        self._genesis = genesis
        self._registry = registry
        self._base = ledger.base
        self._head = ledger.head
        self._boundaries = ledger.boundaries()
        try:
            self._epochs: Sequence[Epoch] = verified_epochs(genesis, self._boundaries, verify)
        except RefusedError as error:
            raise bad(self._base, error.message) from error
        self._places: dict[bytes, bytes] = {}
        self._transactions = 0

    def run(self, shelf: Shelf, progress: Callable[[int, int], None]) -> AuditReport:
        """Check everything."""
        head, parent = self._head.height, self._stored_header(self._base)
        check_certificate(self._store, self._genesis, self._epochs, parent)
        replay = self._replay_from(shelf)
        executor = None if replay is None else Executor(replay, self._registry, self._genesis)
        start = head if replay is None else replay.head.height
        with ProcessPoolExecutor(min(MAX_WORKERS, cpu_count() or 1), get_context("spawn")) as pool:
            for pending in read_ahead(self._store, self._base + 1, head, pool):
                if pending.fault is not None:
                    raise pending.fault
                if not pending.all_signed():
                    raise bad(pending.height, "a transaction is not signed by its sender")
                with reading(f"height {pending.height}"):
                    parent = self._check_block(parent, pending)
                    if replay is not None and executor is not None and pending.height > start:
                        replay_block(self._store, replay, executor, self._genesis, pending)
                progress(pending.height, head)
        check_end(self._store, head)
        self._check_places()
        self._check_state()
        return AuditReport(head, self._head.state_root, self._transactions, self._base, start + 1)

    def _stored_header(self, height: int) -> Header:
        with reading(f"height {height}"):
            data = self._store.get(at_height(layout.HEADER, height))
        try:
            if data is not None:
                return decode_header(data)
        except CodecError as error:
            raise bad(height, f"its header cannot be read: {error}") from error
        raise bad(height, "its header is missing")

    def _replay_from(self, shelf: Shelf) -> Ledger | None:
        """A ledger of its own to replay on, from the oldest snapshot that is not below the base; None if there is none.

        A snapshot is believed as far as it is certified: a damaged one is passed over.
        """
        for manifest in reversed(shelf.kept):
            if not self._base <= manifest.height < self._head.height:
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
            return Ledger.open(replay_store, self._genesis, self._registry)
        return None

    def _check_block(self, parent: Header, pending: Pending) -> Header:
        """What can be said of a block without executing it; its header."""
        height, header = pending.height, self._stored_header(pending.height)
        if header.height != height or header.parent_hash != parent.hash:
            raise bad(height, "it does not follow the block before it")
        if header.batch_digest != (NULL_DIGEST if pending.decoded is None else pending.decoded.digest):
            raise bad(height, "its body is not the one that its header names")
        check_certificate(self._store, self._genesis, self._epochs, header)
        data = self._store.get(at_height(layout.RESULTS, height))
        try:
            results = None if data is None else decode_results(data)
            receipts = [] if results is None else [decode_receipt(receipt) for receipt in results.receipts]
        except CodecError as error:
            raise bad(height, f"its results cannot be read: {error}") from error
        if results is None or results.root != header.receipts_root:
            raise bad(height, "its receipts or events are not those that its header names")
        for index, receipt in enumerate(receipts):
            if receipt.code not in UNUSED_CODES or receipt.tx_id not in self._places:
                self._places[receipt.tx_id] = height.to_bytes(8, "big") + index.to_bytes(4, "big")
        self._transactions += len(receipts)
        return header

    def _check_places(self) -> None:
        """Whether the index of transactions says where the blocks have them."""
        head, expected = self._head.height, sorted(self._places.items())
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
