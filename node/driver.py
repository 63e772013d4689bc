"""The one loop of a node: it feeds the consensus core, and obeys what the core says in the order that the core demands.

Synchronous, and without sockets or clocks of its own: what it needs from outside comes through ``Ports``. The node's
asyncio shell and the simulator run it unchanged. Not thread-safe.

Every input (``receive``, ``submit``, ``tick``, an answer about signatures) is followed until nothing is left to do:

    propose, if the core wants a batch and the policy (``node/proposer.py``) has one
    append what must be durable to the vote log: one frame, one sync
    only then send; then validate, execute, store, answer those who lag behind

**Faults.** A ``NodeFault``, or any exception that nobody expected, ends the driver: it is raised to the caller, and
so is every later call. The process must stop; it does not vote again.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from node.consensus.diagnosis import Diagnosis
from node.consensus.messages import (
    Commit,
    Evidence,
    Execute,
    Forward,
    Message,
    Ready,
    Supply,
    Validate,
)
from node.errors import NodeFault, PeerError, RefusedError
from node.executor import Executor
from node.forwarding import Forwarding
from node.intake import Intake, Verified
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.limits import BATCH_BYTES, BATCH_TRANSACTIONS, FRESH_SECONDS, HEARTBEAT_TICKS
from node.mempool import Mempool
from node.model.block import Batch
from node.model.certificate import Certificate
from node.model.epoch import Epoch
from node.model.genesis import Genesis
from node.model.keys import Signer, Verify
from node.model.transaction import MAX_NONCE, MAX_TRANSACTION_BYTES, Transaction
from node.supply import block_reply
from node.term import Term
from node.viewlog import ViewLog
from node.votelog import VoteLog

log = logging.getLogger(__name__)


class Ports(Protocol):
    """What the driver needs from the world around it."""

    def send(self, to: Sequence[str], message: Message) -> None:
        """Send to the members of these names. Never waits; may lose the message."""
        ...

    def check_signatures(self, transactions: Sequence[Transaction], done: Callable[[list[bool]], None]) -> None:
        """Check the transactions' signatures and call ``done`` with an answer for each, at once or later."""
        ...

    def clock_ms(self) -> int:
        """This machine's UTC clock in milliseconds since the epoch."""
        ...

    def committed(self, execution: Execution, certificate: Certificate) -> None:
        """A block was stored: tell those who wait for it."""
        ...

    def evidence(self, evidence: Evidence) -> None:
        """A member contradicted itself: keep the proof, name the member."""
        ...


@dataclass(frozen=True, slots=True)
class DriverStatus:
    """Where this node stands. ``in_flight``: proposals above ``height`` that this primary has made;
    ``consensus_items``: what the core holds in memory (``Replica.held``)."""

    view: int
    active: bool
    primary: int
    is_primary: bool
    height: int
    best_peer_height: int
    in_flight: int
    mempool_transactions: int
    mempool_bytes: int
    unverified_transactions: int
    consensus_items: int
    vote_log_bytes: int
    peer_errors: int


class Driver:
    """A node's loop, from its opened ledger and vote log on."""

    def __init__(
        self,
        genesis: Genesis,
        me: str,
        signer: Signer,
        verify: Verify,
        ledger: Ledger,
        executor: Executor,
        pool: Mempool,
        vote_log: VoteLog,
        records: Sequence[bytes],
        ports: Ports,
    ) -> None:
        """``me``: this member's name; ``records``: what ``VoteLog.open`` found."""
        self._genesis = genesis
        self._chain = genesis.chain
        self._ledger = ledger
        self._executor = executor
        self._pool = pool
        self._vote_log = vote_log
        self._ports = ports
        self._verified = Verified()
        self._forwarding = Forwarding(pool)
        self._intake = Intake(pool, self._forwarding, self._verified, self._chain, ports.check_signatures)
        epoch = ledger.epoch_at(ledger.head.height + 1)
        self._term = Term(self._chain, epoch, me, signer, verify, ledger, pool, records)
        self._ticks = 0
        self._stored_tick = 0
        self._execution: Execution | None = None
        self.views = ViewLog(*self._term.seen_view)
        self.bad_messages: Counter[tuple[str, str]] = Counter()
        """(peer, code) to how many messages, since the start."""
        self.clocks: dict[str, int] = {}
        """Member to by how many seconds of block time its newest fresh proposal was ahead of this node's clock."""
        self._running = False
        self._fault: NodeFault | None = None

    # Inputs.

    def receive(self, peer: str, message: Message) -> None:
        """A message came from the member with the name ``peer``, as its link's identity says. Raises NodeFault."""
        self.receive_all(((peer, message),))

    def receive_all(self, messages: Sequence[tuple[str, Message]]) -> None:
        """Several at once: what they make durable is synced together. Raises NodeFault."""
        self._refuse_after_fault()
        for peer, message in messages:
            try:
                self._take(peer, message)
            except PeerError as error:
                self._note_peer_error(peer, error)
            except NodeFault as fault:
                self._stop(fault)
                raise
        self._run()

    def _take(self, peer: str, message: Message) -> None:
        index = self._term.index_of(peer)
        if index is None:
            raise PeerError("wrong-sender", f"`{peer}` is no member")
        if isinstance(message, Forward):
            self._intake.forwarded(peer, message.transactions, self._ticks, self._now(), self._run)
        else:
            self._term.replica.step(index, message)

    def submit(self, tx: Transaction) -> None:
        """Take a client's transaction, whose signature the gateway has checked.

        Raises RefusedError as ``Mempool.add`` does; NodeFault.
        """
        self._refuse_after_fault()
        self._admit(tx)
        self._run()

    def submit_all(self, transactions: Sequence[Transaction]) -> list[RefusedError | None]:
        """Several at once; None for those that were taken in. Raises NodeFault."""
        self._refuse_after_fault()
        refusals: list[RefusedError | None] = []
        for tx in transactions:
            try:
                self._admit(tx)
                refusals.append(None)
            except RefusedError as refusal:
                refusals.append(refusal)
        self._run()
        return refusals

    def tick(self) -> None:
        """50 ms have passed; missed ticks count as one, and waiting messages are fed first. Raises NodeFault."""
        self._refuse_after_fault()
        self._ticks += 1
        self._forwarding.tick()
        surely_past = self._now() - self._slack_seconds
        self._pool.drop_expired(surely_past)
        pending = self._pool.has_includable(surely_past) or self._block_is_due(surely_past)
        overdue = not self._term.replica.is_primary and self._forwarding.overdue(
            self._term.patience_ticks, self._now() + self._slack_seconds
        )
        self._term.replica.tick(pending=pending, overdue=overdue)
        self._tell_everyone()
        self._run()

    @property
    def epoch(self) -> Epoch:
        """The epoch that this node works in."""
        return self._term.epoch

    def diagnosis(self) -> Diagnosis:
        """What the consensus waits for."""
        return self._term.replica.diagnosis()

    @property
    def status(self) -> DriverStatus:
        """A snapshot."""
        replica = self._term.replica
        return DriverStatus(
            view=replica.view,
            active=replica.is_active,
            primary=replica.primary,
            is_primary=replica.is_primary,
            height=replica.height,
            best_peer_height=replica.best_peer_height,
            in_flight=self._term.proposer.in_flight,
            mempool_transactions=len(self._pool),
            mempool_bytes=self._pool.size_bytes,
            unverified_transactions=self._intake.unverified,
            consensus_items=replica.held,
            vote_log_bytes=self._vote_log.size_bytes,
            peer_errors=self.bad_messages.total(),
        )

    # The loop.

    def _run(self) -> None:
        """Do all that there is to do; called from within itself (an answer came at once), leave it to the outer one."""
        if self._running:
            return
        self._running = True
        done = False
        try:
            while True:
                self._notice_view()
                self._term.proposer.propose(self._ticks, self._now, lambda: self._block_is_due(self._now()))
                ready = self._term.replica.ready()
                if not ready:
                    break
                self._obey(ready)
            self._tell_primary()
            done = True
        except NodeFault as fault:
            self._stop(fault)
            raise
        finally:
            self._running = False
            if not done and self._fault is None:
                self._stop(NodeFault("internal", "the driver was left by an unexpected error"))

    def _obey(self, ready: Ready) -> None:
        if ready.persist:
            self._vote_log.append(ready.persist)
        for send in ready.send:
            self._ports.send(self._term.names_of(send.to), send.message)
        if self._vote_log.wants_rewrite and ready.log_cut is not None:
            # After sending: a vote for the block just stored may leave with this very Ready, and is not kept.
            self._vote_log.rewrite(self._term.replica.log_snapshot())
        for validate in ready.validate:
            self._validate(validate)
        for execute in ready.execute:
            self._execute(execute)
        for commit in ready.commit:
            self._commit(commit)
        for supply in ready.supply:
            self._supply(supply)
        for evidence in ready.evidence:
            self._ports.evidence(evidence)
        for peer, error in ready.dropped:
            self._note_peer_error(self._term.names_of(peer)[0], error)

    def _note_peer_error(self, peer: str, error: PeerError) -> None:
        self.bad_messages[peer, error.code] += 1
        log.debug("%s: %s", peer, error)

    def _stop(self, fault: NodeFault) -> None:
        self._fault = fault

    def _refuse_after_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    # Time.

    def _now(self) -> int:
        """Block time by this node's clock, in seconds."""
        return self._genesis.block_time(self._ports.clock_ms())

    @property
    def _slack_seconds(self) -> int:
        """By how much two members' clocks may differ, in block time."""
        return FRESH_SECONDS * self._genesis.time_scale

    def _block_is_due(self, now: int) -> bool:
        """Whether a block without transactions is wanted at block time ``now``."""
        if self._ticks - self._stored_tick >= HEARTBEAT_TICKS:
            return True
        event = self._executor.next_event()
        return event is not None and event <= now

    def _notice_view(self) -> None:
        """After a change of view or of its state: whom to tell, and what may be proposed again."""
        term = self._term
        if not term.view_changed():
            return
        primary = term.names_of(term.replica.primary)[0]
        self.views.notice(*term.seen_view, primary, term.replica.last_cause, self._ticks, self._ports.clock_ms())
        if not term.replica.is_active:
            return
        self._forwarding.view_changed()
        self._term.proposer.view_began()

    # Obeying.

    def _validate(self, validate: Validate) -> None:
        """Judge a batch by its own bytes and, if it is new, the clock: never by state, so that all judge alike."""
        decoded = validate.decoded
        digest = validate.digest
        if validate.fresh:
            self.clocks[self._term.names_of(decoded.batch.proposer)[0]] = decoded.batch.time - self._now()
        is_foreign = any(tx.payload.chain != self._chain for tx in decoded.transactions)
        if is_foreign or not self._form_is_valid(decoded.batch, validate.fresh):
            self._term.replica.validated(digest, False, is_lie=is_foreign)
            return
        self._term.proposer.seen(decoded)
        self._forwarding.proposed(tx.id for tx in decoded.transactions)
        verified = self._verified
        unknown = [tx for tx in decoded.transactions if tx.digest not in verified]
        if not unknown:
            self._term.replica.validated(digest, True)
            return

        def checked(answers: list[bool]) -> None:
            if self._fault is None:
                verified.update(tx.digest for tx, good in zip(unknown, answers, strict=True) if good)
                self._term.replica.validated(digest, all(answers), is_lie=not all(answers))
                self._run()

        self._ports.check_signatures(unknown, checked)

    def _form_is_valid(self, batch: Batch, fresh: bool) -> bool:
        if not 0 <= batch.time <= MAX_NONCE:
            return False
        return not fresh or abs(batch.time - self._now()) <= self._slack_seconds

    def _execute(self, execute: Execute) -> None:
        execution = self._executor.execute(execute.height, execute.batch, execute.decoded)
        self._execution = execution
        header = execution.block.header
        self._term.replica.executed(execute.height, execute.batch_digest, header.parent_hash, execution.block_hash)

    def _commit(self, commit: Commit) -> None:
        execution = self._execution
        if execution is None or execution.block_hash != commit.block_hash:
            raise NodeFault("internal", f"block {commit.height} is to be stored and was not the last one executed")
        transactions = execution.transactions
        self._execution = None
        self._ledger.commit(execution, commit.certificate)
        self._term.replica.stored(commit.height)
        self._stored_tick = self._ticks
        self._term.stored()
        self._pool.committed(transactions)
        self._term.proposer.stored(commit.height, execution.block.header.batch_digest)
        full = (
            len(transactions) >= BATCH_TRANSACTIONS or len(execution.block.body) > BATCH_BYTES - MAX_TRANSACTION_BYTES
        )
        self._forwarding.committed(transactions, full=full)
        self._ports.committed(execution, commit.certificate)

    def _supply(self, supply: Supply) -> None:
        reply = block_reply(self._ledger, supply.first)
        if reply is not None:
            self._ports.send(self._term.names_of(supply.peer), reply)

    # Forwarding.

    def _admit(self, tx: Transaction) -> None:
        self._verified.add(tx.digest)
        self._pool.add(tx, self._now())
        self._forwarding.submitted(tx.id)

    def _tell_primary(self) -> None:
        if not self._term.replica.is_active:
            self._forwarding.no_primary()
        elif not self._term.replica.is_primary:
            for raws in self._forwarding.for_primary():
                self._ports.send(self._term.names_of(self._term.replica.primary), Forward(raws))

    def _tell_everyone(self) -> None:
        raws = self._forwarding.for_everyone()
        if raws:
            self._ports.send(self._term.others, Forward(raws))
