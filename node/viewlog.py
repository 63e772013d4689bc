"""Every change of the view, with its cause and how long it took: logged, counted, and the last ones remembered.

The driver tells of each state that the core has been in (``notice``), so none is missed, however short.
"""

import logging
from collections import Counter, deque
from collections.abc import Mapping
from typing import Final

import msgspec

from node.consensus.views import JOINED
from node.limits import TICK_MS

log = logging.getLogger("watt.views")

REMEMBERED: Final = 32
"""View changes that an operator may look at afterwards."""
RESTART: Final = "restart"
"""The cause if this process left no view, but began between views."""


class ViewChanged(msgspec.Struct, frozen=True):
    """``left``, ``view``: from which view to which; ``primary``: of ``view``, by name; ``cause``: why ``left`` was
    given up; ``took_ms``: from leaving it until ``view`` began, in ticks; ``began_ms``: UTC."""

    left: int
    view: int
    primary: str
    cause: str
    took_ms: int
    began_ms: int


class ViewLog:
    """Follows the view of one replica; ``view`` and ``active`` are where it stands at the start."""

    def __init__(self, view: int, active: bool) -> None:
        self._view = view
        self._active = active
        self._left = view
        self._left_tick: int | None = None if active else 0
        self._cause = RESTART
        self._counts: Counter[str] = Counter()
        self.recent: deque[ViewChanged] = deque(maxlen=REMEMBERED)
        """The newest last."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many view changes each cause had, since the start."""
        return self._counts

    def restart(self, view: int, active: bool) -> None:
        """Another epoch began, and its views."""
        self._view, self._active, self._left, self._cause = view, active, view, RESTART

    def notice(self, view: int, active: bool, primary: str, cause: str, tick: int, now_ms: int) -> None:
        """Where the replica stands now. ``primary``: of ``view``; ``cause``: why it left the last one."""
        if (view, active) == (self._view, self._active):
            return
        if self._active:  # it left a view, or joined a later one that works already
            self._left, self._left_tick = self._view, tick
            self._cause = cause or JOINED  # it gave up none by itself: what it caught up with was of a later one
        if not active:
            log.info("view-left view=%d cause=%s waits-for=%d primary=%s", self._left, self._cause, view, primary)
        else:
            self._began(view, primary, tick, now_ms)
        self._view, self._active = view, active

    def _began(self, view: int, primary: str, tick: int, now_ms: int) -> None:
        took_ms = (tick - (self._left_tick or 0)) * TICK_MS
        self._counts[self._cause] += 1
        self.recent.append(ViewChanged(self._left, view, primary, self._cause, took_ms, now_ms))
        log.info(
            "view-change view=%d primary=%s left=%d cause=%s took-ms=%d",
            *(view, primary, self._left, self._cause, took_ms),
        )
