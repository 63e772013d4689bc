"""The records of the vote log: what they hold, and what a restarted replica reads out of them.

    body         a batch that a vote of this replica rests on
    vote         an own pre-prepare, prepare or commit; with a prepare, the primary's signature on the proposal
    certificate  the prepared certificate that a commit vote rests on
    view-change  the own ViewChange: this replica has left every lower view
    new-view     the NewView by which it entered a view, its own or another's
    lost         earlier votes may be missing from this log: nothing may be voted for until a barrier is known
    barrier      the height up to which votes may be missing (0: none are, after all)

A record is canonical MessagePack; framing and checksums are the vote log's. Records are this node's own words, so
signatures in them are not checked again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from node.consensus.desk import Desk
from node.consensus.messages import Signed
from node.consensus.settings import WINDOW, Memory
from node.consensus.statements import (
    Commit,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    ViewChange,
    prepared_from_value,
    prepared_to_value,
)
from node.errors import CodecError, PeerError, StoreFault
from node.model.codec import Value, decode_trusted, encode


def body_record(height: int, digest: bytes, raw: bytes) -> bytes:
    """A batch proposed at ``height``."""
    return encode(("body", height, digest, raw))


def vote_record(vote: Signed, primary_signature: bytes = b"") -> bytes:
    """An own PrePrepare, Prepare or Commit; ``primary_signature`` goes with a Prepare."""
    return encode(("vote", vote.data, vote.signature, primary_signature))


def certificate_record(certificate: PreparedCertificate) -> bytes:
    """What a commit vote rests on."""
    return encode(("certificate", prepared_to_value(certificate)))


def view_change_record(signed: Signed) -> bytes:
    """The own ViewChange."""
    return encode(("view-change", signed.data, signed.signature))


def new_view_record(signed: Signed) -> bytes:
    """The NewView that is entered."""
    return encode(("new-view", signed.sender, signed.data, signed.signature))


def lost_record() -> bytes:
    """Earlier votes may be missing."""
    return encode(("lost",))


def barrier_record(height: int) -> bytes:
    """They are at most at this height."""
    return encode(("barrier", height))


def first_records(memory: Memory) -> list[bytes]:
    """What a new vote log must hold from its first moment on."""
    return [lost_record()] if memory is Memory.LOST else []


@dataclass(slots=True)
class LoggedVote:
    """An own vote as it was sent, and the primary's signature that a Prepare came with."""

    signed: Signed
    statement: PrePrepare | Prepare | Commit
    primary_signature: bytes


@dataclass(slots=True)
class LogContents:
    """What the log says. ``view_change`` and ``new_view`` are the newest; the view is the higher of theirs, and is
    active unless the view change is the newer one."""

    bodies: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    votes: list[LoggedVote] = field(default_factory=list)
    certificates: list[PreparedCertificate] = field(default_factory=list)
    view_change: tuple[Signed, ViewChange] | None = None
    new_view: tuple[Signed, NewView] | None = None
    is_lost: bool = False
    barrier: int = 0

    @property
    def view(self) -> int:
        """The highest view that was entered or waited for."""
        left = 0 if self.view_change is None else self.view_change[1].view
        entered = 0 if self.new_view is None else self.new_view[1].view
        return max(left, entered)

    @property
    def is_active(self) -> bool:
        """Whether that view was entered."""
        if self.view_change is None:
            return True
        return self.new_view is not None and self.new_view[1].view >= self.view_change[1].view

    @property
    def stored(self) -> int:
        """A height that this replica had stored when it signed what is logged: a commit vote is for the height after
        the newest block, any other vote for one in the window, and a ViewChange names its block."""
        shown = [vote.statement.height - (1 if isinstance(vote.statement, Commit) else WINDOW) for vote in self.votes]
        if self.view_change is not None:
            shown.append(self.view_change[1].stable_height(0))
        return max(shown, default=0)


def read_records(records: Sequence[bytes], desk: Desk) -> LogContents:
    """Raises StoreFault("vote-log-corrupt") for a record that this program cannot have written on this chain."""
    contents = LogContents()
    for number, record in enumerate(records):
        try:
            _read(record, contents, desk)
        except (CodecError, PeerError, TypeError, ValueError) as error:
            raise StoreFault("vote-log-corrupt", f"record {number} of the vote log: {error}") from error
    return contents


def _read(record: bytes, into: LogContents, desk: Desk) -> None:
    me = desk.settings.me
    value: Value = decode_trusted(record)
    match value:
        case ("body", int(height), bytes(digest), bytes(raw)):
            into.bodies.append((height, digest, raw))
        case ("vote", bytes(data), bytes(signature), bytes(primary_signature)):
            signed = Signed(me, data, signature)
            statement = desk.read(signed)
            if not isinstance(statement, PrePrepare | Prepare | Commit):
                raise ValueError("not a vote")
            into.votes.append(LoggedVote(signed, statement, primary_signature))
        case ("certificate", prepared):
            into.certificates.append(prepared_from_value(prepared))
        case ("view-change", bytes(data), bytes(signature)):
            signed = Signed(me, data, signature)
            statement = desk.read(signed)
            if not isinstance(statement, ViewChange):
                raise ValueError("not a view change")
            into.view_change = (signed, statement)
        case ("new-view", int(sender), bytes(data), bytes(signature)):
            signed = Signed(sender, data, signature)
            statement = desk.read(signed)
            if not isinstance(statement, NewView):
                raise ValueError("not a new view")
            into.new_view = (signed, statement)
        case ("lost",):
            into.is_lost = True
        case ("barrier", int(height)):
            into.is_lost, into.barrier = False, height
        case _:
            raise ValueError("of unknown kind")
