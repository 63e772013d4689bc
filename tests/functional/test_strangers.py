"""Whoever is unknown gets no more bytes than it sends: nobody can use a node to flood somebody else, or to waste it.

Checklist 52, 59. On the port of peers that is so to the byte, through a whole handshake. The port of clients is open to
all: there a stranger gets HTTP/2's greeting, which no server can leave out, and nothing for bytes that are no request.
"""

import contextlib
import socket
import ssl
import time
from pathlib import Path

import pytest

from node.config import split_address
from node.transport.tls import make_certificate
from testnet.cluster import Cluster
from tests.functional.sockets import connections, open_sockets

GREETING_BYTES = 64
"""HTTP/2's SETTINGS, a WINDOW_UPDATE, and the SETTINGS that acknowledge the client's."""
QUIET_S = 0.5
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


def client_hello() -> bytes:
    """The first bytes of a TLS handshake."""
    outgoing = ssl.MemoryBIO()
    handshake = tls().wrap_bio(ssl.MemoryBIO(), outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        handshake.do_handshake()
    return outgoing.read()


def tls(certificate: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


def answered(address: str, data: bytes) -> int:
    """How many bytes come back until the other side has been silent for a while, or closes."""
    count = 0
    with socket.create_connection(split_address(address)) as connection:
        connection.settimeout(QUIET_S)
        with contextlib.suppress(OSError):
            connection.sendall(data)
            while part := connection.recv(65536):
                count += len(part)
    return count


GARBAGE = {
    "nothing": b"",
    "one byte": b"\x16",
    "noise": bytes(range(256)) * 4,
    "a web browser": b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
    "HTTP/2 without TLS": PREFACE,
    "HTTP/2, then noise": PREFACE + bytes(range(256)),
    "half a handshake": client_hello()[:100],
    "a handshake's beginning": client_hello(),
    "a record of the greatest length": b"\x16\x03\x01\xff\xff" + bytes(2000),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_the_peers_port_answers_strangers_with_less_than_they_send(network: Cluster, what: str) -> None:
    assert answered(network.network.nodes[0].config.peer.listen, GARBAGE[what]) <= len(GARBAGE[what])


@pytest.mark.parametrize("what", GARBAGE)
def test_the_clients_port_answers_what_is_no_request_with_a_greeting_at_most(network: Cluster, what: str) -> None:
    assert answered(network.network.nodes[0].config.gateway.listen, GARBAGE[what]) <= GREETING_BYTES


@pytest.mark.parametrize("certified", [False, True], ids=["without a certificate", "with its own certificate"])
def test_a_whole_handshake_of_a_stranger_gets_less_than_it_sends(
    network: Cluster, tmp_path: Path, certified: bool
) -> None:
    """And it ends there: no byte of it reaches the node's own code."""
    path = None
    if certified:
        path = tmp_path / "stranger.pem"
        path.write_bytes(b"".join(make_certificate("stranger")))
    sent = received = 0
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    handshake = tls(path).wrap_bio(incoming, outgoing)
    with socket.create_connection(split_address(network.network.nodes[0].config.peer.listen)) as connection:
        connection.settimeout(QUIET_S)
        done = False
        with contextlib.suppress(OSError, ssl.SSLError):
            while True:
                if not done:
                    with contextlib.suppress(ssl.SSLWantReadError):
                        handshake.do_handshake()
                        done = True
                        handshake.write(PREFACE)
                data = outgoing.read()
                connection.sendall(data)
                sent += len(data)
                part = connection.recv(65536)
                if not part:
                    break
                received += len(part)
                incoming.write(part)
    assert 0 < received <= sent


def height(network: Cluster) -> int:
    info = network.status()[0].info
    assert info is not None
    return info.height


def test_strangers_that_stay_cost_nothing_lasting(network: Cluster) -> None:
    """Hundreds of half-open connections to both ports, and the network goes on making blocks."""
    node = network.network.nodes[0]
    before, stored = network.status()[0], height(network)
    files = open_sockets(before.pid, node)
    with contextlib.ExitStack() as open_ones:
        for number in range(200):
            address = node.config.peer.listen if number % 2 else node.config.gateway.listen
            connection = open_ones.enter_context(socket.create_connection(split_address(address)))
            connection.sendall(GARBAGE["half a handshake"] if number % 2 else PREFACE)
        assert connections(node) > 20, "they are counted"
        deadline = time.monotonic() + 20
        while height(network) <= stored:
            assert time.monotonic() < deadline, "no block while strangers are connected"
            time.sleep(0.2)
    deadline = time.monotonic() + 20
    while open_sockets(before.pid, node) > files + 20:
        assert time.monotonic() < deadline, "connections stay open after strangers have left"
        time.sleep(0.2)
