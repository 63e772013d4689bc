"""How far a run is: a bar where there is a terminal, else a line now and then."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cli.units import clock

Tell: TypeAlias = Callable[[int, int, str], None]
"""Block time, height, and what else is to be said."""


@contextmanager
def telling(console: Console, first: int, length_s: int, told_every_s: int) -> Iterator[Tell]:
    """From block time ``first`` on for about ``length_s``; without a terminal every ``told_every_s`` of block time."""
    columns = (
        TextColumn("{task.fields[clock]}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f} %  block {task.fields[height]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[more]}"),
    )
    is_shown = sys.stderr.isatty()
    with Progress(*columns, console=console, disable=not is_shown) as progress:
        task = progress.add_task("", total=length_s, clock=clock(first), height=0, more="")
        told = first - told_every_s

        def tell(now: int, height: int, more: str) -> None:
            nonlocal told
            progress.update(task, completed=max(0, now - first), clock=clock(now), height=height, more=more)
            if not is_shown and now >= told + told_every_s:
                told = now
                console.print(f"{clock(now)}  block {height}  {more}")

        yield tell
