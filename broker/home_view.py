"""One home as the ledger shows it: the committed events in, the strategy's observation out. Pure.

The events alone are enough: an order event tells what is filled so far, a reading what a meter has counted. So a broker
that starts anew, or moves to another gateway, follows the blocks from any earlier height and knows the same.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from broker.config import Home
from broker.observation import HomeModel, Observation, OpenOrder, Side, SlotView
from chaincode.contract import Event

OPEN_STATES = ("ACCEPTED", "PARTIAL")

Terms = Callable[[int], tuple[int, int, int]]
"""Slot -> (gate, retail, feed-in): s of block time, base units per Wh."""


class HomeView:
    """Open orders, positions and readings of one home."""

    def __init__(self, home: HomeModel, config: Home) -> None:
        self._home = home
        self._config = config
        self._devices = frozenset(device for device in (home.load, home.pv, home.battery, home.ev) if device)
        self._open: dict[int, dict[bytes, OpenOrder]] = {}
        self._positions: dict[int, dict[str, int]] = {}
        self._readings: dict[int, dict[str, int]] = {}
        # What is known for good: the battery's charge when a slot begins, and what the EV needs from a slot on.
        self._charge = (config.battery.level_slot, config.battery.level_wh) if config.battery is not None else (0, 0)
        self._need = (config.ev.first_slot, config.ev.need_wh) if config.ev is not None else (0, 0)

    def apply(self, events: Iterable[Event]) -> None:
        """Take in what a block has brought."""
        for event in events:
            if event.keys and event.keys[0] in self._devices:
                if event.topic == "order":
                    self._apply_order(event.keys[0], event.data)
                elif event.topic == "fill":
                    self._apply_fill(event.keys[0], event.data)
                elif event.topic == "reading":
                    self._apply_reading(event.keys[0], event.data)

    def position(self, slot: int) -> Mapping[str, int]:
        """Wh bought minus sold in the slot, by device."""
        return self._positions.get(slot, {})

    def observe(self, time: int, first: int, count: int, terms: Terms) -> Observation:
        """The view at block time ``time``, of ``count`` slots from ``first``, the earliest that is still traded."""
        per_day = len(self._config.load_wh)
        slots = []
        for slot in range(first, first + count):
            gate, retail, feed_in = terms(slot)
            load, sun = self._config.load_wh[slot % per_day], self._config.sun_wh[slot % per_day]
            orders = tuple(self._open.get(slot, {}).values())
            slots.append(SlotView(slot, gate, retail, feed_in, load, sun, self.position(slot), orders))
        ev = self._config.ev
        return Observation(
            time,
            tuple(slots),
            self._battery_wh(first),
            self._ev_need_wh(first),
            ev.first_slot if ev is not None else 0,
            ev.departure_slot if ev is not None else 0,
        )

    def forget_before(self, slot: int) -> None:
        """Let go of what was before ``slot``, keeping its sum: call it once the readings are in."""
        if slot > self._charge[0]:
            self._charge = (slot, self._battery_wh(slot))
        if slot > self._need[0]:
            self._need = (slot, self._ev_need_wh(slot))
        for table in (self._open, self._positions, self._readings):
            for old in [key for key in table if key < slot]:
                del table[old]

    def _apply_order(self, device: str, data: object) -> None:
        match data:
            case (
                bytes(order_id),
                str(state),
                int(slot),
                ("buy" | "sell") as side,
                int(energy),
                int(price),
                int(filled),
            ):
                book = self._open.setdefault(slot, {})
                if state in OPEN_STATES:
                    book[order_id] = OpenOrder(order_id, device, _side(side), energy - filled, price)
                else:
                    book.pop(order_id, None)

    def _apply_fill(self, device: str, data: object) -> None:
        match data:
            case (bytes(order_id), str(state), int(slot), ("buy" | "sell") as side, int(wh), int(), int()):
                positions = self._positions.setdefault(slot, {})
                positions[device] = positions.get(device, 0) + (wh if side == "buy" else -wh)
                book = self._open.setdefault(slot, {})
                order = book.pop(order_id, None)
                if order is not None and state in OPEN_STATES:
                    book[order_id] = replace(order, energy_wh=order.energy_wh - wh)

    def _apply_reading(self, device: str, data: object) -> None:
        match data:
            case (int(slot), int(import_wh), int(export_wh), *_):
                if device == self._home.battery:
                    stored = import_wh * self._home.battery_efficiency_permille // 1000
                    self._readings.setdefault(slot, {})[device] = stored - export_wh
                else:
                    self._readings.setdefault(slot, {})[device] = import_wh - export_wh

    def _sum(self, device: str | None, begin: int, end: int) -> int:
        """Over the slots [begin, end): what was read, or where nothing is read yet, what was contracted."""
        total = 0
        for slot in range(begin, end):
            readings = self._readings.get(slot, {})
            total += readings.get(device or "", self.position(slot).get(device or "", 0))
        return total

    def _battery_wh(self, first: int) -> int:
        begin, level = self._charge
        level += self._sum(self._home.battery, begin, first)
        return max(0, min(level, self._home.battery_capacity_wh))

    def _ev_need_wh(self, first: int) -> int:
        begin, need = self._need
        return max(0, need - self._sum(self._home.ev, begin, first))


def _side(side: str) -> Side:
    return "buy" if side == "buy" else "sell"
