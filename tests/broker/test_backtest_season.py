"""The season loop: what flows, what is paid, and what a broker may know."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from broker.backtest import season
from broker.backtest.engine import Replay
from broker.backtest.meters import unsigned
from broker.backtest.network import flows_of, tree_of
from broker.backtest.optimal import optima
from broker.backtest.result import BASE_UNITS, Result
from broker.backtest.scene import Scene
from broker.exchange import Answer, Call, Exchange
from broker.strategies.table import STRATEGIES
from chaincode.contract import Event, Value
from tests.broker import backtest_homes
from tests.broker.backtest_homes import exchange_of, replayed, scene_of


class Watched:
    """An exchange that remembers what was submitted, and may keep readings back."""

    def __init__(self, inner: Exchange, silent: frozenset[tuple[str, int]] = frozenset()) -> None:
        self._inner, self._silent = inner, silent
        self.calls: list[Call] = []

    @property
    def now(self) -> int:
        return self._inner.now

    def submit(self, calls: Sequence[Call]) -> list[Answer]:
        kept = [self._without_silent(call) for call in calls]
        self.calls += kept
        return self._inner.submit(kept)

    def advance(self, time: int) -> list[Event]:
        return self._inner.advance(time)

    def query(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        return self._inner.query(contract, method, args)

    def _without_silent(self, call: Call) -> Call:
        if call.method != "collect":
            return call
        rows = tuple(row for row in call.args["rows"] if (row[0], row[1]) not in self._silent)
        return call._replace(args={"rows": rows})


@pytest.fixture(scope="module")
def played() -> Iterator[tuple[Scene, Replay, Result]]:
    """Two days of three homes with vehicles."""
    scene = scene_of(2, vehicles=True)
    replay = replayed(scene)
    yield scene, replay, season.run_on(scene, exchange_of(scene), unsigned, lambda part: None)


def test_in_every_slot_a_home_draws_what_it_uses_and_stores(played: tuple[Scene, Replay, Result]) -> None:
    """Checklist 6. What the ledger settled is what flowed, home by home and slot by slot."""
    scene, replay, _ = played
    for house, track in zip(scene.houses, replay.tracks, strict=True):
        for index in range(scene.span.count):
            at, slot = scene.span.first + index, scene.world.first_slot + index
            sums = replay.accounts.bill(house.site.network, slot, slot + 1).sums
            stores = track.battery_wh[index] + track.vehicle_wh[index]
            assert sums.import_wh - sums.export_wh == house.load_wh[at] - house.sun_wh[at] + stores
            contracted = sums.bought_wh - sums.sold_wh
            assert contracted + sums.retail_wh - sums.feed_in_wh == sums.import_wh - sums.export_wh


def test_no_contracted_flow_passes_a_line_s_limit(played: tuple[Scene, Replay, Result]) -> None:
    """Checklist 6."""
    scene, replay, result = played
    tree, flows = tree_of(scene), flows_of(scene, replay.books)
    assert flows.any()
    for bus in range(1, len(tree.buses)):
        down, up = tree.limit_down_wh[bus], tree.limit_up_wh[bus]
        assert down is None or flows[bus].max() <= down
        assert up is None or -flows[bus].min() <= up
    assert not flows[0].any()  # what is bought is sold
    assert all(line.limit_down_wh is None or line.largest_down_wh <= line.limit_down_wh for line in result.lines)


def test_bills_are_the_ledger_s(played: tuple[Scene, Replay, Result]) -> None:
    """What homes pay is what the utility, the lines and the congestion account get."""
    scene, replay, result = played
    sums = [
        replay.accounts.bill(house.site.network, scene.world.first_slot, scene.world.end_slot).sums
        for house in scene.houses
    ]
    bought, sold = sum(each.bought for each in sums), sum(each.sold for each in sums)
    outside = sum(each.retail - each.feed_in + each.tolls for each in sums)
    assert sum(each.cost() for each in sums) == outside + bought - sold
    assert round(result.community.congestion_rent * BASE_UNITS) == bought - sold
    for home, each in zip(result.homes, sums, strict=True):
        beside = 0.0 if home.driving is None else home.driving.short_cost
        paid = each.cost() / BASE_UNITS - home.rent_returned + beside - home.stock_value
        assert home.bills.broker == pytest.approx(paid, abs=1e-8)


def test_nobody_beats_perfect_foresight(played: tuple[Scene, Replay, Result]) -> None:
    """The optimum is below all the others, and planning alone is above what it could have been."""
    _, _, result = played
    bills = result.community.bills
    assert bills.optimum <= bills.broker + 1e-6
    assert bills.optimum_alone <= bills.alone + 1e-6
    assert bills.optimum <= bills.optimum_alone + 1e-6
    assert result.share_of_perfect_foresight is not None
    assert result.share_of_perfect_foresight <= 1


def test_the_same_settings_give_the_same_result(played: tuple[Scene, Replay, Result]) -> None:
    """All but the time that it took."""
    scene, _, result = played
    again = season.run_on(scene_of(2, vehicles=True), exchange_of(scene), unsigned, lambda part: None)
    assert replace_cpu(again) == replace_cpu(result)


def replace_cpu(result: Result) -> Result:
    """Without the time."""
    return Result(**{**{name: getattr(result, name) for name in result.__struct_fields__}, "cpu_seconds": 0.0})


def test_brokers_know_nothing_of_the_future() -> None:
    """Checklist 6. Whatever is changed from a slot on, the orders before it and in it are the same."""
    cut = 30
    found = backtest_homes.homes(2)
    at = backtest_homes.WARM_UP * 24 + cut
    other = [replace(home, load_wh=home.load_wh.copy(), sun_wh=home.sun_wh.copy()) for home in found.homes]
    for home in other:
        home.load_wh[at:] = home.load_wh[at:] * 3 + 700
        home.sun_wh[at:] = home.sun_wh[at:] // 4
    changed = replace(found, homes=tuple(other))
    orders = []
    for each in (found, changed):
        scene = scene_of(2, each)
        watched = Watched(exchange_of(scene))
        replayed(scene, watched)
        orders.append([call for call in watched.calls if call.contract == "market"])
    last = scene.world.first_slot + cut
    first, second = ([call for call in calls if slot_of(call) <= last] for calls in orders)
    placed = [call for call in first if call.method == "place_many"]
    assert placed == [call for call in second if call.method == "place_many"]
    assert max(map(slot_of, placed)) == last
    assert orders[0] != orders[1]


class Deaf(Watched):
    """No order reaches the market from ``since`` to ``until``."""

    since = until = 0

    def submit(self, calls: Sequence[Call]) -> list[Answer]:
        if not self.since <= self.now < self.until:
            return super().submit(calls)
        return [Answer("deaf", None) if call.contract == "market" else super().submit([call])[0] for call in calls]


def test_what_is_contracted_late_moves_stores_no_more_than_the_time_left_lets_them() -> None:
    """The last auction of a slot is taken away: until it was held the stores did the same."""
    cut, late_s = 19, 2_700
    tracks = []
    for is_deaf in (False, True):
        scene = scene_of(1)
        exchange = Deaf(exchange_of(scene))
        start = (scene.world.first_slot + cut) * 3_600
        if is_deaf:
            exchange.since, exchange.until = start + 1, start + 3_600
        tracks.append(replayed(scene, exchange).tracks)
    moved = 0
    for house, one, other in zip(scene.houses, *tracks, strict=True):
        assert one.battery_wh[:cut] == other.battery_wh[:cut]
        if house.site.battery is not None:
            change = abs(one.battery_wh[cut] - other.battery_wh[cut])
            most = house.site.battery.charge_w + house.site.battery.discharge_w
            assert change <= most * (3_600 - late_s) // 3_600
            moved += change
    assert moved > 0


def slot_of(call: Call) -> int:
    """Of a list of orders or a replacement; of a cancellation nothing is known."""
    if "orders" in call.args:
        last: int = max(row[1] for row in call.args["orders"])
        return last
    slot: int = call.args.get("slot", -1)
    return slot


def test_homes_without_batteries_or_panels_trade_too() -> None:
    """A community of a home with panels, one with a battery and panels, and one with nothing."""
    scene = scene_of(1, backtest_homes.homes(1, batteries=1, panels=2))
    replay = replayed(scene)
    bare = scene.sites[2]
    assert bare.devices == (bare.load,)
    assert replay.accounts.bill(bare.network, scene.world.first_slot, scene.world.end_slot).sums.bought_wh > 0
    alone = scene_of(1, backtest_homes.homes(1, batteries=0, panels=0))
    result = season.run_on(alone, exchange_of(alone), unsigned, lambda part: None)
    assert result.community.traded_wh == 0
    assert result.mean_bill_change_pct == 0
    assert result.share_of_perfect_foresight is None


def test_who_has_no_tokens_buys_nothing_and_owes_what_the_utility_delivers() -> None:
    """A budget of nothing loses no money but what the energy costs."""
    scene = scene_of(1)
    poor = scene.sites[2]
    world = replace(scene.world, budgets=dict.fromkeys(poor.devices, 0))
    scene = replace(scene, world=world)
    replay = replayed(scene)
    sums = replay.accounts.bill(poor.network, world.first_slot, world.end_slot).sums
    assert sums.bought_wh == 0
    assert sums.cost() == sums.utility_only > 0
    assert sums.owed == sums.retail
    assert not replay.books.refused


def test_odd_prices_are_traded_within() -> None:
    """Retail at nothing, feed-in at retail, and an hour that costs a hundred times as much."""
    found = backtest_homes.homes(1)
    start = backtest_homes.WARM_UP * 24
    retail, feed_in = found.retail.copy(), found.feed_in.copy()
    retail[start + 2 : start + 5] = feed_in[start + 2 : start + 5] = 0
    feed_in[start + 10 : start + 14] = retail[start + 10 : start + 14]
    retail[start + 18] *= 100
    scene = scene_of(1, replace(found, retail=retail, feed_in=feed_in))
    result = season.run_on(scene, exchange_of(scene), unsigned, lambda part: None)
    assert result.community.refused == {}
    assert result.community.bills.optimum <= result.community.bills.broker + 1e-6


def test_readings_that_are_missing_are_estimated_and_the_season_goes_on() -> None:
    """A meter is silent for three hours; its registers tell later what flowed."""
    scene = scene_of(1)
    first = scene.world.first_slot
    silent = frozenset((scene.sites[0].load, first + index) for index in (4, 5, 6))
    replay = replayed(scene, Watched(exchange_of(scene), silent))
    told = [replay.accounts.bill(scene.sites[0].network, first + index, first + index + 1).sums for index in range(24)]
    measured = sum(scene.houses[0].load_wh[scene.span.first : scene.span.first + 24])
    assert sum(each.estimated for each in told) > 0
    assert abs(sum(each.import_wh for each in told) - measured) <= measured
    assert replay.books.lost == {}


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_plays(strategy: str) -> None:
    """Checklist 5."""
    scene = scene_of(1, backtest_homes.homes(1, count=2), strategy=strategy)
    replay = replayed(scene)
    assert not replay.books.lost
    assert sum(replay.books.orders.values()) > 0
    assert np.isfinite(optima(scene).together.cost)
