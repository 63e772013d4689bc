"""Agreements on the whole exchange: orders that others pay for, filled and cancelled; calendars that differ."""

from typing import Any, cast

from chaincode import accounts, budget_audit, budget_outside
from tests.chaincode.federation import terms
from tests.chaincode.marketplace import (
    PERIOD_SLOTS,
    SLOT_S,
    UTILITY,
    audit,
    balance,
    key_of,
    marketplace,
    order,
    state_of,
    tick,
)
from tests.chaincode.world import World

HOMES = ("home-1", "home-2", "home-3")
FUND = 1_000_000


def street(**market: Any) -> World:
    """Nobody has anything but home-1, in its pool."""
    world = marketplace(allocated=0, **market)
    issue(world, "home-1", 0)
    return world


def issue(world: World, home: str, period: int) -> None:
    args = {"network": home, "period": period, "amount": FUND, "reference": b"%d" % period}
    world.call(UTILITY, "budget", "issue", **args)


def agree(world: World, giver: str, taker: str, **different: Any) -> int:
    """Both homes are the club's, so it decides alone; its number."""
    call = terms(giver, taker, cap=FUND, **different)
    return cast("int", world.call(key_of("club"), "agreements", "propose", **call))


def used(world: World, number: int, period: int = 0) -> int:
    return cast("tuple[int, int]", world.query("agreements", "left", agreement=number, period=period))[0]


def check(world: World) -> None:
    audit(world)
    with world.transaction() as ctx:
        for home in HOMES:
            for period in range(6):
                assert budget_audit.totals_of(ctx, home, period).balance()
        books = [accounts.network_book(ctx, home, period) for home in HOMES for period in range(6)]
    assert sum(book.sent + book.sold for book in books) == sum(book.received for book in books)


def test_orders_of_one_home_that_another_pays_for() -> None:
    world = street()
    number = agree(world, "home-1", "home-2")
    dear = order(world, "home-2/load", "buy", wh=400, price=80)
    cheap = order(world, "home-2/load", "buy", wh=600, price=40)
    world.next_block(world.time + 1)
    assert (balance(world, "pool:home-1:0"), used(world, number)) == (FUND - 56_000, 56_000)
    order(world, "home-3/pv", "sell", wh=400, price=30)
    tick(world)
    tick(world)
    assert (state_of(world, dear), state_of(world, cheap)) == ("FILLED", "ACCEPTED")
    with world.transaction() as ctx:
        spent = accounts.device_book(ctx, "home-2/load", 0).spent
    assert 0 < spent < 400 * 80, "it was cheaper than its limit"
    assert balance(world, "pool:home-1:0") == FUND - spent - 24_000, "the difference has gone back"
    check(world)
    world.call(key_of("home-2"), "agreements", "end", agreement=number)
    world.call(key_of("home-2/load"), "market", "cancel", order=cheap)
    world.next_block(world.time + 1)
    with world.transaction() as ctx:
        book = accounts.device_book(ctx, "home-2/load", 0)
    assert (book.available, book.reserved, book.spent, book.allocated) == (0, 0, spent, spent)
    assert (balance(world, "pool:home-1:0"), used(world, number)) == (FUND - spent, spent)
    check(world)
    again = order(world, "home-2/load", "buy", wh=1_000, price=80)
    world.next_block(world.time + 1)
    assert state_of(world, again) == "REJECTED", "nothing further is given"


def test_calendars_that_differ_share_by_hand_alone() -> None:
    world = street()
    first = 4 * PERIOD_SLOTS
    world.call(key_of("home-2"), "periods", "plan", network="home-2", first_slot=first, lengths=(2 * PERIOD_SLOTS,))
    there, back = agree(world, "home-1", "home-2"), agree(world, "home-2", "home-1")
    for period in (0, 3, 4, 5):
        issue(world, "home-3", period)
        if period:
            issue(world, "home-1", period)
    agree(world, "home-3", "home-2")
    with world.transaction() as ctx:
        for period, helping in ((3, ["home-1", "home-3"]), (4, []), (5, [])):
            found = budget_outside.helpers(ctx, "home-2", period, ("home-2/load",))
            assert [helper.network for helper in found] == helping, "period 4 has twice as many slots here"
        assert [helper.network for helper in budget_outside.helpers(ctx, "home-2", 0, ())] == ["home-1", "home-3"]
    share = {"agreement": there, "amount": 100}
    for period, into in ((3, 3), (4, 4), (5, 5)):
        assert world.call(key_of("home-1"), "agreements", "share", period=period, **share) == into
    assert used(world, there, 5) == 100, "the cap is counted in the giver's periods"
    assert world.call(key_of("home-2"), "agreements", "share", agreement=back, period=4, amount=50) == 4
    world.next_block((5 * PERIOD_SLOTS + 3) * SLOT_S)
    assert world.call(key_of("home-1"), "agreements", "share", period=5, **share) == 4, "it has begun"
    assert world.call(key_of("home-2"), "agreements", "share", agreement=back, period=4, amount=10) == 5
    check(world)
