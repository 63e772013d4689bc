"""How long does a network stand still when something breaks, and how long does a node take to come back?

Real processes on one machine, a trickle of orders all the while. A pause is counted between blocks with orders in them,
as a client sees them come back.
"""

import asyncio
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from bench import market
from bench.catch_up import catch_up
from bench.pulse import Orders, Pulse
from bench.throughput import show
from cli.output import json_option, refusals_to_exit_codes
from testnet.cluster import Cluster
from testnet.partition import heal, partition

WARM_UP_S = 1.0
SPLIT_S = 3.0
"""How long a partition lasts: longer than the first time-outs, so that views have been asked for on both sides."""


@click.command()
@click.option("--nodes", default=4, show_default=True, type=click.IntRange(4, 16), help="Validator processes.")
@click.option("--runs", default=20, show_default=True, type=click.IntRange(1, 100), help="How often each thing breaks.")
@click.option("--blocks", default=10_000, show_default=True, type=click.IntRange(100, 1_000_000),
              help="How many a wiped node has to catch up with.")  # fmt: skip
@json_option
@refusals_to_exit_codes
def recovery(nodes: int, runs: int, blocks: int, as_json: bool) -> None:
    """Seconds without commits when the primary is killed, after a partition heals, after a restart of all; and until a
    wiped node is level again.

    Example: watt bench recovery --json
    """
    show("Recovery", measure(nodes, runs) | catch_up(blocks), as_json)


def measure(nodes: int, runs: int) -> dict[str, Any]:
    """Start a network, break it in turn, and take it down again."""
    with tempfile.TemporaryDirectory(prefix="watt-bench-") as directory:
        cluster = Cluster(market.build(Path(directory) / "net", nodes))
        try:
            cluster.start_all()
            ready = cluster.wait_ready()
            asyncio.run(market.fund(cluster.network))
            assert ready[0].info is not None
            orders = Orders(cluster.network, ready[0].info.now)
            killed = [_primary_killed(cluster, orders) for _ in range(runs)]
            healed = [_healed(cluster, orders) for _ in range(runs)]
            restarted = [_restarted(cluster, orders) for _ in range(max(1, runs // 4))]
        finally:
            cluster.stop_all()
    return {
        **_summary("primary_killed", killed),
        **_summary("healed", healed),
        **_summary("restarted", restarted),
        "runs": runs,
        "nodes": nodes,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "machine": platform.platform(),
    }


def _summary(name: str, seconds: list[float]) -> dict[str, float]:
    return {f"{name}_p50_s": round(statistics.median(seconds), 3), f"{name}_max_s": round(max(seconds), 3)}


def _primary_killed(cluster: Cluster, orders: Orders) -> float:
    """Kill the primary with SIGKILL; the longest pause that clients of the others see. Then it comes back."""
    info = next(status.info for status in cluster.status() if status.info is not None)
    victim = cluster.network.nodes[info.primary]
    others = [node.gateway for node in cluster.network.nodes if node is not victim]

    async def run() -> float:
        async with Pulse(orders, others) as pulse:
            await pulse.steady(time.monotonic())
            await asyncio.sleep(WARM_UP_S)
            now = time.monotonic()
            await asyncio.to_thread(cluster.kill, victim)
            await pulse.steady(now)
            return pulse.longest_pause(now)

    pause = asyncio.run(run())
    cluster.start(victim)
    cluster.wait_ready()
    return pause


def _healed(cluster: Cluster, orders: Orders) -> float:
    """Cut the network into two halves of which neither is a quorum; time from the healing to the first block."""
    names = [node.name for node in cluster.network.nodes]
    half = len(names) // 2
    sides = [frozenset(names[:half]), frozenset(names[half:])]

    async def run() -> float:
        async with Pulse(orders, cluster.network.gateways) as pulse:
            await pulse.steady(time.monotonic())
            await asyncio.to_thread(partition, cluster, sides)
            await asyncio.sleep(SPLIT_S)
            await asyncio.to_thread(heal, cluster)
            now = time.monotonic()
            await pulse.steady(now)
            return pulse.first_after(now)

    return asyncio.run(run())


def _restarted(cluster: Cluster, orders: Orders) -> float:
    """Kill all nodes at once; time from the start of their processes to the first block with new orders in it."""

    async def run() -> float:
        async with Pulse(orders, cluster.network.gateways) as pulse:
            await pulse.steady(time.monotonic())
            for node in cluster.network.nodes:
                await asyncio.to_thread(cluster.kill, node)
            now = time.monotonic()
            await asyncio.to_thread(cluster.start_all)
            await pulse.steady(now)
            return pulse.first_after(now)

    pause = asyncio.run(run())
    cluster.wait_ready()
    return pause
