"""How many orders a second do real node processes commit, and how long does one take?

Every transaction is a signed order that each node verifies, that enters a book, holds its device's budget and is
cleared. Nodes are durable (every vote and block is synced). Load comes from processes of their own, signed before the
clock starts; what they burn while it runs is reported and taken off the machine before the share of the bound is taken:

    bound_tps      = cores / nodes / verify_us: all that the cores could do is check each signature once per node
    share_of_bound = committed_tps / (bound_tps x the share of the machine's time that the clients left)
"""

import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

import click
import msgspec

from bench import market
from bench.load import Result, Spec
from bench.processes import cpu_s, rss_mb
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from node.model.keys import SigningKey, verify
from testnet.cluster import Cluster

CLIENTS = 2
WARM_UP_S = 4.0
IN_FLIGHT = 1_500
"""Transactions of one load process on their way."""
MOST_PER_SECOND = 4_000
"""More than any run commits: how many orders are signed beforehand."""


@click.command()
@click.option("--nodes", default=4, show_default=True, type=click.IntRange(4, 16), help="Validator processes.")
@click.option(
    "--seconds", default=20, show_default=True, type=click.IntRange(1, 600), help="Length of the measurement."
)
@json_option
@refusals_to_exit_codes
def throughput(nodes: int, seconds: int, as_json: bool) -> None:
    """Orders committed a second at saturation.

    Example: watt bench throughput --nodes 4 --seconds 20 --json
    """
    show("Throughput", measure(nodes, float(seconds), clients=CLIENTS, per_second=0), as_json)


@click.command()
@click.option("--nodes", default=4, show_default=True, type=click.IntRange(4, 16), help="Validator processes.")
@click.option(
    "--seconds", default=20, show_default=True, type=click.IntRange(1, 600), help="Length of the measurement."
)
@click.option("--rate", default=10, show_default=True, type=click.IntRange(1, 1000), help="Transactions a second.")
@json_option
@refusals_to_exit_codes
def latency(nodes: int, seconds: int, rate: int, as_json: bool) -> None:
    """Milliseconds from submission to a known certificate, at low load.

    Example: watt bench latency --nodes 4 --seconds 20 --json
    """
    show("Latency", measure(nodes, float(seconds), clients=1, per_second=rate), as_json)


def show(title: str, figures: dict[str, Any], as_json: bool) -> None:
    """Print the figures as JSON or as a table."""
    if as_json:
        print_json(figures)
    else:
        print_table(title, ("figure", ">value"), figures.items())


def measure(
    nodes: int,
    seconds: float,
    *,
    clients: int,
    per_second: int,
    dead: int = 0,
    tls: bool = False,
    program: str = "cli.main",
) -> dict[str, Any]:
    """Start a network, fund it, load it, measure, and take it down again. The arguments: see ``Loaded``, ``run``."""
    with Loaded(nodes, dead=dead, tls=tls, program=program) as network:
        return network.run(seconds, clients=clients, per_second=per_second)


class Loaded:
    """A funded network that runs, to be loaded once or many times. ``dead``: so many of its nodes are killed before,
    the highest first; ``tls``: the gateways are closed; ``program``: what the nodes run."""

    def __init__(self, nodes: int, *, dead: int = 0, tls: bool = False, program: str = "cli.main") -> None:
        self._nodes = nodes
        self._dead = dead
        self._tls = tls
        self._program = program
        self._next_nonces: dict[int, int] = {}
        """By the load process: it has devices of its own."""

    def __enter__(self) -> Self:
        self._opened = ExitStack()
        try:
            directory = self._opened.enter_context(tempfile.TemporaryDirectory(prefix="watt-bench-"))
            self._network = market.build(Path(directory) / "net", self._nodes, tls=self._tls)
            self._cluster = Cluster(self._network, self._program)
            self._opened.callback(self._cluster.stop_all)
            self._cluster.start_all()
            self._cluster.wait_ready()
            asyncio.run(market.fund(self._network))
            for node in self._network.nodes[self._nodes - self._dead :]:
                self._cluster.kill(node)
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def run(self, seconds: float, *, clients: int, per_second: int, warm_up_s: float = WARM_UP_S) -> dict[str, Any]:
        """The figures of one window of load, after ``warm_up_s`` of the same. ``clients``: load processes;
        ``per_second``: orders of all of them, 0 for as many as there is room for."""
        return run_beside([self], seconds, clients=clients, per_second=per_second, warm_up_s=warm_up_s)[0]

    def _window(self, clients: int, warm_up_s: float, seconds: float, per_second: int) -> "_Window":
        """Load processes that have signed what they will send, and wait."""
        processes = [self._start(index, clients, warm_up_s, seconds, per_second) for index in range(clients)]
        for process in processes:
            _read_line(process)
        return _Window(processes, _Watch(self._cluster))

    def _ended(self, window: "_Window", verify_us: float) -> dict[str, Any]:
        results = [msgspec.json.decode(_read_line(process), type=Result) for process in window.processes]
        for index, process in enumerate(window.processes):
            process.wait(timeout=30)
            self._next_nonces[index] = results[index].next_nonce
        return _figures(self._nodes - self._dead, results, window.watch, verify_us) | {"dead": self._dead}

    def _start(
        self, index: int, clients: int, warm_up_s: float, seconds: float, per_second: int
    ) -> "subprocess.Popen[str]":
        network = self._network
        first, last = market.order_slots(int(time.time()))
        devices = [(t.device, t.key.seed.hex(), t.side) for t in market.traders()[index::clients]]
        rate = per_second or MOST_PER_SECOND
        first_nonce = self._next_nonces.get(index, 1)
        return _start(
            Spec(
                gateways=tuple(network.gateways[: self._nodes - self._dead][index::clients]),
                chain=network.genesis.chain.hex(),
                devices=tuple(devices),
                first_slot=first,
                last_slot=last,
                price_low=market.FEED_IN,
                price_high=market.RETAIL,
                not_after=market.not_after(),
                count=int(rate * (warm_up_s + seconds + 2)) // clients,
                in_flight=IN_FLIGHT,
                per_second=per_second // clients,
                warm_up_s=warm_up_s,
                seconds=seconds,
                seed=index + clients * first_nonce,
                roots=(network.roots or b"").decode(),
                first_nonce=first_nonce,
            )
        )


def run_beside(
    networks: Sequence[Loaded], seconds: float, *, clients: int, per_second: int, warm_up_s: float = WARM_UP_S
) -> list[dict[str, Any]]:
    """The figures of one window in which all these networks are loaded at once. The arguments: see ``Loaded.run``."""
    verify_us = signature_check_us()
    windows = [network._window(clients, warm_up_s, seconds, per_second) for network in networks]
    for process in [process for window in windows for process in window.processes]:
        _write_line(process, "go")
    time.sleep(warm_up_s)
    for window in windows:
        window.watch.start()
    time.sleep(seconds)
    for window in windows:
        window.watch.stop()
    return [network._ended(window, verify_us) for network, window in zip(networks, windows, strict=True)]


class _Window(NamedTuple):
    processes: "list[subprocess.Popen[str]]"
    watch: "_Watch"


class _Watch:
    """CPU, memory and height of the nodes over the measured window."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.pids = [pid for node in cluster.network.nodes if (pid := cluster.pid(node)) is not None]

    def start(self) -> None:
        self.cpu_s, self.height = -self._cpu(), -self._height()

    def stop(self) -> None:
        self.cpu_s += self._cpu()
        self.height += self._height()
        self.rss_mb = max(rss_mb(pid) for pid in self.pids)

    def _cpu(self) -> float:
        return sum(cpu_s(pid) for pid in self.pids)

    def _height(self) -> int:
        return max(status.info.height for status in self.cluster.status() if status.info is not None)


def _figures(nodes: int, results: list[Result], watch: _Watch, verify_us: float) -> dict[str, Any]:
    committed = sum(result.committed for result in results)
    window_s = statistics.mean(result.window_s for result in results)
    latencies = sorted(ms for result in results for ms in result.latencies_ms)
    if len(latencies) < 2:
        raise RuntimeError("nothing was committed: there is nothing to report")
    client_cpu_s = sum(result.cpu_s for result in results)
    cores = os.cpu_count() or 1
    bound_tps = cores / nodes / verify_us * 1e6
    left = 1 - client_cpu_s / (cores * window_s)
    percentiles = statistics.quantiles(latencies, n=100, method="inclusive")
    return {
        "committed_tps": round(committed / window_s, 1),
        "p50_ms": round(percentiles[49], 1),
        "p99_ms": round(percentiles[98], 1),
        "cpu_us_per_tx_per_node": round(watch.cpu_s / nodes / committed * 1e6, 1),
        "rss_mb_max": round(watch.rss_mb),
        "blocks": watch.height,
        "verify_us": round(verify_us, 1),
        "bound_tps": round(bound_tps),
        "share_of_bound": round(committed / window_s / (bound_tps * left), 3),
        "client_cpu_s": round(client_cpu_s, 2),
        "node_cpu_s": round(watch.cpu_s, 2),
        "seconds": round(window_s, 2),
        "failed": _sum(result.failed for result in results),
        "refused": _sum(result.refused for result in results),
        "nodes": nodes,
        "cores": cores,
        "python": platform.python_version(),
        "machine": platform.platform(),
    }


def signature_check_us() -> float:
    """Median cost of one signature check on this machine, now, in microseconds."""
    key = SigningKey(bytes(32))
    message = bytes(220)
    signature = key.sign(message)
    times = []
    for _ in range(9):
        start = time.perf_counter()
        for _ in range(200):
            verify(key.public_key, message, signature)
        times.append((time.perf_counter() - start) / 200 * 1e6)
    return statistics.median(times)


def _start(spec: Spec) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bench.load"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    _write_line(process, msgspec.json.encode(spec).decode())
    return process


def _write_line(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a load process ended with status {process.wait()}")
    return line


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))
