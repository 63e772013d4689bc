"""Members come, go and change their keys while orders flow; processes as they are run."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from node.errors import RefusedError
from node.gateway.client import Client, NodeInfo
from testnet.cluster import Cluster
from testnet.genesis import Network, NetworkNode
from testnet.membership import add, make_node, remove, rotate
from tests.functional.test_faults import PATIENCE_S
from tests.functional.trading import Device, device


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until ``condition`` holds; fails after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not await condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.1)


async def info(node: NetworkNode) -> NodeInfo | None:
    """What the node says of itself; None if it does not answer."""
    async with Client(node.gateway) as client:
        try:
            return await client.node_info()
        except RefusedError:
            return None


async def stands(node: NetworkNode) -> tuple[int, int, int]:
    """Epoch, number of members, and the node's index among them."""
    found = await info(node)
    assert found is not None
    return found.epoch, found.members, found.member_index


async def passes(node: NetworkNode, height: int, what: str) -> None:
    """Wait until the node has stored a block above ``height``."""

    async def above() -> bool:
        found = await info(node)
        return found is not None and found.height > height

    await until(above, what)


class Orders:
    """Orders one after the other, each in a block before the next."""

    def __init__(self, who: Device, gateways: list[str]) -> None:
        self.placed = 0
        self._who = who
        self._gateways = gateways

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Meanwhile; raises what went wrong with an order."""
        task = asyncio.create_task(self._place())
        try:
            yield
        finally:
            if not task.done():
                task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return

    async def _place(self) -> None:
        async with Client(self._gateways, self._who.key) as client:
            while True:
                assert (await self._who.place(client)).code == "ok"
                self.placed += 1


def test_membership_changes_while_orders_flow(own_network: Cluster) -> None:
    """Checklist 47, 49 and 50: a fifth node joins and votes, a member's keys are rotated while another node is down,
    and the primary is removed; no order is refused or lost, all agree in the end, and every chain verifies."""
    network = own_network.network
    newcomer, member = make_node(network, "node-4")
    cluster = Cluster(Network(network.directory, network.genesis, (*network.nodes, newcomer)))
    rotated, down = network.nodes[2], network.nodes[3]
    orders = Orders(device(own_network, "home-1/load"), [rotated.gateway, newcomer.gateway])

    async def scenario() -> int:
        cluster.start(newcomer)
        async with orders.flowing():
            height = await add(network, newcomer, member)
            await passes(newcomer, height, "the fifth node does not follow")
            assert await stands(newcomer) == (1, 5, 4)

            cluster.stop(down)  # four of five are a quorum: the newcomer has to vote
            height = await rotate(network, rotated)
            await passes(rotated, height, "no blocks after the rotation")
            assert await stands(rotated) == (2, 5, 2)
            assert not (rotated.directory / "node.key.json.next").exists()
            assert (rotated.directory / "node.key.json.before").exists()
            cluster.start(down)
            await passes(down, height, "the node that was down has not caught up")

            found = await info(rotated)
            assert found is not None
            primary = cluster.node(str(found.primary))
            witness = next(node for node in (newcomer, rotated) if node.name != primary.name)
            height = await remove(cluster.network, primary)
            await passes(witness, height, "no blocks without the primary")
            assert (await stands(witness))[:2] == (3, 4)

            async def is_gone() -> bool:
                return cluster.pid(primary) is None

            await until(is_gone, "the removed node runs on")
            told = (primary.directory / "node.log").read_text().splitlines()[-1]
            assert told.startswith(f"watt: not-a-member: `{primary.name}` was removed at height {height}")
            if primary.name != rotated.name:
                cluster.stop(rotated)  # and back, with the keys that were rotated
                cluster.start(rotated)
                await passes(rotated, height + 1, "the node with new keys has not caught up")
        return height

    try:
        height = asyncio.run(scenario())
        assert orders.placed > 100
        agreement = cluster.agreement()
        assert (agreement.nodes, agreement.root is not None) == (4, True)
    finally:
        cluster.stop_all()
    for node in cluster.network.nodes:
        command = [sys.executable, "-m", "cli.main", "node", "verify", "--config", str(node.config_path), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["height"] >= height - 1
