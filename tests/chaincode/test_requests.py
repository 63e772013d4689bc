"""Requests told as stories: a device asks, the owner of who is asked grants or declines, and what is never possible."""

from typing import Any, cast

import pytest

from chaincode import budget_state
from chaincode.budget_share import GRANT
from chaincode.budget_state import Owed
from chaincode.contract import MAX_AMOUNT
from chaincode.requests import MAX_OF_DEVICE, MAX_REASON, MAX_WAITING, Requests
from tests.chaincode.budget_steps import book, check_sum
from tests.chaincode.federation import ACME, BOLT, agree, agreement, federation, issue, owner, pool
from tests.chaincode.neighbourhood import ADMIN, STRANGER, UTILITY, at_slot, key_of
from tests.chaincode.world import World

EV, LOAD = "a-1/ev", "a-1/load"
FIELDS = (
    "number", "device", "giver", "agreement", "period", "amount", "reason", "asked", "state", "granted", "slot",
)  # fmt: skip


def market() -> World:
    return federation(Requests())


def ask(world: World, amount: int = 50, by: bytes = key_of(EV), **different: Any) -> int:
    usual: dict[str, Any] = {"device": EV, "giver": LOAD, "period": 0, "reason": "a guest's car"}
    return cast("int", world.call(by, "requests", "ask", **{**usual, "amount": amount, **different}))


def refused(world: World, amount: int = 50, by: bytes = key_of(EV), **different: Any) -> str:
    usual: dict[str, Any] = {"device": EV, "giver": LOAD, "period": 0}
    return world.refused(by, "requests", "ask", **{**usual, "amount": amount, **different})


def request(world: World, number: int) -> dict[str, Any]:
    return dict(zip(FIELDS, cast("tuple[Any, ...]", world.query("requests", "request", request=number)), strict=True))


def allocate(world: World, device: str, amount: int, period: int = 0) -> None:
    network = device.partition("/")[0]
    issue(world, network, amount, period)
    world.call(owner(network), "budget", "allocate", network=network, period=period, amounts=((device, amount),))


def shares(world: World, network: str = "a-1", period: int = 0) -> list[tuple[Any, ...]]:
    found = cast("tuple[tuple[Any, ...], ...]", world.query("budget", "shares", network=network, period=period))
    return [(*share[:4], *share[7:]) for share in found]


def test_a_device_asks_another_one_and_its_owner_grants_a_part() -> None:
    world = market()
    allocate(world, LOAD, 100)
    number = ask(world, 70)
    assert request(world, number) == {
        "number": 1, "device": EV, "giver": LOAD, "agreement": 0, "period": 0, "amount": 70, "reason": "a guest's car",
        "asked": 0, "state": "waiting", "granted": 0, "slot": 0,
    }  # fmt: skip
    for stranger in (STRANGER, key_of(EV), key_of(LOAD), owner("a-2"), ACME, ADMIN, UTILITY):
        assert world.refused(stranger, "requests", "grant", request=number, amount=70) == "wrong-key"
        assert world.refused(stranger, "requests", "decline", request=number) == "wrong-key"
    at_slot(world, 3)
    assert world.refused(owner("a-1"), "requests", "grant", request=number, amount=71) == "bad-amount"
    assert world.refused(owner("a-1"), "requests", "grant", request=number, amount=0) == "bad-amount"
    world.call(owner("a-1"), "requests", "grant", request=number, amount=60)
    assert request(world, number) | {"state": "granted", "granted": 60, "slot": 3} == request(world, number)
    assert book(world, EV) | {"available": 60, "borrowed": 60} == book(world, EV)
    assert book(world, LOAD) | {"available": 40, "lent": 60} == book(world, LOAD)
    assert shares(world) == [(LOAD, EV, 60, 0, GRANT, "request 1")]
    assert world.refused(owner("a-1"), "requests", "grant", request=number, amount=10) == "not-waiting"
    told = [(event.keys, event.data) for event in world.events if event.topic == "request"]
    assert told == [
        ((EV, LOAD, "a-1"), (1, "waiting", LOAD, 0, 70, 0, "a guest's car")),
        ((EV, LOAD, "a-1"), (1, "granted", LOAD, 0, 70, 60, "a guest's car")),
    ]
    check_sum(world)


def test_of_the_pool_what_is_granted_is_allocated() -> None:
    world = market()
    issue(world, "a-1", 100)
    number = ask(world, 70, giver="", by=owner("a-1"))
    world.call(owner("a-1"), "requests", "grant", request=number, amount=70)
    assert book(world, EV) | {"available": 70, "allocated": 70, "borrowed": 0} == book(world, EV)
    assert (pool(world, "a-1"), shares(world)) == (30, [("", EV, 70, 0, GRANT, "request 1")])
    check_sum(world)


def test_of_another_network_under_an_agreement() -> None:
    world = market()
    issue(world, "b-1", 200)
    number = agree(world, "b-1", "a-1", cap=80, automatic=False)
    asked = ask(world, 100, giver="@b-1", agreement=number)
    for stranger in (STRANGER, owner("a-1"), owner("b-2"), ACME):
        assert world.refused(stranger, "requests", "grant", request=asked, amount=1) == "wrong-key"
    assert world.refused(owner("b-1"), "requests", "grant", request=asked, amount=81) == "over-cap"
    world.call(owner("b-1"), "requests", "grant", request=asked, amount=80)
    assert book(world, EV) | {"available": 80, "allocated": 80} == book(world, EV)
    assert (pool(world, "b-1"), pool(world, "a-1"), agreement(world, number)["used"]) == (120, 0, 80)
    assert shares(world) == [("@b-1", EV, 80, 0, GRANT, "request 1")]
    again = ask(world, 10, giver="@b-1", agreement=number, period=1)
    issue(world, "b-1", 10, period=1)
    assert world.refused(BOLT, "requests", "grant", request=again, amount=10) == "wrong-key"
    world.call(owner("b-1"), "requests", "grant", request=again, amount=10)
    assert book(world, EV, 1)["available"] == 10
    assert [row[0] for row in cast("tuple[Any, ...]", world.query("requests", "of_network", network="b-1"))] == [1, 2]
    check_sum(world)


def test_another_network_grants_nothing_to_who_owes() -> None:
    """What comes into its pool pays debts first: a share to the pool does so, and then a grant is possible."""
    world = market()
    issue(world, "b-1", 200)
    number = agree(world, "b-1", "a-1", automatic=False)
    asked = ask(world, 60, giver="@b-1", agreement=number)
    with world.transaction() as ctx:
        budget_state.put_owed(ctx, "a-1", (Owed("a-1/load", 0, 20),))
    assert world.refused(owner("b-1"), "requests", "grant", request=asked, amount=60) == "in-arrears"
    world.call(owner("b-1"), "agreements", "share", agreement=number, period=0, amount=20)
    world.call(owner("b-1"), "requests", "grant", request=asked, amount=60)
    assert (book(world, EV)["available"], pool(world, "a-1"), pool(world, "b-1")) == (60, 0, 120)


def test_a_path_of_agreements_is_none() -> None:
    world = market()
    first, second = agree(world, "b-1", "a-2"), agree(world, "a-2", "a-1")
    assert refused(world, giver="@b-1", agreement=first) == "other-network"
    assert refused(world, giver="@b-1", agreement=second) == "other-network"
    assert refused(world, giver="@b-1") == "unknown-agreement"
    assert ask(world, giver="@a-2", agreement=second) == 1
    world.call(owner("a-2"), "agreements", "end", agreement=second)
    assert world.refused(owner("a-2"), "requests", "grant", request=1, amount=1) == "not-in-force"


def test_what_may_not_be_asked() -> None:
    world = market()
    assert refused(world, by=STRANGER) == "wrong-key"
    assert refused(world, by=key_of(LOAD)) == "wrong-key"
    assert refused(world, device="a-1/x") == "unknown-device"
    assert refused(world, giver=EV) == "bad-account"
    assert refused(world, giver="b-1/ev") == "other-network"
    assert refused(world, giver="a-1/x") == "unknown-device"
    assert refused(world, agreement=1) == "other-network"
    assert refused(world, reason="x" * (MAX_REASON + 1)) == "bad-reason"
    assert refused(world, reason="two\nlines") == "bad-reason"
    for amount in (0, -1):
        assert refused(world, amount) == "bad-amount"
    assert refused(world, period=-1) == "unknown-period"
    for number in (-1, 0, 1, MAX_AMOUNT):
        assert world.refused(owner("a-1"), "requests", "grant", request=number, amount=1) == "unknown-request"
    assert ask(world, MAX_AMOUNT, reason="") == 1
    assert world.refused(owner("a-1"), "requests", "grant", request=1, amount=MAX_AMOUNT) == "bad-amount"
    assert world.refused(owner("a-1"), "requests", "grant", request=1, amount=5) == "insufficient-funds"
    assert request(world, 1)["state"] == "waiting", "nothing moved, nothing changed"


def test_a_limit_is_a_limit_for_what_is_granted_too() -> None:
    world = market()
    allocate(world, LOAD, 100)
    row = (EV, 100, 0, True, 40, 0, 0)
    world.call(owner("a-1"), "budget", "set_policy", network="a-1", devices=(row,))
    ask(world, 50)
    assert world.refused(owner("a-1"), "requests", "grant", request=1, amount=41) == "over-limit"
    world.call(owner("a-1"), "requests", "grant", request=1, amount=40)


def test_declined_withdrawn_and_lapsed() -> None:
    world = market()
    allocate(world, LOAD, 100)
    for _ in range(3):
        ask(world)
    world.call(owner("a-1"), "requests", "decline", request=1)
    assert world.refused(STRANGER, "requests", "withdraw", request=2) == "wrong-key"
    world.call(key_of(EV), "requests", "withdraw", request=2)
    at_slot(world, 10)  # the period is over, and nobody did anything for it
    assert [request(world, number)["state"] for number in (1, 2, 3)] == ["declined", "withdrawn", "lapsed"]
    assert world.query("requests", "waiting", network="a-1") == ()
    for number in (1, 2, 3):
        assert world.refused(owner("a-1"), "requests", "grant", request=number, amount=1) == "not-waiting"
        assert world.refused(owner("a-1"), "requests", "decline", request=number) == "not-waiting"
        assert world.refused(key_of(EV), "requests", "withdraw", request=number) == "not-waiting"
    assert refused(world, period=0) in ("period-over", "period-closing")
    assert book(world, LOAD)["lent"] == 0


def test_so_many_wait_and_what_has_lapsed_makes_room() -> None:
    world = market()
    for _ in range(MAX_OF_DEVICE):
        ask(world)
    assert refused(world) == "too-many"
    assert ask(world, device=LOAD, giver=EV, by=key_of(LOAD)) == MAX_OF_DEVICE + 1, "others may ask"
    number = agree(world, "b-1", "a-1")
    ask(world, giver="@b-1", agreement=number)  # and others may be asked
    world.call(owner("a-1"), "requests", "decline", request=1)
    ask(world)
    assert refused(world) == "too-many"
    assert len(cast("tuple[Any, ...]", world.query("requests", "waiting", network="a-1"))) == MAX_OF_DEVICE + 1
    at_slot(world, 10)
    ask(world, period=1)
    waiting = cast("tuple[Any, ...]", world.query("requests", "waiting", network="a-1"))
    assert [row[4] for row in waiting] == [1]
    assert MAX_WAITING > MAX_OF_DEVICE


@pytest.mark.parametrize("method", ["of_network", "waiting"])
def test_lists_are_paged(method: str) -> None:
    world = market()
    for _ in range(3):
        ask(world)
    rows = cast("tuple[Any, ...]", world.query("requests", method, network="a-1", after=1))
    assert [row[0] for row in rows] == [2, 3]
    assert world.query("requests", method, network="b-1") == ()
