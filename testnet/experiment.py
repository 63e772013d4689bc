"""`watt testnet experiment`: do brokers earn their keep? A year of homes and shops, in one process and on real nodes.

What it writes into its directory: `report.html`, a page to look at; `figures.json`, what the documentation's table is
made from; `table.md`, that table; and below `nodes` the ledgers of the weeks on nodes, for `watt node verify`.
"""

import signal
import sys
from pathlib import Path

import click
import msgspec

from cli.output import json_option
from testnet.commands import refusals


@click.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path), default=".experiment", show_default=True,
              help="Where the report goes; what an earlier experiment wrote there is replaced.")  # fmt: skip
@click.option("--quick", is_flag=True, help="A fortnight instead of a year, and two days on nodes: a few minutes.")
@click.option("--days-on-nodes", type=click.IntRange(1, 28), help="Of each season; by default 7, quick 2.")
@click.option("--slot-ms", type=click.IntRange(200, 60_000), help="On nodes an hour takes so long, real milliseconds; "
              "by default 1500, and up to 6000 where the machine is too busy for it.")  # fmt: skip
@json_option
@refusals
def experiment(directory: Path, quick: bool, days_on_nodes: int | None, slot_ms: int | None, as_json: bool) -> None:
    """Let brokers trade for 17 measured homes and 5 shops on a real kind of grid, and report what it came to.

    Bills against the utility alone and against perfect foresight, with and without distance charge and line limits, for
    a whole year; and five days of every season through four real nodes.

    Example: watt testnet experiment --quick
    """
    from testnet.experiment_run import REPORT_NAME, run_experiment  # noqa: PLC0415 - brings solvers and charts along
    from testnet.experiment_study import FULL, QUICK  # noqa: PLC0415
    from testnet.experiment_table import print_table_of  # noqa: PLC0415

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    extent = QUICK if quick else FULL
    if days_on_nodes is not None:
        extent = extent._replace(on_nodes=(extent.on_nodes[0], days_on_nodes))
    figures = run_experiment(extent, directory.resolve(), slot_ms, _command())
    if as_json:
        click.echo(msgspec.json.encode(figures))
    else:
        print_table_of(figures)
    if busy := figures.busy_words:
        slowest = max(week.slot_ms for week in figures.weeks)
        click.echo(f"on nodes, {slowest} ms an hour: {busy}; try a quiet machine or a longer --slot-ms", err=True)
    if not as_json:
        click.echo(f"the report: {directory / REPORT_NAME}", err=True)


def _command() -> str:
    return " ".join(["watt", *sys.argv[1:]])
