"""Quantities from prices: who is filled how far, and what flows where.

Equilibrium prices leave little open. An order inside the price is full, one outside gets nothing; only orders *at*
their bus's price are free, so each bus has an interval of net export. A line whose prices differ by less than the
toll is idle, by more is full; only at exactly the toll (or equal prices and no toll) is its flow free. Walking up,
these intervals are added and cut; walking down, a value is chosen from each: a child takes the one nearest zero, the
bus's own free orders absorb the rest, and what these cannot absorb goes to the children in bus order.
"""

from collections.abc import Sequence

from chaincode.apportion import apportion


def line_interval(price: int, parent_price: int, toll: int, limit_down: int, limit_up: int) -> tuple[int, int]:
    """What may flow from child to parent (negative: down) when they have these prices."""
    gap = parent_price - price
    low = -limit_down if gap <= -toll else 0
    high = limit_up if gap >= toll else 0
    if gap < -toll:
        high = low
    elif gap > toll:
        low = high
    return low, high


def net_exports(
    parent: Sequence[int],
    toll: Sequence[int],
    limit_down: Sequence[int],
    limit_up: Sequence[int],
    prices: Sequence[int],
    own_low: Sequence[int],
    own_high: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Per bus, the flow to its parent and the net export of its own orders, both in Wh.

    ``own_low`` and ``own_high`` bound the latter: sold minus bought with the free orders at one or the other extreme.
    AssertionError: the prices are no equilibrium (a bug of whoever made them).
    """
    buses = len(parent)
    low, high = list(own_low), list(own_high)
    for bus in range(buses - 1, 0, -1):
        above = parent[bus]
        line_low, line_high = line_interval(prices[bus], prices[above], toll[bus], limit_down[bus], limit_up[bus])
        low[bus] = max(low[bus], line_low)
        high[bus] = min(high[bus], line_high)
        assert low[bus] <= high[bus], f"no flow fits the prices below bus {bus}"
        low[above] += low[bus]
        high[above] += high[bus]
    assert low[0] <= 0 <= high[0], "the prices do not balance the root"

    flow = [min(max(0, low[bus]), high[bus]) for bus in range(buses)]
    flow[0] = 0
    from_children = [0] * buses
    for bus in range(1, buses):
        from_children[parent[bus]] += flow[bus]
    # ``change[bus]``: what its children must add to the flows nearest zero, once its own orders did what they can.
    own, change = [0] * buses, [0] * buses
    for bus in range(buses):
        if bus and change[parent[bus]]:
            above = parent[bus]
            wanted = flow[bus] + change[above]
            given = min(max(wanted, low[bus]), high[bus])
            change[above] = wanted - given
            flow[bus] = given
        rest = flow[bus] - from_children[bus]
        own[bus] = min(max(rest, own_low[bus]), own_high[bus])
        change[bus] = rest - own[bus]
    assert not any(change), "the intervals promised more than the children can give"
    return flow, own


def fill(
    bus: Sequence[int],
    selling: Sequence[bool],
    key: Sequence[int],
    energy: Sequence[int],
    grid: tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]],
    prices: Sequence[int],
) -> tuple[list[int], list[int]]:
    """The filled Wh of each order, and per bus the flow to its parent.

    The first four run over the orders, sorted by id; ``grid`` is (parent, toll, limit_down, limit_up), with tolls and
    ``prices`` in the scale of ``key``.
    """
    buses = len(prices)
    own_low, own_high = [0] * buses, [0] * buses
    free: list[list[int]] = [[] for _ in prices]  # at a bus only one side can be at the price: keys of sides differ
    filled = [0] * len(key)
    for order, (place, sells, limit, wh) in enumerate(zip(bus, selling, key, energy, strict=True)):
        price = prices[place]
        if limit == price:
            free[place].append(order)
            if sells:
                own_high[place] += wh
            else:
                own_low[place] -= wh
        elif sells:
            if limit < price:
                filled[order] = wh
                own_low[place] += wh
                own_high[place] += wh
        elif limit > price:
            filled[order] = wh
            own_low[place] -= wh
            own_high[place] -= wh
    flow, own = net_exports(*grid, prices, own_low, own_high)
    for place, group in enumerate(free):
        if group:
            amount = own[place] - own_low[place] if selling[group[0]] else own_high[place] - own[place]
            for order, share in zip(group, apportion(amount, [energy[order] for order in group], group), strict=True):
                filled[order] = share
    return filled, flow
