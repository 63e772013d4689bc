"""One run as other processes are asked for it: a refusal comes back as a value, since errors of ours do not travel."""

from typing import NamedTuple

from broker.backtest.result import Result
from broker.backtest.season import run_one
from broker.backtest.setup import Run
from node.errors import RefusedError


class Refusal(NamedTuple):
    """The code and message of a RefusedError."""

    code: str
    message: str


def do(run: Run) -> Result | Refusal:
    """The run, or why it is none."""
    try:
        return run_one(run)
    except RefusedError as error:
        return Refusal(error.code, error.message)


def opened(outcome: Result | Refusal) -> Result:
    """The result. Raises the RefusedError that was met."""
    if isinstance(outcome, Refusal):
        raise RefusedError(outcome.code, outcome.message)
    return outcome
