"""Attacker: a device whose key was stolen, and an aggregator that was hacked with all its devices' keys.

Each floods the gateways at full speed over several connections and never waits, with valid transactions, then with
forged ones, while homes of other members place orders. The orders' 99th percentile at most doubles against a quiet run
of the same test.
"""

import asyncio
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
import pytest

from node.gateway.client import Client
from node.model.transaction import sign_transaction
from testnet.cluster import Cluster, last_line
from tests.security.crowd import FEED_IN, HOMES, SLOT_SECONDS, build_crowd, devices_of, key_of
from tests.security.flooder import Flood, Result

SECONDS = 7.0
PER_SECOND = 12
BULK = 20
NOISE_MS = 25.0
"""What the machine's scheduler may add to the slowest of so few."""
VALID_S = 3_600


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Four nodes with the crowd's members."""
    cluster = Cluster(build_crowd(tmp_path_factory.mktemp("crowd")))
    try:
        cluster.start_all()
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.stop_all()
        for node in cluster.network.nodes:
            print(node.name, last_line(node))


class Homes:
    """Homes of two members: an order each in turn, at an even pace, through all gateways."""

    def __init__(self, cluster: Cluster) -> None:
        self._network = cluster.network
        self._devices = itertools.cycle([device for home in HOMES for device in devices_of(home)])
        self._nonces = {device: itertools.count(1) for home in HOMES for device in devices_of(home)}

    async def trade(self, seconds: float) -> list[float]:
        """Milliseconds from handing in to the block, for each order placed in that time."""
        clients = [self._network.client(gateway) for gateway in self._network.gateways]
        tasks = []
        try:
            now = (await clients[0].node_info()).now
            began = time.monotonic()
            for number in range(int(seconds * PER_SECOND)):
                await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
                tasks.append(asyncio.create_task(self._place(clients[number % len(clients)], now)))
            return await asyncio.gather(*tasks)
        finally:
            for client in clients:
                await client.close()

    async def _place(self, client: Client, now: int) -> float:
        device = next(self._devices)
        nonce = next(self._nonces[device])
        args = {"device": device, "energy_wh": 100, "price": FEED_IN, "side": "sell"}
        args["slot"] = now // SLOT_SECONDS + 10 + nonce % 24
        chain = self._network.genesis.chain
        raw = sign_transaction(key_of(device), chain, nonce, "market", "place", args, now + VALID_S).raw
        began = time.monotonic()
        status = await client.wait(await client.submit(raw))
        assert status.code == "ok"
        return 1000 * (time.monotonic() - began)


class Attacker:
    """The flooding process: signs beforehand, floods while homes trade."""

    def __init__(self, cluster: Cluster, devices: list[str], *, forged: bool, first_nonce: int) -> None:
        network = cluster.network
        now = int(time.time())
        flood = Flood(
            gateways=tuple(network.gateways[:2]),
            chain=network.genesis.chain.hex(),
            devices=tuple(devices),
            forged=forged,
            connections=4,
            outstanding=2,
            bulk=BULK,
            slot=now // SLOT_SECONDS + 10,
            not_after=now + VALID_S,
            seconds=SECONDS,
            first_nonce=first_nonce,
        )
        command = [sys.executable, "-m", "tests.security.flooder"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._write(msgspec.json.encode(flood).decode())
        assert self._read() == "ready"

    def begin(self) -> None:
        self._write("go")

    def result(self) -> Result:
        result = msgspec.json.decode(self._read(), type=Result)
        self._process.wait(timeout=20)
        return result

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def p99(latencies: list[float]) -> float:
    return statistics.quantiles(latencies, n=100, method="inclusive")[98]


def test_a_flood_of_one_member_at_most_doubles_what_others_wait(crowd: Cluster) -> None:
    """Checklist 6: valid ones of one key, forged ones, and valid ones of two hundred keys of one member."""
    homes = Homes(crowd)
    asyncio.run(homes.trade(2.0))  # connections and caches
    floods = {
        "one sender": Attacker(crowd, devices_of("swarm")[:1], forged=False, first_nonce=1),
        "forged": Attacker(crowd, devices_of("north")[:1], forged=True, first_nonce=200),
        "many keys": Attacker(crowd, devices_of("swarm")[1:], forged=False, first_nonce=1),
    }
    quiet = asyncio.run(homes.trade(SECONDS))
    figures, results = {}, {}
    for name, attacker in floods.items():
        attacker.begin()
        figures[name] = round(p99(asyncio.run(homes.trade(SECONDS))), 1)
        results[name] = attacker.result()
    quiet += asyncio.run(homes.trade(SECONDS))  # before and after, as the machine has other work too
    figures["quiet"] = round(p99(quiet), 1)
    print(figures, results)
    assert all(figures[name] <= 2 * figures["quiet"] + NOISE_MS for name in floods), figures
    assert all(results[name].calls > 20 for name in floods)
    assert results["forged"].codes.get("ok", 0) == 0
    refused = results["one sender"].codes
    assert refused["call too-fast"] + refused["too-fast"] > refused["ok"]
