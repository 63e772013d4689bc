"""Alerts: each cause once per device and period, with what proves it; and the overview of devices."""

from typing import Any, cast

import pytest

from chaincode import budget, budget_alerts, budget_paid, identity
from chaincode.budget_alerts import MAX_EVIDENCE, Alert, Proof
from chaincode.overview import MAX_GIVERS, expected_of
from tests.chaincode.budget_steps import BATTERY, EV, LOAD, PV, book, charge, hold, resolve, topics
from tests.chaincode.marketplace import SLOT_S, marketplace
from tests.chaincode.neighbourhood import (
    DEVICES,
    OWNER_1,
    OWNER_2,
    at_slot,
    fund,
    neighbourhood,
    one_more,
)
from tests.chaincode.world import World


def alerts(world: World, network: str = "home-1") -> list[Alert]:
    rows = cast("tuple[Any, ...]", world.query("budget", "alerts", network=network))
    return [Alert(*row)._replace(evidence=tuple(Proof(*proof) for proof in row[7])) for row in rows]


def use(world: World, device: str, slot: int, spent: int, estimated: bool = False) -> None:
    with world.transaction() as ctx:
        budget.note_use(ctx, device, slot, spent, 100, estimated, b"reading-%d" % slot, 70 + slot)


def devices(world: World, **args: Any) -> dict[str, dict[str, Any]]:
    fields = (
        "device", "state", "allocated", "withdrawn", "budget", "available", "reserved", "spent", "used", "used_wh",
        "borrowed", "lent", "owed", "forecast", "expected", "over", "alerts", "givers",
    )  # fmt: skip
    answer = cast("tuple[Any, ...]", world.query("overview", "devices", network="home-1", **args))
    return {row[0]: dict(zip(fields, row, strict=True)) for row in answer[4]}


def test_spending_ahead_of_the_elapsed_share() -> None:
    world = neighbourhood()
    fund(world, {EV: 1000})
    use(world, EV, 0, 200)  # the elapsed share is 100, and a tenth of the budget is tolerated
    at_slot(world, 3)
    use(world, EV, 1, 100)
    assert alerts(world) == []
    use(world, EV, 2, 101)
    figures = (401, 1000, 3, 10, 100)
    proof = Proof("slot", 2, 72, b"reading-2", 101)
    assert alerts(world) == [Alert(EV, 0, "ahead", 3, 3 * 1800, 2, figures, (proof,), 0)]
    use(world, EV, 3, 500)
    assert len(alerts(world)) == 1
    assert book(world, EV) | {"used": 901, "used_wh": 400} == book(world, EV)
    assert topics(world, "alert") == [("alert", EV)]


def test_the_elapsed_share_is_of_what_a_device_may_keep() -> None:
    world = neighbourhood()
    fund(world, {EV: 1000})
    world.call(OWNER_1, "budget", "withdraw", network="home-1", period=0, amounts=((EV, 500),))
    use(world, EV, 0, 101)
    assert [alert.figures[1] for alert in alerts(world)] == [500]


def test_above_forecast_for_some_slots_in_a_row() -> None:
    world = neighbourhood(above_alert_slots=3)
    world.call(OWNER_1, "budget", "set_forecast", device=EV, period=0, amount=1000)
    for slot, spent in enumerate((101, 101, 100, 101, 101, 101)):
        use(world, EV, slot, spent)
    (alert,) = alerts(world)
    assert (alert.cause, alert.figures) == ("above-forecast", (3, 1000, 10))
    assert [proof.reference for proof in alert.evidence] == [b"reading-3", b"reading-4", b"reading-5"]


def test_evidence_is_bounded() -> None:
    world = neighbourhood(above_alert_slots=20, period_slots=30, borrow_alert=20)
    world.call(OWNER_1, "budget", "set_forecast", device=EV, period=0, amount=30)
    for slot in range(20):
        use(world, EV, slot, 2)
    (alert,) = alerts(world)
    assert alert.figures[0] == 20 and [proof.number for proof in alert.evidence] == list(range(4, 20))
    fund(world, {LOAD: 100_000})
    at_slot(world, 20)
    for number in range(25):
        hold(world, PV, b"o%d" % number, 1)
        resolve(world)
    assert [(alert.cause, alert.figures, len(alert.evidence)) for alert in alerts(world)[1:]] == [
        ("borrowed", (1,), 1), ("borrowed-often", (20,), MAX_EVIDENCE),
    ]  # fmt: skip


def test_borrowing_once_and_often() -> None:
    world = neighbourhood(borrow_alert=2)
    fund(world, {LOAD: 1000})
    at_slot(world, 5)
    for ref in (b"o1", b"o2", b"o3"):
        hold(world, EV, ref, 10)
        resolve(world)
    once, often = alerts(world)
    assert (once.cause, once.evidence) == ("borrowed", (Proof("share", 0, 2, b"o1", 10),))
    assert (often.cause, often.figures) == ("borrowed-often", (2,))
    assert often.evidence == (Proof("share", 0, 2, b"o1", 10), Proof("share", 1, 2, b"o2", 10))


def test_what_several_give_for_one_thing_is_one_time() -> None:
    world = neighbourhood(borrow_alert=2)
    fund(world, {LOAD: 100, PV: 100, BATTERY: 100})
    at_slot(world, 9)
    hold(world, EV, b"o1", 250)
    assert resolve(world) == {b"o1": True}
    assert [(alert.cause, alert.evidence[0].reference) for alert in alerts(world)] == [("borrowed", b"o1")]
    shares = cast("tuple[Any, ...]", world.query("budget", "shares", network="home-1", period=0))
    assert {row[4] for row in shares} == {b"o1"} and len(shares) == 3  # the evidence leads to all three


def test_what_an_owner_moves_by_hand_is_no_alert() -> None:
    world = neighbourhood()
    fund(world, {LOAD: 1000})
    world.call(OWNER_1, "budget", "share", giver=LOAD, receiver=EV, period=0, amount=10)
    assert alerts(world) == []
    assert book(world, EV)["borrowed"] == 10
    assert devices(world)[EV]["givers"] == ((LOAD, 10),)


def test_help_of_the_pool_is_an_alert_for_who_has_a_budget() -> None:
    world = neighbourhood()
    fund(world, {EV: 10}, spare=100)
    charge(world, {EV: 30, BATTERY: 20})
    assert [(alert.device, alert.cause, alert.evidence[0].amount) for alert in alerts(world)] == [(EV, "borrowed", 20)]
    rows = devices(world)
    assert rows[EV]["givers"] == (("", 20),) and rows[BATTERY]["givers"] == (("", 20),)
    assert rows[EV]["budget"] == 10


def test_estimated_readings_and_acknowledging() -> None:
    world = neighbourhood()
    use(world, EV, 0, 0, estimated=True)
    use(world, EV, 1, 0, estimated=True)
    at_slot(world, 10)
    use(world, EV, 10, 7, estimated=True)
    assert [alert[:3] for alert in alerts(world)] == [(EV, 0, "estimated"), (EV, 1, "estimated")]
    assert (alerts(world)[1].figures, alerts(world)[1].evidence) == (
        (7, 100), (Proof("estimate", 10, 80, b"reading-10", 7),),
    )  # fmt: skip
    for _ in range(2):
        world.call(OWNER_1, "budget", "acknowledge", network="home-1", alert=1)
        assert [alert.acknowledged for alert in alerts(world)] == [0, 18_000]
        world.next_block(world.time + 60)
    assert topics(world, "alert-acknowledged") == [("alert-acknowledged", EV)]
    for number in (-1, 2, 2**63 - 1):
        assert world.refused(OWNER_1, "budget", "acknowledge", network="home-1", alert=number) == "unknown-alert"
    assert world.refused(OWNER_2, "budget", "acknowledge", network="home-1", alert=0) == "wrong-key"
    assert budget_alerts.ESTIMATED == "estimated"


def test_the_overview_of_devices() -> None:
    world = neighbourhood()
    fund(world, {EV: 1000, LOAD: 500})
    world.call(OWNER_1, "budget", "set_forecast", device=PV, period=0, amount=70)
    use(world, EV, 0, 150)
    use(world, EV, 1, 151)
    use(world, LOAD, 1, 10)
    rows = devices(world)
    assert (rows[EV]["expected"], rows[EV]["over"], rows[EV]["alerts"]) == (1505, 505, ("ahead",))
    assert (rows[LOAD]["expected"], rows[LOAD]["over"]) == (50, -450)
    assert (rows[PV]["expected"], rows[PV]["over"], rows[PV]["state"]) == (70, 70, "depleted")
    assert (rows[BATTERY]["expected"], rows[BATTERY]["over"]) == (0, 0)
    assert devices(world, period=3)[EV]["allocated"] == 0
    assert list(devices(world, first=3)) == [PV] and devices(world, first=99) == {}
    for bad in ({"period": -1}, {"period": 10_000}, {"first": -1}):
        with pytest.raises(Exception, match=r"unknown-period|bad-args"):
            devices(world, **bad)


def test_expected_is_whole_units_rounded_up() -> None:
    watch = budget_alerts.Watch(forecast=5, used=10, last_slot=12)
    assert expected_of(watch, 10, 20) == 34
    assert expected_of(watch._replace(last_slot=19), 10, 20) == 10
    assert expected_of(watch._replace(used=0, last_slot=-1), 10, 20) == 5


def test_who_paid_stays_bounded_and_exact() -> None:
    world = neighbourhood()
    with world.transaction() as ctx:
        for giver in range(40):
            budget_paid.note(ctx, EV, 0, f"home-1/d{giver}", 10 + giver)
        budget_paid.note(ctx, EV, 0, "home-1/d0", -10)
        budget_paid.note(ctx, EV, 0, "home-1/d39", -9)
        rows = budget_paid.paid_of(ctx, EV, 0)
    assert len(rows) == budget_paid.MAX_GIVERS + 1
    assert sum(row.amount for row in rows) == sum(range(10, 50)) - 19
    assert rows[-1] == (budget_paid.OTHERS, sum(range(42, 50)) - 9)
    givers = devices(world)[EV]["givers"]
    assert len(givers) == MAX_GIVERS and givers[0][0] == budget_paid.OTHERS


def test_the_largest_network_comes_in_pages_that_can_be_proven() -> None:
    """256 devices, all of them owing and helped by as many others as are told apart."""
    world = neighbourhood()
    names = list(DEVICES)
    for number in range(identity.MAX_DEVICES - len(DEVICES)):
        names.append(one_more(world, f"home-1/x{number}"))
    charge(world, dict.fromkeys(names, 7))
    with world.transaction() as ctx:
        for name in names:
            for giver in range(40):
                budget_paid.note(ctx, name, 0, f"home-1/x{giver}", 1)
    pages = [list(devices(world, first=first).values()) for first in (0, 64, 128, 192, 256)]
    assert [len(page) for page in pages] == [64, 64, 64, 64, 0]
    assert all(row["owed"] == 7 and row["givers"][0] == (budget_paid.OTHERS, 8) for page in pages for row in page)
    world.next_block()
    for first in (0, 192):
        assert world.proven_reads("overview", "devices", network="home-1", first=first) < 600


def test_what_the_end_of_a_period_takes_does_not_make_a_budget_smaller() -> None:
    world = marketplace(allocated=1_000)
    for slot in range(1, 60):
        world.next_block(slot * SLOT_S)
    found = world.query("budget", "network_budget", network="home-1", period=0)
    assert cast("tuple[Any, ...]", found)[0] == "closed"
    row = devices(world, period=0)["home-1/load"]
    assert (row["allocated"], row["withdrawn"], row["budget"], row["over"]) == (1_000, 1_000, 1_000, -1_000)
