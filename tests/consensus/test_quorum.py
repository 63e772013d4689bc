"""The thresholds, for every size that a consortium may have."""

import pytest

from node.consensus.quorum import max_faulty, primary_of, quorum, weak_quorum


@pytest.mark.parametrize("n", range(4, 41))
def test_quorums_intersect_in_a_correct_member_and_can_always_form(n: int) -> None:
    """Checklist 1."""
    f, q = max_faulty(n), quorum(n)
    assert 3 * f < n <= 3 * f + 3  # as many faulty ones as can be borne, and no more
    assert 2 * q - n >= f + 1  # two quorums share at least f+1 members
    assert n - f >= q  # the correct ones are enough
    assert 2 * (q - 1) - n < f + 1  # and no smaller number would do
    assert weak_quorum(n) == f + 1


def test_every_member_has_its_turn() -> None:
    """The primary rotates with the view."""
    assert [primary_of(view, 4) for view in range(6)] == [0, 1, 2, 3, 0, 1]
