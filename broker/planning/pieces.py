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
    ``value``: of a stored Wh."""

    device: str
    give_wh: int
    take_wh: int
    planned_wh: int
    value: int
    efficiency_permille: int


class Piece(NamedTuple):
    """``takes``: it would be taken in, else it would be kept from being given."""

    energy_wh: int
    worth: int
    store: int
    takes: bool


def pieces(stores: tuple[Store, ...]) -> list[Piece]:
    """All stores' pieces, dearest first."""
    found: list[Piece] = []
    for number, (_, give, take, planned, value, kept) in enumerate(stores):
        nudge = abs(value) * NUDGE_PERMILLE // 1000
        out = max(0, min(give, -planned))
        into = max(0, min(take, planned))
        taken = value * kept // 1000
        if give > out:
            found.append(Piece(give - out, value + nudge if planned <= 0 else value, number, False))
        if out:
            found.append(Piece(out, value - nudge, number, False))
        if into:
            found.append(Piece(into, min(taken + nudge, value), number, True))
        if take > into:
            found.append(Piece(take - into, taken - nudge, number, True))
    found.sort(key=_worth)
    return found


def _worth(piece: Piece) -> int:
    return -piece.worth
