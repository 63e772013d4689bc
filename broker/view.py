"""What a strategy sees and what it answers: plain, immutable, and all that there is. The same view, the same wishes.

Energy in Wh, prices in base units per Wh, times in seconds of block time. A *position* is what is contracted for a
slot: bought minus sold. Slots are counted from the first one of the horizon, index 0, which is the next one whose gate
has not passed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from broker.site import Site

Side: TypeAlias = Literal["buy", "sell"]

LEVELS_PERMILLE: Final = tuple(range(50, 1000, 100))
"""The quantiles of every forecast: ten figures, each of which stands for a tenth of what may happen."""

Quantiles: TypeAlias = npt.NDArray[np.int64]
"""A forecast: a row for each slot, a column for each of LEVELS_PERMILLE, not decreasing along a row; Wh."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What is expected to be paid (``buy``) and had (``sell``) for a traded Wh at one bus, slot by slot, tolls in it:
    feed_in <= sell <= buy <= retail."""

    retail: tuple[int, ...]
    feed_in: tuple[int, ...]
    buy: tuple[int, ...]
    sell: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class VehicleOutlook:
    """A vehicle's slots. ``buses``: where it is plugged in, "" if it is not; ``least_wh``: what is to be in it when the
    slot begins (0: no matter), short of which every Wh costs ``shortage_price``; ``used_wh``: driven away in the slot.
    """

    level_wh: int
    buses: tuple[str, ...]
    least_wh: tuple[int, ...]
    used_wh: tuple[int, ...]
    shortage_price: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """Everything that a plan is made from. ``net``: load less sun, at the site's bus; ``battery_wh``: in it when
    index 0 begins. ``away``: prices at the other buses at which the vehicle will be plugged in."""

    net: Quantiles
    prices: Prices
    battery_wh: int
    vehicle: VehicleOutlook | None
    away: Mapping[str, Prices]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the stores are to do, by slot, at the plug: taken positive, given negative. ``battery_value`` and
    ``vehicle_value``: what another stored Wh is worth at the end of the slot, base units. ``battery_worth``
    and ``vehicle_worth``: the same for the end of index 0 level by level, as (up to which level, value) with falling
    values; () if it is not known better. ``note``: what a broker should say of how the plan came about, "" if all went
    well."""

    battery_wh: tuple[int, ...]
    vehicle_wh: tuple[int, ...]
    battery_value: tuple[int, ...]
    vehicle_value: tuple[int, ...]
    note: str = ""
    battery_worth: tuple[tuple[int, int], ...] = ()
    vehicle_worth: tuple[tuple[int, int], ...] = ()


class Step(NamedTuple):
    """So much more of a device's energy is worth buying, or not worth selling, below ``value`` a Wh. ``why``: in a word
    or two: "load", "store for 19:00", "trip at 7:30"."""

    device: str
    energy_wh: int
    value: int
    why: str


@dataclass(frozen=True, slots=True)
class Curve:
    """The position that a site wants for a slot at every price: ``start_wh`` (all sold that can be) above all values,
    and the energy of each step more from its value downward. Steps fall in value."""

    start_wh: int
    steps: tuple[Step, ...]

    def wanted_wh(self, price: int) -> int:
        """The position wanted at ``price``; at a step's very value its energy is not."""
        return self.start_wh + sum(step.energy_wh for step in self.steps if step.value > price)


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
    """One slot at one bus to a strategy. ``positions``: by device that is at the bus; ``expected``: the price at which
    the auction is expected to clear there, in ten quantiles (LEVELS_PERMILLE), and how many past ones that rests on.
    ``available``: each device's tokens for the slot's period, base units; ``budget_permille``: what is left of the
    period's allocation, and ``time_permille``: what is left of the period. ``renewable_permille``: of the utility's
    mix. ``seed``: the only chance there is.
    """

    site: Site
    bus: str
    now: int
    slot: int
    gate: int
    retail: int
    feed_in: int
    curve: Curve
    positions: Mapping[str, int]
    expected: tuple[int, ...]
    experience: int
    available: Mapping[str, int]
    budget_permille: int
    time_permille: int
    renewable_permille: int
    seed: int

    @property
    def position_wh(self) -> int:
        """Of the whole site at this bus."""
        return sum(self.positions.values())


class Wish(NamedTuple):
    """An order that the site should have open for the slot. All of a slot's at one bus are on one side, as the market
    asks. ``why`` goes into the broker's journal."""

    device: str
    side: Side
    energy_wh: int
    price: int
    renewable: bool
    why: str
