"""Automatic help from other networks: who is asked, for how much, what goes back, and what is never done."""

from typing import Any, cast

import pytest

from chaincode import (
    account_books,
    accounts,
    budget,
    budget_calendar,
    budget_outside,
    budget_policy,
    budget_state,
    network_classes,
)
from chaincode.budget_outside import Helper
from chaincode.budget_state import Owed
from chaincode.contract import MAX_AMOUNT
from tests.chaincode.budget_steps import check_sum, hold, resolve
from tests.chaincode.federation import agree, agreement, federation, issue, owner, pool
from tests.chaincode.neighbourhood import at_slot
from tests.chaincode.world import World

LOAD = "b-1/load"


def helpers(world: World, period: int = 0, without: tuple[str, ...] = ()) -> list[tuple[str, int]]:
    """Who can help b-1, and with how much."""
    with world.transaction() as ctx:
        found = budget_outside.helpers(ctx, "b-1", period, (LOAD,), without)
    return [(helper.network, helper.amount) for helper in found]


def floor(world: World, network: str, amount: int) -> None:
    with world.transaction() as ctx:
        policy = budget_policy.policy_of(ctx, network)
        ctx.put(b"bud-policy/" + network.encode(), tuple(policy._replace(pool_floor=amount)))


def test_nobody_helps_whom_nobody_has_an_agreement_with() -> None:
    world = federation()
    for network in ("a-1", "a-2"):
        issue(world, network, 100)
    assert helpers(world) == []
    agree(world, "b-1", "a-1")
    agree(world, "a-1", "b-1", automatic=False)
    agree(world, "a-2", "b-1", kind="sale", price=1000)
    assert helpers(world) == [], "the other way round, by hand only, and for money"


def test_in_order_of_rank_each_down_to_its_floor_and_up_to_its_cap() -> None:
    world = federation()
    for network, amount, rank, cap in (("a-1", 90, 2, 50), ("a-2", 70, 1, 500), ("b-2", 40, 1, 500)):
        issue(world, network, amount)
        agree(world, network, "b-1", rank=rank, cap=cap)
    assert helpers(world) == [("a-2", 70), ("b-2", 40), ("a-1", 50)], "rank, then number"
    floor(world, "a-2", 30)
    floor(world, "b-2", 40)
    assert helpers(world) == [("a-2", 40), ("a-1", 50)]
    assert helpers(world, without=("a-1",)) == [("a-2", 40)], "who needs help itself is not asked"
    assert helpers(world, period=1) == [], "their money of that period"


def test_an_order_is_helped_and_what_is_not_spent_goes_back() -> None:
    world = federation()
    issue(world, "a-1", 100)
    agree(world, "a-1", "b-1", cap=80)
    assert not hold(world, LOAD, b"order", 60)
    assert resolve(world) == {b"order": True}
    assert (pool(world, "a-1"), pool(world, "b-1"), agreement(world, 1)["used"]) == (40, 0, 60)
    row = cast("tuple[Any, ...]", world.query("agreements", "movements", agreement=1))[0]
    assert row[:10] == ("a-1", 0, "b-1", 0, LOAD, 60, 0, "order", "agreement 1", b"order")
    assert helpers(world) == [("a-1", 20)], "what is left of the cap"
    with world.transaction() as ctx:
        budget.post(ctx, b"order", 15, "escrow:1", "trade")
        budget.release(ctx, b"order", 20)
    assert (pool(world, "a-1"), agreement(world, 1)["used"]) == (60, 40)
    world.call(owner("b-1"), "agreements", "end", agreement=1)
    with world.transaction() as ctx:
        budget.release(ctx, b"order", None)
    assert (pool(world, "a-1"), agreement(world, 1)["used"], helpers(world)) == (85, 15, [])
    row = cast("tuple[Any, ...]", world.query("agreements", "movements", agreement=1))[0]
    assert row[5:7] == (60, 45), "what is unspent goes back although the agreement has ended"
    with world.transaction() as ctx:
        gave, got = account_books.network_book(ctx, "a-1", 0), account_books.network_book(ctx, "b-1", 0)
        book = account_books.device_book(ctx, LOAD, 0)
    assert (gave.sent, got.received, got.allocated) == (15, 15, 15)
    assert (book.allocated, book.spent, book.available, book.reserved) == (15, 15, 0, 0)
    check_sum(world)


@pytest.mark.parametrize("helps", [False, True])
@pytest.mark.parametrize("kept", [0, 1, 40])
def test_the_own_pool_pays_all_it_has_before_others_are_asked(helps: bool, kept: int) -> None:
    """Whatever the policy: others do not pay for what a pool saves; and a rest in it does not keep them away."""
    world = federation()
    issue(world, "a-1", 100)
    issue(world, "b-1", 30)
    with world.transaction() as ctx:
        policy = budget_policy.policy_of(ctx, "b-1")._replace(pool_helps=helps, pool_floor=kept)
        ctx.put(b"bud-policy/b-1", tuple(policy))
    assert not hold(world, LOAD, b"alone", 30)
    assert resolve(world) == {b"alone": helps and not kept}, "nobody could help: the policy holds"
    with world.transaction() as ctx:
        budget.release(ctx, b"alone", None)
    agree(world, "a-1", "b-1")
    assert not hold(world, LOAD, b"first", 20)
    assert resolve(world) == {b"first": True}
    assert (pool(world, "b-1"), pool(world, "a-1")) == (10, 100)
    assert not hold(world, LOAD, b"second", 110)
    assert resolve(world) == {b"second": True}
    assert (pool(world, "b-1"), pool(world, "a-1")) == (0, 0)
    with world.transaction() as ctx:
        for order in (b"second", b"first"):
            budget.release(ctx, order, None)
    assert (pool(world, "b-1"), pool(world, "a-1")) == (30, 100)


@pytest.mark.parametrize("helps", [False, True])
def test_an_order_of_who_owes_is_not_helped_and_a_charge_is(helps: bool) -> None:
    world = federation()
    issue(world, "a-1", 100)
    agree(world, "a-1", "b-1")
    with world.transaction() as ctx:
        ctx.put(b"bud-policy/b-1", tuple(budget_policy.policy_of(ctx, "b-1")._replace(pool_helps=helps)))
        budget_state.put_owed(ctx, "b-1", (Owed("b-1/ev", 0, 5),))
    assert not hold(world, LOAD, b"order", 60)
    assert resolve(world) == {b"order": False}
    with world.transaction() as ctx:
        assert budget.charge(ctx, LOAD, 0, 20, "utility", "retail", b"run") == 20
    issue(world, "b-1", 5)
    assert not hold(world, LOAD, b"again", 60)
    assert (resolve(world), pool(world, "a-1")) == ({b"again": True}, 20)


def test_a_charge_is_helped_before_anything_is_owed() -> None:
    world = federation()
    issue(world, "a-1", 100)
    agree(world, "a-1", "b-1", cap=30)
    with world.transaction() as ctx:
        assert budget.charge(ctx, LOAD, 0, 50, "utility", "retail", b"run") == 30
        assert budget_state.owed_of(ctx, "b-1")[0] == 20
    row = cast("tuple[Any, ...]", world.query("agreements", "movements", agreement=1))[0]
    assert (row[4:6], row[7], row[9]) == ((LOAD, 30), "retail", b"run")
    assert (pool(world, "a-1"), helpers(world)) == (70, [])
    check_sum(world)


def test_who_was_helped_in_this_slot_does_not_give_in_it() -> None:
    world = federation()
    issue(world, "a-1", 100)
    issue(world, "b-1", 100)
    agree(world, "a-1", "a-2")
    agree(world, "a-2", "b-1")
    issue(world, "a-2", 10)
    with world.transaction() as ctx:
        budget.charge(ctx, "a-2/load", 0, 20, "utility", "retail", b"run")
    issue(world, "a-2", 10)
    assert helpers(world) == [], "a path is no agreement"
    at_slot(world, 1)
    assert helpers(world) == [("a-2", 10)]


def test_a_path_of_agreements_brings_nothing_from_its_far_end() -> None:
    world = federation()
    issue(world, "a-1", 100)
    agree(world, "a-1", "a-2")
    agree(world, "a-2", "b-1")
    assert not hold(world, LOAD, b"order", 1)
    assert resolve(world) == {b"order": False}
    assert pool(world, "a-1") == 100


def test_networks_in_need_do_not_help_one_another() -> None:
    world = federation()
    agree(world, "a-1", "b-1")
    agree(world, "b-1", "a-1")
    for network in ("a-1", "b-1"):
        issue(world, network, 10)
        assert not hold(world, f"{network}/load", network.encode(), 10)
    assert resolve(world) == {b"a-1": False, b"b-1": False}


def test_who_is_helped_by_one_helper_is_not_a_matter_of_the_order_of_transactions() -> None:
    outcomes = []
    for order in (("a-2/load", "b-1/load", "b-1/ev"), ("b-1/ev", "b-1/load", "a-2/load")):
        world = federation()
        issue(world, "a-1", 100)
        agree(world, "a-1", "b-1")
        agree(world, "a-1", "a-2")
        for device in order:
            assert not hold(world, device, device.encode(), 40)
        outcomes.append(resolve(world))
    assert outcomes[0] == outcomes[1], "the network with the fewest needs first"
    assert outcomes[0] == {b"a-2/load": True, b"b-1/ev": True, b"b-1/load": False}


def test_only_periods_that_cover_the_same_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    world = federation()
    agree(world, "a-1", "b-1")
    issue(world, "a-1", 100)
    assert helpers(world) == [("a-1", 100)]
    slots_of = budget_calendar.slots_of

    def longer(ctx: Any, network: str, period: int) -> tuple[int, int]:
        return (0, 20) if network == "a-1" and period == 0 else slots_of(ctx, network, period)

    monkeypatch.setattr(budget_calendar, "slots_of", longer)
    assert helpers(world) == []


def test_who_owes_gives_nothing() -> None:
    world = federation()
    agree(world, "a-1", "b-1")
    issue(world, "a-1", 100)
    with world.transaction() as ctx:
        budget_state.put_owed(ctx, "a-1", (Owed("a-1/load", 0, 5),))
    assert helpers(world) == []


def test_classes_are_asked_when_help_is_needed() -> None:
    world = federation()
    agree(world, "a-1", "b-1", same_class=True)
    issue(world, "a-1", 100)
    assert helpers(world) == []
    with world.transaction() as ctx:
        network_classes.put_class(ctx, "a-1", "hvac")
        network_classes.put_class(ctx, "b-1", "hvac")
    assert helpers(world) == [("a-1", 100)]


def test_agreements_help_within_their_slots() -> None:
    world = federation()
    agree(world, "a-1", "b-1", first_slot=2, end_slot=4)
    issue(world, "a-1", 100)
    for slot, able in ((1, False), (2, True), (3, True), (4, False)):
        at_slot(world, slot)
        assert bool(helpers(world)) is able


def test_nobody_is_asked_when_a_book_is_full() -> None:
    world = federation()
    agree(world, "a-1", "b-1")
    issue(world, "a-1", 100)
    with world.transaction() as ctx:
        book = account_books.network_book(ctx, "b-1", 0)
    for counter in ("received", "allocated"):
        for room, found in ((99, []), (100, [("a-1", 100)])):
            with world.transaction() as ctx:
                account_books.put_pool(ctx, "pool", "b-1", 0, book._replace(**{counter: MAX_AMOUNT - room}))
            assert helpers(world) == found, counter
    with world.transaction() as ctx:
        full_giver = account_books.network_book(ctx, "a-1", 0)._replace(sent=MAX_AMOUNT - 30)
        account_books.put_pool(ctx, "pool", "a-1", 0, full_giver)
    assert helpers(world) == [("a-1", 30)]
    with world.transaction() as ctx:
        full = account_books.device_book(ctx, LOAD, 0)._replace(allocated=MAX_AMOUNT)
        account_books.put_device(ctx, LOAD, 0, full)
    assert helpers(world) == []


def test_sending_back_undoes_bringing_exactly() -> None:
    world = federation()
    agree(world, "a-1", "b-1")
    issue(world, "a-1", 100)
    issue(world, "b-1", 30)
    world.call(owner("b-1"), "budget", "allocate", network="b-1", period=0, amounts=((LOAD, 30),))

    def books() -> tuple[object, ...]:
        with world.transaction() as ctx:
            pools = [account_books.network_book(ctx, network, 0) for network in ("a-1", "b-1")]
            return (*pools, account_books.device_book(ctx, LOAD, 0)._replace(received_slot=-1))

    before = books()
    with world.transaction() as ctx:
        budget_outside.bring(ctx, Helper("a-1", 0, 100, 1), "b-1", LOAD, 0, 40, b"need", 0)
        assert account_books.device_book(ctx, LOAD, 0).received_slot == 0
        accounts.hold(ctx, LOAD, 0, 40, b"need")
        budget_outside.send_back(ctx, LOAD, 0, 0, 15, b"need")
        budget_outside.send_back(ctx, LOAD, 0, 0, 25, b"need")
    assert (books(), agreement(world, 1)["used"]) == (before, 0)
