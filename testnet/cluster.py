"""Real node processes of a local network: start, stop, kill, look at them.

Every process is detached and known by the pid file in its node's directory. A pid is believed only if the process's
command line names that node's configuration, so nothing else is ever signalled.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node.errors import RefusedError
from node.gateway.client import Client, NodeInfo
from node.gateway.codes import UNTRUSTED
from node.model.block import decode_header
from testnet.genesis import Network, NetworkNode

PID_NAME = "pid"
LOG_NAME = "node.log"
POLL_S = 0.05
START_TIMEOUT_S = 20.0
READY_POLL_S = 0.25
"""Asking costs the nodes that are starting; they need the processor more."""
STOP_TIMEOUT_S = 15.0

# Page faults are dear: let malloc keep what it has (docs/operations.md).
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
    "GRPC_VERBOSITY": "NONE",
}


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """``pid``: None if it does not run; ``info``: None if it does not answer; ``fault``: why what answers in its place
    is not believed, None if nothing does."""

    node: NetworkNode
    pid: int | None
    info: NodeInfo | None
    fault: RefusedError | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """``height``: the highest block that all who answer hold; ``root``: its state root, or None if they differ."""

    height: int
    root: bytes | None
    nodes: int


class Cluster:
    """The processes of one network."""

    def __init__(self, network: Network, program: str = "cli.main") -> None:
        """``program``: the module whose commands a node is run by."""
        self.network = network
        self._program = program
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def node(self, name: str) -> NetworkNode:
        """The node of that name or index. Raises RefusedError("unknown-node")."""
        for node in self.network.nodes:
            if name in (node.name, str(node.index)):
                return node
        raise RefusedError(
            "unknown-node", f"no node `{name}`; there are: {', '.join(n.name for n in self.network.nodes)}"
        )

    def pid(self, node: NetworkNode) -> int | None:
        """The node's process, None if it does not run."""
        child = self._children.get(node.name)
        if child is not None:  # ours to wait for, or it stays as a zombie when it has ended
            return child.pid if child.poll() is None else None
        try:
            pid = int((node.directory / PID_NAME).read_text())
        except (OSError, ValueError):
            return None
        return pid if _runs(pid, node) else None

    def start(self, node: NetworkNode) -> int:
        """Start a node's process; its pid. Raises RefusedError("already-running")."""
        if self.pid(node) is not None:
            raise RefusedError("already-running", f"{node.name} runs already")
        command = [sys.executable, "-m", self._program, "node", "run", "--config", str(node.config_path)]
        with (node.directory / LOG_NAME).open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | ENVIRONMENT,
                start_new_session=True,
            )
        self._children[node.name] = child
        (node.directory / PID_NAME).write_text(f"{child.pid}\n")
        # A process just started does not show its whole command line yet; others know the node by it.
        while child.poll() is None and not _runs(child.pid, node):
            time.sleep(POLL_S / 10)
        return child.pid

    def stop(self, node: NetworkNode) -> None:
        """SIGTERM, and wait. Raises RefusedError: "not-running", "still-running" after STOP_TIMEOUT_S."""
        self._signal(node, signal.SIGTERM)
        self.wait_end(node)

    def kill(self, node: NetworkNode) -> None:
        """SIGKILL: what a power cut does to a process. Raises RefusedError("not-running")."""
        self._signal(node, signal.SIGKILL)
        self.wait_end(node)

    def start_all(self) -> list[NetworkNode]:
        """Start those that do not run; returns them."""
        idle = [node for node in self.network.nodes if self.pid(node) is None]
        for node in idle:
            self.start(node)
        return idle

    def stop_all(self, nodes: Sequence[NetworkNode] | None = None) -> list[str]:
        """Stop all that run (of ``nodes``, if given), all at once; their names. What does not end in time is killed."""
        running = [node for node in nodes or self.network.nodes if self.pid(node) is not None]
        for node in running:
            self._signal(node, signal.SIGTERM)
        for node in running:
            try:
                self.wait_end(node)
            except RefusedError:
                self.kill(node)
        return [node.name for node in running]

    def wait_ready(self, timeout_s: float = 60.0, height: int = 1) -> list[NodeStatus]:
        """Wait until every node answers, is linked to all others that run, and holds block ``height``.

        Raises RefusedError: "node-ended" with the last line of its log, "not-ready" after ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            nodes = self.status()
            for status in nodes:
                if status.pid is None:
                    raise RefusedError("node-ended", f"{status.node.name}: {last_line(status.node)}")
            if all(_is_ready(status, len(nodes), height) for status in nodes):
                return nodes
            if time.monotonic() > deadline:
                late = [status.node.name for status in nodes if not _is_ready(status, len(nodes), height)]
                raise RefusedError("not-ready", f"after {timeout_s:g} s still not ready: {', '.join(late)}")
            time.sleep(READY_POLL_S)

    def wait_answer(self, node: NetworkNode, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until a node that was started answers. Raises RefusedError as ``wait_ready`` does."""
        deadline = time.monotonic() + timeout_s
        while True:
            info, fault = asyncio.run(_info(self.network, node))
            if info is not None:
                return
            if self.pid(node) is None:
                raise RefusedError("node-ended", f"{node.name}: {last_line(node)}")
            if fault is not None and fault.code == UNTRUSTED:  # another one's port is still to be found out
                raise RefusedError(fault.code, f"{node.name} runs, but is not believed: {fault.message}")
            if time.monotonic() > deadline:
                raise RefusedError("not-ready", f"{node.name} runs, but has not answered for {timeout_s:g} s")
            time.sleep(READY_POLL_S)

    def status(self) -> list[NodeStatus]:
        """What every node says of itself."""
        return asyncio.run(self._status())

    def agreement(self) -> Agreement:
        """Whether all nodes that answer hold the same block at the greatest height that all of them have."""
        return asyncio.run(self._agreement())

    async def _status(self) -> list[NodeStatus]:
        infos = await asyncio.gather(*(_info(self.network, node) for node in self.network.nodes))
        return [NodeStatus(node, self.pid(node), *said) for node, said in zip(self.network.nodes, infos, strict=True)]

    async def _agreement(self) -> Agreement:
        answering = [status for status in await self._status() if status.info is not None]
        if not answering:
            raise RefusedError("unreachable", "no node answers")
        height = min(status.info.height for status in answering if status.info is not None)
        headers = await asyncio.gather(*(_header(self.network, status.node.gateway, height) for status in answering))
        root = decode_header(headers[0]).state_root if len(set(headers)) == 1 else None
        return Agreement(height, root, len(answering))

    def _signal(self, node: NetworkNode, number: signal.Signals) -> None:
        pid = self.pid(node)
        if pid is None:
            raise RefusedError("not-running", f"{node.name} does not run")
        os.kill(pid, number)

    def wait_end(self, node: NetworkNode) -> None:
        """Wait until a node that was told to stop, or stops by itself, has ended.

        Raises RefusedError("still-running") after STOP_TIMEOUT_S.
        """
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.pid(node) is not None:
            if time.monotonic() > deadline:
                raise RefusedError("still-running", f"{node.name} has not ended after {STOP_TIMEOUT_S:g} s")
            time.sleep(POLL_S)
        (node.directory / PID_NAME).unlink(missing_ok=True)
        child = self._children.pop(node.name, None)
        if child is not None:
            child.wait()


def last_line(node: NetworkNode) -> str:
    """The last line of a node's log: why it ended."""
    try:
        lines = (node.directory / LOG_NAME).read_text("utf-8", "replace").splitlines()
    except OSError:
        return "has no log"
    return lines[-1] if lines else "has an empty log"


def _is_ready(status: NodeStatus, nodes: int, height: int) -> bool:
    info = status.info
    return info is not None and info.height >= height and len(info.connected) == nodes - 1


async def _info(network: Network, node: NetworkNode) -> tuple[NodeInfo | None, RefusedError | None]:
    """What the node says of itself, None if it does not answer; and what is wrong with who answers in its place: a
    certificate that is not good any more, or another network's node on its port."""
    async with Client(node.gateway, roots=network.roots) as client:
        try:
            info = await client.node_info()
        except RefusedError as error:
            return None, error if error.code == UNTRUSTED else None
    if (info.chain, info.member) == (network.genesis.chain, node.name):
        return info, None
    return None, RefusedError("other-chain", f"{info.member[:48]} of chain {info.chain.hex()} is at {node.gateway}")


async def _header(network: Network, gateway: str, height: int) -> bytes:
    async with Client(gateway, roots=network.roots) as client:
        return (await client.block(height)).header


def _runs(pid: int, node: NetworkNode) -> bool:
    """Whether process ``pid`` is that node's."""
    return str(node.config_path) in _command_line(pid)


def _command_line(pid: int) -> Sequence[str]:
    """The arguments of a process; none if it has ended."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            return ()
    listed = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.split()
