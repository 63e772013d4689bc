"""What people type and read: tokens, tokens per kWh, kWh and times, turned exactly into the ledger's integers.

A figure that is no whole number of the ledger's units is refused, never rounded.
"""

import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import click

MAX_DIGITS = 30
WH_PER_KWH = 1000


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text) if len(text) <= MAX_DIGITS else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise ValueError(f"{text[:MAX_DIGITS]!r} is not a number")
    return number


def _whole(number: Decimal, unit: str) -> int:
    if number != number.to_integral_value():
        raise ValueError(f"finer than one {unit}")
    return int(number)


class Energy(click.ParamType[int]):
    """``1.5kWh``, ``1500Wh`` or a bare number of Wh; becomes Wh."""

    name = "energy"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        lower = text.lower()
        try:
            if lower.endswith("kwh"):
                return _whole(_decimal(text[:-3]) * WH_PER_KWH, "Wh")
            return _whole(_decimal(text[:-2] if lower.endswith("wh") else text), "Wh")
        except ValueError as error:
            self.fail(f"{text[:MAX_DIGITS]!r}: {error}; say 1.5kWh or 1500Wh", param, ctx)


class Tokens(click.ParamType[Decimal]):
    """An amount in tokens; becomes a Decimal, which ``base_units`` turns into the ledger's integers."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        if isinstance(value, Decimal):
            return value
        try:
            return _decimal(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


ENERGY = Energy()
TOKENS = Tokens()


def base_units(amount: Decimal, decimals: int) -> int:
    """Tokens to base units. Raises click.BadParameter for what is finer than one."""
    try:
        return _whole(amount.scaleb(decimals), "base unit")
    except ValueError as error:
        raise click.BadParameter(f"{amount} tokens: {error}") from error


def base_units_per_wh(price: Decimal, decimals: int) -> int:
    """Tokens per kWh to base units per Wh. Raises click.BadParameter for what is finer than one."""
    try:
        return _whole(price.scaleb(decimals) / WH_PER_KWH, "base unit per Wh")
    except ValueError as error:
        raise click.BadParameter(f"{price} tokens per kWh: {error}") from error


def kwh(wh: int) -> str:
    """Wh as kWh with three decimals: exact."""
    return f"{Decimal(wh) / WH_PER_KWH:,.3f}"


def per_kwh(base_units_per_wh: int, decimals: int = 9) -> str:
    """A price as tokens per kWh with four decimals, for people only."""
    return f"{Decimal(base_units_per_wh * WH_PER_KWH).scaleb(-decimals):,.4f}"


def clock(seconds: int) -> str:
    """A block time as `2017-06-16 12:30:00` (UTC)."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def parse_slot(text: str, slot_seconds: int) -> int:
    """A slot's number, or the slot in which a UTC time such as `2017-06-16T12:30` lies. Raises click.BadParameter."""
    if text.isascii() and text.isdecimal() and len(text) <= 15:
        return int(text)
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text[:40]!r} is neither a slot's number nor a time like 2017-06-16T12:30") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp()) // slot_seconds
