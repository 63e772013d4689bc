"""The physics of a home for one slot: what its panels, appliances, EV and battery do, as its controller lets them.

Pure integers. The load and the sun are the measured ones. The controller follows what the home's broker has written
down for the slot: what the stores are to do, and what stored energy is worth (``broker.planning.control``). It asks
nobody. If the broker is silent, stores are run by plain rules. Whatever the broker says, the EV takes as much as it
must to leave in time.
"""

from collections.abc import Mapping
from typing import NamedTuple

from broker.planning.control import Here, Stock, control
from broker.planning.rules import charge_on_arrival, self_consumption
from broker.planning.stores import stored
from broker.site import Site
from testnet.community import Home

KINDS = ("load", "pv", "battery", "ev")


class Plant(NamedTuple):
    """What changes from slot to slot: what is in the battery and in the EV."""

    battery_wh: int
    ev_wh: int


class Flow(NamedTuple):
    """What a device's meter counts in one slot, in Wh."""

    import_wh: int
    export_wh: int


class Setpoint(NamedTuple):
    """What a store is to do in the slot, at the plug, and what another Wh in it is worth at its end, base units."""

    planned_wh: int
    value: int


class Slot(NamedTuple):
    """A slot as the controller sees it: its place in the day, the utility's prices, what each kind of device has bought
    minus sold, and by kind of device what the broker said, if it did."""

    place: int
    retail: int
    feed_in: int
    contracts: Mapping[str, int]
    setpoints: Mapping[str, Setpoint]


def first_plant(home: Home) -> Plant:
    """The home at midnight."""
    return Plant(home.battery.initial_wh, 0)


def run_slot(home: Home, site: Site, plant: Plant, slot: Slot) -> tuple[Plant, dict[str, Flow]]:
    """One slot of the day. Returns the plant after it and the flow of each kind of device."""
    load, sun = home.load_wh[slot.place], home.sun_wh[slot.place]
    battery, ev = _controlled(home, site, plant, slot, load - sun)
    after = Plant(stored(plant.battery_wh, battery, home.battery.efficiency_permille), plant.ev_wh + ev)
    flows = {
        "load": Flow(load, 0),
        "pv": Flow(0, sun),
        "battery": Flow(max(0, battery), max(0, -battery)),
        "ev": Flow(ev, 0),
    }
    return after, flows


def _controlled(home: Home, site: Site, plant: Plant, slot: Slot, net: int) -> tuple[int, int]:
    """What battery and EV do, at the plug."""
    is_there = home.ev.first_slot <= slot.place < home.ev.departure_slot
    must = _must(home, plant, slot.place, site) if is_there else 0
    position = sum(slot.contracts.values())
    if not {"battery", "ev"} <= set(slot.setpoints):
        ev = charge_on_arrival(site, plant.ev_wh) if is_there else 0
        return self_consumption(site, net + ev - position, plant.battery_wh), ev
    battery = Stock(plant.battery_wh, 0, *slot.setpoints["battery"])
    car = Stock(plant.ev_wh, 0, *slot.setpoints["ev"]) if is_there else None
    flows = control(site, Here(position, net, slot.retail, slot.feed_in), battery, car)
    if flows.vehicle_wh >= must:
        return flows.battery_wh, flows.vehicle_wh
    here = Here(position, net + must, slot.retail, slot.feed_in)
    return control(site, here, battery, None).battery_wh, must


def _must(home: Home, plant: Plant, index: int, site: Site) -> int:
    """The least that the EV has to take now, if it takes all it can from then on."""
    most = site.slot_wh(home.ev.power_w)
    return max(0, home.ev.need_wh - plant.ev_wh - most * (home.ev.departure_slot - index - 1))
