"""How a running node makes a snapshot: from a view of its database at one block, a little at a time.

Twice through the state: once for its size, from which the depth of the chunks follows, once to sort the entries into
chunks. The event loop belongs to consensus: a slice of work takes a few milliseconds, then others have their turn.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from hashlib import sha256

from node.beside import to_its_end
from node.errors import RefusedError, StoreFault
from node.ledger.chain import Ledger
from node.ledger.layout import STATE, after_prefix
from node.ledger.store import Store
from node.limits import (
    MAX_CHUNK_BYTES,
    SNAPSHOT_BLOCKS,
    SNAPSHOT_BUFFER_BYTES,
    SNAPSHOT_PAUSE_MS,
    SNAPSHOT_SLICE_MS,
)
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.snapshot.chunks import MAX_DEPTH, depth_for, listed, packed, packed_bytes, tops
from node.snapshot.offer import Offer
from node.snapshot.shelf import Shelf

log = logging.getLogger("watt.snapshot")

STEP_ENTRIES = 32
STEP_BYTES = 64 * 1024
"""A step is over after so many entries, or so many bytes of them."""


class Making:
    """One snapshot under way: of the state after the ledger's head, which it fixes when it is made."""

    def __init__(self, store: Store, ledger: Ledger, shelf: Shelf) -> None:
        """Raises OSError, StoreFault; RefusedError("no-snapshot") for block 0, which everybody has."""
        if ledger.head_certificate is None:
            raise RefusedError("no-snapshot", "there is no block yet but the first, which everybody makes by itself")
        self.height = ledger.head.height
        self._header = encode_header(ledger.head)
        self._certificate = encode_certificate(ledger.head_certificate)
        self._upper = ledger.tree.upper(MAX_DEPTH)
        self._shelf = shelf
        self._draft = shelf.draft(self.height)
        self._view = store.view()
        self._waiting: dict[str, bytearray] = {}
        self.offer: Offer | None = None
        """What it came to; None until all steps are done."""

    def steps(self) -> Iterator[None]:
        """The work, step by step, up to ``finish``. Raises OSError, StoreFault; RefusedError("too-large")."""
        size = 0
        for number, (key, value) in enumerate(self._entries()):
            size += packed_bytes(key, value)
            if number % STEP_ENTRIES == 0 or len(value) > STEP_BYTES:
                yield
        depth = depth_for(size)
        upper = {path: node for path, node in self._upper.items() if len(path) < depth}
        room = SNAPSHOT_BUFFER_BYTES >> 4 * depth
        prefixes = set()
        for number, (key, value) in enumerate(self._entries()):
            prefix = sha256(key).hexdigest()[:depth]
            prefixes.add(prefix)
            waiting = self._waiting.setdefault(prefix, bytearray())
            waiting += packed(key, value)
            if len(waiting) > room:
                self._append(prefix)
                yield
            elif number % STEP_ENTRIES == 0 or len(value) > STEP_BYTES:
                yield
        for prefix in sorted(self._waiting):
            self._append(prefix)
            yield
        if prefixes != tops(upper, depth).keys():
            raise StoreFault("db-corrupt", f"the state after block {self.height} is not what its tree says")
        self.offer = Offer(self._header, self._certificate, depth, listed(upper))

    def finish(self) -> None:
        """Put the finished snapshot on the shelf; waits for the disk. Raises OSError."""
        assert self.offer is not None
        self._shelf.add(self._draft, self.offer, self.height)

    def close(self) -> None:
        """Let go of the view; what is not finished is removed."""
        self._view.close()
        self._draft.discard()

    def _entries(self) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._view.scan(STATE, after_prefix(STATE)):
            yield key[len(STATE) :], value

    def _append(self, prefix: str) -> None:
        size = self._draft.append(prefix, bytes(self._waiting.pop(prefix)))
        if size > MAX_CHUNK_BYTES:
            raise RefusedError("too-large", f"chunk {prefix} of the state has more than {MAX_CHUNK_BYTES} bytes")


def make_now(store: Store, ledger: Ledger, shelf: Shelf, progress: Callable[[], None] = lambda: None) -> None:
    """Make a snapshot of a ledger at rest. Raises what ``Making`` raises."""
    making = Making(store, ledger, shelf)
    try:
        for _ in making.steps():
            progress()
        making.finish()
    finally:
        making.close()


class Maker:
    """Makes the snapshots of a running node, one at a time; what goes wrong with one does not hurt the node.

    ``failed``: told of a database that cannot be trusted, which does.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        shelf: Shelf,
        failed: Callable[[StoreFault], None],
        every: int = SNAPSHOT_BLOCKS,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._shelf = shelf
        self._failed = failed
        self._every = every
        self._task: asyncio.Task[None] | None = None

    def committed(self) -> None:
        """A block was stored: begin a snapshot if it is one's turn. An earlier one still under way is not disturbed."""
        if self._ledger.head.height % self._every or self._task is not None:
            return
        try:
            making = Making(self._store, self._ledger, self._shelf)
        except OSError as error:
            self._give_up(self._ledger.head.height, error)
            return
        self._task = asyncio.create_task(self._make(making), name="snapshot")

    @property
    def is_busy(self) -> bool:
        """Whether a snapshot is under way."""
        return self._task is not None

    async def stop(self) -> None:
        """Give up what is under way. To be called before the store is closed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _make(self, making: Making) -> None:
        began = time.monotonic()
        try:
            until = began + SNAPSHOT_SLICE_MS / 1000
            for _ in making.steps():
                if time.monotonic() >= until:
                    await asyncio.sleep(SNAPSHOT_PAUSE_MS / 1000)
                    until = time.monotonic() + SNAPSHOT_SLICE_MS / 1000
            await to_its_end(making.finish)
            log.info("snapshot height=%d ms=%d", making.height, 1000 * (time.monotonic() - began))
        except (OSError, RefusedError) as error:
            self._give_up(making.height, error)
        except StoreFault as fault:
            self._failed(fault)
        finally:
            making.close()
            self._task = None

    def _give_up(self, height: int, error: Exception) -> None:
        log.warning("snapshot-failed height=%d: %s; the next one is due in %d blocks", height, error, self._every)
