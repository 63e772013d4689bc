"""Leaving a view: who does when, and what survives it."""

from collections.abc import Callable

from node.consensus.messages import Message, Proposal, Ready, Signed, Status
from node.consensus.statements import Prepare, PrePrepare, Suspect, ViewChange
from tests.consensus.harness import Cluster, make_batch, sign_as

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


def test_a_new_view_is_not_shown_to_one_peer_again_and_again() -> None:
    """Checklist 52: it may be large, and a Status that asks for it is small."""
    cluster = Cluster(4)
    cluster.crash(0)
    cluster.tick((1, 2, 3), count=30, pending=True)
    assert cluster.replica(2).view == 1 and cluster.replica(2).is_active
    shown = 0
    for _ in range(40):
        for _ in range(3):
            cluster.replica(2).step(0, Status(0, 0, 0))
        cluster.replica(2).tick(pending=False, overdue=False)
        sent = [send for send in cluster.replica(2).ready().send if send.to == 0]
        shown += sum(cluster.kind(send.message) == "new-view" for send in sent)
    assert 4 <= shown <= 9


def test_a_log_of_views_that_bring_nothing_can_be_cut() -> None:
    """Checklist 22 and 52: the log would grow for as long as no block is stored."""
    cluster = Cluster(4, timeout_ticks=4)
    cluster.passes = lambda sender, to, message: cluster.kind(message) not in ("proposal", "pre-prepare")
    cuts: list[int | None] = []
    drain = cluster.replica(1).ready

    def ready() -> Ready:
        found = drain()
        cuts.append(found.log_cut)
        return found

    cluster.replica(1).ready = ready  # type: ignore[method-assign]
    cluster.tick(count=200, pending=True)
    view = cluster.replica(1).view
    assert view > 3 and cluster.heights() == [0] * 4
    assert cuts.count(0) >= view
    assert len(cluster.replica(1).log_snapshot()) <= 2
    cluster.compact(1)
    cluster.restart(1)
    assert cluster.replica(1).view >= view
