"""The other end of the gateway: an asynchronous client over one or several nodes.

If a node does not answer, the next is asked; "unreachable": none does. Errors are RefusedErrors with the server's code.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

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
from node.gateway.codes import UNREACHABLE, UNTRUSTED, NotNowError
from node.gateway.nodes import CALL_TIMEOUT_S, Nodes, addresses_in
from node.gateway.patience import COME_AGAIN, Patience
from node.model.codec import Value
from node.model.keys import Signer
from node.model.transaction import digest_of, tx_id_of
from protos import gateway_pb2 as pb

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
]

T = TypeVar("T")

RETRY_PAUSE_S = 0.2


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
        self._nodes = Nodes(addresses, reader, roots, chain)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._nodes.close()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The nodes that may be asked."""
        return self._nodes.addresses

    @property
    def address(self) -> str:
        """The node that answered last, or the one to be asked first."""
        return self._nodes.current.address

    def turn_away(self) -> None:
        """Ask the next node first from now on: the present one answers, but is behind, or silent."""
        self._nodes.turn_away()

    async def submit(self, raw: bytes) -> bytes:
        """Submit one signed transaction; its id. Received means not executed yet: see ``wait``."""
        return (await self.submit_for_receipt(raw))[0]

    async def submit_for_receipt(self, raw: bytes) -> tuple[bytes, Receipt | None]:
        """The same, with the node's signed word that it has the transaction; None if an answer was lost, or the node is
        no member now."""
        request = pb.SubmitRequest(transaction=raw)
        failures: list[str] = []
        try:
            reply = await self._nodes.ask_in_turn(lambda stub: stub.Submit(request, timeout=CALL_TIMEOUT_S), failures)
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
        return await self._nodes.ask_in_turn(
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

        target = self._nodes.current
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
        return (await self._nodes.ask_in_turn(lambda stub: stub.Nonce(request, timeout=CALL_TIMEOUT_S))).highest

    async def block(self, height: int) -> RawBlock:
        """A committed block. Raises RefusedError("no-block")."""
        request = pb.BlockRequest(height=height)
        reply = await self._nodes.ask_in_turn(lambda stub: stub.Block(request, timeout=CALL_TIMEOUT_S))
        return RawBlock(reply.header, reply.body, reply.certificate)

    async def boundaries(self, first: int) -> tuple[bytes, ...]:
        """Encoded boundaries (``node/model/epoch.py``) of epochs from number ``first`` on: some, or none at the end."""
        request = pb.EpochsRequest(first=first)
        return tuple(
            (await self._nodes.ask_in_turn(lambda stub: stub.Epochs(request, timeout=CALL_TIMEOUT_S))).boundaries
        )

    async def node_info(self) -> NodeInfo:
        """Where the node stands."""
        request = pb.NodeInfoRequest()
        return node_info_of(await self._nodes.ask_in_turn(lambda stub: stub.NodeInfo(request, timeout=CALL_TIMEOUT_S)))

    async def subscribe(self, from_height: int | None = None) -> AsyncIterator[BlockEvents]:
        """Every committed block from a height on (None: the next one), none left out and none twice, also across a
        change to another node. Ends only by an error: "unreachable" if no node answers; what passes is waited for as
        with every call, since the last block."""
        next_height, patience = from_height, Patience(CALL_TIMEOUT_S)
        while True:
            try:
                async for block in self._blocks(next_height):
                    next_height, patience = block.height + 1, Patience(CALL_TIMEOUT_S)
                    yield block
            except RefusedError as error:
                behind = error.code == "no-block" and next_height != from_height
                if isinstance(error, NotNowError) and error.code in COME_AGAIN:
                    self.turn_away()
                    await patience.wait(error)
                elif behind or error.code in (UNREACHABLE, UNTRUSTED, "slow-subscriber", "slow-request", "stopping"):
                    await self._find_another(error)
                else:
                    raise

    async def _blocks(self, first: int | None) -> AsyncIterator[BlockEvents]:
        """Until the node ends it, so that it is asked anew, and signed anew."""
        request = pb.SubscribeRequest(from_height=first)
        target, told = self._nodes.current, 0
        call = (await target.stub()).Subscribe(request)
        try:
            async for block in call:
                told += 1
                yield block_events(block)
        except grpc.aio.AioRpcError as error:
            raise target.failed(error) from error
        finally:
            call.cancel()
        if not told:
            raise RefusedError(UNREACHABLE, "the node ended the subscription")

    async def _find_another(self, error: RefusedError) -> None:
        """After a subscription broke: make sure that some node answers, or raise."""
        if error.code != "slow-subscriber":
            self.turn_away()
        await asyncio.sleep(RETRY_PAUSE_S)
        await self.node_info()

    async def _status(self, tx_id: bytes, wait_ms: int) -> TxStatus:
        request = pb.StatusRequest(id=tx_id, wait_ms=wait_ms)
        reply = await self._nodes.ask_in_turn(
            lambda stub: stub.Status(request, timeout=CALL_TIMEOUT_S + wait_ms / 1000)
        )
        return tx_status(reply)

    async def _query(
        self, contract: str, method: str, args: Mapping[str, Any] | None, *, proven: bool
    ) -> pb.QueryReply:
        try:
            encoded = msgspec.msgpack.encode(dict(args)) if args else b""
        except OverflowError as error:
            raise RefusedError("out-of-range", f"{contract}.{method}: an integer beyond 64 bits") from error
        request = pb.QueryRequest(contract=contract, method=method, args=encoded, proven=proven)
        return await self._nodes.ask_in_turn(lambda stub: stub.Query(request, timeout=CALL_TIMEOUT_S))


def _passed_on(code: str, failures: Sequence[str]) -> str:
    """ "ok" for what is there already if a node was asked before that did not answer: it had passed it on."""
    return "ok" if failures and code in ("duplicate", "nonce-used") else code


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
