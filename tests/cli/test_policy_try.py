"""What a trial of a policy takes from the ledger: random days of the street, settled, corrected, over, and pruned."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode.budget_policy import Donor, Policy
from chaincode.contract import ContractError
from cli.answers import Reader
from cli.policy_check import policy_on_chain
from cli.policy_rehearsal import Facts, rehearse
from cli.policy_try import facts_of
from node.errors import RefusedError
from tests.chaincode.marketplace import PERIOD_SLOTS, SLOT_S, UTILITY, key_of, marketplace, order
from tests.chaincode.statement_days import NETWORKS, a_day
from tests.chaincode.world import World

LATE = 8 * SLOT_S


def reader(world: World) -> Reader:
    async def read(contract: str, method: str, args: Mapping[str, Any]) -> Any:
        try:
            return world.query(contract, method, **args)
        except ContractError as error:
            raise RefusedError(error.code, error.message) from error

    return read


def facts(world: World, network: str, period: int = 0) -> Facts:
    return asyncio.run(facts_of(reader(world), network, period, SLOT_S))


def over(world: World) -> World:
    """The same world when period 0 has ended."""
    world.next_block(PERIOD_SLOTS * SLOT_S + 60)
    return world


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32))
def test_costs_are_what_was_settled_and_a_replay_loses_nothing(seed: int) -> None:
    """Random days; what is replayed costs each network what its bill says, and money is conserved under any policy."""
    world = over(a_day(seed, until_s=LATE))
    for network in NETWORKS:
        bill: Any = world.query("settlement", "bill", network=network, first_slot=0, last_slot=PERIOD_SLOTS - 1)
        found = facts(world, network)
        flows = [flow for *_, rows in found.flows for flow in rows]
        assert sum(flow.cost - flow.earned for flow in flows) == bill[1]
        then = asyncio.run(policy_on_chain(reader(world), network, PERIOD_SLOTS - 1))
        rows = tuple((device, *Donor(gives=False, limit=20_000)) for device, *_ in found.devices)
        for policy, terms in (then, (Policy(allocation="history", proceeds="device"), rows)):
            outcome = rehearse(found, policy, terms)
            left = outcome.pool + sum(fate.left for fate in outcome.fates.values())
            assert left == found.funds - bill[1] + outcome.owed


@pytest.mark.parametrize("excess", ["return", "redeem"])
def test_what_the_owner_returned_meanwhile_is_not_there_and_what_the_close_took_is(excess: str) -> None:
    world = marketplace(allocated=0)
    of: dict[str, Any] = {"network": "home-3", "period": 0}
    world.call(UTILITY, "budget", "issue", **of, amount=1_000, reference=b"r")
    world.call(UTILITY, "supply", "publish_price", permille=500, from_slot=2)
    world.call(key_of("home-3"), "budget", "set_policy", network="home-3", carry_cap=100, excess=excess)
    gone: dict[str, Any] = {"kind": "network", "name": "home-3", "period": 0, "reference": b"x"}
    world.call(key_of("home-3"), "supply", "return_tokens", **gone, amount=300)
    while world.time < (PERIOD_SLOTS + 8) * SLOT_S:
        world.next_block(world.time + 600)
    found: Any = world.query("periods", "period", **of)
    assert found[0] == "closed"
    assert facts(world, "home-3").funds == 700


def test_help_of_the_pool_is_no_allocation() -> None:
    """By hand, a device got 10,000; its order of 200,000 was helped by the pool with the rest, and so it is again."""
    world = marketplace(allocated=0)
    for network in ("home-2", "home-3"):
        world.call(UTILITY, "budget", "issue", network=network, period=0, amount=1_000_000, reference=b"r")
    of: dict[str, Any] = {"network": "home-3", "period": 0}
    world.call(key_of("home-3"), "budget", "allocate", **of, amounts=(("home-3/ev", 10_000),))
    world.call(key_of("home-3"), "budget", "set_policy", network="home-3", pool_helps=True)
    order(world, "home-3/ev", "buy", wh=2_000, price=100, slot=1)
    order(world, "home-2/pv", "sell", wh=2_000, price=20, slot=1)
    while world.time < (PERIOD_SLOTS + 8) * SLOT_S:
        world.next_block(world.time + 600)
    shares: Any = world.query("budget", "shares", **of)
    (giver, receiver, amount, returned, *_), *_ = shares
    assert (giver, receiver, amount) == ("", "home-3/ev", 190_000)
    found = facts(world, "home-3")
    assert found.allocated["home-3/ev"] == 10_000
    then = asyncio.run(policy_on_chain(reader(world), "home-3", PERIOD_SLOTS - 1))
    fate = rehearse(found, *then).fates["home-3/ev"]
    assert (fate.out, fate.helpers) == (1, (("", amount - returned),))


def test_a_period_that_is_not_over_or_has_lost_its_details_is_refused() -> None:
    world = a_day(4, until_s=LATE)
    with pytest.raises(RefusedError, match="period-not-over"):
        facts(world, NETWORKS[0])
    with pytest.raises(RefusedError, match="pruned: the details of slot 0 have been deleted"):
        facts(over(a_day(4, until_s=LATE, retention_s=600)), NETWORKS[0])
