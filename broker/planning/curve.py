"""What a site would pay for another Wh of a slot, or want for one: the whole curve from the plan's values.

Let the site have contracted P and its net turn out to be N. Its stores then make the best of P - N (control.py), and
another Wh would have been worth g(P - N), where g falls in steps: retail as long as not even the stores can cover the
need, then the stores' pieces in order of their worth, at last the feed-in tariff. Before N is known another contracted
Wh is worth the mean of g(P - N), and N is one of ten equally likely quantiles: a curve that falls by a tenth of g's
steps at each quantile moved by each of g's edges. Without stores that is the newsvendor's rule: a Wh beyond quantile k
is worth feed-in + (retail - feed-in) * P(N > q_k). docs/planning.md has the derivation.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from broker.planning.control import Course, Stock, store_of
from broker.planning.pieces import Store, pieces
from broker.planning.stores import limit_wh, next_need, stored
from broker.site import Battery, Site, Vehicle
from broker.view import LEVELS_PERMILLE, Curve, Outlook, Plan, Step

CASES: Final = len(LEVELS_PERMILLE)


NOBODY: Final = -1
"""Instead of a store: what load and panels lack or have left over."""


class Begun(NamedTuple):
    """Of a slot that has begun by the time the orders meet: how much of it is left then, s, and what the stores will
    have done."""

    left_s: int
    course: Course


class _Drop(NamedTuple):
    """Where the curve falls, by how much (tenths of a base unit), and whose energy ends there: a store's, by number,
    which it takes or else keeps, or ``NOBODY``'s."""

    at_wh: int
    by: int
    whose: int
    takes: bool


class _Part(NamedTuple):
    """A part of the curve: its energy, what it is worth and whose it is, as in ``_Drop``."""

    energy_wh: int
    value: int
    whose: int
    takes: bool


def curve(site: Site, outlook: Outlook, plan: Plan, index: int, bus: str, begun: Begun | None = None) -> Curve:
    """The site's curve for the slot of ``index`` at ``bus``: its own, or the one where its vehicle is plugged in then.
    ``begun``: of the slot of index 0, whose stores then can do no more than what the time that is left lets them.
    Raises KeyError for another bus, IndexError for a slot beyond the outlook."""
    home = bus == site.bus
    prices = outlook.prices if home else outlook.away[bus]
    retail = prices.retail[index]
    feed_in = min(prices.feed_in[index], retail)
    if begun is None:
        stores, done = _stores(site, outlook, plan, index, bus), 0
    else:
        stores, done = _stores_in(site, outlook, begun, bus)
    quantiles = [net + done for net in sorted(outlook.net[index].tolist())] if home else [done] * CASES
    drops = _drops(stores, quantiles, retail, feed_in)
    if not drops:
        return Curve(quantiles[CASES // 2], ())
    below, above, value = [], [], retail * CASES
    for last, drop in pairwise(drops):
        value -= last.by
        worth = -(-value // CASES)  # upward: above a price of whole base units if and only if the fraction is
        if last.at_wh < min(drop.at_wh, 0):
            below.append(_Part(min(drop.at_wh, 0) - last.at_wh, worth, drop.whose, drop.takes))
        if max(last.at_wh, 0) < drop.at_wh:
            above.append(_Part(drop.at_wh - max(last.at_wh, 0), worth, drop.whose, drop.takes))
    lowest, highest = drops[0].at_wh, drops[-1].at_wh
    books = _Books(site, stores, home=home, surplus=quantiles[0] < 0)
    books.put(max(-highest, 0), NOBODY, takes=False, sale=True)
    sold = [(*booked, part.value) for part in reversed(below) for booked in books.put_part(part, sale=True)]
    start = -books.sold_wh if lowest < 0 else books.put(lowest, NOBODY, takes=False, sale=False)
    bought = [(*booked, part.value) for part in above for booked in books.put_part(part, sale=False)]
    whys = {store.device: _why(site, outlook, plan, index, store.device) for store in stores}
    return Curve(start, _steps([*reversed(sold), *bought], site, whys))


def _stores(site: Site, outlook: Outlook, plan: Plan, index: int, bus: str) -> tuple[Store, ...]:
    """The site's stores at ``bus`` in the slot, at the levels that the plan leaves them when it begins."""
    found: list[Store] = []
    if (battery := site.battery) is not None and bus == site.bus:
        level = outlook.battery_wh
        for flow in plan.battery_wh[:index]:
            level = stored(level, flow, battery.efficiency_permille)
        stock = Stock(level, 0, plan.battery_wh[index], plan.battery_value[index], plan.battery_worth)
        found.append(_store(site, battery, stock, index))
    if (vehicle := site.vehicle) is not None and (seen := outlook.vehicle) is not None and seen.buses[index] == bus:
        level = seen.level_wh
        for slot in range(index):
            level = stored(level, plan.vehicle_wh[slot], vehicle.efficiency_permille)
            level = max(0, level - seen.used_wh[slot])
        need = next_need(seen, index)
        stock = Stock(level, need, plan.vehicle_wh[index], plan.vehicle_value[index], plan.vehicle_worth)
        found.append(_store(site, vehicle, stock, index))
    return tuple(found)


def _stores_in(site: Site, outlook: Outlook, begun: Begun, bus: str) -> tuple[tuple[Store, ...], int]:
    """The same within the slot of index 0, and what they have done there: as good as a part of the net."""
    found: list[Store] = []
    done = 0
    left_s, course = begun
    if site.battery is not None and course.battery is not None and bus == site.bus:
        found.append(store_of(site, site.battery, course.battery, left_s))
        done += course.done.battery_wh
    if site.vehicle is not None and course.vehicle is not None:
        assert outlook.vehicle is not None, "a vehicle of which nothing is known"
        if outlook.vehicle.buses[0] == bus:
            found.append(store_of(site, site.vehicle, course.vehicle, left_s))
            done += course.done.vehicle_wh
    return tuple(found), done


def _store(site: Site, store: Battery | Vehicle, stock: Stock, index: int) -> Store:
    """In the first slot all that it can do, since what that is worth is known level by level; later no more than the
    plan has it do, since one value would hold for the last Wh as for the first."""
    if index == 0:
        return store_of(site, store, stock)
    can = store_of(site, store, stock._replace(worth=()))
    give, take = max(0, -stock.planned_wh), max(0, stock.planned_wh)
    return can._replace(give_wh=min(can.give_wh, give), take_wh=min(can.take_wh, take))


def _drops(stores: tuple[Store, ...], quantiles: Sequence[int], retail: int, feed_in: int) -> list[_Drop]:
    """Every fall of the curve, in order of where it is: g's edges at each quantile."""
    edges: list[_Drop] = []
    edge, worth, whose, takes = -sum(store.give_wh for store in stores), retail, NOBODY, False
    for piece in pieces(stores):
        clipped = min(max(piece.worth, feed_in), retail)
        edges.append(_Drop(edge, worth - clipped, whose, takes))
        edge, worth, whose, takes = edge + piece.energy_wh, clipped, piece.store, piece.takes
    edges.append(_Drop(edge, worth - feed_in, whose, takes))
    falls = [edge for edge in edges if edge.by > 0]
    return sorted([_Drop(quantile + at, by, whose, takes) for quantile in quantiles for at, by, whose, takes in falls])


class _Books:
    """Which device a part of the curve is traded by, within each one's limits. A sale is the store's that would give
    it, or the panels' if it is left over; a purchase is the store's that would take it, else the load's. What finds no
    room there goes to any device that has some: the ledger nets them all. What finds none at all is not traded."""

    def __init__(self, site: Site, stores: tuple[Store, ...], *, home: bool, surplus: bool) -> None:
        self._stores = tuple(store.device for store in stores)
        self._load = site.load if home else ""
        self._panels = site.panels.device if home and surplus and site.panels is not None else ""
        names = (self._load, self._panels, *self._stores)
        self._room: dict[bool, dict[str, int]] = {
            sale: {name: limit_wh(site, name, way_in=not sale) for name in names if name} for sale in (True, False)
        }
        self.sold_wh = 0

    def put_part(self, part: _Part, *, sale: bool) -> list[tuple[str, int]]:
        """The devices that trade it, and how much each."""
        own = self._stores[part.whose] if part.whose != NOBODY else ""
        if sale:
            wanted = (self._panels, own) if part.takes or part.whose == NOBODY else (own, self._panels)
        else:
            wanted = (own, self._load) if part.takes else (self._load, own)
        room = self._room[sale]
        booked: list[tuple[str, int]] = []
        left = part.energy_wh
        for name in (*wanted, *self._stores, *room):  # who was asked before has nothing left
            traded = min(left, room.get(name, 0))
            if traded > 0:
                booked.append((name, traded))
                room[name] -= traded
                left -= traded
                if not left:
                    break
        if sale:
            self.sold_wh += part.energy_wh - left
        return booked

    def put(self, energy_wh: int, whose: int, *, takes: bool, sale: bool) -> int:
        """A part that is traded at any price; how much of it is."""
        return sum(wh for _, wh in self.put_part(_Part(energy_wh, 0, whose, takes), sale=sale))


def _steps(booked: Sequence[tuple[str, int, int]], site: Site, whys: dict[str, str]) -> tuple[Step, ...]:
    """Neighbours of one device and value are one step."""
    steps: list[Step] = []
    for device, energy, value in booked:
        if steps and steps[-1].device == device and steps[-1].value == value:
            steps[-1] = steps[-1]._replace(energy_wh=steps[-1].energy_wh + energy)
            continue
        usual = "load" if device == site.load else "own sun"
        steps.append(Step(device, energy, value, whys.get(device, usual)))
    return tuple(steps)


def _why(site: Site, outlook: Outlook, plan: Plan, index: int, device: str) -> str:
    """What a store's energy is for: the next slot in which the battery gives, or the vehicle drives."""
    hours = site.slot_seconds / 3600
    if site.vehicle is not None and device == site.vehicle.device and (seen := outlook.vehicle) is not None:
        ahead = next((slot for slot, used in enumerate(seen.used_wh) if slot > index and used), None)
        return "later trips" if ahead is None else f"trip in {(ahead - index) * hours:g} h"
    ahead = next((slot for slot, flow in enumerate(plan.battery_wh) if slot > index and flow < 0), None)
    return "stock" if ahead is None else f"stock for use in {(ahead - index) * hours:g} h"
