"""The guard around a gateway's calls, on a real server with a service that misbehaves on purpose."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import copy_context

import grpc
import grpc.aio
import pytest

from node.errors import NodeFault, RefusedError
from node.gateway.codes import NotNowError, error_from
from node.gateway.guard import Guard, reader
from node.gateway.service import GatewayService
from node.limits import CALLS_BURST, READER_CALLS_BURST
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc

CHAIN = bytes(32)
BLOCK = pb.BlockEvents(height=1, transaction_digests=bytes(1_000_000)).SerializeToString()


class Misbehaving(GatewayService):
    """Each call goes wrong in its own way; there is no node behind it."""

    def __init__(self) -> None:
        self.sent = 0  # of blocks, as far as the server would take them
        self.left = 0  # subscriptions that nobody goes on with

    async def Submit(self, request: pb.SubmitRequest, context: object) -> pb.SubmitReply:
        raise RefusedError("mempool-full", "no room")

    async def Status(self, request: pb.StatusRequest, context: object) -> pb.StatusReply:
        raise ValueError("a secret detail")

    async def Query(self, request: pb.QueryRequest, context: object) -> pb.QueryReply:
        raise NodeFault("db-failed", "the disk is gone")

    async def Subscribe(  # type: ignore[override]
        self, request: pb.SubscribeRequest, context: object
    ) -> AsyncIterator[bytes]:
        try:
            while True:
                self.sent += 1
                yield BLOCK
        finally:
            self.left += 1


def served(use: "Callable[[pb_grpc.GatewayAsyncStub, Misbehaving], Awaitable[None]]") -> list[NodeFault]:
    """Run ``use`` against the service; the faults that it reported."""
    faults: list[NodeFault] = []

    async def scenario() -> None:
        service = Misbehaving()
        server = grpc.aio.server(interceptors=(Guard(faults.append, CHAIN, patience_s=0.3),))
        pb_grpc.add_GatewayServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(20):
                await use(pb_grpc.GatewayStub(channel), service)
        finally:
            await server.stop(None)

    asyncio.run(scenario())
    return faults


async def refusal(call: Awaitable[object]) -> tuple[grpc.StatusCode, RefusedError]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), error_from(caught.value)


def test_no_room_comes_with_a_delay() -> None:
    async def use(stub: "pb_grpc.GatewayAsyncStub", _: Misbehaving) -> None:
        status, error = await refusal(stub.Submit(pb.SubmitRequest()))
        assert status == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert isinstance(error, NotNowError) and error.code == "mempool-full" and error.retry_ms > 0

    assert served(use) == []


def test_a_mistake_of_ours_is_internal_and_tells_no_details() -> None:
    async def use(stub: "pb_grpc.GatewayAsyncStub", _: Misbehaving) -> None:
        status, error = await refusal(stub.Status(pb.StatusRequest()))
        assert (status, error.code) == (grpc.StatusCode.INTERNAL, "internal")
        assert "secret" not in error.message

    assert served(use) == []


def test_a_fault_of_the_node_is_reported_to_it() -> None:
    async def use(stub: "pb_grpc.GatewayAsyncStub", _: Misbehaving) -> None:
        status, error = await refusal(stub.Query(pb.QueryRequest()))
        assert (status, error.code) == (grpc.StatusCode.UNAVAILABLE, "stopping")

    assert [fault.code for fault in served(use)] == ["db-failed"]


def test_who_does_not_read_is_cut_off_and_costs_no_memory() -> None:
    """Checklist 52 and 59."""

    async def use(stub: "pb_grpc.GatewayAsyncStub", service: Misbehaving) -> None:
        call = stub.Subscribe(pb.SubscribeRequest())
        await call.read()
        while not service.left:  # what it holds is free again, though it does not even take that it was cut off
            await asyncio.sleep(0.05)
        sent = service.sent
        assert sent < 50
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            while await call.read() is not grpc.aio.EOF:
                pass
        assert error_from(caught.value).code == "slow-subscriber"
        assert service.sent == sent

    assert served(use) == []


def test_one_connection_that_asks_too_fast_is_told_to_wait_and_others_are_not() -> None:
    """Checklist 52."""

    async def use(stub: "pb_grpc.GatewayAsyncStub", _: Misbehaving) -> None:
        codes = [(await refusal(stub.Status(pb.StatusRequest())))[1] for _ in range(CALLS_BURST)]
        assert {error.code for error in codes} == {"internal"}
        answers = await asyncio.gather(*(refusal(stub.Status(pb.StatusRequest())) for _ in range(CALLS_BURST)))
        refused = [error for status, error in answers if status == grpc.StatusCode.RESOURCE_EXHAUSTED]
        assert {error.code for error in refused} == {"too-fast"}
        assert all(isinstance(error, NotNowError) and error.retry_ms > 0 for error in refused)

    served(use)


def test_a_key_asks_no_more_over_many_connections_than_over_one() -> None:
    """Checklist 52. Without a key, the address counts, for several."""
    guard = Guard(lambda _: None, CHAIN)

    def answered(key: bytes) -> int:
        reader.set(key)
        for number in range(10 * READER_CALLS_BURST):
            try:
                guard._keep_readers_pace(f"ipv4:10.0.0.1:{number % 50}")
            except NotNowError as error:
                assert error.code == "too-fast" and error.retry_ms > 0
                return number
        raise AssertionError

    def ask() -> None:
        assert READER_CALLS_BURST <= answered(b"k" * 32) < 1.2 * READER_CALLS_BURST
        assert READER_CALLS_BURST <= answered(b"l" * 32) < 1.2 * READER_CALLS_BURST
        assert 4 * READER_CALLS_BURST <= answered(b"") < 4.8 * READER_CALLS_BURST

    copy_context().run(ask)
