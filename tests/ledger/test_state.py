"""World state and overlays against a plain dictionary; the index against a rebuild from the store."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaincode.contract import Value
from node.ledger import state as state_module
from node.ledger.blinding import ENTRY_BYTES
from node.ledger.layout import STATE
from node.ledger.state import MAX_KEY_BYTES, WorldState
from node.ledger.store import MemoryStore
from node.model.codec import decode

BOOK, PLAIN = b"book/", b"plain/"
keys = st.builds(lambda table, rest: table + rest, st.sampled_from([BOOK, PLAIN]), st.binary(min_size=1, max_size=2))
values = st.one_of(
    st.integers(0, 9),
    st.booleans(),
    st.binary(max_size=3),
    st.tuples(st.integers(0, 3), st.tuples(st.text(max_size=1))),
)


class StateMachine(RuleBasedStateMachine):
    """Blocks of transactions that write, delete, scan, are kept or undone; blocks that are committed or dropped."""

    @initialize()
    def start(self) -> None:
        self.store = MemoryStore()
        self.world = WorldState(self.store, [BOOK])
        self.committed: dict[bytes, Value] = {}
        self.begin_block()

    def begin_block(self) -> None:
        self.overlay = self.world.overlay()
        self.block = dict(self.committed)
        self.begin()

    def begin(self) -> None:
        self.overlay.begin()
        self.model = dict(self.block)
        self.marks: list[tuple[int, dict[bytes, Value]]] = []

    @rule(key=keys, value=values)
    def put(self, key: bytes, value: Value) -> None:
        self.overlay.put(key, value)
        self.model[key] = value

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        self.overlay.delete(key)
        self.model.pop(key, None)

    @rule(data=st.data())
    @precondition(lambda self: self.model)
    def delete_present(self, data: st.DataObject) -> None:
        self.delete(data.draw(st.sampled_from(sorted(self.model))))

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        assert self.overlay.get(key) == self.model.get(key)
        assert self.world.get(key) == self.committed.get(key)

    @rule(
        table=st.sampled_from([BOOK, PLAIN]),
        low=st.binary(max_size=1),
        high=st.binary(max_size=1),
        reverse=st.booleans(),
    )
    def scan(self, table: bytes, low: bytes, high: bytes, reverse: bool) -> None:
        start, end = table + low, table + high + b"\xff"
        for state, model in ((self.overlay, self.model), (self.world, self.committed)):
            expected = sorted(((key, model[key]) for key in model if start <= key < end), reverse=reverse)
            assert list(state.scan(start, end, reverse)) == expected

    @rule(reverse=st.booleans(), count=st.integers(0, 3))
    def scan_while_another_table_is_written(self, reverse: bool, count: int) -> None:
        expected = sorted(((key, self.model[key]) for key in self.model if key.startswith(BOOK)), reverse=reverse)
        found = []
        for number, pair in enumerate(self.overlay.scan(BOOK, b"book0", reverse)):
            found.append(pair)
            if number < count:
                self.put(PLAIN + bytes([number]), number)
                list(self.overlay.scan(PLAIN, b"plain0"))
        assert found == expected

    @rule()
    def mark(self) -> None:
        self.marks.append((self.overlay.mark(), dict(self.model)))

    @rule(data=st.data())
    @precondition(lambda self: self.marks)
    def rollback(self, data: st.DataObject) -> None:
        """To any mark: those after it are void, it and those before are not."""
        number = data.draw(st.integers(0, len(self.marks) - 1))
        mark, self.model = self.marks[number][0], dict(self.marks[number][1])
        self.overlay.rollback(mark)
        del self.marks[number + 1 :]

    @rule(data=st.data())
    def check(self, data: st.DataObject) -> None:
        """What is checked early is written on: what it was checked by must not be what is kept."""
        self.overlay.check(data.draw(st.sampled_from([0, *(mark for mark, _ in self.marks)])))

    @rule()
    def keep(self) -> None:
        self.overlay.keep()
        self.block = self.model
        self.begin()

    @rule()
    def undo(self) -> None:
        self.overlay.undo()
        self.begin()

    @rule()
    def commit(self) -> None:
        self.keep()
        changes = self.overlay.changes()
        found = {key: None if data is None else decode(data[ENTRY_BYTES:]) for key, data in changes.items()}
        assert found == self.overlay.values()
        self.store.write({STATE + key: data for key, data in changes.items()})
        self.world.apply(self.overlay.values())
        self.committed = self.block
        self.begin_block()

    @rule()
    def drop(self) -> None:
        self.begin_block()

    @invariant()
    def the_index_is_that_of_a_rebuild(self) -> None:
        rebuilt = WorldState(self.store, [BOOK])
        whole = BOOK, b"book0"
        assert list(rebuilt.scan(*whole)) == list(self.world.scan(*whole))
        assert {key for key, _ in rebuilt.scan(*whole)} == {key for key in self.committed if key.startswith(BOOK)}


TestState = StateMachine.TestCase
TestState.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


def overlay() -> Any:
    return WorldState(MemoryStore(), [BOOK]).overlay()


def test_long_scans_go_on_behind_their_chunks() -> None:
    layer = overlay()
    layer.begin()
    expected = [BOOK + number.to_bytes(2, "big") for number in range(500)]
    for key in expected:
        layer.put(key, 1)
    assert [key for key, _ in layer.scan(BOOK, b"book0")] == expected
    assert [key for key, _ in layer.scan(BOOK, b"book0", reverse=True)] == expected[::-1]


def test_the_cache_is_bounded_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "CACHED_VALUES", 8)
    store = MemoryStore()
    world = WorldState(store)
    layer = world.overlay()
    layer.begin()
    for number in range(100):
        layer.put(PLAIN + bytes([number]), number)
    layer.keep()
    store.write({STATE + key: data for key, data in layer.changes().items()})
    world.apply(layer.values())
    for number in (*range(100), *reversed(range(100)), 200):
        assert world.get(PLAIN + bytes([number])) == (number if number < 100 else None)
    assert len(world._young) + len(world._old) <= 16


@pytest.mark.parametrize("value", [None, 1.5, [1], {"a": 1}, {1}, bytearray(b"x"), object()])
def test_a_value_that_is_none_of_the_states_is_refused(value: Any) -> None:
    layer = overlay()
    layer.begin()
    with pytest.raises(TypeError):
        layer.put(BOOK + b"x", value)


@pytest.mark.parametrize("value", [([1],), ((1, {"a": 1}),), (1.5,), (bytearray(b"x"),)])
def test_what_hides_within_a_tuple_is_found_when_the_transaction_ends(value: Any) -> None:
    layer = overlay()
    layer.begin()
    layer.put(BOOK + b"x", value)
    with pytest.raises(TypeError):
        layer.seal()
    layer.undo()
    layer.keep()
    assert layer.changes() == {}


def test_a_block_reads_an_entry_once_and_what_is_undone_is_as_before() -> None:
    read = []

    class Counted(MemoryStore):
        def get(self, key: bytes) -> bytes | None:
            read.append(key)
            return super().get(key)

    layer = WorldState(Counted()).overlay()
    layer.begin()
    assert layer.get(PLAIN + b"x") is layer.get(PLAIN + b"x") is None
    layer.put(PLAIN + b"x", 1)
    assert layer.get(PLAIN + b"x") == 1
    layer.undo()
    assert layer.get(PLAIN + b"x") is None
    assert read == [STATE + PLAIN + b"x"]


def test_a_check_sees_what_was_written_since_its_mark() -> None:
    layer = overlay()
    layer.begin()
    layer.put(BOOK + b"x", ([1],))
    mark = layer.mark()
    layer.put(BOOK + b"y", 2**63)
    layer.check(mark)
    layer.put(BOOK + b"y", 2**64)
    with pytest.raises(OverflowError):
        layer.check(mark)
    layer.rollback(mark)
    layer.check(mark)
    assert layer.get(BOOK + b"y") is None
    with pytest.raises(TypeError):
        layer.check(0)


@pytest.mark.parametrize("key", [b"", b"no table", BOOK + b"k" * MAX_KEY_BYTES])
def test_a_key_that_is_none_is_refused(key: bytes) -> None:
    layer = overlay()
    layer.begin()
    with pytest.raises(ValueError, match="key"):
        layer.put(key, 1)
    layer.undo()
    layer.keep()
    assert layer.changes() == {}


def test_seal_tells_the_largest_value() -> None:
    layer = overlay()
    layer.begin()
    layer.put(BOOK + b"a", b"x" * 1000)
    layer.put(BOOK + b"b", 1)
    assert 1000 < layer.seal() < 1010
