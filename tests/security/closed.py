"""A network with everything closed by certificates, and somebody who sits on its wires.

Four nodes with gateways behind TLS. Node-0 has its operations port behind mutual TLS, and reaches node-1 through a
``Middleman``, who passes everything on until told otherwise: the peer link, and node-3's gateway for who asks there.
"""

import datetime
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from node.config import dump_config, split_address
from node.keyfile import TESTNET
from node.pki.authority import Authority, accept, create_member, create_root
from node.pki.profile import Subject, key_bytes, make_request, new_key
from node.pki.serving import use_identity
from node.transport.tls import TlsIdentity
from testnet.authorities import TRUST_NAME, open_authority
from testnet.cluster import Cluster, last_line
from testnet.genesis import build_network, free_ports, load_network

OPERATORS = "operators.pem"
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
