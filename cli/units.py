"""What people type and read: tokens, tokens per kWh, kWh and times, turned exactly into the ledger's integers.

A figure that is no whole number of the ledger's units is refused, never rounded.
"""

import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from chaincode.market_trading import MAX_REFERENCE

MAX_DIGITS = 28
"""As many as a Decimal computes with: what is typed is never rounded."""
MAX_INTEGER = 2**63 - 1
"""The largest integer that the rules know."""
MAX_PERIOD = 2**32 - 1
WH_PER_KWH = 1000
PERMILLE_OF_PERCENT = 10
ID_BYTES = 32
PROOF_BYTES = 64
_LAST_S = 253_402_300_799
"""The end of the year 9999."""


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text) if len(text) <= MAX_DIGITS and text.isascii() else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise ValueError(f"{text[:MAX_DIGITS]!r} is not a number")
    return _bounded(number)


def _bounded(number: Decimal) -> Decimal:
    """Checked before any arithmetic, which rounds: 1e999999 and 1e-999999 are quickly typed."""
    if number < 0:
        raise ValueError("less than 0")
    if number > MAX_INTEGER:
        raise ValueError("out of range, more than the ledger counts")
    if len(number.as_tuple().digits) > MAX_DIGITS or (number and number.adjusted() < -MAX_DIGITS):
        raise ValueError("finer than anything that the ledger counts")
    return number


def _whole(number: Decimal, unit: str) -> int:
    if _bounded(number) != number.to_integral_value():
        raise ValueError(f"finer than one {unit}")
    return int(number)


class Count(click.IntRange):
    """A whole number from ``least`` on, in ASCII digits, that the ledger's integers hold."""

    def __init__(self, least: int = 0, most: int = MAX_INTEGER) -> None:
        super().__init__(least, most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not str(value).isascii():
            self.fail(f"{str(value)[:MAX_DIGITS]!r} is not a whole number", param, ctx)
        return int(super().convert(value, param, ctx))


class Percent(click.ParamType[int]):
    """``90%`` or ``90.5``, at most ``most`` thousandths; becomes thousandths."""

    name = "percent"

    def __init__(self, most: int = MAX_INTEGER) -> None:
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        try:
            permille = _whole(_decimal(text.removesuffix("%")) * PERMILLE_OF_PERCENT, "tenth of a percent")
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if "e" in text.lower() or not 0 <= permille <= self._most:
            self.fail(f"{text[:MAX_DIGITS]!r} is not from 0% to {percent(self._most)}", param, ctx)
        return permille


def percent(permille: int) -> str:
    """Thousandths as ``85.5%``, exactly."""
    return f"{Decimal(permille) / PERMILLE_OF_PERCENT:f}%"


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


class PublicKey(click.ParamType[bytes]):
    """64 hex digits; becomes 32 bytes."""

    name = "hex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if isinstance(value, bytes):
            return value
        try:
            key = bytes.fromhex(str(value))
        except ValueError:
            key = b""
        if len(key) != ID_BYTES:
            self.fail("a public key is 64 hex digits, as `watt wallet new` prints it", param, ctx)
        return key


class Reference(click.ParamType[bytes]):
    """What somebody calls an order; becomes its UTF-8 bytes."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        try:
            raw = value if isinstance(value, bytes) else str(value).encode()
        except UnicodeEncodeError:
            self.fail(f"{str(value)[:MAX_DIGITS]!r} is not UTF-8 text", param, ctx)
        if len(raw) > MAX_REFERENCE:
            self.fail(f"{str(value)[:MAX_DIGITS]!r}... is longer than {MAX_REFERENCE} bytes", param, ctx)
        return raw


class ProvenKey(click.ParamType[tuple[bytes, bytes]]):
    """``KEY:PROOF``, 64 and 128 hex digits; becomes 32 and 64 bytes."""

    name = "key:proof"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[bytes, bytes]:
        if isinstance(value, tuple):
            return value
        key, _, proof = str(value).strip().partition(":")
        try:
            found = bytes.fromhex(key), bytes.fromhex(proof)
        except ValueError:
            found = b"", b""
        if tuple(map(len, found)) != (ID_BYTES, PROOF_BYTES):
            self.fail("what `watt keys prove` has printed: the key and its proof, with a colon between", param, ctx)
        return found


ENERGY = Energy()
REFERENCE = Reference()
TOKENS = Tokens()
PUBLIC_KEY = PublicKey()
PROVEN_KEY = ProvenKey()


def base_units(amount: Decimal, decimals: int) -> int:
    """Tokens to base units. Raises click.BadParameter for what is finer than one."""
    try:
        return _whole(_bounded(amount).scaleb(decimals), "base unit")
    except ValueError as error:
        raise click.BadParameter(f"{amount} tokens: {error}") from error


def base_units_per_wh(price: Decimal, decimals: int) -> int:
    """Tokens per kWh to base units per Wh. Raises click.BadParameter for what is finer than one."""
    try:
        return _whole(_bounded(price).scaleb(decimals) / WH_PER_KWH, "base unit per Wh")
    except ValueError as error:
        raise click.BadParameter(f"{price} tokens per kWh: {error}") from error


def hex_id(text: str, what: str) -> bytes:
    """32 bytes from 64 hex digits, as ids of orders and transactions are printed. Raises click.BadParameter."""
    try:
        raw = bytes.fromhex(text) if text.isalnum() else b""
    except ValueError:
        raw = b""
    if len(raw) != ID_BYTES:
        raise click.BadParameter(f"{text[:80]!r} is not an id of {2 * ID_BYTES} hex digits", param_hint=what)
    return raw


def kwh(wh: int) -> str:
    """Wh as kWh with three decimals: exact."""
    return f"{Decimal(wh) / WH_PER_KWH:,.3f}"


def per_kwh(base_units_per_wh: int, decimals: int = 9) -> str:
    """A price as tokens per kWh with four decimals, for people only."""
    return f"{Decimal(base_units_per_wh * WH_PER_KWH).scaleb(-decimals):,.4f}"


def clock(seconds: int) -> str:
    """A block time as `2017-06-16 12:30:00` (UTC). What no calendar has, which others may have said, is the last one
    that it has."""
    shown = datetime.datetime.fromtimestamp(min(max(0, seconds), _LAST_S), datetime.UTC)
    return shown.strftime("%Y-%m-%d %H:%M:%S")
