"""The checker accepts what the auction makes (see test_auction_optimum) and nothing else."""

import dataclasses
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chaincode.auction import BUY, SELL, Clearing, ClearingError, Order, Trade, clear
from chaincode.auction_check import verify_clearing
from chaincode.tree import Line, Tree
from tests.at_length import examples
from tests.chaincode.auction_markets import Market, markets, one_bus, order


def verdict(market: Market, clearing: Clearing) -> str:
    tree = market.tree
    try:
        verify_clearing(tree, tree.limit_down_wh, tree.limit_up_wh, market.orders, clearing)
    except ClearingError as error:
        return error.code
    return "accepted"


@st.composite
def forgeries(draw: st.DrawFn, market: Market, clearing: Clearing) -> Clearing:
    """One figure of the clearing changed a little."""
    by = draw(st.sampled_from([-3, -1, 1, 2, 2**15, -(2**15)]))
    field = draw(st.sampled_from([field.name for field in dataclasses.fields(Clearing)]))
    value = getattr(clearing, field)
    if isinstance(value, int):
        changed_sum: Any = {field: value + by}
        return dataclasses.replace(clearing, **changed_sum)
    if field == "fills":
        name = draw(st.sampled_from([item.id for item in market.orders] or [b"nobody"]))
        return dataclasses.replace(clearing, fills={**value, name: value.get(name, 0) + by})
    if field == "trades":
        if not value:
            return dataclasses.replace(clearing, trades=(Trade(b"a", b"b", 1, 1, 1, 0),))
        at = draw(st.integers(0, len(value) - 1))
        trade = value[at]
        forged = draw(
            st.sampled_from(
                [
                    (trade._replace(energy_wh=trade.energy_wh + by),),
                    (trade._replace(buyer_price=trade.buyer_price + by),),
                    (trade._replace(seller_price=trade.seller_price + by),),
                    (trade._replace(toll=trade.toll + by),),
                    (trade._replace(buy=trade.sell, sell=trade.buy),),
                    (trade, trade),
                    (),
                ]
            )
        )
        return dataclasses.replace(clearing, trades=value[:at] + forged + value[at + 1 :])
    at = draw(st.integers(0, len(value) - 1))
    changed: Any = {field: (*value[:at], value[at] + by, *value[at + 1 :])}
    return dataclasses.replace(clearing, **changed)


@settings(max_examples=examples(400), deadline=None)
@given(st.data())
def test_any_changed_figure_is_refused(data: st.DataObject) -> None:
    market = data.draw(markets())
    clearing = market.clear()
    assert verdict(market, clearing) == "accepted"
    assert verdict(market, data.draw(forgeries(market, clearing))) != "accepted"


@settings(max_examples=examples(100), deadline=None)
@given(markets(), st.data())
def test_the_clearing_of_other_orders_is_refused(market: Market, data: st.DataObject) -> None:
    assume(market.orders)
    at = data.draw(st.integers(0, len(market.orders) - 1))
    without = Market(market.tree, market.orders[:at] + market.orders[at + 1 :])
    assume(without.clear() != market.clear())
    assert verdict(market, without.clear()) != "accepted"
    assert verdict(without, market.clear()) != "accepted"


TREE = Tree.build("a", [Line("a", "b", 2, 10, 10)])
ORDERS = (
    order("p", 0, SELL, 5, 10),
    order("q", 0, SELL, 5, 10),
    order("x", 1, BUY, 9, 8),
    order("y", 0, BUY, 6, 4),
)


def forged(**changes: Any) -> str:
    clearing = clear(TREE, TREE.limit_down_wh, TREE.limit_up_wh, ORDERS)
    return verdict(Market(TREE, ORDERS), dataclasses.replace(clearing, **changes))


def test_each_lie_has_its_code() -> None:
    clearing = clear(TREE, TREE.limit_down_wh, TREE.limit_up_wh, ORDERS)
    assert clearing.prices == (5, 7)
    assert clearing.fills == {b"p": 6, b"q": 6, b"x": 8, b"y": 4}
    assert forged() == "accepted"
    assert forged(prices=(5,)) == "wrong-shape"
    assert forged(fills={**clearing.fills, b"x": 9}) == "wrong-fill"
    assert forged(fills={**clearing.fills, b"z": 1}) == "wrong-fill"
    assert forged(fills={**clearing.fills, b"x": 7}) == "unbalanced"
    assert forged(flows=(0, 11), fills={**clearing.fills, b"x": 11}) == "wrong-fill"
    assert forged(fills={b"p": 4, b"q": 4, b"x": 8}) == "not-optimal"
    assert forged(prices=(5, 8)) == "wrong-price"
    assert forged(key_prices=tuple(key + 1 for key in clearing.key_prices)) == "not-optimal"
    assert forged(fills={**clearing.fills, b"p": 7, b"q": 5}) == "wrong-tie"
    assert forged(trades=clearing.trades[1:]) == "wrong-split"
    assert forged(rent=clearing.rent + 1) == "wrong-sum"
    assert forged(welfare=clearing.welfare - 1) == "wrong-sum"


def test_a_flow_over_the_limit_is_named() -> None:
    clearing = clear(TREE, TREE.limit_down_wh, TREE.limit_up_wh, ORDERS)
    with pytest.raises(ClearingError, match="line to b") as refused:
        verify_clearing(TREE, [None, 7], [None, 7], ORDERS, clearing)
    assert refused.value.code == "over-limit"


def test_another_equilibrium_price_is_not_the_rule() -> None:
    """Any price between 10 and 13 supports the trade; the rule takes the floor of the middle."""
    orders: tuple[Order, ...] = (order("s", 0, SELL, 10, 5), order("x", 0, BUY, 13, 5))
    market = Market(one_bus(), orders)
    clearing = market.clear()
    assert clearing.prices == (11,)
    forged_price = dataclasses.replace(
        clearing,
        key_prices=(clearing.key_prices[0] + 2**15,),
        prices=(12,),
        paid=60,
        received=60,
        trades=(clearing.trades[0]._replace(buyer_price=12, seller_price=12),),
    )
    assert verdict(market, forged_price) == "wrong-price"
