"""The exhaustive run over small histories: a sample here, all of it in `make sim`. And that its judge condemns."""

import json

import pytest
from click.testing import CliRunner

from cli.main import main
from node.consensus.statements import Commit, PrePrepare, Statement, ViewChange, encode_statement
from node.model.certificate import Certificate
from testnet.checker import CheckFailed
from testnet.small_scope import (
    BEFORE_COMMITS,
    BEFORE_PREPARES,
    CUTS,
    NOBODY,
    SPLITS,
    VIEWS,
    History,
    drawn_history,
    every_history,
    history_of,
)
from testnet.small_world import CHAIN, GENESIS_HASH, Judge, make_header, run_histories, run_history


def failures(histories: list[History]) -> list[str]:
    found = run_histories(histories, processes=1)
    return [f"watt sim small-scope --history {r.history}  # {r.failure}" for r in found if r.failure]


def test_all_splits_of_three_views_with_a_twin() -> None:
    """Checklist 5, 38: 16 splits in each of three views are 4,096 histories; here every sixteenth."""
    histories = every_history(twin=0, cut=BEFORE_COMMITS)
    assert len(set(histories)) == SPLITS**VIEWS == 4096
    assert failures(histories[::16]) == []


def test_other_twins_and_cuts() -> None:
    """Checklist 5, 38: the first primary is two, or the second; splits take hold at other moments."""
    for twin in (1, 2):
        for cut in CUTS:
            assert failures(every_history(twin, cut)[7::173]) == []


def test_histories_drawn_by_chance() -> None:
    """Checklist 9, 11: with moments that differ, and a member that alone hears of a decision."""
    assert failures([drawn_history(seed) for seed in range(120)]) == []


@pytest.mark.parametrize(
    "name",
    [
        "3-2112-0029-46b2",  # a certificate for a batch that was not here hid one that a commit vote rested on
    ],
)
def test_histories_that_once_failed(name: str) -> None:
    """Checklist 9."""
    assert failures([history_of(name)]) == []


def test_a_name_says_all() -> None:
    for seed in range(200):
        history = drawn_history(seed)
        assert history_of(history.name) == history
    for bad in ("", "4-222-999-000", "0-22-999-000", "0-222-999-00g", "0-222-999-0000", "x-222-999-000"):
        with pytest.raises(ValueError):
            history_of(bad)


def test_the_same_history_runs_alike() -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        run_history(drawn_history(3), trace.append)
    assert traces[0] == traces[1] and len(traces[0]) > 50


def test_without_splits_the_twin_is_seen_and_blocks_are_made() -> None:
    """The harness does what it says: both copies propose, and what they propose differs."""
    trace: list[str] = []
    whole = History(0, (0, 0, 0), (BEFORE_PREPARES,) * 3, (NOBODY,) * 3)
    assert run_history(whole, trace.append).failure is None
    assert any("0 -> 1 proposal" in line for line in trace) and any("4 -> 1 proposal" in line for line in trace)
    assert any("stores h1" in line for line in trace)


# That the judge condemns.


def _sign(judge: Judge, member: int, statement: Statement) -> None:
    judge.signed(member, encode_statement(statement, CHAIN, 0))


def test_two_votes_for_one_phase_are_found() -> None:
    one, other = bytes(32), bytes([1]) * 32
    judge = Judge()
    _sign(judge, 1, Commit(0, 1, one))
    _sign(judge, 1, Commit(1, 1, other))
    _sign(judge, 2, Commit(0, 1, other))
    with pytest.raises(CheckFailed, match="two different commits"):
        _sign(judge, 1, Commit(0, 1, other))


def test_a_vote_in_a_view_that_was_left_is_found() -> None:
    judge = Judge()
    _sign(judge, 1, ViewChange(2, None, ()))
    with pytest.raises(CheckFailed, match="after it had left"):
        _sign(judge, 1, PrePrepare(1, 1, bytes(32)))


def test_a_fork_and_a_certificate_of_two_are_found() -> None:
    judge = Judge()
    header = make_header(1, GENESIS_HASH, bytes(32))
    with pytest.raises(CheckFailed, match="proves nothing"):
        judge.stored(0, header, Certificate(0, 0, 1, header.hash, ()))
    other = make_header(1, GENESIS_HASH, bytes([1]) * 32)
    with pytest.raises(CheckFailed, match="two blocks at height 1"):
        judge.stored(1, other, Certificate(0, 0, 1, other.hash, ()))


# The command.


def test_the_command() -> None:
    runner = CliRunner()
    good = runner.invoke(main, ["sim", "small-scope", "--every", "512", "--processes", "1", "--json"])
    assert good.exit_code == 0 and json.loads(good.stdout) == {"runs": 8, "failed": []}
    drawn = runner.invoke(main, ["sim", "small-scope", "--drawn", "3", "--processes", "1"])
    assert drawn.exit_code == 0 and "histories" in drawn.stdout
    replayed = runner.invoke(main, ["sim", "small-scope", "--history", "0-222-999-3a7"])
    assert replayed.exit_code == 0 and "prepare v0 h1" in replayed.stdout
    assert runner.invoke(main, ["sim", "small-scope", "--history", "9"]).exit_code == 2


def test_a_failure_says_how_to_replay_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testnet.small_world.HEAL_TICKS", 0)
    result = CliRunner().invoke(main, ["sim", "small-scope", "--every", "2048", "--processes", "1", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["runs"] == 2 and len(json.loads(result.stdout)["failed"]) == 2
    assert "replay: watt sim small-scope --history 0-222-999-000" in result.stderr
