"""A company divides its tokens among its networks: assigns, takes back, limits, carries over; and what it may not."""

from typing import Any, cast

import pytest

from chaincode import accounts, budget_calendar, budget_share, budget_state, budget_supply, identity, network_classes
from chaincode.budget_state import Owed
from chaincode.contract import ContractError
from chaincode.identity_records import Network, add_network
from node.witness import MAX_PROVEN_READS
from tests.chaincode.club import book_of, club, issue, issue_company, pool, supply
from tests.chaincode.neighbourhood import ADMIN, CLUB, OWNER_1, STRANGER, UTILITY, at_slot, key_of
from tests.chaincode.world import World


def assign(world: World, amount: int, network: str = "home-1", period: int = 0, into: int | None = None) -> int:
    args = {"network": network, "period": period, "amount": amount, "network_period": into}
    return cast("int", world.call(CLUB, "companies", "assign", **args))


def take_back(world: World, amount: int, network: str = "home-1", period: int = 0, source: int | None = None) -> int:
    args = {"network": network, "period": period, "amount": amount, "network_period": source}
    return cast("int", world.call(CLUB, "companies", "take_back", **args))


def refusal(world: World, method: str, **args: Any) -> tuple[str, tuple[int, ...]]:
    with pytest.raises(ContractError) as caught:
        world.call(CLUB, "companies", method, **args)
    return caught.value.code, caught.value.details


def test_a_company_divides_and_takes_back() -> None:
    """Company -> network -> device. Per company, sent = received."""
    world = club()
    issue_company(world, 1_000)
    assert assign(world, 600) == 400
    assert assign(world, 300, "home-2") == 100
    amounts = (("home-1/load", 450),)
    world.call(OWNER_1, "budget", "allocate", network="home-1", period=0, amounts=amounts)
    over = refusal(world, "take_back", network="home-1", period=0, amount=151)
    assert over == ("insufficient-funds", (150, 151))
    assert take_back(world, 150) == 250
    books = [book_of(world, "company", "club"), *(book_of(world, "network", name) for name in ("home-1", "home-2"))]
    assert [(book.sent, book.received) for book in books] == [(900, 150), (150, 600), (0, 300)]
    assert sum(book.sent for book in books) == sum(book.received for book in books)
    assert supply(world) == (1_000, 0)
    assert world.query("companies", "company", member="club", period=0) == ("active", *books[0])
    assert world.query("companies", "networks", member="club", period=0) == (
        ("home-1", "", None, 0, 450, 0, 450),
        ("home-2", "", None, 0, 300, 300, 0),
    )


def test_no_more_is_taken_back_than_was_given() -> None:
    world = club()
    issue(world, 500)
    issue_company(world, 50)
    assign(world, 50)
    assert refusal(world, "take_back", network="home-1", period=0, amount=51) == ("insufficient-funds", (50, 51))
    take_back(world, 50)
    assert pool(world, "pool:home-1:0") == 500


def test_what_was_spent_before_the_company_assigned_does_not_count() -> None:
    world = club()
    issue(world, 300)
    world.call(OWNER_1, "budget", "allocate", network="home-1", period=0, amounts=(("home-1/load", 290),))
    issue_company(world, 80)
    assign(world, 80)
    assert refusal(world, "take_back", network="home-1", period=0, amount=81) == ("insufficient-funds", (80, 81))
    take_back(world, 80)
    assert pool(world, "pool:home-1:0") == 10


def test_what_came_from_elsewhere_is_not_taken_back() -> None:
    """What left the pool was the company's first: issued, earned, given by others and carried over is the network's."""
    world = club()
    issue_company(world, 1_000, period=1)
    assign(world, 1_000, period=1)
    world.call(OWNER_1, "budget", "allocate", network="home-1", period=1, amounts=(("home-1/load", 700),))
    issue(world, 400, period=1)
    assert refusal(world, "take_back", network="home-1", period=1, amount=301) == ("insufficient-funds", (300, 301))
    take_back(world, 100, period=1)
    issue(world, 50, "home-2", period=1)
    with world.transaction() as ctx:
        accounts.give(ctx, "pool:home-2:1", "pool:home-1:1", 50, "share", b"help")
        accounts.mint(ctx, "escrow:1", 30, "test", b"")
        accounts.transfer(ctx, "escrow:1", "pool:home-1:1", 30, "sale", b"")
        accounts.mint(ctx, "pool:home-1:0", 20, "test", b"")
        accounts.give(ctx, "pool:home-1:0", "pool:home-1:1", 20, "carry", b"")
    assert refusal(world, "take_back", network="home-1", period=1, amount=201) == ("insufficient-funds", (200, 201))
    world.call(OWNER_1, "budget", "allocate", network="home-1", period=1, amounts=(("home-1/load", 250),))
    assert refusal(world, "take_back", network="home-1", period=1, amount=1) == ("insufficient-funds", (0, 1))
    world.call(OWNER_1, "budget", "withdraw", network="home-1", period=1, amounts=(("home-1/load", 950),))
    assert take_back(world, 900, period=1) == 1_000
    assert pool(world, "pool:home-1:1") == 500


def test_what_devices_earned_is_not_taken_back() -> None:
    world = club()
    issue_company(world, 100)
    assign(world, 100)
    world.call(OWNER_1, "budget", "allocate", network="home-1", period=0, amounts=(("home-1/load", 100),))
    with world.transaction() as ctx:
        accounts.mint(ctx, "escrow:1", 60, "test", b"")
        accounts.transfer(ctx, "device:home-1/load:0", "escrow:1", 100, "trade", b"")
        accounts.transfer(ctx, "escrow:1", "device:home-1/load:0", 60, "sale", b"")
    world.call(OWNER_1, "budget", "withdraw", network="home-1", period=0, amounts=(("home-1/load", 60),))
    assert refusal(world, "take_back", network="home-1", period=0, amount=1) == ("insufficient-funds", (0, 1))


def test_limits_hold_for_what_a_network_has_of_its_company() -> None:
    """Limits checked at each level."""
    world = club()
    issue_company(world, 1_000)
    issue_company(world, 1_000, period=1)
    world.call(CLUB, "companies", "limit_network", network="home-1", amount=100)
    issue(world, 500)  # of the utility: none of the company's business
    assign(world, 80)
    assert refusal(world, "assign", network="home-1", period=0, amount=21) == ("over-limit", (20, 21))
    take_back(world, 10)
    assign(world, 30)
    assign(world, 100, period=1)
    assign(world, 500, "home-2")
    world.call(CLUB, "companies", "limit_network", network="home-1", amount=40)  # keeps what it has
    assert refusal(world, "assign", network="home-1", period=0, amount=1) == ("over-limit", (0, 1))
    world.call(CLUB, "companies", "limit_network", network="home-1", amount=None)
    assign(world, 1)
    topics = [(event.topic, event.data) for event in world.events if event.contract == "companies"]
    assert ("network-limited", 100) in topics and ("network-limited", None) in topics


@pytest.mark.parametrize("method", ["assign", "take_back"])
@pytest.mark.parametrize(
    ("sender", "change", "code"),
    [
        (OWNER_1, {}, "wrong-key"),
        (ADMIN, {}, "wrong-key"),
        (STRANGER, {}, "wrong-key"),
        (UTILITY, {}, "wrong-key"),
        (CLUB, {"network": "home-9"}, "unknown-network"),
        (CLUB, {"period": 6}, "period-closing"),
        (CLUB, {"period": -1}, "unknown-period"),
        (CLUB, {"period": 9_999}, "unknown-period"),
        (CLUB, {"network_period": 8}, "period-mismatch"),
        (CLUB, {"network_period": -1}, "unknown-period"),
        (CLUB, {"amount": 0}, "bad-amount"),
        (CLUB, {"amount": -1}, "bad-amount"),
        (CLUB, {"amount": 2**63}, "bad-amount"),
        (CLUB, {"amount": 60}, "insufficient-funds"),
    ],
)
def test_bad_movements_move_nothing(method: str, sender: bytes, change: dict[str, Any], code: str) -> None:
    world = club()
    at_slot(world, 70)
    issue_company(world, 100, period=7)
    assign(world, 50, period=7)
    good: dict[str, Any] = {"network": "home-1", "period": 7, "amount": 50}
    assert world.refused(sender, "companies", method, **good | change) == code
    assert (pool(world, "company:club:7"), pool(world, "pool:home-1:7")) == (50, 50)
    world.call(CLUB, "companies", method, **good)


def test_money_moved_in_circles_leaves_room_for_help() -> None:
    world = club()
    much = budget_supply.MAX_OUTSTANDING
    issue_company(world, much)
    for _ in range(budget_share.MAX_BY_HAND // much):
        assign(world, much)
        take_back(world, much)
    assert refusal(world, "assign", network="home-1", period=0, amount=1) == ("bad-amount", ())
    assert supply(world) == (much, 0)


def test_what_a_network_owes_is_paid_first() -> None:
    world = club()
    issue_company(world, 100)
    with world.transaction() as ctx:
        budget_state.put_owed(ctx, "home-1", (Owed("home-1/load", 0, 70),))
    assign(world, 50)
    assert (pool(world, "pool:home-1:0"), pool(world, "utility")) == (0, 50)
    assign(world, 50)
    assert refusal(world, "take_back", network="home-1", period=0, amount=31) == ("insufficient-funds", (30, 31))


def test_company_and_network_may_have_calendars_of_their_own() -> None:
    """Periods of any length, per network or company."""
    world = club()
    with world.transaction() as ctx:
        scope = budget_calendar.network_scope("home-1")
        budget_calendar.extend(ctx, scope, b"", 10, [5])
        assert budget_calendar.period_of(ctx, "home-1", 17) == 2
    issue_company(world, 100)
    issue_company(world, 100, period=1)
    assign(world, 10, period=1)  # as yet into the first of the network's two
    assert pool(world, "pool:home-1:1") == 10
    assign(world, 20, period=1, into=2)
    assert refusal(world, "assign", network="home-1", period=1, amount=1, network_period=3)[0] == "period-mismatch"
    at_slot(world, 16)
    assign(world, 30, period=1)
    assert pool(world, "pool:home-1:2") == 50
    assert world.query("companies", "networks", member="club", period=1, first=0) == (
        ("home-1", "", None, 2, 50, 50, 0),
        ("home-2", "", None, 1, 0, 0, 0),
    )


def test_the_periods_of_a_company() -> None:
    world = club()
    at_slot(world, 25)
    assert world.query("companies", "period", member="club", slot=25) == (2, 20, 30, "active")
    assert world.query("companies", "period", member="club", slot=9) == (0, 0, 10, "closing")
    assert world.query("companies", "period", member="club", slot=30) == (3, 30, 40, "planned")
    cases: dict[str, dict[str, Any]] = {"period": {"slot": 1}, "company": {"period": 1}, "networks": {"period": 1}}
    for method, args in cases.items():
        with pytest.raises(ContractError, match="unknown-member"):
            world.query("companies", method, member="home-1", **args)


def test_networks_are_classified() -> None:
    world = club()
    classify: dict[str, Any] = {"network": "home-1", "class_name": "cooling-2"}
    world.call(CLUB, "companies", "classify", **classify)
    with world.transaction() as ctx:
        assert network_classes.class_of(ctx, "home-1") == "cooling-2"
    assert refusal(world, "classify", **classify)[0] == "no-change"
    for bad in ("Cooling", "cooling 2", "x" * 33, "é"):
        assert refusal(world, "classify", network="home-1", class_name=bad)[0] == "bad-class"
    assert world.refused(OWNER_1, "companies", "classify", **classify) == "wrong-key"
    world.call(CLUB, "companies", "classify", network="home-1", class_name="")
    assert cast("Any", world.query("companies", "networks", member="club", period=0))[0][1] == ""


@pytest.mark.parametrize("amount, code", [(-1, "bad-amount"), (2**63, "bad-amount"), (None, "no-change")])
def test_bad_limits(amount: int | None, code: str) -> None:
    world = club()
    assert refusal(world, "limit_network", network="home-1", amount=amount)[0] == code
    assert refusal(world, "limit_network", network="home-9", amount=1)[0] == "unknown-network"
    assert world.refused(OWNER_1, "companies", "limit_network", network="home-1", amount=1) == "wrong-key"


def test_the_networks_of_a_company_are_listed_as_they_register() -> None:
    world = club()
    with world.transaction() as ctx:
        add_network(ctx, Network("depot", "operator", key_of("o"), "b1", 0))
        for number in range(100):
            add_network(ctx, Network(f"shop-{number}", "club", key_of(str(number)), "b1", 0))
    pages = [cast("Any", world.query("companies", "networks", member="club", period=0, first=n)) for n in (0, 50, 100)]
    assert [row[0] for row in pages[0] + pages[1] + pages[2]] == [
        "home-1",
        "home-2",
        *(f"shop-{n}" for n in range(100)),
    ]
    with world.transaction() as ctx:
        assert identity.networks_of_member(ctx, "operator", 0, 9) == ("depot",)
        assert identity.networks_of_member(ctx, "utility", 0, 9) == ()
    good: dict[str, Any] = {"member": "club", "period": 0}
    for bad, code in (
        ({"first": -1}, "bad-args"),
        ({"member": "x"}, "unknown-member"),
        ({"period": -1}, "unknown-period"),
    ):
        with pytest.raises(ContractError, match=code):
            world.query("companies", "networks", **good | bad)


def test_a_page_of_networks_can_be_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    world = club()
    for number in range(60):
        name = f"shop-{number}"
        with world.transaction() as ctx:
            add_network(ctx, Network(name, "club", key_of(name), "b1", 0))
            scope = budget_calendar.network_scope(name)
            budget_calendar.extend(ctx, scope, b"", 10, [5, 6, 7])
        world.call(CLUB, "companies", "limit_network", network=name, amount=9)
    monkeypatch.setattr("tests.chaincode.world.STEPS", MAX_PROVEN_READS)
    rows = cast("tuple[Any, ...]", world.query("companies", "networks", member="club", period=3, first=2))
    assert len(rows) == 50
