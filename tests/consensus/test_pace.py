"""A primary that is merely slow is replaced for it, unless everybody is."""

import pytest

from node.consensus.pace import LEAST_TICKS, SAMPLES, Pace
from tests.consensus.harness import Cluster


def run(pace: Pace, view: int, delay: int, count: int = SAMPLES) -> None:
    """So many proposals, each after ``delay`` ticks in which work waited."""
    for _ in range(count):
        for _ in range(delay):
            pace.tick(view, True)
        pace.tick(view, False)


def test_a_pace_is_the_median_of_the_last_delays() -> None:
    """Checklist 33."""
    pace = Pace(4)
    found = [(pace.median, pace.is_slow)]
    for delay, count in ((19, SAMPLES - 1), (19, 1), (1, SAMPLES)):
        run(pace, 0, delay, count)
        found.append((pace.median, pace.is_slow))
    assert found == [(None, False), (None, False), (19, True), (1, False)]


def test_a_few_hiccups_replace_nobody() -> None:
    """Checklist 33: three long delays in eight are the network's."""
    pace = Pace(4)
    for _ in range(20):
        run(pace, 0, 19, 3)
        run(pace, 0, 1, 5)
        assert not pace.is_slow


def test_quick_proposals_that_nobody_waited_for_hide_nothing() -> None:
    """Checklist 33: long delays with bursts between them."""
    pace = Pace(4)
    for _ in range(SAMPLES):
        run(pace, 0, 19, 1)
        for _ in range(30):
            pace.tick(0, False)
    assert pace.is_slow


def test_where_everything_is_slow_nobody_is_replaced_for_it() -> None:
    """Checklist 33: the best of the last views is the measure; a quicker primary sets a stricter one."""
    pace = Pace(4)
    found = []
    for view, delay in enumerate((12, 12, 4, 12)):
        run(pace, view, delay)
        found.append((pace.allowed, pace.is_slow))
    # With nothing to compare with, the first is slow.
    assert found == [(LEAST_TICKS, True), (24, False), (24, False), (8, True)]


def work_through(cluster: Cluster, delay_of: dict[int, int], ticks: int) -> None:
    """Work is always waiting; each primary proposes one batch after its own delay in ticks."""
    waited = 0
    for _ in range(ticks):
        cluster.tick(pending=True)
        waited += 1
        primary = cluster.replica(1).primary
        if waited >= delay_of[primary] and cluster.replica(primary).wants_batch:
            cluster.propose(primary)
            cluster.deliver()
            waited = 0


@pytest.mark.parametrize("delay", [8, 19])
def test_a_primary_that_delays_to_just_under_the_time_out_is_replaced(delay: int) -> None:
    """Checklist 33: it is never silent; after eight late proposals the next primary takes over, and stays."""
    cluster = Cluster(4)
    cluster.is_traced = False
    work_through(cluster, {0: delay, 1: 1, 2: 1, 3: 1}, ticks=(SAMPLES + 3) * delay)
    assert cluster.replica(2).view == 1
    assert cluster.replica(2).last_cause == "slow"
    height = cluster.heights()[2]
    work_through(cluster, {0: delay, 1: 1, 2: 1, 3: 1}, ticks=200)
    assert cluster.replica(2).view == 1
    assert cluster.heights()[2] > height + 80
    cluster.assert_one_chain()


def test_a_slow_network_settles_after_one_change() -> None:
    """Checklist 33: twelve ticks for everyone."""
    cluster = Cluster(4)
    cluster.is_traced = False
    work_through(cluster, dict.fromkeys(range(4), 12), ticks=600)
    assert cluster.replica(2).view == 1
    assert min(cluster.heights()) > 40


def test_one_member_alone_replaces_no_slow_primary() -> None:
    """Checklist 15 and 33: what one member finds slow, the others may not."""
    cluster = Cluster(4)
    cluster.is_traced = False
    for _ in range(40):
        for _ in range(10):
            cluster.tick((3,), pending=True)
            cluster.tick((0, 1, 2), pending=False)
        cluster.propose(0)
        cluster.deliver()
    assert cluster.replica(3).diagnosis().wants[3] == 1
    assert {cluster.replica(index).view for index in range(4)} == {0}
    assert cluster.heights() == [40] * 4
