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
COMPANY, OTHER = "company:acme:3", "pool:i:8"


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
    with world.transaction() as ctx:
        assert accounts.balance(ctx, "escrow:77") == accounts.balance(ctx, "pool:h:4") == 0


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
        lambda ctx: accounts.withdraw(ctx, "h/load", "h", 3, amount, "", b""),
        lambda ctx: accounts.give(ctx, POOL, OTHER, amount, "share", b""),
        lambda ctx: accounts.ungive(ctx, "h/load", 3, POOL, "h", amount, b""),
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
        lambda ctx: accounts.burn(ctx, POOL, 1, "", b""),
        lambda ctx: accounts.burn(ctx, COMPANY, 1, "", b""),
        lambda ctx: accounts.transfer(ctx, POOL, "utility", 1, "return", b""),
        lambda ctx: accounts.transfer(ctx, COMPANY, "utility", 1, "return", b""),
        lambda ctx: accounts.withdraw(ctx, "h/load", "h", 3, 11, "", b""),
        lambda ctx: accounts.give(ctx, POOL, OTHER, 1, "share", b""),
        lambda ctx: accounts.give(ctx, COMPANY, POOL, 1, "sale", b""),
        lambda ctx: accounts.ungive(ctx, "h/load", 3, POOL, "h", 1, b""),
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
    ["", "company", "company:", "company:a", "company::3", "company:a:b:3", "company:a:4294967296",
     "pool", "pool:h", "pool:h:", "pool::3", "pool:h:-1", "pool:h:4294967296", "pool:h:3:4", "pool:h:٣", "device:h",
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
    ways += [(COMPANY, "utility"), (COMPANY, "escrow:1"), (COMPANY, POOL), (COMPANY, LOAD), (COMPANY, "company:b:3")]
    ways += [("utility", COMPANY), ("escrow:1", COMPANY), (POOL, COMPANY), (LOAD, COMPANY)]
    ways += [("utility", "reserved:h/load:3"), (LOAD, "reserved:h/load:3"), ("utility", "utility")]
    for source, target in ways:
        way = partial(accounts.transfer, source=source, target=target, amount=1, reason="", reference=b"")
        assert refused(world, way) == "bad-account"
    assert refused(world, lambda ctx: accounts.mint(ctx, LOAD, 1, "", b"")) == "bad-account"
    for name in (LOAD, "reserved:h/load:3"):
        assert refused(world, partial(accounts.burn, account=name, amount=1, reason="", reference=b"")) == "bad-account"
    assert refused(world, lambda ctx: accounts.lend(ctx, "h/ev", "h/ev", 3, 1, 0, b"")) == "bad-account"


def test_a_device_gives_back_to_its_pool() -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, POOL, 100, "issue", b"r")
        accounts.transfer(ctx, POOL, LOAD, 80, "allocate", b"r")
        assert accounts.withdraw(ctx, "h/load", "h", 3, 30, "surplus", b"w") == DeviceBook(80, 0, 80)
        assert accounts.device_book(ctx, "h/load", 3) == DeviceBook(50, 0, 80, withdrawn=30)
        assert accounts.network_book(ctx, "h", 3) == NetworkBook(50, 100, 80, withdrawn=30)
    last = world.events[-1]
    assert (last.topic, last.keys, last.data) == ("transfer", ("h/load", "h"), (LOAD, POOL, 30, "surplus", b"w"))


def test_a_company_receives_gives_returns_and_redeems() -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, COMPANY, 100, "issue", b"r")
        accounts.give(ctx, COMPANY, POOL, 40, "share", b"g")
        accounts.give(ctx, COMPANY, OTHER, 10, "sale", b"s")
        accounts.give(ctx, COMPANY, "company:acme:4", 7, "carry", b"c")
        accounts.give(ctx, OTHER, COMPANY, 2, "sale", b"s")
        accounts.transfer(ctx, COMPANY, "utility", 5, "return", b"t")
        accounts.transfer(ctx, POOL, "utility", 6, "return", b"t")
        accounts.transfer(ctx, POOL, "utility", 1, "owed", b"t")
        accounts.burn(ctx, COMPANY, 3, "redeem", b"b")
        accounts.burn(ctx, POOL, 4, "redeem", b"b")
        book = NetworkBook(37, 100, received=2, sent=40, sold=10, returned=5, redeemed=3, carried_out=7)
        assert accounts.company_book(ctx, "acme", 3) == book
        assert accounts.company_book(ctx, "acme", 4) == NetworkBook(7, carried_in=7)
        assert accounts.network_book(ctx, "h", 3) == NetworkBook(29, received=40, spent=1, returned=6, redeemed=4)
        assert accounts.network_book(ctx, "i", 8) == NetworkBook(8, received=10, sold=2)
        assert accounts.balance(ctx, COMPANY) == 37
    assert world.query("accounts", "audit") == (100, 7, 93)
    told = [(event.keys, event.data) for event in world.events]
    assert (("acme", "h"), (COMPANY, POOL, 40, "share", b"g")) in told
    assert (("acme",), (COMPANY, "company:acme:4", 7, "carry", b"c")) in told
    assert (("acme",), (COMPANY, "redeemed", 3, "redeem", b"b")) in told


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        (POOL, POOL, "share"),
        (POOL, "pool:h:03", "share"),
        (POOL, OTHER, "gift"),
        (POOL, OTHER, ""),
        (POOL, LOAD, "share"),
        (LOAD, OTHER, "share"),
        ("reserved:h/load:3", OTHER, "share"),
        (POOL, "utility", "sale"),
        ("escrow:1", COMPANY, "sale"),
        (POOL, "pool:i:4", "carry"),
        (POOL, "pool:h:2", "carry"),
        (POOL, "pool:h:03", "carry"),
        (POOL, "company:h:4", "carry"),
        (POOL, "pool:h", "share"),
    ],
)
def test_what_cannot_be_given(source: str, target: str, reason: str) -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, POOL, 10, "issue", b"")
    give = partial(accounts.give, source=source, target=target, amount=1, reason=reason, reference=b"")
    assert refused(world, give) == "bad-account"


def test_what_a_share_of_another_network_did_not_use_goes_home() -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, OTHER, 100, "issue", b"r")
        accounts.give(ctx, OTHER, POOL, 60, "share", b"n")
        accounts.transfer(ctx, POOL, LOAD, 60, "share", b"n")
        accounts.hold(ctx, "h/load", 3, 60, b"n")
        accounts.ungive(ctx, "h/load", 3, OTHER, "h", 45, b"n")
        assert accounts.device_book(ctx, "h/load", 3) == DeviceBook(0, 15, 15)
        assert accounts.network_book(ctx, "h", 3) == NetworkBook(0, 0, 15, received=15)
        assert accounts.network_book(ctx, "i", 8) == NetworkBook(85, 100, sent=15)
    last = world.events[-1]
    assert (last.keys, last.data) == (("h/load", "i"), ("reserved:h/load:3", OTHER, 45, "give-back", b"n"))


def test_what_the_own_pool_gave_and_was_not_used_goes_home() -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, POOL, 100, "issue", b"r")
        accounts.transfer(ctx, POOL, LOAD, 60, "share", b"n")
        accounts.hold(ctx, "h/load", 3, 60, b"n")
        accounts.ungive(ctx, "h/load", 3, POOL, "h", 45, b"n")
        assert accounts.device_book(ctx, "h/load", 3) == DeviceBook(0, 15, 15)
        assert accounts.network_book(ctx, "h", 3) == NetworkBook(85, 100, 15)


def test_no_more_goes_home_than_was_counted() -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, POOL, 100, "issue", b"r")
        accounts.mint(ctx, OTHER, 100, "issue", b"r")
        accounts.give(ctx, OTHER, POOL, 5, "sale", b"n")
        accounts.transfer(ctx, POOL, LOAD, 20, "allocate", b"n")
        accounts.transfer(ctx, POOL, EV, 20, "allocate", b"n")
        accounts.lend(ctx, "h/ev", "h/load", 3, 20, 0, b"n")
        accounts.hold(ctx, "h/load", 3, 40, b"n")
    calls: list[Callable[[Context], object]] = [
        lambda ctx: accounts.ungive(ctx, "h/load", 3, OTHER, "h", 1, b""),  # sold is not sent
        lambda ctx: accounts.ungive(ctx, "h/load", 3, "pool:j:3", "h", 1, b""),
        lambda ctx: accounts.ungive(ctx, "h/load", 3, POOL, "h", 21, b""),  # what was borrowed was not allocated
        lambda ctx: accounts.ungive(ctx, "h/load", 3, "pool:j:3", "j", 1, b""),
    ]
    assert [refused(world, call) for call in calls] == ["insufficient-funds"] * len(calls)


def test_new_movements_check_names() -> None:
    world = bank()
    calls: list[Callable[[Context], object]] = [
        lambda ctx: accounts.withdraw(ctx, "", "h", 3, 1, "", b""),
        lambda ctx: accounts.withdraw(ctx, "h/load", "h:3", 3, 1, "", b""),
        lambda ctx: accounts.withdraw(ctx, "h/load", "h", -1, 1, "", b""),
        lambda ctx: accounts.ungive(ctx, "h:load", 3, POOL, "h", 1, b""),
        lambda ctx: accounts.ungive(ctx, "h/load", 3, POOL, "", 1, b""),
        lambda ctx: accounts.ungive(ctx, "h/load", 2**32, POOL, "h", 1, b""),
        lambda ctx: accounts.ungive(ctx, "h/load", 3, COMPANY, "h", 1, b""),
        lambda ctx: accounts.ungive(ctx, "h/load", 3, EV, "h", 1, b""),
    ]
    assert [refused(world, call) for call in calls] == ["bad-account"] * len(calls)


@pytest.mark.parametrize("full", ["withdrawn", "received", "sent", "sold", "returned", "redeemed", "carried_out"])
def test_no_counter_passes_63_bits(full: str) -> None:
    world = bank()
    with world.transaction() as ctx:
        accounts.mint(ctx, POOL, 10, "issue", b"")
        accounts.mint(ctx, OTHER, 10, "issue", b"")
        accounts.transfer(ctx, POOL, LOAD, 5, "allocate", b"")
        book = accounts.network_book(ctx, "h", 3)._replace(**{full: MAX_AMOUNT})
        ctx.put(b"acc-network/h\0" + (3).to_bytes(4, "big"), tuple(book))
    calls: dict[str, Callable[[Context], object]] = {
        "withdrawn": lambda ctx: accounts.withdraw(ctx, "h/load", "h", 3, 1, "", b""),
        "received": lambda ctx: accounts.give(ctx, OTHER, POOL, 1, "share", b""),
        "sent": lambda ctx: accounts.give(ctx, POOL, OTHER, 1, "share", b""),
        "sold": lambda ctx: accounts.give(ctx, POOL, OTHER, 1, "sale", b""),
        "returned": lambda ctx: accounts.transfer(ctx, POOL, "utility", 1, "return", b""),
        "redeemed": lambda ctx: accounts.burn(ctx, POOL, 1, "", b""),
        "carried_out": lambda ctx: accounts.give(ctx, POOL, "pool:h:4", 1, "carry", b""),
    }
    assert refused(world, calls[full]) == "bad-amount"


POOLS = [POOL, "pool:h:4", "pool:i:3", COMPANY, "company:acme:4"]
NAMES = ["utility", "grid-operator", "congestion", "escrow:5", "escrow:6", POOL, LOAD, EV, "reserved:h/load:3", COMPANY]
DEVICES = st.sampled_from(["h/load", "h/ev"])
REASONS = ["share", "share", "sale", "carry", "return", "t"]
MOVES = st.tuples(
    st.one_of(
        st.tuples(st.just("transfer"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
        st.tuples(st.just("transfer"), st.just(POOL), st.sampled_from([LOAD, EV])),
        st.tuples(st.just("mint"), st.sampled_from(["utility", *POOLS]), st.just("")),
        st.tuples(st.just("burn"), st.sampled_from(["utility", "escrow:5", *POOLS]), st.just("")),
        st.tuples(st.just("hold"), DEVICES, st.just("")),
        st.tuples(st.just("unhold"), DEVICES, st.just("")),
        st.tuples(st.just("lend"), DEVICES, st.just("h/pv")),
        st.tuples(st.just("withdraw"), DEVICES, st.just("")),
        st.tuples(st.just("give"), st.sampled_from(POOLS), st.sampled_from(POOLS)),
        st.tuples(st.just("ungive"), DEVICES, st.sampled_from([POOL, POOL, "pool:i:3", "pool:h:4"])),
    ),
    st.integers(1, 60),
    st.sampled_from(REASONS),
)
Move = tuple[tuple[str, str, str], int, str]


def move(ctx: Context, kind: str, first: str, second: str, amount: int, reason: str) -> None:
    match kind:
        case "transfer":
            accounts.transfer(ctx, first, second, amount, reason, b"")
        case "mint":
            accounts.mint(ctx, first, amount, reason, b"")
        case "burn":
            accounts.burn(ctx, first, amount, reason, b"")
        case "hold":
            accounts.hold(ctx, first, 3, amount, b"")
        case "unhold":
            accounts.unhold(ctx, first, 3, amount, b"")
        case "lend":
            accounts.lend(ctx, first, second, 3, amount, 0, b"")
        case "withdraw":
            accounts.withdraw(ctx, first, "h", 3, amount, reason, b"")
        case "give":
            accounts.give(ctx, first, second, amount, reason, b"")
        case _:
            accounts.ungive(ctx, first, 3, second, "h", amount, b"")


def gone(book: NetworkBook) -> int:
    return book.sent + book.sold + book.returned + book.redeemed + book.carried_out


def check_books(ctx: Context) -> None:
    for network, period in (("h", 3), ("h", 4), ("i", 3)):
        pool = accounts.network_book(ctx, network, period)
        came = pool.issued + pool.earned + pool.received + pool.carried_in + pool.withdrawn
        assert came == pool.pool + pool.allocated + pool.spent + gone(pool) and min(pool) >= 0
    for period in (3, 4):
        company = accounts.company_book(ctx, "acme", period)
        assert company.issued + company.received + company.carried_in == company.pool + gone(company)
        assert min(company) >= 0 == company.allocated + company.earned + company.spent + company.withdrawn
    pool = accounts.network_book(ctx, "h", 3)
    came, went = pool.carried_in + pool.issued + pool.received + pool.earned, pool.pool + pool.spent + gone(pool)
    for device in ("h/load", "h/ev", "h/pv"):
        book = accounts.device_book(ctx, device, 3)
        assert min(book._replace(received_slot=0)) >= 0
        held = book.available + book.reserved
        assert book.allocated + book.earned + book.borrowed == held + book.spent + book.lent + book.withdrawn
        came, went = came + book.earned, went + held + book.spent
    assert came == went


@settings(max_examples=100, deadline=None)
@given(st.lists(MOVES, max_size=50))
def test_whatever_happens_the_books_add_up(moves: list[Move]) -> None:
    world = bank()
    for what, amount, reason in [(("mint", POOL, ""), 60, "m"), (("mint", "pool:i:3", ""), 60, "m"), *moves]:
        try:
            with world.transaction() as ctx:
                move(ctx, *what, amount, reason)
        except ContractError as error:
            assert error.code in ("insufficient-funds", "bad-account")
        with world.transaction() as ctx:
            issued, redeemed, whole = cast("tuple[int, int, int]", world.query("accounts", "audit"))
            assert issued - redeemed == whole
            check_books(ctx)
