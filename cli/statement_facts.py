"""What a statement is made of, asked from a node piece by piece: slots as settled, and what devices contracted in them.

The answers are those of ``chaincode/statements.py``; here they get names, and nothing is added up yet.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeVar, cast

import msgspec

from chaincode.contract import ContractError
from chaincode.market_orders import Position
from chaincode.market_products import FINAL, MAX_SLOT
from chaincode.origin_assign import Used
from chaincode.origin_state import Sums
from chaincode.settlement_ledger import Entry, Settled
from chaincode.settlement_readings import Reading
from chaincode.settlement_rent import Rent
from cli.answers import HIDDEN, Reader, as_rows, record
from node.errors import RefusedError
from node.model.codec import Value

T = TypeVar("T", bound=tuple[Any, ...])


class Slot(NamedTuple):
    """A network's slot. ``sums``: None if it is not settled, or its details are gone: the ``note`` says "pruned";
    ``blocks``: the height at which each revision of the ``entries`` was booked. Prices in base units per Wh.
    """

    slot: int
    state: str
    retail: int
    feed_in: int
    internal: int
    note: str
    sums: Settled | None
    entries: tuple[Entry, ...]
    blocks: tuple[int, ...]

    @property
    def is_final(self) -> bool:
        """Whether nothing of it can change any more."""
        return self.state == FINAL


class Held(NamedTuple):
    """What a device contracted and metered in a slot; ``readings``: the newest first, then those that it replaced."""

    slot: int
    position: Position | None
    readings: tuple[Reading, ...]

    @property
    def reading(self) -> Reading | None:
        """The one that holds."""
        return self.readings[0] if self.readings else None


class Fill(NamedTuple):
    """A part of an order that an auction filled. ``price``: what this side pays or gets, base units per Wh."""

    slot: int
    auction: int
    time: int
    height: int
    order: bytes
    other_order: bytes
    energy_wh: int
    price: int
    other_price: int
    toll: int


class Ordered(NamedTuple):
    """Whose an order is, and the transaction and block that placed it."""

    order: bytes
    device: str
    network: str
    bus: str
    side: str
    price: int
    renewable: bool
    placed: int
    tx: bytes
    height: int


class Device(NamedTuple):
    """A device in a period."""

    held: dict[int, Held]
    fills: tuple[Fill, ...]


class Origin(NamedTuple):
    """By what means a network came by what it used in a slot; known for good, or as it looks now."""

    is_final: bool
    used: tuple[Used, ...]


class RentBack(NamedTuple):
    """The congestion rent of a period of the consortium that ends with ``last_slot``, in base units: the network's
    ``tolls`` that count when it is divided, the ``rent`` that came back, in which ``block`` (0 before) and by which
    hook; and that of all networks.
    """

    period: int
    last_slot: int
    tolls: int
    rent: int
    block: int
    cause: bytes
    of_all: Rent


class Facts(NamedTuple):
    """All that is known of a network in a billing period. ``settled_slots`` and ``kept``: the period's sums as the
    ledger keeps them apart from the slots; ``kept_origin`` the same of the ``assigned_slots``, whose origins are known
    for good; ``rents``: of the consortium's periods that end within it; ``owed_now``: what the network owes the
    utility, of all periods.
    """

    network: str
    period: int
    status: str
    first_slot: int
    end_slot: int
    slot_seconds: int
    next_to_open: int
    owed_now: int
    settled_slots: int
    kept: Settled
    rents: tuple[RentBack, ...]
    assigned_slots: int
    kept_origin: Sums
    slots: dict[int, Slot]
    devices: dict[str, Device]
    orders: dict[bytes, Ordered]
    origins: dict[int, Origin]

    @property
    def rent(self) -> int:
        """What came back of it all."""
        return sum([row.rent for row in self.rents])


MOST_PROVISIONAL: Final = 96
"""So many slots, the newest, are asked for an origin that may still change: each is worked out anew."""
_NOT_TOLD: Final = ("step-limit", "too-much", "not-provable", "pruned", *HIDDEN)
"""Why a node does not work out the origin of a slot: then it is not known yet."""
_PERIOD = (
    "status", "first_slot", "end_slot", "slot_seconds", "next_to_open", "owed_now", "settled_slots", "kept", "rents",
    "assigned_slots", "kept_origin",
)  # fmt: skip
_NUMBERS = tuple(name for name in _PERIOD if name not in ("status", "kept", "rents", "kept_origin"))


async def gather_facts(read: Reader, network: str, period: int) -> Facts:
    """Ask for everything, page by page. Raises RefusedError: unknown-network, unknown-period, bad-answer."""
    of_period = {"network": network, "period": period}
    head = _head(await read("statements", "period", of_period))
    end = max(head["first_slot"], min(head["end_slot"], head["next_to_open"]))
    slots = await gather_slots(read, network, head["first_slot"], end)
    names = cast("tuple[str, ...]", as_rows(await read("identity", "devices", {"network": network})))
    orders: dict[bytes, Ordered] = {}
    devices = {name: await gather_device(read, name, head["first_slot"], end, orders) for name in names}
    origins = await _origins(read, network, head["first_slot"], end, slots)
    head = _head(await read("statements", "period", of_period))  # again: slots were settled meanwhile
    return Facts(network, period, slots=slots, devices=devices, orders=orders, origins=origins, **head)


def _head(answer: Value) -> dict[str, Any]:
    head = record(answer, _PERIOD)
    for name, kind in (("kept", Settled), ("kept_origin", Sums)):
        head[name] = _made(kind, head[name])
    rents = [_made(RentBack, row) for row in as_rows(head["rents"])]
    head["rents"] = tuple([row._replace(of_all=_made(Rent, row.of_all)) for row in rents])
    if any(type(head[name]) is not int for name in _NUMBERS) or not 0 <= head["end_slot"] <= MAX_SLOT:
        raise RefusedError("bad-answer", "the node's answer is no billing period: another version?")
    return head


async def gather_slots(read: Reader, network: str, first: int, end: int) -> dict[int, Slot]:
    """A network's settled slots from ``first`` on, before ``end``. Raises RefusedError: unknown-network, bad-answer."""
    slots: dict[int, Slot] = {}
    at: Value = first
    while at is not None:
        args = {"network": network, "first_slot": at, "end_slot": end}
        at, rows = _pair(await read("statements", "slots", args), 2)
        for row in as_rows(rows):
            slot = _made(Slot, row)
            sums = None if slot.sums is None else _made(Settled, slot.sums)
            entries = tuple([_made(Entry, entry) for entry in slot.entries])
            slots[slot.slot] = slot._replace(sums=sums, entries=entries)
    return slots


async def _origins(read: Reader, network: str, first: int, end: int, slots: Mapping[int, Slot]) -> dict[int, Origin]:
    """Where what was used came from: for good where that is known, else as it looks now, as far as one can ask."""
    origins: dict[int, Origin] = {}
    at: Value = first
    while at is not None:
        args = {"network": network, "first_slot": at, "end_slot": end}
        at, rows = _pair(await read("statements", "origins", args), 2)
        for row in as_rows(rows):
            slot, parts = _pair(row, 2)
            origins[cast("int", slot)] = Origin(True, tuple([_made(Used, part) for part in as_rows(parts)]))
    unknown = [slot.slot for slot in slots.values() if slot.sums is not None and slot.slot not in origins]
    for number in unknown[-MOST_PROVISIONAL:]:
        try:
            origins[number] = await _origin_now(read, network, number)
        except (ContractError, RefusedError) as error:
            if error.code not in _NOT_TOLD:
                raise
    return origins


async def _origin_now(read: Reader, network: str, slot: int) -> Origin:
    parts: list[Used] = []
    while True:
        args = {"network": network, "slot": slot, "first": len(parts)}
        is_final, rows = _pair(await read("origin", "lots", args), 2)
        page = [_made(Used, row) for row in as_rows(rows)]
        parts += page
        if not page:
            return Origin(bool(is_final), tuple(parts))


async def gather_device(read: Reader, device: str, first: int, end: int, orders: dict[bytes, Ordered]) -> Device:
    """What a device contracted and metered from slot ``first`` on, before ``end``; ``orders`` takes up those that were
    filled. Raises RefusedError: unknown-device, bad-answer."""
    held: dict[int, Held] = {}
    fills: list[Fill] = []
    args: dict[str, Any] = {"device": device, "first_slot": first, "end_slot": end}
    while True:
        at, rows, filled, ordered = _pair(await read("statements", "contracts", args), 4)
        for row in as_rows(rows):
            slot, position, readings = _pair(row, 3)
            held[cast("int", slot)] = Held(
                cast("int", slot),
                None if position is None else _made(Position, position),
                tuple([_made(Reading, reading) for reading in as_rows(readings)]),
            )
        fills += [_made(Fill, row) for row in as_rows(filled)]
        for row in as_rows(ordered):
            order = _made(Ordered, row)
            orders[order.order] = order
        if at is None:
            return Device(held, tuple(fills))
        args |= _where(at)


def _where(at: Value) -> Mapping[str, Value]:
    """Where a device's contracts go on."""
    return record(at, ("first_slot", "order", "auction", "row"))


def _pair(value: Value, length: int) -> tuple[Value, ...]:
    rows = as_rows(value)
    if len(rows) != length:
        raise RefusedError("bad-answer", f"the node answers {len(rows)} parts where {length} are expected")
    return rows


def _made(kind: type[T], row: object) -> T:
    """A row of an answer with its names. Raises RefusedError("bad-answer")."""
    try:
        made: T = msgspec.convert(row, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise RefusedError("bad-answer", f"the node's answer is no {kind.__name__}: another version?") from error
    return made
