"""How every command speaks: results to stdout as a table or JSON, refusals to stderr in one line, exit codes."""

import functools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.table import Table

from node.errors import WattError

EXIT_REFUSED = 1
EXIT_UNREACHABLE = 3
UNREACHABLE_CODE = "unreachable"
"""The code of a WattError that means: no node answered."""
PIPE_WIDTH = 200
"""Columns of a table that nobody sees on a terminal: wide enough that a line stays a line."""

P = ParamSpec("P")
R = TypeVar("R")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value instead of a table.")


def refusals_to_exit_codes(command: Callable[P, R]) -> Callable[P, R]:
    """Decorates a command: a WattError becomes one line on stderr and exit 1, or 3 if no node was reached."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except WattError as error:
            click.echo(f"watt: {error.code}: {' '.join(error.message.split())}", err=True)
            sys.exit(EXIT_UNREACHABLE if error.code == UNREACHABLE_CODE else EXIT_REFUSED)

    return run


def print_json(value: object) -> None:
    """One JSON value on stdout; bytes as hex, tuples as arrays."""
    click.echo(json.dumps(value, default=_plain, separators=(", ", ": ")))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout; columns whose name ends in a unit or count are right-aligned by the caller's naming:
    a leading ``>`` in the name aligns right and is not shown."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell.hex() if isinstance(cell, bytes) else str(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


def tokens(base_units: int, decimals: int = 9) -> str:
    """An amount in base units as tokens with three decimals, rounded half to even, for people only."""
    return f"{round(base_units, 3 - decimals) / 10**decimals:,.3f}"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"no JSON for {type(value).__name__}")
