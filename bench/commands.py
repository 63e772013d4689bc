"""`watt bench`: one file a question."""

import click

from bench.auction import auction
from bench.budgets import budgets
from bench.community import community
from bench.ledger import ledger
from bench.metering import metering
from bench.recovery import recovery
from bench.retention import retention
from bench.scale import scale
from bench.soak import soak
from bench.statement import statement
from bench.throughput import latency, throughput


@click.group()
def bench() -> None:
    """Measure throughput, latency, recovery, members, the auction, budgets, the ledger, readings and bills."""


bench.add_command(throughput)
bench.add_command(latency)
bench.add_command(auction)
bench.add_command(budgets)
bench.add_command(ledger)
bench.add_command(metering)
bench.add_command(recovery)
bench.add_command(retention)
bench.add_command(scale)
bench.add_command(soak)
bench.add_command(statement)
bench.add_command(community)
