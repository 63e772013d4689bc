"""What a client may ask for at once."""

import pytest

from node.gateway.pace import Pace


def test_a_peer_is_given_its_burst_then_what_time_brings() -> None:
    now = [100.0]
    pace: Pace[str] = Pace(10, 20, 2, lambda: now[0])
    for _ in range(21):
        assert pace.delay_s("a") == 0
        pace.spend("a", 1)
    assert pace.delay_s("a") == pytest.approx(0.1) and pace.delay_s("b") == 0
    now[0] += 0.2
    assert pace.delay_s("a") == 0
    now[0] += 1000
    pace.spend("a", 30)  # no more than a full bucket is ever there
    assert pace.delay_s("a") == pytest.approx(1)


def test_only_so_many_peers_are_remembered() -> None:
    pace: Pace[str] = Pace(1, 1, 2, lambda: 0.0)
    for peer in "abac":
        pace.spend(peer, 2)
    assert len(pace) == 2 and pace.delay_s("b") == 0 and pace.delay_s("a") > 0
