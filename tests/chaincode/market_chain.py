"""A short day on a real chain: signed orders, trades, readings, settlement, block by block."""

import json
import random
from collections.abc import Sequence
from typing import Any

from chaincode.registry import default_registry
from node.executor import Executor
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.ledger.store import MemoryStore, Store
from node.model.block import Batch, encode_batch
from node.model.certificate import Certificate, commit_bytes
from node.model.genesis import Genesis, Member, Token
from node.model.keys import SigningKey
from node.model.transaction import Transaction, sign_transaction
from tests.chaincode.marketplace import DEVICES, FEED_IN, RETAIL, SLOT_S, STREET, UTILITY, key_of, settings

FOREVER = 2**40
MEMBERS = [SigningKey(bytes([number]) * 32) for number in range(1, 5)]
NAMES = (*DEVICES, *(f"meter {name}" for name in DEVICES), "home-1", "home-2", "home-3", "club", "utility", "admin")
KEYS = {name: SigningKey(key_of(name)) for name in NAMES}


def genesis(**market: Any) -> Genesis:
    """The street of ``marketplace``, with keys that can sign; ``market``: settings that differ."""
    assert key_of("utility") == UTILITY
    text = json.dumps(settings(DEVICES, STREET, **{"tick_s": 5, **market}))
    for name, key in KEYS.items():
        text = text.replace(key_of(name).hex(), key.public_key.hex())
    members = tuple(Member(f"member-{i}", key.public_key.hex(), "") for i, key in enumerate(MEMBERS))
    return Genesis(1, "street", Token("WATT", 9, 1_000_000), members, 0, 0, 1, json.loads(text))


class MarketChain:
    """A ledger with all contracts, fed block by block."""

    def __init__(
        self,
        document: Genesis | None = None,
        store: Store | None = None,
        members: Sequence[SigningKey] = MEMBERS,
        **market: Any,
    ) -> None:
        """``members``: the keys of the genesis document's members, in their order; ``market``: as in ``genesis``."""
        document = self.genesis = document or genesis(**market)
        self.chain = document.chain
        self.store = store or MemoryStore()
        self.members = members
        self.ledger = Ledger.open(self.store, document, default_registry())
        self.executor = Executor(self.ledger, default_registry(), document)
        self.nonces = dict.fromkeys(NAMES, 0)

    def tx(self, sender: str, contract: str, method: str, **args: Any) -> Transaction:
        """Signed, with the sender's next nonce."""
        self.nonces[sender] += 1
        return sign_transaction(KEYS[sender], self.chain, self.nonces[sender], contract, method, args, FOREVER)

    def execute(self, time: int, transactions: list[Transaction]) -> Execution:
        """Execute a block, without committing it."""
        batch = Batch(self.chain, 0, 0, time, tuple(tx.raw for tx in transactions))
        return self.executor.execute(self.ledger.head.height + 1, encode_batch(batch))

    def commit(self, execution: Execution) -> None:
        """Append it, under a certificate of all members."""
        header = execution.block.header
        signed = commit_bytes(header.chain, header.epoch, 0, header.height, execution.block_hash)
        votes = tuple((index, key.sign(signed)) for index, key in enumerate(self.members[:3]))
        self.ledger.commit(execution, Certificate(header.epoch, 0, header.height, execution.block_hash, votes))


def day(chain: MarketChain, seed: int, blocks: int = 40) -> list[tuple[int, list[Transaction]]]:
    """A day's batches, made up from ``seed``: (block time, transactions)."""
    rng = random.Random(seed)
    money = {"network": "home-1", "period": 0}
    start = [chain.tx("utility", "budget", "issue", **money, amount=3_000_000, reference=b"1")]
    for home in ("home-2", "home-3"):
        start.append(chain.tx("utility", "budget", "issue", network=home, period=0, amount=3_000_000, reference=b"1"))
    batches = [(0, start)]
    shares = {home: [name for name in DEVICES if name.startswith(home)] for home in ("home-1", "home-2", "home-3")}
    batches.append(
        (
            1,
            [
                chain.tx(home, "budget", "allocate", network=home, period=0, amounts=[[name, 80_000] for name in own])
                for home, own in shares.items()
            ],
        )
    )
    time = 1
    for _ in range(blocks):
        time += rng.choice((1, 2, 5, 5, 300, 900))
        batches.append((time, [_some_call(chain, rng, time) for _ in range(rng.randint(0, 12))]))
    return batches


def _some_call(chain: MarketChain, rng: random.Random, time: int) -> Transaction:
    device = rng.choice(list(DEVICES))
    slot = time // SLOT_S
    kind = rng.random()
    if kind < 0.1:
        energies = {"import_wh": rng.randint(0, 300), "export_wh": 0, "import_register": 10**6, "export_register": 0}
        return chain.tx(f"meter {device}", "settlement", "report", device=device, slot=max(slot - 1, 0), **energies)
    if kind < 0.15:
        bus = rng.choice(("b1", "b2"))
        return chain.tx("home-3/ev", "identity", "connect", device="home-3/ev", bus=bus, slot=slot + 1)
    side = "sell" if DEVICES[device][1] == "pv" else "buy"
    what = {"slot": slot + rng.randint(0, 2), "energy_wh": rng.randint(100, 900), "price": rng.randint(FEED_IN, RETAIL)}
    until = rng.choice(("gate", "gate", "auction"))
    return chain.tx(device, "market", "place", device=device, side=side, **what, until=until, renewable=False)
