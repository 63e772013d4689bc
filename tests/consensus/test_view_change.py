"""Leaving a view, and what the next one starts with."""

import itertools
from collections.abc import Callable

import pytest

from node.consensus.desk import Desk
from node.consensus.messages import Message, Proposal, Signed
from node.consensus.settings import Settings
from node.consensus.statements import (
    Commit,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Suspect,
    ViewChange,
)
from node.consensus.view_change import check_new_view, check_view_change, outcome_of
from node.errors import PeerError
from node.model.block import NULL_DIGEST
from node.model.certificate import Certificate
from tests.consensus.harness import CHAIN, Cluster, keys, make_batch, plain_verify, sign_as

KEYS = keys(4)
MEMBERS = tuple(key.public_key for key in KEYS)
A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))


def desk(me: int = 0) -> Desk:
    return Desk(Settings(CHAIN, 0, MEMBERS, me), KEYS[me], plain_verify)


def prepared(view: int, height: int, digest: bytes) -> PreparedCertificate:
    """A genuine prepared certificate."""
    primary = view % 4
    backups = [member for member in range(4) if member != primary][:2]
    return PreparedCertificate(
        view,
        height,
        digest,
        sign_as(KEYS, primary, PrePrepare(view, height, digest)).signature,
        tuple((m, sign_as(KEYS, m, Prepare(view, height, digest)).signature) for m in backups),
    )


def stable(height: int, view: int = 0) -> Certificate:
    """A genuine commit certificate."""
    vote = Commit(view, height, C)
    return Certificate(0, view, height, C, tuple((m, sign_as(KEYS, m, vote).signature) for m in (0, 1, 3)))


def new_view(view_changes: dict[int, ViewChange], view: int) -> tuple[Signed, NewView]:
    """The NewView that a correct primary makes of them."""
    primary = view % 4
    outcome = outcome_of(list(view_changes.values()))
    proposals = tuple(
        (height, digest, sign_as(KEYS, primary, PrePrepare(view, height, digest)).signature)
        for height, digest in outcome.proposals
    )
    statement = NewView(view, tuple(sign_as(KEYS, m, vc) for m, vc in view_changes.items()), proposals)
    return sign_as(KEYS, primary, statement), statement


# What a set of view changes means.


def test_the_highest_view_wins() -> None:
    """Checklist 11: conflicting certificates for one height, from three views."""
    view_changes = [ViewChange(4, None, (prepared(view, 1, digest),)) for view, digest in ((0, A), (2, B), (1, C))]
    for order in itertools.permutations(view_changes):
        assert outcome_of(list(order)).proposals == ((1, B),)


def test_gaps_get_null_batches() -> None:
    """Checklist 12: prepared 5 and 7, nothing at 6."""
    view_change = ViewChange(1, stable(4), (prepared(0, 5, A), prepared(0, 7, B)))
    outcome = outcome_of([view_change, ViewChange(1, stable(4), ()), ViewChange(1, stable(3), ())])
    assert (outcome.start, outcome.proposals) == (4, ((5, A), (6, NULL_DIGEST), (7, B)))


def test_the_start_is_chosen_from_all_of_them() -> None:
    """Checklist 13: different checkpoints per replica; what is prepared below the highest one is settled already."""
    view_changes = [
        ViewChange(3, None, (prepared(0, 2, A),)),
        ViewChange(3, stable(5, view=2), ()),
        ViewChange(3, stable(3), (prepared(1, 4, B), prepared(1, 6, A))),
    ]
    for order in itertools.permutations(view_changes):
        outcome = outcome_of(list(order))
        assert (outcome.start, outcome.proposals) == (5, ((6, A),))


def test_nothing_prepared_means_nothing_carried() -> None:
    assert outcome_of([ViewChange(1, None, ())] * 3).proposals == ()


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
    proposals = outcome_of(view_changes).proposals
    return tuple((h, d, sign_as(KEYS, 1, PrePrepare(1, h, d)).signature) for h, d in proposals)


# Who leaves when.


def suspect(cluster: Cluster, member: int, view: int) -> Signed:
    return sign_as(cluster.keys, member, Suspect(view))


def test_a_silent_primary_is_replaced() -> None:
    cluster = Cluster(4)
    cluster.crash(0)
    cluster.tick(count=25, pending=True)
    assert {cluster.replica(i).view for i in (1, 2, 3)} == {1}
    assert all(cluster.replica(i).is_active for i in (1, 2, 3))
    cluster.propose(1, "a")
    cluster.deliver()
    assert cluster.heights() == [0, 1, 1, 1]


def test_one_that_times_out_alone_keeps_voting() -> None:
    """Checklist 15."""
    cluster = Cluster(4)
    cluster.tick([3], count=100, pending=True)
    assert cluster.replica(3).view == 0 and cluster.replica(3).is_active
    cluster.crash(2)  # so that its votes are needed
    cluster.propose(0)
    cluster.deliver()
    assert cluster.heights() == [1, 1, 0, 1]


def test_f_members_cannot_force_a_view_change() -> None:
    """Checklist 15."""
    cluster = Cluster(7)
    for member in (5, 6):
        for view in (0, 3, 9):
            cluster.receive(member, 1, suspect(cluster, member, view))
            cluster.receive(member, 1, sign_as(cluster.keys, member, ViewChange(view + 2, None, ())))
    assert cluster.replica(1).view == 0 and cluster.replica(1).is_active


def test_joining_takes_the_smallest_higher_view() -> None:
    """Checklist 15."""
    cluster = Cluster(7)
    for member, view in ((2, 9), (3, 4), (5, 6)):
        cluster.receive(member, 1, sign_as(cluster.keys, member, ViewChange(view, None, ())))
    assert cluster.replica(1).view == 4 and not cluster.replica(1).is_active
    cluster.receive(6, 1, sign_as(cluster.keys, 6, ViewChange(8, None, ())))  # again f+1 are higher: 6, 8, 9
    assert cluster.replica(1).view == 6


def test_a_suspicion_lapses_unless_renewed() -> None:
    """Checklist 15: hiccups at different times do not add up."""
    cluster = Cluster(4)
    cluster.receive(2, 1, suspect(cluster, 2, 0))
    cluster.tick([1], count=40)
    cluster.receive(3, 1, suspect(cluster, 3, 0))
    assert cluster.replica(1).view == 0
    cluster.receive(2, 1, suspect(cluster, 2, 0))
    assert cluster.replica(1).view == 1


def test_equivocation_is_a_reason_to_suspect_at_once() -> None:
    """Checklist 5."""
    cluster = Cluster(4)
    for index in (1, 2):
        for time in (1, 2):
            raw, digest = make_batch(time)
            cluster.names[digest] = f"b{time}"
            cluster.receive(0, index, Proposal(sign_as(cluster.keys, 0, PrePrepare(0, 1, digest)), raw))
    cluster.tick([1, 2])
    assert cluster.replica(1).view == cluster.replica(2).view == 1


def test_no_vote_below_the_view_that_was_asked_for() -> None:
    """Checklist 20."""
    cluster = Cluster(4)
    for member in (2, 3):
        cluster.receive(member, 1, suspect(cluster, member, 0))
    assert cluster.replica(1).view == 1 and not cluster.replica(1).is_active
    before = len(cluster.logged_votes(1))
    cluster.network.clear()
    digest = cluster.propose(0)
    cluster.deliver(lambda sender, to, message: to == 1)
    cluster.receive(2, 1, sign_as(cluster.keys, 2, Prepare(0, 1, digest)))
    cluster.tick([1], count=30)
    assert len(cluster.logged_votes(1)) == before
    assert not [m for s, _, m in cluster.network if s == 1 and cluster.kind(m) in ("prepare", "commit")]


def test_a_primary_that_passes_over_a_transaction_is_replaced_though_blocks_come() -> None:
    """Checklist 28, the core's part: after T in its view, however many blocks it makes of other things."""
    cluster = Cluster(4)
    ticks = 0
    while cluster.replica(1).view == 0 and ticks < 40:
        ticks += 1
        cluster.propose(0)
        for index in range(4):
            cluster.replica(index).tick(pending=False, overdue=index in (1, 2))
            cluster.obey(index)
        cluster.deliver()
    assert ticks == 20
    assert min(cluster.heights()) >= 19
    for index in range(4):  # the next one has T as well, though the transaction is already old
        cluster.replica(index).tick(pending=False, overdue=True)
    assert all(cluster.replica(index).view == 1 for index in range(4))


# What survives.


def force_view(cluster: Cluster, nodes: tuple[int, ...], count: int = 30) -> None:
    """Let these nodes time out together."""
    view = max(cluster.replica(i).view for i in nodes)
    for _ in range(count):
        cluster.tick(nodes, pending=True)
        if all(cluster.replica(i).view > view and cluster.replica(i).is_active for i in nodes):
            return
    raise AssertionError("no view change")


def drop(cluster: Cluster, *kinds: str) -> Callable[[int, int, Message], bool]:
    return lambda sender, to, message: cluster.kind(message) not in kinds


def test_what_one_replica_committed_comes_back() -> None:
    """Checklist 9: commit at one replica only, commits dropped elsewhere, change the view: the same block."""
    cluster = Cluster(4)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit" or to == 3
    cluster.propose(0, "a")
    cluster.deliver()
    assert cluster.heights() == [0, 0, 0, 1]
    cluster.crash(3)
    cluster.passes = drop(cluster, "commit")
    force_view(cluster, (0, 1, 2))
    cluster.passes = lambda sender, to, message: True
    cluster.tick((0, 1, 2), count=12)
    assert cluster.digests(1) == ["a"]
    cluster.restart(3)
    cluster.tick(count=20)
    cluster.assert_one_chain()


def test_a_certificate_in_a_new_view_is_enough_to_store_what_was_executed() -> None:
    """Checklist 9 and 22: only one replica saw the commits, and it gives its blocks to nobody."""
    cluster = Cluster(4)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit" or to == 3
    cluster.propose(0, "a")
    cluster.deliver()
    assert cluster.heights() == [0, 0, 0, 1]
    cluster.passes = lambda sender, to, message: cluster.kind(message) not in ("commit", "block-reply")
    cluster.receive(3, 1, sign_as(cluster.keys, 3, Suspect(0)))
    cluster.receive(3, 2, sign_as(cluster.keys, 3, Suspect(0)))
    force_view(cluster, (0, 1, 2, 3))
    assert cluster.heights() == [1, 1, 1, 1]
    assert [len(node.executed) for node in cluster.nodes] == [1, 1, 1, 1]
    cluster.assert_one_chain()


def test_what_was_prepared_is_proposed_again_without_looking_at_the_clock() -> None:
    """Checklist 18 and 21: half an hour later the same batch is the new view's first; and nothing runs twice."""
    cluster = Cluster(4)
    cluster.passes = drop(cluster, "commit")
    cluster.propose(0, "a")
    cluster.propose(0, "b")
    cluster.deliver()
    executed = [list(node.executed) for node in cluster.nodes]
    cluster.accepts = lambda node, digest: False  # whatever is new is stale
    force_view(cluster, (0, 1, 2, 3))
    cluster.passes = lambda sender, to, message: True
    cluster.tick(count=12)
    assert cluster.digests(2) == ["a", "b"]
    for node, before in zip(cluster.nodes, executed, strict=True):
        assert node.executed == [*before, (2, node.executed[-1][1])]
    cluster.assert_one_chain()


def test_a_replaced_batch_is_executed_anew_in_its_place() -> None:
    """Checklist 25: h is prepared and h-1 is replaced by a view change; execution stays in order."""
    cluster = Cluster(4)
    cluster.passes = lambda sender, to, message: "view 0 height 1" not in cluster.describe(message)
    cluster.propose(0, "a")
    cluster.propose(0, "b")
    cluster.deliver()
    force_view(cluster, (0, 1, 2, 3), count=60)
    cluster.tick(count=12)
    assert cluster.digests(1) == ["null", "b"]
    cluster.assert_one_chain()


def test_two_dead_primaries_in_a_row() -> None:
    """Checklist 19: the second one never begins its view."""
    cluster = Cluster(7)
    cluster.crash(0)
    cluster.crash(1)
    cluster.tick(count=90, pending=True)
    assert {cluster.replica(i).view for i in range(2, 7)} == {2}
    cluster.propose(2, "a")
    cluster.deliver()
    assert cluster.heights()[2:] == [1] * 5


def test_a_primary_that_fails_while_the_view_changes() -> None:
    """Checklist 19: its NewView reaches one backup only."""
    cluster = Cluster(4)
    cluster.passes = drop(cluster, "commit")
    cluster.propose(0, "a")
    cluster.deliver()
    cluster.crash(0)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "new-view" or to == 3
    cluster.tick((1, 2, 3), count=25, pending=True)
    cluster.crash(1)
    cluster.restart(0)
    cluster.passes = lambda sender, to, message: True
    cluster.tick((0, 2, 3), count=200, pending=True)
    assert cluster.replica(2).view >= 2
    assert cluster.digests(2) == ["a"]
    cluster.assert_one_chain()


def test_view_changes_are_sent_again_until_they_are_superseded() -> None:
    """Checklist 16: all links are cut while everyone asks for a view; once linked, it begins."""
    cluster = Cluster(4)
    cluster.tick(count=1)
    cluster.passes = lambda sender, to, message: cluster.kind(message) == "suspect"
    cluster.crash(0)
    cluster.tick(count=60, pending=True)
    assert not any(cluster.replica(i).is_active for i in (1, 2, 3))
    cluster.passes = lambda sender, to, message: True
    cluster.tick(count=15)
    assert all(cluster.replica(i).is_active for i in (1, 2, 3))


def test_whoever_missed_a_view_change_is_shown_the_new_view() -> None:
    """Checklist 16 and 41: the NewView proves itself; a status only says who needs it."""
    cluster = Cluster(4)
    cluster.crash(0)
    force_view(cluster, (1, 2, 3))
    cluster.restart(0)
    cluster.tick(count=12)
    assert [cluster.replica(i).view for i in range(4)] == [1, 1, 1, 1]
    assert cluster.replica(0).is_active


def test_after_two_hours_without_a_quorum_there_is_a_block_within_seconds() -> None:
    """Checklist 17: nobody's time-out grows while nobody can answer."""
    cluster = Cluster(4)
    cluster.crash(0)
    cluster.crash(1)
    cluster.is_traced = False
    cluster.tick((2, 3), count=2 * 3600 * 20, pending=True)
    cluster.restart(1)
    for _ in range(30 * 20):
        cluster.tick((1, 2, 3), pending=True)
        if max(cluster.heights()) > 0:
            return
        primary = cluster.replica(2).primary
        if primary != 0 and cluster.replica(primary).wants_batch and cluster.replica(primary).next_height == 1:
            cluster.propose(primary)
    raise AssertionError("no block within 30 seconds")


def test_time_outs_double_up_to_a_cap_and_start_over_after_progress() -> None:
    """Checklist 17."""
    cluster = Cluster(4)
    clock = cluster.replica(1)._pacemaker
    seen = []
    for _ in range(6):
        seen.append(clock.timeout_ticks)
        clock.on_left()
    assert seen == [20, 40, 80, 160, 200, 200]
    clock.on_stored(in_this_view=False)
    assert clock.timeout_ticks == 200
    clock.on_stored(in_this_view=True)
    assert clock.timeout_ticks == 20


def test_every_order_of_view_changes_begins_the_same_view() -> None:
    """Checklist 14: the new primary proposes the same, whichever view changes it hears first."""
    changes = {
        0: ViewChange(1, None, (prepared(0, 1, A),)),
        2: ViewChange(1, None, (prepared(0, 1, A), prepared(0, 3, B))),
        3: ViewChange(1, None, (prepared(0, 3, B),)),
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
    changes = {0: ViewChange(1, stable(5), ()), 2: ViewChange(1, None, ()), 3: ViewChange(1, None, ())}
    cluster.receive(1, 2, new_view(changes, 1)[0])
    assert cluster.replica(2).view == 1 and cluster.replica(2).is_active
    raw, digest = make_batch(1, proposer=1)
    cluster.names[digest] = "late"
    cluster.receive(1, 2, Proposal(sign_as(cluster.keys, 1, PrePrepare(1, 5, digest)), raw))
    assert [error.code for _, error in cluster.errors] == ["closed-height"]
    cluster.receive(1, 2, Proposal(sign_as(cluster.keys, 1, PrePrepare(1, 6, digest)), raw))
    assert cluster.logged_votes(2) == [Prepare(1, 6, digest)]
