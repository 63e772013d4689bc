"""Where energy comes from, told as stories on the street: trades, meters, own sun, batteries, until a slot is final."""

from typing import Any, cast

import pytest

from chaincode.contract import ContractError, Value
from chaincode.market_products import DAY_S
from tests.chaincode.marketplace import (
    DEVICES,
    SLOT_S,
    key_of,
    marketplace,
    order,
    product_state,
    tick,
)
from tests.chaincode.world import World

MIX = 400
"""Permille of the utility's energy that is renewable."""
SUMS = (
    "final", "used", "renewable", "bought", "own", "undelivered", "utility", "generated", "generated_renewable", "sold",
    "shared", "fed",
)  # fmt: skip


def street(**market: Any) -> World:
    """Whose jumps in time are no outages."""
    return marketplace(mix_permille=MIX, outage_s=10 * DAY_S, **market)


def metered(world: World, slot: int, **energies: tuple[int, int]) -> None:
    """Go on to the end of the slot and report (imported, exported) of every device; home_1_load for home-1/load."""
    world.next_block(max(world.time, (slot + 1) * SLOT_S))
    for device in DEVICES:
        imported, exported = energies.pop(device.replace("-", "_").replace("/", "_"), (0, 0))
        before = cast("Any", world.query("settlement", "reading", device=device, slot=slot - 1)) if slot else None
        registers = (0, 0) if before is None else before[2:4]
        world.call(
            key_of(f"meter {device}"), "settlement", "report", device=device, slot=slot, import_wh=imported,
            export_wh=exported, import_register=registers[0] + imported, export_register=registers[1] + exported,
        )  # fmt: skip
    assert not energies


def until_final(world: World, slot: int) -> None:
    """Go on until the slot is final and its origins are known."""
    row = cast("Any", world.query("market", "product", slot=slot))
    for time in (row[6], row[7], row[7], row[7]):
        world.next_block(max(time, world.time))
    assert product_state(world, slot) == "FINAL"
    assert cast("int", world.query("origin", "assigned")) > slot


def sums(world: World, network: str, slot: int = 1) -> dict[str, Any]:
    """What is not 0 of a network's sums in a slot."""
    answer = cast("tuple[Value, ...]", world.query("origin", "slot", network=network, slot=slot))
    return {name: value for name, value in zip(SUMS, answer, strict=True) if value or name == "final"}


def lots(world: World, network: str, slot: int = 1) -> tuple[Value, ...]:
    return cast("tuple[bool, tuple[Value, ...]]", world.query("origin", "lots", network=network, slot=slot))[1]


def test_a_neighbours_sun_is_used_before_the_utilitys_energy() -> None:
    world = street()
    order(world, "home-1/load", "buy", wh=600, price=80)
    order(world, "home-2/pv", "sell", wh=500, price=30)
    metered(world, 1, home_1_load=(900, 0), home_2_pv=(0, 700))
    used = {"used": 900, "bought": 500, "utility": 400, "renewable": 500 + 160}
    given = {"generated": 700, "generated_renewable": 700, "sold": 500, "fed": 200}
    assert sums(world, "home-1") == {"final": False, **used}
    assert sums(world, "home-2") == {"final": False, **given}
    until_final(world, 1)
    assert sums(world, "home-1") == {"final": True, **used}
    assert sums(world, "home-2") == {"final": True, **given}
    assert lots(world, "home-1") == (
        ("home-1/load", "bought", "home-2/pv", 500, 500),
        ("home-1/load", "utility", "", 400, 160),
    )
    assert world.query("origin", "given", network="home-2", slot=1) == (
        True,
        (("home-2/load", 0, 0, 0, 0, 0), ("home-2/pv", 700, 700, 500, 0, 200)),
    )
    device = cast("Any", world.query("origin", "device", device="home-1/load", slot=1))
    assert device[:3] == (True, 900, 660)
    told = [event for event in world.events if event.contract == "origin" and event.topic == "origin"]
    assert [event.keys for event in told if cast("Any", event.data)[0] == 1] == [("home-1",), ("home-2",), ("home-3",)]


def test_contracts_come_first_in_the_order_of_trades() -> None:
    world = street()
    order(world, "home-3/pv", "sell", wh=1_000, price=30)
    order(world, "home-1/load", "buy", wh=400, price=80)
    tick(world)
    order(world, "home-2/load", "buy", wh=600, price=80)
    tick(world)
    metered(world, 1, home_1_load=(400, 0), home_2_load=(600, 0), home_3_pv=(0, 550), home_3_ev=(100, 0))
    until_final(world, 1)
    assert lots(world, "home-1") == (("home-1/load", "bought", "home-3/pv", 400, 400),)
    assert lots(world, "home-2") == (
        ("home-2/load", "bought", "home-3/pv", 150, 150),
        ("home-2/load", "undelivered", "home-3/pv", 450, 180),
    )
    assert lots(world, "home-3") == (("home-3/ev", "utility", "", 100, 40),), "its own sun was sold"


def test_own_sun_is_used_inside_the_network_before_it_is_fed_in() -> None:
    world = street()
    metered(world, 1, home_2_load=(300, 0), home_2_pv=(0, 800), home_3_pv=(0, 200), home_3_ev=(500, 0))
    until_final(world, 1)
    assert lots(world, "home-2") == (("home-2/load", "own", "home-2/pv", 300, 300),)
    assert sums(world, "home-2")["shared"] == 300
    assert sums(world, "home-2")["fed"] == 500
    assert lots(world, "home-3") == (
        ("home-3/ev", "own", "home-3/pv", 200, 200),
        ("home-3/ev", "utility", "", 300, 120),
    )


def test_what_is_bought_too_much_is_passed_on_in_the_network() -> None:
    world = street()
    order(world, "home-1/load", "buy", wh=500, price=80)
    order(world, "home-2/pv", "sell", wh=500, price=30)
    metered(world, 1, home_1_load=(200, 0), home_1_battery=(250, 0), home_2_pv=(0, 500))
    until_final(world, 1)
    assert lots(world, "home-1") == (
        ("home-1/battery", "bought", "home-2/pv", 250, 250),
        ("home-1/load", "bought", "home-2/pv", 200, 200),
    )
    assert sums(world, "home-1") == {"final": True, "used": 450, "renewable": 450, "bought": 450}


def test_who_trades_out_of_a_position_passes_on_where_it_came_from() -> None:
    world = street()
    order(world, "home-1/battery", "buy", wh=400, price=80)
    order(world, "home-2/pv", "sell", wh=400, price=20)
    tick(world)
    order(world, "home-1/battery", "sell", wh=300, price=25)
    order(world, "home-3/ev", "buy", wh=300, price=80)
    tick(world)
    metered(world, 1, home_1_battery=(100, 0), home_2_pv=(0, 400), home_3_ev=(300, 0))
    until_final(world, 1)
    assert lots(world, "home-3") == (("home-3/ev", "bought", "home-2/pv", 300, 300),)
    assert lots(world, "home-1") == (("home-1/battery", "bought", "home-2/pv", 100, 100),)


def test_a_battery_gives_out_what_charged_it() -> None:
    world = street()
    metered(world, 0, home_1_battery=(1_000, 0))  # 400 of it are renewable
    order(world, "home-1/battery", "buy", wh=500, price=80)
    order(world, "home-2/pv", "sell", wh=500, price=30)
    metered(world, 1, home_1_battery=(500, 0), home_2_pv=(0, 500))
    order(world, "home-1/battery", "sell", slot=2, wh=700, price=30)
    order(world, "home-2/load", "buy", slot=2, wh=700, price=80)
    metered(world, 2, home_1_battery=(0, 700), home_2_load=(700, 0))
    metered(world, 3, home_1_battery=(0, 1_000), home_1_load=(1_000, 0))
    for slot in range(4):
        until_final(world, slot)
    # 900 of 1,500 Wh: three fifths. Of the last 1,000 Wh only 800 had been charged: the rest counts as grid.
    assert lots(world, "home-2", 2) == (("home-2/load", "bought", "home-1/battery", 700, 420),)
    assert lots(world, "home-1", 3) == (("home-1/load", "own", "home-1/battery", 1_000, 480),)
    assert world.query("origin", "store", device="home-1/battery") == (0, 0)


def test_what_charges_a_battery_is_given_out_in_later_slots() -> None:
    world = street()
    metered(world, 0, home_3_ev=(400, 300), home_3_pv=(0, 400))
    until_final(world, 0)
    # 300 of what the car took it gave itself; of unknown origin, since nothing had charged it before.
    assert lots(world, "home-3", 0) == (
        ("home-3/ev", "own", "home-3/ev", 300, 0),
        ("home-3/ev", "own", "home-3/pv", 100, 100),
    )
    assert world.query("origin", "store", device="home-3/ev") == (400, 100)


def test_an_estimated_export_counts_and_a_missing_reading_is_provisionally_nothing() -> None:
    world = street()
    order(world, "home-1/load", "buy", wh=500, price=80)
    order(world, "home-2/pv", "sell", wh=500, price=30)
    assert sums(world, "home-1") == {"final": False}
    world.next_block(2 * SLOT_S)
    assert sums(world, "home-1") == {"final": False}
    until_final(world, 1)
    # Nobody reported: the buyer is taken to have used its contract, the seller to have delivered nothing.
    assert lots(world, "home-1") == (("home-1/load", "undelivered", "home-2/pv", 500, 200),)


def test_sums_over_slots_and_periods() -> None:
    world = street()
    for slot in range(3):
        metered(world, slot, home_1_load=(100 * (slot + 1), 0))
    until_final(world, 1)
    answer = world.query("origin", "slots", network="home-1", first_slot=0, last_slot=2)
    assert cast("Any", answer)[:3] == (2, 300, 120)
    assert cast("Any", world.query("origin", "period", network="home-1", period=0))[:3] == (2, 300, 120)
    until_final(world, 2)
    assert cast("Any", world.query("origin", "period", network="home-1", period=0))[:3] == (3, 600, 240)
    assert cast("Any", world.query("origin", "period", network="home-1", period=1))[:3] == (0, 0, 0)


@pytest.mark.parametrize(
    ("method", "args", "code"),
    [
        ("slot", {"network": "nobody", "slot": 1}, "unknown-network"),
        ("slot", {"network": "home-1", "slot": 99}, "no-product"),
        ("slot", {"network": "home-1", "slot": -1}, "no-product"),
        ("device", {"device": "home-1/none", "slot": 1}, "unknown-device"),
        ("lots", {"network": "home-1", "slot": 1, "first": -1}, "bad-args"),
        ("slots", {"network": "home-1", "first_slot": 0, "last_slot": 3_000}, "bad-args"),
        ("slots", {"network": "home-1", "first_slot": 2, "last_slot": 1}, "bad-args"),
        ("period", {"network": "home-1", "period": -1}, "unknown-period"),
        ("store", {"device": "home-1/none"}, "unknown-device"),
    ],
)
def test_bad_questions(method: str, args: dict[str, Any], code: str) -> None:
    with pytest.raises(ContractError) as refusal:
        street().query("origin", method, **args)
    assert refusal.value.code == code


def test_a_block_assigns_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaincode.origin_events.WORK_PER_BLOCK", 1)
    world = street()
    order(world, "home-1/load", "buy", wh=600, price=80)
    order(world, "home-2/pv", "sell", wh=500, price=30)
    metered(world, 1, home_1_load=(900, 0), home_2_pv=(0, 700))
    row = cast("Any", world.query("market", "product", slot=1))
    world.next_block(row[6])
    world.next_block(row[7])
    blocks = 0
    while cast("int", world.query("origin", "assigned")) < 2:
        assert world.next_event() is not None
        assert cast("int", world.next_event()) <= world.time, "the nodes must make a block at once"
        world.next_block(world.time)
        blocks += 1
    assert blocks > 4
    assert sums(world, "home-1")["bought"] == 500
    assert sums(world, "home-1")["final"]


def test_what_fails_is_left_out_alone() -> None:
    world = street()
    buy = order(world, "home-1/load", "buy", wh=600, price=80)
    order(world, "home-2/pv", "sell", wh=500, price=30)
    metered(world, 1, home_1_load=(900, 0), home_2_pv=(0, 700))
    with world.transaction() as ctx:
        ctx.delete(b"order/" + buy)
    until_final(world, 1)
    parked = [event.data for event in world.events if event.topic == "origin-parked"]
    assert parked == [("auction 0", 1, "unknown-order")]
    assert sums(world, "home-1") == {"final": True, "used": 900, "renewable": 360, "utility": 900}
    assert sums(world, "home-2")["fed"] == 700


def test_a_slot_that_never_becomes_final_holds_up_no_other() -> None:
    world = street()
    metered(world, 0, home_1_load=(100, 0))
    metered(world, 1, home_1_load=(200, 0))
    with world.transaction() as ctx:
        entries = [key for key, _ in ctx.scan(b"settling/") if int.from_bytes(key[-8:], "big") == 0]
        for key in entries:
            ctx.delete(key)
    until_final(world, 1)
    assert product_state(world, 0) != "FINAL"
    assert sums(world, "home-1", 0) == {"final": True, "used": 100, "renewable": 40, "utility": 100}
    assert sums(world, "home-1", 1)["used"] == 200


def test_a_slot_whose_product_cannot_be_read_is_passed_over() -> None:
    world = street()
    metered(world, 0, home_1_load=(100, 0))
    metered(world, 1, home_1_load=(200, 0))
    key = b"product/" + bytes(8)
    with world.transaction() as ctx:
        ctx.put(key, ("broken",))
    until_final(world, 1)
    parked = [event.data for event in world.events if event.topic == "origin-parked"]
    assert parked == [("", 0, "internal")]
    assert sums(world, "home-1", 1)["used"] == 200
    assert world.next_event() is not None


def test_a_correction_before_the_slot_is_final_changes_its_origins() -> None:
    world = street()
    order(world, "home-1/load", "buy", wh=500, price=80)
    order(world, "home-2/pv", "sell", wh=500, price=30)
    metered(world, 1, home_1_load=(500, 0), home_2_pv=(0, 500))
    row = cast("Any", world.query("market", "product", slot=1))
    world.next_block(row[6])
    assert product_state(world, 1) == "SETTLED"
    correction = {"device": "home-2/pv", "first_slot": 1, "rows": ((0, 200, 0, 200),)}
    world.call(key_of("meter home-2/pv"), "settlement", "correct", **correction)
    assert sums(world, "home-1") == {"final": False, "used": 500, "renewable": 320, "bought": 200, "undelivered": 300}
    until_final(world, 1)
    assert sums(world, "home-1") == {"final": True, "used": 500, "renewable": 320, "bought": 200, "undelivered": 300}


def test_where_a_car_was_is_remembered_until_its_energy_is_assigned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaincode.origin_events.WORK_PER_BLOCK", 1)
    world = street()
    move = {"device": "home-3/ev"}
    world.call(key_of("home-3/ev"), "identity", "connect", **move, bus="b2", slot=2)
    metered(world, 1, home_3_ev=(700, 0))
    row = cast("Any", world.query("market", "product", slot=1))
    world.next_block(row[6])
    while product_state(world, 1) != "FINAL":
        world.next_block(max(row[7], world.time))
    assert cast("int", world.query("origin", "assigned")) < 2
    world.call(key_of("home-3/ev"), "identity", "connect", **move, bus="b1", slot=world.time // SLOT_S + 1)
    while cast("int", world.query("origin", "assigned")) < 2:
        world.next_block(world.time)
    assert sums(world, "home-3") == {"final": True, "used": 700, "renewable": 280, "utility": 700}
