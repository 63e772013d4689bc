"""The attacker's process: hands in as fast as it can, over several connections, and never waits when it is told to.

Started as ``python -m bench.flooder``. One line of JSON comes on stdin (a ``Flood``); when all is signed it prints
``ready``, waits for a line, floods, and prints a ``Result`` as one line of JSON.

On a real attack its processor is not the nodes'. Here it is: so it gives way to them, and takes no more of a core than
it is told.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import Any, Final, Self

import grpc
import grpc.aio
import msgspec

from bench.crowd import FEED_IN, SLOT_SECONDS, VALID_S, key_of
from node.gateway.channel import open_channel
from node.gateway.codes import RETRY_KEY, RETRY_MS, error_from
from node.model.keys import SIGNATURE_BYTES, SigningKey
from node.model.transaction import sign_transaction
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc
from testnet.genesis import Network

CALL_S: Final = 20.0
EACH: Final = 256
"""Transactions of a key: as many as its nonces allow before a block has any."""
BULK: Final = 20
ORDERS, FORGED, LISTS, QUESTIONS = "orders", "forged", "lists", "questions"
LIST_ORDERS: Final = 96
"""As many as the market takes in one transaction."""
SLOTS: Final = 24
CONNECTIONS: Final = 4
OUTSTANDING: Final = 2
NICE: Final = 10
PAUSE_S: Final = 0.01


class Flood(msgspec.Struct, frozen=True):
    """``what``: orders, forged ones (the signatures are wrong), lists of orders, or questions for
    all that rests in a product. ``outstanding``: calls at a time over each of
    ``connections`` to each gateway, ``bulk`` transactions in each; ``cpu_share``: at most so much of a core."""

    gateways: tuple[str, ...]
    chain: str
    devices: tuple[str, ...]
    what: str
    connections: int
    outstanding: int
    bulk: int
    slot: int
    not_after: int
    seconds: float
    first_nonce: int
    cpu_share: float


class Result(msgspec.Struct, frozen=True):
    """``calls`` that were answered; ``codes``: of transactions, and of calls refused as a whole. ``untold``: answers
    that say "not now" and not for how long. ``seconds`` that it took, ``cpu_s`` of a core."""

    calls: int
    codes: dict[str, int]
    untold: int
    seconds: float
    cpu_s: float


def sign(flood: Flood, key: SigningKey, device: str, nonce: int) -> bytes:
    """A transaction that the market takes; forged: with a signature that is none."""
    chain, slot = bytes.fromhex(flood.chain), flood.slot + nonce % SLOTS
    if flood.what == LISTS:
        row = ("sell", slot, 100, FEED_IN, "gate", False, b"")
        called: tuple[str, dict[str, Any]] = ("place_many", {"device": device, "orders": (row,) * LIST_ORDERS})
    else:
        order = {"device": device, "energy_wh": 100, "price": FEED_IN, "side": "sell", "slot": slot}
        called = ("place", order)
    raw = sign_transaction(key, chain, nonce, "market", *called, flood.not_after).raw
    return bytes(SIGNATURE_BYTES) + raw[SIGNATURE_BYTES:] if flood.what == FORGED else raw


async def ask(stub: "pb_grpc.GatewayAsyncStub", slot: int) -> Counter[str]:
    """A question that costs much."""
    question = pb.QueryRequest(contract="market", method="depth", args=msgspec.msgpack.encode({"slot": slot}))
    await stub.Query(question, timeout=CALL_S)
    return Counter(ok=1)


async def hand_in(stub: "pb_grpc.GatewayAsyncStub", raws: list[bytes]) -> tuple[Counter[str], bool]:
    """What became of each by code; and whether one has to come again, and nobody said when."""
    reply = await stub.SubmitMany(pb.SubmitManyRequest(transactions=raws), timeout=CALL_S)
    codes = Counter(refusal.code for refusal in reply.refused)
    untold = not reply.retry_ms and any(code in RETRY_MS for code in codes)
    codes["ok"] += len(raws) - len(reply.refused)
    return codes, untold


async def run(flood: Flood, raws: list[bytes]) -> Result:
    """Flood for ``flood.seconds``."""
    codes: Counter[str] = Counter()
    calls = untold = 0
    began, cpu = time.monotonic(), time.process_time()
    source, slots = cycle(raws or [b""]), cycle(range(flood.slot, flood.slot + SLOTS))

    async def caller(stub: "pb_grpc.GatewayAsyncStub") -> None:
        nonlocal calls, untold
        while (elapsed := time.monotonic() - began) < flood.seconds:
            if time.process_time() - cpu > flood.cpu_share * (elapsed + PAUSE_S):
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                if flood.what == QUESTIONS:
                    codes.update(await ask(stub, next(slots)))
                else:
                    answers, is_untold = await hand_in(stub, [next(source) for _ in range(flood.bulk)])
                    codes.update(answers)
                    untold += is_untold
            except grpc.aio.AioRpcError as failure:
                error = error_from(failure)
                codes[f"call {error.code}"] += 1
                untold += error.code in RETRY_MS and RETRY_KEY not in {
                    key for key, _ in failure.trailing_metadata() or ()
                }
            calls += 1

    options = [("grpc.use_local_subchannel_pool", 1)]
    # Who asks has a key, as a member's device has: strangers are not told what rests.
    asks_with = key_of(flood.devices[0]) if flood.what == QUESTIONS else None
    channels = [
        open_channel(gateway, options, asks_with, bytes.fromhex(flood.chain))
        for gateway in flood.gateways
        for _ in range(flood.connections)
    ]
    stubs = [pb_grpc.GatewayStub(channel) for channel in channels]
    tasks = [asyncio.create_task(caller(stub)) for stub in stubs for _ in range(flood.outstanding)]
    ended, _ = await asyncio.wait(tasks, timeout=flood.seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in ended:
        task.result()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(channel.close() for channel in channels))
    return Result(calls, dict(codes), untold, time.monotonic() - began, time.process_time() - cpu)


class Attacker:
    """The process, from outside. It has signed everything when this returns."""

    def __init__(
        self,
        network: Network,
        devices: Sequence[str],
        *,
        what: str = ORDERS,
        first_nonce: int,
        seconds: float,
        cpu_share: float,
    ) -> None:
        now = int(time.time())
        flood = Flood(
            gateways=tuple(network.gateways[:2]),
            chain=network.genesis.chain.hex(),
            devices=tuple(devices),
            what=what,
            connections=CONNECTIONS,
            outstanding=OUTSTANDING,
            bulk=1 if what == LISTS else BULK,
            slot=now // SLOT_SECONDS + 10,
            not_after=now + VALID_S,
            seconds=seconds,
            first_nonce=first_nonce,
            cpu_share=cpu_share,
        )
        command = [sys.executable, "-m", "bench.flooder"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._write(msgspec.json.encode(flood).decode())
        if self._read() != "ready":
            raise RuntimeError(f"the flooding process ended with status {self._process.wait()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, if it has not ended by itself."""
        self._process.kill()
        self._process.communicate()

    def begin(self) -> None:
        """Flood from now on."""
        self._write("go")

    def result(self) -> Result:
        """What came of it, when it has ended."""
        return msgspec.json.decode(self._read(), type=Result)

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def main() -> None:
    """See the module's docstring."""
    os.nice(NICE)
    flood = msgspec.json.decode(sys.stdin.readline(), type=Flood)
    keys = [(key_of(device), device) for device in flood.devices]
    first = flood.first_nonce
    each = 0 if flood.what == QUESTIONS else EACH if len(keys) == 1 else EACH // 16
    raws = [sign(flood, key, device, nonce) for nonce in range(first, first + each) for key, device in keys]
    print("ready", flush=True)
    sys.stdin.readline()
    print(msgspec.json.encode(asyncio.run(run(flood, raws))).decode(), flush=True)


if __name__ == "__main__":
    main()
