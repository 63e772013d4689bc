"""Batches by digest: asked for where a proposal names one that is not here, and given to who asks.

A proposal travels with its batch once; a pre-prepare that is sent again, and a NewView, name it by digest alone.
Whoever voted for a batch has it on disk until the height is stored, so somebody correct always has what a quorum
prepared.
"""

from node.consensus.desk import Desk
from node.consensus.message_log import Body, Judgement, MessageLog, read_batch
from node.consensus.messages import MAX_BATCHES_ASKED, MAX_REPLY_BYTES, BatchReply, BatchRequest
from node.consensus.ordering import Ordering
from node.errors import PeerError
from node.model.block import NULL_DIGEST

_MOST_ASKED = 4 * MAX_BATCHES_ASKED
"""Digests remembered for each member: answers may come late."""
_MOST_UNANSWERED = 4


class Bodies:
    """Fills the gaps of the message log, for ``ordering`` to go on."""

    def __init__(self, desk: Desk, log: MessageLog, ordering: Ordering) -> None:
        self._desk = desk
        self._settings = desk.settings
        self._log = log
        self._ordering = ordering
        self._asks = 0
        self._asked: dict[int, tuple[bytes, ...]] = {}
        """What each member was asked for, the newest last."""
        self._unanswered = [0] * desk.settings.n

    def ask(self) -> None:
        """Ask one member, another each time, for the batches that proposals name and that are not here."""
        missing: list[bytes] = []
        holders: list[int] = []
        for height in sorted(self._log.slots):
            slot = self._log.slots[height]
            if slot.digest is not None and slot.digest not in missing and self._log.body(slot.digest) is None:
                missing.append(slot.digest)
                holders.extend(m for m, (digest, _) in slot.prepares.items() if digest == slot.digest)
        if not missing:
            return
        others = [member for member in range(self._settings.n) if member != self._settings.me]
        likely = sorted(set(holders)) or others  # whoever prepared a batch has it on disk
        self._asks += 1
        everyone_in_turn = likely if self._asks % 2 else others
        peer = everyone_in_turn[self._asks // 2 % len(everyone_in_turn)]
        wanted = tuple(missing[:MAX_BATCHES_ASKED])
        known = dict.fromkeys((*self._asked.get(peer, ()), *wanted))
        self._asked[peer] = tuple(known)[-_MOST_ASKED:]
        self._unanswered[peer] = min(self._unanswered[peer] + 1, _MOST_UNANSWERED)
        self._desk.send(peer, BatchRequest(wanted))

    def on_request(self, peer: int, request: BatchRequest) -> None:
        """Send what is here of the batches asked for, as many as fit."""
        found: list[bytes] = []
        size = 0
        for digest in request.digests[:MAX_BATCHES_ASKED]:
            body = self._log.body(digest)
            if body is not None and digest != NULL_DIGEST and size < MAX_REPLY_BYTES:
                found.append(body.raw)
                size += len(body.raw)
        if found:
            self._desk.send(peer, BatchReply(tuple(found)))

    def on_reply(self, peer: int, reply: BatchReply) -> None:
        """File the batches that a proposal here waits for.

        Only of who was asked, once for each question, and up to the first batch that was not asked for: to decode one
        takes longer than to make it. Raises PeerError("wrong-body") for that one.
        """
        if not self._unanswered[peer]:
            return
        self._unanswered[peer] -= 1
        for raw in reply.batches[:MAX_BATCHES_ASKED]:
            if all(slot.digest is None or self._log.body(slot.digest) for slot in self._log.slots.values()):
                return  # not asked for, or not any more: not worth decoding
            decoded = read_batch(raw)
            if decoded.digest not in self._asked[peer]:
                raise PeerError("wrong-body", "a batch that nobody asked for")
            slots = [slot for slot in self._log.slots.values() if slot.digest == decoded.digest]
            if slots and self._log.body(decoded.digest) is None:
                self._log.add_body(decoded.digest, Body(raw, decoded, slots[0].height, Judgement.NONE))
            for slot in slots:
                self._ordering.judge(slot)
