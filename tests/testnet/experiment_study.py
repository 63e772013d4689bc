"""A study as it might come out, by hand: what the experiment's figures and page are tested with."""

from random import Random
from typing import TypeVar

import msgspec

from broker.backtest.result import (
    Bills,
    Case,
    Community,
    Driving,
    Home,
    HomeBills,
    Line,
    Result,
    Settings,
    Slots,
    Study,
)
from testnet import experiment_world
from testnet.experiment_result import Figures, HomeOnNodes, Named, Week, by_season, case_of
from testnet.experiment_sections import Material
from testnet.experiment_study import STRATEGIES, VARIANTS

T = TypeVar("T", bound=msgspec.Struct)
DAYS = 2
HOURS = 24 * DAYS
SEASONS = ("winter", "summer")


def result(community: experiment_world.Community, seed: int, strategy: str, season: str) -> Result:
    """Every home pays a tenth to a fifth less than before."""
    chance = Random(f"{seed} {strategy} {season}")
    homes = tuple(
        _home(home.name, bus, 100.0 + number, chance)
        for number, (home, bus) in enumerate(zip(community.homes.homes, community.buses, strict=True))
    )
    names = ("utility_only", "alone", "broker", "optimum", "optimum_alone")
    bills = Bills(**{name: sum(getattr(home.bills, name) for home in homes) for name in names})
    buses = tuple(dict.fromkeys(community.buses))
    column = tuple(tuple(chance.randrange(900) for _ in range(HOURS)) for _ in buses)
    return Result(
        mean_bill_change_pct=100 * (bills.broker / bills.utility_only - 1),
        worst_home_change_pct=max(home.change_pct for home in homes),
        share_of_perfect_foresight=(bills.utility_only - bills.broker) / (bills.utility_only - bills.optimum),
        settings=Settings(
            "22 homes", season, "2017-06-01", DAYS, 3600, strategy, seed, True, "simbench", 1000, True, 1000,
            (0.21, 0.27, 0.54), (0.08, 0.08, 0.08), ("a token is a dollar",),
        ),
        homes=homes,
        community=Community(
            bills, 0.3, 40_000, 200.0, 1.5, 0.25, 0.0, 900, {}, 0,
            _case(1.0), _case(0.95), _case(0.9), _case(0.8),
        ),
        lines=tuple(
            Line(child, 0.001, down_w, up_w, chance.randrange(4_000), chance.randrange(4_000), 0)
            for _, child, _, _, down_w, up_w in community.grid.lines
        ),
        slots=Slots(
            first_slot=community.homes.first_slot,
            retail=(220_000,) * HOURS,
            feed_in=(80_000,) * HOURS,
            buses=buses,
            price=tuple(tuple(chance.choice((None, 150_000, 200_000)) for _ in range(HOURS)) for _ in buses),
            bought_wh=column,
            sold_wh=column,
            imported_wh=(9_000,) * HOURS,
            exported_wh=(100,) * HOURS,
        ),
        cpu_seconds=1.0,
    )  # fmt: skip


def week(community: experiment_world.Community, season: str, *, late: int = 0) -> Week:
    """A week on nodes; with ``late`` orders the first home's bill is another."""
    homes = [HomeOnNodes(home.name, 10**9, 10**9) for home in community.homes.homes]
    if late:
        homes[0] = HomeOnNodes(homes[0].name, 10**9, 10**9 + 1)
    return Week(
        season, "2017-06-01", DAYS, 1000, 900, 5000, {"ok": 5000}, 60.0, 150, 4, 901, "ab" * 32, True, 901, 96, late,
        (-40 if late else 200, 400), (50, 90), (1, 1), 0, tuple(homes),
    )  # fmt: skip


def material(community: experiment_world.Community, *, late: int = 0) -> Material:
    """A whole experiment: three seeds, five strategies, all variants, two seasons."""
    feeders = {bus: place.feeder for bus, place in community.places.items()}
    runs = tuple(result(community, seed, "truthful", "year") for seed in (1, 2, 3))
    strategies = tuple(_named(community, name, name) for name in STRATEGIES)
    variants = tuple(_named(community, name, "truthful") for name in VARIANTS)
    study = Study(
        -15.0,
        -10.0,
        0.7,
        tuple(HomeBills(h.name, h.bills, h.change_pct, h.change_pct) for h in runs[0].homes),
        (),
        runs,
    )
    figures = Figures(
        command="watt testnet experiment --quick",
        strategy="truthful",
        weak_pct=2.5,
        year=case_of(Named("truthful, a year", runs), feeders),
        seasons=tuple(case_of(named, feeders) for named in by_season(strategies[0])),
        strategies=tuple(case_of(named, feeders) for named in strategies),
        variants=tuple(case_of(named, feeders) for named in variants),
        weeks=tuple(week(community, season, late=late) for season in SEASONS),
        seconds=100.0,
        cores=2,
    )
    return Material(community, figures, study, strategies, variants)


def _named(community: experiment_world.Community, name: str, strategy: str) -> Named:
    return Named(name, tuple(result(community, 1, strategy, season) for season in SEASONS))


def _home(name: str, bus: str, bill: float, chance: Random) -> Home:
    saved = chance.uniform(0.1, 0.2)
    driving = _filled(
        Driving, charged_wh=10_000, given_back_wh=1_000, renewable_share=0.4, renewable_share_with_mix=0.5
    )
    return Home(
        name, bus, Bills(bill, bill * (1 - saved / 2), bill * (1 - saved), bill * 0.75, bill * 0.9), -100 * saved,
        400_000, 200_000, 2_000, 1_000, 0.4, 0.2, 0.05, 0.0, 50_000, 9_000, 59_000, 3.0, 0.6, 0.8, 0.7, 1.0, 0.0, 0.0,
        80, 0, driving if name.startswith("home") else None,
    )  # fmt: skip


def _case(part: float) -> Case:
    return _filled(
        Case,
        imported_wh=round(9_000_000 * part),
        exported_wh=90_000,
        self_sufficiency=1 - 0.6 * part,
        co2_kg=1_000 * part,
        renewable_driving=0.5 - 0.3 * part,
        renewable_driving_with_mix=0.6 - 0.3 * part,
    )


def _filled(kind: type[T], **known: object) -> T:
    """With what matters here, and 0 in all other fields."""
    return kind(**{field.name: known.get(field.name, 0) for field in msgspec.structs.fields(kind)})
