"""`watt broker backtest`: seasons of homes replayed against the market's rules, without a network."""

import datetime
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from broker.backtest.result import to_json
from broker.backtest.setup import ALL, SEASONS, Run
from broker.backtest.study import study
from broker.backtest.study_text import print_study
from broker.strategies.table import STRATEGIES
from cli.output import json_option, refusals_to_exit_codes

USUAL_STRATEGY: Final = "truthful"
MOST_SEEDS: Final = 1_000
OTHER_FEED_INS: Final = (40_000, 120_000)
"""Base units per Wh: half of what is assumed, and half as much again."""
COMPARISONS: Final = ("tolls", "limits", "feed-in")


@click.command()
@click.option("--season", "seasons", multiple=True, type=click.Choice(SEASONS), help="Of the data; repeatable.")
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="The first day, instead of a season.")
@click.option("--days", type=click.IntRange(1, 3_660), help="With --from; or only the season's first so many.")
@click.option("--strategy", "strategies", multiple=True, type=click.Choice(list(STRATEGIES)), help="Repeatable.")
@click.option("--seeds", type=click.IntRange(1, MOST_SEEDS), default=1, show_default=True, help="1 to so many.")
@click.option("--homes", type=click.Path(path_type=Path), help="A CSV of homes, docs/homes-file.md.")
@click.option("--grid", default="street", show_default=True, help="street, simbench, none, or a grid's CSV.")
@click.option("--vehicles/--no-vehicles", default=True, show_default=True, help="A vehicle for every home.")
@click.option(
    "--compare", multiple=True, type=click.Choice(COMPARISONS), help="Also without these, or with others; repeatable."
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes side by side; by default one for each core.")
@click.option("--dask", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler.")
@json_option
@refusals_to_exit_codes
def backtest(
    seasons: tuple[str, ...],
    first: datetime.datetime | None,
    days: int | None,
    strategies: tuple[str, ...],
    seeds: int,
    homes: Path | None,
    grid: str,
    vehicles: bool,
    compare: tuple[str, ...],
    jobs: int | None,
    dask: str | None,
    as_json: bool,
) -> None:
    """Replay a season of homes with brokers that trade by the market's own rules, and say what they gained.

    Every home has a broker: it forecasts, plans, orders and steers battery and vehicle, knowing only what was measured
    before. What it pays is held against the utility alone, against the same planning without an exchange, and against
    perfect foresight. By default: seventeen real homes, a summer, one seed; it takes a minute or two. Seasons,
    strategies and seeds run side by side. docs/backtest.md explains every figure.

    Example: watt broker backtest --season winter --strategy truthful --strategy adaptive --seeds 3
    """
    if seasons and first is not None:
        raise click.UsageError("--season and --from exclude one another")
    if first is not None and days is None:
        raise click.UsageError("--from needs --days")
    usual = Run(
        strategy=USUAL_STRATEGY,
        season="",
        first_day=f"{first:%Y-%m-%d}" if first is not None else "",
        days=days or 0,
        homes=str(homes) if homes is not None else "",
        vehicles=vehicles,
        grid=grid,
    )
    whens = ("",) if first is not None else seasons or ("summer" if homes is None else ALL,)
    runs = _runs(usual, whens, strategies or (USUAL_STRATEGY,), seeds, compare)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("1 run" if len(runs) == 1 else f"{len(runs)} runs", total=1.0)
        found = study(
            runs, lambda done: progress.update(task, completed=done), workers=jobs or os.cpu_count() or 1, dask=dask
        )
    if as_json:
        click.echo(to_json(found))
    else:
        print_study(found)


def _runs(
    usual: Run, seasons: Sequence[str], strategies: Sequence[str], seeds: int, compare: Sequence[str]
) -> list[Run]:
    """All combinations; what is only compared goes with the first strategy."""
    runs = [
        _changed(usual, season=season, strategy=strategy, seed=seed)
        for strategy in strategies
        for season in seasons
        for seed in range(1, seeds + 1)
    ]
    for run in runs[: len(seasons) * seeds]:
        runs += [_changed(run, tolls_permille=0)] if "tolls" in compare else []
        runs += [_changed(run, limits=False)] if "limits" in compare else []
        runs += [_changed(run, feed_in=price) for price in OTHER_FEED_INS] if "feed-in" in compare else []
    return runs


def _changed(run: Run, **changes: str | int | bool) -> Run:
    return msgspec.structs.replace(run, **changes)
