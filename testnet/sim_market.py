"""The market's own contracts in the simulator: homes on a street trade slots while the network suffers.

The first client is the utility, every other one is a home's owner with a load and a photovoltaic device. Block time
runs fast, so that gates close, auctions clear and slots end within a history.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from typing import Any, ClassVar

from chaincode.registry import Registry, default_registry, registry_with
from chaincode.upgrades import Find
from node.ledger.chain import UNUSED_CODES
from testnet.checker import ChainBlock
from testnet.sim_contract import Package

SLOT_S = 1800
TICK_S = 60
PERIOD_SLOTS = 48
RETAIL, FEED_IN = 100, 20
ISSUED = 50_000_000


class Trading:
    """Clients issue, allocate, order and cancel."""

    time_scales: ClassVar[tuple[int, ...]] = (60, 200)
    packages: ClassVar[tuple[Package, ...]] = ()

    def __init__(self) -> None:
        self._homes: list[str] = []

    def registry(self, find: Find | None = None) -> Registry:
        return default_registry() if find is None else registry_with(find)

    def contracts(self, clients: Sequence[bytes]) -> dict[str, dict[str, Any]]:
        utility, *owners = clients
        self._homes = [f"home-{number}" for number in range(1, len(owners) + 1)]
        buses = [f"b{number}" for number in range(len(owners) + 1)]
        lines = [[before, bus, 100, 5, None, None] for before, bus in pairwise(buses)]
        devices: list[list[object]] = []
        for home, bus, owner in zip(self._homes, buses[1:], owners, strict=True):
            key = owner.hex()
            devices.append(
                [f"{home}/load", home, "load", _made_up(key, 1), _made_up(key, 2), bus, 10_000, 0, False, False]
            )
            devices.append([f"{home}/pv", home, "pv", _made_up(key, 3), _made_up(key, 4), bus, 0, 10_000, False, True])
        return {
            "grid": {"root": buses[0], "lines": lines},
            "identity": {
                "admins": [_made_up(utility.hex(), 5)],
                "members": [
                    ["club", _made_up(utility.hex(), 6), ["aggregator"]],
                    ["utility", utility.hex(), ["utility"]],
                ],
                "networks": [
                    [home, "club", owner.hex(), bus]
                    for home, owner, bus in zip(self._homes, owners, buses[1:], strict=True)
                ],
                "devices": devices,
            },
            "budget": {"period_slots": PERIOD_SLOTS},
            "market": {
                "slot_seconds": SLOT_S,
                "open_before_s": 2 * SLOT_S,
                "gate_before_end_s": 600,
                "tick_s": TICK_S,
                "metering_window_s": 600,
                "dispute_window_s": 600,
                "tariffs": [[0, RETAIL, FEED_IN]],
            },
        }

    def next_call(self, client: int, dice: Random, block_time: int) -> tuple[str, str, dict[str, Any]]:
        slot = block_time // SLOT_S
        if client == 0:
            home = dice.choice(self._homes)
            money = {"network": home, "period": slot // PERIOD_SLOTS, "amount": ISSUED, "reference": dice.randbytes(8)}
            return "budget", "issue", money
        home = self._homes[client - 1]
        if dice.random() < 0.3:
            amounts = [[f"{home}/load", dice.randint(1, ISSUED // 4)]]
            return "budget", "allocate", {"network": home, "period": slot // PERIOD_SLOTS, "amounts": amounts}
        if dice.random() < 0.1:
            return "market", "cancel", {"order": dice.randbytes(16)}
        buys = dice.random() < 0.5
        order = {
            "device": f"{home}/{'load' if buys else 'pv'}",
            "side": "buy" if buys else "sell",
            "slot": slot + dice.randint(0, 2),
            "energy_wh": dice.randint(1, 20) * 100,
            "price": dice.randint(FEED_IN, RETAIL),
        }
        return "market", "place", order

    def check(self, chain: Sequence[ChainBlock], opening_time: int, query: Callable[..., object]) -> str | None:
        issued = 0
        for block in chain:
            for tx, receipt in zip(block.transactions, block.receipts, strict=True):
                if receipt.code in UNUSED_CODES or receipt.code != "ok" or tx.payload.method != "issue":
                    continue
                issued += tx.payload.args["amount"]
        told = query("accounts", "audit")
        if type(told) is not tuple or told[0] != issued:
            return f"the ledger says (issued, redeemed, held) {told}, the blocks issued {issued}"
        if told[0] - told[1] != told[2]:
            return f"money was made or lost: {told}"
        return None


def _made_up(key: str, number: int) -> str:
    """Another public key than ``key``, of nobody."""
    return (int(key, 16) ^ number).to_bytes(32, "big").hex()
