"""A local network on disk: a genesis document and, for every member, keys, certificate and configuration.

    DIR/genesis.json
    DIR/nodes/node-0/{node.toml, node.key.json, tls.key.json, tls.crt, passphrase, member.json, admin.key.json}, ...

Keys are sealed as everywhere, but under generated passphrases that lie beside them, with argon2 at its cheapest: a
local network is to start quickly, and keeps no secrets.
"""

import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from chaincode.registry import default_registry
from node.config import Config, load_config
from node.errors import ConfigError
from node.gateway.client import Client
from node.keyfile import TESTNET, load_key, save_key, write_private
from node.ledger.chain import Ledger
from node.ledger.store import MemoryStore
from node.model.genesis import (
    GENESIS_FORMAT,
    MIN_MEMBERS,
    Genesis,
    Member,
    Token,
    dump_genesis,
    load_genesis,
    parse_genesis,
)
from node.model.keys import SigningKey, generate_key
from node.setup import CONFIG_NAME, NodeFiles, init_node
from testnet.authorities import TRUST_NAME, add_certificates

GENESIS_NAME = "genesis.json"
NODES_NAME = "nodes"
PASSPHRASE_NAME = "passphrase"
ADMIN_KEY_NAME = "admin.key.json"
"""Decides for the member in questions of membership; sealed under the node's passphrase."""
REMOVED_NAME = "removed"
"""An empty file in the directory of a node that is no member any more."""
DEFAULT_BASE_PORT = 7400
PEER_PORTS_OFFSET = 100
MAX_NODES = 40
PORTS: Final = range(10_240, 32_768)
"""From which free ones are taken: below those that Linux gives to outgoing connections."""
MAX_BASE_PORT = 65_535 - PEER_PORTS_OFFSET - MAX_NODES
WATT: Final = Token("WATT", 9, 1_000_000)


@dataclass(frozen=True)
class NetworkNode:
    """One member's node. ``directory`` holds everything of it."""

    name: str
    index: int
    directory: Path
    config: Config

    @property
    def config_path(self) -> Path:
        """Its node.toml."""
        return self.directory / CONFIG_NAME

    @property
    def gateway(self) -> str:
        """Where clients reach it, host:port."""
        return self.config.gateway.listen


@dataclass(frozen=True)
class Network:
    """A network on disk; ``nodes`` in the order of the genesis, then those added."""

    directory: Path
    genesis: Genesis
    nodes: tuple[NetworkNode, ...]

    @property
    def gateways(self) -> list[str]:
        """All gateways, host:port."""
        return [node.gateway for node in self.nodes]

    @cached_property
    def reader(self) -> SigningKey:
        """The key of the first node, which holds all there is: what looks at the whole network reads with it."""
        node = self.nodes[0]
        passphrase = (node.directory / PASSPHRASE_NAME).read_text("utf-8").strip()
        return load_key(node.config.path(node.config.key_file), passphrase)

    @property
    def roots(self) -> bytes | None:
        """What clients of its gateways believe; None if these are plain."""
        path = self.directory / TRUST_NAME
        return path.read_bytes() if path.exists() else None

    def client(self, gateways: str | Sequence[str] | None = None) -> Client:
        """One that may see everything; ``gateways``: by default all, the first node's first."""
        return Client(gateways or self.gateways, self.reader, self.roots, self.genesis.chain)


def build_network(
    directory: Path,
    contracts: Mapping[str, Mapping[str, Any]],
    *,
    nodes: int = 4,
    base_port: int | None = DEFAULT_BASE_PORT,
    name: str = "testnet",
    token: Token = WATT,
    time_scale: int = 1,
    time_origin: int | None = None,
    tls: bool = False,
) -> Network:
    """Write a new network into ``directory``. ``contracts``: contract name to its genesis settings; governance has its
    own, an admin for every member, unless it is named there.

    Gateways listen on ``base_port`` + 1, + 2, ..., peers on + 101, ...; None: on ports that are free just now.
    With ``time_origin`` block time starts there now and runs ``time_scale`` times as fast as the clock; without, block
    time is the clock's and the scale is 1. With ``tls`` gateways have certificates (``testnet/authorities.py``). If it
    fails, nothing is left of it.

    Raises ConfigError: "testnet-exists", "bad-genesis", "bad-config", "key-exists" and "cannot-write" (``new_files``).
    """
    check_plan(nodes, base_port)
    if time_origin is None and time_scale != 1:
        raise ConfigError("bad-config", "a time scale needs a time origin")
    if (directory / GENESIS_NAME).exists():
        raise ConfigError("testnet-exists", f"{directory} holds a network already")
    with new_files(directory) as work:
        members, admins = _init_nodes(work, nodes, base_port, tls)
        settings = {"governance": {"admins": admins}, **contracts}
        genesis = Genesis(
            format=GENESIS_FORMAT,
            name=name,
            token=token,
            members=members,
            clock_origin=0 if time_origin is None else int(time.time()),
            time_origin=time_origin or 0,
            time_scale=time_scale,
            contracts={contract: dict(part) for contract, part in settings.items()},
        )
        document = dump_genesis(genesis)
        parse_genesis(document, "the new genesis")
        Ledger.open(MemoryStore(), genesis, default_registry())  # what the contracts say of their settings
        (work / GENESIS_NAME).write_bytes(document)
        if tls:
            add_certificates(work, name, [work / NODES_NAME / member.name for member in members])
    return load_network(directory)


def check_plan(nodes: int, base_port: int | None) -> None:
    """Whether a network can be so large, and there. Raises ConfigError("bad-config")."""
    if not MIN_MEMBERS <= nodes <= MAX_NODES:
        raise ConfigError("bad-config", f"a network has {MIN_MEMBERS} to {MAX_NODES} nodes")
    if base_port is not None and not 0 <= base_port <= MAX_BASE_PORT:
        raise ConfigError("bad-config", f"a base port is between 0 and {MAX_BASE_PORT}")


@contextmanager
def new_files(directory: Path) -> Iterator[Path]:
    """A place to put what shall appear in ``directory`` as a whole: when the block ends well, or else not at all.

    It lies inside ``directory``, which is made if it is missing, so that nothing has to be copied. Raises
    ConfigError: "key-exists" (nothing that is there is ever overwritten), "cannot-write" for any OSError.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    work = directory / f".new-{secrets.token_hex(8)}"
    done = False
    try:
        work.mkdir(parents=True)
        yield work
        made = sorted(work.iterdir(), key=lambda path: path.name == GENESIS_NAME)  # last: it says that all is there
        for path in made:
            if (directory / path.name).exists():
                raise ConfigError("key-exists", f"{directory / path.name} is there already; it is never overwritten")
        for path in made:
            path.rename(directory / path.name)
        work.rmdir()
        done = True
    except OSError as error:
        raise ConfigError("cannot-write", f"{directory}: {error.strerror or error}") from error
    finally:
        if not done:
            shutil.rmtree(work, ignore_errors=True)
            for path in missing:
                with suppress(OSError):  # never made, or somebody put something there meanwhile
                    path.rmdir()


def _init_nodes(
    directory: Path, nodes: int, base_port: int | None, tls: bool
) -> tuple[tuple[Member, ...], list[list[str]]]:
    """Returns the members, and who decides for each: (name, key in hex)."""
    gateways, peers = _addresses(nodes, base_port)
    names = [f"node-{i}" for i in range(nodes)]
    members = []
    admins = []
    for i, member in enumerate(names):
        home = directory / NODES_NAME / member
        home.mkdir(parents=True, exist_ok=True)
        passphrase = secrets.token_urlsafe(24)
        write_private(home / PASSPHRASE_NAME, passphrase.encode() + b"\n")
        others = {names[j]: peers[j] for j in range(nodes) if j != i}
        files = NodeFiles(home, member, f"../../{GENESIS_NAME}", peers[i], gateways[i], others, PASSPHRASE_NAME, tls)
        members.append(init_node(files, passphrase, TESTNET))
        admins.append([member, new_key(home / ADMIN_KEY_NAME, passphrase)])
    return tuple(members), admins


def load_network(directory: Path) -> Network:
    """The network in ``directory``: the members of its genesis and those added since, without those removed. Raises
    ConfigError: "no-testnet", and what its files are refused with."""
    if not (directory / GENESIS_NAME).exists():
        raise ConfigError("no-testnet", f"no network in {directory}; make one with: watt testnet up")
    genesis = load_genesis(directory / GENESIS_NAME)
    names = [member.name for member in genesis.members]
    made = sorted(path.parent.name for path in (directory / NODES_NAME).glob(f"*/{CONFIG_NAME}"))
    nodes: list[NetworkNode] = []
    for name in [*names, *(name for name in made if name not in names)]:
        home = directory / NODES_NAME / name
        if not (home / REMOVED_NAME).exists():
            nodes.append(NetworkNode(name, len(nodes), home, load_config(home / CONFIG_NAME)))
    return Network(directory, genesis, tuple(nodes))


def new_key(path: Path, passphrase: str) -> str:
    """Write a new key, sealed as cheaply as a local network seals; its public half in hex."""
    key = generate_key()
    save_key(path, key, passphrase, TESTNET)
    return key.public_key.hex()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on just now. None is among those from which the system takes one for an
    outgoing connection: such a connection, even a try to reach a node that is down, could take that node's port."""
    found: list[int] = []
    for port in secrets.SystemRandom().sample(PORTS, len(PORTS)):
        if len(found) == count:
            break
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found


def _addresses(nodes: int, base_port: int | None) -> tuple[list[str], list[str]]:
    if base_port is None:
        ports = free_ports(2 * nodes)
    else:
        ports = [base_port + 1 + i for i in range(nodes)]
        ports += [base_port + PEER_PORTS_OFFSET + 1 + i for i in range(nodes)]
    addresses = [f"127.0.0.1:{port}" for port in ports]
    return addresses[:nodes], addresses[nodes:]
