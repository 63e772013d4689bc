"""What a new view starts with, and what is refused."""

import itertools

import pytest

from node.consensus.messages import Proposal, Signed
from node.consensus.statements import NewView, Prepare, PreparedCertificate, PrePrepare, Suspect, ViewChange
from node.consensus.view_change import check_new_view, check_view_change, outcome_of
from node.errors import PeerError
from node.model.block import NULL_DIGEST
from node.model.certificate import Certificate
from tests.consensus.harness import Cluster, make_batch, sign_as
from tests.consensus.proofs import KEYS, A, B, C, desk, new_view, prepared, stable

# What a set of view changes means.


def test_the_highest_view_wins() -> None:
    """Checklist 11: conflicting certificates for one height, from three views."""
    view_changes = [ViewChange(4, None, (prepared(view, 1, digest),)) for view, digest in ((0, A), (2, B), (1, C))]
    for order in itertools.permutations(view_changes):
        assert outcome_of(list(order), 0).proposals == ((1, B),)


def test_gaps_get_null_batches() -> None:
    """Checklist 12: prepared 5 and 7, nothing at 6."""
    view_change = ViewChange(1, stable(4), (prepared(0, 5, A), prepared(0, 7, B)))
    outcome = outcome_of([view_change, ViewChange(1, stable(4), ()), ViewChange(1, stable(3), ())], 0)
    assert (outcome.start, outcome.proposals) == (4, ((5, A), (6, NULL_DIGEST), (7, B)))


def test_the_start_is_chosen_from_all_of_them() -> None:
    """Checklist 13: different checkpoints per replica; what is prepared below the highest one is settled already."""
    view_changes = [
        ViewChange(3, None, (prepared(0, 2, A),)),
        ViewChange(3, stable(5, view=2), ()),
        ViewChange(3, stable(3), (prepared(1, 4, B), prepared(1, 6, A))),
    ]
    for order in itertools.permutations(view_changes):
        outcome = outcome_of(list(order), 0)
        assert (outcome.start, outcome.proposals) == (5, ((6, A),))


def test_nothing_prepared_means_nothing_carried() -> None:
    assert outcome_of([ViewChange(1, None, ())] * 3, 0).proposals == ()


# What is refused.


def with_prepared(certificate: PreparedCertificate) -> ViewChange:
    return ViewChange(3, None, (certificate,))


def _forge(certificate: PreparedCertificate) -> list[PreparedCertificate]:
    c = certificate
    (first, second) = c.prepares
    own = (0, sign_as(KEYS, 0, Prepare(c.view, c.height, c.digest)).signature)
    return [
        PreparedCertificate(c.view, c.height, c.digest, c.pre_prepare, (first,)),
        PreparedCertificate(c.view, c.height, c.digest, c.pre_prepare, (own, first)),  # the primary counts once
        PreparedCertificate(c.view, c.height, c.digest, c.pre_prepare, (first, (3, second[1]))),
        PreparedCertificate(c.view, c.height, c.digest, c.pre_prepare, (first, (4, second[1]))),
        PreparedCertificate(c.view, c.height, c.digest, first[1], c.prepares),
        PreparedCertificate(c.view, c.height, B, c.pre_prepare, c.prepares),
        PreparedCertificate(c.view, 2, c.digest, c.pre_prepare, c.prepares),
        PreparedCertificate(1, c.height, c.digest, c.pre_prepare, c.prepares),
    ]


@pytest.mark.parametrize("number", range(8))
def test_a_forged_prepared_certificate_is_refused(number: int) -> None:
    """Checklist 4 and 9: nobody can claim that something was prepared."""
    genuine = prepared(0, 1, A)
    check_view_change(with_prepared(genuine), desk())
    with pytest.raises(PeerError) as error:
        check_view_change(with_prepared(_forge(genuine)[number]), desk())
    assert error.value.code == "bad-view-change"


def test_a_forged_stable_certificate_is_refused() -> None:
    """Checklist 9."""
    good = stable(5)
    check_view_change(ViewChange(1, good, ()), desk())
    for bad in (
        Certificate(0, 0, 6, C, good.votes),
        Certificate(0, 1, 5, C, good.votes),
        Certificate(1, 0, 5, C, good.votes),
        Certificate(0, 0, 5, A, good.votes),
        Certificate(0, 0, 5, C, good.votes[:2]),
        Certificate(0, 0, 5, C, (*good.votes[:2], good.votes[1])),
    ):
        with pytest.raises(PeerError) as error:
            check_view_change(ViewChange(1, bad, ()), desk())
        assert error.value.code == "bad-view-change"


def test_a_new_view_that_says_anything_else_is_refused() -> None:
    """Checklist 10: dropped, swapped, inserted or renumbered proposals; too few view changes, or of another view."""
    changes = {
        0: ViewChange(1, stable(4), (prepared(0, 5, A), prepared(0, 7, B))),
        2: ViewChange(1, stable(3), ()),
        3: ViewChange(1, stable(4), ()),
    }
    signed, statement = new_view(changes, 1)
    assert check_new_view(signed, statement, desk()).start == 4

    def sign(height: int, digest: bytes) -> tuple[int, bytes, bytes]:
        return (height, digest, sign_as(KEYS, 1, PrePrepare(1, height, digest)).signature)

    five, gap, seven = statement.proposals
    wrong: list[NewView] = [
        NewView(1, statement.view_changes, (five, gap)),
        NewView(1, statement.view_changes, ()),
        NewView(1, statement.view_changes, (five, gap, sign(7, A))),
        NewView(1, statement.view_changes, (five, sign(6, C), seven)),
        NewView(1, statement.view_changes, (*statement.proposals, sign(8, C))),
        NewView(1, statement.view_changes, (sign(4, C), *statement.proposals)),
        NewView(1, statement.view_changes, (sign(6, A), sign(7, NULL_DIGEST), sign(8, B))),
        NewView(1, statement.view_changes, (five, gap, (7, B, five[2]))),
        NewView(1, statement.view_changes[:2], outcome_proposals(list(changes.values())[:2])),
        NewView(1, (*statement.view_changes[:2], sign_as(KEYS, 3, ViewChange(5, None, ()))), statement.proposals),
        NewView(1, (*statement.view_changes[:2], sign_as(KEYS, 3, Suspect(1))), statement.proposals),
        NewView(
            1,
            (*statement.view_changes[:2], Signed(3, statement.view_changes[2].data, five[2])),
            statement.proposals,
        ),
    ]
    for bad in wrong:
        with pytest.raises(PeerError):
            check_new_view(sign_as(KEYS, 1, bad), bad, desk())
    with pytest.raises(PeerError):
        check_new_view(sign_as(KEYS, 2, statement), statement, desk())  # by another member
    with pytest.raises(PeerError):
        check_new_view(Signed(1, signed.data, five[2]), statement, desk())


def outcome_proposals(view_changes: list[ViewChange]) -> tuple[tuple[int, bytes, bytes], ...]:
    proposals = outcome_of(view_changes, 0).proposals
    return tuple((h, d, sign_as(KEYS, 1, PrePrepare(1, h, d)).signature) for h, d in proposals)


# In a replica.


def test_every_order_of_view_changes_begins_the_same_view() -> None:
    """Checklist 14: the new primary proposes the same, whichever view changes it hears first."""
    changes = {
        0: ViewChange(1, None, (prepared(0, 1, A, without=1),)),
        2: ViewChange(1, None, (prepared(0, 1, A, without=1), prepared(0, 3, B, without=1))),
        3: ViewChange(1, None, (prepared(0, 3, B, without=1),)),
    }
    for order in itertools.permutations(changes):
        cluster = Cluster(4)
        cluster.names.update({A: "a", B: "b"})
        for member in order:
            cluster.receive(member, 1, sign_as(cluster.keys, member, changes[member]))
        begun = [line for line in cluster.trace if "-> * new-view" in line]
        proposals = begun[0].split("proposals ")[1]
        assert proposals == "[1:a 2:null 3:b]", order


def test_a_height_that_a_certificate_has_settled_is_closed_in_the_new_view() -> None:
    """Checklist 22: whoever lags behind the new view's start votes for nothing at or below it."""
    cluster = Cluster(4)
    changes = {0: ViewChange(1, stable(5), ()), 1: ViewChange(1, None, ()), 3: ViewChange(1, None, ())}
    cluster.receive(1, 2, new_view(changes, 1)[0])
    assert cluster.replica(2).view == 1 and cluster.replica(2).is_active
    raw, digest = make_batch(1, proposer=1)
    cluster.names[digest] = "late"
    cluster.receive(1, 2, Proposal(sign_as(cluster.keys, 1, PrePrepare(1, 5, digest)), raw))
    assert [error.code for _, error in cluster.errors] == ["closed-height"]
    cluster.receive(1, 2, Proposal(sign_as(cluster.keys, 1, PrePrepare(1, 6, digest)), raw))
    assert cluster.logged_votes(2) == [Prepare(1, 6, digest)]
