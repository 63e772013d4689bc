"""Double entry: what moves, what is refused, and that the books always add up."""

from collections.abc import Callable
from functools import partial
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import accounts
from chaincode.accounts import Accounts, DeviceBook, NetworkBook
from chaincode.contract import MAX_AMOUNT, Context, ContractError
from tests.chaincode.world import World

POOL, LOAD, EV = "pool:h:3", "device:h/load:3", "device:h/ev:3"


def bank() -> World:
    return World([Accounts()])


def refused(world: World, call: Callable[[Context], object]) -> str:
    with pytest.raises(ContractError) as caught, world.transaction() as ctx:
        call(ctx)
    return caught.value.code


def test_money_comes_from_the_issuer_and_is_counted_on_its_way() -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, POOL, 1000, "issue", b"r")
        accounts.transfer(ctx, POOL, LOAD, 600, "allocate", b"r")
        assert accounts.hold(ctx, "h/load", 3, 200, b"o1") == DeviceBook(600, 0, 600)
        assert accounts.device_book(ctx, "h/load", 3) == DeviceBook(400, 200, 600)
        accounts.transfer(ctx, "reserved:h/load:3", "escrow:77", 150, "trade", b"o1")
        accounts.unhold(ctx, "h/load", 3, 50, b"o1")
        accounts.lend(ctx, "h/load", "h/ev", 3, 100, 70, b"need")
        accounts.transfer(ctx, EV, "utility", 30, "retail", b"s")
        accounts.transfer(ctx, POOL, "utility", 5, "owed", b"s")
        accounts.transfer(ctx, "escrow:77", POOL, 140, "sale", b"s")
        accounts.transfer(ctx, "escrow:77", "grid-operator", 10, "toll", b"s")
        accounts.burn(ctx, "utility", 35, "redeem", b"x")
        assert accounts.device_book(ctx, "h/load", 3) == DeviceBook(350, 0, 600, 0, 150, 100, 0, 0, -1)
        assert accounts.device_book(ctx, "h/ev", 3) == DeviceBook(70, 0, 0, 0, 30, 0, 100, 0, 70)
        assert accounts.network_book(ctx, "h", 3) == NetworkBook(535, 1000, 600, 140, 5)
    assert world.query("accounts", "audit") == (1000, 35, 965)
    assert world.query("accounts", "account", account="grid-operator") == 10
    assert world.query("accounts", "account", account="escrow:77") == 0
    assert world.query("accounts", "account", account="pool:h:4") == 0


def test_every_entry_names_its_cause() -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, POOL, 10, "issue", b"r1")
        accounts.transfer(ctx, POOL, LOAD, 4, "allocate", b"r2")
        accounts.hold(ctx, "h/load", 3, 4, b"r3")
    told = [(event.topic, event.keys, event.data) for event in world.events]
    assert told == [
        ("transfer", ("h",), ("issued", POOL, 10, "issue", b"r1")),
        ("transfer", ("h", "h/load"), (POOL, LOAD, 4, "allocate", b"r2")),
        ("transfer", ("h/load",), (LOAD, "reserved:h/load:3", 4, "hold", b"r3")),
    ]


def test_what_a_share_did_not_use_comes_off_both_counters() -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, POOL, 100, "issue", b"r")
        accounts.transfer(ctx, POOL, LOAD, 100, "allocate", b"r")
        accounts.lend(ctx, "h/load", "h/ev", 3, 60, 1, b"n")
        accounts.hold(ctx, "h/ev", 3, 60, b"n")
        accounts.give_back(ctx, "h/ev", "h/load", 3, 45, b"n")
        assert accounts.device_book(ctx, "h/load", 3) == DeviceBook(85, 0, 100, 0, 0, 15, 0)
        assert accounts.device_book(ctx, "h/ev", 3) == DeviceBook(0, 15, 0, 0, 0, 0, 15, 0, 1)


@pytest.mark.parametrize("amount", [0, -1, MAX_AMOUNT + 1])
def test_bad_amounts(amount: int) -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, POOL, 10, "issue", b"")
    calls: list[Callable[[Context], object]] = [
        lambda ctx: accounts.mint(ctx, POOL, amount, "", b""),
        lambda ctx: accounts.burn(ctx, "utility", amount, "", b""),
        lambda ctx: accounts.transfer(ctx, POOL, LOAD, amount, "", b""),
        lambda ctx: accounts.hold(ctx, "h/load", 3, amount, b""),
        lambda ctx: accounts.unhold(ctx, "h/load", 3, amount, b""),
        lambda ctx: accounts.lend(ctx, "h/load", "h/ev", 3, amount, 0, b""),
        lambda ctx: accounts.give_back(ctx, "h/load", "h/ev", 3, amount, b""),
    ]
    assert [refused(world, call) for call in calls] == ["bad-amount"] * len(calls)


def test_no_balance_becomes_negative() -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, POOL, 10, "issue", b"")
        accounts.transfer(ctx, POOL, LOAD, 10, "allocate", b"")
        assert accounts.hold(ctx, "h/load", 3, 11, b"o") is None
    calls: list[Callable[[Context], object]] = [
        lambda ctx: accounts.transfer(ctx, POOL, LOAD, 1, "", b""),
        lambda ctx: accounts.transfer(ctx, LOAD, "utility", 11, "", b""),
        lambda ctx: accounts.transfer(ctx, "reserved:h/load:3", "utility", 1, "", b""),
        lambda ctx: accounts.transfer(ctx, "escrow:1", "utility", 1, "", b""),
        lambda ctx: accounts.transfer(ctx, POOL, "utility", 1, "", b""),
        lambda ctx: accounts.burn(ctx, "utility", 1, "", b""),
        lambda ctx: accounts.unhold(ctx, "h/load", 3, 1, b""),
        lambda ctx: accounts.lend(ctx, "h/load", "h/ev", 3, 11, 0, b""),
        lambda ctx: accounts.give_back(ctx, "h/load", "h/ev", 3, 1, b""),
    ]
    assert [refused(world, call) for call in calls] == ["insufficient-funds"] * len(calls)


def test_no_book_passes_63_bits() -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, "utility", MAX_AMOUNT, "issue", b"")
        accounts.burn(ctx, "utility", MAX_AMOUNT, "redeem", b"")
    assert refused(world, lambda ctx: accounts.mint(ctx, "utility", 1, "issue", b"")) == "bad-amount"


@pytest.mark.parametrize(
    "name",
    ["", "pool", "pool:h", "pool:h:", "pool::3", "pool:h:-1", "pool:h:4294967296", "pool:h:3:4", "pool:h:٣", "device:h",
     "escrow", "escrow:", "escrow:x", "escrow:9999999999999999", "bank", "utility:1", "x" * 300],
)  # fmt: skip
def test_names_that_are_no_account(name: str) -> None:
    world = bank()
    with pytest.raises(ContractError, match="bad-account"):
        world.query("accounts", "account", account=name[:256])


def test_ways_that_money_does_not_go() -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, POOL, 10, "issue", b"")
        accounts.mint(ctx, "utility", 10, "issue", b"")
        accounts.transfer(ctx, POOL, LOAD, 5, "allocate", b"")
    ways = [(LOAD, EV), (LOAD, POOL), (POOL, POOL), (POOL, "pool:i:3"), (POOL, "device:h/load:4"), (LOAD, LOAD)]
    ways += [("utility", "reserved:h/load:3"), (LOAD, "reserved:h/load:3"), ("utility", "utility")]
    for source, target in ways:
        move = partial(accounts.transfer, source=source, target=target, amount=1, reason="", reference=b"")
        assert refused(world, move) == "bad-account"
    assert refused(world, lambda ctx: accounts.mint(ctx, LOAD, 1, "", b"")) == "bad-account"
    assert refused(world, lambda ctx: accounts.burn(ctx, POOL, 1, "", b"")) == "bad-account"
    assert refused(world, lambda ctx: accounts.lend(ctx, "h/ev", "h/ev", 3, 1, 0, b"")) == "bad-account"


NAMES = ["utility", "grid-operator", "congestion", "escrow:5", "escrow:6", POOL, LOAD, EV, "reserved:h/load:3"]
MOVES = st.one_of(
    st.tuples(st.just("transfer"), st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(1, 60)),
    st.tuples(st.just("mint"), st.sampled_from(["utility", POOL]), st.just(""), st.integers(1, 100)),
    st.tuples(st.just("burn"), st.sampled_from(["utility", "escrow:5"]), st.just(""), st.integers(1, 30)),
    st.tuples(st.just("hold"), st.sampled_from(["h/load", "h/ev"]), st.just(""), st.integers(1, 60)),
    st.tuples(st.just("unhold"), st.sampled_from(["h/load", "h/ev"]), st.just(""), st.integers(1, 60)),
    st.tuples(st.just("lend"), st.sampled_from(["h/load", "h/ev"]), st.just("h/pv"), st.integers(1, 60)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(MOVES, max_size=40))
def test_whatever_happens_the_books_add_up(moves: list[tuple[str, str, str, int]]) -> None:
    world = bank()
    for kind, first, second, amount in moves:
        try:
            with world.transaction() as ctx:
                if kind == "transfer":
                    accounts.transfer(ctx, first, second, amount, "t", b"")
                elif kind == "mint":
                    accounts.mint(ctx, first, amount, "m", b"")
                elif kind == "burn":
                    accounts.burn(ctx, first, amount, "b", b"")
                elif kind == "hold":
                    accounts.hold(ctx, first, 3, amount, b"")
                elif kind == "unhold":
                    accounts.unhold(ctx, first, 3, amount, b"")
                else:
                    accounts.lend(ctx, first, second, 3, amount, 0, b"")
        except ContractError as error:
            assert error.code in ("insufficient-funds", "bad-account")
        with world.transaction() as ctx:
            issued, redeemed, whole = cast("tuple[int, int, int]", world.query("accounts", "audit"))
            assert issued - redeemed == whole
            pool = accounts.network_book(ctx, "h", 3)
            assert pool.issued + pool.earned == pool.pool + pool.allocated + pool.spent and min(pool) >= 0
            for device in ("h/load", "h/ev", "h/pv"):
                book = accounts.device_book(ctx, device, 3)
                assert min(book[:8]) >= 0
                came = book.allocated + book.earned + book.borrowed
                assert came == book.available + book.reserved + book.spent + book.lent
