"""The items of a statement: a trade, an entry of settlement or a reading each, with what it rests on."""

from chaincode.settlement_ledger import Entry, Settled
from chaincode.settlement_lines import BOUGHT, SOLD, TOLL
from chaincode.settlement_readings import Reading
from cli.statement_facts import Facts, Fill, Slot
from cli.statement_lines import IMPORTED, MISMATCH, RENT, USED, UTILITY_ONLY, Item, Source
from node.errors import RefusedError


def traded(facts: Facts) -> list[Item]:
    """The trades of settled slots: what was bought and sold, and the tolls."""
    items: list[Item] = []
    for device, of_device in facts.devices.items():
        for fill in sorted(of_device.fills, key=lambda fill: (fill.slot, fill.auction, fill.order, fill.other_order)):
            slot = facts.slots.get(fill.slot)
            if slot is not None and slot.sums is not None:
                items += _fill_items(facts, device, slot, fill)
    items.sort(key=lambda item: item.slot)
    return items


def _fill_items(facts: Facts, device: str, slot: Slot, fill: Fill) -> list[Item]:
    own, other = facts.orders.get(fill.order), facts.orders.get(fill.other_order)
    if own is None or other is None or own.device != device:
        raise RefusedError(MISMATCH, f"a trade of {device} in slot {slot.slot} rests on an order that is not kept")
    reason = SOLD if own.side == "sell" else BOUGHT
    revisions = [entry.revision for entry in slot.entries if (entry.device, entry.reason) == (device, reason)]
    if not revisions:
        raise RefusedError(MISMATCH, f"slot {slot.slot} is settled without what {device} {reason}")
    sources = (
        Source("order", fill.order, own.tx, own.height),
        Source("other order", fill.other_order, other.tx, other.height),
        Source("settlement", b"", b"", slot.blocks[revisions[-1]]),
    )
    item = Item(
        slot.slot, slot.is_final, reason, device, own.bus, other.network, other.device, fill.energy_wh, fill.price,
        fill.energy_wh * fill.price, 0, revisions[-1], (fill.auction, fill.time, fill.height), sources,
    )  # fmt: skip
    if reason == SOLD:
        return [item]
    price = fill.price - fill.toll
    bought = item._replace(price=price, amount=-fill.energy_wh * price, pays=True)
    if not fill.toll:
        return [bought]
    return [bought, bought._replace(reason=TOLL, price=fill.toll, amount=-fill.energy_wh * fill.toll)]


def booked(facts: Facts, slot: Slot, entry: Entry) -> Item:
    """An entry of settlement that comes from a reading, with it."""
    held = facts.devices[entry.device].held.get(slot.slot) if entry.device in facts.devices else None
    cause = _cause(facts, slot.slot, entry)
    pays = (entry.amount > 0) == (entry.energy_wh < 0)
    if not entry.amount and held is not None and held.reading is not None:
        contracted = 0 if held.position is None else held.position.bought_wh - held.position.sold_wh
        pays = held.reading.import_wh - held.reading.export_wh > contracted
    price = abs(entry.amount) // abs(entry.energy_wh) if entry.energy_wh else None
    settled = Source("settlement", b"", b"", slot.blocks[entry.revision])
    return Item(
        slot.slot, slot.is_final, entry.reason, entry.device, entry.bus, "", "", entry.energy_wh, price, entry.amount,
        entry.owed, entry.revision, None, (cause, settled), pays,
    )  # fmt: skip


def _cause(facts: Facts, slot: int, entry: Entry) -> Source:
    """The reading that an entry rests on: of its own device or, after a correction, of another of its network."""
    own = facts.devices.get(entry.device)
    for device in ([] if own is None else [own]) + list(facts.devices.values()):
        held = device.held.get(slot)
        for reading in () if held is None else held.readings:
            if reading.cause == entry.cause:
                return _source(reading)
    raise RefusedError(MISMATCH, f"what was booked for {entry.device} in slot {slot} rests on nothing that is kept")


def with_utility_alone(facts: Facts, slot: Slot) -> Item:
    """What a settled slot would have cost with the utility alone, with all its readings."""
    sums = slot.sums or Settled()
    sources = [source for device in facts.devices for source in _reading(facts, device, slot.slot)]
    energy_wh = sums.import_wh - sums.export_wh
    return Item(
        slot.slot, slot.is_final, UTILITY_ONLY, "", "", "", "", energy_wh, None, -sums.utility_only,
        revision=sums.revision, sources=tuple(sources),
    )  # fmt: skip


def metered(facts: Facts, reason: str) -> tuple[Item, ...]:
    """What meters said of settled slots: what was IMPORTED, or EXPORTED."""
    items = []
    for slot in facts.slots.values():
        for device, of_device in facts.devices.items():
            held = of_device.held.get(slot.slot)
            if slot.sums is None or held is None or held.reading is None:
                continue
            energy_wh = held.reading.import_wh if reason == IMPORTED else held.reading.export_wh
            if energy_wh:
                sources = tuple(_reading(facts, device, slot.slot))
                items.append(
                    Item(slot.slot, slot.is_final, reason, device, "", "", "", energy_wh, None, 0, sources=sources)
                )
    return tuple(items)


def rent_items(facts: Facts) -> tuple[Item, ...]:
    """The congestion rent that came back, when the last slot of each of the consortium's periods was over."""
    items = []
    for row in facts.rents:
        if row.rent:
            paid = Source("payment", b"", row.cause, row.block)
            items.append(Item(row.last_slot, True, RENT, "", "", "", "", 0, None, row.rent, sources=(paid,)))
    return tuple(items)


def used(facts: Facts, kind: str) -> tuple[Item, ...]:
    """What devices used, by origin: all of it (USED), or what of it is RENEWABLE."""
    items = []
    for slot, origin in sorted(facts.origins.items()):
        for part in origin.used:
            energy_wh = part.wh if kind == USED else part.renewable_wh
            if energy_wh:
                sources = tuple(_reading(facts, part.device, slot) + _reading(facts, part.source, slot))
                where = (part.how, part.device, "", "", part.source)
                items.append(Item(slot, origin.is_final, *where, energy_wh, None, 0, sources=sources))
    return tuple(items)


def _reading(facts: Facts, device: str, slot: int) -> list[Source]:
    held = facts.devices[device].held.get(slot) if device in facts.devices else None
    return [] if held is None or held.reading is None else [_source(held.reading)]


def _source(reading: Reading) -> Source:
    return Source("estimate" if reading.estimated else "reading", b"", reading.cause, reading.height)
