"""An epoch as this node lives it: the replica, the proposer, and who is who.

Members are known by name all over the node, since an index means nothing in another epoch. Here names become the
indices that the consensus core counts by, and back.
"""

from collections.abc import Sequence

from node.consensus.messages import EVERYONE
from node.consensus.records import lost_record
from node.consensus.replica import Anchor, Replica, Settings
from node.consensus.settings import OBSERVER, Memory
from node.errors import NodeFault
from node.ledger.chain import Ledger
from node.mempool import Mempool
from node.model.epoch import Epoch
from node.model.keys import Signer, Verify
from node.proposer import Proposer


class NoPen:
    """Signs nothing: a replica that is no member, or has not got its key."""

    public_key = b""

    def sign(self, message: bytes) -> bytes:
        """Never called by a replica that observes."""
        raise NodeFault("internal", "a node that does not vote was to sign something")


class Term:
    """Begins at the ledger's head, which is at or above the last block before the epoch."""

    def __init__(
        self,
        chain: bytes,
        epoch: Epoch,
        me: str,
        signer: Signer | None,
        verify: Verify,
        ledger: Ledger,
        pool: Mempool,
        records: Sequence[bytes],
        memory: Memory,
        start: int,
    ) -> None:
        """``signer``: the key that ``me`` has in the epoch, None if it is not here. ``records``: what the vote log
        holds of this epoch; ``memory``: what is known of them; ``start``: differs at each start of the node."""
        self.epoch = epoch
        self.memory = Memory.LOST if lost_record() in records else memory
        """What was known when it began."""
        self._names = tuple([member.name for member in epoch.members])
        self._indices = {name: index for index, name in enumerate(self._names)}
        self.is_member = me in self._indices
        self.me = self._indices[me] if self.is_member and signer is not None else OBSERVER
        self.others = tuple([name for name in self._names if name != me])
        """The names of all other members."""
        self.settings = Settings(chain, epoch.number, epoch.keys, self.me, epoch.base)
        head = ledger.head
        certificate = ledger.head_certificate if head.height > epoch.base else None
        anchor = Anchor(head.height, ledger.head_hash, certificate)
        self.replica = Replica(self.settings, signer or NoPen(), verify, anchor, records, memory=memory, start=start)
        self.proposer = Proposer(chain, epoch.number, self.me, self.replica, pool)
        self.patience_ticks = self.settings.timeout_ticks
        self.seen_view = (self.replica.view, self.replica.is_active)

    def index_of(self, name: str) -> int | None:
        """The member's index, or None if it is no member in this epoch."""
        return self._indices.get(name)

    def names_of(self, to: int) -> tuple[str, ...]:
        """Whom a message to the member with index ``to``, or to EVERYONE else, is for."""
        return self.others if to == EVERYONE else (self._names[to],)

    def view_changed(self) -> bool:
        """Whether the view, or whether it is active, is another than when this was asked last; with each view, the
        patience with a primary grows."""
        view = (self.replica.view, self.replica.is_active)
        if view == self.seen_view:
            return False
        if view[0] != self.seen_view[0]:
            self.patience_ticks = min(2 * self.patience_ticks, self.settings.timeout_cap_ticks)
        self.seen_view = view
        return True

    def stored(self) -> None:
        """A block was stored: patience is what it was at first."""
        self.patience_ticks = self.settings.timeout_ticks
