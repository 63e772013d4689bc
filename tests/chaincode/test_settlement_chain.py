"""Corrections on a real chain: signed, in blocks, under certificates; the order within a batch means nothing, and the
same root comes out whatever the hash seed.

Run as a program it prints the last state root.
"""

import os
import random
import subprocess
import sys
from typing import Any, cast

from chaincode.settlement_ledger import Settled
from node.ledger.execution import Execution
from node.model.transaction import Transaction
from tests.chaincode.market_chain import MarketChain
from tests.chaincode.marketplace import DEVICES, SLOT_S

METERED_S = 2 * SLOT_S + 900
HOMES = ("home-1", "home-2", "home-3")


class Day:
    """Slot 1 is traded, metered, settled, corrected over some blocks, and becomes FINAL."""

    def __init__(self) -> None:
        self.chain = MarketChain()
        self.rng = random.Random(5)
        self.told: list[Any] = []

    def block(self, time: int, transactions: list[Transaction]) -> Execution:
        """Execute, whatever the order within the batch; commit; nothing but what the rules refuse may fail."""
        execution = self.chain.execute(time, transactions)
        shuffled = self.rng.sample(transactions, len(transactions))
        assert self.chain.execute(time, shuffled).block.header.state_root == execution.block.header.state_root
        self.chain.commit(execution)
        self.told += execution.events
        assert not [event for event in execution.events if event.topic in ("hook-failed", "settlement-parked")]
        assert {receipt.code for receipt in execution.receipts} <= {"ok"}
        return execution

    def say(self, method: str, device: str, wh: tuple[int, int]) -> Transaction:
        return self.chain.tx(f"meter {device}", "settlement", method, device=device, first_slot=1, rows=[[*wh, *wh]])

    def run(self) -> bytes:
        tx = self.chain.tx
        money = {home: [name for name in DEVICES if name.startswith(home)] for home in HOMES}
        args: dict[str, Any] = {"period": 0, "amount": 160_000, "reference": b"1"}
        self.block(0, [tx("utility", "budget", "issue", network=home, **args) for home in HOMES])
        allocations = {home: [[name, 80_000] for name in own] for home, own in money.items()}
        self.block(
            1, [tx(home, "budget", "allocate", network=home, period=0, amounts=allocations[home]) for home in HOMES]
        )
        order: dict[str, Any] = {"slot": 1, "until": "gate", "renewable": False}
        self.block(
            2,
            [
                tx(
                    "home-1/load",
                    "market",
                    "place",
                    device="home-1/load",
                    side="buy",
                    energy_wh=1_000,
                    price=50,
                    **order,
                ),
                tx("home-2/pv", "market", "place", device="home-2/pv", side="sell", energy_wh=1_200, price=30, **order),
            ],
        )
        time = 10
        while time < 2 * SLOT_S:
            self.block(time, [])
            time += 250
        first = {"home-1/load": (1_000, 0), "home-2/pv": (0, 1_500), "home-2/load": (300, 0)}
        self.block(2 * SLOT_S, [self.say("report_day", device, wh) for device, wh in first.items()])
        self.until(METERED_S)
        for turn in range(5):
            wh = {"home-1/load": (900 + 300 * turn, 0), "home-2/pv": (0, 1_700 - 400 * turn), "home-2/load": (turn, 0)}
            self.block(METERED_S + turn, [self.say("correct", device, figures) for device, figures in wh.items()])
        self.until(METERED_S + 1_800)
        return self.chain.ledger.head.state_root

    def until(self, time: int) -> None:
        at = self.chain.ledger.head.time
        while at < time:
            at = min(at + 250, time)
            self.block(at, [])


def test_corrections_in_real_blocks() -> None:
    day = Day()
    day.run()
    anew = [event for event in day.told if event.topic == "settled-anew"]
    assert [event.keys[0] for event in anew] == ["home-1", "home-2"] * 5
    last = Settled(*cast("Any", anew[-1].data)[1:])
    assert last.revision == 5
    assert (last.import_wh, last.export_wh) == (4, 100)
    assert (1, "FINAL") in [event.data for event in day.told if event.topic == "product"]


def test_the_same_root_with_another_hash_seed() -> None:
    command = [sys.executable, "-m", "tests.chaincode.test_settlement_chain"]
    roots = [
        subprocess.run(
            command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert roots[0] == roots[1] and len(roots[0].strip()) == 64


if __name__ == "__main__":
    print(Day().run().hex())
