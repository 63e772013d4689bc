"""What a backtest came to: the JSON that ``watt broker backtest --json`` prints, and what reports are made from.

Money is in tokens, exact to the base unit (nine decimals); energy in Wh; shares from 0 to 1; changes in percent,
negative where less is paid. *Utility-only* is the same devices without an exchange, by rule; *alone* is the same
planner without an exchange; *broker* is the run itself, on the ledger's books; *optimum* is the linear program of the
whole season with everything known. All begin with what utility-only has in its stores by then. What stores hold more
or less at the end is valued alike in all of them, and is in every bill.
"""

from typing import Final

import msgspec

BASE_UNITS: Final = 1_000_000_000


def tokens(base_units: int) -> float:
    """An amount in base units as tokens; nine decimals lose nothing below a million tokens."""
    return base_units / BASE_UNITS


class Settings(msgspec.Struct, frozen=True):
    """What was run. ``retail``: (least, mean, largest) of the season, and ``feed_in`` likewise, tokens per kWh.
    ``tolls_permille`` and
    ``limits_permille``: of the grid's. ``assumptions``: what is not in the data, in words.
    """

    homes: str
    season: str
    first_day: str
    days: int
    slot_seconds: int
    strategy: str
    seed: int
    vehicles: bool
    grid: str
    tolls_permille: int
    limits: bool
    limits_permille: int
    retail: tuple[float, float, float]
    feed_in: tuple[float, float, float]
    assumptions: tuple[str, ...]

    @property
    def name(self) -> str:
        """The run in a few words: season, strategy, and what is not as usual."""
        variant = [] if self.tolls_permille == 1000 else [f"{self.tolls_permille / 10:g} % tolls"]
        variant += [] if self.limits else ["no limits"]
        variant += [] if self.limits_permille == 1000 else [f"{self.limits_permille / 10:g} % limits"]
        return ", ".join([self.season, self.strategy, *variant, f"seed {self.seed}"])


class Bills(msgspec.Struct, frozen=True):
    """A home's bill for the season, or a mean of them, tokens. ``optimum``: its part of the community's optimum, its
    trade settled at the program's own prices."""

    utility_only: float
    alone: float
    broker: float
    optimum: float
    optimum_alone: float


class Driving(msgspec.Struct, frozen=True):
    """A home's vehicle. ``short_wh``: what trips lacked, had elsewhere (fuel or public charging) for ``short_cost``,
    which is in the bills. ``renewable_share``: of what it charged and did not give back, how much was sun, by the
    ledger's records of origin; ``with_mix``: the utility's assumed mix counted, too."""

    trips: int
    trips_short: int
    driven_wh: int
    charged_wh: int
    given_back_wh: int
    short_wh: int
    short_cost: float
    renewable_share: float
    renewable_share_with_mix: float
    renewable_share_utility_only: float
    renewable_share_utility_only_with_mix: float


class Home(msgspec.Struct, frozen=True):
    """``change_pct``: of the bill against utility-only, in percent of that one or, where it is small, of a tenth of the
    homes' mean. ``imported_wh`` and ``exported_wh``: at the utility's tariffs, what contracts did not cover;
    ``imbalance_wh``: their sum, and ``imbalance_cost`` what it cost more than at the price of the slot's auction.
    ``forecast_mase_load`` and ``_sun``: mean absolute error of the median an hour ahead, in that of yesterday's figure
    over the same slots of the season (the relative MAE of docs/forecasts.md, not scaled by a history before it).
    ``self_consumption``: of its sun, used at home. ``stock_value``: what its stores gained, taken off its bill.
    """

    name: str
    bus: str
    bills: Bills
    change_pct: float
    load_wh: int
    sun_wh: int
    bought_wh: int
    sold_wh: int
    paid: float
    earned: float
    tolls: float
    rent_returned: float
    imported_wh: int
    exported_wh: int
    imbalance_wh: int
    imbalance_cost: float
    self_consumption: float
    forecast_mase_load: float | None
    forecast_mase_sun: float | None
    battery_cycles: float
    stock_value: float
    shared: float
    orders: int
    estimated_readings: int
    driving: Driving | None


class Line(msgspec.Struct, frozen=True):
    """A line by the bus at its far end. Wh of one slot; a limit of None is none. ``largest_*``: of what was contracted;
    ``full_slots``: in how many it reached the limit."""

    line: str
    toll: float
    limit_down_wh: int | None
    limit_up_wh: int | None
    largest_down_wh: int
    largest_up_wh: int
    full_slots: int


class Case(msgspec.Struct, frozen=True):
    """The community as a whole in one of the cases.

    ``imported_wh`` and ``exported_wh``: across the transformer, so what neighbours give each other is in neither.
    ``stock_wh``: what it took at the plug to gain what stores have gained (negative: lost); it is off ``imported_wh``.
    ``short_wh``: what trips lacked. ``self_sufficiency``: of what is used (loads, what vehicles took less what they
    gave back and gained, what trips lacked), neither imported nor lacked. ``co2_kg``: of ``imported_wh``, by the data's
    carbon column, None without one, and of what trips lacked: fuel, or public charging. ``renewable_driving``: of what
    vehicles charged and did not give back, how much was sun, their home's or a neighbour's, also by way of a store;
    ``_with_mix``: the utility's assumed mix counted, too; None if nothing was charged.
    """

    imported_wh: int
    exported_wh: int
    stock_wh: int
    short_wh: int
    self_sufficiency: float
    co2_kg: float | None
    renewable_driving: float | None
    renewable_driving_with_mix: float | None


class Community(msgspec.Struct, frozen=True):
    """All homes together. ``local_share``: of what homes took from outside their walls, bought from neighbours.
    ``traded_distance_m``: the mean way of a traded Wh, None if nothing was. ``shares``: tokens that devices of one
    network gave each other. ``refused``: orders by the code of their refusal."""

    bills: Bills
    local_share: float
    traded_wh: int
    traded_distance_m: float | None
    tolls: float
    congestion_rent: float
    shares: float
    orders: int
    refused: dict[str, int]
    estimated_readings: int
    utility_only: Case
    alone: Case
    broker: Case
    optimum: Case


class Slots(msgspec.Struct, frozen=True):
    """Columns by slot from ``first_slot`` on; prices in base units per Wh. ``price``: by bus the last auction's,
    indicative where ``bought_wh`` and ``sold_wh`` (by bus, contracts) are 0."""

    first_slot: int
    retail: tuple[int, ...]
    feed_in: tuple[int, ...]
    buses: tuple[str, ...]
    price: tuple[tuple[int | None, ...], ...]
    bought_wh: tuple[tuple[int, ...], ...]
    sold_wh: tuple[tuple[int, ...], ...]
    imported_wh: tuple[int, ...]
    exported_wh: tuple[int, ...]


class Result(msgspec.Struct, frozen=True):
    """One run. All but ``cpu_seconds`` follow from the settings and the data."""

    mean_bill_change_pct: float
    worst_home_change_pct: float
    share_of_perfect_foresight: float | None
    settings: Settings
    homes: tuple[Home, ...]
    community: Community
    lines: tuple[Line, ...]
    slots: Slots
    cpu_seconds: float


class Spread(msgspec.Struct, frozen=True):
    """A figure over several runs."""

    mean: float
    least: float
    largest: float


class Group(msgspec.Struct, frozen=True):
    """Runs that differ in their seed alone."""

    name: str
    seeds: tuple[int, ...]
    mean_bill_change_pct: Spread
    worst_home_change_pct: Spread
    share_of_perfect_foresight: Spread | None


class HomeBills(msgspec.Struct, frozen=True):
    """A home over several runs: its mean bills, the change of these, and the largest change of any run."""

    name: str
    bills: Bills
    change_pct: float
    worst_change_pct: float


class Study(msgspec.Struct, frozen=True):
    """Several runs side by side. The three figures and ``homes`` are those of the strategy named first: the mean over
    seeds and seasons, the worst home of any run."""

    mean_bill_change_pct: float
    worst_home_change_pct: float
    share_of_perfect_foresight: float | None
    homes: tuple[HomeBills, ...]
    groups: tuple[Group, ...]
    runs: tuple[Result, ...]


def to_json(study: Study | Result) -> bytes:
    """The same study, the same bytes."""
    return msgspec.json.encode(study, order="deterministic")
