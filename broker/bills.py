"""What a season came to, as the ledger's own events say it: each site's bill, and whose energy it used.

``Accounts`` follows the events of an exchange, in order and without a gap. A network's bill for any span of slots is
the sum of its slots' settlements.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, cast

from broker.exchange import Exchange
from broker.world import World
from chaincode.contract import Event
from chaincode.origin_state import Sums
from chaincode.settlement_ledger import Settled

_Rows: TypeAlias = dict[str, dict[int, tuple[int, ...]]]
"""By network, by slot."""


class Bill(NamedTuple):
    """A network's sums over ``slots`` settled slots, Wh and base units as in ``Settled``, and the congestion ``rent``
    that it had back for billing periods that end in the span."""

    slots: int
    sums: Settled
    rent: int

    @property
    def cost(self) -> int:
        """Base units; negative: it earned."""
        return self.sums.cost() - self.rent


class Accounts:
    """Everybody's books."""

    def __init__(self, world: World, exchange: Exchange) -> None:
        self._exchange = exchange
        self._period_slots = world.period_slots
        self._first_slot = world.first_slot
        self._settled: _Rows = {site.network: {} for site in world.sites}
        self._origins: _Rows = {site.network: {} for site in world.sites}
        self._rents: dict[str, list[tuple[int, int]]] = {site.network: [] for site in world.sites}

    def observe(self, events: Iterable[Event]) -> None:
        """Take over what has happened."""
        for event in events:
            topic = event.topic
            if topic in ("settled", "settled-anew"):
                self._note_settled(event.keys[0], *cast("tuple[int, ...]", event.data))
            elif topic == "origin":
                self._note_origin(event.keys[0], *cast("tuple[int, ...]", event.data))
            elif topic == "rent":
                period, amount, _ = cast("tuple[int, int, int]", event.data)
                self._rents[event.keys[0]].append(((period + 1) * self._period_slots - 1, amount))

    def bill(self, network: str, first_slot: int, end_slot: int) -> Bill:
        """A network's bill from ``first_slot`` until before ``end_slot``."""
        slots, sums = _added(self._settled[network], first_slot, end_slot, len(Settled._fields))
        rent = sum([amount for slot, amount in self._rents[network] if first_slot <= slot < end_slot])
        return Bill(slots, Settled(*sums), rent)

    def origin(self, network: str, first_slot: int, end_slot: int) -> Sums:
        """Where a network's energy came from and went, Wh, in slots for which that is known for good."""
        return Sums(*_added(self._origins[network], first_slot, end_slot, len(Sums._fields))[1])

    def rent_to_come(self, period: int) -> dict[str, int]:
        """What each network will have back of the rent of ``period``, by the tolls that it has paid so far: nothing
        once it has been paid, or while nobody has paid a toll."""
        answer = self._exchange.query("settlement", "rent", {"period": period})
        state, rent, carried, tolls, _, rows = cast("tuple[str, int, int, int, int, tuple[Any, ...]]", answer)
        if state != "collecting" or not tolls:
            return {}
        return {network: (rent + carried) * paid // tolls for network, paid, *_ in rows}

    def _note_settled(self, network: str, slot: int, *sums: int) -> None:
        if slot < self._first_slot:  # before the season nothing flows
            return
        self._settled[network][slot] = sums

    def _note_origin(self, network: str, slot: int, *sums: int) -> None:
        if slot < self._first_slot:
            return
        self._origins[network][slot] = sums


def _added(rows: Mapping[int, tuple[int, ...]], first_slot: int, end_slot: int, width: int) -> tuple[int, list[int]]:
    """(rows in the span, their sums)."""
    found = [row for slot, row in rows.items() if first_slot <= slot < end_slot]
    return len(found), [sum(column) for column in zip(*found, strict=True)] if found else [0] * width
