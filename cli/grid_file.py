"""A grid as a table that people keep in a spreadsheet: CSV to a version of the ledger's grid, and back.

    root,transformer
    rate,0.0002
    from,to,metres,step,limit_down_w,limit_up_w
    transformer,busbar,0,0.02,400000,400000
    busbar,bus-1,120,,60000,60000

Before the header stand the root and, optionally, the rate (tokens per kWh and metre, default 0). Then one row for each
line: ``from`` is the bus nearer to the root. ``metres`` and the limits (W) are whole numbers; ``step`` is in tokens per
kWh; an empty step is 0, an empty limit is none. Columns come in any order; step and limits may be left out. Empty rows
and rows that begin with ``#`` are skipped. UTF-8, with or without a byte order mark, any kind of line end.

What the ledger asks of a grid is asked by its own code (``chaincode/grid.py``); here every refusal gets the file's name
and line number.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from chaincode import grid
from chaincode.contract import ContractError
from chaincode.grid import MAX_LINES, LineSettings
from chaincode.tree import GridError
from cli.output import plain
from node.errors import RefusedError
from node.files import read_start

COLUMNS: Final = ("from", "to", "metres", "step", "limit_down_w", "limit_up_w")
REQUIRED: Final = COLUMNS[:3]
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
DEFAULT_DECIMALS: Final = 9
"""Of a token, where there is no network to ask."""

_WHOLE: Final = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_FIGURE: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_SHOWN: Final = 60
_WH_PER_KWH: Final = 1000


class GridVersion(NamedTuple):
    """What ``grid.publish`` takes. Rate: base units per Wh and metre; steps: base units per Wh."""

    root: str
    rate: int
    lines: tuple[LineSettings, ...]

    def settings(self) -> dict[str, object]:
        """As the genesis settings of the contract have it."""
        return {"root": self.root, "rate": self.rate, "lines": [list(line) for line in self.lines]}


def read_grid(path: Path, decimals: int = DEFAULT_DECIMALS) -> GridVersion:
    """The grid in a CSV file; ``decimals``: of a token. Raises RefusedError: "cannot-read", and as ``parse_grid``."""
    try:
        data = read_start(path, MAX_FILE_BYTES)
    except OSError as error:
        raise RefusedError("cannot-read", f"{path}: {error.strerror}") from error
    return parse_grid(data, str(path), decimals)


def parse_grid(data: bytes, source: str, decimals: int = DEFAULT_DECIMALS) -> GridVersion:
    """The grid that the CSV text ``data`` describes; the ledger would take it.

    Raises RefusedError, its message beginning with ``source`` and, if it is one line's fault, that line's number:
    too-large, bad-csv, no-root, no-header, unknown-column, missing-column, duplicate-column, duplicate-setting,
    bad-number, duplicate-line, and the codes of ``grid.check``.
    """
    if len(data) > MAX_FILE_BYTES:
        raise RefusedError("too-large", f"{source}: more than {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise RefusedError("bad-csv", f"{source}:{number}: not UTF-8 text") from error
    return _Table(source, decimals).read(text)


def format_grid(version: GridVersion, decimals: int) -> str:
    """The CSV text that ``parse_grid`` reads as this version."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("root", version.root))
    writer.writerow(("rate", _per_kwh(version.rate, decimals)))
    writer.writerow(COLUMNS)
    for parent, child, metres, step, *limits in version.lines:
        figures = ("" if limit is None else limit for limit in limits)
        writer.writerow((parent, child, metres, _per_kwh(step, decimals), *figures))
    return out.getvalue()


class _Table:
    """One reading of one file: what it has said so far, and in which line."""

    def __init__(self, source: str, decimals: int) -> None:
        self._source = source
        self._base_units: int = 10**decimals
        self._settings: dict[str, tuple[int, str]] = {}
        self._columns: list[str] = []
        self._lines: list[LineSettings] = []
        self._number_of: dict[tuple[str, str], int] = {}

    def read(self, text: str) -> GridVersion:
        for number, cells in self._rows(text):
            if self._columns:
                self._line(number, cells)
            elif cells[0] in ("root", "rate"):
                self._setting(number, cells)
            else:
                self._header(number, cells)
        return self._checked()

    def _rows(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """(number of its first line, cells without the empty ones at the end) of each row that says something."""
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        while True:
            number = reader.line_num + 1
            try:
                cells = [cell.strip() for cell in next(reader)]
            except StopIteration:
                return
            except csv.Error as error:
                self._refuse(number, "bad-csv", str(error))
            while cells and not cells[-1]:
                cells.pop()
            if cells and not cells[0].startswith("#"):
                yield number, cells

    def _setting(self, number: int, cells: Sequence[str]) -> None:
        name, *values = cells
        if name in self._settings:
            self._refuse(number, "duplicate-setting", f"the {name} stands in line {self._settings[name][0]} already")
        if len(values) != 1:
            self._refuse(number, "bad-csv", f"after `{name}` comes one value, not {len(values)}")
        self._settings[name] = (number, values[0])

    def _header(self, number: int, cells: list[str]) -> None:
        for index, name in enumerate(cells):
            if name not in COLUMNS:
                hint = "; the separator is a comma" if ";" in name or "\t" in name else ""
                self._refuse(number, "unknown-column", f"{_shown(name)} is none of {', '.join(COLUMNS)}{hint}")
            if name in cells[:index]:
                self._refuse(number, "duplicate-column", f"{name} stands there twice")
        missing = [name for name in REQUIRED if name not in cells]
        if missing:
            self._refuse(number, "missing-column", f"there is no column {missing[0]}")
        self._columns = cells

    def _line(self, number: int, cells: list[str]) -> None:
        if len(cells) > len(self._columns):
            self._refuse(number, "bad-csv", f"{len(cells)} cells, the header has {len(self._columns)}")
        row = dict.fromkeys(COLUMNS, "") | dict(zip(self._columns, cells, strict=False))
        parent, child = row["from"], row["to"]
        earlier = self._number_of.get((parent, child)) or self._number_of.get((child, parent))
        if earlier is not None:
            self._refuse(number, "duplicate-line", f"{_shown(parent)} and {_shown(child)} are joined in line {earlier}")
        if len(self._lines) == MAX_LINES:
            self._refuse(number, "too-many-buses", f"a grid has at most {MAX_LINES} lines")
        metres = self._whole(number, row, "metres")
        step = self._money(number, "step", row["step"] or "0")
        down, up = (self._whole(number, row, name) if row[name] else None for name in COLUMNS[4:])
        line = (parent, child, metres, step, down, up)
        self._number_of[parent, child] = number
        try:
            grid.check_line(line)
        except ContractError as error:
            self._refuse(number, error.code, error.message)
        self._lines.append(line)

    def _checked(self) -> GridVersion:
        number, root = self._settings.get("root", (0, ""))
        if not number:
            raise RefusedError("no-root", f"{self._source}: no row `root,BUS` before the header")
        if not self._columns:
            raise RefusedError("no-header", f"{self._source}: no header {','.join(COLUMNS)}")
        rate_number, rate_text = self._settings.get("rate", (0, "0"))
        version = GridVersion(root, self._money(rate_number, "rate", rate_text), tuple(self._lines))
        try:
            grid.check(*version)
        except GridError as error:
            self._refuse(self._number_of[error.ends] if error.ends else number, error.code, error.message)
        except ContractError as error:
            self._refuse(rate_number if error.code == "bad-rate" else None, error.code, error.message)
        return version

    def _whole(self, number: int, row: Mapping[str, str], name: str) -> int:
        if not _WHOLE.fullmatch(row[name]):
            self._refuse(number, "bad-number", f"{name} is a whole number, not {_shown(row[name])}")
        return int(row[name])

    def _money(self, number: int, name: str, text: str) -> int:
        """Tokens per kWh (and metre) as base units per Wh (and metre)."""
        if not _FIGURE.fullmatch(text):
            self._refuse(number, "bad-number", f"{name} is a number like 0.02, not {_shown(text)}")
        exact = Fraction(text) * self._base_units / _WH_PER_KWH
        if exact.denominator != 1:
            self._refuse(number, "bad-number", f"{name} {_shown(text)} is finer than one base unit per Wh")
        return exact.numerator

    def _refuse(self, number: int | None, code: str, message: str) -> NoReturn:
        place = f"{self._source}:{number}" if number else self._source
        raise RefusedError(code, f"{place}: {message}")


def _shown(text: str) -> str:
    return f"`{plain(text[:_SHOWN])}`"


def _per_kwh(base_units_per_wh: int, decimals: int) -> str:
    """Exactly, without needless zeros."""
    if decimals <= 3:
        return str(base_units_per_wh * 10 ** (3 - decimals))
    whole, rest = divmod(base_units_per_wh, 10 ** (decimals - 3))
    digits = f"{rest:0{decimals - 3}}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
