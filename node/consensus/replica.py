"""One replica of PBFT, without sockets, clocks or disks: messages, ticks and answers go in; ``Ready`` comes out.

See ``docs/consensus.md`` for the theory of operation.
"""

from collections.abc import Sequence

from node.consensus.messages import Message, Ready
from node.consensus.settings import Anchor, Settings
from node.model.block import DecodedBatch
from node.model.keys import Signer, Verify

__all__ = ["Anchor", "Replica", "Settings"]


class Replica:
    """The consensus core of one node. Synchronous and deterministic: the same inputs in the same order give the same
    outputs, byte for byte. Not thread-safe.

    After *every* call that changes it, drain ``ready()`` until it is empty (answers given while obeying it may
    produce more). ``records`` are the vote log's records, oldest first, exactly as ``Ready.persist`` gave them or as
    ``log_snapshot`` returned them.
    """

    def __init__(
        self, settings: Settings, signer: Signer, verify: Verify, anchor: Anchor, records: Sequence[bytes]
    ) -> None:
        raise NotImplementedError

    # What the node tells the core.

    def step(self, sender: int, message: Message) -> None:
        """A message came from member ``sender`` (the identity of the link, not a field of the message).

        Raises PeerError, with nothing changed, if no correct peer sends it: log it, drop it, go on. A ``Forward`` is
        not for the core: ValueError. Raises DivergenceFault: stop.
        """
        raise NotImplementedError

    def tick(self, *, pending: bool, overdue: bool) -> None:
        """50 ms have passed. Missed ticks count as one; feed waiting messages first.

        ``pending``: includable work exists, or a calendar event or heartbeat is due, and no block came of it yet.
        ``overdue``: a forwarded transaction has waited longer than T (1 s) while batches were not full.
        """
        raise NotImplementedError

    def validated(self, digest: bytes, ok: bool) -> None:
        """The answer to ``Validate``. Unknown digests are ignored."""
        raise NotImplementedError

    def executed(self, height: int, batch_digest: bytes, parent_hash: bytes, block_hash: bytes) -> None:
        """The answer to ``Execute``; ignored unless the first three are what is wanted now.

        Raises DivergenceFault("diverged") if a quorum certified something else: stop, without voting.
        """
        raise NotImplementedError

    def stored(self, height: int) -> None:
        """The answer to ``Commit``: block and certificate are on disk, synced."""
        raise NotImplementedError

    def propose(self, batch: bytes, digest: bytes, decoded: DecodedBatch | None = None) -> None:
        """Propose an encoded batch at the next height; only while ``wants_batch``, else ValueError."""
        raise NotImplementedError

    # What the node may ask.

    @property
    def wants_batch(self) -> bool:
        """Whether this replica is the primary of an active view with room in its window."""
        raise NotImplementedError

    @property
    def view(self) -> int:
        """The view that this replica works in (``is_active``) or waits for."""
        raise NotImplementedError

    @property
    def is_active(self) -> bool:
        """False from the ViewChange that this replica sent until the NewView that it accepts."""
        raise NotImplementedError

    @property
    def primary(self) -> int:
        """The index of the primary of ``view``."""
        raise NotImplementedError

    @property
    def is_primary(self) -> bool:
        """Whether that is this replica."""
        raise NotImplementedError

    @property
    def height(self) -> int:
        """The newest stored height."""
        raise NotImplementedError

    @property
    def next_height(self) -> int:
        """As primary: the height that the next ``propose`` gets. ``next_height - 1 - height`` are in flight."""
        raise NotImplementedError

    @property
    def best_peer_height(self) -> int:
        """The highest stored height that any peer claims; unproven, for status displays only."""
        raise NotImplementedError

    def ready(self) -> Ready:
        """Everything to be done now; drains it. ``bool(ready)`` is False when there is nothing."""
        raise NotImplementedError

    def log_snapshot(self) -> list[bytes]:
        """The records that a rewritten vote log must hold, oldest first; what ``persist`` gave before is covered.

        Call it only right after ``ready()`` was drained and its ``persist`` synced.
        """
        raise NotImplementedError
