"""Contracts are upgraded at voted heights while all else goes wrong; and the judge condemns who runs the wrong code."""

from dataclasses import replace
from random import Random

import pytest

from chaincode.contract import Event
from node.consensus.messages import Signed
from node.consensus.quorum import max_faulty
from node.consensus.statements import Commit, encode_statement
from node.ledger.execution import Execution
from node.model.certificate import Certificate
from testnet.checker import Checker, CheckFailed
from testnet.sim_contract import PACKAGES
from testnet.sim_node import SimNode
from testnet.sim_options import Options
from testnet.sim_runs import run_seed
from testnet.sim_upgrade_books import UpgradeBooks
from testnet.sim_upgrades import AT_ONCE, SOMETIME, WHEN_STOPPED, Upgrade, draw_upgrades
from testnet.simulator import Simulation

FEES = PACKAGES[0]
UPGRADES_ALONE = Options(frozenset({"upgrades"}), nodes=4)
UPGRADED = 2
"""In this history of four the contract is upgraded, and three times somebody stops for want of the bundle."""
HELD_OUT = 33
"""In this one a member installs nothing, and the migration fails."""
NOBODY_IN_TIME = 124
"""In this one nobody has the bundle when its height has come."""


class History:
    """A history with an upgrade, as the checker of each test gets it again."""

    def __init__(self) -> None:
        self.simulation = Simulation(UPGRADED, UPGRADES_ALONE)
        self.stored: list[tuple[int, Execution, Certificate]] = []
        simulation, on_stored = self.simulation, self.simulation.on_stored

        def stored(node: SimNode, execution: Execution, certificate: Certificate) -> None:
            self.stored.append((node.index, execution, certificate))
            on_stored(node, execution, certificate)

        simulation.on_stored = stored  # type: ignore[method-assign]
        simulation.run()
        self.height = simulation.checker.upgrades.in_force[0][2]

    def checker(self, *have: bytes, node: int = 0) -> Checker:
        """One that has been told of all that ``node`` stored below the height, and that everybody has these bundles."""
        old = self.simulation.checker
        checker = Checker(old._genesis, old._genesis_hash, old._verify, installed=lambda index: have)
        for execution, certificate in self.of(node):
            if execution.block.header.height < self.height:
                checker.check_stored(node, execution, certificate)
        return checker

    def of(self, node: int) -> list[tuple[Execution, Certificate]]:
        """What ``node`` has stored."""
        return [(execution, certificate) for index, execution, certificate in self.stored if index == node]

    def at_the_height(self) -> tuple[Execution, Certificate]:
        """The first block by the new code."""
        return next(pair for pair in self.of(0) if pair[0].block.header.height == self.height)


@pytest.fixture(scope="module")
def history() -> History:
    return History()


def test_those_who_lack_the_code_stop_before_the_height_and_go_on_later(history: History) -> None:
    """The judge has found everybody at the right code; whoever was late is at the same head in the end."""
    simulation = history.simulation
    assert simulation.tally.stops == 3
    assert {node.ledger.head.height for node in simulation.nodes if node.ledger is not None} == {
        len(simulation.checker.chain)
    }
    codes = [block.code for block in simulation.checker.chain]
    assert codes == [b""] * (history.height - 1) + [FEES.digest] * (len(codes) - history.height + 1)
    assert len(codes) > history.height + 5


def test_who_installs_nothing_is_not_waited_for() -> None:
    """A failed migration changes nothing, and yet it takes the bundle to find that out."""
    simulation = Simulation(HELD_OUT, UPGRADES_ALONE)
    holdout = simulation.upgrades.plan.holdout
    assert holdout is not None
    simulation.run()
    assert simulation.nodes[holdout].restarts > 0
    assert (simulation.checker.upgrades.in_force, len(simulation.checker.upgrades.failed)) == ([], 1)


def test_without_any_bundle_the_chain_waits_and_goes_on() -> None:
    simulation = Simulation(NOBODY_IN_TIME, UPGRADES_ALONE)
    assert set(simulation.upgrades.plan.habits) == {WHEN_STOPPED}
    simulation.run()
    assert simulation.tally.stops >= 4


@pytest.mark.parametrize("seed", [12, 33])
def test_upgrades_through_every_fault(seed: int) -> None:
    result = run_seed(seed, Options())
    assert result.failure is None, result.detail
    assert "upgrade to" in result.faulty


def test_a_block_by_the_old_code_at_the_height_is_noticed(history: History) -> None:
    execution, certificate = history.at_the_height()
    events = tuple(event for event in execution.events if event.topic != "upgrade-active")
    with pytest.raises(CheckFailed, match="no upgrade where upgrade-active 248d3176 is right"):
        history.checker(FEES.digest).check_stored(0, replace(execution, events=events), certificate)


def test_new_code_below_the_height_is_noticed() -> None:
    simulation = Simulation(UPGRADED, UPGRADES_ALONE)
    books = UpgradeBooks(simulation.checker._epochs, ())
    event = Event("motions", "upgrade-active", (), (0, FEES.name, FEES.digest, ("bank",)))
    assert books.block(1, False, b"", (), (), [event]) == "block 1: upgrade-active 248d3176 where no upgrade is right"


def test_who_executes_without_the_code_is_noticed(history: History) -> None:
    with pytest.raises(CheckFailed, match=f"n0 executed block {history.height} without the upgrade 248d3176"):
        history.checker().check_stored(0, *history.at_the_height())


def test_who_votes_for_a_result_without_the_code_is_noticed(history: History) -> None:
    checker = history.checker()
    with pytest.raises(CheckFailed, match=f"result of block {history.height} without the upgrade 248d3176"):
        checker.check_sent(0, commit(history, 0, b"x" * 32), lambda: b"")


def test_two_results_of_one_batch_are_noticed(history: History) -> None:
    checker = history.checker(FEES.digest)
    first, second = commit(history, 0, b"x" * 32), commit(history, 1, b"y" * 32)
    checker.check_sent(0, first, lambda: first.signature)
    with pytest.raises(CheckFailed, match="n0 and n1 made two blocks of one batch"):
        checker.check_sent(1, second, lambda: second.signature)


def commit(history: History, node: int, block_hash: bytes) -> Signed:
    """A vote for the result of the block at the height."""
    chain = history.simulation.checker._chain_id
    data = encode_statement(Commit(0, history.height, block_hash), chain, 0)
    return Signed(node, data, history.simulation.nodes[node].key.sign(data))


def test_who_stops_for_want_of_what_it_has_or_need_not_have_is_noticed(history: History) -> None:
    history.checker().check_missing(0, history.height - 1)
    with pytest.raises(CheckFailed, match="stopped at"):
        history.checker(FEES.digest).check_missing(0, history.height - 1)
    with pytest.raises(CheckFailed, match="stopped at"):
        history.checker().check_missing(0, history.height - 2)


def test_whoever_replays_needs_the_code_from_the_height_on_only(history: History) -> None:
    books = history.simulation.checker.upgrades
    needed = [bool(books.needs(height)) for height in range(1, len(history.simulation.checker.chain) + 2)]
    assert needed == [height >= history.height for height in range(1, len(needed) + 1)]


def test_plans_differ_and_leave_room_for_who_holds_out() -> None:
    habits: set[str] = set()
    holdouts = 0
    for seed in range(100):
        faulty = {1: "wipe"}
        plan = draw_upgrades(Random(seed), PACKAGES, 4, 6, faulty, crashes=True)
        habits.update(plan.habits)
        assert len(faulty) + (plan.holdout is not None) <= max_faulty(4)
        holdouts += plan.holdout is not None
    assert habits == {AT_ONCE, SOMETIME, WHEN_STOPPED}
    assert 20 < holdouts < 60


def test_an_upgrade_is_told_in_words() -> None:
    assert str(Upgrade(FEES, is_called_off=True)) == "upgrade to fees, called off"
