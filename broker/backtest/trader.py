"""One home's broker in a backtest: the agent's own plan, curve, strategy and changes, without its errands."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from zlib import crc32

from broker.backtest.books import Contract
from broker.backtest.desk import Desk
from broker.backtest.house import House, Track
from broker.changes import Action, Cancel, Place, changes
from broker.exchange import Call
from broker.planning.control import Course, Here, Phase, Stock, through
from broker.planning.curve import Begun, curve
from broker.planning.planner import Planner
from broker.planning.stores import next_need
from broker.prices import PriceBook
from broker.site import Site
from broker.strategies.table import Strategy
from broker.view import LEVELS_PERMILLE, Outlook, Plan, SlotView
from broker.world import World
from chaincode.market import Row

ROW: Final = ("side", "slot", "energy_wh", "price", "until", "renewable", "reference")
"""A row of a list of orders, ``chaincode.market.Row``."""


MIDDLE: Final = slice(len(LEVELS_PERMILLE) // 2 - 1, len(LEVELS_PERMILLE) // 2 + 1)
"""The two quantiles about the median."""


class Known(NamedTuple):
    """What was contracted, by bus, as far as was known until so many seconds of the slot had passed."""

    until_s: int
    positions: Mapping[str, int]


class Tokens:
    """What a network's devices have to spend in a slot's period, base units. ``left_permille``: of its allocation."""

    def __init__(self, available: Mapping[str, int], allocated: int) -> None:
        self.available = available
        left = sum(available.values())
        self.left_permille = min(1000, left * 1000 // allocated) if allocated else 0


class Trader:
    """Slot by slot: ``think`` once; then for each part of the slot ``waits``, and ``orders`` if it ends with an auction
    that is ordered for; then ``control``."""

    def __init__(self, house: House, world: World, strategy: Strategy, seed: int) -> None:
        self.house = house
        self._site = house.site
        self._world = world
        self._strategy = strategy
        self._seed = seed
        self._planner = Planner(house.site)
        self._key = world.keys.brokers[house.site.network]
        self.network = house.site.network
        self.desk = Desk()
        self._outlook: Outlook
        self._plan: Plan
        self._buses: list[str] = []
        self._known: list[Known] = []

    def think(self, outlook: Outlook) -> None:
        """Plan from the outlook, whose index 0 is the coming slot."""
        self._outlook = outlook
        self._plan = self._planner.plan(outlook)
        self._buses = sorted({self._site.bus, outlook.vehicle.buses[0] if outlook.vehicle else ""} - {""})
        self._known = []

    def waits(self, until_s: int) -> None:
        """Nothing more will be known until so many seconds of the slot have passed: its stores will have followed what
        is contracted now."""
        self._known.append(Known(until_s, self._positions()))

    def orders(self, slot: int, turn: int, now: int, book: PriceBook, tokens: Tokens) -> list[Call]:
        """What is to be done to have the right orders open; ``turn``: the how-manieth time for this slot."""
        positions = self.desk.positions
        available = dict(tokens.available)
        whole = Counter(available)
        for order in self.desk.orders:
            whole[order.device] += order.energy_wh * order.price if order.side == "buy" else 0
        calls: list[Call] = []
        begun = self._begun()
        for bus in self._buses:
            its_curve = curve(self._site, self._outlook, self._plan, 0, bus, begun)
            devices = self._devices_at(bus)
            prices = self._outlook.prices if bus == self._site.bus else self._outlook.away[bus]
            retail, feed_in = prices.retail[0], prices.feed_in[0]
            expected, experience = book.expected(bus, slot, retail, feed_in)
            seen = SlotView(
                site=self._site,
                bus=bus,
                now=now,
                slot=slot,
                gate=(slot + 1) * self._world.slot_seconds - self._world.windows.gate_before_end_s,
                retail=retail,
                feed_in=feed_in,
                curve=its_curve,
                positions={device: positions.get(device, 0) for device in devices},
                expected=expected,
                experience=experience,
                available=whole,
                budget_permille=tokens.left_permille,
                time_permille=self._time_left(slot),
                renewable_permille=self._world.mix_permille,
                seed=crc32(f"{self._seed}/{self._site.network}/{bus}/{slot}/{turn}".encode()),
            )
            here = [order for order in self.desk.orders if order.device in devices]
            reference = slot.to_bytes(8, "big") + turn.to_bytes(1, "big") + bus.encode()[:20]
            calls += self._calls(changes(slot, here, self._strategy(seen), available, reference=reference))
        return calls

    def contracts(self) -> dict[str, Contract]:
        """By bus, what it has bought and sold."""
        found: dict[str, Contract] = {}
        for bus in self._buses:
            devices = self._devices_at(bus)
            bought = sum(self.desk.bought_wh(device) for device in devices)
            position = sum(self.desk.positions.get(device, 0) for device in devices)
            if bought or position:
                found[bus] = Contract(bought, bought - position)
        return found

    def control(self, index: int, track: Track) -> Course:
        """What the stores have done in slot ``index`` of the data, part by part, each with the contracts known in it;
        ``waits`` has told all of them but the last."""
        known = [*self._known, Known(self._site.slot_seconds, self._positions())]
        return done(self.house, track, index, self._outlook, self._plan, known)

    def _positions(self) -> dict[str, int]:
        """By bus, bought minus sold."""
        positions = self.desk.positions
        return {bus: sum(positions.get(device, 0) for device in self._devices_at(bus)) for bus in self._buses}

    def _begun(self) -> Begun:
        """Where the stores are expected to be when the next auction is held: where the median of the net leads."""
        outlook = self._outlook
        net = sum(outlook.net[0][MIDDLE].tolist()) // 2
        bus = outlook.vehicle.buses[0] if outlook.vehicle is not None else ""
        vehicle_wh = outlook.vehicle.level_wh if outlook.vehicle is not None else 0
        course = _course(self._site, outlook, self._plan, net, (outlook.battery_wh, vehicle_wh), bus, self._known)
        return Begun(self._site.slot_seconds - self._known[-1].until_s, course)

    def _devices_at(self, bus: str) -> tuple[str, ...]:
        """Those that trade there in the coming slot, as far as one knows where the vehicle will be."""
        vehicle, seen = self._site.vehicle, self._outlook.vehicle
        if vehicle is None or seen is None:
            return self._site.devices if bus == self._site.bus else ()
        if bus == self._site.bus:
            here = seen.buses[0] in (bus, "")
            return tuple(each for each in self._site.devices if each != vehicle.device or here)
        return (vehicle.device,) if seen.buses[0] == bus else ()

    def _time_left(self, slot: int) -> int:
        period = self._world.period_of(slot)
        return (period.end - slot) * 1000 // (period.end - period.first)

    def _calls(self, actions: Sequence[Action]) -> list[Call]:
        """In their order; new orders, which come last, are one list for each device."""
        calls: list[Call] = []
        lists: dict[str, list[Place]] = {}
        for action in actions:
            if isinstance(action, Cancel):
                calls.append(Call(self._key, "market", "cancel", {"order": action.order}))
            elif isinstance(action, Place):
                lists.setdefault(action.device, []).append(action)
            else:
                new = dict(zip(ROW, _row(action.new), strict=True))
                args = {"order": action.order, "device": action.new.device, **new}
                calls.append(Call(self._key, "market", "replace", args))
        for device, places in lists.items():
            rows = tuple(_row(place) for place in places)
            calls.append(Call(self._key, "market", "place_many", {"device": device, "orders": rows}))
        return calls


def done(house: House, track: Track, index: int, outlook: Outlook, plan: Plan, known: Sequence[Known]) -> Course:
    """What ``control`` makes of slot ``index`` of the data, part by part."""
    net = house.load_wh[index] - house.sun_wh[index]
    levels = track.battery_level, track.vehicle_level
    return _course(house.site, outlook, plan, net, levels, house.bus(index), known)


def _course(
    site: Site, outlook: Outlook, plan: Plan, net: int, levels: tuple[int, int], bus_now: str, known: Sequence[Known]
) -> Course:
    """With what is in battery and vehicle as the slot begins, and where the vehicle is plugged in."""
    prices = outlook.prices
    home = Here(0, net, prices.retail[0], prices.feed_in[0])
    battery = vehicle = away = None
    if site.battery is not None:
        battery = Stock(levels[0], 0, plan.battery_wh[0], plan.battery_value[0], plan.battery_worth)
    if site.vehicle is not None and bus_now and outlook.vehicle is not None:
        least = next_need(outlook.vehicle, 0)
        vehicle = Stock(levels[1], least, plan.vehicle_wh[0], plan.vehicle_value[0], plan.vehicle_worth)
        if bus_now != site.bus:
            there = outlook.away.get(bus_now, prices)
            away = Here(0, 0, there.retail[0], there.feed_in[0])
    phases = [Phase(until, at.get(site.bus, 0), at.get(bus_now, 0) if away else 0) for until, at in known]
    return through(site, home, battery, vehicle, away, phases)


def _row(place: Place) -> Row:
    return place.side, place.slot, place.energy_wh, place.price, "gate", place.renewable, place.reference
