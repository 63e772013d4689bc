"""`watt testnet demo`: seventeen real homes trade a real day on four nodes, in minutes; then the books are read."""

import asyncio
import shutil
import signal
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from broker.data.homes import find_homes
from cli.output import json_option
from cli.statement_words import Token
from cli.wallet_statement import page_of, read_statement
from node.errors import RefusedError
from testnet.cluster import Cluster
from testnet.commands import refusals
from testnet.community import Community, load_community
from testnet.demo_day import Day, Outage, Processes, Tick, fund
from testnet.demo_world import DAY_S, POOR_EV, WORLD_NAME, World, build_world
from testnet.genesis import GENESIS_NAME, load_network
from testnet.progress import telling
from testnet.report import Report, faults, make_report, report_json
from testnet.report_text import print_report

LEAD_REAL_S = 25
"""Real seconds between genesis and the day's midnight: for starting processes, and for issuing budgets."""
READY_S = 60.0
BILL_NAME = f"{POOR_EV}.pdf"
TOLD_EVERY_S = 4 * 3600


@click.command()
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), default=".demo", show_default=True, help="Where it is kept."
)
@click.option(
    "--day-seconds", type=click.IntRange(60, 86_400), default=160, show_default=True, help="A day takes so long."
)
@click.option("--data", type=click.Path(path_type=Path), help="The homes' data; by default the installed citylearn's.")
@json_option
@refusals
def demo(directory: Path, day_seconds: int, data: Path | None, as_json: bool) -> None:
    """Trade a real day: four nodes, seventeen homes with load, panels, battery and EV, brokers and meters.

    The homes are measured ones (CityLearn 2022); half-hour products, auctions inside the blocks, settlement by meter.
    One device runs out of budget and is helped, one node is killed and comes back. Afterwards the ledger lies in the
    directory, for `watt market verify` and `watt node verify`.

    Example: watt testnet demo --day-seconds 160
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    directory = directory.resolve()
    console = Console(stderr=True)
    begun = time.monotonic()
    data = data or find_homes()
    community = load_community(data)
    _clear(directory)
    console.print(
        f"{len(community.homes)} homes, {community.date:%A %d %B %Y}: {_kwh(community, 'load_wh')} kWh load, "
        f"{_kwh(community, 'sun_wh')} kWh sun; one day in {day_seconds} s"
    )
    scale = DAY_S // day_seconds
    world = build_world(directory, data, community, time_scale=scale, lead_s=LEAD_REAL_S * scale)
    cluster = Cluster(world.network)
    try:
        report = _run(world, cluster, community, console, begun)
    finally:
        cluster.stop_all()
    (directory / "report.json").write_text(report_json(report) + "\n")
    if as_json:
        click.echo(report_json(report))
    else:
        print_report(report, directory)
    wrong = faults(report)
    if wrong:
        raise RefusedError("demo-failed", "; ".join(wrong))


def _run(world: World, cluster: Cluster, community: Community, console: Console, begun: float) -> Report:
    cluster.start_all()
    cluster.wait_ready(READY_S)
    processes = Processes(world)
    try:
        outage = asyncio.run(_pass_the_day(world, cluster, community, processes, console))
    finally:
        processes.end()
    cluster.wait_ready(READY_S)
    agreement = cluster.agreement()
    report = asyncio.run(make_report(world, community, agreement, outage, begun))
    asyncio.run(_write_bill(world))
    return report


async def _write_bill(world: World) -> None:
    """The day's bill of one home, as its household gets it."""
    async with world.network.client() as client:
        made = await read_statement(client.query, POOR_EV, world.period)
        info = await client.node_info()
    token = Token(info.token_symbol, info.token_decimals)
    try:
        page = page_of(made, token, "as the node shows it; with --genesis FILE no node need be trusted")
    except RefusedError as error:
        click.echo(f"no bill is written: {error.message}", err=True)
    else:
        (world.directory / BILL_NAME).write_bytes(page)


async def _pass_the_day(
    world: World, cluster: Cluster, community: Community, processes: Processes, console: Console
) -> Outage | None:
    async with world.network.client() as client:
        await fund(client, world, community)
    first = world.first_slot * (DAY_S // 48)
    with telling(console, first, DAY_S + 3 * 1800, TOLD_EVERY_S) as tell:

        def tell_tick(tick: Tick) -> None:
            tell(tick.time, tick.height, f"{tick.down} is down" if tick.down else "")

        day = Day(world, cluster, processes, tell_tick)
        await day.run()
        return day.outage


def _clear(directory: Path) -> None:
    """Remove an earlier demo, and nothing else. Raises RefusedError("not-a-demo")."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    if not (directory / WORLD_NAME).exists():
        raise RefusedError("not-a-demo", f"{directory} holds something else; name another with --dir")
    if (directory / GENESIS_NAME).exists():
        Cluster(load_network(directory)).stop_all()
    click.echo(f"replaces the earlier demo in {directory}", err=True)
    shutil.rmtree(directory)


def _kwh(community: Community, field: str) -> str:
    return f"{sum(sum(getattr(home, field)) for home in community.homes) / 1000:,.0f}"
