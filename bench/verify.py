"""How fast a chain is verified, against the bound that its signatures set.

Homes trade and meter every half hour for some days, in one process: real contracts, real signatures, blocks certified
by four members. Then the chain is verified as `watt node verify` does it: signatures in other processes, everything
else by replaying it.
"""

import time
from collections.abc import Sequence
from random import Random

import click

from bench.homes import MEMBERS, SLOTS_PER_DAY
from bench.street import Street
from cli.node_verify import speed_of
from cli.output import json_option, print_json, print_table
from node.audit import AuditReport, verify_chain


@click.command()
@click.option("--homes", default=20, show_default=True, type=click.IntRange(2, 1_000), help="Homes, two devices each.")
@click.option("--days", default=8, show_default=True, type=click.IntRange(1, 60), help="Days of trading.")
@click.option(
    "--jobs", default=(0, 1, 2), show_default=True, multiple=True, type=click.IntRange(0, 64), help="Try these."
)
@json_option
def verify(homes: int, days: int, jobs: Sequence[int], as_json: bool) -> None:
    """Measure blocks and transactions verified a second, by processes for signatures.

    Example: watt bench verify --homes 20 --days 8 --json
    """
    street = Street(homes, 0, MEMBERS)
    rng = Random(1)
    began = time.perf_counter()
    for slot in range(days * SLOTS_PER_DAY):
        street.slot(slot, rng)
    made_s = time.perf_counter() - began
    reports: list[AuditReport] = []
    for each in jobs:
        reports.append(verify_chain(street.store, street.genesis, street.registry, jobs=each))
    rows = [speed_of(report) for report in reports]
    if as_json:
        chain = {"blocks": reports[0].height, "transactions": reports[0].transactions, "made_s": round(made_s, 1)}
        return print_json({"chain": chain, "verified": rows})
    title = f"A chain of {reports[0].height} blocks and {reports[0].transactions} transactions"
    print_table(title, [f">{name}" for name in rows[0]], [tuple(row.values()) for row in rows])
