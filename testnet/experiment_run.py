"""The experiment from its runs to its report: what it writes is said in ``experiment.py``."""

import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from broker.data.homes import load_homes
from node.errors import RefusedError
from testnet.experiment_nodes import GENTLE, Lived, live, week_of
from testnet.experiment_pace import FIRST_MS
from testnet.experiment_page import page
from testnet.experiment_result import Figures, by_season, case_of
from testnet.experiment_sections import Material
from testnet.experiment_study import STRATEGY, Extent, replay, week_run
from testnet.experiment_table import table
from testnet.experiment_world import WEAK_PERMILLE, make_community

REPORT_NAME: Final = "report.html"
FIGURES_NAME: Final = "figures.json"
TABLE_NAME: Final = "table.md"
NODES_NAME: Final = "nodes"


def run_experiment(extent: Extent, directory: Path, slot_ms: int | None, command: str) -> Figures:
    """Everything that ``extent`` says; writes the report. Raises ConfigError and RefusedError of its parts.

    While nodes live their days, which leaves most of the machine idle, the runs in one process go on beside them, and
    give way to them. ``slot_ms``: an hour on nodes; None: as the machine can, and a season begins at the pace that the
    one before came to.
    """
    begun = time.monotonic()
    _make_room(directory)
    community = make_community(load_homes())
    feeders = {bus: place.feeder for bus, place in community.places.items()}
    cores = os.cpu_count() or 1
    aside = ThreadPoolExecutor(max_workers=1, initializer=os.nice, initargs=(GENTLE,))
    lived: list[Lived] = []
    pace = FIRST_MS if slot_ms is None else slot_ms
    try:
        with _bars(["in one process", *(f"on nodes, {season}" for season in extent.on_nodes[0])]) as tells:
            replaying = aside.submit(replay, extent, tells[0], cores)
            for season, tell in zip(extent.on_nodes[0], tells[1:], strict=True):
                run, place = week_run(extent, season), directory / NODES_NAME / season
                lived.append(live(run, place, pace, tell, may_slow_down=slot_ms is None))
                pace = lived[-1].slot_ms
            found = replaying.result()
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        for each in lived:
            each.audit.terminate()
        raise
    finally:
        aside.shutdown()
    weeks = tuple(week_of(each, found.weeks[each.run.season]) for each in lived)
    figures = Figures(
        command=command,
        strategy=STRATEGY,
        weak_pct=WEAK_PERMILLE / 10,
        year=case_of(found.parts, feeders),
        seasons=tuple(case_of(named, feeders) for named in by_season(found.strategies[0])),
        strategies=tuple(case_of(named, feeders) for named in found.strategies),
        variants=tuple(case_of(named, feeders) for named in found.variants),
        weeks=weeks,
        seconds=round(time.monotonic() - begun, 1),
        cores=cores,
    )
    material = Material(community, figures, found.long, found.strategies, found.variants)
    (directory / REPORT_NAME).write_text(page(material), "utf-8")
    (directory / FIGURES_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")
    (directory / TABLE_NAME).write_text(table(figures), "utf-8")
    return figures


def _make_room(directory: Path) -> None:
    """Remove an earlier experiment's networks, and nothing else. Raises RefusedError("not-an-experiment")."""
    if directory.exists() and any(directory.iterdir()) and not (directory / NODES_NAME).exists():
        raise RefusedError("not-an-experiment", f"{directory} holds something else; name another with --dir")
    shutil.rmtree(directory / NODES_NAME, ignore_errors=True)
    (directory / NODES_NAME).mkdir(parents=True)


@contextmanager
def _bars(names: Sequence[str]) -> Iterator[list[Callable[[float], None]]]:
    """How much of each is done, 0 to 1: bars where there is a terminal, else a line for every tenth."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    is_shown = sys.stderr.isatty()
    with Progress(*columns, console=console, disable=not is_shown) as progress:
        tasks = {name: progress.add_task(name, total=1.0) for name in names}
        told = dict.fromkeys(names, 0)

        def tell(name: str, share: float) -> None:
            progress.update(tasks[name], completed=share)
            if not is_shown and int(share * 10) > told[name]:
                told[name] = int(share * 10)
                console.print(f"{name}: {share:.0%}")

        yield [partial(tell, name) for name in names]
