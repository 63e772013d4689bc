"""Rent goes back to the networks by the tolls that they paid, once per period, to the base unit, in bounded steps."""

from typing import Any, cast

import pytest

from chaincode import accounts, budget_audit, settlement_rent
from chaincode.contract import MAX_AMOUNT
from tests.chaincode.marketplace import PERIOD_SLOTS, SLOT_S, audit, balance, key_of, order, product_state
from tests.chaincode.test_settlement_money import patient
from tests.chaincode.world import World

# 200 Wh an hour's half may come up from b2, where the cheap energy is.
LINES = (("t", "b1", 100, 5, None, None), ("b1", "b2", 100, 7, None, 400))
OVER_S = PERIOD_SLOTS * SLOT_S + 900 + 1_800 + 900
HOMES = ("home-1", "home-2", "home-3")


def street(**market: Any) -> World:
    return patient(lines=LINES, periods=3, **market)


def go_to(world: World, time: int) -> None:
    """Block by block, as things fall due, until ``time``."""
    while (due := world.next_event()) is not None and due <= time:
        world.next_block(max(due, world.time))
    world.next_block(max(time, world.time))


def trade(world: World, slot: int, *buys: tuple[str, int, int]) -> None:
    """A slot in which home-2 sells at 30 what the line carries, to the buyers given: (device, Wh, price)."""
    order(world, "home-2/pv", "sell", slot=slot, wh=2_000, price=30)
    for device, wh, price in buys:
        order(world, device, "buy", slot=slot, wh=wh, price=price)
    world.next_block(world.time + 10)


def rent(world: World, period: int) -> tuple[Any, ...]:
    """As it is asked, but of each network only its tolls and its rent."""
    *of_all, rows = cast("tuple[Any, ...]", world.query("settlement", "rent", period=period))
    return (*of_all, tuple([row[:3] for row in rows]))


def paid_in(world: World, period: int) -> dict[str, tuple[int, bytes]]:
    """By network the block in which its rent came back, and the hook that paid it."""
    rows = cast("Any", world.query("settlement", "rent", period=period))[-1]
    return {network: (block, cause) for network, _, _, block, cause in rows}


def came_back(world: World) -> list[tuple[str, Any]]:
    """(network, data) of what came back, in the order of the events."""
    return [(event.keys[0], event.data) for event in world.events if event.topic == "rent"]


def carried_in(world: World, home: str) -> int:
    """What was left of period 0, which closes with its rent."""
    with world.transaction() as ctx:
        return accounts.network_book(ctx, home, 1).carried_in


def check(world: World) -> None:
    audit(world)
    with world.transaction() as ctx:
        for home in HOMES:
            for period in range(3):
                assert budget_audit.totals_of(ctx, home, period).balance()


def test_rent_goes_back_by_tolls_paid_when_the_period_is_over() -> None:
    world = street()
    trade(world, 1, ("home-1/load", 150, 90), ("home-3/ev", 100, 60))
    go_to(world, OVER_S - 901)
    tolls, collected = balance(world, "grid-operator"), balance(world, "congestion")
    assert (tolls, collected) == (200 * 7, 200 * (60 - 30 - 7))
    assert rent(world, 0) == ("collecting", 4_600, 0, 1_400, 0, (("home-1", 1_050, 0), ("home-3", 350, 0)))
    before = {home: balance(world, f"pool:{home}:1") for home in HOMES}
    go_to(world, OVER_S)
    assert rent(world, 0) == ("returned", 4_600, 0, 1_400, 4_600, (("home-1", 1_050, 3_450), ("home-3", 350, 1_150)))
    assert balance(world, "congestion") == 0 and balance(world, "grid-operator") == tolls
    # Into the period that runs by now. Who sold behind the full line has paid no tolls, and gets nothing of it.
    after = {home: balance(world, f"pool:{home}:1") - before[home] - carried_in(world, home) for home in HOMES}
    assert after == {"home-1": 3_450, "home-2": 0, "home-3": 1_150}
    assert cast("Any", world.query("settlement", "bill_of_period", network="home-1", period=0))[3] == 3_450
    check(world)
    go_to(world, OVER_S + 10 * SLOT_S)
    assert len(came_back(world)) == 2, "once"


def test_what_came_back_names_its_block_and_the_hook_that_paid_it() -> None:
    world = street()
    trade(world, 1, ("home-1/load", 150, 90), ("home-3/ev", 100, 60))
    go_to(world, OVER_S - 901)
    assert paid_in(world, 0) == {"home-1": (0, b""), "home-3": (0, b"")}
    while not came_back(world):
        world.next_block(max(world.time, OVER_S))
    (cause,) = {cause for _, cause in paid_in(world, 0).values()}
    assert paid_in(world, 0) == {"home-1": (world.height, cause), "home-3": (world.height, cause)} and len(cause) == 32
    found = cast("Any", world.query("statements", "period", network="home-1", period=0))
    of_all = (4_600, 0, 1_400, 4_600, "returned")
    assert found[8] == ((0, PERIOD_SLOTS - 1, 1_050, 3_450, world.height, cause, of_all),)
    paid = paid_in(world, 0)
    go_to(world, OVER_S + 10 * SLOT_S)
    assert paid_in(world, 0) == paid


def test_the_largest_remainder_has_the_odd_base_unit_then_the_id() -> None:
    world = street()
    trade(world, 1, ("home-1/load", 300, 51), ("home-3/ev", 100, 51), ("home-1/battery", 100, 51))
    go_to(world, OVER_S)
    state, collected, _, tolls, returned, rows = rent(world, 0)
    assert state == "returned" and returned == collected == 200 * 14
    exact = {network: (collected * paid, tolls) for network, paid, _ in rows}
    whole = {network: top // bottom for network, (top, bottom) in exact.items()}
    order_of = sorted(exact, key=lambda network: (-(exact[network][0] % tolls), network))
    for network in order_of[: collected - sum(whole.values())]:
        whole[network] += 1
    assert {network: part for network, _, part in rows} == whole


def test_rent_without_tolls_is_the_next_periods() -> None:
    free = (("t", "b1", 100, 0, None, None), ("b1", "b2", 100, 0, None, 400))
    world = patient(lines=free, periods=3)
    trade(world, 1, ("home-1/load", 300, 50))
    go_to(world, OVER_S)
    assert rent(world, 0) == ("carried", 4_000, 0, 0, 0, ())
    assert rent(world, 1)[:3] == ("collecting", 4_000, 4_000)
    assert balance(world, "congestion") == 4_000
    check(world)


def test_carried_rent_goes_back_with_the_next_periods() -> None:
    world = street()
    trade(world, 1, ("home-1/load", 300, 50))
    with world.transaction() as ctx:  # as if nobody had paid tolls in the period before
        accounts.mint(ctx, "congestion", 1_000, "test", b"")
        settlement_rent.note_rent(ctx, 1, 0, 1_000)
    go_to(world, OVER_S)
    assert rent(world, 0)[4] == 200 * 13 + 1_000
    assert balance(world, "congestion") == 0


def test_debts_are_paid_first() -> None:
    world = street(allocated=60_000)
    trade(world, 1, ("home-1/load", 300, 50))
    go_to(world, 2 * SLOT_S)
    registers = {"import_register": 5_000, "export_register": 0}
    meter = key_of("meter home-1/load")
    args = {"device": "home-1/load", "slot": 1, "import_wh": 5_000, "export_wh": 0, **registers}
    world.call(meter, "settlement", "report", **args)
    go_to(world, OVER_S - 901)
    owed = cast("Any", world.query("budget", "network_budget", network="home-1", period=0))[7]
    assert owed > 2_600
    utility = balance(world, "utility")
    go_to(world, OVER_S)
    # Right after that the period is closed, and what the battery had left of it pays as well.
    paid = cast("Any", world.query("periods", "period", network="home-1", period=0))[6][3]
    assert 0 < paid < owed and balance(world, "utility") == utility + 2_600 + paid
    assert cast("Any", world.query("budget", "network_budget", network="home-1", period=0))[7] == owed - 2_600 - paid
    check(world)


def test_the_work_is_bounded_and_the_result_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    for page, work in ((200, 1_000), (1, 1)):
        monkeypatch.setattr("chaincode.settlement_rent.PAGE_ROWS", page)
        world = street()
        trade(world, 1, ("home-1/load", 150, 90), ("home-3/ev", 100, 60))
        go_to(world, OVER_S - 901)
        monkeypatch.setattr("chaincode.settlement_events.WORK_PER_BLOCK", work)
        go_to(world, OVER_S)
        rows.append(rent(world, 0))
        monkeypatch.setattr("chaincode.settlement_events.WORK_PER_BLOCK", 1_000)
        check(world)
    assert rows[0] == rows[1]


@pytest.mark.parametrize("table", [b"product/", b"settling/"])
def test_a_slot_that_was_struck_out_does_not_hold_the_rent_back(table: bytes) -> None:
    world = street()
    trade(world, 1, ("home-1/load", 150, 90), ("home-3/ev", 100, 60))
    go_to(world, 5 * SLOT_S)
    with world.transaction() as ctx:
        (key,) = [key for key, _ in ctx.scan(table) if key.endswith((4).to_bytes(8, "big"))]
        sound = ctx.get(key)
        ctx.put(key, ("nonsense",))
    go_to(world, OVER_S)
    assert rent(world, 0)[0] == "returned"
    assert [row[1:5:3] for row in cast("Any", world.query("settlement", "parked"))] == [(4, "calendar")]
    if table == b"product/":  # mended, it is settled as it would have been
        with world.transaction() as ctx:
            ctx.put(key, sound)
        world.call(key_of("admin"), "settlement", "release", index=0)
        world.next_block(world.time + 1)
        assert product_state(world, 4) == "FINAL"
        assert world.query("settlement", "settled", network="home-1", slot=4) is not None
    check(world)


def test_a_slot_that_was_never_opened_does_not_hold_the_rent_back() -> None:
    world = street()
    trade(world, 1, ("home-1/load", 150, 90), ("home-3/ev", 100, 60))
    go_to(world, 2 * SLOT_S)
    with world.transaction() as ctx:  # as the market leaves out what it cannot open
        for table in (b"product/", b"calendar/"):
            for key in [key for key, _ in ctx.scan(table) if key.endswith((4).to_bytes(8, "big"))]:
                ctx.delete(key)
    go_to(world, OVER_S)
    assert world.query("settlement", "settled", network="home-1", slot=4) is None
    assert rent(world, 0)[0] == "returned"
    check(world)


def test_what_a_late_release_pays_counts_for_the_next_period() -> None:
    world = street()
    trade(world, 1, ("home-1/load", 150, 90), ("home-3/ev", 100, 60))
    with world.transaction() as ctx:
        full = accounts.device_book(ctx, "home-1/load", 0)
        ctx.put(b"acc-device/home-1/load\0" + bytes(4), tuple(full._replace(spent=MAX_AMOUNT - 5)))
    go_to(world, 2 * SLOT_S)
    registers = {"import_register": 5_000, "export_register": 0}
    args = {"device": "home-1/load", "slot": 1, "import_wh": 5_000, "export_wh": 0, **registers}
    world.call(key_of("meter home-1/load"), "settlement", "report", **args)
    go_to(world, OVER_S)
    assert rent(world, 0) == ("returned", 4_600, 0, 350, 4_600, (("home-3", 350, 4_600),))
    with world.transaction() as ctx:
        now = accounts.device_book(ctx, "home-1/load", 0)  # the period has been closed since
        ctx.put(b"acc-device/home-1/load\0" + bytes(4), tuple(now._replace(spent=full.spent)))
    world.call(key_of("admin"), "settlement", "release", index=0)
    world.next_block(world.time + 1)
    assert product_state(world) == "FINAL"
    assert rent(world, 1)[:4] == ("collecting", 0, 0, 1_050)
    check(world)


def test_a_payment_that_fails_is_parked_and_released() -> None:
    world = street()
    trade(world, 1, ("home-1/load", 150, 90), ("home-3/ev", 100, 60))
    go_to(world, OVER_S - 901)
    key = b"acc-network/home-1\0" + (1).to_bytes(4, "big")
    with world.transaction() as ctx:
        sound = accounts.network_book(ctx, "home-1", 1)
        ctx.put(key, tuple(sound._replace(earned=MAX_AMOUNT - 5)))
    go_to(world, OVER_S)
    assert rent(world, 0)[4] == 1_150 and balance(world, "congestion") == 3_450
    (row,) = cast("Any", world.query("settlement", "parked"))
    assert row[:3] == ("home-1", PERIOD_SLOTS - 1, "bad-amount") and row[4] == "rent"
    with world.transaction() as ctx:
        now = accounts.network_book(ctx, "home-1", 1)  # what was left of period 0 has been carried there since
        ctx.put(key, tuple(now._replace(earned=sound.earned)))
    world.call(key_of("admin"), "settlement", "release", index=0)
    world.next_block(world.time + 1)
    assert rent(world, 0)[4] == 4_600 and balance(world, "congestion") == 0
    assert paid_in(world, 0)["home-1"][0] == world.height > paid_in(world, 0)["home-3"][0] > 0
    check(world)


@pytest.mark.parametrize("args", [{"period": -1}, {"period": 2**32}, {"period": 0, "first": -1}])
def test_a_period_is_a_number(args: dict[str, Any]) -> None:
    world = patient()
    with pytest.raises(Exception, match="bad-range"):
        world.query("settlement", "rent", **args)


def test_tolls_paid_to_and_fro_are_no_claim_on_the_rent_of_others() -> None:
    lines = (("t", "b1", 100, 1, None, None), ("b1", "b2", 100, 1, 2_000, 2_000))
    devices = {
        "home-1/load": ("home-1", "load", "b2", 10_000, 0),
        "home-2/pv": ("home-2", "pv", "b1", 0, 10_000),
        "home-3/a": ("home-3", "battery", "t", 100_000, 100_000),
        "home-3/b": ("home-3", "battery", "b1", 100_000, 100_000),
        "home-3/c": ("home-3", "battery", "t", 100_000, 100_000),
        "home-3/d": ("home-3", "battery", "b1", 100_000, 100_000),
    }
    world = patient(devices, lines, periods=3)
    order(world, "home-2/pv", "sell", wh=1_000, price=20)
    order(world, "home-1/load", "buy", wh=2_000, price=100)
    for seller, buyer in (("a", "b"), ("d", "c")):
        world.next_block(world.time + 10)
        order(world, f"home-3/{seller}", "sell", wh=5_000, price=40)
        order(world, f"home-3/{buyer}", "buy", wh=5_000, price=60)
    world.next_block(world.time + 10)
    go_to(world, OVER_S)
    paid = cast("Any", world.query("settlement", "bill_of_period", network="home-3", period=0))[7]
    assert paid == 10_000, "twice over a line of 1; its devices settle with each other at either end"
    assert rent(world, 0)[3:] == (1_000, 40_000, (("home-1", 1_000, 40_000, *rent(world, 0)[5][0][3:]),))
    check(world)


def test_tolls_count_for_the_part_that_was_kept() -> None:
    world = street()
    trade(world, 1, ("home-1/load", 100, 90), ("home-3/ev", 100, 60))
    order(world, "home-3/ev", "sell", wh=40, price=40)
    order(world, "home-1/battery", "buy", wh=100, price=40)
    world.next_block(world.time + 10)
    go_to(world, OVER_S)
    assert {row[0]: row[1] for row in rent(world, 0)[5]} == {"home-1": 700, "home-3": 700 * 60 // 100}
    check(world)


def test_a_bill_over_several_periods_of_the_consortium_has_the_rent_of_each() -> None:
    """home-1 has a period of two days, home-3 the consortium's: both get what their tolls count for, day by day."""
    world = patient(lines=LINES, periods=2)
    first = 2 * PERIOD_SLOTS
    plan = {"network": "home-1", "first_slot": first, "lengths": (2 * PERIOD_SLOTS,)}
    assert world.call(key_of("home-1"), "periods", "plan", **plan) == 2
    for home, name, periods in (("home-1", "home-1/load", (2,)), ("home-3", "home-3/ev", (2, 3))):
        for period in periods:
            money = {"network": home, "period": period}
            world.call(key_of("utility"), "budget", "issue", **money, amount=10**7, reference=b"%d" % period)
            world.call(key_of(home), "budget", "allocate", **money, amounts=((name, 10**7),))
    for slot in (first + 1, first + PERIOD_SLOTS + 1):
        go_to(world, (slot - 1) * SLOT_S)
        trade(world, slot, ("home-1/load", 150, 90), ("home-3/ev", 100, 60))
    go_to(world, OVER_S + 3 * PERIOD_SLOTS * SLOT_S)
    rows = [rent(world, period) for period in (2, 3)]
    assert [row[:2] for row in rows] == [("returned", 4_600)] * 2
    assert [row[-1] for row in rows] == [(("home-1", 1_050, 3_450), ("home-3", 350, 1_150))] * 2
    bills = [("home-1", 2, 6_900), ("home-3", 2, 1_150), ("home-3", 3, 1_150)]
    for home, period, amount in bills:
        assert cast("Any", world.query("settlement", "bill_of_period", network=home, period=period))[3] == amount
    found = cast("Any", world.query("statements", "period", network="home-1", period=2))
    assert found[:3] == ("closed", first, first + 2 * PERIOD_SLOTS)
    assert [row[:4] for row in found[8]] == [
        (2, first + PERIOD_SLOTS - 1, 1_050, 3_450),
        (3, first + 2 * PERIOD_SLOTS - 1, 1_050, 3_450),
    ]
    check(world)
