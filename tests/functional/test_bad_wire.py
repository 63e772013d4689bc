"""Connections that speak garbage, half a message, or nothing; and a member that speaks with its own key and lies.

One node of the network is down from the first block on, so all that is left must work: nobody else may fall over.
"""

import asyncio
import contextlib
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from node import control
from node.config import split_address
from node.consensus.messages import Signed
from node.consensus.statements import Prepare, encode_statement
from node.diagnosis import MANY_BAD_MESSAGES
from node.keyfile import read_passphrase
from node.limits import HANDSHAKE_MS
from node.model.keys import SIGNATURE_BYTES
from node.setup import open_identity
from node.transport.links import METHOD
from node.transport.tls import SERVER_NAME, channel_credentials, make_certificate
from node.transport.wire import Hello, encode_hello, encode_message
from testnet.cluster import Cluster
from testnet.genesis import NetworkNode, load_network
from tests.functional.sockets import open_sockets
from tests.functional.trading import device
from tests.functional.worst_day import info_of, require_one_truth, until

SILENT = 120
"""Connections to a port that say nothing, or too little."""
SLACK_DESCRIPTORS = 12
SLACK_BYTES = 96 * 1024 * 1024
HONEST_S = 6.0
"""An honest order's way into a block, at worst, on a machine that is busy with other tests."""
CLIENT_HELLO = bytes.fromhex("160301020001fc0303") + bytes(32)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
HEADERS_BEGUN = b"\0\x10\0\1\0\0\0\0\1" + b"\x82"
FLOOD = 3000


@pytest.fixture
def nobody_falls_over(network: Cluster) -> Iterator[None]:
    """The processes are those from before, and orders are taken."""
    before = [network.pid(node) for node in network.network.nodes]
    yield
    assert [network.pid(node) for node in network.network.nodes] == before
    assert place(network) < HONEST_S
    require_one_truth(network)


def place(cluster: Cluster) -> float:
    """Place an order at the first node; how long it took until it was in a block."""

    async def run() -> float:
        async with cluster.network.client(cluster.network.gateways[0]) as client:
            began = time.monotonic()
            assert (await device(cluster, "home-2/load").place(client)).code == "ok"
            return time.monotonic() - began

    return asyncio.run(run())


def descriptors(cluster: Cluster, node: NetworkNode) -> int:
    return open_sockets(cluster.pid(node), node)


def resident_bytes(cluster: Cluster, node: NetworkNode) -> int:
    status = Path(f"/proc/{cluster.pid(node)}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def opened(address: str, count: int, says: bytes, *, half_closed: bool) -> list[socket.socket]:
    found = []
    for _ in range(count):
        connection = socket.create_connection(split_address(address), timeout=5)
        connection.sendall(says)
        if half_closed:
            connection.shutdown(socket.SHUT_WR)
        found.append(connection)
    return found


def is_closed(connection: socket.socket) -> bool:
    """Whether the other end has closed it, whatever it said before."""
    connection.settimeout(0.01)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.usefixtures("nobody_falls_over")
def test_connections_that_say_too_little_cost_nothing_lasting(network: Cluster) -> None:
    """Checklist 59 (process): silence, half a TLS greeting, half a request, half-closed connections, on both ports:
    orders go on meanwhile; the node closes what never said what it wants, and keeps nothing of the others when they
    go."""
    node = network.network.nodes[0]
    place(network)
    files, memory = descriptors(network, node), resident_bytes(network, node)
    peer, gateway = node.config.peer.listen, node.config.gateway.listen
    nameless = [
        *opened(peer, SILENT, b"", half_closed=False),
        *opened(peer, SILENT, CLIENT_HELLO, half_closed=False),
        *opened(peer, SILENT, CLIENT_HELLO, half_closed=True),
        *opened(gateway, SILENT, b"", half_closed=False),
        *opened(gateway, SILENT, PREFACE, half_closed=False),
    ]
    begun = opened(gateway, SILENT, PREFACE + SETTINGS + HEADERS_BEGUN, half_closed=False)
    began = time.monotonic()
    assert place(network) < HONEST_S
    until(lambda: all(map(is_closed, nameless)), "connections without a word are still open", HANDSHAKE_MS / 1000 + 10)
    assert time.monotonic() - began >= 1  # nobody who is merely slow is cut off at once
    for connection in (*nameless, *begun):
        connection.close()
    until(lambda: descriptors(network, node) <= files + SLACK_DESCRIPTORS, "descriptors are left over")
    assert resident_bytes(network, node) < memory + SLACK_BYTES


@contextlib.asynccontextmanager
async def link_as_member(cluster: Cluster, to: NetworkNode) -> AsyncIterator["grpc.aio.StreamUnaryCall[bytes, bytes]"]:
    """A link to a node with the certificate of the member whose node is down."""
    me = load_network(cluster.network.directory).nodes[3]
    identity = open_identity(me.config, read_passphrase(me.directory / "passphrase") or "")
    pinned = cluster.network.genesis.members[to.index].tls_certificate
    options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.use_local_subchannel_pool", 1)]
    credentials = channel_credentials(identity.keys.tls(None), [pinned])
    async with grpc.aio.secure_channel(to.config.peer.listen, credentials, options=options) as channel:
        yield channel.stream_unary(METHOD)()


def hello(cluster: Cluster, name: str = "node-3") -> bytes:
    return encode_hello(Hello(cluster.network.genesis.chain, name))


def end_of(cluster: Cluster, frames: list[bytes]) -> str:
    """How the first node ends a link on which a member sends these frames; "" if it does not."""

    async def run() -> str:
        async with link_as_member(cluster, cluster.network.nodes[0]) as call:
            try:
                async with asyncio.timeout(2):
                    for frame in frames:
                        await call.write(frame)
                    await call
            except grpc.aio.AioRpcError as error:
                return error.details() or str(error.code())
            except asyncio.InvalidStateError:  # it ended while this was writing
                return str(await call.details())
            except TimeoutError:
                return ""
        return ""

    return asyncio.run(run())


def bad_messages(node: NetworkNode) -> dict[str, int]:
    """What the node counts against the member that lies, by code."""
    report = control.ask(node.config.path(node.config.data_dir), control.Diagnose())
    found: dict[str, int] = report["bad_messages"].get("node-3", {})
    return found


@pytest.mark.usefixtures("nobody_falls_over")
def test_a_member_that_greets_wrongly_is_cut_off(network: Cluster) -> None:
    """Checklist 56 (process): the TLS identity, the name in the greeting and the chain have to agree."""
    other_chain = encode_hello(Hello(bytes(32), "node-3"))
    assert end_of(network, [hello(network, "node-1")]) == "wrong-sender"
    assert end_of(network, [other_chain]) == "wrong-chain"
    assert end_of(network, [b"\xff" * 40]) == "malformed"
    assert end_of(network, [encode_message(Signed(3, b"", bytes(SIGNATURE_BYTES)))]) == "malformed"


@pytest.mark.usefixtures("nobody_falls_over")
def test_a_stranger_gets_no_link(network: Cluster) -> None:
    """Checklist 56 (process): a certificate that is nobody's."""

    async def run() -> None:
        node = network.network.nodes[0]
        private, certificate = make_certificate("node-1")  # the name means nothing
        credentials = grpc.ssl_channel_credentials(
            network.network.genesis.members[0].tls_certificate.encode(), private, certificate
        )
        options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(node.config.peer.listen, credentials, options=options) as channel:
            call: grpc.aio.StreamUnaryCall[bytes, bytes] = channel.stream_unary(METHOD)()
            with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
                await call.write(hello(network, "node-1"))
                await call

    asyncio.run(run())


@pytest.mark.usefixtures("nobody_falls_over")
def test_garbage_after_a_good_greeting_is_counted_and_dropped(network: Cluster) -> None:
    """Checklist 53 (process): frames that do not decode, or hold too much, end nothing but themselves."""
    node = network.network.nodes[0]
    before = sum(bad_messages(node).values())
    junk = [b"\xff" * length for length in (1, 30, 1000, 100_000)]
    assert end_of(network, [hello(network), *junk, b"", hello(network)]) == ""
    assert sum(bad_messages(node).values()) >= before + len(junk)
    too_much = end_of(network, [hello(network), bytes(17 * 1024 * 1024)])
    assert too_much != ""  # gRPC does not even read it


@pytest.mark.usefixtures("nobody_falls_over")
def test_a_flood_of_bad_signatures_hardly_slows_the_others(network: Cluster) -> None:
    """Checklist 52, 55 (process): f members flood with votes that nobody signed; orders go on, memory stays flat."""
    nodes = network.network.nodes
    memory = [resident_bytes(network, node) for node in nodes]

    stand = {node.name: info_of(node) for node in nodes}

    async def flood(to: NetworkNode) -> None:
        info = stand[to.name]
        async with link_as_member(network, to) as call:
            await call.write(hello(network))
            for count in range(FLOOD):
                await call.write(_forged_vote(network, info.view, info.height, count))

    async def run() -> list[float]:
        floods = [asyncio.create_task(flood(node)) for node in nodes]
        took = [await asyncio.to_thread(place, network) for _ in range(3)]
        await asyncio.gather(*floods)
        return took

    assert max(asyncio.run(run())) < HONEST_S
    assert all(sum(bad_messages(node).values()) >= MANY_BAD_MESSAGES for node in nodes)
    for node, before in zip(nodes, memory, strict=True):
        assert resident_bytes(network, node) < before + SLACK_BYTES


def _forged_vote(cluster: Cluster, view: int, height: int, count: int) -> bytes:
    """A prepare for a height that is open, in the name of the member, and not signed by it."""
    digest = count.to_bytes(32, "big")
    data = encode_statement(Prepare(view, height + 1 + count % 8, digest), cluster.network.genesis.chain, 0)
    return encode_message(Signed(3, data, os.urandom(SIGNATURE_BYTES)))
