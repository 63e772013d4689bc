"""A network's policy as a TOML file that its owner writes, and back. Amounts in tokens; what is left out is default.

    network = "shop-1/hvac"
    proceeds = "pool"            # who gets what devices earn: "pool" or "device"
    pool_helps = true            # the pool tops up an order that no device can help with
    pool_floor = 5               # what it keeps when it helps, shares, or is allocated
    carry_cap = 20               # most that goes over into the next period; without: all
    carry_periods = 2            # how often a token may; without: for ever
    excess = "return"            # what is left then: "return", "redeem", "sell"
    agreement = 3                # to whom, for "sell"
    allocation = "fixed"         # "by-hand", "fixed", "history", "forecast"

    [devices."shop-1/hvac-roof"]
    rank = 1                     # asked for help in this order
    gives = true                 # false: never asked
    floor = 2.5                  # what it keeps when it gives
    limit = 40                   # most that it is given in a period
    amount = 20                  # for "fixed": this, or
    # share_permille = 250       # so many thousandths of the network's budget

Everything wrong with a file is told at once, with line and column.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from chaincode.budget_contradictions import FAULTS, faults_of
from chaincode.budget_policy import (
    BY_HAND,
    DEVICE,
    FIXED,
    FORECAST,
    HISTORY,
    POOL,
    REDEEM,
    RETURN,
    SELL,
    Donor,
    Policy,
    Row,
)
from chaincode.contract import MAX_AMOUNT
from chaincode.identity import MAX_DEVICES
from chaincode.roles import MAX_ID
from cli.toml_places import Keys, Place, TooMuchError, places_of
from cli.units import base_units
from node.files import read_start

MAX_FILE_BYTES: Final = 256 * 1024

_AMOUNT: Final = "an amount of tokens, such as 2.5"
_WHOLE: Final = "a whole number"
_FLAG: Final = "true or false"
_TEXT: Final = "a text in quotes"
NETWORK_KEYS: Final = {
    "proceeds": _TEXT, "pool_helps": _FLAG, "pool_floor": _AMOUNT, "carry_cap": _AMOUNT, "carry_periods": _WHOLE,
    "excess": _TEXT, "agreement": _WHOLE, "allocation": _TEXT,
}  # fmt: skip
"""The keys of the terms of a network, in the order of the fields of ``Policy``, and what their values are."""
DEVICE_KEYS: Final = {
    "rank": _WHOLE, "floor": _AMOUNT, "gives": _FLAG, "limit": _AMOUNT, "amount": _AMOUNT, "share_permille": _WHOLE,
}  # fmt: skip
"""The same of a device and ``Donor``."""
_CHOICES: Final = {
    "proceeds": (POOL, DEVICE),
    "excess": (RETURN, REDEEM, SELL),
    "allocation": (BY_HAND, FIXED, HISTORY, FORECAST),
}
_LONG_NAME: Final = f"a name has at most {MAX_ID} characters"
_KEY_OF: Final = {"sale": "agreement", "share": "share_permille"}
"""Keys of the file whose fields on the ledger have another name."""


class Problem(NamedTuple):
    """One thing that is wrong. ``line`` and ``column`` from 1, 0 if it is about the file as a whole."""

    file: str
    line: int
    column: int
    code: str
    message: str

    def __str__(self) -> str:
        place = f":{self.line}:{self.column}" if self.line else ""
        return f"{self.file}{place}: {self.code}: {self.message}"


class PolicyFile(NamedTuple):
    """What a file says. ``places``: where its keys stand."""

    file: str
    network: str
    policy: Policy
    rows: tuple[Row, ...]
    places: Mapping[Keys, Place]

    def problem(self, path: Keys, code: str, message: str) -> Problem:
        """A problem with what stands at ``path``."""
        return _problem(self.file, self.places, path, code, message)


def read_policy(path: Path, decimals: int) -> tuple[PolicyFile | None, list[Problem]]:
    """What the file at ``path`` says, None if that cannot be known, and all that is wrong with it in itself.

    ``decimals``: of a token. The codes: cannot-read, too-large, bad-toml, named-twice, unknown-key, missing-key,
    wrong-type, out-of-range, and the names in ``budget_contradictions.FAULTS``.
    """
    file = str(path)
    try:
        data = read_start(path, MAX_FILE_BYTES)
    except OSError as error:
        return None, [Problem(file, 0, 0, "cannot-read", error.strerror or "it cannot be opened")]
    if len(data) > MAX_FILE_BYTES:
        return None, [Problem(file, 0, 0, "too-large", f"more than {MAX_FILE_BYTES} bytes")]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode()) + 1
        return None, [Problem(file, line, column, "bad-toml", "not UTF-8 text")]
    return parse_policy(text, file, decimals)


def parse_policy(text: str, file: str, decimals: int) -> tuple[PolicyFile | None, list[Problem]]:
    """``read_policy`` of a text."""
    try:
        places = places_of(text)
        document = tomllib.loads(text, parse_float=_decimal)
    except TooMuchError as error:
        return None, [Problem(file, *error.place, "bad-toml", str(error))]
    except tomllib.TOMLDecodeError as error:
        return None, [_syntax(file, text, str(error))]
    return _Reading(file, places, decimals).document(document)


def format_policy(network: str, policy: Policy, rows: Sequence[Row], decimals: int) -> str:
    """The TOML text that ``parse_policy`` reads as this policy; terms that are the default are left out."""
    lines = [f"network = {_quoted(network)}"]
    lines += _assignments(NETWORK_KEYS, policy, Policy(), decimals)
    for device, *terms in rows:
        lines += ["", f"[devices.{_quoted(device)}]", *_assignments(DEVICE_KEYS, terms, Donor(), decimals)]
    return "\n".join(lines) + "\n"


def meant(word: str, known: Iterable[str]) -> str:
    """``; did you mean "..."?`` if one of ``known`` is close to ``word``, or begins with it."""
    names = list(known)
    close = difflib.get_close_matches(word, names, 1, 0.6) or [name for name in names if name.startswith(word)]
    return f"; did you mean {_quoted(close[0])}?" if close else ""


def shown_tokens(amount: int, decimals: int) -> str:
    """Base units as tokens, exactly, as one would type them."""
    number = Decimal(amount).scaleb(-decimals)
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def shown_term(key: str, value: object, decimals: int) -> str:
    """A value of NETWORK_KEYS or DEVICE_KEYS as it stands in a file; "none" for a limit or cap that there is not."""
    if (key == "limit" and value is None) or (key == "carry_cap" and value == MAX_AMOUNT):
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    assert isinstance(value, int)
    is_amount = (NETWORK_KEYS | DEVICE_KEYS)[key] == _AMOUNT
    return shown_tokens(value, decimals) if is_amount else str(value)


class _Reading:
    """One reading of one document: what it says, and what is wrong so far."""

    def __init__(self, file: str, places: Mapping[Keys, Place], decimals: int) -> None:
        self._file = file
        self._places = places
        self._decimals = decimals
        self._problems: list[Problem] = []
        self._doubtful = False

    def document(self, document: Mapping[str, Any]) -> tuple[PolicyFile | None, list[Problem]]:
        network = document.get("network")
        if not isinstance(network, str):
            code = "missing-key" if network is None else "wrong-type"
            self._add(("network",), code, f'the first line says which network it is for: network = "..."; {_TEXT}')
            network = None
        elif len(network) > MAX_ID:
            self._out_of_range(("network",), _LONG_NAME)
            network = None
        devices = document.get("devices", {})
        if not isinstance(devices, dict):
            self._wrong(("devices",), devices, 'tables like [devices."shop-1/lights"]')
            devices = {}
        own = {key: value for key, value in document.items() if key not in ("network", "devices")}
        policy = Policy(*self._terms((), own, NETWORK_KEYS, Policy()))
        for device in list(devices)[MAX_DEVICES:][:1]:
            self._out_of_range(("devices", device), f"a network has at most {MAX_DEVICES} devices")
        read = [self._device(device, terms) for device, terms in list(devices.items())[:MAX_DEVICES]]
        rows = tuple(row for row in read if len(row[0]) <= MAX_ID)
        if not self._doubtful:
            self._contradictions(policy, rows)
        self._problems.sort(key=lambda problem: (problem.line, problem.column))
        if network is None:
            return None, self._problems
        return PolicyFile(self._file, network, policy, rows, self._places), self._problems

    def _device(self, device: str, terms: object) -> Row:
        path = ("devices", device)
        if len(device) > MAX_ID:
            self._out_of_range(path, _LONG_NAME)
        if not isinstance(terms, dict):
            self._wrong(path, terms, f"a table: [devices.{_shown(device)}]")
            terms = {}
        return (device, *Donor(*self._terms(path, terms, DEVICE_KEYS, Donor())))

    def _terms(self, path: Keys, found: Mapping[str, Any], keys: Mapping[str, str], default: tuple[Any, ...]) -> Any:
        for key in found:
            if key not in keys:
                known = [*keys, *(("network", "devices") if not path else ())]
                where = "a device" if path else "a network"
                text = f"{_shown(key)} is no term of {where}{meant(key, known)}"
                self._add((*path, key), "unknown-key", text)
        values = []
        for (key, kind), otherwise in zip(keys.items(), default, strict=True):
            values.append(self._value((*path, key), kind, found[key]) if key in found else otherwise)
            if values[-1] is None and otherwise is not None:
                values[-1] = otherwise
        return values

    def _value(self, path: Keys, kind: str, value: object) -> object:
        """The value in the ledger's units; None, with a problem noted, if it cannot be taken."""
        is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
        if kind == _AMOUNT and is_number:
            return self._amount(path, Decimal(value))  # type: ignore[arg-type]
        if kind == _WHOLE and is_number and isinstance(value, int):
            if 0 <= value <= MAX_AMOUNT:
                return value
            self._out_of_range(path, "it is not from 0 to 2^63-1")
            return None
        if kind == _FLAG and isinstance(value, bool):
            return value
        if kind == _TEXT and isinstance(value, str):
            if value in _CHOICES[path[-1]]:
                return value
            self._unknown(path, value)
        else:
            self._wrong(path, value, kind)
        return None

    def _amount(self, path: Keys, amount: Decimal) -> int | None:
        if not amount.is_finite():
            self._out_of_range(path, "it is no number, or far too large")
            return None
        try:
            return base_units(amount, self._decimals)
        except click.BadParameter as error:
            self._out_of_range(path, error.message)
            return None

    def _unknown(self, path: Keys, value: str) -> None:
        self._doubtful = True
        code = "unknown-rule" if path[-1] == "allocation" else f"unknown-{path[-1]}"
        self._add(path, code, f"{FAULTS[code]}, not {_shown(value)}{meant(value, _CHOICES[path[-1]])}")

    def _wrong(self, path: Keys, value: object, wanted: str) -> None:
        self._doubtful = True
        self._add(path, "wrong-type", f"{path[-1]} is {wanted}, not {_kind_of(value)}")

    def _out_of_range(self, path: Keys, why: str) -> None:
        self._doubtful = True
        self._add(path, "out-of-range", why)

    def _contradictions(self, policy: Policy, rows: Sequence[Row]) -> None:
        for name, index, field in faults_of(policy, rows):
            key = _KEY_OF.get(field, field)
            path = (key,) if index < 0 else ("devices", rows[index][0], key)
            whose = "" if index < 0 else f"{rows[index][0]}: "
            self._add(path, name, whose + FAULTS[name])

    def _add(self, path: Keys, code: str, message: str) -> None:
        self._problems.append(_problem(self._file, self._places, path, code, message))


def _problem(file: str, places: Mapping[Keys, Place], path: Keys, code: str, message: str) -> Problem:
    """Where ``path`` stands, or the nearest table around it."""
    while path and path not in places:
        path = path[:-1]
    return Problem(file, *places.get(path, (0, 0)), code, message)


_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")


def _syntax(file: str, text: str, message: str) -> Problem:
    """What ``tomllib`` refuses. Of a table or key that is there twice it names the second."""
    found = _PLACE.search(message)
    lines = text.split("\n")
    line, column = (len(lines), len(lines[-1]) + 1) if found is None or found[1] is None else map(int, found.groups())
    said = message if found is None else message[: found.start()]
    twice = said.startswith("Cannot declare") or "overwrite" in said
    return Problem(file, line, column, "named-twice" if twice else "bad-toml", said)


def _assignments(
    keys: Mapping[str, str], values: Sequence[object], default: tuple[Any, ...], decimals: int
) -> list[str]:
    found = zip(keys, values, default, strict=True)
    return [f"{key} = {shown_term(key, value, decimals)}" for key, value, usual in found if value != usual]


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return f"{value}" if isinstance(value, int | Decimal) else "a time"


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of 20 digits
        return Decimal("NaN")


def _shown(word: str) -> str:
    """What somebody wrote, in quotes, and no more of it than one wants to read."""
    return _quoted(word) if len(word) <= MAX_ID else f"{_quoted(word[:MAX_ID])}..."


def _quoted(text: str) -> str:
    escaped = "".join(
        each if each.isprintable() and each not in '"\\' else f"\\u{ord(each):04x}" if ord(each) < 0x10000
        else f"\\U{ord(each):08x}" for each in text
    )  # fmt: skip
    return f'"{escaped}"'
