"""The dictionary answers as the node's own state does, whatever is written, taken back and scanned meanwhile."""

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.local_state import LocalState, LocalView
from chaincode.contract import ContractError
from node.ledger.state import MAX_KEY_BYTES, Overlay, WorldState
from node.ledger.store import MemoryStore

KEYS = st.builds(lambda table, rest: table + rest, st.sampled_from((b"a/", b"b/")), st.binary(max_size=2))
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, st.integers(0, 99)),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("scan"), KEYS, st.booleans(), st.lists(st.tuples(KEYS, st.booleans()), max_size=3)),
    st.tuples(st.just("mark")),
    st.tuples(st.just("rollback")),
    st.tuples(st.just("begin")),
    st.tuples(st.just("undo")),
)


def end_of(key: bytes) -> bytes:
    return key[:-1] + bytes([key[-1] + 1]) if key[-1] < 255 else key + b"\xff"


def scanned(state: LocalState | Overlay, key: bytes, reverse: bool, writes: list[tuple[bytes, bool]]) -> list[object]:
    """A scan during which other keys of the same table are written and deleted."""
    found: list[object] = []
    outside = [pair for pair in writes if not key <= pair[0] < end_of(key)]
    for pair in state.scan(key, end_of(key), reverse):
        found.append(pair)
        if outside:
            other, is_put = outside.pop()
            state.put(other, 7) if is_put else state.delete(other)
    return found


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_it_answers_as_the_nodes_state_does(steps: list[tuple[object, ...]]) -> None:
    local, overlay = LocalState(), WorldState(MemoryStore(), (b"a/",)).overlay()
    states: tuple[LocalState | Overlay, ...] = (local, overlay)
    overlay.begin()
    marks: list[tuple[int, int]] = []
    for name, *args in steps:
        if name == "scan":
            one, two = [scanned(state, *args) for state in states]  # type: ignore[arg-type]
            assert one == two
        elif name == "mark":
            marks.append((local.mark(), overlay.mark()))
        elif name == "rollback":
            if marks:
                for state, mark in zip(states, marks.pop(), strict=True):
                    state.rollback(mark)
        elif name == "begin":
            overlay.keep()
            local.begin()
            marks = []
        elif name == "undo":
            for state in states:
                state.undo()
            marks = []
        else:
            for state in states:
                getattr(state, str(name))(*args)
    for table in (b"a/", b"b/"):
        for reverse in (False, True):
            assert list(local.scan(table, end_of(table), reverse)) == list(overlay.scan(table, end_of(table), reverse))
    for key, value in local.values.items():
        assert overlay.get(key) == value
        assert overlay.encoded(key) == local.encoded(key)


class Pair(NamedTuple):
    one: int
    two: int


def test_named_tuples_become_plain_ones_and_long_keys_are_refused() -> None:
    state = LocalState()
    state.put(b"a/x", Pair(1, 2))
    assert type(state.get(b"a/x")) is tuple
    with pytest.raises(ValueError, match="256"):
        state.put(b"a/" + bytes(MAX_KEY_BYTES), 1)


def test_a_query_writes_nothing() -> None:
    state = LocalState()
    view = LocalView(state)
    with pytest.raises(ContractError, match="read-only"):
        view.put(b"a/x", 3)
    with pytest.raises(ContractError, match="read-only"):
        view.delete(b"a/x")
    assert not state.values
