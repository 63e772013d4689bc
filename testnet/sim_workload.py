"""What simulated clients do, and the books that are kept of it.

``Payments`` runs a contract so small that its every effect is re-derived here, independently: balances, receipts'
codes and the calendar's strokes.
"""

import functools
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, ClassVar, Protocol

from chaincode.governance import Governance
from chaincode.registry import Registry
from node.ledger.chain import UNUSED_CODES
from testnet.checker import Books, ChainBlock
from testnet.sim_contract import CHIME_S, Bank
from testnet.sim_epochs import execution_order

OPENING_BALANCE = 500


class Workload(Books, Protocol):
    """What clients call, on which contracts. ``time_scales``: what the chain's may be."""

    time_scales: ClassVar[tuple[int, ...]]

    def registry(self) -> Registry: ...

    def contracts(self, clients: Sequence[bytes]) -> dict[str, dict[str, Any]]:
        """The contracts' part of the genesis; ``clients``: public keys."""
        ...

    def next_call(self, client: int, dice: Random, block_time: int) -> tuple[str, str, dict[str, Any]]:
        """Contract, method and arguments of the client's next transaction."""
        ...


@functools.cache
def _bank_registry() -> Registry:
    return Registry([Bank(), Governance()])


class Payments:
    """Clients pay one another; some try to pay more than they have."""

    time_scales: ClassVar[tuple[int, ...]] = (1, 1, 5)

    def __init__(self) -> None:
        self._clients: tuple[bytes, ...] = ()

    def registry(self) -> Registry:
        return _bank_registry()

    def contracts(self, clients: Sequence[bytes]) -> dict[str, dict[str, Any]]:
        self._clients = tuple(clients)
        return {"bank": {"accounts": [key.hex() for key in clients], "balance": OPENING_BALANCE}}

    def next_call(self, client: int, dice: Random, block_time: int) -> tuple[str, str, dict[str, Any]]:
        other = (client + dice.randrange(1, len(self._clients))) % len(self._clients)
        return "bank", "pay", {"to": self._clients[other], "amount": dice.randint(1, OPENING_BALANCE)}

    def check(self, chain: Sequence[ChainBlock], opening_time: int, query: Callable[..., object]) -> str | None:
        balances = dict.fromkeys(self._clients, OPENING_BALANCE)
        for height, block in enumerate(chain, start=1):
            fault = self._pay(block, balances)
            if fault is not None:
                return f"block {height}: {fault}"
        if sum(balances.values()) != OPENING_BALANCE * len(self._clients):
            return "money was made or lost"
        for owner, balance in balances.items():
            told = query("bank", "balance", owner=owner)
            if told != balance:
                return f"{owner.hex()[:8]} has {told} where {balance} is right"
        told = query("bank", "strokes")
        strokes = chain[-1].time // CHIME_S - opening_time // CHIME_S if chain else 0
        return None if told == strokes else f"the calendar struck {told} times where {strokes} are right"

    def _pay(self, block: ChainBlock, balances: dict[bytes, int]) -> str | None:
        codes = {receipt.tx_id: receipt.code for receipt in block.receipts}
        for tx in execution_order(block.parent_hash, block.transactions):
            code = codes[tx.id]
            if code in UNUSED_CODES or tx.payload.contract != "bank":
                continue
            source, target, amount = tx.payload.sender, tx.payload.args["to"], tx.payload.args["amount"]
            right = "ok" if balances[source] >= amount else "insufficient-funds"
            if code != right:
                return f"{tx.id.hex()[:12]} has the receipt {code!r} where {right!r} is right"
            if code == "ok":
                balances[source] -= amount
                balances[target] += amount
        return None
