"""Whether this replica may vote: what it must hear before it does, and what becomes of votes that it has forgotten.

A replica may have voted for more than its disk says: the disk was wiped, an old copy of it was restored, or it rotted,
or another process has the same key. Before it votes, the others tell it what they hold of it:

    start      Recall to everyone, again and again to those who have not answered; no vote until quorum - 1 others have
    answer     Recollection: the certificate of the answerer's newest stored block, and what it holds of the asker's own
               statements. Only what is proven counts: the certificate by a quorum's signatures, the statements by the
               asker's own. So no liar can make anyone passive, and who is merely behind is not.
    forgotten  if the log is known to be lost, or an own statement shows that it does not hold: votes above the
               *barrier* only, that is when the block there is stored. The barrier is the highest proven height
               + WINDOW + 1; why that is enough is shown in docs/consensus.md

An own statement that nobody here remembers may turn up at any time, in a certificate or a NewView: whenever a signature
by the own key is found good (``Desk.watch_own``). Then everything begins again as after a start.

Everything else goes on in a passive replica: it follows views, counts votes, executes, stores and answers. What it
has voted for and still knows it may send again.
"""

from dataclasses import dataclass, field

from node.consensus.desk import Desk
from node.consensus.message_log import EarlyMessages, MessageLog
from node.consensus.messages import Proposal, Recall, Recollection, Signed
from node.consensus.ordering import Ordering
from node.consensus.records import LogContents, barrier_record, lost_record
from node.consensus.settings import MAX_RECOLLECTED, RECALL_TICKS, WINDOW, Memory
from node.consensus.statements import Commit, NewView, Prepare, PrePrepare, ViewChange
from node.consensus.view_change import stable_fault
from node.consensus.views import Views
from node.errors import CodecError, PeerError
from node.model.certificate import Certificate, decode_certificate, encode_certificate

RECALLING = "recalling"
MEMORY_LOST = "memory-lost"
VOTE_FORGOTTEN = "vote-forgotten"
OBSERVER = "observer"


@dataclass(slots=True)
class _Known:
    """What this replica remembered when it became passive: since then it has cast no vote."""

    stored: int
    view: int
    is_active: bool
    view_change: Signed | None
    new_view: Signed | None
    votes: dict[tuple[type, int], bytes] = field(default_factory=dict)


class Passivity:
    """See the head of this module. ``barrier``: the height up to which votes may have been forgotten; 0 for none;
    ``is_asking``: answers are still waited for, since tick ``asked_at``."""

    def __init__(
        self, desk: Desk, log: MessageLog, early: EarlyMessages, ordering: Ordering, views: Views, start: int
    ) -> None:
        self._desk = desk
        self._settings = desk.settings
        self._log = log
        self._early = early
        self._ordering = ordering
        self._views = views
        self._start = start
        self.is_asking = False
        self.asked_at = 0
        self._now = 0
        self._is_lost = False
        self._reason = MEMORY_LOST
        self._memory = Memory.KEPT
        self.barrier = 0
        self._answers: dict[int, int] = {}
        self._known: _Known | None = None
        self._view_change: tuple[Signed, ViewChange] | None = None
        self._found: list[Signed] = []

    def begin(self, memory: Memory, logged: LogContents) -> None:
        """The replica has taken up its log: may it vote?"""
        self._memory = memory
        self.barrier = logged.barrier
        # A store that lacks blocks that were there lacks their certificates too: a ViewChange would deny them.
        self._is_lost = logged.is_lost or memory is Memory.LOST or logged.stored > self._ordering.stored
        if self._is_lost and not logged.is_lost:
            self._desk.persist(lost_record())
        if self._settings.is_observer:
            self._ordering.may_vote = False
            return
        self._desk.watch_own(self._examine)
        if memory is not Memory.CONTINUED:
            self._ask()

    @property
    def because(self) -> str | None:
        """Why this replica does not vote, or None if it does."""
        if self._settings.is_observer:
            return OBSERVER
        if self.is_asking:
            return RECALLING
        return self._reason if self._ordering.stored < self.barrier else None

    @property
    def memory(self) -> Memory:
        """What the replica of the next epoch knows of its votes, if this one ends now."""
        if self._is_lost or self._ordering.stored < self.barrier:
            return Memory.LOST
        if self._settings.is_observer:
            return self._memory  # it may have been a member of the next epoch before it lost its disk
        return Memory.KEPT if self.is_asking else Memory.CONTINUED

    @property
    def answered(self) -> tuple[int, ...]:
        """Who has answered, by index."""
        return tuple(sorted(self._answers))

    def records(self) -> list[bytes]:
        """What the vote log must hold of this."""
        if self._is_lost:
            return [lost_record()]
        # "lost" is what the next epoch keeps of this log, if the process dies before it has begun it.
        return [lost_record(), barrier_record(self.barrier)] if self._ordering.stored < self.barrier else []

    # Asking.

    def _ask(self) -> None:
        """Become passive, and ask everybody."""
        self.is_asking = True
        self._ordering.may_vote = False
        self.asked_at = self._now
        self._answers = {}
        self._view_change = None
        ordering, views = self._ordering, self._views
        self._known = _Known(
            ordering.stored,
            ordering.view,
            ordering.is_active,
            views.view_change,
            views.new_view,
            {key: vote.data for slot in self._log.slots.values() for key, vote in ordering.own_votes(slot).items()},
        )
        self._desk.broadcast(self._question())
        self.settle()

    def _question(self) -> Recall:
        return Recall(self._settings.epoch, self._start, self._ordering.view, self._ordering.stored)

    def tick(self, now: int) -> None:
        """Ask those again who have not answered; if votes are forgotten, the last of them, too."""
        self._now = now
        if self._settings.is_observer:
            return
        if self.is_asking:
            is_due = now % RECALL_TICKS == 0
        else:
            is_due = self.barrier > self._ordering.stored and now % self._settings.resend_ticks == 0
        if is_due:
            for peer in range(self._settings.n):
                if peer != self._settings.me and peer not in self._answers:
                    self._desk.send(peer, self._question())

    def on_recollection(self, peer: int, answer: Recollection, newest: int) -> list[Signed]:
        """An answer; ``newest``: the own stored height. Returns the NewViews in it: the view that the peer works in.

        Raises PeerError("bad-recollection") if the certificate in it proves nothing: then it does not count.
        """
        if (answer.epoch, answer.start) != (self._settings.epoch, self._start) or peer in self._answers:
            return []
        if not self.is_asking and self.barrier <= newest:
            return []
        proven = self._settings.base
        if answer.certificate:
            proven = self._proven(answer.certificate).height
        self._answers[peer] = proven
        others: list[Signed] = []
        for signed in answer.statements[:MAX_RECOLLECTED]:
            if signed.sender == self._settings.me:
                self._desk.is_genuine(signed)  # and so seen by ``_examine``
            else:
                others.append(signed)
        return others[:1]

    def _proven(self, encoded: bytes) -> Certificate:
        try:
            certificate = decode_certificate(encoded)
        except CodecError as error:
            raise PeerError("bad-recollection", error.message) from error
        fault = stable_fault(certificate, self._desk)
        if fault is not None:
            raise PeerError("bad-recollection", f"its newest block's certificate: {fault}")
        return certificate

    def settle(self) -> bool:
        """See what is known by now; True if this replica may vote from now on, and could not before."""
        if self._ordering.may_vote and not self._found:
            return False  # as nearly always
        if self._settings.is_observer:
            return False
        if self._found:
            self._forgot(self._found)
            self._found = []
        if self.is_asking and len(self._answers) >= self._settings.quorum - 1:
            self._conclude()
        may_vote = self.because is None
        changed = may_vote and not self._ordering.may_vote
        self._ordering.may_vote = may_vote
        return changed

    def _forgot(self, statements: list[Signed]) -> None:
        """Own statements turned up that nobody here remembers."""
        if not self._is_lost:
            self._is_lost = True
            self._reason = VOTE_FORGOTTEN
            self._desk.tray.forgotten.extend(statements)
            self._desk.persist(lost_record())
        if not self.is_asking:
            self._start += 1  # a late answer to the first question is none to this one
            self._ask()

    def _conclude(self) -> None:
        """Enough have answered."""
        self.is_asking = False
        if not self._is_lost:
            return
        self._is_lost = False
        proven = max(self._ordering.stored, *self._answers.values())
        self.barrier = max(self.barrier, proven + WINDOW + 1)
        self._desk.persist(barrier_record(self.barrier))
        if self._view_change is not None:
            self._views.adopt(*self._view_change)

    # Own statements that turn up.

    def _examine(self, data: bytes, signature: bytes) -> None:
        """Somebody holds this, and this replica's key signed it."""
        signed = Signed(self._settings.me, data, signature)
        statement = self._desk.read(signed)
        known = self._known if self.is_asking and self._known is not None else self._live()
        match statement:
            case PrePrepare(view, height) | Prepare(view, height) | Commit(view, height):
                is_moot = height <= max(known.stored, self.barrier) or view < known.view
                is_known = view == known.view and known.votes.get((type(statement), height)) == data
            case ViewChange():
                own = known.view_change
                said = 0 if own is None else self._view_of(own)
                is_moot = statement.view < said
                is_known = own is not None and own.data == data
                if not (is_moot or is_known):
                    self._note_view_change(signed, statement)
            case NewView():
                is_moot = statement.view < known.view
                is_known = known.new_view is not None and known.new_view.data == data
            case _:
                return
        if not is_moot and not is_known and len(self._found) < MAX_RECOLLECTED:
            self._found.append(signed)

    def _live(self) -> _Known:
        ordering, views = self._ordering, self._views
        slots = self._log.slots.values()
        votes = {key: vote.data for slot in slots for key, vote in ordering.own_votes(slot).items()}
        return _Known(ordering.stored, ordering.view, ordering.is_active, views.view_change, views.new_view, votes)

    def _view_of(self, signed: Signed) -> int:
        statement = self._desk.read(signed)
        return statement.view

    def _note_view_change(self, signed: Signed, statement: ViewChange) -> None:
        if self._view_change is None or self._view_change[1].view < statement.view:
            self._view_change = (signed, statement)

    # Answering.

    def on_recall(self, peer: int, question: Recall, newest: Certificate | None) -> None:
        """``peer`` has started and asks; ``newest``: the certificate of the own newest block."""
        if question.epoch != self._settings.epoch or self._settings.is_observer:
            return  # it will be in this epoch, or this replica in its, when it asks again
        statements = self._statements_of(peer)
        new_view = self._views.new_view
        if new_view is not None and self._ordering.is_active and question.view < self._ordering.view:
            statements.insert(0, new_view)
        certificate = b"" if newest is None else encode_certificate(newest)
        answer = Recollection(question.epoch, question.start, certificate, tuple(statements[:MAX_RECOLLECTED]))
        self._desk.send(peer, answer)
        if self.is_asking and peer not in self._answers:
            self._desk.send(peer, self._question())  # it is up: do not wait for the next round

    def _statements_of(self, member: int) -> list[Signed]:
        """What is held here of a member's own statements: any of them may be news to it."""
        found: list[Signed | None] = [self._views.changes.newest_of(member)]
        if self._views.new_view is not None and self._views.new_view.sender == member:
            found.append(self._views.new_view)
        for slot in self._log.slots.values():
            if slot.pre_prepare is not None and slot.pre_prepare.sender == member:
                found.append(slot.pre_prepare)
            if member in slot.prepares:
                found.append(slot.prepares[member][1])
        found.extend(self._log.commits_of(member))
        for item in self._log.prepared.values():
            if self._settings.primary(item.view) == member:
                proposal = PrePrepare(item.view, item.height, item.digest)
                found.append(self._desk.said(member, proposal, item.pre_prepare))
            vote = Prepare(item.view, item.height, item.digest)
            found.extend(self._desk.said(member, vote, sig) for m, sig in item.prepares if m == member)
        for kept in self._early.of(member):
            found.append(kept.pre_prepare if isinstance(kept, Proposal) else kept)
        return [signed for signed in found if signed is not None and signed.sender == member]
