"""Attacker: anybody who can reach a port, and speaks TLS or HTTP/2 as nobody should.

Frames of no kind, settings and pings without end, headers that grow when they are unpacked, streams that are opened
and reset at once; TLS records cut short, too long, or of another kind. The node answers with an error or not at all,
keeps neither memory nor connections, and goes on with everybody else.
"""

import contextlib
import os
import socket
import struct
import time

import pytest

from node.config import split_address
from testnet.cluster import Cluster
from tests.functional.test_bad_wire import descriptors, place, resident_bytes
from tests.functional.test_strangers import client_hello

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GROWTH_BYTES = 160 * 1024 * 1024
"""A connection may have thirty megabytes of answers queued before the node ends it, and malloc keeps what it had."""
SEND_S = 3.0
HONEST_S = 5.0
WAVE = 4
HELLO = client_hello()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """An HPACK header that enters the table."""
    return b"\x40" + _int7(len(name)) + name + _int7(len(value)) + value


def _int7(number: int) -> bytes:
    if number < 127:
        return bytes([number])
    number -= 127
    out = b"\x7f"
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


SETTINGS = frame(4, 0, 0)
CALL = b"".join(
    b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
    for name, value in {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/watt.gateway.v1.Gateway/NodeInfo",
        b":authority": b"node",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }.items()
)
HTTP2: dict[str, bytes] = {
    "a frame of sixteen megabytes": PREFACE + SETTINGS + frame(0, 0, 1, bytes(100_000), length=(1 << 24) - 1),
    "frames of no kind": PREFACE + SETTINGS + frame(250, 255, 7, bytes(1000)) * 2000,
    "settings without end": PREFACE + frame(4, 0, 0, struct.pack(">HI", 3, 1)) * 50_000,
    "pings without end": PREFACE + SETTINGS + frame(6, 0, 0, bytes(8)) * 50_000,
    "headers continued without end": PREFACE
    + SETTINGS
    + frame(1, 0, 1, CALL)
    + frame(9, 0, 1, literal(b"a", b"b" * 100)) * 20_000,
    "one header named a thousand times": PREFACE
    + SETTINGS
    + frame(1, 5, 1, CALL + literal(b"x", b"y" * 4000) + b"\xbe" * 12_000),
    "streams reset at once": PREFACE
    + SETTINGS
    + b"".join(frame(1, 4, 2 * i + 1, CALL) + frame(3, 0, 2 * i + 1, bytes(4)) for i in range(5000)),
    "data on no stream": PREFACE + SETTINGS + frame(0, 0, 99, bytes(1000)),
    "windows beyond their bound": PREFACE + SETTINGS + frame(8, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 3,
    "a priority of itself": PREFACE + SETTINGS + frame(2, 0, 1, struct.pack(">IB", 1, 255)) * 1000,
    "HTTP/1.1 asking for HTTP/2": b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" * 100,
}
TLS: dict[str, bytes] = {
    "a greeting cut short": HELLO[:-20],
    "a greeting twice": HELLO + HELLO,
    "a record longer than records are": b"\x16\x03\x01\xff\xff" + os.urandom(66_000),
    "an alert first": b"\x15\x03\x03\x00\x02\x02\x28",
    "data before keys": b"\x17\x03\x03\x40\x00" + os.urandom(16_384),
    "a greeting of noise": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(600),
    "heartbeats": b"\x18\x03\x03\x00\x03\x01\x40\x00" * 5000,
    "SSL 2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + os.urandom(40),
    "HTTP/2 in the clear": PREFACE + SETTINGS,
}


def send(address: str, data: bytes) -> None:
    """Send as much as the other side takes within SEND_S; read and forget what it says."""
    with socket.create_connection(split_address(address), timeout=5) as connection, contextlib.suppress(OSError):
        connection.setblocking(False)
        deadline, sent = time.monotonic() + SEND_S, 0
        while sent < len(data) and time.monotonic() < deadline:
            try:
                sent += connection.send(data[sent : sent + 65_536])
            except BlockingIOError:
                time.sleep(0.01)
            with contextlib.suppress(BlockingIOError):
                if not connection.recv(65_536):
                    return


def assert_bears(cluster: Cluster, address: str, data: bytes) -> None:
    node = cluster.network.nodes[0]
    place(cluster)
    files, memory = descriptors(cluster, node), resident_bytes(cluster, node)
    for _ in range(WAVE):
        send(address, data)
    assert place(cluster) < HONEST_S
    assert resident_bytes(cluster, node) - memory < GROWTH_BYTES
    deadline = time.monotonic() + 15
    while descriptors(cluster, node) > files + 2:
        assert time.monotonic() < deadline, "the node keeps connections that are gone"
        time.sleep(0.1)


@pytest.mark.parametrize("name", HTTP2)
def test_the_gateway_bears_bad_http2(network: Cluster, name: str) -> None:
    assert_bears(network, network.network.nodes[0].config.gateway.listen, HTTP2[name])


@pytest.mark.parametrize("name", TLS)
def test_the_peers_port_bears_bad_tls(network: Cluster, name: str) -> None:
    assert_bears(network, network.network.nodes[0].config.peer.listen, TLS[name])
