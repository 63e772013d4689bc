"""What a site's stores would pay for another Wh in a slot, piece by piece: the one thing that curve and control share.

A store that can take ``c`` more and give ``g`` is a demand of ``g + c`` that begins at ``-g``: first, what it keeps
rather than gives, worth ``v`` a Wh; then what it takes, worth ``v`` times the part that is kept. All stores together
are these pieces in order of their worth. The utility is the last to sell and the last to buy: no piece is worth more
than retail (it would be bought there) nor less than the feed-in tariff (it would be sold there).
"""

from typing import Final, NamedTuple

NUDGE_PERMILLE: Final = 5
"""What the plan does is worth so much more, what it does not so much less: several slots are often equally good, and
only the plan knows how much is to be done in which of them."""


class Store(NamedTuple):
    """One store in a slot. ``give_wh`` and ``take_wh``: the most that it can; ``planned_wh``: what the plan has it do;
    ``value``: of a stored Wh, or ``worth``: the same by level, (up to which, value) with falling values."""

    device: str
    level_wh: int
    give_wh: int
    take_wh: int
    planned_wh: int
    value: int
    efficiency_permille: int
    worth: tuple[tuple[int, int], ...] = ()


class Piece(NamedTuple):
    """``takes``: it would be taken in, else it would be kept from being given."""

    energy_wh: int
    worth: int
    store: int
    takes: bool


def pieces(stores: tuple[Store, ...]) -> list[Piece]:
    """All stores' pieces, dearest first."""
    found: list[Piece] = []
    for number, store in enumerate(stores):
        if store.give_wh > 0:
            _keep(found, number, store)
        if store.take_wh > 0:
            _take(found, number, store)
    found.sort(key=_worth)
    return found


def _keep(found: list[Piece], number: int, store: Store) -> None:
    """From the least that can be left in it up to its level."""
    level = store.level_wh
    at = level - store.give_wh
    goal = max(at, level + min(0, store.planned_wh))
    for upto, value in store.worth or ((level, store.value),):
        nudge = abs(value) * NUDGE_PERMILLE // 1000
        for edge, worth in ((min(goal, upto), value + nudge), (min(level, upto), value - nudge)):
            if edge > at:
                found.append(Piece(edge - at, worth, number, False))
                at = edge
    if at < level:  # beyond what is known: as the last
        found.append(Piece(level - at, _last(store), number, False))


def _take(found: list[Piece], number: int, store: Store) -> None:
    """From its level up to the most that can be in it; energy at the plug."""
    kept, most = store.efficiency_permille, store.take_wh
    at = 0
    goal = max(0, min(most, store.planned_wh))
    for upto, value in store.worth or ((None, store.value),):
        nudge = abs(value) * NUDGE_PERMILLE // 1000
        edge = most if upto is None else min(most, (upto - store.level_wh) * 1000 // kept)
        for end, worth in ((min(goal, edge), value + nudge), (edge, value - nudge)):
            if end > at:
                found.append(Piece(end - at, min(worth, worth * kept // 1000), number, True))
                at = end
    if at < most:
        worth = _last(store)
        found.append(Piece(most - at, min(worth, worth * kept // 1000), number, True))


def _last(store: Store) -> int:
    value = store.worth[-1][1] if store.worth else store.value
    return value - abs(value) * NUDGE_PERMILLE // 1000


def _worth(piece: Piece) -> int:
    return -piece.worth
