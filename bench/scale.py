"""What more members cost: throughput, latency, messages and processor time a block, for n = 4, 7, 10, 13; and what is
left with f of them dead.

Every node of a network shares this machine, so throughput falls as 1/n at best: what a member costs is in the columns
by block and node. Messages are counted in the simulator, where nothing is lost: the proposals, prepares and commits of
a block, a broadcast once for each receiver.
"""

from collections import Counter
from typing import Any, Final

import click

from bench.throughput import CLIENTS, measure
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from node.consensus.messages import Message
from node.consensus.quorum import max_faulty
from testnet.sim_node import SimNode
from testnet.sim_options import Options
from testnet.sim_world import kind_of
from testnet.simulator import Simulation

SIZES: Final = (4, 7, 10, 13)
LOW_RATE: Final = 10
"""Transactions a second for the latency of a network that is not busy."""
COLUMNS: Final = (
    "nodes",
    "committed_tps",
    "committed_tps_f_dead",
    "p50_ms",
    "messages_per_block",
    "cpu_ms_per_block_per_node",
    "rss_mb_max",
)


@click.command()
@click.option("--seconds", default=15, show_default=True, type=click.IntRange(1, 600), help="Of each measurement.")
@json_option
@refusals_to_exit_codes
def scale(seconds: int, as_json: bool) -> None:
    """Throughput and latency by the number of members, with all alive and with f dead.

    Example: watt bench scale --json
    """
    rows = [_row(nodes, float(seconds)) for nodes in SIZES]
    if as_json:
        print_json({"sizes": rows})
    else:
        print_table("Members", tuple(f">{name}" for name in COLUMNS), [[row[name] for name in COLUMNS] for row in rows])


def _row(nodes: int, seconds: float) -> dict[str, Any]:
    busy = measure(nodes, seconds, clients=CLIENTS, per_second=0)
    wounded = measure(nodes, seconds, clients=CLIENTS, per_second=0, dead=max_faulty(nodes))
    idle = measure(nodes, seconds, clients=1, per_second=LOW_RATE)
    return {
        "nodes": nodes,
        "committed_tps": busy["committed_tps"],
        "committed_tps_f_dead": wounded["committed_tps"],
        "p50_ms": idle["p50_ms"],
        "p99_ms": idle["p99_ms"],
        "messages_per_block": _messages_per_block(nodes),
        "cpu_ms_per_block_per_node": round(1000 * idle["node_cpu_s"] / nodes / idle["blocks"], 2),
        "cpu_us_per_tx_per_node": busy["cpu_us_per_tx_per_node"],
        "rss_mb_max": busy["rss_mb_max"],
        "failed": busy["failed"] | wounded["failed"] | idle["failed"],
    }


class _Counting(Simulation):
    """A history that counts what its nodes send, by kind."""

    kinds: Counter[str]

    def on_send(self, node: SimNode, to: int, message: Message) -> None:
        self.kinds[kind_of(message)] += 1
        super().on_send(node, to, message)


def _messages_per_block(nodes: int) -> float:
    calm = _Counting(0, Options(frozenset(), nodes))
    calm.kinds = Counter()
    calm.run()
    votes = sum(calm.kinds[kind] for kind in ("proposal", "pre-prepare", "prepare", "commit"))
    return round(votes / len(calm.checker.chain), 1)
