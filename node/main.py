"""A node as a process: opens everything that its configuration names, wires it, and runs until it is told to stop.

One event loop. Peers' messages and ticks go into the driver from here alone, clients' transactions through the gateway;
signature checks happen in other processes. Whatever makes this node unfit to vote (``NodeFault``) ends it.
"""

import asyncio
import gc
import itertools
import logging
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from node.admission_metrics import AdmissionMetrics
from node.backup import Backups
from node.consensus.messages import Evidence, Message
from node.driver import Driver
from node.eraser import Eraser
from node.errors import ConfigError, NodeFault
from node.evidence import EvidenceFiles
from node.executor import Executor
from node.gateway.access import Access
from node.gateway.admission import Admission
from node.gateway.feed import Feed
from node.gateway.service import Backend, GatewayServer
from node.ledger.execution import Execution
from node.limits import FAREWELL_BLOCKS, TICK_MS, TICKS_PER_SECOND, VERIFY_QUEUE_TRANSACTIONS
from node.mempool import Mempool
from node.model.certificate import Certificate
from node.model.epoch import Epoch, Validator
from node.model.keys import Signer, verify
from node.model.transaction import Transaction
from node.opening import Opened
from node.ports import DriverStatus
from node.setup import removed_error
from node.snapshot.maker import Maker
from node.snapshot.shelf import SNAPSHOTS_NAME, Shelf
from node.succession import neighbours
from node.transport.links import Transport, TransportSettings
from node.upgrades.watching import UpgradeWatch
from node.verifier import Verifier
from node.watch import Watch
from node.whose import Whose

log = logging.getLogger("watt.node")
tx_log = logging.getLogger("watt.tx")
"""What became of each transaction, at level debug (``watt node log``)."""

EVIDENCE_NAME = "evidence"
TICK_S = TICK_MS / 1000
DRAIN_ROUNDS = 20
DRAIN_S = 0.002
COLLECT_AFTER = (50_000, 20, 20)
"""Thresholds of the cycle collector: a block makes tens of thousands of objects that live on, and next to no cycles."""


Ending: TypeAlias = NodeFault | ConfigError | None
"""Why a node ends: a fault, that it is no member any more, or that it was told to."""


async def run(opened: Opened) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigError("port-in-use"), NodeFault."""
    ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
    verifier = Verifier(opened.config.limits.verify_workers, VERIFY_QUEUE_TRANSACTIONS, partial(_end, ended))
    await verifier.start()  # before gRPC has threads
    node = Node(opened, verifier, ended)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, partial(_end, ended, None))
    await node.run()


def _end(ended: "asyncio.Future[Ending]", ending: Ending) -> None:
    if not ended.done():
        ended.set_result(ending)


class Node:
    """The parts of a running node, and the driver's ports. ``ended``: set to end it, with a fault or None."""

    def __init__(self, opened: Opened, verifier: Verifier, ended: "asyncio.Future[Ending]") -> None:
        identity, config = opened.identity, opened.config
        self._opened = opened
        self._genesis = identity.genesis
        self._ended = ended
        self._verifier = verifier
        self._evidence = EvidenceFiles(
            config.path(config.data_dir) / EVIDENCE_NAME, identity.genesis, opened.ledger.boundaries
        )
        self._inbox: list[tuple[str, Message]] = []
        self._received = 0
        settings = TransportSettings(identity.genesis.chain, config.member, config.peer.listen)
        self._keys = identity.keys
        self._unsealing: asyncio.Task[Signer | None] | None = None
        seat = self._seat(opened.ledger.epoch_at(opened.ledger.head.height + 1))
        self._transport = Transport(settings, self._keys.tls(seat), (), self._take_in)
        executor = Executor(opened.ledger, opened.registry, identity.genesis)
        self._upgrades = UpgradeWatch(executor, lambda: opened.ledger.head.height)
        access = Access(opened.ledger, executor)
        self._feed = Feed(opened.ledger, access)
        self._whose = Whose(opened.ledger, lambda: executor.registry)
        pool = Mempool(opened.ledger, max_transactions=config.limits.mempool_transactions, whose=self._whose)
        self._driver = Driver(
            identity.genesis,
            config.member,
            verify,
            opened.ledger,
            executor,
            pool,
            opened.vote_log,
            opened.records,
            self,
        )
        shelf = Shelf(config.path(config.data_dir) / SNAPSHOTS_NAME)
        self._maker = Maker(opened.store, opened.ledger, shelf, self._fail)
        self._eraser = Eraser(opened.store, opened.ledger, shelf, lambda: self._maker.is_busy, self._fail)
        self._admission = Admission(pool, config.limits)
        backend = Backend(
            genesis=identity.genesis,
            name=config.member,
            signer=self._signer_now,
            ledger=opened.ledger,
            executor=executor,
            mempool=pool,
            driver=self._driver,
            verifier=verifier,
            feed=self._feed,
            now=lambda: self._genesis.block_time(self.clock_ms()),
            connected=self._transport.connected,
            shelf=shelf,
            failed=self._fail,
            admission=self._admission,
            access=access,
        )
        self._gateway = GatewayServer(backend, config.gateway.listen, opened.certificate)
        self._backups = Backups(opened.store, opened.ledger, identity.genesis, config.member)
        parts = (self._driver, self._transport, verifier, self._evidence, shelf, self._backups)
        closed_by = (opened.certificate, opened.operators)
        self._watch = Watch(
            config, identity.genesis, *parts, lambda: len(self._inbox), *closed_by, self._upgrades.report
        )
        self._watch.metrics.registry.register(
            AdmissionMetrics(lambda: self._admission.refused, pool.waiting_of, lambda: self._driver.forwards_dropped)
        )
        opened.vote_log.around_sync = self._watch.metrics.sync

    async def run(self) -> None:
        """Start everything, wait for the end, stop everything. Raises ConfigError("port-in-use"), NodeFault."""
        ticks: asyncio.Task[None] | None = None
        try:
            await self._transport.start()
            await self._gateway.start()
            await self._watch.start()
            ticks = asyncio.create_task(self._tick(), name="ticks")
            self._say_hello()
            gc.collect()
            gc.freeze()  # what was loaded to start stays: the collector need not look at it again
            gc.set_threshold(*COLLECT_AFTER)
            fault = await self._ended
        finally:
            if ticks is not None:
                ticks.cancel()
            await self._watch.stop()
            await self._gateway.stop()
            await self._transport.stop()
            await self._verifier.stop()
            await self._maker.stop()
            await self._eraser.stop()
            await asyncio.to_thread(self._backups.stop)
            self._opened.vote_log.close()
            self._opened.store.close()
        if isinstance(fault, ConfigError):
            log.warning("%s: %s", fault.code, fault.message)
            raise fault
        if fault is not None:
            log.critical("node-fault code=%s: %s", fault.code, fault.message)
            raise fault
        log.info("stopped height=%d", self._opened.ledger.head.height)

    # The driver's ports.

    def send(self, to: Sequence[str], message: Message) -> None:
        self._transport.send(to, message)

    def check_signatures(self, transactions: Sequence[Transaction], done: Callable[[list[bool]], None]) -> None:
        self._verifier.check(transactions, lambda answers: self._do(lambda: done(answers)))

    def clock_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def committed(self, execution: Execution, certificate: Certificate) -> None:
        height = execution.block.header.height
        self._whose.committed(execution.changes)
        self._feed.committed(execution)
        self._maker.committed()
        self._eraser.committed(execution)
        self._watch.stored(len(execution.transactions))
        if height + 1 == self._opened.ledger.epoch_at(height + 1).first_height + FAREWELL_BLOCKS:
            self._admit()
        if tx_log.isEnabledFor(logging.DEBUG):
            for receipt in execution.receipts:
                tx_log.debug("executed tx=%s height=%d code=%s", receipt.tx_id.hex(), height, receipt.code)

    def signer(self, epoch: Epoch) -> Signer | None:
        seat = self._seat(epoch)
        key = None if seat is None else self._keys.signer(seat) or self._keys.look_for(seat)
        if seat is not None and key is None:
            log.error("key-missing epoch=%d: this node follows and does not vote, for lack of its key", epoch.number)
        return key

    def epochs_changed(self) -> None:
        ledger = self._opened.ledger
        now = ledger.epoch_at(ledger.head.height + 1)
        seat, coming = self._seat(now), self._seat(ledger.epochs()[-1])
        self._admit()
        self._transport.identify(self._keys.tls(seat))
        if seat is not None:
            self._keys.take_up(seat)
        if coming is not None and self._keys.signer(coming) is None:
            self._unsealing = asyncio.create_task(asyncio.to_thread(self._keys.look_for, coming))

    def _admit(self) -> None:
        opened = self._opened
        self._transport.admit(neighbours(opened.ledger, opened.identity.name, opened.config.peer.addresses))

    def removed(self, height: int) -> None:
        _end(self._ended, removed_error(self._opened.identity.name, height))

    def evidence(self, evidence: Evidence) -> None:
        self._evidence.keep(evidence)

    def _seat(self, epoch: Epoch) -> Validator | None:
        index = epoch.index_of(self._opened.identity.name)
        return None if index is None else epoch.members[index]

    def _signer_now(self) -> Signer:
        """For what this node says to clients, as a member if it is one."""
        seat = self._seat(self._driver.epoch)
        return (None if seat is None else self._keys.signer(seat)) or self._keys.main

    # Into the driver.

    def _fail(self, fault: NodeFault) -> None:
        _end(self._ended, fault)

    def _take_in(self, peer: str, message: Message) -> None:
        """Messages that arrive together are fed together, so that their votes are synced together."""
        if not self._inbox:
            asyncio.get_running_loop().call_soon(self._feed_driver)
        self._inbox.append((peer, message))

    def _feed_driver(self) -> None:
        messages, self._inbox = self._inbox, []
        self._received += len(messages)
        self._do(lambda: self._driver.receive_all(messages))

    async def _tick(self) -> None:
        """A tick every TICK_MS. After a pause, what has arrived meanwhile goes first and missed ticks count as one."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        seen = self._driver.status
        for tick in itertools.count(1):
            due += TICK_S
            await asyncio.sleep(max(0.0, due - loop.time()))
            if loop.time() - due > TICK_S:
                await self._drain()
                due = loop.time()
            self._do(self._driver.tick)
            if tick % TICKS_PER_SECOND == 0:
                seen = self._tell_changes(seen)
                await self._gateway.tell_ready(not self._watch.unready())

    def _tell_changes(self, before: DriverStatus) -> DriverStatus:
        """Log what an operator wants to know of the last second."""
        self._upgrades.look()
        status = self._driver.status
        if status.peer_errors != before.peer_errors:
            wrong = status.peer_errors - before.peer_errors
            log.warning("peer-errors count=%d: messages that no correct member sends were dropped", wrong)
        return status

    async def _drain(self) -> None:
        for _ in range(DRAIN_ROUNDS):
            before = self._received
            await asyncio.sleep(DRAIN_S)
            if self._received == before:
                return

    def _do(self, step: Callable[[], object]) -> None:
        """Anything that goes wrong inside the driver ends the node; after the end nothing is done."""
        if self._ended.done():
            return
        try:
            step()
        except NodeFault as fault:
            self._fail(fault)
        except Exception as error:  # logged and fatal: a node with a mistake in it does not vote
            log.critical("internal: the driver failed", exc_info=error)
            self._fail(NodeFault("internal", f"the driver failed: {type(error).__name__}"))

    def _say_hello(self) -> None:
        config, head = self._opened.config, self._opened.ledger.head
        log.info(
            "running member=%s chain=%s height=%d peers=%s gateway=%s",
            config.member,
            self._genesis.chain.hex()[:16],
            head.height,
            config.peer.listen,
            config.gateway.listen,
        )
