"""Budget-aware: the site's values, scaled by what is left of its tokens against what is left of the period.

*Idea.* A token that will be lacking at the end of the period is worth more than its face today. While the budget is
ahead of the calendar nothing changes. When it falls behind, at a pace below a thousand, what need not be bought is
bid for as if it were worth less, in proportion, and stored energy is offered as if it were: fewer tokens leave, more
come in. What is worth retail is needed, since the utility delivers it anyway and its readings cost tokens as well:
buying that from a neighbour saves tokens, and is never cut.

*Source.* Pacing: S. Balseiro and Y. Gur, "Learning in Repeated Auctions with Budgets: Regret Minimization and
Equilibrium" (Management Science 65, 2019): with one multiplier for the budget, all values divided by it, a bidder
spends as evenly as pays best.

*What it risks.* Cheap energy that it does not store, and stored energy that it sells for less than it could have
saved later, down to SLOWEST_PERMILLE of its value: the price of not running dry.
"""

from typing import Final

from broker import ladder
from broker.ladder import Rung
from broker.view import SlotView, Wish

SLOWEST_PERMILLE: Final = 500
"""However little is left, nothing is taken to be worth less than this part of itself."""


def wishes(view: SlotView) -> tuple[Wish, ...]:
    """The better side of the curve at its scaled values."""
    pace = pace_permille(view.budget_permille, view.time_permille)
    buys = tuple(rung if rung.value >= view.retail else _paced(view, rung, pace) for rung in ladder.rungs(view, "buy"))
    sells = tuple(_paced(view, rung, pace) for rung in ladder.rungs(view, "sell"))
    return ladder.orders(view, *ladder.better_of(view, buys, sells))


def pace_permille(budget_permille: int, time_permille: int) -> int:
    """What is left of the budget, of what should be: from SLOWEST_PERMILLE to 1000."""
    due = 1000 if time_permille <= 0 else budget_permille * 1000 // time_permille
    return min(1000, max(SLOWEST_PERMILLE, due))


def _paced(view: SlotView, rung: Rung, pace: int) -> Rung:
    """Never below feed-in, at which the utility buys whatever the pace."""
    if pace == 1000:
        return rung
    limit = max(view.feed_in, rung.value * pace // 1000)
    return rung._replace(limit=limit, why=f"{rung.why}, tokens at {pace} of 1000 of the calendar")
