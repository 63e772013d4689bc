"""What must hold of every clearing, and the rules that choose among equally good ones."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode.auction import (
    BUY,
    OLDEST_MERGED_AGE,
    SELL,
    ClearingError,
    Order,
    clear,
)
from chaincode.tree import Line, Tree
from tests.at_length import examples
from tests.chaincode.auction_markets import Market, markets, one_bus, order, order_lists, trees


@settings(max_examples=examples(200), deadline=None)
@given(markets())
def test_money_energy_and_limits(market: Market) -> None:
    tree, clearing = market.tree, market.clear()
    by_id = {item.id: item for item in market.orders}
    paid = received = bought = sold = 0
    for order_id, wh in clearing.fills.items():
        item = by_id[order_id]
        price = clearing.prices[item.bus]
        assert 0 < wh <= item.energy_wh
        if item.side == BUY:
            assert price <= item.price
            paid, bought = paid + price * wh, bought + wh
        else:
            assert price >= item.price
            received, sold = received + price * wh, sold + wh
    assert bought == sold
    assert (paid, received) == (clearing.paid, clearing.received)
    assert clearing.tolls == sum(toll * abs(flow) for toll, flow in zip(tree.toll, clearing.flows, strict=True))
    assert clearing.rent == paid - received - clearing.tolls >= 0
    assert min(clearing.prices) >= 0
    for line, flow in enumerate(clearing.flows):
        down, up = tree.limit_down_wh[line], tree.limit_up_wh[line]
        assert (down is None or flow <= down) and (up is None or -flow <= up)


@settings(max_examples=examples(200), deadline=None)
@given(markets())
def test_prices_along_a_line(market: Market) -> None:
    """They differ by at most the toll; by the toll where energy flows; by more only where the line is full."""
    tree, clearing = market.tree, market.clear()
    for line in range(1, len(tree.buses)):
        flow, toll = clearing.flows[line], tree.toll[line]
        rise = clearing.prices[line] - clearing.prices[tree.parent[line]]
        if flow < 0:
            rise, flow = -rise, -flow
            limit = tree.limit_up_wh[line]
        else:
            limit = tree.limit_down_wh[line]
        if flow:
            assert rise >= toll
            assert rise == toll or flow == limit
        else:
            assert rise <= toll or tree.limit_down_wh[line] == 0
            assert -rise <= toll or tree.limit_up_wh[line] == 0


@settings(max_examples=examples(200), deadline=None)
@given(markets())
def test_trades_follow_the_flows_nearest_first(market: Market) -> None:
    tree, clearing = market.tree, market.clear()
    by_id = {item.id: item for item in market.orders}
    filled, carried = dict.fromkeys(clearing.fills, 0), [0] * len(tree.buses)
    at_home, bought, sold = ([0] * len(tree.buses) for _ in range(3))
    for trade in clearing.trades:
        assert trade.energy_wh > 0
        buyer, seller = by_id[trade.buy], by_id[trade.sell]
        assert (buyer.side, seller.side) == (BUY, SELL)
        assert (trade.buyer_price, trade.seller_price) == (clearing.prices[buyer.bus], clearing.prices[seller.bus])
        assert trade.buyer_price - trade.seller_price >= trade.toll >= 0
        filled[trade.buy] += trade.energy_wh
        filled[trade.sell] += trade.energy_wh
        bought[buyer.bus] += trade.energy_wh
        sold[seller.bus] += trade.energy_wh
        if buyer.bus == seller.bus:
            at_home[buyer.bus] += trade.energy_wh
        toll, source, sink = 0, seller.bus, buyer.bus
        while source != sink:  # the deeper index moves up: parents have lower ones
            line = max(source, sink)
            assert (clearing.flows[line] < 0) == (line == source), "against the net flow"
            carried[line] += -trade.energy_wh if line == source else trade.energy_wh
            toll += tree.toll[line]
            source, sink = (tree.parent[line], sink) if line == source else (source, tree.parent[line])
        assert toll == trade.toll
    assert filled == clearing.fills
    assert tuple(carried) == clearing.flows
    assert at_home == [min(pair) for pair in zip(bought, sold, strict=True)]
    pairs = [(trade.buy, trade.sell) for trade in clearing.trades]
    assert pairs == sorted(set(pairs))


@settings(max_examples=examples(150), deadline=None)
@given(markets(), st.randoms(use_true_random=False))
def test_the_order_of_orders_and_lines_means_nothing(market: Market, random: Random) -> None:
    """Checklist 34: shuffled orders give the same clearing."""
    tree, orders = market.tree, list(market.orders)
    lines = [
        Line(
            tree.buses[tree.parent[bus]],
            tree.buses[bus],
            tree.toll[bus],
            tree.limit_down_wh[bus],
            tree.limit_up_wh[bus],
        )
        for bus in range(1, len(tree.buses))
    ]
    random.shuffle(orders)
    random.shuffle(lines)
    assert Tree.build("b0", lines) == tree
    assert Market(tree, tuple(orders)).clear() == market.clear()


@settings(max_examples=examples(150), deadline=None)
@given(markets(), st.data())
def test_a_higher_toll_never_raises_welfare(market: Market, data: st.DataObject) -> None:
    tree = market.tree
    tolls = tuple(toll + data.draw(st.integers(0, 3)) for toll in tree.toll)
    dearer = Tree(tree.buses, tree.parent, tolls, tree.limit_down_wh, tree.limit_up_wh)
    assert Market(dearer, market.orders).clear().welfare <= market.clear().welfare


@settings(max_examples=examples(150), deadline=None)
@given(markets())
def test_a_wish_moves_neither_prices_nor_fills(market: Market) -> None:
    plain = Market(market.tree, tuple(item._replace(renewable=False) for item in market.orders)).clear()
    clearing = market.clear()
    assert (clearing.key_prices, clearing.fills, clearing.flows) == (plain.key_prices, plain.fills, plain.flows)


@settings(max_examples=examples(150), deadline=None)
@given(markets())
def test_wishers_get_the_tagged_energy_of_their_own_bus(market: Market) -> None:
    clearing = market.clear()
    by_id = {item.id: item for item in market.orders}
    for bus in range(len(market.tree.buses)):
        here = [item for item in market.orders if item.bus == bus and item.renewable]
        wished = sum(clearing.fills.get(item.id, 0) for item in here if item.side == BUY)
        tagged = sum(clearing.fills.get(item.id, 0) for item in here if item.side == SELL)
        got = 0
        for trade in clearing.trades:
            buyer, seller = by_id[trade.buy], by_id[trade.sell]
            if buyer.bus == seller.bus == bus and buyer.renewable and seller.renewable:
                got += trade.energy_wh
        assert got == min(wished, tagged)


def rest_after(market: Market) -> tuple[list[Order], list[int | None], list[int | None]]:
    """What is left of the orders after an auction, and what may still flow."""
    tree, clearing = market.tree, market.clear()
    left = [item._replace(energy_wh=item.energy_wh - clearing.fills.get(item.id, 0)) for item in market.orders]
    down = [None if k is None else k - f for k, f in zip(tree.limit_down_wh, clearing.flows, strict=True)]
    up = [None if k is None else k + f for k, f in zip(tree.limit_up_wh, clearing.flows, strict=True)]
    return [item for item in left if item.energy_wh], down, up


@settings(max_examples=examples(150), deadline=None)
@given(markets())
def test_what_rests_cannot_trade(market: Market) -> None:
    orders, down, up = rest_after(market)
    assert clear(market.tree, down, up, orders).trades == ()


def best_of(row: list[Order], depth_wh: int) -> list[Order]:
    """The first ``depth_wh`` Wh of one bus's resting orders of one side, and all that share the last one's key."""
    taken: list[Order] = []
    for item in sorted(row, key=lambda item: (item.price if item.side == SELL else -item.price, item.age)):
        if depth_wh <= 0 and (item.price, item.age) != (taken[-1].price, taken[-1].age):
            break
        taken.append(item)
        depth_wh -= item.energy_wh
    return taken


@settings(max_examples=examples(250), deadline=None)
@given(st.data())
def test_the_near_part_of_the_book_is_enough(data: st.DataObject) -> None:
    """A second auction gives the same from each bus's best resting orders as from all."""
    market = data.draw(markets(max_orders=20))
    tree = market.tree
    resting, down, up = rest_after(market)
    new = data.draw(order_lists(len(tree.buses), 4, prefix="n"))
    near = list(new)
    for bus in range(len(tree.buses)):
        for side in (BUY, SELL):
            depth_wh = 1 + sum(item.energy_wh for item in new if item.side != side)
            near += best_of([item for item in resting if (item.bus, item.side) == (bus, side)], depth_wh)
    assert clear(tree, down, up, near) == clear(tree, down, up, [*new, *resting])


@settings(max_examples=examples(100), deadline=None)
@given(st.data())
def test_many_auctions_keep_the_cumulative_limits(data: st.DataObject) -> None:
    """Opposite contracts net: the sum of all flows stays within each line's limit, whatever comes."""
    tree = data.draw(trees())
    contracted = [0] * len(tree.buses)
    for tick in range(4):
        down = [None if k is None else k - f for k, f in zip(tree.limit_down_wh, contracted, strict=True)]
        up = [None if k is None else k + f for k, f in zip(tree.limit_up_wh, contracted, strict=True)]
        clearing = clear(tree, down, up, data.draw(order_lists(len(tree.buses), 6, prefix=f"{tick}-")))
        contracted = [sum(pair) for pair in zip(contracted, clearing.flows, strict=True)]
        for line, flow in enumerate(contracted):
            most_down, most_up = tree.limit_down_wh[line], tree.limit_up_wh[line]
            assert (most_down is None or flow <= most_down) and (most_up is None or -flow <= most_up)


def test_older_first_and_ages_merge_at_the_end() -> None:
    sells = [order("a", 0, SELL, 5, 10, age=3), order("z", 0, SELL, 5, 10, age=1)]
    buy = order("m", 0, BUY, 5, 12)
    assert clear(one_bus(), [None], [None], [*sells, buy]).fills == {b"a": 2, b"m": 12, b"z": 10}
    merged = [item._replace(age=OLDEST_MERGED_AGE + item.age) for item in sells]
    assert clear(one_bus(), [None], [None], [*merged, buy]).fills == {b"a": 6, b"m": 12, b"z": 6}


def test_older_first_across_buses() -> None:
    tree = Tree.build("a", [Line("a", "b", 1), Line("a", "c", 1)])
    orders = [order("b", 1, SELL, 5, 10, age=1), order("c", 2, SELL, 5, 10, age=0), order("x", 0, BUY, 9, 10)]
    assert clear(tree, [None] * 3, [None] * 3, orders).fills == {b"c": 10, b"x": 10}


def test_among_equals_at_two_buses_the_flow_nearest_zero_then_bus_order() -> None:
    tree = Tree.build("a", [Line("a", "b", 0), Line("a", "c", 0)])
    limits = [None] * 3
    here, there = order("s", 0, SELL, 5, 10), order("t", 1, SELL, 5, 10)
    buyer = order("x", 0, BUY, 9, 6)
    assert clear(tree, limits, limits, [here, there, buyer]).fills == {b"s": 6, b"x": 6}, "no flow is needed"
    neighbour = order("z", 1, BUY, 9, 3)
    assert clear(tree, limits, limits, [here, there, buyer, neighbour]).flows == (0, 0, 0), "each has its own sun"
    beyond = order("u", 2, SELL, 5, 10)
    assert clear(tree, limits, limits, [there, beyond, buyer]).flows == (0, -6, 0), "b comes before c"
    far_buyer = order("y", 2, BUY, 9, 6)
    assert clear(tree, limits, limits, [here, there, far_buyer]).flows == (0, 0, 6), "the root's own come first"
    small = there._replace(energy_wh=4)
    assert clear(tree, limits, limits, [small, beyond, buyer]).flows == (0, -4, -2)


def test_a_full_line_pays_the_least_rent() -> None:
    """Ten Wh fit; the seller's price of the eleventh bounds what the sellers behind the line receive."""
    tree = Tree.build("town", [Line("town", "farm", 2, None, 10)])
    orders = [order("s", 1, SELL, 5, 10), order("t", 1, SELL, 8, 10), order("x", 0, BUY, 20, 15)]
    clearing = clear(tree, [None, None], [None, 10], orders)
    assert clearing.prices == (20, 8)
    assert clearing.flows == (0, -10)
    assert (clearing.paid, clearing.received, clearing.tolls, clearing.rent) == (200, 80, 20, 100)


def test_indicative_prices() -> None:
    tree = Tree.build("a", [Line("a", "b", 3), Line("b", "c", 4)])
    limits = [None] * 3
    assert clear(tree, limits, limits, []).prices == (0, 0, 0)
    assert clear(tree, limits, limits, [order("s", 2, SELL, 30, 1)]).prices == (37, 34, 30)
    assert clear(tree, limits, limits, [order("x", 2, BUY, 30, 1)]).prices == (23, 26, 30)
    assert clear(tree, limits, limits, [order("x", 2, BUY, 5, 1)]).prices == (0, 2, 6), "never below zero"


def code_of(orders: list[Order], capacity: int | None = None) -> str:
    try:
        clear(one_bus(), [capacity], [None], orders)
    except ClearingError as error:
        return error.code
    return "none"


def test_bad_orders_are_refused() -> None:
    good = order("a", 0, BUY, 1, 1)
    assert code_of([good, good]) == "duplicate-order"
    for bad in (
        good._replace(id=b""),
        good._replace(bus=1),
        good._replace(bus=-1),
        good._replace(price=-1),
        good._replace(price=2**63),
        good._replace(energy_wh=0),
        good._replace(energy_wh=2**63),
        good._replace(age=-1),
        good._replace(side=2),
    ):
        assert code_of([bad]) == "bad-order"
    tree = Tree.build("a", [Line("a", "b", 1)])
    for capacity in ([None], [None, -1]):
        try:
            clear(tree, capacity, [None, None], [])
        except ClearingError as error:
            assert error.code == "bad-capacity"
        else:
            raise AssertionError("accepted")
