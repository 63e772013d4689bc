"""Signed reads: the format, and the guard's check of them on a real server."""

import asyncio
import time
from collections.abc import Sequence

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import NodeFault, RefusedError
from node.gateway.codes import error_from
from node.gateway.guard import Guard, reader
from node.gateway.service import GatewayService
from node.model.codec import decode, encode
from node.model.keys import SigningKey, verify
from node.model.read import MAX_SKEW_MS, READ_KEY, SIGNED_CALLS, check_read, sign_read
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc

CHAIN, OTHER_CHAIN = bytes(32), b"\1" * 32
QUERY, STATUS = "/watt.gateway.v1.Gateway/Query", "/watt.gateway.v1.Gateway/Status"
NOW = 1_700_000_000_000
READER = SigningKey(bytes(31) + b"\7")
GOOD = sign_read(READER, CHAIN, QUERY, b"question", NOW)


def code_of(
    data: bytes, chain: bytes = CHAIN, method: str = QUERY, request: bytes = b"question", now: int = NOW
) -> str:
    with pytest.raises(RefusedError) as caught:
        check_read(data, chain, method, request, now, verify)
    return caught.value.code


@pytest.mark.parametrize("away_ms", [-MAX_SKEW_MS, 0, MAX_SKEW_MS])
def test_a_signed_read_names_its_reader(away_ms: int) -> None:
    assert check_read(GOOD, CHAIN, QUERY, b"question", NOW + away_ms, verify) == READER.public_key


def test_a_read_holds_for_one_question_on_one_chain_for_some_minutes() -> None:
    assert code_of(GOOD, chain=OTHER_CHAIN) == "bad-read-signature"
    assert code_of(GOOD, method=STATUS) == "bad-read-signature"
    assert code_of(GOOD, request=b"questions") == "bad-read-signature"
    assert code_of(GOOD, now=NOW + MAX_SKEW_MS + 1) == "stale-read"
    assert code_of(GOOD, now=NOW - MAX_SKEW_MS - 1) == "stale-read"


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_byte_of_it_can_be_changed(position: int, change: int) -> None:
    broken = GOOD[:position] + bytes([GOOD[position] ^ change]) + GOOD[position + 1 :]
    assert code_of(broken) in ("bad-read-signature", "stale-read")


@given(st.binary(max_size=300))
def test_bytes_that_sign_nothing_are_refused(data: bytes) -> None:
    assert code_of(data) == "bad-read-signature"


def test_another_key_does_not_take_over_a_signature() -> None:
    fields = decode(GOOD)
    assert isinstance(fields, tuple)
    assert code_of(encode((SigningKey(bytes(32)).public_key, *fields[1:]))) == "bad-read-signature"
    assert code_of(encode((bytes(32), NOW, bytes(64)))) == "bad-read-signature"


def test_every_signed_call_is_one_of_ours() -> None:
    services = pb.DESCRIPTOR.services_by_name.values()
    assert {f"/{service.full_name}/{method.name}" for service in services for method in service.methods} > SIGNED_CALLS


class Telling(GatewayService):
    """Answers with the reader's key. There is no node behind it."""

    def __init__(self) -> None:
        pass

    async def Query(self, request: pb.QueryRequest, context: object) -> pb.QueryReply:
        return pb.QueryReply(value=reader.get())


def test_the_guard_hands_on_the_reader_of_each_call_alone() -> None:
    asyncio.run(_guarded())


async def _guarded() -> None:
    faults: list[NodeFault] = []
    server = grpc.aio.server(interceptors=(Guard(faults.append, CHAIN),))
    pb_grpc.add_GatewayServicer_to_server(Telling(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    request = pb.QueryRequest(contract="market", method="quote")
    now = time.time_ns() // 1_000_000
    signed = [(READ_KEY, sign_read(READER, CHAIN, QUERY, request.SerializeToString(), now))]
    other = [(READ_KEY, sign_read(READER, OTHER_CHAIN, QUERY, request.SerializeToString(), now))]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(20):
            stub = pb_grpc.GatewayStub(channel)

            async def refusal(metadata: Sequence[tuple[str, bytes]]) -> tuple[grpc.StatusCode, str]:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.Query(request, metadata=metadata)
                return caught.value.code(), error_from(caught.value).code

            assert (await stub.Query(request, metadata=signed)).value == READER.public_key
            assert (await stub.Query(request)).value == b""
            for wrong in (other, signed + signed, [(READ_KEY, b"")]):
                assert await refusal(wrong) == (grpc.StatusCode.UNAUTHENTICATED, "bad-read-signature")
            # The bytes that arrived are what was signed, whatever they decode to: field 99 means nothing here.
            raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(QUERY)
            longer = request.SerializeToString() + b"\x9a\x06\x01x"
            with pytest.raises(grpc.aio.AioRpcError):
                await raw(longer, metadata=signed)
            again = [(READ_KEY, sign_read(READER, CHAIN, QUERY, longer, now))]
            assert pb.QueryReply.FromString(await raw(longer, metadata=again)).value == READER.public_key
    finally:
        await server.stop(None)
    assert not faults
