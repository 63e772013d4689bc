"""Periods of networks and companies with calendars of their own are closed at their own ends."""

from typing import Any, cast

from chaincode import accounts
from tests.chaincode.marketplace import PERIOD_SLOTS, SLOT_S, UTILITY, balance, key_of, marketplace
from tests.chaincode.test_period_close import HOMES, OVER_S, book, check, closed, go_to, issue


def test_networks_with_calendars_of_their_own_close_by_them() -> None:
    """A day, two days and the consortium's: each is closed at its own end, and found without looking for it."""
    world = marketplace(allocated=0)
    args = {"first_slot": 2 * PERIOD_SLOTS, "lengths": (2 * PERIOD_SLOTS,)}
    world.call(key_of("home-2"), "periods", "plan", network="home-2", **args)
    for home in HOMES:
        for period in range(4):
            issue_at = {"network": home, "period": period, "amount": 100, "reference": b"%d" % period}
            world.call(UTILITY, "budget", "issue", **issue_at)
    done: list[list[Any]] = []
    before = 0
    for day in range(6):
        go_to(world, OVER_S + day * PERIOD_SLOTS * SLOT_S)
        done.append(closed(world)[before:])
        before = len(closed(world))
    of = {home: [[row[2] for row in rows if row[0] == home] for rows in done] for home in HOMES}
    assert of["home-1"] == [[0], [1], [2], [3], [4], [5]]
    assert of["home-2"] == [[0], [1], [], [2], [], [3]]
    assert book(world, 4, "home-2").carried_in == 400 and book(world, 6, "home-1").carried_in == 400
    check(world, 7)


def test_a_companys_networks_close_by_its_calendar_and_so_does_what_it_holds() -> None:
    world = marketplace(allocated=0)
    args = {"member": "club", "first_slot": 2 * PERIOD_SLOTS, "lengths": (3 * PERIOD_SLOTS,)}
    world.call(key_of("club"), "periods", "plan_company", **args)
    for period in range(3):
        money = {"member": "club", "period": period, "amount": 1_000, "reference": b"%d" % period}
        world.call(UTILITY, "supply", "issue_company", **money)
        issue(world, period, 100, "home-3")
        world.next_block(world.time + 1)
    ends = [OVER_S, OVER_S + PERIOD_SLOTS * SLOT_S, OVER_S + 4 * PERIOD_SLOTS * SLOT_S]
    for period, end in enumerate(ends):
        go_to(world, end)
        assert closed(world)[2 * period :] == [("club", "company", period), ("home-3", "pool", period)]
    with world.transaction() as ctx:
        assert accounts.company_book(ctx, "club", 3).pool == 3_000
    assert balance(world, "pool:home-3:3") == 300
    assert world.query("companies", "period", member="club", slot=0) == (0, 0, PERIOD_SLOTS, "closed")
    found = cast("Any", world.query("periods", "company_period", member="club", period=2))
    assert (found[0], found[1], found[6][:6]) == ("closed", 2 * PERIOD_SLOTS, ("closed", 0, 0, 0, 3_000, 0))
    check(world)
