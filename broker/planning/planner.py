"""From what is expected to what the stores are to do: one linear program, solved by HiGHS in about a millisecond.

The plan is made for the least expected cost of the slots to come (``program.py`` has the program, docs/planning.md
the reasons). Its duals are what a broker trades by: another stored Wh at the end of a slot is worth as much as the
cheapest plan would be cheaper with it. Whatever becomes of HiGHS, there is a plan: after ``MOST_ITERATIONS`` steps or
``MOST_S`` seconds it is the rule that a home without a broker lives by, and the plan's note says so.
"""

from dataclasses import replace
from typing import Final

import highspy
import numpy as np

from broker.planning.program import (
    AWAY_GIVE,
    AWAY_TAKE,
    BAND,
    BANDS,
    BATTERY,
    BELOW,
    CAR,
    GIVE,
    HOME_GIVE,
    HOME_TAKE,
    LEAST,
    LEVEL,
    NET,
    ROAD,
    RUN,
    SHORT,
    TAKE,
    VEHICLE,
    WITH_VEHICLE,
    WITHOUT_VEHICLE,
    Floats,
    Matrix,
    matrix,
)
from broker.planning.rules import rule_plan
from broker.planning.start import start
from broker.planning.stores import next_need, next_needs, room, spare, stored
from broker.planning.worth import Span, worth_by_level
from broker.site import Battery, Site, Vehicle
from broker.view import LEVELS_PERMILLE, Outlook, Plan, VehicleOutlook

MOST_ITERATIONS: Final = 20_000
"""A plan of a day takes some hundred."""
MOST_S: Final = 10.0
"""By the clock, should a step come to no end. So long that no busy machine makes another plan than an idle one."""

MONEY: Final = 1_000_000
WH: Final = 1_000
"""HiGHS counts in tokens per kWh, a million base units per Wh, and in kWh."""


class Planner:
    """Plans for one site. It keeps nothing from plan to plan but HiGHS itself and its program's matrix: the same
    outlook, the same plan."""

    def __init__(self, site: Site) -> None:
        self._site = site
        battery, vehicle = site.battery, site.vehicle
        self._battery = battery or Battery("", 0, 0, 0, 1000)
        self._vehicle = vehicle
        self._first_costs: list[float] = []
        self._shape: Matrix | None = None
        self._lp: highspy.HighsLp
        self._solver = highspy.Highs()  # type: ignore[no-untyped-call]
        for name, value in (("output_flag", False), ("threads", 1), ("presolve", "off")):
            self._solver.setOptionValue(name, value)
        self._solver.setOptionValue("simplex_iteration_limit", MOST_ITERATIONS)

    def plan(self, outlook: Outlook) -> Plan:
        """The plan for the outlook's slots; all zeros for a site without stores. Raises ValueError if the outlook's
        parts are not of one length."""
        slots = _check(outlook)
        vehicle = self._vehicle if outlook.vehicle is not None else None
        if slots == 0 or (self._site.battery is None and vehicle is None):
            nothing = (0,) * slots
            return Plan(nothing, nothing, nothing, nothing)
        columns, duals = self._solve(outlook, slots, vehicle)
        if columns is None or duals is None:
            return rule_plan(self._site, outlook)
        battery_wh = _flows(columns[TAKE] - columns[GIVE])
        battery_value = _values(-duals[BATTERY]) if self._site.battery is not None else (0,) * slots
        if vehicle is None:
            vehicle_wh = vehicle_value = (0,) * slots
        else:
            taken = columns[HOME_TAKE] + columns[AWAY_TAKE] - columns[HOME_GIVE] - columns[AWAY_GIVE]
            vehicle_wh, vehicle_value = _flows(taken), _values(-duals[VEHICLE])
        plan = _possible(self._site, outlook, Plan(battery_wh, vehicle_wh, battery_value, vehicle_value))
        return self._with_worth(outlook, plan, columns) if slots > 1 else plan

    def _solve(self, outlook: Outlook, slots: int, vehicle: Vehicle | None) -> tuple[Floats | None, Floats | None]:
        """Columns and duals, a row for each kind; nothing if HiGHS did not come to an end."""
        solver = self._solver
        solver.setOptionValue("time_limit", solver.getRunTime() + MOST_S)  # it counts all of a solver's runs
        program, basis = self._program(outlook, slots, vehicle)
        solver.passModel(program)
        solver.setBasis(basis)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None, None
        solution = solver.getSolution()
        columns = np.array(solution.col_value).reshape(-1, slots)
        return columns, np.array(solution.row_dual).reshape(-1, slots)

    def _with_worth(self, outlook: Outlook, plan: Plan, columns: Floats) -> Plan:
        """The plan with what the stores' energy is worth by level, as far as they can do anything in the first slot."""
        site, seen = self._site, outlook.vehicle
        slots = columns.shape[1]
        spans: dict[str, Span] = {}
        if (battery := site.battery) is not None:
            level = min(max(outlook.battery_wh, 0), battery.capacity_wh)
            spans["battery"] = _span(site, battery, level, 0, LEVEL * slots, float(columns[LEVEL, 0]))
        driven = 0
        if (vehicle := site.vehicle) is not None and seen is not None and seen.buses[0]:
            level, driven = min(max(seen.level_wh, 0), vehicle.capacity_wh), seen.used_wh[0]
            span = _span(site, vehicle, level, next_need(seen, 0), CAR * slots, float(columns[CAR, 0]))
            spans["vehicle"] = span._replace(
                least=max(0.0, span.least - driven / WH), most=max(0.0, span.most - driven / WH)
            )
        now = float(np.dot(self._first_costs, columns[:, 0]))
        later = self._solver.getObjectiveValue() - now
        steps = worth_by_level(self._solver, list(spans.values()), later, (slots, self._first_costs))
        by_store = {
            name: tuple((round(upto * WH), round(worth * MONEY)) for upto, worth in each)
            for name, each in zip(spans, steps, strict=True)
        }
        return replace(
            plan,
            battery_worth=by_store.get("battery", ()),
            vehicle_worth=tuple((upto + driven, worth) for upto, worth in by_store.get("vehicle", ())),
        )

    def _program(
        self, outlook: Outlook, slots: int, vehicle: Vehicle | None
    ) -> tuple[highspy.HighsLp, highspy.HighsBasis]:
        """The figures of this outlook, and where to begin."""
        battery = self._battery
        kinds, row_kinds = WITHOUT_VEHICLE if vehicle is None else WITH_VEHICLE
        cost = np.zeros((kinds, slots))
        lower = np.zeros((kinds, slots))
        upper = np.full((kinds, slots), np.inf)
        row_lower = np.zeros((row_kinds, slots))

        sell = np.array(outlook.prices.sell) / MONEY
        buy = np.maximum(np.array(outlook.prices.buy) / MONEY, sell)
        net = np.sort(np.asarray(outlook.net, dtype=np.float64), axis=1) / WH
        edges = -net[:, ::-1].T  # the net position is above 0 in k of ten cases between edges k - 1 and k
        cost[BELOW] = -sell
        bands = np.arange(1, BANDS)[:, None] / (BANDS - 1)
        cost[BAND:BANDS] = sell + (buy - sell) * bands
        upper[BAND : BANDS - 1] = np.diff(edges, axis=0)
        row_lower[NET] = -edges[0]

        usual = sell + (buy - sell) * (net > 0).mean(axis=1)  # what a Wh costs if the stores do nothing
        may_give = sell >= 0  # or it would burn energy, and be paid for it
        upper[TAKE] = self._site.slot_wh(battery.charge_w) / WH
        upper[GIVE] = np.where(may_give, self._site.slot_wh(battery.discharge_w) / WH, 0.0)
        upper[LEVEL] = battery.capacity_wh / WH
        cost[LEVEL, -1] = -stock_value(usual)
        row_lower[BATTERY, 0] = min(max(outlook.battery_wh, 0), battery.capacity_wh) / WH
        row_upper = row_lower.copy()
        if vehicle is not None and outlook.vehicle is not None:
            self._fill_vehicle(vehicle, outlook, (cost, lower, upper, row_lower, row_upper))

        shape = matrix(
            slots, battery.efficiency_permille / 1000, None if vehicle is None else vehicle.efficiency_permille / 1000
        )
        self._first_costs = cost[:, 0].tolist()
        program = self._shaped(shape)
        program.col_cost_, program.col_lower_, program.col_upper_ = cost.ravel(), lower.ravel(), upper.ravel()
        program.row_lower_, program.row_upper_ = row_lower.ravel(), row_upper.ravel()
        return program, start(upper, row_lower)

    def _shaped(self, shape: Matrix) -> highspy.HighsLp:
        """A program of this shape: the last one, if that was of the same, since to hand over a matrix takes long."""
        if self._shape is not shape:
            self._shape, program = shape, highspy.HighsLp()
            program.num_col_, program.num_row_ = shape.columns, shape.rows
            program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
            program.a_matrix_.start_ = shape.starts
            program.a_matrix_.index_ = shape.cells
            program.a_matrix_.value_ = shape.values
            self._lp = program
        return self._lp

    def _fill_vehicle(self, vehicle: Vehicle, outlook: Outlook, figures: tuple[Floats, ...]) -> None:
        """The vehicle's part, where it is plugged in, what it is to have and what it drives."""
        cost, lower, upper, row_lower, row_upper = figures
        seen = outlook.vehicle
        assert seen is not None
        take = self._site.slot_wh(vehicle.charge_w) / WH
        give = self._site.slot_wh(vehicle.discharge_w) / WH
        upper[HOME_TAKE : AWAY_GIVE + 1] = 0.0
        price = np.maximum(outlook.prices.buy, outlook.prices.sell) / MONEY
        for slot, bus in enumerate(seen.buses):
            if bus == self._site.bus:
                upper[HOME_TAKE, slot] = take
                upper[HOME_GIVE, slot] = give if outlook.prices.sell[slot] >= 0 else 0.0
            elif bus:
                there = outlook.away[bus]
                upper[AWAY_TAKE, slot] = take
                upper[AWAY_GIVE, slot] = give if there.sell[slot] >= 0 else 0.0
                price[slot] = cost[AWAY_TAKE, slot] = max(there.buy[slot], there.sell[slot]) / MONEY
                cost[AWAY_GIVE, slot] = -there.sell[slot] / MONEY
        plugged = np.array([bus != "" for bus in seen.buses])
        lacking = max(0, seen.shortage_price) / MONEY
        level = min(max(seen.level_wh, 0), vehicle.capacity_wh)
        upper[CAR] = vehicle.capacity_wh / WH
        lower[CAR] = np.array(_floors(seen, level)) / WH
        kept = vehicle.efficiency_permille / 1000
        # What a trip lacks costs the shortage price in all: half of it on the road, for what is expected to be driven,
        # and half where more was asked for, since it may leave earlier or drive farther.
        road = lacking / 2
        if plugged.any() and kept > 0:  # no more than on the road, or it would be left to the road and kept to the end
            cost[CAR, -1] = -min(max(0.0, _lower_quartile(price[plugged])) / kept, road)
        asks = np.array(seen.least_wh) > 0
        ends = asks & ~np.append(asks[1:], False)
        cost[SHORT] = np.where(ends, lacking - road, 0.0)
        cost[ROAD] = road
        upper[ROAD] = np.array(seen.used_wh) / WH
        used = np.array(seen.used_wh) / WH
        row_lower[VEHICLE] = -used
        row_lower[VEHICLE, 0] += level / WH
        row_upper[VEHICLE] = row_lower[VEHICLE]
        least = np.minimum(np.array(seen.least_wh), vehicle.capacity_wh) / WH
        row_lower[LEAST] = np.where(asks, least, -np.inf)
        if asks[0]:
            row_lower[LEAST, 0] -= level / WH
        row_lower[RUN] = np.where(asks & np.append(False, asks[:-1]), 0.0, -np.inf)
        row_upper[LEAST:] = np.inf


def stock_value(usual: Floats) -> float:
    """What a Wh in the battery at the horizon's end is worth, in the unit of ``usual``: the mean of what the horizon's
    slots would pay for it, since the day after is held to be like this one."""
    return max(0.0, float(usual.mean()))


def _lower_quartile(prices: Floats) -> float:
    """As ``numpy.quantile`` says it, which takes ten times as long for a day's few prices."""
    ordered = np.sort(prices).tolist()
    below, part = divmod((len(ordered) - 1) * 0.25, 1)
    first = ordered[int(below)]
    return float(first + part * (ordered[min(int(below) + 1, len(ordered) - 1)] - first))


def _check(outlook: Outlook) -> int:
    """The number of slots."""
    slots = len(outlook.net)
    prices = (outlook.prices, *outlook.away.values())
    lengths = {len(part) for each in prices for part in (each.buy, each.sell)}
    if outlook.vehicle is not None:
        seen = outlook.vehicle
        lengths |= {len(seen.buses), len(seen.least_wh), len(seen.used_wh)}
    if lengths != {slots}:
        raise ValueError(f"an outlook of {slots} slots has parts of {sorted(lengths)}")
    if slots and outlook.net.shape != (slots, len(LEVELS_PERMILLE)):
        raise ValueError(f"quantiles of shape {outlook.net.shape}, not {(slots, len(LEVELS_PERMILLE))}")
    return slots


def _span(site: Site, store: Battery | Vehicle, level: int, least: int, column: int, planned: float) -> Span:
    """Where a store can be at the end of the first slot, before it drives."""
    kept = store.efficiency_permille
    lowest = level - spare(level, least, site.slot_wh(store.discharge_w))
    highest = stored(level, room(level, store.capacity_wh, site.slot_wh(store.charge_w), kept), kept)
    return Span(column, lowest / WH, planned, highest / WH)


def _floors(seen: VehicleOutlook, level: int) -> list[int]:
    """The level below which nothing may be given, at the end of each slot: what the next trip needs, or what would be
    in it anyway if it did nothing."""
    floors = []
    for used, need in zip(seen.used_wh, next_needs(seen), strict=True):
        level = max(0, level - used)
        floors.append(min(level, need))
    return floors


def _flows(kwh: Floats) -> tuple[int, ...]:
    return tuple(np.rint(kwh * WH).astype(np.int64).tolist())


def _values(tokens: Floats) -> tuple[int, ...]:
    return tuple(np.rint(tokens * MONEY).astype(np.int64).tolist())


def _possible(site: Site, outlook: Outlook, plan: Plan) -> Plan:
    """The plan in whole Wh: each flow cut to what its store can do after those before it."""
    battery_wh, vehicle_wh = list(plan.battery_wh), list(plan.vehicle_wh)
    if (battery := site.battery) is not None:
        level, kept = min(max(outlook.battery_wh, 0), battery.capacity_wh), battery.efficiency_permille
        take, give = site.slot_wh(battery.charge_w), site.slot_wh(battery.discharge_w)
        for slot, flow in enumerate(battery_wh):
            if flow:
                most_in = room(level, battery.capacity_wh, take, kept)
                battery_wh[slot] = max(-spare(level, 0, give), min(flow, most_in))
                level = stored(level, battery_wh[slot], kept)
    if (vehicle := site.vehicle) is not None and (seen := outlook.vehicle) is not None:
        level, kept = min(max(seen.level_wh, 0), vehicle.capacity_wh), vehicle.efficiency_permille
        take, give = site.slot_wh(vehicle.charge_w), site.slot_wh(vehicle.discharge_w)
        needs = next_needs(seen)
        for slot, flow in enumerate(vehicle_wh):
            if flow:
                most_in = room(level, vehicle.capacity_wh, take, kept)
                possible = max(-spare(level, needs[slot], give), min(flow, most_in))
                vehicle_wh[slot] = possible if seen.buses[slot] else 0
                level = stored(level, vehicle_wh[slot], kept)
            level = max(0, level - seen.used_wh[slot])
    return Plan(tuple(battery_wh), tuple(vehicle_wh), plan.battery_value, plan.vehicle_value, plan.note)
