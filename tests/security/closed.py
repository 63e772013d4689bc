"""A network with everything closed by certificates, and somebody who sits on its wires.

Four nodes with gateways behind TLS. Node-0 has its operations port behind mutual TLS, and reaches node-1 through a
``Middleman``, who passes everything on until told otherwise: the peer link, and node-3's gateway for who asks there.
"""

import asyncio
import datetime
import select
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography import x509

from node.config import dump_config, split_address
from node.errors import RefusedError
from node.gateway.vetting import Vetted, vet
from node.keyfile import TESTNET, read_passphrase
from node.pki.authority import Authority, accept, create_member, create_root
from node.pki.holder import install, request_for_gateway
from node.pki.profile import (
    Kind,
    Subject,
    key_bytes,
    make_request,
    new_key,
    serial_text,
)
from node.pki.serving import use_identity
from node.pki.trust import read_trust
from node.transport.tls import TlsIdentity
from testnet.authorities import NAMES, TRUST_NAME, open_authority
from testnet.cluster import Cluster, last_line
from testnet.genesis import NetworkNode, build_network, free_ports, load_network

OPERATORS = "operators.pem"
WITHIN_S = 20.0
"""A node looks at its files every two seconds."""
SECRET = "secret"


class Middleman:
    """Sits between somebody and ``target``. Passes bytes on; or, with ``intercept``, ends TLS itself with a certificate
    of its own and reads what comes."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.intercept: ssl.SSLContext | None = None
        self.after = 0
        """How many connections are passed on first, all the same."""
        self.read = b""
        """What it could read: nothing, if all is well."""
        self.met = 0
        """How many connections it tried to intercept."""
        self._listening = socket.create_server(("127.0.0.1", free_ports(1)[0]))
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listening.getsockname()[1]}"

    def cut(self) -> None:
        """End all connections: the next ones begin as told now."""
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        try:
            with connection:
                if self.intercept is None or self.after > 0:
                    self.after -= 1
                    self._pass_on(connection)
                else:
                    self.met += 1
                    with self.intercept.wrap_socket(connection, server_side=True) as opened:
                        opened.settimeout(5)
                        self.read += opened.recv(65536)
        except OSError:  # the other end broke off, as it should
            return
        finally:
            self._open.discard(connection)

    def _pass_on(self, connection: socket.socket) -> None:
        with socket.create_connection(split_address(self.target)) as onward:
            self._open.add(onward)
            ways = {connection: onward, onward: connection}
            while True:
                for readable in select.select(list(ways), [], [])[0]:
                    data = readable.recv(65536)
                    if not data:
                        self._open.discard(onward)
                        return
                    ways[readable].sendall(data)


def serving(identity: TlsIdentity, *, asks: bool = False) -> ssl.SSLContext:
    """How a server shows ``identity``; with ``asks``, it wants a certificate and takes any that it is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    use_identity(context, identity)
    if asks:
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


@dataclass
class Closed:
    """The network, its authorities, and the middlemen."""

    cluster: Cluster
    link: Middleman
    gateway: Middleman
    metrics: str
    foreign: Authority
    """A member's CA of the same name, in another consortium."""

    @property
    def directory(self) -> Path:
        return self.cluster.network.directory

    @property
    def trust(self) -> bytes:
        return (self.directory / TRUST_NAME).read_bytes()

    def issued(
        self,
        subject: Subject,
        authority: Authority | None = None,
        ago: datetime.timedelta = datetime.timedelta(0),
        days: int = 30,
    ) -> TlsIdentity:
        """A new key and a certificate for it, which was signed ``ago``, by default by the subject's member's CA."""
        signer = authority or open_authority(self.directory, subject.member)
        key = new_key()
        now = datetime.datetime.now(datetime.UTC) - ago
        return TlsIdentity(key_bytes(key), signer.issue_leaf(make_request(key, subject), subject.kind, now, days))


def closed_network(directory: Path) -> Iterator[Closed]:
    """Make and run it; taken down afterwards."""
    network = build_network(directory / "net", {}, nodes=4, base_port=None, tls=True)
    first, second, last = network.nodes[0], network.nodes[1], network.nodes[3]
    link, gateway = Middleman(second.config.peer.listen), Middleman(last.gateway)
    metrics = f"127.0.0.1:{free_ports(1)[0]}"
    (first.directory / OPERATORS).write_bytes((network.directory / TRUST_NAME).read_bytes())
    peer = msgspec.structs.replace(
        first.config.peer, addresses=first.config.peer.addresses | {second.name: link.address}
    )
    watched = msgspec.structs.replace(first.config.metrics, listen=metrics, operators=OPERATORS)
    config = msgspec.structs.replace(first.config, peer=peer, metrics=watched)
    first.config_path.write_text(dump_config(config, "With somebody in between."))
    cluster = Cluster(load_network(network.directory))
    foreign = _foreign(directory / "foreign", second.name)
    try:
        cluster.start_all()
        cluster.wait_ready()
        yield Closed(cluster, link, gateway, metrics, foreign)
    finally:
        cluster.stop_all()
        for node in cluster.network.nodes:
            print(node.name, last_line(node))  # shown by pytest if a test failed
        link.close()
        gateway.close()


def _foreign(directory: Path, member: str) -> Authority:
    now = datetime.datetime.now(datetime.UTC)
    create_root(directory / "root", "Elsewhere", SECRET, now, limits=TESTNET)
    request = create_member(directory / "ca", member, SECRET, TESTNET).read_bytes()
    root = Authority.open(directory / "root", SECRET)
    accept(directory / "ca", root.issue_member(request, member, ("localhost",), now))
    return Authority.open(directory / "ca", SECRET)


def operator(member: str) -> Subject:
    return Subject(Kind.OPERATOR, member, ("alice",))


def passphrase_of(node: NetworkNode) -> str:
    return read_passphrase(node.config.path(node.config.passphrase_file)) or ""


def renew(closed: Closed, node: NetworkNode, *, another_key: bool = False) -> str:
    """A good certificate, from its own member's CA, installed; its serial."""
    request = request_for_gateway(
        node.config, NAMES, passphrase_of(node), another_key=another_key, limits=TESTNET
    ).read_bytes()
    now = datetime.datetime.now(datetime.UTC)
    chain = open_authority(closed.directory, node.name).issue_leaf(request, Kind.GATEWAY, now)
    return install(node.config, chain, now).serial


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not await what():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


async def seen(closed: Closed, node: NetworkNode, trust: bytes | None = None) -> Vetted | str:
    """What a client makes of a gateway's certificate, or why it refuses it."""
    try:
        return await vet(node.gateway, read_trust(trust or closed.trust))
    except RefusedError as error:
        assert error.code == "untrusted-node"
        return error.message


async def shows(closed: Closed, node: NetworkNode, serial: str) -> bool:
    found = await seen(closed, node)
    return isinstance(found, Vetted) and serial == serial_text(
        x509.load_pem_x509_certificate(found.certificate).serial_number
    )
