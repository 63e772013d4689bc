"""`watt broker forecast`: the forecasts of the real homes, measured."""

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import click

from broker.data.homes import Home, Homes, load_homes
from broker.forecast.choose import CHOSEN, Chooser
from broker.forecast.evaluate import KINDS, Skill, evaluate, mean, series_of, weather_of
from broker.forecast.features import Kind
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from node.errors import ConfigError

FIGURES = (
    "relative_mae_hour",
    "relative_mae_day",
    "relative_mae_all",
    "mase_hour",
    "mase_day",
    "pinball_hour",
    "pinball_day",
    "band_80",
)
TIMED_PREDICTIONS = 24


@click.command()
@click.option("--home", "names", multiple=True, help="Only this home, as home-03; may be given again. All, otherwise.")
@click.option(
    "--weather",
    "with_weather",
    is_flag=True,
    help="Let the learnt forecasts see what the data set calls weather predictions. They are none: docs/forecasts.md.",
)
@json_option
@refusals_to_exit_codes
def forecast(names: tuple[str, ...], with_weather: bool, as_json: bool) -> None:
    """Measure the forecasts on the seventeen real homes, in four months of different seasons.

    Every forecast is made from what lay before it. Relative MAE is the mean absolute error in parts of that of
    yesterday's value in the same slots, MASE in parts of that of yesterday's value in the history before the month;
    docs/forecasts.md tells more.

    Example: watt broker forecast --home home-03
    """
    homes = load_homes()
    chosen = [home for home in homes.homes if not names or home.name in names]
    if len(chosen) < len(set(names)):
        raise ConfigError("no-such-home", f"the homes are {homes.homes[0].name} to {homes.homes[-1].name}")
    skills, seconds = measure(homes, chosen, with_weather)
    if as_json:
        rows = [skill.as_json() for skill in skills]
        means = [_mean_row(skills, kind, method) for kind in KINDS for method in _methods(skills)]
        print_json({"weather": with_weather, "seconds": seconds, "means": means, "rows": rows})
        return
    _show(skills, seconds)


def measure(homes: Homes, chosen: Sequence[Home], with_weather: bool) -> tuple[list[Skill], dict[str, float]]:
    """The skills of all series of ``chosen``, and the longest time of each step, seconds of one processor."""
    jobs = [(homes, home, kind, with_weather, home is chosen[0]) for home in chosen for kind in KINDS]
    # Fresh processes of one thread each: the series are small and there are many.
    os.environ["OMP_NUM_THREADS"] = "1"
    workers = min(len(jobs), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        answers = list(pool.map(_measure, jobs))
    skills = [skill for skills, _ in answers for skill in skills]
    seconds = {name: round(max(times[name] for _, times in answers if times), 4) for name in answers[0][1]}
    return skills, seconds


def _measure(job: tuple[Homes, Home, Kind, bool, bool]) -> tuple[list[Skill], dict[str, float]]:
    """The skills of one series, and, if they are to be taken, the times of its forecasts."""
    homes, home, kind, with_weather, timed = job
    weather = weather_of(homes) if with_weather else None
    return list(evaluate(homes, home, kind, weather)), _times(homes, home, kind) if timed else {}


def _times(homes: Homes, home: Home, kind: Kind) -> dict[str, float]:
    """What it takes a broker to start with the whole year behind it, to make a forecast, and to go on to the next
    week, seconds of this process."""
    series, prior = series_of(homes, home, kind)
    chooser, day = Chooser(kind, prior), homes.slots_per_day
    week = (series.end // (7 * day) - 1) * 7 * day
    begun = time.process_time()
    chooser.predict(series, [week - 1], day)
    started = time.process_time()
    for first in range(week - TIMED_PREDICTIONS, week):
        chooser.predict(series, [first], day)
    predicted = time.process_time()
    chooser.predict(series, [week], day)
    refitted = time.process_time()
    return {
        "start": started - begun,
        "predict": (predicted - started) / TIMED_PREDICTIONS,
        "refit": refitted - predicted,
    }


def _methods(skills: Sequence[Skill]) -> list[str]:
    return list(dict.fromkeys(skill.method for skill in skills))


def _mean_row(skills: Sequence[Skill], kind: Kind, method: str) -> dict[str, Any]:
    figures = mean([skill for skill in skills if skill.series == kind and skill.method == method])
    return {"series": kind, "method": method, **{name: round(each, 4) for name, each in figures.items()}}


def _show(skills: Sequence[Skill], seconds: dict[str, float]) -> None:
    for kind in KINDS:
        ours = [skill for skill in skills if skill.series == kind]
        methods = [_line(method, [skill for skill in ours if skill.method == method]) for method in _methods(ours)]
        _print(f"{kind}: every method, mean over homes and months", "method", methods)
        best = [skill for skill in ours if skill.method == CHOSEN]
        months = dict.fromkeys(skill.month for skill in best)
        by_month = [_line(month, [skill for skill in best if skill.month == month]) for month in months]
        _print(f"{kind}: what was chosen, by month", "month", by_month)
        homes = dict.fromkeys(skill.home for skill in best)
        by_home = [_line(home, [skill for skill in best if skill.home == home]) for home in homes]
        _print(f"{kind}: what was chosen, by home", "home", by_home)
    click.echo(
        f"A forecast takes {1000 * seconds['predict']:.1f} ms, a week's refit {seconds['refit']:.2f} s, "
        f"a start with a year behind it {seconds['start']:.1f} s (of one processor)."
    )


def _print(title: str, first: str, lines: Sequence[Sequence[str]]) -> None:
    print_table(title, (first, *(f">{name.replace('_', ' ')}" for name in FIGURES)), lines)


def _line(label: str, skills: Sequence[Skill]) -> tuple[str, ...]:
    figures = mean(skills)
    return label, *(f"{figures[name]:.0f}" if "pinball" in name else f"{figures[name]:.3f}" for name in FIGURES)
