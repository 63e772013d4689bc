"""A replica that was away: blocks with their certificates from whoever claims to have them.

Peers say where they stand (``Status``, unsigned: a reason to ask, nothing more). A replica that hears of higher blocks
and stores none itself asks one such peer at a time. What comes back proves itself: each header is under a certificate
of a quorum, each body has the digest that its header names. It is then executed like any other block, and the
result must have the certified hash. The next blocks are asked for while some still wait: execution is kept busy.
"""

from dataclasses import dataclass

from node.consensus.desk import Desk
from node.consensus.messages import MAX_REPLY_BLOCKS, BlockReply, BlockRequest, Status
from node.consensus.settings import MAX_INCOMING_BLOCKS
from node.consensus.statements import MAX_HEIGHT
from node.consensus.view_change import stable_fault
from node.errors import CodecError, PeerError
from node.model.block import NULL_BATCH, NULL_DIGEST, DecodedBatch, Header, decode_batch, decode_header
from node.model.certificate import Certificate, decode_certificate

REPLY_TICKS = 20
"""How long a peer has to answer before another one is asked."""


@dataclass(frozen=True, slots=True)
class CertifiedBlock:
    """A block that a quorum committed; ``decoded`` is None for a null batch."""

    header: Header
    block_hash: bytes
    body: bytes
    decoded: DecodedBatch | None
    certificate: Certificate


class CatchUp:
    """``blocks``: certified and not yet stored, by height, without gaps above the stored height; ``end``: the epoch's
    last height, above which nothing is asked for."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._settings = desk.settings
        self.blocks: dict[int, CertifiedBlock] = {}
        self.end = MAX_HEIGHT
        self.claims = [0] * desk.settings.n
        self._asked: int | None = None
        self._asked_ticks = 0
        self._last_peer = desk.settings.me

    @property
    def asked(self) -> tuple[int, int] | None:
        """The peer that is to send blocks, and for how many ticks it has not; None if nobody is asked."""
        return None if self._asked is None else (self._asked, self._asked_ticks)

    def on_status(self, peer: int, status: Status) -> None:
        """``peer`` says which height it has stored."""
        self.claims[peer] = status.stored

    def tick(self, stored: int, quiet_ticks: int) -> None:
        """Ask for blocks if this replica stands still below what a peer claims."""
        if self._asked is not None:
            self._asked_ticks += 1
            if self._asked_ticks < REPLY_TICKS:
                return
            self.claims[self._asked] = 0  # until it says so again
            self._asked = None
        if quiet_ticks >= self._settings.behind_ticks and not self.blocks:
            self._ask(stored)

    def on_stored(self, stored: int) -> None:
        """A block was stored. One that was fetched means that more may have to be."""
        was_fetched = self.blocks.pop(stored, None) is not None
        for height in [height for height in self.blocks if height <= stored]:
            del self.blocks[height]
        if was_fetched and self._asked is None and len(self.blocks) < MAX_REPLY_BLOCKS // 2:
            self._ask(stored + len(self.blocks))

    def _ask(self, have: int) -> None:
        """The next peer in turn that claims a height above ``have``."""
        if have >= self.end:
            return
        n = self._settings.n
        for step in range(1, n + 1):
            peer = (self._last_peer + step) % n
            if peer != self._settings.me and self.claims[peer] > have:
                self._asked, self._asked_ticks, self._last_peer = peer, 0, peer
                self._desk.send(peer, BlockRequest(have + 1))
                return

    def on_blocks(self, peer: int, reply: BlockReply, stored: int) -> None:
        """Check and keep the blocks that follow what is here; the first bad one, and all after it, is dropped.

        Raises PeerError: "not-asked", or what is wrong with a block (the good ones before it are kept).
        """
        if peer != self._asked:
            raise PeerError("not-asked", f"blocks of member {peer}, which was not asked or answers too late")
        self._asked = None
        try:
            for encoded in reply.blocks[:MAX_REPLY_BLOCKS]:
                block = _decode(encoded)
                height = block.header.height
                if block.header.epoch > self._settings.epoch:
                    break  # the end of this epoch is among the blocks before, and not executed yet
                if height == stored + len(self.blocks) + 1 and len(self.blocks) < MAX_INCOMING_BLOCKS:
                    self._check(block)
                    self.blocks[height] = block
        except (PeerError, CodecError) as error:
            self.claims[peer] = 0
            raise PeerError("bad-block", error.message) from error

    def _check(self, block: CertifiedBlock) -> None:
        header, certificate = block.header, block.certificate
        if (header.chain, header.epoch) != (self._settings.chain, self._settings.epoch):
            raise PeerError("wrong-chain", f"block {header.height} is of another chain or epoch")
        if (certificate.height, certificate.block_hash) != (header.height, block.block_hash):
            raise PeerError("bad-block", f"the certificate with block {header.height} is for another block")
        fault = stable_fault(certificate, self._desk)
        if fault is not None:
            raise PeerError("bad-block", f"certificate of block {header.height}: {fault}")
        digest = NULL_DIGEST if block.decoded is None else block.decoded.digest
        if digest != header.batch_digest:
            raise PeerError("bad-block", f"the body with block {header.height} is another one")


def _decode(encoded: tuple[bytes, bytes, bytes]) -> CertifiedBlock:
    header = decode_header(encoded[0])
    decoded = None if encoded[1] == NULL_BATCH else decode_batch(encoded[1])
    return CertifiedBlock(header, header.hash, encoded[1], decoded, decode_certificate(encoded[2]))
