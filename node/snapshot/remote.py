"""Questions to a node that serves snapshots and blocks, over gRPC. What it answers is not checked here."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

import grpc
import grpc.aio

from node.gateway.codes import UNREACHABLE, UNTRUSTED, NotNowError, error_from
from node.gateway.gate import Gate
from node.limits import MAX_CHUNK_BYTES, UNCOMPRESSED
from node.model.keys import Signer
from node.snapshot.fetch import AskChunk, AskList, Listing
from node.snapshot.follow import AskBlocks, RawBlock
from node.snapshot.offer import Offer
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc

T = TypeVar("T")

CALL_TIMEOUT_S = 10.0
PATIENCE_S = 60.0
"""How long a node may say that it is busy."""
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_CHUNK_BYTES + 1024 * 1024),
    ("grpc.use_local_subchannel_pool", 1),
    UNCOMPRESSED,
]


class Remote:
    """Nodes, by their gateways' addresses. Use as ``async with Remote() as remote``. Every call raises RefusedError.

    ``reader``: the key to ask with, for a node that joins its own; ``chain``: the id of the chain that it is to be;
    ``roots``: those who vouch for gateways (``node/pki/trust.py``), None: the gateways are plain.
    """

    def __init__(self, reader: Signer | None = None, chain: bytes | None = None, roots: bytes | None = None) -> None:
        self._reader = reader
        self._chain = chain
        self._roots = roots
        self._gates: dict[str, Gate] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for gate in self._gates.values():
            await gate.close()

    async def listing(self, request: AskList) -> Listing:
        """What a node has."""
        reply = await self._ask(request.source, lambda stub: stub.List(pb.SnapshotsRequest(), timeout=CALL_TIMEOUT_S))
        offers = [Offer(each.header, each.certificate, each.depth, tuple(each.nodes)) for each in reply.snapshots]
        return Listing(reply.chain, reply.base, reply.header, reply.certificate, tuple(reply.boundaries), tuple(offers))

    async def chunk(self, request: AskChunk) -> bytes:
        """A chunk's bytes."""
        asked = pb.SnapshotChunkRequest(height=request.height, depth=request.depth, prefix=request.prefix)
        return (await self._ask(request.source, lambda stub: stub.Chunk(asked, timeout=CALL_TIMEOUT_S))).data

    async def blocks(self, request: AskBlocks) -> list[RawBlock]:
        """Blocks, in order."""
        asked = pb.BlocksRequest(first=request.first, count=request.number)
        reply = await self._ask(request.source, lambda stub: stub.Blocks(asked, timeout=CALL_TIMEOUT_S))
        return [RawBlock(each.header, each.body, each.certificate) for each in reply.blocks]

    async def _ask(self, source: str, call: "Callable[[pb_grpc.SnapshotsAsyncStub], Awaitable[T]]") -> T:
        if source not in self._gates:
            self._gates[source] = Gate(source, _OPTIONS, self._reader, self._chain, self._roots)
        gate = self._gates[source]
        stub: pb_grpc.SnapshotsAsyncStub = pb_grpc.SnapshotsStub(await gate.channel())
        patience_s = PATIENCE_S
        while True:
            try:
                return await call(stub)
            except grpc.aio.AioRpcError as failure:
                error = error_from(failure)
                if error.code in (UNREACHABLE, UNTRUSTED):
                    gate.doubt()
                if not isinstance(error, NotNowError) or patience_s <= 0:
                    raise error from failure
                pause_s = min(error.retry_ms / 1000, patience_s)
                patience_s -= pause_s
                await asyncio.sleep(pause_s)
