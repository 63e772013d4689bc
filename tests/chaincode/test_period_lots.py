"""Carry-over lot by lot against tokens that are moved one by one."""

from hypothesis import given
from hypothesis import strategies as st

from chaincode.budget_lots import Lot, kept, left

periods = st.lists(
    st.tuples(
        st.integers(0, 30),  # fresh
        st.integers(0, 60),  # spent, as far as there is any
        st.one_of(st.integers(0, 40), st.just(10**6)),  # cap
        st.integers(0, 3),  # how often a token may be carried
    ),
    min_size=1,
    max_size=12,
)


@given(periods)
def test_the_oldest_are_spent_and_the_newest_kept(story: list[tuple[int, int, int, int]]) -> None:
    """Checklist 1: lots say of every token what a queue of single tokens says."""
    queue: list[tuple[int, int]] = []  # (fresh in period, times carried), oldest first
    lots: list[Lot] = []
    for period, (fresh, wanted, cap, most) in enumerate(story):
        queue += [(period, 0)] * fresh
        spent = min(wanted, len(queue))
        queue = queue[spent:]
        rest = sum(lot.amount for lot in lots) + fresh - spent
        assert rest == len(queue)

        parts = left(lots, Lot(period, 0, fresh), rest)
        found = [(lot.since, lot.times) for lot in reversed(parts) for _ in range(lot.amount)]
        assert found == queue

        may = [token for token in queue if not most or token[1] < most]
        may = may[max(0, len(may) - cap) :]
        queue = [(since, times + 1) for since, times in may]
        carried = kept(parts, cap, most)
        assert sorted((lot.since, lot.times) for lot in carried for _ in range(lot.amount)) == sorted(queue)
        assert sum(lot.amount for lot in carried) <= cap
        lots = sorted(carried)


@given(st.integers(0, 50), st.integers(0, 100))
def test_what_nobody_knows_the_age_of_is_fresh(fresh: int, rest: int) -> None:
    parts = left([], Lot(7, 0, fresh), rest)
    assert sum(lot.amount for lot in parts) == rest and all(lot[:2] == (7, 0) for lot in parts)
