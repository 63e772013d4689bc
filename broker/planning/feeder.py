"""The grid of a community, cut down to where something hangs: fewer lines, the same tolls and limits between any two
of those buses. What no member hangs under is left out; a row of lines without a branch is one line."""

from collections.abc import Iterable
from typing import NamedTuple

from chaincode.tree import Tree


class Link(NamedTuple):
    """Between two nodes, by number. ``toll``: base units per Wh either way; limits in Wh a slot, None: no limit."""

    parent: int
    child: int
    toll: int
    limit_down_wh: int | None
    limit_up_wh: int | None


class Feeder(NamedTuple):
    """``nodes``: the name of each node; those asked for are all among them."""

    nodes: tuple[str, ...]
    links: tuple[Link, ...]


def feeder(tree: Tree, used: Iterable[str]) -> Feeder:
    """``tree`` cut down to the buses ``used``. Raises KeyError for one that it does not have."""
    index_of = tree.index_of()
    wanted = {index_of[bus] for bus in used}
    count = len(tree.buses)
    below = [0] * count  # how many of its children lead to somebody
    for bus in range(count - 1, 0, -1):
        if bus in wanted or below[bus]:
            below[tree.parent[bus]] += 1
    kept = [bus in wanted or below[bus] > 1 for bus in range(count)]
    names: list[str] = []
    links: list[Link] = []
    nearest: list[Link | None] = [None] * count  # the line from the next node above to this bus
    number = [-1] * count
    for bus in range(count):
        if bus not in wanted and not below[bus]:
            continue
        above = tree.parent[bus]
        line: Link | None = None
        if above >= 0 and (number[above] >= 0 or nearest[above] is not None):
            step = Link(number[above], -1, tree.toll[bus], tree.limit_down_wh[bus], tree.limit_up_wh[bus])
            line = step if number[above] >= 0 else _joined(nearest[above], step)
        if kept[bus]:
            number[bus] = len(names)
            names.append(tree.buses[bus])
            if line is not None:
                links.append(line._replace(child=number[bus]))
        nearest[bus] = line
    return Feeder(tuple(names), tuple(links))


def _joined(first: Link | None, then: Link) -> Link:
    assert first is not None
    return Link(
        first.parent,
        -1,
        first.toll + then.toll,
        _least(first.limit_down_wh, then.limit_down_wh),
        _least(first.limit_up_wh, then.limit_up_wh),
    )


def _least(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)
