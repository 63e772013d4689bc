"""Who pays whom when a slot is settled: worked examples, to the base unit.

Retail 100, feed-in 20, as everywhere in these tests. What has been contracted: home-2/pv sells 1,000 Wh to
home-1/load at 30 (bus b2) resp. 37 (bus b1, one line and its toll of 7 away).
"""

from functools import partial
from typing import Any, cast

import pytest

from chaincode import settlement_units
from chaincode.settlement_ledger import Settled
from chaincode.settlement_parking import SETTLE, Unit
from tests.chaincode.marketplace import (
    ALLOCATED,
    DEVICES,
    SLOT_S,
    audit,
    balance,
    key_of,
    marketplace,
    order,
    product_state,
    tick,
)
from tests.chaincode.test_settlement_readings import METERED_S, report
from tests.chaincode.world import World

METERED = dict.fromkeys(DEVICES, (0, 0))
patient = partial(marketplace, outage_s=10 * 86_400)  # hours without a block are no outage here


def settled_world(metered: dict[str, tuple[int, int]], world: World | None = None) -> World:
    """Trade in slot 1, meter what is given (0 for all others), and let it be settled."""
    world = patient() if world is None else world
    order(world, "home-1/load", "buy", wh=1_000, price=50)
    order(world, "home-2/pv", "sell", wh=1_200, price=30)
    tick(world)
    world.next_block(2 * SLOT_S)
    for device, wh in (METERED | metered).items():
        assert report(world, device, 1, wh) is None
    world.next_block(2 * SLOT_S + METERED_S)
    assert product_state(world) == "SETTLED"
    assert balance(world, "escrow:1") == 0
    audit(world)
    return world


def entries(world: World, network: str) -> list[tuple[Any, ...]]:
    """(device, reason, Wh, amount, owed) of a network's settlement."""
    answer = cast("tuple[Any, Any]", world.query("settlement", "settled", network=network, slot=1))
    return [(row[0], row[2], row[3], row[4], row[5]) for row in answer[1]]


def spent(world: World, device: str) -> int:
    """What a device's budget has paid so far."""
    return ALLOCATED - balance(world, f"device:{device}:0")


def test_as_contracted() -> None:
    world = settled_world({"home-1/load": (1_000, 0), "home-2/pv": (0, 1_000)})
    assert entries(world, "home-1") == [
        ("home-1/load", "bought", 1_000, -30_000, 0),
        ("home-1/load", "toll", 1_000, -7_000, 0),
    ]
    assert entries(world, "home-2") == [("home-2/pv", "sold", 1_000, 30_000, 0)]
    assert entries(world, "home-3") == []
    assert spent(world, "home-1/load") == 37_000
    assert balance(world, "pool:home-2:0") == 30_000
    assert balance(world, "grid-operator") == 7_000
    assert balance(world, "congestion") == balance(world, "utility") == 0


def test_a_seller_that_falls_short_pays_from_its_proceeds_first() -> None:
    world = settled_world({"home-1/load": (1_000, 0), "home-2/pv": (0, 900)})
    assert entries(world, "home-2") == [
        ("home-2/pv", "sold", 1_000, 30_000, 0),
        ("home-2/pv", "retail", 100, -10_000, 0),
    ]
    assert balance(world, "pool:home-2:0") == 20_000
    assert spent(world, "home-2/pv") == 0
    assert balance(world, "utility") == 10_000


def test_beyond_its_proceeds_a_device_pays_then_others_then_the_pool_then_nobody() -> None:
    # 1,000 Wh short: 100,000, of which the proceeds pay 30,000. Its own 60,000 is all it has besides.
    world = patient(allocated=60_000)
    order(world, "home-2/load", "buy", slot=2, wh=600, price=100)  # what it has is reserved
    settled_world({"home-1/load": (1_000, 0), "home-2/pv": (0, 0)}, world)
    assert entries(world, "home-2")[-1] == ("home-2/pv", "retail", 1_000, -100_000, 10_000)
    assert balance(world, "device:home-2/pv:0") == 0
    assert balance(world, "pool:home-2:0") == 0
    assert balance(world, "utility") == 90_000
    bill = cast("tuple[int, ...]", world.query("settlement", "bill", network="home-2", first_slot=1, last_slot=1))
    assert Settled(*bill[3:]).owed == 10_000


def test_own_sun_first() -> None:
    # home-2 at bus b2: the load is 300 short, the pv has 500 beyond its contract.
    world = settled_world({"home-1/load": (1_000, 0), "home-2/pv": (0, 1_500), "home-2/load": (300, 0)})
    assert entries(world, "home-2") == [
        ("home-2/pv", "sold", 1_000, 30_000, 0),
        ("home-2/pv", "feed-in", 200, 4_000, 0),
        ("home-2/load", "internal", 300, -6_000, 0),
        ("home-2/pv", "internal", 300, 6_000, 0),
    ]
    assert spent(world, "home-2/load") == 6_000
    assert balance(world, "pool:home-2:0") == 40_000
    # The utility had nothing to pay the feed-in from: it was issued.
    issued, redeemed, _ = cast("tuple[int, int, int]", world.query("accounts", "audit"))
    assert (issued - len(DEVICES) * ALLOCATED, redeemed) == (4_000, 0)


def test_what_the_utility_has_it_pays_before_anything_is_issued() -> None:
    world = settled_world({"home-1/load": (1_030, 0), "home-2/pv": (0, 1_200)})
    assert balance(world, "utility") == 0  # 3,000 for 30 Wh of home-1, which is first; 4,000 to home-2
    issued, _, _ = cast("tuple[int, int, int]", world.query("accounts", "audit"))
    assert issued - len(DEVICES) * ALLOCATED == 1_000


def test_devices_at_different_buses_do_not_net() -> None:
    devices = DEVICES | {"home-2/load": ("home-2", "load", "b1", 10_000, 0)}
    world = settled_world(
        {"home-1/load": (1_000, 0), "home-2/pv": (0, 1_500), "home-2/load": (300, 0)}, patient(devices)
    )
    assert ("home-2/load", "retail", 300, -30_000, 0) in entries(world, "home-2")
    assert ("home-2/pv", "feed-in", 500, 10_000, 0) in entries(world, "home-2")


def test_an_internal_charge_that_nobody_can_pay_is_advanced_by_the_utility() -> None:
    world = patient(allocated=60_000)
    order(world, "home-2/load", "buy", slot=2, wh=600, price=100)  # all that the load has is reserved
    donors = (("home-2/pv", 100, 0, False, None, 0, 0),)
    world.call(key_of("home-2"), "budget", "set_policy", network="home-2", proceeds="device", devices=donors)
    settled_world({"home-1/load": (1_000, 0), "home-2/pv": (0, 1_300), "home-2/load": (300, 0)}, world)
    assert entries(world, "home-2")[1:] == [
        ("home-2/load", "internal", 300, -6_000, 6_000),
        ("home-2/pv", "internal", 300, 6_000, 0),
    ]
    assert balance(world, "device:home-2/pv:0") == 60_000 + 30_000 + 6_000
    assert balance(world, "utility") == 0


def test_tolls_and_rent_leave_escrow_when_the_slot_is_settled() -> None:
    lines = (("t", "b1", 100, 5, None, None), ("b1", "b2", 100, 7, None, 400))  # 200 Wh up in half an hour
    world = settled_world({}, patient(lines=lines))
    assert balance(world, "grid-operator") == 200 * 7
    # The buyer's rest sets its price at b1, 50, the seller's its own at b2, 30: what is between, less the toll.
    assert balance(world, "congestion") == 200 * (50 - 30 - 7)


def test_the_bill_adds_up_and_compares_with_the_utility_alone() -> None:
    world = settled_world({"home-1/load": (1_100, 0), "home-1/battery": (0, 40), "home-2/pv": (0, 1_200)})
    bill = cast("tuple[int, ...]", world.query("settlement", "bill", network="home-1", first_slot=0, last_slot=3))
    slots, cost, utility_only, sums = bill[0], bill[1], bill[2], Settled(*bill[3:])
    assert slots == 2  # 0 and 1
    assert (sums.bought_wh, sums.bought, sums.tolls) == (1_000, 30_000, 7_000)
    assert (sums.internal_wh, sums.internal) == (40, 800)
    assert (sums.retail_wh, sums.retail) == (60, 6_000)
    assert cost == 43_000
    assert utility_only == (1_100 - 40) * 100
    assert (sums.import_wh, sums.export_wh) == (1_100, 40)
    seller = cast("tuple[int, ...]", world.query("settlement", "bill", network="home-2", first_slot=1, last_slot=1))
    assert (seller[1], seller[2]) == (-30_000 - 4_000, -1_200 * 20)


@pytest.mark.parametrize("first, last", [(2, 1), (-1, 0), (0, 10_000)])
def test_a_bill_covers_a_range(first: int, last: int) -> None:
    with pytest.raises(Exception, match="bad-range"):
        patient().query("settlement", "bill", network="home-1", first_slot=first, last_slot=last)


def test_every_entry_names_its_cause() -> None:
    world = settled_world({"home-1/load": (1_100, 0), "home-2/pv": (0, 1_000)})
    answer = cast("tuple[Any, Any]", world.query("settlement", "settled", network="home-1", slot=1))
    causes = {row[2]: row[6] for row in answer[1]}
    reading = cast("tuple[Any, ...]", world.query("settlement", "reading", device="home-1/load", slot=1))
    orders = cast("tuple[Any, ...]", world.query("market", "orders", device="home-1/load", slot=1))
    assert causes == {"bought": orders[0][0], "toll": orders[0][0], "retail": reading[5]}


def test_settlement_takes_as_many_blocks_as_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaincode.settlement_events.WORK_PER_BLOCK", 3)
    world = patient()
    order(world, "home-1/load", "buy", wh=1_000, price=50)
    order(world, "home-2/pv", "sell", wh=1_200, price=30)
    tick(world)
    world.next_block(2 * SLOT_S + METERED_S)
    blocks = 0
    while product_state(world) != "SETTLED":
        assert world.next_event() is not None and cast("int", world.next_event()) <= world.time
        world.next_block(world.time)
        audit(world)
        blocks += 1
    assert blocks > 4
    assert balance(world, "escrow:1") == 0


def test_a_share_counts_as_a_devices_work() -> None:
    """Whoever lets many devices run short at once makes a block settle fewer networks, not take longer."""
    world = patient(allocated=50_000)
    world.next_block(2 * SLOT_S)
    assert report(world, "home-1/load", 1, (1_000, 0)) is None
    assert report(world, "home-1/battery", 1, (0, 0)) is None
    with world.transaction() as ctx:
        work = settlement_units.apart(ctx, Unit(SETTLE, "home-1", 1))
    shares = cast("tuple[Any, ...]", world.query("budget", "shares", network="home-1", period=0))
    assert shares and work == 2 + len(shares)


def test_products_become_final() -> None:
    world = settled_world({})
    world.next_block(2 * SLOT_S + METERED_S + 1_800)
    assert product_state(world) == "FINAL"


def test_who_earns_itself_gets_the_proceeds() -> None:
    world = patient()
    world.call(key_of("home-2"), "budget", "set_policy", network="home-2", proceeds="device", devices=())
    settled_world({"home-1/load": (1_000, 0), "home-2/pv": (0, 1_000)}, world)
    assert balance(world, "device:home-2/pv:0") == ALLOCATED + 30_000
    assert balance(world, "pool:home-2:0") == 0
