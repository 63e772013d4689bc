"""`watt bench`: one file a question."""

import click

from bench.auction import auction
from bench.throughput import latency, throughput


@click.group()
def bench() -> None:
    """Measure throughput, latency and the auction."""


bench.add_command(throughput)
bench.add_command(latency)
bench.add_command(auction)
