"""Attacker: anybody who can reach a gateway, and sends little that would grow to much.

Compressed messages, announced lengths, nesting, numbers beyond 64 bits. Each is refused by size or form before it has
grown; the node's memory stays where it was, and others' orders go on.
"""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from node.gateway.client import Client
from testnet.cluster import Cluster
from tests.functional.test_bad_wire import place, resident_bytes

GROWTH_BYTES = 64 * 1024 * 1024
TIMES = 20
BOMB = bytes(128 * 1024 * 1024)


def submit_many_of(count: int, size: int) -> bytes:
    """The protobuf of a SubmitManyRequest with so many transactions of zeros."""
    return (b"\x0a" + _varint(size) + bytes(size)) * count


def query_of(args: bytes) -> bytes:
    """The protobuf of a QueryRequest with these raw arguments."""
    return b"\x0a\x06market\x12\x07product\x1a" + _varint(len(args)) + args


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


MESSAGES: dict[str, tuple[str, bytes]] = {
    "more than a message may have": ("SubmitMany", submit_many_of(40, 60_000)),
    "transactions without end": ("SubmitMany", b"\x0a\x00" * 400_000),
    "an array of four thousand million": ("Query", query_of(b"\x81\xa4slot\xdd\xff\xff\xff\xff")),
    "a map of four thousand million": ("Query", query_of(b"\xdf\xff\xff\xff\xff")),
    "a string of four gigabytes": ("Query", query_of(b"\x81\xa4slot\xdb\xff\xff\xff\xff")),
    "arrays within arrays": ("Query", query_of(b"\x81\xa4slot" + b"\x91" * 900_000 + b"\xc0")),
    "a transaction of arrays": ("Submit", b"\x0a" + _varint(60_064) + bytes(64) + b"\x91" * 60_000),
    "fields that nobody knows": ("NodeInfo", b"\xf8\x07\x01" * 300_000),
    "groups within groups": ("NodeInfo", b"\x0b" * 500_000),
}


async def call(address: str, method: str, message: bytes) -> grpc.StatusCode:
    async with grpc.aio.insecure_channel(address) as channel:
        raw: Any = channel.unary_unary(f"/watt.gateway.v1.Gateway/{method}")
        try:
            await raw(message, timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


@pytest.mark.parametrize("name", MESSAGES)
def test_what_would_grow_is_refused_before_it_has(network: Cluster, name: str) -> None:
    node = network.network.nodes[0]
    place(network)
    before = resident_bytes(network, node)

    async def attack() -> set[grpc.StatusCode]:
        calls = [call(node.gateway, *MESSAGES[name]) for _ in range(TIMES)]
        return set(await asyncio.gather(*calls))

    answers = asyncio.run(attack())
    assert answers <= {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OK}, (
        answers
    )
    assert grpc.StatusCode.OK not in answers or name == "fields that nobody knows"
    place(network)
    assert resident_bytes(network, node) - before < GROWTH_BYTES


def test_a_compressed_message_is_not_unpacked_beyond_its_bound(network: Cluster) -> None:
    """An eighth of a gigabyte of zeros, of which gzip makes an eighth of a megabyte: less than a request may have."""
    node = network.network.nodes[0]
    place(network)
    before = resident_bytes(network, node)

    async def bomb() -> grpc.StatusCode:
        options = [("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(
            node.gateway, options=options, compression=grpc.Compression.Gzip
        ) as channel:
            raw: Any = channel.unary_unary("/watt.gateway.v1.Gateway/SubmitMany")
            try:
                await raw(BOMB, timeout=20)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

    for _ in range(3):
        assert asyncio.run(bomb()) == grpc.StatusCode.UNIMPLEMENTED
    place(network)
    assert resident_bytes(network, node) - before < GROWTH_BYTES


def test_numbers_beyond_64_bits_never_leave_the_wallet(network: Cluster) -> None:
    async def scenario() -> str:
        async with Client(network.network.gateways[0]) as client:
            try:
                await client.query("market", "product", {"slot": 2**70})
            except Exception as error:  # noqa: BLE001  # whatever it is, it is looked at
                return getattr(error, "code", type(error).__name__)
            return "answered"

    assert asyncio.run(scenario()) == "out-of-range"
