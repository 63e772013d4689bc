"""What the utility issues and redeems: caps, a published price, records with bills, returns."""

from typing import Any, cast

import pytest

from chaincode import budget_state, budget_supply
from chaincode.budget_state import Owed
from chaincode.budget_supply import MAX_PRICES, Redemption
from chaincode.contract import ContractError, Value
from tests.chaincode.club import book_of, club, issue, issue_company, of, pool, price, supply
from tests.chaincode.neighbourhood import CLUB, OWNER_1, OWNER_2, STRANGER, UTILITY, at_slot
from tests.chaincode.world import World

HOLDERS = [("network", "home-1", OWNER_1), ("company", "club", CLUB)]


def test_a_company_redeems_and_returns_nothing_while_a_network_of_it_owes() -> None:
    world = club()
    price(world, 1_000, 1)
    at_slot(world, 1)
    issue_company(world, 100)
    with world.transaction() as ctx:
        for network in ("home-1", "home-2"):
            budget_state.put_owed(ctx, network, (Owed(f"{network}/load", 0, 20),))
        budget_state.put_owed(ctx, "home-2", (Owed("home-2/load", 0, 30), Owed("home-2/load", 1, 5)))
        assert budget_state.arrears_of(ctx, "club") == 2
    redeemed = of("company", "club", amount=10, reference=b"r", least=0)
    returned = of("company", "club", amount=10, reference=b"r")
    for method, args in (("redeem", redeemed), ("return_tokens", returned)):
        found = refusal(world, CLUB, method, **args)
        assert (found.code, found.details) == ("in-arrears", (2,))
    for network, amount in (("home-1", 20), ("home-2", 35)):
        assert world.refused(CLUB, "supply", "return_tokens", **returned) == "in-arrears"
        world.call(CLUB, "companies", "assign", network=network, period=0, amount=amount)
    world.call(CLUB, "supply", "redeem", **redeemed)
    world.call(CLUB, "supply", "return_tokens", **returned)
    assert pool(world, "company:club:0") == 25


def give(world: World, kind: str, amount: int, period: int = 0) -> None:
    if kind == "network":
        issue(world, amount, period=period)
    else:
        issue_company(world, amount, period)


def refusal(world: World, sender: bytes, method: str, **args: Any) -> ContractError:
    with pytest.raises(ContractError) as caught:
        world.call(sender, "supply", method, **args)
    return caught.value


@pytest.mark.parametrize("kind, name, _", HOLDERS)
def test_a_cap_of_one_period_goes_before_that_of_every_period(kind: str, name: str, _: bytes) -> None:
    """The utility issues a capped total per period."""
    world = club()
    world.call(UTILITY, "supply", "set_cap", kind=kind, name=name, period=None, amount=100)
    world.call(UTILITY, "supply", "set_cap", **of(kind, name, 1), amount=300)
    give(world, kind, 60)
    give(world, kind, 40)
    with pytest.raises(ContractError) as caught:
        give(world, kind, 1)
    assert (caught.value.code, caught.value.details) == ("over-cap", (100, 100))
    give(world, kind, 300, period=1)
    assert world.query("supply", "cap", **of(kind, name, 1)) == (300, 100, 300)
    assert world.query("supply", "cap", **of(kind, name)) == (None, 100, 100)
    assert supply(world) == (400, 0)


def test_a_cap_below_what_is_issued_stops_further_issue_and_takes_nothing() -> None:
    world = club()
    issue(world, 100)
    world.call(UTILITY, "supply", "set_cap", **of("network", "home-1"), amount=70)
    with pytest.raises(ContractError, match="over-cap"):
        issue(world, 1)
    assert pool(world, "pool:home-1:0") == 100
    world.call(UTILITY, "supply", "set_cap", **of("network", "home-1"), amount=None)
    issue(world, 1)
    assert world.query("supply", "cap", **of("network", "home-1")) == (None, None, 101)


def test_the_cap_of_a_company_is_none_of_its_networks() -> None:
    world = club()
    world.call(UTILITY, "supply", "set_cap", **of("company", "club"), amount=0)
    issue(world, 50)
    with pytest.raises(ContractError, match="over-cap"):
        issue_company(world, 1)


@pytest.mark.parametrize(
    ("sender", "change", "code"),
    [
        (OWNER_1, {}, "not-allowed"),
        (UTILITY, {"kind": "device"}, "bad-args"),
        (UTILITY, {"name": "home-9"}, "unknown-network"),
        (UTILITY, {"kind": "company"}, "unknown-member"),
        (UTILITY, {"kind": "company", "name": "club", "period": 6}, "period-closing"),
        (UTILITY, {"period": -1}, "unknown-period"),
        (UTILITY, {"amount": -1}, "bad-amount"),
        (UTILITY, {"amount": 2**63}, "bad-amount"),
        (UTILITY, {"amount": None}, "no-change"),
    ],
)
def test_bad_caps(sender: bytes, change: dict[str, Any], code: str) -> None:
    world = club()
    at_slot(world, 70)
    good = of("network", "home-1", 7, amount=10)
    assert world.refused(sender, "supply", "set_cap", **good | change) == code
    world.call(UTILITY, "supply", "set_cap", **good)
    assert world.refused(UTILITY, "supply", "set_cap", **good) == "no-change"


@pytest.mark.parametrize(
    ("sender", "change", "code"),
    [
        (CLUB, {}, "not-allowed"),
        (UTILITY, {"member": "home-1"}, "unknown-member"),
        (UTILITY, {"member": "operator"}, "no-networks"),
        (UTILITY, {"period": 6}, "period-closing"),
        (UTILITY, {"period": 500}, "unknown-period"),
        (UTILITY, {"amount": 0}, "bad-amount"),
        (UTILITY, {"amount": budget_supply.MAX_OUTSTANDING + 1}, "bad-amount"),
        (UTILITY, {"reference": b""}, "bad-reference"),
    ],
)
def test_bad_issues_to_a_company(sender: bytes, change: dict[str, Any], code: str) -> None:
    world = club()
    at_slot(world, 70)
    good: dict[str, Any] = {"member": "club", "period": 7, "amount": 10, "reference": b"r"}
    assert world.refused(sender, "supply", "issue_company", **good | change) == code
    assert world.call(UTILITY, "supply", "issue_company", **good) == 10
    assert world.refused(UTILITY, "supply", "issue_company", **good) == "duplicate-id"


@pytest.mark.parametrize("kind, name, owner", HOLDERS)
def test_tokens_are_burnt_at_the_price_of_the_moment_and_credited_once(kind: str, name: str, owner: bytes) -> None:
    """Redeemed at the published price, credited on a bill outside the ledger with its reference."""
    world = club()
    give(world, kind, 1_000)
    price(world, 850, 1)
    at_slot(world, 1)
    args = of(kind, name, amount=333, reference=b"spare", least=850)
    assert world.call(owner, "supply", "redeem", **args) == (0, 850, 283)
    assert supply(world) == (1_000, 333)
    book = book_of(world, kind, name)
    assert (book.pool, book.redeemed, book.issued) == (667, 333, 1_000)
    (row,) = cast("tuple[tuple[Any, ...]]", world.query("supply", "redemptions", kind=kind, name=name))
    record = Redemption(*row[1:])
    assert record[:7] == (kind, name, 0, 333, 850, 283, b"spare") and record.time == world.time and not record.bill
    assert world.query("supply", "open_redemptions") == (row,)
    assert world.refused(owner, "supply", "redeem", **args) == "duplicate-id"
    # The price falls later; what was redeemed keeps the one it had.
    price(world, 100, 2)
    at_slot(world, 2)
    assert refusal(world, owner, "redeem", **args | {"reference": b"more"}).details == (100, 850)
    world.call(UTILITY, "supply", "credit", redemption=0, bill=b"bill 7")
    assert world.refused(UTILITY, "supply", "credit", redemption=0, bill=b"bill 8") == "already-credited"
    done = Redemption(*cast("tuple[Any, ...]", world.query("supply", "redemption", number=0))[1:])
    assert done == record._replace(bill=b"bill 7", credited_at=world.time)
    assert world.query("supply", "open_redemptions") == ()


def test_prices_are_published_before_they_hold() -> None:
    world = club()
    at_slot(world, 5)
    assert refusal(world, UTILITY, "publish_price", permille=900, from_slot=5).details == (6,)
    price(world, 900, 6)
    price(world, 800, 8)
    price(world, 700, 10)
    assert world.query("supply", "prices") == ((6, 900), (8, 800), (10, 700))
    price(world, 0, 8)  # in the place of both that were to come
    assert world.query("supply", "prices") == ((6, 900), (8, 0))
    at_slot(world, 7)
    with world.transaction() as ctx:
        assert [budget_supply.price_at(ctx, slot) for slot in (7, 8, 99)] == [900, 0, 0]
    issue(world, 10)
    at_slot(world, 8)
    redeem = of("network", "home-1", amount=10, reference=b"r", least=0)
    assert world.refused(OWNER_1, "supply", "redeem", **redeem) == "no-redemption"
    assert world.query("supply", "prices") == ((8, 0),)
    for slot in range(1, MAX_PRICES):
        price(world, slot, 8 + slot)
    assert world.refused(UTILITY, "supply", "publish_price", permille=1, from_slot=99) == "too-many"


@pytest.mark.parametrize(
    ("sender", "change", "code"),
    [
        (OWNER_1, {}, "not-allowed"),
        (UTILITY, {"permille": -1}, "bad-price"),
        (UTILITY, {"permille": 1_001}, "bad-price"),
        (UTILITY, {"permille": 0}, "no-change"),
        (UTILITY, {"from_slot": 0}, "slot-begun"),
        (UTILITY, {"from_slot": 2**50}, "slot-begun"),
    ],
)
def test_bad_prices(sender: bytes, change: dict[str, Any], code: str) -> None:
    world = club()
    good = {"permille": 900, "from_slot": 3}
    assert world.refused(sender, "supply", "publish_price", **good | change) == code
    world.call(UTILITY, "supply", "publish_price", **good)
    assert world.refused(UTILITY, "supply", "publish_price", **good | {"from_slot": 4}) == "no-change"


@pytest.mark.parametrize(
    ("sender", "change", "code"),
    [
        (STRANGER, {}, "wrong-key"),
        (CLUB, {}, "wrong-key"),
        (OWNER_2, {}, "wrong-key"),
        (OWNER_1, {"kind": "company", "name": "club"}, "wrong-key"),
        (OWNER_1, {"kind": "device"}, "bad-args"),
        (OWNER_1, {"name": "home-9"}, "unknown-network"),
        (OWNER_1, {"period": -1}, "unknown-period"),
        (OWNER_1, {"reference": b""}, "bad-reference"),
        (OWNER_1, {"reference": bytes(65)}, "bad-reference"),
        (OWNER_1, {"amount": 0}, "bad-amount"),
        (OWNER_1, {"amount": -3}, "bad-amount"),
        (OWNER_1, {"amount": 2**63}, "bad-amount"),
        (OWNER_1, {"amount": 101}, "insufficient-funds"),
    ],
)
@pytest.mark.parametrize("method", ["redeem", "return_tokens"])
def test_bad_redemptions_and_returns(method: str, sender: bytes, change: dict[str, Any], code: str) -> None:
    world = club()
    issue(world, 100)
    price(world, 500, 1)
    at_slot(world, 1)
    good = of("network", "home-1", amount=100, reference=b"r")
    if method == "redeem":
        good["least"] = 500
        assert world.refused(OWNER_1, "supply", method, **good | {"amount": 1}) == "bad-amount"  # a credit of nothing
        assert world.refused(OWNER_1, "supply", method, **good | {"least": 501}) == "price-changed"
    assert world.refused(sender, "supply", method, **good | change) == code
    assert pool(world, "pool:home-1:0") == 100
    world.call(OWNER_1, "supply", method, **good)
    assert pool(world, "pool:home-1:0") == 0


@pytest.mark.parametrize("kind, name, owner", HOLDERS)
def test_what_is_returned_is_the_utilitys_and_still_in_the_world(kind: str, name: str, owner: bytes) -> None:
    """Return."""
    world = club()
    give(world, kind, 100)
    world.call(owner, "supply", "return_tokens", **of(kind, name, amount=30, reference=b"back"))
    assert (book_of(world, kind, name).returned, pool(world, "utility"), supply(world)) == (30, 30, (100, 0))
    world.call(UTILITY, "budget", "redeem", amount=30, reference=b"burn")
    assert supply(world) == (100, 30)


def owe(world: World, amount: int, claims: int = 1) -> None:
    with world.transaction() as ctx:
        budget_state.put_owed(ctx, "home-1", tuple(Owed("home-1/load", 0, amount) for _ in range(claims)))


def test_debts_come_first() -> None:
    world = club()
    issue(world, 100)
    price(world, 1_000, 1)
    at_slot(world, 1)
    owe(world, 30)
    redeem = of("network", "home-1", amount=70, reference=b"r", least=1)
    assert refusal(world, OWNER_1, "redeem", **redeem | {"amount": 71}).details == (70, 71)
    world.call(OWNER_1, "supply", "redeem", **redeem)
    assert (pool(world, "utility"), supply(world)) == (30, (100, 70))
    issue(world, 100)
    owe(world, 1, claims=70)  # more than are paid at one time
    returned = of("network", "home-1", amount=1, reference=b"r")
    assert world.refused(OWNER_1, "supply", "return_tokens", **returned) == "in-arrears"


def test_what_a_close_redeems_has_the_price_of_that_moment() -> None:
    world = club()
    issue(world, 100)
    with world.transaction() as ctx:
        assert budget_supply.redeem_at_close(ctx, "home-1", 0, 100, b"close") == 0
    price(world, 400, 3)
    at_slot(world, 12)
    with world.transaction() as ctx:
        assert budget_supply.redeem_at_close(ctx, "home-1", 0, 1, b"close") == 0  # worth nothing
        assert budget_supply.redeem_at_close(ctx, "home-1", 0, 90, b"close") == 90
    assert supply(world) == (100, 90)
    (row,) = cast("tuple[tuple[Value, ...]]", world.query("supply", "open_redemptions"))
    assert Redemption(*row[1:])[:7] == ("network", "home-1", 0, 90, 400, 36, b"close")  # type: ignore[arg-type]


def test_lists_come_in_pages() -> None:
    world = club()
    issue(world, 1_000)
    issue_company(world, 10)
    price(world, 1_000, 1)
    at_slot(world, 1)
    with world.transaction() as ctx:
        for number in range(502):
            assert budget_supply.redeem_at_close(ctx, "home-1", 0, 1, b"c") == 1, number
    last = world.call(CLUB, "supply", "redeem", **of("company", "club", amount=1, reference=b"r", least=0))
    assert last == (502, 1_000, 1)
    of_home: dict[str, Any] = {"kind": "network", "name": "home-1"}
    for method, args in (("redemptions", of_home), ("open_redemptions", {})):
        pages = [
            cast("tuple[tuple[Any, ...], ...]", world.query("supply", method, **args, first=first))
            for first in (0, 500)
        ]
        assert [row[0] for page in pages for row in page] == list(range(502 if args else 503))
        assert len(pages[0]) == 500
        with pytest.raises(ContractError, match="bad-args"):
            world.query("supply", method, **args, first=-1)
    with pytest.raises(ContractError, match="unknown-redemption"):
        world.query("supply", "redemption", number=503)
    assert world.refused(UTILITY, "supply", "credit", redemption=-1, bill=b"b") == "unknown-redemption"
    assert world.refused(OWNER_1, "supply", "credit", redemption=1, bill=b"b") == "not-allowed"
    assert world.refused(UTILITY, "supply", "credit", redemption=1, bill=b"") == "bad-reference"
