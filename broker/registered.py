"""A site as it is registered on the ledger, joined with what its file says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.site import Battery, Panels, Site, Vehicle
from broker.site_file import SiteFile
from chaincode.market_products import Settings
from cli.answers import HIDDEN
from node.errors import ConfigError, RefusedError
from node.gateway.client import Client

Moves = Mapping[str, tuple[tuple[int, str], ...]]
"""Device -> (from slot, bus) in order; bus "" where it hangs on none."""


@dataclass(frozen=True, slots=True)
class Registered:
    """``moves``: where its devices hang."""

    site: Site
    moves: Moves


@dataclass(frozen=True, slots=True)
class _Device:
    kind: str
    import_w: int
    export_w: int
    keys: frozenset[bytes]
    moves: tuple[tuple[int, str], ...]


async def find_site(client: Client, file: SiteFile, key: bytes, settings: Settings, slot: int) -> Registered:
    """The site of ``file`` in ``slot``, for whose devices the public ``key`` trades.

    Raises ConfigError: "unknown-network", "bad-site" (a device that is missing, or one of several that is meant),
    "wrong-key".
    """
    try:
        network = await client.query("identity", "network", {"network": file.network})
        names = await client.query("identity", "devices", {"network": file.network})
    except RefusedError as error:
        if error.code in HIDDEN:
            text = f"{file.key_file}: its key is nobody's of a network {file.network!r}, if there is one"
            raise ConfigError("wrong-key", text) from error
        if error.code != "unknown-network":
            raise
        raise ConfigError("unknown-network", f"the ledger knows no network {file.network!r}") from error
    owner = network[2] if isinstance(network, tuple) else b""
    devices: dict[str, _Device] = {}
    for name in names if isinstance(names, tuple) else ():
        match await client.query("identity", "device", {"device": name}):
            case (str(device), _, str(kind), bytes(own), _, int(import_w), int(export_w), _, _, tuple(moves), *_):
                keys = frozenset((own, owner if isinstance(owner, bytes) else b""))
                devices[device] = _Device(kind, import_w, export_w, keys, _moves(moves))
    site = _site(file, devices, settings.slot_seconds, slot)
    for name in site.devices:
        if key not in devices[name].keys:
            raise ConfigError(
                "wrong-key", f"{file.key_file}: its key may not trade for {name}, nor owns {file.network}"
            )
    return Registered(site, {name: devices[name].moves for name in site.devices})


async def moves_of(client: Client, devices: Iterable[str]) -> Moves:
    """Where the devices hang by now, and will."""
    found: dict[str, tuple[tuple[int, str], ...]] = {}
    for name in devices:
        match await client.query("identity", "device", {"device": name}):
            case (str(device), _, _, _, _, _, _, _, _, tuple(moves), *_):
                found[device] = _moves(moves)
    return found


def bus_at(moves: Moves, device: str, slot: int) -> str:
    """Where a device hangs in a slot, "" if nowhere."""
    return next((bus for first, bus in reversed(moves.get(device, ())) if first <= slot), "")


def _moves(rows: tuple[Any, ...]) -> tuple[tuple[int, str], ...]:
    return tuple((int(first), str(bus or "")) for first, bus in rows)


def _site(file: SiteFile, devices: Mapping[str, _Device], slot_seconds: int, slot: int) -> Site:
    load = _named(file, devices, "load", ("load",), file.load.device)
    panels = battery = vehicle = None
    if file.panels is not None:
        name = _named(file, devices, "panels", ("pv",), file.panels.device)
        panels = Panels(name, file.panels.peak_w or devices[name].export_w)
    if (table := file.battery) is not None:
        name = _named(file, devices, "battery", ("battery",), table.device)
        own = devices[name]
        charge = own.import_w if table.charge_w is None else min(table.charge_w, own.import_w)
        discharge = own.export_w if table.discharge_w is None else min(table.discharge_w, own.export_w)
        battery = Battery(name, table.capacity_wh, charge, discharge, table.efficiency_permille)
    if (car := file.vehicle) is not None:
        name = _named(file, devices, "vehicle", ("ev", "charger"), car.device)
        own = devices[name]
        vehicle = Vehicle(
            device=name,
            kind=car.kind,
            capacity_wh=car.capacity_wh,
            charge_w=own.import_w if car.charge_w is None else min(car.charge_w, own.import_w),
            discharge_w=min(car.discharge_w, own.export_w),
            efficiency_permille=car.efficiency_permille,
            wh_per_km=car.wh_per_km,
            reserve_wh=car.reserve_wh,
        )
    named = (load, *(part.device for part in (panels, battery, vehicle) if part is not None))
    return Site(
        network=file.network,
        bus=bus_at({load: devices[load].moves}, load, slot),
        load=load,
        panels=panels,
        battery=battery,
        vehicle=vehicle,
        slot_seconds=slot_seconds,
        import_w={name: devices[name].import_w for name in named},
        export_w={name: devices[name].export_w for name in named},
    )


def _named(file: SiteFile, devices: Mapping[str, _Device], table: str, kinds: tuple[str, ...], wanted: str) -> str:
    """The device that is meant. Raises ConfigError("bad-site")."""
    found = [name for name, device in devices.items() if device.kind in kinds]
    if wanted:
        if wanted not in found:
            have = ", ".join(found) or "none"
            raise ConfigError("bad-site", f"[{table}]: {file.network} has no {kinds[0]} {wanted!r}; it has {have}")
        return wanted
    if len(found) != 1:
        raise ConfigError(
            "bad-site", f"[{table}]: {file.network} has {len(found)} devices of the kind {kinds[0]}: name one as device"
        )
    return found[0]
