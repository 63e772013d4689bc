"""Whole networks under every fault, from seeds: the largest test of consensus, driver, pool, vote log and ledger.

The histories here cover checklist 2, 5-16, 19-25, 27-29, 32, 35-40, 42-46, 52, 55, 57, 58 by chance, many times over;
``tests/consensus`` has them one by one.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

from cli.main import main
from testnet.sim_options import FAULT_KINDS, Options
from testnet.sim_result import SeedResult
from testnet.sim_runs import run_seed, run_seeds

SEEDS = 200


def report(failed: list[SeedResult]) -> str:
    return "\n".join(f"watt sim run --seed {r.seed} --trace  # {r.failure}\n{r.detail}" for r in failed)


def test_two_hundred_histories_keep_every_promise() -> None:
    results = list(run_seeds(range(SEEDS), Options()))
    failed = [result for result in results if result.failure]
    assert not failed, report(failed)
    assert len(results) == SEEDS
    # The histories must be worth something: trouble struck, and work was done.
    assert sum(result.crashes for result in results) > SEEDS
    assert sum(result.height for result in results) > 20 * SEEDS
    assert sum(result.highest_view > 0 for result in results) > SEEDS // 4
    assert {result.nodes for result in results} == {4, 7}
    assert sum(result.lies for result in results) > 10 * SEEDS
    assert sum(result.accusations > 0 for result in results) > SEEDS // 20
    assert any(result.stops for result in results)
    assert sum(result.upgrades > 0 for result in results) > SEEDS // 40


def test_without_faults_nothing_is_ever_late() -> None:
    """No view change and no crash: time-outs are for trouble alone."""
    for seed in range(3):
        result = run_seed(seed, Options(faults=frozenset()))
        assert result.failure is None
        assert (result.highest_view, result.crashes) == (0, 0)


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_each_kind_of_fault_alone(kind: str) -> None:
    for seed in range(1000, 1003):
        result = run_seed(seed, Options(faults=frozenset({kind})))
        assert result.failure is None, report([result])


def test_the_same_seed_gives_the_same_history_whatever_the_hash_seed() -> None:
    """Byte for byte, in different processes: else a failing seed would be no report."""
    code = (
        "import hashlib; from testnet.sim_runs import *; d = hashlib.sha256(); "
        "print(run_seed(7, Options(), trace=lambda line: d.update(line.encode())).messages, d.hexdigest())"
    )
    traces = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            timeout=120,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(traces) == 1


def test_the_market_trades_through_faults() -> None:
    results = list(run_seeds(range(12), Options(workload="market")))
    failed = [result for result in results if result.failure]
    assert not failed, report(failed)
    assert sum(result.transactions for result in results) > 500


def test_more_replicas() -> None:
    result = run_seed(3, Options(nodes=10))
    assert result.failure is None, report([result])
    assert result.nodes == 10


def test_the_command_prints_json_and_says_how_to_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CliRunner()
    good = runner.invoke(main, ["sim", "run", "--seeds", "2", "--processes", "1", "--json"])
    assert good.exit_code == 0
    assert json.loads(good.stdout)["seeds"] == 2
    assert json.loads(good.stdout)["failed"] == []
    real = run_seed

    def fail(seed: int, options: Options) -> SeedResult:
        result = real(seed, options)
        return replace(result, failure="made up") if seed == 6 else result

    monkeypatch.setattr("testnet.sim_runs.run_seed", fail)
    bad = runner.invoke(
        main, ["sim", "run", "--seed", "5", "--seeds", "2", "--processes", "1", "--faults", "loss,crash", "--json"]
    )
    assert bad.exit_code == 1
    assert [failed["seed"] for failed in json.loads(bad.stdout)["failed"]] == [6]
    assert "watt sim run --seed 6 --faults crash,loss --trace" in bad.stderr


def test_the_trace_is_for_people() -> None:
    traced = CliRunner().invoke(main, ["sim", "run", "--seed", "1", "--faults", "none", "--nodes", "4", "--trace"])
    assert traced.exit_code == 0
    assert "n1 -> n0 prepare v0 h1 " in traced.stdout
    assert "n0 stored h1 " in traced.stdout


def test_unknown_faults_are_wrong_usage() -> None:
    result = CliRunner().invoke(main, ["sim", "run", "--faults", "loss,plague"])
    assert result.exit_code == 2
    assert "plague" in result.stderr
