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
from collections.abc import Sequence

from node.consensus.diagnosis import Diagnosis
from node.consensus.messages import (
    Commit,
    Execute,
    Forward,
    Message,
    Ready,
    Status,
    Supply,
    Validate,
)
from node.consensus.records import first_records
from node.consensus.settings import Memory
from node.errors import NodeFault, PeerError, RefusedError
from node.executor import Executor
from node.forwarding import Forwarding
from node.intake import Intake, Verified
from node.judge import BlockClock, Judge
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.limits import BATCH_BYTES, HEARTBEAT_TICKS
from node.mempool import Mempool
from node.model.epoch import Epoch
from node.model.genesis import Genesis
from node.model.keys import Verify
from node.model.transaction import MAX_TRANSACTION_BYTES, Transaction
from node.ports import DriverStatus, Ports
from node.quarantine import Quarantine
from node.succession import Succession
from node.supply import Supplier
from node.term import Term
from node.viewlog import ViewLog
from node.votelog import VoteLog

log = logging.getLogger(__name__)


class Driver:
    """A node's loop, from its opened ledger and vote log on."""

    def __init__(
        self,
        genesis: Genesis,
        me: str,
        verify: Verify,
        ledger: Ledger,
        executor: Executor,
        pool: Mempool,
        vote_log: VoteLog,
        records: Sequence[bytes],
        ports: Ports,
    ) -> None:
        """``me``: this member's name; ``vote_log``, ``records``: what ``VoteLog.open`` gave."""
        self._chain = genesis.chain
        self._me = me
        self._verify = verify
        self._ledger = ledger
        self._executor = executor
        self._pool = pool
        self._vote_log = vote_log
        self._ports = ports
        self._clock = BlockClock(genesis, ports.clock_ms)
        self._verified = Verified()
        self._judge = Judge(self._chain, self._clock, self._verified, ports.check_signatures)
        self._forwarding = Forwarding(pool)
        self._intake = Intake(pool, self._forwarding, self._verified, self._chain, ports.check_signatures)
        self._supplier = Supplier(ledger)
        self._succession = Succession(ledger, me, ports, self._supplier)
        memory = Memory.LOST if vote_log.set_aside else Memory.KEPT
        self._term = self._new_term(ledger.epoch_at(ledger.head.height + 1), records, memory)
        self._quarantine = Quarantine()
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
        self._succession.start(self._term)

    # Inputs.

    def receive(self, peer: str, message: Message) -> None:
        """A message came from the member with the name ``peer``, as its link's identity says. Raises NodeFault."""
        self.receive_all(((peer, message),))

    def receive_all(self, messages: Sequence[tuple[str, Message]]) -> None:
        """Several at once: what they make durable is synced together. Raises NodeFault."""
        self._refuse_after_fault()
        for peer, message in messages:
            if not self._quarantine.admits(peer, self._ticks):
                continue
            try:
                self._take(peer, message)
            except PeerError as error:
                self._note_peer_error(peer, error)
            except NodeFault as fault:
                self._stop(fault)
                raise
        self._run()

    def _take(self, peer: str, message: Message) -> None:
        term = self._term
        index = term.index_of(peer)
        if self._succession.takes(term, peer, message) or index is None:
            return
        if isinstance(message, Forward):
            self._intake.forwarded(peer, message.transactions, self._ticks, self._clock.now(), self._run)
        else:
            term.replica.step(index, message)

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
        surely_past = self._clock.now() - self._clock.slack_seconds
        self._pool.drop_expired(surely_past)
        pending = self._pool.has_includable(surely_past) or self._block_is_due(surely_past)
        overdue = not self._term.replica.is_primary and self._forwarding.overdue(
            self._term.patience_ticks, self._clock.now() + self._clock.slack_seconds
        )
        self._term.replica.tick(pending=pending, overdue=overdue)
        self._tell_everyone()
        self._run()
        self._succession.tick()

    def hears(self, peer: str) -> bool:
        """Whether messages of ``peer`` are read at present: after a burst of garbage they are not, for a while."""
        return not self._quarantine.is_muted(peer, self._ticks)

    @property
    def forwards_dropped(self) -> dict[str, int]:
        """Peer to how many transactions that it forwarded were beyond its share, and not read."""
        return self._intake.dropped()

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
                self._term.proposer.propose(self._ticks, self._clock.now, lambda: self._block_is_due(self._clock.now()))
                ready = self._term.replica.ready()
                if ready:
                    self._obey(ready)
                elif self._succession.coming is not None and self._term.replica.is_finished:
                    self._begin(self._succession.coming)
                else:
                    break
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
            to = self._term.names_of(send.to)
            guests = self._succession.guests if isinstance(send.message, Status) else ()
            self._ports.send((*to, *guests), send.message)
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
        if ready.forgotten:
            log.error(
                "vote-forgotten epoch=%d count=%d: what this member has signed is not in its vote log: an old copy of "
                "its disk was restored, or another process has its key",
                *(self._term.epoch.number, len(ready.forgotten)),
            )
        for peer, error in ready.dropped:
            self._note_peer_error(self._term.names_of(peer)[0], error)

    def _note_peer_error(self, peer: str, error: PeerError) -> None:
        self.bad_messages[peer, error.code] += 1
        log.debug("%s: %s", peer, error)
        if self._quarantine.note(peer, error.code, self._ticks):
            log.warning("muted peer=%s code=%s: it sends what no correct member sends", peer, error.code)

    def _stop(self, fault: NodeFault) -> None:
        self._fault = fault

    def _refuse_after_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    # Epochs.

    def _new_term(self, epoch: Epoch, records: Sequence[bytes], memory: Memory) -> Term:
        signer = self._ports.signer(epoch)
        start = self._ports.clock_ms()
        where = (self._ledger, self._pool)
        return Term(self._chain, epoch, self._me, signer, self._verify, *where, records, memory, start)

    def _begin(self, epoch: Epoch) -> None:
        """The last block before ``epoch`` is stored: from here on, this node lives in it.

        The vote log comes first. Dying before that, it is dropped at the next start, since the ledger is ahead of it;
        afterwards it is what a replica of the new epoch begins with.
        """
        old = self._term
        memory = self._succession.memory(old, epoch)
        self._vote_log.rewrite(first_records(memory), epoch=epoch.number)
        self._term = self._new_term(epoch, first_records(memory), memory)
        self.views.restart(*self._term.seen_view)
        self._pool.untake()
        self._forwarding.view_changed()
        self._quarantine.keep(frozenset(self._term.others))
        log.info("epoch number=%d first-height=%d members=%d", epoch.number, epoch.first_height, len(epoch.members))
        for peer, message in self._succession.begun(old, self._term):
            try:
                self._take(peer, message)
            except PeerError as error:
                self._note_peer_error(peer, error)

    # Time.

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
        term, decoded = self._term, validate.decoded
        if validate.fresh:
            self.clocks[term.names_of(decoded.batch.proposer)[0]] = decoded.batch.time - self._clock.now()

        def answer(ok: bool, is_lie: bool) -> None:
            if self._fault is None:
                term.replica.validated(validate.digest, ok, is_lie=is_lie)
                self._run()

        if self._judge.judge(validate, answer):
            term.proposer.seen(decoded)
            self._forwarding.proposed(tx.id for tx in decoded.transactions)

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
        full = self._pool.is_full(transactions) or len(execution.block.body) > BATCH_BYTES - MAX_TRANSACTION_BYTES
        self._forwarding.committed(transactions, full=full)
        self._ports.committed(execution, commit.certificate)
        self._succession.look(self._term)

    def _supply(self, supply: Supply) -> None:
        to = self._term.names_of(supply.peer)
        reply = self._supplier.for_member(to[0], supply.first)
        if reply is not None:
            self._ports.send(to, reply)

    # Forwarding.

    def _admit(self, tx: Transaction) -> None:
        if self._term.settings.is_observer:
            raise RefusedError("not-a-member", "this node follows and is no member: it cannot have anything ordered")
        self._verified.add(tx.digest)
        self._pool.add(tx, self._clock.now())
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
