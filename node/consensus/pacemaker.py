"""Time, counted in ticks: how long work may wait, when to say things again, and how waiting doubles."""

from node.consensus.settings import Settings

_MAX_DOUBLINGS = 32


class Pacemaker:
    """``now`` counts ticks since the start; ``stored_ticks``, ``view_ticks``, ``waiting_ticks``: since a block was
    stored, since the view began or is waited for, for how long work is waiting.

    Work is *waiting* while something should be ordered and nothing is stored; in a view that has not begun, while a
    quorum waits for it. Time-outs double with each view that is left without progress in between, up to a cap."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.now = 0
        self.quiet_ticks = settings.resend_ticks - 1  # a restarted replica speaks up at its first tick
        self.stored_ticks = 0
        self.view_ticks = 0
        self.waiting_ticks = 0
        self._views_without_progress = 0

    @property
    def timeout_ticks(self) -> int:
        """How long to wait in the present view."""
        doublings = min(self._views_without_progress, _MAX_DOUBLINGS)
        return min(self._settings.timeout_ticks << doublings, self._settings.timeout_cap_ticks)

    def tick(self, is_waiting: bool) -> None:
        """One tick passes."""
        self.now += 1
        self.quiet_ticks += 1
        self.stored_ticks += 1
        self.view_ticks += 1
        self.waiting_ticks = self.waiting_ticks + 1 if is_waiting else 0

    @property
    def is_silent(self) -> bool:
        """Whether work has waited for a whole time-out, and nothing came."""
        return self.waiting_ticks >= self.timeout_ticks

    @property
    def is_tried(self) -> bool:
        """Whether the view has lasted for a time-out: long enough for any request to be included in it."""
        return self.view_ticks >= self.timeout_ticks

    def should_resend(self) -> bool:
        """Nothing was stored for a while."""
        return self.quiet_ticks % self._settings.resend_ticks == 0

    def on_stored(self, in_this_view: bool) -> None:
        """A block was stored; ``in_this_view``: certified by votes of the present view, so that the view works."""
        self.waiting_ticks = 0
        self.quiet_ticks = 0
        self.stored_ticks = 0
        if in_this_view:
            self._views_without_progress = 0

    def on_left(self) -> None:
        """A view was left."""
        self._views_without_progress += 1
        self.on_view()

    def on_view(self) -> None:
        """A view is waited for, or begins."""
        self.waiting_ticks = 0
        self.view_ticks = 0
        self.quiet_ticks = 0
