"""One replica of PBFT, without sockets, clocks or disks: messages, ticks and answers go in; ``Ready`` comes out.

See ``docs/consensus.md`` for the theory of operation. The rooms, and which way data flows between them:

    step, tick, answers
        -> Ordering      which batch stands at which height of the current view (proposals, prepares, commits)
        -> Views         which view to work in: suspects, leaves, begins, enters
        -> CatchUp       certified blocks from peers
        -> Pipeline      executes, has the result voted for, stores: one height after another
        -> Ready

All of them write what leaves into one tray (``Desk``) and share one memory of what is not stored (``MessageLog``). None
of them knows this class, which decides only who is to hear of what.
"""

from collections.abc import Sequence

from node.consensus.bodies import Bodies
from node.consensus.catch_up import CatchUp
from node.consensus.desk import Desk
from node.consensus.diagnosis import Diagnosis, Doctor
from node.consensus.message_log import Early, EarlyMessages, MessageLog
from node.consensus.messages import (
    BatchReply,
    BatchRequest,
    BlockReply,
    BlockRequest,
    Message,
    Proposal,
    Ready,
    Recall,
    Recollection,
    Signed,
    Status,
    Supply,
)
from node.consensus.ordering import Ordering
from node.consensus.pace import Pace
from node.consensus.pacemaker import Pacemaker
from node.consensus.pipeline import Pipeline
from node.consensus.recall import Passivity
from node.consensus.records import LogContents, read_records
from node.consensus.settings import ANSWERS_PER_TICK, WINDOW, Anchor, Memory, Settings
from node.consensus.statements import MAX_HEIGHT, Commit, NewView, Prepare, PrePrepare, Suspect, ViewChange
from node.consensus.views import EQUIVOCATION, PASSED_OVER, SILENT, SLOW, Views
from node.errors import PeerError
from node.model.block import DecodedBatch
from node.model.keys import Signer, Verify

__all__ = ["Anchor", "Memory", "Replica", "Settings"]

_BODY_ASK_TICKS = 5


class Replica:
    """The consensus core of one node. Synchronous and deterministic: the same inputs in the same order give the same
    outputs, byte for byte. Not thread-safe.

    It is the replica of one epoch (``Settings``); when its last block is stored (``is_finished``), the node makes
    another one for the next. ``memory``: what the node knows of ``records``; ``start``: a number that differs at
    each start of this node, so that answers to an earlier start are told from answers to this one.

    After *every* call that changes it, drain ``ready()`` until it is empty (answers given while obeying it may
    produce more). ``records`` are the vote log's records, oldest first, exactly as ``Ready.persist`` gave them or as
    ``log_snapshot`` returned them. Raises StoreFault("vote-log-corrupt") if they are not."""

    def __init__(
        self,
        settings: Settings,
        signer: Signer,
        verify: Verify,
        anchor: Anchor,
        records: Sequence[bytes],
        memory: Memory = Memory.KEPT,
        start: int = 0,
    ) -> None:
        anchor.require_of(settings)
        self._settings = settings
        self._desk = Desk(settings, signer, verify)
        self._log = MessageLog()
        self._early = EarlyMessages(settings.n)
        self._pacemaker = Pacemaker(settings)
        self._ordering = Ordering(self._desk, self._log, anchor.height)
        self._bodies = Bodies(self._desk, self._log, self._ordering)
        self._catch_up = CatchUp(self._desk)
        self._pipeline = Pipeline(self._desk, self._log, self._ordering, self._catch_up, anchor)
        self._views = Views(self._desk, self._log, self._pacemaker, self._ordering, self._pipeline)
        self._answers_left = [ANSWERS_PER_TICK] * settings.n
        self._pace = Pace(settings.n)
        self._passivity = Passivity(self._desk, self._log, self._early, self._ordering, self._views, start)
        rooms = (self._log, self._ordering, self._views, self._catch_up, self._pipeline, self._pacemaker)
        self._doctor = Doctor(settings, *rooms, self._passivity)
        logged = self._restore(records)
        self._passivity.begin(memory, logged)
        self._ordering.vote()
        self._pipeline.advance()

    # What the node tells the core.

    def step(self, sender: int, message: Message) -> None:
        """A message came from member ``sender`` (the identity of the link, not a field of the message).

        Raises PeerError if no correct peer sends it: log it, drop it, go on. A ``Forward`` is not for the core:
        ValueError. Raises DivergenceFault: stop."""
        if not 0 <= sender < self._settings.n or sender == self._settings.me:
            raise PeerError("wrong-sender", f"a message from member {sender}")
        match message:
            case Signed():
                self._on_signed(sender, message, message, None)
            case Proposal(pre_prepare, batch):
                self._on_signed(sender, message, pre_prepare, batch)
            case Status():
                self._on_status(sender, message)
            case BatchRequest() if self._may_answer(sender):
                self._bodies.on_request(sender, message)
            case BatchReply():
                self._bodies.on_reply(sender, message)
            case BlockRequest(first) if self._may_answer(sender) and 1 <= first <= self.height:
                self._desk.tray.supply.append(Supply(sender, first))
            case BlockReply():
                self._catch_up.on_blocks(sender, message, self.height)
            case Recall() if self._may_answer(sender):
                self._passivity.on_recall(sender, message, self._pipeline.head.certificate)
            case Recollection():
                self._on_recollection(sender, message)
            case BatchRequest() | BlockRequest() | Recall():
                return  # too many within one tick, or for what is not here: it asks again
            case _:
                raise ValueError(f"{type(message).__name__} is not for the consensus core")
        self._settle()
        self._pipeline.advance()

    def tick(self, *, pending: bool, overdue: bool) -> None:
        """50 ms have passed. Missed ticks count as one; feed waiting messages first.

        ``pending``: includable work exists, or a calendar event or heartbeat is due, and no block came of it yet.
        ``overdue``: a forwarded transaction has waited longer than T (1 s) while batches were not full.
        """
        clock, ordering = self._pacemaker, self._ordering
        self._answers_left = [ANSWERS_PER_TICK] * self._settings.n
        has_work = pending or ordering.has_open_slots
        clock.tick(has_work if ordering.is_active else self._views.is_waited_for)
        self._pace.tick(self.view, ordering.is_active and pending and not ordering.has_whole_proposal)
        if not self._settings.is_observer:
            self._speak_up(self._reason_to_suspect(overdue))
        if clock.now % _BODY_ASK_TICKS == 0:
            self._bodies.ask()
        self._catch_up.tick(self.height, clock.quiet_ticks)
        self._passivity.tick(clock.now)
        self._reconsider_view()
        self._pipeline.advance()

    def _reason_to_suspect(self, overdue: bool) -> str | None:
        """Why the present view should be given up, if so."""
        if self._ordering.primary_is_faulty:
            return EQUIVOCATION
        if self._pacemaker.is_silent:
            return SILENT
        if overdue and self.is_active and self._pacemaker.is_tried:
            return PASSED_OVER
        return SLOW if self._pace.is_slow and not self.is_primary else None

    def _speak_up(self, suspicion: str | None) -> None:
        if suspicion is not None:
            self._views.suspect(suspicion)
        else:
            self._views.withdraw()
        if self._pacemaker.now % self._settings.status_ticks == 1:
            self._desk.broadcast(Status(self._settings.epoch, self.view, self.height))
        if self._pacemaker.should_resend():
            self._views.resend()

    def validated(self, digest: bytes, ok: bool, *, is_lie: bool = False) -> None:
        """The answer to ``Validate``; ``is_lie``: refused by its bytes alone. Unknown digests are ignored."""
        self._ordering.validated(digest, ok, is_lie=is_lie)
        self._pipeline.advance()

    def executed(self, height: int, batch_digest: bytes, parent_hash: bytes, block_hash: bytes) -> None:
        """The answer to ``Execute``; ignored unless the first three are what is wanted now.

        Raises DivergenceFault("diverged") if a quorum certified something else: stop, without voting.
        """
        self._pipeline.executed(height, batch_digest, parent_hash, block_hash)
        self._pipeline.advance()

    def stored(self, height: int) -> None:
        """The answer to ``Commit``: block and certificate are on disk, synced."""
        certificate = self._pipeline.stored(height)
        self._pacemaker.on_stored(in_this_view=self.is_active and certificate.view == self.view)
        self._pace.on_proposal()
        self._ordering.advance_to(height)
        self._catch_up.on_stored(height)
        self._settle()
        self._replay_early()
        self._pipeline.advance()

    def propose(self, batch: bytes, digest: bytes, decoded: DecodedBatch | None = None) -> None:
        """Propose an encoded batch at the next height; only while ``wants_batch``, else ValueError."""
        self._ordering.propose(batch, digest, decoded)
        self._pipeline.advance()

    def end_at(self, height: int) -> None:
        """``height`` is the last of this epoch: nothing above it is proposed, voted for, executed or stored here. To be
        said as soon as the state does, 2 * WINDOW heights before or more; after a restart at once. ValueError if blocks
        above it are stored, or another end was named before."""
        if height < self.height or self._ordering.end not in (MAX_HEIGHT, height):
            raise ValueError(f"an epoch cannot end at {height}")
        self._ordering.end = self._catch_up.end = height

    # What the node may ask.

    @property
    def wants_batch(self) -> bool:
        """Whether this replica is the primary of an active view with room in its window."""
        return self._ordering.wants_batch

    @property
    def view(self) -> int:
        """The view that this replica works in (``is_active``) or waits for."""
        return self._ordering.view

    @property
    def is_active(self) -> bool:
        """False from the ViewChange that this replica sent until the NewView that it accepts."""
        return self._ordering.is_active

    @property
    def primary(self) -> int:
        """The index of the primary of ``view``."""
        return self._settings.primary(self.view)

    @property
    def is_primary(self) -> bool:
        """Whether that is this replica."""
        return self._ordering.is_primary

    @property
    def height(self) -> int:
        """The newest stored height."""
        return self._pipeline.head.height

    @property
    def is_finished(self) -> bool:
        """Whether the last block of this epoch is stored."""
        return self.height >= self._ordering.end

    @property
    def passive_because(self) -> str | None:
        """Why this replica votes for nothing: "recalling", "memory-lost", "vote-forgotten", "observer"; or None."""
        return self._passivity.because

    @property
    def barrier(self) -> int:
        """The height up to which this replica may have cast votes that it has forgotten; 0 if there are none."""
        return self._passivity.barrier

    @property
    def memory(self) -> Memory:
        """What to tell the replica of the next epoch, and ``records.first_records``, if this one ends now."""
        return self._passivity.memory

    @property
    def next_height(self) -> int:
        """As primary: the height that the next ``propose`` gets. ``next_height - 1 - height`` are in flight."""
        return self._ordering.next_height

    def proposed(self) -> list[tuple[bytes, DecodedBatch | None]]:
        """``MessageLog.proposed``."""
        return self._log.proposed()

    @property
    def best_peer_height(self) -> int:
        """The highest stored height that any peer claims; unproven, for status displays only."""
        return max(self._catch_up.claims)

    @property
    def held(self) -> int:
        """How many heights, batches, early messages and fetched blocks are in memory; at most ``most_held``."""
        return self._log.count + len(self._early) + len(self._catch_up.blocks)

    @property
    def last_cause(self) -> str:
        """Why this replica last gave up a view: "silent", "slow", "passed-over", "equivocation", "others" (f+1 wanted
        it), "joined" (a later one works); "" if it never did."""
        return self._views.last_cause

    def diagnosis(self) -> Diagnosis:
        """What this replica waits for, on whom, and since when."""
        return self._doctor.diagnosis()

    def ready(self) -> Ready:
        """Everything to be done now; drains it. ``bool(ready)`` is False when there is nothing."""
        return self._desk.drain()

    def log_snapshot(self) -> list[bytes]:
        """The records that a rewritten vote log must hold, oldest first; what ``persist`` gave before is covered.

        Call it only right after ``ready()`` was drained and its ``persist`` synced.
        """
        records = self._passivity.records() + self._views.records()
        records.extend(self._log.records())
        for height in sorted(self._log.slots):
            records.extend(self._ordering.votes_to_log(self._log.slots[height]))
        return records

    # Messages.

    def _on_signed(self, peer: int, message: Signed | Proposal, signed: Signed, batch: bytes | None) -> None:
        try:
            statement = self._desk.read(signed)
        except PeerError as error:
            if error.code == "wrong-epoch":
                return  # its sender is behind or ahead, and says so in its Status
            raise
        if isinstance(message, Proposal) and not isinstance(statement, PrePrepare):
            raise PeerError("malformed", "a proposal without a pre-prepare")
        if signed.sender != peer and not isinstance(statement, PrePrepare | NewView):
            raise PeerError("wrong-sender", f"member {peer} sends the vote of member {signed.sender}")
        match statement:
            case PrePrepare(view, height) | Prepare(view, height) | Commit(view, height):
                highest = min(self.height + 2 * WINDOW, self._ordering.end)
                if view < self.view or not self.height < height <= highest:
                    return  # of the past or another epoch, or so far ahead that blocks must be fetched anyway
                if view > self.view or not self.is_active or height > self.height + WINDOW:
                    self._early.add(Early(peer, view, height, message))
                elif isinstance(statement, PrePrepare):
                    self._ordering.on_pre_prepare(signed, statement, batch)
                elif isinstance(statement, Prepare):
                    self._ordering.on_prepare(signed, statement)
                else:
                    self._ordering.on_commit(signed, statement)
            case Suspect():
                self._views.on_suspect(signed, statement)
                self._reconsider_view()
            case ViewChange():
                self._views.on_view_change(signed, statement)
                if statement.view <= self.view and self._may_answer(peer):
                    self._views.show(peer)
                self._reconsider_view()
            case NewView() if self._passivity.is_asking:
                self._views.hold(signed, statement)
            case NewView():
                if self._views.on_new_view(signed, statement):
                    self._on_entered()

    def _reconsider_view(self) -> None:
        if self._ordering.may_vote and self._views.reconsider():
            self._on_entered()

    def _on_entered(self) -> None:
        self._ordering.vote()
        self._replay_early()

    def _replay_early(self) -> None:
        """The view or the window moved: judge what came too early."""
        if not self.is_active:
            return
        for early in self._early.take(self.view, self.height + WINDOW):
            message = early.message
            signed, batch = (message.pre_prepare, message.batch) if isinstance(message, Proposal) else (message, None)
            try:
                self._on_signed(early.peer, message, signed, batch)
            except PeerError as error:
                self._desk.tray.dropped.append((early.peer, error))

    def _on_status(self, peer: int, status: Status) -> None:
        self._catch_up.on_status(peer, status)
        if status.epoch == self._settings.epoch and status.view < self.view and self._may_answer(peer):
            self._views.show(peer)

    def _on_recollection(self, peer: int, answer: Recollection) -> None:
        for signed in self._passivity.on_recollection(peer, answer, self.height):
            try:
                self._on_signed(peer, signed, signed, None)
            except PeerError as error:
                self._desk.tray.dropped.append((peer, error))  # the answer counts all the same

    def _settle(self) -> None:
        """Something was heard, or stored: this replica may have become able to vote, or unable."""
        was_asking = self._passivity.is_asking
        may_vote = self._passivity.settle()
        if was_asking and not self._passivity.is_asking and self._views.release():
            self._on_entered()
        if may_vote:
            self._ordering.vote()
            self._reconsider_view()

    def _may_answer(self, peer: int) -> bool:
        self._answers_left[peer] -= 1
        return self._answers_left[peer] >= 0

    def _restore(self, records: Sequence[bytes]) -> LogContents:
        """Take up the log: the view, what was prepared, and every vote of the current view, to be sent as it is."""
        memory = read_records(records, self._desk)
        self._log.restore(memory, self.height)
        self._views.restore(memory)
        for vote in memory.votes:
            if vote.statement.view == self.view and self.is_active and vote.statement.height > self.height:
                self._ordering.restore_vote(vote)
        return memory
