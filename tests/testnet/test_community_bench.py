"""The homes of the community benchmark, and that the ledger takes what they do; without a process."""

from typing import Any, cast

import pytest

from bench.community_world import (
    BUDGET,
    DAY_S,
    EXPORT_W,
    FEED_IN,
    IMPORT_W,
    RETAIL,
    SLOT_S,
    SLOTS,
    Meter,
    World,
    collector_key,
    contracts,
    make_world,
    orders_of,
    utility_key,
)
from chaincode.registry import default_registry
from node.errors import ConfigError
from tests.chaincode import world as chain

HOMES = 130
"""More than load buses."""


@pytest.fixture(scope="module")
def community() -> World:
    try:
        return make_world(HOMES, 1, 7)
    except ConfigError:
        pytest.skip("simbench is not installed")


def test_homes_hang_on_every_load_bus_and_fit_their_connections(community: World) -> None:
    assert {home.bus for home in community.homes} == set(community.subnet.load_buses)
    for home in community.homes:
        assert len(home.net_wh) == len(home.expected_wh) == 2 * SLOTS
        assert min(home.net_wh) >= -EXPORT_W * SLOT_S // 3600 and max(home.expected_wh) <= IMPORT_W * SLOT_S // 3600
        assert FEED_IN <= home.sells_at <= home.buys_at <= RETAIL
        assert home.is_sunny or min(home.net_wh) >= 0
    assert 0.3 < sum(home.is_sunny for home in community.homes) / HOMES < 0.5
    assert [home.plans_s for home in community.homes] == sorted({home.plans_s for home in community.homes})


def test_a_seed_is_a_community(community: World) -> None:
    def figures(world: World) -> list[tuple[object, ...]]:
        return [(home.net_wh, home.expected_wh, home.buys_at, home.sells_at) for home in world.homes]

    assert figures(make_world(HOMES, 1, 7)) == figures(community) != figures(make_world(HOMES, 1, 8))


def test_the_ledger_takes_what_the_homes_do(community: World) -> None:
    """All orders in one block, then every meter, through the contracts: nothing is refused, and energy is traded."""
    settings = {name: _plain(part) for name, part in contracts(community, 0).items()}
    world = chain.World(default_registry(), settings, time=community.start)
    utility = utility_key().public_key
    for home in community.homes:
        money = {"network": home.name, "period": community.period}
        world.call(utility, "budget", "issue", **money, amount=BUDGET, reference=b"week")
        world.call(home.key.public_key, "budget", "allocate", **money, amounts=((home.device, BUDGET),))
        orders = orders_of(community, home, community.start)
        assert 0 < len(orders) <= SLOTS
        world.call(home.key.public_key, "market", "place_many", device=home.device, orders=orders)
    world.next_block(community.start + 3 * 3_600)
    noon = (community.start + DAY_S // 2) // SLOT_S
    assert cast("int", cast("tuple[object, ...]", world.query("market", "product", slot=noon))[17]) > 0
    meters = [Meter(community, home, chain.CHAIN) for home in community.homes]
    for slot in range(community.start // SLOT_S, world.time // SLOT_S):
        rows = tuple(meter.read(slot) for meter in meters)
        for some in (rows[:65], rows[65:]):
            assert world.call(collector_key().public_key, "settlement", "collect", rows=some) == ()


def _plain(value: Any) -> Any:
    """Arrays as the ledger reads them from a genesis document: tuples."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return tuple(_plain(item) for item in value) if isinstance(value, list) else value
