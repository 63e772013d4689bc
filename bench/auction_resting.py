"""What does it cost to clear 100 new orders, depending on how many rest? The real contracts, blocks and database.

One chain on a LevelDB, a thousand homes on forty buses in a random tree with limits, half of them buyers. Its book of
one product is filled with orders that cannot trade, buys below the middle of the tariffs and sells above, up to each
number asked for. Then come rounds of two blocks: one with 100 new orders that can, for one auction only, so that they
leave the book as it was but for what they took from it; and an empty one at the next tick, which clears them. That one
is timed, in processor time: reading the book, clearing, fills, money, proof, expiry; the root of the state apart.
"""

import gc
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final, cast

from chaincode.registry import default_registry
from node.executor import Executor
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.ledger.store import LevelStore
from node.model.block import Batch, encode_batch
from node.model.certificate import Certificate
from node.model.codec import Value
from node.model.genesis import Genesis, Member, Token
from node.model.keys import SigningKey
from node.model.transaction import Transaction, sign_transaction

RESTING: Final = (0, 10_000, 100_000)
NEW: Final = 100
ROUNDS: Final = 21
HOMES: Final = 1_000
BUSES: Final = 40
RETAIL, FEED_IN = 1_000_000, 300_000
MIDDLE: Final = (RETAIL + FEED_IN) // 2
SPREAD: Final = (RETAIL - FEED_IN) // 10
BUDGET: Final = 10**15
BLOCK_ORDERS: Final = 2_000
TICK_S: Final = 10
SLOT: Final = 40
NEVER: Final = 2**40


class _Home:
    """A network with one device. Even ones buy, odd ones sell."""

    def __init__(self, number: int, bus: int) -> None:
        self.network, self.device = f"h{number:03}", f"h{number:03}/d"
        self.side = "buy" if number % 2 == 0 else "sell"
        self.bus = f"b{bus}"
        self.key = _key(f"home {number}")
        self.nonces = count(1)


class _Chain:
    """One node's ledger, that commits whatever it is given. Block time starts at 0."""

    def __init__(self, directory: Path) -> None:
        random = Random(1)
        self.utility, self.nonces = _key("utility"), count(1)
        self.homes = [_Home(number, random.randrange(BUSES)) for number in range(HOMES)]
        members = tuple(Member(f"m{number}", _key(f"member {number}").public_key.hex(), "") for number in range(4))
        settings = _settings(random, self.utility, self.homes)
        genesis = Genesis(1, "resting", Token("WATT", 9, RETAIL), members, 0, 0, 1, settings)
        registry = default_registry()
        self.chain, self.time = genesis.chain, 0
        self.ledger = Ledger.open(LevelStore(directory, create=True), genesis, registry)
        self.executor = Executor(self.ledger, registry, genesis)
        share = BUDGET // HOMES
        self.block(
            [
                self._tx(
                    self.utility, self.nonces, "issue",
                    network=home.network, period=0, amount=share, reference=b"bench",
                )
                for home in self.homes
            ]
        )  # fmt: skip
        self.block(
            [
                self._tx(
                    home.key, home.nonces, "allocate",
                    network=home.network, period=0, amounts=((home.device, share),),
                )
                for home in self.homes
            ]
        )  # fmt: skip

    def block(self, transactions: Sequence[Transaction]) -> Execution:
        """Execute and commit; all must succeed. Raises RuntimeError if one is refused."""
        execution = self.execute(transactions)
        codes = {receipt.code: None for receipt in execution.receipts}
        if any(code != "ok" for code in codes):
            raise RuntimeError(f"the benchmark's own transactions were refused: {', '.join(codes)}")
        certificate = Certificate(0, 0, self.ledger.head.height + 1, execution.block_hash, ())
        self.ledger.commit(execution, certificate)
        return execution

    def execute(self, transactions: Sequence[Transaction]) -> Execution:
        """Execute a block at the present block time."""
        body = encode_batch(Batch(self.chain, 0, 0, self.time, tuple(tx.raw for tx in transactions)))
        return self.executor.execute(self.ledger.head.height + 1, body)

    def order(self, home: _Home, random: Random, prices: tuple[int, int], until: str) -> Transaction:
        args: dict[str, Value] = {
            "device": home.device,
            "side": home.side,
            "slot": SLOT,
            "energy_wh": random.randint(100, 3_000),
            "price": random.randint(*prices),
            "until": until,
        }
        return sign_transaction(home.key, self.chain, next(home.nonces), "market", "place", args, NEVER)

    def next_tick(self) -> None:
        self.time += TICK_S

    def _tx(self, key: SigningKey, nonces: "count[int]", method: str, **args: Value) -> Transaction:
        return sign_transaction(key, self.chain, next(nonces), "budget", method, args, NEVER)


def measure_resting() -> list[dict[str, Any]]:
    """For each of ``RESTING``, which is how many rest before the first round: medians over the rounds of the clearing
    block's ms, and of how many orders were read and filled in it.

    The rounds of all are held in turn, so that whatever else the machine does meets all of them.
    """
    with tempfile.TemporaryDirectory() as directory:
        chains = []
        for resting in RESTING:
            chain = _Chain(Path(directory) / str(resting))
            _let_rest(chain, resting)
            chains.append((chain, Random(3), _Rounds()))  # the same new orders whatever rests
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            for _ in range(ROUNDS):
                for chain, random, rounds in chains:
                    _round(chain, random, rounds)
        finally:
            gc.enable()
            gc.unfreeze()
    return [
        {
            "resting": resting,
            "new": NEW,
            "ms": round(statistics.median(rounds.ms), 2),
            "root_ms": round(statistics.median(rounds.root_ms), 2),
            "orders_read": statistics.median(rounds.read),
            "fills": statistics.median(rounds.filled),
        }
        for resting, (_, _, rounds) in zip(RESTING, chains, strict=True)
    ]


class _Rounds:
    def __init__(self) -> None:
        self.ms: list[float] = []
        self.root_ms: list[float] = []
        self.read: list[int] = []
        self.filled: list[int] = []


def _let_rest(chain: _Chain, resting: int) -> None:
    random = Random(2)
    for placed in range(0, resting, BLOCK_ORDERS):
        homes = [chain.homes[number % HOMES] for number in range(placed, min(placed + BLOCK_ORDERS, resting))]
        chain.block([chain.order(home, random, _apart(home), "gate") for home in homes])
        chain.next_tick()
    chain.block([])


def _round(chain: _Chain, random: Random, rounds: _Rounds) -> None:
    homes = random.sample(chain.homes, NEW)
    chain.block([chain.order(home, random, _across(home), "auction") for home in homes])
    chain.next_tick()
    start = time.process_time()
    execution = chain.execute([])
    middle = time.process_time()
    chain.ledger.tree.update(execution.changes)
    root_ms = (time.process_time() - middle) * 1e3
    rounds.root_ms.append(root_ms)
    rounds.ms.append((middle - start) * 1e3 - root_ms)
    chain.block([])
    (auction,) = [event.data for event in execution.events if event.topic == "auction"]
    rounds.read.append(cast("tuple[int, ...]", auction)[2])
    rounds.filled.append(sum(event.topic == "fill" for event in execution.events))


def _apart(home: _Home) -> tuple[int, int]:
    """Limits that rest: nobody of the other side meets them, at any bus, by a tenth of the band."""
    return (FEED_IN, MIDDLE - SPREAD // 2) if home.side == "buy" else (MIDDLE + SPREAD // 2, RETAIL)


def _across(home: _Home) -> tuple[int, int]:
    """Limits that meet those of the other side."""
    return (MIDDLE, RETAIL) if home.side == "buy" else (FEED_IN, MIDDLE)


def _settings(random: Random, utility: SigningKey, homes: Sequence[_Home]) -> dict[str, dict[str, Any]]:
    key = utility.public_key.hex()
    lines = [
        (f"b{random.randrange(bus)}", f"b{bus}", 40, random.randrange(RETAIL // 200), *_limits_w(random))
        for bus in range(1, BUSES)
    ]
    return {
        "identity": {
            "admins": (key,),
            "members": (("utility", key, ("utility", "grid-operator")),),
            "networks": tuple((home.network, "utility", home.key.public_key.hex(), home.bus) for home in homes),
            "devices": tuple(
                (
                    home.device,
                    home.network,
                    "battery",
                    home.key.public_key.hex(),
                    key,
                    home.bus,
                    10**9,
                    10**9,
                    False,
                    False,
                )
                for home in homes
            ),
        },
        "grid": {"root": "b0", "lines": tuple(lines)},
        "market": {"tariffs": ((0, RETAIL, FEED_IN),), "tick_s": TICK_S},
        "budget": {"period_slots": 48},
    }


def _limits_w(random: Random) -> tuple[int, int]:
    return random.randrange(20_000, 200_000), random.randrange(20_000, 200_000)


def _key(role: str) -> SigningKey:
    return SigningKey(f"bench {role}".encode().ljust(32, b"."))
