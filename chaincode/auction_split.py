"""Trades from fills and flows: whose sun did I use?

Every seller's filled energy is a *lot*. Within a bus first: its buyers take lots of their own bus. What a bus
does not use follows the net flow over its lines, and each bus on the way serves its buyers from the nearest lots at
hand (fewest lines, then lowest toll, then the seller's id), before it passes the rest on, nearest lots first: to the
line with the smallest flow first (equal flows: in bus order), so that most lots stay where they are, in the row that
goes with the largest. So every lot moves only with the net flow, each line carries exactly its flow, and the toll of
every trade is the sum over its path.

A buyer who wishes for renewable origin takes tagged lots first *among equals*, lots the same number of lines away:
there wishers take tagged lots, the others untagged ones, and then whoever is left takes what is left.

A row of lots is a sorted list with the nearest at its end and a shift for the whole row, so that crossing a line costs
one addition. A lot in a row is one integer, -(distance << 2b | seller << b | lot); distance is lines << t | toll.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Match(NamedTuple):
    """Indices of the orders, Wh, and the toll per Wh of the path between them."""

    buyer: int
    seller: int
    energy_wh: int
    toll: int


class _Row:
    __slots__ = ("lots", "shift")

    def __init__(self) -> None:
        self.lots: list[int] = []
        self.shift = 0


class _Lots:
    """The lots by number, and how a lot and its distance are packed into one integer."""

    __slots__ = ("bits", "left", "mask", "seller", "toll_bits", "toll_mask")

    def __init__(self, lots: int, toll: Sequence[int]) -> None:
        self.seller: list[int] = []
        self.left: list[int] = []
        self.bits = lots.bit_length()
        self.mask = (1 << self.bits) - 1
        self.toll_bits = sum(toll).bit_length()
        self.toll_mask = (1 << self.toll_bits) - 1

    def new(self, seller: int, wh: int) -> int:
        self.seller.append(seller)
        self.left.append(wh)
        return len(self.left) - 1

    def crossing(self, toll: int) -> int:
        """What crossing a line with this toll subtracts from a packed lot."""
        return ((1 << self.toll_bits) + toll) << 2 * self.bits


def split(
    parent: Sequence[int],
    toll: Sequence[int],
    flow_up: Sequence[int],
    bus: Sequence[int],
    selling: Sequence[bool],
    filled: Sequence[int],
    renewable: Sequence[bool],
) -> list[Match]:
    """Pair sellers with buyers along the flows. At most one match for each pair; sorted by buyer, then seller.

    ``flow_up``: per line, child to parent positive, from ``net_exports``; the last four run over the orders, which
    are sorted by id.
    """
    buses = len(parent)
    lots = _Lots(len(filled) + buses, toll)
    row_at = [_Row() for _ in parent]
    buyers_at: list[list[int]] = [[] for _ in parent]
    for order in range(len(filled) - 1, -1, -1):  # backwards: the nearest lot is the last of its row
        if filled[order]:
            if selling[order]:
                lot = lots.new(order, filled[order])
                row_at[bus[order]].lots.append(-(order << lots.bits | lot))
            else:
                buyers_at[bus[order]].append(order)
    lines_out: list[list[int]] = [[] for _ in parent]  # the child's index names the line
    waits_for = [0] * buses
    for line in range(1, buses):
        if flow_up[line] > 0:
            lines_out[line].append(line)
            waits_for[parent[line]] += 1
        elif flow_up[line] < 0:
            lines_out[parent[line]].append(line)
            waits_for[line] += 1
    matches: list[Match] = []
    wanted = list(filled)
    ready = [place for place in range(buses) if not waits_for[place]]
    for place in ready:  # grows while we walk it: a bus follows when all its inflow is there
        row = row_at[place]
        if buyers_at[place]:
            _serve(row, lots, buyers_at[place], wanted, renewable, matches)
        outgoing = sorted(lines_out[place], key=lambda line: (abs(flow_up[line]), line))
        for line in outgoing:
            last = line == outgoing[-1]
            passed = row if last else _take(row, lots, abs(flow_up[line]))
            passed.shift -= lots.crossing(toll[line])
            target = parent[line] if place == line else line
            row_at[target] = _join(row_at[target], passed)
            waits_for[target] -= 1
            if not waits_for[target]:
                ready.append(target)
        assert outgoing or not row.lots, f"energy is stranded at bus {place}"
    assert len(ready) == buses, "flows on a tree cannot go round"
    assert not any(wanted[buyer] for buyers in buyers_at for buyer in buyers), "a buyer was not served"
    matches.sort()
    return matches


def _join(one: _Row, other: _Row) -> _Row:
    """Merge two rows, the smaller into the larger."""
    if len(one.lots) < len(other.lots):
        one, other = other, one
    if other.lots:
        shift = other.shift - one.shift
        one.lots += [lot + shift for lot in other.lots]
        one.lots.sort()
    return one


def _take(row: _Row, lots: _Lots, wh: int) -> _Row:
    """Take the nearest ``wh`` out of ``row``."""
    taken: list[int] = []
    while wh > 0:
        packed = row.lots.pop()
        lot = -(packed + row.shift) & lots.mask
        available = lots.left[lot]
        if available > wh:
            lots.left[lot] = wh
            row.lots.append(packed + lot - lots.new(lots.seller[lot], available - wh))
            available = wh
        taken.append(packed)
        wh -= available
    result = _Row()
    result.lots = taken[::-1]
    result.shift = row.shift
    return result


def _serve(
    row: _Row,
    lots: _Lots,
    buyers: list[int],
    wanted: list[int],
    renewable: Sequence[bool],
    matches: list[Match],
) -> None:
    """Give ``buyers`` (the first is the last of the list) what they want from ``row``, nearest first."""
    wishers = [buyer for buyer in buyers if renewable[buyer]]
    if not wishers or len(row.lots) == 1:
        _match(row.lots, row.shift, lots, buyers, wanted, matches)
        return
    others = [buyer for buyer in buyers if not renewable[buyer]]
    equals_bits = 2 * lots.bits + lots.toll_bits
    while (wishers or others) and row.lots:
        distance = -(row.lots[-1] + row.shift) >> equals_bits
        tagged: list[int] = []
        plain: list[int] = []
        while row.lots and -(row.lots[-1] + row.shift) >> equals_bits == distance:
            packed = row.lots.pop()
            seller = lots.seller[-(packed + row.shift) & lots.mask]
            (tagged if renewable[seller] else plain).append(packed)
        tagged.reverse()
        plain.reverse()
        for equals, takers in ((tagged, wishers), (plain, others), (plain, wishers), (tagged, others)):
            _match(equals, row.shift, lots, takers, wanted, matches)
        row.lots += sorted(tagged + plain)


def _match(
    row: list[int],
    shift: int,
    lots: _Lots,
    buyers: list[int],
    wanted: list[int],
    matches: list[Match],
) -> None:
    """Pair lots and buyers from the ends of their lists until one of them is used up."""
    left, seller, mask, toll_mask, toll_shift = lots.left, lots.seller, lots.mask, lots.toll_mask, 2 * lots.bits
    while row and buyers:
        packed = -(row[-1] + shift)
        lot, buyer = packed & mask, buyers[-1]
        energy = min(left[lot], wanted[buyer])
        matches.append(Match(buyer, seller[lot], energy, packed >> toll_shift & toll_mask))
        left[lot] -= energy
        wanted[buyer] -= energy
        if not left[lot]:
            row.pop()
        if not wanted[buyer]:
            buyers.pop()
