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
from typing import Final, Self

import grpc
import grpc.aio
import msgspec

from bench.crowd import FEED_IN, SLOT_SECONDS, VALID_S, key_of
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
CONNECTIONS: Final = 4
OUTSTANDING: Final = 2
NICE: Final = 10
PAUSE_S: Final = 0.01


class Flood(msgspec.Struct, frozen=True):
    """``forged``: the signatures are wrong. ``outstanding``: calls at a time over each of ``connections`` to each
    gateway, ``bulk`` transactions in each; ``cpu_share``: at most so much of a core."""

    gateways: tuple[str, ...]
    chain: str
    devices: tuple[str, ...]
    forged: bool
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
    """An order that the market takes; forged: with a signature that is none."""
    args = {"device": device, "energy_wh": 100, "price": FEED_IN, "side": "sell", "slot": flood.slot + nonce % 24}
    raw = sign_transaction(key, bytes.fromhex(flood.chain), nonce, "market", "place", args, flood.not_after).raw
    return bytes(SIGNATURE_BYTES) + raw[SIGNATURE_BYTES:] if flood.forged else raw


async def run(flood: Flood, raws: list[bytes]) -> Result:
    """Flood for ``flood.seconds``."""
    codes: Counter[str] = Counter()
    calls = untold = 0
    began, cpu = time.monotonic(), time.process_time()
    source = cycle(raws)

    async def caller(stub: "pb_grpc.GatewayAsyncStub") -> None:
        nonlocal calls, untold
        while (elapsed := time.monotonic() - began) < flood.seconds:
            if time.process_time() - cpu > flood.cpu_share * (elapsed + PAUSE_S):
                await asyncio.sleep(PAUSE_S)
                continue
            chunk = [next(source) for _ in range(flood.bulk)]
            try:
                reply = await stub.SubmitMany(pb.SubmitManyRequest(transactions=chunk), timeout=CALL_S)
                codes["ok"] += len(chunk) - len(reply.refused)
                codes.update(refusal.code for refusal in reply.refused)
                untold += not reply.retry_ms and any(refusal.code in RETRY_MS for refusal in reply.refused)
            except grpc.aio.AioRpcError as failure:
                error = error_from(failure)
                codes[f"call {error.code}"] += 1
                untold += error.code in RETRY_MS and RETRY_KEY not in {
                    key for key, _ in failure.trailing_metadata() or ()
                }
            calls += 1

    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.aio.insecure_channel(gateway, options=options)
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
        forged: bool,
        first_nonce: int,
        seconds: float,
        cpu_share: float,
    ) -> None:
        now = int(time.time())
        flood = Flood(
            gateways=tuple(network.gateways[:2]),
            chain=network.genesis.chain.hex(),
            devices=tuple(devices),
            forged=forged,
            connections=CONNECTIONS,
            outstanding=OUTSTANDING,
            bulk=BULK,
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
    each = EACH if len(keys) == 1 else EACH // 16
    raws = [sign(flood, key, device, nonce) for nonce in range(first, first + each) for key, device in keys]
    print("ready", flush=True)
    sys.stdin.readline()
    print(msgspec.json.encode(asyncio.run(run(flood, raws))).decode(), flush=True)


if __name__ == "__main__":
    main()
