"""How full a store is when a slot begins: what was said of it last, and what has flowed since."""

from collections.abc import Callable

from broker.planning.stores import stored
from broker.state_file import DeviceState

EARLY_PART = 4
"""What is said in the first such part of a slot holds for its beginning."""


class Level:
    """A battery's or a vehicle's level, Wh. ``slot``: at whose beginning ``level_wh`` is in it."""

    def __init__(self, capacity_wh: int, efficiency_permille: int, slot: int, level_wh: int) -> None:
        self._capacity_wh = capacity_wh
        self._efficiency = efficiency_permille
        self._slot = slot
        self._level_wh = level_wh
        self._said = -1

    def said(self, state: DeviceState, slot_seconds: int, planned: Callable[[int], int]) -> None:
        """Somebody looked. ``planned``: what the store was to do in a slot, at the plug: it does the rest of it."""
        if state.level_wh is None or state.time <= self._said:
            return
        slot, second = divmod(state.time, slot_seconds)
        self._said, self._slot, self._level_wh = state.time, slot, min(state.level_wh, self._capacity_wh)
        if second * EARLY_PART > slot_seconds:
            rest = planned(slot) * (slot_seconds - second) // slot_seconds
            self._slot, self._level_wh = slot + 1, self._after(self._level_wh, rest)

    def at(self, slot: int, flowed: Callable[[int], int]) -> int:
        """At the beginning of ``slot``. ``flowed``: what flowed in a slot, or what is taken to have, at the plug."""
        level = self._level_wh
        for each in range(self._slot, slot):
            level = self._after(level, flowed(each))
        return level

    def settle(self, slot: int, flowed: Callable[[int], int]) -> None:
        """Go on from ``slot``: what flowed before it is known for good."""
        if slot > self._slot:
            self._level_wh, self._slot = self.at(slot, flowed), slot

    def _after(self, level: int, flow_wh: int) -> int:
        return max(0, min(self._capacity_wh, stored(level, flow_wh, self._efficiency)))
