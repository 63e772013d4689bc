"""What does one member's flood cost all others? Their latencies while it floods, against quiet times.

Five floods, each as fast as one process can over several connections, never waiting when it is told to: valid
transactions of one key, forged ones that name another member's device, valid ones of two hundred keys of one member,
lists of as many orders as the market takes, and a device's questions for all that rests. Homes of two other
members place orders at an even pace all the time. Quiet and flooded windows alternate on the same network, so that what
the machine does besides falls on both, and the latencies of all windows of a kind are taken together:

    ratio of a kind = its 99th percentile / the 99th percentile in quiet times

Demanded is that transactions of one sender at most double it (``DEMANDED``); what all the keys of a member do, or one
key's questions, is measured beside that.

The attacker's process shares the nodes' cores here: it gives way to them, and takes at most a part of one
(``--cpu-percent``). Load average and cores are in the result: with more at work than there are cores, the machine's
scheduler is measured.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from bench.crowd import SWARM, Homes, Placed, build_crowd, devices_of
from bench.flooder import BULK, CONNECTIONS, FORGED, LISTS, ORDERS, OUTSTANDING, QUESTIONS, Attacker, Result
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from testnet.cluster import Cluster

AT_MOST: Final = 2.0
PER_SECOND: Final = 12
WARM_UP_S: Final = 3.0
PAUSE_S: Final = 0.5
BEGINNING_S: Final = 1.0
"""What is told apart of a window: at first a flood has everything that it was allowed to save up."""
MOST_ROUNDS: Final = 10
KINDS: Final = ("one-sender", "forged", "many-keys", "lists", "questions")
DEMANDED: Final = ("one-sender", "forged", "lists")
QUIET: Final = "quiet"


class Window(NamedTuple):
    """``placed``: the homes' orders; ``result``: the attacker's, None in quiet times; ``load``: average of a minute."""

    kind: str
    placed: list[Placed]
    result: Result | None
    load: float


@click.command()
@click.option("--rounds", default=4, show_default=True, type=click.IntRange(1, MOST_ROUNDS), help="Windows of a flood.")
@click.option("--seconds", default=6, show_default=True, type=click.IntRange(1, 60), help="Of each window.")
@click.option("--cpu-percent", default=25, show_default=True, type=click.IntRange(1, 100), help="Of the attacker.")
@json_option
@refusals_to_exit_codes
def flood(rounds: int, seconds: int, cpu_percent: int, as_json: bool) -> None:
    """Latency of others while one member floods, against quiet times; fails if one sender's transactions more than
    double it.

    Example: watt bench flood --rounds 4 --json
    """
    windows = _measure(rounds, seconds, cpu_percent / 100)
    report = _report(windows) | {"rounds": rounds, "seconds": seconds, "cpu_percent": cpu_percent}
    if as_json:
        print_json(report)
    else:
        figures = list(report["kinds"][QUIET])
        rows = [[kind, *of.values(), report["ratios"].get(kind, 1.0)] for kind, of in report["kinds"].items()]
        print_table("Flood", ("window", *(f">{figure}" for figure in figures), ">ratio"), rows)
        click.echo(f"one sender's transactions: ratio {report['ratio']}, at most {AT_MOST:g}; load {report['load']}")
    if not report["holds"]:
        raise SystemExit(1)


def _measure(rounds: int, seconds: int, cpu_share: float) -> list[Window]:
    with tempfile.TemporaryDirectory(prefix="watt-bench-") as directory:
        cluster = Cluster(build_crowd(Path(directory) / "net"))
        try:
            cluster.start_all()
            cluster.wait_ready()
            homes = Homes(cluster.network)
            asyncio.run(homes.trade(WARM_UP_S, PER_SECOND))
            return [window for number in range(rounds) for window in _round(cluster, homes, number, seconds, cpu_share)]
        finally:
            cluster.stop_all()


def _round(cluster: Cluster, homes: Homes, number: int, seconds: int, cpu_share: float) -> Iterator[Window]:
    victim = devices_of("north")[0]
    swarm = devices_of("swarm")
    # A key for each round: its nonces begin at 1. The other keys have an order or two of theirs in a round.
    whose = {
        "one-sender": ([swarm[number]], 1, ORDERS),
        "forged": ([victim], homes.nonce(victim) + 1, FORGED),
        "many-keys": (swarm[2 * MOST_ROUNDS :], 1 + 16 * number, ORDERS),
        "lists": ([swarm[MOST_ROUNDS + number]], 1, LISTS),
        "questions": (swarm[:1], 1, QUESTIONS),
    }
    for kind in KINDS:
        devices, first, what = whose[kind]
        with Attacker(
            cluster.network, devices, what=what, first_nonce=first, seconds=seconds, cpu_share=cpu_share
        ) as attacker:
            time.sleep(PAUSE_S)
            yield Window(QUIET, asyncio.run(homes.trade(seconds, PER_SECOND)), None, os.getloadavg()[0])
            attacker.begin()
            placed = asyncio.run(homes.trade(seconds, PER_SECOND))
            yield Window(kind, placed, attacker.result(), os.getloadavg()[0])


def _report(windows: list[Window]) -> dict[str, Any]:
    kinds = {kind: _figures([window for window in windows if window.kind == kind]) for kind in (QUIET, *KINDS)}
    ratios = {kind: kinds[kind]["p99_ms"] / kinds[QUIET]["p99_ms"] for kind in KINDS}
    ratio = max(ratios[kind] for kind in DEMANDED)
    refused = Counter(placed.code for window in windows for placed in window.placed if placed.code != "ok")
    floods: Counter[str] = Counter()
    for window in windows:
        floods.update(window.result.codes if window.result is not None else {})
    return {
        "kinds": kinds,
        "ratios": {kind: round(of, 2) for kind, of in ratios.items()},
        "ratio": round(ratio, 2),
        "at_most": AT_MOST,
        "holds": ratio <= AT_MOST and not refused,
        "others_refused": dict(refused),
        "flood_codes": dict(sorted(floods.items())),
        "load": [round(window.load, 1) for window in windows],
        "cores": os.cpu_count() or 1,
        "orders_per_second": PER_SECOND,
        "flood": {"gateways": 2, "connections": CONNECTIONS, "calls_at_a_time": OUTSTANDING, "bulk": BULK},
        "keys": SWARM - 2 * MOST_ROUNDS,
    }


def _figures(windows: list[Window]) -> dict[str, Any]:
    placed = [one for window in windows for one in window.placed if one.code == "ok"]
    results = [window.result for window in windows if window.result is not None]
    return {
        "orders": len(placed),
        "p50_ms": round(statistics.median(one.ms for one in placed), 1),
        "p99_ms": round(p99([one.ms for one in placed]), 1),
        "worst_of_beginning_ms": round(max(one.ms for one in placed if one.at < BEGINNING_S), 1),
        "worst_after_ms": round(max((one.ms for one in placed if one.at >= BEGINNING_S), default=0.0), 1),
        "calls": sum(result.calls for result in results),
        "taken": sum(result.codes.get("ok", 0) for result in results),
        "attacker_cpu_s": round(sum(result.cpu_s for result in results), 2),
    }


def p99(latencies: list[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(latencies, n=100, method="inclusive")[98]
