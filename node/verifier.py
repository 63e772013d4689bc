"""Signature checks in worker processes, so that the event loop never waits for one.

A worker is this module run as a program: chunks of transactions come in on its standard input, one byte a
signature goes out. It ends when its input does, so it never outlives the node, however that ended. Work
for consensus goes before work for clients, and that for clients who have shown good signatures before that for
strangers, who may be forgers: of these, one chunk goes after a few of the others, or when there are no others. A worker
holds at most two chunks, so the order can still matter.
"""

import asyncio
import signal
import struct
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import BinaryIO

from node.errors import NodeFault, RefusedError
from node.model.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, TAG_TX_SIGN, verify
from node.model.transaction import Transaction

CHUNK_TRANSACTIONS = 250
CHUNKS_PER_WORKER = 2
INLINE_TRANSACTIONS = 4
"""So few are checked at once, here: cheaper than a round trip to a worker."""
STRANGERS_TURN = 4
"""Of so many chunks of clients one is of strangers, if any wait."""

Done = Callable[[list[bool]], None]
_LENGTH = struct.Struct(">I")


class _Job:
    """One call of ``check``: its answers come back chunk by chunk, in any order."""

    __slots__ = ("answers", "done", "missing")

    def __init__(self, count: int, done: Done) -> None:
        self.answers: list[bool] = [False] * count
        self.missing = count
        self.done = done

    def fill(self, start: int, answers: bytes) -> None:
        self.answers[start : start + len(answers)] = [answer == 1 for answer in answers]
        self.missing -= len(answers)
        if self.missing == 0:
            self.done(self.answers)


class _Chunk:
    __slots__ = ("data", "job", "start")

    def __init__(self, job: _Job, start: int, data: bytes) -> None:
        self.job = job
        self.start = start
        self.data = data


class Verifier:
    """Checks signatures in ``workers`` processes. Start it before gRPC: its workers inherit nothing then.

    ``failed(fault)`` is called once if a worker dies: the node must stop.
    """

    def __init__(self, workers: int, client_queue: int, failed: Callable[[NodeFault], None]) -> None:
        self._count = workers
        self._client_queue = client_queue
        self._failed = failed
        self._workers: list[_Worker] = []
        self._urgent: deque[_Chunk] = deque()
        self._ordinary: deque[_Chunk] = deque()
        self._strange: deque[_Chunk] = deque()
        self._until_strange = STRANGERS_TURN
        self._waiting_clients = 0
        self._waiting_strangers = 0
        self._stopping = False

    async def start(self) -> None:
        """Spawn the workers."""
        for _ in range(self._count):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "node.verifier",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 20,
            )
            worker = _Worker(process)
            worker.task = asyncio.create_task(self._collect(worker), name="verifier")
            self._workers.append(worker)

    async def stop(self) -> None:
        """Let the workers end; answers still missing never come."""
        self._stopping = True
        for worker in self._workers:
            worker.task.cancel()
            worker.close()
        for worker in self._workers:
            await worker.process.wait()

    @property
    def waiting_chunks(self) -> int:
        """How many chunks of signatures are not answered yet."""
        given = sum(len(worker.chunks) for worker in self._workers)
        return len(self._urgent) + len(self._ordinary) + len(self._strange) + given

    def check(self, transactions: Sequence[Transaction], done: Done) -> None:
        """For consensus: ``done`` gets an answer for each transaction, in order; at once if they are few."""
        if len(transactions) <= INLINE_TRANSACTIONS:
            done([tx.signature_is_valid(verify) for tx in transactions])
            return
        self._urgent.extend(_chunks(transactions, done))
        self._feed()

    async def check_for_client(self, transactions: Sequence[Transaction], *, known: bool = False) -> list[bool]:
        """For gateways; ``known``: the client has shown good signatures. Raises RefusedError("busy") if too many wait
        already; of strangers, half as many."""
        count = len(transactions)
        if count <= INLINE_TRANSACTIONS:
            return [tx.signature_is_valid(verify) for tx in transactions]
        strange = 0 if known else count
        if (
            self._waiting_clients + count > self._client_queue
            or self._waiting_strangers + strange > self._client_queue // 2
        ):
            raise RefusedError("busy", "too many signatures wait to be checked")
        self._waiting_clients += count
        self._waiting_strangers += strange
        answers: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()

        def done(result: list[bool]) -> None:
            self._waiting_clients -= count
            self._waiting_strangers -= strange
            if not answers.done():  # the client may have gone away
                answers.set_result(result)

        (self._ordinary if known else self._strange).extend(_chunks(transactions, done))
        self._feed()
        return await answers

    def _feed(self) -> None:
        for worker in self._workers:
            while len(worker.chunks) < CHUNKS_PER_WORKER and (chunk := self._next()) is not None:
                worker.give(chunk)

    def _next(self) -> _Chunk | None:
        if self._urgent:
            return self._urgent.popleft()
        if self._strange and (not self._ordinary or self._until_strange <= 1):
            self._until_strange = STRANGERS_TURN
            return self._strange.popleft()
        if self._ordinary:
            self._until_strange = max(1, self._until_strange - 1)
            return self._ordinary.popleft()
        return None

    async def _collect(self, worker: "_Worker") -> None:
        assert worker.process.stdout is not None
        try:
            while True:
                (length,) = _LENGTH.unpack(await worker.process.stdout.readexactly(_LENGTH.size))
                answers = await worker.process.stdout.readexactly(length)
                chunk = worker.chunks.popleft()
                self._feed()
                chunk.job.fill(chunk.start, answers)
        except (asyncio.IncompleteReadError, ConnectionError):
            if not self._stopping:
                code = await worker.process.wait()
                self._failed(NodeFault("verifier-died", f"a process that checks signatures ended with status {code}"))


class _Worker:
    """A worker process and the chunks that it holds, oldest first."""

    task: asyncio.Task[None]

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.chunks: deque[_Chunk] = deque()

    def give(self, chunk: _Chunk) -> None:
        assert self.process.stdin is not None
        self.chunks.append(chunk)
        self.process.stdin.write(_LENGTH.pack(len(chunk.data)) + chunk.data)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()


def _chunks(transactions: Sequence[Transaction], done: Done) -> list[_Chunk]:
    job = _Job(len(transactions), done)
    chunks = []
    for start in range(0, len(transactions), CHUNK_TRANSACTIONS):
        parts: list[bytes] = []
        for tx in transactions[start : start + CHUNK_TRANSACTIONS]:
            parts += (_LENGTH.pack(len(tx.raw)), tx.payload.sender, tx.raw)
        chunks.append(_Chunk(job, start, b"".join(parts)))
    return chunks


def check_chunk(data: bytes) -> bytes:
    """A byte for each transaction of a chunk (length, sender's key, raw transaction): 1 if its signature is right."""
    answers = bytearray()
    view = memoryview(data)
    position = 0
    while position < len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        key = bytes(view[position : position + PUBLIC_KEY_BYTES])
        position += PUBLIC_KEY_BYTES
        raw = view[position : position + length]
        position += length
        signed = TAG_TX_SIGN + raw[SIGNATURE_BYTES:]
        answers.append(verify(key, signed, bytes(raw[:SIGNATURE_BYTES])))
    return bytes(answers)


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer chunks until the input ends."""
    while len(head := source.read(_LENGTH.size)) == _LENGTH.size:
        (length,) = _LENGTH.unpack(head)
        answers = check_chunk(source.read(length))
        sink.write(_LENGTH.pack(len(answers)) + answers)
        sink.flush()


if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # of a terminal: the node stops in good order, and ends this one's input
    serve(sys.stdin.buffer, sys.stdout.buffer)
