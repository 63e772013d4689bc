"""What a home means to do with its battery and its EV in the slots to come: pure arithmetic on forecasts.

The EV takes its need where that is cheapest before it leaves. The battery stores the home's own left-over sun
first, then serves the home's own need in the dearest slots, and holds its charge while the utility is cheapest
(night). Room that own sun will not fill may be filled with neighbours' sun, if that is cheap enough; charge that the
home will not need may be sold in the dearest slots. Everything is re-planned at every decision, so a plan need
be good only for its first hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from broker.observation import HomeModel, Observation, SlotView

HALVINGS = 4
"""How often a discharge that does not fit is tried again with half the energy."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Wh by slot, in the order of ``Observation.slots``. ``net``: what the home lacks (negative: has too much) after
    its EV and its battery's use for the home; ``ev``: the part of it that charges the EV; ``store`` and ``spare``: what
    the battery could buy and sell beyond what it has contracted already."""

    net: tuple[int, ...]
    ev: tuple[int, ...]
    store: tuple[int, ...]
    spare: tuple[int, ...]


def make_plan(home: HomeModel, seen: Observation) -> Plan:
    """The plan for ``seen.slots``."""
    ev = _ev_plan(home, seen)
    net = [view.load_wh - view.sun_wh + taken for view, taken in zip(seen.slots, ev, strict=True)]
    if home.battery is None:
        nothing = (0,) * len(net)
        return Plan(tuple(net), ev, nothing, nothing)
    contracted = [view.positions.get(home.battery, 0) for view in seen.slots]
    battery = _Battery(home, seen.battery_wh, net, contracted)
    for index in _by_value(seen.slots):
        if net[index] > 0:
            battery.give(index, net[index])
    spare = [0] * len(net)
    for index in _by_value(seen.slots):
        spare[index] = battery.give(index, battery.slot_wh)
    own_use = [net[i] + battery.taken[i] - (battery.given[i] - spare[i]) for i in range(len(net))]
    return Plan(tuple(own_use), ev, _store_plan(battery, seen.slots), tuple(spare))


def _by_value(slots: Sequence[SlotView]) -> list[int]:
    """The slots in which a battery may give, dearest first: all but those with the utility's lowest price."""
    lowest = min((view.retail for view in slots), default=0)
    dear = [index for index, view in enumerate(slots) if view.retail > lowest]
    return sorted(dear, key=lambda index: (-slots[index].retail, index))


def _ev_plan(home: HomeModel, seen: Observation) -> tuple[int, ...]:
    """The EV's need, cheapest slots first: own left-over sun, then sunny hours, then the utility's price."""
    taken = [0] * len(seen.slots)
    left = seen.ev_need_wh if home.ev is not None else 0
    most = home.slot_wh(home.ev_power_w)
    present = [i for i, view in enumerate(seen.slots) if seen.ev_first_slot <= view.slot < seen.ev_departure_slot]

    def cost(index: int) -> int:
        view = seen.slots[index]
        if view.sun_wh - view.load_wh >= most // 2:
            return view.feed_in
        return (view.feed_in + view.retail) // 2 if view.sun_wh > 0 else view.retail

    for index in sorted(present, key=lambda index: (cost(index), index)):
        taken[index] = min(left, most)
        left -= taken[index]
    return tuple(taken)


class _Battery:
    """A battery's path through the slots: what it takes of the own surplus, what it gives, its level after each;
    what it has bought and sold already comes first."""

    def __init__(self, home: HomeModel, level_wh: int, net: Sequence[int], contracted: Sequence[int]) -> None:
        self.capacity_wh = home.battery_capacity_wh
        self.slot_wh = home.slot_wh(home.battery_power_w)
        self._efficiency = home.battery_efficiency_permille
        self._level_wh = level_wh
        self._net = net
        self._contracted = list(contracted)
        self.given = [0] * len(net)
        self.taken: list[int] = []
        self.levels: list[int] = []
        self._follow()

    def give(self, index: int, wh: int) -> int:
        """Plan to give up to ``wh`` more in slot ``index``; the answer is how much fits. Never while it charges."""
        sold = max(0, -self._contracted[index])
        wish = min(wh, self.slot_wh - sold - self.given[index]) if self._net[index] >= 0 else 0
        for _ in range(HALVINGS):
            if wish <= 0:
                break
            self.given[index] += wish
            if self._follow():
                return wish
            self.given[index] -= wish
            wish //= 2
        self._follow()
        return 0

    def store(self, index: int) -> int:
        """Plan to buy as much in slot ``index`` as fits without spilling own sun later; how much that is."""
        if self.given[index]:
            return 0
        room = (self.capacity_wh - max(self.levels[index:])) * 1000 // self._efficiency
        wh = max(0, min(room, self.slot_wh - max(0, self._contracted[index]) - self.taken[index]))
        self._contracted[index] += wh
        self._follow()
        return wh

    def _follow(self) -> bool:
        """Walk the path anew; False if it would have to give what it does not have."""
        level, taken, levels = self._level_wh, [], []
        for net, given, contract in zip(self._net, self.given, self._contracted, strict=True):
            level = max(0, level + (contract * self._efficiency // 1000 if contract > 0 else contract))
            space = max(0, self.capacity_wh - level) * 1000 // self._efficiency
            take = min(max(0, -net), self.slot_wh, space)
            level += take * self._efficiency // 1000 - given
            if level < 0:
                return False
            taken.append(take)
            levels.append(level)
        self.taken, self.levels = taken, levels
        return True


def _store_plan(battery: _Battery, slots: Sequence[SlotView]) -> tuple[int, ...]:
    """The room for neighbours' sun, in the slots that are sunniest here: neighbours have most of it then."""
    store = [0] * len(slots)
    sunny = [index for index, view in enumerate(slots) if view.sun_wh > 0]
    for index in sorted(sunny, key=lambda index: (-slots[index].sun_wh, index)):
        store[index] = battery.store(index)
    return tuple(store)
