"""What the ranking of devices says of a period that is over."""

import asyncio

from cli.devices import read_devices, state_shown
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
