"""The grid as the market sees it: a radial tree of buses.

Every bus but the root (the transformer) hangs on its parent by exactly one line. A line costs a *toll*
per Wh in either direction and may have a limit each way. ``Tree`` holds this in index form, parents before
children, so that one loop forwards is a walk down and one loop backwards a walk up: the auction needs no
recursion. The order of the indices follows from the names alone (breadth first from the root, siblings by
name), never from the order in which somebody listed the lines.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from chaincode.contract import MAX_AMOUNT, ContractError

MAX_BUSES = 100_000


class GridError(ContractError):
    """A grid that is no radial tree, or has impossible figures. The message names the line.

    ``ends``: the line's parent and child, as far as it is one line's fault.
    """

    def __init__(self, code: str, message: str, ends: tuple[str, str] | None = None) -> None:
        super().__init__(code, message)
        self.ends = ends


@dataclass(frozen=True, slots=True)
class Line:
    """The line from ``parent`` to ``child``. Toll in base units per Wh; limits in Wh per product, None = no limit.

    ``limit_down_wh`` bounds the flow from parent to child, ``limit_up_wh`` that from child to parent.
    """

    parent: str
    child: str
    toll: int
    limit_down_wh: int | None = None
    limit_up_wh: int | None = None

    def __str__(self) -> str:
        return f"line {self.parent} -> {self.child}"

    def fault(self, code: str, message: str) -> GridError:
        """What is wrong with this line."""
        return GridError(code, f"{self}: {message}", (self.parent, self.child))


@dataclass(frozen=True, slots=True)
class Tree:
    """A radial grid of N buses. All tuples have length N and one entry per bus; a line belongs to its child.

    ``parent[i] < i``, but ``parent[0] = -1``; ``toll[0]`` and the root's limits are unused (0, None, None).
    """

    buses: tuple[str, ...]
    parent: tuple[int, ...]
    toll: tuple[int, ...]
    limit_down_wh: tuple[int | None, ...]
    limit_up_wh: tuple[int | None, ...]

    @staticmethod
    def build(root: str, lines: Iterable[Line]) -> "Tree":
        """Index the grid ``lines`` hanging on ``root``.

        GridError codes: bad-bus, bad-toll, bad-limit, self-loop, two-parents, cyclic-grid, disconnected-grid,
        too-many-buses.
        """
        line_of: dict[str, Line] = {}
        children: dict[str, list[str]] = {}
        _check_name(root, "the root")
        for line in lines:
            _check_line(line)
            if line.child in line_of:
                raise line.fault("two-parents", f"{line.child} already hangs on {line_of[line.child].parent}")
            if len(line_of) + 1 >= MAX_BUSES:
                raise line.fault("too-many-buses", f"a grid has at most {MAX_BUSES} buses")
            line_of[line.child] = line
            children.setdefault(line.parent, []).append(line.child)
        if root in line_of:
            raise line_of[root].fault("cyclic-grid", f"the root {root} cannot hang on another bus")
        order, parent = [root], [-1]
        for index, bus in enumerate(order):  # grows while we walk it: breadth first
            for child in sorted(children.get(bus, ())):
                order.append(child)
                parent.append(index)
        if len(order) <= len(line_of):
            raise _unreached(line_of, order)
        below = [line_of[bus] for bus in order[1:]]
        return Tree(
            buses=tuple(order),
            parent=tuple(parent),
            toll=(0, *(line.toll for line in below)),
            limit_down_wh=(None, *(line.limit_down_wh for line in below)),
            limit_up_wh=(None, *(line.limit_up_wh for line in below)),
        )

    def index_of(self) -> dict[str, int]:
        """Bus name -> index."""
        return {bus: index for index, bus in enumerate(self.buses)}


def _check_name(name: str, what: str) -> None:
    if type(name) is not str or not 0 < len(name) <= 64:
        raise GridError("bad-bus", f"{what}: a bus is named by 1 to 64 characters")


def _check_line(line: Line) -> None:
    _check_name(line.parent, str(line))
    _check_name(line.child, str(line))
    if line.parent == line.child:
        raise line.fault("self-loop", "a line joins two buses")
    if type(line.toll) is not int or not 0 <= line.toll <= MAX_AMOUNT:
        raise line.fault("bad-toll", f"a toll is an integer from 0 to 2^63-1, not {line.toll}")
    for limit in (line.limit_down_wh, line.limit_up_wh):
        if limit is not None and (type(limit) is not int or not 0 <= limit <= MAX_AMOUNT):
            raise line.fault("bad-limit", f"a limit is an integer from 0 to 2^63-1 or none, not {limit}")


def _unreached(line_of: dict[str, Line], order: list[str]) -> GridError:
    """Name one line that the root does not reach: in a ring, or hanging on a bus that hangs on nothing."""
    reached = dict.fromkeys(order)
    bus = min(child for child in line_of if child not in reached)
    seen: dict[str, None] = {}
    while bus in line_of:
        if bus in seen:
            return line_of[bus].fault("cyclic-grid", "it closes a ring")
        seen[bus] = None
        top, bus = line_of[bus], line_of[bus].parent
    return top.fault("disconnected-grid", f"no line leads from the root {order[0]} to {bus}")
