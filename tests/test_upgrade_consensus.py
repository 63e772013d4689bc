"""Upgrades under consensus: heights run ahead of execution, views change, nodes restart and come late."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from chaincode.ballot import NOTICE
from chaincode.governance import Governance
from chaincode.motions import Motions
from chaincode.registry import Registry
from node.consensus.messages import Message, Proposal
from node.errors import NodeFault
from node.executor import Executor
from node.model.transaction import Transaction
from node.upgrades.library import Library
from tests import bundles
from tests.bundles import Tally
from tests.epoch_net import EpochNet


class Net(EpochNet):
    """Machines of which each has a library of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.source = bundles.write(place / "source")
        self.digest = Library(place / "any").install(self.source).digest
        self.amounts = 0
        super().__init__(registry_of=self.registry)

    def registry(self, name: str) -> Registry:
        return Registry([Governance(), Motions(), Tally()], Library(self.place / name).find)

    def install(self, *names: str) -> None:
        for name in names:
            Library(self.place / name).install(self.source)

    def decide(self, via: str = "ada") -> int:
        """Let three admins vote; the height."""
        first = self[via].height + 4 + NOTICE
        upgrade = {"name": "tally-2", "digest": self.digest, "first_height": first}
        self.call("ada", "propose_upgrade", via, contract="motions", **upgrade)
        number, digest = self.ask("proposals", via)[0][:2]
        for admin in ("bob", "cyd"):
            self.call(admin, "approve", via, contract="motions", proposal=number, digest=digest)
        assert self.ask("scheduled", via)[0][0] == first
        return first

    def ask(self, method: str, via: str = "ada") -> Any:
        machine = self[via]
        return Executor(machine.ledger, self.registry(via), self.genesis).query("motions", method, {})

    def add(self, via: str = "ada") -> None:
        """Something whose receipt differs by which code is in force."""
        self.amounts += 1
        self.call("dan", "add", via, contract="tally", name=f"n{self.amounts % 3}", amount=101 - self.amounts % 2)

    def additions(self, count: int) -> list[Transaction]:
        return [self.transaction("dan", "add", "tally", name=f"n{n % 3}", amount=100 + n % 2) for n in range(count)]

    def block(self, via: str = "ada") -> None:
        self.add(via)


@pytest.fixture
def net(tmp_path: Path) -> Net:
    return Net(tmp_path)


def test_those_without_the_bundle_stop_and_the_others_go_on(net: Net) -> None:
    """Three of four have it: both agree until the height; then one stops with the code, and follows once it has it."""
    net.install("ada", "bob", "cyd")
    first = net.decide()
    net.run_to(first - 1)
    net.assert_one_chain()
    with pytest.raises(NodeFault, match="upgrade-missing"):
        for _ in range(40):
            net.block()
            net.tick()
    dan = net["dan"]
    assert dan.height == first - 1
    dan.driver = None
    net.queue.clear()
    net.run_to(first + 5)
    net.assert_one_chain("ada", "bob", "cyd")
    net.install("dan")
    dan.start()
    net.tick(30)
    net.run_to(first + 8)
    net.tick(30)
    net.assert_one_chain()
    assert net.ask("upgrades", "dan") == net.ask("upgrades") != ()


def test_without_a_quorum_of_bundles_the_chain_waits_and_does_not_split(net: Net) -> None:
    net.install("ada", "bob")
    first = net.decide()
    net.run_to(first - 1)
    for _ in range(60):
        try:
            net.block()
            net.tick()
        except NodeFault as fault:
            assert fault.code == "upgrade-missing"
            for name in ("cyd", "dan"):
                if net[name].height == first - 1:
                    net[name].driver = None
    assert {machine.height for machine in net.machines.values()} == {first - 1}
    net.install("cyd", "dan")
    for name in ("cyd", "dan"):
        net[name].start()
    net.tick(60)
    net.run_to(first + 3)
    net.tick(20)
    net.assert_one_chain()


@pytest.mark.parametrize("seed", range(4))
def test_heights_that_ran_ahead_of_the_boundary_are_executed_by_the_new_code(net: Net, seed: int) -> None:
    """The primary proposes many heights while none is executed yet: commit votes are late, in any order."""
    net.install("ada", "bob", "cyd", "dan")
    net.dice = Random(seed)
    first = net.decide()
    net.run_to(first - 4)
    ahead: list[tuple[str, str, Message]] = []

    def hold(sender: str, to: str, message: Message) -> bool:
        late = (
            not isinstance(message, Proposal) and len(ahead) < 200 and net.dice is not None and net.dice.random() < 0.5
        )
        if late:
            ahead.append((sender, to, message))
        return late

    net.drop = hold
    for tx in net.additions(24):
        net["ada"].use(lambda driver, one=tx: driver.submit(one))  # type: ignore[misc]
        net.deliver()
    net.drop = lambda sender, to, message: False
    net.queue.extend(ahead)
    net.deliver()
    net.tick(60)
    net.run_to(first + 4)
    net.tick(20)
    net.assert_one_chain()
    assert net.ask("upgrades")[0][2] >= first


def test_a_view_changes_across_the_boundary(net: Net) -> None:
    """The primary falls silent right before the height; the next view brings the block with the upgrade."""
    net.install("ada", "bob", "cyd", "dan")
    first = net.decide()
    net.run_to(first - 1)
    driver = net["ada"].driver
    assert driver is not None
    view, primary = driver.status.view, driver.epoch.members[driver.status.primary].name
    other = next(name for name in ("ada", "bob", "cyd", "dan") if name != primary)
    net.drop = lambda sender, to, message: sender == primary
    net.block(other)
    net.tick(200)
    after = net[other].driver
    assert after is not None and after.status.view > view and net[other].height >= first
    net.drop = lambda sender, to, message: False
    net.tick(100)
    net.run_to(first + 3, other)
    net.tick(40)
    net.assert_one_chain()


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_a_restart_at_the_height_makes_no_difference(net: Net, offset: int) -> None:
    net.install("ada", "bob", "cyd", "dan")
    first = net.decide()
    net.run_to(first + offset)
    net.tick(5)
    for machine in net.machines.values():
        machine.crash()
    net.start()
    net.tick(40)
    net.run_to(first + 5)
    net.tick(20)
    net.assert_one_chain()
    assert net.ask("upgrades")[0][1] == net.digest
