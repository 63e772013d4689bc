"""Sales of tokens told as stories: offered, accepted, confirmed; refused; and standing ones at a period's close."""

from typing import Any, cast

import pytest

from chaincode import account_books, budget_policy, budget_state, network_classes, sales
from chaincode.budget_state import Owed
from chaincode.contract import MAX_AMOUNT
from chaincode.sales import MAX_OFFERS
from tests.chaincode.federation import ACME, agree, agreement, federation, issue, owner, plan, pool, sale
from tests.chaincode.neighbourhood import STRANGER, at_slot
from tests.chaincode.world import World


def market(price: int = 900, **different: Any) -> World:
    """a-1 has 1,000 in period 0, and may sell 100 of a period to b-1."""
    world = federation()
    agree(world, "a-1", "b-1", kind="sale", price=price, **different)
    issue(world, "a-1", 1000)
    return world


def offer(world: World, amount: int, period: int = 0) -> int:
    args = {"agreement": 1, "period": period, "amount": amount}
    return cast("int", world.call(owner("a-1"), "sales", "offer", **args))


def test_a_sale_from_offer_to_payment() -> None:
    world = market(price=905)
    number = offer(world, 30)
    assert (sale(world, number)["state"], pool(world, "a-1")) == ("offered", 1000), (
        "nothing moves before it is accepted"
    )
    buying = {"sale": number, "payment": b"bank 17"}
    for stranger in (STRANGER, owner("a-1"), owner("b-2"), ACME):
        assert world.refused(stranger, "sales", "accept", **buying) == "wrong-key"
    assert world.call(owner("b-1"), "sales", "accept", **buying) == 27, "30 x 905 / 1,000, rounded down"
    found = sale(world, number)
    assert (found["state"], found["due"], found["payment"], found["buyer_period"]) == ("sold", 27, b"bank 17", 0)
    assert (pool(world, "a-1"), pool(world, "b-1")) == (970, 30)
    with world.transaction() as ctx:
        seller, buyer = account_books.network_book(ctx, "a-1", 0), account_books.network_book(ctx, "b-1", 0)
    assert (seller.sold, seller.sent, buyer.received) == (30, 0, 30)
    assert agreement(world, 1)["used"] == 30
    assert world.refused(owner("b-1"), "sales", "confirm_payment", sale=number) == "wrong-key"
    world.call(owner("a-1"), "sales", "confirm_payment", sale=number)
    assert sale(world, number)["state"] == "paid"
    assert world.refused(owner("a-1"), "sales", "confirm_payment", sale=number) == "not-sold"
    told = [event.data for event in world.events if event.topic == "sale"]
    assert told == [(1, 1, state, 30, 27) for state in ("offered", "sold", "paid")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": 0}, "bad-amount"),
        ({"amount": -4}, "bad-amount"),
        ({"amount": 101}, "over-cap"),
        ({"amount": MAX_AMOUNT}, "over-cap"),
        ({"period": 1}, "insufficient-funds"),
        ({"period": -1}, "unknown-period"),
        ({"agreement": 2}, "wrong-kind"),
        ({"agreement": 3}, "unknown-agreement"),
    ],
)
def test_bad_offers(change: dict[str, Any], code: str) -> None:
    world = market()
    agree(world, "a-1", "b-1")
    good = {"agreement": 1, "period": 0, "amount": 10}
    assert world.refused(owner("a-1"), "sales", "offer", **good | change) == code
    assert world.refused(owner("b-1"), "sales", "offer", **good) == "wrong-key"
    world.call(owner("a-1"), "sales", "offer", **good)


def test_an_offer_is_answered_once() -> None:
    world = market()
    answers: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("withdraw", "a-1", {}),
        ("decline", "b-1", {}),
        ("accept", "b-1", {"payment": b"x"}),
    )
    for method, side, more in answers:
        number = offer(world, 5)
        other = "b-1" if side == "a-1" else "a-1"
        assert world.refused(owner(other), "sales", method, sale=number, **more) == "wrong-key"
        world.call(owner(side), "sales", method, sale=number, **more)
        for again, who, rest in answers:
            assert world.refused(owner(who), "sales", again, sale=number, **rest) == "not-offered"
    assert pool(world, "b-1") == 5
    states = [row[8] for row in cast("tuple[Any, ...]", world.query("sales", "sales", agreement=1))]
    assert states == ["withdrawn", "declined", "sold"]
    assert world.refused(owner("a-1"), "sales", "confirm_payment", sale=1) == "not-sold"
    assert world.refused(owner("b-1"), "sales", "accept", sale=9, payment=b"x") == "unknown-sale"
    for payment in (b"", bytes(65)):
        number = offer(world, 1)
        assert world.refused(owner("b-1"), "sales", "accept", sale=number, payment=payment) == "bad-reference"


def test_offers_reserve_nothing() -> None:
    world = market()
    first, second = offer(world, 60), offer(world, 60)
    world.call(owner("b-1"), "sales", "accept", sale=first, payment=b"x")
    assert world.refused(owner("b-1"), "sales", "accept", sale=second, payment=b"x") == "over-cap"
    third = offer(world, 40)
    world.call(owner("a-1"), "budget", "allocate", network="a-1", period=0, amounts=(("a-1/load", 901),))
    assert world.refused(owner("b-1"), "sales", "accept", sale=third, payment=b"x") == "insufficient-funds"
    assert sale(world, third)["state"] == "offered"


def test_offers_wait_in_bounded_number_and_lapse() -> None:
    world = market(end_slot=15)
    for _ in range(MAX_OFFERS):
        offer(world, 1)
    args = {"agreement": 1, "period": 0, "amount": 1}
    assert world.refused(owner("a-1"), "sales", "offer", **args) == "too-many"
    world.call(owner("a-1"), "sales", "withdraw", sale=3)
    offer(world, 1)
    at_slot(world, 10)
    assert sale(world, 1)["state"] == "lapsed", "its period is over"
    assert world.refused(owner("b-1"), "sales", "accept", sale=1, payment=b"x") == "period-closing"
    assert world.refused(owner("a-1"), "sales", "withdraw", sale=1) == "not-offered"
    issue(world, "a-1", 10, period=1)
    number = offer(world, 2, period=1)
    at_slot(world, 15)
    assert sale(world, number)["state"] == "lapsed", "so is the agreement"
    assert world.refused(owner("b-1"), "sales", "accept", sale=number, payment=b"x") == "not-in-force"


def test_an_ended_agreement_sells_nothing_further() -> None:
    world = market()
    first, second = offer(world, 5), offer(world, 6)
    world.call(owner("b-1"), "sales", "accept", sale=first, payment=b"x")
    world.call(owner("b-1"), "agreements", "end", agreement=1)
    assert world.refused(owner("b-1"), "sales", "accept", sale=second, payment=b"x") == "not-in-force"
    assert world.refused(owner("a-1"), "sales", "offer", agreement=1, period=0, amount=1) == "not-in-force"
    world.call(owner("a-1"), "sales", "confirm_payment", sale=first)
    assert pool(world, "b-1") == 5, "what was sold stays, and is still to be paid for"


def test_who_owes_may_not_sell_and_what_is_bought_pays_debts_first() -> None:
    world = market()
    number = offer(world, 10)
    with world.transaction() as ctx:
        budget_state.put_owed(ctx, "a-1", (Owed("a-1/load", 0, 5),))
        budget_state.put_owed(ctx, "b-1", (Owed("b-1/load", 0, 8),))
    assert world.refused(owner("b-1"), "sales", "accept", sale=number, payment=b"x") == "in-arrears"
    with world.transaction() as ctx:
        budget_state.put_owed(ctx, "a-1", ())
    world.call(owner("b-1"), "sales", "accept", sale=number, payment=b"x")
    assert (pool(world, "b-1"), world.query("accounts", "account", account="utility")) == (2, 8)


def standing(world: World, **policy: Any) -> None:
    """The policy of a-1 sells what is left under agreement 1."""
    with world.transaction() as ctx:
        found = budget_policy.policy_of(ctx, "a-1")
        ctx.put(b"bud-policy/a-1", tuple(found._replace(excess="sell", sale=1)._replace(**policy)))


def close(world: World, amount: int, period: int = 0) -> int:
    with world.transaction() as ctx:
        return sales.at_close(ctx, "a-1", period, amount)


def test_a_standing_sale_at_close() -> None:
    world = market(price=500)
    standing(world)
    at_slot(world, 12)
    assert close(world, 400) == 100, "at most the cap"
    assert close(world, 300) == 0, "and once only"
    found = sale(world, 1)
    assert (found["state"], found["amount"], found["due"], found["buyer_period"]) == ("standing", 100, 50, 1)
    assert (pool(world, "a-1"), pool(world, "b-1", 1), pool(world, "b-1")) == (900, 100, 0)
    assert world.refused(owner("a-1"), "sales", "accept", sale=1, payment=b"x") == "wrong-key"
    assert world.call(owner("b-1"), "sales", "accept", sale=1, payment=b"bill 3") == 50
    assert sale(world, 1)["payment"] == b"bill 3"
    world.call(owner("a-1"), "sales", "confirm_payment", sale=1)
    assert sale(world, 1)["state"] == "paid"
    issue(world, "a-1", 30, period=1)
    at_slot(world, 25)
    assert close(world, 20, period=1) == 20, "no more than is to be sold"


@pytest.mark.parametrize(
    ("different", "policy"),
    [
        ({"automatic": False}, {}),
        ({"end_slot": 12}, {}),
        ({"first_slot": 13}, {}),
        ({"same_class": True}, {}),
        ({}, {"sale": 0}),
        ({}, {"sale": 2}),
        ({}, {"sale": 3}),
        ({}, {"sale": 99}),
    ],
)
def test_no_standing_sale_that_the_buyer_has_not_agreed_to(different: dict[str, Any], policy: dict[str, int]) -> None:
    world = market(**different)
    agree(world, "b-1", "a-1", kind="sale", price=900)
    agree(world, "a-1", "b-1", kind="share")
    standing(world, **policy)
    at_slot(world, 12)
    assert (close(world, 400), pool(world, "a-1")) == (0, 1000)


def test_standing_sales_within_one_class() -> None:
    world = market(same_class=True)
    standing(world)
    with world.transaction() as ctx:
        network_classes.put_class(ctx, "a-1", "hvac")
        network_classes.put_class(ctx, "b-1", "hvac")
    at_slot(world, 12)
    assert close(world, 7) == 7


@pytest.mark.parametrize("planner", ["a-1", "b-1"])
def test_shorter_periods_of_either_side_sell_no_more(planner: str) -> None:
    """The cap is counted in the seller's period and in the buyer's."""
    world = market()
    standing(world)
    plan(world, planner, 20, 2)
    shorter = planner == "a-1"
    for period in (2, 3, 4) if shorter else (2,):
        issue(world, "a-1", 200, period)
    at_slot(world, 24 if shorter else 31)
    assert close(world, 200, period=2) == 100
    assert close(world, 200, period=3 if shorter else 2) == 0
    if shorter:
        assert world.query("agreements", "left", agreement=1, period=4) == (0, 0)
        sale_of = {"agreement": 1, "period": 4, "amount": 1}
        assert world.refused(owner("a-1"), "sales", "offer", **sale_of) == "over-cap", "by hand neither"
        at_slot(world, 30)
        assert close(world, 200, period=4) == 100, "the buyer's next period"


def test_an_empty_pool_sells_nothing() -> None:
    world = market()
    standing(world)
    at_slot(world, 12)
    assert close(world, 5, period=1) == 0
    assert close(world, 0) == 0
