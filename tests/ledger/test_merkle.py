"""The state tree: its root is a function of the entries alone, and its proofs convince nobody wrongly."""

import itertools
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import StoreFault
from node.ledger.layout import NODE
from node.ledger.merkle import EMPTY_ROOT, Tree, verify_proof
from node.ledger.store import MemoryStore

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


def commit(tree: Tree, store: MemoryStore, block: dict[bytes, bytes | None]) -> None:
    update = tree.update(block)
    store.write(tree.puts(update))
    tree.apply(update)
    assert tree.root == update.root


@settings(max_examples=150, deadline=None)
@given(st.lists(changes, max_size=6), st.sampled_from(POOL))
def test_the_root_is_that_of_a_rebuild_and_every_proof_holds(
    blocks: list[dict[bytes, bytes | None]], key: bytes
) -> None:
    store = MemoryStore()
    tree = Tree(store)
    entries: dict[bytes, bytes] = {}
    for block in blocks:
        commit(tree, store, block)
        for changed, value in block.items():
            if value is None:
                entries.pop(changed, None)
            else:
                entries[changed] = value
        assert tree.root == rebuilt(entries)
    reopened = Tree(store)
    assert reopened.root == tree.root
    value, proof = entries.get(key), reopened.prove(key)
    assert proof == tree.prove(key)
    assert verify_proof(tree.root, key, value, proof)
    assert not verify_proof(tree.root, key, b"other value" if value is None else None, proof)
    assert not verify_proof(tree.root, key, b"other value", proof)
    assert not verify_proof(sha256(b"another root").digest(), key, value, proof)


def test_keys_with_long_common_paths_separate_and_join() -> None:
    assert len(CLOSE) >= 2
    store = MemoryStore()
    tree = Tree(store)
    commit(tree, store, dict.fromkeys(CLOSE, b"v"))
    assert max(len(key) for key, _ in store.scan(NODE, b"o")) - 2 >= 7
    for key in CLOSE:
        assert verify_proof(tree.root, key, b"v", Tree(store).prove(key))
    commit(tree, store, dict.fromkeys(CLOSE[1:]))
    assert tree.root == rebuilt({CLOSE[0]: b"v"})
    assert len(list(store.scan(NODE, b"o"))) == 1
    commit(tree, store, {CLOSE[0]: None})
    assert tree.root == EMPTY_ROOT == Tree(store).root


def test_an_update_that_is_not_applied_changes_nothing() -> None:
    store = MemoryStore()
    tree = Tree(store)
    commit(tree, store, dict.fromkeys(KEYS[:50], b"v"))
    root = tree.root
    dropped = tree.update(dict.fromkeys(KEYS[25:75], b"w"))
    assert dropped.root != root == tree.root
    commit(tree, store, {KEYS[60]: b"x"})
    assert tree.root == rebuilt({**dict.fromkeys(KEYS[:50], b"v"), KEYS[60]: b"x"})


def test_many_entries_survive_reopening_without_their_upper_levels() -> None:
    entries: dict[bytes, bytes | None] = {b"many/%d" % number: b"v" for number in range(30_000)}
    store = MemoryStore()
    tree = Tree(store)
    commit(tree, store, entries)
    assert store.get(NODE + b"\0") is None  # the root has no entries of its own: it is rebuilt
    assert Tree(store).root == tree.root
    commit(tree, store, dict.fromkeys(list(entries)[100:]))
    assert tree.root == Tree(store).root == rebuilt({b"many/%d" % number: b"v" for number in range(100)})


PROVEN = Tree(MemoryStore())
PROVEN.apply(PROVEN.update(dict.fromkeys(KEYS, b"v")))


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
    store = MemoryStore()
    tree = Tree(store)
    commit(tree, store, dict.fromkeys(CLOSE, b"v"))
    deepest = max((key for key, _ in store.scan(NODE, b"o")), key=len)
    store.write({deepest: None})
    broken = Tree(store)
    with pytest.raises(StoreFault, match="db-corrupt"):
        for key in CLOSE:
            broken.prove(key)
