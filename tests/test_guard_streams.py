"""What a connection may ask over streams, and about the node itself: no more than it may ask in other calls."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from node.config import Limits
from node.gateway.admission import Admission
from node.gateway.codes import error_from
from node.gateway.guard import Guard
from node.limits import CALLS_BURST, CALLS_PER_SECOND, FAULTS_BURST
from node.mempool import Mempool
from tests.ledger.chains import make_genesis
from tests.test_mempool import UsedNonces

SECONDS = 0.5


async def endless() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
    while True:
        yield reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health")


async def asked_over_a_stream(channel: grpc.aio.Channel) -> int:
    count = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            async for _ in reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(endless()):
                count += 1
    return count


async def asked_at_once(channel: grpc.aio.Channel) -> set[str]:
    """With which codes some of more calls than are saved up are refused."""
    stub = health_pb2_grpc.HealthStub(channel)
    calls = [stub.Check(health_pb2.HealthCheckRequest()) for _ in range(2 * CALLS_BURST)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    return {error_from(each).code for each in answers if isinstance(each, grpc.aio.AioRpcError)}


def test_no_question_is_free_however_it_is_asked() -> None:
    """Checklist 52."""

    async def scenario() -> None:
        guard = Guard(lambda _: None, make_genesis().chain)
        server = grpc.aio.server(interceptors=(guard,))
        health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
        reflection.enable_server_reflection((reflection.SERVICE_NAME,), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with asyncio.timeout(30), grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            began = time.monotonic()
            asked = await asked_over_a_stream(channel)
            assert 0 < asked <= CALLS_BURST + CALLS_PER_SECOND * (time.monotonic() - began) + 1
            assert "too-fast" in await asked_at_once(channel)
        await server.stop(None)

    asyncio.run(scenario())


def test_requests_with_nothing_in_them_wait_for_their_turn_too() -> None:
    admission = Admission(Mempool(UsedNonces()), Limits())
    for _ in range(FAULTS_BURST + 1):
        admission.bring("ipv4:10.0.0.1:1", [])
    assert admission.delay_s("ipv4:10.0.0.1:1") > 0 and not admission.delay_s("ipv4:10.0.0.1:2")
