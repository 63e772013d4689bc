"""Random markets for the auction's tests, and an oracle that knows nothing of the auction: linear programming."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from scipy.optimize import linprog

from chaincode.auction import BUY, SELL, Clearing, Order, clear
from chaincode.tree import Line, Tree


@dataclass(frozen=True)
class Market:
    tree: Tree
    orders: tuple[Order, ...]

    def clear(self) -> Clearing:
        return clear(self.tree, self.tree.limit_down_wh, self.tree.limit_up_wh, self.orders)


def order(name: str, bus: int, side: int, price: int, energy_wh: int, age: int = 0, renewable: bool = False) -> Order:
    return Order(name.encode(), bus, side, price, energy_wh, age, renewable)


def one_bus() -> Tree:
    return Tree.build("root", [])


@st.composite
def trees(draw: st.DrawFn, max_buses: int = 7, limited: bool = True) -> Tree:
    """Chains, stars and all between; tolls and limits are often zero, limits often absent, each way by itself."""
    toll = st.one_of(st.just(0), st.integers(0, draw(st.sampled_from([2, 10]))))
    limit = st.one_of(st.none(), st.just(0), st.integers(0, draw(st.sampled_from([3, 40])))) if limited else st.none()
    lines = [
        Line(f"b{draw(st.integers(0, bus - 1))}", f"b{bus}", draw(toll), draw(limit), draw(limit))
        for bus in range(1, draw(st.integers(1, max_buses)))
    ]
    return Tree.build("b0", lines)


@st.composite
def order_lists(draw: st.DrawFn, buses: int, max_orders: int = 14, prefix: str = "o") -> tuple[Order, ...]:
    """Few different prices and ages, so that ties abound."""
    price = st.integers(0, draw(st.sampled_from([2, 8, 40])))
    energy = st.integers(1, draw(st.sampled_from([1, 3, 20])))
    # Ids are hashes elsewhere: here a drawn permutation, so that ids do not follow the order of listing.
    numbers = draw(st.permutations(range(draw(st.integers(0, max_orders)))))
    return tuple(
        Order(
            f"{prefix}{number:02}".encode(),
            draw(st.integers(0, buses - 1)),
            draw(st.sampled_from([BUY, SELL])),
            draw(price),
            draw(energy),
            draw(st.sampled_from([0, 0, 1, 2, 7])),
            draw(st.booleans()),
        )
        for number in numbers
    )


@st.composite
def markets(draw: st.DrawFn, limited: bool = True, max_orders: int = 14) -> Market:
    tree = draw(trees(limited=limited))
    return Market(tree, draw(order_lists(len(tree.buses), max_orders)))


class Oracle:
    """A market as a linear program: one variable per order's fill, two per line (down and up), balance at each bus."""

    def __init__(self, market: Market) -> None:
        tree, self.orders = market.tree, market.orders
        lines = range(1, len(tree.buses))
        self.bounds: list[tuple[int, int | None]] = [(0, order.energy_wh) for order in self.orders]
        self.bounds += [(0, tree.limit_down_wh[line]) for line in lines]
        self.bounds += [(0, tree.limit_up_wh[line]) for line in lines]
        self.gain = [float(order.price if order.side == BUY else -order.price) for order in self.orders]
        self.gain += [-float(tree.toll[line]) for line in lines] * 2
        self.balance = [[0.0] * len(self.bounds) for _ in tree.buses]
        for index, item in enumerate(self.orders):
            self.balance[item.bus][index] = 1.0 if item.side == SELL else -1.0
        for line in lines:
            down = len(self.orders) + line - 1
            up = down + len(lines)
            self.balance[line][down] = self.balance[tree.parent[line]][up] = 1.0
            self.balance[line][up] = self.balance[tree.parent[line]][down] = -1.0

    def best_welfare(self) -> int:
        return self._maximum(self.gain, None)

    def most_filled(self, counted: Sequence[bool], welfare: int) -> int:
        """The most Wh that the counted orders can get at no less than ``welfare``."""
        weights = [float(count) for count in counted]
        return self._maximum(weights + [0.0] * (len(self.bounds) - len(weights)), welfare)

    def _maximum(self, weights: list[float], welfare: int | None) -> int:
        if not self.orders:
            return 0
        floor: dict[str, Any] = {}
        if welfare is not None:
            floor = {"A_ub": [[-gain for gain in self.gain]], "b_ub": [1e-6 - welfare]}
        result = linprog(
            [-weight for weight in weights],
            A_eq=self.balance,
            b_eq=[0.0] * len(self.balance),
            bounds=self.bounds,
            method="highs",
            **floor,
        )
        assert result.status == 0, result.message
        optimum = -float(result.fun)
        assert abs(optimum - round(optimum)) < 1e-3, "a network's optimum is whole"
        return round(optimum)
