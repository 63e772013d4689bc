"""What is behind an alert, while its slots' details are there and when they have been deleted."""

import asyncio
from collections.abc import Mapping
from typing import Any

from chaincode.contract import ContractError, Value
from cli.alert_trail import Trail, trail_of
from cli.alerts import read_alerts
from node.errors import RefusedError
from tests.chaincode.marketplace import SLOT_S, marketplace, order
from tests.chaincode.world import World

BUDGET = 80_000


def read(world: World) -> Any:
    async def ask(contract: str, method: str, args: Mapping[str, Any]) -> Value:
        try:
            return world.query(contract, method, **args)
        except ContractError as refusal:  # as a gateway's client has it
            raise RefusedError(refusal.code, refusal.message) from refusal

    return ask


def alerts(world: World) -> dict[tuple[str, str], dict[str, Any]]:
    rows = asyncio.run(read_alerts(read(world), "home-1"))
    return {(row["device"], row["cause"]): row for row in rows}


def trail(world: World, alert: dict[str, Any]) -> Trail:
    return asyncio.run(trail_of(read(world), "home-1", alert))


def until(world: World, slot: int) -> None:
    while world.time < slot * SLOT_S:
        world.next_block(world.time + 300)


def test_a_trail_before_and_after_the_details_go() -> None:
    """The load buys for more than it has; the battery helps, and both are estimated afterwards."""
    world = marketplace(allocated=BUDGET, retention_s=SLOT_S)
    until(world, 20)
    bought = order(world, "home-1/load", "buy", slot=21, wh=1_000, price=100)
    order(world, "home-2/pv", "sell", slot=21, wh=1_000, price=88)
    until(world, 24)
    found = alerts(world)
    ahead, borrowed = found["home-1/load", "ahead"], found["home-1/load", "borrowed"]
    whole = trail(world, ahead)
    assert whole.complete and 21 not in whole.deleted, "what is deleted by then has cost nothing"
    assert sum(step.amount for step in whole.steps) == ahead["figures"][0] > BUDGET
    assert {(step.what, step.slot, step.reference) for step in whole.steps} >= {("bought", 21, bought)}
    (share,) = trail(world, borrowed).steps
    assert (share.by, share.reference, share.slot, share.rule) == ("home-1/battery", bought, 21, "rank 100")
    assert share.note == "for an order, order to buy 1000 Wh at bus b1, FILLED"

    until(world, 30)
    later = trail(world, ahead)
    assert 21 in later.deleted and not later.complete
    (kept,) = trail(world, borrowed).steps
    assert kept == share._replace(slot=-1, note="for an order"), "the share stays, the order is gone"
    assert alerts(world)["home-1/load", "ahead"] == ahead, "an alert says the same for ever"
