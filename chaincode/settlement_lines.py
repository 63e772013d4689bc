"""What a network's slot comes to: from contracts, readings and prices to lines of money. Pure functions.

For each device: contracted C = bought - sold, metered M = import - export, deviation D = M - C. What was contracted is
a line as it stands; deviations are netted at each bus (``settlement_netting``) and priced: inside the network at the
internal price, with the utility at retail or feed-in. A device has at most one line for each reason.

The same figures give the same lines, however often and in whatever order they are asked for: a correction is what
differs between the lines that were and the lines that are (``settlement_anew``).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from chaincode.market_orders import Position
from chaincode.settlement_netting import Netted, net

# What a line is for.
BOUGHT: Final = "bought"
TOLL: Final = "toll"
SOLD: Final = "sold"
INTERNAL: Final = "internal"
RETAIL: Final = "retail"
FEED_IN: Final = "feed-in"


class Terms(NamedTuple):
    """A slot's prices outside of the exchange, in base units per Wh: 0 <= ``feed_in`` <= ``internal`` <= ``retail``."""

    retail: int
    feed_in: int
    internal: int


class Book(NamedTuple):
    """A device in a settlement: where it hung, what it contracted, what was metered in Wh, and where the reading (or
    estimate) comes from: the transaction or block hook, and its block.
    """

    device: str
    bus: str
    position: Position | None
    import_wh: int
    export_wh: int
    estimated: bool
    cause: bytes
    height: int = 0

    def deviation_wh(self) -> int:
        """Metered less contracted net import, in Wh: positive if it took more than it had bought."""
        contracted = 0 if self.position is None else self.position.bought_wh - self.position.sold_wh
        return self.import_wh - self.export_wh - contracted

    def proceeds(self) -> int:
        """What buyers have paid into escrow for what it sold, in base units."""
        return 0 if self.position is None else self.position.proceeds


class Line(NamedTuple):
    """``energy_wh`` above 0; ``amount`` in base units, positive what the device receives, negative what it pays;
    ``cause``: the device's last order in this slot (which leads to those before it), or where its reading comes from.
    """

    device: str
    bus: str
    reason: str
    energy_wh: int
    amount: int
    cause: bytes


def lines_of(books: Sequence[Book], terms: Terms) -> list[Line]:
    """All lines of one network in one slot: what came of contracts and was fed in, then what was settled inside and
    bought from the utility; each part by bus and device.
    """
    netted = _netted(books)
    lines: list[Line] = []
    for book, share in netted:
        lines += _contracts(book)
        if share.deviation_wh < 0 and share.utility_wh:
            money = share.utility_wh * terms.feed_in
            lines.append(Line(book.device, book.bus, FEED_IN, share.utility_wh, money, book.cause))
    for book, share in netted:
        sign = 1 if share.deviation_wh < 0 else -1
        if share.internal_wh:
            money = sign * share.internal_wh * terms.internal
            lines.append(Line(book.device, book.bus, INTERNAL, share.internal_wh, money, book.cause))
        if share.deviation_wh > 0 and share.utility_wh:
            money = -share.utility_wh * terms.retail
            lines.append(Line(book.device, book.bus, RETAIL, share.utility_wh, money, book.cause))
    return lines


def lasting_tolls(books: Sequence[Book]) -> int:
    """The tolls that a network paid for what it bought and did not sell again at the same bus, in base units, rounded
    down at each bus. Energy that is only passed on, there and back, used no line.
    """
    at_bus: dict[str, tuple[int, int, int]] = {}
    for book in books:
        if book.position is not None:
            bought_wh, sold_wh, tolls = at_bus.get(book.bus, (0, 0, 0))
            of = book.position
            at_bus[book.bus] = (bought_wh + of.bought_wh, sold_wh + of.sold_wh, tolls + of.tolls)
    return sum(
        [tolls * max(bought_wh - sold_wh, 0) // bought_wh for bought_wh, sold_wh, tolls in at_bus.values() if bought_wh]
    )


def utility_only(books: Sequence[Book], terms: Terms) -> int:
    """What the same metered energy would have cost with the utility alone, each bus's own sun first (negative:
    earned), in base units.
    """
    flows: dict[str, int] = {}
    for book in books:
        flows[book.bus] = flows.get(book.bus, 0) + book.import_wh - book.export_wh
    return sum([flow * (terms.retail if flow > 0 else terms.feed_in) for flow in flows.values()])


def _netted(books: Sequence[Book]) -> list[tuple[Book, Netted]]:
    """Each device's deviation as it splits, by bus and device."""
    netted: list[tuple[Book, Netted]] = []
    for bus in sorted(dict.fromkeys([book.bus for book in books])):
        at_bus = sorted([book for book in books if book.bus == bus], key=lambda book: book.device)
        netted += zip(at_bus, net([(book.device, book.deviation_wh()) for book in at_bus]), strict=True)
    return netted


def _contracts(book: Book) -> list[Line]:
    """What the device's contracts brought; buyers have paid at clearing."""
    position = book.position
    if position is None:
        return []
    device, bus, order = book.device, book.bus, position.last_order
    lines = []
    if position.bought_wh:
        lines.append(Line(device, bus, BOUGHT, position.bought_wh, position.tolls - position.paid, order))
    if position.tolls:
        lines.append(Line(device, bus, TOLL, position.bought_wh, -position.tolls, order))
    if position.sold_wh:
        lines.append(Line(device, bus, SOLD, position.sold_wh, position.proceeds, order))
    return lines
