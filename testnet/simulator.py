"""The deterministic simulator: whole networks in one thread, with a fake clock, network and disks, from one seed.

A history has two parts. While faults strike (``sim_faults``), nothing may ever be wrong. Then everything is healed, and
all that clients were told, and all that they still want, must come true in bounded time. ``checker`` judges both.

The nodes are the production code, unchanged, down to the bytes of the vote log. A failing seed is a bug report:
``watt sim run --seed S --trace`` replays it, event by event.
"""

import functools
import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from node.consensus.messages import Evidence, Message
from node.consensus.settings import most_held
from node.ledger.chain import UNUSED_CODES, Ledger
from node.ledger.execution import Execution
from node.ledger.store import MemoryStore
from node.limits import MEMPOOL_TRANSACTIONS, PEER_UNVERIFIED_TRANSACTIONS
from node.model.certificate import Certificate
from node.model.genesis import GENESIS_FORMAT, Genesis, Member, Token
from node.votelog import LOG_NAME
from testnet.checker import Checker, CheckFailed
from testnet.sim_clients import Clients
from testnet.sim_faults import KINDS, Faults
from testnet.sim_market import Trading
from testnet.sim_node import LOG_REWRITE_BYTES, SimNode, Surroundings
from testnet.sim_trace import describe, short
from testnet.sim_workload import Payments, Workload
from testnet.sim_world import MS, SECOND, START_CLOCK_MS, Agenda, Network, Signatures

ALL_FAULTS: Final = frozenset(KINDS)
WORKLOADS: Final[dict[str, Callable[[], Workload]]] = {"payments": Payments, "market": Trading}

RECOVERY_LIMIT: Final = 60 * SECOND
"""After the last fault everything is done within this: the longest time-out (10 s), a few views, and catching up."""

MAX_EVENTS: Final = 2_000_000

Trace = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What to simulate. ``nodes``: 0 leaves it to the seed (4, or sometimes 7)."""

    faults: frozenset[str] = ALL_FAULTS
    nodes: int = 0
    workload: str = "payments"


@dataclass(frozen=True, slots=True)
class SeedResult:
    """What became of one history. ``failure`` is None if all was well; times in virtual milliseconds."""

    seed: int
    failure: str | None
    nodes: int
    height: int
    transactions: int
    highest_view: int
    crashes: int
    messages: int
    fault_ms: int
    recovery_ms: int
    detail: str = ""


@dataclass(slots=True)
class _Tally:
    crashes: int = 0
    highest_view: int = 0
    healed_at: int = 0
    seen: set[int] = field(default_factory=set)


class Simulation:
    """One history. ``run`` returns when it is over, or raises CheckFailed, or whatever the code under test raised."""

    def __init__(self, seed: int, options: Options, trace: Trace | None = None) -> None:
        self.dice = Random(seed)
        self.agenda = Agenda()
        self.count = options.nodes or self.dice.choice((4, 4, 4, 7))
        self.tally = _Tally()
        self._trace = trace
        signatures = Signatures()
        workload = WORKLOADS[options.workload]()
        node_keys = [signatures.signer(bytes([1, index]) * 16) for index in range(self.count)]
        self.client_keys = [signatures.signer(bytes([2, index]) * 16) for index in range(self.dice.randint(2, 5))]
        genesis = _genesis(
            [key.public_key for key in node_keys],
            workload.contracts([key.public_key for key in self.client_keys]),
            self.dice.choice(workload.time_scales),
        )
        registry = workload.registry()
        first = Ledger.open(MemoryStore(), genesis, registry)
        self.checker = Checker(genesis, first.head_hash, signatures.verify)
        self.network = Network(self.agenda, self.dice, self._deliver)
        around = Surroundings(
            genesis, registry, signatures, self.agenda, self.dice, self.network.send, self, self.count
        )
        self.nodes = [SimNode(index, key, around) for index, key in enumerate(node_keys)]
        pace_s = self.dice.choice((0.1, 0.3, 1.0))
        self.clients = Clients(self.agenda, self.dice, genesis, self.client_keys, self.nodes, workload, pace_s)
        self.faults = Faults(options.faults, self.agenda, self.dice, self.network, list(self.nodes))
        self._workload = workload
        self.fault_time = int(self.dice.uniform(4, 26) * SECOND)

    def start(self) -> None:
        """Start all nodes."""
        for node in self.nodes:
            node.start()

    def run(self) -> None:
        """Live through it, from the start to the checks at the end."""
        self.start()
        self.clients.begin()
        self.faults.begin()
        self.until(self.fault_time)
        self._say("healed")
        self.faults.heal()
        self.tally.healed_at = self.agenda.now
        self.until(self.agenda.now + SECOND)
        self.clients.stop()
        while not self._is_quiet():
            if self.agenda.now > self.tally.healed_at + RECOVERY_LIMIT:
                raise CheckFailed(f"no recovery within {RECOVERY_LIMIT // SECOND} s: {self._where_all_stand()}")
            self.until(self.agenda.now + 100 * MS)
        ledgers = [node.ledger for node in self.nodes if node.ledger is not None]
        executor = self.nodes[0].executor
        assert executor is not None
        query = lambda contract, method, **args: executor.query(contract, method, args)  # noqa: E731
        self.checker.check_end(ledgers, self.clients.owed, self._workload, query)

    def until(self, time: int) -> None:
        """Let everything happen up to this virtual time, in microseconds."""
        while self.agenda.now < time:
            self.agenda.run_next()
            if self.agenda.done % 1024 == 0:
                self._check_bounds()

    def _is_quiet(self) -> bool:
        heights = {node.ledger.head.height if node.ledger is not None else -1 for node in self.nodes}
        return self.clients.waiting == 0 and len(heights) == 1 and all(node.is_up for node in self.nodes)

    def _where_all_stand(self) -> str:
        stands = []
        for node in self.nodes:
            if node.driver is None:
                stands.append(f"{node.name} down")
            else:
                status = node.driver.status
                state = "" if status.active else " waiting"
                stands.append(f"{node.name} height {status.height} view {status.view}{state}")
        return f"{', '.join(stands)}; {self.clients.waiting} transactions waiting"

    def _check_bounds(self) -> None:
        if self.agenda.done > MAX_EVENTS:
            raise CheckFailed(f"{MAX_EVENTS} events and no end")
        for node in self.nodes:
            if node.driver is None:
                continue
            status = node.driver.status
            if status.mempool_transactions > MEMPOOL_TRANSACTIONS:
                raise CheckFailed(f"{node.name} holds {status.mempool_transactions} transactions")
            if status.unverified_transactions > PEER_UNVERIFIED_TRANSACTIONS * self.count:
                raise CheckFailed(f"{node.name} has {status.unverified_transactions} transactions to check")
            if status.consensus_items > most_held(self.count):
                raise CheckFailed(f"{node.name} holds {status.consensus_items} messages and batches")
            if status.vote_log_bytes > 64 * LOG_REWRITE_BYTES:
                raise CheckFailed(f"{node.name} has a vote log of {status.vote_log_bytes} bytes")

    def _deliver(self, sender: int, to: int, message: Message) -> None:
        self.nodes[to].receive(sender, message)

    def _say(self, text: str) -> None:
        if self._trace is not None:
            self._trace(f"{self.agenda.now / SECOND:10.6f} {text}")

    # What the nodes show.

    def on_send(self, node: SimNode, to: int, message: Message) -> None:
        if self._trace is not None:
            self._say(f"{node.name} -> n{to} {describe(message)}")
        self.checker.check_sent(node.index, message, lambda: node.disk.durable(LOG_NAME))

    def on_stored(self, node: SimNode, execution: Execution, certificate: Certificate) -> None:
        header = execution.block.header
        if self._trace is not None:
            self._say(
                f"{node.name} stored h{header.height} {short(execution.block_hash)}, certified in v{certificate.view}, "
                f"{len(execution.transactions)} transactions"
            )
        self.tally.highest_view = max(self.tally.highest_view, certificate.view)
        self.checker.check_stored(node.index, execution, certificate)
        for tx, receipt in zip(execution.transactions, execution.receipts, strict=True):
            if receipt.code not in UNUSED_CODES:
                self.checker.acknowledged.setdefault(tx.id, header.height)
                self.clients.included(tx)

    def on_start(self, node: SimNode) -> None:
        assert node.ledger is not None
        self._say(f"{node.name} starts at h{node.ledger.head.height}")
        self.checker.check_started(node.index, node.ledger.head.height)

    def on_crash(self, node: SimNode) -> None:
        self.tally.crashes += 1
        self._say(f"{node.name} dies")
        self.agenda.after(int(self.dice.uniform(0.05, 5.0) * SECOND), self._restart, node)

    def _restart(self, node: SimNode) -> None:
        if not node.is_up:
            node.start()

    def on_fault(self, node: SimNode, fault: BaseException) -> None:
        raise CheckFailed(f"{node.name} stopped: {fault}") from fault

    def on_evidence(self, node: SimNode, evidence: Evidence) -> None:
        raise CheckFailed(f"{node.name} has evidence against n{evidence.member}, who is correct")


def _genesis(members: Sequence[bytes], contracts: dict[str, dict[str, object]], time_scale: int) -> Genesis:
    start_s = START_CLOCK_MS // 1000
    return Genesis(
        format=GENESIS_FORMAT,
        name="simulated",
        token=Token("WATT", 9, 10**6),
        members=tuple(Member(f"n{index}", key.hex(), "") for index, key in enumerate(members)),
        clock_origin=start_s,
        time_origin=start_s,
        time_scale=time_scale,
        contracts=contracts,
    )


def run_seed(seed: int, options: Options, trace: Trace | None = None) -> SeedResult:
    """Simulate one history. Never raises for what goes wrong in it: that is the result's ``failure``."""
    simulation = Simulation(seed, options, trace)
    failure: str | None = None
    detail = ""
    try:
        simulation.run()
    except CheckFailed as error:
        failure = str(error)
    except Exception as error:  # noqa: BLE001 - any exception of the code under test is a finding, with its place
        failure, detail = f"{type(error).__name__}: {error}", traceback.format_exc(limit=-5)
    tally = simulation.tally
    return SeedResult(
        seed=seed,
        failure=failure,
        nodes=simulation.count,
        height=len(simulation.checker.chain),
        transactions=simulation.clients.submitted,
        highest_view=tally.highest_view,
        crashes=tally.crashes,
        messages=simulation.network.sent,
        fault_ms=simulation.fault_time // MS,
        recovery_ms=(simulation.agenda.now - tally.healed_at) // MS if tally.healed_at else 0,
        detail=detail,
    )


def run_seeds(seeds: Sequence[int], options: Options, processes: int = 0) -> Iterator[SeedResult]:
    """Simulate many histories, on all cores unless ``processes`` says how many; results as they come."""
    workers = min(processes or os.cpu_count() or 1, len(seeds))
    if workers <= 1:
        yield from (run_seed(seed, options) for seed in seeds)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(functools.partial(run_seed, options=options), seeds, chunksize=4)
