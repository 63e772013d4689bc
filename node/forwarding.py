"""Telling the primary, telling everyone, and noticing a primary that leaves transactions out.

A gateway's node forwards what it was given to the primary, and to every member if that did not help in time, so that
all of them time the primary. A transaction is *overdue* when the primary has known it for longer than a patience and
put it into no batch. An honest primary is never late by this measure, because of how the waiting is counted
(``_clock``): a tick counts only while batches are not full, and such a batch of an honest primary holds everything that
it had; while batches are full, what counts is how many others were served first, a mempool's worth being one
``POOL_TICKS``.

A transaction that was seen in a batch is waited for a while longer (GRACE_TICKS), once in a view, and not for ever: a
primary that shows one batch here and another to the quorum has not included what only the first one holds.

Whatever is in the pool is told to everyone in the end, not only what own clients gave: the node that had it from its
client may have died, and who told this one may have told nobody else.

All waiting starts again when the view changes: a new primary owes nothing yet.

What members' keys have sent is told in turn, so that one member's flood does not hold up what others gave to the same
gateway; and so much in a tick as a peer surely listens to (``node/intake.py``).
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Final

from node.limits import (
    FORWARD_BYTES,
    FORWARD_HEARD_TICKS,
    FORWARD_RETRY_MAX_TICKS,
    FORWARD_RETRY_TICKS,
    FORWARD_TRANSACTIONS,
    FORWARD_UNITS_BURST,
    FORWARD_UNITS_PER_TICK,
    FORWARDS_PER_TICK,
    TICKS_PER_SECOND,
)
from node.mempool import Mempool
from node.model.transaction import Transaction

_LOOK_AT = 64
"""How many of the longest waiting are looked at in one tick."""
POOL_TICKS: Final = TICKS_PER_SECOND
"""As so much waiting counts a mempool's worth of others that were served first: as a replica's first patience."""
GRACE_TICKS: Final = 2 * TICKS_PER_SECOND
"""How much longer a transaction in a batch is waited for: what a batch takes to be stored with several before it."""
_SLACK = 4096
"""How many entries of transactions that are gone are not worth a cleaning."""


def units_of(count: int, size_bytes: int) -> int:
    """What so many transactions of so many bytes count for in a limit: each one, or each KiB if that is more."""
    return max(count, size_bytes >> 10)


class _Untold:
    """Ids that the primary was not told of, by member; members in turn, each one's in the order in which they came."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, dict[bytes, None]] = OrderedDict()
        self._where: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self._where)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._where)

    def add(self, tx_id: bytes, member: str) -> None:
        """Once more changes nothing."""
        if tx_id not in self._where:
            self._where[tx_id] = member
            self._of.setdefault(member, {})[tx_id] = None

    def discard(self, tx_id: bytes) -> None:
        member = self._where.pop(tx_id, None)
        if member is not None:
            ids = self._of[member]
            del ids[tx_id]
            if not ids:
                del self._of[member]

    def next(self) -> bytes | None:
        """Whose turn it is; ``pop`` ends the turn."""
        return next(iter(next(iter(self._of.values()))), None) if self._of else None

    def pop(self) -> bytes:
        """What ``next`` says, and the turn passes on."""
        member = next(iter(self._of))
        tx_id = next(iter(self._of[member]))
        self._of.move_to_end(member)
        self.discard(tx_id)
        return tx_id


class Forwarding:
    """Watches the pool's transactions. What is held here is in the pool too, or was not long ago: bounded with it."""

    def __init__(self, pool: Mempool) -> None:
        self._pool = pool
        self._clock = 0
        self._last_was_full = False
        self._committed = 0
        self._since: dict[bytes, int] = {}
        """Not in a block yet; timed from then on, oldest first but for the time that some have more."""
        self._granted: set[bytes] = set()
        """Seen in a batch of this view, and waited for a while longer because of it."""
        self._untold = _Untold()
        """Given by this node's own clients, and the primary of this view not told yet."""
        self._told: list[tuple[int, int, bytes]] = []
        """A heap (when to tell everyone, delay before that, id) of those that the primary was told of."""
        self._heard: list[tuple[int, int, bytes]] = []
        """The same of those that peers forwarded; their own nodes come first."""
        self._allowed = FORWARD_UNITS_BURST
        """What may be told just now, in units."""

    def submitted(self, tx_id: bytes) -> None:
        """A client's transaction entered the pool here; it is timed from when everyone is told."""
        self._tell(tx_id)
        self._since[tx_id] = self._clock + FORWARD_RETRY_TICKS

    def received(self, tx_id: bytes) -> None:
        """A peer's transaction entered the pool here: its own node forwards it, this one times the primary."""
        self._since[tx_id] = self._clock
        heappush(self._heard, (self._clock + FORWARD_HEARD_TICKS, FORWARD_HEARD_TICKS, tx_id))

    def proposed(self, tx_ids: Iterable[bytes]) -> None:
        """The primary put these into a batch: they are waited for a while longer, once in a view."""
        for tx_id in tx_ids:
            if tx_id in self._since and tx_id not in self._granted:
                self._granted.add(tx_id)
                del self._since[tx_id]  # to the end: it is among the youngest now
                self._since[tx_id] = self._clock + GRACE_TICKS

    def committed(self, transactions: Sequence[Transaction], *, full: bool) -> None:
        """A block with these was stored; ``full``: no more would have fitted into it."""
        self._last_was_full = full
        for tx in transactions:
            self._since.pop(tx.id, None)
            self._untold.discard(tx.id)
            self._granted.discard(tx.id)
        worth = max(1, self._pool.max_transactions // POOL_TICKS)
        if full:
            self._clock += (self._committed + len(transactions)) // worth - self._committed // worth
        self._committed += len(transactions)

    def view_changed(self) -> None:
        """A new primary: it must be told, and then be given its time."""
        self._since = dict.fromkeys(self._pool.ids(), self._clock)
        untold = [tx_id for _, _, tx_id in self._told if tx_id in self._pool] + list(self._untold)
        self._untold = _Untold()
        for tx_id in untold:
            self._tell(tx_id)
        for tx_id in self._untold:
            if tx_id in self._since:
                self._since[tx_id] += FORWARD_RETRY_TICKS
        self._told.clear()
        self._granted.clear()
        # A sorted list is a heap, and all are due at once: those that own nodes tell again will be gone by then.
        due = self._clock + FORWARD_HEARD_TICKS
        self._heard = [(due, FORWARD_HEARD_TICKS, tx_id) for tx_id in sorted({heard[2] for heard in self._heard})]

    def tick(self) -> None:
        """One tick has passed."""
        self._allowed = min(FORWARD_UNITS_BURST, self._allowed + FORWARD_UNITS_PER_TICK)
        if not self._last_was_full:
            self._clock += 1
        held = len(self._since) + len(self._untold) + len(self._told) + len(self._heard) + len(self._granted)
        if held > 4 * len(self._pool) + _SLACK:
            self._forget_what_the_pool_forgot()

    def overdue(self, patience_ticks: int, now: int) -> bool:
        """Whether one that could still be in a block of time ``now`` has waited longer than ``patience_ticks``."""
        gone: list[bytes] = []
        result = False
        for tx_id, since in islice(self._since.items(), _LOOK_AT):
            tx = self._pool.get(tx_id)
            if tx is None or not self._pool.includable(tx, now):
                gone.append(tx_id)
            elif self._clock - since > patience_ticks:
                result = True
                break
        for tx_id in gone:
            del self._since[tx_id]
        return result

    def for_primary(self) -> list[tuple[bytes, ...]]:
        """Raw transactions that the primary was not told of, in bounded messages; the rest waits for the next call."""
        messages: list[tuple[bytes, ...]] = []
        while self._untold and len(messages) < FORWARDS_PER_TICK and self._allowed > 0:
            messages.append(self._next_message())
        return [message for message in messages if message]

    def no_primary(self) -> None:
        """There is none to tell. If that lasts, as for a node that left a view alone, everyone is told in time."""
        for tx_id in self._untold:
            heappush(self._told, (self._clock + FORWARD_RETRY_TICKS, FORWARD_RETRY_TICKS, tx_id))
        self._untold = _Untold()

    def for_everyone(self) -> tuple[bytes, ...]:
        """Raw transactions that the primary was told of in vain, one message; each again due after twice the delay."""
        message: list[bytes] = []
        size = 0
        most = min(FORWARD_TRANSACTIONS, self._allowed)
        looks = 2 * FORWARD_TRANSACTIONS  # after a change of view all are due at once, and most of them need no telling
        for waiting in (self._told, self._heard):
            while waiting and waiting[0][0] <= self._clock and len(message) < most and looks:
                looks -= 1
                _, delay, tx_id = waiting[0]
                tx = self._pool.get(tx_id)
                if tx is not None and self._since.get(tx_id, self._clock + 1) <= self._clock:
                    if size + len(tx.raw) > FORWARD_BYTES:
                        return self._said(message, size)
                    size += len(tx.raw)
                    message.append(tx.raw)
                    delay = min(2 * delay, FORWARD_RETRY_MAX_TICKS)
                heappop(waiting)
                if tx is not None:
                    heappush(waiting, (self._clock + delay, delay, tx_id))
        return self._said(message, size)

    def _tell(self, tx_id: bytes) -> None:
        tx = self._pool.get(tx_id)
        if tx is not None:
            self._untold.add(tx_id, self._pool.member_of(tx.payload.sender) or "")

    def _said(self, message: list[bytes], size: int) -> tuple[bytes, ...]:
        self._allowed -= units_of(len(message), size)
        return tuple(message)

    def _forget_what_the_pool_forgot(self) -> None:
        pool = self._pool
        self._since = {tx_id: since for tx_id, since in self._since.items() if tx_id in pool}
        for tx_id in [tx_id for tx_id in self._untold if tx_id not in pool]:
            self._untold.discard(tx_id)
        self._told = [told for told in self._told if told[2] in pool]
        heapify(self._told)
        self._heard = [heard for heard in self._heard if heard[2] in pool]
        heapify(self._heard)
        self._granted = {tx_id for tx_id in self._granted if tx_id in pool}

    def _next_message(self) -> tuple[bytes, ...]:
        message: list[bytes] = []
        size = 0
        for _ in range(FORWARD_TRANSACTIONS):
            tx_id = self._untold.next()
            if tx_id is None:
                break
            tx = self._pool.get(tx_id)
            if tx is not None:
                if size + len(tx.raw) > FORWARD_BYTES:
                    break
                size += len(tx.raw)
                message.append(tx.raw)
                heappush(self._told, (self._clock + FORWARD_RETRY_TICKS, FORWARD_RETRY_TICKS, tx_id))
            self._untold.pop()
        return self._said(message, size)
