"""Truthful: every step of the site's curve is ordered at what it is worth, and nothing is kept back.

*Idea.* In an auction in which all at a bus pay or get one price, an order's limit decides whether it trades and hardly
ever at what price, so the best limit is the value itself: a higher one buys what is not worth its price, a lower one
loses what is. With many traders of which each is small this becomes exact.

*Source.* W. Vickrey, "Counterspeculation, Auctions, and Competitive Sealed Tenders" (Journal of Finance 16, 1961); for
two sides A. Rustichini, M. Satterthwaite and S. Williams, "Convergence to Efficiency in a Simple Market with Incomplete
Information" (Econometrica 62, 1994): the gain from misstating one's value falls with the number of traders.

*What it risks.* Where few trade, the order that sets the price gives away what it could have had. And it is as good as
its values: a plan that takes a store to be worth too much buys too dear, truthfully.
"""

from broker import ladder
from broker.view import SlotView, Wish


def wishes(view: SlotView) -> tuple[Wish, ...]:
    """The side of the curve from which more is to be expected, each step at its value."""
    side, rungs = ladder.better(view)
    return ladder.orders(view, side, rungs)
