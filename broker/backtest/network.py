"""What contracts made of the lines: flows by line and slot, worked out from who bought and sold at which bus."""

import numpy as np
import numpy.typing as npt

from broker.backtest.books import Books
from broker.backtest.result import Line, tokens
from broker.backtest.scene import Scene
from chaincode import grid
from chaincode.tree import Tree


def tree_of(scene: Scene) -> Tree:
    """The grid with its limits in Wh of a slot."""
    version = scene.world.grid
    return grid.build(version.root, version.rate, tuple(version.lines), scene.world.slot_seconds).tree


def flows_of(scene: Scene, books: Books) -> npt.NDArray[np.int64]:
    """Contracted Wh down each bus's line (up negative): an array of the tree's buses x slots."""
    tree = tree_of(scene)
    number = {bus: index for index, bus in enumerate(tree.buses)}
    flows = np.zeros((len(tree.buses), scene.span.count), dtype=np.int64)
    for slot, contracts in books.contracts.items():
        for (_, bus), contract in contracts.items():
            flows[number[bus], slot - scene.world.first_slot] += contract.bought_wh - contract.sold_wh
    for index in range(len(tree.buses) - 1, 0, -1):  # children come after their parents
        flows[tree.parent[index]] += flows[index]
    return flows


def lines_of(scene: Scene, books: Books) -> tuple[Line, ...]:
    """Each line's largest flows against its limits."""
    tree, flows = tree_of(scene), flows_of(scene, books)
    found = []
    for bus in range(1, len(tree.buses)):
        down, up = tree.limit_down_wh[bus], tree.limit_up_wh[bus]
        is_full = np.zeros(flows.shape[1], dtype=np.bool_)
        if down is not None:
            is_full |= flows[bus] >= max(down, 1)
        if up is not None:
            is_full |= flows[bus] <= -max(up, 1)
        found.append(
            Line(
                line=tree.buses[bus],
                toll=tokens(1000 * tree.toll[bus]),
                limit_down_wh=down,
                limit_up_wh=up,
                largest_down_wh=int(max(0, flows[bus].max())),
                largest_up_wh=int(max(0, -flows[bus].min())),
                full_slots=int(is_full.sum()),
            )
        )
    return tuple(found)


def traded_distance_m(scene: Scene, books: Books) -> float | None:
    """The mean way of a traded Wh along the lines' net flows."""
    metres = {child: length for _, child, length, *_ in scene.world.grid.lines}
    tree, flows = tree_of(scene), flows_of(scene, books)
    traded = sum(contract.bought_wh for contracts in books.contracts.values() for contract in contracts.values())
    way = sum(int(np.abs(flows[bus]).sum()) * metres[tree.buses[bus]] for bus in range(1, len(tree.buses)))
    return round(way / traded, 1) if traded else None
