"""What does it cost to close everything? Orders a second and processor time, with mutual TLS on peer links and TLS on
gateways, against none of both, in one run.

The same network, load and machine each time, new nodes for each measurement; open and closed alternate, the first one
of a pair being the other's in the next pair, so that what the machine does besides falls on both. Plain links exist in
``bench/plain_node.py`` alone. Clients' processor time is on the same cores: encryption costs them too, and counts.
"""

import statistics
from typing import Any, Final, NamedTuple

import click

from bench.throughput import CLIENTS, measure
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes

MOST_PERCENT: Final = 15
PLAIN_NODE: Final = "bench.plain_node"
CLOSED_NODE: Final = "cli.main"


class Way(NamedTuple):
    """``tls``: whether gateways are closed; ``program``: what runs the nodes."""

    tls: bool
    program: str


WAYS: Final = {"off": Way(False, PLAIN_NODE), "links": Way(False, CLOSED_NODE), "on": Way(True, CLOSED_NODE)}
"""Nothing closed; links between peers; links and gateways, which is how nodes run."""
FIGURES: Final = ("committed_tps", "p50_ms", "p99_ms", "cpu_us_per_tx_per_node")


@click.command()
@click.option("--nodes", default=4, show_default=True, type=click.IntRange(4, 16), help="Validator processes.")
@click.option("--seconds", default=10, show_default=True, type=click.IntRange(1, 600), help="Of each measurement.")
@click.option("--rounds", default=4, show_default=True, type=click.IntRange(1, 50), help="Measurements of each kind.")
@json_option
@refusals_to_exit_codes
def tls(nodes: int, seconds: int, rounds: int, as_json: bool) -> None:
    """Throughput with mutual TLS on peer links and TLS on gateways, against neither.

    Example: watt bench tls --rounds 4 --json
    """
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    for number in range(rounds):
        for name in list(WAYS) if number % 2 == 0 else reversed(WAYS):
            way = WAYS[name]
            run = measure(nodes, float(seconds), clients=CLIENTS, per_second=0, tls=way.tls, program=way.program)
            runs[name].append(run)
    report = _report(runs)
    if as_json:
        return print_json(report | {"nodes": nodes, "seconds": seconds, "rounds": rounds, "runs": runs})
    rows = [[name, *(report[name][figure] for figure in FIGURES)] for name in WAYS]
    print_table("TLS", ("closed", *(f">{figure}" for figure in FIGURES)), rows)
    click.echo(f"cost: {report['cost_percent']} % of throughput; links alone {report['links_cost_percent']} %")


def _report(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    report: dict[str, Any] = {
        name: {figure: round(statistics.median(run[figure] for run in of), 1) for figure in FIGURES}
        for name, of in runs.items()
    }
    off = report["off"]
    for name, label in (("on", "cost_percent"), ("links", "links_cost_percent")):
        report[label] = round(100 * (1 - report[name]["committed_tps"] / off["committed_tps"]), 1)
        report[label.replace("cost", "cpu_cost")] = round(
            100 * (report[name]["cpu_us_per_tx_per_node"] / off["cpu_us_per_tx_per_node"] - 1), 1
        )
    report["at_most_percent"] = MOST_PERCENT
    return report
