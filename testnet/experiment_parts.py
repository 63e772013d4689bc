"""What the report is put together from: tiles, charts with a sentence, tables, sections; and figures as people read
them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure that leads; ``is_met``: whether it reaches what was aimed at."""

    value: str
    name: str
    note: str
    is_met: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """``says``: what it shows, in a sentence; ``svg``: an element."""

    title: str
    says: str
    svg: str


@dataclass(frozen=True, slots=True)
class Table:
    """Text in all cells; the first column is what a row is about."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


Part: TypeAlias = Chart | Table


@dataclass(frozen=True, slots=True)
class Section:
    """``texts``: paragraphs before its parts."""

    title: str
    texts: Sequence[str]
    parts: Sequence[Part]


def percent(value: float | None, digits: int = 1) -> str:
    """With the sign of what is less only: 12.3 %."""
    return "-" if value is None else f"{value:.{digits}f} %".replace("-", "\N{MINUS SIGN}")


def signed(value: float | None, digits: int = 1) -> str:
    """A change: +1.2 %, -18.4 %."""
    return "-" if value is None else f"{value:+.{digits}f} %".replace("-", "\N{MINUS SIGN}")


def dollars(value: float, digits: int = 0) -> str:
    """1,234 with so many digits."""
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")
