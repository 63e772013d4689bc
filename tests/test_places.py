"""Places for calls: an address holds its share, and a request that does not come keeps nobody out."""

import asyncio
import gc

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from node.errors import RefusedError
from node.gateway.codes import NotNowError, error_from
from node.gateway.guard import Guard
from node.gateway.places import Place, Places
from node.limits import MAX_CALLS_OF_A_CONNECTION, MAX_CLIENT_CALLS, REQUEST_GRACE_SECONDS
from tests.ledger.chains import make_genesis

TOTAL = 30
SHARE = 20
"""Of one address that is alone: twice what is free then."""


def peer(address: int, port: int = 1) -> str:
    return f"ipv4:10.0.0.{address}:{port}"


def taken(places: Places, address: int) -> list[Place]:
    """As many as the address is given, over connections of its own."""
    held: list[Place] = []
    while True:
        try:
            held.append(places.take(peer(address, len(held))))
        except NotNowError as error:
            assert error.code == "busy" and error.retry_ms > 0
            return held


async def never() -> bytes:
    """A request that does not come."""
    await asyncio.Event().wait()
    raise AssertionError


async def now_it_is() -> bytes:
    return b"it"


def test_an_address_holds_twice_what_is_free_and_leaves_others_room() -> None:
    """Checklist 52."""
    places = Places(TOTAL)
    first = taken(places, 1)
    assert len(first) == SHARE
    second = taken(places, 2)
    assert len(second) == 7  # and three are free
    assert taken(places, 1) == [] and len(taken(places, 3)) > 0
    for place in (*first, *first):
        places.leave(place)
    assert len(taken(places, 1)) > 7


def test_those_who_take_and_leave_come_to_even_shares_and_one_more_is_let_in() -> None:
    """k addresses that want all there is come to 2/(2k+1) each, whoever was first."""
    places = Places()
    held = {address: taken(places, address) for address in range(1, 6)}
    for _ in range(MAX_CLIENT_CALLS):
        for address, of_it in held.items():
            places.leave(of_it.pop())
            of_it.extend(taken(places, address))
    assert [len(of_it) // 10 for of_it in held.values()] == [9] * 5
    assert len(taken(places, 6)) >= 20


def test_a_request_that_does_not_come_ends_in_time() -> None:
    places = Places(TOTAL, seconds=0.05)

    async def scenario() -> None:
        place = places.take(peer(1))
        with pytest.raises(RefusedError, match="slow-request"):
            await places.request(place, never)
        assert await places.request(place, now_it_is) == b"it"

    asyncio.run(scenario())


def test_who_finds_no_place_takes_that_of_a_call_that_was_only_begun() -> None:
    """Checklist 52: of the one that is awaited for longest; not while it may still be on its way."""
    now = [100.0]
    places = Places(TOTAL, clock=lambda: now[0])

    async def scenario() -> None:
        held = taken(places, 1)
        begun = [asyncio.create_task(places.request(place, never)) for place in held[:2]]
        await asyncio.sleep(0)
        with pytest.raises(NotNowError, match="busy"):
            places.take(peer(1, 99))
        now[0] += REQUEST_GRACE_SECONDS
        places.take(peer(1, 99))
        with pytest.raises(RefusedError, match="slow-request"):
            await begun[0]
        places.leave(held[0])
        assert places.used == SHARE and not begun[1].done()
        places.take(peer(1, 98))
        with pytest.raises(NotNowError, match="busy"):
            places.take(peer(1, 97))
        await asyncio.gather(*begun, return_exceptions=True)

    asyncio.run(scenario())


def test_nobody_who_holds_more_takes_the_place_of_one_who_holds_less() -> None:
    now = [100.0]
    places = Places(TOTAL, clock=lambda: now[0])

    async def scenario() -> None:
        slow = places.take(peer(2))
        awaited = asyncio.create_task(places.request(slow, never))
        await asyncio.sleep(0)
        taken(places, 1)
        now[0] += REQUEST_GRACE_SECONDS
        assert taken(places, 1) == [] and slow.is_held
        awaited.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize("service", ["", "no such"])
def test_calls_that_have_ended_leave_nothing_behind_on_their_connection(service: str) -> None:
    """Not even until the garbage is collected: a connection has so many streams, and no more."""

    async def scenario() -> None:
        options = [("grpc.max_concurrent_streams", MAX_CALLS_OF_A_CONNECTION)]
        guard = Guard(lambda _: None, make_genesis().chain)
        server = grpc.aio.server(interceptors=(guard,), options=options)
        health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(20):
            stub = health_pb2_grpc.HealthStub(channel)
            for _ in range(2 * MAX_CALLS_OF_A_CONNECTION):
                try:
                    await stub.Check(health_pb2.HealthCheckRequest(service=service))
                except grpc.aio.AioRpcError as error:
                    assert error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED)
        async with asyncio.timeout(10):
            while guard.calls:  # a client may have its answer a moment before the call has ended here
                await asyncio.sleep(0.001)
        await server.stop(None)

    gc.collect()
    gc.disable()
    try:
        asyncio.run(scenario())
    finally:
        gc.enable()


def test_calls_of_health_take_places_and_refuse_by_themselves() -> None:
    """What other services than ours hold counts as well."""

    async def scenario() -> None:
        guard = Guard(lambda _: None, make_genesis().chain)
        server = grpc.aio.server(interceptors=(guard,))
        health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(10):
            stub = health_pb2_grpc.HealthStub(channel)
            assert (await stub.Check(health_pb2.HealthCheckRequest())).status == 1
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Check(health_pb2.HealthCheckRequest(service="no such"))
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
            watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(3)]
            assert [(await watch.read()).status for watch in watches] == [1, 1, 1]
            assert guard.calls == 3
            for watch in watches:
                watch.cancel()
            while guard.calls:
                await asyncio.sleep(0.01)
            guard._places = Places(2)
            watch = stub.Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            second = stub.Watch(health_pb2.HealthCheckRequest())
            await second.read()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.Check(health_pb2.HealthCheckRequest())
            assert error_from(refused.value).code == "busy"
        await server.stop(None)

    asyncio.run(scenario())
