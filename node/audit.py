"""Replays a chain from genesis and believes nothing that the database says.

Block after block: the batch is decoded and every signature in it checked, the batch is executed on a state of the
audit's own, and the header that comes out, with all its roots, has to be the stored one; the certificate has to
prove it by the members' keys; the stored receipts and events have to be those of the execution. In the end the
database's state, its tree and its index of transactions have to be what the replay gave.
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Final, NamedTuple

from chaincode.registry import Registry
from node.audit_ahead import Ahead, Pending, bad, default_jobs, reading, workers
from node.audit_tree import BLOCKS_WORTH, BelievedTree, TreeKeeper, wrong_header
from node.epochs import header_fault
from node.errors import CodecError, NodeFault, RefusedError, WattError
from node.executor import Executor
from node.ledger import layout
from node.ledger.chain import Ledger, check_mark
from node.ledger.execution import Execution
from node.ledger.layout import after_prefix, at_height
from node.ledger.store import MemoryStore, Store
from node.model.block import Header, decode_header, encode_header
from node.model.certificate import Certificate, decode_certificate
from node.model.epoch import Epoch
from node.model.genesis import Genesis
from node.model.keys import Verify
from node.model.receipt import encode_results

_COMPARED = {
    layout.STATE: "an entry of the state",
    layout.NODE: "a node of the state tree",
    layout.TRANSACTION: "the place of a transaction",
    layout.BOUNDARY: "the boundary of an epoch",
}

COLLECT_AFTER: Final = (50_000, 20, 20)
"""Thresholds of the cycle collector meanwhile: a block makes tens of thousands of objects that live on, and next to no
cycles."""


class Speed(NamedTuple):
    """How an audit's time went. ``seconds``: all of it; ``replay_s``: of these, to execute and compare blocks;
    ``signatures``: how many were checked beside that, by ``jobs`` processes, in ``signature_s`` of processor time;
    ``own_s``: processor time of this process, the one that replays."""

    seconds: float = 0.0
    replay_s: float = 0.0
    signatures: int = 0
    signature_s: float = 0.0
    jobs: int = 0
    own_s: float = 0.0

    @property
    def bound_s(self) -> float:
        """How long it would take to check the signatures and do nothing else."""
        return self.signature_s / max(1, self.jobs)


class AuditReport(NamedTuple):
    """A chain that holds: the head's height and state root, and how many transactions are in it.

    ``base``: up to this block there was nothing to check; ``replayed_from``: the first block from which on all were
    executed again. Of blocks of which something has been erased the rest was checked: ``erased_blocks``, with
    ``erased`` transactions; blocks below the first of them, ``replayed_to``, were executed again, too.
    """

    height: int
    root: bytes
    transactions: int
    base: int = 0
    replayed_from: int = 1
    replayed_to: int = 0
    erased_blocks: int = 0
    erased: int = 0
    speed: Speed = Speed()


class ReplayLedger(Ledger):
    """Keeps of the replay what it reads again, and what is compared in the end: not the blocks, which would fill the
    memory."""

    def record(self, execution: Execution, certificate: Certificate) -> Mapping[bytes, bytes | None]:
        return {}


def verify_chain(
    store: Store,
    genesis: Genesis,
    registry: Registry,
    progress: Callable[[int, int], None] = lambda height, head: None,
    jobs: int | None = None,
) -> AuditReport:
    """Check the whole chain in ``store``, which is only read. ``progress(height, head)`` is called after every block;
    ``jobs``: how many processes check signatures meanwhile, while one more keeps the state's tree; 0 for none but this.

    Raises RefusedError("bad-chain", "height H: why") for the first block at fault; StoreFault("db-corrupt" or
    "db-failed", "height H: why") if that cannot be read; ConfigError for a database of another chain or format.
    """
    began, own = time.perf_counter(), time.process_time()
    jobs = default_jobs() if jobs is None else jobs
    replay = Replay.from_genesis(store, genesis, registry)
    head, transactions = replay.head_of(store), 0
    with rarely_collected(), workers(jobs) as pool, replay.up_to(head, beside=jobs > 0):
        ahead = Ahead(store, genesis, pool, jobs)
        for pending in ahead.blocks(1, head):
            require_signed(pending)
            replay.block(pending)
            transactions += 0 if pending.stored is None else len(pending.stored.transactions)
            progress(pending.height, head)
        _compare(store, replay, head)
    own_s = time.process_time() - own
    speed = Speed(time.perf_counter() - began, replay.seconds, ahead.signatures, ahead.seconds, jobs, own_s)
    return AuditReport(head, replay.ledger.head.state_root, transactions, speed=speed)


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Let the cycle collector look less often at what a replay holds."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def require_signed(pending: Pending) -> None:
    """Raises what is wrong with a block's body, or with the signatures in it."""
    if pending.fault is not None:
        raise pending.fault
    if not pending.all_signed():
        raise bad(pending.height, "a transaction is not signed by its sender")


class Replay:
    """Blocks executed again on a state of the audit's own, and compared. ``seconds``: how long that took so far."""

    def __init__(self, stored: Store, store: Store, ledger: Ledger, genesis: Genesis, registry: Registry) -> None:
        self._stored = stored
        self._chain = genesis.chain
        self._executor = Executor(ledger, registry, genesis)
        self._keeper: TreeKeeper | None = None
        self.store = store
        self.ledger = ledger
        self.seconds = 0.0

    @classmethod
    def from_genesis(cls, stored: Store, genesis: Genesis, registry: Registry) -> "Replay":
        """At block 0, which has to be that of the genesis. Raises as ``verify_chain``."""
        with reading("the head"):
            mark, head_record = stored.get(layout.FORMAT), stored.get(layout.HEAD)
        if mark is None or head_record is None:
            raise RefusedError("bad-chain", "height 0: there is no chain in the database")
        check_mark(mark, genesis.chain)
        store = MemoryStore()
        replay = cls(stored, store, ReplayLedger.open(store, genesis, registry), genesis, registry)
        for family in (layout.HEADER, layout.RESULTS):
            with reading("height 0"):
                if stored.get(at_height(family, 0)) != store.get(at_height(family, 0)):
                    raise bad(0, "it is not the block that the genesis makes")
        return replay

    def head_of(self, store: Store) -> int:
        """The height of the last block in ``store``, which has one."""
        with reading("the head"):
            return int.from_bytes(store.get(layout.HEAD) or b"", "big")

    @contextmanager
    def up_to(self, height: int, *, beside: bool) -> Iterator[None]:
        """Within this, blocks up to ``height`` are replayed. ``beside``: if they are many, another process keeps the
        tree. A fault that it finds is raised at the end, and instead of one that was found in a later block."""
        if not beside or height - self.ledger.head.height < BLOCKS_WORTH:
            yield
            return
        head = self.ledger.head
        with TreeKeeper() as keeper:
            keeper.begin(head.height, head.state_root, ((key[1:], value) for key, value in self.scan(layout.STATE)))
            self.ledger.tree, self._keeper = BelievedTree(head.state_root), keeper
            try:
                yield
            except WattError:
                keeper.settle()
                raise
            keeper.settle()

    def block(self, pending: Pending) -> None:
        """Execute the next block, compare everything with what is stored, and go on to it."""
        began = time.perf_counter()
        with reading(f"height {pending.height}"):
            self._block(pending)
        self.seconds += time.perf_counter() - began

    def scan(self, family: bytes) -> Iterator[tuple[bytes, bytes]]:
        """What the replay, now at its end, has of a family of the database's entries."""
        if family == layout.NODE and self._keeper is not None:
            self._keeper.settle()
            return self._keeper.nodes()
        return self.store.scan(family, after_prefix(family))

    def _block(self, pending: Pending) -> None:
        height = pending.height
        if pending.stored is not None and pending.stored.erased:
            raise bad(height, "transactions of it are missing, and are not said to have been erased")
        stored = self._stored.get(at_height(layout.HEADER, height))
        tree = self.ledger.tree
        if isinstance(tree, BelievedTree):
            tree.believed = _root_in(stored)
        try:
            execution = self._executor.execute(height, pending.body, pending.decoded)
        except NodeFault as fault:
            if fault.code == "upgrade-missing":  # nothing is wrong with the chain
                raise RefusedError(fault.code, f"height {height}: {fault.message}") from fault
            raise bad(height, f"it cannot be executed: {fault}") from fault
        header = execution.block.header
        if self._keeper is not None:
            self._keeper.tell(height, header.state_root, execution.changes)
        if stored != encode_header(header):
            raise wrong_header(height, header.state_root)
        certificate = check_certificate(self._stored, self._chain, self.ledger.epochs(), header, pending.known)
        if self._stored.get(at_height(layout.RESULTS, height)) != encode_results(execution.results):
            raise bad(height, "its receipts or events are not what execution gives")
        self.ledger.commit(execution, certificate)


def _root_in(header: bytes | None) -> bytes:
    """The state's root that a stored header names; none if it cannot be read: no block gives that."""
    try:
        return b"" if header is None else decode_header(header).state_root
    except CodecError:
        return b""


def check_certificate(
    store: Store, chain: bytes, epochs: Sequence[Epoch], header: Header, verify: Verify
) -> Certificate:
    """The block's certificate, which members of the block's epoch, by the replay's state, have to have signed."""
    height = header.height
    data = store.get(at_height(layout.CERTIFICATE, height))
    if data is None:
        raise bad(height, "its certificate is missing")
    try:
        certificate = decode_certificate(data)
    except CodecError as error:
        raise bad(height, f"its certificate cannot be read: {error}") from error
    fault = header_fault(chain, epochs, header, certificate, verify)
    if fault is not None:
        raise bad(height, f"its certificate does not hold: {fault}")
    return certificate


def _compare(store: Store, replay: Replay, head: int) -> None:
    """Whether the database holds what the replay gave, and no blocks beyond."""
    check_end(store, head)
    for family, what in _COMPARED.items():
        end = after_prefix(family)
        with reading(f"height {head}: {what}"):
            for stored, expected in zip_longest(store.scan(family, end), replay.scan(family)):
                if stored != expected:
                    key = min(pair[0] for pair in (stored, expected) if pair is not None)
                    raise bad(head, f"{what} differs from the replay's: {key[1:].hex()}")


def check_end(store: Store, head: int) -> None:
    """Whether there are no blocks beyond the head."""
    with reading(f"height {head + 1}"):
        if next(store.scan(at_height(layout.HEADER, head + 1), after_prefix(layout.HEADER)), None) is not None:
            raise bad(head + 1, "it is in the database, but is not the head")
