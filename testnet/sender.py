"""Handing transactions in while block time runs faster than the clock: each is followed into its block.

What a node is too full for comes again; what the rules refuse is counted. At most ``ON_THEIR_WAY`` are under way; above
that, whoever hands in waits.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from node.errors import RefusedError
from node.gateway.client import Client, TxStatus
from node.gateway.codes import NotNowError
from node.gateway.patience import COME_AGAIN
from node.model.genesis import Genesis
from node.model.keys import Signer, SigningKey
from node.model.transaction import sign_transaction

VALID_S: Final = 12 * 3_600
POLL_S: Final = 0.1
FULL_PAUSE_S: Final = 0.2
WAIT_S: Final = 60.0
ON_THEIR_WAY: Final = 1_000

TRIES: Final = 5
_LOST: Final = ("expired", "timed-out", "nonce-used", "nonce-out-of-window")
_COME_AGAIN: Final = (*COME_AGAIN, "nonce-out-of-window")


class Clock(NamedTuple):
    """Block time as the nodes have it, and back: this process reads the same clock."""

    genesis: Genesis

    def now(self) -> int:
        """Block time, s."""
        genesis = self.genesis
        return genesis.time_origin + int((time.time() - genesis.clock_origin) * genesis.time_scale)

    async def reach(self, moment: int) -> None:
        """Wait until block time ``moment``."""
        while self.now() < moment:
            await asyncio.sleep(min(POLL_S, (moment - self.now()) / self.genesis.time_scale))


class Sender:
    """Signs with any key and hands in at several gateways in turn; waits ``wait_s`` real seconds for a block. What came
    of it is read with the key ``reader``.

    ``committed``: transactions that did what they should, by kind; ``refused``: those that did not, by code;
    ``refused_rows``: rows of those that were taken without these, by code.
    """

    def __init__(self, clock: Clock, gateways: Sequence[str], reader: Signer, *, wait_s: float = WAIT_S) -> None:
        self.committed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.refused_rows: Counter[str] = Counter()
        orders = [(gateway, *(other for other in gateways if other != gateway)) for gateway in gateways]
        self.clients = [Client(order, reader) for order in orders]
        self._clock = clock
        self._wait_s = wait_s
        self._turn = 0
        self._nonces: Counter[bytes] = Counter()
        self._under_way: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(ON_THEIR_WAY)

    async def close(self) -> None:
        """Of all clients."""
        for client in self.clients:
            await client.close()

    def sign(self, key: SigningKey, contract: str, method: str, args: dict[str, Any], valid_s: int = VALID_S) -> bytes:
        """The bytes of the key's next transaction, void after ``valid_s`` of block time; nobody else signs with it."""
        self._nonces[key.public_key] += 1
        nonce, not_after = self._nonces[key.public_key], self._clock.now() + valid_s
        return sign_transaction(key, self._clock.genesis.chain, nonce, contract, method, args, not_after).raw

    async def hand_in(self, kind: str, raw: bytes, again: Callable[[], bytes] | None = None) -> None:
        """Hand in, and go on. ``again`` signs anew what may be handed in twice: a busy network may lose a transaction
        until it has expired."""
        await self._room.acquire()
        task = asyncio.create_task(self.settle(kind, raw, again))
        self._under_way.add(task)
        task.add_done_callback(self._arrived)

    async def arrived(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._under_way)

    async def all(self, kind: str, raws: Sequence[bytes]) -> None:
        """Hand in, and wait for all of them."""
        await asyncio.gather(*(self.settle(kind, raw, wait_s=WAIT_S) for raw in raws))

    async def settle(
        self, kind: str, raw: bytes, again: Callable[[], bytes] | None = None, wait_s: float = 0.0
    ) -> None:
        """Hand in, follow into a block, and count what came of it. ``wait_s``: 0 for the sender's own."""
        for _ in range(TRIES if again is not None else 1):
            try:
                status = await self.outcome(raw, wait_s or self._wait_s)
                code = status.code
            except RefusedError as error:
                code = error.code
            if code not in _LOST or again is None:
                break
            raw = again()
        if code != "ok":
            self.refused[f"{kind}: {code}"] += 1
            return
        self.committed[kind] += 1
        if kind == "readings" and isinstance(status.result, tuple):
            self.refused_rows.update(str(row[1]) for row in status.result if isinstance(row, tuple))

    async def outcome(self, raw: bytes, wait_s: float = WAIT_S) -> TxStatus:
        """Hand in, as often as a node is too full, and wait for the block. Raises RefusedError if no node takes it, or
        no block has it in time."""
        self._turn += 1
        client = self.clients[self._turn % len(self.clients)]
        while True:
            try:
                return await client.wait(await client.submit(raw), wait_s)
            except RefusedError as error:
                if error.code not in _COME_AGAIN:
                    raise
                pause_s = error.retry_ms / 1000 if isinstance(error, NotNowError) else FULL_PAUSE_S
            await asyncio.sleep(pause_s)

    def _arrived(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._room.release()
