"""What does it cost to close everything? Orders a second and processor time, with mutual TLS on peer links and TLS on
gateways, against none of both, in one run.

Two networks alike run side by side: one as nodes run, one with nothing closed (``bench/plain_node.py``; there is no
such switch in the product). Both are loaded to saturation at the same time, each with as many processes, so the kernel
gives each half of the machine; and whatever else slows the machine slows both in the same second. (Loaded in turns,
pairs of windows differed by half on a machine whose speed swings, and told nothing.) A window gives one answer.
Reported is the median of all, and the interval in which the median lies with 95 % certainty, whatever the distribution
(order statistics):

    cost = 1 - orders a second closed / open        cpu_cost = processor time of an order closed / open - 1

Processor time is that of nodes and clients: encryption costs both, and here they have the same cores. A cost below
zero says that gRPC's open connections take more of something else than encryption takes: what is compared is all that
changes when links are closed.
"""

import math
import statistics
from typing import Any, Final

import click

from bench.throughput import CLIENTS, Loaded, run_beside
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes

MOST_PERCENT: Final = 15
WARM_UP_S: Final = 8.0
"""Longer than an order waits at saturation, with two networks on the machine."""
CERTAINTY: Final = 0.95
PROGRAMS: Final = {"off": "bench.plain_node", "on": "cli.main"}
FIGURES: Final = ("committed_tps", "p50_ms", "p99_ms", "cpu_us_per_tx_per_node", "cpu_us_per_tx")


@click.command()
@click.option("--nodes", default=4, show_default=True, type=click.IntRange(4, 16), help="Validators of each network.")
@click.option("--seconds", default=12, show_default=True, type=click.IntRange(1, 600), help="Of each window.")
@click.option("--rounds", default=14, show_default=True, type=click.IntRange(6, 100), help="Windows.")
@json_option
@refusals_to_exit_codes
def tls(nodes: int, seconds: int, rounds: int, as_json: bool) -> None:
    """Throughput with mutual TLS on peer links and TLS on gateways, against neither. Half a minute a round.

    Example: watt bench tls --rounds 14 --json
    """
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in PROGRAMS}
    with Loaded(nodes, program=PROGRAMS["off"]) as off, Loaded(nodes, tls=True, program=PROGRAMS["on"]) as on:
        for _ in range(rounds):
            both = run_beside([off, on], float(seconds), clients=CLIENTS, per_second=0, warm_up_s=WARM_UP_S)
            for name, run in zip(PROGRAMS, both, strict=True):
                runs[name].append(_with_cpu(run))
    report = _report(runs)
    if as_json:
        return print_json(report | {"nodes": nodes, "seconds": seconds, "rounds": rounds, "runs": runs})
    rows = [[name, *(report[name][figure] for figure in FIGURES)] for name in PROGRAMS]
    print_table("TLS", ("closed", *(f">{figure}" for figure in FIGURES)), rows)
    low, high = report["cost_percent_within"]
    click.echo(f"cost: {report['cost_percent']} % of throughput, {low} to {high} %; at most {MOST_PERCENT} %")


def _with_cpu(run: dict[str, Any]) -> dict[str, Any]:
    committed = run["committed_tps"] * run["seconds"]
    return run | {"cpu_us_per_tx": round((run["node_cpu_s"] + run["client_cpu_s"]) / committed * 1e6, 1)}


def _report(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    report: dict[str, Any] = {
        name: {figure: round(statistics.median(run[figure] for run in of), 1) for figure in FIGURES}
        for name, of in runs.items()
    }
    pairs = list(zip(runs["off"], runs["on"], strict=True))
    costs = {
        "cost_percent": [100 * (1 - on["committed_tps"] / off["committed_tps"]) for off, on in pairs],
        "cpu_cost_percent": [100 * (on["cpu_us_per_tx"] / off["cpu_us_per_tx"] - 1) for off, on in pairs],
    }
    for name, of in costs.items():
        report[name] = round(statistics.median(of), 1)
        report[f"{name}_within"] = [round(bound, 1) for bound in within(of)]
    report["at_most_percent"] = MOST_PERCENT
    report["holds"] = report["cost_percent"] <= MOST_PERCENT
    return report


def within(values: list[float]) -> tuple[float, float]:
    """The narrowest pair of the values, as far from both ends, between which the median lies with CERTAINTY."""
    ordered = sorted(values)
    cut, outside = 0, 2 * 0.5 ** len(values)
    while outside + 2 * math.comb(len(values), cut + 1) * 0.5 ** len(values) <= 1 - CERTAINTY:
        cut += 1
        outside += 2 * math.comb(len(values), cut) * 0.5 ** len(values)
    return ordered[cut], ordered[-1 - cut]
