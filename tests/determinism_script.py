"""Runs two days of the real market in blocks and prints the root of every block: the same on every machine.

The first is orders and readings, the second everything that there is: lists, replacements, bulk and corrected readings,
votes, new grids, deleted details.

    python -m tests.determinism_script

``tests/test_determinism.py`` runs it under different hash seeds and with every Python that has the packages.
"""

from random import Random

from chaincode.registry import default_registry
from node.executor import Executor
from node.ledger.chain import Ledger
from node.ledger.store import MemoryStore
from node.model.block import Batch, encode_batch
from node.model.certificate import Certificate
from node.model.codec import Value
from node.model.genesis import Genesis, Member, Token
from node.model.transaction import Transaction, sign_transaction
from tests.chaincode import busy_chain
from tests.chaincode.marketplace import ALLOCATED, DEVICES, FEED_IN, RETAIL, SLOT_S, STREET, UTILITY, key_of, settings

BLOCKS = 120
SECONDS_A_BLOCK = 61
ORDERS_A_BLOCK = 6
NEVER = 2**40


class Unsigned:
    """Stands in for a key: execution does not look at signatures."""

    def __init__(self, public_key: bytes) -> None:
        self.public_key = public_key

    def sign(self, message: bytes) -> bytes:
        return bytes(64)


class Day:
    """A chain of one node, its transactions numbered by sender."""

    def __init__(self) -> None:
        members = tuple(Member(f"m{i}", key_of(f"member {i}").hex(), "") for i in range(4))
        self.genesis = Genesis(1, "day", Token("WATT", 9, 1_000_000), members, 0, 0, 1, settings(DEVICES, STREET))
        registry = default_registry()
        self.ledger = Ledger.open(MemoryStore(), self.genesis, registry)
        self.executor = Executor(self.ledger, registry, self.genesis)
        self.nonces: dict[bytes, int] = {}
        self.codes: dict[str, int] = {}
        self.topics: dict[str, int] = {}

    def tx(self, sender: bytes, contract: str, method: str, **args: Value) -> Transaction:
        nonce = self.nonces[sender] = self.nonces.get(sender, 0) + 1
        return sign_transaction(Unsigned(sender), self.genesis.chain, nonce, contract, method, args, NEVER)

    def block(self, time: int, transactions: list[Transaction]) -> None:
        height = self.ledger.head.height + 1
        batch = Batch(self.genesis.chain, 0, 0, time, tuple(tx.raw for tx in transactions))
        execution = self.executor.execute(height, encode_batch(batch))
        self.ledger.commit(execution, Certificate(0, 0, height, execution.block_hash, ()))
        for receipt in execution.receipts:
            self.codes[receipt.code] = self.codes.get(receipt.code, 0) + 1
        for event in execution.events:
            self.topics[event.topic] = self.topics.get(event.topic, 0) + 1
        print(height, execution.block_hash.hex(), execution.block.header.state_root.hex())


def run() -> Day:
    """The day: budgets, then orders at random prices for the open slots, and readings for those that have ended."""
    random = Random(7)
    day = Day()
    homes = dict.fromkeys(row[0] for row in DEVICES.values())
    for home in homes:
        own = [name for name, row in DEVICES.items() if row[0] == home]
        issue = day.tx(
            UTILITY, "budget", "issue", network=home, period=0, amount=ALLOCATED * len(own), reference=b"start"
        )
        amounts = tuple((name, ALLOCATED) for name in own)
        allocate = day.tx(key_of(home), "budget", "allocate", network=home, period=0, amounts=amounts)
        day.block(0, [issue])
        day.block(0, [allocate])
    registers = dict.fromkeys(DEVICES, (0, 0))
    reported = 0
    for number in range(1, BLOCKS + 1):
        time = number * SECONDS_A_BLOCK
        current = time // SLOT_S
        batch = []
        for _ in range(ORDERS_A_BLOCK):
            device = random.choice(list(DEVICES))
            side = random.choice(("buy", "sell"))
            args: dict[str, Value] = {
                "device": device,
                "side": side,
                "slot": current + random.randint(0, 2),
                "energy_wh": random.randint(50, 2000),
                "price": random.randint(FEED_IN - 5, RETAIL + 5),
                "until": random.choice(("gate", "auction")),
                "renewable": random.random() < 0.3,
            }
            batch.append(day.tx(key_of(device), "market", "place", **args))
        if current > reported:
            batch.extend(_readings(day, random, reported, registers))
            reported += 1
        day.block(time, batch)
    return day


def _readings(day: Day, random: Random, slot: int, registers: dict[str, tuple[int, int]]) -> list[Transaction]:
    reports = []
    for device, (_, _, _, import_w, export_w) in DEVICES.items():
        used = random.randint(0, import_w * SLOT_S // 3600)
        fed = random.randint(0, export_w * SLOT_S // 3600)
        before = registers[device]
        registers[device] = (before[0] + used, before[1] + fed)
        args: dict[str, Value] = {
            "device": device,
            "slot": slot,
            "import_wh": used,
            "export_wh": fed,
            "import_register": registers[device][0],
            "export_register": registers[device][1],
        }
        reports.append(day.tx(key_of(f"meter {device}"), "settlement", "report", **args))
    return reports


if __name__ == "__main__":
    finished = run()
    print(sorted(finished.codes.items()), sorted(finished.topics.items()))
    print("\n".join(busy_chain.run(7)))
