"""Zero intelligence: a limit by chance, but never one at which the site would lose.

*Idea.* A yardstick, not an adviser: what of the gain from trade is the market's own doing, and what the strategies'.
Each step's limit is drawn evenly from its value to the best that there could be: feed-in for a buyer, retail for a
seller. The view's seed is all the chance there is.

*Source.* D. Gode and S. Sunder, "Allocative Efficiency of Markets with Zero-Intelligence Traders" (Journal of Political
Economy 101, 1993): the traders called ZI-C there, constrained by their budgets.

*What it risks.* Every trade that another limit would have had, and nothing else.
"""

import random

from broker import ladder
from broker.view import SlotView, Wish


def wishes(view: SlotView) -> tuple[Wish, ...]:
    """The better side of the curve, each step at a limit by chance."""
    chance = random.Random(view.seed)
    side, rungs = ladder.better(view)
    best = view.feed_in if side == "buy" else view.retail
    drawn = [rung._replace(limit=chance.randint(*sorted((best, rung.value)))) for rung in rungs]
    return ladder.orders(view, side, drawn)
