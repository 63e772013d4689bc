"""One run: the season played by brokers on an exchange in this process, and its yardsticks."""

import time
from collections.abc import Callable
from typing import Final

from broker.backtest import baselines, figures
from broker.backtest.engine import Replay
from broker.backtest.forecasts import WeekByWeek
from broker.backtest.foresight import Foresight
from broker.backtest.meters import Sign, unsigned
from broker.backtest.optimal import optima
from broker.backtest.origins import LedgerOrigins
from broker.backtest.result import Result
from broker.backtest.scene import Scene, build
from broker.backtest.setup import Run
from broker.exchange import Exchange
from broker.local_exchange import LocalExchange

REPLAY_PART: Final = 0.75
"""Of the time that a run takes."""


def run_one(run: Run, tell: Callable[[float], None] = lambda part: None) -> Result:
    """The run in this process. ``tell``: how much of it is done, 0 to 1. Raises ConfigError: what ``scene.build``
    does."""
    scene = build(run)
    return run_on(scene, LocalExchange(scene.world.settings(), scene.world.time_origin), unsigned, tell)


def run_on(scene: Scene, exchange: Exchange, sign: Sign, tell: Callable[[float], None]) -> Result:
    """The run of ``scene`` on an exchange with the scene's world, of which nothing has been done yet. ``sign``: the
    meters' signatures. First the exchange is used, without a pause; then come the yardsticks."""
    begun = time.process_time()
    forecasts = WeekByWeek(scene.homes, scene.span)
    origins = LedgerOrigins(scene, exchange)
    replay = Replay(scene, Foresight(scene, forecasts), exchange, sign, origins)
    replay.run(lambda part: tell(part * REPLAY_PART))
    rule = baselines.utility_only(scene)
    alone = baselines.alone(
        scene,
        Foresight(scene, forecasts),
        lambda part: tell(REPLAY_PART + part * (1 - REPLAY_PART)),
    )
    played = figures.Played(replay, origins.kept())
    return figures.result(scene, played, rule, alone, optima(scene), forecasts, time.process_time() - begun)
