"""A steady trickle of transactions, and when the blocks with them come back: the pulse of a network that suffers."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from types import TracebackType
from typing import Final, Protocol, Self

from bench import market
from node.errors import RefusedError
from node.gateway.client import Client
from node.model.transaction import Transaction, sign_transaction
from testnet.genesis import Network

PER_SECOND: Final = 50
"""Little enough that no machine is busy with it, often enough that a block comes every 20 ms."""
STEADY_S: Final = 0.5
STEADY_COMMITS: Final = 5
PATIENCE_S: Final = 60.0
RETRY_S: Final = 0.02


class Source(Protocol):
    """Where a pulse's transactions come from."""

    def next(self) -> Transaction:
        """The next one, signed."""
        ...


class Orders:
    """Orders of all devices in turn, each nonce once."""

    def __init__(self, network: Network, now: int) -> None:
        self._chain = network.genesis.chain
        self._traders = market.traders()
        self._slots = market.order_slots(now)
        self._random = Random(1)
        self._count = 0

    def next(self) -> Transaction:
        """The next order."""
        trader = self._traders[self._count % len(self._traders)]
        nonce = self._count // len(self._traders) + 1
        self._count += 1
        args = {
            "device": trader.device,
            "energy_wh": self._random.randint(100, 3000),
            "price": self._random.randint(market.FEED_IN, market.RETAIL),
            "side": trader.side,
            "slot": self._random.randint(*self._slots),
        }
        return sign_transaction(trader.key, self._chain, nonce, "market", "place", args, market.not_after())


class Vain:
    """Cancellations of orders that nobody placed, of all devices in turn: they are verified, ordered, executed and
    refused, and leave the state as large as it was. Whatever grows under them is a leak."""

    def __init__(self, network: Network) -> None:
        self._chain = network.genesis.chain
        self._traders = market.traders()
        self._count = 0

    def next(self) -> Transaction:
        """The next cancellation."""
        trader = self._traders[self._count % len(self._traders)]
        nonce = self._count // len(self._traders) + 1
        self._count += 1
        args = {"order": self._count.to_bytes(32, "big")}
        return sign_transaction(trader.key, self._chain, nonce, "market", "cancel", args, market.not_after())


class Pulse:
    """Use as ``async with Pulse(source, gateways) as pulse``: sends and listens. Times: ``time.monotonic``."""

    def __init__(self, source: Source, gateways: Sequence[str]) -> None:
        self._source = source
        self._gateways = gateways
        self._tasks: list[asyncio.Task[None]] = []
        self._sent_at: dict[bytes, float] = {}
        self.commits: list[float] = []
        """When each block with transactions in it came back."""
        self.latencies_ms: list[float] = []
        """From a transaction's submission to its block, of all so far."""

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._follow())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def steady(self, since: float) -> None:
        """Wait until blocks have come for STEADY_S after ``since`` as they do in good times. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for task in self._tasks:
                    if task.done():
                        task.result()
                start = max(since, time.monotonic() - STEADY_S)
                if time.monotonic() - since > STEADY_S and sum(t > start for t in self.commits) >= STEADY_COMMITS:
                    return
                await asyncio.sleep(0.05)

    def longest_pause(self, since: float) -> float:
        """The longest time without a commit, beginning with the last one before ``since``; in seconds."""
        before = [t for t in self.commits if t <= since]
        times = [before[-1] if before else since, *(t for t in self.commits if t > since)]
        return max(later - earlier for earlier, later in pairwise(times))

    def first_after(self, since: float) -> float:
        """How long after ``since`` the first block with transactions came, in seconds."""
        return next(t for t in self.commits if t > since) - since

    async def _send(self) -> None:
        async with Client(self._gateways) as client:
            while True:
                began = time.monotonic()
                tx = self._source.next()
                self._sent_at[tx.digest] = began
                with contextlib.suppress(RefusedError):  # full, or nobody answers just now: the next comes soon
                    await client.submit(tx.raw)
                await asyncio.sleep(max(0.0, 1 / PER_SECOND - (time.monotonic() - began)))

    async def _follow(self) -> None:
        async with Client(self._gateways) as client:
            while True:
                with contextlib.suppress(RefusedError):  # nobody answers just now
                    async for block in client.subscribe():
                        if block.results:
                            self._note(time.monotonic(), [digest for digest, _ in block.results])
                await asyncio.sleep(RETRY_S)

    def _note(self, now: float, digests: Sequence[bytes]) -> None:
        self.commits.append(now)
        for digest in digests:
            sent_at = self._sent_at.pop(digest, None)
            if sent_at is not None:
                self.latencies_ms.append((now - sent_at) * 1000)
