"""What simulated clients do, and the books that are kept of it.

``Payments`` runs a contract so small that its every effect is re-derived here, independently: balances, receipts'
codes and the calendar's strokes.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, ClassVar, Protocol

from chaincode.governance import Governance
from chaincode.motions import Motions
from chaincode.registry import Registry
from chaincode.upgrades import Find
from node.ledger.chain import UNUSED_CODES
from testnet.checker import Books, ChainBlock
from testnet.sim_contract import CHIME_S, GIFT, PACKAGES, Bank, Package
from testnet.sim_epochs import execution_order

OPENING_BALANCE = 500


class Workload(Books, Protocol):
    """What clients call, on which contracts. ``time_scales``: what the chain's may be; ``packages``: the upgrades of
    its contracts that there are, none of which needs another."""

    time_scales: ClassVar[tuple[int, ...]]
    packages: ClassVar[tuple[Package, ...]]

    def registry(self, find: Find | None = None) -> Registry:
        """The contracts; ``find``: gives the bundles that a node has, where members may decide about upgrades."""
        ...

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
    packages: ClassVar[tuple[Package, ...]] = PACKAGES

    def __init__(self) -> None:
        self._clients: tuple[bytes, ...] = ()

    def registry(self, find: Find | None = None) -> Registry:
        return _bank_registry() if find is None else Registry([Bank(), Motions(), Governance()], find)

    def contracts(self, clients: Sequence[bytes]) -> dict[str, dict[str, Any]]:
        self._clients = tuple(clients)
        return {"bank": {"accounts": [key.hex() for key in clients], "balance": OPENING_BALANCE}}

    def next_call(self, client: int, dice: Random, block_time: int) -> tuple[str, str, dict[str, Any]]:
        other = (client + dice.randrange(1, len(self._clients))) % len(self._clients)
        return "bank", "pay", {"to": self._clients[other], "amount": dice.randint(1, OPENING_BALANCE)}

    def check(self, chain: Sequence[ChainBlock], opening_time: int, query: Callable[..., object]) -> str | None:
        balances = dict.fromkeys(self._clients, OPENING_BALANCE)
        fees: Counter[int] = Counter()
        served: Counter[int] = Counter()
        gifts, fee, code = 0, 0, b""
        for height, block in enumerate(chain, start=1):
            if block.code != code:
                code, fee = block.code, next(each.fee for each in self.packages if each.digest == block.code)
                gifts += GIFT * len(balances)
                balances = {owner: balance + GIFT for owner, balance in balances.items()}
            served[fee] += not block.is_null
            fault = self._pay(block, balances, fee, fees)
            if fault is not None:
                return f"block {height}: {fault}"
        if sum(balances.values()) + fees.total() != OPENING_BALANCE * len(self._clients) + gifts:
            return "money was made or lost"
        for owner, balance in balances.items():
            told = query("bank", "balance", owner=owner)
            if told != balance:
                return f"{owner.hex()[:8]} has {told} where {balance} is right"
        told = query("bank", "strokes")
        strokes = chain[-1].time // CHIME_S - opening_time // CHIME_S if chain else 0
        if told != strokes:
            return f"the calendar struck {told} times where {strokes} are right"
        return self._check_upgraded(served, fees, query) if code else None

    def _check_upgraded(self, served: Counter[int], fees: Counter[int], query: Callable[..., object]) -> str | None:
        """Whether each code ran in as many blocks as were its own, and took its fees."""
        for fee in {each.fee for each in self.packages}:
            told = query("bank", "served", fee=fee)
            if told != served[fee]:
                return f"the code with a fee of {fee} ran in {told} blocks where {served[fee]} are right"
        told = query("bank", "fees")
        return None if told == fees.total() else f"{told} were paid in fees where {fees.total()} are right"

    def _pay(self, block: ChainBlock, balances: dict[bytes, int], fee: int, fees: Counter[int]) -> str | None:
        codes = {receipt.tx_id: receipt.code for receipt in block.receipts}
        for tx in execution_order(block.parent_hash, block.transactions):
            code = codes[tx.id]
            if code in UNUSED_CODES or tx.payload.contract != "bank":
                continue
            source, target, amount = tx.payload.sender, tx.payload.args["to"], tx.payload.args["amount"]
            right = "ok" if balances[source] >= amount + fee else "insufficient-funds"
            if code != right:
                return f"{tx.id.hex()[:12]} has the receipt {code!r} where {right!r} is right"
            if code == "ok":
                balances[source] -= amount + fee
                balances[target] += amount
                fees[fee] += fee
        return None
