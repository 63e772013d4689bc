"""What a broker makes of the ledger's answers, by the contracts themselves."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from broker import asked
from chaincode.contract import Value
from node.gateway.client import Client
from tests.chaincode.marketplace import ALLOCATED, DEVICES, SLOT_S, marketplace, order
from tests.chaincode.world import World


class Ledger:
    """A gateway's client as far as it asks, answered by contracts in this process."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def query(self, contract: str, method: str, args: Mapping[str, Any] | None = None) -> Value:
        return self._world.query(contract, method, **(args or {}))


def test_a_budget_is_what_is_free_of_it() -> None:
    world = marketplace()
    network = next(iter(DEVICES.values()))[0]
    own = [name for name, row in DEVICES.items() if row[0] == network]
    client = cast("Client", Ledger(world))

    def read() -> Any:
        period = asyncio.run(asked.period_of(client, network, 1))
        assert period.first <= 1 < period.end
        return asyncio.run(asked.budget(client, own, period, world.time, SLOT_S))

    fresh = read()
    assert fresh.available == dict.fromkeys(own, ALLOCATED) and fresh.budget_permille == 1000
    assert 0 < fresh.time_permille <= 1000
    buyer = next(name for name in DEVICES if DEVICES[name][3] > 0)
    order(world, buyer, "buy", wh=1000, price=50)
    world.next_block(world.time + 1)
    network = DEVICES[buyer][0]
    own = [buyer]
    assert read().available == {buyer: ALLOCATED - 50_000}, "what an open order holds is not free"


def test_prices_and_products() -> None:
    world = marketplace()
    client = cast("Client", Ledger(world))
    begun, _ = asyncio.run(asked.span(client))
    rows = asyncio.run(asked.opened(client))
    assert rows[0][0] == begun and all(retail >= feed_in for _, _, retail, feed_in in rows)
    cleared = asyncio.run(asked.cleared(client, begun))
    assert cleared.prices == {} and cleared.traded_wh == 0 and cleared.terms == rows[0][1:]
    assert asyncio.run(asked.readings(client, DEVICES, begun, begun + 2)) == []
