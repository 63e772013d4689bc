"""A node whose disk was wiped takes its data over while the others go on, and votes again when that is safe."""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest

from cli.doctor import examine
from node.errors import RefusedError
from node.gateway.client import Client
from testnet.cluster import Cluster
from testnet.genesis import NetworkNode
from tests.functional.test_faults import PATIENCE_S, all_level, trade, until
from tests.functional.trading import Device, device


def watt(*words: str) -> tuple[Any, str]:
    """What a command of `watt node` prints with --json, and on stderr."""
    command = [sys.executable, "-m", "cli.main", "node", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def with_snapshot(cluster: Cluster, node: NetworkNode) -> int:
    """Stop the node, let it make a snapshot of its newest block, start it again; that block's height."""
    cluster.stop(node)
    kept, _ = watt("snapshot", "--config", str(node.config_path))
    cluster.start(node)
    until(lambda: all_level(cluster), "the node with the snapshot is not back")
    height: int = kept[0]["height"]
    return height


def votes(node: NetworkNode) -> bool:
    """Whether the node takes part, as it says itself."""
    report, _ = examine(node.config, None)
    return report is not None and not report.passive_because


async def under_load(who: Device, gateways: Sequence[str], *words: str) -> tuple[Any, str]:
    """``watt`` while orders go on: from when the first is in a block, so that there is more than the snapshots hold."""
    stop, going = asyncio.Event(), asyncio.Event()

    async def load() -> int:
        count = 0
        async with Client(gateways, who.key) as client:
            while not stop.is_set():
                assert (await who.place(client)).code == "ok"
                count += 1
                going.set()
        return count

    loading = asyncio.create_task(load())
    try:
        await asyncio.wait_for(going.wait(), PATIENCE_S)
        answer = await asyncio.to_thread(watt, *words)
    finally:
        stop.set()
    assert await loading > 0
    return answer


def test_a_wiped_node_joins_while_the_others_go_on_and_votes_again(own_network: Cluster) -> None:
    """Checklist 40 and 44: from certified chunks, past a source that is down, and with no restart of any other."""
    first, second, third, wiped = own_network.network.nodes
    who = device(own_network, "home-1/load")
    asyncio.run(trade(own_network, who, 3))
    newest = max(with_snapshot(own_network, first), with_snapshot(own_network, second))
    own_network.stop(wiped)
    shutil.rmtree(wiped.config.path(wiped.config.data_dir))
    sources = [word for node in (first, second, third) for word in ("--from", node.gateway)]

    words = ("join", "--config", str(wiped.config_path), *sources, "--from", "127.0.0.1:9")
    report, told = asyncio.run(under_load(who, [first.gateway, second.gateway], *words))
    assert report["snapshot_height"] == newest
    assert report["height"] > newest and report["chunks"] > 0
    assert list(report["dropped"]) == ["127.0.0.1:9"] and "127.0.0.1:9: dropped: unreachable" in told
    own_network.start(wiped)
    until(lambda: all_level(own_network), "the node that joined is not level")
    assert own_network.agreement().root is not None

    async def old_blocks() -> None:
        async with Client(wiped.gateway) as client:
            with pytest.raises(RefusedError) as refusal:
                await client.block(1)
            assert refusal.value.code == "below-base"
            assert (await client.block(newest + 1)).certificate

    asyncio.run(old_blocks())
    assert not votes(wiped)
    deadline = time.monotonic() + PATIENCE_S
    while not votes(wiped):
        assert time.monotonic() < deadline, "the node that joined never votes"
        asyncio.run(trade(own_network, who, 5))
    own_network.stop(third)  # from here on nothing is decided without the vote of the node that joined
    asyncio.run(asyncio.wait_for(trade(own_network, who, 2), PATIENCE_S))
    own_network.start(third)
    until(lambda: all_level(own_network), "not level in the end")
    own_network.stop(wiped)
    report, _ = watt("verify", "--config", str(wiped.config_path))
    assert (report["base"], report["replayed_from"]) == (newest, newest + 1)
    own_network.start(wiped)
