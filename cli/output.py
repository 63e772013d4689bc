"""How every command speaks: results to stdout as a table or JSON, refusals to stderr in one line, exit codes."""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar

import click

from node.errors import WattError

EXIT_REFUSED = 1
EXIT_UNREACHABLE = 3
UNREACHABLE_CODE = "unreachable"
"""The code of a WattError that means: no node answered."""
PIPE_WIDTH = 200
"""Columns of a table that nobody sees on a terminal: wide enough that a line stays a line."""
SHORT_ID = 12
"""Hex digits of an id where a whole one has no room."""

P = ParamSpec("P")
R = TypeVar("R")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value instead of a table.")


def refusals_to_exit_codes(command: Callable[P, R]) -> Callable[P, R]:
    """Decorates a command: a WattError becomes one line on stderr and exit 1, or 3 if no node was reached. What was
    typed and is no text, which a terminal in another encoding sends, is wrong usage.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        _require_text(kwargs.values())
        try:
            return command(*args, **kwargs)
        except WattError as error:
            click.echo(f"watt: {error.code}: {plain(' '.join(error.message.split()))}", err=True)
            sys.exit(EXIT_UNREACHABLE if error.code == UNREACHABLE_CODE else EXIT_REFUSED)

    return run


def print_json(value: object) -> None:
    """One JSON value on stdout; bytes as hex, tuples as arrays."""
    click.echo(json.dumps(value, default=_jsonable, separators=(", ", ": ")))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, width: int | None = None
) -> None:
    """A table on stdout, its title in a line above. All text is shown as it is, but for control characters.

    A leading ``>`` in a column's name aligns it right. Where a terminal is too narrow, ids (bytes) are shortened, then
    columns whose name begins with ``?`` are left out, the last ones first, and named below; then cells are folded.
    ``width``: the columns of the terminal, by default what it says, or PIPE_WIDTH if there is none.
    """
    from cli.tables import show_table  # noqa: PLC0415 - brings rich along, which help and refusals can do without

    show_table(plain(title), columns, rows, width or (None if sys.stdout.isatty() else PIPE_WIDTH))


def print_trace(line: str, *, err: bool) -> None:
    """A line of many, on stdout or stderr. If nobody reads them any more (``| head``), the command ends here: it is no
    failure of what is traced."""
    try:
        click.echo(line, err=err)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2 if err else 1)
        sys.exit(EXIT_REFUSED)


def plain(text: str) -> str:
    """``text`` with control characters, which could move the cursor or hide what is said, as escapes like ``\\x1b``."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def count(number: int, thing: str) -> str:
    """``1 trade``, ``2 trades``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def tokens(base_units: int, decimals: int = 9) -> str:
    """An amount in base units as tokens with three decimals, rounded half to even, for people only."""
    return f"{round(base_units, 3 - decimals) / 10**decimals:,.3f}"


def _require_text(values: Iterable[object]) -> None:
    """Raises click.UsageError for a text that has no UTF-8. Names of files may be any bytes: they are paths."""
    for value in values:
        if isinstance(value, tuple):
            _require_text(value)
        elif isinstance(value, str) and any("\ud800" <= each <= "\udfff" for each in value):
            raise click.UsageError(f"{value[:40]!r} is not UTF-8 text")


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"no JSON for {type(value).__name__}")
