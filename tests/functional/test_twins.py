"""Two processes with one key: the second, from an old copy of the first one's data, is found out, and nothing forks."""

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.config import load_config, split_address
from node.gateway.client import Client
from node.model.block import decode_header
from testnet.cluster import Cluster, last_line
from testnet.genesis import NetworkNode, free_ports, load_network
from testnet.neighbourhood import build_neighbourhood, fund
from tests.functional.worst_day import Load, require_one_truth, until

TWICE = 2
"""The index of the member that runs twice."""
FOOLED = (1, 3)
"""Those who think that the twin is that member; the other one goes on speaking with the original."""


class Switch:
    """A relay of TCP connections to an address that may change: then the old ones are cut."""

    def __init__(self, listen: str, target: str) -> None:
        self._listen = listen
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="switch")

    def __enter__(self) -> "Switch":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._relay, *split_address(self._listen)), self._loop
        ).result()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._cut)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def turn(self, target: str) -> None:
        self._target = target
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            other_reader, other_writer = await asyncio.open_connection(*split_address(self._target))
            try:
                await asyncio.gather(_pump(reader, other_writer), _pump(other_reader, writer))
            finally:
                other_writer.close()
        except (OSError, asyncio.CancelledError):
            return
        finally:
            self._tasks.discard(task)
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, NetworkNode, Switch]]:
    """A network, a copy of one of its nodes that does not run yet, and the switch through which two others reach that
    member."""
    directory = tmp_path_factory.mktemp("twins")
    network = build_neighbourhood(directory, nodes=4, base_port=None)
    original = network.nodes[TWICE]
    taken = {address for node in network.nodes for address in (node.gateway, node.config.peer.listen)}
    free = [f"127.0.0.1:{port}" for port in free_ports(3 + len(taken))]
    ports = [address for address in free if address not in taken]
    home = directory / "elsewhere" / "twin"  # as deep as the others, for the genesis' sake, and not among them
    shutil.copytree(original.directory, home)
    replace(home / "node.toml", original.config.peer.listen, ports[0])
    replace(home / "node.toml", original.config.gateway.listen, ports[1])
    twin = NetworkNode("twin", TWICE, home, load_config(home / "node.toml"))
    for index in FOOLED:
        replace(network.nodes[index].config_path, original.config.peer.listen, ports[2])
    cluster = Cluster(load_network(directory))
    try:
        with Switch(ports[2], original.config.peer.listen) as switch:
            cluster.start_all()
            cluster.wait_ready()
            asyncio.run(fund(cluster.network))
            yield cluster, twin, switch
    finally:
        cluster.stop_all([*cluster.network.nodes, twin])
        for node in (*cluster.network.nodes, twin):
            print(node.name, last_line(node))  # shown by pytest if a test failed


def test_two_processes_with_one_key_make_no_fork(switched: tuple[Cluster, NetworkNode, Switch]) -> None:
    """Checklist 38, 37: while the original votes, a copy of its disk from the first day is started elsewhere, and two
    members come to speak with that one. It is shown votes of its own key that it does not know: it says so, and votes
    only above all that may have been signed. Orders go on; both hold the one chain."""
    cluster, twin, switch = switched
    original = cluster.network.nodes[TWICE]
    others = [node for node in cluster.network.nodes if node is not original]
    with Load(cluster, [node.gateway for node in others]) as load:
        load.goes_on(30)  # votes that the copy does not have
        cluster.start(twin)
        until(lambda: "running" in log_of(twin), "the twin does not start")
        switch.turn(twin.config.peer.listen)
        until(lambda: "vote-forgotten" in log_of(twin), "the twin is not found out")
        load.goes_on(60)
        cluster.kill(original)
        cluster.kill(twin)
        load.goes_on()
    require_one_truth(cluster, load)
    for process in (original, twin):
        height, root = verified(process)
        assert root == root_at(others[0], height), f"{process.name} holds another chain"


def log_of(node: NetworkNode) -> str:
    return (node.directory / "node.log").read_text()


def verified(node: NetworkNode) -> tuple[int, str]:
    """Height and root that `watt node verify` finds."""
    command = [sys.executable, "-m", "cli.main", "node", "verify", "--config", str(node.config_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return found["height"], found["root"]


def root_at(node: NetworkNode, height: int) -> str:
    """The state root in a node's block."""

    async def ask() -> str:
        async with Client(node.gateway) as client:
            return decode_header((await client.block(height)).header).state_root.hex()

    return asyncio.run(ask())
