"""An epoch as this node lives it: the replica, the proposer, and who is who.

Members are known by name all over the node, since an index means nothing in another epoch. Here names become the
indices that the consensus core counts by, and back.
"""

from collections.abc import Sequence

from node.consensus.messages import EVERYONE
from node.consensus.replica import Anchor, Replica, Settings
from node.ledger.chain import Ledger
from node.mempool import Mempool
from node.model.epoch import Epoch
from node.model.keys import Signer, Verify
from node.proposer import Proposer


class Term:
    """Begins at the ledger's head, which is at or above the last block before the epoch. ``records``: what the vote log
    holds of this epoch."""

    def __init__(
        self,
        chain: bytes,
        epoch: Epoch,
        me: str,
        signer: Signer,
        verify: Verify,
        ledger: Ledger,
        pool: Mempool,
        records: Sequence[bytes],
    ) -> None:
        self.epoch = epoch
        self._names = tuple([member.name for member in epoch.members])
        self._indices = {name: index for index, name in enumerate(self._names)}
        self.me = self._indices[me]
        self.others = tuple([name for name in self._names if name != me])
        """The names of all other members."""
        self.settings = Settings(chain, epoch.number, epoch.keys, self.me)
        anchor = Anchor(ledger.head.height, ledger.head_hash, ledger.head_certificate)
        self.replica = Replica(self.settings, signer, verify, anchor, records)
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
