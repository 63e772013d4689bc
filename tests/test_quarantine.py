"""Who sends garbage is not read for a while; who is merely odd, is."""

from hypothesis import given
from hypothesis import strategies as st

from node.quarantine import (
    COUNTED,
    FAULT_TICKS,
    MESSAGES_PER_TICK,
    MOST_FAULTS,
    MUTE_TICKS,
    Quarantine,
)


def test_a_burst_of_bad_signatures_mutes_a_peer_for_ten_seconds() -> None:
    """Checklist 55: and nobody else."""
    quarantine = Quarantine()
    muted = [quarantine.note("liar", "bad-signature", 5) for _ in range(MOST_FAULTS)]
    assert muted == [False] * (MOST_FAULTS - 1) + [True]
    assert not quarantine.admits("liar", 5) and not quarantine.admits("liar", 5 + MUTE_TICKS - 1)
    assert quarantine.is_muted("liar", 6) and not quarantine.is_muted("honest", 6)
    assert quarantine.admits("honest", 6)
    assert quarantine.admits("liar", 5 + MUTE_TICKS)


def test_a_few_faults_now_and_then_do_not() -> None:
    """Checklist 55: fewer than the limit within a second, for as long as one likes."""
    quarantine = Quarantine()
    for tick in range(0, 100 * FAULT_TICKS, FAULT_TICKS):
        for _ in range(MOST_FAULTS // 2 - 1):
            assert not quarantine.note("odd", "malformed", tick)
    assert quarantine.admits("odd", 100 * FAULT_TICKS)


def test_what_a_correct_peer_may_send_does_not_count() -> None:
    """Checklist 55 and 47: an answer that came late, a message from another epoch."""
    quarantine = Quarantine()
    for code in ("not-asked", "wrong-epoch", "wrong-sender"):
        assert not any(quarantine.note("peer", code, 0) for _ in range(10 * MOST_FAULTS))
    assert quarantine.admits("peer", 0)


def test_no_more_than_so_many_messages_of_one_peer_are_read_in_a_tick() -> None:
    """Checklist 52: a flood costs the flooder's own messages."""
    quarantine = Quarantine()
    assert [quarantine.admits("flood", 7) for _ in range(MESSAGES_PER_TICK + 3)] == [True] * MESSAGES_PER_TICK + [
        False
    ] * 3
    assert quarantine.admits("other", 7)
    assert quarantine.admits("flood", 8)


def test_members_that_left_are_forgotten() -> None:
    quarantine = Quarantine()
    for _ in range(MOST_FAULTS):
        quarantine.note("gone", "malformed", 1)
    quarantine.keep(frozenset({"here"}))
    assert not quarantine.is_muted("gone", 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(sorted(COUNTED)), st.integers(0, 3)), max_size=200))
def test_whatever_happens_nobody_is_muted_for_longer_than_that(faults: list[tuple[str, str, int]]) -> None:
    """Checklist 55: a peer that behaves again is heard again."""
    quarantine = Quarantine()
    tick = 0
    for peer, code, step in faults:
        tick += step
        if quarantine.admits(peer, tick):
            quarantine.note(peer, code, tick)
    assert all(quarantine.admits(peer, tick + MUTE_TICKS) for peer in "abc")
