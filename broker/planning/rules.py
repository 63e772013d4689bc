"""How a site's stores are run without an exchange, by plain rules: the yardstick, and the plan of last resort.

The battery takes what is left over and gives what is short; the vehicle charges from when it is plugged in, at full
power until it is full. Nobody looks ahead.
"""

from broker.planning.stores import next_need, room, spare, stored
from broker.site import Battery, Site, Vehicle
from broker.view import LEVELS_PERMILLE, Outlook, Plan

MEDIAN = len(LEVELS_PERMILLE) // 2


def self_consumption(site: Site, net_wh: int, level_wh: int) -> int:
    """What the battery does in a slot whose load less sun is ``net_wh`` (vehicle and all), at the plug."""
    battery = site.battery
    if battery is None:
        return 0
    if net_wh > 0:
        return -min(net_wh, spare(level_wh, 0, site.slot_wh(battery.discharge_w)))
    return min(-net_wh, _room(site, battery, level_wh))


def charge_on_arrival(site: Site, level_wh: int, plugged_seconds: int | None = None) -> int:
    """What the vehicle takes in a slot in which it is plugged in: all that it can. ``plugged_seconds``: how much of the
    slot it is there, None for all of it."""
    vehicle = site.vehicle
    if vehicle is None:
        return 0
    seconds = site.slot_seconds if plugged_seconds is None else min(max(plugged_seconds, 0), site.slot_seconds)
    return room(level_wh, vehicle.capacity_wh, vehicle.charge_w * seconds // 3600, vehicle.efficiency_permille)


def rule_plan(site: Site, outlook: Outlook) -> Plan:
    """The rules' plan on the medians, and values at which ``control`` does as they say: own sun is stored rather than
    sold to the utility, own stock used rather than bought from it, and the vehicle is charged at any price until it
    has what its next trip needs."""
    battery_wh, vehicle_wh, vehicle_value = [], [], []
    level = outlook.battery_wh
    seen, vehicle, battery = outlook.vehicle, site.vehicle, site.battery
    car = seen.level_wh if seen is not None else 0
    for slot, net in enumerate(outlook.net[:, MEDIAN].tolist()):
        taken = 0
        if vehicle is not None and seen is not None:
            wanted = bool(seen.buses[slot]) and car < max(next_need(seen, slot), vehicle.capacity_wh // 2)
            taken = charge_on_arrival(site, car) if wanted else 0
            car = max(0, stored(car, taken, vehicle.efficiency_permille) - seen.used_wh[slot])
            vehicle_value.append(_worth(outlook, slot, vehicle, wanted=wanted))
        vehicle_wh.append(taken)
        at_home = seen is not None and seen.buses[slot] == site.bus
        battery_wh.append(self_consumption(site, net + (taken if at_home else 0), level))
        if battery is not None:
            level = stored(level, battery_wh[-1], battery.efficiency_permille)
    slots = range(len(outlook.net))
    battery_value = [0 if battery is None else _worth(outlook, slot, battery, wanted=False) for slot in slots]
    return Plan(
        tuple(battery_wh),
        tuple(vehicle_wh),
        tuple(battery_value),
        tuple(vehicle_value) if vehicle_value else (0,) * len(outlook.net),
        "no plan could be computed in time: stores run by the plain rules until the next one",
    )


def _worth(outlook: Outlook, slot: int, store: Battery | Vehicle, *, wanted: bool) -> int:
    """Above every price if the energy is ``wanted`` whatever it costs; else between what the utility pays, with the
    loss, and what it asks."""
    retail, feed_in = outlook.prices.retail[slot], outlook.prices.feed_in[slot]
    kept = max(1, store.efficiency_permille)
    if wanted:
        dearest = max([retail, *(there.retail[slot] for there in outlook.away.values())])
        return dearest * 1000 // kept + 1 + abs(dearest) // 10
    return (feed_in * 1000 // kept + retail) // 2


def _room(site: Site, battery: Battery, level_wh: int) -> int:
    return room(level_wh, battery.capacity_wh, site.slot_wh(battery.charge_w), battery.efficiency_permille)
