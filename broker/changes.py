"""From the orders that a site has open and those that it wishes for to what has to be done. Pure.

What is still good stays: it keeps its age in the auction, and costs nothing. What differs is replaced in one step,
what is not wanted any more is cancelled, what is missing is placed. The order of the actions matters, and must be
kept: cancels come first, so that what they held is free and no order of the other side is left; then replacements
that shrink, then those that grow, then new orders. So at no moment is more open than the larger of before and after,
and never anything on both sides. Who sends them with several keys, whose transactions are in no order among
each other, waits for the cancels to be done before it sends the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from broker.view import OpenOrder, Wish

MOST_OPEN: Final = 32
"""Orders of one device in one slot: far below the market's 256."""
SAME_PRICE_PART: Final = 64
"""A limit that is less eager than the wish's by no more than this part of it is still good."""


class Place(NamedTuple):
    """A new order, to rest until the gate. ``reference`` names it: sent again, it is the same order."""

    device: str
    side: str
    slot: int
    energy_wh: int
    price: int
    renewable: bool
    reference: bytes
    why: str


class Replace(NamedTuple):
    """Take ``order`` back and place ``new``, of the same device and side, or do neither."""

    order: bytes
    new: Place
    why: str


class Cancel(NamedTuple):
    """Take back what is open of ``order``."""

    device: str
    order: bytes
    why: str


Action: TypeAlias = Place | Replace | Cancel


def changes(
    slot: int,
    open_orders: Sequence[OpenOrder],
    wishes: Sequence[Wish],
    available: Mapping[str, int],
    *,
    reference: bytes,
    min_order_wh: int = 100,
) -> tuple[Action, ...]:
    """What brings a site's open orders of one slot and bus in line with its wishes.

    ``available``: each device's tokens, base units, without what its open orders hold. ``reference``: names this
    decision, at most 30 bytes; the number of the wish is added to it. The same decision taken again, because nobody
    knows what became of the first one, places nothing twice. Raises ValueError if the wishes are on two sides or the
    reference is too long.
    """
    if len({wish.side for wish in wishes}) > 1:
        raise ValueError("wishes of one slot and bus on two sides")
    if len(reference) > 30:
        raise ValueError("a decision's reference of more than 30 bytes")
    missing, left = _unmet(open_orders, _first_few(wishes), min_order_wh)
    pairs, cancelled = _paired(missing, left)
    paired = {number for number, _, _ in pairs}
    free = dict(available)
    for order in cancelled:
        _release(free, order)
    replaced: list[Replace] = []
    for number, wish, old in pairs:
        held, cost = _cost(old), _cost(wish)
        if cost - held > free.get(wish.device, 0):
            cancelled.append(old)  # Its money is found, as far as there is any, once all have given theirs back.
            _release(free, old)
            paired.discard(number)
        else:
            free[wish.device] = free.get(wish.device, 0) + held - cost
            replaced.append(Replace(old.id, _place(slot, wish, wish.energy_wh, reference, number), wish.why))
    placed: list[Place] = []
    for number, wish in missing:
        if number in paired:
            continue
        energy = wish.energy_wh
        if wish.side == "buy" and wish.price:
            energy = min(energy, max(0, free.get(wish.device, 0)) // wish.price)
        if energy >= min_order_wh:
            free[wish.device] = free.get(wish.device, 0) - (energy * wish.price if wish.side == "buy" else 0)
            placed.append(_place(slot, wish, energy, reference, number))
    gone = [Cancel(order.device, order.id, "not wanted any more") for order in cancelled]
    return (*gone, *replaced, *placed)


def _first_few(wishes: Sequence[Wish]) -> list[tuple[int, Wish]]:
    """The wishes with their numbers, at most MOST_OPEN of a device, its most eager ones."""
    sign = -1 if wishes and wishes[0].side == "buy" else 1
    counts: dict[str, int] = {}
    kept: list[tuple[int, Wish]] = []
    for number, wish in sorted(enumerate(wishes), key=lambda row: (sign * row[1].price, row[0])):
        counts[wish.device] = counts.get(wish.device, 0) + 1
        if counts[wish.device] <= MOST_OPEN:
            kept.append((number, wish))
    return kept


def _unmet(
    open_orders: Sequence[OpenOrder], wishes: list[tuple[int, Wish]], min_order_wh: int
) -> tuple[list[tuple[int, Wish]], list[OpenOrder]]:
    """Wishes that no open order meets, and open orders that meet none."""
    left = list(open_orders)
    missing: list[tuple[int, Wish]] = []
    for number, wish in wishes:
        good = [order for order in left if _still_good(order, wish, min_order_wh)]
        if good:
            left.remove(max(good, key=lambda order: (order.energy_wh, order.id)))
        else:
            missing.append((number, wish))
    return missing, left


def _still_good(order: OpenOrder, wish: Wish, min_order_wh: int) -> bool:
    """Never more than is wished for, nor at a worse price; a little less will do."""
    if (order.device, order.side) != (wish.device, wish.side):
        return False
    dearer = order.price - wish.price if wish.side == "buy" else wish.price - order.price
    short = wish.energy_wh - order.energy_wh
    return -(wish.price // SAME_PRICE_PART) <= dearer <= 0 <= short <= max(min_order_wh // 2, wish.energy_wh // 16)


def _paired(
    missing: list[tuple[int, Wish]], left: list[OpenOrder]
) -> tuple[list[tuple[int, Wish, OpenOrder]], list[OpenOrder]]:
    """Each wish with an order that it may replace, those that shrink first; and the orders that find none."""
    left = sorted(left, key=lambda order: (order.energy_wh, order.id), reverse=True)
    pairs: list[tuple[int, Wish, OpenOrder]] = []
    for number, wish in missing:
        for order in left:
            if (order.device, order.side) == (wish.device, wish.side):
                pairs.append((number, wish, order))
                left.remove(order)
                break
    pairs.sort(key=lambda pair: (pair[1].energy_wh - pair[2].energy_wh, pair[0]))
    return pairs, left


def _cost(order: OpenOrder | Wish) -> int:
    return order.energy_wh * order.price if order.side == "buy" else 0


def _release(free: dict[str, int], order: OpenOrder) -> None:
    free[order.device] = free.get(order.device, 0) + _cost(order)


def _place(slot: int, wish: Wish, energy_wh: int, reference: bytes, number: int) -> Place:
    named = reference + number.to_bytes(2, "big")
    return Place(wish.device, wish.side, slot, energy_wh, wish.price, wish.renewable, named, wish.why)
