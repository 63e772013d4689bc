"""From a season that was played to its result."""

import math
from collections.abc import Sequence
from functools import reduce
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from broker.backtest import cases
from broker.backtest.cases import Flows, Kept, Wh, share
from broker.backtest.engine import Replay
from broker.backtest.forecasts import Forecasts
from broker.backtest.house import House, Track
from broker.backtest.network import lines_of, traded_distance_m
from broker.backtest.optimal import Optima
from broker.backtest.origins import kept_of
from broker.backtest.result import Bills, Community, Driving, Home, Result, Settings, Slots, tokens
from broker.backtest.scene import FUEL_CO2_G, FUEL_PRICE, SHORTAGE_FACTOR, Scene
from broker.backtest.setup import day_of
from broker.bills import Bill
from broker.world import AMPLE_BUDGET

SMALL_BILL: Final = 0.1
"""A change is measured against at least so much of the homes' mean bill: near zero, percents mean nothing."""


class Played(NamedTuple):
    """A season that was played. ``driven``: by vehicle, what it charged and kept, as the ledger has recorded it."""

    replay: Replay
    driven: dict[str, Kept]


def result(
    scene: Scene,
    season: Played,
    rule: Sequence[Track],
    alone: Sequence[Track],
    optima: Optima,
    forecasts: Forecasts,
    cpu_seconds: float,
) -> Result:
    """The result of a season that was played, by rule, alone and with everything known."""
    replay = season.replay
    played = _played(scene, replay)
    all_flows = {
        "utility_only": cases.of_tracks(scene, rule),
        "alone": cases.of_tracks(scene, alone),
        "broker": played,
        "optimum": cases.of_optimum(scene, optima.together),
    }
    driven = {name: kept_of(scene, flows) for name, flows in all_flows.items() if name != "broker"}
    driven["broker"] = season.driven
    bills = _bills(scene, replay, rule, alone, optima)
    before = math.fsum(each.utility_only for each in bills)
    homes = []
    for number, house in enumerate(scene.houses):
        change = change_pct(bills[number].broker, bills[number].utility_only, before / len(bills))
        driving = _driving(scene, replay, number, played, (driven["utility_only"], season.driven))
        homes.append(_home(scene, replay, number, house, bills[number], change, played, forecasts, driving))
    saved = before - math.fsum(each.broker for each in bills)
    best = before - tokens(optima.together.cost)
    return Result(
        mean_bill_change_pct=change_pct(before - saved, before, before),
        worst_home_change_pct=max(home.change_pct for home in homes),
        share_of_perfect_foresight=round(saved / best, 4) if best > 0 else None,
        settings=_settings(scene),
        homes=tuple(homes),
        community=_community(scene, replay, bills, all_flows, driven),
        lines=lines_of(scene, replay.books),
        slots=_slots(scene, replay),
        cpu_seconds=round(cpu_seconds, 3),
    )


def change_pct(bill: float, before: float, mean_before: float) -> float:
    """Of a bill, percent; ``mean_before``: of all homes. Rounded to a thousandth."""
    base = max(abs(before), SMALL_BILL * abs(mean_before))
    return round(100 * (bill - before) / base, 3) if base else 0.0


def _bill(scene: Scene, replay: Replay, house: House) -> Bill:
    """As the ledger has it, for all slots of the season."""
    world = scene.world
    return replay.accounts.bill(house.site.network, world.first_slot, world.end_slot)


def _rents(scene: Scene, replay: Replay) -> dict[str, int]:
    """What networks have had back of the season's congestion rent or will have, base units."""
    rents = {house.site.network: _bill(scene, replay, house).rent for house in scene.houses}
    for period in scene.world.periods:
        for network, rent in replay.accounts.rent_to_come(period.number).items():
            rents[network] += rent
    return rents


def broker_costs(scene: Scene, replay: Replay) -> list[int]:
    """Each home's bill for the season that was played, base units: the ledger's, and what no ledger knows."""
    rents = _rents(scene, replay)
    return [
        _bill(scene, replay, house).sums.cost() - rents[house.site.network] + cases.extra_cost(scene, house, track)
        for house, track in zip(scene.houses, replay.tracks, strict=True)
    ]


def _bills(scene: Scene, replay: Replay, rule: Sequence[Track], alone: Sequence[Track], optima: Optima) -> list[Bills]:
    costs = broker_costs(scene, replay)
    found = []
    for number, house in enumerate(scene.houses):
        found.append(
            Bills(
                utility_only=tokens(sum(rule[number].cost) + cases.extra_cost(scene, house, rule[number])),
                alone=tokens(sum(alone[number].cost) + cases.extra_cost(scene, house, alone[number])),
                broker=tokens(costs[number]),
                optimum=tokens(optima.together.shares[number].bill),
                optimum_alone=tokens(optima.alone.shares[number].bill),
            )
        )
    return found


def _played(scene: Scene, replay: Replay) -> Flows:
    """What the run did, with what was bought from neighbours."""
    local = np.zeros((len(scene.houses), scene.span.count), dtype=np.int64)
    local_away = np.zeros_like(local)
    number = {house.site.network: index for index, house in enumerate(scene.houses)}
    for slot, contracts in replay.books.contracts.items():
        for (network, bus), contract in contracts.items():
            home = number[network]
            table = local if bus == scene.houses[home].site.bus else local_away
            table[home, slot - scene.world.first_slot] += max(0, contract.bought_wh - contract.sold_wh)
    flows = cases.of_tracks(scene, replay.tracks, local, local_away)
    np.minimum(flows.local, np.maximum(flows.home, 0), out=flows.local)
    np.minimum(flows.local_away, np.maximum(flows.away, 0), out=flows.local_away)
    return flows


def _home(
    scene: Scene,
    replay: Replay,
    number: int,
    house: House,
    bills: Bills,
    change: float,
    played: Flows,
    forecasts: Forecasts,
    driving: Driving | None,
) -> Home:
    sums = _bill(scene, replay, house).sums
    network = house.site.network
    track = replay.tracks[number]
    net, sun = played.home[number], played.sun[number]
    sun_wh = int(sun.sum())
    skill = forecasts.skill(number)
    given = -int(np.minimum(played.battery[number], 0).sum())
    battery = house.site.battery
    return Home(
        name=network,
        bus=house.site.bus,
        bills=bills,
        change_pct=change,
        load_wh=int(played.load[number].sum()),
        sun_wh=sun_wh,
        bought_wh=sums.bought_wh,
        sold_wh=sums.sold_wh,
        paid=tokens(sums.bought),
        earned=tokens(sums.sold),
        tolls=tokens(sums.tolls),
        rent_returned=tokens(_rents(scene, replay)[network]),
        imported_wh=sums.retail_wh,
        exported_wh=sums.feed_in_wh,
        imbalance_wh=sums.retail_wh + sums.feed_in_wh,
        imbalance_cost=tokens(_imbalance_cost(scene, replay, house)),
        self_consumption=share(sun_wh - int(np.minimum(np.maximum(-net, 0), sun).sum()), sun_wh),
        forecast_mase_load=skill[0],
        forecast_mase_sun=skill[1],
        battery_cycles=round(given / battery.capacity_wh, 2) if battery is not None and battery.capacity_wh else 0.0,
        stock_value=-tokens(cases.stock_cost(scene, house, track)),
        shared=tokens(replay.books.shared[network]),
        orders=replay.books.orders[network],
        estimated_readings=sums.estimated,
        driving=driving,
    )


def _imbalance_cost(scene: Scene, replay: Replay, house: House) -> int:
    """What went to and came from the utility cost more than at the price of the slot's last auction, base units."""
    world, cost = scene.world, 0
    for slot, prices in replay.books.price.items():
        sums = replay.accounts.bill(house.site.network, slot, slot + 1).sums
        price = prices[house.site.bus]
        index = slot - world.first_slot
        cost += sums.retail_wh * (int(world.retail[index]) - price)
        cost += sums.feed_in_wh * (price - int(world.feed_in[index]))
    return cost


def _driving(
    scene: Scene, replay: Replay, number: int, played: Flows, driven: tuple[dict[str, Kept], dict[str, Kept]]
) -> Driving | None:
    """``driven``: by vehicle, what was charged and kept, by rule and with brokers."""
    house, track = scene.houses[number], replay.tracks[number]
    if house.garage is None or house.site.vehicle is None:
        return None
    rule, kept = (each[house.site.vehicle.device] for each in driven)
    at = slice(scene.span.first, scene.span.first + scene.span.count)
    used = house.garage.trips.used_wh[at]
    buses = house.garage.buses[at]
    trips = _trips(buses, used, track.short_wh)
    return Driving(
        trips=len(trips),
        trips_short=sum(short > 0 for short in trips),
        driven_wh=sum(used),
        charged_wh=int(np.maximum(played.vehicle[number], 0).sum()),
        given_back_wh=-int(np.minimum(played.vehicle[number], 0).sum()),
        short_wh=sum(track.short_wh),
        short_cost=tokens(sum(track.short_wh) * house.garage.shortage_price),
        renewable_share=share(kept.sun_wh, kept.wh),
        renewable_share_with_mix=share(kept.renewable_wh, kept.wh),
        renewable_share_utility_only=share(rule.sun_wh, rule.wh),
        renewable_share_utility_only_with_mix=share(rule.renewable_wh, rule.wh),
    )


def _trips(buses: Sequence[str], used: Sequence[int], short: Sequence[int]) -> list[int]:
    """What each time away from all plugs lacked, of those that took any energy."""
    trips: list[int] = []
    away = False
    lacked = taken = 0
    for bus, wh, missing in zip((*buses, "end"), (*used, 0), (*short, 0), strict=True):
        if bus and away and taken:
            trips.append(lacked)
        if bus:
            lacked = taken = 0
        away = not bus
        taken += wh
        lacked += missing
    return trips


def _community(
    scene: Scene,
    replay: Replay,
    bills: Sequence[Bills],
    all_flows: dict[str, Flows],
    driven: dict[str, dict[str, Kept]],
) -> Community:
    fields = ("utility_only", "alone", "broker", "optimum", "optimum_alone")
    played = all_flows["broker"]
    sums = [_bill(scene, replay, house).sums for house in scene.houses]
    traded = sum(each.bought_wh for each in sums)
    from_outside = int(np.maximum(played.home, 0).sum() + np.maximum(played.away, 0).sum())
    whole = {name: reduce(Kept.plus, each.values(), Kept()) for name, each in driven.items()}
    found = {name: cases.case(scene, flows, whole[name]) for name, flows in all_flows.items()}
    return Community(
        bills=Bills(**{name: round(math.fsum(getattr(each, name) for each in bills), 9) for name in fields}),
        local_share=share(int(played.local.sum() + played.local_away.sum()), from_outside),
        traded_wh=traded,
        traded_distance_m=traded_distance_m(scene, replay.books),
        tolls=tokens(sum(each.tolls for each in sums)),
        congestion_rent=tokens(sum(each.bought - each.sold for each in sums)),
        shares=tokens(sum(replay.books.shared.values())),
        orders=sum(replay.books.orders.values()),
        refused=dict(sorted((replay.books.refused + replay.books.lost).items())),
        estimated_readings=sum(each.estimated for each in sums),
        **found,
    )


def _slots(scene: Scene, replay: Replay) -> Slots:
    world, books = scene.world, replay.books
    buses = tuple(dict.fromkeys(bus for house in scene.houses for bus in house.buses))
    slots = range(world.first_slot, world.end_slot)
    bought = {bus: [0] * len(slots) for bus in buses}
    sold = {bus: [0] * len(slots) for bus in buses}
    for slot, contracts in books.contracts.items():
        for (_, bus), contract in contracts.items():
            bought[bus][slot - world.first_slot] += contract.bought_wh
            sold[bus][slot - world.first_slot] += contract.sold_wh
    nets = _nets(scene, replay)
    return Slots(
        first_slot=world.first_slot,
        retail=tuple(world.retail.tolist()),
        feed_in=tuple(world.feed_in.tolist()),
        buses=buses,
        price=tuple(tuple(books.price.get(slot, {}).get(bus) for slot in slots) for bus in buses),
        bought_wh=tuple(tuple(bought[bus]) for bus in buses),
        sold_wh=tuple(tuple(sold[bus]) for bus in buses),
        imported_wh=tuple(np.maximum(nets, 0).tolist()),
        exported_wh=tuple(np.maximum(-nets, 0).tolist()),
    )


def _nets(scene: Scene, replay: Replay) -> Wh:
    """All homes together, across the transformer."""
    flows = cases.of_tracks(scene, replay.tracks)
    total: Wh = (flows.home + flows.away).sum(axis=0)
    return total


def _settings(scene: Scene) -> Settings:
    run, world = scene.run, scene.world
    return Settings(
        homes=run.homes or f"{len(scene.houses)} homes of the data set",
        season=run.season,
        first_day=str(day_of(scene.homes, scene.span.first)),
        days=scene.span.count // scene.homes.slots_per_day,
        slot_seconds=world.slot_seconds,
        strategy=run.strategy,
        seed=run.seed,
        vehicles=run.vehicles,
        grid=run.grid,
        tolls_permille=run.tolls_permille,
        limits=run.limits,
        limits_permille=run.limits_permille,
        retail=_range(world.retail),
        feed_in=_range(world.feed_in),
        assumptions=_assumptions(scene),
    )


def _range(prices: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """Least, mean and largest, tokens per kWh."""
    figures = (float(prices.min()), float(prices.mean()), float(prices.max()))
    least, mean, largest = (round(figure / 1_000_000, 6) for figure in figures)
    return least, mean, largest


def _assumptions(scene: Scene) -> tuple[str, ...]:
    """What is not in the data."""
    fuel = FUEL_PRICE / 1_000_000_000
    lines = [
        "a token is a dollar for the homes of the data set; retail is their price column, slot by slot",
        "feed-in, tolls and limits of lines are assumed; local hours are taken for UTC",
        f"every device has a budget of {AMPLE_BUDGET // 10**9:,} tokens a month, more than it can spend",
        "batteries and vehicles begin with what the plain rules have left in them after the week before; what they "
        "hold more or less at the end is worth what filling them takes at the mean of the days' lowest retail, and "
        "counts in imports and CO2",
        "within a slot load and sun are even, as hourly data show them; stores act on contracts once they are made",
    ]
    if scene.run.vehicles:
        lines += [
            "vehicles and their trips are drawn from published statistics of mobility, by the seed",
            f"what a battery car's trip lacks costs {SHORTAGE_FACTOR} times the dearest retail, a hybrid's "
            f"{fuel:.2f} tokens and {FUEL_CO2_G} g of CO2 a km on fuel",
            f"{scene.world.mix_permille / 10:g} % of what the utility delivers is renewable, which counts only where "
            "the mix is said to be counted",
        ]
    return tuple(lines)
