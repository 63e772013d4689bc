"""The deterministic simulator: whole networks in one thread, with a fake clock, network and disks, from one seed.

A history has two parts. While faults strike (``sim_faults``), nothing may ever be wrong. Then everything is healed, and
all that clients were told, and all that they still want, must come true in bounded time. ``checker`` judges both.

The nodes are the production code, unchanged, down to the bytes of the vote log. A failing seed is a bug report:
``watt sim run --seed S --trace`` replays it, event by event.
"""

import logging
from collections.abc import Callable
from random import Random
from typing import Final

from chaincode.registry import Registry
from chaincode.upgrades import Find
from node.consensus.messages import Evidence, Message
from node.errors import NodeFault
from node.ledger.chain import UNUSED_CODES, Ledger
from node.ledger.execution import Execution
from node.ledger.store import MemoryStore
from node.model.certificate import Certificate
from node.votelog import LOG_NAME
from testnet.byzantine import BYZANTINE_KINDS, Byzantine, Stage, draw_lies
from testnet.checker import Checker, CheckFailed
from testnet.sim_admins import Admins
from testnet.sim_clients import Clients
from testnet.sim_disk_faults import DiskFaults
from testnet.sim_fates import Fates
from testnet.sim_faults import Faults
from testnet.sim_members import Council, governance_settings
from testnet.sim_node import SimNode, Surroundings, newcomers, simulated_genesis
from testnet.sim_options import WORKLOADS, Options
from testnet.sim_result import Tally
from testnet.sim_stand import bounds_fault, is_silent, replay, standing
from testnet.sim_trace import describe, short
from testnet.sim_upgrades import UPGRADE_TROUBLE, Upgrades
from testnet.sim_world import MS, SECOND, Agenda, Network, Signatures

RECOVERY_LIMIT: Final = 60 * SECOND
"""After the last fault everything is done within this: the longest time-out (10 s), a few views, and catching up."""

VOTING_LIMIT: Final = 60 * SECOND
"""Who has forgotten its votes votes again after some two windows of blocks, which clients make meanwhile."""

CHANGE_LIMIT: Final = 180 * SECOND
"""Recovery with a change of members or code under way: some fifty blocks, each as late as a lying primary dares."""

INCLUSION_LIMIT: Final = 60 * SECOND
"""In fair weather, a transaction that a correct node took in may wait so long for its block, whoever is primary."""

MAX_EVENTS: Final = 2_000_000

Trace = Callable[[str], None]

logging.getLogger("node").addHandler(logging.NullHandler())  # what nodes log, they log in thousands of histories


class Simulation:
    """One history. ``run`` returns when it is over, or raises CheckFailed, or whatever the code under test raised.

    ``nodes``: by machine: the members of the genesis, then those that are added; ``byzantine``: those of them that do
    what they like, and whose twins are in ``twins``.
    """

    def __init__(self, seed: int, options: Options, trace: Trace | None = None) -> None:
        self.dice = Random(seed)
        self.agenda = Agenda()
        self.count = options.nodes or self.dice.choice((4, 4, 4, 7))
        self.tally = Tally()
        self._trace = trace
        signatures = Signatures()
        workload = WORKLOADS[options.workload]()
        node_keys = [signatures.signer(bytes([1, index]) * 16) for index in range(self.count)]
        self.client_keys = [signatures.signer(bytes([2, index]) * 16) for index in range(self.dice.randint(2, 5))]
        contracts = workload.contracts([key.public_key for key in self.client_keys])
        fates = Fates(seed, options.faults, workload.packages)
        if fates.has_votes:
            contracts["governance"] = governance_settings(signatures, self.count)
        genesis = simulated_genesis(
            [key.public_key for key in node_keys], contracts, self.dice.choice(workload.time_scales)
        )

        def registry(find: Find) -> Registry:
            return workload.registry(find if fates.is_upgraded else None)

        first = Ledger.open(MemoryStore(), genesis, registry(lambda digest: None))
        self.network = Network(self.agenda, self.dice, self._deliver)
        around = Surroundings(genesis, registry, signatures, self.agenda, self.dice, self._post, self, self.count)
        self.nodes = [SimNode(index, key, around) for index, key in enumerate(node_keys)]
        fates.draw(self.dice, self.count)
        self.plan = fates.members
        self.nodes += newcomers(self.plan, self.count, signatures, around)
        self.twins: list[SimNode] = []
        self.byzantine = {index: self._villain(kind, self.nodes[index], around) for index, kind in fates.liars.items()}
        self.correct = [node for node in self.nodes if node.index not in self.byzantine]
        self.checker = Checker(
            genesis,
            first.head_hash,
            signatures.verify,
            frozenset(self.byzantine),
            fates.forgetful,
            fates.pardoned,
            frozenset(package.digest for package in workload.packages if package.fails),
            lambda index: self.nodes[index].disk.bundles,
        )
        pace_s = self.dice.choice((0.1, 0.3, 1.0))
        doors = [self.byzantine.get(node.index, node) for node in self.nodes]
        homes = [node for node in self.correct if node.index not in fates.going | fates.held]
        self.clients = Clients(self.agenda, self.dice, genesis, self.client_keys, doors, homes, workload, pace_s)
        everyone = [*self.nodes, *self.twins]
        those = (signatures, self.nodes, self.correct, doors)
        admins = Admins(self.agenda, fates.dice, genesis, *those, is_joint=fates.upgrades.is_joint)
        self.council = Council(self.plan, self.agenda, fates.dice, admins, signatures, self.nodes, self._say)
        self.upgrades = Upgrades(fates.upgrades, self.agenda, fates.code_dice, admins, everyone)
        self.faults = Faults(options.faults, self.agenda, self.dice, self.network, list(everyone), len(self.nodes))
        self.disk_faults = DiskFaults(fates.bad_disks, self.agenda, self.dice, list(self.nodes))
        self._workload = workload
        self._is_fair = options.faults <= set(BYZANTINE_KINDS)
        self._has_votes = fates.has_votes
        self.fault_time = max(int(self.dice.uniform(4, 26) * SECOND), 12 * SECOND if fates.has_votes else 0)

    @property
    def faulty(self) -> str:
        """Who is faulty, and how; and which members and contracts are to change."""
        named = [str(villain) for villain in self.byzantine.values()]
        named += [f"n{index}: {kind}" for index, kind in self.disk_faults.kinds.items()]
        named += [str(change) for change in self.plan]
        named += self.upgrades.plan.told()
        return "; ".join(named)

    def _villain(self, kind: str, node: SimNode, around: Surroundings) -> Byzantine:
        insides = [node]
        if kind == "twin":
            twin = SimNode(node.index, node.key, around, f"{node.name}'")
            twin.keys = node.keys
            self.twins.append(twin)
            insides.append(twin)
        keys = [key.public_key for key in self.client_keys]
        stage = Stage(around.genesis.chain, self.count, keys, self.agenda, self.dice, self._lied)
        return Byzantine(node.index, insides, node.key, draw_lies(self.dice, twins=kind == "twin"), stage)

    def start(self) -> None:
        """Start all nodes."""
        self._say(f"faulty: {self.faulty or 'nobody'}")
        for villain in self.byzantine.values():
            villain.begin()
        for node in (*self.nodes, *self.twins):
            node.start()

    def run(self) -> None:
        """Live through it, from the start to the checks at the end."""
        self.start()
        self.clients.begin()
        self.council.begin()
        self.upgrades.begin()
        self._suffer()
        self._say("healed")
        self.disk_faults.heal()
        self.council.heal()
        self.upgrades.heal()
        self.faults.heal()
        self.tally.healed_at = self.agenda.now
        self._settle(SECOND, CHANGE_LIMIT if self._has_votes else RECOVERY_LIMIT)
        self.tally.recovered_at = self.agenda.now
        self._live_upgraded()
        if self.byzantine:
            self._say("recovered")
            if not self._is_fair:
                self.clients.slowest_inclusion = 0
            self.clients.begin()
            self._settle(2 * SECOND, RECOVERY_LIMIT)
            if self.clients.slowest_inclusion > INCLUSION_LIMIT:
                raise CheckFailed(f"a transaction waited {self.clients.slowest_inclusion / SECOND:.1f} s for its block")
        self._until_all_vote()
        for node in self.correct:
            self.checker.check_log(node.index, node.disk.durable(LOG_NAME))
        ledgers = [node.ledger for node in self._lasting if node.ledger is not None]
        executor = self._lasting[0].executor
        assert executor is not None
        query = lambda contract, method, **args: executor.query(contract, method, args)  # noqa: E731
        self.checker.check_end(ledgers, self.clients.owed, self._workload, query)
        if self.checker.upgrades.is_used:
            replay(self._lasting[0])

    def until(self, time: int) -> None:
        """Let everything happen up to this virtual time, in microseconds."""
        while self.agenda.now < time:
            self.agenda.run_next()
            if self.agenda.done % 1024 == 0:
                self._check_bounds()

    def _settle(self, busy: int, limit: int) -> None:
        """Clients go on for ``busy`` microseconds; then all that they want is done, within ``limit``."""
        since = self.agenda.now
        self.until(since + busy)
        self.clients.stop()
        while not self._is_quiet():
            if self.agenda.now > since + limit:
                raise CheckFailed(f"no recovery within {limit // SECOND} s: {self._standing()}")
            self.until(self.agenda.now + 100 * MS)

    def _until_all_vote(self) -> None:
        """Whoever has forgotten its votes must vote again, too, and then without contradicting itself."""
        if not any(map(is_silent, self._lasting)):
            return
        self._say("recovered, but not all vote yet")
        since = self.agenda.now
        self.clients.begin()
        while silent := [node.name for node in self._lasting if is_silent(node)]:
            if self.agenda.now > since + VOTING_LIMIT:
                raise CheckFailed(f"{', '.join(silent)} did not vote again within {VOTING_LIMIT // SECOND} s")
            self.until(self.agenda.now + 100 * MS)
        self._settle(SECOND, RECOVERY_LIMIT)

    def _suffer(self) -> None:
        """Trouble, for its time; where code is to change, close to that and until it has come to its height."""
        plan, books = self.upgrades.plan, self.checker.upgrades
        if plan.trouble_ahead is not None:
            while not books.is_close(len(self.checker.chain), plan.trouble_ahead) and self.agenda.now < UPGRADE_TROUBLE:
                self.until(self.agenda.now + 50 * MS)
        began = self.agenda.now
        self.faults.begin()
        self.disk_faults.begin()
        self.until(began + self.fault_time)
        while plan.upgrades and not books.is_through and self.agenda.now < began + self.fault_time + UPGRADE_TROUBLE:
            self.until(self.agenda.now + SECOND)
        self.fault_time = self.agenda.now - began

    def _live_upgraded(self) -> None:
        """Whoever has not installed what the others have must have stopped for it, and goes on as soon as it has."""
        if not self.checker.upgrades.is_used:
            return
        self.clients.begin()
        self._settle(SECOND, RECOVERY_LIMIT)
        if self.upgrades.holdout is None:
            return
        node, since = self.nodes[self.upgrades.holdout], self.agenda.now
        while node.is_up and not self.checker.upgrades.ever_needed <= node.disk.bundles.keys():
            if self.agenda.now > since + RECOVERY_LIMIT:
                raise CheckFailed(f"{node.name} lacks the code of the chain, and does not stop: {self._standing()}")
            self.until(self.agenda.now + 100 * MS)
        self._say(f"{node.name} gets what it lacks")
        self.upgrades.release()
        self._settle(SECOND, RECOVERY_LIMIT)

    def _is_quiet(self) -> bool:
        if self.clients.waiting or not self.council.is_done or not self.upgrades.is_done:
            return False
        lasting = self._lasting
        heights = {node.ledger.head.height if node.ledger is not None else -1 for node in lasting}
        return len(heights) == 1 and all(node.is_up for node in lasting)

    @property
    def _lasting(self) -> list[SimNode]:
        """The correct ones among the members of the newest epoch, but whoever holds out."""
        members, holdout = self.checker.members, self.upgrades.holdout
        return [node for node in self.correct if members.index_of(node.name) is not None and node.index != holdout]

    def _standing(self) -> str:
        return (
            f"{standing(self.nodes, self.byzantine)}; {self.clients.waiting} transactions waiting"
            + ("" if self.council.is_done else ", and members to change")
            + ("" if self.upgrades.is_done else ", and contracts")
        )

    def _check_bounds(self) -> None:
        if self.agenda.done > MAX_EVENTS:
            raise CheckFailed(f"{MAX_EVENTS} events and no end")
        for node in self.correct:
            fault = bounds_fault(node, len(self.nodes))
            if fault is not None:
                raise CheckFailed(fault)

    # The way of a message: out of a node, through the network, into a node; at Byzantine ones, through lies.

    def _post(self, node: SimNode, to: int, message: Message) -> None:
        villain = self.byzantine.get(node.index)
        if villain is None:
            self.network.send(node.index, to, message)
        else:
            villain.outgoing(node, to, message)

    def _lied(self, sender: int, to: int, message: Message) -> None:
        if self._trace is not None:
            self._say(f"n{sender} ~> n{to} {describe(message)}")
        self.network.send(sender, to, message)

    def _deliver(self, sender: int, to: int, message: Message) -> None:
        villain = self.byzantine.get(to)
        if villain is not None:
            villain.incoming(sender, message)
            return
        node = self.nodes[to]
        node.receive(sender, message)
        driver = node.driver
        if self.byzantine and not node.paused and driver is not None and driver.hears(self.nodes[sender].name):

            def stand() -> tuple[int, int | None, int]:
                status = driver.status
                return driver.epoch.number, status.view if status.active else None, status.height

            self.checker.check_received(to, message, stand)

    def _say(self, text: str) -> None:
        if self._trace is not None:
            self._trace(f"{self.agenda.now / SECOND:10.6f} {text}")

    # What the nodes show.

    def on_send(self, node: SimNode, to: int, message: Message) -> None:
        if node.index in self.byzantine:
            return
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
        if node.index in self.byzantine:
            return
        self.tally.highest_view = max(self.tally.highest_view, certificate.view)
        self.checker.check_stored(node.index, execution, certificate)
        for tx, receipt in zip(execution.transactions, execution.receipts, strict=True):
            if receipt.code not in UNUSED_CODES:
                self.checker.acknowledged.setdefault(tx.id, header.height)
                self.clients.included(tx)

    def on_start(self, node: SimNode) -> None:
        assert node.ledger is not None
        self._say(f"{node.name} starts at h{node.ledger.head.height}")
        villain = self.byzantine.get(node.index)
        if villain is not None:
            assert node.driver is not None
            villain.started(node.driver)
        else:
            self.checker.check_started(node.index, node.ledger.head.height)
            self.checker.check_log(node.index, node.disk.durable(LOG_NAME))

    def on_crash(self, node: SimNode) -> None:
        self.tally.crashes += 1
        self._say(f"{node.name} dies")
        self._restart_later(node)

    def on_fault(self, node: SimNode, fault: NodeFault) -> None:
        if fault.code == "upgrade-missing":
            if node.index not in self.byzantine:
                self.checker.check_missing(node.index, node.height)
            self.upgrades.stopped(node)
        elif node.index not in self.byzantine and not self.disk_faults.excuses(node.index, fault.code):
            raise CheckFailed(f"{node.name} stopped: {fault}") from fault
        self.tally.stops += 1
        self._say(f"{node.name} stops: {fault}")
        if fault.code == "db-corrupt":
            node.disk.wipe(store=True, files=False)
        self._restart_later(node)

    def _restart_later(self, node: SimNode) -> None:
        self.agenda.after(int(self.dice.uniform(0.05, 5.0) * SECOND), self._restart, node)

    def _restart(self, node: SimNode) -> None:
        if not node.is_up:
            node.start()

    def on_evidence(self, node: SimNode, evidence: Evidence) -> None:
        if node.index in self.byzantine:
            return
        self._say(f"{node.name} holds evidence against member {evidence.member}")
        self.tally.accused += 1
        assert node.ledger is not None
        self.checker.check_evidence(node.index, evidence, node.ledger.boundaries())

    def on_removed(self, node: SimNode, height: int) -> None:
        self._say(f"{node.name} ends: it is no member from h{height} on")
        if node.index not in self.byzantine:
            self.checker.check_removed(node.index, height)
