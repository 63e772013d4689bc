"""A day on a real chain with everything that people can do: lists, replacements, bulk readings, votes, new grids."""

import json
import random
from collections.abc import Iterator
from typing import Any, Final

from chaincode.ballot import NOTICE
from chaincode.rules import digest_of
from chaincode.settlement_messages import reading_message
from node.ledger.execution import Execution
from node.model.codec import sha256
from node.model.genesis import Genesis
from node.model.keys import SigningKey
from node.model.transaction import Transaction, sign_transaction
from tests.chaincode import market_chain
from tests.chaincode.market_chain import FOREVER, MarketChain
from tests.chaincode.marketplace import DEVICES, FEED_IN, RETAIL, SLOT_S, STREET, key_of, settings

HOMES: Final = ("home-1", "home-2", "home-3")
ADMINS: Final = tuple(f"admin of member-{number}" for number in range(4))
KEYS: Final = market_chain.KEYS | {name: SigningKey(key_of(name)) for name in ("feeder", *ADMINS)}
_FIELDS: Final = ("side", "slot", "energy_wh", "price", "until", "renewable", "reference")
_FIGURES: Final = ("import_wh", "export_wh", "import_register", "export_register")


class BusyChain(MarketChain):
    """The street with validators' admins, a feeder's meter, and details that go soon after a slot is final."""

    def __init__(self) -> None:
        parts = settings(DEVICES, STREET, tick_s=5, outage_s=600, retention_s=1800)
        parts["grid"]["feeder_meter"] = key_of("feeder").hex()
        parts["governance"] = {"admins": tuple((name.rpartition(" ")[2], key_of(name).hex()) for name in ADMINS)}
        text = json.dumps(parts)
        for name, key in KEYS.items():
            text = text.replace(key_of(name).hex(), key.public_key.hex())
        street = market_chain.genesis()
        super().__init__(Genesis(1, "busy street", street.token, street.members, 0, 0, 1, json.loads(text)))
        self.nonces = dict.fromkeys(KEYS, 0)
        self.orders: list[tuple[str, bytes]] = []
        self.proposals = 0

    def tx(self, sender: str, contract: str, method: str, **args: Any) -> Transaction:
        self.nonces[sender] += 1
        return sign_transaction(KEYS[sender], self.chain, self.nonces[sender], contract, method, args, FOREVER)

    def commit(self, execution: Execution) -> None:
        super().commit(execution)
        for event in execution.events:
            data: Any = event.data
            if event.topic == "order":
                self.orders.append((event.keys[0], data[0]))
            self.proposals += event.topic == "rules-proposed"


def busy_day(chain: BusyChain, seed: int, blocks: int = 40) -> Iterator[tuple[int, list[Transaction]]]:
    """A day's batches, made up from ``seed``: (block time, transactions). Each is to be committed before the next."""
    rng = random.Random(seed)
    money = {"period": 0, "amount": 3_000_000, "reference": b"1"}
    yield 0, [chain.tx("utility", "budget", "issue", network=home, **money) for home in HOMES]
    shares = {home: [[name, 80_000] for name in DEVICES if name.startswith(home)] for home in HOMES}
    yield 1, [chain.tx(home, "budget", "allocate", network=home, period=0, amounts=of) for home, of in shares.items()]
    time = 1
    for _ in range(blocks):
        time += rng.choice((1, 2, 5, 5, 300, 900))
        batch = [transaction for _ in range(rng.randint(0, 12)) for transaction in _some_calls(chain, rng, time)]
        yield time, batch
    for wait in (
        *[290] * 30,
        *[43_200] * 16,
        *[500] * 30,
    ):  # until the first details are deleted: a week after they are final
        time += wait
        yield time, []


def _some_calls(chain: BusyChain, rng: random.Random, time: int) -> list[Transaction]:
    device, slot = rng.choice(list(DEVICES)), time // SLOT_S
    kind = rng.choices(
        ("order", "list", "replace", "cancel", "meter", "move", "vote", "grid"), (60, 6, 6, 4, 15, 4, 1, 1)
    )[0]
    if kind == "order":
        wanted = dict(zip(_FIELDS, _order(device, rng, slot), strict=True))
        return [chain.tx(device, "market", "place", device=device, **wanted)]
    if kind == "list":
        rows = [_order(device, rng, slot) for _ in range(rng.randint(1, 4))]
        return [chain.tx(device, "market", "place_many", device=device, orders=rows)]
    if kind == "move":
        where = {"bus": rng.choice(("b1", "b2")), "slot": slot + 1}
        return [chain.tx("home-3/ev", "identity", "connect", device="home-3/ev", **where)]
    if kind == "grid":
        lines = [["t", "b1", 100, rng.randint(0, 9), None, 4_000], ["b1", "b2", 100, rng.randint(0, 9), 3_000, None]]
        return [chain.tx("utility", "grid", "publish", root="t", lines=lines)]
    if kind == "vote":
        return _vote(chain, rng)
    if kind == "meter":
        return [_metering(chain, rng, device, max(slot - rng.randint(1, 3), 0))]
    if not chain.orders:
        return []
    owner, order = rng.choice(chain.orders[-40:])
    if kind == "cancel":
        return [chain.tx(owner, "market", "cancel", order=order)]
    wanted = dict(zip(_FIELDS, _order(owner, rng, slot), strict=True))
    return [chain.tx(owner, "market", "replace", order=order, device=owner, **wanted)]


def _order(device: str, rng: random.Random, slot: int) -> list[Any]:
    side = "sell" if DEVICES[device][1] == "pv" else "buy"
    until = rng.choice(("gate", "gate", "auction"))
    what = [slot + rng.randint(0, 2), rng.randint(100, 900), rng.randint(FEED_IN, RETAIL), until, rng.random() < 0.3]
    return [side, *what, rng.choice((b"", b"a", b"b"))]


def metered(device: str, slot: int, shift: int = 0) -> tuple[int, int, int, int]:
    """What a meter says: Wh in and out of a slot, and its registers; ``shift``: Wh that belong to the next slot."""
    _, _, _, import_w, export_w = DEVICES[device]
    rows = [sha256(b"%d" % each, device.encode())[:2] for each in range(slot + 1)]
    imported = [row[0] if import_w else 0 for row in rows]
    exported = [row[1] if export_w else 0 for row in rows]
    return imported[-1] + shift, exported[-1], sum(imported) + shift, sum(exported)


def _metering(chain: BusyChain, rng: random.Random, device: str, slot: int) -> Transaction:
    meter, kind = f"meter {device}", rng.choice(("one", "day", "collect", "collect", "correct", "feeder"))
    if kind == "one":
        figures = dict(zip(_FIGURES, metered(device, slot), strict=True))
        return chain.tx(meter, "settlement", "report", device=device, slot=slot, **figures)
    if kind == "collect":
        rows = []
        for other in rng.sample(list(DEVICES), 4):
            figure = metered(other, slot)
            message = reading_message(chain.chain, other, slot, figure[:2], figure[2:])
            rows.append([other, slot, *figure, KEYS[f"meter {other}"].sign(message)])
        return chain.tx("club", "settlement", "collect", rows=rows)
    if kind == "feeder":
        total = [sum(metered(other, slot)[at] for other in DEVICES) for at in range(4)]
        return chain.tx("feeder", "settlement", "report_feeder", slot=slot, **dict(zip(_FIGURES, total, strict=True)))
    if kind == "correct" and DEVICES[device][3]:
        first, second = metered(device, slot, 7), metered(device, slot + 1)
        both = [list(first), [second[0] - 7, *second[1:]]]
        return chain.tx(meter, "settlement", "correct", device=device, first_slot=slot, rows=both)
    day_rows = [list(metered(device, each)) for each in range(slot, slot + 3)]
    return chain.tx(meter, "settlement", "report_day", device=device, first_slot=slot, rows=day_rows)


def _vote(chain: BusyChain, rng: random.Random) -> list[Transaction]:
    """All four admins in one block: whoever comes first in its canonical order."""
    changes = ((rng.choice(("internal_permille", "mix_permille", "max_estimates")), rng.randint(1, 900)),)
    first = chain.ledger.head.height + 1 + NOTICE
    digest = digest_of(chain.chain, chain.proposals, changes, (), first)
    rows = [[name, value] for name, value in changes]
    proposal = chain.tx(ADMINS[0], "rules", "propose", first_height=first, settings=rows)
    approvals = [chain.tx(name, "rules", "approve", proposal=chain.proposals, digest=digest) for name in ADMINS[1:]]
    return [proposal, *approvals]


def run(seed: int) -> list[str]:
    """A whole day: each block's hash and root."""
    chain, lines = BusyChain(), []
    for time, transactions in busy_day(chain, seed):
        execution = chain.execute(time, transactions)
        chain.commit(execution)
        lines.append(f"{execution.block_hash.hex()} {execution.block.header.state_root.hex()}")
    return lines
