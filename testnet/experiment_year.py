"""A year that was lived in parts, side by side, as one: the sum of its parts, each begun where plain rules begin.

A share is joined by what it is a share of. Where a result does not hold that, the nearest thing that it holds stands
for it, and is named here.
"""

import datetime
import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Final

import msgspec

from broker.backtest.figures import change_pct
from broker.backtest.result import Bills, Case, Community, Driving, Home, Line, Result, Settings, Slots
from broker.backtest.setup import Run

BEGINS: Final = datetime.date(2016, 8, 8)
"""The data's first week is in no part of it: brokers would have next to nothing to forecast from."""
PARTS: Final = (90, 89, 89, 89)
"""Days of each, to the last whole day of the data."""
BILLS: Final = ("utility_only", "alone", "broker", "optimum", "optimum_alone")


def parts(run: Run) -> list[Run]:
    """``run`` over the year, part by part."""
    firsts = [BEGINS + datetime.timedelta(sum(PARTS[:number])) for number in range(len(PARTS))]
    return [
        msgspec.structs.replace(run, season="", first_day=str(first), days=days)
        for first, days in zip(firsts, PARTS, strict=True)
    ]


def joined(results: Sequence[Result], name: str) -> Result:
    """The parts as one season called ``name``. The worst home is that of any part: it is over a season that nobody is
    to lose."""
    saved = [_saved(each) for each in results]
    best = [each / _share(result) for each, result in zip(saved, results, strict=True)]
    communities = [result.community for result in results]
    before = math.fsum(each.bills.utility_only for each in communities)
    count = len(results[0].homes)
    homes = tuple(_home(rows, before / count) for rows in zip(*(each.homes for each in results), strict=True))
    return Result(
        mean_bill_change_pct=change_pct(before - math.fsum(saved), before, before),
        worst_home_change_pct=max(each.worst_home_change_pct for each in results),
        share_of_perfect_foresight=round(math.fsum(saved) / math.fsum(best), 4),
        settings=_settings([each.settings for each in results], name),
        homes=homes,
        community=_community(communities, [_driven(each) for each in results]),
        lines=tuple(_line(rows) for rows in zip(*(each.lines for each in results), strict=True)),
        slots=_slots([each.slots for each in results]),
        cpu_seconds=round(math.fsum(each.cpu_seconds for each in results), 3),
    )


def _saved(result: Result) -> float:
    return result.community.bills.utility_only - result.community.bills.broker


def _share(result: Result) -> float:
    """Of what can be saved. A part in which nothing can be has none, and the study of a year no use for it."""
    assert result.share_of_perfect_foresight, "there is always something to save in three months"
    return result.share_of_perfect_foresight


def _mean(rows: Sequence[Any], value: Callable[[Any], float | None], weight: Callable[[Any], float]) -> float | None:
    """Of the rows that have the value."""
    pairs = [(found, weight(row)) for row in rows if (found := value(row)) is not None]
    whole = math.fsum(each for _, each in pairs)
    return round(math.fsum(found * each for found, each in pairs) / whole, 4) if whole else None


def _sums(rows: Sequence[Any], fields: Sequence[str]) -> dict[str, Any]:
    """Whole numbers stay whole."""
    found = {}
    for field in fields:
        values = [getattr(row, field) for row in rows]
        is_whole = all(isinstance(value, int) for value in values)
        found[field] = sum(values) if is_whole else round(math.fsum(values), 9)
    return found


def _home(rows: Sequence[Home], mean_before: float) -> Home:
    bills = Bills(**_sums([row.bills for row in rows], BILLS))
    added = (
        "load_wh", "sun_wh", "bought_wh", "sold_wh", "paid", "earned", "tolls", "rent_returned", "imported_wh",
        "exported_wh", "imbalance_wh", "imbalance_cost", "battery_cycles", "stock_value", "shared", "orders",
        "estimated_readings",
    )  # fmt: skip
    return Home(
        name=rows[0].name,
        bus=rows[0].bus,
        bills=bills,
        change_pct=change_pct(bills.broker, bills.utility_only, mean_before),
        self_consumption=_mean(rows, lambda row: row.self_consumption, lambda row: row.sun_wh) or 0.0,
        forecast_mase_load=_mean(rows, lambda row: row.forecast_mase_load, lambda row: row.load_wh),
        forecast_mase_sun=_mean(rows, lambda row: row.forecast_mase_sun, lambda row: row.sun_wh),
        driving=_driving([row.driving for row in rows if row.driving is not None]),
        **_sums(rows, added),
    )


def _driving(rows: Sequence[Driving]) -> Driving | None:
    """Shares by what was charged and not given back."""
    if not rows:
        return None
    added = ("trips", "trips_short", "driven_wh", "charged_wh", "given_back_wh", "short_wh", "short_cost")
    shares: dict[str, Any] = {
        name: _mean(rows, attrgetter(name), _kept_wh) or 0.0 for name in Driving.__struct_fields__ if name not in added
    }
    return Driving(**_sums(rows, added), **shares)


def _kept_wh(driving: Driving) -> int:
    return max(0, driving.charged_wh - driving.given_back_wh)


def _driven(result: Result) -> int:
    return sum(home.driving.driven_wh for home in result.homes if home.driving is not None)


def _line(rows: Sequence[Line]) -> Line:
    return msgspec.structs.replace(
        rows[0],
        largest_down_wh=max(row.largest_down_wh for row in rows),
        largest_up_wh=max(row.largest_up_wh for row in rows),
        full_slots=sum(row.full_slots for row in rows),
    )


def _case(rows: Sequence[Case], driven_wh: Sequence[int]) -> Case:
    """What was used is had from the share that was not imported; driving is by what was driven."""
    driven = dict(zip(map(id, rows), driven_wh, strict=True))

    def used(row: Case) -> float:
        return (row.imported_wh + row.short_wh) / (1 - row.self_sufficiency) if row.self_sufficiency < 1 else 0.0

    def drives(row: Case) -> float:
        return driven[id(row)]

    has_carbon = all(row.co2_kg is not None for row in rows)
    return Case(
        **_sums(rows, ("imported_wh", "exported_wh", "stock_wh", "short_wh")),
        self_sufficiency=_mean(rows, lambda row: row.self_sufficiency, used) or 0.0,
        co2_kg=round(math.fsum(row.co2_kg or 0.0 for row in rows), 3) if has_carbon else None,
        renewable_driving=_mean(rows, lambda row: row.renewable_driving, drives),
        renewable_driving_with_mix=_mean(rows, lambda row: row.renewable_driving_with_mix, drives),
    )


def _community(rows: Sequence[Community], driven_wh: Sequence[int]) -> Community:
    """The local share is by what was imported and traded."""

    def taken(row: Community) -> float:
        return row.broker.imported_wh + row.traded_wh

    cases: dict[str, Any] = {
        name: _case([getattr(row, name) for row in rows], driven_wh)
        for name in ("utility_only", "alone", "broker", "optimum")
    }
    refused: Counter[str] = Counter()
    for row in rows:
        refused.update(row.refused)
    added = ("traded_wh", "tolls", "congestion_rent", "shares", "orders", "estimated_readings")
    return Community(
        bills=Bills(**_sums([row.bills for row in rows], BILLS)),
        local_share=_mean(rows, lambda row: row.local_share, taken) or 0.0,
        traded_distance_m=_mean(rows, lambda row: row.traded_distance_m, lambda row: row.traded_wh),
        refused=dict(sorted(refused.items())),
        **_sums(rows, added),
        **cases,
    )


def _settings(rows: Sequence[Settings], name: str) -> Settings:
    days = sum(row.days for row in rows)

    def whole(field: str) -> tuple[float, float, float]:
        ranges = [getattr(row, field) for row in rows]
        mean = math.fsum(each[1] * row.days for each, row in zip(ranges, rows, strict=True)) / days
        return min(each[0] for each in ranges), round(mean, 6), max(each[2] for each in ranges)

    return msgspec.structs.replace(rows[0], season=name, days=days, retail=whole("retail"), feed_in=whole("feed_in"))


def _slots(rows: Sequence[Slots]) -> Slots:
    """The parts follow one another."""

    def columns(field: str) -> Any:
        return tuple(tuple(chain(*parts)) for parts in zip(*(getattr(row, field) for row in rows), strict=True))

    whole = {
        field: tuple(chain(*(getattr(row, field) for row in rows)))
        for field in ("retail", "feed_in", "imported_wh", "exported_wh")
    }
    return Slots(
        first_slot=rows[0].first_slot,
        buses=rows[0].buses,
        price=columns("price"),
        bought_wh=columns("bought_wh"),
        sold_wh=columns("sold_wh"),
        **whole,
    )
