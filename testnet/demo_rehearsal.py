"""The days before the demo's, lived through in one process: the same homes on the same grid, by the same contracts.

So the homes' brokers come to their day as to any other one: they have seen what energy was traded for at which time of
day, and nothing of the day itself. These days are traded hour by hour, as the data are measured.
"""

import datetime
from typing import Final, NamedTuple

import numpy as np

from broker.backtest.engine import Replay
from broker.backtest.forecasts import WeekByWeek
from broker.backtest.foresight import Foresight
from broker.backtest.house import Garage, House
from broker.backtest.scene import Scene
from broker.backtest.setup import Run, Span
from broker.data.homes import Home, Homes
from broker.local_exchange import LocalExchange
from broker.site import Site
from broker.vehicles.mobility import Trips
from broker.world import World, known_keys, windows_of
from cli.grid_file import GridVersion
from testnet.community import HOURS, SLOTS, Community
from testnet.community import Home as Dweller

HOUR_S: Final = 3600
DAYS: Final = 4
SHORTAGE_FACTOR: Final = 2


class Cleared(NamedTuple):
    """What a slot cleared at, at a home's bus, base units per Wh; Wh traded in the whole community."""

    price: int
    traded_wh: int


Prices = dict[str, dict[int, Cleared]]
"""By home and by hour, counted back from the day's midnight: -1 is the last one before it."""


def rehearse(community: Community, sites: dict[str, Site], grid: GridVersion, tariff: list[tuple[int, int]]) -> Prices:
    """The prices of the DAYS before the day. ``sites``: by home, as their brokers have them; ``tariff``: retail and
    feed-in by the day's half-hours. Nothing if the homes know fewer days."""
    past_days = min(len(home.load_past_wh) for home in community.homes) // SLOTS
    if past_days <= DAYS:
        return {}
    scene = _scene(community, sites, grid, tariff, past_days)
    exchange = LocalExchange(scene.world.settings(), scene.world.time_origin)
    replay = Replay(scene, Foresight(scene, WeekByWeek(scene.homes, scene.span)), exchange)
    replay.run(lambda part: None)
    end = scene.world.end_slot
    prices: Prices = {home.name: {} for home in community.homes}
    for slot, by_bus in replay.books.price.items():
        traded = sum(contract.bought_wh for contract in replay.books.contracts.get(slot, {}).values())
        for name, hours in prices.items():
            hours[slot - end] = Cleared(by_bus[name], traded)
    return prices


def _scene(
    community: Community, sites: dict[str, Site], grid: GridVersion, tariff: list[tuple[int, int]], past_days: int
) -> Scene:
    midnight = int(datetime.datetime.combine(community.date, datetime.time(), datetime.UTC).timestamp()) // HOUR_S
    terms = np.tile(np.array(tariff[::2], dtype=np.int64), (past_days, 1))
    first = (past_days - DAYS) * HOURS
    hourly = {home.name: _hourly(home, past_days * HOURS, sites[home.name]) for home in community.homes}
    homes = Homes(midnight - past_days * HOURS, HOUR_S, tuple(hourly.values()), terms[:, 0], terms[:, 1], None, None)
    span = Span(first, DAYS * HOURS)
    shortage = SHORTAGE_FACTOR * int(terms[:, 0].max())
    houses = tuple(_house(home, hourly[home.name], sites[home.name], past_days, shortage) for home in community.homes)
    world = World(
        sites=tuple(house.site for house in houses),
        grid=grid,
        keys=known_keys([home.name for home in community.homes]).public,
        first_slot=midnight - DAYS * HOURS,
        slot_seconds=HOUR_S,
        retail=terms[first:, 0],
        feed_in=terms[first:, 1],
        budgets={},
        windows=windows_of(HOUR_S),
    )
    return Scene(Run(strategy="truthful", season="", vehicles=True), homes, span, houses, world)


def _hourly(home: Dweller, hours: int, site: Site) -> Home:
    load = np.array(home.load_past_wh[-2 * hours :], dtype=np.int64).reshape(-1, 2).sum(axis=1)
    sun = np.array(home.sun_past_wh[-2 * hours :], dtype=np.int64).reshape(-1, 2).sum(axis=1)
    return Home(home.name, load, sun, home.pv_w, site.battery)


def _house(home: Dweller, hourly: Home, site: Site, days: int, shortage: int) -> House:
    """Every day its EV needs what it needs on the demo's day."""
    arrives, leaves = home.ev.first_slot // 2, home.ev.departure_slot // 2
    places = tuple("home" if arrives <= hour < leaves else "" for hour in range(HOURS))
    used = tuple(home.ev.need_wh if hour == leaves else 0 for hour in range(HOURS))
    km = tuple(home.ev.km if hour == leaves else 0 for hour in range(HOURS))
    trips = Trips(places * days, used * days, km * days)
    buses = tuple(site.bus if place else "" for place in trips.places)
    return House(
        _hourly_site(site), hourly.load_wh.tolist(), hourly.sun_wh.tolist(), Garage(trips, buses, "", shortage)
    )


def _hourly_site(site: Site) -> Site:
    return Site(
        site.network, site.bus, site.load, site.panels, site.battery, site.vehicle, HOUR_S, site.import_w, site.export_w
    )
