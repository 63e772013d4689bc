"""The broker of one site: what it knows, kept up to date by what blocks bring, and its decisions, told in words.

It neither asks nor sends anything: ``trading`` does, and hands over what came back. What it tells goes into the
journal, one entry each:

    decision   the plan, the value of stored energy, and by slot the forecast, the wishes with their why, the actions
    sent       an order or a cancellation on its way: its transaction, and until when it may be executed
    refused    what became of it, if nothing did
    fill, read, settled, price   what was matched, metered, settled; at what price a slot cleared
    told       anything else that the ledger said
    said       what the broker warned of, and when that was over
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from broker.changes import Action, Cancel, Place, Replace
from broker.decision import Budget, Decider, Decision, Knowledge, SlotDecision, Terms
from broker.driving import Driving
from broker.foresight import Foreseen, Foresight
from broker.journal import Entry, Journal
from broker.levels import Level
from broker.measured import Measured
from broker.prices import PriceBook
from broker.registered import Moves, Registered, bus_at
from broker.setpoints import Setpoints, reason
from broker.site_file import SiteFile
from broker.site_view import Booked, Fill, News, Placed, Reading, SiteView, Told
from broker.state_file import DeviceState, StateFile
from broker.strategies.table import STRATEGIES
from broker.view import Quantiles
from chaincode.contract import Event

log = logging.getLogger("watt.broker")

HORIZON_S: Final = 86_400
KEPT_SLOTS: Final = 96
"""Slots are remembered one by one for so long: until readings, their corrections and settlements have come."""
STALE_SLOTS: Final = 2
"""What the state file says counts as known for so long."""
MIDDLE: Final = 4
MOST_STRANGE: Final = 3
"""Devices that are none of the site's, of those that the state file tells of: more are not named."""


class SiteAgent:
    """One site. ``slot``: the one under way when it begins."""

    def __init__(
        self, file: SiteFile, found: Registered, journal: Journal, measured: Measured, prices: PriceBook, slot: int
    ) -> None:
        site = found.site
        self.file, self.site, self.moves = file, site, found.moves
        self.journal, self.measured, self._prices = journal, measured, prices
        self.view = SiteView(site.network, site.devices)
        self._foresight = Foresight(site, file.panels, boosted=file.boosting)
        self._decider = Decider(site, STRATEGIES[file.strategy], prices)
        self._states = StateFile(file.path(file.state_file)) if file.state_file else None
        self._setpoints = Setpoints(file.path(file.setpoints_file)) if file.setpoints_file else None
        self._battery = self._vehicle = None
        if site.battery is not None and file.battery is not None:
            level = site.battery.capacity_wh // 2 if file.battery.level_wh is None else file.battery.level_wh
            self._battery = Level(site.battery.capacity_wh, site.battery.efficiency_permille, slot, level)
        self._driving = None
        if site.vehicle is not None and file.vehicle is not None:
            car = site.vehicle
            self._vehicle = Level(car.capacity_wh, car.efficiency_permille, slot, car.capacity_wh // 2)
            self._driving = Driving(car, file.vehicle, site.bus, site.slot_seconds)
        self._concerns: dict[str, str] = {}
        self._planned: dict[tuple[int, str], tuple[int, int]] = {}
        self._ordered: set[tuple[int, str, str, int, int]] = set()
        self._was_plugged: tuple[int, bool, int] | None = None
        self._is_away = False

    def recall(self, entry: Entry, priced: set[tuple[int, str]]) -> None:
        """Learn again from an entry of the journal: prices, drives, the stores' levels, and which orders were this
        broker's. ``priced``: the slots and buses whose prices are known already, to which these are added."""
        try:
            self._recall(entry, priced)
        except (AttributeError, ArithmeticError, KeyError, TypeError, ValueError):
            log.warning("%s: an entry of the journal says nothing: %s", self.site.network, entry.get("kind"))

    def _recall(self, entry: Entry, priced: set[tuple[int, str]]) -> None:
        if entry["kind"] == "price":
            row = (entry["slot"], entry["bus"], entry["price"], entry["wh"], entry["retail"], entry["feed_in"])
            if row[:2] not in priced:
                self._prices.observe(*row)
                priced.add(row[:2])
        elif entry["kind"] == "drove" and self._driving is not None:
            self._driving.saw(entry["slot"], entry["place"], entry["km"])
        elif entry["kind"] == "sent" and entry.get("side"):
            self._ordered.add((entry["slot"], entry["device"], entry["side"], entry["wh"], entry["price"]))
        elif entry["kind"] == "decision":
            for part, level in (("battery", self._battery), ("vehicle", self._vehicle)):
                if level is not None and entry.get(part) is not None:
                    known = DeviceState(entry["first"] * self.site.slot_seconds, entry[part]["level"], None, None, None)
                    level.said(known, self.site.slot_seconds, lambda _: 0)

    # What comes in

    def heard(self, height: int, time: int, events: Iterable[Event]) -> None:
        """A block of block time ``time``."""
        for news in self.view.apply(height, events):
            self._heard(time, news)

    def _heard(self, time: int, news: News) -> None:
        match news:
            case Fill():
                self.journal.write("fill", time, **news._asdict())
            case Reading():
                self.measured.take(news)
                self.journal.write("read", time, **news._asdict())
            case Booked(slot, sums):
                self.journal.write("settled", time, slot=slot, cost=sums.cost(), **sums._asdict())
            case Placed(slot, order):
                content = (slot, order.device, order.side, order.energy_wh, order.price)
                if content not in self._ordered:
                    words = (
                        f"{order.device} has an order that this broker did not place: does another one trade for it?"
                    )
                    self.say("stranger", words, time)
            case Told():
                match news.topic, news.data:
                    case "device-moved", (bus, int(slot)):
                        self.moves = moved(self.moves, news.device, slot, str(bus or ""))
                self.journal.write("told", time, topic=news.topic, device=news.device, data=news.data)
                log.info("%s: the ledger says of %s: %s %s", self.site.network, news.device, news.topic, news.data)

    def learn_price(self, time: int, slot: int, bus: str, price: int, traded_wh: int, terms: Terms) -> None:
        """At what price a slot cleared at one of its buses; the price book knows it already."""
        what = {"slot": slot, "bus": bus, "price": price, "wh": traded_wh}
        self.journal.write("price", time, **what, retail=terms.retail, feed_in=terms.feed_in)

    def say(self, concern: str, words: str, time: int) -> None:
        """Warn of something, once as long as it holds; empty ``words``: it does not hold any more."""
        before = self._concerns.get(concern, "")
        if words == before:
            return
        if words:
            self._concerns[concern] = words
            if before and concern in _CHANGING:
                return
            log.warning("%s: %s", self.site.network, words)
        else:
            del self._concerns[concern]
            log.info("%s: over: %s", self.site.network, before)
        self.journal.write("said", time, concern=concern, words=words)

    # Deciding

    def decide(
        self, now: int, first: int, count: int, terms: Callable[[int], Terms], budgets: tuple[Budget, ...], mix: int
    ) -> Decision:
        """Decide about the ``count`` slots from ``first`` on, and write it down."""
        self._follow_home(first, now)
        states = self._look(now)
        horizon = HORIZON_S // self.site.slot_seconds
        foreseen = self._foresight.net(self.measured, first, horizon)
        self.say("forecast", "; ".join(foreseen.words), now)
        slots = range(first, first + count)
        rows = tuple(terms(slot) for slot in range(first, first + horizon))
        vehicle = None
        if self._driving is not None and self._vehicle is not None and self.site.vehicle is not None:
            level = self._vehicle.at(first, self._flow(self.site.vehicle.device))
            state = states.get(self.site.vehicle.device)
            vehicle = self._driving.outlook(now, first, horizon, level, state, max(row.retail for row in rows))
        battery = 0
        if self._battery is not None and self.site.battery is not None:
            battery = self._battery.at(first, self._flow(self.site.battery.device))
        known = Knowledge(
            now=now,
            first=first,
            terms=rows,
            net=foreseen.net,
            battery_wh=battery,
            vehicle=vehicle,
            orders=tuple(self.view.orders(slot) for slot in slots),
            positions=tuple(self.view.positions(slot) for slot in slots),
            budgets=budgets,
            buses={device: bus_at(self.moves, device, first) for device in self.site.devices},
            renewable_permille=mix,
        )
        decision = self._decider.decide(known)
        self._remember(decision)
        self.say("plan", decision.plan.note, now)
        fault = next((each.fault for each in decision.slots if each.fault), "")
        self.say("strategy", f"{fault}; nothing new is ordered" if fault else "", now)
        poor = [] if not budgets else [name for name in self.site.devices if budgets[0].available.get(name, 0) <= 0]
        self.say("budget", f"no tokens are left for {', '.join(poor)}" if self.site.load in poor else "", now)
        self._write_down(now, known, foreseen, decision)
        self._forget(first)
        return decision

    def sent(self, action: Action, slot: int, tx_id: bytes, not_after: int, time: int) -> None:
        """An action is about to be handed in: written down first, so that a restart knows of it."""
        order = action.new if isinstance(action, Replace) else action
        what: dict[str, Any] = {"action": type(action).__name__.lower(), "device": order.device, "slot": slot}
        if isinstance(order, Place):
            self._ordered.add((order.slot, order.device, order.side, order.energy_wh, order.price))
            what |= {"side": order.side, "wh": order.energy_wh, "price": order.price}
        self.journal.write("sent", time, **what, why=action.why, tx=tx_id, not_after=not_after)

    def refused(self, action: Action, code: str, time: int) -> None:
        """Nothing came of an action. The next decision starts from what the ledger then shows."""
        self.journal.write("refused", time, device=_device(action), code=code, why=action.why)
        log.warning("%s: %s for %s was refused: %s", self.site.network, type(action).__name__, _device(action), code)

    def setpoint(self, now: int, slot: int, terms: Terms) -> None:
        """Tell the home's controller what to do in ``slot``, which is under way."""
        if self._setpoints is None:
            return
        seconds = self.site.slot_seconds
        positions = self.view.positions(slot)
        devices = {}
        for store in (self.site.battery, self.site.vehicle):
            if store is None:
                continue
            planned, value = self._planned.get((slot, store.device), (0, (terms.retail + terms.feed_in) // 2))
            is_away = store is self.site.vehicle and self._is_away
            why = reason(planned, value, terms.retail, terms.feed_in, is_away=is_away)
            contract = positions.get(store.device, 0)
            power = planned * 3600 // seconds
            devices[store.device] = {"w": power, "wh": planned, "contract_wh": contract, "value": value, "why": why}
        what = {"site": self.site.network, "time": now, "slot": slot, "until": (slot + 1) * seconds}
        what |= {"retail": terms.retail, "feed_in": terms.feed_in, "contract_wh": sum(positions.values())}
        self._setpoints.write({**what, "devices": devices})

    # What it keeps

    def _follow_home(self, slot: int, now: int) -> None:
        """Trade where the site hangs in ``slot``: a registrar may have moved it to another bus. What of it hangs
        elsewhere is not traded for, which is told."""
        bus = bus_at(self.moves, self.site.load, slot)
        there = {device: bus_at(self.moves, device, slot) for device in self.site.devices}
        apart = [f"{device} hangs on {at or 'no bus'}" for device, at in there.items() if at != bus or not at]
        self.say("apart", f"{', '.join(apart)}: nothing is ordered for it" if apart else "", now)
        if bus in ("", self.site.bus):
            return
        self.say(
            "moved",
            f"hangs on {bus}, no longer on {self.site.bus or 'no bus'}: from slot {slot} on it trades there",
            now,
        )
        self.site = replace(self.site, bus=bus)
        self._decider = Decider(self.site, STRATEGIES[self.file.strategy], self._prices)
        if self._driving is not None:
            self._driving.move_home(bus)

    def _look(self, now: int) -> Mapping[str, DeviceState]:
        """Read the state file: levels, and whether the vehicle is there."""
        if self._states is None:
            return {}
        told, faults = self._states.read()
        strange = sorted(set(told) - set(self.site.devices))[:MOST_STRANGE]
        faults += (f"it tells of {', '.join(strange)}, no device of this site",) if strange else ()
        self.say("state-file", "; ".join(faults), now)
        states = {device: state for device, state in told.items() if state.time <= now}
        for store, level in ((self.site.battery, self._battery), (self.site.vehicle, self._vehicle)):
            if store is None or level is None:
                continue
            state = states.get(store.device)
            if state is not None:
                level.said(state, self.site.slot_seconds, partial(self._plan_of, store.device))
            self.say(f"state of {store.device}", self._doubt(store.device, told.get(store.device), now), now)
        self._watch_vehicle(now, states)
        return states

    def _doubt(self, device: str, state: DeviceState | None, now: int) -> str:
        """Why what the state file says of a device is not gone by; empty if it is."""
        reckoned = "its level is reckoned from readings and the plan"
        if state is None:
            return f"nothing is said of {device} in the state file: {reckoned}"
        if state.time > now:
            return f"the state file tells of {device} at a time to come: {reckoned}; its clock is not the ledger's"
        if state.time < now - STALE_SLOTS * self.site.slot_seconds:
            return f"nothing was said for a while of {device} in the state file: {reckoned}"
        return ""

    def _watch_vehicle(self, now: int, states: Mapping[str, DeviceState]) -> None:
        """Note by slot where the vehicle was and what it drove, as far as that was said."""
        car = self.site.vehicle
        state = states.get(car.device) if car is not None else None
        self._is_away = state is not None and state.plugged is False
        if car is None or self._driving is None or state is None or state.plugged is None:
            return
        slot = now // self.site.slot_seconds
        level = state.level_wh or 0
        before = self._was_plugged
        if before is not None and slot > before[0]:
            place = "home" if before[1] and state.plugged else ""
            km = max(0, before[2] - level) // car.wh_per_km if state.plugged and not before[1] else 0
            for past in range(before[0], slot):
                self._driving.saw(past, place, km if past == slot - 1 else 0)
                drove = {"slot": past, "place": place, "km": km if past == slot - 1 else 0}
                self.journal.write("drove", now, **drove)
        if before is None or slot > before[0]:
            kept = before[2] if before is not None and not state.plugged and not before[1] else level
            self._was_plugged = slot, state.plugged, kept

    def _flow(self, device: str) -> Callable[[int], int]:
        """What flowed at a store's plug in a slot: as read, else as planned."""

        def flowed(slot: int) -> int:
            reading = self.measured.reading(slot, device)
            if reading is not None and reading.measured:
                return reading.import_wh - reading.export_wh
            return self._plan_of(device, slot)

        return flowed

    def _plan_of(self, device: str, slot: int) -> int:
        return self._planned.get((slot, device), (0, 0))[0]

    def _remember(self, decision: Decision) -> None:
        for index, slot in enumerate(range(decision.first, decision.first + len(decision.plan.battery_wh))):
            plan = decision.plan
            if self.site.battery is not None:
                self._planned[slot, self.site.battery.device] = plan.battery_wh[index], plan.battery_value[index]
            if self.site.vehicle is not None:
                self._planned[slot, self.site.vehicle.device] = plan.vehicle_wh[index], plan.vehicle_value[index]

    def _forget(self, first: int) -> None:
        oldest = first - KEPT_SLOTS
        self.view.forget_before(oldest)
        for store, level in ((self.site.battery, self._battery), (self.site.vehicle, self._vehicle)):
            if store is not None and level is not None:
                level.settle(first - KEPT_SLOTS // 2, self._flow(store.device))
        self.measured.forget_before(oldest)
        self._planned = {key: row for key, row in self._planned.items() if key[0] >= oldest}
        self._ordered = {each for each in self._ordered if each[0] >= oldest}

    def _write_down(self, now: int, known: Knowledge, foreseen: Foreseen, decision: Decision) -> None:
        plan, what = decision.plan, dict[str, Any]()
        if self.site.battery is not None:
            what["battery"] = {"level": known.battery_wh, "wh": plan.battery_wh[:8], "value": plan.battery_value[:8]}
        if known.vehicle is not None:
            what["vehicle"] = {
                "level": known.vehicle.level_wh,
                "away": tuple(not bus for bus in known.vehicle.buses[:8]),
                "wh": plan.vehicle_wh[:8],
                "value": plan.vehicle_value[:8],
                "leaves": next((known.first + at for at, least in enumerate(known.vehicle.least_wh) if least), None),
            }
        slots = [_entry(each, known, foreseen) for each in decision.slots]
        self.journal.write("decision", now, first=known.first, strategy=self.file.strategy, **what, slots=slots)


_CHANGING: Final = ("forecast", "clock")
"""Concerns whose words change while they hold: they are told once."""


def _entry(each: SlotDecision, known: Knowledge, foreseen: Foreseen) -> dict[str, Any]:
    index = each.slot - known.first
    terms, budget = known.terms[index], known.budgets[index]
    return {
        "slot": each.slot,
        "bus": each.bus,
        "retail": terms.retail,
        "feed_in": terms.feed_in,
        "expected": each.expected,
        "load": _three(foreseen.load, index),
        "sun": _three(foreseen.sun, index),
        "net": _three(foreseen.net, index),
        "position": sum(known.positions[index].values()),
        "available": sum(budget.available.values()),
        "wishes": [(wish.device, wish.side, wish.energy_wh, wish.price, wish.why) for wish in each.wishes],
        "actions": [_told(action) for action in each.actions],
    }


def _told(action: Action) -> tuple[Any, ...]:
    if isinstance(action, Cancel):
        return ("cancel", action.device, action.why)
    order = action.new if isinstance(action, Replace) else action
    return (type(action).__name__.lower(), order.device, order.side, order.energy_wh, order.price, action.why)


def _three(quantiles: Quantiles, index: int) -> tuple[int, int, int]:
    """A low, a middle and a high figure: the quantiles at 5, 50 and 95 %."""
    row = quantiles[index]
    return int(row[0]), int(row[MIDDLE] + row[MIDDLE + 1]) // 2, int(row[-1])


def _device(action: Action) -> str:
    return action.new.device if isinstance(action, Replace) else action.device


def moved(moves: Moves, device: str, slot: int, bus: str) -> Moves:
    """The same, and that ``device`` hangs on ``bus`` from ``slot`` on."""
    kept = tuple(row for row in moves.get(device, ()) if row[0] < slot)
    return {**moves, device: (*kept, (slot, bus))}
