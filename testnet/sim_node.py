"""One simulated node: the production driver, core, executor, ledger, pool and vote log on a fake disk and network."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from chaincode.governance import ADD
from chaincode.registry import Registry
from chaincode.upgrades import Find
from node.consensus.messages import Evidence, Message
from node.consensus.records import first_records
from node.consensus.settings import Memory
from node.driver import Driver
from node.errors import NodeFault, RefusedError
from node.executor import Executor
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.limits import TICK_MS
from node.mempool import Mempool
from node.model.certificate import Certificate
from node.model.epoch import Epoch
from node.model.genesis import GENESIS_FORMAT, Genesis, Member, Token
from node.model.keys import Signer
from node.model.transaction import Transaction
from node.succession import near_epochs
from node.votelog import VoteLog
from testnet.sim_disk import Crash, Fuse, SimDisk
from testnet.sim_epochs import machine_of, member_name
from testnet.sim_members import Change, certificate
from testnet.sim_world import MS, START_CLOCK_MS, Agenda, RememberedKey, Signatures

LOG_REWRITE_BYTES = 8 * 1024
"""Small, so that rewriting meets crashes often."""

INBOX_MESSAGES = 2_000
"""What waits for a node that is paused, as a real node's socket buffers would hold it."""


@dataclass(slots=True)
class Surroundings:
    """What all nodes of one history share."""

    genesis: Genesis
    registry: Callable[[Find], Registry]
    signatures: Signatures
    agenda: Agenda
    dice: Random
    send: "Callable[[SimNode, int, Message], None]"
    observer: "Observer"
    count: int


class Observer(Protocol):
    """Who watches the nodes: checker, clients and trace, through the simulation."""

    def on_send(self, node: "SimNode", to: int, message: Message) -> None:
        """A message leaves; called before the network has it, once for each receiver."""
        ...

    def on_stored(self, node: "SimNode", execution: Execution, certificate: Certificate) -> None:
        """A block is on the node's disk."""
        ...

    def on_start(self, node: "SimNode") -> None:
        """The node has started, from what its disk holds."""
        ...

    def on_crash(self, node: "SimNode") -> None:
        """The node died."""
        ...

    def on_fault(self, node: "SimNode", fault: NodeFault) -> None:
        """The node has stopped by itself: none does here whose disk keeps its promises."""
        ...

    def on_removed(self, node: "SimNode", height: int) -> None:
        """The node has stopped, or does not start: it is no member any more from this height on."""
        ...

    def on_evidence(self, node: "SimNode", evidence: Evidence) -> None:
        """The node holds proof against another: no correct node gives any."""
        ...


def simulated_genesis(members: Sequence[bytes], contracts: dict[str, dict[str, Any]], time_scale: int) -> Genesis:
    """The genesis of a history. ``members``: their public keys. They have certificates if governance is a contract."""
    start_s = START_CLOCK_MS // 1000
    return Genesis(
        format=GENESIS_FORMAT,
        name="simulated",
        token=Token("WATT", 9, 10**6),
        members=tuple(
            Member(name, key.hex(), certificate(name) if "governance" in contracts else "")
            for name, key in zip(map(member_name, range(len(members))), members, strict=True)
        ),
        clock_origin=start_s,
        time_origin=start_s,
        time_scale=time_scale,
        contracts=contracts,
    )


class SimNode:
    """A node that may die at any operation, lose what it did not sync, pause, and have a clock of its own."""

    def __init__(self, index: int, key: RememberedKey, around: Surroundings, name: str = "") -> None:
        self.index = index
        self.name = name or f"n{index}"
        """How the trace calls it; ``index`` is its identity, which a twin shares. In every epoch: what index the chain
        gives it there is another thing."""
        self.key = key
        self.keys = [key]
        """What it signs with: the first of them, and the next ones."""
        self.in_service = True
        """Whether it is to run: not before it was added, nor after it was removed."""
        self.links: frozenset[int] = frozenset()
        """From whom it takes anything."""
        self.around = around
        self.fuse = Fuse()
        self.disk = SimDisk(around.dice, self.fuse)
        VoteLog.create(self.disk, salt=around.dice.randbytes)
        self.driver: Driver | None = None
        self.ledger: Ledger | None = None
        self.executor: Executor | None = None
        self.height = 0
        """Of the newest block on its disk, as it last knew when it ran."""
        self.paused = False
        self.clock_skew_ms = 0
        self.restarts = 0
        self.incarnation = 0
        self._inbox: deque[tuple[int, Message]] = deque(maxlen=INBOX_MESSAGES)

    @property
    def is_up(self) -> bool:
        """Whether it runs; it may be paused."""
        return self.driver is not None

    def start(self) -> None:
        """Start from what the disk holds, if it is to run; may die on the way."""
        if not self.in_service:
            return
        self.incarnation += 1
        self._guarded(self._open)

    def receive(self, peer: int, message: Message) -> None:
        """A message arrives."""
        if self.driver is None or peer not in self.links:
            return
        if self.paused:
            self._inbox.append((peer, message))
        else:
            driver = self.driver
            self._guarded(lambda: driver.receive(member_name(peer), message))

    def submit(self, tx: Transaction) -> str:
        """A client submits; "ok", or the code of the refusal, or "down"."""
        if self.driver is None or self.paused:
            return "down"
        driver = self.driver
        code = "down"  # if it dies before it answers

        def call() -> None:
            nonlocal code
            try:
                driver.submit(tx)
                code = "ok"
            except RefusedError as refusal:
                code = refusal.code

        self._guarded(call)
        return code

    def ask(self, question: Callable[[], None]) -> None:
        """Somebody asks this node: if its disk fails at that, it ends, as a gateway would end it."""
        self._guarded(question)

    def crash(self, *, power_loss: bool) -> None:
        """Die now."""
        if self.driver is not None:
            self._die(power_loss=power_loss)

    def light_fuse(self, operations: int | None, *, disk_only: bool = False) -> None:
        """Die at the operation on disk (or network) after so many more; None puts the fuse out."""
        self.fuse.left, self.fuse.disk_only = operations, disk_only

    def resume(self) -> None:
        """After a pause: first what arrived meanwhile, then time."""
        self.paused = False
        if self.driver is not None and self._inbox:
            waiting = list(self._inbox)
            self._inbox.clear()
            driver = self.driver
            self._guarded(lambda: driver.receive_all([(member_name(peer), message) for peer, message in waiting]))

    def _open(self) -> None:
        around = self.around
        registry = around.registry(self.disk.bundles.get)
        ledger = Ledger.open(self.disk.store, around.genesis, registry)
        gone_since = self._gone_since(ledger)
        if gone_since is not None:
            self.retire(gone_since)
            return
        executor = Executor(ledger, registry, around.genesis)
        self.ledger, self.executor = ledger, executor
        executor.require_upgrades()
        self.link(ledger)
        vote_log, records = VoteLog.open(
            self.disk,
            around.genesis.chain,
            ledger.epoch_at(ledger.head.height + 1).number,
            lost_records=first_records(Memory.LOST),
            salt=around.dice.randbytes,
            rewrite_above_bytes=LOG_REWRITE_BYTES,
        )
        self.driver = Driver(
            around.genesis,
            member_name(self.index),
            around.signatures.verify,
            ledger,
            executor,
            Mempool(ledger),
            vote_log,
            records,
            _Ports(self),
        )
        around.observer.on_start(self)
        around.agenda.after(int(around.dice.random() * TICK_MS * MS), self._tick, self.incarnation)

    def link(self, ledger: Ledger) -> None:
        """Take messages from the members of the epochs around the present one, and of nobody else."""
        names = {member.name for epoch in near_epochs(ledger) for member in epoch.members}
        self.links = frozenset(map(machine_of, names)) - {self.index}

    def signer(self, epoch: Epoch) -> RememberedKey | None:
        """The key that the epoch knows it by; None if it is no member."""
        index = epoch.index_of(member_name(self.index))
        wanted = None if index is None else epoch.keys[index]
        return next((key for key in self.keys if key.public_key == wanted), None)

    def _gone_since(self, ledger: Ledger) -> int | None:
        """From which height on it is no member any more, as a node finds out at its start."""
        me, epochs = member_name(self.index), ledger.epochs()
        was = [epoch.number for epoch in epochs if epoch.index_of(me) is not None]
        now = ledger.epoch_at(ledger.head.height + 1)
        return epochs[was[-1] + 1].first_height if was and was[-1] < now.number else None

    def retire(self, height: int) -> None:
        """It is no member any more from this height on: it ends for good."""
        self.in_service = False
        self._end(power_loss=False)
        self.around.observer.on_removed(self, height)

    def _tick(self, incarnation: int) -> None:
        if incarnation != self.incarnation or self.driver is None:
            return
        if not self.paused:
            self._guarded(self.driver.tick)
        self.around.agenda.after(TICK_MS * MS, self._tick, incarnation)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Crash:
            self._die(power_loss=self.around.dice.random() < 0.5)
        except NodeFault as fault:
            self._end(power_loss=False)
            self.around.observer.on_fault(self, fault)

    def _die(self, *, power_loss: bool) -> None:
        self._end(power_loss=power_loss)
        self.around.observer.on_crash(self)

    def _end(self, *, power_loss: bool) -> None:
        if self.ledger is not None:
            self.height = self.ledger.head.height
        self.driver = self.ledger = self.executor = None
        self.incarnation += 1
        self.restarts += 1
        self.paused = False
        self._inbox.clear()
        self.disk.crash(power_loss=power_loss)

    def in_this_life(self, action: Callable[[], None]) -> Callable[[], None]:
        """``action``, unless the node has died in the meantime."""
        incarnation = self.incarnation

        def call() -> None:
            if incarnation == self.incarnation:
                self._guarded(action)

        return call


class _Ports:
    """The driver's ``Ports`` into the simulated world."""

    def __init__(self, node: SimNode) -> None:
        self._node = node
        self._around = node.around

    def send(self, to: Sequence[str], message: Message) -> None:
        node, around = self._node, self._around
        for receiver in map(machine_of, to):
            node.fuse.burn(on_disk=False)
            around.observer.on_send(node, receiver, message)
            around.send(node, receiver, message)

    def check_signatures(self, transactions: Sequence[Transaction], done: Callable[[list[bool]], None]) -> None:
        answers = [tx.signature_is_valid(self._around.signatures.verify) for tx in transactions]
        if self._around.dice.random() < 0.5:
            done(answers)
        else:
            delay = int(self._around.dice.random() * 20 * MS)
            self._around.agenda.after(delay, self._node.in_this_life(lambda: done(answers)))

    def clock_ms(self) -> int:
        return START_CLOCK_MS + self._around.agenda.now // MS + self._node.clock_skew_ms

    def committed(self, execution: Execution, certificate: Certificate) -> None:
        self._around.observer.on_stored(self._node, execution, certificate)

    def evidence(self, evidence: Evidence) -> None:
        self._around.observer.on_evidence(self._node, evidence)

    def signer(self, epoch: Epoch) -> Signer | None:
        return self._node.signer(epoch)

    def epochs_changed(self) -> None:
        if self._node.ledger is not None:
            self._node.link(self._node.ledger)

    def removed(self, height: int) -> None:
        self._around.agenda.after(0, self._node.in_this_life(lambda: self._node.retire(height)))


def newcomers(plan: Sequence[Change], count: int, signatures: Signatures, around: Surroundings) -> list[SimNode]:
    """The nodes that are to be added to ``count`` members: with a key, a disk with nothing on it, and switched off."""
    added = sorted(change.machine for change in plan if change.kind == ADD)
    nodes = [SimNode(machine, signatures.signer(bytes([1, machine]) * 16), around) for machine in added]
    for node in nodes:
        node.in_service = False
    return nodes
