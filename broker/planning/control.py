"""Within the slot: what battery and vehicle do as contracts come to stand and the site's net shows.

No forecast is needed, only what the meters say and what stored energy is worth. Short of its contract a site would pay
retail: it gives from the store that is worth least, if less than that. Long it would get the feed-in tariff: it fills
the store that pays most, if more than that. The same holds at the vehicle's workplace, where it hangs alone.

Contracts come to stand in the course of the slot. Until then stores follow those that are known (``through``): nothing
is given early for a sale that is yet to be made, and what is too late for their power is left to the utility.
"""

from collections.abc import Sequence
from typing import NamedTuple

from broker.planning.pieces import Store, pieces
from broker.planning.stores import room, spare, stored
from broker.site import Battery, Site, Vehicle


class Here(NamedTuple):
    """A bus in a slot. ``position_wh``: contracted there, bought minus sold; ``net_wh``: load less sun there, without
    the stores."""

    position_wh: int
    net_wh: int
    retail: int
    feed_in: int


class Stock(NamedTuple):
    """A store in a slot: its level when the slot begins, below which it gives nothing, what the plan has it do in the
    slot, and the plan's value of a stored Wh at the slot's end, or its ``worth`` by level."""

    level_wh: int
    least_wh: int
    planned_wh: int
    value: int
    worth: tuple[tuple[int, int], ...] = ()


class Flows(NamedTuple):
    """At the plug: taken positive, given negative."""

    battery_wh: int
    vehicle_wh: int


class Phase(NamedTuple):
    """A part of the slot. ``until_s``: how much of the slot has passed at its end, s; what is contracted for the whole
    slot as far as is known in it, at home and where the vehicle is plugged in if that is elsewhere."""

    until_s: int
    home_wh: int
    away_wh: int


class Course(NamedTuple):
    """What the stores have done so far, and what is in them then; ``planned_wh`` is what the plan has left to do."""

    done: Flows
    battery: Stock | None
    vehicle: Stock | None


def through(
    site: Site,
    home: Here,
    battery: Stock | None,
    vehicle: Stock | None,
    away: Here | None,
    phases: Sequence[Phase],
) -> Course:
    """What the stores do until the last of ``phases`` ends; the positions of ``home`` and ``away`` are not read.

    Energy is contracted and settled for the slot as a whole, and the net is taken as even within it. So in each phase
    the rest of the slot is shared out as if no more contracts were to come, within the power of the time that is left,
    and the phase does its part of that. Neighbouring phases with the same contracts are one.
    """
    passed = battery_done = vehicle_done = 0
    for number, phase in enumerate(phases):
        if number + 1 < len(phases) and phases[number + 1][1:] == phase[1:]:
            continue
        left = site.slot_seconds - passed
        home_done = battery_done + (vehicle_done if away is None else 0)
        now = home._replace(position_wh=phase.home_wh - home_done)
        there = away._replace(position_wh=phase.away_wh - vehicle_done) if away is not None else None
        rest = control(site, now, battery, vehicle, there, left)
        length, passed = phase.until_s - passed, phase.until_s
        if battery is not None and site.battery is not None:
            flow = _part(rest.battery_wh, length, left)
            battery_done += flow
            battery = _after(battery, flow, site.battery.efficiency_permille)
        if vehicle is not None and site.vehicle is not None:
            flow = _part(rest.vehicle_wh, length, left)
            vehicle_done += flow
            vehicle = _after(vehicle, flow, site.vehicle.efficiency_permille)
    return Course(Flows(battery_done, vehicle_done), battery, vehicle)


def _part(flow_wh: int, length: int, left: int) -> int:
    """Rounded to nothing, so that no store does more than it can."""
    return flow_wh * length // left if flow_wh > 0 else -(-flow_wh * length // left)


def _after(stock: Stock, flow_wh: int, efficiency_permille: int) -> Stock:
    planned = stock.planned_wh
    rest = max(0, planned - max(0, flow_wh)) if planned > 0 else min(0, planned - min(0, flow_wh))
    return stock._replace(level_wh=stored(stock.level_wh, flow_wh, efficiency_permille), planned_wh=rest)


def control(
    site: Site,
    home: Here,
    battery: Stock | None,
    vehicle: Stock | None,
    away: Here | None = None,
    left_s: int | None = None,
) -> Flows:
    """What the stores do in the slot. ``vehicle``: None while it is not plugged in; ``away``: where it is plugged in,
    None at home; ``left_s``: how much of the slot there is to do it in, None for all of it."""
    stores: list[Store] = []
    if battery is not None and site.battery is not None:
        stores.append(store_of(site, site.battery, battery, left_s))
    if vehicle is None or site.vehicle is None:
        flows = share_out(tuple(stores), home)
        return Flows(flows[0] if stores else 0, 0)
    car = store_of(site, site.vehicle, vehicle, left_s)
    if away is not None:
        flows = share_out(tuple(stores), home)
        return Flows(flows[0] if stores else 0, share_out((car,), away)[0])
    flows = share_out((*stores, car), home)
    return Flows(flows[0] if stores else 0, flows[-1])


def store_of(site: Site, store: Battery | Vehicle, stock: Stock, left_s: int | None = None) -> Store:
    """What a device can do in the slot, or in the last ``left_s`` of it."""
    kept = store.efficiency_permille
    seconds = site.slot_seconds if left_s is None else left_s
    most_out, most_in = store.discharge_w * seconds // 3600, store.charge_w * seconds // 3600
    return Store(
        store.device,
        stock.level_wh,
        spare(stock.level_wh, stock.least_wh, most_out) if most_out > 0 else 0,
        room(stock.level_wh, store.capacity_wh, most_in, kept),
        stock.planned_wh,
        stock.value,
        kept,
        stock.worth,
    )


def share_out(stores: tuple[Store, ...], here: Here) -> list[int]:
    """Each store's flow. What the contract brings, less the net, and all that the stores could give, goes to their
    pieces, dearest first; a piece dearer than retail is filled from the utility, none that is cheaper than the feed-in
    tariff is."""
    flows = [-store.give_wh for store in stores]
    supply = here.position_wh - here.net_wh - sum(flows)
    for energy, worth, store, _ in pieces(stores):
        if worth <= here.feed_in:
            break
        filled = energy if worth > here.retail else min(energy, supply)
        if filled > 0:
            flows[store] += filled
            supply -= filled
    return flows
