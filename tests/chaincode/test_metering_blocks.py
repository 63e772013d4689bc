"""Readings in real blocks: a block is a set, and replaying it gives the same."""

import random
from typing import Any

from chaincode.settlement_messages import reading_message
from node.ledger.execution import Execution
from node.model.keys import SigningKey
from node.model.transaction import Transaction
from tests.chaincode.market_chain import KEYS, MarketChain
from tests.chaincode.marketplace import DEVICES, SLOT_S
from tests.chaincode.meters import running

LOAD, PV, BATTERY = "home-1/load", "home-2/pv", "home-1/battery"


def row(chain: MarketChain, device: str, slot: int, wh: int, register: int, key: SigningKey) -> tuple[Any, ...]:
    """A signed row of a meter that imports."""
    message = reading_message(chain.chain, device, slot, (wh, 0), (register, 0))
    return (device, slot, wh, 0, register, 0, key.sign(message))


def executed(chain: MarketChain, time: int, transactions: list[Transaction]) -> Execution:
    """Execute and store a block."""
    execution = chain.execute(time, transactions)
    chain.commit(execution)
    return execution


def run(seed: int) -> list[bytes]:
    """Two blocks of readings, corrections and gaps, their transactions shuffled; the state roots."""
    shuffle = random.Random(seed).shuffle
    chain = MarketChain()
    roots = []
    executed(chain, 0, [])
    executed(chain, SLOT_S, [])
    meters = {device: KEYS[f"meter {device}"] for device in DEVICES}
    first = [
        chain.tx("club", "settlement", "collect", rows=(row(chain, LOAD, 0, 100, 500, meters[LOAD]),)),
        chain.tx(
            f"meter {BATTERY}", "settlement", "report_day", device=BATTERY, first_slot=0, rows=running([(5, 0)], (0, 0))
        ),
        # Whoever comes first in the block's own order is taken, the other is a conflict.
        chain.tx(
            f"meter {LOAD}", "settlement", "report_day", device=LOAD, first_slot=0, rows=running([(90, 0)], (400, 0))
        ),
        chain.tx(
            f"meter {LOAD}", "settlement", "correct", device=LOAD, first_slot=0, rows=running([(80, 0)], (420, 0))
        ),
    ]
    shuffle(first)
    execution = executed(chain, SLOT_S + 1, first)
    roots.append(execution.block.header.state_root)
    for time in range(SLOT_S + 300, 4 * SLOT_S + 1, 300):  # less than an outage
        executed(chain, time, [])
    second = [
        chain.tx("club", "settlement", "collect", rows=(row(chain, LOAD, 3, 10, 1_510, meters[LOAD]),)),
        chain.tx(
            f"meter {BATTERY}", "settlement", "report_day", device=BATTERY, first_slot=3, rows=running([(5, 0)], (0, 0))
        ),
    ]
    shuffle(second)
    execution = executed(chain, 4 * SLOT_S + 1, second)
    assert any(event.topic == "spread" for event in execution.events)
    roots.append(execution.block.header.state_root)
    return roots


def test_the_order_within_a_block_means_nothing() -> None:
    assert run(1) == run(2) == run(3)
