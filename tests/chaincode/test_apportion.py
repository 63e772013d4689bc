"""The largest remainder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode.apportion import apportion, apportion_to_rooms
from chaincode.contract import ContractError

WEIGHTS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=12)


@given(total=st.integers(0, 2**63 - 1), weights=WEIGHTS)
def test_parts_add_up_and_lie_next_to_the_exact_share(total: int, weights: list[int]) -> None:
    parts = apportion(total, weights, list(range(len(weights))))
    assert sum(parts) == total
    whole = sum(weights)
    if whole:
        for part, weight in zip(parts, weights, strict=True):
            assert total * weight // whole <= part <= -(-total * weight // whole)


@given(weights=WEIGHTS, data=st.data())
def test_nobody_gets_more_than_asked_if_not_all_can_be_had(weights: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(weights)))
    if sum(weights):
        parts = apportion(total, weights, list(range(len(weights))))
        assert all(part <= weight for part, weight in zip(parts, weights, strict=True))


def test_ties_go_to_the_smaller_name() -> None:
    assert apportion(10, [1, 1, 1], ["c", "a", "b"]) == [3, 4, 3]
    assert apportion(2, [0, 0, 0], ["c", "a", "b"]) == [0, 1, 1]


def test_nothing_to_divide_is_refused() -> None:
    for total, weights in ((-1, [1]), (1, []), (1, [1, -1])):
        with pytest.raises(ContractError, match="bad-amount"):
            apportion(total, weights, list(range(len(weights))))


ROOMS = st.lists(st.tuples(st.integers(0, 2**63 - 1), st.none() | st.integers(0, 2**63 - 1)), min_size=1, max_size=12)


@given(total=st.integers(0, 2**63 - 1), who=ROOMS)
def test_nobody_gets_more_than_it_has_room_for_and_what_fits_is_given(
    total: int, who: list[tuple[int, int | None]]
) -> None:
    weights, rooms = [weight for weight, _ in who], [room for _, room in who]
    parts = apportion_to_rooms(total, weights, list(range(len(who))), rooms)
    counts = [weight > 0 or not any(weights) for weight in weights]
    assert all(part == 0 for part, counted in zip(parts, counts, strict=True) if not counted)
    assert all(room is None or part <= room for part, room in zip(parts, rooms, strict=True))
    fits = [total if room is None else room for room, counted in zip(rooms, counts, strict=True) if counted]
    assert sum(parts) == min(total, sum(fits))
    for i, part in enumerate(parts):  # who is not full has at least its exact share
        if counts[i] and part != rooms[i] and any(weights):
            assert part >= total * weights[i] // sum(weights)


def test_without_rooms_it_is_the_same() -> None:
    assert apportion_to_rooms(10, [1, 1, 1], ["c", "a", "b"], [None] * 3) == [3, 4, 3]
    assert apportion_to_rooms(10, [3, 1, 1], ["c", "a", "b"], [4, None, 3]) == [4, 3, 3]
