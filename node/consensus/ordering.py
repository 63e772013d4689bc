"""The normal case: which batch stands at which height of the current view.

    primary   propose ----- Proposal --------->  backups
    backup    validated --- Prepare ---------->  everyone     the proposal itself is the primary's prepare
    anyone    a quorum of those: *prepared*; from here on a view change brings this batch back
    anyone    prepared, executed on the block below: Commit -> everyone
    anyone    a quorum of commits over one block hash: a *certificate*

Proposals and prepares run ahead, in any order, for WINDOW heights above the stored one; commit votes go height by
height, because each signs the block that executing the batch gave. A vote is cast once for a (view, height, phase): the
slot that holds it is never emptied while the view lasts, and is rebuilt from the log after a restart.

Heights at or below ``start``, where the view began, are closed in it: a certificate already exists for them. Heights
up to ``carried`` hold what the NewView says and nothing else. Above that the primary proposes afresh.
"""

from node.consensus import lies
from node.consensus.desk import Desk
from node.consensus.message_log import Body, Judgement, MessageLog, Slot, read_batch
from node.consensus.messages import (
    Proposal,
    Signed,
    Validate,
)
from node.consensus.records import LoggedVote, body_record, certificate_record, vote_record
from node.consensus.settings import WINDOW
from node.consensus.statements import MAX_HEIGHT, Commit, Prepare, PreparedCertificate, PrePrepare
from node.errors import DivergenceFault, PeerError
from node.model.block import NULL_DIGEST, DecodedBatch
from node.model.certificate import Certificate


class Ordering:
    """The votes of one view after another. ``stored``: the newest stored height, the low mark of the window; ``end``:
    the epoch's last height, above which nothing is voted for; ``may_vote``: whether anything is, for now."""

    def __init__(self, desk: Desk, log: MessageLog, stored: int) -> None:
        self._desk = desk
        self._settings = desk.settings
        self._log = log
        self.stored = stored
        self.view = 0
        self.is_active = True
        self.start = desk.settings.base
        self.carried = desk.settings.base
        self.end = MAX_HEIGHT
        self.may_vote = True
        self.next_height = stored + 1
        self.primary_is_faulty = False

    # Views and the window.

    def leave_view(self, view: int) -> None:
        """Stop voting, until ``view`` begins."""
        self.view = view
        self.is_active = False
        self.primary_is_faulty = False
        self._log.leave_view()

    def enter_view(self, view: int, start: int, proposals: list[tuple[int, bytes, Signed]]) -> None:
        """Begin ``view`` after height ``start`` with the (height, digest, pre-prepare) that its NewView carries.

        Votes are cast by ``vote`` only: after a restart, the logged ones come first.
        """
        self.leave_view(view)
        self.is_active = True
        self.start = start
        self.carried = start + len(proposals)
        self.next_height = max(self.stored, self.carried) + 1
        for height, digest, pre_prepare in proposals:
            if self.stored < height <= self.end:
                slot = self._log.slot(height)
                slot.pre_prepare, slot.digest = pre_prepare, digest

    def vote(self) -> None:
        """Take every proposal of the view as far as it can go."""
        for height in sorted(self._log.slots):
            self.judge(self._log.slots[height])

    def advance_to(self, stored: int) -> None:
        """A block was stored: the window moves."""
        self.stored = stored
        self.next_height = max(self.next_height, stored + 1)
        self._log.forget_through(stored)
        newly_open = self._log.slots.get(stored + WINDOW)
        if newly_open is not None:
            self.judge(newly_open)

    def in_window(self, height: int) -> bool:
        """Whether ``height`` can be worked on: above what is stored, below the high mark, and of this epoch."""
        return self.stored < height <= min(self.stored + WINDOW, self.end)

    @property
    def has_open_slots(self) -> bool:
        """Whether a proposal waits for its block."""
        return any(slot.digest is not None for slot in self._log.slots.values())

    @property
    def has_whole_proposal(self) -> bool:
        """Whether a batch of the primary is here and waits for its block."""
        slots = self._log.slots.values()
        return any(slot.digest is not None and self._log.body(slot.digest) is not None for slot in slots)

    @property
    def is_primary(self) -> bool:
        """Of the view that is worked in or waited for."""
        return self._settings.primary(self.view) == self._settings.me

    @property
    def wants_batch(self) -> bool:
        """A primary that lacks blocks below its view's start catches up first; above the high mark it waits."""
        may = self.may_vote and self.is_active and self.is_primary
        return may and self.stored >= self.start and self.in_window(self.next_height)

    # Proposals.

    def propose(self, raw: bytes, digest: bytes, decoded: DecodedBatch | None) -> None:
        """The own proposal at ``next_height``."""
        if not self.wants_batch:
            raise ValueError("no batch is wanted now")
        slot = self._log.slot(self.next_height)
        body = self._log.body(digest)
        if body is None:
            body = Body(raw, decoded, slot.height, Judgement.VALID)
            self._log.add_body(digest, body)
        body.height = max(body.height, slot.height)
        self.next_height += 1
        slot.pre_prepare = self._desk.sign(PrePrepare(self.view, slot.height, digest))
        slot.digest = digest
        self._log_body(slot, body)
        self._desk.persist(vote_record(slot.pre_prepare))
        self._desk.broadcast(Proposal(slot.pre_prepare, raw))
        self._look_for_prepared(slot)

    def on_pre_prepare(self, signed: Signed, statement: PrePrepare, raw: bytes | None) -> None:
        """The primary's proposal, from it or relayed, with or without its batch."""
        height, digest = statement.height, statement.digest
        primary = self._settings.primary(self.view)
        if signed.sender != primary:
            raise PeerError("not-primary", f"member {signed.sender} proposes in view {self.view}, not its own")
        slot = self._log.slots.get(height)
        if primary == self._settings.me:
            if slot is None or slot.pre_prepare != signed:
                self._desk.require_genuine(signed)  # no echo: another process may have this key, see recall.py
            return
        if slot is None or slot.pre_prepare is None:
            self._desk.require_genuine(signed)
            if height <= self.carried:
                raise PeerError("closed-height", f"height {height} is not open to a new proposal in view {self.view}")
            if digest == NULL_DIGEST:
                raise PeerError("null-proposal", "only a view change makes a null batch")
            slot = self._log.slot(height)
            slot.pre_prepare, slot.digest = signed, digest
        elif slot.digest != digest:
            if not self.primary_is_faulty:
                self._desk.require_genuine(signed)
                self._desk.accuse(lies.TWO_VOTES, slot.pre_prepare, signed)
                self.primary_is_faulty = True
            return
        if raw is not None and self._log.body(digest) is None:
            self._file_body(slot, raw)
        self.judge(slot)

    def _file_body(self, slot: Slot, raw: bytes) -> None:
        decoded = read_batch(raw)
        if decoded.digest != slot.digest:
            raise PeerError("wrong-body", f"the batch at height {slot.height} does not have the digest proposed")
        self._log.add_body(decoded.digest, Body(raw, decoded, slot.height, Judgement.NONE))

    def judge(self, slot: Slot) -> None:
        """Take a slot with a proposal as far as it can go: have the batch validated, vote, count."""
        body = None if slot.digest is None else self._log.body(slot.digest)
        if slot.digest is None or body is None:
            return
        if slot.digest != NULL_DIGEST:
            body.height = max(body.height, slot.height)
        is_new = slot.height > self.carried
        judgement = body.as_new if is_new else body.judgement
        is_own = slot.own_prepare is not None or (is_new and self.is_primary)
        if judgement is Judgement.VALID:
            self._vote_prepare(slot, body)
        elif judgement is Judgement.NONE and not is_own:
            self._ask_judgement(slot, body, is_new)
        self._look_for_prepared(slot)
        if slot.prepared is not None:
            self._log.note_prepared(slot.prepared)  # its batch may have come only now

    def _ask_judgement(self, slot: Slot, body: Body, is_new: bool) -> None:
        assert slot.digest is not None
        decoded = body.decoded = body.decoded or read_batch(body.raw)
        batch = decoded.batch
        if (batch.chain, batch.epoch) != (self._settings.chain, self._settings.epoch):
            body.judgement = body.as_new = Judgement.REFUSED
            self._accuse_proposal(slot, body)
        elif is_new and batch.proposer != self._settings.primary(self.view):
            body.as_new = Judgement.REFUSED
        else:
            if is_new:
                body.as_new = Judgement.ASKED
            else:
                body.judgement = Judgement.ASKED
            self._desk.tray.validate.append(Validate(slot.digest, body.raw, is_new, decoded))

    def _accuse_proposal(self, slot: Slot, body: Body) -> None:
        if slot.pre_prepare is not None:
            self._desk.accuse(lies.FALSE_PROPOSAL, slot.pre_prepare, attachment=body.raw)

    def validated(self, digest: bytes, ok: bool, *, is_lie: bool = False) -> None:
        """The node's answer; a batch refused here may still be prepared by a quorum of others. ``is_lie``: refused for
        what the bytes alone show, so that no correct member can have proposed it."""
        body = self._log.body(digest)
        if body is None or Judgement.ASKED not in (body.as_new, body.judgement):
            return
        answer = Judgement.VALID if ok else Judgement.REFUSED
        if body.as_new is Judgement.ASKED:
            body.as_new = answer
        elif body.judgement is Judgement.ASKED:
            body.judgement = answer
        if ok:
            body.judgement = answer  # who may be new may be carried over
        for slot in list(self._log.slots.values()):
            if slot.digest == digest:
                if is_lie:
                    self._accuse_proposal(slot, body)
                self.judge(slot)

    # Prepares.

    def _vote_prepare(self, slot: Slot, body: Body) -> None:
        if not self.may_vote or not self.is_active or self.is_primary:
            return
        if slot.own_prepare is not None or not self.in_window(slot.height):
            return
        assert slot.digest is not None and slot.pre_prepare is not None
        self._log_body(slot, body)
        slot.own_prepare = self._desk.sign(Prepare(self.view, slot.height, slot.digest))
        slot.prepares[self._settings.me] = (slot.digest, slot.own_prepare)
        self._desk.persist(vote_record(slot.own_prepare, slot.pre_prepare.signature))
        self._desk.broadcast(slot.own_prepare)

    def _log_body(self, slot: Slot, body: Body) -> None:
        """A vote rests on its batch: it is on disk before the vote leaves."""
        assert slot.digest is not None
        if slot.digest != NULL_DIGEST:
            self._log.add_body(slot.digest, body)
        if not body.is_logged:
            body.is_logged = True
            self._desk.persist(body_record(slot.height, slot.digest, body.raw))

    def on_prepare(self, signed: Signed, statement: Prepare) -> None:
        """Another member's prepare in the current view."""
        if statement.height <= self.start:
            return
        if signed.sender == self._settings.primary(self.view):
            raise PeerError("primary-prepares", "a primary's prepare is its proposal")
        slot = self._log.slot(statement.height)
        known = slot.prepares.get(signed.sender)
        if known is not None:
            self._compare(known, signed, statement.digest)
        elif slot.prepared is None:  # else it is not needed, nor its signature's cost
            self._desk.require_genuine(signed)
            slot.prepares[signed.sender] = (statement.digest, signed)
            self._look_for_prepared(slot)

    def _look_for_prepared(self, slot: Slot) -> None:
        if slot.prepared is not None or slot.pre_prepare is None or slot.digest is None:
            return
        votes = [(m, vote.signature) for m, (digest, vote) in slot.prepares.items() if digest == slot.digest]
        needed = self._settings.quorum - 1
        if len(votes) < needed:
            return
        slot.prepared = PreparedCertificate(
            self.view, slot.height, slot.digest, slot.pre_prepare.signature, tuple(sorted(votes)[:needed])
        )
        if self._log.body(slot.digest) is not None:
            self._log.note_prepared(slot.prepared)

    # Commits.

    def vote_commit(self, height: int, digest: bytes, block_hash: bytes) -> None:
        """The batch prepared at ``height`` = stored + 1 was executed: vote for the block, if that was not done yet.

        Raises DivergenceFault if a vote for another block was cast before a restart.
        """
        slot = self._log.slots.get(height)
        if not self.is_active or slot is None or slot.prepared is None or slot.digest != digest:
            return
        if slot.own_commit is not None:
            if slot.commits[self._settings.me][0] != block_hash:
                raise DivergenceFault("diverged", f"block {height} came out differently after a restart")
            return
        if not self.may_vote:
            return
        body = self._log.body(digest)
        assert body is not None  # it was executed
        self._log_body(slot, body)
        slot.own_commit = self._desk.sign(Commit(self.view, height, block_hash))
        self._desk.persist(certificate_record(slot.prepared))
        self._desk.persist(vote_record(slot.own_commit))
        self._desk.broadcast(slot.own_commit)
        slot.commits[self._settings.me] = (block_hash, slot.own_commit)
        self._look_for_certificate(slot, block_hash)

    def on_commit(self, signed: Signed, statement: Commit) -> None:
        """Another member's commit in the current view."""
        if statement.height <= self.start:
            return
        slot = self._log.slot(statement.height)
        known = slot.commits.get(signed.sender)
        if known is not None:
            self._compare(known, signed, statement.block_hash)
        elif statement.height not in self._log.certificates:
            self._desk.require_genuine(signed)
            slot.commits[signed.sender] = (statement.block_hash, signed)
            self._look_for_certificate(slot, statement.block_hash)
        else:
            lies.note_late_commit(self._desk, self._log.certificates[statement.height], signed, statement)

    def _look_for_certificate(self, slot: Slot, block_hash: bytes) -> None:
        votes = [(m, vote.signature) for m, (voted, vote) in slot.commits.items() if voted == block_hash]
        if len(votes) >= self._settings.quorum:
            chosen = tuple(sorted(votes)[: self._settings.quorum])
            certificate = Certificate(self._settings.epoch, self.view, slot.height, block_hash, chosen)
            self._log.certificates[slot.height] = certificate
            if len(votes) < len(slot.commits):
                lies.note_wrong_blocks(self._desk, certificate, slot.commits)

    def _compare(self, known: tuple[bytes, Signed], signed: Signed, voted: bytes) -> None:
        """The same vote again is nothing; another one is evidence."""
        if known[0] == voted or self._desk.is_accused(signed.sender, lies.TWO_VOTES):
            return
        if self._desk.is_genuine(signed):
            self._desk.accuse(lies.TWO_VOTES, known[1], signed)

    # Lost messages.

    def resend(self) -> None:
        """Nothing moved for a while: say again what was said, and what the primary said to this replica."""
        for height in sorted(self._log.slots):
            slot = self._log.slots[height]
            for signed in (slot.pre_prepare, slot.own_prepare, slot.own_commit):
                if signed is not None:
                    self._desk.broadcast(signed)

    # The vote log.

    def own_votes(self, slot: Slot) -> dict[tuple[type, int], Signed]:
        """This replica's votes in ``slot``, by (phase, height)."""
        votes: dict[tuple[type, int], Signed] = {}
        if slot.pre_prepare is not None and self.is_primary:
            votes[PrePrepare, slot.height] = slot.pre_prepare
        if slot.own_prepare is not None:
            votes[Prepare, slot.height] = slot.own_prepare
        if slot.own_commit is not None:
            votes[Commit, slot.height] = slot.own_commit
        return votes

    def votes_to_log(self, slot: Slot) -> list[bytes]:
        """The records of the own votes in ``slot``."""
        records = []
        if slot.pre_prepare is not None:
            if slot.height > self.carried and self.is_primary:
                records.append(vote_record(slot.pre_prepare))
            if slot.own_prepare is not None:
                records.append(vote_record(slot.own_prepare, slot.pre_prepare.signature))
        if slot.own_commit is not None:
            records.append(vote_record(slot.own_commit))
        return records

    def restore_vote(self, logged: LoggedVote) -> None:
        """An own vote of the current view, above the stored height, as the log has it: to be sent again as it is."""
        statement, signed = logged.statement, logged.signed
        slot = self._log.slot(statement.height)
        match statement:
            case PrePrepare(_, height, digest):
                slot.pre_prepare, slot.digest = signed, digest
                self.next_height = max(self.next_height, height + 1)
            case Prepare(view, height, digest):
                proposal = PrePrepare(view, height, digest)
                slot.pre_prepare = self._desk.said(self._settings.primary(view), proposal, logged.primary_signature)
                slot.digest = digest
                slot.own_prepare = signed
                slot.prepares[self._settings.me] = (digest, signed)
            case Commit(_, _, block_hash):
                slot.own_commit = signed
                slot.commits[self._settings.me] = (block_hash, signed)
                certificate = self._log.prepared[statement.height]  # logged before the vote
                proposal = PrePrepare(certificate.view, certificate.height, certificate.digest)
                slot.pre_prepare = self._desk.said(
                    self._settings.primary(certificate.view), proposal, certificate.pre_prepare
                )
                slot.digest = certificate.digest
                slot.prepared = certificate
