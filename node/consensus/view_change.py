"""Leaving a view and beginning the next (Castro and Liskov 1999, section 4.4; signatures in place of authenticators).

    suspect      no progress for a time-out: Suspect(v) to everyone, and go on voting in v
    leave        f+1 members, this one counted, want a view above v: take the smallest of those views, w; never vote
                 below w again; ViewChange(w) to everyone with the newest stored block's certificate and the prepared
                 certificate of every height above it
    begin        the primary of w has a quorum of ViewChange(w): NewView(w) with them and the proposals that follow
    enter        whoever gets it recomputes the proposals from the ViewChanges and enters w if they are the same

The proposals of w: it starts after the highest stable certificate among the ViewChanges; each height above it gets the
digest prepared in the highest view; a height without one, below one with, gets a null batch. Why no committed block
is lost: its commit votes came from a quorum, whose correct members had each synced a prepared certificate for it
first; any quorum of ViewChanges holds one from such a member, which shows that certificate or a stable one above.

One member that suspects alone changes nothing, and neither do f of them. Wanting a view by Suspect lapses unless it is
renewed; wanting it by ViewChange does not. ``wants`` below is the view that a member wants in either way.
"""

from dataclasses import dataclass

from node.consensus import lies
from node.consensus.desk import Desk
from node.consensus.messages import Signed
from node.consensus.settings import CHANGES_PER_TICK, WINDOW, Settings
from node.consensus.statements import NewView, Prepare, PreparedCertificate, PrePrepare, Suspect, ViewChange
from node.errors import PeerError
from node.model.block import NULL_DIGEST
from node.model.certificate import Certificate, certificate_fault


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a quorum of ViewChanges says. ``start``: the height after which the view starts; ``stable``: its
    certificate, the highest among them (None: the view starts after the epoch's base)."""

    start: int
    stable: Certificate | None
    proposals: tuple[tuple[int, bytes], ...]


def outcome_of(view_changes: list[ViewChange], base: int) -> Outcome:
    """The new view's start and its (height, digest), one for every height up to the highest prepared one. ``base``: the
    epoch's."""
    stable: Certificate | None = None
    best: dict[int, PreparedCertificate] = {}
    for view_change in view_changes:
        if view_change.stable is not None and (stable is None or view_change.stable.height > stable.height):
            stable = view_change.stable
        for certificate in view_change.prepared:
            known = best.get(certificate.height)
            if known is None or certificate.view > known.view:
                best[certificate.height] = certificate
    start = base if stable is None else stable.height
    end = max((height for height in best if height > start), default=start)
    heights = range(start + 1, end + 1)
    return Outcome(start, stable, tuple((h, best[h].digest if h in best else NULL_DIGEST) for h in heights))


def prepared_fault(certificate: PreparedCertificate, desk: Desk) -> str | None:
    """None if a quorum of members signed this proposal, else what is wrong."""
    settings = desk.settings
    primary = settings.primary(certificate.view)
    view, height, digest = certificate.view, certificate.height, certificate.digest
    if len(certificate.prepares) < settings.quorum - 1:
        return f"{len(certificate.prepares)} prepares and a pre-prepare, a quorum is {settings.quorum}"
    votes = [desk.said(m, Prepare(view, height, digest), signature) for m, signature in certificate.prepares]
    for vote in votes:
        if vote.sender >= settings.n or vote.sender == primary:
            return f"a prepare of member {vote.sender} does not count"
    votes.append(desk.said(primary, PrePrepare(view, height, digest), certificate.pre_prepare))
    for vote in votes:
        if not desk.is_genuine(vote):
            return f"not signed by member {vote.sender}"
    return None


def stable_fault(certificate: Certificate, desk: Desk) -> str | None:
    """None if the certificate is valid in this epoch, else what is wrong."""
    settings = desk.settings
    if certificate.epoch != settings.epoch or certificate.view < 0 or certificate.height <= settings.base:
        return f"of epoch {certificate.epoch}, view {certificate.view}, height {certificate.height}"
    return certificate_fault(certificate, settings.chain, settings.members, settings.quorum, desk.verify)


def check_view_change(view_change: ViewChange, desk: Desk) -> None:
    """Raises PeerError("bad-view-change") unless all that it shows is proven."""
    if view_change.stable is not None:
        fault = stable_fault(view_change.stable, desk)
        if fault is not None:
            raise PeerError("bad-view-change", f"stable certificate: {fault}")
    start = view_change.stable_height(desk.settings.base)
    for certificate in view_change.prepared:
        if not start < certificate.height <= start + WINDOW:
            raise PeerError("bad-view-change", f"prepared certificate at {certificate.height}, not above {start}")
        fault = prepared_fault(certificate, desk)
        if fault is not None:
            raise PeerError("bad-view-change", f"prepared certificate at {certificate.height}: {fault}")


def check_new_view(signed: Signed, new_view: NewView, desk: Desk) -> Outcome:
    """What the NewView's own ViewChanges say. Raises PeerError("bad-new-view") if it says anything else, or
    "bad-signature" or "bad-view-change" for one of its parts."""
    settings = desk.settings
    if signed.sender != settings.primary(new_view.view):
        raise PeerError("bad-new-view", f"member {signed.sender} is not the primary of view {new_view.view}")
    desk.require_genuine(signed)
    try:
        return _outcome_proven(signed, new_view, desk)
    except PeerError:
        desk.accuse(lies.FALSE_NEW_VIEW, signed)
        raise


def _outcome_proven(signed: Signed, new_view: NewView, desk: Desk) -> Outcome:
    """The rest of ``check_new_view``: of what the NewView's bytes say, and of nothing else."""
    settings = desk.settings
    if len(new_view.view_changes) < settings.quorum:
        raise PeerError("bad-new-view", f"{len(new_view.view_changes)} view changes are no quorum")
    view_changes = []
    for relayed in new_view.view_changes:
        statement = desk.read(relayed)
        if not isinstance(statement, ViewChange) or statement.view != new_view.view:
            raise PeerError("bad-new-view", f"what member {relayed.sender} signed is no change to this view")
        desk.require_genuine(relayed)
        check_view_change(statement, desk)
        view_changes.append(statement)
    outcome = outcome_of(view_changes, settings.base)
    if tuple((height, digest) for height, digest, _ in new_view.proposals) != outcome.proposals:
        raise PeerError("bad-new-view", "its proposals are not those that its view changes ask for")
    for proposal in proposals_of(signed.sender, new_view, desk):
        desk.require_genuine(proposal[2])
    return outcome


def proposals_of(primary: int, new_view: NewView, desk: Desk) -> list[tuple[int, bytes, Signed]]:
    """(height, digest, the primary's pre-prepare) for each height that the NewView carries over."""
    return [
        (height, digest, desk.said(primary, PrePrepare(new_view.view, height, digest), signature))
        for height, digest, signature in new_view.proposals
    ]


class ViewChanges:
    """Who wants which view, and the ViewChanges that prove it: the newest of each member."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._settings: Settings = desk.settings
        self._now = 0
        self._heard = [0] * desk.settings.n
        self._suspects: dict[int, tuple[int, int]] = {}
        self._view_changes: dict[int, tuple[Signed, ViewChange]] = {}

    def on_suspect(self, signed: Signed, statement: Suspect, now: int) -> None:
        """``now``: in ticks. The newest of each member counts, until it lapses."""
        known = self._suspects.get(signed.sender)
        is_new = known is None or known[0] < statement.view
        if known is None or known[0] <= statement.view:
            if is_new and not self._may_check(signed.sender, now):
                return
            self._desk.require_genuine(signed)
            self._suspects[signed.sender] = (statement.view, now)

    def on_view_change(self, signed: Signed, statement: ViewChange, now: int) -> bool:
        """A higher one replaces a member's lower one (True); the same or a lower one is ignored."""
        known = self._view_changes.get(signed.sender)
        if known is None or known[1].view < statement.view:
            if not self._may_check(signed.sender, now):
                return False
            self._desk.require_genuine(signed)
            try:
                check_view_change(statement, self._desk)
            except PeerError:
                self._desk.accuse(lies.FALSE_VIEW_CHANGE, signed)
                raise
            self._view_changes[signed.sender] = (signed, statement)
            return True
        if known[1].view != statement.view or known[0].data == signed.data:
            return False
        if not self._desk.is_accused(signed.sender, lies.TWO_VOTES) and self._desk.is_genuine(signed):
            self._desk.accuse(lies.TWO_VOTES, known[0], signed)
        return False

    def _may_check(self, member: int, now: int) -> bool:
        """Whether what a member says is worth its signature's cost: only so many new views within a tick. What is
        ignored is said again, if the member means it."""
        if now != self._now:
            self._now = now
            self._heard = [0] * self._settings.n
        self._heard[member] += 1
        return self._heard[member] <= CHANGES_PER_TICK

    def add_own(self, signed: Signed, statement: ViewChange) -> None:
        """The one that this replica sent, or sent before a restart."""
        self._view_changes[self._settings.me] = (signed, statement)

    def newest_of(self, member: int) -> Signed | None:
        """A member's newest ViewChange."""
        known = self._view_changes.get(member)
        return None if known is None else known[0]

    def suspect(self, view: int, now: int) -> None:
        """The own suspicion."""
        self._suspects[self._settings.me] = (view, now)

    def withdraw(self) -> None:
        """The own suspicion has no ground any more; others' copies of it lapse."""
        self._suspects.pop(self._settings.me, None)

    def wants(self, now: int) -> list[int]:
        """For every member the highest view that it is known to want; 0 if none."""
        lapse = 3 * self._settings.resend_ticks
        views = [0] * self._settings.n
        for member, (view, heard) in self._suspects.items():
            if now - heard <= lapse:
                views[member] = view + 1
        for member, (_, statement) in self._view_changes.items():
            views[member] = max(views[member], statement.view)
        return views

    def view_to_join(self, view: int, now: int) -> int | None:
        """The smallest view above ``view`` that one of f+1 members wants, or None."""
        higher = [wanted for wanted in self.wants(now) if wanted > view]
        return min(higher) if len(higher) >= self._settings.weak_quorum else None

    def has_quorum_at(self, view: int, now: int) -> bool:
        """Whether a quorum has left every view below ``view``: only then does waiting for its NewView mean anything."""
        return sum(wanted >= view for wanted in self.wants(now)) >= self._settings.quorum

    def make_new_view(self, view: int) -> tuple[NewView, Outcome] | None:
        """The NewView of this replica's view, once a quorum sent ViewChanges for exactly it."""
        found = [(m, *self._view_changes[m]) for m in sorted(self._view_changes)]
        found = [item for item in found if item[2].view == view]
        if len(found) < self._settings.quorum:
            return None
        outcome = outcome_of([statement for _, _, statement in found], self._settings.base)
        proposals = tuple(
            (height, digest, self._desk.sign(PrePrepare(view, height, digest)).signature)
            for height, digest in outcome.proposals
        )
        return NewView(view, tuple(signed for _, signed, _ in found), proposals), outcome
