"""Who and what a season is traded with: genesis settings from sites, a grid, prices and budgets.

The same world goes into an exchange in one process (``local_exchange``) and onto nodes. Who is who: a utility supplies
who is short, issues the budgets and publishes its prices; a grid operator has the lines; a collector hands in what the
meters signed. A site is a network of its own: one key owns it, one trades for all its devices, one is its meters'.

Prices that change slot by slot keep to the rules: what is voted at genesis is the worst of the whole season, the
dearest retail and the lowest feed-in, and within it the utility publishes each day's prices, a day or more before
(``office``). For that the chain begins a little more than a day before the season.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from broker.data.homes import Series
from broker.site import Site
from cli.grid_file import GridVersion
from node.model.codec import sha256
from node.model.keys import SigningKey

DAY_S: Final = 86_400
PERIOD_DAYS: Final = 30
AMPLE_BUDGET: Final = 10**13
"""Base units for a device and period, at least: 10,000 tokens."""
MAX_GIVEN: Final = 2**57
"""Of all devices together: half of what the ledger lets be issued, since two periods may overlap."""
MIX_PERMILLE: Final = 300
"""Assumed: how much of the utility's energy is renewable."""
MAX_ESTIMATES: Final = 1_000

STREET_ROOT: Final = "street/transformer"
"""No home is called so: names of homes have no slash."""
STREET_RATE: Final = 40
"""Assumed: base units per Wh and metre; 500 m across the street cost 0.02 tokens per kWh."""
FEEDERS: Final = ("a", "b", "c")
FEEDER_METRES: Final = (180, 120, 240)
FEEDER_LIMITS_W: Final = (5_000, 4_000, 6_000)
"""Assumed: of contracted exchange, each way, between a feeder and the rest."""
POLE_METRES: Final = 60
HOMES_PER_POLE: Final = 2
_SPUR_METRES: Final = (15, 20, 25, 30, 35, 40)

UTILITY: Final = "utility"
GRID_OPERATOR: Final = "grid-operator"
COLLECTOR: Final = "collector"


class Keys(NamedTuple):
    """Public keys. By network: who owns it, who trades for its devices, and its meters'."""

    utility: bytes
    grid_operator: bytes
    collector: bytes
    owners: Mapping[str, bytes]
    brokers: Mapping[str, bytes]
    meters: Mapping[str, bytes]


class SecretKeys(NamedTuple):
    """The same keys to sign with."""

    utility: SigningKey
    grid_operator: SigningKey
    collector: SigningKey
    owners: Mapping[str, SigningKey]
    brokers: Mapping[str, SigningKey]
    meters: Mapping[str, SigningKey]

    @property
    def public(self) -> Keys:
        """Their public halves."""
        by_network = [
            {name: key.public_key for name, key in keys.items()} for keys in (self.owners, self.brokers, self.meters)
        ]
        return Keys(self.utility.public_key, self.grid_operator.public_key, self.collector.public_key, *by_network)

    @property
    def by_public(self) -> dict[bytes, SigningKey]:
        """All of them by their public halves."""
        keys = [self.utility, self.grid_operator, self.collector]
        for by_network in (self.owners, self.brokers, self.meters):
            keys += by_network.values()
        return {key.public_key: key for key in keys}


class Windows(NamedTuple):
    """The market's times, s, as its settings name them. Of a slot of an hour the first auction is after a quarter:
    stores act on contracts from there on, so an early one serves them best; on nodes that live an hour in a second or
    two a quarter is a third of a second, and orders are to be in a block by then. Slots are settled and final soon,
    since nobody disputes what a data set measured."""

    open_before_s: int = 3 * 3600
    gate_before_end_s: int = 600
    tick_s: int = 900
    metering_window_s: int = 1_800
    dispute_window_s: int = 1_800
    retention_s: int = DAY_S
    outage_s: int = 3_600


def windows_of(slot_seconds: int) -> Windows:
    """The same for slots of another length: the same parts of a slot."""
    return Windows(
        open_before_s=3 * slot_seconds,
        gate_before_end_s=slot_seconds // 6,
        tick_s=slot_seconds // 4,
        metering_window_s=slot_seconds // 2,
        dispute_window_s=slot_seconds // 2,
        outage_s=slot_seconds,
    )


DEFAULT_WINDOWS: Final = Windows()


class Period(NamedTuple):
    """A billing period, as far as it lies in the season: from slot ``first`` until before ``end``."""

    number: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class World:
    """``retail`` and ``feed_in``: base units per Wh for each slot from ``first_slot`` on. ``budgets``: by device, base
    units for a whole period; devices that are not in it have so much that nothing is refused for want of money."""

    sites: tuple[Site, ...]
    grid: GridVersion
    keys: Keys
    first_slot: int
    slot_seconds: int
    retail: Series
    feed_in: Series
    budgets: Mapping[str, int]
    windows: Windows = DEFAULT_WINDOWS
    mix_permille: int = MIX_PERMILLE

    @property
    def end_slot(self) -> int:
        """The first slot after the season."""
        return self.first_slot + len(self.retail)

    @property
    def start(self) -> int:
        """Block time at which the season begins, s."""
        return self.first_slot * self.slot_seconds

    @property
    def settled_at(self) -> int:
        """Block time at which the season's last slot is final, s. To go on beyond it is to settle hours after the
        season, whose missing readings are estimated, and cost."""
        windows = self.windows
        return self.end_slot * self.slot_seconds + windows.metering_window_s + windows.dispute_window_s

    @property
    def time_origin(self) -> int:
        """Block time at which the chain begins: early enough for the first day's prices."""
        early = DAY_S + max(self.windows.open_before_s - DAY_S, 0) + 2 * self.slot_seconds
        return self.start // DAY_S * DAY_S - early

    @property
    def period_slots(self) -> int:
        """Slots of a billing period."""
        return PERIOD_DAYS * DAY_S // self.slot_seconds

    @property
    def periods(self) -> tuple[Period, ...]:
        """All billing periods of the season."""
        length = self.period_slots
        numbers = range(self.first_slot // length, (self.end_slot - 1) // length + 1)
        return tuple([self._period(number) for number in numbers])

    def period_of(self, slot: int) -> Period:
        """The billing period of ``slot``."""
        return self._period(slot // self.period_slots)

    def budget(self, device: str, period: Period) -> int:
        """What ``device`` is given for ``period``: of a period that lies in the season in part, that part."""
        return self.budgets.get(device, self._ample) * (period.end - period.first) // self.period_slots

    def settings(self) -> dict[str, dict[str, Any]]:
        """The genesis settings, by contract."""
        keys = self.keys
        return {
            "identity": {
                "admins": [keys.utility.hex()],
                "members": [
                    [UTILITY, keys.utility.hex(), ["utility"]],
                    [GRID_OPERATOR, keys.grid_operator.hex(), ["grid-operator"]],
                    [COLLECTOR, keys.collector.hex(), ["aggregator"]],
                ],
                "networks": [
                    [site.network, COLLECTOR, keys.owners[site.network].hex(), site.bus] for site in self.sites
                ],
                "devices": [row for site in self.sites for row in _device_rows(site, keys)],
            },
            "grid": self.grid.settings(),
            "market": {
                "slot_seconds": self.slot_seconds,
                **self.windows._asdict(),
                "mix_permille": self.mix_permille,
                "max_estimates": MAX_ESTIMATES,
                "tariffs": [[0, int(self.retail.max()), int(self.feed_in.min())]],
            },
            "budget": {"period_slots": self.period_slots, "ahead_permille": 1_000},
        }

    @property
    def _ample(self) -> int:
        """What the largest device could spend at the dearest price, for each, as far as there are tokens."""
        most_w = max([power for site in self.sites for power in site.import_w.values()])
        wh = most_w * self.period_slots * self.slot_seconds // 3600
        devices = sum([len(site.devices) for site in self.sites])
        return min(max(AMPLE_BUDGET, wh * int(self.retail.max())), MAX_GIVEN // devices)

    def _period(self, number: int) -> Period:
        length = self.period_slots
        return Period(number, max(number * length, self.first_slot), min((number + 1) * length, self.end_slot))


def known_keys(networks: Sequence[str]) -> SecretKeys:
    """The same in every run, for where nothing hangs on who signs."""

    def key(*name: str) -> SigningKey:
        return SigningKey(sha256(b"known key ", "/".join(name).encode()))

    def by_network(role: str) -> dict[str, SigningKey]:
        return {network: key(role, network) for network in networks}

    return SecretKeys(
        key(UTILITY), key(GRID_OPERATOR), key(COLLECTOR), by_network("owner"), by_network("broker"), by_network("meter")
    )


def street(names: Sequence[str], rate: int = STREET_RATE) -> GridVersion:
    """A street of three feeders: poles along them, at each pole two homes, every home's bus called as the home."""
    lines: list[tuple[str, str, int, int, int | None, int | None]] = []
    poles = dict.fromkeys(FEEDERS, 0)
    for index, name in enumerate(names):
        number = index % len(FEEDERS)
        feeder, place = FEEDERS[number], index // len(FEEDERS)
        if place == 0:
            limit = FEEDER_LIMITS_W[number]
            lines.append((STREET_ROOT, f"street/feeder-{feeder}", FEEDER_METRES[number], 0, limit, limit))
        if place % HOMES_PER_POLE == 0:
            poles[feeder] += 1
            before = f"street/feeder-{feeder}" if poles[feeder] == 1 else f"street/pole-{feeder}{poles[feeder] - 1}"
            lines.append((before, f"street/pole-{feeder}{poles[feeder]}", POLE_METRES, 0, None, None))
        lines.append(
            (f"street/pole-{feeder}{poles[feeder]}", name, _SPUR_METRES[index % len(_SPUR_METRES)], 0, None, None)
        )
    return GridVersion(STREET_ROOT, rate, tuple(lines))


def varied(grid: GridVersion, tolls_permille: int, *, limits: bool) -> GridVersion:
    """``grid`` with such a part of its tolls (rounded down, line by line), and with or without its lines' limits."""
    lines = []
    for parent, child, metres, step, down_w, up_w in grid.lines:
        toll = (grid.rate * metres + step) * tolls_permille // 1000
        lines.append((parent, child, metres, toll, *((down_w, up_w) if limits else (None, None))))
    return GridVersion(grid.root, 0, tuple(lines))


def _device_rows(site: Site, keys: Keys) -> list[list[Any]]:
    kinds = {site.load: "load"}
    for kind, device in (("pv", site.panels), ("battery", site.battery), ("ev", site.vehicle)):
        if device is not None:
            kinds[device.device] = kind
    pair = keys.brokers[site.network].hex(), keys.meters[site.network].hex()
    rows: list[list[Any]] = []
    for name, kind in kinds.items():
        limits = site.import_w[name], site.export_w[name]
        rows.append([name, site.network, kind, *pair, site.bus, *limits, kind == "load", kind == "pv"])
    return rows
