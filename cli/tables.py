"""Tables for people, drawn by rich: how they are fitted into a terminal. What is shown, ``print_table`` in
``cli/output.py`` says."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.output import SHORT_ID, plain

_LEAST_WORDS: Final = 8
"""Characters that a column of words keeps beside figures."""
_GAP: Final = 2
"""Characters between two columns that stand close."""


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], width: int | None) -> None:
    """A table on stdout, ``width`` columns wide, by default as wide as the terminal."""
    console = Console(width=width, highlight=False)
    cells = [tuple(row) for row in rows]
    shown = list(range(len(columns)))
    left_out: list[str] = []
    table = _table(columns, cells, shown, None)
    if not _fits(console, table):
        table = _table(columns, cells, shown, SHORT_ID)
    while not _fits(console, table) and (spare := [index for index in shown if columns[index].startswith("?")]):
        shown.remove(spare[-1])
        left_out.insert(0, columns[spare[-1]].lstrip("?>"))
        table = _table(columns, cells, shown, SHORT_ID)
    if not _fits(console, table):
        _fold(console, table)
    console.print(Text(title, style="italic"), soft_wrap=True)
    console.print(table)
    if left_out:
        console.print(Text(f"without {', '.join(left_out)}: a wider terminal or --json shows all"), soft_wrap=True)


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], shown: Sequence[int], id_digits: int | None
) -> Table:
    padding = (0, 1) if id_digits is None else (0, 1, 0, 0)  # where ids are short, columns stand closer, too
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=padding)
    for index in shown:
        name = columns[index].lstrip("?")
        table.add_column(
            Text(name.lstrip(">")), justify="right" if name.startswith(">") else "left", overflow="fold", no_wrap=True
        )
    for row in rows:
        table.add_row(*(_cell(row[index], id_digits) for index in shown))
    return table


def _fold(console: Console, table: Table) -> None:
    """Words go into lines first, and figures stay whole as long as there is room for them beside a word."""
    for column in table.columns:
        if column.justify == "right":
            column.header = Text("\n".join(str(column.header).split()))
    numbers = [column for column in table.columns if column.justify == "right"]
    for column in table.columns:
        column.no_wrap = column in numbers
    widths = [max(len(line) for cell in column.cells for line in str(cell).split("\n")) for column in numbers]
    words = len(table.columns) - len(numbers)
    if sum(widths) + _LEAST_WORDS * words + _GAP * (len(table.columns) - 1) > console.width:
        for column in numbers:
            column.no_wrap = False


def _cell(value: object, id_digits: int | None) -> Text:
    return Text(value.hex()[:id_digits] if isinstance(value, bytes) else plain(str(value)))


def _fits(console: Console, table: Table) -> bool:
    unbounded = console.options.update(width=100_000)
    return console.measure(table, options=unbounded).maximum <= console.width
