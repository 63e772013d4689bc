"""The other end of the gateway: an asynchronous client over one or several nodes.

If a node does not answer, the next is asked; "unreachable": none does. Errors are RefusedErrors with the server's code.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
import msgspec

from node.errors import RefusedError
from node.gateway.answers import (
    BlockEvents,
    BulkReply,
    Evidence,
    NodeInfo,
    RawBlock,
    Receipt,
    TxStatus,
    block_events,
    decoded,
    evidence_of,
    node_info_of,
    tx_status,
)
from node.gateway.codes import UNREACHABLE, UNTRUSTED, NotNowError, error_from
from node.gateway.gate import Gate
from node.gateway.patience import COME_AGAIN, Patience
from node.limits import UNCOMPRESSED
from node.model.codec import Value
from node.model.keys import Signer
from node.model.transaction import digest_of, tx_id_of
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc

__all__ = [
    "BlockEvents",
    "BulkReply",
    "Client",
    "Evidence",
    "NodeInfo",
    "RawBlock",
    "Receipt",
    "TxStatus",
    "addresses_in",
    "digest_of",
    "run",
    "tx_id_of",
    "words_of",
]

T = TypeVar("T")

CALL_TIMEOUT_S = 10.0
RETRY_PAUSE_S = 0.2
MAX_PORT = 65_535
MAX_REPLY_BYTES = 64 * 1024 * 1024
"""A node that sends more at once is not read to the end; no honest answer comes near it."""
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
    ("grpc.max_send_message_length", -1),
    UNCOMPRESSED,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.use_local_subchannel_pool", 1),
]
_SILENT = {UNREACHABLE: "does not answer", "stopping": "is stopping", "not-a-member": "is no member now"}
"""What people read of a node that cannot be asked, instead of gRPC's words."""


class _Target(Gate):
    async def stub(self) -> "pb_grpc.GatewayAsyncStub":
        return pb_grpc.GatewayStub(await self.channel())

    async def asked(self, call: "Callable[[pb_grpc.GatewayAsyncStub], Awaitable[T]]") -> T:
        """What a call brings. If it finds another certificate than the one looked at, nothing was said yet: that may be
        a renewed one, so it is looked at, and the call made again. Raises RefusedError."""
        try:
            return await call(await self.stub())
        except grpc.aio.AioRpcError as failure:
            if (error := self.failed(failure)).code != UNTRUSTED:
                raise error from failure
        try:
            return await call(await self.stub())
        except grpc.aio.AioRpcError as failure:
            raise self.failed(failure) from failure

    def failed(self, failure: grpc.aio.AioRpcError) -> RefusedError:
        """The refusal that it stands for."""
        error = error_from(failure)
        if error.code in (UNREACHABLE, UNTRUSTED):
            self.doubt()
        return error


class Client:
    """Use as ``async with Client("127.0.0.1:7401") as client``. ``targets``: gateway addresses, as
    ``addresses_in`` takes them, in the order in which to try them. ``reader``: the key to read with, None: as a
    stranger; ``roots``: those who vouch for gateways (``node/pki/trust.py``), None: the gateways are plain; ``chain``:
    the chain's id if it is known, which reads are signed for."""

    def __init__(
        self,
        targets: str | Sequence[str],
        reader: Signer | None = None,
        roots: bytes | None = None,
        chain: bytes | None = None,
    ) -> None:
        addresses = addresses_in([targets] if isinstance(targets, str) else targets)
        self._targets = [_Target(address, _OPTIONS, reader, chain, roots) for address in addresses]
        self._current = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        for target in self._targets:
            await target.close()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The nodes that may be asked."""
        return tuple(target.address for target in self._targets)

    @property
    def address(self) -> str:
        """The node that answered last, or the one to be asked first."""
        return self._targets[self._current].address

    def turn_away(self) -> None:
        """Ask the next node first from now on: the present one answers, but is behind, or silent."""
        self._current = (self._current + 1) % len(self._targets)

    async def submit(self, raw: bytes) -> bytes:
        """Submit one signed transaction; its id. Received means not executed yet: see ``wait``."""
        return (await self.submit_for_receipt(raw))[0]

    async def submit_for_receipt(self, raw: bytes) -> tuple[bytes, Receipt | None]:
        """The same, with the node's signed word that it has the transaction; None if an answer was lost, or the node is
        no member now."""
        request = pb.SubmitRequest(transaction=raw)
        failures: list[str] = []
        try:
            reply = await self._ask_in_turn(lambda stub: stub.Submit(request, timeout=CALL_TIMEOUT_S), failures)
        except RefusedError as error:
            if _passed_on(error.code, failures) == "ok":
                return tx_id_of(raw), None
            raise
        if not reply.HasField("received"):
            return reply.id, None
        return reply.id, Receipt(reply.received.member, reply.received.height, reply.received.signature)

    async def submit_many(self, raws: Sequence[bytes]) -> list[tuple[bytes, str]]:
        """Submit many at once; (id, "ok" or the code of the refusal) for each, in order. What there is no room for now
        is sent again when the node says, for a while. Raises RefusedError only if nothing is known of any of them."""
        codes = ["ok"] * len(raws)
        waiting = list(range(len(raws)))
        patience = Patience(CALL_TIMEOUT_S)
        failures: list[str] = []
        while waiting:
            try:
                reply = await self._submit_many([raws[index] for index in waiting], failures, patience)
            except RefusedError as error:
                if len(waiting) == len(raws):
                    raise
                for index in waiting:
                    codes[index] = error.code
                break
            refused = {waiting[refusal.index]: refusal.code for refusal in reply.refused}
            for index in waiting:
                codes[index] = _passed_on(refused.get(index, "ok"), failures)
            waiting = [index for index, code in refused.items() if code in COME_AGAIN]
            if waiting and not await patience.wait_ms(reply.retry_ms):
                break
        return [(tx_id_of(raw), code) for raw, code in zip(raws, codes, strict=True)]

    async def _submit_many(self, raws: Sequence[bytes], failures: list[str], patience: Patience) -> pb.SubmitManyReply:
        request = pb.SubmitManyRequest(transactions=raws)
        return await self._ask_in_turn(
            lambda stub: stub.SubmitMany(request, timeout=CALL_TIMEOUT_S), failures, patience
        )

    async def submit_stream(self, chunks: AsyncIterable[Sequence[bytes]]) -> AsyncIterator[BulkReply]:
        """Submit chunk after chunk over one stream; one reply for each, in order. The node takes the next chunk when
        it has answered the last: whoever sends is slowed to its pace, and waits longer if it says so. A broken stream
        raises; nothing is repeated."""
        retry_ms = 0

        async def requests() -> AsyncIterator[pb.SubmitManyRequest]:
            nonlocal retry_ms
            async for raws in chunks:
                if retry_ms:
                    told, retry_ms = retry_ms, 0
                    await Patience(CALL_TIMEOUT_S).wait_ms(told)
                yield pb.SubmitManyRequest(transactions=raws)

        target = self._targets[self._current]
        call = (await target.stub()).SubmitStream(requests())
        try:
            async for reply in call:
                retry_ms = max(retry_ms, reply.retry_ms)
                yield BulkReply({refusal.index: refusal.code for refusal in reply.refused}, reply.retry_ms)
        except grpc.aio.AioRpcError as error:
            raise target.failed(error) from error
        finally:
            call.cancel()

    async def status(self, tx_id: bytes) -> TxStatus:
        """What became of a transaction."""
        return await self._status(tx_id, 0)

    async def wait(self, tx_id: bytes, timeout_s: float = 30.0) -> TxStatus:
        """The status when it is in a block, or at the end of ``timeout_s``: then raises RefusedError("timed-out")."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            status = await self._status(tx_id, max(1, int(1000 * min(left, 5.0))))
            if status.state == "committed":
                return status
        raise RefusedError("timed-out", f"{tx_id.hex()} is in no block after {timeout_s:g} s")

    async def query(self, contract: str, method: str, args: Mapping[str, Any] | None = None) -> Value:
        """Ask a contract; its answer as this node's head has it."""
        return (await self.query_at(contract, method, args))[1]

    async def query_at(self, contract: str, method: str, args: Mapping[str, Any] | None = None) -> tuple[int, Value]:
        """The height of the head that the answer is true after, and the answer."""
        reply = await self._query(contract, method, args, proven=False)
        return reply.height, decoded(reply.value)

    async def query_evidence(self, contract: str, method: str, args: Mapping[str, Any] | None = None) -> Evidence:
        """What a proven query comes with, not checked yet: see ``node/gateway/proven.py``."""
        return evidence_of(await self._query(contract, method, args, proven=True))

    async def nonce(self, public_key: bytes) -> int:
        """The highest nonce that the key has used in a block; 0 if none."""
        request = pb.NonceRequest(public_key=public_key)
        return (await self._ask_in_turn(lambda stub: stub.Nonce(request, timeout=CALL_TIMEOUT_S))).highest

    async def block(self, height: int) -> RawBlock:
        """A committed block. Raises RefusedError("no-block")."""
        request = pb.BlockRequest(height=height)
        reply = await self._ask_in_turn(lambda stub: stub.Block(request, timeout=CALL_TIMEOUT_S))
        return RawBlock(reply.header, reply.body, reply.certificate)

    async def boundaries(self, first: int) -> tuple[bytes, ...]:
        """Encoded boundaries (``node/model/epoch.py``) of epochs from number ``first`` on: some, or none at the end."""
        request = pb.EpochsRequest(first=first)
        return tuple((await self._ask_in_turn(lambda stub: stub.Epochs(request, timeout=CALL_TIMEOUT_S))).boundaries)

    async def node_info(self) -> NodeInfo:
        """Where the node stands."""
        reply = await self._ask(lambda stub: stub.NodeInfo(pb.NodeInfoRequest(), timeout=CALL_TIMEOUT_S))
        return node_info_of(reply)

    async def subscribe(self, from_height: int | None = None) -> AsyncIterator[BlockEvents]:
        """Every committed block from a height on (None: the next one), none left out and none twice, also across a
        change to another node. Ends only by an error: "unreachable" if no node answers."""
        next_height = from_height
        while True:
            try:
                async for block in self._blocks(next_height):
                    next_height = block.height + 1
                    yield block
            except RefusedError as error:
                behind = error.code == "no-block" and from_height is not None and next_height != from_height
                if error.code not in (UNREACHABLE, UNTRUSTED, "slow-subscriber", "stopping") and not behind:
                    raise
                await self._find_another(error)

    async def _blocks(self, first: int | None) -> AsyncIterator[BlockEvents]:
        request = pb.SubscribeRequest(from_height=first)
        target = self._targets[self._current]
        call = (await target.stub()).Subscribe(request)
        try:
            async for block in call:
                yield block_events(block)
        except grpc.aio.AioRpcError as error:
            raise target.failed(error) from error
        finally:
            call.cancel()
        raise RefusedError(UNREACHABLE, "the node ended the subscription")

    async def _find_another(self, error: RefusedError) -> None:
        """After a subscription broke: make sure that some node answers, or raise."""
        if error.code != "slow-subscriber":
            self.turn_away()
        await asyncio.sleep(RETRY_PAUSE_S)
        await self.node_info()

    async def _status(self, tx_id: bytes, wait_ms: int) -> TxStatus:
        request = pb.StatusRequest(id=tx_id, wait_ms=wait_ms)
        reply = await self._ask_in_turn(lambda stub: stub.Status(request, timeout=CALL_TIMEOUT_S + wait_ms / 1000))
        return tx_status(reply)

    async def _query(
        self, contract: str, method: str, args: Mapping[str, Any] | None, *, proven: bool
    ) -> pb.QueryReply:
        try:
            encoded = msgspec.msgpack.encode(dict(args)) if args else b""
        except OverflowError as error:
            raise RefusedError("out-of-range", f"{contract}.{method}: an integer beyond 64 bits") from error
        request = pb.QueryRequest(contract=contract, method=method, args=encoded, proven=proven)
        return await self._ask_in_turn(lambda stub: stub.Query(request, timeout=CALL_TIMEOUT_S))

    async def _ask_in_turn(
        self,
        call: "Callable[[pb_grpc.GatewayAsyncStub], Awaitable[T]]",
        failures: list[str] | None = None,
        patience: Patience | None = None,
    ) -> T:
        """``_ask``, and again when the node says: it gives nobody all of its time, nor all of its room. ``patience``:
        what is left for the request, if this is a part of one."""
        patience = patience or Patience(CALL_TIMEOUT_S)
        while True:
            try:
                return await self._ask(call, failures)
            except NotNowError as error:
                if error.code not in COME_AGAIN:
                    raise
                await patience.wait(error)

    async def _ask(
        self, call: "Callable[[pb_grpc.GatewayAsyncStub], Awaitable[T]]", failures: list[str] | None = None
    ) -> T:
        """One call, at the first node that answers; ``failures`` collects what those said that did not."""
        failures = [] if failures is None else failures
        start, absent, foreign = self._current, None, False
        for offset in range(len(self._targets)):
            index = (start + offset) % len(self._targets)
            target = self._targets[index]
            try:
                reply = await target.asked(call)
            except RefusedError as error:
                if error.code == "below-base":  # it began later than this block: another may have it
                    absent = error
                elif error.code == UNTRUSTED:
                    foreign = True
                elif error.code not in _SILENT:
                    self._current = index
                    raise
                failures.append(f"{target.address} {words_of(error)}")
            else:
                self._current = index
                return reply
        raise absent or RefusedError(UNTRUSTED if foreign else UNREACHABLE, "; ".join(failures))


def _passed_on(code: str, failures: Sequence[str]) -> str:
    """ "ok" for what is there already if a node was asked before that did not answer: it had passed it on."""
    return "ok" if failures and code in ("duplicate", "nonce-used") else code


def words_of(error: RefusedError) -> str:
    """What people read of a node that could not be asked."""
    if error.code == UNREACHABLE and "failed to connect" in error.message and "Socket closed" in error.message:
        return "closes every connection: if it is behind TLS, --ca names the file of who vouches for it"
    return _SILENT.get(error.code, error.message)


def addresses_in(texts: Iterable[str]) -> list[str]:
    """The addresses HOST:PORT in ``texts``, each of which may hold several between spaces.

    Raises RefusedError("bad-address") for one that is none, or if there is none at all.
    """
    addresses = [address for text in texts for address in text.split()]
    if not addresses:
        raise RefusedError("bad-address", "no gateway address is given")
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) <= MAX_PORT):
            raise RefusedError("bad-address", f"{address[:80]!r} is not HOST:PORT with a port from 1 to {MAX_PORT}")
    return addresses


def run(
    targets: str | Sequence[str],
    use: Callable[[Client], Awaitable[T]],
    reader: Signer | None = None,
    roots: bytes | None = None,
) -> T:
    """For synchronous callers: open a client, await ``use(client)``, close it."""

    async def main() -> T:
        async with Client(targets, reader, roots) as client:
            return await use(client)

    return asyncio.run(main())
