"""What the stories about budgets do again and again: hold, resolve, charge, credit, and look at the books."""

from typing import Any, cast

from chaincode import accounts, budget
from chaincode.budget import Charge
from chaincode.contract import Value
from tests.chaincode.neighbourhood import (
    DEVICES,
)
from tests.chaincode.world import World

BATTERY, EV, LOAD, PV = DEVICES
BUDGET_FIELDS = (
    "state", "available", "reserved", "allocated", "earned", "spent", "lent", "borrowed", "owed", "forecast", "used",
    "used_wh",
)  # fmt: skip


def hold(world: World, device: str, ref: bytes, amount: int, period: int = 0) -> bool:
    with world.transaction() as ctx:
        return budget.hold(ctx, device, period, ref, amount)


def resolve(world: World) -> dict[bytes, bool]:
    with world.transaction() as ctx:
        return dict(budget.resolve_needs(ctx))


def charge(world: World, amounts: dict[str, int], target: str = "utility", period: int = 0) -> tuple[int, ...]:
    with world.transaction() as ctx:
        charges = [Charge(device, amount) for device, amount in amounts.items()]
        return budget.charge_all(ctx, "home-1", period, charges, target, "retail", b"run")


def credit(world: World, device: str, amount: int, period: int = 0) -> None:
    """Pay ``device`` for energy, out of an escrow that another network has filled."""
    with world.transaction() as ctx:
        accounts.mint(ctx, "escrow:1", amount, "test", b"")
        budget.credit(ctx, device, period, amount, "escrow:1", "sale", b"run")


def book(world: World, device: str, period: int = 0) -> dict[str, Any]:
    values = cast("tuple[Value, ...]", world.query("budget", "budget", device=device, period=period))
    return dict(zip(BUDGET_FIELDS, values, strict=True))


def pool(world: World, period: int = 0) -> int:
    return cast("int", world.query("accounts", "account", account=f"pool:home-1:{period}"))


def topics(world: World, *wanted: str) -> list[tuple[str, str]]:
    return [(event.topic, event.keys[0]) for event in world.events if event.topic in wanted]


def check_sum(world: World) -> None:
    issued, redeemed, whole = cast("tuple[int, int, int]", world.query("accounts", "audit"))
    assert issued - redeemed == whole
