"""A run's scene: the season's homes with their vehicles, where they hang, and the world that they trade in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from broker.backtest.house import Garage, House
from broker.backtest.setup import Run, Span, day_of, read_homes, span_of
from broker.data.homes import Home, Homes, device_names
from broker.site import Site
from broker.vehicles.fleet import Driven, fleet
from broker.world import World, known_keys, street, varied, windows_of
from cli.grid_file import GridVersion, read_grid
from node.errors import ConfigError

ONE_BUS: Final = "street"
SHORTAGE_FACTOR: Final = 2
"""Assumed: a public charger costs so many times the season's dearest retail."""
FUEL_PRICE: Final = 90_000_000
"""Assumed: base units for a km on fuel, 0.09 tokens: 7 litres for 100 km at 1.3 tokens."""
FUEL_CO2_G: Final = 164
"""g of CO2 for a km on fuel: the same 7 litres for 100 km, at 2.35 kg a litre (US EPA: 8,887 g a gallon of petrol)."""


class Place(NamedTuple):
    """Where a home hangs, and where its vehicle stands at work, "" if there is no plug."""

    bus: str
    work_bus: str


@dataclass(frozen=True, slots=True)
class Scene:
    """``homes``: the whole data, of which ``span`` is played; ``houses``: in the same order; ``world``: the season."""

    run: Run
    homes: Homes
    span: Span
    houses: tuple[House, ...]
    world: World

    @property
    def sites(self) -> tuple[Site, ...]:
        """In the order of the homes."""
        return tuple([house.site for house in self.houses])

    def terms(self, index: int) -> list[tuple[int, int]]:
        """Retail and feed-in of a day's slots from slot ``index`` of the season on, which the utility has published;
        fewer at the end of the data."""
        at = slice(self.span.first + index, self.span.first + index + self.homes.slots_per_day)
        return list(zip(self.homes.retail[at].tolist(), self.homes.feed_in[at].tolist(), strict=True))


def build(run: Run) -> Scene:
    """The scene of ``run``. Raises ConfigError: what cannot be read, does not hold the season, or is no grid."""
    return stage(run, read_homes(run))


def stage(run: Run, homes: Homes) -> Scene:
    """The same with ``homes`` as they are."""
    places, grid, homes = _placed(run, homes)
    span = span_of(run, homes)
    season = homes.part(homes.first_slot + span.first, span.count)
    driven = _driven(run, homes, places) if run.vehicles else {}
    shortage = SHORTAGE_FACTOR * int(season.retail.max())
    houses = tuple(
        _house(home, place, homes, driven.get(home.name), shortage)
        for home, place in zip(homes.homes, places, strict=True)
    )
    sites = tuple(house.site for house in houses)
    world = World(
        sites=sites,
        grid=_scaled(grid, run),
        keys=known_keys([site.network for site in sites]).public,
        first_slot=season.first_slot,
        slot_seconds=season.slot_seconds,
        retail=season.retail,
        feed_in=season.feed_in,
        budgets={},
        windows=windows_of(season.slot_seconds),
    )
    return Scene(run, homes, span, houses, world)


def _placed(run: Run, homes: Homes) -> tuple[list[Place], GridVersion, Homes]:
    """Where each home hangs, the grid, and the homes, to which a grid may add its own."""
    names = [home.name for home in homes.homes]
    if run.grid == "street":
        return [Place(name, "") for name in names], street(names), homes
    if run.grid == "none":
        return [Place(ONE_BUS, "") for _ in names], GridVersion(ONE_BUS, 0, ()), homes
    if run.grid == "simbench":
        from testnet import experiment_world  # noqa: PLC0415 - it reads data sets that other grids do not need

        found = experiment_world.make_community(homes)
        places = [Place(*pair) for pair in zip(found.buses, found.work_buses, strict=True)]
        return places, found.grid, found.homes
    grid = read_grid(Path(run.grid))
    leaves = _leaves(grid)
    return [Place(leaves[number % len(leaves)], "") for number in range(len(names))], grid, homes


def _leaves(grid: GridVersion) -> list[str]:
    """The buses at the ends, in the order of the file; the root of a grid without lines."""
    parents = {line[0] for line in grid.lines}
    return [line[1] for line in grid.lines if line[1] not in parents] or [grid.root]


def _scaled(grid: GridVersion, run: Run) -> GridVersion:
    """With the run's part of tolls and limits."""

    def part(limit_w: int | None) -> int | None:
        return None if limit_w is None else limit_w * run.limits_permille // 1000

    lines = [
        (parent, child, metres, step, part(down), part(up)) for parent, child, metres, step, down, up in grid.lines
    ]
    return varied(GridVersion(grid.root, grid.rate, tuple(lines)), run.tolls_permille, limits=run.limits)


def _driven(run: Run, homes: Homes, places: Sequence[Place]) -> dict[str, Driven]:
    """The vehicles of those who live there, by home: of all homes, or of those whose place says where they work."""
    names = [home.name for home in homes.homes]
    workers = [name for name, place in zip(names, places, strict=True) if place.work_bus] or names
    first, days = day_of(homes, 0), homes.count // homes.slots_per_day
    if homes.first_slot % homes.slots_per_day:
        raise ConfigError("bad-homes", "vehicles need data that begin at midnight; or do without: --no-vehicles")
    devices = [device_names(name)["ev"] for name in workers]
    plugs_at_work = any(place.work_bus for place in places)
    found = fleet(run.seed, devices, first, days, homes.slot_seconds, plugs_at_work=plugs_at_work)
    return dict(zip(workers, found, strict=True))


def _house(home: Home, place: Place, homes: Homes, driven: Driven | None, shortage: int) -> House:
    site = home.site(place.bus, homes.slot_seconds)
    load, sun = home.load_wh.tolist(), home.sun_wh.tolist()
    if driven is None:
        return House(site, load, sun, None)
    vehicle = driven.vehicle
    site = replace(
        site,
        vehicle=vehicle,
        import_w={**site.import_w, vehicle.device: vehicle.charge_w},
        export_w={**site.export_w, vehicle.device: vehicle.discharge_w},
    )
    where = {"home": place.bus, "work": place.work_bus, "": ""}
    trips = driven.trips
    rest = homes.count - len(trips.places)
    buses = (*(where[each] for each in trips.places), *[place.bus] * rest)
    price = FUEL_PRICE // vehicle.wh_per_km if vehicle.kind == "phev" else shortage
    return House(site, load, sun, Garage(trips, buses, place.work_bus, price))
