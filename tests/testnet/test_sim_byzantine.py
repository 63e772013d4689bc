"""Liars and broken disks in simulated networks: each lie and each fault of a disk alone, and what must come of it.

``test_sim.py`` has all of them at once. Here no weather helps a liar, or hides it.
"""

import pytest

from node.consensus.messages import Evidence
from testnet.byzantine import BYZANTINE_KINDS, LIES
from testnet.sim_disk_faults import DISK_KINDS
from testnet.sim_lies import Censorship, Lie
from testnet.sim_node import SimNode
from testnet.sim_options import Options
from testnet.sim_result import SeedResult
from testnet.sim_runs import run_seed
from testnet.sim_vote_lies import BadProposals, Equivocation
from testnet.sim_world import MS
from testnet.simulator import INCLUSION_LIMIT, Simulation

ONLY_LIARS = Options(faults=frozenset({"byzantine"}), nodes=4)
LIARS_FIRST = (7, 8, 9)
"""In these histories the first primary lies."""


def run_with(monkeypatch: pytest.MonkeyPatch, lie: type[Lie], seed: int) -> SeedResult:
    """One history in which liars tell this lie and no other."""
    monkeypatch.setattr("testnet.simulator.draw_lies", lambda dice, *, twins: [lie])
    result = run_seed(seed, ONLY_LIARS)
    assert result.failure is None, f"seed {seed}, {result.faulty}: {result.failure}\n{result.detail}"
    return result


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_each_lie_alone_changes_nothing_that_matters(monkeypatch: pytest.MonkeyPatch, lie: type[Lie]) -> None:
    """Checklist 5, 6, 7, 9, 10, 12, 15, 28, 33, 40, 42, 52, 55, 57: one chain, everybody goes on, nobody is accused who
    is correct."""
    results = [run_with(monkeypatch, lie, seed) for seed in LIARS_FIRST[:2]]
    if lie.name not in ("false-memory", "false-view-changes", "false-new-views", "false-replies"):
        assert sum(result.lies for result in results) > 0  # the others need trouble first: see test_sim.py


def test_who_equivocates_is_convicted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checklist 5: two proposals to two parts of the network; the checker demands the proof of who has seen both."""
    assert any(run_with(monkeypatch, Equivocation, seed).accusations for seed in LIARS_FIRST)


def test_who_proposes_what_nobody_may_vote_for_is_convicted_or_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checklist 7."""
    results = [run_with(monkeypatch, BadProposals, seed) for seed in LIARS_FIRST]
    assert any(result.accusations > 0 or result.highest_view > 0 for result in results)


def test_a_censored_sender_gets_in_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checklist 28, 32: from a correct node's taking it in to its block, whoever is primary, in virtual time."""
    results = [run_with(monkeypatch, Censorship, seed) for seed in LIARS_FIRST]
    slowest = max(result.inclusion_ms for result in results)
    assert 1_000 < slowest <= INCLUSION_LIMIT // MS  # it was kept out, and got in
    assert any(result.highest_view > 0 for result in results)


def test_twins_do_not_fork_the_chain() -> None:
    """Checklist 38."""
    for seed in range(4):
        result = run_seed(seed, Options(faults=frozenset({"twin", "partition"})))
        assert result.failure is None, result.failure


@pytest.mark.parametrize("kind", DISK_KINDS)
def test_each_fault_of_a_disk_with_crashes(kind: str) -> None:
    """Checklist 36, 37, 58: it stops or is passive, comes back without an operator, and catches up."""
    stops = 0
    for seed in range(4):
        result = run_seed(seed, Options(faults=frozenset({kind, "crash", "loss"})))
        assert result.failure is None, f"seed {seed}: {result.failure}\n{result.detail}"
        stops += result.stops
    assert stops > 0 or kind in ("wipe", "backup")


@pytest.mark.parametrize(("kind", "seed"), [("rot", 4), ("rot", 43), ("rot", 48), ("rot", 56), ("wipe", 18)])
def test_a_store_that_is_lost_without_its_vote_log(kind: str, seed: int) -> None:
    """Checklist 37: these replicas once denied, in a view change, what they had voted to commit on lost blocks."""
    trouble = frozenset({kind, "crash", "power", "loss", "mute", "partition"})
    result = run_seed(seed, Options(faults=trouble))
    assert result.failure is None, result.failure


def test_liars_and_bad_disks_are_at_most_f() -> None:
    for seed in range(60):
        simulation = Simulation(seed, Options())
        faulty = set(simulation.byzantine) | set(simulation.disk_faults.kinds)
        assert len(faulty) <= (simulation.count - 1) // 3


def test_the_kinds_of_liars_are_drawn() -> None:
    drawn = [Simulation(seed, Options()) for seed in range(60)]
    assert any(simulation.twins for simulation in drawn)
    assert any(len(simulation.byzantine) == 2 for simulation in drawn)
    assert {lie.name for each in drawn for villain in each.byzantine.values() for lie in villain.lies} == {
        lie.name for lie in LIES
    }
    assert set(BYZANTINE_KINDS) == {"byzantine", "twin"}


def test_nobody_correct_is_ever_accused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every finding of every history is checked offline by the checker; here they are counted, too."""
    accused: list[int] = []
    real = Simulation.on_evidence

    def note(self: Simulation, node: SimNode, evidence: Evidence) -> None:
        if node.index not in self.byzantine:
            accused.append(evidence.member)
            assert evidence.member in self.byzantine
        real(self, node, evidence)

    monkeypatch.setattr(Simulation, "on_evidence", note)
    for seed in LIARS_FIRST:
        assert run_seed(seed, ONLY_LIARS).failure is None
    assert accused
