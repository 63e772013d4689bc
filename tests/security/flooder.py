"""The attacker's process: hands in as fast as it can, over several connections, and never waits when it is told to.

One line of JSON comes on stdin (a ``Flood``); when all is signed it prints ``ready``, waits for a line, floods, and
prints a ``Result`` as one line of JSON.
"""

import asyncio
import sys
import time
from collections import Counter
from itertools import cycle

import grpc
import grpc.aio
import msgspec

from node.gateway.codes import error_from
from node.model.keys import SIGNATURE_BYTES, SigningKey
from node.model.transaction import sign_transaction
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc
from tests.security.crowd import FEED_IN, key_of

CALL_S = 20.0
EACH = 256
"""Transactions of a key: as many as its nonces allow before a block has any."""


class Flood(msgspec.Struct, frozen=True):
    """``forged``: the signatures are wrong. ``outstanding``: calls at a time over each of ``connections`` to each
    gateway, ``bulk`` transactions in each."""

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


class Result(msgspec.Struct, frozen=True):
    """``calls`` that were answered; ``codes``: of transactions, and of calls refused as a whole."""

    calls: int
    codes: dict[str, int]


def sign(flood: Flood, key: SigningKey, device: str, nonce: int) -> bytes:
    """An order that the market takes; forged: with a signature that is none."""
    args = {"device": device, "energy_wh": 100, "price": FEED_IN, "side": "sell", "slot": flood.slot + nonce % 24}
    raw = sign_transaction(key, bytes.fromhex(flood.chain), nonce, "market", "place", args, flood.not_after).raw
    return bytes(SIGNATURE_BYTES) + raw[SIGNATURE_BYTES:] if flood.forged else raw


async def run(flood: Flood, raws: list[bytes]) -> Result:
    """Flood for ``flood.seconds``."""
    codes: Counter[str] = Counter()
    calls = 0
    end = time.monotonic() + flood.seconds
    source = cycle(raws)

    async def caller(stub: "pb_grpc.GatewayAsyncStub") -> None:
        nonlocal calls
        while time.monotonic() < end:
            chunk = [next(source) for _ in range(flood.bulk)]
            try:
                reply = await stub.SubmitMany(pb.SubmitManyRequest(transactions=chunk), timeout=CALL_S)
                codes["ok"] += len(chunk) - len(reply.refused)
                codes.update(refusal.code for refusal in reply.refused)
            except grpc.aio.AioRpcError as failure:
                codes[f"call {error_from(failure).code}"] += 1
            calls += 1

    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.aio.insecure_channel(gateway, options=options)
        for gateway in flood.gateways
        for _ in range(flood.connections)
    ]
    stubs = [pb_grpc.GatewayStub(channel) for channel in channels]
    tasks = [asyncio.create_task(caller(stub)) for stub in stubs for _ in range(flood.outstanding)]
    await asyncio.wait(tasks, timeout=flood.seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(channel.close() for channel in channels))
    return Result(calls, dict(codes))


def main() -> None:
    """See the module's docstring."""
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
