"""The state tree: its root is a function of the entries alone, and its proofs convince nobody wrongly."""

import itertools
from collections.abc import Mapping
from hashlib import sha256
from random import Random
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import StoreFault
from node.ledger import tree as tree_module
from node.ledger.layout import CHANGED, NODE, STATE, after_prefix
from node.ledger.merkle import EMPTY_ROOT
from node.ledger.store import MemoryStore
from node.ledger.tree import ROUND_BLOCKS, Tree
from node.light import verify_proof

# A few hundred keys, among them some whose paths share up to four digits, so that entries move up and down.
KEYS = [b"key/%d" % number for number in range(300)]
_by_path = sorted((b"close/%d" % number for number in range(60_000)), key=lambda key: sha256(key).digest())
CLOSE = [
    key
    for first, second in itertools.pairwise(_by_path)
    if sha256(first).hexdigest()[:7] == sha256(second).hexdigest()[:7]
    for key in (first, second)
][:20]
POOL = KEYS + CLOSE

changes = st.dictionaries(st.sampled_from(POOL), st.one_of(st.none(), st.binary(max_size=4)), max_size=60)


def rebuilt(entries: dict[bytes, bytes]) -> bytes:
    return Tree(MemoryStore()).update(dict(entries)).root


class Growing:
    """A store's state and tree, block by block."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.tree = Tree(self.store)
        self.height = 0

    def commit(self, block: Mapping[bytes, bytes | None]) -> None:
        update = self.tree.update(block)
        puts = self.tree.puts(self.height, block)
        self.store.write({**puts, **{STATE + key: value for key, value in block.items()}})
        self.tree.apply(self.height, update)
        self.height += 1
        assert self.tree.root == update.root

    def written_depths(self) -> set[int]:
        return {key[1] for key, _ in self.store.scan(NODE, after_prefix(NODE))}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(changes, st.booleans()), max_size=12), st.sampled_from(POOL), st.sampled_from([1, 3, 32]))
def test_the_root_is_that_of_a_rebuild_and_every_proof_holds(
    blocks: list[tuple[dict[bytes, bytes | None], bool]], key: bytes, round_blocks: int
) -> None:
    """However often the node is restarted in between, and in whatever turns the subtrees are written."""
    with mock.patch.object(tree_module, "ROUND_BLOCKS", round_blocks):
        growing = Growing()
        entries: dict[bytes, bytes] = {}
        for block, restarted in blocks:
            growing.commit(block)
            for changed, value in block.items():
                if value is None:
                    entries.pop(changed, None)
                else:
                    entries[changed] = value
            assert growing.tree.root == rebuilt(entries)
            if restarted:
                growing.tree = Tree(growing.store)
                assert growing.tree.root == rebuilt(entries)
        reopened = Tree(growing.store)
        root = growing.tree.root
        value, proof = entries.get(key), reopened.prove(key)
        assert proof == growing.tree.prove(key)
        assert verify_proof(root, key, value, proof)
        assert not verify_proof(root, key, b"other value" if value is None else None, proof)
        assert not verify_proof(root, key, b"other value", proof)
        assert not verify_proof(sha256(b"another root").digest(), key, value, proof)


def test_restarts_leave_no_trace_in_the_database() -> None:
    steady, restarted = Growing(), Growing()
    random = Random(5)
    for _ in range(3 * ROUND_BLOCKS):
        block: dict[bytes, bytes | None] = {
            key: random.choice([b"v", b"w", None]) for key in random.sample(POOL, random.randint(0, 8))
        }
        for one in (steady, restarted):
            one.commit(block)
        restarted.tree = Tree(restarted.store)
    assert list(steady.store.scan(b"", b"\xff")) == list(restarted.store.scan(b"", b"\xff"))
    assert len(list(steady.store.scan(CHANGED, after_prefix(CHANGED)))) == ROUND_BLOCKS
    for subtree in range(ROUND_BLOCKS):  # one more round without changes writes the rest: now all of it is there
        steady.commit({})
        assert steady.written_depths() == {2, 3, *range(4, max(steady.written_depths()) + 1)}, subtree
    written = {key: node for key, node in steady.store.scan(NODE, after_prefix(NODE)) if len(node) > 69 or key[1] > 2}
    assert all(steady.tree.node(key[2:].decode()) == node for key, node in written.items())


def test_keys_with_long_common_paths_separate_and_join() -> None:
    assert len(CLOSE) >= 2
    growing = Growing()
    growing.commit(dict.fromkeys(CLOSE, b"v"))
    for _ in range(ROUND_BLOCKS):
        growing.commit({})
    assert max(growing.written_depths()) >= 7
    for key in CLOSE:
        assert verify_proof(growing.tree.root, key, b"v", Tree(growing.store).prove(key))
    growing.commit(dict.fromkeys(CLOSE[1:]))
    assert growing.tree.root == rebuilt({CLOSE[0]: b"v"})
    for _ in range(ROUND_BLOCKS):
        growing.commit({})
    assert len(list(growing.store.scan(NODE, after_prefix(NODE)))) == 1
    growing.commit({CLOSE[0]: None})
    assert growing.tree.root == EMPTY_ROOT == Tree(growing.store).root
    for _ in range(ROUND_BLOCKS):
        growing.commit({})
    assert list(growing.store.scan(NODE, after_prefix(NODE))) == []


def test_an_update_that_is_not_applied_changes_nothing() -> None:
    growing = Growing()
    growing.commit(dict.fromkeys(KEYS[:50], b"v"))
    root = growing.tree.root
    dropped = growing.tree.update(dict.fromkeys(KEYS[25:75], b"w"))
    assert dropped.root != root == growing.tree.root
    growing.commit({KEYS[60]: b"x"})
    assert growing.tree.root == rebuilt({**dict.fromkeys(KEYS[:50], b"v"), KEYS[60]: b"x"})


def test_many_entries_and_few_nodes_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "CACHED_NODES", 10)
    entries: dict[bytes, bytes | None] = {b"many/%d" % number: b"v" for number in range(20_000)}
    growing = Growing()
    growing.commit(entries)
    for number in range(2 * ROUND_BLOCKS):
        growing.commit({b"many/%d" % number: b"w"})
    tree = growing.tree
    assert len(tree._young) + len(tree._old) <= 20
    assert len(tree._dirty) <= ROUND_BLOCKS
    assert tree.root == Tree(growing.store).root
    kept = {b"many/%d" % number: b"w" for number in range(2 * ROUND_BLOCKS)}
    growing.commit(dict.fromkeys(key for key in entries if key not in kept))
    assert tree.root == rebuilt(kept)


PROVEN = Tree(MemoryStore())
PROVEN.apply(0, PROVEN.update(dict.fromkeys(KEYS, b"v")))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_proof_that_is_changed_anywhere_does_not_hold(data: st.DataObject) -> None:
    key = data.draw(st.sampled_from([*KEYS, b"absent/1", b"absent/2"]))
    value = b"v" if key in KEYS else None
    proof = PROVEN.prove(key)
    index = data.draw(st.integers(0, len(proof) - 1))
    node = bytearray(proof[index])
    place = data.draw(st.integers(0, len(node) - 1))
    node[place] ^= data.draw(st.integers(1, 255))
    assert not verify_proof(PROVEN.root, key, value, (*proof[:index], bytes(node), *proof[index + 1 :]))
    assert not verify_proof(PROVEN.root, key, value, proof[:-1])
    assert not verify_proof(PROVEN.root, key, value, (*proof, proof[-1]))
    assert not verify_proof(PROVEN.root, key, value, ())
    assert not verify_proof(PROVEN.root, key, value, (b"", *proof[1:]))


def test_a_missing_node_is_a_fault_of_the_store() -> None:
    growing = Growing()
    growing.commit(dict.fromkeys(CLOSE, b"v"))
    for _ in range(ROUND_BLOCKS):
        growing.commit({})
    deepest = max((key for key, _ in growing.store.scan(NODE, after_prefix(NODE))), key=len)
    growing.store.write({deepest: None})
    broken = Tree(growing.store)
    with pytest.raises(StoreFault, match="db-corrupt"):
        for key in CLOSE:
            broken.prove(key)


@pytest.mark.parametrize(
    "damage", [{NODE + b"\x0200": b"\x01"}, {CHANGED + bytes(8): b"\xc1"}, {CHANGED + bytes(8): b"x"}]
)
def test_records_that_are_none_are_a_fault_of_the_store(damage: dict[bytes, bytes | None]) -> None:
    store = MemoryStore()
    store.write(damage)
    with pytest.raises(StoreFault, match="db-corrupt"):
        Tree(store)
