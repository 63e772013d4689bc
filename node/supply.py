"""Stored blocks for those who lag behind: members by way of the core's ``Supply``, and guests, who are no members.

A guest has a link but no seat: somebody who was a member until the last epoch and may lack its last blocks, or will
be one in the next and follows already. It is given blocks and told how far there are any, and nothing that it says
counts.
"""

from node.consensus.messages import MAX_REPLY_BLOCKS, MAX_REPLY_BYTES, BlockReply
from node.consensus.settings import ANSWERS_PER_TICK
from node.ledger.chain import Ledger
from node.limits import SUPPLY_BYTES_BURST, SUPPLY_BYTES_PER_SECOND, TICKS_PER_SECOND
from node.model.block import encode_header
from node.model.certificate import encode_certificate


def block_reply(ledger: Ledger, first: int) -> BlockReply | None:
    """The stored blocks from height ``first`` on, as many as fit; None if there is none. It ends before one of which
    something was erased, which nobody could execute: who needs it joins anew, by a snapshot."""
    blocks: list[tuple[bytes, bytes, bytes]] = []
    size = 0
    for height in range(first, first + MAX_REPLY_BLOCKS):
        block, certificate = ledger.block(height), ledger.certificate(height)
        if block is None or certificate is None or size >= MAX_REPLY_BYTES or not ledger.is_whole(height):
            break
        entry = (encode_header(block.header), block.body, encode_certificate(certificate))
        size += sum(len(part) for part in entry)
        blocks.append(entry)
    return BlockReply(tuple(blocks)) if blocks else None


class Supplier:
    """Gives blocks out, so many bytes a second to each: to read and send megabytes costs far more than to ask for them,
    and a peer that catches up executes fewer. Guests are answered ANSWERS_PER_TICK times a tick at most, as members
    are by the core."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._asked: dict[str, int] = {}
        self._given: dict[str, int] = {}
        """Bytes given, less what time has made up for; whoever has none is left out."""

    def tick(self) -> None:
        """One tick has passed."""
        self._asked.clear()
        share = SUPPLY_BYTES_PER_SECOND // TICKS_PER_SECOND
        self._given = {peer: size - share for peer, size in self._given.items() if size > share}

    def for_member(self, peer: str, first: int) -> BlockReply | None:
        """The blocks from height ``first`` on for ``peer``; None if there are none, or it has had enough for now."""
        if self._given.get(peer, 0) >= SUPPLY_BYTES_BURST:
            return None
        reply = block_reply(self._ledger, first)
        if reply is not None:
            size = sum(len(part) for block in reply.blocks for part in block)
            self._given[peer] = self._given.get(peer, 0) + size
        return reply

    def for_guest(self, guest: str, first: int) -> BlockReply | None:
        """The same for one who is no member; counts the request."""
        self._asked[guest] = asked = self._asked.get(guest, 0) + 1
        return self.for_member(guest, first) if asked <= ANSWERS_PER_TICK else None
