"""A site's broker without a network: what it orders, and what it does and says when things are not as they should."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from broker import site_agent
from broker.changes import Place
from broker.decision import Budget, Decision, Terms
from broker.explain import lines_of, stories
from broker.journal import Journal, entries
from broker.measured import Earlier, Measured
from broker.prices import PriceBook
from broker.registered import Registered, bus_at
from broker.site import Battery, Panels, Site, Vehicle
from broker.site_agent import SiteAgent
from broker.site_file import BatteryTable, PanelsTable, SiteFile, VehicleTable
from broker.site_view import Reading
from broker.strategies.table import strategy_of
from chaincode.contract import Event
from chaincode.settlement_ledger import Settled

SLOT_S = 1800
FIRST = 832_008
"""Noon of a summer's day."""
NOW = FIRST * SLOT_S + 60
LOAD, SUN, BATTERY, EV = "home-01/load", "home-01/pv", "home-01/battery", "home-01/ev"
DEVICES = (LOAD, SUN, BATTERY, EV)
SITE = Site(
    network="home-01",
    bus="bus-1",
    load=LOAD,
    panels=Panels(SUN, 4000),
    battery=Battery(BATTERY, 6400, 3000, 3000, 900),
    vehicle=Vehicle(EV, "bev", 40_000, 7000, 0, 900, 160, 4000),
    slot_seconds=SLOT_S,
    import_w={LOAD: 8000, SUN: 0, BATTERY: 3000, EV: 7000},
    export_w={LOAD: 0, SUN: 4000, BATTERY: 3000, EV: 0},
)
FILE = SiteFile(
    network="home-01",
    gateways=("127.0.0.1:7401",),
    key_file="k.json",
    chain="00" * 32,
    state_file="states.csv",
    setpoints_file="setpoints.json",
    panels=PanelsTable(),
    battery=BatteryTable(6400),
    vehicle=VehicleTable(40_000, wh_per_km=160, km_a_day=50),
)
WEEK = [(FIRST - 336 + at, 300, 900 if 16 <= (FIRST - 336 + at) % 48 < 36 else 0) for at in range(336)]
STRANGE = (
    {"kind": "decision", "time": 1, "first": FIRST, "battery": [1]},
    {"kind": "price", "time": 1, "slot": 5, "bus": "b", "price": 10**400, "wh": 1, "retail": 9, "feed_in": 1},
    {"kind": "drove", "time": 1, "slot": None, "place": "home", "km": []},
)
"""Entries of a journal that say nothing."""
STARTED = {"kind": "started", "time": NOW, "slot_seconds": SLOT_S}
RICH = Budget(1, dict.fromkeys(DEVICES, 50 * 10**9), 800, 900)


def terms(slot: int) -> Terms:
    retail = 1_500_000 if 32 <= slot % 48 < 42 else 1_000_000
    return Terms((slot + 1) * SLOT_S - 600, retail, 400_000)


class Stage:
    """An agent in a directory of its own."""

    def __init__(self, directory: Path, past: list[tuple[int, int, int]] | None = None, **changes: Any) -> None:
        self.directory = directory
        self.journal = Journal(directory / "journal")
        file = msgspec.structs.replace(FILE, directory=directory, **changes)
        found = Registered(SITE, dict.fromkeys(DEVICES, ((0, "bus-1"),)))
        earlier = [Earlier(*row) for row in (WEEK if past is None else past)]
        measured = Measured(directory / "journal", SITE, FIRST, earlier)
        self.agent = SiteAgent(file, found, self.journal, measured, PriceBook(SLOT_S), FIRST)

    def decide(self, budget: Budget = RICH, now: int = NOW, of: Callable[[int], Terms] = terms) -> Decision:
        return self.agent.decide(now, FIRST, 2, of, (budget, budget), 300)

    def states(self, *lines: str) -> None:
        text = "\n".join(["time,device,level_wh,plugged,leaves,need_wh", *lines, ""])
        (self.directory / "states.csv").write_text(text)

    def said(self) -> list[str]:
        return [entry["words"] for entry in entries(self.directory / "journal") if entry["kind"] == "said"]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def orders(decision: Decision) -> list[Place]:
    return [action for action in decision.actions if isinstance(action, Place)]


def cost(decision: Decision) -> int:
    return sum(order.energy_wh * order.price for order in orders(decision) if order.side == "buy")


def test_a_decision_and_its_words(stage: Stage) -> None:
    stage.states(f"{FIRST * SLOT_S},{BATTERY},3000,,,", f"{FIRST * SLOT_S},{EV},9000,yes,,")
    decision = stage.decide()
    assert orders(decision) and all(400_000 <= order.price <= 1_500_000 for order in orders(decision))
    assert all(order.energy_wh >= 100 for order in orders(decision))
    (entry,) = [entry for entry in entries(stage.directory / "journal") if entry["kind"] == "decision"]
    assert entry["battery"]["level"] == 3000 and entry["vehicle"]["level"] == 9000
    assert [slot["slot"] for slot in entry["slots"]] == [FIRST, FIRST + 1]
    assert all(200 <= slot["load"][1] <= 400 and 600 <= slot["sun"][1] <= 1000 for slot in entry["slots"])
    assert all(wish[4] for slot in entry["slots"] for wish in slot["wishes"]), "every wish has its why"


def test_the_same_knowledge_the_same_orders(tmp_path: Path) -> None:
    """What is decided again after a crash has the same references: the ledger refuses it as a duplicate."""
    first, second = Stage(tmp_path / "a"), Stage(tmp_path / "b")
    assert first.decide().actions == second.decide(now=NOW + 7).actions != ()
    references = [order.reference for order in orders(first.decide())]
    assert len(set(references)) == len(references) and all(len(each) <= 32 for each in references)


def test_zero_budget_buys_nothing_and_says_so(stage: Stage) -> None:
    decision = stage.decide(Budget(1, dict.fromkeys(DEVICES, 0), 0, 900))
    assert cost(decision) == 0 and all(order.side == "sell" for order in orders(decision))
    assert f"no tokens are left for {', '.join(DEVICES)}" in stage.said()


@pytest.mark.parametrize("tokens", [150 * 10**6, 10**9, 3 * 10**9])
def test_never_over_budget(tmp_path: Path, tokens: int) -> None:
    stage = Stage(tmp_path, [(slot, 2000, 0) for slot, _, _ in WEEK])
    decision = stage.decide(Budget(1, dict.fromkeys(DEVICES, tokens), 500, 900))
    for device in DEVICES:
        spent = sum(order.energy_wh * order.price for order in orders(decision) if order.device == device)
        assert spent <= tokens
    assert tokens < 10**9 or cost(decision) > 0


def test_a_new_home_has_a_standard_day(tmp_path: Path) -> None:
    stage = Stage(tmp_path, [])
    stage.decide()
    assert any(
        "nothing is known of home-01/load's last week: a standard day stands in" in words for words in stage.said()
    )


def test_a_silent_meter_is_told_of_and_the_forecast_stands_in(tmp_path: Path) -> None:
    stage = Stage(tmp_path, WEEK[:-20])
    assert orders(stage.decide())
    assert any(f"{LOAD} has not been read for 10.0 h" in words for words in stage.said())
    for slot, load_wh, sun_wh in WEEK[-20:]:
        stage.agent.measured.take(Reading(slot, LOAD, load_wh, 0, measured=True))
        stage.agent.measured.take(Reading(slot, SUN, 0, sun_wh, measured=True))
    stage.decide(now=NOW + 300)
    assert stage.said()[-1] == "", "and that it is over"


def test_gaps_and_spikes_do_not_move_the_forecast(tmp_path: Path) -> None:
    wild = [(slot, 40_000 if slot % 50 == 7 else load, sun) for slot, load, sun in WEEK if slot % 9]
    calm, shaken = Stage(tmp_path / "a"), Stage(tmp_path / "b", wild)
    calm.decide()
    shaken.decide()
    loads = []
    for stage in (calm, shaken):
        (entry,) = [entry for entry in entries(stage.directory / "journal") if entry["kind"] == "decision"]
        loads.append(entry["slots"][0]["load"][1])
    assert abs(loads[0] - loads[1]) <= 30
    assert any("are missing or unbelievable" in words for words in shaken.said())


def test_negative_prices_are_survived(stage: Stage) -> None:
    decision = stage.decide(of=lambda slot: Terms(terms(slot).gate, 200_000, -100_000))
    assert orders(decision) == [], "the market takes no orders below zero"
    assert len(decision.plan.battery_wh) == 48


def test_a_vehicle_that_leaves_early_is_not_charged(stage: Stage) -> None:
    leaves = (FIRST + 10) * SLOT_S
    stage.states(f"{FIRST * SLOT_S},{EV},2000,yes,{leaves},30000")
    plugged = stage.decide()
    assert sum(plugged.plan.vehicle_wh[:10]) >= 25_000, "it is to hold 30,000 in five hours"
    stage.states(f"{FIRST * SLOT_S + 30},{EV},2000,no,{leaves},30000")
    gone = stage.decide(now=NOW + 300)
    assert sum(gone.plan.vehicle_wh[:10]) == 0
    assert not any(order.device == EV for order in orders(gone))


def test_without_a_state_file_levels_follow_readings_and_that_is_said(stage: Stage) -> None:
    stage.decide()
    assert any(f"nothing is said of {BATTERY} in the state file" in words for words in stage.said())
    stage.agent.measured.take(Reading(FIRST, BATTERY, 1000, 0, measured=True))
    decision = stage.agent.decide(NOW + SLOT_S, FIRST + 1, 1, terms, (RICH,), 300)
    assert decision.outlook.battery_wh == 3200 + 900


def test_states_of_the_past_and_of_the_future(stage: Stage) -> None:
    """A home whose clock is ahead is not believed, nor one that fell silent."""
    stage.states(f"{NOW + 4000},{BATTERY},6000,,,", f"{NOW - 9000},{EV},9000,yes,,")
    assert stage.decide().outlook.battery_wh == 3200
    assert any(f"tells of {BATTERY} at a time to come" in words for words in stage.said())
    assert any(f"nothing was said for a while of {EV}" in words for words in stage.said())


def test_a_row_of_no_device_of_the_site_is_told_of(stage: Stage) -> None:
    stage.states(f"{NOW},{BATTERY},3000,,,", f"{NOW},home-9/ev,9000,yes,,")
    stage.decide()
    assert any("it tells of home-9/ev, no device of this site" in words for words in stage.said())


def test_a_vehicle_that_is_away_is_told_as_away(stage: Stage) -> None:
    """To the home's controller and by explain; once it is back no more."""
    stage.states(f"{NOW},{EV},9000,no,,")
    stage.decide()
    assert setpoint(stage, EV)["why"] == "is away: not plugged in"
    told = stories([STARTED, *entries(stage.directory / "journal")])[FIRST]
    (line,) = [line for line in lines_of("home-01", told) if line.startswith("  vehicle")]
    assert line == "  vehicle   is away, not plugged in, with 9000 Wh by what is known"
    stage.states(f"{NOW + 60},{EV},8000,yes,,")
    stage.decide(now=NOW + 60)
    assert "away" not in setpoint(stage, EV)["why"]
    told = stories([STARTED, *entries(stage.directory / "journal")])[FIRST]
    assert not any("is away" in line for line in lines_of("home-01", told))


def test_reasons_are_in_tokens_a_kwh_like_the_prices_beside_them(stage: Stage) -> None:
    whys = [order.why for order in orders(stage.decide())]
    assert whys and all(re.search(r": worth \d\.\d{3} a kWh to us", why) for why in whys)


def setpoint(stage: Stage, device: str) -> dict[str, Any]:
    stage.agent.setpoint(NOW, FIRST, terms(FIRST))
    return dict(json.loads((stage.directory / "setpoints.json").read_text())["devices"][device])


def test_a_strategy_that_fails_places_nothing_and_is_told_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing new is ordered and nothing taken back while it fails; the broker goes on, and so does its journal."""
    broken = ModuleType("mine")
    broken.__file__ = "mine.py"
    vars(broken)["wishes"] = lambda view: [view.slot]
    monkeypatch.setattr(site_agent, "STRATEGIES", {FILE.strategy: strategy_of(broken)})
    failing = Stage(stage.directory / "failing")
    failing.decide()
    assert failing.decide(now=NOW + 60).actions == ()
    words = [each for each in failing.said() if "bad-strategy" in each]
    assert words == ["bad-strategy: mine.py: `wishes` gave a list, not a tuple of Wish; nothing new is ordered"]
    assert sum(entry["kind"] == "decision" for entry in entries(failing.directory / "journal")) == 2


def test_setpoints_follow_the_plan(stage: Stage) -> None:
    decision = stage.decide()
    stage.agent.setpoint(NOW, FIRST, terms(FIRST))
    told = json.loads((stage.directory / "setpoints.json").read_text())
    assert told["until"] == (FIRST + 1) * SLOT_S and set(told["devices"]) == {BATTERY, EV}
    assert told["devices"][BATTERY]["wh"] == decision.plan.battery_wh[0]
    assert told["devices"][BATTERY]["value"] == decision.plan.battery_value[0]


def test_an_order_of_somebody_elses_is_told_of(stage: Stage) -> None:
    own = orders(stage.decide())[0]
    stage.agent.sent(own, own.slot, b"\1" * 32, NOW + 60, NOW)

    def accepted(order: bytes, price: int) -> Event:
        data = (order, "ACCEPTED", own.slot, own.side, own.energy_wh, price, 0)
        return Event("market", "order", (own.device, "home-01"), data)

    stage.agent.heard(5, NOW, [accepted(b"own", own.price)])
    assert not any("did not place" in words for words in stage.said())
    stage.agent.heard(6, NOW, [accepted(b"theirs", own.price - 1)])
    assert any("did not place: does another one trade for it?" in words for words in stage.said())


def test_a_restart_learns_from_the_journal(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.states(f"{FIRST * SLOT_S},{BATTERY},1234,,,")
    fresh = stage.decide()
    own = orders(fresh)[0]
    stage.agent.sent(own, own.slot, b"\1" * 32, NOW + 60, NOW)
    stage.agent.learn_price(NOW, FIRST - 48, "bus-1", 450_000, 5_000, terms(FIRST - 48))
    stage.agent.heard(5, NOW, [Event("settlement", "settled", ("home-01",), (FIRST - 3, *Settled(retail=5)))])
    stage.journal.close()
    (tmp_path / "states.csv").unlink()
    again = Stage(tmp_path)
    for entry in (*entries(tmp_path / "journal"), {"kind": "price", "time": 1}, *STRANGE):
        again.agent.recall(entry, set())
    decision = again.decide()
    assert decision.outlook.battery_wh == 1234
    assert decision.slots[0].expected < fresh.slots[0].expected and again.agent.site == SITE
    event = (b"own", "ACCEPTED", own.slot, own.side, own.energy_wh, own.price, 0)
    again.agent.heard(6, NOW, [Event("market", "order", (own.device, "home-01"), event)])
    assert not any("did not place" in words for words in again.said())


def test_a_device_that_moves_is_followed(stage: Stage) -> None:
    moved = Event("identity", "device-moved", (EV, "home-01"), ("bus-9", FIRST + 4))
    stage.agent.heard(5, NOW, [moved])
    assert bus_at(stage.agent.moves, EV, FIRST) == "bus-1" and bus_at(stage.agent.moves, EV, FIRST + 4) == "bus-9"


def test_a_home_that_moves_trades_where_it_hangs(stage: Stage) -> None:
    assert {each.bus for each in stage.decide().slots} == {"bus-1"}
    moves = [Event("identity", "device-moved", (device, "home-01"), ("bus-9", FIRST + 1)) for device in DEVICES]
    stage.agent.heard(5, NOW, moves)
    assert {each.bus for each in stage.decide().slots} == {"bus-1"}, "not yet"
    moved = stage.agent.decide(NOW + SLOT_S, FIRST + 1, 2, terms, (RICH, RICH), 300)
    assert {each.bus for each in moved.slots} == {"bus-9"} and orders(moved)
    assert any("hangs on bus-9, no longer on bus-1" in words for words in stage.said())


def test_what_hangs_apart_from_home_is_told_of(stage: Stage) -> None:
    stage.agent.heard(5, NOW, [Event("identity", "device-moved", (BATTERY, "home-01"), ("bus-9", FIRST))])
    assert not any(order.device == BATTERY for order in orders(stage.decide()))
    assert f"{BATTERY} hangs on bus-9: nothing is ordered for it" in stage.said()
    stage.agent.heard(6, NOW, [Event("identity", "device-moved", (BATTERY, "home-01"), ("bus-1", FIRST))])
    stage.decide(now=NOW + 300)
    assert stage.said()[-1] == "", "and that it is over"
