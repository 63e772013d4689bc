"""What the homes of ``bench/community.py`` do while block time runs: place orders, and have their meters read.

Once a day each home places its orders, one transaction. At the end of each slot every meter signs a reading; the
collector hands them all in, as many to a transaction as go in. Everything handed in is followed into its block.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from bench.community_world import (
    BUDGET,
    DAY_S,
    SLOT_S,
    Meter,
    World,
    collector_key,
    orders_of,
    utility_key,
)
from chaincode.settlement_metering import MAX_COLLECTED_ROWS
from cli.answers import PRODUCT, as_rows, record
from node.errors import RefusedError
from node.gateway.client import Client
from node.limits import MEMPOOL_PER_SENDER
from node.model.genesis import Genesis
from node.model.keys import SigningKey
from node.model.transaction import sign_transaction

VALID_S: Final = 12 * 3_600
POLL_S: Final = 0.1
FULL_PAUSE_S: Final = 0.2
WAIT_S: Final = 60.0
ON_THEIR_WAY: Final = 1_000
"""Transactions that may be under way; above that the homes wait."""
FUNDED_AT_ONCE: Final = MEMPOOL_PER_SENDER // 2

_COME_AGAIN: Final = ("mempool-full", "nonce-out-of-window", "too-fast", "busy")


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


class Tally:
    """What was handed in and what became of it. ``late_s``: how much later than due in block time, at most;
    ``is_settled``: whether the last slot was settled a minute after its metering window."""

    def __init__(self) -> None:
        self.committed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.refused_rows: Counter[str] = Counter()
        self.orders = 0
        self.readings = 0
        self.late_s = 0
        self.is_settled = False


class Load:
    """One run over ``world``. All of it happens in ``run``."""

    def __init__(self, world: World, clock: Clock, gateways: Sequence[str]) -> None:
        self.tally = Tally()
        self._world = world
        self._chain = clock.genesis.chain
        self._clock = clock
        self._clients = [Client((gateway, *(other for other in gateways if other != gateway))) for gateway in gateways]
        self._turn = 0
        self._nonces: Counter[bytes] = Counter()
        self._meters = [Meter(world, home, clock.genesis.chain) for home in world.homes]
        self._under_way: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(ON_THEIR_WAY)

    async def run(self) -> None:
        """Issue the budgets, wait for the first midnight, live the days, and wait until the last slot is settled."""
        try:
            await self._fund()
            await asyncio.gather(self._read_meters(), self._place_orders())
            await asyncio.gather(*self._under_way)
            self.tally.is_settled = await self._settled(self._world.end_slot - 1)
        finally:
            for client in self._clients:
                await client.close()

    async def _fund(self) -> None:
        """Give every home its budget. What fails here shows as refused orders."""
        period, homes = self._world.period, self._world.homes
        for first in range(0, len(homes), FUNDED_AT_ONCE):
            some = homes[first : first + FUNDED_AT_ONCE]
            issues = [{"network": home.name, "period": period, "amount": BUDGET, "reference": b"week"} for home in some]
            await self._all([self._sign(utility_key(), "budget", "issue", issue) for issue in issues])
            shares = [{"network": home.name, "period": period, "amounts": ((home.device, BUDGET),)} for home in some]
            await self._all(
                [self._sign(home.key, "budget", "allocate", share) for home, share in zip(some, shares, strict=True)]
            )

    async def _all(self, raws: list[bytes]) -> None:
        await asyncio.gather(*(self._settle("fund", raw) for raw in raws))

    async def _place_orders(self) -> None:
        for day in range(self._world.days):
            for home in self._world.homes:
                due = self._world.start + day * DAY_S + home.plans_s
                await self._clock.reach(due)
                self._note_late(due)
                orders = orders_of(self._world, home, due)
                if orders:
                    self.tally.orders += len(orders)
                    raw = self._sign(home.key, "market", "place_many", {"device": home.device, "orders": orders})
                    await self._hand_in("orders", raw)

    async def _read_meters(self) -> None:
        for slot in range(await self._first_product(), self._world.end_slot):
            ends = (slot + 1) * SLOT_S
            await self._clock.reach(ends)
            self._note_late(ends)
            rows = [meter.read(slot) for meter in self._meters]
            self.tally.readings += len(rows)
            for first in range(0, len(rows), MAX_COLLECTED_ROWS):
                some = tuple(rows[first : first + MAX_COLLECTED_ROWS])
                raw = self._sign(collector_key(), "settlement", "collect", {"rows": some})
                await self._hand_in("readings", raw)

    def _sign(self, key: SigningKey, contract: str, method: str, args: dict[str, object]) -> bytes:
        self._nonces[key.public_key] += 1
        nonce, not_after = self._nonces[key.public_key], self._clock.now() + VALID_S
        return sign_transaction(key, self._chain, nonce, contract, method, args, not_after).raw

    async def _hand_in(self, kind: str, raw: bytes) -> None:
        await self._room.acquire()
        task = asyncio.create_task(self._settle(kind, raw))
        self._under_way.add(task)
        task.add_done_callback(self._arrived)

    def _arrived(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._room.release()

    async def _settle(self, kind: str, raw: bytes) -> None:
        """Hand in, as often as a node is full, and follow into a block."""
        self._turn += 1
        client = self._clients[self._turn % len(self._clients)]
        try:
            while True:
                try:
                    tx_id = await client.submit(raw)
                    break
                except RefusedError as error:
                    if error.code not in _COME_AGAIN:
                        raise
                    await asyncio.sleep(FULL_PAUSE_S)
            status = await client.wait(tx_id, WAIT_S)
        except RefusedError as error:
            self.tally.refused[error.code] += 1
            return
        if status.code != "ok":
            self.tally.refused[status.code] += 1
            return
        self.tally.committed[kind] += 1
        if kind == "readings" and isinstance(status.result, tuple):
            self.tally.refused_rows.update(str(row[1]) for row in status.result if isinstance(row, tuple))

    async def _first_product(self) -> int:
        """The first slot that the chain has a product of. Raises RefusedError("too-slow") if the days begin earlier."""
        while not (rows := as_rows(await self._clients[0].query("market", "products"))):
            await asyncio.sleep(POLL_S)
        slots: list[int] = [record(row, PRODUCT)["slot"] for row in rows]
        if min(slots) > self._world.start // SLOT_S:
            raise RefusedError("too-slow", "the nodes had not started when the first day began: is the machine busy?")
        return min(slots)

    async def _settled(self, slot: int) -> bool:
        """Wait until ``slot`` is settled; False if that takes a minute too long."""
        client, deadline = self._clients[0], None
        while True:
            match await client.query("market", "product", {"slot": slot}):
                case (
                    _,
                    str(state),
                    *_,
                ) if state in ("SETTLED", "FINAL"):
                    return True
                case (_, _, _, _, _, _, int(metered_by), *_):
                    if deadline is None and self._clock.now() > metered_by:
                        deadline = time.monotonic() + WAIT_S
                case _:
                    raise RefusedError("bad-answer", "the node's answer is no product")
            if deadline is not None and time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_S)

    def _note_late(self, due: int) -> None:
        """Before the first midnight everything is late: the network had to start."""
        if due >= self._world.start:
            self.tally.late_s = max(self.tally.late_s, self._clock.now() - due)
