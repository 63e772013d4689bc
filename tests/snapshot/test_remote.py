"""Who asks for a snapshot does not wait for ever, whatever a node says."""

import asyncio

import grpc
import grpc.aio
import pytest

from node.errors import RefusedError
from node.gateway.codes import CODE_KEY, RETRY_KEY
from node.gateway.snapshots import SERVICE
from node.snapshot import remote
from node.snapshot.fetch import AskList
from node.snapshot.remote import Remote


async def busy(_: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
    """Always: not now, come back in a quarter of an hour."""
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "", ((CODE_KEY, "busy"), (RETRY_KEY, "999999")))


def test_a_node_that_is_always_busy_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE_S", 0.3)

    async def ask() -> None:
        server = grpc.aio.server()
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"List": grpc.unary_unary_rpc_method_handler(busy)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with Remote() as nodes, asyncio.timeout(10):
                with pytest.raises(RefusedError) as refusal:
                    await nodes.listing(AskList(f"127.0.0.1:{port}"))
            assert refusal.value.code == "busy"
        finally:
            await server.stop(None)

    asyncio.run(ask())
