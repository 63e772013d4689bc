"""This replica's way from one view to the next: it suspects, leaves, waits, begins or enters.

Which views the members want, and what a NewView must say, is ``view_change.py``; this room acts on it, and keeps what
must be said again: the own suspicion, the own ViewChange, the NewView that proves the present view to others.
"""

from typing import Final

from node.consensus import lies
from node.consensus.desk import Desk
from node.consensus.message_log import MessageLog
from node.consensus.messages import Signed
from node.consensus.ordering import Ordering
from node.consensus.pacemaker import Pacemaker
from node.consensus.pipeline import Pipeline
from node.consensus.records import LogContents, new_view_record, view_change_record
from node.consensus.statements import NewView, Suspect, ViewChange
from node.consensus.view_change import Outcome, ViewChanges, check_new_view, outcome_of, proposals_of

# Why a view is given up.
SILENT: Final = "silent"  # work waited for a whole time-out
SLOW: Final = "slow"  # every proposal is late, see pace.py
PASSED_OVER: Final = "passed-over"  # one request is left out again and again
EQUIVOCATION: Final = "equivocation"  # the primary signed two proposals for one height
OTHERS: Final = "others"  # f+1 members wanted it, this one had no reason of its own
JOINED: Final = "joined"  # a NewView proved that a quorum works in a later view


class Views:
    """``view_change``: the newest ViewChange that this replica signed; ``new_view``: what it entered its view by;
    ``last_cause``: why it last gave up a view, "" if it never did."""

    def __init__(
        self, desk: Desk, log: MessageLog, pacemaker: Pacemaker, ordering: Ordering, pipeline: Pipeline
    ) -> None:
        self._desk = desk
        self._settings = desk.settings
        self._log = log
        self._pacemaker = pacemaker
        self._ordering = ordering
        self._pipeline = pipeline
        self.changes = ViewChanges(desk)
        self.view_change: Signed | None = None
        self.new_view: Signed | None = None
        self._suspicion: Signed | None = None
        self._suspicion_sent = 0
        self._show_again: dict[int, int] = {}
        self._held: tuple[Signed, NewView] | None = None
        self._cause = OTHERS
        self.last_cause = ""

    @property
    def is_waited_for(self) -> bool:
        """Whether a quorum has left every view below the present one."""
        return self.changes.has_quorum_at(self._ordering.view, self._pacemaker.now)

    # Suspicion.

    def suspect(self, cause: str) -> None:
        """Say, and say again, that this view is no good; and go on voting in it."""
        now = self._pacemaker.now
        self._cause = cause
        if self._suspicion is None:
            self._suspicion = self._desk.sign(Suspect(self._ordering.view))
        elif now - self._suspicion_sent < self._settings.resend_ticks:
            return
        self._suspicion_sent = now
        self.changes.suspect(self._ordering.view, now)
        self._desk.broadcast(self._suspicion)

    def withdraw(self) -> None:
        """There is no ground for suspicion any more."""
        self._suspicion = None
        self._cause = OTHERS
        self.changes.withdraw()

    def on_suspect(self, signed: Signed, statement: Suspect) -> None:
        """Another member's suspicion."""
        self.changes.on_suspect(signed, statement, self._pacemaker.now)

    # Leaving.

    def reconsider(self) -> bool:
        """Leave the view, as often as f+1 members want a higher one; begin the one waited for, if that can be done.

        True if a view was entered: its proposals are to be voted on.
        """
        target = self.changes.view_to_join(self._ordering.view, self._pacemaker.now)
        while target is not None:
            self._leave_for(target)
            target = self.changes.view_to_join(self._ordering.view, self._pacemaker.now)
        return self._begin()

    def _leave_for(self, view: int) -> None:
        self.last_cause = self._cause
        self._ordering.leave_view(view)
        self.withdraw()
        self._pacemaker.on_left()
        statement = ViewChange(view, self._pipeline.head.certificate, self._log.showable)
        signed = self._desk.sign(statement)
        self.view_change = signed
        self.changes.add_own(signed, statement)
        self._desk.persist(view_change_record(signed))
        self._desk.broadcast(signed)
        self._desk.tray.log_cut = self._pipeline.head.height

    def on_view_change(self, signed: Signed, statement: ViewChange) -> None:
        """Another member's ViewChange."""
        if self.changes.on_view_change(signed, statement, self._pacemaker.now):
            lies.note_omission(self._desk, signed, statement, self._log, self._pipeline.head.certificate)

    # Entering.

    def _begin(self) -> bool:
        """As the primary of the view that is waited for: begin it, once a quorum asks for it."""
        ordering = self._ordering
        if ordering.is_active or not ordering.is_primary:
            return False
        made = self.changes.make_new_view(ordering.view)
        if made is None:
            return False
        statement, outcome = made
        signed = self._desk.sign(statement)
        self._desk.persist(new_view_record(signed))
        self._desk.broadcast(signed)
        self._enter(signed, statement, outcome)
        return True

    def on_new_view(self, signed: Signed, statement: NewView) -> bool:
        """A NewView, from its primary or relayed; True if the view was entered by it."""
        view = self._ordering.view
        if statement.view == view and self._ordering.is_active:
            lies.note_second_new_view(self._desk, self.new_view, signed)
            return False
        if statement.view < view:
            return False
        outcome = check_new_view(signed, statement, self._desk)
        if self._ordering.is_active or statement.view > view:
            self.last_cause = JOINED
        self._desk.persist(new_view_record(signed))
        self._enter(signed, statement, outcome)
        return True

    def hold(self, signed: Signed, statement: NewView) -> None:
        """A NewView that came while this replica asks what it has forgotten: entered, and logged, only when it knows.

        Else a crash in between would make it take the view that it had forgotten for its own. Raises as
        ``check_new_view`` does.
        """
        newest = self._ordering.view if self._held is None else self._held[1].view
        if statement.view > newest or (statement.view == self._ordering.view and not self._ordering.is_active):
            check_new_view(signed, statement, self._desk)
            self._held = (signed, statement)

    def release(self) -> bool:
        """Now it knows; True if a view was entered."""
        held, self._held = self._held, None
        return held is not None and self.on_new_view(*held)

    def _enter(self, signed: Signed, statement: NewView, outcome: Outcome) -> None:
        self.new_view = signed
        self._desk.tray.log_cut = self._pipeline.head.height
        self.withdraw()
        self._pacemaker.on_view()
        if outcome.stable is not None and self._ordering.in_window(outcome.start):
            self._log.certificates.setdefault(outcome.start, outcome.stable)
        carried = proposals_of(signed.sender, statement, self._desk)
        self._ordering.enter_view(statement.view, outcome.start, carried)

    # What is said again, and kept.

    def resend(self) -> None:
        """Nothing was stored for a while: whatever was said may have been lost."""
        if self._ordering.is_active:
            self._ordering.resend()
        elif self.view_change is not None:
            self._desk.broadcast(self.view_change)

    def adopt(self, signed: Signed, statement: ViewChange) -> None:
        """An own ViewChange that was forgotten: this replica votes in no view below it."""
        if self.view_change is not None and self._desk.read(self.view_change).view >= statement.view:
            return
        self.view_change = signed
        self.changes.add_own(signed, statement)
        self._desk.persist(view_change_record(signed))
        if statement.view > self._ordering.view:
            self._ordering.leave_view(statement.view)
            self._pacemaker.on_left()

    def show(self, peer: int) -> None:
        """``peer`` may not know of the view that is worked in here: the NewView proves it."""
        now = self._pacemaker.now
        if self._ordering.is_active and self.new_view is not None and now >= self._show_again.get(peer, 0):
            self._show_again[peer] = now + self._settings.resend_ticks // 2  # it is large, and asking costs nothing
            self._desk.send(peer, self.new_view)

    def records(self) -> list[bytes]:
        """What the vote log must hold of them."""
        records = []
        if self.view_change is not None:
            records.append(view_change_record(self.view_change))
        if self.new_view is not None:
            records.append(new_view_record(self.new_view))
        return records

    def restore(self, memory: LogContents) -> None:
        """The view, as the log has it: entered or waited for."""
        if memory.view_change is not None:
            self.view_change = memory.view_change[0]
            self.changes.add_own(*memory.view_change)
        if memory.view > 0 and not memory.is_active:
            self._ordering.leave_view(memory.view)
        elif memory.new_view is not None:
            signed, statement = memory.new_view
            relayed = [self._desk.read(item) for item in statement.view_changes]
            changes = [item for item in relayed if isinstance(item, ViewChange)]
            outcome = outcome_of(changes, self._settings.base)
            self._enter(signed, statement, outcome)
