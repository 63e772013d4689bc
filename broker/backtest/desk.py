"""What is open and what is contracted of the slot that is traded, by network and device, from the market's events."""

from collections import Counter
from collections.abc import Mapping
from typing import cast

from broker.view import OpenOrder, Side
from chaincode.contract import Event
from chaincode.market_orders import OPEN_STATES


class Desk:
    """Of one network."""

    def __init__(self) -> None:
        self._open: dict[bytes, OpenOrder] = {}
        self._bought: Counter[str] = Counter()
        self._positions: Counter[str] = Counter()

    @property
    def positions(self) -> Mapping[str, int]:
        """Wh bought minus sold, by device."""
        return self._positions

    def bought_wh(self, device: str) -> int:
        """Of it, bought."""
        return self._bought[device]

    @property
    def all_bought_wh(self) -> int:
        """By all devices."""
        return sum(self._bought.values())

    @property
    def orders(self) -> list[OpenOrder]:
        """What is open."""
        return list(self._open.values())

    def clear(self) -> None:
        """The slot is over."""
        self._open.clear()
        self._positions.clear()
        self._bought.clear()

    def order(self, event: Event) -> None:
        """An order was placed, or has ended."""
        order, state, _, side, wh, price, filled = cast("tuple[bytes, str, int, Side, int, int, int]", event.data)
        if state in OPEN_STATES:
            self._open[order] = OpenOrder(order, event.keys[0], side, wh - filled, price)
        else:
            self._open.pop(order, None)

    def fill(self, event: Event) -> None:
        """An auction has filled an order, or a part of it."""
        order, state, _, side, wh, *_ = cast("tuple[bytes, str, int, Side, int, int, int]", event.data)
        self._positions[event.keys[0]] += wh if side == "buy" else -wh
        self._bought[event.keys[0]] += wh if side == "buy" else 0
        before = self._open.pop(order)
        if state in OPEN_STATES:
            self._open[order] = OpenOrder(order, before.device, side, before.energy_wh - wh, before.price)
