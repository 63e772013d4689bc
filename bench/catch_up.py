"""How long does a wiped node need for 10,000 blocks, by a snapshot and block by block, and what do the others lose?

The chain is made in one process, of real orders under real certificates, and laid into the data directories of three
of four nodes, with the snapshot that a running node would have. These run under a steady load of orders, while the
fourth runs `watt node join`, starts, and is level again.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any, Final

from bench import market
from chaincode.registry import default_registry
from node.consensus.settings import WINDOW
from node.errors import RefusedError
from node.executor import Executor
from node.files import OsDirectory
from node.gateway.client import Client
from node.keyfile import load_key
from node.ledger.chain import Ledger
from node.ledger.store import LevelStore
from node.limits import SNAPSHOT_BLOCKS
from node.model.block import Batch, encode_batch
from node.model.certificate import Certificate, commit_bytes
from node.model.transaction import Transaction, sign_transaction
from node.setup import DATABASE_NAME, VOTES_NAME
from node.snapshot.maker import make_now
from node.snapshot.shelf import SNAPSHOTS_NAME, Shelf
from node.votelog import VoteLog
from testnet.cluster import Cluster
from testnet.genesis import PASSPHRASE_NAME, Network, NetworkNode

ORDERS_PER_BLOCK: Final = 2
ORDERS_PER_SECOND: Final = 500
"""A third of what four nodes on two cores take at most: here, who joins takes its processor time from the others."""
ORDERS_AT_ONCE: Final = 50
IN_FLIGHT: Final = 2_000
UNDISTURBED_S: Final = 8.0
PATIENCE_S: Final = 300.0


def catch_up(blocks: int = 10_000) -> dict[str, float]:
    """Make a chain of ``blocks`` blocks and let a wiped node of four catch up with it, twice.

    Seconds from the start of `watt node join` until the started node is within the window of the others: by a snapshot
    that is half as old as one becomes, under load (``catch_up_s``), and by blocks, without load, as here it would share
    the cores with those who make more of them (``catch_up_blocks_s``). Transactions a second that the others commit
    undisturbed, and while the node joins by the snapshot.
    """
    with tempfile.TemporaryDirectory(prefix="watt-bench-") as directory:
        network = market.build(Path(directory) / "net", 4)
        wiped = network.nodes[3]
        orders = _orders(network.genesis.chain, int(time.time()))
        _grow(network, blocks, orders)
        cluster = Cluster(network)
        try:
            for node in network.nodes[:3]:
                cluster.start(node)
            return asyncio.run(_measure(cluster, wiped, orders))
        finally:
            cluster.stop_all()


async def _measure(cluster: Cluster, wiped: NetworkNode, orders: Iterator[Transaction]) -> dict[str, float]:
    sources = [node.gateway for node in cluster.network.nodes if node is not wiped]
    async with Client(sources) as client:
        await _until_ready(client)
        load = _Load(client, orders)
        loading = [asyncio.create_task(load.send()), asyncio.create_task(load.follow())]
        try:
            undisturbed = await load.rate(asyncio.sleep(UNDISTURBED_S))
            snapshot, meanwhile = await _joined(cluster, wiped, sources, load)
            await asyncio.to_thread(cluster.stop, wiped)
            shutil.rmtree(wiped.config.path(wiped.config.data_dir))
            load.is_paused = True
            by_blocks, _ = await _joined(cluster, wiped, sources, load, "--blocks")
        finally:
            for task in loading:
                task.cancel()
            for task in loading:
                with suppress(asyncio.CancelledError):
                    await task
    return {
        "catch_up_s": round(snapshot["level"], 2),
        "catch_up_chunks_s": snapshot["chunks"],
        "catch_up_state_s": snapshot["state"],
        "catch_up_blocks_s": round(by_blocks["level"], 2),
        "catch_up_undisturbed_tps": round(undisturbed),
        "catch_up_meanwhile_tps": round(meanwhile),
    }


async def _joined(
    cluster: Cluster, wiped: NetworkNode, sources: Sequence[str], load: "_Load", *options: str
) -> tuple[dict[str, float], float]:
    """Join and start the node; the seconds of each part, "level" being all, and the others' rate meanwhile."""
    began = time.monotonic()
    command = [sys.executable, "-m", "cli.main", "node", "join", "--config", str(wiped.config_path), "--json", *options]
    for source in sources:
        command += ["--from", source]
    report: dict[str, Any] = {}

    async def join() -> None:
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        report.update(json.loads(done.stdout)["seconds"])
        cluster.start(wiped)
        async with Client(wiped.gateway) as own:
            while True:
                with suppress(RefusedError):  # it is starting
                    if (await own.node_info()).height + WINDOW >= load.height:
                        return
                await asyncio.sleep(0.05)

    rate = await load.rate(asyncio.wait_for(join(), PATIENCE_S))
    return report | {"level": time.monotonic() - began}, rate


class _Load:
    """ORDERS_PER_SECOND, or as many as the nodes take."""

    def __init__(self, client: Client, orders: Iterator[Transaction]) -> None:
        self._client = client
        self._orders = orders
        self._waiting: set[bytes] = set()
        self.is_paused = False
        self.committed = 0
        self.height = 0

    async def send(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + ORDERS_AT_ONCE / ORDERS_PER_SECOND, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            if self.is_paused or len(self._waiting) >= IN_FLIGHT:
                continue
            batch = list(islice(self._orders, ORDERS_AT_ONCE))
            self._waiting.update(tx.digest for tx in batch)
            answers = await self._client.submit_many([tx.raw for tx in batch])
            self._waiting.difference_update(
                tx.digest for tx, (_, code) in zip(batch, answers, strict=True) if code != "ok"
            )

    async def follow(self) -> None:
        async for block in self._client.subscribe():
            self.height = block.height
            self.committed += len(block.results)
            self._waiting.difference_update(digest for digest, _ in block.results)

    async def rate(self, until: Any) -> float:
        """Transactions committed a second until something has come to pass."""
        began, before = time.monotonic(), self.committed
        await until
        return (self.committed - before) / (time.monotonic() - began)


async def _until_ready(client: Client) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(RefusedError):
                if len((await client.node_info()).connected) >= 2:
                    return
            await asyncio.sleep(0.1)


def _grow(network: Network, blocks: int, orders: Iterator[Transaction]) -> None:
    """Lay a chain of so many blocks, and a snapshot of it, into the first three nodes' data."""
    nodes, genesis = network.nodes[:3], network.genesis
    keys = [
        load_key(n.config.path(n.config.key_file), (n.directory / PASSPHRASE_NAME).read_text().strip()) for n in nodes
    ]
    data = [node.config.path(node.config.data_dir) for node in nodes]
    registry = default_registry()
    database = data[0] / DATABASE_NAME
    database.mkdir(parents=True)
    store = LevelStore(database, create=True, synced=False)
    ledger = Ledger.open(store, genesis, registry)
    executor = Executor(ledger, registry, genesis)
    now = int(time.time())

    def add(batch: Sequence[Transaction]) -> None:
        height = ledger.head.height + 1
        execution = executor.execute(
            height, encode_batch(Batch(genesis.chain, 0, 0, now, tuple(tx.raw for tx in batch)))
        )
        signed = commit_bytes(genesis.chain, 0, 0, height, execution.block_hash)
        votes = tuple((index, key.sign(signed)) for index, key in enumerate(keys))
        ledger.commit(execution, Certificate(0, 0, height, execution.block_hash, votes))

    for batch in market.funding(genesis.chain, now):
        add(batch)
    while ledger.head.height < blocks:
        add(list(islice(orders, ORDERS_PER_BLOCK)))
        if ledger.head.height == blocks - SNAPSHOT_BLOCKS // 2:
            make_now(store, ledger, Shelf(data[0] / SNAPSHOTS_NAME))
    store.close()
    for other in data[1:]:
        shutil.copytree(data[0], other, dirs_exist_ok=True)
    for directory in data:
        VoteLog.open(OsDirectory(directory / VOTES_NAME), genesis.chain)[0].close()


def _orders(chain: bytes, now: int) -> Iterator[Transaction]:
    """Orders of all devices in turn, without end."""
    random, devices = Random(1), market.traders()
    first, last = market.order_slots(now)
    for number in count():
        trader = devices[number % len(devices)]
        args = {
            "device": trader.device,
            "energy_wh": random.randint(100, 3000),
            "price": random.randint(market.FEED_IN, market.RETAIL),
            "side": trader.side,
            "slot": random.randint(first, last),
        }
        nonce = number // len(devices) + 1
        yield sign_transaction(trader.key, chain, nonce, "market", "place", args, market.not_after())
