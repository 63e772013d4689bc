"""The market's settings as people type and read them: ``gate=10min``, ``internal=25%``, tariffs in a file.

Every setting has a short name; that of the genesis document is understood, too. Exact, as everything in ``units.py``:
what is no whole number of the ledger's units is refused.
"""

import csv
import io
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from chaincode.contract import ContractError
from chaincode.market_products import DAY_S, Settings
from chaincode.market_rules import changed
from cli.units import MAX_DIGITS, base_units_per_wh, per_kwh
from node.errors import RefusedError
from node.files import read_given

_SECONDS: Final = {"d": DAY_S, "h": 3_600, "min": 60, "m": 60, "s": 1, "": 1}
_UNITS: Final = (("d", DAY_S), ("h", 3_600), ("min", 60), ("s", 1))

FIELDS: Final = {
    "open": "open_before_s",
    "gate": "gate_before_end_s",
    "tick": "tick_s",
    "metering": "metering_window_s",
    "dispute": "dispute_window_s",
    "retention": "retention_s",
    "outage": "outage_s",
    "internal": "internal_permille",
    "mix": "mix_permille",
    "estimates": "max_estimates",
}
"""Short name -> the genesis setting."""
MEANINGS: Final = {
    "slot_seconds": "a slot's length",
    "open_before_s": "opens before delivery starts",
    "gate_before_end_s": "gate before the slot's end",
    "tick_s": "auctions at multiples of",
    "metering_window_s": "readings after the slot's end",
    "dispute_window_s": "corrections after that",
    "retention_s": "details kept after that",
    "outage_s": "an outage, if a block is later than",
    "internal_permille": "internal price from feed-in to retail",
    "mix_permille": "renewable share of the utility's energy",
    "max_estimates": "estimates before a device may not sell",
}
TARIFF_COLUMNS: Final = ("from", "retail", "feed_in")


class Change(NamedTuple):
    """One setting's new value: ``field`` of ``market_products.Settings``."""

    field: str
    value: int


class ChangeType(click.ParamType[Change]):
    """``gate=10min``, ``internal=25%``, ``estimates=12``; becomes a Change."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Change:
        if isinstance(value, Change):
            return value
        name, _, text = str(value).partition("=")
        try:
            return change(name, text)
        except ValueError as error:
            self.fail(f"{str(value)[:60]!r}: {error}", param, ctx)


CHANGE: Final = ChangeType()


def change(name: str, text: str) -> Change:
    """A setting by its name and its new value. Raises ValueError."""
    field = FIELDS.get(name, name)
    if field not in FIELDS.values():
        raise ValueError(f"the settings are {', '.join(FIELDS)}")
    if field.endswith("_s"):
        return Change(field, seconds(text))
    if field.endswith("_permille") and text.endswith("%"):
        return Change(field, whole(text[:-1], 10, "a tenth of a percent"))
    return Change(field, whole(text))


def seconds(text: str) -> int:
    """``600``, ``600s``, ``10min``, ``24h`` or ``7d`` as seconds. Raises ValueError."""
    digits = text.rstrip("dhmins")
    unit = text[len(digits) :]
    if unit not in _SECONDS or not digits.replace(".", "", 1).isdecimal():
        raise ValueError(f"{text[:MAX_DIGITS]!r} is no time: one is like 600, 600s, 10min, 24h, 7d")
    return whole(digits, _SECONDS[unit], "one second")


def duration(seconds_: int) -> str:
    """Seconds as ``1d 30min``: exact."""
    parts = []
    for unit, size in _UNITS:
        if seconds_ >= size:
            parts.append(f"{seconds_ // size}{unit}")
            seconds_ %= size
    return " ".join(parts) or "0s"


def shown(field: str, value: int) -> str:
    """A setting's value for people."""
    if field in ("slot_seconds",) or field.endswith("_s"):
        if not value:
            return {"tick_s": "every block", "retention_s": "for ever"}.get(field, "0s")
        return duration(value)
    return f"{Decimal(value) / 10:f}%" if field.endswith("_permille") else str(value)


def tariff_rows(tariffs: tuple[tuple[int, int, int], ...], decimals: int) -> list[tuple[str, str, str]]:
    """(from, retail, feed-in) as they are shown, prices in tokens per kWh."""
    return [
        (
            f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}",
            per_kwh(retail, decimals),
            per_kwh(feed, decimals),
        )
        for second, retail, feed in tariffs
    ]


def read_tariffs(path: Path, decimals: int) -> tuple[tuple[int, int, int], ...]:
    """Tariffs from a CSV with columns from (HH:MM, UTC), retail and feed_in (tokens per kWh).

    Raises RefusedError("bad-tariffs") naming the line.
    """
    tariffs = []
    for line, row in read_csv(path, TARIFF_COLUMNS, "bad-tariffs"):
        try:
            retail, feed_in = (base_units_per_wh(number(row[name]), decimals) for name in TARIFF_COLUMNS[1:])
            tariffs.append((second_of_day(row["from"]), retail, feed_in))
        except (ValueError, click.BadParameter) as error:
            raise RefusedError("bad-tariffs", f"{path}, line {line}: {error}") from error
    return tuple(tariffs)


def second_of_day(text: str) -> int:
    """``16:30`` or ``16:30:15`` as seconds since midnight. Raises ValueError."""
    parts = [whole(part) for part in text.split(":")]
    if not 2 <= len(parts) <= 3 or parts[0] >= 24 or any(not 0 <= part < 60 for part in parts):
        raise ValueError(f"{text[:20]!r} is no time of day like 16:30")
    return sum(part * size for part, size in zip(parts, (3_600, 60, 1), strict=False))


def read_csv(path: Path, columns: tuple[str, ...], code: str) -> list[tuple[int, Mapping[str, str]]]:
    """(line, its cells by column) of a CSV file whose header names ``columns``. Raises RefusedError(code)."""
    try:
        with io.StringIO(read_given(path).decode("utf-8-sig"), newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise RefusedError(code, f"{path}: no column {missing[0]!r}; there are {', '.join(columns)}")
            rows: list[tuple[int, Mapping[str, str]]] = []
            for row in reader:
                if None in row or None in row.values():
                    raise RefusedError(code, f"{path}, line {reader.line_num}: as many cells as columns")
                rows.append((reader.line_num, {name: cell.strip() for name, cell in row.items()}))
            if not rows:
                raise RefusedError(code, f"{path}: it changes nothing: there is no row behind the header")
            return rows
    except OSError as error:
        raise RefusedError(code, f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RefusedError(code, f"{path}: no CSV text: {error}") from error


def number(text: str) -> Decimal:
    """A number in plain ASCII digits. Raises ValueError."""
    digits = text.replace(".", "", 1)
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= MAX_DIGITS):
        raise ValueError(f"{text[:MAX_DIGITS]!r} is not a number")
    return Decimal(text)


def changed_settings(
    settings: Settings, changes: tuple[Change, ...], tariffs: tuple[tuple[int, int, int], ...]
) -> Settings:
    """What the rules would be, or in words why not. Raises RefusedError: bad-settings, no-change."""
    try:
        return changed(settings, tuple((each.field, each.value) for each in changes), tariffs)
    except ContractError as error:
        raise RefusedError(error.code, error.message) from error


def whole(text: str, factor: int = 1, unit: str = "one") -> int:
    """A number times ``factor``, if it is whole and below 2^63. Raises ValueError; ``unit``: what it is not to be finer
    than.
    """
    product = number(text) * factor
    if product != product.to_integral_value() or product >= 2**63:
        raise ValueError(f"{text[:MAX_DIGITS]!r} is finer than {unit}, or out of range")
    return int(product)
