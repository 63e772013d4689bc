"""Two companies with two networks each, for the tests of agreements and sales: money without a market.

    world = federation()
    number = agree(world, "a-1", "b-1", cap=100)

``a-1`` and ``a-2`` are networks of the company acme, ``b-1`` and ``b-2`` of bolt; each has an owner of its own and the
devices ``NET/load`` and ``NET/ev``. Slots have 1,800 s, periods 10 slots; period 0 is active at the start.
"""

from typing import Any, cast

from chaincode import budget_calendar, slots
from chaincode.accounts import Accounts
from chaincode.agreements import Agreements
from chaincode.budget import Budget
from chaincode.contract import Contract, Value
from chaincode.grid import Grid
from chaincode.identity import Identity
from chaincode.sales import Sales
from tests.chaincode.neighbourhood import PERIOD_SLOTS, SLOT_S, UTILITY, device_row, key_of
from tests.chaincode.world import World

NETWORKS = ("a-1", "a-2", "b-1", "b-2")
ACME, BOLT = key_of("acme"), key_of("bolt")
AGREEMENT_FIELDS = (
    "number", "giver", "taker", "kind", "cap", "automatic", "same_class", "rank", "price", "first", "end", "state",
    "proposer", "slot", "in_force", "period", "used",
)  # fmt: skip
SALE_FIELDS = (
    "number", "seller", "buyer", "agreement", "period", "amount", "price", "due", "state", "buyer_period", "payment",
    "slot", "tx_id",
)  # fmt: skip


def owner(network: str) -> bytes:
    """The key of the owner of ``network``."""
    return key_of(f"owner of {network}")


def genesis() -> dict[str, dict[str, Any]]:
    """The settings of the four genesis contracts."""
    members = (
        ("acme", ACME.hex(), ()),
        ("bolt", BOLT.hex(), ()),
        ("operator", key_of("operator").hex(), ("grid-operator", "validator")),
        ("utility", UTILITY.hex(), ("utility", "validator")),
    )
    networks = [(name, "acme" if name[0] == "a" else "bolt", owner(name).hex(), "b1") for name in NETWORKS]
    devices = [device_row(f"{name}/{kind}", kind) for name in NETWORKS for kind in ("load", "ev")]
    return {
        "grid": {"root": "t", "lines": (("t", "b1", 100, 50, None, None),)},
        "identity": {"admins": (), "members": members, "networks": tuple(networks), "devices": tuple(devices)},
        "budget": {"period_slots": PERIOD_SLOTS},
    }


def federation(*more: Contract) -> World:
    """A world at time 0."""
    world = World([Accounts(), Grid(), Identity(), Budget(), Agreements(), Sales(), *more], genesis())
    with world.transaction() as ctx:
        slots.configure(ctx, SLOT_S)  # the market does this at genesis
    return world


def terms(giver: str, taker: str, **different: Any) -> dict[str, Any]:
    """The arguments of ``agreements.propose``: an automatic share of at most 100, for ever."""
    usual = {
        "kind": "share",
        "cap": 100,
        "automatic": True,
        "same_class": False,
        "rank": 1,
        "price": 0,
        "first_slot": 0,
        "end_slot": 0,
    }
    return {"giver": giver, "taker": taker, **usual, **different}


def agree(world: World, giver: str, taker: str, **different: Any) -> int:
    """An agreement that the giver proposes and the taker accepts; its number."""
    number = cast("int", world.call(owner(giver), "agreements", "propose", **terms(giver, taker, **different)))
    world.call(owner(taker), "agreements", "accept", agreement=number)
    return number


def agreement(world: World, number: int) -> dict[str, Any]:
    """An agreement by the names of its fields."""
    row = cast("tuple[Value, ...]", world.query("agreements", "agreement", agreement=number))
    return dict(zip(AGREEMENT_FIELDS, row, strict=True))


def sale(world: World, number: int) -> dict[str, Any]:
    """A sale by the names of its fields."""
    row = cast("tuple[Value, ...]", world.query("sales", "sale", sale=number))
    return dict(zip(SALE_FIELDS, row, strict=True))


def issue(world: World, network: str, amount: int, period: int = 0) -> None:
    """Tokens into the pool of ``network``."""
    reference = len(world.events).to_bytes(8, "big")
    world.call(UTILITY, "budget", "issue", network=network, period=period, amount=amount, reference=reference)


def plan(world: World, network: str, first: int, length: int) -> None:
    """From slot ``first`` on ``network`` has periods of ``length`` slots of its own."""
    with world.transaction() as ctx:
        budget_calendar.extend(ctx, budget_calendar.network_scope(network), b"", first, [length])


def pool(world: World, network: str, period: int = 0) -> int:
    """What is in the pool of ``network``."""
    return cast("int", world.query("accounts", "account", account=f"pool:{network}:{period}"))
