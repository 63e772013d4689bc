"""`watt sim small-scope`: the exhaustive run over small histories, at a user's hand."""

import sys
from dataclasses import asdict
from typing import Final

import click

from cli.output import EXIT_REFUSED, json_option, print_json, print_table, print_trace
from testnet.small_scope import (
    AT_THE_END,
    BEFORE_COMMITS,
    BEFORE_PREPARES,
    MEMBERS,
    History,
    drawn_history,
    every_history,
    history_of,
)
from testnet.small_world import HistoryResult, run_histories, run_history

CUTS: Final = {"prepares": BEFORE_PREPARES, "commits": BEFORE_COMMITS, "end": AT_THE_END}
MAX_TOLD = 10


@click.command("small-scope")
@click.option("--twin", type=click.IntRange(0, MEMBERS - 1), default=0, show_default=True, help="Which member is two.")
@click.option(
    "--cut",
    type=click.Choice(list(CUTS)),
    default="commits",
    show_default=True,
    help="Before whom in a view the next split takes hold.",
)
@click.option("--all", "everything", is_flag=True, help="Every twin with every cut: twelve times as many.")
@click.option(
    "--drawn",
    type=click.IntRange(min=1),
    help="So many of the larger space instead, by chance: cuts differ, some hear more.",
)
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True, help="Only each so-manyth history.")
@click.option("--history", "name", help="Replay the one with this name, with a trace.")
@click.option("--processes", type=click.IntRange(min=1), help="How many processes; default: all cores.")
@json_option
def small_scope(
    twin: int,
    cut: str,
    everything: bool,
    drawn: int | None,
    every: int,
    name: str | None,
    processes: int | None,
    as_json: bool,
) -> None:
    """Run every small history: four members, one of them twice, three views, each with one of all two-way splits.

    4,096 histories for one twin and one cut. Exit status 1 if one failed.

    \b
    Example: watt sim small-scope
             watt sim small-scope --all
             watt sim small-scope --history 0-222-999-3a7
    """
    if name is not None:
        results = [run_history(_named(name), trace=lambda line: print_trace(line, err=as_json))]
    else:
        results = _run(_histories(twin, CUTS[cut], everything, drawn)[::every], processes or 0)
    failed = sorted((result for result in results if result.failure), key=lambda result: result.history)
    for result in failed[:MAX_TOLD]:
        click.echo(f"history {result.history}: {result.failure}", err=True)
        click.echo(f"  replay: watt sim small-scope --history {result.history}", err=True)
    if as_json:
        print_json({"runs": len(results), "failed": [asdict(result) for result in failed]})
    else:
        print_table("small scope", ("what", ">value"), [("histories", len(results)), ("failed", len(failed))])
    if failed:
        sys.exit(EXIT_REFUSED)


def _named(name: str) -> History:
    try:
        return history_of(name)
    except ValueError as error:
        raise click.BadParameter(f"{name!r} names no history", param_hint="--history") from error


def _histories(twin: int, cut: int, everything: bool, drawn: int | None) -> list[History]:
    if drawn is not None:
        return [drawn_history(seed) for seed in range(drawn)]
    if everything:
        return [history for twin in range(MEMBERS) for cut in CUTS.values() for history in every_history(twin, cut)]
    return every_history(twin, cut)


def _run(histories: list[History], processes: int) -> list[HistoryResult]:
    found = run_histories(histories, processes)
    if not sys.stderr.isatty():
        return list(found)
    with click.progressbar(found, length=len(histories), label="histories", file=sys.stderr) as bar:
        return list(bar)
