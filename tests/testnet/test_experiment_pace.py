"""The pace of the weeks on nodes: slower until orders are in time with a margin, and never beyond the slowest."""

from hypothesis import given
from hypothesis import strategies as st

from testnet.experiment_pace import FIRST_MS, FORGIVEN, GROWTH, MARGIN, SLOWEST_MS, next_pace

LEAD_MS = FIRST_MS // 4


def test_orders_with_time_to_spare_keep_the_pace() -> None:
    assert next_pace(FIRST_MS, LEAD_MS, ()) is None
    assert next_pace(FIRST_MS, LEAD_MS, [200, 250, 150]) is None
    assert next_pace(FIRST_MS, LEAD_MS, [-500, 200, 250]) is None  # once is forgiven
    assert next_pace(FIRST_MS, LEAD_MS, [-500]) is None


def test_what_is_late_twice_gets_as_much_more_time_as_it_took() -> None:
    assert next_pace(FIRST_MS, LEAD_MS, [-400, 200, -75]) == 2_250  # 450 ms, of 562 four fifths
    assert next_pace(FIRST_MS, LEAD_MS, [70, 200, 70]) == round(FIRST_MS * GROWTH[0])
    assert next_pace(FIRST_MS, LEAD_MS, [-9_000, -8_000]) == round(FIRST_MS * GROWTH[1])
    assert next_pace(5_000, 1_250, [-9_000, -8_000]) == SLOWEST_MS


@given(st.lists(st.integers(1, 20_000), max_size=40))
def test_at_some_pace_it_ends(takes: list[int]) -> None:
    """Every pace is slower than the one before, until the same orders have their margin or nothing slower is left."""
    slot_ms = FIRST_MS
    while slot_ms < SLOWEST_MS:
        lead_ms = slot_ms // 4
        found = next_pace(slot_ms, lead_ms, [lead_ms - each for each in takes])
        if found is None:
            assert sum(each > lead_ms * (1 - MARGIN) for each in takes) <= FORGIVEN
            return
        assert slot_ms < found <= SLOWEST_MS
        slot_ms = found
