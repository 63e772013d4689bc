"""Whether a primary is merely slow: it proposes just before the others lose patience, again and again.

A backup counts the ticks for which work waits and the primary has proposed nothing: its *delay*. What happens after the
proposal is not counted, since it depends on all; nor is time in which earlier proposals are still worked on. A view's
pace is the median of its last delays of a tick or more. It is too slow above LEAST_TICKS, and above twice the best pace
of recent views: where everything is slow, because machines or links are, no primary is replaced for it.

Bursts of quick proposals do not hide long delays: work that was never waited for gives no sample.
"""

from collections import deque
from typing import Final

SAMPLES: Final = 8
LEAST_TICKS: Final = 6
"""A pace up to this is never too slow: 300 ms, with a time-out of 1 s."""


class Pace:
    """The delays of the present view's primary. ``n``: of so many earlier views the pace is remembered."""

    def __init__(self, n: int) -> None:
        self._delays: deque[int] = deque(maxlen=SAMPLES)
        self._paces: deque[int] = deque(maxlen=n)
        self._waited = 0
        self._view = 0

    def tick(self, view: int, is_due: bool) -> None:
        """A tick passes in ``view``; ``is_due``: work waits, and nothing that the primary has proposed is open."""
        if view != self._view:
            self._begin(view)
        if is_due:
            self._waited += 1
        else:
            self.on_proposal()

    def on_proposal(self) -> None:
        """A batch has come: a delay ends, if there was one. Work may wait again at once."""
        if self._waited > 0:
            self._delays.append(self._waited)
            self._waited = 0

    @property
    def median(self) -> int | None:
        """The present view's pace in ticks; None while there are too few delays to say."""
        return sorted(self._delays)[SAMPLES // 2] if len(self._delays) == SAMPLES else None

    @property
    def allowed(self) -> int:
        """The slowest pace that is accepted."""
        return max(LEAST_TICKS, 2 * min(self._paces, default=0))

    @property
    def is_slow(self) -> bool:
        """Whether the primary should be replaced."""
        median = self.median
        return median is not None and median > self.allowed

    def _begin(self, view: int) -> None:
        self._view = view
        if self.median is not None:
            self._paces.append(self.median)
        self._delays.clear()
        self._waited = 0
