"""Equilibrium prices on a tree: one walk up, one walk down.

Going up, each bus's subtree is summed up by its *net supply curve*: what would it cost to take x Wh out of it,
for x < 0 what would it pay to take them in? The curve is a row of *units* in order of price: a seller's price
and a buyer's price are alike, since one Wh more leaves the subtree if a seller there starts to sell or a
buyer there goes without. With demand of D Wh inside, the D cheapest units stay inside: they lie at x < 0 and are the
*import side*; the others are the *export side*. The two sides touch at x = 0.

A line moves the export side up by its toll (leaving costs that much more), the import side down, and cuts each at
its limit. Only the far tail is lost; the price of the first unit that does not fit is kept for the way down.

Both sides are sorted lists whose hot end, the one at x = 0, is the last item; the export side holds negated
prices. So a toll, for either side, is one subtraction from a shift that belongs to the whole list, units
change sides between the two ends in one slice, and the smaller of two curves is merged into the larger.

A unit is one integer, price << bits | piece, and ``wh[piece]`` is how much of it there is: integers compare and
shift fast. Pieces of equal price may stand in any order.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence


class _Side:
    """One side of a curve. The true (on the export side: negated) price of unit u is (u + shift) >> bits."""

    __slots__ = ("shift", "units", "wh")

    def __init__(self) -> None:
        self.units: list[int] = []
        self.shift = 0
        self.wh = 0


class _Curve:
    __slots__ = ("exports", "imports")

    def __init__(self) -> None:
        self.imports = _Side()
        self.exports = _Side()

    def size(self) -> int:
        return len(self.imports.units) + len(self.exports.units)


def equilibrium_prices(
    parent: Sequence[int],
    toll: Sequence[int],
    limit_down: Sequence[int],
    limit_up: Sequence[int],
    orders_at: Sequence[Sequence[tuple[int, int]]],
    demand_at: Sequence[int],
) -> list[int]:
    """One price per bus, at least 0, supporting an optimal flow; of these the ones with the least rent.

    ``orders_at[bus]``: (price, Wh) of its orders, both sides; ``demand_at[bus]``: the sum of Wh of its buys. Limits
    and tolls per line, indexed by its child. O(n log n) comparisons for n orders; a unit may besides change
    sides once per line above it, at the cost of copying a list item.
    """
    buses = len(parent)
    wh: list[int] = [energy for orders in orders_at for _, energy in orders]
    bits = (len(wh) + buses).bit_length()  # a bus splits at most one piece in two
    mask = (1 << bits) - 1
    curves_at: list[list[_Curve]] = [[] for _ in parent]
    import_head: list[int | None] = [None] * buses
    export_head: list[int | None] = [None] * buses
    import_cut: list[int | None] = [None] * buses
    export_cut: list[int | None] = [None] * buses
    first_piece = len(wh)
    for bus in range(buses - 1, -1, -1):
        first_piece -= len(orders_at[bus])
        units = [price << bits | piece for piece, (price, _) in enumerate(orders_at[bus], first_piece)]
        curve = _sum_of_curves(curves_at[bus], units, demand_at[bus], wh, mask)
        curves_at[bus] = []
        imports, exports = curve.imports, curve.exports
        if imports.units:
            import_head[bus] = (imports.units[-1] + imports.shift) >> bits
        if exports.units:
            export_head[bus] = -((exports.units[-1] + exports.shift) >> bits)
        if bus == 0:
            break
        if not imports.units and not exports.units:
            continue
        unit = _cut_tail(imports, limit_down[bus], wh, mask)
        if unit is not None:
            import_cut[bus] = unit >> bits
        unit = _cut_tail(exports, limit_up[bus], wh, mask)
        if unit is not None:
            export_cut[bus] = -(unit >> bits)
        imports.shift -= toll[bus] << bits
        exports.shift -= toll[bus] << bits
        curves_at[parent[bus]].append(curve)
    return _prices_down(parent, toll, import_head, export_head, import_cut, export_cut)


def _sum_of_curves(curves: list[_Curve], units: list[int], demand: int, wh: list[int], mask: int) -> _Curve:
    """The curve of a bus: its children's ``curves`` behind their lines, and ``units`` and ``demand`` of its own."""
    largest = max(curves, key=_Curve.size) if curves else _Curve()
    for curve in curves:
        demand += curve.imports.wh
        if curve is not largest:
            shift = curve.imports.shift
            units += [unit + shift for unit in curve.imports.units]
            shift = curve.exports.shift
            units += [2 * (unit & mask) - unit - shift for unit in curve.exports.units]
    if not units:
        return largest
    units.sort()
    imports, exports = largest.imports, largest.exports
    if imports.units:
        low = bisect_right(units, imports.units[-1] + imports.shift)
    elif exports.units:
        low = 0
    else:  # a new curve: find the border at once instead of moving units to it
        low, missing = 0, demand
        while missing > 0:
            missing -= wh[units[low] & mask]
            low += 1
    imports.wh += sum([wh[unit & mask] for unit in units[:low]])
    exports.wh += sum([wh[unit & mask] for unit in units[low:]])
    shift = imports.shift
    _merge(imports.units, [unit - shift for unit in units[:low]])
    shift = exports.shift
    _merge(exports.units, [2 * (unit & mask) - unit - shift for unit in reversed(units[low:])])
    if imports.wh > demand:
        _move(imports, exports, imports.wh - demand, wh, mask)
    else:
        _move(exports, imports, demand - imports.wh, wh, mask)
    return largest


def _merge(large: list[int], small: list[int]) -> None:
    if 16 * len(small) < len(large):
        for unit in small:
            insort(large, unit)
    else:
        large += small
        large.sort()


def _move(source: _Side, target: _Side, energy: int, wh: list[int], mask: int) -> None:
    """Move the hottest ``energy`` Wh from one side to the other, splitting the last piece if need be."""
    if energy == 0:
        return
    source.wh -= energy
    target.wh += energy
    units = source.units
    start = len(units)
    while energy > 0:
        start -= 1
        energy -= wh[units[start] & mask]
    moved = units[start:]
    del units[start:]
    if energy < 0:
        piece = moved[0] & mask
        wh[piece] += energy
        units.append(moved[0] - piece + len(wh))
        wh.append(-energy)
    flip = source.shift + target.shift
    target.units += [2 * (unit & mask) - unit - flip for unit in reversed(moved)]


def _cut_tail(side: _Side, limit: int, wh: list[int], mask: int) -> int | None:
    """Keep the ``limit`` hottest Wh. The first unit that does not fit, with its true price; None if all do."""
    excess = side.wh - limit
    if excess <= 0:
        return None
    side.wh = limit
    dropped = 0
    while excess > 0:
        unit = side.units[dropped]
        piece = unit & mask
        if wh[piece] > excess:
            wh[piece] -= excess
            excess = 0
        else:
            excess -= wh[piece]
            dropped += 1
    del side.units[:dropped]
    return unit + side.shift


def _prices_down(
    parent: Sequence[int],
    toll: Sequence[int],
    import_head: list[int | None],
    export_head: list[int | None],
    import_cut: list[int | None],
    export_cut: list[int | None],
) -> list[int]:
    """From the root down, each bus takes the price nearest its parent's that its own curve allows."""
    prices = [price_at_rest(import_head[0], export_head[0], None, None)]
    for bus in range(1, len(parent)):
        above = prices[parent[bus]]
        low, high = above - toll[bus], above + toll[bus]
        buys, sells = import_head[bus], export_head[bus]
        if sells is not None and sells < low:  # energy leaves the subtree, up to the price of what does not fit
            cut = export_cut[bus]
            prices.append(low if cut is None else min(low, cut))
        elif buys is not None and buys > high:
            cut = import_cut[bus]
            prices.append(high if cut is None else max(high, cut))
        else:
            prices.append(price_at_rest(buys, sells, low, high))
    return prices


def price_at_rest(buys: int | None, sells: int | None, low: int | None, high: int | None) -> int:
    """The price of a bus whose line is idle: the floor of the middle of [buys, sells] cut with [low, high].

    ``buys`` is the dearest unit that wants in, ``sells`` the cheapest that wants out, None = there is none; ``low`` and
    ``high`` come from the parent, None at the root. With one bound only, that bound; with none, 0. A middle below
    zero (buyers behind tolls that nobody would pay) is zero: prices are amounts of money.
    """
    floor = low if buys is None else buys if low is None else max(buys, low)
    ceiling = high if sells is None else sells if high is None else min(sells, high)
    if floor is None:
        return 0 if ceiling is None else ceiling
    if ceiling is None:
        return max(floor, 0)
    return max((floor + ceiling) // 2, 0)
