"""A company with two homes and a utility, for the tests of supply and companies: money without a market.

    world = club()
    issue_company(world, 1_000)
    world.call(CLUB, "companies", "assign", network="home-1", period=0, amount=300)

As ``neighbourhood``: slots of 1,800 s, periods of 10 slots, period 0 active at the start.
"""

from typing import Any, cast

from chaincode import accounts, slots
from chaincode.accounts import Accounts, NetworkBook
from chaincode.budget import Budget
from chaincode.companies import Companies
from chaincode.grid import Grid
from chaincode.identity import Identity
from chaincode.supply import Supply
from tests.chaincode.neighbourhood import SLOT_S, UTILITY, settings
from tests.chaincode.world import World


def club() -> World:
    """A world at time 0."""
    world = World([Accounts(), Grid(), Identity(), Budget(), Supply(), Companies()], settings())
    with world.transaction() as ctx:
        slots.configure(ctx, SLOT_S)  # the market does this at genesis
    return world


def issue_company(world: World, amount: int, period: int = 0) -> None:
    """Tokens for the club."""
    reference = len(world.events).to_bytes(8, "big")
    world.call(UTILITY, "supply", "issue_company", member="club", period=period, amount=amount, reference=reference)


def issue(world: World, amount: int, network: str = "home-1", period: int = 0) -> None:
    """Tokens for a home."""
    reference = len(world.events).to_bytes(8, "big")
    world.call(UTILITY, "budget", "issue", network=network, period=period, amount=amount, reference=reference)


def price(world: World, permille: int, from_slot: int) -> None:
    """The utility redeems at ``permille`` of par from ``from_slot`` on."""
    world.call(UTILITY, "supply", "publish_price", permille=permille, from_slot=from_slot)


def pool(world: World, account: str) -> int:
    """What an account holds."""
    return cast("int", world.query("accounts", "account", account=account))


def book_of(world: World, kind: str, name: str, period: int = 0) -> NetworkBook:
    """The book of a network or company."""
    with world.transaction() as ctx:
        return (accounts.network_book if kind == "network" else accounts.company_book)(ctx, name, period)


def supply(world: World) -> tuple[int, int]:
    """(issued, redeemed), which differ by the sum of all balances."""
    issued, redeemed, whole = cast("tuple[int, int, int]", world.query("accounts", "audit"))
    assert issued - redeemed == whole
    return issued, redeemed


def of(kind: str, name: str, period: int = 0, **more: Any) -> dict[str, Any]:
    """The arguments that name a holder."""
    return {"kind": kind, "name": name, "period": period, **more}
