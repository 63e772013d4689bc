"""Running the demo's day: nodes, homes and brokers as processes; money issued and allocated; one node killed and back.

Everything here only starts, watches and ends processes and sends the setting-up transactions. What the day came to
is read from the ledger afterwards (``report.py``).
"""

import asyncio
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaincode.market_products import FINAL, SETTLED
from chaincode.pseudonyms import ENTROPY_BYTES
from cli.answers import PRODUCT, record
from cli.output import UNREACHABLE_CODE
from cli.session import Account
from node.errors import RefusedError
from node.gateway.client import Client
from testnet.cluster import Cluster, last_line
from testnet.community import Community
from testnet.demo_world import BROKERS, SLOT_S, World, budget_of, device
from testnet.genesis import NetworkNode

KILL_AT_SLOT = 21
RESTART_AT_SLOT = 26
POLL_S = 0.25
STOP_TIMEOUT_S = 10.0
SETUP_VALID_S = 6 * 3600
SETUP_TIMEOUT_S = 30.0
CATCH_UP_TIMEOUT_S = 60.0
LATE_S = 60.0
"""How long after the last slot's metering window, in real time, the settlement may take."""


@dataclass(frozen=True, slots=True)
class Outage:
    """The primary, killed and back. ``missed``: blocks made without it; ``caught_up_s``: from its start until it held
    what the others held."""

    node: str
    missed: int
    caught_up_s: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Where the day stands: block time, height, and whether a node is down."""

    time: int
    height: int
    down: str


class Processes:
    """The brokers and the homes: started, watched, ended."""

    def __init__(self, world: World) -> None:
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        logs = world.directory / "logs"
        logs.mkdir()
        for index in range(BROKERS):
            sites = [word for path in world.site_files(index) for word in ("--config", str(path))]
            command = ["cli.main", "broker", "run", *sites]
            self._start(f"broker-{index}", command, logs)
        self._start("meters", ["testnet.demo_meters", str(world.directory)], logs)

    def _start(self, name: str, command: list[str], logs: Path) -> None:
        with (logs / f"{name}.log").open("wb") as log:
            self._children[name] = subprocess.Popen(
                [sys.executable, "-m", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def check(self) -> None:
        """Raises RefusedError("process-ended") if one has failed."""
        for name, child in self._children.items():
            if child.poll() not in (None, 0):
                raise RefusedError("process-ended", f"{name} ended with status {child.returncode}; see logs/{name}.log")

    def end(self) -> None:
        """Stop those that still run."""
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in self._children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


async def fund(client: Client, world: World, community: Community) -> None:
    """The utility stirs the secret of pseudonyms, and issues every home its budget for the day; the owners allocate it;
    the poor EV's home lets its battery help before its load. Raises RefusedError if the ledger refuses any of it."""
    info = await client.node_info()
    not_after = info.now + SETUP_VALID_S
    utility = Account(client, world.key("utility"), info.chain)
    entropy = {"entropy": secrets.token_bytes(ENTROPY_BYTES)}
    raws = [await utility.sign("privacy", "add_entropy", entropy, not_after)]
    for home in community.homes:
        amount = sum(budget_of(home).values())
        args: dict[str, Any] = {"network": home.name, "period": world.period, "amount": amount, "reference": b"day"}
        raws.append(await utility.sign("budget", "issue", args, not_after))
    await _settle_all(client, raws)
    raws = []
    for home in community.homes:
        owner = Account(client, world.key(f"{home.name}.owner"), info.chain)
        amounts = [[device(home.name, kind), amount] for kind, amount in budget_of(home).items()]
        args = {"network": home.name, "period": world.period, "amounts": amounts}
        raws.append(await owner.sign("budget", "allocate", args, not_after))
        ranks = [[device(home.name, kind), rank, 0, True, None, 0, 0] for rank, kind in ((1, "battery"), (2, "load"))]
        args = {"network": home.name, "devices": ranks}
        raws.append(await owner.sign("budget", "set_policy", args, not_after))
    await _settle_all(client, raws)


async def _settle_all(client: Client, raws: list[bytes]) -> None:
    for tx_id, code in await client.submit_many(raws):
        if code != "ok":
            raise RefusedError(code, "a setting-up transaction was refused by the gateway")
        status = await client.wait(tx_id, SETUP_TIMEOUT_S)
        if status.code != "ok":
            raise RefusedError(status.code, "a setting-up transaction was refused by the rules")


class Day:
    """The day as it passes. ``outage`` is set once the killed node has caught up."""

    def __init__(self, world: World, cluster: Cluster, processes: Processes, tell: Callable[[Tick], None]) -> None:
        self._world = world
        self._cluster = cluster
        self._processes = processes
        self._tell = tell
        self._down = ""
        self.outage: Outage | None = None

    async def run(self) -> None:
        """Until the last slot is settled and the killed node is back. Raises RefusedError if anything fails."""
        outage = asyncio.create_task(self._have_an_outage())
        try:
            async with self._world.network.client() as client:
                while not await self._is_over(client) or not outage.done():
                    self._processes.check()
                    self._check_nodes()
                    if outage.done():
                        outage.result()
                    await asyncio.sleep(POLL_S)
        finally:
            outage.cancel()

    def _check_nodes(self) -> None:
        for node in self._world.network.nodes:
            if node.name != self._down:
                _require_running(self._cluster, node)

    async def _is_over(self, client: Client) -> bool:
        info = await client.node_info()
        self._tell(Tick(info.now, info.height, self._down))
        end = (self._world.end_slot + 2) * SLOT_S
        if info.now < end:
            return False
        last = record(await client.query("market", "product", {"slot": self._world.end_slot - 1}), PRODUCT)
        scale = self._world.network.genesis.time_scale
        if last["state"] not in (SETTLED, FINAL) and info.now > end + LATE_S * scale:
            raise RefusedError("not-settled", f"the last slot is still {last['state']}")
        return last["state"] in (SETTLED, FINAL)

    async def _have_an_outage(self) -> None:
        await self._until_slot(KILL_AT_SLOT)
        others = list(self._world.network.nodes)
        async with Client(others[-1].gateway) as client:
            info = await client.node_info()
        victim = self._world.network.nodes[info.primary]
        self._cluster.kill(victim)
        self._down = victim.name
        others.remove(victim)
        await self._until_slot(RESTART_AT_SLOT)
        async with Client([node.gateway for node in others]) as client:
            missed = (await client.node_info()).height - info.height
            started = time.monotonic()
            self._cluster.start(victim)
            caught_up_s = await self._catch_up(victim, client) - started
        self._down = ""
        self.outage = Outage(victim.name, missed, round(caught_up_s, 2))

    async def _until_slot(self, index: int) -> None:
        genesis = self._world.network.genesis
        target = (self._world.first_slot + index) * SLOT_S
        while (missing := target - genesis.block_time(time.time_ns() // 1_000_000)) > 0:
            await asyncio.sleep(min(1.0, missing / genesis.time_scale))

    async def _catch_up(self, node: NetworkNode, others: Client) -> float:
        """The monotonic time at which the node holds the block that the others hold."""
        deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
        async with Client(node.gateway) as client:
            while time.monotonic() < deadline:
                _require_running(self._cluster, node)
                try:
                    if (await client.node_info()).height >= (await others.node_info()).height:
                        return time.monotonic()
                except RefusedError as error:
                    if error.code != UNREACHABLE_CODE:
                        raise
                await asyncio.sleep(POLL_S / 5)
        raise RefusedError("not-caught-up", f"{node.name} is still behind {CATCH_UP_TIMEOUT_S:.0f} s after its start")


def _require_running(cluster: Cluster, node: NetworkNode) -> None:
    if cluster.pid(node) is None:
        raise RefusedError("node-ended", f"{node.name}: {last_line(node)}")
