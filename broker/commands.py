"""`watt broker`: trading agents, and what they are measured by."""

from typing import Final

import click

from cli.lazy import Commands, LazyGroup

COMMANDS: Final[Commands] = {
    "run": ("broker.run_command:run", "Trade for a site until stopped."),
    "vehicles": ("broker.vehicles.vehicles_command:vehicles", "How well the electricity of driving is forecast."),
    "forecast": ("broker.forecast.forecast_command:forecast", "Measure the forecasts on the real homes."),
}


@click.command(cls=LazyGroup, table=COMMANDS)
def broker() -> None:
    """A site's trading agent, and how good it is."""
