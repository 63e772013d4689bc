"""A real kind of low-voltage grid: one subnet of the SimBench data set as a version of the ledger's grid.

The source is the wheel `simbench`, whose CSV files are read where it is installed; it is never imported. The files are
the complete grid of scenario 0 (today), `1-complete_data-mixed-all-0-sw`, separated by semicolons. Of these are used:

- `Switch`: nodes that a closed switch (cond 1) joins are one bus, called by its busbar; an open one joins nothing.
- `Transformer`, `TransformerType`: nodeHV is the root; sR in MVA times loadingMax in % is the limit, both ways.
- `Line`, `LineType`: length in km; iMax, the thermal current, in A. The limit is sqrt(3) x U x iMax x loadingMax, both
  ways, with U the rated voltage of its nodes (`Node`, vmR in kV): power factor 1 and three balanced phases.
- `Load`: which buses have one. `LoadProfile`, `RESProfile`: quarter hours of 2016, in shares of the peak.

What is ours and not SimBench's: tolls. ``RATE`` for each metre of line and ``STEP`` for the transformer are assumed.
A bus is named as in the data, with `-` for spaces.
"""

import csv
import datetime
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

import networkx as nx

from broker.data.installed import find_installed
from chaincode import grid
from chaincode.contract import ContractError
from chaincode.grid import LineSettings
from cli.grid_file import GridVersion
from node.errors import ConfigError

DATASET: Final = "1-complete_data-mixed-all-0-sw"
SUBNET: Final = "LV3.101"
RATE: Final = 200
"""Base units per Wh and metre: 0.0002 tokens per kWh and metre."""
STEP: Final = 20_000
"""Base units per Wh through the transformer: 0.02 tokens per kWh."""
_DAY: Final = "%d.%m.%Y"
QUARTERS_OF_A_DAY: Final = 96


class Subnet(NamedTuple):
    """``loads``: (bus, profile, peak in W) of every load, in the order of the data; the buses that have one."""

    version: GridVersion
    loads: tuple[tuple[str, str, int], ...]

    @property
    def load_buses(self) -> tuple[str, ...]:
        """The buses with a load, by name."""
        return tuple(sorted({bus for bus, _, _ in self.loads}, key=natural))


class _Edge(NamedTuple):
    """A line or the transformer between two buses."""

    name: str
    ends: tuple[str, str]
    metres: int
    step: int
    limit_w: int


def find_data() -> Path:
    """The directory of the installed data set. Raises ConfigError("no-simbench")."""
    missing = "simbench is not installed: pip install --no-deps -r requirements/simbench.txt"
    return find_installed("simbench", f"networks/{DATASET}", ConfigError("no-simbench", missing))


def load_subnet(directory: Path, subnet: str = SUBNET) -> Subnet:
    """The radial grid of ``subnet`` below its transformer.

    Raises ConfigError: "no-simbench" if a file is not there, "bad-simbench" if it does not hold what it should; and
    with the offending line's name "cyclic-grid", "disconnected-grid", or what else ``grid.check`` says.
    """
    try:
        return _load_subnet(directory, subnet)
    except OSError as error:
        raise ConfigError("no-simbench", f"{error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, ArithmeticError, csv.Error) as error:
        raise ConfigError("bad-simbench", f"{directory} is not the data set expected: {error!r}") from error


def load_profiles(
    directory: Path, table: str, names: Sequence[str], first: datetime.date, days: int
) -> dict[str, tuple[float, ...]]:
    """Shares of the peak for each half hour of ``days`` days from ``first``, local time: the means of two quarters.

    ``table``: "LoadProfile" or "RESProfile"; a name is a column there. Raises ConfigError as ``load_subnet``, also for
    days that the data have not, or not with 96 quarters each (the clocks change in March and October).
    """
    last = first + datetime.timedelta(days=days - 1)
    try:
        with (directory / f"{table}.csv").open(encoding="utf-8", newline="") as file:
            header = next(file).rstrip("\r\n").split(";")
            columns = [header.index(name) for name in names]
            later = itertools.dropwhile(lambda line: not line.startswith(f"{first:{_DAY}} 00:00"), file)
            rows = [line.split(";") for line in itertools.islice(later, days * QUARTERS_OF_A_DAY)]
        if len(rows) != days * QUARTERS_OF_A_DAY or rows[-1][0] != f"{last:{_DAY}} 23:45":
            raise ValueError(f"{table} does not hold {days} whole days from {first}")
        series = ([float(row[column]) for row in rows] for column in columns)
        halves = (tuple((one + two) / 2 for one, two in zip(each[::2], each[1::2], strict=True)) for each in series)
        return dict(zip(names, halves, strict=True))
    except OSError as error:
        raise ConfigError("no-simbench", f"{error.filename}: {error.strerror}") from error
    except (ValueError, IndexError, StopIteration) as error:
        raise ConfigError("bad-simbench", f"{directory} is not the data set expected: {error!r}") from error


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sorts `Bus 9` before `Bus 10`."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return tuple((int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in parts)


def _load_subnet(directory: Path, subnet: str) -> Subnet:
    lines = [row for row in _rows(directory, "Line") if row["subnet"] == subnet]
    transformers = [row for row in _rows(directory, "Transformer") if row["subnet"] == subnet]
    if len(transformers) != 1:
        raise ConfigError("bad-simbench", f"subnet {subnet} has {len(transformers)} transformers, not one")
    switches = [row for row in _rows(directory, "Switch") if row["subnet"] == subnet]
    loads = [row for row in _rows(directory, "Load") if row["subnet"] == subnet]
    used = {row[end] for row in (*lines, *switches) for end in ("nodeA", "nodeB")}
    used |= {transformers[0]["nodeHV"], transformers[0]["nodeLV"], *(row["node"] for row in loads)}
    nodes = {row["id"]: row for row in _rows(directory, "Node") if row["id"] in used}
    bus_of = _fused(nodes, [(row["nodeA"], row["nodeB"]) for row in switches if row["cond"] == "1"])
    edges = [
        *_transformer_edges(directory, transformers, bus_of),
        *_line_edges(directory, lines, nodes, bus_of),
    ]
    root = bus_of[transformers[0]["nodeHV"]]
    version = GridVersion(root, RATE, tuple(_oriented(root, edges)))
    try:
        grid.check(*version)
    except ContractError as error:
        raise ConfigError(error.code, f"subnet {subnet}: {error.message}") from error
    return Subnet(version, tuple((bus_of[row["node"]], row["profile"], _whole(row["pLoad"], 10**6)) for row in loads))


def _rows(directory: Path, table: str) -> Iterator[dict[str, str]]:
    with (directory / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter=";", strict=True)


def _fused(nodes: Mapping[str, Mapping[str, str]], closed: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Node -> the bus that it is part of, called by its first busbar."""
    joined: nx.Graph[str] = nx.Graph()
    joined.add_nodes_from(nodes)
    joined.add_edges_from(closed)
    bus_of = {}
    for part in nx.connected_components(joined):
        name = min(part, key=lambda node: (nodes[node]["type"] != "busbar", natural(node)))
        bus_of.update(dict.fromkeys(part, name.replace(" ", "-")))
    return bus_of


def _transformer_edges(
    directory: Path, rows: Iterable[Mapping[str, str]], bus_of: Mapping[str, str]
) -> Iterator[_Edge]:
    rated_mva = {row["id"]: row["sR"] for row in _rows(directory, "TransformerType")}
    for row in rows:
        limit_w = _whole(rated_mva[row["type"]], Decimal(row["loadingMax"]) * 10**4)
        yield _Edge(row["id"], (bus_of[row["nodeHV"]], bus_of[row["nodeLV"]]), 0, STEP, limit_w)


def _line_edges(
    directory: Path,
    rows: Iterable[Mapping[str, str]],
    nodes: Mapping[str, Mapping[str, str]],
    bus_of: Mapping[str, str],
) -> Iterator[_Edge]:
    thermal_a = {row["id"]: Decimal(row["iMax"]) for row in _rows(directory, "LineType")}
    for row in rows:
        volt = Decimal(nodes[row["nodeA"]]["vmR"]) * 1000
        one_phase = volt * thermal_a[row["type"]] * Decimal(row["loadingMax"]) / 100
        if one_phase < 0:
            raise ValueError(f"{row['id']}: a negative current or voltage")
        limit_w = math.isqrt(int(3 * one_phase**2))
        ends = bus_of[row["nodeA"]], bus_of[row["nodeB"]]
        yield _Edge(row["id"], ends, _whole(row["length"], 1000), 0, limit_w)


def _oriented(root: str, edges: Sequence[_Edge]) -> Iterator[LineSettings]:
    """The edges as lines away from the root, breadth first. Raises ConfigError: "cyclic-grid", "disconnected-grid"."""
    known: nx.Graph[str] = nx.Graph()
    known.add_node(root)
    joined: nx.utils.UnionFind[str] = nx.utils.UnionFind()
    for edge in edges:
        if joined[edge.ends[0]] == joined[edge.ends[1]]:
            raise ConfigError("cyclic-grid", f"{edge.name} closes a ring: {' and '.join(edge.ends)} are joined already")
        joined.union(*edge.ends)
        known.add_edge(*edge.ends, edge=edge)
    for edge in edges:
        if joined[edge.ends[0]] != joined[root]:
            raise ConfigError("disconnected-grid", f"{edge.name}: nothing leads from {root} to {edge.ends[0]}")
    for parent, child in nx.bfs_edges(known, root, sort_neighbors=lambda buses: sorted(buses, key=natural)):
        edge = known.edges[parent, child]["edge"]
        yield parent, child, edge.metres, edge.step, edge.limit_w, edge.limit_w


def _whole(text: str, unit: Decimal | int) -> int:
    """A figure times ``unit`` as an integer, half to even."""
    return round(Decimal(text) * unit)
