"""What does one order cost in an auction? Random markets on random trees, against solvers that know nothing of trees.

Every market is cleared twice: without limits, and with limits both ways on every line, many of which bind. The second
is what the solvers of ``auction_rivals`` get too, and all have to come to the same welfare, to the last base unit.

Times are processor time of one thread, from a list of orders to prices, fills and trades: other work on the machine
lengthens them less than it would the clock's. ``growth`` says how the time went from 10,000 orders to 100,000 on the
same number of buses: ``exponent`` if time is orders to the power of it, ``of_n_log_n`` as a multiple of n log n.
"""

import gc
import math
import platform
import statistics
import time
from collections.abc import Sequence
from random import Random
from typing import Any, Final

import click

from bench.auction_resting import measure_resting
from bench.auction_rivals import Solver, highs, network_simplex, require_solvers, solve
from chaincode.auction import BUY, SELL, Order, clear
from chaincode.auction_check import verify_clearing
from chaincode.tree import Line, Tree
from cli.output import json_option, print_json, print_table
from node.errors import RefusedError

PAR = 1_000_000
"""A price of one token per kWh, base units per Wh."""

FEED_IN, RETAIL = PAR * 3 // 10, PAR
ENERGY_WH = (100, 3_000)
DEEPEST_TOLL = PAR // 20
ORDERS: Final = (1_000, 10_000, 100_000)
BUSES: Final = (10, 100, 1_000)
ROUND_ORDERS: Final = 300_000
"""A row's rounds clear about so many orders, in 3 to 7 rounds; the medians count."""
RIVAL_S: Final = 60.0


def random_tree(random: Random, buses: int, orders: int, *, limited: bool, chain: bool = False) -> Tree:
    """Every bus hangs on a random earlier one, or on the one before. Limits, if any, are on every line, both ways.

    What leaves a bus grows with the root of its number of orders, and so do the limits: about as many bind in large
    markets as in small ones.
    """
    most = ENERGY_WH[1] * math.isqrt(max(orders // buses, 1))
    dearest = DEEPEST_TOLL * 10 // buses if chain else DEEPEST_TOLL
    return Tree.build(
        "b0",
        [
            Line(
                f"b{bus - 1 if chain else random.randrange(bus)}",
                f"b{bus}",
                random.randrange(max(dearest, 1)),
                random.randrange(most) if limited else None,
                random.randrange(most) if limited else None,
            )
            for bus in range(1, buses)
        ],
    )


def random_orders(random: Random, buses: int, orders: int) -> list[Order]:
    return [
        Order(
            id=random.randbytes(32),
            bus=random.randrange(buses),
            side=random.choice((BUY, SELL)),
            price=random.randint(FEED_IN, RETAIL),
            energy_wh=random.randint(*ENERGY_WH),
            age=random.randrange(4),
            renewable=random.random() < 0.3,
        )
        for _ in range(orders)
    ]


def measure(tree: Tree, orders: list[Order]) -> dict[str, Any]:
    """Medians of clearing and of checking the result, in microseconds an order; and what the result is."""
    clearing_times, checking_times = [], []
    down, up = tree.limit_down_wh, tree.limit_up_wh
    gc.collect()
    gc.disable()
    try:
        for _ in range(min(max(ROUND_ORDERS // len(orders), 3), 7)):
            start = time.process_time()
            clearing = clear(tree, down, up, orders)
            middle = time.process_time()
            verify_clearing(tree, down, up, orders, clearing)
            clearing_times.append(middle - start)
            checking_times.append(time.process_time() - middle)
    finally:
        gc.enable()
    full = [flow == most or -flow == least for flow, most, least in zip(clearing.flows, down, up, strict=True)]
    scale = 1e6 / len(orders)
    return {
        "us_per_order": round(statistics.median(clearing_times) * scale, 2),
        "verify_us_per_order": round(statistics.median(checking_times) * scale, 2),
        "trades": len(clearing.trades),
        "full_lines": sum(full[1:]),
        "welfare": clearing.welfare,
    }


def both(seed: int, orders: int, buses: int, *, chain: bool = False) -> tuple[dict[str, Any], Tree, list[Order]]:
    """A row without and with limits, the latter's figures under names that end so; and the market with limits."""
    row: dict[str, Any] = {"orders": orders, "buses": buses}
    for name, limited in (("", False), ("_limited", True)):
        random = Random(seed)
        tree = random_tree(random, buses, orders, limited=limited, chain=chain)
        market = random_orders(random, buses, orders)
        row |= {
            field + name: value for field, value in measure(tree, market).items() if limited or field != "full_lines"
        }
    return row, tree, market


class Rivals:
    """The solvers; one that did not finish a market is not given one that is larger in both ways."""

    def __init__(self) -> None:
        self._beaten: dict[str, list[tuple[int, int]]] = {}

    def try_all(self, tree: Tree, market: list[Order], welfare: int) -> dict[str, Any]:
        """Each one's seconds, or None and the reason. Raises RefusedError("wrong-welfare") if one finds another."""
        row: dict[str, Any] = {}
        solvers: tuple[tuple[str, Solver], ...] = (("highs", highs), ("simplex", network_simplex))
        for name, solver in solvers:
            row[f"{name}_s"] = None
            beaten = self._beaten.setdefault(name, [])
            before = [size for size in beaten if size[0] <= len(market) and size[1] <= len(tree.buses)]
            if before:
                row[f"{name}_reason"] = "too large: {:,} orders on {:,} buses were not finished".format(*before[0])
                continue
            answer = solve(solver, tree, market, RIVAL_S)
            if answer.seconds is None or answer.welfare is None:
                row[f"{name}_reason"] = answer.reason
                beaten.append((len(market), len(tree.buses)))
                continue
            if answer.welfare != welfare:
                raise RefusedError("wrong-welfare", f"the auction found {welfare}, {name} {answer.welfare}")
            row[f"{name}_s"] = round(answer.seconds, 3)
        return row


def growth(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """From 10,000 orders to 100,000, for each number of buses that has both."""
    small, large = ORDERS[-2:]
    found = []
    for buses in BUSES:
        by_size = {row["orders"]: row for row in rows if row["buses"] == buses}
        if small in by_size and large in by_size:
            times = [by_size[orders]["us_per_order_limited"] * orders for orders in (small, large)]
            ratio, n_log_n = times[1] / times[0], large * math.log(large) / (small * math.log(small))
            found.append(
                {"buses": buses, "exponent": round(math.log10(ratio), 3), "of_n_log_n": round(ratio / n_log_n, 2)}
            )
    return found


@click.command()
@click.option("--orders", type=click.IntRange(1, 1_000_000), help="Only this many orders.  [default: 1,000 to 100,000]")
@click.option("--buses", type=click.IntRange(1, 100_000), help="Only this many buses.  [default: 10 to 1,000]")
@click.option("--seed", default=1, show_default=True, type=int, help="Of the random markets.")
@json_option
def auction(orders: int | None, buses: int | None, seed: int, as_json: bool) -> None:
    """Microseconds an order to clear one auction, and to check its result, beside what general solvers need.

    Without --orders and --buses also: on chains of lines, and among many resting orders.

    Example: watt bench auction --orders 10000 --buses 100 --json
    """
    require_solvers()
    rivals, rows = Rivals(), []
    for order_count in ORDERS if orders is None else (orders,):
        for bus_count in BUSES if buses is None else (buses,):
            row, tree, market = both(seed, order_count, bus_count)
            rows.append(row | rivals.try_all(tree, market, row["welfare_limited"]))
    result: dict[str, Any] = {"seed": seed, "rows": rows, "growth": growth(rows)}
    if orders is None and buses is None:
        result["chains"] = [both(seed, 10_000, bus_count, chain=True)[0] for bus_count in BUSES]
        result["resting"] = measure_resting()
    result["python"] = platform.python_version()
    result["machine"] = platform.platform()
    if as_json:
        print_json(result)
        return
    for title, columns in (
        (
            "rows",
            ("orders", "buses", "us_per_order", "us_per_order_limited", "verify_us_per_order", "highs_s", "simplex_s"),
        ),
        ("growth", ("buses", "exponent", "of_n_log_n")),
        ("chains", ("buses", "us_per_order", "us_per_order_limited", "verify_us_per_order")),
        ("resting", ("resting", "new", "ms", "orders_read")),
    ):
        if result.get(title):
            cells = [["-" if row[name] is None else row[name] for name in columns] for row in result[title]]
            print_table(title.capitalize(), [f">{name}" for name in columns], cells)


if __name__ == "__main__":
    auction()
