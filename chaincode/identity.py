"""Networks, their devices and meters, where each is connected, and whether a call comes from a key that may make it.

Member -> network (a home, a shop's HVAC, a fleet) -> device (load, PV, battery, EV, charger). The table of rights
is ``RIGHTS`` in ``roles.py``; the ``require_*`` functions here apply it to a network or a device.

A device hangs on a bus of the grid from a slot on. An EV moves; what else there is those connect elsewhere who register
it, or energy could be drawn that is nobody's. For the same reason, what hangs somewhere in the slot under way does so
until its end. ``connect`` and ``disconnect`` are refused while the device has fills in that slot or later; the market
cancels what is open there when it drains ``take_moves`` at the end of the block.

Genesis settings, all optional (keys in hex, 64 digits):
``admins``: array of keys that may register everything; ``members``: arrays ``[id, key, [role, ...]]``;
``networks``: arrays ``[id, member, owner_key, bus]``; ``devices``: arrays ``[id, network, kind, key, meter_key, bus or
null, import_w, export_w, critical, renewable]``.

Keys change in ``key_changes.py``. What is registered lies in ``identity_records.py``; callers find it here as well.

State: ``device-fills/`` device -> last slot with a fill; ``device-moves/`` -> count; ``device-moves/`` index(4) ->
(device, slot).
"""

from typing import Any, Final, cast

from chaincode import enrolments, grid, market_products, origin_cursor, roles, slots
from chaincode.contract import Context, Contract, ContractError, Subject, Value, query, transaction
from chaincode.identity_records import (
    KINDS,
    MAX_DEVICES,
    MAX_POWER_W,
    Device,
    Network,
    add_device,
    add_network,
    bus_at,
    device_of,
    devices_of,
    network_of,
    networks_of,
    networks_of_member,
    place_at,
    put_device,
    require_new_name,
)
from chaincode.roles import RIGHTS, Member, has_role, member_of, require_right
from chaincode.standing import TABLES, member_behind
from chaincode.subjects import CONSORTIUM, EVERYBODY, KEY, REGISTRY, a_device, a_network, closed, public, the_consortium

__all__ = [
    "KINDS",
    "MAX_AHEAD_SLOTS",
    "MAX_DEVICES",
    "MAX_LISTED",
    "MAX_PLACES",
    "MAX_POWER_W",
    "Device",
    "Identity",
    "Network",
    "bus_at",
    "device_of",
    "devices_of",
    "network_of",
    "networks_of",
    "networks_of_member",
    "note_fill",
    "place_at",
    "require_asker",
    "require_device_key",
    "require_forecaster",
    "require_member",
    "require_meter",
    "require_owner",
    "take_moves",
]

MAX_LISTED: Final = 500
MAX_PLACES: Final = 64
"""Of one device, from its first slot that is not yet final on."""
MAX_AHEAD_SLOTS: Final = 1_000
"""How far ahead a move may be planned."""

_FILLS: Final = b"device-fills/"
_MOVES: Final = b"device-moves/"


def require_device_key(ctx: Context, device: str) -> Device:
    """The sender may trade for ``device``. Raises ContractError: unknown-device, wrong-key."""
    return _require(ctx, "trade", device_of(ctx, device))


def require_forecaster(ctx: Context, device: str) -> Device:
    """The sender may say what ``device`` will need: its owner, since budgets are divided by it.

    Raises ContractError: unknown-device, wrong-key.
    """
    return _require(ctx, "forecast", device_of(ctx, device))


def require_asker(ctx: Context, device: str) -> Device:
    """The sender may ask for tokens for ``device``. Raises ContractError: unknown-device, wrong-key."""
    return _require(ctx, "request", device_of(ctx, device))


def require_meter(ctx: Context, device: str) -> Device:
    """The sender is the meter of ``device``. Raises ContractError: unknown-device, wrong-key."""
    return _require(ctx, "report", device_of(ctx, device))


def require_owner(ctx: Context, network: str) -> Network:
    """The sender manages the budgets of ``network``. Raises ContractError: unknown-network, wrong-key."""
    found = network_of(ctx, network)
    if not _is_holder(ctx, RIGHTS["manage-budget"], None, found):
        raise ContractError("wrong-key", f"not the key of the owner of {network}")
    return found


def require_member(ctx: Context, member: str) -> Member:
    """The sender manages what the company ``member`` holds. Raises ContractError: unknown-member, wrong-key."""
    found = member_of(ctx, member)
    if "member" not in RIGHTS["manage-company"] or ctx.sender != found.key:
        raise ContractError("wrong-key", f"not the key of {member}")
    return found


def note_fill(ctx: Context, device: str, slot: int) -> None:
    """The market: ``device`` has bought or sold in ``slot``, so it stays where it is until then."""
    key = _FILLS + device.encode()
    last = ctx.get(key)
    if last is None or cast("int", last) < slot:
        ctx.put(key, slot)


def take_moves(ctx: Context) -> tuple[tuple[str, int], ...]:
    """(device, first slot concerned) of every connect and disconnect since the last call; forgets them."""
    count = cast("int | None", ctx.get(_MOVES)) or 0
    moves = []
    for index in range(count):
        key = _MOVES + index.to_bytes(4, "big")
        moves.append(cast("tuple[str, int]", ctx.get(key)))
        ctx.delete(key)
    if count:
        ctx.delete(_MOVES)
    return tuple(moves)


def _of_key(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    return Subject(KEY, args["key"].hex(), REGISTRY), Subject(CONSORTIUM, "", REGISTRY)


def _of_member(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    member_of(ctx, args["member"])
    return (EVERYBODY,)


class Identity(Contract):
    """Registering members, networks and devices, and moving devices about the grid. ``proof``: the signature of the
    key to be registered over ``enrolments.possession_message``."""

    name = "identity"
    results = REGISTRY
    standing = TABLES

    def genesis(self, ctx: Context, settings: dict[str, Value]) -> None:
        rows = {name: cast("tuple[tuple[Value, ...], ...]", settings.get(name, ())) for name in _GENESIS_COLUMNS}
        for name, columns in _GENESIS_COLUMNS.items():
            if any(len(row) != columns for row in rows[name]):
                raise ContractError("bad-settings", f"identity: each of {name} has {columns} entries")
        roles.set_admins(ctx, tuple(_hex(key) for key in cast("tuple[Value, ...]", settings.get("admins", ()))))
        for member, key, names in rows["members"]:
            roles.add_member(ctx, Member(cast("str", member), _hex(key), tuple(cast("tuple[str, ...]", names))))
        for network, member, owner_key, bus in rows["networks"]:
            add_network(ctx, Network(cast("str", network), cast("str", member), _hex(owner_key), cast("str", bus), 0))
        for row in rows["devices"]:
            device, network, kind, key, meter_key, bus, import_w, export_w, critical, renewable = row
            places = () if bus is None else ((0, cast("str", bus)),)
            names = cast("str", device), cast("str", network), cast("str", kind)
            limits = cast("int", import_w), cast("int", export_w)
            add_device(
                ctx, Device(*names, _hex(key), _hex(meter_key), *limits, critical is True, renewable is True, places)
            )

    def knows(self, ctx: Context, key: bytes) -> bool:
        return roles.acts(ctx, key)

    def whose(self, ctx: Context, key: bytes) -> str:
        return member_behind(ctx, key)

    @transaction
    def register_member(self, ctx: Context, *, member: str, key: bytes, proof: bytes, roles: tuple[str, ...]) -> Value:
        """A new member of the consortium. Admins only.

        Raises ContractError: not-allowed, bad-id, bad-key, bad-signature, duplicate-id, bad-role, role-taken.
        """
        require_right(ctx, "register-member")
        require_new_name(ctx, member)
        enrolments.require_possession(ctx, enrolments.MEMBER, member, key, proof)
        _add_member(ctx, Member(member, key, roles))
        return None

    @transaction
    def register_network(
        self, ctx: Context, *, network: str, member: str, owner_key: bytes, proof: bytes, bus: str
    ) -> Value:
        """A new network of ``member``, metered at ``bus``. By an admin, or the member itself. ``proof``: the owner's.

        Raises ContractError: not-allowed, unknown-member, bad-id, bad-key, bad-signature, duplicate-id, unknown-bus,
        key-in-use, too-many.
        """
        found = Network(network, member, owner_key, bus, 0)
        _require_registrar(ctx, "register-network", member)
        require_new_name(ctx, network)
        enrolments.require_possession(ctx, enrolments.NETWORK, network, owner_key, proof)
        add_network(ctx, found)
        return None

    @transaction
    def register_device(
        self,
        ctx: Context,
        *,
        device: str,
        network: str,
        kind: str,
        key: bytes,
        proof: bytes,
        meter_key: bytes,
        meter_proof: bytes,
        bus: str | None,
        import_w: int,
        export_w: int,
        critical: bool,
        renewable: bool,
        enrol_until: int = 0,
    ) -> Value:
        """A new device of ``network``, connected at ``bus`` from now on. By an admin, or the network's member.

        Not by the owner: whoever registers a device vouches for its meter. Limits in W, 0 to 10^9. With a block time
        ``enrol_until``, ``key`` is a one-time key by which the device enrols its own until then (``enrolments.py``),
        and ``proof`` is over ``enrolments.one_time_message``.
        Raises ContractError: not-allowed, unknown-network, bad-id, bad-key, bad-signature, bad-kind, bad-limit,
        duplicate-id, unknown-bus, too-many, key-in-use, bad-expiry (details: the latest time).
        """
        _require_registrar(ctx, "register-device", network_of(ctx, network).member)
        require_new_name(ctx, device)
        if not enrol_until:
            enrolments.require_possession(ctx, enrolments.DEVICE, device, key, proof)
        enrolments.require_possession(ctx, enrolments.METER, device, meter_key, meter_proof)
        places = () if bus is None else ((slots.current(ctx), bus),)
        own = roles.NO_KEY if enrol_until else key
        add_device(ctx, Device(device, network, kind, own, meter_key, import_w, export_w, critical, renewable, places))
        if enrol_until:
            enrolments.begin(ctx, enrolments.DEVICE, device, key, enrol_until, proof)
        return None

    @transaction
    def connect(self, ctx: Context, *, device: str, bus: str, slot: int) -> Value:
        """The device hangs on ``bus`` from ``slot`` on. By its own key or its owner's; if it is no EV, by an admin or
        the member. Raises ContractError: unknown-device, wrong-key, not-allowed, unknown-bus, slot-over, has-fills,
        too-many.
        """
        grid.require_bus(ctx, bus)
        _move(ctx, device, bus, slot)
        return None

    @transaction
    def disconnect(self, ctx: Context, *, device: str, slot: int) -> Value:
        """The device hangs nowhere from ``slot`` on. By whom, and raises, as ``connect``."""
        _move(ctx, device, "", slot)
        return None

    @query(of=public, proven=_of_member)
    def member(self, ctx: Context, *, member: str) -> Value:
        """(id, key, roles)."""
        return tuple(member_of(ctx, member))

    @query(of=a_network(REGISTRY))
    def network(self, ctx: Context, *, network: str) -> Value:
        """(id, member, owner key, bus, number of devices)."""
        return tuple(network_of(ctx, network))

    @query(of=the_consortium(REGISTRY))
    def networks(self, ctx: Context, *, first: int = 0) -> Value:
        """The ids of the networks from number ``first`` on, at most 500, in the order of their registration."""
        if first < 0:
            raise ContractError("bad-args", "the first number of a list is 0")
        return networks_of(ctx, first, MAX_LISTED)

    @query(of=a_device(REGISTRY))
    def device(self, ctx: Context, *, device: str) -> Value:
        """(id, network, kind, key, meter key, import_w, export_w, critical, renewable, ((from slot, bus), ...))."""
        return tuple(device_of(ctx, device))

    @query(of=a_network(REGISTRY))
    def devices(self, ctx: Context, *, network: str) -> Value:
        """The ids of a network's devices."""
        return devices_of(ctx, network)

    @query(of=_of_key, proven=closed)  # a key can be chosen so that another's entry lies beside
    def whoami(self, ctx: Context, *, key: bytes) -> Value:
        """What a key acts for: ((kind, id), ...), kind "member", "network", "device" or "meter"."""
        return roles.uses_of(ctx, key)


_GENESIS_COLUMNS: Final = {"members": 3, "networks": 4, "devices": 10}


def _add_member(ctx: Context, member: Member) -> None:
    roles.add_member(ctx, member)
    ctx.emit("member-registered", (member.id,), member.roles)


def _move(ctx: Context, device: str, bus: str, slot: int) -> None:
    found = device_of(ctx, device)
    if found.kind == "ev":
        _require(ctx, "connect", found)
    else:
        _require_registrar(ctx, "register-device", network_of(ctx, found.network).member)
    now = slots.current(ctx)
    first = now + (place_at(found, now) is not None)
    if not first <= slot <= now + MAX_AHEAD_SLOTS:
        raise ContractError("slot-over", f"from slot {first} on, at most {MAX_AHEAD_SLOTS} slots ahead", (first,))
    last_fill = cast("int | None", ctx.get(_FILLS + device.encode()))
    if last_fill is not None and last_fill >= slot:
        raise ContractError("has-fills", f"{device} has traded up to slot {last_fill}", (last_fill,))
    kept = _needed(ctx, [place for place in found.places if place[0] < slot])
    if len(kept) >= MAX_PLACES:
        raise ContractError("too-many", f"a device has at most {MAX_PLACES} places on record")
    put_device(ctx, found._replace(places=(*kept, (slot, bus))))
    count = cast("int | None", ctx.get(_MOVES)) or 0
    ctx.put(_MOVES + count.to_bytes(4, "big"), (device, slot))
    ctx.put(_MOVES, count + 1)
    ctx.emit("device-moved", (device, found.network), (bus, slot))


def _needed(ctx: Context, places: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """``places`` without those that were left before the oldest slot that settlement or origin may still ask for.
    If there is no room for these (a slot that is parked stays unfinished), without those left before any final slot.
    """
    oldest = origin_cursor.oldest_open(ctx)
    for index in range(len(places) - 1, 0, -1):
        is_full = len(places) >= MAX_PLACES
        if places[index][0] <= oldest or (is_full and market_products.is_final(ctx, places[index][0] - 1)):
            return places[index:]
    return places


def _require(ctx: Context, right: str, device: Device) -> Device:
    if not _is_holder(ctx, RIGHTS[right], device, None):
        raise ContractError("wrong-key", f"{right}: not a key that may act for {device.id}")
    return device


def _is_holder(ctx: Context, holders: tuple[str, ...], device: Device | None, network: Network | None) -> bool:
    """Whether the sender is one of ``holders``, a row of RIGHTS, for the device or the network in question."""
    for holder in holders:
        if device is not None and holder == "device" and ctx.sender == device.key:
            return True
        if device is not None and holder == "meter" and ctx.sender == device.meter_key:
            return True
        if holder == "owner":
            owned = network_of(ctx, device.network) if device is not None else network
            if owned is not None and ctx.sender == owned.owner_key:
                return True
    return False


def _require_registrar(ctx: Context, right: str, member: str) -> None:
    """The sender is a member with one of the roles of ``right``, or ``member`` itself if the right says so."""
    for holder in RIGHTS[right]:
        if holder == "member" and ctx.sender == member_of(ctx, member).key:
            return
        if holder != "member" and has_role(ctx, ctx.sender, holder):
            return
    raise ContractError("not-allowed", f"{right} is for {' or '.join(RIGHTS[right])}")


def _hex(value: Value) -> bytes:
    if type(value) is str and len(value) == 2 * roles.KEY_BYTES and all(digit in "0123456789abcdef" for digit in value):
        return bytes.fromhex(value)
    raise ContractError("bad-settings", f"a key is {2 * roles.KEY_BYTES} hex digits, not another value")
