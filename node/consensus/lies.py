"""Lies that show by themselves: signed statements that no correct member signs, alone or together.

    two-votes           two different statements for one (view, height, phase); two ViewChanges or NewViews for one view
    omitted-prepared    a commit vote in view v at height h, and a ViewChange above v that neither has h stored nor
                        shows a prepared certificate at h of view v or later: the one or the other is a lie
    false-new-view      a NewView that its own ViewChanges contradict
    false-view-change   a ViewChange with a certificate in it that proves nothing
    false-proposal      a pre-prepare of a batch that no member may vote for, by the batch's bytes alone
    wrong-block         a commit vote for another block than the one certified in that view at that height

The core notes them where it sees them anyway, one of each kind for each member. They change nothing in how votes are
counted. What each must hold for others to check it is said in ``Evidence`` (``messages.py``).
"""

from typing import Final

from node.consensus.desk import Desk
from node.consensus.message_log import MessageLog
from node.consensus.messages import Signed
from node.consensus.statements import Commit, ViewChange
from node.model.certificate import Certificate, encode_certificate

TWO_VOTES: Final = "two-votes"
OMITTED_PREPARED: Final = "omitted-prepared"
FALSE_NEW_VIEW: Final = "false-new-view"
FALSE_VIEW_CHANGE: Final = "false-view-change"
FALSE_PROPOSAL: Final = "false-proposal"
WRONG_BLOCK: Final = "wrong-block"


def covers(view_change: ViewChange, vote: Commit) -> bool:
    """Whether who cast ``vote`` may say this in a later view: it has stored the height, or shows it prepared."""
    stable = view_change.stable
    return (stable is not None and stable.height >= vote.height) or any(
        item.height == vote.height and item.view >= vote.view for item in view_change.prepared
    )


def note_omission(
    desk: Desk, signed: Signed, view_change: ViewChange, log: MessageLog, newest: Certificate | None
) -> None:
    """A ViewChange was found genuine: compare it with its sender's commit votes, those in ``newest`` included."""
    votes = log.commits_of(signed.sender)
    if newest is not None and newest.epoch == desk.settings.epoch:
        statement = Commit(newest.view, newest.height, newest.block_hash)
        votes += [desk.said(member, statement, sig) for member, sig in newest.votes if member == signed.sender]
    for vote in votes:
        cast = desk.read(vote)
        if isinstance(cast, Commit) and cast.view < view_change.view and not covers(view_change, cast):
            desk.accuse(OMITTED_PREPARED, vote, signed)
            return


def note_second_new_view(desk: Desk, entered: Signed | None, signed: Signed) -> None:
    """A NewView for the view that ``entered`` began: the same one again, or a lie if its primary signed both."""
    if entered is None or desk.is_accused(entered.sender, TWO_VOTES):
        return
    if signed.sender == entered.sender and signed.data != entered.data:
        desk.require_genuine(signed)
        desk.accuse(TWO_VOTES, entered, signed)


def note_wrong_blocks(desk: Desk, certificate: Certificate, commits: dict[int, tuple[bytes, Signed]]) -> None:
    """``commits``: genuine votes at the certificate's height and view, by member, each with what it is for."""
    for block_hash, signed in commits.values():
        if block_hash != certificate.block_hash and signed.sender != desk.settings.me:
            desk.accuse(WRONG_BLOCK, signed, attachment=encode_certificate(certificate))


def note_late_commit(desk: Desk, certificate: Certificate, signed: Signed, vote: Commit) -> None:
    """A commit vote that is not needed any more: looked at only if it is for another block than the certified one."""
    if vote.view != certificate.view or vote.block_hash == certificate.block_hash:
        return
    if not desk.is_accused(signed.sender, WRONG_BLOCK) and desk.is_genuine(signed):
        note_wrong_blocks(desk, certificate, {signed.sender: (vote.block_hash, signed)})
