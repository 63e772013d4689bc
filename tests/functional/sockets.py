"""How many connections a node has open, seen from outside."""

import os
from pathlib import Path

from node.config import split_address
from testnet.genesis import NetworkNode

_ESTABLISHED, _CLOSE_WAIT = "01", "08"


def open_sockets(pid: int | None, node: NetworkNode) -> int:
    """The node's open sockets (its database opens files as blocks come); or, where its memory and files are closed to
    other processes of its user, as those of a process with keys are to all but root, the connections at its ports that
    it has not closed."""
    try:
        return sum(_leads_to(link).startswith("socket:") for link in Path(f"/proc/{pid}/fd").iterdir())
    except PermissionError:
        return connections(node)


def _leads_to(link: Path) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115
    except FileNotFoundError:  # closed meanwhile
        return ""


def connections(node: NetworkNode) -> int:
    """Those at the node's end, as the kernel lists them for everybody."""
    ports = {split_address(address)[1] for address in (node.config.peer.listen, node.config.gateway.listen)}
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    here = [(int(row[1].rpartition(":")[2], 16), row[3]) for row in rows]
    return sum(port in ports and state in (_ESTABLISHED, _CLOSE_WAIT) for port, state in here)
