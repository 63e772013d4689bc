"""A community's season as one linear program: everything known, everybody doing their part for the least common cost.

By slot and node (a bus at which something hangs): what is imported and exported there at the utility's tariffs, and a
balance. By slot and link: what flows each way, at its toll. By slot and store: what it takes, gives, its level at the
end; a vehicle's trips are taken out of its level, and what is lacking is had on the road at its price.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from broker.planning.feeder import Feeder
from broker.planning.sparse import Blocks, Floats, Places
from broker.site import Battery, Site, Vehicle

MONEY: Final = 1_000_000
WH: Final = 1_000
"""The solver's units: tokens per kWh, a million base units per Wh, and kWh."""
EASE_WH: Final = 0.1
"""Every store holds so much more: one that begins full and can neither give nor leave would else have no choice at all,
and an interior-point method needs an interior. The bound stays one."""


@dataclass(frozen=True, slots=True)
class Driving:
    """A vehicle's truth, slot by slot: where it is plugged in ("" if it is not) and what its trips take, Wh. What is
    lacking for a trip costs ``shortage_price``."""

    level_wh: int
    buses: Sequence[str]
    used_wh: Sequence[int]
    shortage_price: int


@dataclass(frozen=True, slots=True)
class Member:
    """``net_wh``: load less sun, slot by slot; ``battery_wh``: in it at the beginning."""

    site: Site
    net_wh: Sequence[int]
    battery_wh: int
    driving: Driving | None

    @property
    def buses(self) -> tuple[str, ...]:
        """All at which something of it ever hangs, its own first."""
        driven = () if self.driving is None or self.site.vehicle is None else self.driving.buses
        return tuple(dict.fromkeys((self.site.bus, *(bus for bus in driven if bus))))


@dataclass(frozen=True, slots=True)
class Season:
    """Tariffs slot by slot, base units per Wh. ``stock_price``: what a Wh at the plug costs that fills a store again;
    what is left in one at the end is worth that, with the loss (``stored_price``), and what was in it at first."""

    retail: Sequence[int]
    feed_in: Sequence[int]
    stock_price: int


def stored_price(stock_price: int, store: Battery | Vehicle) -> int:
    """What a Wh in ``store`` is worth, base units: what was bought for it, of which not all is kept."""
    return stock_price * 1000 // store.efficiency_permille if store.efficiency_permille else stock_price


class Part(NamedTuple):
    """What one member does. Arrays by slot, kWh: ``nets``, its net position at each of its nodes; ``battery`` and
    ``vehicle`` at the plug; ``road``: what its trips lacked. ``shortage`` and ``stock``, base units: what that cost,
    and by how much more its stores are worth at the end."""

    nets: dict[int, Floats]
    battery: Floats
    vehicle: Floats
    road: Floats
    shortage: float
    stock: float


class Flows(NamedTuple):
    """What the optimum does. Arrays over nodes and slots, kWh: ``imports``, ``exports``; ``prices``: base units per
    Wh. ``links``: each link's flows down and up. ``parts``: by member."""

    imports: Floats
    exports: Floats
    prices: Floats
    links: list[tuple[Floats, Floats]]
    parts: list[Part]


class _Store(NamedTuple):
    """A store's columns, by slot; ``node``: where it hangs, -1: nowhere; ``level_wh``: at the beginning."""

    take: Places
    give: Places
    level: Places
    road: Places
    node: Places
    level_wh: int


def solve(members: Sequence[Member], season: Season, nodes: Feeder, node_of: Sequence[dict[str, int]]) -> Flows:
    """``node_of``: by member, the number of the node at each of its buses. Raises NoOptimumError, ValueError."""
    slots = len(season.retail)
    lengths = {len(member.net_wh) for member in members} | {len(season.feed_in)}
    lengths |= {len(part) for each in members if each.driving for part in (each.driving.buses, each.driving.used_wh)}
    if lengths != {slots}:
        raise ValueError(f"a season of {slots} slots has series of {sorted(lengths)}")
    shape = (len(nodes.nodes), slots)
    retail = np.asarray(season.retail, dtype=np.float64) / MONEY
    feed_in = np.minimum(np.asarray(season.feed_in, dtype=np.float64) / MONEY, retail)
    net = np.zeros(shape)
    for member, places in zip(members, node_of, strict=True):
        net[places[member.site.bus]] += np.asarray(member.net_wh, dtype=np.float64) / WH
    blocks = Blocks()
    balance = blocks.rows(net.ravel()).reshape(shape)
    imports = blocks.columns(np.tile(retail, shape[0]))
    exports = blocks.columns(np.tile(-feed_in, shape[0]))
    blocks.put(balance.ravel(), imports, 1.0)
    blocks.put(balance.ravel(), exports, -1.0)
    links = []
    for link in nodes.links:
        toll = np.full(slots, link.toll / MONEY)
        down = blocks.columns(toll, _limit(link.limit_down_wh))
        up = blocks.columns(toll, _limit(link.limit_up_wh))
        for flow, into, out in ((down, link.child, link.parent), (up, link.parent, link.child)):
            blocks.put(balance[into], flow, 1.0)
            blocks.put(balance[out], flow, -1.0)
        links.append((down, up))
    stores = [
        (_battery(blocks, balance, member, season, places), _vehicle(blocks, balance, member, season, places))
        for member, places in zip(members, node_of, strict=True)
    ]
    solved = blocks.solve()
    columns = solved.columns
    parts = [
        _part(columns, member, season, places, pair)
        for member, places, pair in zip(members, node_of, stores, strict=True)
    ]
    return Flows(
        columns[imports].reshape(shape),
        columns[exports].reshape(shape),
        solved.duals[balance] * MONEY,
        [(columns[down], columns[up]) for down, up in links],
        parts,
    )


def _part(
    columns: Floats, member: Member, season: Season, places: dict[str, int], stores: tuple[_Store | None, ...]
) -> Part:
    """A member's part, from the solution's ``columns``. ``stores``: its battery and its vehicle."""
    nothing = np.zeros(len(season.retail))
    nets = {node: nothing.copy() for node in places.values()}
    nets[places[member.site.bus]] += np.asarray(member.net_wh, dtype=np.float64) / WH
    flows, road = [nothing, nothing], nothing
    lacked = gained = 0.0
    for number, (store, device) in enumerate(zip(stores, (member.site.battery, member.site.vehicle), strict=True)):
        if store is None or device is None:
            continue
        flows[number] = columns[store.take] - columns[store.give]
        for node in nets:
            nets[node] += np.where(store.node == node, flows[number], 0.0)
        more = float(columns[store.level[-1]]) * WH - store.level_wh
        gained += more * stored_price(season.stock_price, device)
        if member.driving is not None and len(store.road):
            road = columns[store.road]
            lacked = float(road.sum()) * WH * member.driving.shortage_price
    return Part(nets, flows[0], flows[1], road, lacked, gained)


def _battery(blocks: Blocks, balance: Places, member: Member, season: Season, places: dict[str, int]) -> _Store | None:
    battery = member.site.battery
    if battery is None:
        return None
    slots = balance.shape[1]
    node = np.full(slots, places[member.site.bus])
    return _store(blocks, balance, member.site, battery, season, node, member.battery_wh, None)


def _vehicle(blocks: Blocks, balance: Places, member: Member, season: Season, places: dict[str, int]) -> _Store | None:
    vehicle, driving = member.site.vehicle, member.driving
    if vehicle is None or driving is None:
        return None
    node = np.array([places[bus] if bus else -1 for bus in driving.buses])
    return _store(blocks, balance, member.site, vehicle, season, node, driving.level_wh, driving)


def _store(
    blocks: Blocks,
    balance: Places,
    site: Site,
    store: Battery | Vehicle,
    season: Season,
    node: Places,
    level_wh: int,
    driving: Driving | None,
) -> _Store:
    """A store's columns and the rows of its level."""
    slots = len(node)
    level_wh = min(max(level_wh, 0), store.capacity_wh)
    plugged = np.flatnonzero(node >= 0)
    nothing = np.zeros(slots)
    take = blocks.columns(nothing, np.where(node >= 0, site.slot_wh(store.charge_w) / WH, 0.0))
    give = blocks.columns(nothing, np.where(node >= 0, site.slot_wh(store.discharge_w) / WH, 0.0))
    worth = nothing.copy()
    worth[-1] = -stored_price(season.stock_price, store) / MONEY
    level = blocks.columns(worth, (store.capacity_wh + EASE_WH) / WH)
    used = nothing if driving is None else np.asarray(driving.used_wh, dtype=np.float64) / WH
    right = -used
    right[0] += level_wh / WH
    carried = blocks.rows(right)
    blocks.put(carried, level, 1.0)
    blocks.put(carried[1:], level[:-1], -1.0)
    blocks.put(carried, take, -store.efficiency_permille / 1000)
    blocks.put(carried, give, 1.0)
    hung = balance[node[plugged], plugged]
    blocks.put(hung, take[plugged], -1.0)
    blocks.put(hung, give[plugged], 1.0)
    road = np.zeros(0, dtype=np.int64)
    if driving is not None:
        road = blocks.columns(np.full(slots, driving.shortage_price / MONEY), used)
        blocks.put(carried, road, -1.0)
    return _Store(take, give, level, road, node, level_wh)


def _limit(wh: int | None) -> float:
    return np.inf if wh is None else wh / WH
