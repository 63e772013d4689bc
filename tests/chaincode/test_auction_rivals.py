"""The benchmark's other solvers agree with the auction, and are ended when they take too long."""

import time
from collections.abc import Sequence
from random import Random

import pytest

from bench.auction import random_orders, random_tree
from bench.auction_rivals import highs, network_simplex, solve, welfare_of
from chaincode.auction import SELL, Order, clear
from chaincode.tree import Tree


def market(chain: bool) -> tuple[Tree, list[Order]]:
    random = Random(5)
    return random_tree(random, 30, 400, limited=True, chain=chain), random_orders(random, 30, 400)


@pytest.mark.parametrize("chain", [False, True])
def test_all_come_to_the_same_welfare(chain: bool) -> None:
    tree, orders = market(chain)
    clearing = clear(tree, tree.limit_down_wh, tree.limit_up_wh, orders)
    for solver in (highs, network_simplex):
        _, filled, down, up = solver(tree, orders)
        assert welfare_of(tree, orders, filled, down, up) == clearing.welfare
    answer = solve(network_simplex, tree, orders, 60)
    assert answer.welfare == clearing.welfare and answer.seconds is not None


def sleeper(tree: Tree, orders: Sequence[Order]) -> tuple[float, list[int], list[int], list[int]]:
    time.sleep(600)
    return 0.0, [], [], []


def test_one_that_takes_too_long_is_ended() -> None:
    tree, orders = market(False)
    assert solve(sleeper, tree, orders[:5], 1) == (None, None, "not finished after 1 s")


def test_an_impossible_answer_is_no_welfare() -> None:
    tree, orders = market(False)
    nothing = [0] * len(tree.buses)
    filled = [0] * len(orders)
    assert welfare_of(tree, orders, filled, nothing, nothing) == 0
    seller = next(number for number, order in enumerate(orders) if order.side == SELL)
    for wh in (1, -1, 10**6):
        with pytest.raises(ValueError, match=r"Wh are filled|balance"):
            welfare_of(tree, orders, [wh if number == seller else 0 for number in range(len(orders))], nothing, nothing)
