"""When this node, as primary, proposes, and what: no transaction is offered in two batches on their way.

With nothing in flight, at once. With batches in flight, when a full one is waiting, or as many ticks after the last
as there are batches in flight: blocks execute one by one anyway, and larger batches cost less. Without transactions,
an empty batch when a block is due all the same (the calendar, the heartbeat), at most one a tick.
"""

from collections import OrderedDict
from collections.abc import Callable

from node.consensus.replica import Replica
from node.limits import BATCH_BYTES, BATCH_ITEMS, BATCHES_IN_FLIGHT, BATCHES_REMEMBERED
from node.mempool import Mempool
from node.model.block import Batch, DecodedBatch, decoded_batch, encode_batch


class Proposer:
    """Makes batches of what waits in the pool, for one epoch."""

    def __init__(self, chain: bytes, epoch: int, me: int, replica: Replica, pool: Mempool) -> None:
        self._chain = chain
        self._epoch = epoch
        self._me = me
        self._replica = replica
        self._pool = pool
        self._proposed_tick = -1
        self._batches: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()
        """Batches that were seen and are not stored: the ids of their transactions by the batch's digest."""
        self._carried_until = 0
        self._carried: list[bytes] = []
        """Ids that batches of earlier views, or from before a restart, may still bring, up to that height."""
        self._held: set[bytes] = set()
        """Digests of batches in flight whose transactions the pool does not offer."""

    @property
    def in_flight(self) -> int:
        """How many heights this primary has proposed, or taken over, that are not stored."""
        return self._replica.next_height - 1 - self._replica.height if self._replica.is_primary else 0

    def propose(self, tick: int, now: Callable[[], int], block_is_due: Callable[[], bool]) -> None:
        """Propose what the policy allows. ``now``: block time; ``block_is_due``: whether an empty block is wanted."""
        while self._replica.wants_batch and self._holds_all() and self._has_batch(tick, block_is_due):
            transactions = tuple(self._pool.take(BATCH_BYTES, BATCH_ITEMS))
            raws = tuple([tx.raw for tx in transactions])
            batch = Batch(self._chain, self._epoch, self._me, max(0, now()), raws)
            decoded = decoded_batch(batch, transactions)
            self._proposed_tick = tick
            self.seen(decoded)
            self._held.add(decoded.digest)
            self._replica.propose(encode_batch(batch), decoded.digest, decoded)

    def _has_batch(self, tick: int, block_is_due: Callable[[], bool]) -> bool:
        in_flight = self.in_flight
        waited = tick - self._proposed_tick
        untaken = self._pool.untaken
        if untaken == 0:
            return in_flight == 0 and waited > 0 and block_is_due()
        if in_flight == 0:
            return True
        return in_flight < BATCHES_IN_FLIGHT and (untaken >= BATCH_ITEMS or waited >= in_flight)

    def _holds_all(self) -> bool:
        """Whether it is known what every batch in flight holds, and none of it is offered: a client hands in again what
        was on its way when the nodes went down. A batch whose bytes are missing has to be here before anything behind
        it is executed, so nothing is lost by waiting for it."""
        for digest, decoded in self._replica.proposed():
            if digest in self._held:
                continue
            if decoded is None:
                return False
            self.seen(decoded)
            self._hold(digest)
        return True

    def _hold(self, digest: bytes) -> None:
        self._held.add(digest)
        self._carried += self._batches[digest]
        self._carried_until = self._replica.next_height - 1
        self._pool.mark_taken(self._batches[digest])

    def seen(self, decoded: DecodedBatch) -> None:
        """A batch, of any primary, is on its way."""
        self._batches[decoded.digest] = tuple([tx.id for tx in decoded.transactions])
        if len(self._batches) > BATCHES_REMEMBERED:
            self._batches.popitem(last=False)

    def stored(self, height: int, digest: bytes) -> None:
        """The batch with this digest is in the block stored at ``height``."""
        self._batches.pop(digest, None)
        self._held.discard(digest)
        if self._carried and height >= self._carried_until:
            self._pool.release(self._carried)
            self._carried = []

    def view_began(self) -> None:
        """A view began. Batches of earlier ones may come again, as its first: what they hold is not proposed twice. If
        one does not come, its transactions are free when the heights that it could have had are stored."""
        self._pool.untake()
        self._carried = []
        self._held.clear()
        if self.in_flight:
            for digest in self._batches:
                self._hold(digest)
