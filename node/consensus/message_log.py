"""What a replica remembers about heights above its newest stored block. Data, with no rules of the protocol in it.

    slots         per height, in the current view: the proposal, the votes for it, the own votes
    prepared      per height, over all views: the prepared certificate of the highest view (a ViewChange carries them)
    certificates  per height: a commit certificate whose block is not stored yet
    bodies        per digest: the batches themselves
    EarlyMessages what came too early to be judged

Everything is dropped at and below the stored height, and nothing is kept far above it.
"""

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum

from node.consensus.messages import Proposal, Signed
from node.consensus.records import LogContents, body_record, certificate_record
from node.consensus.settings import EARLY_BYTES_PER_PEER, EARLY_MESSAGES_PER_PEER, MAX_BODIES
from node.consensus.statements import Commit, PreparedCertificate
from node.errors import CodecError, PeerError
from node.model.block import NULL_BATCH, NULL_DIGEST, DecodedBatch, decode_batch
from node.model.certificate import Certificate


class Judgement(Enum):
    """What the node said about a batch; what it refused is asked again in another view."""

    NONE = "none"
    ASKED = "asked"
    VALID = "valid"
    REFUSED = "refused"


class Body:
    """A batch: bytes that have the digest they are filed under.

    ``height``: the highest at which it was proposed; ``is_logged``: on disk, because this replica voted for it.
    ``judgement``: of its bytes alone, all that counts for a batch that a NewView carries over; ``as_new``: as a
    proposal first made in the present view, whose time and proposer count, too. What an earlier primary was allowed to
    propose a later one may not: so replicas that had the batch judge like those that had not.
    """

    __slots__ = ("as_new", "decoded", "height", "is_logged", "judgement", "raw")

    def __init__(self, raw: bytes, decoded: DecodedBatch | None, height: int, judgement: Judgement) -> None:
        self.raw = raw
        self.decoded = decoded
        self.height = height
        self.judgement = judgement
        self.as_new = Judgement.NONE
        self.is_logged = False


class Slot:
    """One height in the current view. Votes are filed by sender, one each, with what they are for."""

    __slots__ = ("commits", "digest", "height", "own_commit", "own_prepare", "pre_prepare", "prepared", "prepares")

    def __init__(self, height: int) -> None:
        self.height = height
        self.pre_prepare: Signed | None = None
        self.digest: bytes | None = None
        self.prepares: dict[int, tuple[bytes, Signed]] = {}
        self.commits: dict[int, tuple[bytes, Signed]] = {}
        self.own_prepare: Signed | None = None
        self.own_commit: Signed | None = None
        self.prepared: PreparedCertificate | None = None


_NULL_BODY = Body(NULL_BATCH, None, 0, Judgement.VALID)
_NULL_BODY.is_logged = True


class MessageLog:
    """See the head of this module."""

    def __init__(self) -> None:
        self.slots: dict[int, Slot] = {}
        self.prepared: dict[int, PreparedCertificate] = {}
        self.certificates: dict[int, Certificate] = {}
        self._bodies: dict[bytes, Body] = {}
        self._left: list[dict[int, tuple[bytes, Signed]]] = []

    def slot(self, height: int) -> Slot:
        """The slot at ``height``, made if there was none."""
        slot = self.slots.get(height)
        if slot is None:
            slot = self.slots[height] = Slot(height)
        return slot

    def body(self, digest: bytes) -> Body | None:
        """The batch with this digest; a null batch is always there."""
        if digest == NULL_DIGEST:
            return _NULL_BODY
        return self._bodies.get(digest)

    def add_body(self, digest: bytes, body: Body) -> None:
        """File a batch, or one that was just voted for again. Beyond MAX_BODIES the oldest that nothing current refers
        to goes: docs/consensus.md says why it cannot be wanted."""
        self._bodies.pop(digest, None)
        self._bodies[digest] = body
        if len(self._bodies) > MAX_BODIES:
            needed = self._digests_in_use()
            needed.add(digest)
            for old in self._bodies:
                if old not in needed:
                    del self._bodies[old]
                    break

    def proposed(self) -> list[tuple[bytes, DecodedBatch | None]]:
        """Of each proposal of this view whose block is not stored: its batch's digest, and the batch if it is here.
        Null batches are left out."""
        found: list[tuple[bytes, DecodedBatch | None]] = []
        for slot in self.slots.values():
            if slot.digest is None or slot.digest == NULL_DIGEST:
                continue
            body = self._bodies.get(slot.digest)
            if body is not None:
                body.decoded = body.decoded or read_batch(body.raw)
            found.append((slot.digest, None if body is None else body.decoded))
        return found

    @property
    def count(self) -> int:
        """How many heights and batches are held."""
        return len(self.slots) + len(self._bodies)

    def records(self) -> list[bytes]:
        """What the vote log must hold of it: the batches that this replica voted for, and what was prepared."""
        logged = [(body.height, digest, body.raw) for digest, body in self._bodies.items() if body.is_logged]
        certificates = [self.prepared[height] for height in sorted(self.prepared)]
        return [body_record(*item) for item in sorted(logged)] + [certificate_record(item) for item in certificates]

    def restore(self, memory: LogContents, stored: int) -> None:
        """Take up what the vote log holds above the stored height.

        A batch is logged once, with the height that it was voted for first; a lying primary may have proposed it at
        others, too.
        """
        claimed = () if memory.view_change is None else memory.view_change[1].prepared
        certificates = [item for item in (*memory.certificates, *claimed) if item.height > stored]
        highest = {digest: height for height, digest, _ in sorted(memory.bodies)}
        votes = [vote.statement for vote in memory.votes if not isinstance(vote.statement, Commit)]
        for item in (*votes, *certificates):
            highest[item.digest] = max(highest.get(item.digest, 0), item.height)
        for _, digest, raw in memory.bodies:
            if highest[digest] > stored:
                body = Body(raw, None, highest[digest], Judgement.VALID)
                body.is_logged = True
                self.add_body(digest, body)
        for certificate in certificates:
            if self.body(certificate.digest) is not None:
                self.note_prepared(certificate)

    def commits_of(self, member: int) -> list[Signed]:
        """The commit votes of ``member``: those of this view, and those of the view with votes that was left last."""
        here = [slot.commits for slot in self.slots.values()]
        return [commits[member][1] for commits in (*here, *self._left) if member in commits]

    @property
    def showable(self) -> tuple[PreparedCertificate, ...]:
        """What a ViewChange shows, by height."""
        return tuple(self.prepared[height] for height in sorted(self.prepared))

    def note_prepared(self, certificate: PreparedCertificate) -> None:
        """Keep it unless one of a higher view is there. Only for a batch that is here: what is not here was not voted
        to commit, so nothing rests on it; shown, it may bring back what nobody has; and it must not hide a
        certificate that a vote of this replica rests on."""
        known = self.prepared.get(certificate.height)
        if known is None or known.view < certificate.view:
            self.prepared[certificate.height] = certificate

    def leave_view(self) -> None:
        """The votes of a view mean nothing after it; what it prepared, and what this replica voted for, stays."""
        if self.slots:
            self._left = [slot.commits for slot in self.slots.values() if slot.commits]
        self.slots.clear()
        needed = self._digests_in_use()
        self._bodies = {digest: body for digest, body in self._bodies.items() if body.is_logged or digest in needed}
        for body in self._bodies.values():
            body.as_new = Judgement.NONE
            if body.judgement is not Judgement.VALID:
                body.judgement = Judgement.NONE

    def forget_through(self, height: int) -> None:
        """``height`` is stored: nothing at or below it is needed any more."""
        self.slots = {h: slot for h, slot in self.slots.items() if h > height}
        self.prepared = {h: item for h, item in self.prepared.items() if h > height}
        self.certificates = {h: item for h, item in self.certificates.items() if h > height}
        self._bodies = {digest: body for digest, body in self._bodies.items() if body.height > height}

    def _digests_in_use(self) -> set[bytes]:
        used = {slot.digest for slot in self.slots.values() if slot.digest is not None}
        used.update(certificate.digest for certificate in self.prepared.values())
        return used


@dataclass(frozen=True, slots=True)
class Early:
    """A vote or proposal of ``peer`` for (view, height) that cannot be judged yet."""

    peer: int
    view: int
    height: int
    message: Signed | Proposal


class EarlyMessages:
    """Bounded, per peer: votes and proposals of a coming view, or just above the high mark; the oldest gives way."""

    def __init__(self, n: int) -> None:
        self._queues: list[deque[Early]] = [deque() for _ in range(n)]
        self._body_bytes = [0] * n

    def add(self, early: Early) -> None:
        """Keep it; of a proposal too large to keep, the pre-prepare alone."""
        message, peer = early.message, early.peer
        if isinstance(message, Proposal):
            if self._body_bytes[peer] + len(message.batch) > EARLY_BYTES_PER_PEER:
                early = replace(early, message=message.pre_prepare)
            else:
                self._body_bytes[peer] += len(message.batch)
        queue = self._queues[peer]
        queue.append(early)
        if len(queue) > EARLY_MESSAGES_PER_PEER:
            self._taken(queue.popleft())

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues)

    def of(self, peer: int) -> list[Signed | Proposal]:
        """What is kept of a peer's own messages."""
        return [item.message for item in self._queues[peer]]

    def take(self, view: int, high_mark: int) -> list[Early]:
        """Those that can be judged now in ``view``: by peer, each peer's in the order of their coming."""
        ready: list[Early] = []
        for peer, queue in enumerate(self._queues):
            if not queue:
                continue
            self._queues[peer] = deque(item for item in queue if item.view > view or item.height > high_mark)
            ready.extend(item for item in queue if item.view <= view and item.height <= high_mark)
        for item in ready:
            self._taken(item)
        return ready

    def _taken(self, item: Early) -> None:
        if isinstance(item.message, Proposal):
            self._body_bytes[item.peer] -= len(item.message.batch)


def read_batch(raw: bytes) -> DecodedBatch:
    """The batch in ``raw``. Raises PeerError("bad-batch")."""
    try:
        return decode_batch(raw)
    except CodecError as error:
        raise PeerError("bad-batch", error.message) from error
