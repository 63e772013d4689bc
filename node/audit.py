"""Replays a chain from genesis and believes nothing that the database says.

Block after block: the batch is decoded and every signature in it checked, the batch is executed on a state of the
audit's own, and the header that comes out, with all its roots, has to be the stored one; the certificate has to
prove it by the members' keys; the stored receipts and events have to be those of the execution. In the end the
database's state, its tree and its index of transactions have to be what the replay gave.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import zip_longest
from multiprocessing import get_context
from os import cpu_count
from typing import NamedTuple

from chaincode.registry import Registry
from node.epochs import header_fault
from node.errors import CodecError, NodeFault, RefusedError, StoreFault, WattError
from node.executor import Executor
from node.ledger import layout
from node.ledger.chain import Ledger, check_mark
from node.ledger.layout import after_prefix, at_height
from node.ledger.store import MemoryStore, Store
from node.model.block import NULL_BATCH, DecodedBatch, Header, decode_batch, encode_header
from node.model.certificate import Certificate, decode_certificate
from node.model.epoch import Epoch
from node.model.genesis import Genesis
from node.model.keys import verify
from node.model.receipt import encode_results
from node.model.transaction import decode_transaction

MAX_WORKERS = 4
BLOCKS_AHEAD = 8
"""How many blocks are decoded, and their signatures checked in other processes, ahead of the one that is replayed."""
SIGNATURES_PER_TASK = 250
SIGNATURES_INLINE = 20
"""So few are checked here: cheaper than to send them to another process."""

_COMPARED = {
    layout.STATE: "an entry of the state",
    layout.NODE: "a node of the state tree",
    layout.TRANSACTION: "the place of a transaction",
    layout.BOUNDARY: "the boundary of an epoch",
}


class AuditReport(NamedTuple):
    """A chain that holds: the head's height and state root, and how many transactions are in it.

    ``base``: up to this block there was nothing to check; ``replayed_from``: the first block that was executed again.
    """

    height: int
    root: bytes
    transactions: int
    base: int = 0
    replayed_from: int = 1


class Pending(NamedTuple):
    """A block on its way to be checked; ``all_signed`` waits for its signatures; ``fault``: its body's."""

    height: int
    body: bytes
    decoded: DecodedBatch | None
    all_signed: Callable[[], bool]
    fault: WattError | None


class _ReplayStore(MemoryStore):
    """Keeps of the replay what is compared in the end: not the blocks behind it, which would fill the memory."""

    _dropped = frozenset(family[0] for family in (layout.BODY, layout.CERTIFICATE, layout.RESULTS))
    _first = (0).to_bytes(8, "big")

    def write(self, puts: Mapping[bytes, bytes | None]) -> None:
        kept = {key: value for key, value in puts.items() if key[0] not in self._dropped or key[1:] == self._first}
        super().write(kept)


def verify_chain(
    store: Store, genesis: Genesis, registry: Registry, progress: Callable[[int, int], None] | None = None
) -> AuditReport:
    """Check the whole chain in ``store``, which is only read. ``progress(height, head)`` is called after every block.

    Raises RefusedError("bad-chain", "height H: why") for the first block at fault; StoreFault("db-corrupt" or
    "db-failed", "height H: why") if that cannot be read; ConfigError for a database of another chain or format.
    """
    with reading("the head"):
        mark, head_record = store.get(layout.FORMAT), store.get(layout.HEAD)
    if mark is None or head_record is None:
        raise RefusedError("bad-chain", "height 0: there is no chain in the database")
    check_mark(mark, genesis.chain)
    head = int.from_bytes(head_record, "big")
    replay_store = _ReplayStore()
    replay = Ledger.open(replay_store, genesis, registry)
    executor = Executor(replay, registry, genesis)
    for family in (layout.HEADER, layout.RESULTS):
        with reading("height 0"):
            if store.get(at_height(family, 0)) != replay_store.get(at_height(family, 0)):
                raise bad(0, "it is not the block that the genesis makes")
    transactions = 0
    with ProcessPoolExecutor(min(MAX_WORKERS, cpu_count() or 1), get_context("spawn")) as pool:
        for pending in read_ahead(store, 1, head, pool):
            if pending.fault is not None:
                raise pending.fault
            if not pending.all_signed():
                raise bad(pending.height, "a transaction is not signed by its sender")
            with reading(f"height {pending.height}"):
                replay_block(store, replay, executor, genesis, pending)
            transactions += 0 if pending.decoded is None else len(pending.decoded.transactions)
            if progress is not None:
                progress(pending.height, head)
    _compare(store, replay_store, head)
    return AuditReport(head, replay.head.state_root, transactions)


def read_ahead(store: Store, first: int, head: int, pool: Pool) -> Iterator[Pending]:
    """The bodies from ``first`` to ``head``, with their signatures under way."""
    waiting: deque[Pending] = deque()
    for height in range(first, head + 1):
        waiting.append(_pending(store, height, pool))
        if len(waiting) > BLOCKS_AHEAD:
            yield waiting.popleft()
    yield from waiting


def _pending(store: Store, height: int, pool: Pool) -> Pending:
    try:
        with reading(f"height {height}"):
            body = store.get(at_height(layout.BODY, height))
    except StoreFault as fault:
        return Pending(height, b"", None, _nothing_signed, fault)
    if body is None:
        return Pending(height, b"", None, _nothing_signed, bad(height, "its body is missing"))
    if body == NULL_BATCH:
        return Pending(height, body, None, _nothing_signed, None)
    try:
        decoded = decode_batch(body)
    except CodecError as error:
        return Pending(height, body, None, _nothing_signed, bad(height, f"its body is no batch: {error}"))
    return Pending(height, body, decoded, _start_checks(decoded.batch.transactions, pool), None)


def _nothing_signed() -> bool:
    return True


def _start_checks(raws: Sequence[bytes], pool: Pool) -> Callable[[], bool]:
    if len(raws) <= SIGNATURES_INLINE:
        return partial(_all_signed, raws)
    starts = range(0, len(raws), SIGNATURES_PER_TASK)
    futures = [pool.submit(_all_signed, raws[start : start + SIGNATURES_PER_TASK]) for start in starts]
    return lambda: all(future.result() for future in futures)


def _all_signed(raws: Sequence[bytes]) -> bool:
    """Of a large batch, this runs in a worker process."""
    return all(decode_transaction(raw).signature_is_valid(verify) for raw in raws)


def replay_block(store: Store, replay: Ledger, executor: Executor, genesis: Genesis, pending: Pending) -> None:
    """Execute one block on the replay's own state, compare everything with what is stored, and go on to it."""
    height = pending.height
    try:
        execution = executor.execute(height, pending.body, pending.decoded)
    except NodeFault as fault:
        if fault.code == "upgrade-missing":  # nothing is wrong with the chain
            raise RefusedError(fault.code, f"height {height}: {fault.message}") from fault
        raise bad(height, f"it cannot be executed: {fault}") from fault
    header = execution.block.header
    if store.get(at_height(layout.HEADER, height)) != encode_header(header):
        raise bad(height, f"its header is not what execution gives, state root {header.state_root.hex()[:16]}")
    certificate = check_certificate(store, genesis, replay.epochs(), header)
    if store.get(at_height(layout.RESULTS, height)) != encode_results(execution.results):
        raise bad(height, "its receipts or events are not what execution gives")
    replay.commit(execution, certificate)


def check_certificate(store: Store, genesis: Genesis, epochs: Sequence[Epoch], header: Header) -> Certificate:
    """The block's certificate, which members of the block's epoch, by the replay's state, have to have signed."""
    height = header.height
    data = store.get(at_height(layout.CERTIFICATE, height))
    if data is None:
        raise bad(height, "its certificate is missing")
    try:
        certificate = decode_certificate(data)
    except CodecError as error:
        raise bad(height, f"its certificate cannot be read: {error}") from error
    fault = header_fault(genesis.chain, epochs, header, certificate, verify)
    if fault is not None:
        raise bad(height, f"its certificate does not hold: {fault}")
    return certificate


def _compare(store: Store, replay: Store, head: int) -> None:
    """Whether the database holds what the replay gave, and no blocks beyond."""
    check_end(store, head)
    for family, what in _COMPARED.items():
        end = after_prefix(family)
        with reading(f"height {head}: {what}"):
            for stored, expected in zip_longest(store.scan(family, end), replay.scan(family, end)):
                if stored != expected:
                    key = min(pair[0] for pair in (stored, expected) if pair is not None)
                    raise bad(head, f"{what} differs from the replay's: {key[1:].hex()}")


def check_end(store: Store, head: int) -> None:
    """Whether there are no blocks beyond the head."""
    with reading(f"height {head + 1}"):
        if next(store.scan(at_height(layout.HEADER, head + 1), after_prefix(layout.HEADER)), None) is not None:
            raise bad(head + 1, "it is in the database, but is not the head")


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Says of a StoreFault where the audit was."""
    try:
        yield
    except StoreFault as fault:
        raise StoreFault(fault.code, f"{place}: {fault.message}") from fault


def bad(height: int, why: str) -> RefusedError:
    """The chain does not hold at this height."""
    return RefusedError("bad-chain", f"height {height}: {why}")
