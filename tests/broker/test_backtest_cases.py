"""What a case comes to: stock that was gained, trips that fell short, and what a vehicle gave back."""

from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from broker.backtest import baselines, cases
from broker.backtest.cases import Flows, Kept
from broker.backtest.engine import Replay
from broker.backtest.forecasts import WeekByWeek
from broker.backtest.foresight import Foresight
from broker.backtest.house import Garage, House, first_track
from broker.backtest.meters import unsigned
from broker.backtest.origins import LedgerOrigins, Stores, kept_of
from broker.backtest.result import Case
from broker.backtest.scene import FUEL_CO2_G, Scene
from broker.site import Vehicle
from broker.vehicles.mobility import Trips
from chaincode.origin_assign import OWN, UTILITY, Given, Origin, Used
from tests.broker import backtest_homes
from tests.broker.backtest_homes import exchange_of, scene_of

CARBON_G = 400
DAY = 24
AWAY = range(8, 17)
DRIVEN_WH = 7_200


def scene(days: int, kind: str = "bev", batteries: int = 0) -> Scene:
    """One home whose vehicle drives the same every day, without panels, with constant use."""
    found = backtest_homes.homes(days, batteries=batteries, panels=0, count=1)
    home = replace(found.homes[0], load_wh=np.full(found.count, 500, dtype=np.int64))
    carbon = np.full(found.count, CARBON_G, dtype=np.int64)
    staged = scene_of(days, replace(found, homes=(home,), carbon=carbon))
    house = staged.houses[0]
    vehicle = Vehicle("elm-1/ev", kind, 20_000, 3_600, 3_600, 900, 180, 0)  # type: ignore[arg-type]
    places = tuple("" if hour % DAY in AWAY else "home" for hour in range(found.count))
    used = tuple(DRIVEN_WH if hour % DAY == AWAY[0] else 0 for hour in range(found.count))
    trips = Trips(places, used, tuple(wh // 180 for wh in used))
    buses = tuple(house.site.bus if place else "" for place in places)
    site = replace(house.site, vehicle=vehicle)
    return replace(staged, houses=(House(site, house.load_wh, house.sun_wh, Garage(trips, buses, "", 1)),))


def by_rule(there: Scene) -> Flows:
    """What utility-only does."""
    return cases.of_tracks(there, baselines.utility_only(there))


@pytest.mark.parametrize("batteries", [0, 1])
def test_a_longer_run_of_equal_days_comes_to_the_same_a_day(batteries: int) -> None:
    """No case has to fill first what a home would long have had."""
    one, four = (cases.case(there, by_rule(there), Kept()) for there in (scene(1, batteries=batteries), scene(4)))
    assert one.stock_wh == pytest.approx(0, abs=2)
    assert four.imported_wh == pytest.approx(4 * one.imported_wh, abs=8)
    assert one.co2_kg is not None and four.co2_kg is not None
    assert four.co2_kg == pytest.approx(4 * one.co2_kg, abs=0.004)
    assert four.self_sufficiency == one.self_sufficiency == 0


def test_stores_begin_where_plain_rules_have_them() -> None:
    """At midnight the vehicle is full, the battery, which no sun fills, is empty."""
    there = scene(1, batteries=1)
    begun = first_track(there.houses[0], there.span.first)
    assert (begun.vehicle_level, begun.battery_level) == (19_999, 0)  # what goes in is rounded down
    assert begun.battery_wh == []
    unknown = first_track(there.houses[0], 0)
    assert (unknown.vehicle_level, unknown.battery_level) == (10_000, 3_000)


def test_what_was_only_stored_changes_no_figure() -> None:
    """A Wh that fills a store is in its bill, and comes off imports, CO2 and use."""
    there = scene(2)
    plain = by_rule(there)
    more = replace(plain, vehicle=plain.vehicle.copy(), gained=plain.gained.copy())
    more.vehicle[0, 1] += 1_000
    more.gained[0, 1] += 900
    before, after = cases.case(there, plain, Kept()), cases.case(there, more, Kept())
    assert after.stock_wh == before.stock_wh + 1_000
    assert replace_stock(after) == replace_stock(before)


def replace_stock(case: Case) -> dict[str, object]:
    """A case's fields without the stock."""
    return {name: getattr(case, name) for name in case.__struct_fields__ if name != "stock_wh"}


def test_stock_is_worth_what_filling_takes() -> None:
    """At the plug, of which 900 of a thousand are kept, at the days' lowest retail."""
    there = scene(2)
    house = there.houses[0]
    track = first_track(house, there.span.first)
    track.vehicle_level -= 900
    assert cases.stock_cost(there, house, track) == 900 * (220_000 * 1000 // 900)


@pytest.mark.parametrize("kind", ["bev", "phev"])
def test_what_trips_lacked_is_used_and_is_not_clean(kind: str) -> None:
    """A battery car's at a public charger, a hybrid's on fuel."""
    there = scene(2, kind)
    plain = by_rule(there)
    lacking = replace(plain, short=plain.short.copy())
    lacking.short[0, AWAY[0]] = 1_800
    before, after = cases.case(there, plain, Kept()), cases.case(there, lacking, Kept())
    assert before.co2_kg is not None and after.co2_kg is not None
    kg = 10 * FUEL_CO2_G / 1000 if kind == "phev" else 2 * CARBON_G / 1000
    assert after.co2_kg - before.co2_kg == pytest.approx(kg, abs=0.002)
    assert after.short_wh == 1_800
    assert after.self_sufficiency == 0


def test_a_loop_through_a_vehicle_adds_nothing_to_use() -> None:
    """What it takes and gives again is not used; what is lost on the way is, and is imported."""
    there = scene(2)
    house = replace(there.houses[0], sun_wh=[1_000] * len(there.houses[0].sun_wh))
    there = replace(there, houses=(house,))
    plain = by_rule(there)
    loop = replace(plain, vehicle=plain.vehicle.copy())
    loop.vehicle[0, [1, 3, 5]] += 500
    loop.vehicle[0, [2, 4, 6]] -= 500
    before, after = cases.case(there, plain, Kept()), cases.case(there, loop, Kept())
    assert before.self_sufficiency > 0
    assert after.self_sufficiency <= before.self_sufficiency


def test_what_is_given_back_was_not_driven() -> None:
    """Taken 1,000 Wh of sun and 1,000 of the utility's, half of it given to a battery: half of each is left."""
    site = scene(1, batteries=1).houses[0]
    stores = Stores([site])
    used = (Used("elm-1/ev", OWN, "elm-1/pv", 1_000, 1_000), Used("elm-1/ev", UTILITY, "", 1_000, 300))
    stores.slot([Origin(used, (Given("elm-1/pv", 1_000, 1_000, 0, 1_000, 0),))])
    out = stores.generated("elm-1/ev", 1_000)
    assert out == (1_000, 650)
    back = (Used("elm-1/battery", OWN, "elm-1/ev", 1_000, 650),)
    stores.slot([Origin(back, (Given("elm-1/ev", *out, 0, 1_000, 0),))])
    assert stores.kept == {"elm-1/ev": Kept(1_000, 650, 500)}
    assert stores.generated("elm-1/battery", 1_000) == (1_000, 650)


def test_what_neighbours_send_is_as_sunny_as_what_they_have() -> None:
    """Of the utility's part of a vehicle's energy, half came from a neighbour who had nothing but sun to give."""
    stores = Stores([scene(1).houses[0]])
    charged = Origin((Used("elm-1/ev", UTILITY, "", 1_000, 300),), ())
    sunny = Origin((), (Given("elm-2/pv", 800, 800, 0, 0, 800),))
    stores.slot([charged, sunny], [0.5, 0.0])
    assert stores.kept == {"elm-1/ev": Kept(1_000, 650, 500)}


def test_the_ledger_s_records_are_followed_as_they_are() -> None:
    """What vehicles charged and kept is, with the mix, what the ledger says of each of them."""
    there = scene_of(2, vehicles=True)
    exchange = exchange_of(there)
    origins = LedgerOrigins(there, exchange)
    replay = Replay(there, Foresight(there, WeekByWeek(there.homes, there.span)), exchange, unsigned, origins)
    replay.run(lambda part: None)
    kept = origins.kept()
    flows = cases.of_tracks(there, replay.tracks)
    for number, house in enumerate(there.houses):
        assert house.site.vehicle is not None
        device = house.site.vehicle.device
        store = cast("tuple[float, float]", exchange.query("origin", "store", {"device": device}))
        assert kept[device][:2] == store
        assert kept[device].wh >= flows.vehicle[number].sum()
        assert kept[device].sun_wh <= kept[device].renewable_wh
    by_rule_alone = kept_of(there, flows)
    assert {device: each.wh for device, each in by_rule_alone.items()} == {name: each.wh for name, each in kept.items()}


def test_what_was_in_a_vehicle_before_makes_no_charge_cleaner() -> None:
    """It gives back 2,000 Wh of unknown origin, then takes 1,000 Wh, half of it sun: half is sun, not more."""
    stores = Stores([scene(1).houses[0]])
    stores.slot([Origin((), (Given("elm-1/ev", 2_000, 0, 0, 2_000, 0),))])
    half = (Used("elm-1/ev", OWN, "elm-1/pv", 500, 500), Used("elm-1/ev", UTILITY, "", 500, 150))
    stores.slot([Origin(half, (Given("elm-1/pv", 500, 500, 0, 500, 0),))])
    assert stores.kept == {"elm-1/ev": Kept(1_000, 650, 500)}
