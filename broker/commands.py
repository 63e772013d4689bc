"""`watt broker`: trading agents, and what they are measured by."""

from typing import Final

import click

from cli.lazy import Commands, LazyGroup

COMMANDS: Final[Commands] = {
    "run": ("broker.agent_commands:run", "Trade for one or several sites until stopped."),
    "explain": ("broker.agent_commands:explain", "Tell what a site's broker did, and why."),
    "backtest": ("broker.backtest.backtest_command:backtest", "Replay a season of homes, and say what brokers gain."),
    "vehicles": ("broker.vehicles.vehicles_command:vehicles", "How well the electricity of driving is forecast."),
    "forecast": ("broker.forecast.forecast_command:forecast", "Measure the forecasts on the real homes."),
}


@click.command(cls=LazyGroup, table=COMMANDS)
def broker() -> None:
    """A site's trading agent, and how good it is."""
