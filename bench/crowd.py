"""A network of three members to flood: ``swarm`` has the attacker's devices, ``north`` and ``south`` homes that trade.

All sell, so that nobody needs a budget. Two cores run four nodes, both sides' clients and whatever else the machine
does: what members and senders may hand in is set to what these can bear, as an operator of slow machines would. Tests
and ``bench/flooding.py`` use it.
"""

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc.aio
from msgspec.structs import replace

from node.config import dump_config
from node.errors import RefusedError
from node.gateway.client import Client
from node.gateway.codes import error_from
from node.model.keys import SigningKey
from node.model.transaction import sign_transaction
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc
from testnet.genesis import Network, build_network, load_network

SWARM: Final = 200
"""Devices of the attacker."""
HOMES: Final = ("north", "south")
HOME_DEVICES: Final = 4
RETAIL: Final = 1_000_000
FEED_IN: Final = 300_000
SLOT_SECONDS: Final = 1_800
SENDER_PER_SECOND: Final = 5
MEMBER_PER_SECOND: Final = 10
VALID_S: Final = 3_600
PATIENCE_S: Final = 60.0


def key_of(name: str) -> SigningKey:
    """The same in every run: nothing hangs on them."""
    return SigningKey(name.encode().ljust(32, b"."))


def devices_of(network: str) -> list[str]:
    """The devices of a network."""
    return [f"{network}/{number}" for number in range(SWARM if network == "swarm" else HOME_DEVICES)]


def settings() -> dict[str, dict[str, Any]]:
    """The contracts' settings in the genesis."""
    members: list[list[Any]] = [["utility", key_of("utility").public_key.hex(), ["utility", "grid-operator"]]]
    networks, devices, lines = [], [], []
    for name in ("swarm", *HOMES):
        members.append([f"{name}-member", key_of(f"{name}-member").public_key.hex(), []])
        networks.append([name, f"{name}-member", key_of(name).public_key.hex(), f"bus-{name}"])
        lines.append(["root", f"bus-{name}", 40, 10**6, None, None])
        for device in devices_of(name):
            key = key_of(device).public_key.hex()
            devices.append([device, name, "battery", key, key, f"bus-{name}", 10**9, 10**9, False, False])
    return {
        "identity": {
            "admins": [key_of("utility").public_key.hex()],
            "members": members,
            "networks": networks,
            "devices": devices,
        },
        "grid": {"root": "root", "lines": lines},
        "market": {"tariffs": [[0, RETAIL, FEED_IN]]},
        "budget": {"period_slots": 30 * 48},
    }


def build_crowd(directory: Path) -> Network:
    """Four nodes on free ports, with the limits above."""
    network = build_network(directory, settings(), nodes=4, base_port=None, name="crowd")
    for node in network.nodes:
        limits = replace(
            node.config.limits,
            sender_transactions_per_second=SENDER_PER_SECOND,
            member_transactions_per_second=MEMBER_PER_SECOND,
        )
        text = dump_config(replace(node.config, limits=limits), "Limits for a slow machine.")
        node.config_path.write_text(text)
    return load_network(directory)


class Placed(NamedTuple):
    """An order: ``code``: "ok", or why it was refused, at the gateway or in the block; ``ms``: from handing in to the
    block; ``at``: seconds after the first one."""

    digest: bytes
    code: str
    ms: float
    at: float


class Homes:
    """Homes of two members: an order each in turn, at an even pace, through all gateways. Nothing is sent twice: what
    is refused is counted."""

    def __init__(self, network: Network) -> None:
        self._network = network
        devices = [device for home in HOMES for device in devices_of(home)]
        self._devices = itertools.cycle(devices)
        self._nonces = dict.fromkeys(devices, 0)

    def nonce(self, device: str) -> int:
        """The highest that the device has used."""
        return self._nonces[device]

    async def trade(self, seconds: float, per_second: int) -> list[Placed]:
        """Place orders for so long; what became of each."""
        gateways = self._network.gateways
        clients = [self._network.client(gateway) for gateway in gateways]
        channels = [grpc.aio.insecure_channel(gateway, [("grpc.use_local_subchannel_pool", 1)]) for gateway in gateways]
        ways = [(pb_grpc.GatewayStub(channel), client) for channel, client in zip(channels, clients, strict=True)]
        tasks = []
        try:
            now = (await clients[0].node_info()).now
            await asyncio.gather(*(channel.channel_ready() for channel in channels))
            began = time.monotonic()
            for number in range(int(seconds * per_second)):
                at = number / per_second
                await asyncio.sleep(max(0.0, began + at - time.monotonic()))
                tasks.append(asyncio.create_task(self._place(*ways[number % len(ways)], now, at)))
            return await asyncio.gather(*tasks)
        finally:
            await asyncio.gather(*(client.close() for client in clients), *(channel.close() for channel in channels))

    async def _place(self, stub: "pb_grpc.GatewayAsyncStub", client: Client, now: int, at: float) -> Placed:
        device = next(self._devices)
        self._nonces[device] = nonce = self._nonces[device] + 1
        args = {"device": device, "energy_wh": 100, "price": FEED_IN, "side": "sell"}
        args["slot"] = now // SLOT_SECONDS + 10 + nonce % 24
        chain = self._network.genesis.chain
        tx = sign_transaction(key_of(device), chain, nonce, "market", "place", args, now + VALID_S)
        began = time.monotonic()
        try:
            await stub.Submit(pb.SubmitRequest(transaction=tx.raw), timeout=PATIENCE_S)
            code = (await client.wait(tx.id, PATIENCE_S)).code
        except grpc.aio.AioRpcError as failure:
            code = error_from(failure).code
        except RefusedError as error:
            code = error.code
        return Placed(tx.digest, code, 1000 * (time.monotonic() - began), at)
