"""One home as it is replayed: what its meters measured, what its stores hold, and where its vehicle is.

A *track* is what one home did in one of the cases (utility-only, alone, broker): the same physics in all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from broker.planning.stores import stored
from broker.site import Site
from broker.vehicles.energy import drive
from broker.vehicles.mobility import Trips


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
        if house.site.battery is not None:
            self.battery_level = stored(self.battery_level, battery_wh, house.site.battery.efficiency_permille)
            assert 0 <= self.battery_level <= house.site.battery.capacity_wh, "a battery beyond what it holds"
        short_wh = 0
        if house.site.vehicle is not None and house.garage is not None:
            assert not vehicle_wh or house.garage.buses[index], "a vehicle that is not plugged in"
            level = stored(self.vehicle_level, vehicle_wh, house.site.vehicle.efficiency_permille)
            assert 0 <= level <= house.site.vehicle.capacity_wh, "a vehicle beyond what it holds"
            self.vehicle_level, short_wh = drive(level, house.garage.trips.used_wh[index])
        self.battery_wh.append(battery_wh)
        self.vehicle_wh.append(vehicle_wh)
        self.short_wh.append(short_wh)


def first_track(house: House) -> Track:
    """Before the season: batteries half full, vehicles too."""
    battery, vehicle = house.site.battery, house.site.vehicle
    return Track(
        battery_level=battery.capacity_wh // 2 if battery else 0,
        vehicle_level=vehicle.capacity_wh // 2 if vehicle else 0,
    )
