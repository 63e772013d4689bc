"""Who has forgotten what it voted for stays passive; who has not votes again as soon as the others have said so."""

import pytest

from node.consensus.messages import Recall, Recollection, Signed
from node.consensus.records import first_records
from node.consensus.replica import Memory
from node.consensus.settings import WINDOW
from node.consensus.statements import Commit, Prepare, PrePrepare, ViewChange
from node.model.certificate import encode_certificate
from tests.consensus.audited import Audited, everything, nothing
from tests.consensus.harness import Cluster, sign_as
from tests.consensus.proofs import A, stable

# Starting.


def test_a_new_network_starts_without_a_tick() -> None:
    """Checklist 37 and 39: everyone asks everyone, nobody holds anything: all may vote, some round trips later."""
    cluster = Cluster(4)  # has delivered what they said at their start
    assert [node.replica.passive_because for node in cluster.nodes] == [None] * 4
    cluster.propose(0)
    cluster.deliver()
    assert cluster.heights() == [1] * 4


def test_three_of_four_start_without_the_fourth() -> None:
    """Checklist 2 and 37: a member that never answers is one of the f that may be missing."""
    cluster = Cluster(4)
    for index in range(4):
        cluster.crash(index)
    for index in (0, 1, 2):
        cluster.restart(index)
    assert {cluster.replica(index).passive_because for index in (0, 1, 2)} == {"recalling"}
    cluster.deliver()
    assert {cluster.replica(index).passive_because for index in (0, 1, 2)} == {None}
    cluster.propose(0)
    cluster.deliver()
    assert cluster.heights()[:3] == [1] * 3


def test_a_restarted_replica_votes_for_nothing_before_enough_have_answered() -> None:
    """Checklist 37: it listens, and votes for all of it at once afterwards. Lost answers are asked for again."""
    cluster = Cluster(4)
    cluster.crash(1)
    cluster.passes = lambda sender, to, message: not isinstance(message, Recollection) and to != 3
    cluster.restart(1)
    cluster.propose(0, "a")
    cluster.deliver()
    assert cluster.replica(1).passive_because == "recalling"
    assert cluster.logged_votes(1) == [] and cluster.heights() == [0] * 4
    cluster.tick((0, 1, 2), count=20)
    assert cluster.logged_votes(1) == []
    cluster.passes = everything
    cluster.tick(count=12)
    assert cluster.replica(1).passive_because is None
    assert {type(vote) for vote in cluster.logged_votes(1)} >= {Prepare, Commit}
    assert cluster.heights() == [1] * 4


def test_it_needs_a_quorum_itself_included() -> None:
    """Checklist 37: one answer of three is not enough; an answer to an earlier start, or of another epoch, is none."""
    cluster = Cluster(4)
    cluster.crash(1)
    cluster.network.clear()
    cluster.restart(1)
    (question,) = {message for _, _, message in cluster.network if isinstance(message, Recall)}
    cluster.network.clear()
    for peer, epoch, start in ((0, 0, question.start - 1), (2, 1, question.start), (3, 0, question.start)):
        cluster.receive(peer, 1, Recollection(epoch, start, b"", ()))
    cluster.receive(3, 1, Recollection(0, question.start, b"", ()))
    assert cluster.replica(1).passive_because == "recalling"
    cluster.receive(2, 1, Recollection(0, question.start, b"", ()))
    assert cluster.replica(1).passive_because is None


def test_liars_make_nobody_passive() -> None:
    """Checklist 37: heights without a proof do not count, and statements that the asker did not sign neither."""
    cluster = Cluster(4)
    cluster.crash(1)
    cluster.restart(1)
    question = next(message for _, _, message in cluster.network if isinstance(message, Recall))
    cluster.network.clear()
    forged = Signed(1, sign_as(cluster.keys, 1, Commit(0, 9, A)).data, bytes(64))
    unproven = encode_certificate(stable(900).__class__(0, 0, 900, A, ((0, bytes(64)), (2, bytes(64)), (3, bytes(64)))))
    cluster.receive(0, 1, Recollection(0, question.start, unproven, (forged,)))
    cluster.receive(0, 1, Recollection(0, question.start, b"nonsense", (forged,)))
    assert [error.code for _, error in cluster.errors] == ["bad-recollection"] * 2
    cluster.receive(2, 1, Recollection(0, question.start, b"", (forged,)))
    assert cluster.replica(1).passive_because == "recalling"
    cluster.receive(3, 1, Recollection(0, question.start, b"", (forged, sign_as(cluster.keys, 2, Commit(0, 9, A)))))
    assert cluster.replica(1).passive_because is None and cluster.replica(1).barrier == 0
    assert cluster.nodes[1].forgotten == []


def test_who_is_merely_behind_votes_at_once() -> None:
    """Checklist 37: away for 40 blocks with its disk intact; another one dies; it is needed, and it votes."""
    cluster = Audited()
    cluster.crash(3)
    cluster.work(0, 1, 2, until=40)
    cluster.restart(3)
    cluster.tick(count=1)
    assert cluster.replica(3).passive_because is None
    cluster.crash(2)
    cluster.work(0, 1, 3, until=42)
    cluster.assert_nobody_voted_twice()


# Forgotten votes.


@pytest.mark.parametrize("stored", [0, 5])
@pytest.mark.parametrize("index", [0, 2])
def test_a_wiped_replica_votes_above_the_barrier_only(index: int, stored: int) -> None:
    """Checklist 37: a backup, or the primary itself, loses everything, even before the first block; what it signed
    before is never contradicted."""
    cluster = Audited()
    cluster.work(0, 1, 2, 3, until=stored)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit"
    primary = cluster.replica(0).primary
    for _ in range(WINDOW):
        cluster.propose(primary)
    cluster.deliver()  # votes for the whole window, of which nothing is stored
    before = len(cluster.votes[index])
    cluster.passes = everything
    cluster.wipe(index)
    others = [other for other in range(4) if other != index]
    cluster.tick(count=3, pending=True)
    replica = cluster.replica(index)
    assert replica.passive_because == "memory-lost"
    assert stored + WINDOW + 1 <= replica.barrier <= stored + 2 * WINDOW + 1
    cluster.work(*others, until=replica.barrier - 1)
    cluster.tick(count=10)
    assert replica.height == replica.barrier - 1 and replica.passive_because == "memory-lost"
    votes = cluster.votes[index][before:]
    assert not any(isinstance(vote, PrePrepare | Prepare | Commit | ViewChange) for vote in votes)
    cluster.work(*others, until=replica.barrier)
    cluster.tick(count=10)
    assert cluster.replica(index).passive_because is None
    cluster.crash(others[-1])
    cluster.work(index, *others[:-1], until=replica.barrier + 3)  # and it is needed again
    cluster.assert_nobody_voted_twice()
    cluster.assert_one_chain()


def test_a_lost_memory_stays_lost_over_restarts_until_the_barrier() -> None:
    """Checklist 37: killed before it has answers and after, its log rewritten: it does not take itself for sound."""
    cluster = Audited()
    cluster.work(0, 1, 2, 3, until=3)
    cluster.passes = nothing
    cluster.wipe(2)
    cluster.deliver()
    cluster.crash(2)
    cluster.passes = everything
    cluster.restart(2)  # the log is there now, and says that it is not to be trusted
    cluster.tick(count=10)
    barrier = cluster.replica(2).barrier
    assert barrier == 3 + WINDOW + 1 and cluster.replica(2).passive_because == "memory-lost"
    cluster.compact(2)
    assert first_records(Memory.LOST)[0] in cluster.nodes[2].records  # what is left of it in the next epoch
    for _ in range(2):
        cluster.crash(2)
        cluster.restart(2)
        cluster.deliver()
        assert (cluster.replica(2).barrier, cluster.replica(2).passive_because) == (barrier, "memory-lost")
    assert cluster.replica(2).memory is Memory.LOST
    cluster.work(0, 1, 3, until=barrier)
    cluster.tick(count=10)
    cluster.compact(2)
    cluster.crash(2)
    cluster.restart(2)
    cluster.deliver()
    assert cluster.replica(2).passive_because is None


def test_an_old_copy_of_the_disk_contradicts_nothing() -> None:
    """Checklist 37: the copy is sound in itself; the others hold votes that it does not have."""
    cluster = Audited()
    cluster.work(0, 1, 2, 3, until=2)
    copy = cluster.backup(0)
    cluster.work(0, 1, 2, 3, until=6)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit"
    cluster.propose(0, "a")
    cluster.deliver()
    cluster.passes = everything
    cluster.restore(0, copy)
    cluster.deliver()
    assert cluster.replica(0).passive_because == "vote-forgotten"
    assert cluster.nodes[0].forgotten
    assert not cluster.replica(0).wants_batch
    barrier = cluster.replica(0).barrier
    cluster.work(1, 2, 3, until=barrier)
    cluster.tick(count=10)
    assert cluster.replica(0).passive_because is None
    cluster.crash(3)
    cluster.work(0, 1, 2, until=barrier + 2)
    cluster.assert_nobody_voted_twice()
    cluster.assert_one_chain()


def test_a_view_change_that_was_forgotten_is_taken_up_again() -> None:
    """Checklist 20 and 37: no vote in a view that it had left before its disk was restored."""
    cluster = Audited()
    copy = cluster.backup(2)
    cluster.propose(0, "a")
    cluster.deliver()
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "new-view"
    cluster.crash(0)
    cluster.tick((1, 2, 3), count=25, pending=True)
    said = [vote for vote in cluster.votes[2] if isinstance(vote, ViewChange)]
    assert said
    cluster.passes = everything
    cluster.restore(2, copy)
    cluster.restart(0)
    cluster.deliver()
    assert cluster.replica(2).passive_because == "vote-forgotten"
    assert cluster.replica(2).view >= said[-1].view
    assert cluster.memory(2).view_change is not None
    cluster.work(0, 1, 3, until=cluster.replica(2).barrier)
    cluster.tick(count=10)
    assert cluster.replica(2).passive_because is None
    cluster.assert_nobody_voted_twice()


def test_the_view_is_learned_before_a_vote_is_cast_in_it() -> None:
    """Checklist 37 and 41: back with an old copy, in view 0, whose primary it was; the others are in view 1 by now."""
    cluster = Audited()
    copy = cluster.backup(0)
    cluster.crash(0)
    cluster.tick((1, 2, 3), count=40, pending=True)
    cluster.work(1, 2, 3, until=2)
    cluster.network.clear()
    cluster.passes = lambda sender, to, message: sender != 2
    cluster.restore(0, copy)
    cluster.deliver(lambda sender, to, message: sender == 0 or (sender == 1 and to == 0))
    assert cluster.replica(0).passive_because == "recalling"
    assert cluster.replica(0).view == 0 and cluster.nodes[0].records == []  # shown, and held back
    cluster.deliver()
    assert cluster.replica(0).passive_because is None
    assert cluster.replica(0).view == 1 and not cluster.replica(0).wants_batch
    cluster.assert_nobody_voted_twice()


def test_a_power_loss_of_all_with_one_disk_lost() -> None:
    """Checklist 37 and 39: the other three recall one another and go on; nobody has to do anything."""
    cluster = Audited()
    cluster.work(0, 1, 2, 3, until=4)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit"
    cluster.propose(0, "a")
    cluster.deliver()
    for index in range(4):
        cluster.crash(index)
    cluster.network.clear()
    cluster.passes = everything
    for index in (0, 1, 3):
        cluster.restart(index)
    cluster.wipe(2)
    cluster.work(0, 1, 3, until=5)
    assert cluster.digests(0)[4] == "a"
    cluster.tick(count=20)
    assert cluster.heights() == [5] * 4
    cluster.assert_nobody_voted_twice()
