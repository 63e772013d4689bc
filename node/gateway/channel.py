"""A client's connection to one gateway: closed by TLS if it knows who vouches for nodes, its reads signed if it has a
key.

Calls whose answer depends on the reader are signed on their way out, so nobody who makes them need think of it. What
is signed names the chain. Whoever knows it says so; others ask the node, once for each connection: a node that names
another chain gets reads that serve on that one for some minutes, and no answer of its own to them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from node.model.keys import Signer
from node.model.read import READ_KEY, SIGNED_CALLS, sign_read
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc

INFO_TIMEOUT_S = 10.0


def open_channel(
    address: str,
    options: Sequence[tuple[str, Any]],
    reader: Signer | None = None,
    chain: bytes | None = None,
    roots: bytes | None = None,
) -> grpc.aio.Channel:
    """A connection that is made when it is first used. ``reader``: signs the reads; ``chain``: the chain's id, else
    the node is asked; ``roots``: the certificates (PEM) to believe, else it is plain."""
    stamp = None if reader is None else _Stamp(reader, chain)
    interceptors = () if stamp is None else (_Unary(stamp), _Stream(stamp))
    if roots is None:
        channel = grpc.aio.insecure_channel(address, options=options, interceptors=interceptors)
    else:
        credentials = grpc.ssl_channel_credentials(roots)
        channel = grpc.aio.secure_channel(address, credentials, options=options, interceptors=interceptors)
    if stamp is not None:
        stamp.channel = channel
    return channel


class _Stamp:
    """Signs the reads of one connection."""

    channel: grpc.aio.Channel

    def __init__(self, reader: Signer, chain: bytes | None) -> None:
        self._reader = reader
        self._chain = chain
        self._asking = asyncio.Lock()

    async def on(self, details: grpc.aio.ClientCallDetails, request: Any) -> grpc.aio.ClientCallDetails:
        """The call with the reader's signature; itself if its answer is the same for everybody."""
        method = _text(details.method)
        if method not in SIGNED_CALLS:
            return details
        chain = self._chain or await self._asked()
        now_ms = time.time_ns() // 1_000_000
        signed = sign_read(self._reader, chain, method, request.SerializeToString(), now_ms)
        metadata = grpc.aio.Metadata(*(details.metadata or ()), (READ_KEY, signed))
        return grpc.aio.ClientCallDetails(
            details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
        )

    async def _asked(self) -> bytes:
        async with self._asking:
            if self._chain is None:
                stub: pb_grpc.GatewayAsyncStub = pb_grpc.GatewayStub(self.channel)
                self._chain = (await stub.NodeInfo(pb.NodeInfoRequest(), timeout=INFO_TIMEOUT_S)).chain
            return self._chain


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, stamp: _Stamp) -> None:
        self._stamp = stamp

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(await self._stamp.on(client_call_details, request), request)


class _Stream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, stamp: _Stamp) -> None:
        self._stamp = stamp

    async def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(await self._stamp.on(client_call_details, request), request)


def _text(method: str | bytes) -> str:
    """gRPC's types promise text, and its calls bring bytes."""
    return method.decode() if isinstance(method, bytes) else method
