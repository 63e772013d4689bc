"""One home as it is replayed: what its meters measured, what its stores hold, and where its vehicle is.

A *track* is what one home did in one of the cases (utility-only, alone, broker): the same physics in all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from broker.backtest.setup import WARM_UP_DAYS
from broker.planning.control import Course, Flows
from broker.planning.rules import charge_on_arrival, self_consumption
from broker.planning.stores import stored
from broker.site import Site
from broker.vehicles.energy import drive
from broker.vehicles.mobility import Trips
from broker.world import DAY_S


class Garage(NamedTuple):
    """A vehicle's truth. ``trips``: by slot of the data; ``buses``: where it is plugged in, "" if it is not;
    ``work_bus``: where it may be at work; ``shortage_price``: what a Wh costs that a trip lacks."""

    trips: Trips
    buses: tuple[str, ...]
    work_bus: str
    shortage_price: int


@dataclass(frozen=True, slots=True)
class House:
    """Wh by slot of the data, from its first."""

    site: Site
    load_wh: Sequence[int]
    sun_wh: Sequence[int]
    garage: Garage | None

    @property
    def buses(self) -> tuple[str, ...]:
        """Its own, and its vehicle's at work."""
        work = self.garage.work_bus if self.garage is not None else ""
        return (self.site.bus, work) if work and work != self.site.bus else (self.site.bus,)

    def bus(self, index: int) -> str:
        """Where the vehicle is plugged in."""
        return "" if self.garage is None else self.garage.buses[index]

    def stands(self, at: int) -> str:
        """ "home", "work" or "": where it is plugged in as slot ``at`` begins, though it may leave within it."""
        if self.garage is None:
            return ""
        places = self.garage.trips.places
        return places[at] or (places[at - 1] if at else "home")

    def stands_at(self, at: int) -> str:
        """The bus of it."""
        if self.garage is None:
            return ""
        return {"home": self.site.bus, "work": self.garage.work_bus, "": ""}[self.stands(at)]


@dataclass(slots=True)
class Track:
    """By slot of the season, Wh at the plug: taken positive, given negative. ``short_wh``: what trips lacked;
    ``local_wh``: what came from neighbours; ``cost``: base units, of energy."""

    battery_level: int
    vehicle_level: int
    battery_wh: list[int] = field(default_factory=list)
    vehicle_wh: list[int] = field(default_factory=list)
    short_wh: list[int] = field(default_factory=list)
    local_wh: list[int] = field(default_factory=list)
    cost: list[int] = field(default_factory=list)

    def flow(self, house: House, index: int, battery_wh: int, vehicle_wh: int) -> None:
        """Let slot ``index`` of the data pass: stores take and give, the vehicle drives."""
        battery, vehicle = house.site.battery, house.site.vehicle
        kept = [store.efficiency_permille if store is not None else 0 for store in (battery, vehicle)]
        levels = stored(self.battery_level, battery_wh, kept[0]), stored(self.vehicle_level, vehicle_wh, kept[1])
        self._pass(house, index, Flows(battery_wh, vehicle_wh), levels)

    def follow(self, house: House, index: int, course: Course) -> None:
        """The same, with what was done part by part: a store that turned round within the slot has lost by it."""
        battery = course.battery.level_wh if course.battery is not None else self.battery_level
        vehicle = course.vehicle.level_wh if course.vehicle is not None else self.vehicle_level
        self._pass(house, index, course.done, (battery, vehicle))

    def _pass(self, house: House, index: int, flows: Flows, levels: tuple[int, int]) -> None:
        """``levels``: of battery and vehicle, before it drives."""
        if house.site.battery is not None:
            self.battery_level = levels[0]
            assert 0 <= self.battery_level <= house.site.battery.capacity_wh, "a battery beyond what it holds"
        short_wh = 0
        if house.site.vehicle is not None and house.garage is not None:
            assert not flows.vehicle_wh or house.garage.buses[index], "a vehicle that is not plugged in"
            assert 0 <= levels[1] <= house.site.vehicle.capacity_wh, "a vehicle beyond what it holds"
            self.vehicle_level, short_wh = drive(levels[1], house.garage.trips.used_wh[index])
        self.battery_wh.append(flows.battery_wh)
        self.vehicle_wh.append(flows.vehicle_wh)
        self.short_wh.append(short_wh)


def by_rule(house: House, track: Track, at: int) -> Flows:
    """What the plain rules do in slot ``at`` of the data: the battery takes what sun is left over and gives what is
    short, the vehicle charges on arrival, at full power until it is full."""
    plugged = house.bus(at)
    vehicle_wh = charge_on_arrival(house.site, track.vehicle_level) if plugged else 0
    net = house.load_wh[at] - house.sun_wh[at] + (vehicle_wh if plugged == house.site.bus else 0)
    return Flows(self_consumption(house.site, net, track.battery_level), vehicle_wh)


def first_track(house: House, first: int) -> Track:
    """As the season begins, at slot ``first`` of the data: what is in its stores is what the plain rules have left
    there after the week before, or as much of it as the data hold; before that all are half full. So no case has
    to fill first what a home would long have had."""
    battery, vehicle = house.site.battery, house.site.vehicle
    track = Track(
        battery_level=battery.capacity_wh // 2 if battery else 0,
        vehicle_level=vehicle.capacity_wh // 2 if vehicle else 0,
    )
    for at in range(max(0, first - WARM_UP_DAYS * DAY_S // house.site.slot_seconds), first):
        track.flow(house, at, *by_rule(house, track, at))
    return Track(track.battery_level, track.vehicle_level)
