"""What a replica says it waits for."""

from node.consensus.diagnosis import (
    BARRIER,
    BATCH,
    BLOCKS,
    COMMITS,
    NEW_VIEW,
    PREPARES,
    PROPOSAL,
    RECOLLECTIONS,
    VIEW_CHANGES,
    WORK,
    Wait,
)
from node.consensus.messages import BlockReply, Proposal
from tests.consensus.harness import Cluster


def wait(cluster: Cluster, index: int) -> Wait:
    """The last thing that a node waits for: what the next block lacks."""
    return cluster.replica(index).diagnosis().waits[-1]


def test_step_by_step_to_a_block() -> None:
    cluster = Cluster(4, timeout_ticks=200)
    assert wait(cluster, 1) == Wait(WORK, (), (), 0)
    cluster.tick(count=3, pending=True)
    assert wait(cluster, 1) == Wait(PROPOSAL, (0,), (), 3)
    cluster.crash(3)
    cluster.passes = lambda sender, to, message: not (to == 1 and isinstance(message, Proposal))
    cluster.propose(0, "a")
    cluster.deliver(lambda sender, to, message: sender == 0)
    cluster.deliver(lambda sender, to, message: cluster.kind(message) == "prepare" and to == 0)
    assert wait(cluster, 1).what in (WORK, PROPOSAL)
    (proposal,) = [send for send in cluster.trace if "0 -> * proposal" in send]
    assert proposal
    cluster.passes = lambda sender, to, message: cluster.kind(message) not in ("batch-request", "prepare", "proposal")
    cluster.tick((0, 1, 2), count=12, pending=True)
    assert wait(cluster, 1).what == BATCH
    assert wait(cluster, 2).what == PREPARES
    assert wait(cluster, 2).members == (1, 3) and wait(cluster, 2).have == (0, 2)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit"
    cluster.tick((0, 1, 2), count=16, pending=True)
    assert wait(cluster, 2).what == COMMITS
    assert wait(cluster, 2).have == (2,) and wait(cluster, 2).members == (0, 1, 3)


def test_a_view_that_does_not_begin() -> None:
    cluster = Cluster(4)
    cluster.crash(0)
    cluster.crash(3)
    cluster.tick((1, 2), count=30, pending=True)
    assert wait(cluster, 2) == Wait(VIEW_CHANGES, (0, 3), (1, 2), wait(cluster, 2).ticks)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "new-view"
    cluster.restart(3)
    cluster.tick((1, 2, 3), count=11, pending=True)
    found = cluster.replica(2).diagnosis()
    assert found.waits[-1].what == NEW_VIEW and found.waits[-1].members == (1,)
    assert not found.is_active and found.view == 1 and found.last_cause == "silent"
    assert found.wants[2] == 1


def test_what_is_asked_of_others() -> None:
    cluster = Cluster(4)
    cluster.crash(3)
    for _ in range(3):
        cluster.propose(0)
        cluster.deliver()
    cluster.passes = lambda sender, to, message: False
    cluster.restart(3)
    cluster.tick((3,), count=5)
    found = cluster.replica(3).diagnosis()
    assert found.passive_because == "recalling"
    assert found.waits[0] == Wait(RECOLLECTIONS, (0, 1, 2, 3), (), 5)
    cluster.passes = lambda sender, to, message: not isinstance(message, BlockReply)
    cluster.tick(count=20)
    assert cluster.replica(3).diagnosis().waits[0].what == BLOCKS
    cluster.passes = lambda sender, to, message: True
    cluster.wipe(3)
    cluster.tick(count=30)
    found = cluster.replica(3).diagnosis()
    assert (found.height, found.barrier, found.passive_because) == (3, 20, "memory-lost")
    assert found.waits[0].what == BARRIER


def test_why_views_were_left() -> None:
    """Silence, that of others, and being shown that others have gone on."""
    cluster = Cluster(4)
    assert cluster.replica(1).last_cause == ""
    cluster.passes = lambda sender, to, message: to != 3 or cluster.kind(message) not in ("suspect", "view-change")
    for _ in range(25):
        cluster.tick((0, 1, 2), pending=True)
        cluster.tick((3,), pending=False)
    assert [cluster.replica(index).last_cause for index in (0, 1, 2, 3)] == ["silent"] * 3 + ["joined"]
    cluster.passes = lambda sender, to, message: True
    cluster.crash(1)
    for _ in range(60):
        cluster.tick((2, 3), pending=True)
        cluster.tick((0,), pending=False)
    assert cluster.replica(0).view >= 2 and cluster.replica(0).last_cause == "others"
