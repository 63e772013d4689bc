"""What an agent sees and what it may answer: the two ends of the strategy, plain and immutable.

Energy in Wh, prices in base units per Wh, times in seconds of block time, all integers. A *position* is what a
device has contracted for a slot: bought minus sold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Side: TypeAlias = Literal["buy", "sell"]


@dataclass(frozen=True, slots=True)
class HomeModel:
    """The home's devices by id and what they can do. ``None`` where the home has no such device.

    A battery loses ``1000 - efficiency_permille`` of a thousand Wh on the way in. ``min_order_wh``: the market's.
    """

    network: str
    load: str
    pv: str | None
    battery: str | None
    ev: str | None
    slot_seconds: int
    min_order_wh: int
    pv_w: int = 0
    battery_capacity_wh: int = 0
    battery_power_w: int = 0
    battery_efficiency_permille: int = 1000
    ev_power_w: int = 0

    def slot_wh(self, power_w: int) -> int:
        """What ``power_w`` moves in one slot."""
        return power_w * self.slot_seconds // 3600


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """``energy_wh``: what is not filled yet."""

    id: bytes
    device: str
    side: Side
    energy_wh: int
    price: int


@dataclass(frozen=True, slots=True)
class SlotView:
    """One delivery slot as it looks now. ``gate``: when trading ends. ``load_wh`` and ``sun_wh`` are forecasts."""

    slot: int
    gate: int
    retail: int
    feed_in: int
    load_wh: int
    sun_wh: int
    positions: Mapping[str, int]
    orders: tuple[OpenOrder, ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """``slots``: consecutive, the first one is the earliest whose gate is not passed. ``battery_wh``: stored.
    The EV must take ``ev_need_wh`` more in the slots [ev_first_slot, ev_departure_slot)."""

    time: int
    slots: tuple[SlotView, ...]
    battery_wh: int
    ev_need_wh: int
    ev_first_slot: int
    ev_departure_slot: int


@dataclass(frozen=True, slots=True)
class Place:
    device: str
    side: Side
    slot: int
    energy_wh: int
    price: int


@dataclass(frozen=True, slots=True)
class Cancel:
    order: bytes


Action: TypeAlias = Place | Cancel
