"""The core hands out every lie that shows by itself where it meets it, once; and none against a correct member."""

from collections.abc import Callable

import pytest

from node.consensus import lies
from node.consensus.messages import Signed
from node.consensus.settings import CHANGES_PER_TICK
from node.consensus.statements import Commit, NewView, Prepare, PrePrepare, Statement, Suspect, ViewChange
from node.model.certificate import decode_certificate
from node.model.codec import sha256
from tests.consensus.harness import Cluster, make_batch, plain_verify, sign_as
from tests.consensus.proofs import A, B


def kinds(cluster: Cluster, index: int) -> list[tuple[str, int]]:
    return [(evidence.kind, evidence.member) for evidence in cluster.nodes[index].evidence]


def without_commits(cluster: Cluster) -> None:
    """Batches are prepared, and no commit vote of a correct member arrives."""
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit"


def leave_view(cluster: Cluster, view: int, silent: int) -> None:
    """All but ``silent`` suspect the primary until they have left for ``view``."""
    others = [index for index in range(4) if index != silent]
    for _ in range(200):
        if all(cluster.replica(index).view >= view for index in others):
            return
        cluster.tick(others, pending=True)
    raise AssertionError("no view change")


def test_a_vote_that_is_left_out_of_a_view_change_is_found_out() -> None:
    """Checklist 9: the member voted to commit, and says on leaving the view that nothing was prepared."""
    cluster = Cluster()
    without_commits(cluster)
    cluster.propose(0)
    cluster.deliver()
    vote = Commit(0, 1, A)
    cluster.receive(3, 1, sign_as(cluster.keys, 3, vote))
    cluster.crash(3)
    cluster.crash(0)
    cluster.receive(3, 1, sign_as(cluster.keys, 3, ViewChange(1, None, ())))
    assert kinds(cluster, 1) == [(lies.OMITTED_PREPARED, 3)]
    first, second = cluster.nodes[1].evidence[0].statements
    assert (cluster.statement(first), cluster.statement(second)) == (vote, ViewChange(1, None, ()))


def test_it_is_found_out_after_the_view_was_left_too() -> None:
    cluster = Cluster()
    without_commits(cluster)
    cluster.propose(0)
    cluster.deliver()
    cluster.receive(3, 1, sign_as(cluster.keys, 3, Commit(0, 1, A)))
    cluster.passes = lambda sender, to, message: 3 not in (sender, to) and cluster.kind(message) != "commit"
    leave_view(cluster, 1, silent=3)
    cluster.receive(3, 1, sign_as(cluster.keys, 3, ViewChange(1, None, ())))
    assert kinds(cluster, 1) == [(lies.OMITTED_PREPARED, 3)]


def test_a_vote_in_the_newest_certificate_counts() -> None:
    cluster = Cluster()
    cluster.passes = lambda sender, to, message: 2 not in (sender, to)  # so that member 3's vote is needed
    cluster.propose(0)
    cluster.deliver()
    assert [member for member, _ in cluster.nodes[1].chain[0][2].votes] == [0, 1, 3]
    cluster.receive(3, 1, sign_as(cluster.keys, 3, ViewChange(1, None, ())))
    assert kinds(cluster, 1) == [(lies.OMITTED_PREPARED, 3)]


def test_two_view_changes_for_one_view_are_evidence() -> None:
    cluster = Cluster()
    cluster.propose(0)
    cluster.deliver()
    newest = cluster.nodes[1].chain[0][2]
    for stable in (newest, None, newest):
        cluster.receive(3, 1, sign_as(cluster.keys, 3, ViewChange(1, stable, ())))
    assert kinds(cluster, 1) == [(lies.TWO_VOTES, 3)]


def test_a_view_change_with_a_forged_certificate_is_evidence() -> None:
    cluster = Cluster()
    cluster.propose(0)
    cluster.deliver()
    certificate = cluster.nodes[1].chain[0][2]
    forged = type(certificate)(0, 0, 1, B, certificate.votes)
    cluster.receive(3, 1, sign_as(cluster.keys, 3, ViewChange(1, forged, ())))
    assert [error.code for _, error in cluster.errors] == ["bad-view-change"]
    assert kinds(cluster, 1) == [(lies.FALSE_VIEW_CHANGE, 3)]


def test_a_forged_statement_accuses_nobody() -> None:
    """Whoever sends it, without the key: it is dropped, and the member that it names is not accused."""
    cluster = Cluster()
    cluster.propose(0)
    cluster.deliver()
    forged = bytes(64)
    good = sign_as(cluster.keys, 3, ViewChange(1, cluster.nodes[1].chain[0][2], ()))
    cluster.receive(3, 1, good)
    for statement in (ViewChange(1, None, ()), ViewChange(2, None, ()), Commit(0, 1, B), NewView(3, (), ())):
        signed = sign_as(cluster.keys, 3, statement)
        cluster.receive(3, 1, Signed(3, signed.data, forged))
    assert kinds(cluster, 1) == []


def test_a_new_view_that_its_view_changes_contradict_is_evidence() -> None:
    """Checklist 10."""
    cluster = Cluster()
    cluster.crash(0)
    changes = tuple(sign_as(cluster.keys, m, ViewChange(1, None, ())) for m in (1, 2, 3))
    false = sign_as(cluster.keys, 1, NewView(1, changes[:2], ()))
    cluster.receive(1, 2, false)
    assert kinds(cluster, 2) == [(lies.FALSE_NEW_VIEW, 1)]
    assert cluster.nodes[2].evidence[0].statements == (false,)


def test_two_beginnings_of_one_view_are_evidence() -> None:
    """Which of two quorums a primary shows is its choice, but it makes it once."""
    cluster = Cluster(7)
    changes = tuple(sign_as(cluster.keys, m, ViewChange(1, None, ())) for m in (0, 1, 3, 4, 5, 6))
    for chosen in (changes[:5], changes[1:], changes[:5]):
        cluster.receive(1, 2, sign_as(cluster.keys, 1, NewView(1, chosen, ())))
    assert cluster.replica(2).view == 1 and cluster.replica(2).is_active
    assert kinds(cluster, 2) == [(lies.TWO_VOTES, 1)]


def test_a_vote_for_another_block_than_the_certified_one_is_evidence() -> None:
    """Checklist 26: before the certificate is there, or just after it."""
    cluster = Cluster()
    cluster.passes = lambda sender, to, message: 3 not in (sender, to)
    cluster.propose(0)
    early, late = 1, 2
    cluster.receive(3, early, sign_as(cluster.keys, 3, Commit(0, 1, B)))
    cluster.deliver()
    assert kinds(cluster, early) == [(lies.WRONG_BLOCK, 3)]
    evidence = cluster.nodes[early].evidence[0]
    assert decode_certificate(evidence.attachment).block_hash == cluster.nodes[early].chain[0][0].hash
    assert kinds(cluster, late) == []


def test_a_proposal_of_a_foreign_batch_is_evidence() -> None:
    cluster = Cluster()
    raw, digest = make_batch(1, chain=b"x" * 32)
    cluster.names[digest] = "foreign"
    cluster.replica(0).propose(raw, digest)
    cluster.obey(0)
    cluster.deliver()
    assert kinds(cluster, 1) == [(lies.FALSE_PROPOSAL, 0)]
    assert cluster.nodes[1].evidence[0].attachment == raw


def test_a_batch_refused_for_the_clock_is_no_evidence() -> None:
    cluster = Cluster()
    cluster.accepts = lambda node, digest: False
    cluster.propose(0)
    cluster.deliver()
    assert [kinds(cluster, index) for index in range(4)] == [[], [], [], []]


def test_honest_view_changes_leave_no_evidence() -> None:
    """Through several views, with batches prepared in each and commits lost."""
    cluster = Cluster(timeout_ticks=4)
    without_commits(cluster)
    for view in range(4):
        primary = cluster.replica(1).primary
        if cluster.replica(primary).wants_batch:
            cluster.propose(primary)
        cluster.deliver()
        leave_view(cluster, view + 1, silent=-1)
    cluster.passes = lambda sender, to, message: True
    cluster.tick(count=100, pending=True)
    assert min(cluster.heights()) >= 1
    assert [node.evidence for node in cluster.nodes] == [[], [], [], []]


def _different(number: int) -> bytes:
    return sha256(b"batch", bytes([number]))


@pytest.mark.parametrize(
    ("liar", "say", "most"),
    [
        (3, Suspect, CHANGES_PER_TICK),
        (3, lambda number: ViewChange(1 + number, None, ()), CHANGES_PER_TICK),
        (3, lambda number: Prepare(0, 1, _different(number)), 2),
        (3, lambda number: Commit(0, 1, _different(number)), 2),
        (0, lambda number: PrePrepare(0, 1, _different(number)), 2),
    ],
)
def test_whoever_signs_much_does_not_have_much_checked(
    liar: int, say: Callable[[int], Statement], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checklist 55: each statement is another one and genuine, so that none of them is a fault by itself."""
    cluster = Cluster()
    checked: list[bytes] = []

    def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
        checked.append(message)
        return plain_verify(public_key, message, signature)

    monkeypatch.setattr(cluster.replica(1)._desk.verify, "_verify", verify)
    for number in range(200):
        cluster.replica(1).step(liar, sign_as(cluster.keys, liar, say(number)))
    assert len(checked) == most
    cluster.replica(1).tick(pending=False, overdue=False)
    cluster.replica(1).step(liar, sign_as(cluster.keys, liar, Suspect(2**40)))
    assert len(checked) == most + 1  # later it is heard again
