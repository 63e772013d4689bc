"""A running node erases what may go from its blocks, a little at a time (``ledger/erasing.py`` says what and how).

A round is made when something may have become due: a slot's retention is over, an owner has asked, a new snapshot lets
older blocks go, and at every start, since a crash may have cut one short. Slices of work take a few milliseconds, then
consensus has its turn; what is erased is erased whole, so there is nothing to repair.

What was overwritten stays in the database's files until they are compacted, in a thread beside the loop: at most every
COMPACT_EVERY_S, never while a snapshot is being made, whose view would keep the old bytes.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from chaincode.erasure import ASKED
from node.beside import to_its_end
from node.errors import StoreFault
from node.ledger.chain import Ledger
from node.ledger.erasing import Erased, compacted, erase_all, to_compact
from node.ledger.execution import Execution
from node.ledger.store import Store
from node.limits import SNAPSHOT_PAUSE_MS, SNAPSHOT_SLICE_MS
from node.snapshot.shelf import Shelf

log = logging.getLogger("watt.eraser")

COMPACT_EVERY_S = 6 * 3600
_PRUNED = "pruned"


def horizon(shelf: Shelf) -> int:
    """The highest block that may lose anything: the oldest snapshot's, from which on blocks can be executed again; 0
    without one."""
    return min([manifest.height for manifest in shelf.kept], default=0)


def _compact(store: Store) -> None:
    for start, end in to_compact(store):
        store.compact(start, end)


class Eraser:
    """``busy``: whether a snapshot is being made; ``failed``: told of a database that cannot be trusted."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        shelf: Shelf,
        busy: Callable[[], bool],
        failed: Callable[[StoreFault], None],
        compact_every_s: float = COMPACT_EVERY_S,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._shelf = shelf
        self._busy = busy
        self._failed = failed
        self._compact_every_s = compact_every_s
        self._compacted_at: float | None = None
        self._horizon = -1
        self._is_due = self._is_asked = True
        self._task: asyncio.Task[None] | None = None

    def committed(self, execution: Execution) -> None:
        """A block was stored: begin a round if something in it, or a new snapshot, calls for one."""
        topics = {event.topic for event in execution.events}
        now = horizon(self._shelf)
        self._is_asked |= ASKED in topics or now != self._horizon
        self._is_due |= self._is_asked or _PRUNED in topics
        self._horizon = now
        if self._task is None and (self._is_due or self._may_compact()):
            self._task = asyncio.create_task(self._run(), name="eraser")

    async def stop(self) -> None:
        """Give up what is under way. To be called before the store is closed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _may_compact(self) -> bool:
        now = time.monotonic()
        is_time = self._compacted_at is None or now - self._compacted_at >= self._compact_every_s
        return is_time and not self._busy() and bool(to_compact(self._store))

    async def _run(self) -> None:
        try:
            while self._is_due:
                asked, self._is_due, self._is_asked = self._is_asked, False, False
                await self._round(asked)
            if self._may_compact():
                self._compacted_at = time.monotonic()
                await to_its_end(lambda: _compact(self._store))
                compacted(self._store)
                log.info(
                    "compacted ms=%d: the files hold nothing erased", 1000 * (time.monotonic() - self._compacted_at)
                )
        except StoreFault as fault:
            self._failed(fault)
        finally:
            self._task = None

    async def _round(self, asked: bool) -> None:
        done, blocks = Erased(), 0
        until = time.monotonic() + SNAPSHOT_SLICE_MS / 1000
        for step in erase_all(self._store, self._ledger, self._horizon, asked=asked):
            done, blocks = done.plus(step), blocks + bool(step.results)
            if time.monotonic() >= until:
                await asyncio.sleep(SNAPSHOT_PAUSE_MS / 1000)
                until = time.monotonic() + SNAPSHOT_SLICE_MS / 1000
        if blocks:
            log.info("erased blocks=%d transactions=%d up-to=%d", blocks, done.transactions, self._horizon)
