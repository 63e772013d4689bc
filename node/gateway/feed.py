"""What follows from commits: subscriptions, and calls that wait for one transaction.

A subscriber is a cursor, not a queue: it reads block after block from the ledger at its own pace, so it misses
nothing and costs no memory however slow it is. Newest blocks are encoded once for all who see the same of them
(``telling.py``).

Who follows blocks holds a place until it ends. Those of whom nothing is known have half of the places, and share them
by address; the others by their keys: strangers keep nobody out who is known here.
"""

import asyncio
import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator

from node.errors import RefusedError
from node.gateway.access import Access
from node.gateway.places import Shares
from node.gateway.telling import Told
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.limits import MAX_STATUS_WAITERS, MAX_STRANGERS_FOLLOWING, MAX_SUBSCRIBERS
from node.model.read import FOLLOWED_S

TOLD_BLOCKS = 64
"""How many of the newest blocks are kept as they are told to subscribers."""


class Feed:
    """``committed`` is told of every block, in order, after it is stored."""

    def __init__(self, ledger: Ledger, access: Access) -> None:
        self._ledger = ledger
        self._access = access
        self._told: OrderedDict[int, Told] = OrderedDict()
        self._news = asyncio.Event()
        self._following = Shares(MAX_SUBSCRIBERS)
        self._strangers = Shares(MAX_STRANGERS_FOLLOWING)
        self._waiters: dict[bytes, list[asyncio.Future[None]]] = {}
        self._waiting = 0

    def committed(self, execution: Execution) -> None:
        """A block is stored."""
        self._access.committed(execution.changes)
        if self._following.used:
            self._keep(Told(execution.block, execution.receipts, execution.events))
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

    async def blocks(
        self, first: int, reader: bytes, address: str, signed_for_s: float = FOLLOWED_S
    ) -> AsyncIterator[bytes]:
        """Encoded BlockEvents from height ``first`` on: of each as much as ``reader``, the key that signed or b"", may
        see when it is told; ``address``: where it is asked from. Without end if nobody signed, else for so long. Raises
        RefusedError("too-many-subscribers")."""
        is_known = self._access.is_somebody(reader)
        who = reader.hex() if is_known else address
        shares = (self._following,) if is_known else (self._following, self._strangers)
        if not all(share.has_room(who) for share in shares):
            text = f"{self._following.used} follow this node's blocks, {self._following.of(who)} of them from here"
            raise RefusedError("too-many-subscribers", text)
        for share in shares:
            share.take(who)
        ends = time.monotonic() + signed_for_s if reader else math.inf
        try:
            height = first
            while time.monotonic() < ends:
                news = self._news
                if height <= self._ledger.head.height:
                    yield self._block(height).to(reader, self._access)
                    height += 1
                elif reader:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(news.wait(), ends - time.monotonic())
                else:
                    await news.wait()
        finally:
            for share in shares:
                share.leave(who)

    def _block(self, height: int) -> Told:
        told = self._told.get(height)
        if told is None:
            block = self._ledger.block(height)
            assert block is not None  # not above the head
            told = Told(block, self._ledger.receipts(height), self._ledger.events(height))
            if height + TOLD_BLOCKS > self._ledger.head.height:
                self._keep(told)
        return told

    def _keep(self, told: Told) -> None:
        self._told[told.height] = told
        while len(self._told) > TOLD_BLOCKS:
            self._told.popitem(last=False)
