"""One decision of a broker: from all that it knows to what it orders and why. Pure: knowing the same it does the same.

The plan is made for a day. For the first few slots that are still traded, bus by bus where the site has something, the
plan's values become a curve, the strategy makes wishes of it, and what differs from the open orders is changed. What is
free of a budget is spent once: what the orders of one slot take is not there for the next.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from broker.changes import Action, Cancel, Replace, changes
from broker.planning.curve import curve
from broker.planning.planner import Planner
from broker.prices import PriceBook
from broker.site import Site
from broker.strategies.table import Strategy
from broker.view import Curve, OpenOrder, Outlook, Plan, Prices, Quantiles, SlotView, VehicleOutlook, Wish
from node.errors import ConfigError

REFERENCE_BYTES: Final = 16


class Terms(NamedTuple):
    """Of one slot: when its gate is, s of block time, and the utility's prices, base units per Wh."""

    gate: int
    retail: int
    feed_in: int


class Budget(NamedTuple):
    """Of the billing period of a slot. ``available``: by device, base units; ``budget_permille``: what is left of what
    was allocated; ``time_permille``: what is left of the period; ``period``: its number."""

    period: int
    available: Mapping[str, int]
    budget_permille: int
    time_permille: int


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All that a decision rests on. ``terms`` and ``net`` have a row for each slot from ``first`` on; ``orders``,
    ``positions`` and ``budgets`` for each of the slots that are traded. ``buses``: where each device hangs in them.
    """

    now: int
    first: int
    terms: tuple[Terms, ...]
    net: Quantiles
    battery_wh: int
    vehicle: VehicleOutlook | None
    orders: tuple[tuple[OpenOrder, ...], ...]
    positions: tuple[Mapping[str, int], ...]
    budgets: tuple[Budget, ...]
    buses: Mapping[str, str]
    renewable_permille: int


@dataclass(frozen=True, slots=True)
class SlotDecision:
    """What is done about one slot at one bus. ``expected``: the middle of the prices that are expected there.
    ``fault``: what was wrong with the strategy, so that all is left as it is; else empty."""

    slot: int
    bus: str
    expected: int
    curve: Curve
    wishes: tuple[Wish, ...]
    actions: tuple[Action, ...]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The plan from slot ``first`` on, and what follows from it."""

    first: int
    outlook: Outlook
    plan: Plan
    slots: tuple[SlotDecision, ...]

    @property
    def actions(self) -> tuple[Action, ...]:
        """All, in the order in which they are to be done."""
        return tuple(action for each in self.slots for action in each.actions)


class Decider:
    """The deciding part of one site's broker. ``strategy``: one of ``strategies.table``."""

    def __init__(self, site: Site, strategy: Strategy, prices: PriceBook) -> None:
        self._site = site
        self._strategy = strategy
        self._prices = prices
        self._planner = Planner(site)

    def decide(self, known: Knowledge) -> Decision:
        """The decision for as many slots as ``known`` has orders of."""
        outlook = self._outlook(known)
        plan = self._planner.plan(outlook)
        free = {budget.period: dict(budget.available) for budget in known.budgets}
        slots = []
        for index in range(len(known.orders)):
            for bus in self._buses(known, index):
                slots.append(self._slot(known, outlook, plan, index, bus, free[known.budgets[index].period]))
        return Decision(known.first, outlook, plan, tuple(slots))

    def _outlook(self, known: Knowledge) -> Outlook:
        slots = range(known.first, known.first + len(known.terms))
        tariff = [(terms.retail, terms.feed_in) for terms in known.terms]
        vehicle = known.vehicle if self._site.vehicle is not None else None
        away: dict[str, Prices] = {}
        for bus in sorted(set(vehicle.buses) - {"", self._site.bus}) if vehicle is not None else ():
            away[bus] = self._prices.outlook(bus, slots, tariff)
        home = self._prices.outlook(self._site.bus, slots, tariff)
        return Outlook(known.net, home, known.battery_wh, vehicle, away)

    def _buses(self, known: Knowledge, index: int) -> list[str]:
        """Where the site trades the slot: at home, if that hangs anywhere, and where its vehicle is."""
        vehicle = known.vehicle
        there = vehicle.buses[index] if vehicle is not None and self._site.vehicle is not None else ""
        return [bus for bus in dict.fromkeys((self._site.bus, there)) if bus]

    def _slot(
        self, known: Knowledge, outlook: Outlook, plan: Plan, index: int, bus: str, free: dict[str, int]
    ) -> SlotDecision:
        site, terms, budget = self._site, known.terms[index], known.budgets[index]
        slot = known.first + index
        wanted = curve(site, outlook, plan, index, bus)
        expected, experience = self._prices.expected(bus, slot, terms.retail, terms.feed_in)
        here = {device for device, hangs in known.buses.items() if hangs == bus}
        orders = tuple(order for order in known.orders[index] if order.device in here)
        view = SlotView(
            site=site,
            bus=bus,
            now=known.now,
            slot=slot,
            gate=terms.gate,
            retail=terms.retail,
            feed_in=terms.feed_in,
            curve=wanted,
            positions={device: known.positions[index].get(device, 0) for device in sorted(here)},
            expected=expected,
            experience=experience,
            available=_with_held(free, orders),
            budget_permille=budget.budget_permille,
            time_permille=budget.time_permille,
            renewable_permille=known.renewable_permille,
            seed=_seed(site.network, slot),
        )
        middle = expected[len(expected) // 2]
        try:
            wishes = self._strategy(view)
        except ConfigError as error:
            return SlotDecision(slot, bus, middle, wanted, (), (), f"{error.code}: {error.message}")
        actions = changes(slot, orders, wishes, free, reference=_reference(known, slot, orders, wishes))
        _spend(free, orders, actions)
        return SlotDecision(slot, bus, middle, wanted, wishes, actions)


def _with_held(free: Mapping[str, int], orders: tuple[OpenOrder, ...]) -> dict[str, int]:
    """Each device's tokens if it took its open orders back."""
    held = dict(free)
    for order in orders:
        if order.side == "buy":
            held[order.device] = held.get(order.device, 0) + order.energy_wh * order.price
    return held


def _spend(free: dict[str, int], orders: tuple[OpenOrder, ...], actions: tuple[Action, ...]) -> None:
    """Take off what the actions hold. What cancelled orders give back counts only once the ledger shows it."""
    held = {order.id: order.energy_wh * order.price for order in orders if order.side == "buy"}
    for action in actions:
        if isinstance(action, Cancel):
            continue
        new = action.new if isinstance(action, Replace) else action
        cost = new.energy_wh * new.price if new.side == "buy" else 0
        back = held.get(action.order, 0) if isinstance(action, Replace) else 0
        free[new.device] = free.get(new.device, 0) - max(0, cost - back)


def _reference(known: Knowledge, slot: int, orders: tuple[OpenOrder, ...], wishes: tuple[Wish, ...]) -> bytes:
    """Names what is decided by what it is decided from, not by when: the same decision, taken again after a crash
    before anything came of it, has the same name, and its orders are refused as duplicates."""
    digest = hashlib.sha256(b"decision %d" % slot)
    for device, wh in sorted(known.positions[slot - known.first].items()):
        digest.update(b" %b %d" % (device.encode(), wh))
    for order in sorted(orders, key=lambda order: order.id):
        digest.update(order.id + b" %d" % order.energy_wh)
    for wish in wishes:
        digest.update(b" %b %b %d %d" % (wish.device.encode(), wish.side.encode(), wish.energy_wh, wish.price))
    return digest.digest()[:REFERENCE_BYTES]


def _seed(network: str, slot: int) -> int:
    return int.from_bytes(hashlib.sha256(b"%d %b" % (slot, network.encode())).digest()[:8], "big")
