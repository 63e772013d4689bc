"""Cases of budgets' lives that went wrong once, as small as they can be."""

from chaincode import accounts, budget
from tests.chaincode.budget_town import PERIOD_SLOTS, BudgetTown
from tests.chaincode.marketplace import SLOT_S, key_of


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
