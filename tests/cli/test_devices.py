"""What the ranking of devices says of a period that is over, and whom a name means."""

import asyncio

import pytest

from cli.devices import read_devices, state_shown
from cli.periods import network_of
from node.errors import RefusedError
from tests.chaincode.marketplace import PERIOD_SLOTS, SLOT_S
from tests.chaincode.statement_days import NETWORKS, a_day
from tests.cli.test_policy_try import LATE, reader


def test_of_a_period_that_is_over_no_device_is_called_depleted() -> None:
    """Its close takes what devices have left, so all of them would be."""
    world = a_day(4, until_s=LATE)
    running = asyncio.run(read_devices(reader(world), NETWORKS[0], None))
    assert {row["status"] for row in running} == {"active"}
    assert [state_shown(row) for row in running] == [row["state"] for row in running]
    world.next_block(PERIOD_SLOTS * SLOT_S + 60)
    over = asyncio.run(read_devices(reader(world), NETWORKS[0], 0))
    assert {state_shown(row) for row in over} == {"closing"}
    assert state_shown({**over[0], "status": "closed", "state": "depleted"}) == "closed"


def test_a_name_is_a_networks_or_a_devices() -> None:
    read = reader(a_day(4, until_s=0))
    assert asyncio.run(network_of(read, "home-1")) == asyncio.run(network_of(read, "home-1/load")) == "home-1"
    with pytest.raises(RefusedError, match="unknown-network: there is no network club, and no device"):
        asyncio.run(network_of(read, "club"))
