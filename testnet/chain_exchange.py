"""The exchange of real nodes, as a study sees it: the same calls as for the contracts in this process.

Transactions are signed with the callers' keys and handed in through all gateways in turn, a key's own through one, so
that their order stays; what came of them is read from the blocks, which one subscription brings, none left out. Block
time is the nodes': it follows the clock, ``time_scale`` times as fast, and waits for nobody. ``now`` is the moment that
was last waited for: decisions are made *for* it, in this process and on nodes alike, and how much later than that the
blocks were is measured (``Lateness``). Only what is in a block behind the auction that it was meant for, a *missed*
one, may come out otherwise than in a process that needs no time.
"""

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

from broker.exchange import Answer, Call
from chaincode.contract import Event, Value
from chaincode.market_products import Settings
from node.errors import RefusedError
from node.gateway.client import BlockEvents, Client, digest_of, tx_id_of
from node.gateway.patience import COME_AGAIN
from node.limits import MEMPOOL_PER_SENDER
from node.model.genesis import Genesis
from node.model.keys import Signer, SigningKey
from node.model.transaction import sign_transaction
from testnet.sender import Clock

T = TypeVar("T")

VALID_REAL_S: Final = 60
"""After so many real seconds a transaction that is in no block is void."""
WAIT_S: Final = 60.0
PAUSE_S: Final = 0.05
"""Before what a node was too full for comes again."""
QUIET_S: Final = 0.4
"""Of real time: if nothing is due in the contracts' calendar, no block comes, and nobody need wait for one longer."""
CLOSING_S: Final = 0.1
"""gRPC tells the loop of its connections' ends a moment later."""
AT_ONCE: Final = MEMPOOL_PER_SENDER // 2
"""Transactions of one key under way."""


class Lateness(NamedTuple):
    """Real milliseconds. ``answers_ms``: from handing in a group of transactions until a block has the last;
    ``spare_ms``: how long that block was before the auction that they were for (negative: after it), of groups with
    orders."""

    answers_ms: tuple[int, ...]
    spare_ms: tuple[int, ...]

    @property
    def missed(self) -> int:
        """Groups with orders that were later than the auction that they were for."""
        return sum(ms <= 0 for ms in self.spare_ms)


class Traffic(NamedTuple):
    """What the blocks held since the exchange was opened; ``busiest``: most transactions in one real second."""

    blocks: int
    codes: dict[str, int]
    seconds: float
    busiest: int

    @property
    def transactions(self) -> int:
        """All of them."""
        return sum(self.codes.values())


class ChainExchange:
    """An ``Exchange`` over the nodes behind ``gateways``. Use as a context; ``keys``: by their public key; ``reader``:
    one that may see everything.

    Raises RefusedError from every call if no node answers ("unreachable"), or no block has a transaction after WAIT_S
    ("timed-out").
    """

    def __init__(
        self, genesis: Genesis, gateways: Sequence[str], keys: Mapping[bytes, SigningKey], reader: Signer
    ) -> None:
        self._genesis = genesis
        self._reader = reader
        self._clock = Clock(genesis)
        self._keys = keys
        self._gateways = list(gateways)
        self._nonces: Counter[bytes] = Counter()
        self._turn = 0
        self._now = self._clock.now()
        self._answers: list[int] = []
        self._spare: list[int] = []
        self._inbox = _Inbox()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chain-exchange", daemon=True)
        self._clients: list[Client] = []
        self._following: asyncio.Task[None] | None = None
        self._rules: Settings

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._connect())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def now(self) -> int:
        """The block time that was last waited for, s."""
        return self._now

    @property
    def lateness(self) -> Lateness:
        """So far."""
        return Lateness(tuple(self._answers), tuple(self._spare))

    @property
    def traffic(self) -> Traffic:
        """So far."""
        return self._inbox.traffic()

    def submit(self, calls: Sequence[Call]) -> list[Answer]:
        """Have all calls done, each key's in their order, in as many blocks as it takes."""
        return [answer for group in _groups(calls) for answer in self._run(self._submit(group))]

    def advance(self, time: int) -> list[Event]:
        """Wait until block time ``time`` is reached, and what was due by then has happened."""
        return self._run(self._advance(time))

    def query(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        """Ask the node that sends the blocks: it has all that were seen."""
        return self._run(self._clients[0].query(contract, method, args))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Have it done in the thread that talks to the nodes."""
        if self._following is not None and self._following.done():
            work.close()
            self._following.result()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _connect(self) -> None:
        orders = (self._gateways[index:] + self._gateways[:index] for index in range(len(self._gateways)))
        self._clients = [Client(order, self._reader) for order in orders]
        match await self._clients[0].query("rules", "history"):
            case ((_, _, _, None, tuple(fields)), *_) if len(fields) == len(Settings._fields):
                self._rules = Settings(*fields)  # type: ignore[arg-type]
            case other:
                raise RefusedError("bad-answer", f"the market's rules are {other!r}")
        height = (await self._clients[0].node_info()).height
        self._following = asyncio.create_task(self._follow(height + 1))

    async def _close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        for client in self._clients:
            await client.close()
        await self._loop.shutdown_asyncgens()
        await asyncio.sleep(CLOSING_S)

    async def _follow(self, height: int) -> None:
        async for block in self._clients[0].subscribe(height):
            await self._inbox.put(block)

    async def _advance(self, due: int) -> list[Event]:
        if due > self._now:
            await self._clock.reach(due)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._inbox.reached(due), QUIET_S)
            self._now = due
        return self._inbox.take()

    async def _submit(self, calls: Sequence[Call]) -> list[Answer]:
        begun = time.monotonic()
        raws = [self._sign(call) for call in calls]
        shares: defaultdict[int, list[bytes]] = defaultdict(list)
        self._turn += 1
        for call, raw in zip(calls, raws, strict=True):
            shares[(call.key[0] + self._turn) % len(self._clients)].append(raw)
        refused: dict[bytes, str] = {}
        for part in await asyncio.gather(*(self._hand_in(index, share) for index, share in shares.items())):
            refused |= part
        awaited = {digest_of(raw) for raw in raws if tx_id_of(raw) not in refused}
        try:
            last = await asyncio.wait_for(self._inbox.arrived(awaited), WAIT_S)
        except TimeoutError as error:
            raise RefusedError("timed-out", f"a transaction is in no block after {WAIT_S:g} s") from error
        self._answers.append(_ms_since(begun))
        if any(call.contract == "market" for call in calls):
            self._spare.append(round(1000 * (self._next_auction() - last) / self._genesis.time_scale))
        return list(await asyncio.gather(*(self._answer(turn, raw, refused) for turn, raw in enumerate(raws))))

    def _sign(self, call: Call) -> bytes:
        self._nonces[call.key] += 1
        not_after = self._clock.now() + VALID_REAL_S * self._genesis.time_scale
        nonce, args = self._nonces[call.key], dict(call.args)
        key = self._keys[call.key]
        return sign_transaction(key, self._genesis.chain, nonce, call.contract, call.method, args, not_after).raw

    async def _hand_in(self, index: int, raws: list[bytes]) -> dict[bytes, str]:
        """Through one gateway; those that it refuses for good, by their code."""
        refused: dict[bytes, str] = {}
        deadline = time.monotonic() + WAIT_S
        while raws:
            answers = await self._clients[index].submit_many(raws)
            is_over = time.monotonic() > deadline
            again = []
            for raw, (tx_id, code) in zip(raws, answers, strict=True):
                if code in COME_AGAIN and not is_over:
                    again.append(raw)
                elif code not in ("ok", "duplicate"):
                    refused[tx_id] = code
            raws = again
            if raws:
                await asyncio.sleep(PAUSE_S)
        return refused

    async def _answer(self, turn: int, raw: bytes, refused: Mapping[bytes, str]) -> Answer:
        """What a call came to: its result is not in the block, and asked for."""
        tx_id = tx_id_of(raw)
        code = refused.get(tx_id) or self._inbox.code(digest_of(raw))
        if code != "ok":
            return Answer(code, None)
        others = self._clients[1:] or self._clients
        status = await others[turn % len(others)].wait(tx_id, WAIT_S)
        return Answer(status.code, status.result)

    def _next_auction(self) -> int:
        """The first tick or gate after ``now``."""
        slot_s, tick_s, before_s = self._rules.slot_seconds, self._rules.tick_s, self._rules.gate_before_end_s
        gate = (self._now + before_s) // slot_s * slot_s + slot_s - before_s
        return min(gate, self._now // tick_s * tick_s + tick_s) if tick_s else self._now + 1


class _Inbox:
    """The blocks that the subscription brings: events until they are taken, codes until they are asked for. All of it
    happens in one thread."""

    def __init__(self) -> None:
        self._time = 0
        self._events: list[Event] = []
        self._codes: dict[bytes, tuple[str, int]] = {}
        self._news = asyncio.Condition()
        self._counts: Counter[str] = Counter()
        self._seconds: Counter[int] = Counter()
        self._begun = time.monotonic()
        self._blocks = 0

    async def put(self, block: BlockEvents) -> None:
        """The next block."""
        self._blocks += 1
        self._time = block.time
        self._events += block.events
        self._counts.update(code for _, code in block.results)
        self._seconds[int(time.monotonic() - self._begun)] += len(block.results)
        self._codes.update((digest, (code, block.time)) for digest, code in block.results)
        async with self._news:
            self._news.notify_all()

    async def reached(self, due: int) -> None:
        """Wait for a block of block time ``due`` or later."""
        async with self._news:
            await self._news.wait_for(lambda: self._time >= due)

    async def arrived(self, digests: Set[bytes]) -> int:
        """Wait until blocks have all of them; the last one's block time, 0 of none."""
        async with self._news:
            await self._news.wait_for(lambda: digests <= self._codes.keys())
        return max((self._codes[digest][1] for digest in digests), default=0)

    def code(self, digest: bytes) -> str:
        """What became of a transaction that has arrived."""
        return self._codes.pop(digest)[0]

    def take(self) -> list[Event]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events

    def traffic(self) -> Traffic:
        """So far."""
        busiest = max(self._seconds.values(), default=0)
        return Traffic(self._blocks, dict(self._counts), round(time.monotonic() - self._begun, 1), busiest)


def _groups(calls: Sequence[Call]) -> Iterator[list[Call]]:
    """The calls in their order, so many at a time that no key has more than AT_ONCE under way."""
    group: list[Call] = []
    turns: Counter[bytes] = Counter()
    for call in calls:
        if turns[call.key] == AT_ONCE:
            yield group
            group, turns = [], Counter()
        group.append(call)
        turns[call.key] += 1
    if group:
        yield group


def _ms_since(begun: float) -> int:
    return round(1000 * (time.monotonic() - begun))
