"""Budgets inside real blocks: the order within a batch means nothing, and the books follow from stored blocks alone."""

import json
import random
from collections import Counter
from typing import Any, Final

import pytest

from chaincode.contract import Context
from node.model.genesis import Genesis
from node.model.keys import SigningKey, verify
from node.model.transaction import Transaction, sign_transaction
from tests.at_length import examples
from tests.chaincode import market_chain
from tests.chaincode.budget_auditor import Auditor
from tests.chaincode.budget_town import DEVICES, MEMBER_OF, MEMBERS, NETWORK_OF, NETWORKS, PERIOD_SLOTS, town_settings
from tests.chaincode.market_chain import FOREVER, MarketChain
from tests.chaincode.marketplace import FEED_IN, RETAIL, SLOT_S, key_of
from tests.chaincode.world import STEPS

NAMES: Final = (*DEVICES, *(f"meter {device}" for device in DEVICES), *NETWORKS, *MEMBERS, "utility", "club")
KEYS: Final = {name: SigningKey(key_of(name)) for name in NAMES}
COMMON: Final = {
    ("market", "place"), ("budget", "share"), ("budget", "allocate"), ("budget", "withdraw"), ("budget", "set_policy"),
    ("agreements", "propose"), ("agreements", "accept"), ("agreements", "share"), ("sales", "offer"),
    ("sales", "accept"), ("requests", "ask"), ("requests", "grant"), ("companies", "assign"),
    ("supply", "issue_company"), ("supply", "return_tokens"),
}  # fmt: skip
AMOUNTS: Final = (500, 20_000, 90_000)


class BudgetChain(MarketChain):
    """The two companies of ``budget_town`` on a real ledger."""

    def __init__(self) -> None:
        text = json.dumps(town_settings({"tick_s": 5, "outage_s": 600}))
        for name, key in KEYS.items():
            text = text.replace(key_of(name).hex(), key.public_key.hex())
        street = market_chain.genesis()
        super().__init__(Genesis(1, "two companies", street.token, street.members, 0, 0, 1, json.loads(text)))
        self.nonces = dict.fromkeys(KEYS, 0)

    def tx(self, sender: str, contract: str, method: str, **args: Any) -> Transaction:
        self.nonces[sender] += 1
        return sign_transaction(KEYS[sender], self.chain, self.nonces[sender], contract, method, args, FOREVER)

    def head(self) -> Context:
        """The state after the newest block."""
        overlay, head = self.ledger.state.overlay(), self.ledger.head
        overlay.begin()
        times = {"time": head.time, "previous_time": head.time, "height": head.height}
        who = {"chain": self.chain, "sender": b"", "tx_id": b"", "verifier": verify}
        return Context(overlay, **times, **who, step_limit=STEPS)  # type: ignore[arg-type]


def start(chain: BudgetChain) -> list[list[Transaction]]:
    """Two periods' money, some of it allocated; two agreements to help and one to sell."""
    issues, allocations = [], []
    for network in NETWORKS:
        own = [device for device, owner in NETWORK_OF.items() if owner == network]
        for period in (0, 1):
            of = {"network": network, "period": period}
            issues.append(chain.tx("utility", "budget", "issue", **of, amount=400_000, reference=b"1"))
            amounts = [[device, 20_000 * number] for number, device in enumerate(own, 1)]
            allocations.append(chain.tx(network, "budget", "allocate", **of, amounts=amounts))
    agreed: list[tuple[str, str, dict[str, Any]]] = [
        ("cold", "oven", {"kind": "share", "automatic": True, "price": 0}),
        ("oven", "air", {"kind": "share", "automatic": True, "price": 0}),
        ("air", "cold", {"kind": "sale", "automatic": False, "price": 800}),
    ]
    rest: dict[str, Any] = {"cap": 300_000, "same_class": False, "rank": 1, "first_slot": 0, "end_slot": 0}
    proposals = [
        chain.tx(giver, "agreements", "propose", giver=giver, taker=taker, **terms, **rest)
        for giver, taker, terms in agreed
    ]
    return [issues, allocations, proposals]


def some_call(chain: BudgetChain, rng: random.Random, time: int) -> Transaction:
    """What somebody may want; agreements, requests and sales are numbered from 1."""
    slot, device, network = time // SLOT_S, rng.choice(list(DEVICES)), rng.choice(NETWORKS)
    period, amount, number = slot // PERIOD_SLOTS, rng.choice(AMOUNTS), rng.randint(1, 4)
    of: dict[str, Any] = {"network": NETWORK_OF[device], "period": period}
    holder = {"kind": "network", "name": network, "period": period}
    own = [other for other, owner in NETWORK_OF.items() if owner == NETWORK_OF[device]]
    kind = rng.randrange(14)
    if kind <= 3:
        side = "sell" if DEVICES[device][1] == "pv" else "buy"
        what = {"slot": slot + rng.randint(0, 1), "energy_wh": rng.randint(100, 900)}
        price = rng.randint(FEED_IN, 40) if side == "sell" else rng.randint(60, RETAIL)
        return chain.tx(device, "market", "place", device=device, side=side, **what, price=price)
    if kind <= 5:
        method = "withdraw" if kind == 4 else "allocate"
        return chain.tx(NETWORK_OF[device], "budget", method, **of, amounts=[[device, amount]])
    if kind == 6:
        giver, receiver = rng.sample(own, 2)
        sides = {"giver": giver, "receiver": receiver, "period": period, "amount": amount}
        return chain.tx(NETWORK_OF[giver], "budget", "share", **sides)
    if kind == 7:
        rows = [[other, rng.randint(0, 3), 0, True, None, 0, 0] for other in own]
        terms = {"pool_helps": rng.random() < 0.5, "pool_floor": rng.choice((0, 20_000))}
        return chain.tx(NETWORK_OF[device], "budget", "set_policy", network=NETWORK_OF[device], **terms, devices=rows)
    if kind == 8:
        giver = rng.choice(["", *own])
        asked = {"giver": giver, "period": period, "amount": amount, "reason": "hot"}
        return chain.tx(device, "requests", "ask", device=device, **asked)
    if kind == 9:
        return chain.tx(network, "requests", "grant", request=rng.randint(1, 12), amount=500)
    if kind == 10:
        if rng.random() < 0.5:
            return chain.tx(network, "agreements", "accept", agreement=number)
        return chain.tx(network, "agreements", "share", agreement=number, period=period, amount=amount)
    if kind == 11:
        if rng.random() < 0.5:
            return chain.tx("air", "sales", "offer", agreement=3, period=period, amount=amount)
        return chain.tx("cold", "sales", "accept", sale=rng.randint(1, 3), payment=b"paid")
    if kind == 12:
        if rng.random() < 0.5:
            money = {
                "member": "chain",
                "period": period,
                "amount": amount,
                "reference": b"%d" % chain.nonces["utility"],
            }
            return chain.tx("utility", "supply", "issue_company", **money)
        return chain.tx(MEMBER_OF[network], "companies", "assign", network=network, period=period, amount=amount)
    return chain.tx(network, "supply", "return_tokens", **holder, amount=500, reference=b"r")


@pytest.mark.parametrize("seed", range(1, 1 + examples(3)))
def test_a_batch_of_budgets_is_a_set(seed: int) -> None:
    """Shuffled, a batch gives the same shares, the same money and the same root; the auditor who reads the stored
    events of each block has the books of its state.
    """
    chain, rng = BudgetChain(), random.Random(seed)
    auditor, done = Auditor(NETWORK_OF, MEMBER_OF), set()
    topics: Counter[str] = Counter()
    time, batches = 1, start(chain)
    while time < (2 * PERIOD_SLOTS + 3) * SLOT_S:
        batch = batches.pop(0) if batches else [some_call(chain, rng, time) for _ in range(rng.randint(4, 24))]
        execution = chain.execute(time, batch)
        for _ in range(2):
            again = chain.execute(time, rng.sample(batch, len(batch)))
            assert again.block.header.state_root == execution.block.header.state_root
            assert again.events == execution.events
            assert set(again.receipts) == set(execution.receipts)
        chain.commit(execution)
        told = chain.ledger.events(chain.ledger.head.height)
        auditor.read(told, time // SLOT_S)
        auditor.check(chain.head())
        topics.update(event.topic for event in told)
        ok = {receipt.tx_id for receipt in execution.receipts if receipt.code == "ok"}
        done |= {(tx.payload.contract, tx.payload.method) for tx in batch if tx.id in ok}
        time += rng.choice((5, 5, 10, 300, 900)) if not batches else 1
    assert len(COMMON - done) <= 3, COMMON - done
    assert topics["period-closed"] and topics["shared"] > 20 and topics["fill"]
    assert not topics.keys() & {"hook-failed", "market-parked", "settlement-parked", "needs-refused"}
