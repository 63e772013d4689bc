"""What a node serves to those who join: snapshots in chunks, and blocks by the dozen (``protos/gateway.proto``).

Reading from the disk happens beside the event loop, and all who join get so many bytes a second together: they must
not take the network from consensus.
"""

import asyncio
from collections.abc import Callable

from node.errors import RefusedError
from node.gateway.guard import Context, reader
from node.gateway.pace import Pace
from node.ledger.chain import Ledger
from node.limits import MAX_SERVED_BLOCKS, MAX_SERVED_BYTES, SERVED_BYTES_BURST, SERVED_BYTES_PER_SECOND
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.model.epoch import encode_boundary
from node.snapshot.chunks import MAX_DEPTH
from node.snapshot.shelf import Shelf
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc

SERVICE = "watt.gateway.v1.Snapshots"
YIELD_BLOCKS = 8
"""After so many blocks read from the database, others have their turn."""


def require_above_base(ledger: Ledger, height: int) -> None:
    """Raises RefusedError("below-base") for a block that only nodes that began earlier have."""
    if ledger.base > 0 and height <= ledger.base:
        message = f"this node began with a snapshot of block {ledger.base}: it has no block {height}, ask another"
        raise RefusedError("below-base", message)


def require_whole(ledger: Ledger, height: int) -> None:
    """Raises RefusedError("erased") for a block that cannot be executed again."""
    if not ledger.is_whole(height):
        why = "readings in it have been erased: take a snapshot of a later block, with `watt node join`"
        raise RefusedError("erased", f"block {height} cannot be executed again, {why}")


class SnapshotService(pb_grpc.SnapshotsServicer):
    """The calls, for those alone who see everything. ``chain``: the chain's id; ``require``: raises RefusedError for a
    reader who may not."""

    def __init__(self, chain: bytes, ledger: Ledger, shelf: Shelf, require: Callable[[bytes], None]) -> None:
        self._chain = chain
        self._ledger = ledger
        self._shelf = shelf
        self._require = require
        self._bytes: Pace[str] = Pace(SERVED_BYTES_PER_SECOND, SERVED_BYTES_BURST, 1)

    async def List(self, request: pb.SnapshotsRequest, context: Context) -> pb.SnapshotsReply:
        self._require(reader.get())
        self._keep_pace()
        ledger, certificate = self._ledger, self._ledger.head_certificate
        snapshots = [
            pb.Snapshot(header=each.header, certificate=each.certificate, depth=each.depth, nodes=each.nodes)
            for each in self._shelf.kept
        ]
        reply = pb.SnapshotsReply(
            chain=self._chain,
            base=ledger.base,
            header=encode_header(ledger.head),
            certificate=b"" if certificate is None else encode_certificate(certificate),
            snapshots=snapshots,
            boundaries=[encode_boundary(boundary) for boundary in ledger.boundaries()],
        )
        self._spend(reply.ByteSize())
        return reply

    async def Chunk(self, request: pb.SnapshotChunkRequest, context: Context) -> pb.SnapshotChunkReply:
        self._require(reader.get())
        if len(request.prefix) > MAX_DEPTH:
            raise RefusedError("no-snapshot", f"no chunk has a prefix of {len(request.prefix)} digits")
        self._keep_pace()
        data = await asyncio.to_thread(self._shelf.chunk, request.height, request.depth, request.prefix)
        self._spend(len(data))
        return pb.SnapshotChunkReply(data=data)

    async def Blocks(self, request: pb.BlocksRequest, context: Context) -> pb.BlocksReply:
        self._require(reader.get())
        head = self._ledger.head.height
        if not 0 < request.first <= head:
            raise RefusedError("no-block", f"no block {request.first}; the head is {head}")
        require_above_base(self._ledger, request.first)
        require_whole(self._ledger, request.first)
        self._keep_pace()
        reply = pb.BlocksReply()
        size = 0
        for height in range(request.first, min(head, request.first + min(request.count, MAX_SERVED_BLOCKS) - 1) + 1):
            block, certificate = self._ledger.block(height), self._ledger.certificate(height)
            if block is None or certificate is None or not self._ledger.is_whole(height):
                break
            if reply.blocks and size + len(block.body) > MAX_SERVED_BYTES:
                break
            size += len(block.body)
            reply.blocks.add(
                header=encode_header(block.header), body=block.body, certificate=encode_certificate(certificate)
            )
            if len(reply.blocks) % YIELD_BLOCKS == 0:
                await asyncio.sleep(0)
        self._spend(reply.ByteSize())
        return reply

    def _keep_pace(self) -> None:
        if self._bytes.delay_s(""):
            raise RefusedError("busy", "those who join have taken their share of this second")

    def _spend(self, size: int) -> None:
        self._bytes.spend("", size)
