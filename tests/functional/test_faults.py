"""Nodes that are killed, stopped, restarted: orders go on, and all agree in the end."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable

from testnet.cluster import Cluster
from tests.functional.trading import Device, device

PATIENCE_S = 30.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` holds; fails after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def heights(cluster: Cluster) -> list[int]:
    """The heights of the nodes that answer."""
    return [status.info.height for status in cluster.status() if status.info is not None]


def all_level(cluster: Cluster) -> bool:
    """Whether all four nodes answer and are within a block of each other."""
    found = heights(cluster)
    return len(found) == 4 and max(found) - min(found) <= 1


async def trade(cluster: Cluster, who: Device, count: int) -> None:
    """Orders one after the other, each in a block before the next."""
    async with cluster.network.client() as client:
        for _ in range(count):
            assert (await who.place(client)).code == "ok"


def test_orders_go_on_when_the_primary_is_killed_under_load(own_network: Cluster) -> None:
    """Checklist 28 and 60."""
    primary = own_network.status()[0].info
    assert primary is not None
    victim = own_network.network.nodes[primary.primary]
    others = [node.gateway for node in own_network.network.nodes if node is not victim]
    who = device(own_network, "home-1/load")

    async def scenario() -> None:
        async with own_network.network.client(others) as client:
            before = [await client.submit(await who.order(client)) for _ in range(20)]
            own_network.kill(victim)
            after = [await client.submit(await who.order(client)) for _ in range(20)]
            for tx_id in before + after:
                assert (await client.wait(tx_id, PATIENCE_S)).code == "ok"
            assert (await client.node_info()).view > primary.view

    asyncio.run(scenario())
    own_network.start(victim)
    until(lambda: all_level(own_network), "the killed node has not caught up")
    assert own_network.agreement().root is not None


def test_a_node_that_was_away_catches_up(own_network: Cluster) -> None:
    """Checklist 44."""
    away = own_network.network.nodes[3]
    own_network.stop(away)
    asyncio.run(trade(own_network, device(own_network, "home-2/load"), 30))
    own_network.start(away)
    until(lambda: all_level(own_network), "the node that was away has not caught up")
    agreement = own_network.agreement()
    assert agreement.nodes == 4 and agreement.root is not None


def test_the_whole_network_restarts_where_it_was(own_network: Cluster) -> None:
    """Checklist 39."""
    asyncio.run(trade(own_network, device(own_network, "home-3/load"), 3))
    until(lambda: all_level(own_network), "not level before the restart")
    height = max(heights(own_network))
    for node in own_network.network.nodes:  # a power cut, not a shutdown
        own_network.kill(node)
    own_network.start_all()
    own_network.wait_ready(height=height)
    asyncio.run(trade(own_network, device(own_network, "home-3/load"), 3))
    until(lambda: all_level(own_network), "not level after the restart")
    assert own_network.agreement().root is not None


def test_the_chain_verifies(own_network: Cluster) -> None:
    """Checklist 8."""
    own_network.stop_all()
    config = own_network.network.nodes[0].config_path  # the one that was killed as primary
    command = [sys.executable, "-m", "cli.main", "node", "verify", "--config", str(config), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no progress bar into a pipe
    assert json.loads(done.stdout)["transactions"] >= 6 + 40 + 30 + 3
