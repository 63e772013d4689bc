"""How much a client may ask for at once: buckets that fill with time and are emptied by use."""

import time
from collections import OrderedDict
from collections.abc import Callable


class Pace:
    """One bucket for each peer. What is used may overdraw a bucket; then nothing is given until it has filled again.

    ``per_second``: how fast a bucket fills; ``burst``: what a full one holds; ``peers``: how many are kept, those
    not used for longest being forgotten.
    """

    def __init__(
        self, per_second: float, burst: float, peers: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._peers = peers
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def delay_s(self, peer: str) -> float:
        """How long the peer has to wait until it is given anything; 0 if it need not."""
        return max(0.0, -self._level(peer) / self._per_second)

    def spend(self, peer: str, amount: float) -> None:
        """The peer uses so much."""
        self._buckets[peer] = (self._level(peer) - amount, self._clock())
        self._buckets.move_to_end(peer)
        if len(self._buckets) > self._peers:
            self._buckets.popitem(last=False)

    def __len__(self) -> int:
        return len(self._buckets)

    def _level(self, peer: str) -> float:
        level, at = self._buckets.get(peer, (self._burst, 0.0))
        return min(self._burst, level + (self._clock() - at) * self._per_second)
