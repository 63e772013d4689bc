"""The company's world: members, networks, devices and meters in a genesis document, and their keys on the disk.

    DIR/genesis.json, DIR/nodes/...    the network (testnet/genesis.py)
    DIR/keys/*.json, DIR/passphrase    utility, grid operator, aggregator, company, the neighbour and its owner, each
                                       shop's owner (`shop-03`) and each network's meters (`shop-03.hvac.meter`)

A shop's one key acts for the owner of its four networks and for their devices. The meters of a network sign with a key
of theirs, and the aggregator hands in what they have signed. Every shop is a bus behind one transformer.

Assumed: the grid, and all windows of time; the latter are wide, because a day passes in seconds.
"""

import datetime
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from chaincode.settlement_messages import reading_message
from node.keyfile import load_key, write_private
from node.model.keys import SigningKey
from testnet.company_data import HOURS
from testnet.company_money import TARIFFS
from testnet.company_plan import FIRST_DAY, NEIGHBOUR, Company, DevicePlan, NetworkPlan
from testnet.genesis import Network, build_network, load_network, new_files, new_key

PASSPHRASE_NAME: Final = "passphrase"
KEYS_NAME: Final = "keys"
NODES: Final = 4
DAY_S: Final = 86_400
SLOT_S: Final = DAY_S // HOURS

UTILITY: Final = "utility"
GRID_OPERATOR: Final = "grid-operator"
AGGREGATOR: Final = "aggregator"
MEMBER: Final = "company"
"""The company, as a member of the consortium."""

OPEN_BEFORE_S: Final = 24 * 3_600
"""Orders of an evening are for the whole of the next day."""
TICK_S: Final = 7_200
METERING_S: Final = 36 * 3_600
DISPUTE_S: Final = 2 * 3_600
OUTAGE_S: Final = 36 * 3_600
AHEAD_PERMILLE: Final = 150
"""Tolerated above the elapsed share of the period before an alert."""
BORROW_ALERT: Final = 10
TOLL_PER_METRE: Final = 100
SHOP_METRES: Final = (120, 45)
"""To the first shop, and further to each other one."""

Reading = tuple[str, int, int, int, int, int, bytes]
"""As ``settlement.collect`` takes it."""


class World(NamedTuple):
    """The network on disk, and all keys by name."""

    network: Network
    company: Company
    keys: dict[str, SigningKey]

    @property
    def first_slot(self) -> int:
        """The first of the period."""
        return start_s() // SLOT_S

    @property
    def end_slot(self) -> int:
        """The first after it."""
        return self.first_slot + self.company.days * HOURS


class Meter:
    """A device's meter: its registers, and what it signs. It begins at 0."""

    def __init__(self, device: DevicePlan, key: SigningKey, chain: bytes) -> None:
        self._device = device
        self._key = key
        self._chain = chain
        self._registers = (0, 0)

    def read(self, slot: int, index: int) -> Reading:
        """What flowed in hour ``index`` of the period, which is ``slot`` and follows the last one read."""
        wh = self._device.wh[index]
        energy = max(wh, 0), max(-wh, 0)
        self._registers = self._registers[0] + energy[0], self._registers[1] + energy[1]
        message = reading_message(self._chain, self._device.id, slot, energy, self._registers)
        return self._device.id, slot, *energy, *self._registers, self._key.sign(message)


def start_s() -> int:
    """Midnight of the first day, block time. The data's hours are taken for UTC."""
    return int(datetime.datetime(*FIRST_DAY.timetuple()[:3], tzinfo=datetime.UTC).timestamp())


def owner_of(network: NetworkPlan) -> str:
    """The name of its owner's key."""
    return network.bus


def member_of(network: NetworkPlan) -> str:
    """The member that it belongs to, and the name of its key."""
    return MEMBER if network.shop else NEIGHBOUR


def meter_of(network: NetworkPlan) -> str:
    """The name of its meters' key."""
    return f"{network.id.replace('/', '.')}.meter"


def build_world(directory: Path, company: Company, *, time_scale: int, lead_s: int) -> World:
    """Write a new world into ``directory``; its block time begins now, ``lead_s`` before the period.

    Raises ConfigError as ``build_network`` and ``new_files`` do.
    """
    names = list(_key_names(company))
    with new_files(directory) as work:
        passphrase = secrets.token_urlsafe(24)
        write_private(work / PASSPHRASE_NAME, passphrase.encode() + b"\n")
        (work / KEYS_NAME).mkdir()
        public = {name: new_key(work / KEYS_NAME / f"{name}.json", passphrase) for name in names}
        build_network(
            work,
            settings(company, public),
            nodes=NODES,
            base_port=None,
            name="company",
            time_scale=time_scale,
            time_origin=start_s() - lead_s,
        )
    keys = {name: load_key(directory / KEYS_NAME / f"{name}.json", passphrase) for name in names}
    return World(load_network(directory), company, keys)


def settings(company: Company, public: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The genesis settings of the contracts. ``public``: keys by name, in hex."""
    buses = list(dict.fromkeys(network.bus for network in company.all_networks))
    members = ((UTILITY, ["utility"]), (GRID_OPERATOR, ["grid-operator"]), (AGGREGATOR, ["aggregator"]))
    return {
        "identity": {
            "admins": [public[UTILITY]],
            "members": [[name, public[name], roles] for name, roles in (*members, (MEMBER, []), (NEIGHBOUR, []))],
            "networks": [
                [network.id, member_of(network), public[owner_of(network)], network.bus]
                for network in company.all_networks
            ],
            "devices": [_device_row(network, device, public) for network, device in _devices(company)],
        },
        "grid": {
            "root": "transformer",
            "rate": TOLL_PER_METRE,
            "lines": [
                ["transformer", bus, SHOP_METRES[0] + SHOP_METRES[1] * index, 0, None, None]
                for index, bus in enumerate(buses)
            ],
        },
        "market": {
            "slot_seconds": SLOT_S,
            "open_before_s": OPEN_BEFORE_S,
            "tick_s": TICK_S,
            "metering_window_s": METERING_S,
            "dispute_window_s": DISPUTE_S,
            "outage_s": OUTAGE_S,
            "tariffs": [list(row) for row in TARIFFS],
        },
        "budget": {
            "period_slots": HOURS,
            "ahead_permille": AHEAD_PERMILLE,
            "borrow_alert": BORROW_ALERT,
        },
    }


def _devices(company: Company) -> Iterator[tuple[NetworkPlan, DevicePlan]]:
    for network in company.all_networks:
        for device in network.devices:
            yield network, device


def _device_row(network: NetworkPlan, device: DevicePlan, public: dict[str, str]) -> list[Any]:
    """It hangs nowhere until its owner connects it from the first slot on: before that nobody meters it."""
    keys = public[owner_of(network)], public[meter_of(network)]
    return [device.id, network.id, device.kind, *keys, None, *device.limits_w, device.critical, device.kind == "pv"]


def _key_names(company: Company) -> Iterator[str]:
    yield from (UTILITY, GRID_OPERATOR, AGGREGATOR, MEMBER)
    yield from dict.fromkeys(owner_of(network) for network in company.all_networks)
    yield from (meter_of(network) for network in company.all_networks)
