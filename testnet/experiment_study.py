"""Which runs the experiment is made of, and what is made of them.

The chosen strategy lives a whole year, in parts side by side (``experiment_year.py``). It lives five days of each
season with several seeds, and so does, with one, every other strategy, and it with every variant of grid and feed-in.
The same days are lived on real nodes (``experiment_nodes.py``), and the bills compared.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import structs

from broker.backtest.result import Result, Study
from broker.backtest.setup import Run
from broker.backtest.study import study, summed
from testnet.experiment_result import Named
from testnet.experiment_world import WEAK_PERMILLE
from testnet.experiment_year import joined, parts

GRID: Final = "simbench"
STRATEGY: Final = "truthful"
STRATEGIES: Final = ("truthful", "adaptive", "budget_aware", "green", "zero_intelligence")
AS_IT_IS: Final = "as it is"
NO_TOLLS: Final = "no distance charge"
WEAK: Final = "weak grid"
FREE: Final = "no limits"
VARIANTS: Final[Mapping[str, Mapping[str, int]]] = {
    AS_IT_IS: {},
    NO_TOLLS: {"tolls_permille": 0},
    WEAK: {"limits_permille": WEAK_PERMILLE},
    FREE: {"limits": False},
    "feed-in 0.04": {"feed_in": 40_000},
    "feed-in 0.12": {"feed_in": 120_000},
}


class Extent(NamedTuple):
    """How much is lived. ``long``: of the chosen strategy, in words ``name``: so many days of summer, 0 for a year;
    ``seasons`` and ``days``: of each strategy and variant, ``seeds``: of the chosen one; ``on_nodes``: seasons and
    days."""

    name: str
    long: int
    seeds: tuple[int, ...]
    strategies: tuple[str, ...]
    seasons: tuple[str, ...]
    days: int
    on_nodes: tuple[tuple[str, ...], int]


FULL: Final = Extent(
    name="a year",
    long=0,
    seeds=(1, 2, 3),
    strategies=STRATEGIES,
    seasons=("winter", "spring", "summer", "autumn"),
    days=5,
    on_nodes=(("winter", "spring", "summer", "autumn"), 5),
)
QUICK: Final = Extent(
    name="a fortnight",
    long=14,
    seeds=(1,),
    strategies=("truthful", "zero_intelligence"),
    seasons=("summer",),
    days=2,
    on_nodes=(("summer",), 2),
)


class Found(NamedTuple):
    """What the runs in one process came to. ``parts``: of the long run, and ``long``: these as one; ``weeks``: by
    season, for the nodes."""

    parts: Named
    long: Study
    strategies: tuple[Named, ...]
    variants: tuple[Named, ...]
    weeks: Mapping[str, Result]


def week_run(extent: Extent, season: str) -> Run:
    """The days of ``season`` that are lived on nodes."""
    return Run(strategy=STRATEGY, season=season, days=extent.on_nodes[1], grid=GRID)


def replay(extent: Extent, tell: Callable[[float], None], workers: int) -> Found:
    """All runs in one process each, side by side. Raises as ``study`` does."""
    usual = Run(strategy=STRATEGY, grid=GRID)
    long = [structs.replace(usual, days=extent.long)] if extent.long else parts(usual)
    strategies = {
        name: [run for seed in (extent.seeds if name == STRATEGY else (1,)) for run in _parts(extent, name, seed=seed)]
        for name in extent.strategies
    }
    variants = {name: _parts(extent, STRATEGY, **fields) for name, fields in VARIANTS.items()}
    weeks = {name: week_run(extent, name) for name in extent.on_nodes[0]}
    groups = [*strategies.values(), *variants.values(), list(weeks.values())]
    runs = list(dict.fromkeys([*long, *(run for group in groups for run in group)]))  # the long ones first
    results = dict(zip(runs, study(runs, tell, workers=workers).runs, strict=True))
    return Found(
        parts=Named(f"{STRATEGY}, {extent.name}", tuple(results[run] for run in long)),
        long=summed(
            [usual], [joined([results[run] for run in long], extent.name) if len(long) > 1 else results[long[0]]]
        ),
        strategies=_named(strategies, results),
        variants=_named(variants, results),
        weeks={name: results[run] for name, run in weeks.items()},
    )


def _parts(extent: Extent, strategy: str, **fields: int) -> list[Run]:
    """Of each season."""
    common: dict[str, Any] = {"days": extent.days, "grid": GRID, **fields}
    return [Run(strategy=strategy, season=season, **common) for season in extent.seasons]


def _named(groups: Mapping[str, Sequence[Run]], results: Mapping[Run, Result]) -> tuple[Named, ...]:
    return tuple(Named(name, tuple(results[run] for run in runs)) for name, runs in groups.items())
