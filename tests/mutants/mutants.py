"""The mutants: mistakes about agreement, and with them those about code (``upgrade_mutants.py``)."""

from typing import Final

from tests.mutants.mutant import Mutant
from tests.mutants.upgrade_mutants import UPGRADE_MUTANTS

CORE = "node/consensus"

MUTANTS: Final = (
    # Changing the view.
    Mutant(
        "no-prepared-shown",
        "a ViewChange carries the prepared certificates",
        f"{CORE}/views.py",
        "self._log.showable",
        "()",
    ),
    Mutant(
        "lowest-view-wins",
        "of two prepared certificates for a height the higher view's counts",
        f"{CORE}/view_change.py",
        "certificate.view > known.view",
        "certificate.view < known.view",
        "small-scope",
    ),
    Mutant(
        "no-null-batch",
        "a gap below a prepared height gets a null batch",
        f"{CORE}/view_change.py",
        "tuple((h, best[h].digest if h in best else NULL_DIGEST) for h in heights)",
        "tuple((h, best[h].digest) for h in heights if h in best)",
    ),
    Mutant(
        "start-from-own-block",
        "the new view starts after the highest certificate of the whole set",
        f"{CORE}/view_change.py",
        "stable is None or view_change.stable.height > stable.height",
        "stable is None",
        "small-scope",
    ),
    Mutant(
        "trust-the-new-primary",
        "a NewView is recomputed and compared",
        f"{CORE}/view_change.py",
        "if tuple((height, digest) for height, digest, _ in new_view.proposals) != outcome.proposals:",
        "if False:",
        "tests",
        ("tests/consensus/test_new_view.py",),
    ),
    Mutant(
        "join-the-highest",
        "f+1 members pull along to the smallest view that they want",
        f"{CORE}/view_change.py",
        "return min(higher) if",
        "return max(higher) if",
        "tests",
        ("tests/consensus/test_view_change.py",),
    ),
    Mutant(
        "one-is-enough-to-leave",
        "f members cannot make anybody leave a view",
        f"{CORE}/view_change.py",
        "if len(higher) >= self._settings.weak_quorum else None",
        "if higher else None",
        "tests",
        ("tests/consensus/test_view_change.py",),
    ),
    Mutant(
        "never-leave",
        "a view that brings nothing is left",
        f"{CORE}/replica.py",
        "            self._views.suspect(suspicion)\n",
        "            pass\n",
    ),
    Mutant(
        "works-without-a-new-view",
        "whoever has left a view votes for nothing until a NewView shows where the next one starts",
        f"{CORE}/ordering.py",
        "        self.is_active = False\n",
        "        self.is_active = True\n",
    ),
    Mutant(
        "old-votes-count",
        "votes of a view that was left count for nothing in the next",
        f"{CORE}/replica.py",
        "if view < self.view or not self.height",
        "if not self.height",
    ),
    # Votes and quorums.
    Mutant(
        "count-messages",
        "distinct members are counted",
        f"{CORE}/ordering.py",
        "slot.prepares[signed.sender] = (statement.digest, signed)",
        "slot.prepares[len(slot.prepares) % self._settings.n] = (statement.digest, signed)",
    ),
    Mutant(
        "votes-counted-not-voters",
        "a certificate has each member's vote once",
        "node/model/certificate.py",
        "if indices != sorted(set(indices)):",
        "if indices != sorted(indices):",
        "tests",
        ("tests/model/test_block.py", "tests/consensus/test_catch_up.py", "tests/consensus/test_new_view.py"),
    ),
    Mutant(
        "quorum-of-two-thirds-rounded",
        "two quorums share a correct member",
        f"{CORE}/quorum.py",
        "return (n + max_faulty(n) + 2) // 2",
        "return n - max_faulty(n) - 1",
    ),
    Mutant(
        "prepared-one-short",
        "a prepared certificate is a quorum's",
        f"{CORE}/ordering.py",
        "needed = self._settings.quorum - 1",
        "needed = self._settings.quorum - 2",
    ),
    Mutant(
        "any-commit-counts",
        "commits are counted for one block hash",
        f"{CORE}/ordering.py",
        "for m, (voted, vote) in slot.commits.items() if voted == block_hash]",
        "for m, (voted, vote) in slot.commits.items()]",
    ),
    Mutant(
        "second-proposal-wins",
        "one vote for one height of a view, whatever the primary sends later",
        f"{CORE}/ordering.py",
        "if slot is None or slot.pre_prepare is None:",
        "if slot is None or slot.own_prepare is None or slot.digest != digest:",
        "tests",
        ("tests/consensus/test_normal_case.py",),
    ),
    Mutant(
        "relayed-proposals-unchecked",
        "a relayed pre-prepare is the primary's only under its signature",
        f"{CORE}/ordering.py",
        """            self._desk.require_genuine(signed)
            if height <= self.carried:""",
        """            if height <= self.carried:""",
        "tests",
        ("tests/consensus/test_worst_day.py",),
    ),
    Mutant(
        "stale-batches-accepted",
        "a new batch's time is near the members' clocks",
        "node/judge.py",
        "return not fresh or abs(batch.time - self._clock.now()) <= self._clock.slack_seconds",
        "return True",
        "tests",
        ("tests/test_driver.py",),
    ),
    # What is on disk.
    Mutant(
        "send-before-append",
        "votes are synced before they leave",
        "node/driver.py",
        """        if ready.persist:
            self._vote_log.append(ready.persist)
        for send in ready.send:
            to = self._term.names_of(send.to)
            guests = self._succession.guests if isinstance(send.message, Status) else ()
            self._ports.send((*to, *guests), send.message)
""",
        """        for send in ready.send:
            to = self._term.names_of(send.to)
            guests = self._succession.guests if isinstance(send.message, Status) else ()
            self._ports.send((*to, *guests), send.message)
        if ready.persist:
            self._vote_log.append(ready.persist)
""",
    ),
    Mutant(
        "append-without-sync",
        "what is appended is on disk",
        "node/votelog.py",
        """            with self.around_sync():
                file.sync()
""",
        "",
    ),
    Mutant(
        "body-not-logged",
        "the batch is on disk before the vote for it",
        f"{CORE}/ordering.py",
        "self._desk.persist(body_record(slot.height, slot.digest, body.raw))",
        "pass",
    ),
    Mutant(
        "certificate-not-logged",
        "the prepared certificate is on disk before the commit vote",
        f"{CORE}/ordering.py",
        "        self._desk.persist(certificate_record(slot.prepared))\n",
        "",
    ),
    Mutant(
        "view-change-not-logged",
        "that a view was left is on disk before anybody hears of it",
        f"{CORE}/views.py",
        """        self._desk.persist(view_change_record(signed))
        self._desk.broadcast(signed)
""",
        "        self._desk.broadcast(signed)\n",
    ),
    Mutant(
        "log-cut-too-high",
        "the vote log keeps what is above the stored height",
        f"{CORE}/message_log.py",
        "self.prepared = {h: item for h, item in self.prepared.items() if h > height}",
        "self.prepared = {h: item for h, item in self.prepared.items() if h > height + 1}",
    ),
    Mutant(
        "torn-tail-kept",
        "a torn frame is cut off before the next one is written",
        "node/votelog.py",
        "self._file.truncate(offset)",
        "pass",
    ),
    Mutant(
        "one-answer-is-enough",
        "a replica that starts hears a quorum, itself included, before it votes",
        f"{CORE}/recall.py",
        "if self.is_asking and len(self._answers) >= self._settings.quorum - 1:",
        "if self.is_asking and self._answers:",
        "tests",
        ("tests/consensus/test_recall.py",),
    ),
    Mutant(
        "no-barrier-after-loss",
        "whose votes are lost votes above the barrier only",
        f"{CORE}/recall.py",
        "self.barrier = max(self.barrier, proven + WINDOW + 1)",
        "pass",
        tests=("tests/consensus/test_recall.py",),
        faults="wipe,crash,loss,mute,partition,delay",
    ),
    Mutant(
        "own-strange-votes-ignored",
        "an own vote that the log does not hold means that the log is not all",
        f"{CORE}/recall.py",
        "if not is_moot and not is_known and",
        "if False and",
        "tests",
        ("tests/consensus/test_recall.py",),
    ),
    # Executing and storing.
    Mutant(
        "old-result-for-new-batch",
        "what was executed for one batch is not voted for as another's",
        f"{CORE}/pipeline.py",
        "if run is None or (run.height, run.digest) != (height, order.digest):",
        "if run is None or run.height != height:",
        "small-scope",
    ),
    Mutant(
        "nonces-forgotten",
        "the table of nonces is part of the state that blocks change",
        "node/executor.py",
        "self._overlay.put(nonces.NONCES + sender, nonces.written(entries[sender]))",
        "pass",
    ),
    # Catching up.
    Mutant(
        "catch-up-unchecked",
        "a fetched block's certificate is checked",
        f"{CORE}/catch_up.py",
        """        fault = stable_fault(certificate, self._desk)
        if fault is not None:""",
        """        fault = None
        if fault is not None:""",
        "tests",
        ("tests/consensus/test_catch_up.py",),
    ),
    Mutant(
        "catch-up-asks-one-only",
        "a peer that does not answer is passed over",
        f"{CORE}/catch_up.py",
        "            if self._asked_ticks < REPLY_TICKS:\n                return\n",
        "            return\n",
    ),
    Mutant(
        "bodies-not-fetched",
        "who lacks a proposed batch asks for it",
        f"{CORE}/bodies.py",
        "        if not missing:\n            return\n",
        "        return\n",
    ),
    Mutant(
        "early-forgotten",
        "what comes a little too early is kept",
        f"{CORE}/replica.py",
        "self._early.add(Early(peer, view, height, message))",
        "return",
        "tests",
        ("tests/consensus/test_normal_case.py",),
    ),
    # Epochs.
    Mutant(
        "votes-above-the-end",
        "an epoch's members vote for nothing above its last height",
        f"{CORE}/ordering.py",
        "return self.stored < height <= min(self.stored + WINDOW, self.end)",
        "return self.stored < height <= self.stored + WINDOW",
        "tests",
        ("tests/consensus/test_epochs.py",),
    ),
    Mutant(
        "votes-of-another-epoch",
        "votes of one epoch count for nothing in another",
        f"{CORE}/statements.py",
        "if said_epoch != epoch or",
        "if",
        "tests",
        ("tests/consensus/test_epochs.py", "tests/consensus/test_statements.py", "tests/consensus/test_normal_case.py"),
    ),
    # Time.
    Mutant(
        "back-off-never-resets",
        "the time-out is short again after progress",
        f"{CORE}/pacemaker.py",
        "            self._views_without_progress = 0\n",
        "            pass\n",
        "tests",
        ("tests/consensus/test_view_change.py",),
    ),
    Mutant(
        "back-off-never-doubles",
        "the time-out doubles from view to view",
        f"{CORE}/pacemaker.py",
        "return min(self._settings.timeout_ticks << doublings, self._settings.timeout_cap_ticks)",
        "return self._settings.timeout_ticks",
        "tests",
        ("tests/consensus/test_view_change.py",),
    ),
    # Clients.
    Mutant(
        "never-forwarded",
        "a transaction reaches the primary whatever node took it in",
        "node/driver.py",
        "for raws in self._forwarding.for_primary():",
        "for raws in ():",
    ),
    *UPGRADE_MUTANTS,
)
