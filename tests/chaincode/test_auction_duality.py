"""The auction's results against the definitions: duality, complementary slackness, the least rent. Nothing is shared.

A linear program's optimum is proven by a solution and prices that are worth the same: what the filled gain is, to the
last unit, what the prices leave to everybody and what full lines are worth. That is checked for the prices as
published and for the keys, whose optimum is the greatest volume and the right of older orders as well. The price behind
a full line is compared with networkx's cheapest way to bring one Wh more out of what lies behind.
"""

import networkx as nx
from hypothesis import given, settings

from chaincode.auction import BUY, Clearing
from tests.at_length import examples
from tests.chaincode.auction_markets import Market, markets

SCALE = 2**15
OLDEST = SCALE // 2 - 1


def limit_prices(market: Market, in_keys: bool) -> list[int]:
    """Each order's limit: as it was given, or scaled with its age in the lower digits."""
    if not in_keys:
        return [item.price for item in market.orders]
    ages = [min(item.age, OLDEST) for item in market.orders]
    return [
        item.price * SCALE + (SCALE - 1 - age if item.side == BUY else age)
        for item, age in zip(market.orders, ages, strict=True)
    ]


def check_duality(market: Market, clearing: Clearing, in_keys: bool) -> None:
    tree = market.tree
    prices = clearing.key_prices if in_keys else clearing.prices
    scale = SCALE if in_keys else 1
    limits = limit_prices(market, in_keys)
    gain = left = 0
    surplus = [0] * len(tree.buses)
    for item, limit in zip(market.orders, limits, strict=True):
        filled = clearing.fills.get(item.id, 0)
        assert 0 <= filled <= item.energy_wh
        better = limit - prices[item.bus] if item.side == BUY else prices[item.bus] - limit
        assert filled == item.energy_wh if better > 0 else filled == 0 or better == 0, "an order and its price"
        gain += limit * filled if item.side == BUY else -limit * filled
        left += max(better, 0) * item.energy_wh
        surplus[item.bus] += -filled if item.side == BUY else filled
    for line in range(1, len(tree.buses)):
        above, toll = tree.parent[line], tree.toll[line] * scale
        down = clearing.flows[line]
        gain -= toll * abs(down)
        surplus[line] += down
        surplus[above] -= down
        rise = prices[line] - prices[above]
        for flow, most, worth in ((down, tree.limit_down_wh[line], rise), (-down, tree.limit_up_wh[line], -rise)):
            assert most is None or flow <= most, "beyond the limit"
            if worth > toll:
                assert most is not None and flow == most, "a line that is worth more than its toll is full"
                left += (worth - toll) * most
            if worth < toll:
                assert flow <= 0, "energy flows where it does not earn its toll"
    assert not any(surplus), "energy does not balance"
    assert gain == left, "gain and the worth of the prices differ: no optimum"


@settings(max_examples=examples(150), deadline=None)
@given(markets())
def test_prices_prove_the_greatest_welfare(market: Market) -> None:
    check_duality(market, market.clear(), in_keys=False)


@settings(max_examples=examples(150), deadline=None)
@given(markets())
def test_key_prices_prove_the_greatest_volume_and_older_first(market: Market) -> None:
    check_duality(market, market.clear(), in_keys=True)


def cost_of(market: Market, top: int, out_wh: int) -> int | None:
    """The least cost in keys of ``out_wh`` out of (below 0: into) the subtree of ``top``; None if it has not that."""
    tree = market.tree
    inside = {top}
    for bus in range(top + 1, len(tree.buses)):
        if tree.parent[bus] in inside:
            inside.add(bus)
    outside = -1
    graph: nx.MultiDiGraph[int] = nx.MultiDiGraph()
    graph.add_node(top, demand=out_wh)
    graph.add_node(outside, demand=-out_wh)
    for bus in inside - {top}:
        graph.add_node(bus, demand=0)
        for source, target, most in (
            (tree.parent[bus], bus, tree.limit_down_wh[bus]),
            (bus, tree.parent[bus], tree.limit_up_wh[bus]),
        ):
            bound = {} if most is None else {"capacity": most}
            graph.add_edge(source, target, weight=tree.toll[bus] * SCALE, **bound)
    for item, limit in zip(market.orders, limit_prices(market, True), strict=True):
        if item.bus in inside and item.side == BUY:
            graph.add_edge(item.bus, outside, weight=-limit, capacity=item.energy_wh)
        elif item.bus in inside:
            graph.add_edge(outside, item.bus, weight=limit, capacity=item.energy_wh)
    try:
        cost, _ = nx.network_simplex(graph)
    except nx.NetworkXUnfeasible:
        return None
    return int(cost)


@settings(max_examples=examples(150), deadline=None)
@given(markets())
def test_behind_a_full_line_the_price_is_that_of_the_first_unit_that_does_not_fit(market: Market) -> None:
    """The least rent: the price behind a full line is no further from the toll than what one Wh more would cost."""
    tree, clearing = market.tree, market.clear()
    for line in range(1, len(tree.buses)):
        down, toll = clearing.flows[line], tree.toll[line] * SCALE
        above = clearing.key_prices[tree.parent[line]]
        if down and -down == tree.limit_up_wh[line]:
            now, more = cost_of(market, line, -down), cost_of(market, line, -down + 1)
            assert now is not None
            ruled = above - toll if more is None else min(above - toll, more - now)
        elif down and down == tree.limit_down_wh[line]:
            now, more = cost_of(market, line, -down), cost_of(market, line, -down - 1)
            assert now is not None
            ruled = above + toll if more is None else max(above + toll, now - more)
        else:
            continue
        assert clearing.key_prices[line] == ruled
