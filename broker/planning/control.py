"""Within the slot: what battery and vehicle do once the contracts stand and the site's net shows.

No forecast is needed, only what the meters say and what stored energy is worth. Short of its contract a site would pay
retail: it gives from the store that is worth least, if less than that. Long it would get the feed-in tariff: it fills
the store that pays most, if more than that. The same holds at the vehicle's workplace, where it hangs alone.
"""

from typing import NamedTuple

from broker.planning.pieces import Store, pieces
from broker.planning.stores import room, spare
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


def control(site: Site, home: Here, battery: Stock | None, vehicle: Stock | None, away: Here | None = None) -> Flows:
    """What the stores do in the slot. ``vehicle``: None while it is not plugged in; ``away``: where it is plugged in,
    None at home."""
    stores: list[Store] = []
    if battery is not None and site.battery is not None:
        stores.append(store_of(site, site.battery, battery))
    if vehicle is None or site.vehicle is None:
        flows = share_out(tuple(stores), home)
        return Flows(flows[0] if stores else 0, 0)
    car = store_of(site, site.vehicle, vehicle)
    if away is not None:
        flows = share_out(tuple(stores), home)
        return Flows(flows[0] if stores else 0, share_out((car,), away)[0])
    flows = share_out((*stores, car), home)
    return Flows(flows[0] if stores else 0, flows[-1])


def store_of(site: Site, store: Battery | Vehicle, stock: Stock) -> Store:
    """What a device can do in the slot."""
    kept = store.efficiency_permille
    most_out = site.slot_wh(store.discharge_w)
    return Store(
        store.device,
        stock.level_wh,
        spare(stock.level_wh, stock.least_wh, most_out) if most_out > 0 else 0,
        room(stock.level_wh, store.capacity_wh, site.slot_wh(store.charge_w), kept),
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
