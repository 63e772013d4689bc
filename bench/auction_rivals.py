"""The auction's problem in the hands of others: linear programming (scipy's HiGHS), network simplex (networkx).

Each has its usual form. HiGHS: one variable for each order's fill and for each direction of each line, one equation for
each bus, a sparse matrix. Network simplex: every order is an edge between its bus and one node outside, a line is two
edges, and the cheapest circulation is wanted. Only the solving is timed, in processor time, not the putting together;
and neither says who trades with whom, nor what the price is where several would do.

Answers are compared exactly: what a solver says about fills and flows is rounded to whole Wh, checked against
every order, line and bus, and valued in integers.

A solver that needs too long is ended: each run is a process of its own.
"""

import importlib.util
import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple

import networkx as nx

from chaincode.auction import SELL, Order
from chaincode.tree import Tree
from node.errors import RefusedError


class Answer(NamedTuple):
    """Processor seconds and the welfare of the fills found; or no figures, and why."""

    seconds: float | None
    welfare: int | None
    reason: str | None


Solver = Callable[[Tree, Sequence[Order]], tuple[float, list[int], list[int], list[int]]]
"""Market in; seconds, the Wh filled of each order, and the Wh down and up each line (entry 0 unused) out."""

NEEDED: Final = ("numpy", "scipy")


def require_solvers() -> None:
    """Raises RefusedError("no-solver") without the packages that only development needs."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RefusedError("no-solver", f"{' and '.join(missing)} not installed: see requirements/dev.txt")


def highs(tree: Tree, orders: Sequence[Order]) -> tuple[float, list[int], list[int], list[int]]:
    """Linear programming by HiGHS, which chooses its method itself."""
    import numpy as np  # noqa: PLC0415 - a node is installed without it
    from scipy.optimize import linprog  # noqa: PLC0415
    from scipy.sparse import csc_array  # noqa: PLC0415

    count, buses = len(orders), len(tree.buses)
    cost = [order.price if order.side == SELL else -order.price for order in orders] + 2 * list(tree.toll[1:])
    most: list[int | None] = [order.energy_wh for order in orders]
    most += [*tree.limit_down_wh[1:], *tree.limit_up_wh[1:]]
    values = [1.0 if order.side == SELL else -1.0 for order in orders]
    rows = [order.bus for order in orders]
    columns = list(range(count))
    for line in range(1, buses):
        down, up = count + line - 1, count + buses - 1 + line - 1
        rows += [line, tree.parent[line]] * 2
        columns += [down, down, up, up]
        values += [1.0, -1.0, -1.0, 1.0]
    balance = csc_array((values, (rows, columns)), shape=(buses, len(cost)))
    bounds = np.array([(0.0, np.inf if limit is None else limit) for limit in most])
    start = time.process_time()
    result = linprog(cost, A_eq=balance, b_eq=np.zeros(buses), bounds=bounds, method="highs")
    seconds = time.process_time() - start
    if result.status != 0:
        raise RuntimeError(result.message)
    whole = [int(wh) for wh in np.rint(result.x)]
    lines = count + buses - 1
    return seconds, whole[:count], [0, *whole[count:lines]], [0, *whole[lines:]]


def network_simplex(tree: Tree, orders: Sequence[Order]) -> tuple[float, list[int], list[int], list[int]]:
    """networkx's network simplex, in integers."""
    outside = -1
    graph: nx.MultiDiGraph[int] = nx.MultiDiGraph()
    for number, order in enumerate(orders):
        if order.side == SELL:
            graph.add_edge(outside, order.bus, number, capacity=order.energy_wh, weight=order.price)
        else:
            graph.add_edge(order.bus, outside, number, capacity=order.energy_wh, weight=-order.price)
    for line in range(1, len(tree.buses)):
        for source, target, limit in (
            (tree.parent[line], line, tree.limit_down_wh[line]),
            (line, tree.parent[line], tree.limit_up_wh[line]),
        ):
            bound = {} if limit is None else {"capacity": limit}
            graph.add_edge(source, target, "line", weight=tree.toll[line], **bound)
    start = time.process_time()
    _, flow = nx.network_simplex(graph)
    seconds = time.process_time() - start
    filled = [
        flow[outside][order.bus][number] if order.side == SELL else flow[order.bus][outside][number]
        for number, order in enumerate(orders)
    ]
    lines = range(1, len(tree.buses))
    return (
        seconds,
        filled,
        [0, *(flow[tree.parent[line]][line]["line"] for line in lines)],
        [0, *(flow[line][tree.parent[line]]["line"] for line in lines)],
    )


def welfare_of(
    tree: Tree, orders: Sequence[Order], filled: Sequence[int], down: Sequence[int], up: Sequence[int]
) -> int:
    """What these fills and flows are worth, exactly. Raises ValueError if they are not possible."""
    surplus = [0] * len(tree.buses)
    worth = 0
    for order, wh in zip(orders, filled, strict=True):
        if not 0 <= wh <= order.energy_wh:
            raise ValueError(f"{wh} of {order.energy_wh} Wh are filled")
        surplus[order.bus] += wh if order.side == SELL else -wh
        worth += -order.price * wh if order.side == SELL else order.price * wh
    for line in range(1, len(tree.buses)):
        for wh, limit in ((down[line], tree.limit_down_wh[line]), (up[line], tree.limit_up_wh[line])):
            if wh < 0 or (limit is not None and wh > limit):
                raise ValueError(f"{wh} Wh on a line of {limit}")
        surplus[line] += down[line] - up[line]
        surplus[tree.parent[line]] += up[line] - down[line]
        worth -= tree.toll[line] * (down[line] + up[line])
    if any(surplus):
        raise ValueError("energy does not balance")
    return worth


def solve(solver: Solver, tree: Tree, orders: Sequence[Order], bound_s: float) -> Answer:
    """Let ``solver`` have a process of its own for at most ``bound_s`` seconds of wall time."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(solver, tree, [tuple(order) for order in orders], theirs), daemon=True)
    child.start()
    theirs.close()
    try:
        if not ours.poll(bound_s):
            return Answer(None, None, f"not finished after {bound_s:g} s")
        answer: Any = ours.recv()
    except EOFError:
        return Answer(None, None, "its process ended without an answer")
    finally:
        child.kill()
        child.join()
        ours.close()
    return Answer(*answer)


def _child(solver: Solver, tree: Tree, rows: list[tuple[Any, ...]], answers: Connection) -> None:
    orders = [Order(*row) for row in rows]
    seconds, filled, down, up = solver(tree, orders)
    try:
        answers.send((seconds, welfare_of(tree, orders, filled, down, up), None))
    except ValueError as error:
        answers.send((seconds, None, f"no possible answer: {error}"))
