"""What follows from commits: subscriptions, and calls that wait for one transaction.

A subscriber is a cursor, not a queue: it reads block after block from the ledger at its own pace, so it misses
nothing and costs no memory however slow it is. Newest blocks are encoded once for all.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence

from chaincode.contract import Event
from node.errors import RefusedError
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.limits import MAX_STATUS_WAITERS, MAX_SUBSCRIBERS
from node.model.block import Header
from node.model.codec import pack
from node.model.receipt import Receipt
from protos import gateway_pb2 as pb

ENCODED_BLOCKS = 64
"""How many of the newest blocks are kept encoded for subscribers."""


class Feed:
    """``committed`` is told of every block, in order, after it is stored."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._encoded: OrderedDict[int, bytes] = OrderedDict()
        self._news = asyncio.Event()
        self._subscribers = 0
        self._waiters: dict[bytes, list[asyncio.Future[None]]] = {}
        self._waiting = 0

    def committed(self, execution: Execution) -> None:
        """A block is stored."""
        if self._subscribers:
            header = execution.block.header
            self._keep(header.height, encode_block_events(header, execution.receipts, execution.events))
        if self._waiters:
            for receipt in execution.receipts:
                for waiter in self._waiters.pop(receipt.tx_id, ()):
                    if not waiter.done():
                        waiter.set_result(None)
        self._news.set()
        self._news = asyncio.Event()

    async def wait_committed(self, tx_id: bytes, timeout_s: float) -> None:
        """Returns when a block holds the transaction or the time is over. Raises RefusedError("too-many-waiters")."""
        if self._waiting >= MAX_STATUS_WAITERS:
            raise RefusedError("too-many-waiters", f"{MAX_STATUS_WAITERS} calls wait for a transaction already")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(tx_id, []).append(waiter)
        self._waiting += 1
        try:
            await asyncio.wait((waiter,), timeout=timeout_s)
        finally:
            self._waiting -= 1
            others = self._waiters.get(tx_id)
            if others is not None and waiter in others:
                others.remove(waiter)
                if not others:
                    del self._waiters[tx_id]

    async def blocks(self, first: int) -> AsyncIterator[bytes]:
        """Encoded BlockEvents from height ``first`` on, without end. Raises RefusedError("too-many-subscribers")."""
        if self._subscribers >= MAX_SUBSCRIBERS:
            raise RefusedError("too-many-subscribers", f"this node serves {MAX_SUBSCRIBERS} at most")
        self._subscribers += 1
        try:
            height = first
            while True:
                news = self._news
                while height <= self._ledger.head.height:
                    yield self._block(height)
                    height += 1
                await news.wait()
        finally:
            self._subscribers -= 1

    def _block(self, height: int) -> bytes:
        encoded = self._encoded.get(height)
        if encoded is None:
            block = self._ledger.block(height)
            assert block is not None  # not above the head
            encoded = encode_block_events(block.header, self._ledger.receipts(height), self._ledger.events(height))
            if height + ENCODED_BLOCKS > self._ledger.head.height:
                self._keep(height, encoded)
        return encoded

    def _keep(self, height: int, encoded: bytes) -> None:
        self._encoded[height] = encoded
        while len(self._encoded) > ENCODED_BLOCKS:
            self._encoded.popitem(last=False)


def encode_block_events(header: Header, receipts: Sequence[Receipt], events: Sequence[Event]) -> bytes:
    """The BlockEvents of a block."""
    block = pb.BlockEvents(
        height=header.height,
        time=header.time,
        hash=header.hash,
        transaction_ids=b"".join([receipt.tx_id for receipt in receipts]),
        failed=[pb.Refusal(index=i, code=receipt.code) for i, receipt in enumerate(receipts) if receipt.code != "ok"],
    )
    add = block.events.add  # messages made where they belong: none is copied
    for event in events:
        add(contract=event.contract, topic=event.topic, keys=event.keys, data=pack(event.data))
    return block.SerializeToString()
