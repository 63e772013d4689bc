"""What an audit can know of blocks before it comes to them: their bodies decoded, and which of their signatures hold.

Whether a signature holds depends on nothing else. So the signatures of many blocks, those of transactions and the votes
in certificates, are checked in other processes while the blocks before them are replayed; the replay then asks what it
would have computed. Whose votes count is guessed ahead, by the members that the database names; a guess that was wrong
costs time and nothing else, since the audit asks by key, message and signature.
"""

import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import groupby
from multiprocessing import get_context
from os import cpu_count
from typing import Final, NamedTuple, TypeAlias

from node.errors import CodecError, NodeFault, RefusedError, StoreFault, WattError
from node.ledger import layout
from node.ledger.layout import at_height
from node.ledger.store import Store
from node.model.block import NULL_BATCH, DecodedBatch, StoredBatch, decode_header, decode_stored_batch
from node.model.certificate import commit_bytes, decode_certificate
from node.model.epoch import decode_boundary
from node.model.genesis import Genesis
from node.model.keys import SIGNATURE_BYTES, TAG_TX_SIGN, verify
from node.model.transaction import Transaction

MAX_JOBS: Final = 64
SIGNATURES_PER_TASK: Final = 256
TASKS_AHEAD: Final = 4
"""For each process: how many tasks are under way before the blocks of the first are replayed."""
SIGNATURES_INLINE: Final = 2048
BLOCKS_AHEAD: Final = 4096
BYTES_AHEAD: Final = 32 * 1024 * 1024

Signature: TypeAlias = tuple[bytes, bytes, bytes]
"""Public key, message, signature."""
Task: TypeAlias = "Future[tuple[bytes, float]]"
"""Gives what ``_hold`` gives."""


def default_jobs() -> int:
    """A process for every core but the one that replays."""
    return max(1, min(MAX_JOBS, (cpu_count() or 1) - 1))


class Pending(NamedTuple):
    """A block on its way to be checked; ``fault``: what its body is that no block's body is.

    ``stored`` is None for a null batch. ``known``: whether its signatures hold.
    """

    height: int
    body: bytes
    stored: StoredBatch | None
    fault: WattError | None
    known: "Known"

    @property
    def decoded(self) -> DecodedBatch | None:
        """The batch as it was executed; of one of which something is erased there is none, nor of a null batch."""
        stored = self.stored
        if stored is None or stored.erased:
            return None
        return DecodedBatch(stored.batch, stored.digest, stored.transactions, stored.tx_root)

    def all_signed(self) -> bool:
        """Whether the senders have signed all transactions that are there."""
        return self.stored is None or all(self.known(*_of_transaction(tx)) for tx in self.stored.transactions)


class Known:
    """Whether signatures hold, as ``keys.verify``: of one block's, mostly known already."""

    def __init__(self) -> None:
        self._held: dict[Signature, bool] = {}
        self._tasks: list[tuple[list[Signature], int, Task]] = []

    def add(self, signatures: list[Signature], start: int, task: Task) -> None:
        """A task will tell of these, in its answer from ``start`` on."""
        self._tasks.append((signatures, start, task))

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        while self._tasks:
            signatures, start, task = self._tasks.pop()
            held = task.result()[0][start : start + len(signatures)]
            self._held.update(zip(signatures, map(bool, held), strict=True))
        asked = public_key, message, signature
        if asked not in self._held:
            self._held[asked] = verify(*asked)
        return self._held[asked]


class Ahead:
    """Reads blocks ahead of an audit. ``signatures``, ``seconds``: how many were checked ahead, and the processor time
    that this took, in all processes together."""

    def __init__(self, store: Store, genesis: Genesis, pool: ProcessPoolExecutor | None, jobs: int) -> None:
        self._store = store
        self._genesis = genesis
        self._chain = genesis.chain
        self._pool = pool
        self._room = SIGNATURES_PER_TASK * TASKS_AHEAD * max(1, jobs)
        self._members = self._guessed_members()
        self._tasks: deque[Task] = deque()
        self._begun = 0
        self.signatures = 0
        self.seconds = 0.0

    def blocks(self, first: int, head: int) -> Iterator[Pending]:
        """The blocks from ``first`` to ``head``, with their signatures under way."""
        waiting: deque[tuple[Pending, int]] = deque()
        group: list[tuple[Known, Signature]] = []
        bytes_ahead = signatures_ahead = 0
        for height in range(first, head + 1):
            pending, signatures = self._read(height)
            waiting.append((pending, len(signatures)))
            bytes_ahead += len(pending.body)
            signatures_ahead += len(signatures)
            group += [(pending.known, each) for each in signatures]
            while len(group) >= SIGNATURES_PER_TASK or (group and height == head):
                self._start(group[:SIGNATURES_PER_TASK])
                del group[:SIGNATURES_PER_TASK]
            while signatures_ahead > self._room or bytes_ahead > BYTES_AHEAD or len(waiting) > BLOCKS_AHEAD:
                pending, count = waiting.popleft()
                bytes_ahead -= len(pending.body)
                signatures_ahead -= count
                yield pending
        yield from [pending for pending, _ in waiting]
        self._count(0)

    def _start(self, group: Sequence[tuple[Known, Signature]]) -> None:
        """Have some signatures checked; few are checked here, for processes take their time to start."""
        signatures = [signature for _, signature in group]
        self._begun += len(signatures)
        if self._pool is None or self._begun <= SIGNATURES_INLINE:
            task: Task = Future()
            task.set_result(_hold(signatures))
        else:
            task = self._pool.submit(_hold, signatures)
        self._tasks.append(task)
        start = 0
        for known, some in groupby(group, lambda each: each[0]):
            part = [signature for _, signature in some]
            known.add(part, start, task)
            start += len(part)
        self._count(self._room // SIGNATURES_PER_TASK)

    def _count(self, most: int) -> None:
        """Add up what the oldest tasks took, until ``most`` are under way."""
        while len(self._tasks) > most:
            held, seconds = self._tasks.popleft().result()
            self.signatures += len(held)
            self.seconds += seconds

    def _read(self, height: int) -> tuple[Pending, list[Signature]]:
        known = Known()
        try:
            with reading(f"height {height}"):
                body = self._store.get(at_height(layout.BODY, height))
                votes = self._votes(height)
        except StoreFault as fault:
            return Pending(height, b"", None, fault, known), []
        if body is None:
            return Pending(height, b"", None, bad(height, "its body is missing"), known), []
        if body == NULL_BATCH:
            return Pending(height, body, None, None, known), votes
        try:
            stored = decode_stored_batch(body)
        except CodecError as error:
            return Pending(height, body, None, bad(height, f"its body is no batch: {error}"), known), []
        return Pending(height, body, stored, None, known), [
            *(_of_transaction(tx) for tx in stored.transactions),
            *votes,
        ]

    def _votes(self, height: int) -> list[Signature]:
        header, data = (
            self._store.get(at_height(layout.HEADER, height)),
            self._store.get(at_height(layout.CERTIFICATE, height)),
        )
        if header is None or data is None:
            return []
        try:
            epoch, certificate = decode_header(header).epoch, decode_certificate(data)
        except CodecError:
            return []  # the audit will say so, and where
        keys = self._members.get(epoch, ())
        signed = commit_bytes(
            self._chain, certificate.epoch, certificate.view, certificate.height, certificate.block_hash
        )
        return [(keys[index], signed, vote) for index, vote in certificate.votes if 0 <= index < len(keys)]

    def _guessed_members(self) -> dict[int, tuple[bytes, ...]]:
        members = {0: tuple(self._genesis.epoch.keys)}
        for number, (_, data) in enumerate(self._store.scan(layout.BOUNDARY, layout.after_prefix(layout.BOUNDARY)), 1):
            try:
                members[number] = tuple([bytes.fromhex(each.public_key) for each in decode_boundary(data).members])
            except (CodecError, ValueError):
                break
        return members


def _uninterrupted() -> None:
    """A terminal interrupts all processes at once: these end with the audit, which says more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def workers(jobs: int) -> Iterator[ProcessPoolExecutor | None]:
    """So many processes that check signatures; none for 0. Raises NodeFault("machine") within if one of them ends."""
    if jobs == 0:
        yield None
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_uninterrupted) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise NodeFault("machine", "a process that checks the audit's signatures has ended") from error


def _of_transaction(tx: Transaction) -> Signature:
    return tx.payload.sender, TAG_TX_SIGN + tx.raw[SIGNATURE_BYTES:], tx.raw[:SIGNATURE_BYTES]


def _hold(signatures: Sequence[Signature]) -> tuple[bytes, float]:
    """Which of these hold, a byte each, and the processor time in seconds; runs in a worker process."""
    began = time.process_time()
    held = bytes([verify(*each) for each in signatures])
    return held, time.process_time() - began


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
