"""Small communities for the tests of the backtest: homes whose load and sun are drawn, with and without devices."""

import numpy as np

from broker.backtest.engine import Replay
from broker.backtest.forecasts import WeekByWeek
from broker.backtest.foresight import Foresight
from broker.backtest.scene import Scene, stage
from broker.backtest.setup import Run
from broker.data.homes import Home, Homes
from broker.exchange import Exchange
from broker.local_exchange import LocalExchange
from broker.site import Battery

HOUR_S = 3_600
FIRST_SLOT = 412_008
"""Midnight of 1 January 2017."""
WARM_UP = 7


def homes(days: int, *, seed: int = 1, batteries: int = 2, panels: int = 2, count: int = 3) -> Homes:
    """``count`` homes for a week and ``days`` days, of which the first ``batteries`` and ``panels`` have some."""
    chance = np.random.default_rng(seed)
    hours = (WARM_UP + days) * 24
    hour = np.arange(hours) % 24
    found = []
    for number in range(count):
        shape = 400 + 500 * (hour >= 7) + 900 * ((hour >= 17) & (hour < 22))
        load = np.rint(shape * chance.uniform(0.5, 1.5, hours)).astype(np.int64)
        light = np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None)
        sun = np.rint(4_000 * light * chance.uniform(0.3, 1.0, hours)).astype(np.int64) * (number < panels)
        name = f"elm-{number + 1}"
        battery = Battery(f"{name}/battery", 6_000, 3_000, 3_000, 900) if number < batteries else None
        found.append(Home(name, load, sun, 4_000 if number < panels else 0, battery))
    retail = np.where((hour >= 16) & (hour < 21), 540_000, 220_000).astype(np.int64)
    feed_in = np.full(hours, 80_000, dtype=np.int64)
    return Homes(FIRST_SLOT, HOUR_S, tuple(found), retail, feed_in, None, None)


def run_of(days: int, **changes: object) -> Run:
    """The last ``days`` days of ``homes``, on a street."""
    settings = {"strategy": "truthful", "season": "", "first_day": "2017-01-08", "days": days, "vehicles": False}
    return Run(**{**settings, **changes})  # type: ignore[arg-type]


def scene_of(days: int, found: Homes | None = None, **changes: object) -> Scene:
    """The scene of ``run_of``."""
    return stage(run_of(days, **changes), found if found is not None else homes(days))


def replayed(scene: Scene, exchange: Exchange | None = None) -> Replay:
    """The season, played."""
    if exchange is None:
        exchange = exchange_of(scene)
    replay = Replay(scene, Foresight(scene, WeekByWeek(scene.homes, scene.span)), exchange)
    replay.run(lambda part: None)
    return replay


def exchange_of(scene: Scene) -> LocalExchange:
    """An exchange for the scene's world."""
    return LocalExchange(scene.world.settings(), scene.world.time_origin)
