"""What replicas say to one another, and what the core says to the node around it.

Every statement that counts as a vote travels as ``Signed``: opaque canonical bytes, the signature over
them, and the index of the member that made it. The bytes carry a tag, the chain, the epoch and the kind, so no
vote can be moved to another chain, epoch or phase. Bodies (batches, blocks) travel beside, unsigned: a
digest or a certificate binds them.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from node.errors import PeerError
from node.model.block import DecodedBatch
from node.model.certificate import Certificate

MAX_REPLY_BLOCKS = 64
MAX_REPLY_BYTES = 4 * 1024 * 1024
"""A BlockReply or BatchReply ends with the item that passes one of these; it always holds at least one item."""

MAX_BATCHES_ASKED = 16


class Signed(msgspec.Struct, frozen=True, array_like=True):
    """A statement of member ``sender``: prepare, commit, suspect, view change, new view, pre-prepare.

    ``data`` is ``TAG_VOTE || canonical bytes`` of one of the statements in ``node/consensus/statements.py``.
    """

    sender: int
    data: bytes
    signature: bytes


class Proposal(msgspec.Struct, frozen=True, array_like=True):
    """The primary's signed pre-prepare together with the encoded batch that it names.

    A pre-prepare may also travel alone, as ``Signed``: when it is sent again, and inside a new view. Who lacks the
    body then asks for it by its digest.
    """

    pre_prepare: Signed
    batch: bytes


class Status(msgspec.Struct, frozen=True, array_like=True):
    """Unsigned gossip: where the sender stands. Believed only as a reason to ask, never as a fact.

    ``stored``: its newest stored height; ``view``: the view that it works in or waits for.
    """

    epoch: int
    view: int
    stored: int


class BatchRequest(msgspec.Struct, frozen=True, array_like=True):
    """Asks for the bodies of batches by digest, at heights still in the window."""

    digests: tuple[bytes, ...]


class BatchReply(msgspec.Struct, frozen=True, array_like=True):
    """The bodies that the sender has; each is checked against its digest by the receiver."""

    batches: tuple[bytes, ...]


class BlockRequest(msgspec.Struct, frozen=True, array_like=True):
    """Asks for stored blocks from height ``first`` on, as many as fit a reply."""

    first: int


class BlockReply(msgspec.Struct, frozen=True, array_like=True):
    """Consecutive blocks, each (encoded header, body, encoded certificate), lowest first."""

    blocks: tuple[tuple[bytes, bytes, bytes], ...]


class Recall(msgspec.Struct, frozen=True, array_like=True):
    """A replica has started, and asks what others hold of its own statements (see recall.py).

    ``start``: differs at each start, and comes back in the answers; ``view`` and ``stored``: where it stands.
    """

    epoch: int
    start: int
    view: int
    stored: int


class Recollection(msgspec.Struct, frozen=True, array_like=True):
    """The answer. ``certificate``: of the answerer's newest stored block, encoded; empty at the epoch's base.

    ``statements``: what it holds that the asker has signed; before them, if its view is higher than the asker's, the
    NewView that proves that view.
    """

    epoch: int
    start: int
    certificate: bytes
    statements: tuple[Signed, ...]


class Forward(msgspec.Struct, frozen=True, array_like=True):
    """Raw transactions from a gateway's mempool to a primary, or to everyone when it is slow.

    The consensus core never sees this one: the driver hands it to the mempool.
    """

    transactions: tuple[bytes, ...]


Message: TypeAlias = (
    Signed | Proposal | Status | BatchRequest | BatchReply | BlockRequest | BlockReply | Recall | Recollection | Forward
)

EVERYONE = -1


@dataclass(frozen=True, slots=True)
class Send:
    """``to``: a member's index, or EVERYONE (all other members)."""

    to: int
    message: Message


@dataclass(frozen=True, slots=True)
class Validate:
    """Check a batch by its own bytes: its transactions' signatures and chain, its time's range; if ``fresh``, its time
    against the clock. Answer with ``Replica.validated(digest, ok)``, at once or later.

    The core has decoded it already (``decoded``), and has checked that the bytes have this digest, that chain and
    epoch are right and, if ``fresh``, that the proposer is the primary. Never asked for a null batch.
    """

    digest: bytes
    batch: bytes
    fresh: bool
    decoded: DecodedBatch


@dataclass(frozen=True, slots=True)
class Execute:
    """Run the batch on the state after ``height - 1`` and answer with ``Replica.executed(...)``.

    At most one is outstanding that matters; a later one replaces it. ``trusted`` means that this replica never
    validated the batch itself and need not: a quorum's certificate covers it (catch-up), so transaction signatures need
    no check. If it is False, ``Validate`` was answered with True, or the batch is this replica's own. ``decoded`` is
    the batch if the core has it decoded: None for a null batch, one's own proposal or one read from the log.
    """

    height: int
    batch_digest: bytes
    batch: bytes
    parent_hash: bytes
    trusted: bool
    decoded: DecodedBatch | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """Store the block that was executed at ``height``, with its certificate, in one synchronous write, then
    answer with ``Replica.stored(height)``."""

    height: int
    block_hash: bytes
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Supply:
    """Read stored blocks from height ``first`` and send them to ``peer`` in a ``BlockReply``, at most
    MAX_REPLY_BLOCKS of them and MAX_REPLY_BYTES (but at least one)."""

    peer: int
    first: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What ``member`` signed and no correct member signs. Anyone with the members' keys can check it; keep it, name the
    member. ``kind`` is one of ``lies.py``; ``statements`` are all by the member, all genuine:

        two-votes, omitted-prepared                         two, in the order of their coming
        false-new-view, false-view-change                   one
        false-proposal                                      the pre-prepare; ``attachment``: the batch
        wrong-block                                         the commit; ``attachment``: the block's encoded certificate
    """

    member: int
    kind: str
    statements: tuple[Signed, ...]
    attachment: bytes = b""


@dataclass(slots=True)
class Ready:
    """What the core wants done, in this order: ``persist`` (append all, one fdatasync) strictly before ``send``;
    then the rest. ``persist`` holds opaque records of the vote log."""

    persist: list[bytes] = field(default_factory=list)
    send: list[Send] = field(default_factory=list)
    validate: list[Validate] = field(default_factory=list)
    execute: list[Execute] = field(default_factory=list)
    commit: list[Commit] = field(default_factory=list)
    supply: list[Supply] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    forgotten: list[Signed] = field(default_factory=list)
    """Own genuine statements that this replica does not remember: its disk was restored or wiped, or another process
    has its key. It is passive because of them; tell the operator."""
    dropped: list[tuple[int, PeerError]] = field(default_factory=list)
    """Messages that came too early, were kept, and turned out to be bad: (peer, why). For the log."""
    log_cut: int | None = None
    """If set: records of heights up to this one are no longer needed; the vote log may be rewritten from
    ``Replica.log_snapshot()``. Only ever a height that is stored; said again with each view, since ViewChanges and
    NewViews of views that bring no block would fill the log for ever."""

    def __bool__(self) -> bool:
        return (
            bool(self.persist or self.send or self.validate or self.execute or self.commit)
            or bool(self.supply or self.evidence or self.forgotten or self.dropped)
            or self.log_cut is not None
        )
