"""`watt broker vehicles`: how well the electricity of driving is forecast."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import click
import numpy as np

from broker.vehicles.evaluate import DAYS, METHODS, NEW_DAYS, Year, evaluate
from broker.vehicles.fleet import MAKES
from broker.vehicles.hold import DAYS as HOLD_DAYS
from broker.vehicles.hold import Held, hold
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes

KWH = 1000
MILLITOKENS = 10**6


@click.command()
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="How many years of trips.")
@click.option(
    "--days", type=click.IntRange(2 * NEW_DAYS, DAYS), default=DAYS, show_default=True, help="How long each is."
)
@json_option
@refusals_to_exit_codes
def vehicles(seeds: int, days: int, as_json: bool) -> None:
    """Forecast how much electricity five makes take in a day, driven by three kinds of drivers.

    Trips are drawn from the mobility statistics of the wheel emobpy. The forecast from km and range is held against
    one that knows no range, and against what the meter showed on the days before. docs/vehicles.md explains the
    figures.

    Example: watt broker vehicles --seeds 5 --json
    """
    years = evaluate(range(1, seeds + 1), days=days)
    rows = [_row(years, make, method) for make in MAKES for method in METHODS]
    held = [hold(make, 1, min(days, HOLD_DAYS)) for make in MAKES]
    if as_json:
        print_json(
            {"seeds": seeds, "days": days, "forecast": rows, "ready": [dataclasses.asdict(each) for each in held]}
        )
        return
    print_table(
        f"a day's electricity, forecast at 3:00; {seeds} x {days} days, by three drivers; ± between seeds",
        (
            "make",
            "?>km over range",
            "?>need kWh",
            "method",
            ">error of median",
            "?>of mean",
            "?>bias",
            ">cost",
            "?>if dear",
            "?>new: cost",
        ),
        [_cells(row) for row in rows],
    )
    print_table(
        "what trips lacked a day, kWh, if no more is charged than the outlook asks for, as late as can be",
        ("make", ">driven", ">short", ">short if full", ">mean level", ">mean level if full"),
        [_held_cells(each) for each in held],
    )


def _row(years: Sequence[Year], make: str, method: str) -> dict[str, Any]:
    """Means over drivers and seeds; ``spread``: the standard deviation between seeds, of the drivers' mean."""
    mine = [year for year in years if year.make == make]
    row: dict[str, Any] = {
        "make": make,
        "method": method,
        "days_beyond_range_permille": round(float(np.mean([year.beyond_permille for year in mine]))),
        "need_wh": round(float(np.mean([year.need_wh for year in mine]))),
    }
    for name, part in (("known", "scores"), ("new", "new")):
        figures = {}
        for field in dataclasses.fields(getattr(mine[0], part)[method]):
            by_seed = [
                np.mean([getattr(getattr(year, part)[method], field.name) for year in mine if year.seed == seed])
                for seed in sorted({year.seed for year in mine})
            ]
            figures[field.name] = {"mean": round(float(np.mean(by_seed))), "spread": round(float(np.std(by_seed)))}
        row[name] = figures
    return row


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    known = row["known"]
    return (
        row["make"],
        f"{row['days_beyond_range_permille'] / 10:.1f} %",
        f"{row['need_wh'] / KWH:.2f}",
        row["method"],
        *(_spread(known[name], KWH, 2) for name in ("mae_wh", "mean_mae_wh", "mean_error_wh")),
        *(_spread(known[name], MILLITOKENS, 0) for name in ("cost", "dear_cost")),
        _spread(row["new"]["cost"], MILLITOKENS, 0),
    )


def _spread(figure: dict[str, int], unit: int, digits: int) -> str:
    return f"{figure['mean'] / unit:.{digits}f} ± {figure['spread'] / unit:.{digits}f}"


def _held_cells(each: Held) -> tuple[str, ...]:
    figures = (each.wanted_wh, each.short_wh, each.full_short_wh, each.level_wh, each.full_level_wh)
    return (each.make, *(f"{figure / KWH:.2f}" for figure in figures))
