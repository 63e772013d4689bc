"""The gateway service: what clients may ask of a node (``protos/gateway.proto``).

Methods raise ``RefusedError``; ``guard.py`` turns that into a status with a code. There is no task and no call for
each transaction: a stream's request is one list, checked, submitted and answered as one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import grpc
import grpc.aio
import msgspec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from chaincode.contract import ContractError
from chaincode.registry import Registry
from node.driver import Driver
from node.errors import NodeFault, RefusedError
from node.executor import Executor
from node.gateway.access import Access
from node.gateway.admission import Admission
from node.gateway.answers import put_reads
from node.gateway.certificate import GatewayCertificate
from node.gateway.codes import NotNowError, retry_ms
from node.gateway.edge import Accepted, Edge
from node.gateway.feed import Feed
from node.gateway.guard import Context, Guard, reader
from node.gateway.pace import Pace, address_of, retry_ms_of
from node.gateway.snapshots import SERVICE as SNAPSHOTS
from node.gateway.snapshots import SnapshotService, require_above_base
from node.ledger.chain import Ledger
from node.limits import (
    HANDSHAKE_MS,
    MAX_ARGS_BYTES,
    MAX_BOUNDARIES,
    MAX_BOUNDARIES_BYTES,
    MAX_BULK_TRANSACTIONS,
    MAX_CALLS_BEGUN,
    MAX_CALLS_OF_A_CONNECTION,
    MAX_REQUEST_BYTES,
    MAX_STATUS_WAIT_MS,
    QUERY_MS_BURST,
    QUERY_MS_PER_SECOND,
    QUERY_ROWS,
    QUERY_STEPS,
    UNCOMPRESSED,
)
from node.mempool import Mempool
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.model.codec import encode
from node.model.epoch import encode_boundary
from node.model.genesis import Genesis
from node.model.keys import Signer
from node.model.received import received_bytes
from node.snapshot.shelf import Shelf
from node.transport.links import bind
from node.verifier import Verifier
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc

SERVICE = "watt.gateway.v1.Gateway"
UNKNOWN_S = 0.05
"""After how long it is said that a transaction is unknown, and after what a client waits for: to look for one that is
others' takes longer than for one that is not there, by the milliseconds in which its block is read."""

_args_decoder = msgspec.msgpack.Decoder(dict[str, Any])
_SERVER_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    UNCOMPRESSED,
    ("grpc.max_send_message_length", -1),
    ("grpc.max_concurrent_streams", MAX_CALLS_OF_A_CONNECTION),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]


@dataclass(frozen=True)
class Backend:
    """The parts of a node that a gateway speaks to. ``name``: the member's; ``signer``: its key now; ``now``: block
    time by the node's clock, seconds; ``connected``: names of the members that its links have reached; ``shelf``: its
    snapshots; ``failed``: the way to stop the node; ``admission``: who may hand in how much."""

    genesis: Genesis
    name: str
    signer: Callable[[], Signer]
    ledger: Ledger
    executor: Executor
    mempool: Mempool
    driver: Driver
    verifier: Verifier
    feed: Feed
    now: Callable[[], int]
    connected: Callable[[], Sequence[str]]
    shelf: Shelf
    failed: Callable[[NodeFault], None]
    admission: Admission
    access: Access

    @property
    def registry(self) -> Registry:
        """The contracts by the state after the head: they are others once an upgrade is active."""
        return self.executor.registry


class GatewayServer:
    """The gRPC server with the gateway, health and reflection services. ``certificate``: None if it is plain."""

    def __init__(self, backend: Backend, listen: str, certificate: GatewayCertificate | None = None) -> None:
        self._listen = listen
        self._certificate = certificate
        self._watching: asyncio.Task[None] | None = None
        self._server = grpc.aio.server(
            interceptors=(Guard(backend.failed, backend.genesis.chain, enter=backend.admission.enter),),
            options=_SERVER_OPTIONS,
            maximum_concurrent_rpcs=MAX_CALLS_BEGUN,
        )
        pb_grpc.add_GatewayServicer_to_server(GatewayService(backend), self._server)
        joins = SnapshotService(backend.genesis.chain, backend.ledger, backend.shelf, backend.access.require_all)
        pb_grpc.add_SnapshotsServicer_to_server(joins, self._server)
        self._health = HealthServicer()
        self._is_ready = True
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, SNAPSHOTS, "grpc.health.v1.Health", reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> None:
        """Listen. Raises ConfigError("port-in-use")."""
        if (shown := self._certificate) is None:
            bind(lambda: self._server.add_insecure_port(self._listen), self._listen)
        else:
            bind(lambda: self._server.add_secure_port(self._listen, shown.credentials()), self._listen)
            self._watching = asyncio.create_task(shown.watch(), name="gateway-certificate")
        await self._server.start()
        for name in ("", SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def tell_ready(self, is_ready: bool) -> None:
        """Tell health checks of the gateway whether clients should ask this node; the process itself is well anyway."""
        if is_ready != self._is_ready:
            self._is_ready = is_ready
            states = health_pb2.HealthCheckResponse
            await self._health.set(SERVICE, states.SERVING if is_ready else states.NOT_SERVING)

    async def stop(self) -> None:
        """Tell health checks, then end every call, for good."""
        if self._watching is not None:
            self._watching.cancel()
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace=0.2)


class GatewayService(pb_grpc.GatewayServicer):
    """The calls. See ``protos/gateway.proto`` for what each means."""

    def __init__(self, backend: Backend) -> None:
        self._node = backend
        self._admission = backend.admission
        self._edge = Edge(
            backend.genesis,
            lambda: backend.registry,
            backend.mempool,
            backend.verifier,
            backend.driver,
            backend.now,
            backend.admission,
        )
        self._version = version("wattledger")
        self._query_ms: Pace[str] = Pace(QUERY_MS_PER_SECOND, QUERY_MS_BURST, 1)

    async def Submit(self, request: pb.SubmitRequest, context: Context) -> pb.SubmitReply:
        self._admission.bring(context.peer(), [request.transaction])
        accepted = await self._edge.accept([request.transaction], context.peer())
        if accepted.refused:
            raise accepted.refused[0]
        return pb.SubmitReply(id=accepted.transactions[0].id, received=self._received(accepted))

    async def SubmitMany(self, request: pb.SubmitManyRequest, context: Context) -> pb.SubmitManyReply:
        self._admission.bring(context.peer(), request.transactions)
        return await self._submit_many(request, context.peer())

    async def SubmitStream(
        self, requests: AsyncIterator[pb.SubmitManyRequest], context: Context
    ) -> AsyncIterator[pb.SubmitManyReply]:
        async for request in requests:
            await self._admission.turn(context.peer())
            self._admission.bring(context.peer(), request.transactions)
            yield await self._submit_many(request, context.peer())

    async def Status(self, request: pb.StatusRequest, context: object) -> pb.StatusReply:
        began, wait_s = time.monotonic(), min(request.wait_ms, MAX_STATUS_WAIT_MS) / 1000
        reply = self._status(request.id)
        if wait_s and reply.state != pb.StatusReply.COMMITTED:
            await self._node.feed.wait_committed(request.id, wait_s)
            reply = self._status(request.id)
        if reply.state == pb.StatusReply.UNKNOWN:  # it may be others': how long it took to find out would tell
            await asyncio.sleep(max(0.0, began + wait_s + UNKNOWN_S - time.monotonic()))
        return reply

    async def Query(self, request: pb.QueryRequest, context: object) -> pb.QueryReply:
        args = _decode_args(request.args)
        self._keep_query_pace()
        began = time.monotonic()
        try:
            return self._answer(request, args)
        except ContractError as error:
            if error.code in ("step-limit", "too-much"):
                raise RefusedError(
                    "too-much",
                    "more than a node reads for one query: ask for less, page by page or one by one",
                ) from error
            raise RefusedError(error.code, error.message or f"refused by {request.contract}") from error
        finally:
            self._query_ms.spend("", 1000 * (time.monotonic() - began))

    def _answer(self, request: pb.QueryRequest, args: Mapping[str, Any]) -> pb.QueryReply:
        ledger, executor = self._node.ledger, self._node.executor
        self._node.access.require_query(reader.get(), request.contract, request.method, args, proven=request.proven)
        called = (request.contract, request.method, args)
        if not request.proven:
            value = executor.query(*called, steps=QUERY_STEPS, rows=QUERY_ROWS)
            return pb.QueryReply(value=encode(value), height=ledger.head.height)
        value, reads = executor.query_proven(*called, steps=QUERY_STEPS, rows=QUERY_ROWS)
        certificate = ledger.head_certificate
        reply = pb.QueryReply(
            value=encode(value),
            height=ledger.head.height,
            header=encode_header(ledger.head),
            certificate=encode_certificate(certificate) if certificate is not None else b"",
        )
        put_reads(reply, reads)
        return reply

    async def Nonce(self, request: pb.NonceRequest, context: object) -> pb.NonceReply:
        if len(request.public_key) != 32:
            raise RefusedError("bad-key", f"a public key has 32 bytes, not {len(request.public_key)}")
        self._node.access.require_activity(reader.get(), request.public_key)
        return pb.NonceReply(highest=self._node.ledger.highest_nonce(request.public_key))

    async def Block(self, request: pb.BlockRequest, context: object) -> pb.BlockReply:
        ledger = self._node.ledger
        block = ledger.block(request.height) if request.height <= ledger.head.height else None
        if block is None:
            require_above_base(ledger, request.height)
            raise RefusedError("no-block", f"no block {request.height}; the head is {ledger.head.height}")
        certificate = ledger.certificate(request.height)
        return pb.BlockReply(
            header=encode_header(block.header),
            body=block.body if self._node.access.sees_all(reader.get()) else b"",
            certificate=encode_certificate(certificate) if certificate is not None else b"",
        )

    async def Epochs(self, request: pb.EpochsRequest, context: object) -> pb.EpochsReply:
        self._keep_query_pace()
        began = time.monotonic()
        reply = pb.EpochsReply()
        for boundary in self._node.ledger.boundaries(min(max(1, request.first), 2**63), MAX_BOUNDARIES):
            if reply.boundaries and reply.ByteSize() >= MAX_BOUNDARIES_BYTES:
                break
            reply.boundaries.append(encode_boundary(boundary))
        self._query_ms.spend("", 1000 * (time.monotonic() - began))
        return reply

    # Blocks come encoded, once for all subscribers; the guard sends them as they are.
    async def Subscribe(  # type: ignore[override]
        self, request: pb.SubscribeRequest, context: Context
    ) -> AsyncIterator[bytes]:
        head = self._node.ledger.head.height
        first = request.from_height if request.HasField("from_height") else head + 1
        if first > head + 1:
            raise RefusedError("no-block", f"no block {first}; the head is {head}")
        require_above_base(self._node.ledger, first)
        async for block in self._node.feed.blocks(first, reader.get(), address_of(context.peer())):
            yield block

    async def NodeInfo(self, request: pb.NodeInfoRequest, context: object) -> pb.NodeInfoReply:
        node = self._node
        head, status = node.ledger.head, node.driver.status
        epoch = node.ledger.epoch_at(head.height + 1)
        index = epoch.index_of(node.name)
        return pb.NodeInfoReply(
            version=self._version,
            chain=node.genesis.chain,
            network=node.genesis.name,
            member=node.name,
            member_index=-1 if index is None else index,
            members=len(epoch.members),
            height=head.height,
            head_hash=node.ledger.head_hash,
            state_root=head.state_root,
            head_time=head.time,
            now=node.now(),
            epoch=epoch.number,
            view=status.view,
            primary=status.primary,
            pending=len(node.mempool),
            connected=list(node.connected()),
            token_decimals=node.genesis.token.decimals,
            token_symbol=node.genesis.token.symbol,
            upgrade_missing=_missing_upgrade(node.executor),
        )

    def _keep_query_pace(self) -> None:
        delay_s = self._query_ms.delay_s("")
        if delay_s:
            raise NotNowError("busy", "queries have taken their share of this second", retry_ms_of(delay_s))

    async def _submit_many(self, request: pb.SubmitManyRequest, peer: str) -> pb.SubmitManyReply:
        count = len(request.transactions)
        if count > MAX_BULK_TRANSACTIONS:
            raise RefusedError("oversize", f"{count} transactions in one request, at most {MAX_BULK_TRANSACTIONS}")
        accepted = await self._edge.accept(request.transactions, peer)
        refused = sorted(accepted.refused.items())
        return pb.SubmitManyReply(
            refused=[pb.Refusal(index=index, code=error.code) for index, error in refused],
            received=self._received(accepted) if accepted.transactions else None,
            retry_ms=max((retry_ms(error) for _, error in refused), default=0),
        )

    def _received(self, accepted: Accepted) -> pb.Received | None:
        """The node's word for it, if it is a member: with the index and the key of the epoch that comes next."""
        node = self._node
        height, signer = node.ledger.head.height, node.signer()
        keys = node.ledger.epoch_at(height + 1).keys
        if signer.public_key not in keys:
            return None
        me = keys.index(signer.public_key)
        signed = received_bytes(node.genesis.chain, me, height, [tx.id for tx in accepted.transactions])
        return pb.Received(member=me, height=height, signature=signer.sign(signed))

    def _status(self, tx_id: bytes) -> pb.StatusReply:
        """What became of a transaction, for those who may see it; to others it is unknown, as one is that is not there.
        So is one that has been erased, but to those who see everything: whose it was is gone."""
        access, found = self._node.access, self._node.ledger.find(tx_id)
        tx = self._node.mempool.get(tx_id) if found is None else access.stored(*found[:2])
        may_see = access.may_see_result(reader.get(), tx) if tx is not None else access.sees_all(reader.get())
        if found is None or not may_see:
            state = pb.StatusReply.PENDING if tx is not None and may_see else pb.StatusReply.UNKNOWN
            return pb.StatusReply(state=state, base=self._node.ledger.base)
        height, _, receipt = found
        return pb.StatusReply(
            state=pb.StatusReply.COMMITTED,
            height=height,
            code=receipt.code,
            details=encode(receipt.details),
            result=encode(receipt.result),
        )


def _missing_upgrade(executor: Executor) -> str:
    coming = executor.coming_upgrade()
    if coming is None or coming[1]:
        return ""
    upgrade = coming[0]
    return f"{upgrade.name}, digest {upgrade.digest.hex()}: the node stops before block {upgrade.first_height}"


def _decode_args(data: bytes) -> Mapping[str, Any]:
    if len(data) > MAX_ARGS_BYTES:
        raise RefusedError("oversize", f"arguments of {len(data)} bytes, at most {MAX_ARGS_BYTES} are read")
    try:
        return _args_decoder.decode(data) if data else {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError("malformed", f"the arguments are not a MessagePack map: {error}") from error
