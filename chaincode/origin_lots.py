"""Who holds whose promised energy: a slot's trades, followed in their order.

A pure calculation. A device that sells gives on what it has bought in earlier trades and not yet sold again, oldest
first; the rest it promises out of its own generation. So a device that trades out of a position passes on where the
energy comes from, and every promised Wh is held by exactly one device at any time.

A lot names a part of what one device promised by its place in the order of its promises: which Wh of its generation
they are is then known from its meter alone (``origin_assign``).
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias


class Lot(NamedTuple):
    """``wh`` Wh that ``source`` promised, after the first ``start`` ones."""

    source: str
    start: int
    wh: int


class Holding(NamedTuple):
    """Of one device in one slot: what it promised of its own, in Wh, and what it holds of others, in trade order."""

    promised_wh: int
    lots: tuple[Lot, ...]


Trade: TypeAlias = tuple[str, str, int]
"""Seller, buyer, Wh."""

NOTHING = Holding(0, ())


def follow(holdings: dict[str, Holding], trades: Iterable[Trade]) -> dict[str, Holding]:
    """The holdings of everybody in ``trades`` after them. ``holdings``: before them, of whoever has any."""
    promised: dict[str, int] = {}
    held: dict[str, list[Lot]] = {}
    for seller, buyer, wh in trades:
        for device in (seller, buyer):
            if device not in held:
                promised[device], lots = holdings.get(device, NOTHING)
                held[device] = list(lots)
        given, own_wh = _take(held[seller], wh)
        if own_wh:
            given.append(Lot(seller, promised[seller], own_wh))
            promised[seller] += own_wh
        for lot in given:
            _append(held[buyer], lot)
    return {device: Holding(promised[device], tuple(lots)) for device, lots in held.items()}


def _take(lots: list[Lot], wh: int) -> tuple[list[Lot], int]:
    """Take the first ``wh`` Wh out of ``lots``: the lots taken, and how many Wh were lacking."""
    whole = 0
    while whole < len(lots) and lots[whole].wh <= wh:
        wh -= lots[whole].wh
        whole += 1
    taken = lots[:whole]
    del lots[:whole]
    if wh and lots:
        source, start, there = lots[0]
        taken.append(Lot(source, start, wh))
        lots[0] = Lot(source, start + wh, there - wh)
        wh = 0
    return taken, wh


def _append(lots: list[Lot], lot: Lot) -> None:
    """Add a lot; to the last one, if it goes on where that ends."""
    if lots:
        source, start, wh = lots[-1]
        if source == lot.source and start + wh == lot.start:
            lots[-1] = Lot(source, start, wh + lot.wh)
            return
    lots.append(lot)
