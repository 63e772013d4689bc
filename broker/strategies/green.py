"""Green: prefers renewable energy, and pays a bounded premium to keep out of the utility's mix.

*Idea.* Every purchase carries the wish for renewable origin, which moves no price. What the utility would deliver
instead has its own mix; the more of that is not renewable, the more above its value the site bids, up to
PREMIUM_PERMILLE of the span from feed-in to retail, and so fills up from its neighbours' sun where a truthful site
waits for the utility. It bids in full from the first auction on, since wishers are served first, and among equals
the older orders. It sells as a truthful site does.

*Source.* That households would pay for a greener mix, and by how much in some hundred estimates: S. Sundt and K.
Rehdanz, "Consumers' willingness to pay for green electricity: A meta-analysis of the literature" (Energy Economics 51,
2015). The bound is this module's own assumption.

*What it risks.* The premium, on every Wh whose price lies between its value and its limit: at most PREMIUM_PERMILLE of
the span on what it buys. Never more than retail.
"""

from typing import Final

from broker import ladder
from broker.view import SlotView, Wish

PREMIUM_PERMILLE: Final = 100
"""Of the span from feed-in to retail, where nothing of the utility's mix is renewable."""


def wishes(view: SlotView) -> tuple[Wish, ...]:
    """The better side of the curve; what is bought with a premium and the wish for renewable energy."""
    premium = premium_of(view)
    buys = tuple(
        rung._replace(
            limit=min(view.retail, rung.value + premium), why=f"{rung.why}, {ladder.a_kwh(premium)} more if it is green"
        )
        for rung in ladder.rungs(view, "buy")
    )
    side, rungs = ladder.better_of(view, buys, ladder.rungs(view, "sell"))
    return ladder.orders(view, side, rungs, renewable=side == "buy")


def premium_of(view: SlotView) -> int:
    """What a Wh may cost above its value, base units."""
    dirty = 1000 - min(1000, max(0, view.renewable_permille))
    return max(0, view.retail - view.feed_in) * PREMIUM_PERMILLE * dirty // 1_000_000
