"""What a replica waits for, on whom, and since when: plain data for an operator, read and never acted upon.

The height that matters is the one after the newest stored block: everything above it waits for it. What it lacks is
told in the order in which a block comes about.
"""

from dataclasses import dataclass
from typing import Final

from node.consensus.catch_up import CatchUp
from node.consensus.message_log import Judgement, MessageLog
from node.consensus.ordering import Ordering
from node.consensus.pacemaker import Pacemaker
from node.consensus.pipeline import Pipeline
from node.consensus.recall import Passivity
from node.consensus.settings import Settings
from node.consensus.views import Views

# What may be waited for (``Wait.what``), and the members named with it (``Wait.members``).
WORK: Final = "work"  # nothing: there is nothing to order
PROPOSAL: Final = "proposal"  # the primary
BATCH: Final = "batch"  # those who voted for it, and so have it
VALIDATION: Final = "validation"  # this node's own check of the batch
PREPARES: Final = "prepares"  # the members whose votes are missing
EXECUTION: Final = "execution"  # this node's own
COMMITS: Final = "commits"  # the members whose votes are missing
STORING: Final = "storing"  # this node's own disk
BLOCKS: Final = "blocks"  # the member asked for them
VIEW_CHANGES: Final = "view-changes"  # the members that have not asked for the view, with a quorum lacking
NEW_VIEW: Final = "new-view"  # the primary of the view
RECOLLECTIONS: Final = "recollections"  # the members that have not said what they hold of this replica's votes
BARRIER: Final = "barrier"  # nobody: the blocks up to it


@dataclass(frozen=True, slots=True)
class Wait:
    """``members``: on whom, by index; ``have``: who has done it already; ``ticks``: for how long, of 50 ms."""

    what: str
    members: tuple[int, ...]
    have: tuple[int, ...]
    ticks: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``quiet_ticks``: since the newest block was stored; ``view_ticks``: since the view began or is waited for;
    ``timeout_ticks``: the time-out in it. ``wants``: for each member the view that it is known to want, 0 if none;
    ``last_cause``: why this replica last gave up a view, "" if it never did (``views.py`` has the list).
    ``passive_because``, ``barrier``: see ``Replica``."""

    epoch: int
    height: int
    view: int
    is_active: bool
    primary: int
    waits: tuple[Wait, ...]
    quiet_ticks: int
    view_ticks: int
    timeout_ticks: int
    wants: tuple[int, ...]
    last_cause: str
    passive_because: str | None
    barrier: int


class Doctor:
    """Looks into the rooms of a replica."""

    def __init__(
        self,
        settings: Settings,
        log: MessageLog,
        ordering: Ordering,
        views: Views,
        catch_up: CatchUp,
        pipeline: Pipeline,
        pacemaker: Pacemaker,
        passivity: Passivity,
    ) -> None:
        self._settings = settings
        self._log = log
        self._ordering = ordering
        self._views = views
        self._catch_up = catch_up
        self._pipeline = pipeline
        self._pacemaker = pacemaker
        self._passivity = passivity

    def diagnosis(self) -> Diagnosis:
        """How things are now."""
        ordering, clock = self._ordering, self._pacemaker
        return Diagnosis(
            epoch=self._settings.epoch,
            height=ordering.stored,
            view=ordering.view,
            is_active=ordering.is_active,
            primary=self._settings.primary(ordering.view),
            waits=tuple(self._waits()),
            quiet_ticks=clock.stored_ticks,
            view_ticks=clock.view_ticks,
            timeout_ticks=clock.timeout_ticks,
            wants=tuple(self._views.changes.wants(clock.now)),
            last_cause=self._views.last_cause,
            passive_because=self._passivity.because,
            barrier=self._passivity.barrier,
        )

    def _waits(self) -> list[Wait]:
        waits = []
        clock = self._pacemaker
        if self._passivity.is_asking:
            answered = self._passivity.answered
            waits.append(Wait(RECOLLECTIONS, self._others(answered), answered, clock.now - self._passivity.asked_at))
        elif self._passivity.barrier > self._ordering.stored:
            waits.append(Wait(BARRIER, (), (), clock.now - self._passivity.asked_at))
        asked = self._catch_up.asked
        if asked is not None:
            waits.append(Wait(BLOCKS, (asked[0],), (), asked[1]))
        if not self._ordering.is_active:
            waits.append(self._wait_for_view())
        else:
            waits.append(self._wait_for_block())
        return waits

    def _wait_for_view(self) -> Wait:
        view, clock = self._ordering.view, self._pacemaker
        wants = self._views.changes.wants(clock.now)
        have = tuple(member for member, wanted in enumerate(wants) if wanted >= view)
        if len(have) < self._settings.quorum:
            return Wait(VIEW_CHANGES, self._others(have), have, clock.view_ticks)
        return Wait(NEW_VIEW, (self._settings.primary(view),), have, clock.view_ticks)

    def _wait_for_block(self) -> Wait:
        """What the height after the newest stored block lacks."""
        height = self._ordering.stored + 1
        ticks = min(self._pacemaker.stored_ticks, self._pacemaker.view_ticks)
        slot = self._log.slots.get(height)
        if self._pipeline.is_storing:
            return Wait(STORING, (), (), ticks)
        if slot is None or slot.digest is None:
            waiting = self._pacemaker.waiting_ticks
            primary = self._settings.primary(self._ordering.view)
            return Wait(PROPOSAL if waiting else WORK, (primary,) if waiting else (), (), waiting)
        voted = tuple(sorted(m for m, (digest, _) in slot.prepares.items() if digest == slot.digest))
        body = self._log.body(slot.digest)
        if body is None:
            return Wait(BATCH, voted or (self._settings.primary(self._ordering.view),), (), ticks)
        if slot.prepared is None:
            if Judgement.ASKED in (body.judgement, body.as_new):
                return Wait(VALIDATION, (), (), ticks)
            proposed = (*voted, self._settings.primary(self._ordering.view))
            return Wait(PREPARES, self._others(proposed), tuple(sorted(proposed)), ticks)
        if self._pipeline.is_executing:
            return Wait(EXECUTION, (), (), ticks)
        committed = tuple(sorted(slot.commits))
        return Wait(COMMITS, self._others(committed), committed, ticks)

    def _others(self, members: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(member for member in range(self._settings.n) if member not in members)
