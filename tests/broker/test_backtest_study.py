"""Several runs side by side: the same figures wherever they are made, and what is said when they cannot be."""

import datetime
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import distributed
import msgspec
import pytest
from click.testing import CliRunner

from broker.backtest import engine
from broker.backtest.backtest_command import backtest
from broker.backtest.result import Study, to_json
from broker.backtest.setup import Run, read_homes, span_of
from broker.backtest.study import study
from broker.strategies.table import strategy_of
from node.errors import RefusedError
from tests.broker import backtest_homes

DAYS = 1


@pytest.fixture(scope="module")
def homes_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two homes for eight days, one with panels, as a stranger's table."""
    found = backtest_homes.homes(DAYS, count=2, panels=1)
    path = tmp_path_factory.mktemp("homes") / "homes.csv"
    rows = ["home,slot,load_wh,sun_wh,price,feed_in,battery_wh,battery_w"]
    for home in found.homes:
        for index, (load, sun) in enumerate(zip(home.load_wh, home.sun_wh, strict=True)):
            price = found.retail[index] / 1_000_000
            rows.append(f"{home.name},{found.first_slot + index},{load},{sun},{price},0.08,6000,3000")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def runs(homes_file: Path) -> list[Run]:
    """Two seeds."""
    usual = Run(strategy="zero_intelligence", season="all", homes=str(homes_file), vehicles=False, grid="none")
    return [msgspec.structs.replace(usual, seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def serial(runs: list[Run]) -> Study:
    """One after the other, in this process."""
    return study(runs, lambda part: None, workers=1)


def timeless(found: Study) -> bytes:
    """The study's JSON without the time that it took."""
    return to_json(
        msgspec.structs.replace(found, runs=tuple(msgspec.structs.replace(run, cpu_seconds=0.0) for run in found.runs))
    )


def test_a_strategy_that_fails_ends_the_backtest_with_one_line(
    homes_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = ModuleType("mine")
    mine.__file__ = "mine.py"
    vars(mine)["wishes"] = lambda view: [view.slot]
    monkeypatch.setattr(engine, "STRATEGIES", {"truthful": strategy_of(mine)})
    arguments = ["--homes", str(homes_file), "--no-vehicles", "--grid", "none", "--jobs", "1"]
    shown = CliRunner().invoke(backtest, arguments)
    assert shown.exit_code != 0
    (line,) = shown.stderr.splitlines()
    assert "bad-strategy" in line and "mine.py: `wishes` gave a list, not a tuple of Wish" in line


def test_a_study_says_for_each_group_of_runs_what_its_seeds_came_to(serial: Study, runs: list[Run]) -> None:
    (group,) = serial.groups
    assert group.name == runs[0].name == "all, zero_intelligence"
    assert group.seeds == (1, 2)
    changes = [run.mean_bill_change_pct for run in serial.runs]
    assert changes[0] != changes[1]  # chance has its seed
    assert (group.mean_bill_change_pct.least, group.mean_bill_change_pct.largest) == (min(changes), max(changes))
    assert serial.worst_home_change_pct == max(run.worst_home_change_pct for run in serial.runs)
    assert msgspec.json.decode(to_json(serial), type=Study) == serial


def test_processes_make_the_same_study(serial: Study, runs: list[Run]) -> None:
    """Checklist 6. And tell how far they are."""
    told: list[float] = []
    assert timeless(study(runs, told.append, workers=2)) == timeless(serial)
    assert told == [0.5, 1.0]


@pytest.fixture
def scheduler() -> Iterator[distributed.LocalCluster]:
    """A Dask scheduler with a worker process, on loopback."""
    cluster = distributed.LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    )
    yield cluster
    cluster.close()


def test_a_dask_cluster_makes_the_same_study(
    serial: Study, runs: list[Run], scheduler: distributed.LocalCluster
) -> None:
    """Checklist 6. And when the cluster goes, the study says so and ends."""
    address = scheduler.scheduler_address
    assert timeless(study(runs, lambda part: None, workers=1, dask=address)) == timeless(serial)
    bad = msgspec.structs.replace(runs[0], season="summer")
    with pytest.raises(RefusedError, match="bad-season"):
        study([bad], lambda part: None, workers=1, dask=address)

    def leave(part: float) -> None:
        scheduler.close()

    with pytest.raises(RefusedError) as caught:
        study([*runs, *runs, *runs], leave, workers=1, dask=address)
    assert caught.value.code == "dask-lost"
    with pytest.raises(RefusedError) as caught:
        study(runs, lambda part: None, workers=1, dask=address)
    assert caught.value.code == "dask-unreachable"


def test_what_is_no_address_is_refused_at_once(runs: list[Run]) -> None:
    with pytest.raises(RefusedError, match=r"dask-unreachable.*no address"):
        study(runs, lambda part: None, workers=1, dask="nonsense")


def test_what_cannot_be_run_is_refused_with_its_code(runs: list[Run], tmp_path: Path) -> None:
    """From other processes too."""
    without = msgspec.structs.replace(runs[0], homes=str(tmp_path / "none.csv"))
    with pytest.raises(RefusedError, match="cannot-read"):
        study([without, without], lambda part: None, workers=2)
    lines = msgspec.structs.replace(runs[0], grid=str(tmp_path / "none.csv"))
    with pytest.raises(RefusedError, match="cannot-read"):
        study([lines], lambda part: None, workers=1)


def test_a_season_is_the_longest_stretch_of_its_months_with_a_week_before_it() -> None:
    homes = read_homes(Run(strategy="truthful"))
    names = ("summer", "autumn", "year", "all")
    found = {name: span_of(Run(strategy="truthful", season=name), homes) for name in names}
    assert [found[name].count // 24 for name in names] == [60, 91, 357, 357]
    june = homes.slot_of(datetime.date(2017, 6, 1))
    assert found["summer"].first == june - homes.first_slot
    with pytest.raises(RefusedError, match="bad-season"):
        span_of(Run(strategy="truthful", season="", first_day="2017-07-31", days=2), homes)


def test_the_command_prints_what_is_promised(homes_file: Path) -> None:
    """Checklist 6. The three figures, and a row for each home."""
    arguments = ["--homes", str(homes_file), "--no-vehicles", "--grid", "none"]
    shown = CliRunner().invoke(backtest, [*arguments, "--json"])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert {"mean_bill_change_pct", "worst_home_change_pct", "share_of_perfect_foresight"} <= set(found)
    assert [row["name"] for row in found["homes"]] == ["elm-1", "elm-2"]
    table = CliRunner().invoke(backtest, arguments)
    assert "perfect foresight" in table.stdout
    assert "elm-2" in table.stdout


def test_an_interrupt_ends_all_processes(homes_file: Path) -> None:
    """Ctrl-C at the terminal, or a signal to the first process alone."""
    command = [sys.executable, "-m", "cli.main", "broker", "backtest", "--homes", str(homes_file), "--seeds", "8"]
    with subprocess.Popen([*command, "--jobs", "2", "--json"], stderr=subprocess.PIPE) as running:
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        deadline = time.monotonic() + 30
        while len(children.read_text().split()) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)  # two workers and multiprocessing's own
        started = children.read_text().split()
        assert len(started) >= 3
        running.send_signal(signal.SIGINT)
        assert running.wait(30) != 0
    deadline = time.monotonic() + 10
    while left := [pid for pid in started if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, f"{left} live on"
        time.sleep(0.1)
