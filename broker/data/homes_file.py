"""A stranger's homes: one table of slots, homes, loads, sun and prices, as people export it. ``docs/homes-file.md`` is
for them.

    home,slot,load_wh,sun_wh,price
    elm-1,2024-05-01T00:00Z,312,0,0.21

Every refusal names the file and, if it is one row's fault, its line and column. A file is read row by row; what stays
in memory are integers.
"""

import csv
import datetime
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

import numpy as np

from broker.data.homes import DAY_S, FEED_IN, HOUR_S, PER_KWH, Home, Homes, Series, device_names, power_w
from broker.site import Battery
from node.errors import ConfigError

REQUIRED: Final = ("home", "slot", "load_wh", "sun_wh", "price")
COLUMNS: Final = (*REQUIRED, "feed_in", "battery_wh", "battery_w", "slot_seconds")
MAX_FILE_BYTES: Final = 100 * 1024 * 1024
MAX_HOMES: Final = 1_000
MAX_WH: Final = 100_000_000
"""Of one home in one slot."""
MAX_PRICE: Final = 1_000
"""Tokens per kWh."""
MAX_SLOT: Final = 10**7
MAX_TIME: Final = 16_725_225_600
"""The year 2500."""
MIN_SLOT_S: Final = 900
MAX_SLOT_S: Final = DAY_S // 2  # one slot a day has no shape to forecast
"""A day's tariffs have at most 96 rows."""
BATTERY_PERMILLE: Final = 900
"""Assumed: how much of what goes into a battery comes out."""

_NUMBER: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,18})?", re.ASCII)
_WHOLE: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}", re.ASCII)
_SHOWN: Final = 40


def read_homes_file(path: Path) -> Homes:
    """The homes of a CSV file.

    Raises ConfigError: cannot-read, too-large, bad-csv, no-homes, unknown-column, missing-column, duplicate-column,
    bad-name, bad-slot, bad-number, bad-price, too-many-homes, changing-column, duplicate-slot, missing-slot,
    uneven-slots, different-spans, different-prices.
    """
    try:
        if not path.is_file():
            raise ConfigError("cannot-read", f"{path}: not a file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError("too-large", f"{path}: more than {MAX_FILE_BYTES} bytes")
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _Table(str(path)).read(csv.reader(file, strict=True))
    except OSError as error:
        raise ConfigError("cannot-read", f"{path}: {error.strerror}") from error


def _figures() -> "array[int]":
    return array("q")


@dataclass(slots=True)
class _Rows:
    """What a file says of one home, row by row. ``at``: slot numbers or seconds; ``same``: what may not change."""

    same: tuple[str, ...]
    line: "array[int]" = field(default_factory=_figures)
    at: "array[int]" = field(default_factory=_figures)
    load: "array[int]" = field(default_factory=_figures)
    sun: "array[int]" = field(default_factory=_figures)
    price: "array[int]" = field(default_factory=_figures)
    feed_in: "array[int]" = field(default_factory=_figures)


class _Table:
    """One reading of one file."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._place: dict[str, int] = {}
        self._homes: dict[str, _Rows] = {}
        self._times: dict[str, int] = {}
        self._prices: dict[str, int] = {}
        self._is_numbered: bool | None = None
        self._line = 0

    def read(self, reader: "Iterator[list[str]]") -> Homes:
        for cells in self._rows(reader):
            if self._place:
                self._row(cells)
            else:
                self._header(cells)
        if not self._homes:
            self._refuse("no-homes", "there is no row of a home" if self._place else "the file is empty", 0)
        return self._checked()

    def _rows(self, reader: "Iterator[list[str]]") -> Iterator[list[str]]:
        """The rows that say something; ``_line`` is where each begins."""
        after = 0
        while True:
            self._line = after + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                self._refuse("bad-csv", str(error))
            except UnicodeDecodeError:
                self._refuse("bad-csv", "what is here or in the lines after it is not UTF-8 text")
            after = reader.line_num  # type: ignore[attr-defined]
            if any(cells) and not cells[0].startswith("#"):
                yield cells

    def _header(self, cells: list[str]) -> None:
        names = [cell.strip() for cell in cells]
        for name in names:
            if name not in COLUMNS:
                hint = "; the separator is a comma" if ";" in name or "\t" in name else ""
                self._refuse("unknown-column", f"{_shown(name)} is none of {', '.join(COLUMNS)}{hint}")
            if names.count(name) > 1:
                self._refuse("duplicate-column", f"{name} stands there twice")
        for name in REQUIRED:
            if name not in names:
                self._refuse("missing-column", f"there is no column {name}")
        self._place = {name: place for place, name in enumerate(names)}

    def _row(self, cells: list[str]) -> None:
        place = self._place
        if len(cells) != len(place):
            self._refuse("bad-csv", f"{len(cells)} cells, the header has {len(place)}")
        name = cells[place["home"]].strip()
        same = tuple([self._cell(cells, column) for column in ("battery_wh", "battery_w", "slot_seconds")])
        rows = self._homes.get(name)
        if rows is None:
            rows = self._new_home(name, same)
        elif rows.same != same:
            self._refuse("changing-column", f"battery_wh, battery_w and slot_seconds of {name} are not those before")
        at = self._times.get(cells[place["slot"]])
        if at is None:
            at = self._times[cells[place["slot"]]] = self._slot(cells[place["slot"]].strip())
        price = self._price("price", cells[place["price"]])
        feed_in = self._price("feed_in", text) if (text := self._cell(cells, "feed_in")) else min(FEED_IN, price)
        if feed_in > price:
            self._refuse("bad-price", "column feed_in: more than the price")
        rows.line.append(self._line)
        rows.at.append(at)
        rows.load.append(self._energy("load_wh", cells[place["load_wh"]]))
        rows.sun.append(self._energy("sun_wh", cells[place["sun_wh"]]))
        rows.price.append(price)
        rows.feed_in.append(feed_in)

    def _new_home(self, name: str, same: tuple[str, ...]) -> _Rows:
        if not _NAME.fullmatch(name):
            self._refuse(
                "bad-name", f"column home: {_shown(name)} is not 1 to 40 of a-z 0-9 . -, a letter or digit first"
            )
        if len(self._homes) == MAX_HOMES:
            self._refuse("too-many-homes", f"a file has at most {MAX_HOMES} homes")
        rows = self._homes[name] = _Rows(same)
        return rows

    def _cell(self, cells: list[str], column: str) -> str:
        place = self._place.get(column)
        return "" if place is None else cells[place].strip()

    def _slot(self, text: str) -> int:
        """A slot's number, or the second at which it begins."""
        is_number = _WHOLE.fullmatch(text) is not None
        if self._is_numbered is None:
            self._is_numbered = is_number
        if is_number != self._is_numbered:
            self._refuse("bad-slot", f"column slot: {_shown(text)}: all slots are numbers, or all are times")
        if is_number:
            if int(text) > MAX_SLOT:
                self._refuse("bad-slot", f"column slot: {_shown(text)} is more than {MAX_SLOT}")
            return int(text)
        try:
            time = datetime.datetime.fromisoformat(text)
        except ValueError:
            self._refuse("bad-slot", f"column slot: {_shown(text)} is no number and no time like 2024-05-01T18:00Z")
        seconds = (time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC)).timestamp()
        if not 0 <= seconds < MAX_TIME or seconds != int(seconds):
            self._refuse("bad-slot", f"column slot: {_shown(text)} is not from 1970 to 2500, or not at a whole second")
        return int(seconds)

    def _energy(self, column: str, text: str) -> int:
        text = text.strip()
        if text.isascii() and text.isdigit() and len(text) < 9:
            return int(text)
        wh = self._number(column, text)
        if wh > MAX_WH:
            self._refuse("bad-number", f"column {column}: more than {MAX_WH} Wh in a slot")
        return round(wh)

    def _price(self, column: str, text: str) -> int:
        """Base units per Wh, rounded to the nearest."""
        known = self._prices.get(text)
        if known is None:
            tokens = self._number(column, text.strip())
            if tokens > MAX_PRICE:
                self._refuse("bad-price", f"column {column}: more than {MAX_PRICE} tokens per kWh")
            known = self._prices[text] = round(tokens * PER_KWH)
        return known

    def _number(self, column: str, text: str) -> float:
        if not _NUMBER.fullmatch(text):
            hint = " and none below 0" if text.startswith("-") else ""
            self._refuse("bad-number", f"column {column}: {_shown(text)} is no number like 312 or 0.21{hint}")
        return float(text)

    def _checked(self) -> Homes:
        seconds = self._slot_seconds()
        spans: dict[tuple[int, int], str] = {}
        homes: list[Home] = []
        prices: list[tuple[Series, Series]] = []
        for name, rows in self._homes.items():
            slots, order = self._in_order(name, rows, seconds)
            spans.setdefault((int(slots[0]), int(slots[-1])), name)
            if len(spans) > 1:
                (one, first), (other, second) = list(spans.items())[:2]
                said = f"{first} has slots {one[0]} to {one[1]}, {second} {other[0]} to {other[1]}"
                self._refuse("different-spans", said, 0)
            own = np.array(rows.price, np.int64)[order], np.array(rows.feed_in, np.int64)[order]
            if prices:
                self._same_prices(rows, order, own, prices[0])
            prices.append(own)
            homes.append(self._home(name, rows, order, seconds))
        first_slot = next(iter(spans))[0]
        return Homes(first_slot, seconds, tuple(homes), *prices[0], carbon=None, weather=None)

    def _slot_seconds(self) -> int:
        """How long a slot is: as the file says, or the least distance of the first home's times."""
        rows = next(iter(self._homes.values()))
        stated = {other.same[2] for other in self._homes.values()}
        if len(stated) > 1:
            self._refuse("changing-column", "slot_seconds is not the same for all homes", 0)
        text = stated.pop()
        if text:
            seconds = int(text) if _WHOLE.fullmatch(text) else 0
        elif self._is_numbered:
            seconds = HOUR_S
        else:
            apart = np.diff(np.unique(np.array(rows.at, np.int64)))
            seconds = int(apart.min()) if len(apart) else HOUR_S
        if not MIN_SLOT_S <= seconds <= MAX_SLOT_S or DAY_S % seconds:
            self._refuse(
                "uneven-slots",
                f"slots of {seconds} s; their length divides a day and is {MIN_SLOT_S} to {MAX_SLOT_S} s",
                0,
            )
        return seconds

    def _in_order(self, name: str, rows: _Rows, seconds: int) -> "tuple[Series, Series]":
        """(the home's slots, the places of its rows in their order)."""
        at, lines = np.array(rows.at, np.int64), np.array(rows.line, np.int64)
        if not self._is_numbered:
            uneven = np.flatnonzero(at % seconds)
            if len(uneven):
                self._refuse("uneven-slots", f"column slot: not at a multiple of {seconds} s", int(lines[uneven[0]]))
            at = at // seconds
        order = np.argsort(at, kind="stable")
        apart = np.diff(at[order])
        for place in np.flatnonzero(apart != 1)[:1]:
            before, line = int(at[order[place]]), int(lines[order[place + 1]])
            if apart[place] == 0:
                said = f"{name} has slot {before} in line {int(lines[order[place]])} already"
                self._refuse("duplicate-slot", said, line)
            time = datetime.datetime.fromtimestamp((before + 1) * seconds, datetime.UTC)
            self._refuse("missing-slot", f"before it {name} lacks slot {before + 1} ({time:%Y-%m-%dT%H:%MZ})", line)
        return at[order], order

    def _same_prices(
        self, rows: _Rows, order: Series, own: tuple[Series, Series], others: tuple[Series, Series]
    ) -> None:
        for column, mine, theirs in zip(("price", "feed_in"), own, others, strict=True):
            different = np.flatnonzero(mine != theirs)
            if len(different):
                line = rows.line[int(order[different[0]])]
                self._refuse(
                    "different-prices", f"column {column}: another home has another one in the same slot", line
                )

    def _home(self, name: str, rows: _Rows, order: Series, seconds: int) -> Home:
        sun = np.array(rows.sun, np.int64)[order]
        figures = []
        for column, text in zip(("battery_wh", "battery_w"), rows.same, strict=False):
            self._line = rows.line[0]
            figures.append(self._energy(column, text) if text else 0)
        capacity, power = figures
        if bool(capacity) != bool(power):
            self._refuse("bad-number", "columns battery_wh and battery_w: one is 0 or missing, the other is not")
        battery = Battery(device_names(name)["battery"], capacity, power, power, BATTERY_PERMILLE) if capacity else None
        load = np.array(rows.load, np.int64)[order]
        return Home(name, load, sun, power_w(int(sun.max()), seconds), battery)

    def _refuse(self, code: str, message: str, line: int | None = None) -> NoReturn:
        """``line``: the one at fault, by default the row under way; 0: none alone."""
        number = self._line if line is None else line
        raise ConfigError(code, f"{self._source}:{number}: {message}" if number else f"{self._source}: {message}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
