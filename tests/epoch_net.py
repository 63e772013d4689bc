"""Production drivers on simulated disks, with messages that go at once or not at all, and members that change.

Smaller than the simulator: a test says who loses what, ticks, and looks.
"""

from collections import deque
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any

from chaincode.governance import NOTICE, Governance
from chaincode.registry import Registry
from node.consensus.messages import Evidence, Message
from node.consensus.records import first_records
from node.consensus.settings import Memory
from node.driver import Driver
from node.executor import Executor
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.limits import TICK_MS
from node.mempool import Mempool
from node.model.certificate import Certificate
from node.model.epoch import Epoch
from node.model.keys import Signer, SigningKey, verify
from node.model.transaction import Transaction, sign_transaction
from node.votelog import VoteLog
from testnet.sim_disk import Crash, Fuse, SimDisk
from tests.chaincode.town import pem
from tests.ledger.epoch_chains import FOREVER, NAMES, key_of, make_genesis

REGISTRY = Registry([Governance()])
AHEAD = NOTICE + 4
"""A proposal, two approvals, and the notice that a change needs."""


class Machine:
    """One node; also the driver's ports. ``keys``: what it signs with, by what an epoch knows it by."""

    def __init__(self, net: "EpochNet", name: str) -> None:
        self.net = net
        self.name = name
        self.keys: list[SigningKey] = [key_of(name)]
        self.fuse = Fuse()
        self.disk = SimDisk(Random(0), self.fuse)
        VoteLog.create(self.disk, salt=lambda size: b"s" * size)
        self.driver: Driver | None = None
        self.removed_at: int | None = None
        self.evidence_against: list[int] = []

    def start(self) -> None:
        registry = self.net.registry_of(self.name)
        ledger = Ledger.open(self.disk.store, self.net.genesis, registry)
        epoch = ledger.epoch_at(ledger.head.height + 1)
        lost = first_records(Memory.LOST)
        log, records = VoteLog.open(
            self.disk, self.net.genesis.chain, epoch.number, lost_records=lost, salt=lambda size: b"s" * size
        )
        self.ledger = ledger
        executor = Executor(ledger, registry, self.net.genesis)
        self.driver = Driver(
            *(self.net.genesis, self.name, verify, ledger, executor, Mempool(ledger), log, records, self)
        )

    def use(self, action: Callable[[Driver], object]) -> None:
        """Do something with the driver; a node whose fuse burns down is dead afterwards."""
        if self.driver is None:
            return
        try:
            action(self.driver)
        except Crash:
            self.crash()

    def crash(self) -> None:
        self.driver = None
        self.disk.crash(power_loss=False)

    @property
    def height(self) -> int:
        return self.ledger.head.height

    @property
    def epoch(self) -> int:
        assert self.driver is not None
        return self.driver.epoch.number

    # The driver's ports.

    def send(self, to: Sequence[str], message: Message) -> None:
        for name in to:
            self.fuse.burn(on_disk=False)
            self.net.sent.append((self.name, name, message))
            if not self.net.drop(self.name, name, message):
                self.net.queue.append((self.name, name, message))

    def check_signatures(self, transactions: Sequence[Transaction], done: Callable[[list[bool]], None]) -> None:
        done([tx.signature_is_valid(verify) for tx in transactions])

    def clock_ms(self) -> int:
        return self.net.clock_ms

    def committed(self, execution: Execution, certificate: Certificate) -> None: ...

    def evidence(self, evidence: Evidence) -> None:
        self.evidence_against.append(evidence.member)

    def signer(self, epoch: Epoch) -> Signer | None:
        index = epoch.index_of(self.name)
        wanted = None if index is None else epoch.keys[index]
        return next((key for key in self.keys if key.public_key == wanted), None)

    def epochs_changed(self) -> None: ...

    def removed(self, height: int) -> None:
        self.removed_at = height


class EpochNet:
    """The members of the genesis, running and past their recall, and whoever is added."""

    def __init__(
        self, *others: str, clock_ms: int = 1_000_000, registry_of: Callable[[str], Registry] = lambda name: REGISTRY
    ) -> None:
        """``registry_of``: what a machine has installed."""
        self.genesis = make_genesis()
        self.registry_of = registry_of
        self.clock_ms = clock_ms
        self.queue: deque[tuple[str, str, Message]] = deque()
        self.sent: list[tuple[str, str, Message]] = []
        self.drop: Callable[[str, str, Message], bool] = lambda sender, to, message: False
        self.dice: Random | None = None
        """If given, messages arrive in any order."""
        self.machines = {name: Machine(self, name) for name in (*NAMES, *others)}
        self._nonces: dict[str, int] = {}
        self._proposals = 0
        self.start()

    def start(self) -> None:
        for machine in self.machines.values():
            machine.start()
        self.tick(10)

    def fork(self) -> "EpochNet":
        """Another network with the same disks, all its nodes just started."""
        twin: EpochNet = EpochNet.__new__(EpochNet)
        twin.__dict__.update(self.__dict__, queue=deque(), sent=[], dice=None, _nonces=dict(self._nonces))
        twin.machines = {}
        for name, machine in self.machines.items():
            copied = twin.machines[name] = Machine(twin, name)
            copied.keys, copied.disk = machine.keys, deepcopy(machine.disk)
            copied.fuse = copied.disk.fuse
        twin.start()
        return twin

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    @property
    def up(self) -> list[Machine]:
        return [machine for machine in self.machines.values() if machine.driver is not None]

    def deliver(self, most: int = 100_000) -> None:
        """Until nothing is under way; those to machines that are down are lost."""
        for _ in range(most):
            if not self.queue:
                return
            if self.dice is not None:
                self.queue.rotate(-self.dice.randrange(len(self.queue)))
            sender, to, message = self.queue.popleft()
            if (machine := self.machines.get(to)) is not None:
                machine.use(lambda driver, s=sender, m=message: driver.receive(s, m))  # type: ignore[misc]
        raise AssertionError("messages without end")

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.clock_ms += TICK_MS
            for machine in self.up:
                machine.use(lambda driver: driver.tick())
            self.deliver()

    def call(self, admin: str, method: str, via: str = "ada", *, contract: str = "governance", **args: Any) -> None:
        """A transaction of an admin, given to a node; not waited for."""
        tx = self.transaction(admin, method, contract, **args)
        self[via].use(lambda driver: driver.submit(tx))
        self.deliver()

    def transaction(self, admin: str, method: str, contract: str = "governance", **args: Any) -> Transaction:
        """The admin's next one."""
        self._nonces[admin] = nonce = self._nonces.get(admin, 0) + 1
        key = key_of(f"admin of {admin}")
        return sign_transaction(key, self.genesis.chain, nonce, contract, method, args, FOREVER)

    def block(self, via: str = "ada") -> None:
        """Something to be ordered: an approval of what nobody has proposed."""
        self.call("dan", "approve", via, proposal=10**6, digest=b"")

    def change(
        self, kind: str, name: str, admins: Sequence[str] = NAMES, via: str = "ada", keys: dict[str, Any] | None = None
    ) -> int:
        """Propose and approve; from which height on it is so."""
        first_height = self[via].height + AHEAD
        full = {"public_key": key_of(name).public_key, "tls_certificate": pem(name).encode(),
                "admin_key": key_of(f"admin of {name}").public_key, "address": "127.0.0.1:1"}  # fmt: skip
        change = keys or (full if kind == "add" else {})
        self.call(admins[0], "propose", via, kind=kind, name=name, first_height=first_height, **change)
        number, self._proposals = self._proposals, self._proposals + 1
        digest = next(row[1] for row in self._open_proposals(via) if row[0] == number)
        for admin in admins[1:]:
            if self[via].ledger.epochs()[-1].first_height == first_height:
                break
            self.call(admin, "approve", via, proposal=number, digest=digest)
        assert self[via].ledger.epochs()[-1].first_height == first_height, "it was not decided"
        return first_height

    def _open_proposals(self, via: str) -> Any:
        executor = Executor(self[via].ledger, REGISTRY, self.genesis)
        return executor.query("governance", "proposals", {})

    def run_to(self, height: int, via: str = "ada") -> None:
        """Make blocks until the node has stored this one."""
        for _ in range(400):
            if self[via].height >= height:
                return
            self.block(via)
            if self[via].height < height:
                self.tick()
        raise AssertionError(f"{via} is at {self[via].height}, not at {height}")

    def assert_one_chain(self, *names: str) -> None:
        """All of these, or all that are up, stand at one height with one block there."""
        machines = [self[name] for name in names] or self.up
        heads = {(machine.height, machine.ledger.head_hash) for machine in machines}
        assert len(heads) == 1, {machine.name: machine.height for machine in machines}
