"""Attacker: anybody who can reach a gateway, and begins calls that never end.

Calls whose request never comes; whose answer is never taken; that ask to wait for what will never be; that answer how
well the node is for as long as it lives. Each over more connections than it takes to hold every call that a gateway
answers at a time. Others go on, over the same gateway, and what was held is free again.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from node.config import split_address
from node.limits import MAX_CALLS_OF_A_CONNECTION, MAX_CLIENT_CALLS, REQUEST_GRACE_SECONDS
from protos import gateway_pb2 as pb
from testnet.cluster import Cluster
from tests.functional.test_bad_wire import descriptors, place, resident_bytes
from tests.security.test_speaker_of_bad_http2 import PREFACE, frame

CONNECTIONS = 3 * MAX_CLIENT_CALLS // MAX_CALLS_OF_A_CONNECTION
ELSEWHERE = "127.0.0.2"
"""An address of the attacker's own."""
HONEST_S = 5.0
GROWTH_BYTES = 100 * 1024 * 1024
DATA, HEADERS = 0, 1
END_HEADERS, END_STREAM = 4, 1
GATEWAY = b"/watt.gateway.v1.Gateway/"


def head(stream: int, path: bytes) -> bytes:
    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path,
        b":authority": b"node",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    block = b"".join(b"\x00" + bytes([len(k)]) + k + bytes([len(v)]) + v for k, v in fields.items())
    return frame(HEADERS, END_HEADERS, stream, block)


def message(stream: int, data: bytes) -> bytes:
    return frame(DATA, END_STREAM, stream, struct.pack(">BI", 0, len(data)) + data)


def never_sent(stream: int) -> bytes:
    return head(stream, GATEWAY + b"SubmitMany")


def half_sent(stream: int) -> bytes:
    return never_sent(stream) + frame(DATA, 0, stream, struct.pack(">BI", 0, 1_000_000) + bytes(1000))


def never_due(stream: int) -> bytes:
    asked = pb.StatusRequest(id=stream.to_bytes(32), wait_ms=60_000)
    return head(stream, GATEWAY + b"Status") + message(stream, asked.SerializeToString())


def never_idle(stream: int) -> bytes:
    return head(stream, b"/grpc.health.v1.Health/Watch") + message(stream, b"")


def untaken(stream: int) -> bytes:
    return head(stream, GATEWAY + b"NodeInfo") + message(stream, b"")


OPEN = frame(4, 0, 0)
SHUT = frame(4, 0, 0, struct.pack(">HI", 4, 0))
"""Settings: of an answer's data, nothing is taken."""


@contextlib.contextmanager
def held(address: str, settings: bytes, call: Callable[[int], bytes], source: str) -> Iterator[list[socket.socket]]:
    """Begin as many calls as each of the connections may have, and hold them."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(CONNECTIONS):
            connection = socket.create_connection(split_address(address), timeout=5, source_address=(source, 0))
            connections.append(stack.enter_context(connection))
            calls = b"".join(call(2 * number + 1) for number in range(MAX_CALLS_OF_A_CONNECTION))
            connection.sendall(PREFACE + settings + calls)
        time.sleep(0.5)
        yield connections


@pytest.mark.parametrize("call", [never_sent, half_sent])
def test_calls_that_are_only_begun_keep_nobody_out(network: Cluster, call: Callable[[int], bytes]) -> None:
    """Not even somebody behind the same address: a request that is slow to come gives way."""
    node = network.network.nodes[0]
    place(network)
    files, memory = descriptors(network, node), resident_bytes(network, node)
    with held(node.config.gateway.listen, OPEN, call, "127.0.0.1") as connections:
        time.sleep(REQUEST_GRACE_SECONDS)
        assert place(network) < HONEST_S
        assert any(b"slow-request" in connection.recv(1 << 20) for connection in connections)
        assert resident_bytes(network, node) - memory < GROWTH_BYTES
    assert place(network) < HONEST_S
    wait_for(lambda: descriptors(network, node) <= files + 2)


@pytest.mark.parametrize(
    ("settings", "call"),
    [(OPEN, never_due), (OPEN, never_idle), (SHUT, untaken)],
    ids=["never due", "never idle", "untaken"],
)
def test_calls_that_do_not_end_leave_other_addresses_room(
    network: Cluster, settings: bytes, call: Callable[[int], bytes]
) -> None:
    node = network.network.nodes[0]
    place(network)
    memory = resident_bytes(network, node)
    with held(node.config.gateway.listen, settings, call, ELSEWHERE):
        assert place(network) < HONEST_S
        assert resident_bytes(network, node) - memory < GROWTH_BYTES
    assert place(network) < HONEST_S


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
