"""One site as the ledger shows it: committed events in; open orders, positions and news out. Pure.

Whoever follows the blocks on from a state that was asked for (``reset``) knows what the ledger knows: an order's event
tells what is filled of it so far, a reading what a meter has counted, a settlement what it came to.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from broker.view import OpenOrder, Side
from chaincode.contract import Event
from chaincode.market_orders import OPEN_STATES
from chaincode.settlement_ledger import Settled

PLACED = "ACCEPTED"


class Fill(NamedTuple):
    """What an auction gave a device: Wh at a price, base units per Wh."""

    slot: int
    device: str
    side: Side
    energy_wh: int
    price: int


class Reading(NamedTuple):
    """What a device's meter counted in a slot. ``measured``: False if the ledger only estimated it."""

    slot: int
    device: str
    import_wh: int
    export_wh: int
    measured: bool


class Booked(NamedTuple):
    """A slot's settlement, or one that takes its place."""

    slot: int
    sums: Settled


class Placed(NamedTuple):
    """An order that has come into the book."""

    slot: int
    order: OpenOrder


class Told(NamedTuple):
    """Anything else that the ledger said of the site: a budget's state, an alert, a device that was moved."""

    topic: str
    device: str
    data: Any


News = Fill | Reading | Booked | Placed | Told
"""What a block brought to a site."""

_TELLING = frozenset({"budget-state", "alert", "curtail", "restore", "device-moved", "needs-refused", "owed", "shared"})
_READINGS = {"reading": 1, "estimated": 1, "spread": 2, "corrected": 2}
"""Topic -> where in its data the import stands."""


class SiteView:
    """Open orders and positions of the devices of one network."""

    def __init__(self, network: str, devices: Iterable[str]) -> None:
        self._network = network
        self._devices = frozenset(devices)
        self._known_at: dict[str, int] = {}
        self._open: dict[int, dict[bytes, OpenOrder]] = {}
        self._positions: dict[int, dict[str, int]] = {}

    def reset(self, device: str, height: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Know the device's orders as the ledger answered after block ``height``: rows with the names in
        ``answers.ORDER``. What blocks up to there tell of them counts no more."""
        self._known_at[device] = height
        for book in self._open.values():
            for order in [order for order in book.values() if order.device == device]:
                del book[order.id]
        for positions in self._positions.values():
            positions.pop(device, None)
        for row in rows:
            slot, side = int(row["slot"]), _side(row["side"])
            self._add(slot, device, side, int(row["filled_wh"]))
            if row["state"] in OPEN_STATES:
                left = int(row["energy_wh"]) - int(row["filled_wh"])
                order = OpenOrder(bytes(row["id"]), device, side, left, int(row["price"]))
                self._open.setdefault(slot, {})[order.id] = order

    def apply(self, height: int, events: Iterable[Event]) -> list[News]:
        """Take in what block ``height`` has brought; what of it concerns the site."""
        news: list[News] = []
        for event in events:
            if event.keys and (event.keys[0] in self._devices or event.keys[0] == self._network):
                told = self._take(height, event)
                if told is not None:
                    news.append(told)
        return news

    def positions(self, slot: int) -> Mapping[str, int]:
        """Wh bought minus sold in the slot, by device."""
        return self._positions.get(slot, {})

    def orders(self, slot: int) -> tuple[OpenOrder, ...]:
        """What is open in the slot."""
        return tuple(self._open.get(slot, {}).values())

    def forget_before(self, slot: int) -> None:
        """Let go of what was before ``slot``."""
        for table in (self._open, self._positions):
            for old in [key for key in table if key < slot]:
                del table[old]

    def _take(self, height: int, event: Event) -> News | None:
        name, data = event.keys[0], event.data
        if event.contract == "market" and event.topic in ("order", "fill"):
            if height <= self._known_at.get(name, 0):
                return None
            return self._order(name, data) if event.topic == "order" else self._fill(name, data)
        if event.topic in _READINGS and event.contract == "settlement":
            return self._reading(name, event.topic, data)
        if event.topic in ("settled", "settled-anew") and isinstance(data, tuple):
            slot, *sums = data
            return Booked(cast("int", slot), Settled(*cast("list[int]", sums)))
        return Told(event.topic, name, data) if event.topic in _TELLING else None

    def _order(self, device: str, data: object) -> News | None:
        match data:
            case (bytes(order_id), str(state), int(slot), ("buy" | "sell") as side, int(wh), int(price), int(filled)):
                book = self._open.setdefault(slot, {})
                if state not in OPEN_STATES:
                    book.pop(order_id, None)
                    return None
                book[order_id] = OpenOrder(order_id, device, _side(side), wh - filled, price)
                return Placed(slot, book[order_id]) if state == PLACED else None
        return None

    def _fill(self, device: str, data: object) -> News | None:
        match data:
            case (bytes(order_id), str(state), int(slot), ("buy" | "sell") as side, int(wh), int(price), int()):
                self._add(slot, device, _side(side), wh)
                book = self._open.setdefault(slot, {})
                order = book.pop(order_id, None)
                if order is not None and state in OPEN_STATES:
                    book[order_id] = replace(order, energy_wh=order.energy_wh - wh)
                return Fill(slot, device, _side(side), wh, price)
        return None

    def _reading(self, device: str, topic: str, data: object) -> News | None:
        at = _READINGS[topic]
        match data:
            case tuple(row) if len(row) >= at + 2:
                slot, import_wh, export_wh = (cast("int", row[index]) for index in (0, at, at + 1))
                return Reading(slot, device, import_wh, export_wh, topic != "estimated")
        return None

    def _add(self, slot: int, device: str, side: Side, wh: int) -> None:
        positions = self._positions.setdefault(slot, {})
        positions[device] = positions.get(device, 0) + (wh if side == "buy" else -wh)


def _side(side: object) -> Side:
    return "buy" if side == "buy" else "sell"
