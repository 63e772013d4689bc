"""The demo's world: seventeen real homes as members' networks on a street grid, with keys, budgets and brokers.

    DIR/genesis.json, DIR/nodes/...    the network (testnet/genesis.py)
    DIR/world.json                     where the homes' data lie, and the day
    DIR/keys/*.json, DIR/passphrase    utility, and for every home its owner's, its broker's and its meters' key
    DIR/brokers/broker-0/home-01/...   what a broker process is told of each of its homes: site.toml, the readings of
                                       the weeks before, the states that the home tells; and its journal

Who is who: four members run the nodes. The utility supplies who is short; the grid operator has the wires; two
aggregators hold the homes. A home's devices trade with the home's broker key; its meters sign with one key of theirs.

Assumptions of the demo, none of them measured: the grid, the tariffs, the budgets and the EVs.
"""

import datetime
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from broker.site import Battery, Panels, Site, Vehicle
from chaincode.grid import LineSettings
from cli.grid_file import GridVersion
from node.errors import ConfigError
from node.keyfile import load_key, read_passphrase, write_private
from node.model.keys import SigningKey
from testnet.community import EV_WH_PER_KM, SLOTS, Community, Home
from testnet.genesis import GENESIS_NAME, Network, build_network, load_network, new_key
from testnet.plant import KINDS

PASSPHRASE_NAME = "passphrase"
KEYS_NAME = "keys"
BROKERS_NAME = "brokers"
WORLD_NAME = "world.json"
SITE_NAME = "site.toml"
HISTORY_NAME = "history.csv"
STATES_NAME = "states.csv"
SETPOINTS_NAME = "setpoints.json"
STATES_HEADER = "time,device,level_wh,plugged,leaves,need_wh"
SLOT_S = 1_800
DAY_S = 86_400
GATE_BEFORE_END_S = 600
OUTAGE_S = 3_600
"""A view change of some seconds is none in the life of the homes, though a demo's day passes in minutes."""
DECIDE_S = 600
STRATEGY = "truthful"
ORDERS_AHEAD = 2
POLL_MS = 200
TOKEN = 10**9
PAR = 1_000_000

NODES = 4
BROKERS = 4
AGGREGATORS = ("sunrise", "riverside")
FEEDERS = ("a", "b", "c")
TOLL_PER_METRE = 200
"""Base units per Wh and metre: 0.09 tokens per kWh over 450 m."""
FEEDER_METRES = (180, 120, 240)
FEEDER_LIMIT_W = (5_000, 4_000, 6_000)
"""Of contracted exchange, each way, between a feeder and the rest: narrow enough to bind at noon."""
POLE_METRES = 60
HOMES_PER_POLE = 2

TARIFFS = (
    (0, 800_000, 400_000),
    (7 * 3600, 1_000_000, 400_000),
    (16 * 3600, 1_500_000, 400_000),
    (21 * 3600, 800_000, 400_000),
)
"""(second of the day from which it holds, retail, feed-in), base units per Wh: night, day and evening peak."""

POOR_EV = "home-06"
"""The home whose owner allocates its EV too little, so that it runs out during the day and is helped."""
POOR_EV_PERMILLE = 250

AHEAD_PERMILLE = 500
"""Of the budget, tolerated above its elapsed share before an alert: within one day an EV rightly charges early."""

LIMITS_W = {"load": (25_000, 0), "ev": (3_600, 0)}
"""(import, export) by kind; panels and batteries have their own."""


@dataclass(frozen=True)
class World:
    """The demo on disk. ``data``: the directory of the homes' data; ``date``: the day of it that is traded."""

    directory: Path
    network: Network
    data: Path
    date: datetime.date
    passphrase: str

    @property
    def first_slot(self) -> int:
        """The first of the day's slots."""
        return _midnight(self.date) // SLOT_S

    @property
    def end_slot(self) -> int:
        """The first slot after the day."""
        return self.first_slot + SLOTS

    @property
    def period(self) -> int:
        """The billing period: the day."""
        return self.first_slot // SLOTS

    def key(self, name: str) -> SigningKey:
        """One of the world's keys: "utility", "home-03.owner", "home-03.broker", "home-03.meter"."""
        return load_key(self.directory / KEYS_NAME / f"{name}.json", self.passphrase)

    def site_directory(self, home: Home) -> Path:
        """What the home's broker is told, and what it keeps."""
        return self.directory / BROKERS_NAME / f"broker-{(home.building - 1) % BROKERS}" / home.name

    def site_files(self, broker: int) -> list[Path]:
        """The sites of broker process ``broker``."""
        return sorted((self.directory / BROKERS_NAME / f"broker-{broker}").glob(f"*/{SITE_NAME}"))


def device(home: str, kind: str) -> str:
    """The id of a home's device of a kind."""
    return f"{home}/{kind}"


class _Document(msgspec.Struct, frozen=True):
    """world.json"""

    data: str
    date: datetime.date


def build_world(directory: Path, data: Path, community: Community, *, time_scale: int, lead_s: int) -> World:
    """Write a new world into ``directory``; its clock begins now, ``lead_s`` of block time before the midnight."""
    passphrase = secrets.token_urlsafe(24)
    (directory / KEYS_NAME).mkdir(parents=True)
    write_private(directory / PASSPHRASE_NAME, passphrase.encode() + b"\n")
    public = {name: new_key(directory / KEYS_NAME / f"{name}.json", passphrase) for name in _key_names(community)}
    (directory / WORLD_NAME).write_bytes(msgspec.json.encode(_Document(str(data.resolve()), community.date)))
    network = build_network(
        directory,
        _settings(community, public),
        nodes=NODES,
        base_port=None,
        name="demo",
        time_scale=time_scale,
        time_origin=_midnight(community.date) - lead_s,
    )
    world = World(directory, network, data, community.date, passphrase)
    for home in community.homes:
        _write_site(world, home, _midnight(community.date) - lead_s)
    return world


def load_world(directory: Path) -> World:
    """The world in ``directory``. Raises ConfigError: "no-testnet", "no-passphrase", "bad-config"."""
    network = load_network(directory)
    try:
        document = msgspec.json.decode((directory / WORLD_NAME).read_bytes(), type=_Document)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError("bad-config", f"{directory / WORLD_NAME}: {error}") from error
    passphrase = read_passphrase(directory / PASSPHRASE_NAME) or ""
    return World(directory, network, Path(document.data), document.date, passphrase)


def budget_of(home: Home) -> dict[str, int]:
    """What the owner allocates, in base units: for the load what yesterday's would cost at the utility and a tenth
    more, for the EV its need at par and a fifth more, for the battery two fillings at four fifths of par."""
    load = sum(wh * tariff(index)[0] for index, wh in enumerate(home.load_past_wh[-SLOTS:])) * 11 // 10
    ev = home.ev.need_wh * PAR * 12 // 10
    if home.name == POOR_EV:
        ev = ev * POOR_EV_PERMILLE // 1000
    return {"load": load, "ev": ev, "battery": 2 * home.battery.capacity_wh * PAR * 8 // 10}


def tariff(index: int) -> tuple[int, int]:
    """The utility's (retail, feed-in) in slot ``index`` of the day, base units per Wh."""
    return next((retail, feed_in) for second, retail, feed_in in reversed(TARIFFS) if second <= index * SLOT_S)


def site_of(home: Home) -> Site:
    """The home as its broker and its controller see it. Its EV is a store that holds what the day's trip needs."""
    battery, ev = home.battery, home.ev
    names = {kind: device(home.name, kind) for kind in KINDS}
    limits = {kind: _limits(home, kind) for kind in KINDS}
    return Site(
        network=home.name,
        bus=home.name,
        load=names["load"],
        panels=Panels(names["pv"], home.pv_w),
        battery=Battery(
            names["battery"], battery.capacity_wh, battery.power_w, battery.power_w, battery.efficiency_permille
        ),
        vehicle=Vehicle(names["ev"], "bev", ev.need_wh, ev.power_w, 0, 1000, EV_WH_PER_KM, 0),
        slot_seconds=SLOT_S,
        import_w={names[kind]: limits[kind][0] for kind in KINDS},
        export_w={names[kind]: limits[kind][1] for kind in KINDS},
    )


def _midnight(date: datetime.date) -> int:
    return int(datetime.datetime(date.year, date.month, date.day, tzinfo=datetime.UTC).timestamp())


def _key_names(community: Community) -> list[str]:
    names = ["utility", "grid-operator", *AGGREGATORS]
    return names + [f"{home.name}.{role}" for home in community.homes for role in ("owner", "broker", "meter")]


def _settings(community: Community, public: dict[str, str]) -> dict[str, dict[str, Any]]:
    homes = community.homes
    return {
        "identity": {
            "admins": [public["utility"]],
            "members": [
                ["utility", public["utility"], ["utility", "validator"]],
                ["grid-operator", public["grid-operator"], ["grid-operator", "validator"]],
                *([name, public[name], ["aggregator", "validator"]] for name in AGGREGATORS),
            ],
            "networks": [
                [home.name, AGGREGATORS[index % 2], public[f"{home.name}.owner"], home.name]
                for index, home in enumerate(homes)
            ],
            "devices": [_device_row(home, kind, public) for home in homes for kind in KINDS],
        },
        "grid": GridVersion("transformer", TOLL_PER_METRE, _lines(homes)).settings(),
        "market": {
            "slot_seconds": SLOT_S,
            "open_before_s": DAY_S,
            "gate_before_end_s": GATE_BEFORE_END_S,
            "tick_s": 300,
            "metering_window_s": 2 * SLOT_S,
            "dispute_window_s": 7 * DAY_S,
            "outage_s": OUTAGE_S,
            "tariffs": [list(row) for row in TARIFFS],
        },
        "budget": {"period_slots": SLOTS, "ahead_permille": AHEAD_PERMILLE},
    }


def _device_row(home: Home, kind: str, public: dict[str, str]) -> list[Any]:
    broker, meter = public[f"{home.name}.broker"], public[f"{home.name}.meter"]
    critical, renewable = kind == "load", kind == "pv"
    return [
        device(home.name, kind),
        home.name,
        kind,
        broker,
        meter,
        home.name,
        *_limits(home, kind),
        critical,
        renewable,
    ]


def _limits(home: Home, kind: str) -> tuple[int, int]:
    """(import, export) of a home's device, W."""
    return {**LIMITS_W, "pv": (0, home.pv_w), "battery": (home.battery.power_w, home.battery.power_w)}[kind]


def _lines(homes: tuple[Home, ...]) -> tuple[LineSettings, ...]:
    """Three feeders, poles along them, and at each pole two homes, 15 to 40 m off."""
    lines: list[LineSettings] = []

    def add(parent: str, child: str, metres: int, limit_w: int | None = None) -> None:
        lines.append((parent, child, metres, 0, limit_w, limit_w))

    poles = dict.fromkeys(FEEDERS, 0)
    for index, home in enumerate(homes):
        feeder = index % len(FEEDERS)
        name = FEEDERS[feeder]
        place = index // len(FEEDERS)
        if index < len(FEEDERS):
            add("transformer", f"feeder-{name}", FEEDER_METRES[feeder], FEEDER_LIMIT_W[feeder])
        if place % HOMES_PER_POLE == 0:
            poles[name] += 1
            before = f"feeder-{name}" if poles[name] == 1 else f"pole-{name}{poles[name] - 1}"
            add(before, f"pole-{name}{poles[name]}", POLE_METRES)
        add(f"pole-{name}{poles[name]}", home.name, 15 + 5 * (home.building % 6))
    return tuple(lines)


def _write_site(world: World, home: Home, begin: int) -> None:
    """What the home's broker is told: how the home is built, what was measured in the weeks before, and what the home
    itself says at block time ``begin``."""
    directory = world.site_directory(home)
    directory.mkdir(parents=True)
    (directory / SITE_NAME).write_text(_site_text(world, home))
    first = world.first_slot - len(home.load_past_wh)
    rows = zip(range(first, world.first_slot), home.load_past_wh, home.sun_past_wh, strict=True)
    history = [f"{slot * SLOT_S},{load_wh},{sun_wh}" for slot, load_wh, sun_wh in rows]
    (directory / HISTORY_NAME).write_text("\n".join(["time,load_wh,sun_wh", *history, ""]))
    (directory / STATES_NAME).write_text("\n".join([STATES_HEADER, *states(world, home, begin, (None, 0)), ""]))


def states(world: World, home: Home, now: int, levels: tuple[int | None, int]) -> list[str]:
    """What the home says of its battery and its EV at block time ``now``: the lines of its state file. ``levels``: of
    both; None: half full, as it is at first."""
    battery_wh, ev_wh = levels
    index = max(0, now // SLOT_S - world.first_slot)
    ev = home.ev
    level = home.battery.initial_wh if battery_wh is None else battery_wh
    battery = f"{now},{device(home.name, 'battery')},{level},,,"
    if not ev.first_slot <= index < ev.departure_slot:
        return [battery, f"{now},{device(home.name, 'ev')},0,no,,"]
    leaves = (world.first_slot + ev.departure_slot) * SLOT_S
    return [battery, f"{now},{device(home.name, 'ev')},{ev_wh},yes,{leaves},{ev.need_wh}"]


def _site_text(world: World, home: Home) -> str:
    gateways = world.network.gateways
    turn = home.building % NODES
    asked = ", ".join(f'"{address}"' for address in gateways[turn:] + gateways[:turn])
    battery, ev = home.battery, home.ev
    return f"""network = "{home.name}"
gateways = [{asked}]
genesis = "../../../{GENESIS_NAME}"
key_file = "../../../{KEYS_NAME}/{home.name}.broker.json"
passphrase_file = "../../../{PASSPHRASE_NAME}"
strategy = "{STRATEGY}"
decide_every = {DECIDE_S}
orders_ahead = {ORDERS_AHEAD}
first_slot = {world.first_slot}
end_slot = {world.end_slot}
poll_ms = {POLL_MS}
history_file = "{HISTORY_NAME}"
state_file = "{STATES_NAME}"
setpoints_file = "{SETPOINTS_NAME}"

[panels]
peak_w = {home.pv_w}

[battery]
capacity_wh = {battery.capacity_wh}
efficiency_permille = {battery.efficiency_permille}

[vehicle]
capacity_wh = {ev.need_wh}
efficiency_permille = 1000
wh_per_km = {EV_WH_PER_KM}
km_a_day = {ev.km}
leaves = "{_clock(ev.departure_slot)}"
arrives = "{_clock(ev.first_slot)}"
"""


def _clock(index: int) -> str:
    """The time of day at which slot ``index`` begins."""
    hours, minutes = divmod(index * SLOT_S // 60, 60)
    return f"{hours:02d}:{minutes:02d}"
