"""What a stretch of blocks did to everybody's money: counted while they are executed, and compared with another run."""

from array import array
from collections import Counter
from typing import NamedTuple, TypeAlias

from chaincode import market_products
from chaincode.contract import Context, Event
from chaincode.market_products import OPEN, SETTLED
from chaincode.settlement_ledger import Settled
from node.ledger.chain import UNUSED_CODES
from node.ledger.execution import Execution
from node.model.receipt import OK

Pair: TypeAlias = tuple[int, int]
"""As it was, as it would have been."""

_SETTLED = frozenset({"settled", "settled-anew"})
_REJECTED = "REJECTED"


class Traded(NamedTuple):
    """What products contracted in all: Wh, and base units."""

    energy_wh: int = 0
    trades: int = 0
    paid: int = 0
    tolls: int = 0
    rent: int = 0


class Comparison(NamedTuple):
    """Two runs. Money of slots that were settled in both of them, and their trade.

    ``networks``: by name, the sums as they were and as they would have been; ``rent``: what was returned of congestion
    rent to each network during the stretch; ``only``: slots settled in one of the runs alone; ``refused``: by (call,
    code), how often, ("market.order", "rejected") being orders that nobody could pay for; ``refusals``: of all kinds;
    ``transactions``: how many there were.
    """

    slots: int
    only: Pair
    traded: tuple[Traded, Traded]
    networks: dict[str, tuple[Settled, Settled]]
    rent: dict[str, Pair]
    refused: dict[tuple[str, str], Pair]
    transactions: int
    refusals: Pair


class Tally:
    """Counts one run."""

    def __init__(self) -> None:
        self.opened = 0
        self.transactions = 0
        self.slots: dict[int, dict[str, array[int]]] = {}
        """By slot, what each network's settlement adds up to: the newest revision."""
        self.traded: dict[int, Traded] = {}
        """By slot that is settled."""
        self.rent: Counter[str] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()

    def take(self, execution: Execution, ctx: Context) -> None:
        """Count a block; ``ctx``: to read the state after it."""
        for tx, receipt in zip(execution.transactions, execution.receipts, strict=True):
            self.transactions += 1
            if receipt.code != OK and receipt.code not in UNUSED_CODES:
                self.refused[f"{tx.payload.contract}.{tx.payload.method}", receipt.code] += 1
        for event in execution.events:
            self._event(event, ctx)

    def _event(self, event: Event, ctx: Context) -> None:
        match event.contract, event.topic, event.data:
            case "settlement", topic, (int(slot), *sums) if topic in _SETTLED:
                self.slots.setdefault(slot, {})[event.keys[0]] = array("q", sums)  # type: ignore[arg-type]
            case "market", "product", (_, str(state)) if state == OPEN:
                self.opened += 1
            case "settlement", "product", (int(slot), str(state)) if state == SETTLED:
                totals = market_products.totals_of(ctx, slot)
                self.traded[slot] = Traded(totals.energy_wh, totals.trades, totals.paid, totals.tolls, totals.rent)
            case "settlement", "rent", (_, int(amount), _):
                self.rent[event.keys[0]] += amount
            case "market", "order", (_, str(state), *_) if state == _REJECTED:
                self.refused["market.order", "rejected"] += 1


def compare(was: Tally, would: Tally) -> Comparison:
    """The difference between two runs of the same blocks."""
    both = was.traded.keys() & would.traded.keys()
    networks: dict[str, tuple[Settled, Settled]] = {}
    traded = (Traded(), Traded())
    for slot in both:
        names = was.slots.get(slot, {}).keys() | would.slots.get(slot, {}).keys()
        for name in names:
            before, after = networks.get(name, (Settled(), Settled()))
            networks[name] = (_plus(before, was, slot, name), _plus(after, would, slot, name))
        traded = (_sum(traded[0], was.traded[slot]), _sum(traded[1], would.traded[slot]))
    return Comparison(
        slots=len(both),
        only=(len(was.traded.keys() - both), len(would.traded.keys() - both)),
        traded=traded,
        networks=dict(sorted(networks.items())),
        rent={name: (was.rent[name], would.rent[name]) for name in sorted(was.rent.keys() | would.rent.keys())},
        refused={key: (was.refused[key], would.refused[key]) for key in sorted(was.refused.keys() | would.refused)},
        transactions=was.transactions,
        refusals=(was.refused.total(), would.refused.total()),
    )


def _plus(sums: Settled, tally: Tally, slot: int, network: str) -> Settled:
    more = tally.slots.get(slot, {}).get(network)
    return sums if more is None else sums.plus(Settled(*more))


def _sum(one: Traded, other: Traded) -> Traded:
    return Traded(*[mine + more for mine, more in zip(one, other, strict=True)])
