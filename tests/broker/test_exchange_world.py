"""A season's world: what the ledger pins is what the data say, budgets come in time, and the street costs what it is
said to."""

import datetime
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from broker.exchange import Call
from broker.local_exchange import LocalExchange
from broker.office import Office
from broker.world import (
    AMPLE_BUDGET,
    DAY_S,
    DEFAULT_WINDOWS,
    FEEDER_LIMITS_W,
    World,
    known_keys,
    street,
    varied,
    windows_of,
)
from chaincode import grid
from chaincode.contract import Event
from node.errors import ConfigError, RefusedError
from tests.broker.exchange_worlds import make_world, some_homes

SUMMERS_END = datetime.date(2016, 9, 28)  # prices change with October, and between weekdays and weekends


def begin(world: World) -> tuple[LocalExchange, Office]:
    exchange = LocalExchange(world.settings(), world.time_origin)
    return exchange, Office(world, exchange)


def test_every_slot_has_the_datas_price_on_the_ledger() -> None:
    homes = some_homes(2, 8, SUMMERS_END)
    feed_in = np.where(np.arange(homes.count) % 5 == 0, 60_000, 80_000)
    world, _ = make_world(homes, {}, DEFAULT_WINDOWS)
    world = replace(world, feed_in=feed_in)
    exchange, office = begin(world)
    for index in range(homes.count):
        if index % 24 == 0:
            office.work()
        exchange.advance((world.first_slot + index) * world.slot_seconds)
        for ahead in range(3):
            slot = world.first_slot + min(index + ahead, homes.count - 1)
            place = slot - world.first_slot
            answer = exchange.query("market", "tariff", {"slot": slot})
            assert answer == (int(homes.retail[place]), int(feed_in[place]))
    assert len(np.unique(homes.retail)) > 2


def test_budgets_are_there_before_their_period_and_for_its_part_in_the_season() -> None:
    homes = some_homes(2, 40)
    world, _ = make_world(homes, {"home-02/load": 72 * 10**9}, DEFAULT_WINDOWS)
    exchange, office = begin(world)
    assert len(world.periods) in (2, 3)
    assert sum([period.end - period.first for period in world.periods]) == homes.count
    for day in range(-1, 40):
        office.work()
        exchange.advance(world.start + day * DAY_S)
        slot = world.first_slot + max(day, 0) * 24 + 3
        period = world.period_of(min(slot + 24, world.end_slot - 1))
        books = cast(
            "tuple[tuple[str, tuple[int, ...]], ...]",
            exchange.query("budget", "books", {"network": "home-02", "period": period.number}),
        )
        allocated = {device: book[2] for device, book in books}
        share = period.end - period.first
        assert allocated["home-02/load"] == 72 * 10**9 * share // 720
        assert allocated["home-02/pv"] >= AMPLE_BUDGET * share // 720


def test_large_homes_are_given_enough_too() -> None:
    homes = some_homes(3, 2)
    large = tuple([replace(home, load_wh=np.full(48, 1_000_000)) for home in homes.homes])
    world, _ = make_world(replace(homes, homes=large, retail=np.full(48, 2_000_000)), {}, DEFAULT_WINDOWS)
    exchange, office = begin(world)
    office.work()
    exchange.advance(world.start)
    books = {"network": "home-02", "period": world.period_of(world.first_slot).number}
    rows = cast("tuple[tuple[str, tuple[int, ...]], ...]", exchange.query("budget", "books", books))
    assert min([book[0] for _, book in rows]) >= 48 * 1_000_000 * 2_000_000 > AMPLE_BUDGET


def test_the_office_says_what_the_ledger_refuses() -> None:
    world, _ = make_world(some_homes(1, 2), {}, DEFAULT_WINDOWS)
    exchange, office = begin(world)
    exchange.advance(world.start + DAY_S)  # too late for the first day's prices
    with pytest.raises(RefusedError) as caught:
        office.work()
    assert caught.value.code == "tariff-too-late"


def test_the_street_costs_about_two_hundredths_across() -> None:
    names = [f"home-{number:02d}" for number in range(1, 18)]
    version = street(names)
    tree = grid.check(version.root, version.rate, version.lines).tree

    index_of = tree.index_of()

    def way(bus: str) -> dict[int, int]:
        place, found = index_of[bus], {}
        while place:
            found[place] = tree.toll[place]
            place = tree.parent[place]
        return found

    across = []
    for one in names:
        for other in names:
            there, back = way(one), way(other)
            across.append(sum([toll for line, toll in (there | back).items() if (line in there) != (line in back)]))
    apart = [toll for toll in across if toll]
    assert 15_000 < sum(apart) / len(apart) < 35_000
    assert min(apart) < 4_000
    assert {line[4] for line in version.lines if line[0] == version.root} == set(FEEDER_LIMITS_W)
    free = varied(version, 0, limits=False)
    assert not any(grid.check(free.root, free.rate, free.lines).tree.toll)
    assert {line[4:] for line in free.lines} == {(None, None)}
    same = varied(version, 1_000, limits=True)
    assert grid.check(same.root, same.rate, same.lines).tree == tree


def test_half_hours_have_their_auctions_too() -> None:
    homes = some_homes(2, 2)
    hours = replace(homes, first_slot=homes.first_slot * 2, slot_seconds=1_800)
    world, _ = make_world(hours, {}, windows_of(1_800))
    exchange, office = begin(world)
    office.work()
    exchange.advance(world.start)
    slot = world.first_slot
    found = []
    for turn in range(2):
        for site, side in zip(world.sites, ("buy", "sell"), strict=True):
            device = site.load if side == "buy" else f"{site.network}/battery"
            price = 210_000 if side == "buy" else 90_000
            order = {"device": device, "side": side, "slot": slot, "energy_wh": 200, "price": price}
            [answer] = exchange.submit([Call(world.keys.brokers[site.network], "market", "place", order)])
            assert answer.code == "ok"
        found += exchange.advance(slot * 1_800 + (450, 900)[turn])
    assert [event.data[:2] for event in auctions(found)] == [(slot, 0), (slot, 1)]


def auctions(events: list[Event]) -> list[Any]:
    return [event for event in events if event.topic == "auction"]


def test_nobody_gains_by_calling_first_and_a_callers_own_order_is_kept() -> None:
    homes = some_homes(2, 1)
    world, _ = make_world(homes, {}, DEFAULT_WINDOWS)
    exchange, office = begin(world)
    office.work()
    exchange.advance(world.start)
    calls = []
    for site in world.sites:
        key = world.keys.brokers[site.network]
        for price in (150_000, 160_000):
            order = {"device": site.load, "side": "buy", "slot": world.first_slot, "energy_wh": 300, "price": price}
            calls.append(Call(key, "market", "place", order))
    answers = exchange.submit([calls[0], calls[2], calls[1], calls[3]])
    assert [answer.code for answer in answers] == ["ok"] * 4
    for answer, price in zip(answers, (150_000, 150_000, 160_000, 160_000), strict=True):
        row = cast("tuple[Any, ...]", exchange.query("market", "order", {"order": answer.result}))
        assert row[7] == price
    for site in world.sites:
        rows = cast("tuple[tuple[Any, ...], ...]", exchange.query("market", "orders", {"device": site.load}))
        assert [row[7] for row in rows] == [160_000, 150_000]  # newest first


def test_settings_that_contradict_themselves_are_refused() -> None:
    world, _ = make_world(some_homes(1, 1), {}, DEFAULT_WINDOWS)
    with pytest.raises(ConfigError, match="bad-genesis"):
        LocalExchange({**world.settings(), "budget": {"periods": 3}}, world.time_origin)
    with pytest.raises(ConfigError, match="bad-genesis"):
        LocalExchange({**world.settings(), "nothing": {"known": 3}}, world.time_origin)


def test_known_keys_are_everybodys_own() -> None:
    names = ["home-01", "a" * 40, "b" + "a" * 39]
    keys = known_keys(names)
    assert len(keys.by_public) == 3 + 3 * len(names)
    assert keys.public.owners["home-01"] in keys.by_public
