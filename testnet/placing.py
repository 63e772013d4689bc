"""The street's three homes on another grid: one of a CSV file, or SimBench's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli.grid_file import read_grid
from testnet import simbench
from testnet.genesis import WATT
from testnet.neighbourhood import HOMES, Place

SIMBENCH: Final = "simbench"


def place_on(grid: str) -> Place:
    """The homes spread over the buses that have a load, if ``grid`` is "simbench"; else it is a file, and they hang on
    buses from which no line leads on.

    Raises what ``read_grid`` and ``simbench.load_subnet`` raise.
    """
    if grid == SIMBENCH:
        subnet = simbench.load_subnet(simbench.find_data())
        return Place(subnet.version, _spread(subnet.load_buses))
    version = read_grid(Path(grid), WATT.decimals)
    inner = {version.root, *(line[0] for line in version.lines)}
    ends = sorted((line[1] for line in version.lines if line[1] not in inner), key=simbench.natural)
    return Place(version, _spread(ends or [version.root]))


def _spread(buses: Sequence[str]) -> tuple[str, ...]:
    return tuple(buses[number * len(buses) // len(HOMES)] for number in range(len(HOMES)))
