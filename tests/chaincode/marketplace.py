"""Three homes on a street, a utility, and an exchange between them: for the tests of market and settlement.

    world = marketplace()                                  # block time 0; slots of half an hour; four of them open
    buy = order(world, "home-1/load", "buy", slot=1, wh=500, price=80)
    world.next_block(world.time + TICK_S)                  # the first block at the next tick clears
    assert state_of(world, buy) == "FILLED"

The street: t - b1 (toll 5), b1 - b2 (toll 7). Retail 100, feed-in 20. Every device starts with 10,000,000 base units.
"""

from typing import Any, cast

from chaincode.contract import Value
from chaincode.market_orders import Position
from chaincode.registry import default_registry
from node.model.codec import sha256
from tests.chaincode.world import World

SLOT_S = 1800
TICK_S = 10
RETAIL, FEED_IN = 100, 20
ALLOCATED = 10_000_000
PERIOD_SLOTS = 48

Rows = dict[str, dict[str, Any]]


def key_of(name: str) -> bytes:
    """A made-up public key."""
    return sha256(b"key", name.encode())


ADMIN, UTILITY = key_of("admin"), key_of("utility")
STREET = (("t", "b1", 100, 5, None, None), ("b1", "b2", 100, 7, None, None))

# device: (network, kind, bus, import W, export W)
DEVICES = {
    "home-1/load": ("home-1", "load", "b1", 10_000, 0),
    "home-1/battery": ("home-1", "battery", "b1", 5_000, 5_000),
    "home-2/pv": ("home-2", "pv", "b2", 0, 10_000),
    "home-2/load": ("home-2", "load", "b2", 10_000, 0),
    "home-3/pv": ("home-3", "pv", "b1", 0, 10_000),
    "home-3/ev": ("home-3", "ev", "b1", 8_000, 8_000),
}


def settings(
    devices: dict[str, tuple[str, str, str, int, int]], lines: tuple[tuple[Value, ...], ...], **market: Value
) -> Rows:
    """The genesis settings."""
    networks = dict.fromkeys(row[0] for row in devices.values())
    root = lines[0][0] if lines else "t"
    return {
        "grid": {"root": root, "lines": lines},
        "identity": {
            "admins": (ADMIN.hex(),),
            "members": (
                ("club", key_of("club").hex(), ("aggregator",)),
                ("utility", UTILITY.hex(), ("utility", "grid-operator")),
            ),
            "networks": tuple((network, "club", key_of(network).hex(), root) for network in networks),
            "devices": tuple(
                (
                    name, network, kind, key_of(name).hex(), key_of(f"meter {name}").hex(), bus,
                    import_w, export_w, False, kind == "pv",
                )
                for name, (network, kind, bus, import_w, export_w) in devices.items()
            ),
        },
        "budget": {"period_slots": PERIOD_SLOTS},
        "market": {
            "slot_seconds": SLOT_S,
            "open_before_s": 3 * SLOT_S,
            "gate_before_end_s": 600,
            "tick_s": TICK_S,
            "metering_window_s": 900,
            "dispute_window_s": 1800,
            "tariffs": ((0, RETAIL, FEED_IN),),
            **market,
        },
    }  # fmt: skip


def marketplace(
    devices: dict[str, tuple[str, str, str, int, int]] = DEVICES,
    lines: tuple[tuple[Value, ...], ...] = STREET,
    *,
    allocated: int = ALLOCATED,
    periods: int = 1,
    start: int = 0,
    **market: Value,
) -> World:
    """A world at time ``start`` with every device's budget allocated."""
    world = World(default_registry(), settings(devices, lines, **market), time=start)
    for period in range(periods if allocated else 0):
        for network in dict.fromkeys(row[0] for row in devices.values()):
            own = [name for name, row in devices.items() if row[0] == network]
            money = {"network": network, "period": period}
            world.call(UTILITY, "budget", "issue", **money, amount=allocated * len(own), reference=b"start")
            world.call(key_of(network), "budget", "allocate", **money, amounts=tuple((name, allocated) for name in own))
    return world


def order(
    world: World,
    device: str,
    side: str,
    *,
    slot: int = 1,
    wh: int = 1000,
    price: int = 50,
    until: str = "gate",
    renewable: bool = False,
) -> bytes:
    """Place an order with the device's key; its id."""
    args = {"device": device, "side": side, "slot": slot, "energy_wh": wh, "price": price}
    return cast("bytes", world.call(key_of(device), "market", "place", **args, until=until, renewable=renewable))


def refusal(
    world: World, device: str, side: str, *, slot: int = 1, wh: int = 1000, price: int = 50, key: bytes | None = None
) -> str:
    """The code with which an order is refused."""
    args = {"device": device, "side": side, "slot": slot, "energy_wh": wh, "price": price}
    return world.refused(key_of(device) if key is None else key, "market", "place", **args)


def state_of(world: World, order_id: bytes) -> str:
    """An order's state."""
    return cast("str", cast("tuple[Value, ...]", world.query("market", "order", order=order_id))[12])


def position(world: World, device: str, slot: int = 1) -> Position:
    """A device's position."""
    value = cast("tuple[Value, ...]", world.query("market", "position", device=device, slot=slot))
    return Position(*cast("Position", value))


def product_state(world: World, slot: int = 1) -> str:
    """A product's state."""
    return cast("str", cast("tuple[Value, ...]", world.query("market", "product", slot=slot))[1])


def tick(world: World) -> None:
    """Go on to a block at the next tick."""
    world.next_block((world.time // TICK_S + 1) * TICK_S)


def balance(world: World, account: str) -> int:
    """An account's balance."""
    return cast("int", world.query("accounts", "account", account=account))


def audit(world: World) -> None:
    """The sum of balances is what was issued less what was redeemed."""
    issued, redeemed, whole = cast("tuple[int, int, int]", world.query("accounts", "audit"))
    assert whole == issued - redeemed
