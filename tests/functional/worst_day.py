"""What the tests of bad days share: a load that remembers what it was promised, and what must hold afterwards."""

import asyncio
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from node.errors import RefusedError
from node.gateway.client import BlockEvents, Client, NodeInfo, TxStatus, digest_of, tx_id_of
from node.model.transaction import sign_transaction
from testnet.cluster import Cluster
from testnet.genesis import NetworkNode
from tests.functional.trading import FIRST_SLOT, PRICE, SLOT_SECONDS, SLOTS, VALID_S, Device, device

PATIENCE_S = 40.0
RETRY_S = 0.1
BURST = 4
PAUSE_S = 0.4
"""Each device places so many orders at once, and pauses when they are in blocks: a load that leaves the tests a chain
which can be replayed in seconds."""
DEVICES = ("home-1/load", "home-2/load", "home-3/load", "home-3/ev")


def until(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until ``condition`` holds; fails after ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


class Load:
    """Orders of several devices, from a thread of its own, from entering the block until leaving it.

    An order that no node confirms is sent again until one does, as a client would. ``done``: what was in a block, as
    the network said: it has promised to keep it.
    """

    def __init__(self, cluster: Cluster, gateways: Sequence[str] | None = None) -> None:
        self._chain = cluster.network.genesis.chain
        self._gateways = list(gateways or cluster.network.gateways)
        self._devices = [device(cluster, name) for name in DEVICES]
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")
        self._failure: BaseException | None = None
        self.done: dict[bytes, TxStatus] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    def goes_on(self, orders: int = 8, patience_s: float = PATIENCE_S) -> float:
        """Wait until so many more orders are in blocks; the seconds that it took."""
        began, before = time.monotonic(), len(self.done)
        until(lambda: len(self.done) >= before + orders or self._failure is not None, "no orders any more", patience_s)
        return time.monotonic() - began

    async def _run(self) -> None:
        try:
            await asyncio.gather(*(self._trade(index, who) for index, who in enumerate(self._devices)))
        except BaseException as failure:  # told to the test, in its own thread
            self._failure = failure
            raise

    async def _trade(self, index: int, who: Device) -> None:
        turned = self._gateways[index % len(self._gateways) :] + self._gateways[: index % len(self._gateways)]
        async with Client(turned, who.key, chain=self._chain) as client:
            nonces = itertools.count(await client.nonce(who.key.public_key) + 1)
            while not self._stopping:
                raws = [self._order(who, next(nonces)) for _ in range(BURST)]
                await asyncio.gather(*(self._place(client, raw) for raw in raws))
                await asyncio.sleep(PAUSE_S)

    def _order(self, who: Device, nonce: int) -> bytes:
        now = int(time.time())
        args = {
            "device": who.id,
            "side": "buy",
            "slot": now // SLOT_SECONDS + FIRST_SLOT + nonce % SLOTS,
            "energy_wh": 100,
            "price": PRICE,
            "until": "gate",
            "renewable": False,
        }
        return sign_transaction(who.key, self._chain, nonce, "market", "place", args, now + VALID_S).raw

    async def _place(self, client: Client, raw: bytes) -> None:
        tx_id = tx_id_of(raw)
        while True:
            try:
                await client.submit(raw)
            except RefusedError as error:
                if error.code not in ("unreachable", "stopping", "duplicate", "nonce-used"):
                    raise
            try:
                self.done[digest_of(raw)] = await client.wait(tx_id, 2.0)
                return
            except RefusedError as error:
                if error.code not in ("unreachable", "stopping", "timed-out"):
                    raise
            await asyncio.sleep(RETRY_S)


def running(cluster: Cluster) -> list[NetworkNode]:
    """The nodes that have a process."""
    return [node for node in cluster.network.nodes if cluster.pid(node) is not None]


def info_of(node: NetworkNode) -> NodeInfo:
    """What a node says of itself; it must answer."""

    async def ask() -> NodeInfo:
        async with Client(node.gateway) as client:
            return await client.node_info()

    return asyncio.run(ask())


def height(node: NetworkNode) -> int:
    """Of a node that answers."""
    return info_of(node).height


def is_level(cluster: Cluster, node: NetworkNode) -> bool:
    """Whether a node answers, and has what the others have, or nearly so: under load, blocks come all the time."""
    infos = {status.node.name: status.info for status in cluster.status()}
    mine = infos.pop(node.name)
    return mine is not None and mine.height + 2 >= max(info.height for info in infos.values() if info is not None)


def level(cluster: Cluster, nodes: Sequence[NetworkNode] | None = None) -> int:
    """Wait until the nodes (by default those that run) answer and are within a block of each other; the lowest."""
    wanted = list(nodes or running(cluster))
    found: list[int] = []

    def is_level() -> bool:
        try:
            found[:] = [height(node) for node in wanted]
        except RefusedError:
            return False
        return max(found) - min(found) <= 1

    until(is_level, f"not level: {found}")
    return min(found)


def require_one_truth(cluster: Cluster, *loads: Load) -> None:
    """All nodes that run come to hold the same blocks; what a load was told is in them, once, as it was told."""
    nodes = running(cluster)
    last = level(cluster, nodes)
    first, *others = (asyncio.run(_blocks(cluster.network.client(node.gateway), last)) for node in nodes)
    for node, other in zip(nodes[1:], others, strict=True):
        assert other == first, f"{node.name} holds other blocks than {nodes[0].name}"
    where: dict[bytes, list[tuple[int, str]]] = {}
    for block in first:
        for digest, code in block.results:
            where.setdefault(digest, []).append((block.height, code))
    twice = {digest.hex(): found for digest, found in where.items() if len(found) > 1}
    assert not twice, twice
    for load in loads:
        for digest, told in load.done.items():
            assert told.height > last or where.get(digest) == [(told.height, told.code)]


async def _blocks(client: Client, last: int) -> list[BlockEvents]:
    blocks: list[BlockEvents] = []
    async with client:
        async for block in client.subscribe(1):
            blocks.append(block)
            if block.height == last:
                break
    return blocks


def require_chains_verify(cluster: Cluster, nodes: Sequence[NetworkNode]) -> None:
    """Stop all, and let the nodes' chains be replayed from genesis by `watt node verify`."""
    cluster.stop_all()
    checks = [
        subprocess.Popen(
            [sys.executable, "-m", "cli.main", "node", "verify", "--config", str(node.config_path), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in nodes
    ]
    for check in checks:
        _, stderr = check.communicate(timeout=120)
        assert check.returncode == 0, stderr
