"""What does one order cost in an auction? Random markets on a random tree, without and with line limits."""

import gc
import platform
import statistics
import time
from random import Random

import click

from chaincode.auction import BUY, SELL, Order, clear
from chaincode.auction_check import verify_clearing
from chaincode.tree import Line, Tree
from cli.output import json_option, print_json, print_table

PAR = 1_000_000
"""A price of one token per kWh, base units per Wh."""

FEED_IN, RETAIL = PAR * 3 // 10, PAR
ENERGY_WH = (100, 3_000)
DEEPEST_TOLL = PAR // 20
LIMITED_SHARE = 0.5
ROUNDS = 7


def random_tree(random: Random, buses: int, orders: int, limited: bool) -> Tree:
    """Every bus hangs on a random earlier one. Half of the limits, if any, are there, and many of these bind."""
    wh_per_bus = orders * sum(ENERGY_WH) // 2 // buses

    def limit() -> int | None:
        return random.randrange(2 * wh_per_bus) if limited and random.random() < LIMITED_SHARE else None

    return Tree.build(
        "b0",
        [
            Line(f"b{random.randrange(bus)}", f"b{bus}", random.randrange(DEEPEST_TOLL), limit(), limit())
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


def microseconds_an_order(tree: Tree, orders: list[Order]) -> tuple[float, float, int]:
    """(median of clear, of verify_clearing, trades): wall time over orders built beforehand, collector off."""
    clearing_times, checking_times = [], []
    down, up = tree.limit_down_wh, tree.limit_up_wh
    gc.collect()
    gc.disable()
    try:
        for _ in range(ROUNDS):
            start = time.perf_counter()
            clearing = clear(tree, down, up, orders)
            middle = time.perf_counter()
            verify_clearing(tree, down, up, orders, clearing)
            clearing_times.append(middle - start)
            checking_times.append(time.perf_counter() - middle)
    finally:
        gc.enable()
    scale = 1e6 / len(orders)
    return (
        statistics.median(clearing_times) * scale,
        statistics.median(checking_times) * scale,
        len(clearing.trades),
    )


@click.command()
@click.option("--orders", default=10_000, show_default=True, type=click.IntRange(1, 1_000_000), help="Orders cleared.")
@click.option("--buses", default=100, show_default=True, type=click.IntRange(1, 100_000), help="Buses of the tree.")
@click.option("--seed", default=1, show_default=True, type=int, help="Of the random market.")
@json_option
def auction(orders: int, buses: int, seed: int, as_json: bool) -> None:
    """Microseconds an order to clear one auction, and to check its result.

    Example: watt bench auction --orders 10000 --buses 100 --json
    """
    result: dict[str, object] = {"orders": orders, "buses": buses, "seed": seed}
    for name, limited in (("", False), ("_limited", True)):
        random = Random(seed)
        tree = random_tree(random, buses, orders, limited)
        clear_us, check_us, trades = microseconds_an_order(tree, random_orders(random, buses, orders))
        result[f"us_per_order{name}"] = round(clear_us, 2)
        result[f"verify_us_per_order{name}"] = round(check_us, 2)
        result[f"trades{name}"] = trades
    result["python"] = platform.python_version()
    result["machine"] = platform.platform()
    if as_json:
        print_json(result)
    else:
        print_table("Auction", ("figure", ">value"), result.items())


if __name__ == "__main__":
    auction()
