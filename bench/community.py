"""A community for a simulated week through four real nodes: blocks, bytes, processor time.

The homes and their grid are those of ``bench/community_world.py``, what they do that of ``bench/community_load.py``.
Block time runs faster than the clock, a day in ``--day-seconds``; all else is in earnest: processes, signatures,
consensus, LevelDB, settlement, and with ``--retention-hours`` the deletion of what has been final for so long.
"""

import asyncio
import os
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from bench.community_load import Load
from bench.community_world import DAY_S, SLOT_S, World, build, make_world
from bench.processes import cpu_s, rss_mb
from bench.throughput import show
from cli.answers import PRODUCT, record
from cli.output import json_option, refusals_to_exit_codes
from node.errors import RefusedError
from node.gateway.client import Client
from node.ledger import layout
from node.ledger.store import LevelStore
from node.setup import DATABASE_NAME, VOTES_NAME
from testnet.cluster import Cluster
from testnet.genesis import NetworkNode
from testnet.sender import Clock

NODES: Final = 4
WATCH_S: Final = 1.0
LEAD_REAL_S: Final = 30
"""Between genesis and the first midnight: four processes start, and block time runs already."""
TABLES_SHOWN: Final = 12
FAMILIES: Final = {
    layout.HEADER: "headers", layout.BODY: "bodies", layout.CERTIFICATE: "certificates", layout.RESULTS: "results",
    layout.TRANSACTION: "transactions", layout.STATE: "state", layout.NODE: "tree", layout.CHANGED: "changes",
}  # fmt: skip
"""What a database holds, by the first byte of its keys."""


@click.command()
@click.option("--homes", default=1_000, show_default=True, type=click.IntRange(1, 9_999), help="How many homes.")
@click.option("--days", default=7, show_default=True, type=click.IntRange(1, 14), help="Days that they trade.")
@click.option("--day-seconds", default=160, show_default=True, type=click.IntRange(10, DAY_S),
              help="Real seconds for a day.")  # fmt: skip
@click.option("--retention-hours", default=24, show_default=True, type=click.IntRange(0, 24 * 14),
              help="How long a final slot's details are kept; 0: for ever.")  # fmt: skip
@click.option("--seed", default=1, show_default=True, type=int, help="Of the homes' sizes, prices and errors.")
@json_option
@refusals_to_exit_codes
def community(homes: int, days: int, day_seconds: int, retention_hours: int, seed: int, as_json: bool) -> None:
    """Homes on a real kind of grid trade, are metered and settled for days through four nodes.

    Example: watt bench community --homes 1000 --days 7 --json
    """
    figures = measure(make_world(homes, days, seed), day_seconds, retention_hours * 3_600)
    show("Community", figures if as_json else dict(_rows("", figures)), as_json)


def _rows(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Each figure by itself: ``disk_bytes db``, ``evenings 1 blocks``."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _rows(f"{name} {key}".strip(), part)
    else:
        yield name, value


def measure(world: World, day_seconds: int, retention_s: int) -> dict[str, Any]:
    """Start a network, live the days, take it down and look at what it left on the disk."""
    scale = DAY_S // day_seconds
    lead_s = LEAD_REAL_S * scale
    with tempfile.TemporaryDirectory(prefix="watt-bench-") as directory:
        path = Path(directory) / "net"
        network = build(path, world, nodes=NODES, time_scale=scale, lead_s=lead_s, retention_s=retention_s)
        cluster = Cluster(network)
        begun = time.monotonic()
        try:
            cluster.start_all()
            cluster.wait_ready()
            lived = asyncio.run(_live(cluster, world))
            wall_s = time.monotonic() - begun
            agreement = cluster.agreement()
        finally:
            cluster.stop_all()
        return {
            "homes": len(world.homes), "days": world.days, "day_seconds": day_seconds, "retention_s": retention_s,
            "buses": len(world.subnet.version.lines) + 1, "nodes": NODES, "wall_s": round(wall_s, 1),
            "blocks": agreement.height, "all_agree": agreement.root is not None,
            "root": "" if agreement.root is None else agreement.root.hex(),
            **lived, **_left_behind(network.nodes[0], len(world.homes) * world.days),
            "cores": os.cpu_count(), "python": platform.python_version(), "machine": platform.platform(),
        }  # fmt: skip


async def _live(cluster: Cluster, world: World) -> dict[str, Any]:
    """What happened while the nodes ran. ``late_s``: how much later than due the homes acted, ``behind_s``: how old the
    newest block was; at most, in real seconds."""
    network = cluster.network
    scale = network.genesis.time_scale
    load = Load(world, Clock(network.genesis), network.gateways[:2])
    evenings: list[dict[str, Any]] = []
    behind: list[int] = [0]
    watcher = asyncio.create_task(_watch(cluster, world, evenings, behind))
    try:
        await load.run()
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
    tally, sender = load.tally, load.sender
    used_s = [round(cpu_s(pid), 1) for pid in _pids(cluster)]
    home_days = len(world.homes) * world.days
    return {
        "transactions": sum(sender.committed.values()), "transactions_by_kind": dict(sender.committed),
        "last_slot_settled": tally.is_settled,
        "orders": tally.orders, "readings": tally.readings, "refused": dict(sender.refused),
        "refused_readings": dict(sender.refused_rows),
        **await _traded(network.gateways, world),
        "late_s": round(tally.late_s / scale, 1), "behind_s": round(max(behind) / scale, 1),
        "cpu_s": used_s, "cpu_ms_per_home_day": round(1000 * sum(used_s) / len(used_s) / home_days, 1),
        "rss_mb": [round(rss_mb(pid)) for pid in _pids(cluster)], "evenings": evenings,
    }  # fmt: skip


async def _watch(cluster: Cluster, world: World, evenings: list[dict[str, Any]], behind: list[int]) -> None:
    """At every midnight, how far the first node has come and what it has used."""
    node = cluster.network.nodes[0]
    async with Client(node.gateway) as client:
        while True:
            try:
                info = await client.node_info()
            except RefusedError:  # one look is missed: how long a node was silent shows in the next as ``behind``
                await asyncio.sleep(WATCH_S)
                continue
            behind.append(info.now - info.head_time)
            if info.now >= world.start + len(evenings) * DAY_S:
                evenings.append({
                    "blocks": info.height, "disk_bytes": _on_disk(_data(node)),
                    "cpu_s": round(cpu_s(_pids(cluster)[0]), 1), "rss_mb": round(rss_mb(_pids(cluster)[0])),
                })  # fmt: skip
            await asyncio.sleep(WATCH_S)


async def _traded(gateways: Sequence[str], world: World) -> dict[str, Any]:
    """The products' totals over all days, and how many slots are in which state."""
    states: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    async with Client(gateways) as client:
        for slot in range(world.start // SLOT_S, world.end_slot):
            product = record(await client.query("market", "product", {"slot": slot}), PRODUCT)
            states[product["state"]] += 1
            sums.update({name: product[name] for name in ("auctions", "trades", "energy_wh", "tolls", "rent")})
    return {"slots": dict(states), "traded_wh": sums.pop("energy_wh"), **sums}


def _left_behind(node: NetworkNode, home_days: int) -> dict[str, Any]:
    """The bytes of a stopped node: on the disk, and by what its database holds."""
    data = _data(node)
    disk = {path.name: _on_disk(path) for path in sorted(data.iterdir())}
    families: Counter[str] = Counter()
    tables: Counter[str] = Counter()
    store = LevelStore(data / DATABASE_NAME, create=False)
    try:
        for key, value in store.scan(b"", b"\xff"):
            size = len(key) + len(value)
            families[FAMILIES.get(key[:1], "other")] += size
            if key[:1] == layout.STATE:
                tables[key[1:].partition(b"/")[0].decode("ascii", "replace")] += size
    finally:
        store.close()
    kept = disk[DATABASE_NAME] + disk[VOTES_NAME]
    return {
        "disk_bytes": disk, "bytes_per_home_day": kept // home_days,
        "stored_bytes": dict(families.most_common()), "stored_bytes_per_home_day": sum(families.values()) // home_days,
        "state_bytes": dict(tables.most_common(TABLES_SHOWN)),
    }  # fmt: skip


def _data(node: NetworkNode) -> Path:
    return node.config.path(node.config.data_dir)


def _on_disk(path: Path) -> int:
    """Bytes of a file, or of all files below a directory that are still there when it is their turn."""
    total = 0
    for file in [path] if path.is_file() else path.rglob("*"):
        with suppress(FileNotFoundError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def _pids(cluster: Cluster) -> list[int]:
    """Of the nodes that run."""
    return [pid for node in cluster.network.nodes if (pid := cluster.pid(node)) is not None]
