"""The season with everything known: the community's best, and each home's by itself."""

from typing import NamedTuple

from broker.backtest.house import House, first_track
from broker.backtest.scene import Scene
from broker.planning.optimum import Optimum, alone_optimum, community_optimum
from broker.planning.season import Driving, Member, Season
from chaincode import grid


class Optima(NamedTuple):
    """``together`` trades along the grid, ``alone`` does not."""

    together: Optimum
    alone: Optimum


def stock_price(scene: Scene) -> int:
    """What a Wh at the plug is worth that fills a store up again, base units: the mean over the season's days of the
    day's lowest retail. A stored Wh is worth it over the store's efficiency (``stored_price``)."""
    day = scene.homes.slots_per_day
    retail = scene.world.retail
    lowest = [int(retail[first : first + day].min()) for first in range(0, len(retail), day)]
    return sum(lowest) // len(lowest)


def optima(scene: Scene) -> Optima:
    """Both. Raises NoOptimumError."""
    world = scene.world
    season = Season(world.retail.tolist(), world.feed_in.tolist(), stock_price(scene))
    members = [_member(scene, house) for house in scene.houses]
    tree = grid.build(world.grid.root, world.grid.rate, tuple(world.grid.lines), world.slot_seconds).tree
    return Optima(community_optimum(members, season, tree), alone_optimum(members, season))


def _member(scene: Scene, house: House) -> Member:
    at = slice(scene.span.first, scene.span.first + scene.span.count)
    first = first_track(house, scene.span.first)
    net = [load - sun for load, sun in zip(house.load_wh[at], house.sun_wh[at], strict=True)]
    driving = None
    if house.garage is not None:
        garage = house.garage
        driving = Driving(first.vehicle_level, garage.buses[at], garage.trips.used_wh[at], garage.shortage_price)
    return Member(house.site, net, first.battery_level, driving)
