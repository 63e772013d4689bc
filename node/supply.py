"""Stored blocks for those who lag behind: members by way of the core's ``Supply``, and guests, who are no members.

A guest has a link but no seat: somebody who was a member until the last epoch and may lack its last blocks, or will
be one in the next and follows already. It is given blocks and told how far there are any, and nothing that it says
counts.
"""

from node.consensus.messages import MAX_REPLY_BLOCKS, MAX_REPLY_BYTES, BlockReply
from node.consensus.settings import ANSWERS_PER_TICK
from node.ledger.chain import Ledger
from node.model.block import encode_header
from node.model.certificate import encode_certificate


def block_reply(ledger: Ledger, first: int) -> BlockReply | None:
    """The stored blocks from height ``first`` on, as many as fit; None if there is none."""
    blocks: list[tuple[bytes, bytes, bytes]] = []
    size = 0
    for height in range(first, first + MAX_REPLY_BLOCKS):
        block, certificate = ledger.block(height), ledger.certificate(height)
        if block is None or certificate is None or size >= MAX_REPLY_BYTES:
            break
        entry = (encode_header(block.header), block.body, encode_certificate(certificate))
        size += sum(len(part) for part in entry)
        blocks.append(entry)
    return BlockReply(tuple(blocks)) if blocks else None


class Guests:
    """Rations the answers to guests: ANSWERS_PER_TICK for each, as the core rations those to members."""

    def __init__(self) -> None:
        self._answered: dict[str, int] = {}

    def tick(self) -> None:
        """One tick has passed."""
        self._answered.clear()

    def may_ask(self, guest: str) -> bool:
        """Whether this request of ``guest`` is to be answered; counts it."""
        self._answered[guest] = asked = self._answered.get(guest, 0) + 1
        return asked <= ANSWERS_PER_TICK
