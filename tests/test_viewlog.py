"""Every change of the view is told, with its cause and how long it took."""

import logging

import pytest

from node.viewlog import REMEMBERED, RESTART, ViewChanged, ViewLog


def test_a_view_change_is_told_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "watt.views")
    views = ViewLog(3, True)
    views.notice(3, True, "d", "", tick=1, now_ms=50)
    views.notice(4, False, "a", "silent", tick=21, now_ms=1050)
    views.notice(5, False, "b", "silent", tick=61, now_ms=3050)
    views.notice(5, True, "b", "silent", tick=63, now_ms=3150)
    assert list(views.recent) == [ViewChanged(3, 5, "b", "silent", 2100, 3150)]
    assert views.counts == {"silent": 1}
    assert [record.getMessage() for record in caplog.records] == [
        "view-left view=3 cause=silent waits-for=4 primary=a",
        "view-left view=3 cause=silent waits-for=5 primary=b",
        "view-change view=5 primary=b left=3 cause=silent took-ms=2100",
    ]


def test_whoever_is_shown_a_later_view_joins_it() -> None:
    views = ViewLog(0, True)
    views.notice(7, True, "d", "joined", tick=9, now_ms=1)
    assert list(views.recent) == [ViewChanged(0, 7, "d", "joined", 0, 1)]
    views.notice(9, True, "b", "", tick=12, now_ms=2)  # a node that has just come gave up no view by itself
    assert views.recent[-1] == ViewChanged(7, 9, "b", "joined", 0, 2)


def test_a_restart_between_views_is_timed_from_the_start() -> None:
    views = ViewLog(2, False)
    views.notice(2, True, "c", "", tick=40, now_ms=9)
    assert list(views.recent) == [ViewChanged(2, 2, "c", RESTART, 2000, 9)]
    views.restart(0, True)  # in another epoch
    views.notice(0, True, "a", "", tick=50, now_ms=10)
    assert len(views.recent) == 1


def test_only_the_newest_are_remembered_and_all_are_counted() -> None:
    views = ViewLog(0, True)
    for view in range(1, 3 * REMEMBERED):
        views.notice(view, False, "a", "slow", tick=view, now_ms=view)
        views.notice(view, True, "a", "slow", tick=view, now_ms=view)
    assert [change.view for change in views.recent] == list(range(2 * REMEMBERED, 3 * REMEMBERED))
    assert views.counts == {"slow": 3 * REMEMBERED - 1}
