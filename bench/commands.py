"""`watt bench`: one file a question."""

from typing import Final

import click

from cli.lazy import Commands, LazyGroup

COMMANDS: Final[Commands] = {
    "throughput": ("bench.throughput:throughput", "Orders committed a second at saturation."),
    "latency": ("bench.throughput:latency", "Milliseconds from submission to a known certificate, at low load."),
    "auction": ("bench.auction:auction", "Microseconds an order to clear an auction, beside general solvers."),
    "budgets": ("bench.budgets:budgets", "Spends, settled readings, shares, the end of a period, bytes on the ledger."),
    "flood": ("bench.flooding:flood", "Latency of others while one member floods, against quiet times."),
    "ledger": ("bench.ledger:ledger", "Decode, execution, root and commit of real orders."),
    "metering": ("bench.metering:metering", "Full blocks of readings that a collector brings."),
    "proofs": ("bench.proofs:proofs", "Bytes and microseconds of proofs in a state of a million keys."),
    "recovery": ("bench.recovery:recovery", "Seconds without commits after a crash, a partition, a restart of all."),
    "retention": ("bench.retention:retention", "The state that homes leave behind, kept for ever and pruned."),
    "scale": ("bench.scale:scale", "Throughput and latency by the number of members, with f dead too."),
    "soak": ("bench.soak:soak", "Memory and latency of three members while the fourth floods them."),
    "statement": ("bench.statement:statement", "What a home's bill of a month takes, plainly and proven."),
    "verify": ("bench.verify:verify", "Blocks and transactions verified a second, against signatures alone."),
    "community": ("bench.community:community", "Homes on a real kind of grid trade and are settled for days."),
    "tls": ("bench.tls:tls", "What closed links and gateways cost, on against off."),
    "plan": ("bench.plan:plan", "Milliseconds of a broker's plan, of its curve and of control within the slot."),
}


@click.command(cls=LazyGroup, table=COMMANDS)
def bench() -> None:
    """Measure throughput, latency, recovery, members, the auction, budgets, the ledger, readings, bills and plans."""
