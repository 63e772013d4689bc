"""From an agreed order to a stored block, one height at a time.

The height after the stored one is executed as soon as it is known what stands there: a fetched block with its
certificate; else the batch prepared in the current view; else one prepared earlier for which a certificate has turned
up. The result is voted for, or compared with the certificate that is there already; with a certificate the block is
stored, and the next height begins. At most one height is ever executed ahead of what is stored. A result is kept
across view changes: nothing is executed twice because of one.
"""

from dataclasses import dataclass

from node.consensus.catch_up import CatchUp
from node.consensus.desk import Desk
from node.consensus.message_log import Judgement, MessageLog
from node.consensus.messages import Commit, Execute
from node.consensus.ordering import Ordering
from node.consensus.settings import Anchor
from node.errors import DivergenceFault
from node.model.block import DecodedBatch
from node.model.certificate import Certificate


@dataclass(slots=True)
class _Run:
    """A batch handed out for execution, and the block that came of it (None: no answer yet)."""

    height: int
    digest: bytes
    parent_hash: bytes
    block_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Order:
    """What stands at a height; ``view``: in which it was prepared (None for a fetched block)."""

    digest: bytes
    body: bytes
    decoded: DecodedBatch | None
    is_trusted: bool
    view: int | None


class Pipeline:
    """``head``: the newest stored block."""

    def __init__(self, desk: Desk, log: MessageLog, ordering: Ordering, catch_up: CatchUp, anchor: Anchor) -> None:
        self._desk = desk
        self._log = log
        self._ordering = ordering
        self._catch_up = catch_up
        self.head = anchor
        self._run: _Run | None = None
        self._storing: Commit | None = None

    @property
    def is_executing(self) -> bool:
        """Whether the node has a batch to execute and has not answered."""
        return self._run is not None and self._run.block_hash is None

    @property
    def is_storing(self) -> bool:
        """Whether the node has a block to store and has not answered."""
        return self._storing is not None

    def executed(self, height: int, digest: bytes, parent_hash: bytes, block_hash: bytes) -> None:
        """The node's answer; ignored if it is not about what is wanted now."""
        run = self._run
        if run is not None and (run.height, run.digest, run.parent_hash) == (height, digest, parent_hash):
            run.block_hash = block_hash

    def stored(self, height: int) -> Certificate:
        """The block is on disk: it is the head. Its certificate."""
        storing = self._storing
        if storing is None or storing.height != height:
            raise ValueError(f"block {height} was not to be stored")
        self._storing = None
        self._run = None
        self.head = Anchor(height, storing.block_hash, storing.certificate)
        self._desk.tray.log_cut = height
        return storing.certificate

    def advance(self) -> None:
        """Whatever can be done now for the height after the head. Raises DivergenceFault."""
        height = self.head.height + 1
        order = None if self._storing is not None else self._order_at(height)
        if order is None:
            return
        run = self._run
        if run is None or (run.height, run.digest) != (height, order.digest):
            self._run = _Run(height, order.digest, self.head.block_hash)
            self._desk.tray.execute.append(
                Execute(height, order.digest, order.body, self.head.block_hash, order.is_trusted, order.decoded)
            )
        elif run.block_hash is not None:
            if self._certificate_at(height) is None:
                self._ordering.vote_commit(height, order.digest, run.block_hash)
            self._settle(height, order, run.block_hash)

    def _settle(self, height: int, order: _Order, block_hash: bytes) -> None:
        certificate = self._certificate_at(height)
        if certificate is None:
            return
        if certificate.block_hash == block_hash:
            self._storing = Commit(height, block_hash, certificate)
            self._desk.tray.commit.append(self._storing)
        elif order.view is None or order.view >= certificate.view:
            # What is prepared in or after the view of a certificate is the batch that it certifies.
            raise DivergenceFault(
                "diverged",
                f"block {height} is {block_hash.hex()} here, a quorum certified {certificate.block_hash.hex()}",
            )

    def _certificate_at(self, height: int) -> Certificate | None:
        block = self._catch_up.blocks.get(height)
        return self._log.certificates.get(height) if block is None else block.certificate

    def _order_at(self, height: int) -> _Order | None:
        block = self._catch_up.blocks.get(height)
        if block is not None:
            if block.header.parent_hash != self.head.block_hash:
                raise DivergenceFault(
                    "diverged", f"the certified block {height} does not stand on block {height - 1} as it is here"
                )
            return _Order(block.header.batch_digest, block.body, block.decoded, True, None)
        slot = self._log.slots.get(height)
        prepared = None if slot is None else slot.prepared
        if prepared is None and height in self._log.certificates:
            prepared = self._log.prepared.get(height)
        body = None if prepared is None else self._log.body(prepared.digest)
        if prepared is None or body is None:
            return None
        is_trusted = body.judgement is not Judgement.VALID
        return _Order(prepared.digest, body.raw, body.decoded, is_trusted, prepared.view)
