"""How blocks are fetched from several nodes at once and executed, up to a certified head. Without sockets or clocks.

Every block comes under its certificate, so the signatures of its transactions are not checked again: a quorum has done
that. What execution gives has to have the certified hash. ``requests`` says what to ask whom, ``blocks`` and ``failed``
take the answers, ``apply`` executes the next block. A source that sends what does not check, or has nothing to send
although its certified head is higher, is not asked again; ``verdicts`` says why.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from node.errors import CodecError, DivergenceFault
from node.executor import Executor
from node.ledger.chain import Ledger
from node.limits import (
    FETCHED_AHEAD_BYTES,
    MAX_SERVED_BLOCKS,
    MAX_SERVED_BYTES,
    REQUESTS_PER_SOURCE,
    REQUESTS_UNDER_WAY,
)
from node.model.block import MAX_BATCH_BYTES, NULL_BATCH, NULL_DIGEST, DecodedBatch, Header, decode_batch
from node.model.certificate import Certificate
from node.snapshot.fetch import STRIKES, Source, Verdict
from node.snapshot.offer import Trust

AHEAD_BLOCKS = 2 * REQUESTS_UNDER_WAY * MAX_SERVED_BLOCKS
"""How far above the head blocks are asked for, and kept until it is their turn."""
MAX_ANSWER_BYTES = max(MAX_SERVED_BYTES, MAX_BATCH_BYTES) + 1024 * 1024
"""No correct node sends more at once: bodies up to the first of these, and their headers and certificates."""


class AskBlocks(NamedTuple):
    """Ask ``source`` for ``number`` blocks from height ``first`` on."""

    source: str
    first: int
    number: int


class RawBlock(NamedTuple):
    """A block as it travels: encoded header, body and certificate."""

    header: bytes
    body: bytes
    certificate: bytes

    @property
    def size(self) -> int:
        """All of its bytes."""
        return len(self.header) + len(self.body) + len(self.certificate)


class _Ready(NamedTuple):
    source: str
    block: RawBlock


class Follow:
    """Brings ``ledger`` up to the highest head of ``sources``. ``trust``: with the epochs as the ledger has them."""

    def __init__(
        self, ledger: Ledger, executor: Executor, trust: Callable[[], Trust], sources: Iterable[Source]
    ) -> None:
        self._ledger = ledger
        self._executor = executor
        self._trust = trust
        self._under_way: dict[AskBlocks, range] = {}
        self._ready: dict[int, _Ready] = {}
        self._ready_bytes = 0
        self._unasked: list[range] = []
        self._asked_up_to = ledger.head.height
        self.sources = {source.name: source for source in sources}
        self.verdicts: dict[str, Verdict] = {}
        for source in self.sources.values():
            source.under_way = source.strikes = 0

    @property
    def target(self) -> int:
        """The highest certified head of the sources that are left."""
        return max([source.head for source in self.sources.values()], default=0)

    @property
    def is_done(self) -> bool:
        """Whether no source that is left has a block above the ledger's head."""
        return self._ledger.head.height >= self.target

    def requests(self) -> list[AskBlocks]:
        """What to ask now; every one is answered once, by ``blocks`` or ``failed``."""
        limit = min(self.target, self._ledger.head.height + AHEAD_BLOCKS)
        while self._asked_up_to < limit:
            first = self._asked_up_to + 1
            self._asked_up_to = min(limit, first + MAX_SERVED_BLOCKS - 1)
            self._unasked.append(range(first, self._asked_up_to + 1))
        asked: list[AskBlocks] = []
        for heights in sorted(self._unasked, key=lambda each: each.start):
            is_next = heights.start == self._ledger.head.height + 1
            if len(self._under_way) >= REQUESTS_UNDER_WAY or (self._ready_bytes > FETCHED_AHEAD_BYTES and not is_next):
                continue
            source = self._free_for(heights)
            if source is None:
                continue
            request = AskBlocks(source.name, heights.start, len(heights))
            source.under_way += 1
            self._under_way[request] = heights
            self._unasked.remove(heights)
            asked.append(request)
        return asked

    def blocks(self, request: AskBlocks, blocks: Sequence[RawBlock]) -> None:
        """A source has sent blocks: as many as it was asked for, or fewer."""
        heights = self._under_way.pop(request, None)
        source = self.sources.get(request.source)
        if heights is None or source is None:
            return
        source.under_way -= 1
        size = sum([block.size for block in blocks])
        if size > MAX_ANSWER_BYTES:
            self._unasked.append(heights)
            self._drop(source, Verdict("oversize", f"it sends {size} bytes at once", lied=True))
            return
        got = min(len(blocks), len(heights))
        for height, block in zip(heights, blocks, strict=False):
            self._ready[height] = _Ready(source.name, block)
            self._ready_bytes += block.size
        if got < len(heights):
            self._unasked.append(heights[got:])
        if got:
            source.strikes = 0
        elif heights.start <= source.head:
            message = f"it sends no block {heights.start} although its head is {source.head}"
            self._drop(source, Verdict("withheld", message, lied=True))

    def failed(self, request: AskBlocks, code: str, message: str) -> None:
        """A request came to nothing: nobody answered, or it was refused."""
        heights = self._under_way.pop(request, None)
        source = self.sources.get(request.source)
        if heights is None or source is None:
            return
        source.under_way -= 1
        self._unasked.append(heights)
        source.strikes += 1
        if source.strikes >= STRIKES:
            self._drop(source, Verdict(code, message, lied=False))

    def apply(self) -> bool:
        """Execute and store the next block, if it is there. Raises DivergenceFault("diverged"), NodeFault."""
        height = self._ledger.head.height + 1
        if height not in self._ready:
            return False
        ready = self._take(height)
        try:
            header, certificate, decoded = self._checked(height, ready.block)
        except CodecError as error:
            self._unasked.append(range(height, height + 1))
            source = self.sources.get(ready.source)
            if source is not None:
                self._drop(source, Verdict(error.code, f"block {height}: {error.message}", lied=True))
            return False
        execution = self._executor.execute(height, ready.block.body, decoded)
        if execution.block_hash != header.hash:
            raise DivergenceFault(
                "diverged",
                f"block {height} came out as {execution.block_hash.hex()[:16]}, a quorum has certified "
                f"{header.hash.hex()[:16]}: another version of the program, or faulty memory",
            )
        self._ledger.commit(execution, certificate)
        return True

    def _take(self, height: int) -> _Ready:
        ready = self._ready.pop(height)
        self._ready_bytes -= ready.block.size
        return ready

    def _checked(self, height: int, raw: RawBlock) -> tuple[Header, Certificate, DecodedBatch | None]:
        header, certificate = self._trust().certified(raw.header, raw.certificate)
        if header.height != height:
            raise CodecError("malformed", f"it is of height {header.height}")
        decoded = None if raw.body == NULL_BATCH else decode_batch(raw.body)
        if header.batch_digest != (NULL_DIGEST if decoded is None else decoded.digest):
            raise CodecError("wrong-hash", "its body is not the one that its header names")
        return header, certificate, decoded

    def _free_for(self, heights: range) -> Source | None:
        """Who has these blocks and least to do."""
        able = [
            source
            for source in self.sources.values()
            if source.base < heights.start <= source.head and source.under_way < REQUESTS_PER_SOURCE
        ]
        return min(able, key=lambda each: (each.strikes, each.under_way), default=None)

    def _drop(self, source: Source, verdict: Verdict) -> None:
        """Ask a source nothing more, and believe nothing of it that has not been checked yet."""
        del self.sources[source.name]
        self.verdicts[source.name] = verdict
        for request in [each for each in self._under_way if each.source == source.name]:
            self._unasked.append(self._under_way.pop(request))
        for height in [each for each, ready in self._ready.items() if ready.source == source.name]:
            self._take(height)
            self._unasked.append(range(height, height + 1))
