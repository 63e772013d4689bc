"""A network of three members to flood: ``swarm`` has the attacker's devices, ``north`` and ``south`` homes that trade.

All sell, so that nobody needs a budget. Two cores run four nodes, both sides' clients and whatever else the machine
does: what members and senders may hand in is set to what these can bear, as an operator of slow machines would.
"""

from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from node.config import dump_config
from node.model.keys import SigningKey
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
