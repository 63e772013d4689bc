"""What a season came to, as the ledger's own events say it: each site's bill, and whose energy it used.

``Accounts`` follows the events of an exchange, in order and without a gap. A network's bill for any span of slots is
the sum of its slots' settlements. Of single devices it also asks the ledger, slot by slot, for the lines and for where
the energy came from, before these details are deleted.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, cast

from broker.exchange import Exchange
from broker.world import World
from chaincode.contract import Event, Value
from chaincode.origin_state import Sums
from chaincode.settlement_ledger import Settled
from chaincode.settlement_lines import BOUGHT, FEED_IN, INTERNAL, RETAIL, SOLD, TOLL

_Rows: TypeAlias = dict[str, dict[int, tuple[int, ...]]]
"""By network or device, by slot."""


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


class DeviceBill(NamedTuple):
    """A device's sums by reason, Wh and base units, all positive; ``toll`` is not in ``bought``."""

    bought_wh: int = 0
    bought: int = 0
    toll: int = 0
    sold_wh: int = 0
    sold: int = 0
    internal_paid_wh: int = 0
    internal_paid: int = 0
    internal_had_wh: int = 0
    internal_had: int = 0
    retail_wh: int = 0
    retail: int = 0
    feed_in_wh: int = 0
    feed_in: int = 0

    @property
    def cost(self) -> int:
        """Base units; what it had from devices of its own network comes off."""
        paid = self.bought + self.toll + self.internal_paid + self.retail
        return paid - self.sold - self.internal_had - self.feed_in


class Accounts:
    """Everybody's books. ``devices``: those that are followed by themselves, which costs a query each slot."""

    def __init__(self, world: World, exchange: Exchange, devices: Iterable[str] = ()) -> None:
        followed = set(devices)
        self._exchange = exchange
        self._period_slots = world.period_slots
        self._first_slot = world.first_slot
        self._followed = {site.network: [name for name in site.devices if name in followed] for site in world.sites}
        self._settled: _Rows = {site.network: {} for site in world.sites}
        self._origins: _Rows = {site.network: {} for site in world.sites}
        self._lines: _Rows = {device: {} for device in followed}
        self._device_origins: _Rows = {device: {} for device in followed}
        self._rents: dict[str, list[tuple[int, int]]] = {site.network: [] for site in world.sites}

    def observe(self, events: Iterable[Event]) -> None:
        """Take over what has happened. To be called before the ledger deletes details (``Windows.retention_s``)."""
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

    def device_bill(self, device: str, first_slot: int, end_slot: int) -> DeviceBill:
        """The bill of a device that is followed."""
        return DeviceBill(*_added(self._lines[device], first_slot, end_slot, len(DeviceBill._fields))[1])

    def origin(self, network: str, first_slot: int, end_slot: int) -> Sums:
        """Where a network's energy came from and went, Wh, in slots for which that is known for good."""
        return Sums(*_added(self._origins[network], first_slot, end_slot, len(Sums._fields))[1])

    def device_origin(self, device: str, first_slot: int, end_slot: int) -> Sums:
        """The same of a device that is followed."""
        return Sums(*_added(self._device_origins[device], first_slot, end_slot, len(Sums._fields))[1])

    def rent_to_come(self, period: int) -> dict[str, int]:
        """What each network will have back of the rent of ``period``, by the tolls that it has paid so far: nothing
        once it has been paid, or while nobody has paid a toll."""
        answer = self._ask("settlement", "rent", {"period": period})
        state, rent, carried, tolls, _, rows = cast("tuple[str, int, int, int, int, tuple[Any, ...]]", answer)
        if state != "collecting" or not tolls:
            return {}
        return {network: (rent + carried) * paid // tolls for network, paid, *_ in rows}

    def _note_settled(self, network: str, slot: int, *sums: int) -> None:
        if slot < self._first_slot:  # before the season nothing flows
            return
        self._settled[network][slot] = sums
        devices = self._followed[network]
        if devices:
            answer = cast("tuple[Any, ...]", self._ask("settlement", "settled", {"network": network, "slot": slot}))
            bills = {device: dict.fromkeys(DeviceBill._fields, 0) for device in devices}
            for device, _, reason, wh, amount, *_ in answer[1]:
                if device in bills:
                    _add_line(bills[device], reason, wh, amount)
            for device, fields in bills.items():
                self._lines[device][slot] = tuple(fields.values())

    def _note_origin(self, network: str, slot: int, *sums: int) -> None:
        if slot < self._first_slot:
            return
        self._origins[network][slot] = sums
        for device in self._followed[network]:
            answer = cast("tuple[int, ...]", self._ask("origin", "device", {"device": device, "slot": slot}))
            self._device_origins[device][slot] = answer[1:]

    def _ask(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        return self._exchange.query(contract, method, args)


def _add_line(bill: dict[str, int], reason: str, wh: int, amount: int) -> None:
    """One entry of a settlement; a reversal has both figures turned round, so that it comes off."""
    is_charge = (amount < 0) == (wh > 0)
    name = {BOUGHT: "bought", TOLL: "toll", SOLD: "sold", RETAIL: "retail", FEED_IN: "feed_in"}.get(reason, "")
    if reason == INTERNAL:
        name = "internal_paid" if is_charge else "internal_had"
    bill[name] += -amount if is_charge else amount
    if name != "toll":
        bill[f"{name}_wh"] += wh


def _added(rows: Mapping[int, tuple[int, ...]], first_slot: int, end_slot: int, width: int) -> tuple[int, list[int]]:
    """(rows in the span, their sums)."""
    found = [row for slot, row in rows.items() if first_slot <= slot < end_slot]
    return len(found), [sum(column) for column in zip(*found, strict=True)] if found else [0] * width
