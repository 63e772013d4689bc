"""The community that ``bench/community.py`` simulates: homes on SimBench's subnet LV3.101, and their network.

Each home is one device behind one meter, on one of the 118 load buses in turn. Its load follows the SimBench profile
of that bus' load from Monday, 16 May 2016 on, its sun one of the profiles of the subnet's panels (their local time is
taken for UTC); how large both are is drawn from a seed. What a home *expects* for a slot is off by up to a tenth, so
that contracts and meters differ. Its one key acts for owner and device; its meter has another.
"""

import datetime
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple, TypeAlias

from chaincode.market_trading import MIN_ORDER_WH
from chaincode.settlement_messages import reading_message
from node.model.keys import SigningKey
from testnet.genesis import Network, build_network
from testnet.simbench import Subnet, find_data, load_profiles, load_subnet

FIRST_DAY: Final = datetime.date(2016, 5, 16)
DAY_S: Final = 86_400
SLOT_S: Final = 1_800
SLOTS: Final = DAY_S // SLOT_S
RETAIL: Final = 1_000_000
FEED_IN: Final = 300_000
MIDDLE: Final = 600_000
"""Nobody offers more for less, or less for more: buyers' limits lie above it, sellers' below."""
PERIOD_SLOTS: Final = 30 * SLOTS
BUDGET: Final = 10**12
"""Base units for each home: 1,000 tokens, more than any needs, so that nothing is refused for want of money."""
IMPORT_W: Final = 15_000
EXPORT_W: Final = 12_000
LOAD_W: Final = (3_000, 9_000)
SUN_W: Final = (3_000, 9_000)
SUNNY_PERMILLE: Final = 400
"""Homes with panels."""
ERROR_PERMILLE: Final = 100
PANELS: Final = ("PV1", "PV3", "PV4", "PV7")
LEAD_S: Final = DAY_S
"""The series begin a day before the first: the chain starts somewhere in it."""

# Windows in block time, so wide that in real time, hundreds of times shorter, a node can be a few seconds late.
OPEN_BEFORE_S: Final = 27 * 3_600
TICK_S: Final = 3_600
METERING_S: Final = 4 * 3_600
DISPUTE_S: Final = 6 * 3_600
OUTAGE_S: Final = 6 * 3_600
AHEAD_S: Final = 2 * 3_600
"""Between placing a day's orders and the first of its slots."""

Order: TypeAlias = tuple[str, int, int, int, str, bool, bytes]
"""As ``market.place_many`` takes it."""
Reading: TypeAlias = tuple[str, int, int, int, int, int, bytes]
"""As ``settlement.collect`` takes it."""

assert OPEN_BEFORE_S >= AHEAD_S + DAY_S + SLOT_S


class Home(NamedTuple):
    """``plans_s``: the second of every day at which it places its orders; the two series: Wh taken from the grid less
    those given to it, slot by slot from a day before the first on. Prices in base units per Wh."""

    name: str
    device: str
    bus: str
    key: SigningKey
    meter: SigningKey
    is_sunny: bool
    plans_s: int
    buys_at: int
    sells_at: int
    net_wh: tuple[int, ...]
    expected_wh: tuple[int, ...]


class World(NamedTuple):
    """``start``: midnight of the first day, block time."""

    homes: tuple[Home, ...]
    subnet: Subnet
    days: int
    start: int

    @property
    def first_slot(self) -> int:
        """The slot of the series' first figure."""
        return (self.start - LEAD_S) // SLOT_S

    @property
    def end_slot(self) -> int:
        """The first slot that is no part of it any more."""
        return (self.start + self.days * DAY_S) // SLOT_S

    @property
    def period(self) -> int:
        """The billing period in which it lies as a whole."""
        return self.start // SLOT_S // PERIOD_SLOTS


class Meter:
    """A home's meter: its registers, and what it signs. It begins at 0."""

    def __init__(self, world: World, home: Home, chain: bytes) -> None:
        self._first_slot = world.first_slot
        self._home = home
        self._chain = chain
        self._registers = (0, 0)

    def read(self, slot: int) -> Reading:
        """What flowed in ``slot``, which follows the last one read."""
        home, wh = self._home, self._home.net_wh[slot - self._first_slot]
        energy = max(wh, 0), max(-wh, 0)
        self._registers = self._registers[0] + energy[0], self._registers[1] + energy[1]
        message = reading_message(self._chain, home.device, slot, energy, self._registers)
        return home.device, slot, *energy, *self._registers, home.meter.sign(message)


def orders_of(world: World, home: Home, due: int) -> tuple[Order, ...]:
    """What a home orders at ``due``: for each slot of a day, of which it expects at least what an order is for, one."""
    first = (due + AHEAD_S) // SLOT_S + 1
    orders: list[Order] = []
    for slot in range(first, min(first + SLOTS, world.end_slot)):
        wh = home.expected_wh[slot - world.first_slot]
        if abs(wh) >= MIN_ORDER_WH:
            side, price = ("buy", home.buys_at) if wh > 0 else ("sell", home.sells_at)
            orders.append((side, slot, abs(wh), price, "gate", False, b""))
    return tuple(orders)


def make_world(homes: int, days: int, seed: int) -> World:
    """The same for the same arguments. Raises ConfigError if SimBench's data are not there."""
    data = find_data()
    subnet = load_subnet(data)
    first = FIRST_DAY - datetime.timedelta(seconds=LEAD_S)
    columns = sorted({f"{profile}_pload" for _, profile, _ in subnet.loads})
    loads = load_profiles(data, "LoadProfile", columns, first, days + 1)
    suns = load_profiles(data, "RESProfile", PANELS, first, days + 1)
    profile_at = {bus: loads[f"{profile}_pload"] for bus, profile, _ in subnet.loads}
    random = Random(seed)
    buses = subnet.load_buses
    rows = []
    for number in range(homes):
        bus = buses[number % len(buses)]
        rows.append(_home(number, bus, profile_at[bus], suns[random.choice(PANELS)], homes, random))
    start = int(datetime.datetime(*FIRST_DAY.timetuple()[:3], tzinfo=datetime.UTC).timestamp())
    return World(tuple(rows), subnet, days, start)


def _home(number: int, bus: str, load: tuple[float, ...], sun: tuple[float, ...], homes: int, random: Random) -> Home:
    is_sunny = random.randrange(1000) < SUNNY_PERMILLE
    load_w, sun_w = random.randint(*LOAD_W), random.randint(*SUN_W) if is_sunny else 0
    net = tuple(round(load_w * used / 2) - round(sun_w * shone / 2) for used, shone in zip(load, sun, strict=True))
    return Home(
        name=f"home-{number:04}",
        device=f"home-{number:04}/house",
        bus=bus,
        key=_key("owner", number),
        meter=_key("meter", number),
        is_sunny=is_sunny,
        plans_s=number * DAY_S // homes,
        buys_at=random.randint(MIDDLE, RETAIL),
        sells_at=random.randint(FEED_IN, MIDDLE),
        net_wh=net,
        expected_wh=tuple(wh * (1000 + random.randint(-ERROR_PERMILLE, ERROR_PERMILLE)) // 1000 for wh in net),
    )


def build(directory: Path, world: World, *, nodes: int, time_scale: int, lead_s: int, retention_s: int) -> Network:
    """The network on disk, on free ports; its block time begins ``lead_s`` before the first day."""
    return build_network(
        directory,
        contracts(world, retention_s),
        nodes=nodes,
        base_port=None,
        name="community",
        time_scale=time_scale,
        time_origin=world.start - lead_s,
    )


def contracts(world: World, retention_s: int) -> dict[str, dict[str, Any]]:
    """The genesis settings."""
    utility, collector = utility_key().public_key.hex(), collector_key().public_key.hex()
    return {
        "identity": {
            "admins": [utility],
            "members": [
                ["collector", collector, ["aggregator"]],
                ["utility", utility, ["utility", "grid-operator"]],
            ],
            "networks": [[home.name, "collector", home.key.public_key.hex(), home.bus] for home in world.homes],
            "devices": [_device_row(home) for home in world.homes],
        },
        "grid": world.subnet.version.settings(),
        "market": {
            "tariffs": [[0, RETAIL, FEED_IN]],
            "slot_seconds": SLOT_S,
            "open_before_s": OPEN_BEFORE_S,
            "tick_s": TICK_S,
            "metering_window_s": METERING_S,
            "dispute_window_s": DISPUTE_S,
            "outage_s": OUTAGE_S,
            "retention_s": retention_s,
        },
        "budget": {"period_slots": PERIOD_SLOTS},
    }


def _device_row(home: Home) -> list[object]:
    keys = home.key.public_key.hex(), home.meter.public_key.hex()
    kind = "pv" if home.is_sunny else "load"
    return [home.device, home.name, kind, *keys, home.bus, IMPORT_W, EXPORT_W, False, home.is_sunny]


def utility_key() -> SigningKey:
    """Issues the budgets."""
    return _key("utility", 0)


def collector_key() -> SigningKey:
    """Hands in what the meters signed."""
    return _key("collector", 0)


def _key(role: str, number: int) -> SigningKey:
    """The same in every run: nothing hangs on it."""
    return SigningKey(f"community {role} {number}".encode().ljust(32, b"."))
