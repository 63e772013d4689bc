"""How fast block time goes in the experiment's weeks on nodes: as fast as orders are in time, measured.

A chain's pace is fixed in its genesis. So the days begin at a first pace, and the first of them is the rehearsal: if
more than one group of orders comes with less than MARGIN of the time to its auction left, the nodes are made anew at
a pace at which that would have been enough, and the days begin again. SLOWEST_MS is kept whatever comes; what is late
then is told.
"""

from collections.abc import Sequence
from typing import Final

from broker.exchange import Answer, Call
from broker.world import DAY_S, World
from node.model.genesis import Genesis
from node.model.keys import Signer, SigningKey
from testnet.chain_exchange import ChainExchange

FIRST_MS: Final = 1_500
SLOWEST_MS: Final = 6_000
"""Real milliseconds of an hour."""
MARGIN: Final = 0.2
"""Of the time from the decision to its auction, at least so much is to be left when the orders are in a block."""
FORGIVEN: Final = 1
"""Groups of orders of the first day that may have less: a machine may be busy for a moment."""
GROWTH: Final = (1.4, 2.0)
"""An hour gets so much longer, at least and at most: the first few groups may have been easy ones, or wait for others
that were late before them."""


class TooQuickError(Exception):
    """Orders of the first day were late or nearly so; ``slot_ms``: the pace to try next."""

    def __init__(self, slot_ms: int) -> None:
        super().__init__(f"orders are not in time; {slot_ms} ms an hour may do")
        self.slot_ms = slot_ms


class Rehearsal(ChainExchange):
    """The exchange of nodes that pass an hour in ``slot_ms``. While the first day lasts every ``submit`` may raise
    TooQuickError; at SLOWEST_MS and beyond none does."""

    def __init__(
        self,
        genesis: Genesis,
        gateways: Sequence[str],
        keys: dict[bytes, SigningKey],
        reader: Signer,
        world: World,
        slot_ms: int,
    ) -> None:
        super().__init__(genesis, gateways, keys, reader)
        self._slot_ms = slot_ms
        self._lead_ms = slot_ms * world.windows.tick_s // world.slot_seconds
        self._until = world.start + DAY_S if slot_ms < SLOWEST_MS else world.start

    def submit(self, calls: Sequence[Call]) -> list[Answer]:
        """As the exchange does. Raises TooQuickError."""
        answers = super().submit(calls)
        if self.now < self._until:
            slot_ms = next_pace(self._slot_ms, self._lead_ms, self.lateness.spare_ms)
            if slot_ms is not None:
                raise TooQuickError(slot_ms)
        return answers


def next_pace(slot_ms: int, lead_ms: int, spare_ms: Sequence[int]) -> int | None:
    """The pace at which all groups of orders but FORGIVEN would have had MARGIN left, None if this is one. ``lead_ms``:
    from a decision to its auction; ``spare_ms``: what was left of it, of every group."""
    takes = sorted(lead_ms - spare for spare in spare_ms)[: -FORGIVEN or None]
    if not takes or takes[-1] <= lead_ms * (1 - MARGIN):
        return None
    enough = slot_ms * takes[-1] / lead_ms / (1 - MARGIN)
    least, most = (slot_ms * times for times in GROWTH)
    return min(SLOWEST_MS, round(min(max(enough, least), most)))
