"""Members are added, removed and given new keys while everything else goes wrong; and the judge's own books of it."""

from dataclasses import replace

import pytest

from chaincode.governance import ADD, REMOVE, ROTATE
from node.consensus.quorum import max_faulty
from testnet.sim_members import Change
from testnet.sim_options import Options
from testnet.sim_runs import run_seed
from testnet.simulator import Simulation

GOVERNED = (2, 11, 12)
"""In these histories members change: of seven and of four; one of them loses the first primary."""


@pytest.mark.parametrize("seed", GOVERNED)
def test_all_planned_changes_come_into_force(seed: int) -> None:
    """Checklist 47 to 50: the checker derives from the transactions alone who certifies which height."""
    simulation = Simulation(seed, Options(frozenset({"members"})))
    assert simulation.plan
    simulation.run()
    members = simulation.checker.members
    assert members.number >= 1
    for change in simulation.plan[: members.number]:
        if change.kind == REMOVE:
            assert members.index_of(f"n{change.machine}") is None
            assert not simulation.nodes[change.machine].is_up


def test_members_change_with_liars_and_broken_disks_among_them() -> None:
    results = [run_seed(seed, Options()) for seed in (7, 20, 25, 254)]
    assert [result.failure for result in results] == [None] * 4
    assert all(result.epochs > 0 for result in results)


def test_faulty_members_are_at_most_f_of_every_set() -> None:
    kinds = set()
    for seed in range(200):
        simulation = Simulation(seed, Options())
        faulty = set(simulation.byzantine) | set(simulation.disk_faults.kinds)
        if simulation.upgrades.holdout is not None:  # it is down while the others go on
            faulty.add(simulation.upgrades.holdout)
        present = set(range(simulation.count))
        for change in simulation.plan:
            kinds.add(change.kind)
            gone = {change.machine} if change.kind == REMOVE else set()
            assert len((faulty & present) | gone) <= max_faulty(len(present))
            present = (present | {change.machine}) - gone
            assert len(faulty & present) <= max_faulty(len(present))
    assert kinds == {ADD, REMOVE, ROTATE}


def test_histories_without_changes_are_the_same_with_and_without_the_kind() -> None:
    seed = next(seed for seed in range(50) if not Simulation(seed, Options()).plan)
    without = run_seed(seed, Options(Options().faults - {"members"}))
    assert replace(run_seed(seed, Options()), seed=0) == replace(without, seed=0)


def test_a_change_is_told_in_words() -> None:
    assert str(Change(ADD, 4)) == "add n4"
