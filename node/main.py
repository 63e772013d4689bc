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
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeAlias

from node.consensus.messages import Evidence, Message
from node.driver import Driver
from node.errors import ConfigError, NodeFault
from node.gateway.service import Backend, GatewayServer
from node.ledger.execution import Execution
from node.limits import TICK_MS, TICKS_PER_SECOND, VERIFY_QUEUE_TRANSACTIONS
from node.model.certificate import Certificate
from node.model.epoch import Epoch
from node.model.keys import Signer, verify
from node.model.transaction import Transaction
from node.opening import Opened
from node.parts import assemble
from node.ports import DriverStatus
from node.setup import removed_error
from node.verifier import Verifier
from node.watch import Watch

log = logging.getLogger("watt.node")
tx_log = logging.getLogger("watt.tx")
"""What became of each transaction, at level debug (``watt node log``)."""

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
    """A running node: its parts, the driver over them, and two doors, for clients and for operators. It is the driver's
    ports. ``ended``: set to end it, with a fault or None."""

    def __init__(self, opened: Opened, verifier: Verifier, ended: "asyncio.Future[Ending]") -> None:
        self._opened = opened
        self._genesis = opened.identity.genesis
        self._ended = ended
        self._inbox: list[tuple[str, Message]] = []
        self._received = 0
        self._parts = parts = assemble(opened, verifier, self._take_in, self._fail)
        self._driver = Driver(
            self._genesis,
            opened.identity.name,
            verify,
            opened.ledger,
            parts.executor,
            parts.pool,
            opened.vote_log,
            opened.records,
            self,
        )
        self._gateway = GatewayServer(self._backend(), opened.config.gateway.listen, opened.certificate)
        self._watch = Watch(opened, parts, self._driver, lambda: len(self._inbox))
        opened.vote_log.around_sync = self._watch.metrics.sync

    def _backend(self) -> Backend:
        opened, parts = self._opened, self._parts
        return Backend(
            genesis=self._genesis,
            name=opened.identity.name,
            signer=lambda: parts.membership.speaker(self._driver.epoch),
            ledger=opened.ledger,
            executor=parts.executor,
            mempool=parts.pool,
            driver=self._driver,
            verifier=parts.verifier,
            feed=parts.feed,
            now=lambda: self._genesis.block_time(self.clock_ms()),
            connected=parts.transport.connected,
            shelf=parts.shelf,
            failed=self._fail,
            admission=parts.admission,
            access=parts.access,
        )

    async def run(self) -> None:
        """Start links, gateway and the operators' door, then tick until the end. All stops in the opposite order, even
        what has not come to start. Raises ConfigError("port-in-use"), NodeFault."""
        opened, parts = self._opened, self._parts
        doors = (parts.transport, self._gateway, self._watch)
        async with AsyncExitStack() as stops:
            stops.callback(opened.store.close)
            stops.callback(opened.vote_log.close)
            stops.push_async_callback(asyncio.to_thread, parts.backups.stop)
            for part in (parts.eraser, parts.maker, parts.verifier, *doors):
                stops.push_async_callback(part.stop)
            for door in doors:
                await door.start()
            stops.callback(asyncio.create_task(self._tick(), name="ticks").cancel)
            self._say_hello()
            gc.collect()
            gc.freeze()  # what was loaded to start stays: the collector need not look at it again
            gc.set_threshold(*COLLECT_AFTER)
            fault = await self._ended
        if isinstance(fault, ConfigError):
            log.warning("%s: %s", fault.code, fault.message)
            raise fault
        if fault is not None:
            log.critical("node-fault code=%s: %s", fault.code, fault.message)
            raise fault
        log.info("stopped height=%d", opened.ledger.head.height)

    # The driver's ports.

    def send(self, to: Sequence[str], message: Message) -> None:
        self._parts.transport.send(to, message)

    def check_signatures(self, transactions: Sequence[Transaction], done: Callable[[list[bool]], None]) -> None:
        self._parts.verifier.check(transactions, lambda answers: self._do(lambda: done(answers)))

    def clock_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def committed(self, execution: Execution, certificate: Certificate) -> None:
        parts = self._parts
        parts.whose.committed(execution.changes)
        parts.admission.committed(execution.transactions)
        parts.feed.committed(execution)
        parts.maker.committed()
        parts.eraser.committed(execution)
        self._watch.stored(len(execution.transactions))
        parts.membership.stored()
        if tx_log.isEnabledFor(logging.DEBUG):
            height = execution.block.header.height
            for receipt in execution.receipts:
                tx_log.debug("executed tx=%s height=%d code=%s", receipt.tx_id.hex(), height, receipt.code)

    def signer(self, epoch: Epoch) -> Signer | None:
        return self._parts.membership.signer(epoch)

    def epochs_changed(self) -> None:
        self._parts.membership.epochs_changed()

    def removed(self, height: int) -> None:
        _end(self._ended, removed_error(self._opened.identity.name, height))

    def evidence(self, evidence: Evidence) -> None:
        self._parts.evidence.keep(evidence)

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
        self._parts.upgrades.look()
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
