"""Two homes and a utility for the tests of accounts, identity, grid and budgets: money without a market.

    world = neighbourhood()
    world.call(UTILITY, "budget", "issue", network="home-1", period=0, amount=1000, reference=b"r1")

Slots have 1,800 s, periods 10 slots; period 0 is active at the start.
"""

from typing import Any

from chaincode import slots
from chaincode.accounts import Accounts
from chaincode.budget import Budget
from chaincode.contract import Value
from chaincode.grid import Grid
from chaincode.identity import Identity
from chaincode.identity_records import Device, add_device
from chaincode.overview import Overview
from node.model.codec import sha256
from tests.chaincode.world import World

SLOT_S = 1800
PERIOD_SLOTS = 10


def key_of(name: str) -> bytes:
    """A made-up public key."""
    return sha256(b"key", name.encode())


ADMIN, UTILITY, OPERATOR, CLUB = key_of("admin"), key_of("utility"), key_of("operator"), key_of("club")
OWNER_1, OWNER_2 = key_of("owner-1"), key_of("owner-2")
STRANGER = key_of("stranger")

# Devices of home-1: the load is critical; home-2 has one load.
DEVICES = ("home-1/battery", "home-1/ev", "home-1/load", "home-1/pv")


def device_row(device: str, kind: str, *, critical: bool = False, bus: str | None = "b1") -> tuple[Value, ...]:
    """One line of the genesis settings."""
    network = device.partition("/")[0]
    keys = key_of(device).hex(), key_of(f"meter of {device}").hex()
    return (device, network, kind, *keys, bus, 10_000, 10_000, critical, kind == "pv")


def settings(**budget: int) -> dict[str, dict[str, Any]]:
    """The genesis settings of the four contracts."""
    members = (
        ("club", CLUB.hex(), ("aggregator",)),
        ("operator", OPERATOR.hex(), ("grid-operator", "validator")),
        ("utility", UTILITY.hex(), ("utility", "validator")),
    )
    networks = (("home-1", "club", OWNER_1.hex(), "b1"), ("home-2", "club", OWNER_2.hex(), "b2"))
    devices = (
        *(device_row(name, name.split("/")[1], critical=name.endswith("load")) for name in DEVICES),
        device_row("home-2/load", "load"),
    )
    return {
        "grid": {"root": "t", "lines": (("t", "b1", 100, 50, 7_000, None), ("t", "b2", 200, 100, None, 3_600))},
        "identity": {"admins": (ADMIN.hex(),), "members": members, "networks": networks, "devices": devices},
        "budget": {"period_slots": PERIOD_SLOTS, **budget},
    }


def neighbourhood(**budget: int) -> World:
    """A world at time 0; ``budget``: settings that differ."""
    world = World([Accounts(), Grid(), Identity(), Budget(), Overview()], settings(**budget))
    with world.transaction() as ctx:
        slots.configure(ctx, SLOT_S)  # the market does this at genesis
    return world


def one_more(world: World, device: str) -> str:
    """Put one more load on record, of the network in its name, where the others hang; its name."""
    keys = key_of(device), key_of(f"meter of {device}")
    with world.transaction() as ctx:
        places = ((slots.current(ctx), "b1"),)
        network = device.partition("/")[0]
        add_device(ctx, Device(device, network, "load", *keys, 10_000, 10_000, False, False, places))
    return device


def fund(world: World, amounts: dict[str, int], *, period: int = 0, spare: int = 0) -> None:
    """Issue to home-1 and allocate ``amounts`` (device to base units); ``spare`` stays in the pool."""
    total = sum(amounts.values()) + spare
    reference = len(world.events).to_bytes(8, "big")
    world.call(UTILITY, "budget", "issue", network="home-1", period=period, amount=total, reference=reference)
    world.call(OWNER_1, "budget", "allocate", network="home-1", period=period, amounts=tuple(amounts.items()))


def at_slot(world: World, slot: int) -> None:
    """Go on to a block in ``slot``."""
    world.next_block(slot * SLOT_S)
