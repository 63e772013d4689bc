"""Agreements told as stories: who may make, accept and end them, what their terms may be, and shares by hand."""

from typing import Any, cast

import pytest

from chaincode import account_books, budget_state, network_classes
from chaincode.agreements import MAX_AGREED, MAX_ASKED, MAX_CAP, MAX_PRICE
from chaincode.budget_state import Owed
from chaincode.contract import MAX_AMOUNT
from chaincode.identity_records import Network, add_network
from tests.chaincode.federation import (
    ACME,
    BOLT,
    agree,
    agreement,
    federation,
    issue,
    owner,
    plan,
    pool,
    terms,
)
from tests.chaincode.neighbourhood import ADMIN, STRANGER, UTILITY, at_slot
from tests.chaincode.world import World


def share(world: World, number: int, amount: int, period: int = 0) -> dict[str, Any]:
    return {"agreement": number, "amount": amount, "period": period}


def test_one_owner_proposes_and_the_other_accepts() -> None:
    world = federation()
    number = cast("int", world.call(owner("a-1"), "agreements", "propose", **terms("a-1", "b-1")))
    assert (number, agreement(world, number)["state"], agreement(world, number)["in_force"]) == (1, "proposed", False)
    for stranger in (STRANGER, owner("a-2"), owner("a-1"), ACME, BOLT, ADMIN, UTILITY):
        assert world.refused(stranger, "agreements", "accept", agreement=number) == "wrong-key"
    world.call(owner("b-1"), "agreements", "accept", agreement=number)
    found = agreement(world, number)
    assert (found["state"], found["in_force"], found["proposer"], found["used"]) == ("open", True, "a-1", 0)
    assert world.refused(owner("b-1"), "agreements", "accept", agreement=number) == "not-proposed"
    told = [event.data for event in world.events if event.topic == "agreement"]
    assert told == [(1, "share", "proposed"), (1, "share", "open")]


def test_who_takes_may_propose_too() -> None:
    world = federation()
    number = cast("int", world.call(owner("b-1"), "agreements", "propose", **terms("a-1", "b-1")))
    assert world.refused(owner("b-1"), "agreements", "accept", agreement=number) == "wrong-key"
    world.call(owner("a-1"), "agreements", "accept", agreement=number)
    assert agreement(world, number)["in_force"]


def test_within_one_company_the_member_alone_decides() -> None:
    world = federation()
    number = cast("int", world.call(ACME, "agreements", "propose", **terms("a-1", "a-2")))
    assert agreement(world, number)["state"] == "open"
    assert world.refused(ACME, "agreements", "propose", **terms("a-1", "b-1")) == "wrong-key"
    assert world.refused(BOLT, "agreements", "end", agreement=number) == "wrong-key"
    world.call(ACME, "agreements", "end", agreement=number)
    again = cast("int", world.call(owner("a-1"), "agreements", "propose", **terms("a-1", "a-2")))
    assert agreement(world, again)["state"] == "proposed", "an owner needs the other owner, or the member"
    world.call(ACME, "agreements", "accept", agreement=again)
    assert agreement(world, again)["in_force"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"taker": "a-1"}, "with-itself"),
        ({"taker": "c-1"}, "unknown-network"),
        ({"kind": "gift"}, "bad-agreement"),
        ({"cap": 0}, "bad-agreement"),
        ({"cap": -1}, "bad-agreement"),
        ({"cap": MAX_CAP + 1}, "bad-agreement"),
        ({"cap": 2**64}, "bad-args"),
        ({"rank": -1}, "bad-agreement"),
        ({"rank": 1_001}, "bad-agreement"),
        ({"price": 1}, "bad-agreement"),
        ({"kind": "sale"}, "bad-agreement"),
        ({"kind": "sale", "price": MAX_PRICE + 1}, "bad-agreement"),
        ({"first_slot": -1}, "bad-agreement"),
        ({"first_slot": 2**60}, "bad-agreement"),
        ({"end_slot": 2**60}, "bad-agreement"),
        ({"end_slot": -1}, "bad-agreement"),
        ({"end_slot": 5}, "bad-agreement"),
        ({"first_slot": 9, "end_slot": 9}, "bad-agreement"),
    ],
)
def test_terms_that_cannot_be(change: dict[str, Any], code: str) -> None:
    world = federation()
    at_slot(world, 5)
    assert world.refused(owner("a-1"), "agreements", "propose", **terms("a-1", "b-1") | change) == code
    world.call(owner("a-1"), "agreements", "propose", **terms("a-1", "b-1", end_slot=6))


def test_what_is_proposed_is_declined_or_taken_back() -> None:
    world = federation()
    for method, sender, state in (("decline", "b-1", "declined"), ("withdraw", "a-1", "withdrawn")):
        number = cast("int", world.call(owner("a-1"), "agreements", "propose", **terms("a-1", "b-1")))
        other = "a-1" if sender == "b-1" else "b-1"
        assert world.refused(owner(other), "agreements", method, agreement=number) == "wrong-key"
        world.call(owner(sender), "agreements", method, agreement=number)
        assert agreement(world, number)["state"] == state
        assert world.refused(owner("b-1"), "agreements", "accept", agreement=number) == "not-proposed"
        assert world.refused(owner("b-1"), "agreements", "end", agreement=number) == "not-in-force"
    assert world.refused(owner("a-1"), "agreements", "accept", agreement=9) == "unknown-agreement"
    assert world.refused(owner("a-1"), "agreements", "accept", agreement=-1) == "unknown-agreement"


def test_one_for_each_pair_direction_and_kind() -> None:
    world = federation()
    first = agree(world, "a-1", "b-1")
    assert world.refused(owner("b-1"), "agreements", "propose", **terms("a-1", "b-1")) == "duplicate-agreement"
    agree(world, "b-1", "a-1")
    agree(world, "a-1", "b-1", kind="sale", price=900)
    agree(world, "a-1", "b-2")
    world.call(owner("b-1"), "agreements", "end", agreement=first)
    assert agree(world, "a-1", "b-1") == 5


def test_what_has_lapsed_makes_room() -> None:
    world = federation()
    first = agree(world, "a-1", "b-1", first_slot=2, end_slot=4)
    assert not agreement(world, first)["in_force"], "it has not begun"
    at_slot(world, 3)
    assert agreement(world, first)["in_force"]
    assert world.refused(owner("a-1"), "agreements", "propose", **terms("a-1", "b-1")) == "duplicate-agreement"
    at_slot(world, 4)
    assert (agreement(world, first)["state"], agreement(world, first)["in_force"]) == ("lapsed", False)
    waiting = cast("int", world.call(owner("a-1"), "agreements", "propose", **terms("a-1", "b-1", end_slot=6)))
    assert world.refused(owner("a-1"), "agreements", "end", agreement=first) == "not-in-force"
    at_slot(world, 6)
    for method, sender in (("accept", "b-1"), ("decline", "b-1"), ("withdraw", "a-1")):
        assert world.refused(owner(sender), "agreements", method, agreement=waiting) == "not-proposed"
    assert agreement(world, agree(world, "a-1", "b-1"))["in_force"]


def test_a_network_asks_only_so_often_at_a_time() -> None:
    world = federation()
    for _ in range(MAX_ASKED):
        other = federation_of_strangers(world)
        world.call(owner("a-1"), "agreements", "propose", **terms("a-1", other))
    assert world.refused(owner("a-1"), "agreements", "propose", **terms("a-1", "b-1")) == "too-many"
    world.call(owner("a-1"), "agreements", "withdraw", agreement=1)
    world.call(owner("a-1"), "agreements", "propose", **terms("a-1", "b-1"))
    assert agree(world, "b-2", "a-1") == MAX_ASKED + 2, "what it asks takes no room from what others ask"
    for method, number, taker in (("decline", MAX_ASKED + 1, "b-1"), ("accept", 2, agreement(world, 2)["taker"])):
        world.call(owner(taker), "agreements", method, agreement=number)
        world.call(owner("a-1"), "agreements", "propose", **terms("a-1", federation_of_strangers(world)))


def test_a_network_agrees_on_so_much() -> None:
    world = federation()
    for _ in range(MAX_AGREED):
        agree(world, federation_of_strangers(world), "a-1")
    number = world.call(owner("b-1"), "agreements", "propose", **terms("b-1", "a-1"))
    assert world.refused(owner("a-1"), "agreements", "accept", agreement=number) == "too-many"
    world.call(owner("a-1"), "agreements", "end", agreement=3)
    world.call(owner("a-1"), "agreements", "accept", agreement=number)
    agree(world, "a-1", "b-1")
    listed = cast("tuple[Any, ...]", world.query("agreements", "agreements"))
    assert [row[0] for row in listed] == list(range(1, MAX_AGREED + 3))
    later = cast("tuple[Any, ...]", world.query("agreements", "of_network", network="b-1", after=MAX_AGREED + 1))
    assert [row[0] for row in later] == [MAX_AGREED + 2]


def test_what_has_lapsed_takes_no_room() -> None:
    world = federation()
    for _ in range(MAX_AGREED):
        agree(world, federation_of_strangers(world), "a-1", end_slot=3)
    at_slot(world, 3)
    assert agreement(world, agree(world, "b-1", "a-1"))["in_force"]


def federation_of_strangers(world: World) -> str:
    """One more network of acme; its name."""
    count = len(cast("tuple[str, ...]", world.query("identity", "networks")))
    name = f"c-{count}"
    with world.transaction() as ctx:
        add_network(ctx, Network(name, "acme", owner(name), "b1", 0))
    return name


def test_shares_by_hand_are_capped_and_recorded() -> None:
    world = federation()
    number = agree(world, "a-1", "b-1", cap=100, automatic=False)
    issue(world, "a-1", 150)
    assert world.refused(owner("b-1"), "agreements", "share", **share(world, number, 10)) == "wrong-key"
    assert world.call(owner("a-1"), "agreements", "share", **share(world, number, 60)) == 0
    assert (pool(world, "a-1"), pool(world, "b-1")) == (90, 60)
    assert world.refused(owner("a-1"), "agreements", "share", **share(world, number, 41)) == "over-cap"
    assert world.query("agreements", "left", agreement=number, period=0) == (60, 40)
    world.call(owner("a-1"), "agreements", "share", **share(world, number, 40))
    assert world.refused(owner("a-1"), "agreements", "share", **share(world, number, 1)) == "over-cap"
    rows = cast("tuple[Any, ...]", world.query("agreements", "movements", agreement=number))
    assert [row[:10] for row in rows] == [
        ("a-1", 0, "b-1", 0, "", amount, 0, "by-hand", "agreement 1", b"") for amount in (60, 40)
    ]
    shares = cast("tuple[Any, ...]", world.query("budget", "shares", network="b-1", period=0))
    assert [(row[0], row[1], row[2]) for row in shares] == [("@a-1", "", 60), ("@a-1", "", 40)]
    issue(world, "a-1", 30, period=1)
    assert world.call(owner("a-1"), "agreements", "share", **share(world, number, 30, period=1)) == 1
    assert pool(world, "b-1", 1) == 30, "the cap is a period's"


def test_what_is_meant_for_later_does_not_come_earlier_through_another_calendar() -> None:
    """Through a neighbour with longer periods a network could else have in one what it was issued for several."""
    world = federation()
    number = agree(world, "a-1", "b-1", cap=1_000)
    back = agree(world, "b-1", "a-1", cap=1_000)
    plan(world, "b-1", 10, 40)  # period 1: slots 10 to 49
    for period in (1, 2, 3):
        issue(world, "a-1", 100, period)
    assert world.call(owner("a-1"), "agreements", "share", **share(world, number, 100, period=1)) == 1
    assert world.call(owner("a-1"), "agreements", "share", **share(world, number, 100, period=2)) == 2, "slot 50 on"
    assert world.call(owner("b-1"), "agreements", "share", **share(world, back, 100, period=2)) == 5
    at_slot(world, 15)
    assert world.call(owner("a-1"), "agreements", "share", **share(world, number, 100, period=3)) == 2
    at_slot(world, 35)
    issue(world, "a-1", 100, 3)
    assert world.call(owner("a-1"), "agreements", "share", **share(world, number, 100, period=3)) == 1, "both run"


def test_shorter_periods_of_the_giver_give_no_more_to_one_of_the_taker() -> None:
    world = federation()
    number = agree(world, "a-1", "b-1", cap=100)
    plan(world, "a-1", 10, 2)
    for period in (1, 2, 6):
        issue(world, "a-1", 100, period)
    at_slot(world, 10)
    assert world.call(owner("a-1"), "agreements", "share", **share(world, number, 70, period=1)) == 1
    at_slot(world, 12)
    assert world.refused(owner("a-1"), "agreements", "share", **share(world, number, 31, period=2)) == "over-cap"
    assert world.call(owner("a-1"), "agreements", "share", **share(world, number, 30, period=2)) == 1
    assert world.call(owner("a-1"), "agreements", "share", **share(world, number, 100, period=6)) == 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": 0}, "bad-amount"),
        ({"amount": -1}, "bad-amount"),
        ({"amount": MAX_AMOUNT}, "over-cap"),
        ({"amount": 2**64}, "bad-args"),
        ({"amount": 60}, "insufficient-funds"),
        ({"period": -1}, "unknown-period"),
        ({"period": budget_state.PERIODS_AHEAD + 8}, "unknown-period"),
        ({"period": 6}, "period-closing"),
        ({"agreement": 2}, "unknown-agreement"),
    ],
)
def test_bad_shares(change: dict[str, Any], code: str) -> None:
    world = federation()
    at_slot(world, 70)
    number = agree(world, "a-1", "b-1", cap=100)
    issue(world, "a-1", 50, period=7)
    good = {"agreement": number, "period": 7, "amount": 10}
    assert world.refused(owner("a-1"), "agreements", "share", **good | change) == code
    world.call(owner("a-1"), "agreements", "share", **good)


def test_nothing_is_given_under_what_is_not_in_force() -> None:
    world = federation()
    issue(world, "a-1", 100)
    number = cast("int", world.call(owner("a-1"), "agreements", "propose", **terms("a-1", "b-1", first_slot=2)))
    assert world.refused(owner("a-1"), "agreements", "share", **share(world, number, 1)) == "not-in-force"
    world.call(owner("b-1"), "agreements", "accept", agreement=number)
    assert world.refused(owner("a-1"), "agreements", "share", **share(world, number, 1)) == "not-in-force"
    at_slot(world, 2)
    world.call(owner("a-1"), "agreements", "share", **share(world, number, 30))
    world.call(owner("b-1"), "agreements", "end", agreement=number)
    assert world.refused(owner("a-1"), "agreements", "share", **share(world, number, 1)) == "not-in-force"
    assert pool(world, "b-1") == 30, "what was given stays"
    selling = agree(world, "a-1", "b-1", kind="sale", price=1000)
    assert world.refused(owner("a-1"), "agreements", "share", **share(world, selling, 1)) == "wrong-kind"


def test_a_path_of_agreements_is_no_agreement() -> None:
    world = federation()
    issue(world, "a-1", 100)
    agree(world, "a-1", "a-2")
    agree(world, "a-2", "b-1")
    for number in (1, 2):
        rows = cast("tuple[Any, ...]", world.query("agreements", "of_network", network="b-1"))
        assert [row[1] for row in rows] == ["a-2"]
        code = world.refused(owner("a-1"), "agreements", "share", **share(world, number, 10) | {"agreement": 2})
        assert code == "wrong-key"
    assert world.refused(owner("a-2"), "agreements", "share", **share(world, 2, 10)) == "insufficient-funds"


def test_same_class_only() -> None:
    world = federation()
    issue(world, "a-1", 100)
    number = agree(world, "a-1", "b-1", same_class=True)
    assert not agreement(world, number)["in_force"], "nobody has classified them"
    for one, other, fits in (("hvac", "", False), ("hvac", "light", False), ("hvac", "hvac", True)):
        with world.transaction() as ctx:
            network_classes.put_class(ctx, "a-1", one)
            network_classes.put_class(ctx, "b-1", other)
        assert agreement(world, number)["in_force"] is fits
        if fits:
            world.call(owner("a-1"), "agreements", "share", **share(world, number, 10))
        else:
            assert world.refused(owner("a-1"), "agreements", "share", **share(world, number, 10)) == "other-class"


def test_who_owes_the_utility_gives_nothing_and_what_comes_pays_it_first() -> None:
    world = federation()
    number = agree(world, "a-1", "b-1", cap=100)
    issue(world, "a-1", 100)
    with world.transaction() as ctx:
        budget_state.put_owed(ctx, "a-1", (Owed("a-1/load", 0, 5),))
    assert world.refused(owner("a-1"), "agreements", "share", **share(world, number, 10)) == "in-arrears"
    with world.transaction() as ctx:
        budget_state.put_owed(ctx, "a-1", ())
        budget_state.put_owed(ctx, "b-1", (Owed("b-1/load", 0, 8),))
    world.call(owner("a-1"), "agreements", "share", **share(world, number, 10))
    assert (pool(world, "b-1"), world.query("accounts", "account", account="utility")) == (2, 8)


@pytest.mark.parametrize(("network", "counter"), [("a-1", "sent"), ("a-1", "sold"), ("b-1", "received")])
def test_shares_by_hand_leave_room_in_the_books(network: str, counter: str) -> None:
    world = federation()
    agree(world, "a-1", "b-1", cap=MAX_CAP, automatic=False)
    issue(world, "a-1", 100)
    with world.transaction() as ctx:
        book = account_books.network_book(ctx, network, 0)
        account_books.put_pool(ctx, "pool", network, 0, book._replace(**{counter: 2**62 - 10}))
    assert world.refused(owner("a-1"), "agreements", "share", **share(world, 1, 11)) == "bad-amount"
    world.call(owner("a-1"), "agreements", "share", **share(world, 1, 10))
