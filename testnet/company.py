"""`watt testnet company`: a chain of twelve shops with budgets for every device, a month in minutes on four nodes."""

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from broker.data.homes import find_homes
from cli.output import json_option
from node.errors import RefusedError
from testnet.cluster import Cluster
from testnet.commands import refusals
from testnet.company_data import DATASET
from testnet.company_month import Lived, Month, Tick
from testnet.company_plan import MOST_DAYS, make_company
from testnet.company_profiles import find_profiles
from testnet.company_report import faults, make_report, report_json
from testnet.company_text import print_company
from testnet.company_world import DAY_S, DISPUTE_S, METERING_S, OPEN_BEFORE_S, World, build_world, start_s
from testnet.genesis import GENESIS_NAME
from testnet.progress import telling
from testnet.sender import VALID_S, Clock, Sender

READY_S: Final = 60.0
LEAD_REAL_S: Final = 36
"""Real seconds between genesis and the month: for starting processes, and for all that is decided before it."""
PLANNED_AHEAD_S: Final = DAY_S + OPEN_BEFORE_S
"""So long before it begins a calendar of months is planned at the latest."""
TOLD_EVERY_S: Final = DAY_S
GRACE_S: Final = 2.0
"""Real seconds after which a transaction that has become void is in no block."""
REPORT_NAME: Final = "report.json"


@click.command()
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), default=".company", show_default=True,
    help="Where it is kept; it must not hold one already.",
)  # fmt: skip
@click.option("--days", type=click.IntRange(1, MOST_DAYS), default=MOST_DAYS, show_default=True,
              help="Days of the billing period, from 1 June 2014 on.")  # fmt: skip
@click.option("--day-seconds", type=click.IntRange(5, 3_600), default=12, show_default=True,
              help="A day takes so long.")  # fmt: skip
@json_option
@refusals
def company(directory: Path, days: int, day_seconds: int, as_json: bool) -> None:
    """Run a company's billing period: twelve shops, four networks each, 384 devices with budgets, four real nodes.

    What the devices take is not invented: measured buildings (CityLearn 2021) and standard load profiles (demandlib).
    Budgets are issued, assigned, allocated, spent, shared, sold and carried over; then the books are read and added up.
    The ledger stays in the directory.

    Example: watt testnet company --days 1
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    directory = directory.resolve()
    if (directory / GENESIS_NAME).exists():
        raise RefusedError(
            "company-exists", f"{directory} holds a network already: remove it, or name another place with --dir"
        )
    console, begun = Console(stderr=True), time.monotonic()
    plan = make_company(find_homes(DATASET), find_profiles(), days)
    console.print(f"{len(plan.networks)} networks of 12 shops, {days} of 30 days, {day_seconds} s each")
    scale = DAY_S // day_seconds
    lead_s = LEAD_REAL_S * scale + (PLANNED_AHEAD_S if days > 1 else 0)
    world = build_world(directory, plan, time_scale=scale, lead_s=lead_s)
    cluster = Cluster(world.network)
    try:
        cluster.start_all()
        cluster.wait_ready(READY_S)
        clock, network = Clock(world.network.genesis), world.network
        sender = Sender(clock, network.gateways[:2], network.reader, wait_s=VALID_S / scale + GRACE_S)
        lived = asyncio.run(_live(world, sender, console))
        agreement = cluster.agreement()
        report = asyncio.run(make_report(world, lived, sender, agreement, time.monotonic() - begun, day_seconds))
    finally:
        cluster.stop_all()
    (directory / REPORT_NAME).write_text(report_json(report) + "\n")
    wrong = faults(report)
    if as_json:
        click.echo(report_json(report))
    else:
        print_company(report, directory, wrong)
    if wrong:
        raise RefusedError("company-failed", "; ".join(wrong))


async def _live(world: World, sender: Sender, console: Console) -> Lived:
    length_s = world.company.days * DAY_S + METERING_S + DISPUTE_S
    try:
        with telling(console, start_s(), length_s, TOLD_EVERY_S) as tell:

            def tell_tick(tick: Tick) -> None:
                tell(tick.time, tick.height, f"{tick.readings:,} readings")

            return await Month(world, sender, tell_tick).run()
    finally:
        await sender.close()
