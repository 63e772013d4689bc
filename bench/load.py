"""A load process: signs its orders first, then drives two gateways as fast as their blocks come back.

Started by ``bench/throughput.py`` as ``python -m bench.load``. One line of JSON comes on stdin (a ``Spec``); when all
is signed it prints ``ready``, waits for a line, runs, and prints a ``Result`` as one line of JSON.

Closed loop: at most ``in_flight`` transactions are on their way; a transaction counts when the block that holds it has
come back on a subscription, which a node sends only once the block's certificate is stored.
"""

import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator, Sequence
from random import Random

import msgspec

from node.gateway.client import Client
from node.model.keys import SigningKey
from node.model.transaction import Transaction, sign_transaction

CHUNK = 50
"""Transactions in one message of a stream."""
FULL_PAUSE_S = 0.05


class Spec(msgspec.Struct, frozen=True):
    """What one load process does. ``devices``: (id, key seed in hex, side). ``per_second``: 0 for as fast as
    ``in_flight`` allows, else an open loop at that rate. Orders lie in slots ``first_slot`` to ``last_slot``.
    ``roots``: those who vouch for the gateways (PEM), empty if these are plain; ``first_nonce``: of each device."""

    gateways: tuple[str, ...]
    chain: str
    devices: tuple[tuple[str, str, str], ...]
    first_slot: int
    last_slot: int
    price_low: int
    price_high: int
    not_after: int
    count: int
    in_flight: int
    per_second: int
    warm_up_s: float
    seconds: float
    seed: int
    roots: str = ""
    first_nonce: int = 1


class Result(msgspec.Struct, frozen=True):
    """``committed``: in the measured window; ``failed``: code to count of those in blocks but refused by the rules;
    ``latencies_ms``: of those committed; ``cpu_s``: this process's own, in the window; ``next_nonce``: above all that
    devices have used."""

    committed: int
    failed: dict[str, int]
    refused: dict[str, int]
    latencies_ms: list[float]
    window_s: float
    cpu_s: float
    next_nonce: int


def sign_orders(spec: Spec) -> list[Transaction]:
    """All orders, signed, the devices in turn."""
    random = Random(spec.seed)
    chain = bytes.fromhex(spec.chain)
    keys = [(device, SigningKey(bytes.fromhex(seed)), side) for device, seed, side in spec.devices]
    orders = []
    for number in range(spec.count):
        device, key, side = keys[number % len(keys)]
        args = {
            "device": device,
            "energy_wh": random.randint(100, 3000),
            "price": random.randint(spec.price_low, spec.price_high),
            "side": side,
            "slot": random.randint(spec.first_slot, spec.last_slot),
        }
        nonce = number // len(keys) + spec.first_nonce
        orders.append(sign_transaction(key, chain, nonce, "market", "place", args, spec.not_after))
    return orders


class Load:
    """One run. Times are of ``time.monotonic``."""

    def __init__(self, spec: Spec, orders: Sequence[Transaction]) -> None:
        self.spec = spec
        self._roots = spec.roots.encode() or None
        self.orders = iter(orders)
        self.used = 0
        self.sent_at: dict[bytes, float] = {}
        self.room = asyncio.Semaphore(spec.in_flight)
        self.measuring = False
        self.stopped = asyncio.Event()
        self.committed = 0
        self.failed: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.latencies_ms: list[float] = []

    async def run(self) -> Result:
        """Warm up, measure, stop; what is still on its way is not waited for."""
        async with asyncio.TaskGroup() as tasks:
            followers = tasks.create_task(self._follow())
            senders = [tasks.create_task(self._send(turn, gateway)) for turn, gateway in enumerate(self.spec.gateways)]
            await asyncio.sleep(self.spec.warm_up_s)
            self.measuring, start, cpu = True, time.monotonic(), _cpu_s()
            await asyncio.sleep(self.spec.seconds)
            self.measuring = False
            window_s, cpu_s = time.monotonic() - start, _cpu_s() - cpu
            self.stopped.set()
            for task in (followers, *senders):
                task.cancel()
        next_nonce = self.spec.first_nonce + 1 + self.used // len(self.spec.devices)
        return Result(self.committed, self.failed, self.refused, self.latencies_ms, window_s, cpu_s, next_nonce)

    async def _send(self, turn: int, gateway: str) -> None:
        async with Client(gateway, roots=self._roots) as client:
            if self.spec.per_second:  # an even stream over all gateways, not a burst to all of them at once
                await asyncio.sleep(turn / self.spec.per_second)
            in_order: asyncio.Queue[list[Transaction]] = asyncio.Queue(64)
            async for reply in client.submit_stream(self._chunks(in_order)):
                chunk = await in_order.get()
                for index, code in reply.refused.items():
                    self.refused[code] = self.refused.get(code, 0) + 1
                    self.sent_at.pop(chunk[index].digest, None)
                    self.room.release()
                if reply.retry_ms:
                    await asyncio.sleep(max(FULL_PAUSE_S, reply.retry_ms / 1000))

    async def _chunks(self, in_order: "asyncio.Queue[list[Transaction]]") -> AsyncIterator[list[bytes]]:
        pause_s = len(self.spec.gateways) / self.spec.per_second if self.spec.per_second else 0.0
        while not self.stopped.is_set():
            chunk: list[Transaction] = []
            await self.room.acquire()
            while True:
                order = next(self.orders, None)
                if order is None:
                    break
                chunk.append(order)
                self.used += 1
                if pause_s or len(chunk) == CHUNK or self.room.locked():
                    break
                await self.room.acquire()
            if not chunk:
                await self.stopped.wait()
                return
            now = time.monotonic()
            for order in chunk:
                self.sent_at[order.digest] = now
            await in_order.put(chunk)
            yield [order.raw for order in chunk]
            if pause_s:
                await asyncio.sleep(pause_s)

    async def _follow(self) -> None:
        async with Client(self.spec.gateways, roots=self._roots) as client:
            async for block in client.subscribe():
                now = time.monotonic()
                for digest, code in block.results:
                    sent_at = self.sent_at.pop(digest, None)
                    if sent_at is None:
                        continue  # another load process's
                    self.room.release()
                    if not self.measuring:
                        continue
                    if code == "ok":
                        self.committed += 1
                        self.latencies_ms.append((now - sent_at) * 1000)
                    else:
                        self.failed[code] = self.failed.get(code, 0) + 1


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """See the module's docstring."""
    spec = msgspec.json.decode(sys.stdin.readline(), type=Spec)
    orders = sign_orders(spec)
    print("ready", flush=True)
    sys.stdin.readline()

    async def run() -> Result:
        return await Load(spec, orders).run()

    print(msgspec.json.encode(asyncio.run(run())).decode(), flush=True)


if __name__ == "__main__":
    main()
