"""What the homes of ``bench/community.py`` do while block time runs: place orders, and have their meters read.

Once a day each home places its orders, one transaction. At the end of each slot every meter signs a reading; the
collector hands them all in, as many to a transaction as go in. Everything handed in is followed into its block.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

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
from node.limits import MEMPOOL_PER_SENDER
from testnet.sender import POLL_S, WAIT_S, Clock, Sender

FUNDED_AT_ONCE: Final = MEMPOOL_PER_SENDER // 2


class Tally:
    """What was handed in and what became of it. ``late_s``: how much later than due in block time, at most;
    ``is_settled``: whether the last slot was settled a minute after its metering window."""

    def __init__(self) -> None:
        self.orders = 0
        self.readings = 0
        self.late_s = 0
        self.is_settled = False


class Load:
    """One run over ``world``. All of it happens in ``run``."""

    def __init__(self, world: World, clock: Clock, gateways: Sequence[str]) -> None:
        self.tally = Tally()
        self.sender = Sender(clock, gateways, collector_key())
        self._world = world
        self._clock = clock
        self._meters = [Meter(world, home, clock.genesis.chain) for home in world.homes]

    async def run(self) -> None:
        """Issue the budgets, wait for the first midnight, live the days, and wait until the last slot is settled."""
        try:
            await self._fund()
            await asyncio.gather(self._read_meters(), self._place_orders())
            await self.sender.arrived()
            self.tally.is_settled = await self._settled(self._world.end_slot - 1)
        finally:
            await self.sender.close()

    async def _fund(self) -> None:
        """Give every home its budget. What fails here shows as refused orders."""
        period, homes = self._world.period, self._world.homes
        for first in range(0, len(homes), FUNDED_AT_ONCE):
            some = homes[first : first + FUNDED_AT_ONCE]
            issues = [{"network": home.name, "period": period, "amount": BUDGET, "reference": b"week"} for home in some]
            raws = [self.sender.sign(utility_key(), "budget", "issue", issue) for issue in issues]
            await self.sender.all("fund", raws)
            shares = [{"network": home.name, "period": period, "amounts": ((home.device, BUDGET),)} for home in some]
            signed = zip(some, shares, strict=True)
            raws = [self.sender.sign(home.key, "budget", "allocate", share) for home, share in signed]
            await self.sender.all("fund", raws)

    async def _place_orders(self) -> None:
        for day in range(self._world.days):
            for home in self._world.homes:
                due = self._world.start + day * DAY_S + home.plans_s
                await self._clock.reach(due)
                self._note_late(due)
                orders = orders_of(self._world, home, due)
                if orders:
                    self.tally.orders += len(orders)
                    raw = self.sender.sign(home.key, "market", "place_many", {"device": home.device, "orders": orders})
                    await self.sender.hand_in("orders", raw)

    async def _read_meters(self) -> None:
        for slot in range(await self._first_product(), self._world.end_slot):
            ends = (slot + 1) * SLOT_S
            await self._clock.reach(ends)
            self._note_late(ends)
            rows = [meter.read(slot) for meter in self._meters]
            self.tally.readings += len(rows)
            for first in range(0, len(rows), MAX_COLLECTED_ROWS):
                some = tuple(rows[first : first + MAX_COLLECTED_ROWS])
                raw = self.sender.sign(collector_key(), "settlement", "collect", {"rows": some})
                await self.sender.hand_in("readings", raw)

    async def _first_product(self) -> int:
        """The first slot that the chain has a product of. Raises RefusedError("too-slow") if the days begin earlier."""
        while not (rows := as_rows(await self.sender.clients[0].query("market", "products"))):
            await asyncio.sleep(POLL_S)
        slots: list[int] = [record(row, PRODUCT)["slot"] for row in rows]
        if min(slots) > self._world.start // SLOT_S:
            raise RefusedError("too-slow", "the nodes had not started when the first day began: is the machine busy?")
        return min(slots)

    async def _settled(self, slot: int) -> bool:
        """Wait until ``slot`` is settled; False if that takes a minute too long."""
        client, deadline = self.sender.clients[0], None
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
