"""Chunks: whatever the state, its parts prove themselves one by one, and a part that was changed does not."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import CodecError
from node.ledger.layout import STATE
from node.ledger.merkle import EMPTY_NODE, updated
from node.ledger.store import MemoryStore
from node.ledger.tree import Tree, stored
from node.limits import MAX_CHUNK_BYTES
from node.snapshot.chunks import checked_entries, checked_upper, depth_for, listed, packed, tops

States = st.dictionaries(st.binary(min_size=1, max_size=6), st.binary(min_size=1, max_size=8), max_size=80)
Depths = st.integers(1, 3)


def tree_of(state: dict[bytes, bytes]) -> tuple[bytes, dict[str, bytes]]:
    """The root of the tree over ``state`` and its nodes by path, made by changes as a node makes it."""
    update = updated(EMPTY_NODE, lambda path: EMPTY_NODE, state)
    return update.root, {"": EMPTY_NODE} | {path: node for path, node in update.nodes.items() if node is not None}


def chunks_of(state: dict[bytes, bytes], depth: int) -> dict[str, bytes]:
    """The chunks of a state by prefix, without the empty ones."""
    chunks: dict[str, bytes] = {}
    for key, value in sorted(state.items()):
        prefix = sha256(key).hexdigest()[:depth]
        chunks[prefix] = chunks.get(prefix, b"") + packed(key, value)
    return chunks


@settings(deadline=None)
@given(States, Depths)
def test_a_state_comes_back_from_its_chunks(state: dict[bytes, bytes], depth: int) -> None:
    root, nodes = tree_of(state)
    upper = checked_upper(root, depth, listed({path: node for path, node in nodes.items() if len(path) < depth}))
    expected, chunks = tops(upper, depth), chunks_of(state, depth)
    assert sorted(expected) == list(expected) == sorted(chunks)
    store = MemoryStore()
    store.write(stored(upper))
    back: dict[bytes, bytes] = {}
    for prefix, top in expected.items():
        entries, below = checked_entries(prefix, top, chunks[prefix])
        back |= entries
        store.write({STATE + key: value for key, value in entries.items()} | stored(below))
    assert back == state
    assert Tree(store).root == root


@settings(deadline=None)
@given(States.filter(bool), Depths, st.data())
def test_a_changed_chunk_is_refused(state: dict[bytes, bytes], depth: int, data: st.DataObject) -> None:
    """Checklist 40: every chunk is hashed; another byte, another entry or another chunk in its place does not pass."""
    root, nodes = tree_of(state)
    upper = checked_upper(root, depth, listed({path: node for path, node in nodes.items() if len(path) < depth}))
    expected, chunks = tops(upper, depth), chunks_of(state, depth)
    prefix = data.draw(st.sampled_from(sorted(chunks)))
    good = chunks[prefix]
    at = data.draw(st.integers(0, len(good) - 1))
    cut = data.draw(st.integers(0, len(good) - 1))
    flipped = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    added = good + packed(b"\xff" * 7, b"x")
    for bad in (flipped, good[:cut], added, *[chunk for other, chunk in chunks.items() if other != prefix]):
        with pytest.raises(CodecError):
            checked_entries(prefix, expected[prefix], bad)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    with pytest.raises(CodecError):
        checked_entries("a", sha256(b"top").digest(), noise)


@settings(deadline=None)
@given(States, Depths, st.data())
def test_changed_upper_nodes_are_refused(state: dict[bytes, bytes], depth: int, data: st.DataObject) -> None:
    root, nodes = tree_of(state)
    good = listed({path: node for path, node in nodes.items() if len(path) < depth})
    at = data.draw(st.integers(0, len(good) - 1))
    changes = ((*good[:at], good[at] + b"\0", *good[at + 1 :]), (*good, good[0]), good[:at] + good[at + 1 :], ())
    for bad in changes:
        with pytest.raises(CodecError):
            checked_upper(root, depth, bad)


def test_the_depth_follows_from_the_size_alone() -> None:
    kib = 1024
    assert [depth_for(size) for size in (0, 4096 * kib, 4096 * kib + 1, 65536 * kib, 65536 * kib + 1, 2**50)] == [
        1, 1, 2, 2, 3, 3,
    ]  # fmt: skip


def test_a_chunk_that_is_too_large_is_not_even_read() -> None:
    with pytest.raises(CodecError, match="oversize"):
        checked_entries("a", bytes(32), bytes(MAX_CHUNK_BYTES + 1))
