"""What the experiment came to, as figures: the JSON that the table in the documentation is made from.

Means are over seeds where there are several. What the figures are about is in ``broker/backtest/result.py``.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final, NamedTuple

import msgspec

from broker.backtest.result import Result, Spread

TRIAL_BILL_PCT: Final = -9.0
TRIAL_RENEWABLE_DRIVING_PCT: Final = 43.0
TRIAL_CO2_PCT: Final = -38.0
"""Of the trial in Higashi-Fuji, 2019 to 2020."""
WHOLE_DAYS: Final = 5
"""Of a season: fewer say nothing."""


class Case(msgspec.Struct, frozen=True):
    """One way to run the community, over all its seasons and seeds. Money in tokens, of the whole community and all
    days; ``*_pct`` in percent. ``co2_pct`` and ``optimum_*``: against utility only; ``renewable_with_mix_pct``: of
    driving, the utility's assumed mix counted. ``metres``: the mean way of what was traded; ``feeder_pct``: of that,
    within one line out of the transformer; ``line_pct``: the largest contracted flow of any line, of its limit;
    ``full_slots``: of all lines, hours in which the limit was reached."""

    name: str
    days: int
    seeds: int
    bill_pct: Spread
    worst_home_pct: Spread
    share_of_foresight_pct: float | None
    optimum_bill_pct: float
    alone_bill_pct: float
    local_pct: float
    self_sufficiency_pct: float
    renewable_driving_pct: float | None
    renewable_with_mix_pct: float | None
    co2_pct: float
    optimum_co2_pct: float
    traded_kwh: float
    metres: float | None
    feeder_pct: float | None
    tolls: float
    congestion_rent: float
    line_pct: float | None
    full_slots: int
    imbalance_pct: float
    shares: float
    refused: int


class HomeOnNodes(msgspec.Struct, frozen=True):
    """A home's bill of the week, in base units: in the process, and on the nodes."""

    name: str
    in_process: int
    on_nodes: int


class Week(msgspec.Struct, frozen=True):
    """Days on real nodes. ``late``: groups of orders that missed the auction they were for, of ``groups``;
    ``spare_ms``: how long before it they were in a block, the least and the median; ``answer_ms``: from handing in to
    the block, the median and the 99th of a hundred; all real time. ``traded_wh``: in the process, and on the nodes;
    ``verified_blocks``: replayed by `watt node verify`."""

    season: str
    first_day: str
    days: int
    slot_ms: int
    blocks: int
    transactions: int
    codes: dict[str, int]
    seconds: float
    busiest_second: int
    nodes: int
    height: int
    root: str
    is_agreed: bool
    verified_blocks: int
    groups: int
    late: int
    spare_ms: tuple[int, int]
    answer_ms: tuple[int, int]
    traded_wh: tuple[int, int]
    estimated_readings: int
    homes: tuple[HomeOnNodes, ...]

    @property
    def differing(self) -> int:
        """Homes whose bill on the nodes is another than in the process."""
        return sum(home.in_process != home.on_nodes for home in self.homes)


class Figures(msgspec.Struct, frozen=True):
    """``year``: the chosen strategy; ``seasons``: some days of each with it; ``strategies``, ``variants`` (the first is
    as it is): of some days of each season; ``weeks``: on nodes; ``weak_pct``: of the limits, what the weak grid has.
    ``seconds``: what it took on ``cores``."""

    command: str
    strategy: str
    weak_pct: float
    year: Case
    seasons: tuple[Case, ...]
    strategies: tuple[Case, ...]
    variants: tuple[Case, ...]
    weeks: tuple[Week, ...]
    seconds: float
    cores: int

    @property
    def busy_words(self) -> str:
        """Why bills on nodes differ from those in one process, "" if no order was late."""
        late, groups = sum(week.late for week in self.weeks), sum(week.groups for week in self.weeks)
        return f"busy machine: {late:,} of {groups:,} orders late; bills differ for that reason" if late else ""

    @property
    def noise_words(self) -> str:
        """What to think of rows that are shorter than that, "" if there are none."""
        days = min(case.days for case in (self.year, *self.seasons))
        if days >= WHOLE_DAYS:
            return ""
        return (
            f"Rows of {days} {'day' if days == 1 else 'days'} are noise of stock and trips: they show that everything "
            "runs. Only the whole run, without --quick, counts."
        )


class Named(NamedTuple):
    """Runs of one kind: seasons and seeds of the same strategy and variant."""

    name: str
    results: tuple[Result, ...]


def case_of(named: Named, feeders: Mapping[str, str]) -> Case:
    """The figures of runs; ``feeders``: by bus."""
    results = named.results
    seeds = sorted({each.settings.seed for each in results})
    by_seed = [[each for each in results if each.settings.seed == seed] for seed in seeds]
    before, alone, after = (
        sum(getattr(each.community.bills, kind) for each in results) for kind in ("utility_only", "alone", "broker")
    )
    optimum = sum(_optimum(each) for each in results)
    traded = sum(each.community.traded_wh for each in results)
    metres = sum((each.community.traded_distance_m or 0.0) * each.community.traded_wh for each in results)
    uses = [used_wh(each) for each in results]
    return Case(
        name=named.name,
        days=sum(each.settings.days for each in by_seed[0]),
        seeds=len(seeds),
        bill_pct=_spread([_bill_pct(group) for group in by_seed]),
        worst_home_pct=_spread([max(each.worst_home_change_pct for each in group) for group in by_seed]),
        share_of_foresight_pct=pct(before - after, before - optimum) if before > optimum else None,
        optimum_bill_pct=pct(optimum - before, before),
        alone_bill_pct=pct(alone - before, before),
        local_pct=pct(_weighted([each.community.local_share for each in results], uses)),
        self_sufficiency_pct=pct(_weighted([each.community.broker.self_sufficiency for each in results], uses)),
        renewable_driving_pct=_renewable(results, "renewable_share"),
        renewable_with_mix_pct=_renewable(results, "renewable_share_with_mix"),
        co2_pct=_co2_pct(results, "broker"),
        optimum_co2_pct=_co2_pct(results, "optimum"),
        traded_kwh=round(traded / 1000, 1),
        metres=round(metres / traded, 1) if traded else None,
        feeder_pct=pct(sum(_within(each, feeders) for each in results), traded) if traded else None,
        tolls=round(sum(each.community.tolls for each in results), 2),
        congestion_rent=round(sum(each.community.congestion_rent for each in results), 2),
        line_pct=_fullest(results),
        full_slots=sum(line.full_slots for each in results for line in each.lines),
        imbalance_pct=pct(sum(home.imbalance_wh for each in results for home in each.homes), sum(uses)),
        shares=round(sum(each.community.shares for each in results), 2),
        refused=sum(sum(each.community.refused.values()) for each in results),
    )


def by_season(named: Named) -> tuple[Named, ...]:
    """The runs of each season by themselves."""
    seasons = dict.fromkeys(each.settings.season for each in named.results)
    return tuple(
        Named(season, tuple(each for each in named.results if each.settings.season == season)) for season in seasons
    )


def used_wh(result: Result) -> int:
    """What all homes used, their vehicles' charging in it."""
    return sum(home.load_wh + (home.driving.charged_wh if home.driving else 0) for home in result.homes)


def pct(part: float, whole: float = 1.0) -> float:
    """Percent, to a hundredth; of nothing, 0."""
    return round(100 * part / whole, 2) if whole else 0.0


def _optimum(result: Result) -> float:
    """What the community would have paid with perfect foresight. At the program's own prices the homes would pay the
    rent of full lines besides, which nobody keeps: it is not in here."""
    bills = result.community.bills
    share = result.share_of_perfect_foresight
    return bills.utility_only - (bills.utility_only - bills.broker) / share if share else bills.optimum


def _bill_pct(results: Sequence[Result]) -> float:
    before = sum(each.community.bills.utility_only for each in results)
    return pct(sum(each.community.bills.broker for each in results) - before, before)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(round(fmean(values), 2), min(values), max(values))


def _weighted(values: Sequence[float], weights: Sequence[float]) -> float:
    whole = sum(weights)
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / whole if whole else 0.0


def _co2_pct(results: Sequence[Result], case: str) -> float:
    before = sum(each.community.utility_only.co2_kg or 0.0 for each in results)
    return pct(sum(getattr(each.community, case).co2_kg or 0.0 for each in results) - before, before)


def _renewable(results: Sequence[Result], field: str) -> float | None:
    """By what vehicles charged and did not give back."""
    drivings = [home.driving for each in results for home in each.homes if home.driving is not None]
    if not drivings:
        return None
    kept = [max(each.charged_wh - each.given_back_wh, 0) for each in drivings]
    return pct(_weighted([getattr(each, field) for each in drivings], kept))


def _within(result: Result, feeders: Mapping[str, str]) -> int:
    """Wh that were contracted by neighbours on one feeder: what it bought and sold in the same slot."""
    slots = result.slots
    total = 0
    for feeder in set(feeders.values()):
        rows = [row for row, bus in enumerate(slots.buses) if feeders[bus] == feeder]
        bought = [sum(column) for column in zip(*(slots.bought_wh[row] for row in rows), strict=True)]
        sold = [sum(column) for column in zip(*(slots.sold_wh[row] for row in rows), strict=True)]
        total += sum(min(pair) for pair in zip(bought, sold, strict=True))
    return total


def _fullest(results: Sequence[Result]) -> float | None:
    shares = [
        largest / limit
        for each in results
        for line in each.lines
        for largest, limit in ((line.largest_down_wh, line.limit_down_wh), (line.largest_up_wh, line.limit_up_wh))
        if limit
    ]
    return pct(max(shares)) if shares else None
