"""Strategies in the market's own auction: what truth is worth to all, and what misstating it to one."""

from random import Random

import pytest
from scipy.optimize import linprog

from broker.strategies.table import STRATEGIES
from broker.view import SlotView, Wish
from chaincode import auction
from chaincode.tree import Tree
from tests.broker.strategy_market import (
    FEED_IN,
    RETAIL,
    TOLL,
    Trader,
    alone,
    community,
    curve_by_chance,
    rows,
    season,
)


def views_of(traders: list[Trader], seed: int, prices: tuple[int, ...]) -> list[SlotView]:
    """With curves by chance; ``prices``: by bus, what is expected, give or take a tenth of the span."""
    chance = Random(seed)
    sunny = chance.random()
    margins = [(RETAIL - FEED_IN) * (2 * each - 9) // 90 for each in range(10)]
    return [
        SlotView(
            trader.site, trader.site.bus, 0, 480_000, 3000, RETAIL, FEED_IN, curve_by_chance(trader, sunny, chance),
            dict.fromkeys(trader.site.devices, 0), tuple([prices[trader.bus] + margin for margin in margins]), 0,
            dict.fromkeys(trader.site.devices, 10**15), 1000, 1000, 200, 0,
        )
        for trader in traders
    ]  # fmt: skip


def cleared_by_truth(tree: Tree, traders: list[Trader], views: list[SlotView]) -> auction.Clearing:
    """The auction of all sites' truthful orders, which is held against the linear program's."""
    orders: dict[bytes, tuple[Trader, Wish]] = {}
    asked: list[tuple[int, int, int, int]] = []
    for trader, view in zip(traders, views, strict=True):
        for number, wish in enumerate(STRATEGIES["truthful"](view)):
            orders[f"{trader.site.network} {number:02}".encode()] = trader, wish
            asked.append((trader.bus, 1 if wish.side == "buy" else -1, wish.energy_wh, wish.price))
    cleared = auction.clear(tree, [None] * len(tree.buses), [None] * len(tree.buses), rows(orders))
    assert cleared.welfare == pytest.approx(greatest_gain(tree, asked), rel=1e-9)
    return cleared


def greatest_gain(tree: Tree, orders: list[tuple[int, int, int, int]]) -> float:
    """The optimum by linear programming: rows of (bus, 1 to buy or -1 to sell, Wh, price); lines are free of limits and
    all hang on the root."""
    count, lines = len(orders), len(tree.buses) - 1
    costs = [-sign * price for _, sign, _, price in orders] + [TOLL] * (2 * lines)
    balances = [[0.0] * (count + 2 * lines) for _ in tree.buses]
    for at, (bus, sign, _, _) in enumerate(orders):
        balances[bus][at] = sign
    for line in range(lines):
        for way, sign in ((count + line, 1), (count + lines + line, -1)):  # down, up
            balances[0][way] += sign
            balances[line + 1][way] -= sign
    bounds = [(0, wh) for _, _, wh, _ in orders] + [(0, None)] * (2 * lines)
    found = linprog(costs, A_eq=balances, b_eq=[0.0] * len(tree.buses), bounds=bounds, method="highs")
    assert found.success
    return -float(found.fun)


@pytest.mark.parametrize("seed", range(8))
def test_when_all_are_truthful_the_gain_is_the_greatest_that_their_sides_allow(seed: int) -> None:
    """The auction's welfare on their orders is the linear program's. Once they know about what the price is, that on
    their whole curves is hardly more: merging small steps and standing on one side cost little."""
    tree, traders = community(["truthful"] * 18, seed)
    middle = (RETAIL + FEED_IN) // 2
    cleared = cleared_by_truth(tree, traders, views_of(traders, seed, (middle,) * len(tree.buses)))
    views = views_of(traders, seed, cleared.prices)
    whole: list[tuple[int, int, int, int]] = []
    for trader, view in zip(traders, views, strict=True):
        at = view.curve.start_wh
        for step in view.curve.steps:
            held = min(step.energy_wh, max(0, -at))
            whole += [(trader.bus, -1, held, step.value), (trader.bus, 1, step.energy_wh - held, step.value)]
            at += step.energy_wh
        whole.append((trader.bus, -1, max(0, -at), FEED_IN))
    welfare, best = cleared_by_truth(tree, traders, views).welfare, greatest_gain(tree, whole)
    assert 0.9 * best <= welfare <= best * (1 + 1e-9)


def test_one_who_shades_with_care_gains_little_and_one_who_shades_a_lot_loses() -> None:
    """The bound of docs/strategies.md, at six sites, where one site matters most."""
    own, others = alone("adaptive", 6, 2, 30)
    assert 1.0 <= own <= 1.2 and others >= 0.95
    assert alone("shade 400", 6, 2, 30)[0] < 0.9


def test_all_who_shade_with_care_lose_nothing() -> None:
    """What they keep back early they bid at the gate: no fill that is worth it is lost for good."""
    truthful, adaptive, by_chance = (
        sum(season([each] * 18, 30)) for each in ("truthful", "adaptive", "zero_intelligence")
    )
    assert adaptive >= 0.99 * truthful
    assert by_chance < 0.6 * truthful
