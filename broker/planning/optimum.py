"""The best that a community could have done with everything known: the yardstick of perfect foresight.

One linear program over a whole season: imports at retail and exports at the feed-in tariff at every bus, batteries,
vehicles with their true trips, and trade over the tree at its tolls within its limits. Whatever brokers do in the same
season is a feasible point of it: of what a store takes they keep less, rounded down by less than a Wh a slot, which
only makes theirs dearer. So no broker can end below it as long as no price is negative, HiGHS' tolerance (1e-7) apart.

The duals of the buses' balances are the prices at which each member would do its part by itself. A member's bill is
settled at them: it pays its bus's price for all that it takes there, whoever it comes from, and gets it for what it
gives. The utility is paid its tariffs and each line its toll out of that; where a line is full the prices differ by
more than its toll, and what is left over is the *rent*: the bills together are the cost and the rent. The rent belongs
to the members (the market gives it back by tolls paid), but to none of them in particular here: it is told beside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from broker.planning.feeder import Feeder, feeder
from broker.planning.season import WH, Member, Season, solve
from broker.planning.sparse import Floats
from chaincode.tree import Tree

Wh = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Share:
    """One member's part. ``bill``: base units, at the nodal prices, shortage and change of stock in it. Flows in Wh by
    slot, at all its buses together: ``import_wh`` and ``export_wh`` with the utility, ``trade_wh`` with others (bought
    positive); ``battery_wh`` and ``vehicle_wh`` at the plug (taken positive); ``short_wh``: what its trips lacked."""

    bill: int
    import_wh: Wh
    export_wh: Wh
    trade_wh: Wh
    battery_wh: Wh
    vehicle_wh: Wh
    short_wh: Wh


@dataclass(frozen=True, slots=True)
class Optimum:
    """``cost``: base units: the utility's and the lines' part, shortages and the change of stocks; ``rent``: the bills
    together less the cost. ``prices``: base units per Wh, by bus at which something hangs and slot."""

    cost: int
    tolls: int
    rent: int
    shares: tuple[Share, ...]
    prices: dict[str, Floats]


def community_optimum(members: Sequence[Member], season: Season, tree: Tree) -> Optimum:
    """The community's optimum. Raises NoOptimumError if HiGHS finds none, KeyError for a bus that is not in ``tree``,
    ValueError if series are not of one length."""
    buses = sorted({bus for member in members for bus in member.buses})
    nodes = feeder(tree, buses)
    number = {bus: index for index, bus in enumerate(nodes.nodes)}
    return _settled(members, season, nodes, [{bus: number[bus] for bus in member.buses} for member in members])


def alone_optimum(members: Sequence[Member], season: Season) -> Optimum:
    """The same with nobody trading: the sum of what each member could have done with the utility alone. A vehicle is
    charged at work at the utility's prices there, and what it gives there is sold to the utility."""
    names: list[str] = []
    node_of: list[dict[str, int]] = []
    for member in members:
        own = {bus: len(names) + place for place, bus in enumerate(member.buses)}
        names += [f"{member.site.network}@{bus}" for bus in member.buses]
        node_of.append(own)
    return _settled(members, season, Feeder(tuple(names), ()), node_of)


def _settled(members: Sequence[Member], season: Season, nodes: Feeder, node_of: Sequence[dict[str, int]]) -> Optimum:
    """The optimum, and each member's bill at its prices."""
    if not members or not len(season.retail):
        return Optimum(0, 0, 0, tuple(_nothing() for _ in members), {})
    flows = solve(members, season, nodes, node_of)
    tolls = sum(
        link.toll * float((down + up).sum()) * WH for link, (down, up) in zip(nodes.links, flows.links, strict=True)
    )
    utility = flows.imports * _row(season.retail) - flows.exports * _row(np.minimum(season.feed_in, season.retail))
    cost = float(utility.sum()) * WH + tolls
    demand = np.zeros_like(flows.prices)
    supply = np.zeros_like(flows.prices)
    for part in flows.parts:
        for node, net in part.nets.items():
            demand[node] += np.maximum(net, 0.0)
            supply[node] += np.maximum(-net, 0.0)
    imported = flows.imports / np.where(demand > 0, demand, 1.0)
    exported = flows.exports / np.where(supply > 0, supply, 1.0)
    shares = []
    for part in flows.parts:
        places = part.nets
        beside = part.shortage - part.stock
        cost += beside
        bill = beside + sum(float((flows.prices[node] * net).sum()) for node, net in places.items()) * WH
        bought = sum(np.maximum(net, 0.0) * imported[node] for node, net in places.items())
        sold = sum(np.maximum(-net, 0.0) * exported[node] for node, net in places.items())
        total = sum(places.values())
        series = (bought, sold, total - bought + sold, part.battery, part.vehicle, part.road)
        shares.append(Share(round(bill), *(_wh(each) for each in series)))
    prices = {name: flows.prices[node] for node, name in enumerate(nodes.nodes)}
    rent = sum(share.bill for share in shares) - round(cost)
    return Optimum(round(cost), round(tolls), rent, tuple(shares), prices)


def _nothing() -> Share:
    none = np.zeros(0, dtype=np.int64)
    return Share(0, none, none, none, none, none, none)


def _row(series: Sequence[int] | Wh) -> Floats:
    return np.asarray(series, dtype=np.float64)[None, :]


def _wh(kwh: Floats) -> Wh:
    return np.rint(np.asarray(kwh) * WH).astype(np.int64)
