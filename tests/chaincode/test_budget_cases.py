"""Cases of budgets' lives that went wrong once, as small as they can be."""

from chaincode import accounts, budget
from tests.chaincode.budget_town import PERIOD_SLOTS, BudgetTown
from tests.chaincode.marketplace import SLOT_S, TICK_S, UTILITY, key_of, order, state_of


def credit(world: BudgetTown, device: str, period: int, amount: int) -> None:
    """Pay a device for energy, out of an escrow that others have filled."""
    with world.transaction() as ctx:
        accounts.mint(ctx, "escrow:1", amount, "test", b"")
        budget.credit(ctx, device, period, amount, "escrow:1", "sale", b"run")


def test_what_devices_earn_where_nothing_was_issued_does_not_stay_in_a_closed_period() -> None:
    """The device's money is its network's: it goes on into the next period like any other."""
    world = BudgetTown(1)
    world.call(key_of("air"), "budget", "set_policy", network="air", proceeds="device")
    credit(world, "air/pv", 0, 700)
    world.go_to((PERIOD_SLOTS + 3) * SLOT_S)
    world.audit()
    assert world.auditor.book(("device", "air/pv", 0))["available"] == 0
    assert world.auditor.book(("pool", "air", 1))["carried_in"] == 700


def test_a_device_that_was_granted_tokens_does_not_give_in_the_same_slot() -> None:
    """Who has received gives nothing before the next slot, from whomever it has received: else help goes round."""
    world = BudgetTown(1)
    terms = {"kind": "share", "cap": 10**6, "automatic": False, "same_class": False, "rank": 1, "price": 0}
    sides = {"giver": "oven", "taker": "cold", "first_slot": 0, "end_slot": 0}
    number = world.call(key_of("oven"), "agreements", "propose", **sides, **terms)
    world.call(key_of("cold"), "agreements", "accept", agreement=number)
    world.call(UTILITY, "budget", "issue", network="oven", period=0, amount=300_000, reference=b"1")
    world.go_to(3 * SLOT_S)
    asked = {"device": "cold/load-1", "giver": "@oven", "agreement": number, "period": 0, "amount": 300_000}
    request = world.call(key_of("cold/load-1"), "requests", "ask", **asked)
    world.call(key_of("oven"), "requests", "grant", request=request, amount=300_000)
    short = order(world, "cold/load-2", "buy", slot=3, wh=500, price=90)
    world.next_block(world.time + TICK_S)
    assert state_of(world, short) == "REJECTED"
    world.go_to(4 * SLOT_S)
    assert world.auditor.book(("device", "cold/load-1", 0))["lent"] == 0
    world.audit()
