"""site.toml: what a broker is told of its site. Everything wrong with a file is told at once, with line and column.

docs/brokers.md explains it field by field. What the ledger knows (devices, their kinds and limits, where they hang) is
read there; here stands what it does not know. Energies in Wh, power in W, angles in degrees, times of day "HH:MM", UTC.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from broker.site import VehicleKind
from cli.policy_file import Problem, meant
from cli.toml_places import Keys, Place, TooMuchError, places_of
from node.errors import ConfigError, RefusedError
from node.files import read_given
from node.gateway.client import addresses_in

MAX_FILE_BYTES: Final = 64 * 1024
CHAIN_BYTES: Final = 32
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_TYPES: Final = {
    bool: "true or false",
    str: "a text in quotes",
    int: "a whole number",
    float: "a number",
    tuple: "a list",
    dict: "a table",
}

S = TypeVar("S", bound=msgspec.Struct)


class LoadTable(msgspec.Struct, frozen=True):
    """``device``: the meter that all use runs through; by default the network's one device of the kind load."""

    device: str = ""


class PanelsTable(msgspec.Struct, frozen=True):
    """``peak_w``: 0 takes the ledger's limit. ``tilt`` from the horizontal; ``azimuth`` from north over east."""

    device: str = ""
    peak_w: int = 0
    tilt: float = 30.0
    azimuth: float = 180.0
    latitude: float | None = None
    longitude: float | None = None


class BatteryTable(msgspec.Struct, frozen=True):
    """``charge_w``, ``discharge_w``: None takes the ledger's limits. ``level_wh``: what is taken to be in it until
    something is known; None: half."""

    capacity_wh: int
    device: str = ""
    charge_w: int | None = None
    discharge_w: int | None = None
    efficiency_permille: int = 900
    level_wh: int | None = None


class VehicleTable(msgspec.Struct, frozen=True):
    """``leaves``, ``arrives`` and ``km_a_day``: the routine that is taken for granted until enough was seen.
    ``shortage_price``: what a missing Wh costs on the way, base units; 0: twice the dearest retail price."""

    capacity_wh: int
    device: str = ""
    kind: VehicleKind = "bev"
    charge_w: int | None = None
    discharge_w: int = 0
    efficiency_permille: int = 900
    wh_per_km: int = 160
    reserve_wh: int = 0
    leaves: str = "07:30"
    arrives: str = "17:30"
    km_a_day: int = 40
    shortage_price: int = 0


class SiteFile(msgspec.Struct, frozen=True):
    """``directory``: what the file's paths are relative to, set by the reader."""

    network: str
    gateways: tuple[str, ...]
    key_file: str
    genesis: str = ""
    chain: str = ""
    passphrase_file: str = ""
    ca_file: str = ""
    journal: str = "journal"
    strategy: str = "truthful"
    decide_every: int = 300
    orders_ahead: int = 2
    boosting: bool = False
    first_slot: int = 0
    end_slot: int = 2**48
    poll_ms: int = 1_000
    state_file: str = ""
    setpoints_file: str = ""
    history_file: str = ""
    load: LoadTable = LoadTable()
    panels: PanelsTable | None = None
    battery: BatteryTable | None = None
    vehicle: VehicleTable | None = None
    directory: Path = Path()

    def path(self, name: str) -> Path:
        """A path of the file."""
        return self.directory / name


_TABLES: Final[Mapping[str, type[msgspec.Struct]]] = {
    "load": LoadTable,
    "panels": PanelsTable,
    "battery": BatteryTable,
    "vehicle": VehicleTable,
}
_RANGES: Final[Mapping[Keys, tuple[float, float]]] = {
    ("decide_every",): (1, 86_400),
    ("orders_ahead",): (1, 96),
    ("poll_ms",): (50, 600_000),
    ("panels", "peak_w"): (0, 10**9),
    ("panels", "tilt"): (0, 90),
    ("panels", "azimuth"): (0, 360),
    ("panels", "latitude"): (-90, 90),
    ("panels", "longitude"): (-180, 180),
    ("battery", "capacity_wh"): (1, 10**9),
    ("battery", "charge_w"): (1, 10**9),
    ("battery", "discharge_w"): (0, 10**9),
    ("battery", "efficiency_permille"): (1, 1_000),
    ("battery", "level_wh"): (0, 10**9),
    ("vehicle", "capacity_wh"): (1, 10**9),
    ("vehicle", "charge_w"): (1, 10**9),
    ("vehicle", "discharge_w"): (0, 10**9),
    ("vehicle", "efficiency_permille"): (1, 1_000),
    ("vehicle", "wh_per_km"): (1, 10_000),
    ("vehicle", "reserve_wh"): (0, 10**9),
    ("vehicle", "km_a_day"): (0, 2_000),
    ("vehicle", "shortage_price"): (0, 2**40),
}


def load_site(path: Path, strategies: tuple[str, ...]) -> SiteFile:
    """Read and check a site's file. Raises ConfigError: "no-config", "bad-config", which names every problem."""
    try:
        data = read_given(path)
    except OSError as error:
        raise ConfigError("no-config", f"{path}: {error.strerror}") from error
    site, problems = parse_site(data, str(path), path.resolve().parent, strategies)
    if site is None:
        raise ConfigError("bad-config", "; ".join(str(problem) for problem in problems))
    return site


def parse_site(
    data: bytes, file: str, directory: Path, strategies: tuple[str, ...]
) -> tuple[SiteFile | None, list[Problem]]:
    """What ``data`` says, None if something is wrong with it, and all that is. The codes: too-large, bad-toml,
    unknown-key, missing-key, wrong-type, out-of-range."""
    if len(data) > MAX_FILE_BYTES:
        return None, [Problem(file, 0, 0, "too-large", f"more than {MAX_FILE_BYTES} bytes")]
    try:
        text = data.decode("utf-8-sig")
        places = places_of(text)
        document = tomllib.loads(text)
    except UnicodeDecodeError:
        return None, [Problem(file, 0, 0, "bad-toml", "not UTF-8 text")]
    except TooMuchError as error:
        return None, [Problem(file, *error.place, "bad-toml", str(error))]
    except tomllib.TOMLDecodeError as error:
        return None, [Problem(file, *_place_in(str(error)), "bad-toml", str(error))]
    reading = _Reading(file, places)
    site = reading.site({**document, "directory": directory}, strategies)
    return site, sorted(reading.problems, key=lambda problem: (problem.line, problem.column))


def seconds_of_day(clock: str) -> int:
    """ "07:30" as seconds since midnight."""
    hours, minutes = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60


def _place_in(message: str) -> Place:
    found = re.search(r"at line (\d+), column (\d+)", message)
    return (int(found[1]), int(found[2])) if found else (0, 0)


class _Reading:
    """One reading of one document, and what is wrong so far."""

    def __init__(self, file: str, places: Mapping[Keys, Place]) -> None:
        self._file = file
        self._places = places
        self.problems: list[Problem] = []

    def site(self, document: Mapping[str, Any], strategies: tuple[str, ...]) -> SiteFile | None:
        tables = {}
        for name, kind in _TABLES.items():
            value = document.get(name)
            if isinstance(value, dict):
                tables[name] = self._table((name,), value, kind)
            elif value is not None:
                self._add((name,), "wrong-type", f"{name} is a table: [{name}]")
        plain = {key: value for key, value in document.items() if key not in _TABLES}
        site = self._table((), plain, SiteFile)
        if site is not None:
            self._check(site, tables, strategies)
        if self.problems or site is None:
            return None
        return msgspec.structs.replace(site, **tables)

    def _table(self, path: Keys, values: Mapping[str, Any], kind: type[S]) -> S | None:
        """The values as a ``kind``; None if they are none."""
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        known = [name for name in fields if name != "directory"]
        wrong = False
        for name, value in values.items():
            if name not in fields:
                self._add((*path, name), "unknown-key", f"there is no {name!r} here{meant(name, known)}")
                continue
            try:
                msgspec.convert(value, fields[name].type)
            except msgspec.ValidationError:
                self._add((*path, name), "wrong-type", f"{name}: {_wanted(fields[name].type)}")
                wrong = True
                continue
            low, high = _RANGES.get((*path, name), (float("-inf"), float("inf")))
            if isinstance(value, int | float) and not low <= value <= high:
                self._add(
                    (*path, name), "out-of-range", f"{name} is from {low:,.10g} to {high:,.10g}, not {value:,.10g}"
                )
        for name, field in fields.items():
            if field.required and name not in values:
                where = f"[{'.'.join(path)}]" if path else "the file"
                self._add(path, "missing-key", f"{where} needs {name}")
                wrong = True
        return None if wrong else msgspec.convert({key: values[key] for key in values if key in fields}, kind)

    def _check(self, site: SiteFile, tables: Mapping[str, Any], strategies: tuple[str, ...]) -> None:
        """What one value does not show by itself."""
        if site.strategy not in strategies:
            known = ", ".join(strategies)
            hint = meant(site.strategy, strategies)
            self._add(
                ("strategy",), "out-of-range", f"no strategy is called {site.strategy!r}{hint}; there are {known}"
            )
        try:
            addresses_in(site.gateways)
        except RefusedError as error:
            self._add(("gateways",), "out-of-range", error.message)
        if bool(site.genesis) == bool(site.chain):
            self._add(("genesis",), "missing-key", "say which network it is: either genesis = FILE or chain = ID")
        if site.chain and not re.fullmatch(r"[0-9a-f]{64}", site.chain):
            self._add(("chain",), "out-of-range", f"a chain's id is {2 * CHAIN_BYTES} hex digits")
        if site.end_slot <= site.first_slot:
            self._add(("end_slot",), "out-of-range", "end_slot is not after first_slot")
        battery, vehicle = tables.get("battery"), tables.get("vehicle")
        if battery is not None and (battery.level_wh or 0) > battery.capacity_wh:
            self._add(("battery", "level_wh"), "out-of-range", "more than its capacity_wh")
        if vehicle is not None:
            for name in ("leaves", "arrives"):
                if not _CLOCK.fullmatch(getattr(vehicle, name)):
                    self._add(("vehicle", name), "out-of-range", f'{name} is a time of day such as "07:30", UTC')
            if vehicle.reserve_wh > vehicle.capacity_wh:
                self._add(("vehicle", "reserve_wh"), "out-of-range", "more than its capacity_wh")

    def _add(self, path: Keys, code: str, message: str) -> None:
        line, column = next((self._places[path[:end]] for end in _ends(path) if path[:end] in self._places), (0, 0))
        self.problems.append(Problem(self._file, line, column, code, message))


def _ends(path: Keys) -> Iterator[int]:
    return iter(range(len(path), 0, -1))


def _wanted(kind: Any) -> str:
    """What a field of this type is, in words."""
    text = str(kind)
    if "Literal" in text:
        return f"one of {', '.join(repr(each) for each in _choices(kind))}"
    return next((words for known, words in _TYPES.items() if known.__name__ in text), text)


def _choices(kind: Any) -> tuple[object, ...]:
    return tuple(getattr(kind, "__args__", ()))
