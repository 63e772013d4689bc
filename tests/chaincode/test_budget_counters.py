"""Counters of what was lent and borrowed: bounded by hand, never an obstacle to settlement."""

import pytest

from chaincode import accounts, budget_share, budget_supply
from chaincode.contract import MAX_AMOUNT, ContractError
from tests.chaincode.budget_steps import BATTERY, EV, LOAD, book, charge, check_sum
from tests.chaincode.neighbourhood import OWNER_1, at_slot, fund, neighbourhood


def test_money_moved_in_circles_leaves_room_for_automatic_shares() -> None:
    world = neighbourhood()
    much = budget_supply.MAX_OUTSTANDING
    fund(world, {EV: much})
    here, there, rounds = EV, BATTERY, 0
    share = {"period": 0, "amount": much}
    while rounds < 100:
        try:
            world.call(OWNER_1, "budget", "share", giver=here, receiver=there, **share)
        except ContractError as error:
            assert error.code == "bad-amount"
            break
        here, there, rounds = there, here, rounds + 1
    assert rounds == 2 * budget_share.MAX_BY_HAND // much
    assert (book(world, EV)["lent"], book(world, EV)["borrowed"]) == (2**62, 2**62)
    at_slot(world, 9)
    world.call(
        OWNER_1, "budget", "set_policy", network="home-1", proceeds="pool", devices=((here, 1, 0, True, None, 0, 0),)
    )
    assert charge(world, {LOAD: 1000}) == (1000,)
    check_sum(world)


@pytest.mark.parametrize(("counter", "device"), [("lent", BATTERY), ("borrowed", LOAD)])
def test_a_counter_without_room_gives_or_takes_nothing(counter: str, device: str) -> None:
    world = neighbourhood()
    fund(world, {BATTERY: 1000})
    at_slot(world, 9)
    with world.transaction() as ctx:
        full = accounts.device_book(ctx, device, 0)._replace(**{counter: MAX_AMOUNT - 5})
        ctx.put(b"acc-device/" + device.encode() + b"\0" + bytes(4), tuple(full))
        donors = budget_share.spares(ctx, "home-1", 0, {LOAD: None})
    assert [donor[:2] for donor in donors] == ([(BATTERY, 5)] if counter == "lent" else [])
