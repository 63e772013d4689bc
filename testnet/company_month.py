"""The company's month as it passes: meters are read every hour, orders are placed every evening, and in the middle the
company looks at its budgets.

The devices do what the data say; nobody curtails anything. At the end of each slot every meter signs a reading, and the
aggregator hands them in, as many to a transaction as go in. Every evening the shops with panels offer half of what
their panels gave at this hour on average, and the first charger of every shop buys what it took on average, both for
the next day from ``TRADED`` on.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from chaincode.budget_closed import CLOSED
from chaincode.market_trading import MIN_ORDER_WH
from chaincode.settlement_metering import MAX_COLLECTED_ROWS
from cli.answers import as_rows
from node.errors import RefusedError
from testnet.company_data import HOURS
from testnet.company_plan import CHARGERS, LIGHTING, DevicePlan, NetworkPlan
from testnet.company_setup import Agreed, Decisions
from testnet.company_world import (
    AGGREGATOR,
    DAY_S,
    DISPUTE_S,
    MEMBER,
    METERING_S,
    SLOT_S,
    Meter,
    World,
    meter_of,
    owner_of,
    start_s,
)
from testnet.sender import POLL_S, WAIT_S, Clock, Sender

TRADED: Final = range(9, 17)
"""Hours of the day in which shops trade with one another."""
ORDERED_AT_S: Final = 20 * 3_600
"""In the evening, of the second of the day."""
SOLD_PERMILLE: Final = 500
ASKED: Final = 450_000
BID: Final = 900_000
"""Base units per Wh, between feed-in and retail."""
LATE_S: Final = METERING_S // 2
"""Readings that are later than this may soon be too late."""


class Tick(NamedTuple):
    """Where the month stands: block time, height, readings handed in."""

    time: int
    height: int
    readings: int


class Lived(NamedTuple):
    """What was handed in. ``late_s``: how much later than due, at most, in seconds of block time."""

    agreed: Agreed
    readings: int
    orders: int
    late_s: int


class Month:
    """One month of ``world``."""

    def __init__(self, world: World, sender: Sender, tell: Callable[[Tick], None]) -> None:
        self._world = world
        self._clock = Clock(world.network.genesis)
        self._sender = sender
        self._decisions = Decisions(world, sender)
        self._tell = tell
        self._readings = self._orders = self._late_s = 0

    async def run(self) -> Lived:
        """Prepare, live, and wait until every network's period is closed.

        Raises RefusedError: "too-slow" if the machine cannot keep up, and what ends a decision.
        """
        agreed = await self._decisions.prepare()
        if self._clock.now() > start_s():
            raise RefusedError("too-slow", "the month began before all was prepared: say more --day-seconds")
        telling = asyncio.create_task(self._watch())
        try:
            await asyncio.gather(self._read_meters(), self._place_orders(), self._react(agreed))
            await self._sender.arrived()
            await self._closed(agreed.period)
            await self._decisions.begin_next(agreed)
        finally:
            telling.cancel()
        return Lived(agreed, self._readings, self._orders, self._late_s)

    async def _read_meters(self) -> None:
        """One reading of every device for every slot."""
        chain, keys = self._world.network.genesis.chain, self._world.keys
        meters = [
            Meter(device, keys[meter_of(network)], chain)
            for network in self._world.company.all_networks
            for device in network.devices
        ]
        for index, slot in enumerate(range(self._world.first_slot, self._world.end_slot)):
            await self._reach((slot + 1) * SLOT_S)
            rows = [meter.read(slot, index) for meter in meters]
            for first in range(0, len(rows), MAX_COLLECTED_ROWS):
                some = {"rows": tuple(rows[first : first + MAX_COLLECTED_ROWS])}
                sign = partial(self._sender.sign, keys[AGGREGATOR], "settlement", "collect", some)
                await self._sender.hand_in("readings", sign(), sign)
            self._readings += len(rows)

    async def _place_orders(self) -> None:
        """Every evening but the last, beginning on the eve of the month."""
        for day in range(self._world.company.days):
            await self._reach(start_s() + (day - 1) * DAY_S + ORDERED_AT_S, is_due=day > 0)
            for network in self._world.company.networks:
                for device in traders(network):
                    orders = orders_of(device, self._world.first_slot, day)
                    self._orders += len(orders)
                    args = {"device": device.id, "orders": orders}
                    raw = self._sender.sign(self._world.keys[owner_of(network)], "market", "place_many", args)
                    await self._sender.hand_in("orders", raw)

    async def _react(self, agreed: Agreed) -> None:
        await self._reach(start_s() + self._world.company.days // 2 * DAY_S)  # midnight; a single day's is its first
        await self._decisions.react(agreed)

    async def _reach(self, due: int, *, is_due: bool = True) -> None:
        """Wait until block time ``due``. Raises RefusedError("too-slow") if it was too long ago."""
        await self._clock.reach(due)
        if is_due:
            self._late_s = max(self._late_s, self._clock.now() - due)
            if self._late_s > LATE_S:
                raise RefusedError("too-slow", "the nodes cannot keep up with the month: say more --day-seconds")

    async def _watch(self) -> None:
        client = self._sender.clients[0]
        while True:
            info = await client.node_info()
            self._tell(Tick(info.head_time, info.height, self._readings))
            await asyncio.sleep(1.0)

    async def _closed(self, period: int) -> None:
        """Wait until the period is closed everywhere. Raises RefusedError("not-closed") if that takes too long."""
        last = self._world.end_slot * SLOT_S + METERING_S + DISPUTE_S
        deadline = None
        waiting = [MEMBER, *(network.id for network in self._world.company.all_networks)]
        while waiting:
            waiting = [name for name in waiting if await self._status(name, period) != CLOSED]
            if deadline is None and self._clock.now() > last:
                deadline = time.monotonic() + WAIT_S
            if deadline is not None and time.monotonic() > deadline:
                raise RefusedError("not-closed", f"the period of {', '.join(waiting)} is not closed")
            await asyncio.sleep(5 * POLL_S)

    async def _status(self, name: str, period: int) -> Any:
        """Of a network's or the company's period."""
        query = self._sender.clients[0].query
        if name == MEMBER:
            return as_rows(await query("companies", "company", {"member": name, "period": period}))[0]
        return as_rows(await query("periods", "period", {"network": name, "period": period}))[0]


def orders_of(device: DevicePlan, first_slot: int, day: int) -> tuple[tuple[Any, ...], ...]:
    """What a device orders for day ``day`` of the period, as ``market.place_many`` takes it."""
    orders = []
    for hour in TRADED:
        before = device.before_wh[hour::HOURS]
        wh = sum(before) // len(before)
        slot = first_slot + day * HOURS + hour
        if wh < 0:
            order = "sell", slot, -wh * SOLD_PERMILLE // 1000, ASKED, "gate", True, b""
        else:
            order = "buy", slot, wh, BID, "gate", False, b""
        if order[2] >= MIN_ORDER_WH:
            orders.append(order)
    return tuple(orders)


def traders(network: NetworkPlan) -> list[DevicePlan]:
    """Which of a network's devices trade: panels, and the first charger."""
    if network.kind == LIGHTING:
        return [device for device in network.devices if device.kind == "pv"]
    return [network.devices[0]] if network.kind == CHARGERS else []
