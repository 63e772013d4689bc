"""Adaptive: asks for more than its value where what has cleared says that it will be given, and is truthful at the end.

*Idea.* Sometimes a site's own order is the one that sets the price, and then each unit by which it is shaded is
gained on all that it trades. Against that stands the trade that the shading loses. What has cleared before tells how
likely either is. Of the limits that the expected price's quantiles suggest, the one is taken whose expected gain is
greatest: on a fill the site pays its own limit in PIVOTAL_PERMILLE of a thousand cases, and the price otherwise;
without one it tries again later in the slot, when it bids its value and pays the price. Little experience shades
little. In the last half slot's length before the gate there is no later, and every limit is the value, so that no
fill that is worth its price is given up for good.

*Source.* The belief that is built from what traded, and the limit that maximises gain under it: S. Gjerstad and
J. Dickhaut, "Price Formation in Double Auctions" (Games and Economic Behavior 22, 1998). That the trader whose order
may set the price shades: K. Chatterjee and W. Samuelson, "Bargaining under Incomplete Information" (Operations
Research 31, 1983). D. Cliff's ZIP traders (HP Laboratories HPL-97-91, 1997) learn the same margin by trial.

*What it risks.* A partner of the first auction may be gone by the gate: its energy is sold to others, or a line is
full. And if all wait, the first auction finds little to trade.
"""

from collections.abc import Sequence
from typing import Final

from broker import ladder
from broker.ladder import Rung
from broker.view import Side, SlotView, Wish

PIVOTAL_PERMILLE: Final = 100
"""How often a site's order is taken to set the price: one order of ten."""
LATER_PERMILLE: Final = 600
"""What of a gain that is put off is still to be had at the gate."""
SURE_AFTER: Final = 7
"""With so many past prices half of the shading is done that they suggest."""


def wishes(view: SlotView) -> tuple[Wish, ...]:
    """The better side of the curve, shaded as far as it pays."""
    side, rungs = ladder.better(view)
    if 2 * (view.gate - view.now) <= view.site.slot_seconds:
        return ladder.orders(view, side, rungs)
    return ladder.orders(view, side, [_shaded(view, side, rung) for rung in rungs])


def _shaded(view: SlotView, side: Side, rung: Rung) -> Rung:
    sign = 1 if side == "buy" else -1
    margins = sorted(margin for price in view.expected if (margin := sign * (rung.value - price)) > 0)
    shade = _best_shade(margins) * view.experience // (view.experience + SURE_AFTER)
    if shade == 0:
        return rung
    return rung._replace(
        limit=rung.value - sign * shade, why=f"{rung.why}, {ladder.a_kwh(shade)} kept back until the gate is near"
    )


def _best_shade(margins: Sequence[int]) -> int:
    """The shade of greatest expected gain, 0 if nothing is to be gained. ``margins``: by how much the value is better
    than the price in each case in which it is, ascending: an order shaded by one of them is filled from there on."""
    best = most = 0
    later, now = 0, sum(margins)
    for number, shade in enumerate(margins):
        filled = len(margins) - number
        gain = LATER_PERMILLE * later + PIVOTAL_PERMILLE * shade * filled + (1000 - PIVOTAL_PERMILLE) * now
        if gain > most:
            best, most = shade, gain
        later, now = later + shade, now - shade
    return best
