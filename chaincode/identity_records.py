"""What is registered: networks, their devices, and the lists by which they are found. ``identity.py`` asks who may.

State: ``network/`` id -> Network; ``network-list/`` -> count; ``network-list/`` index(4) -> id; ``member-networks/``
member -> count; ``member-networks/`` member NUL index(4) -> network; ``network-devices/`` network NUL index(4) ->
device id; ``device/`` id -> Device.
"""

from typing import Final, NamedTuple, cast

from chaincode import grid, market_products, roles
from chaincode.contract import Context, ContractError
from chaincode.roles import check_id, check_key, member_of

KINDS: Final = ("load", "pv", "battery", "ev", "charger")
MAX_DEVICES: Final = 256
"""Devices of one network: what the automatic share at the end of a block has to look at."""
MAX_POWER_W: Final = market_products.MAX_POWER_W

_NETWORKS: Final = b"network/"
_NETWORK_LIST: Final = b"network-list/"
_MEMBER_NETWORKS: Final = b"member-networks/"
_NETWORK_DEVICES: Final = b"network-devices/"
_DEVICES: Final = b"device/"


class Network(NamedTuple):
    """``bus``: where its meter hangs; ``devices``: how many it has."""

    id: str
    member: str
    owner_key: bytes
    bus: str
    devices: int


class Device(NamedTuple):
    """``kind``: of KINDS; limits in W; ``critical``: may run on, owing; ``renewable``: what it exports is tagged so;
    ``places``: (from slot, bus or "" for none), ascending.
    """

    id: str
    network: str
    kind: str
    key: bytes
    meter_key: bytes
    import_w: int
    export_w: int
    critical: bool
    renewable: bool
    places: tuple[tuple[int, str], ...]


def network_of(ctx: Context, network: str) -> Network:
    """Raises ContractError("unknown-network")."""
    value = ctx.get(_NETWORKS + network.encode())
    if value is None:
        raise ContractError("unknown-network", f"there is no network {network[: roles.MAX_ID]!r}")
    return Network(*cast("Network", value))


def device_of(ctx: Context, device: str) -> Device:
    """Raises ContractError("unknown-device")."""
    value = ctx.get(_DEVICES + device.encode())
    if value is None:
        raise ContractError("unknown-device", f"there is no device {device[: roles.MAX_ID]!r}")
    return Device(*cast("Device", value))


def devices_of(ctx: Context, network: str) -> tuple[str, ...]:
    """The ids of a network's devices in the order of their registration. Raises ContractError("unknown-network")."""
    start = _NETWORK_DEVICES + network.encode() + b"\0"
    count = network_of(ctx, network).devices
    return tuple([cast("str", ctx.get(start + index.to_bytes(4, "big"))) for index in range(count)])


def networks_of(ctx: Context, first: int = 0, most: int | None = None) -> tuple[str, ...]:
    """The ids of the networks from number ``first`` on, in the order of their registration; at most ``most``."""
    count = cast("int | None", ctx.get(_NETWORK_LIST)) or 0
    end = count if most is None else min(count, first + most)
    return tuple([cast("str", ctx.get(_NETWORK_LIST + index.to_bytes(4, "big"))) for index in range(first, end)])


def place_at(device: Device, slot: int) -> str | None:
    """The bus where ``device`` hangs in ``slot``; None if it is not connected then."""
    for from_slot, bus in reversed(device.places):
        if from_slot <= slot:
            return bus or None
    return None


def bus_at(ctx: Context, device: str, slot: int) -> str | None:
    """``place_at`` for a device's id. Raises ContractError("unknown-device")."""
    return place_at(device_of(ctx, device), slot)


def networks_of_member(ctx: Context, member: str, first: int, most: int) -> tuple[str, ...]:
    """The ids of the networks of ``member`` from number ``first`` on, in the order of their registration; at most
    ``most``."""
    own = _MEMBER_NETWORKS + member.encode()
    end = min(cast("int | None", ctx.get(own)) or 0, first + most)
    return tuple([cast("str", ctx.get(own + b"\0" + index.to_bytes(4, "big"))) for index in range(first, end)])


def require_new_name(ctx: Context, name: str) -> None:
    """It is an id, and no member, network or device is called so. Events are told by names alone, so what they tell of
    a name that two have is for those who may read both, mostly nobody: a rival could blind a home by its device's name.

    Raises ContractError: bad-id, duplicate-id.
    """
    check_id(name)
    if roles.find_member(ctx, name) or any(ctx.get(table + name.encode()) for table in (_NETWORKS, _DEVICES)):
        raise ContractError("duplicate-id", f"{name[: roles.MAX_ID]} is the name of a member, network or device")


def add_network(ctx: Context, network: Network) -> None:
    """Raises ContractError: bad-id, bad-key, unknown-member, unknown-bus, duplicate-id, too-many."""
    check_id(network.id)
    check_key(network.owner_key)
    member_of(ctx, network.member)
    grid.require_bus(ctx, network.bus)
    key = _NETWORKS + network.id.encode()
    if ctx.get(key) is not None:
        raise ContractError("duplicate-id", f"there is a network {network.id}")
    count = cast("int | None", ctx.get(_NETWORK_LIST)) or 0
    ctx.put(key, tuple(network))
    ctx.put(_NETWORK_LIST + count.to_bytes(4, "big"), network.id)
    ctx.put(_NETWORK_LIST, count + 1)
    own = _MEMBER_NETWORKS + network.member.encode()
    number = cast("int | None", ctx.get(own)) or 0
    ctx.put(own + b"\0" + number.to_bytes(4, "big"), network.id)
    ctx.put(own, number + 1)
    roles.add_use(ctx, network.owner_key, "network", network.id)
    ctx.emit("network-registered", (network.id,), network.bus)


def add_device(ctx: Context, device: Device) -> None:
    """Raises ContractError: as ``Identity.register_device`` says."""
    check_id(device.id)
    if device.key != roles.NO_KEY:
        check_key(device.key)
    check_key(device.meter_key)
    if device.kind not in KINDS:
        raise ContractError("bad-kind", f"a device is one of {KINDS}")
    for limit_w in (device.import_w, device.export_w):
        if type(limit_w) is not int or not 0 <= limit_w <= MAX_POWER_W:
            raise ContractError("bad-limit", f"import and export limits are 0 to {MAX_POWER_W} W")
    for _, bus in device.places:
        grid.require_bus(ctx, bus)
    network = network_of(ctx, device.network)
    key = _DEVICES + device.id.encode()
    if ctx.get(key) is not None:
        raise ContractError("duplicate-id", f"there is a device {device.id}")
    if network.devices >= MAX_DEVICES:
        raise ContractError("too-many", f"a network has at most {MAX_DEVICES} devices")
    put_device(ctx, device)
    ctx.put(_NETWORK_DEVICES + network.id.encode() + b"\0" + network.devices.to_bytes(4, "big"), device.id)
    put_network(ctx, network._replace(devices=network.devices + 1))
    roles.add_use(ctx, device.key, "device", device.id)
    roles.add_use(ctx, device.meter_key, "meter", device.id)
    ctx.emit("device-registered", (device.id, network.id), device.kind)


def put_device(ctx: Context, device: Device) -> None:
    """Replace what is on record of a device."""
    ctx.put(_DEVICES + device.id.encode(), tuple(device))


def put_network(ctx: Context, network: Network) -> None:
    """Replace what is on record of a network."""
    ctx.put(_NETWORKS + network.id.encode(), tuple(network))
