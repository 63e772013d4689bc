"""Does a network with f flooding members keep its memory and its pace? Real processes, for as long as you like.

The highest member of four is replaced by ``bench/flood.py``: the others are measured with it dead, then flooding. What
their clients send leaves the state as large as it was, so that memory should be, too.
"""

import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click

from bench import market
from bench.processes import rss_mb
from bench.pulse import Pulse, Vain
from bench.throughput import show
from cli.output import json_option, refusals_to_exit_codes
from testnet.cluster import Cluster
from testnet.genesis import NetworkNode

NODES: Final = 4
CALM_S: Final = 30.0
SAMPLE_S: Final = 10.0
SETTLED_SHARE: Final = 0.2
"""The first fifth fills buffers and caches to their bounds. Of the rest, the mean of the first third is compared with
that of the last: in between, the store's write buffers fill and empty."""


@click.command()
@click.option("--minutes", default=15, show_default=True, type=click.IntRange(1, 24 * 60), help="Length of the flood.")
@click.option("--rate", default=1_000, show_default=True, type=click.IntRange(20, 20_000),
              help="Messages a second from the flooder to each member.")  # fmt: skip
@json_option
@refusals_to_exit_codes
def soak(minutes: int, rate: int, as_json: bool) -> None:
    """Memory and latency of three members while the fourth floods them.

    Example: watt bench soak --minutes 15 --json
    """
    show("Soak", measure(60.0 * minutes, rate), as_json)


def measure(seconds: float, per_second: int) -> dict[str, Any]:
    """Start a network, turn one member into a flooder, watch the others, and take all down again."""
    with tempfile.TemporaryDirectory(prefix="watt-bench-") as directory:
        cluster = Cluster(market.build(Path(directory) / "net", NODES))
        try:
            cluster.start_all()
            cluster.wait_ready()
            *honest, bad = cluster.network.nodes
            cluster.kill(bad)
            return asyncio.run(_watch(cluster, honest, bad, seconds, per_second))
        finally:
            cluster.stop_all()


async def _watch(
    cluster: Cluster, honest: list[NetworkNode], bad: NetworkNode, seconds: float, per_second: int
) -> dict[str, Any]:
    async with Pulse(Vain(cluster.network), [node.gateway for node in honest]) as pulse:
        await pulse.steady(time.monotonic())
        await asyncio.sleep(CALM_S)
        calm = list(pulse.latencies_ms)
        flooder = subprocess.Popen([sys.executable, "-m", "bench.flood", str(bad.config_path), str(per_second)])
        try:
            samples = await _sample(cluster, honest, flooder, seconds)
        finally:
            flooder.terminate()
            flooder.wait(timeout=30)
        flooded = pulse.latencies_ms[len(calm) :]
    agreement = await asyncio.to_thread(cluster.agreement)
    settled = samples[int(len(samples) * SETTLED_SHARE) :]
    third = max(1, len(settled) // 3)
    early, late = _means(settled[:third]), _means(settled[-third:])
    return {
        "minutes": round(seconds / 60, 1),
        "flood_per_second": per_second,
        "rss_mb_early": early,
        "rss_mb_late": late,
        "rss_mb_growth_max": round(max(end - start for start, end in zip(early, late, strict=True)), 1),
        "rss_mb_samples": samples[:: max(1, len(samples) // 30)],
        **_latencies("calm", calm),
        **_latencies("flooded", flooded),
        "blocks": agreement.height,
        "all_agree": agreement.root is not None,
        "nodes": NODES,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "machine": platform.platform(),
    }


async def _sample(
    cluster: Cluster, honest: list[NetworkNode], flooder: "subprocess.Popen[bytes]", seconds: float
) -> list[list[float]]:
    """Resident memory of each honest node, MiB, every SAMPLE_S. Raises RuntimeError if somebody ended."""
    samples = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pids = [cluster.pid(node) for node in honest]
        if flooder.poll() is not None:
            raise RuntimeError(f"the flooder ended with status {flooder.returncode}")
        if None in pids:
            raise RuntimeError(f"a node ended: {pids}")
        samples.append([round(rss_mb(pid), 1) for pid in pids if pid is not None])
        await asyncio.sleep(SAMPLE_S)
    return samples


def _means(samples: list[list[float]]) -> list[float]:
    return [round(statistics.mean(of_node), 1) for of_node in zip(*samples, strict=True)]


def _latencies(name: str, milliseconds: list[float]) -> dict[str, float]:
    percentiles = statistics.quantiles(milliseconds, n=100, method="inclusive")
    return {f"{name}_p50_ms": round(percentiles[49], 1), f"{name}_p99_ms": round(percentiles[98], 1)}
