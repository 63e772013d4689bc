"""What a connection may ask over streams, and about the node itself: no more than it may ask in other calls."""

import asyncio
import contextlib
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
MOST = CALLS_BURST + 3 * SECONDS * CALLS_PER_SECOND


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


async def asked_one_by_one(channel: grpc.aio.Channel) -> int:
    count, stub = 0, health_pb2_grpc.HealthStub(channel)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while count < 2 * MOST:
                await stub.Check(health_pb2.HealthCheckRequest())
                count += 1
    return count


def test_no_question_is_free_however_it_is_asked() -> None:
    """Checklist 52."""

    async def scenario() -> None:
        guard = Guard(lambda _: None, make_genesis().chain)
        server = grpc.aio.server(interceptors=(guard,))
        health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
        reflection.enable_server_reflection((reflection.SERVICE_NAME,), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with asyncio.timeout(30):
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                assert 0 < await asked_over_a_stream(channel) < MOST
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    assert 0 < await asked_one_by_one(channel) < MOST
                stub = health_pb2_grpc.HealthStub(channel)
                calls = [stub.Check(health_pb2.HealthCheckRequest()) for _ in range(2 * CALLS_BURST)]
                answers = await asyncio.gather(*calls, return_exceptions=True)
                refused = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
                assert {error_from(each).code for each in refused} == {"too-fast"}
        await server.stop(None)

    asyncio.run(scenario())


def test_requests_with_nothing_in_them_wait_for_their_turn_too() -> None:
    admission = Admission(Mempool(UsedNonces()), Limits())
    for _ in range(FAULTS_BURST + 1):
        admission.bring("ipv4:10.0.0.1:1", [])
    assert admission.delay_s("ipv4:10.0.0.1:1") > 0 and not admission.delay_s("ipv4:10.0.0.1:2")
