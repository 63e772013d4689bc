"""The audit of data that begin with a snapshot: what is there is checked, and whatever was changed is found."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from node import audit
from node.audit import AuditReport
from node.errors import CodecError, RefusedError, StoreFault
from node.ledger import layout
from node.ledger.layout import after_prefix, at_height
from node.ledger.store import MemoryStore
from node.model.keys import verify
from node.snapshot.audit import verify_data
from node.snapshot.load import load
from node.snapshot.maker import make_now
from node.snapshot.offer import Trust, checked_offer
from node.snapshot.shelf import Shelf
from tests.ledger.chains import Chain, certify
from tests.snapshot.harness import grown, snapshot

BASE, LATER, HEAD = 12, 50, 60


class Based(NamedTuple):
    """A chain whose store begins with block BASE; shelves: none, a snapshot of BASE, one of LATER."""

    chain: Chain
    store: MemoryStore
    none: Shelf
    first: Shelf
    later: Shelf

    def audit(self, store: MemoryStore, shelf: Shelf) -> AuditReport:
        return verify_data(store, self.chain.genesis, self.chain.registry, shelf)


@pytest.fixture(scope="module")
def based(tmp_path_factory: pytest.TempPathFactory) -> Based:
    place = tmp_path_factory.mktemp("shelves")
    origin = grown(BASE)
    first = snapshot(origin, place / "first")
    trust = Trust(origin.genesis.chain, (origin.genesis.epoch,), verify)
    target = checked_offer(first.kept[0].offer, trust)
    store = MemoryStore()
    load(store, origin.genesis, target, (), lambda prefix: first.chunk(BASE, target.depth, prefix))
    chain = grown(LATER - BASE, Chain(store, origin.genesis))
    later = Shelf(place / "later")
    make_now(store, chain.ledger, later)
    grown(HEAD - LATER, chain)
    return Based(chain, store, Shelf(place / "none"), first, later)


def test_it_says_from_which_block_on_it_has_replayed(based: Based) -> None:
    root = based.chain.ledger.head.state_root
    count = 2 * (HEAD - BASE)
    assert based.audit(based.store, based.first)[:5] == (HEAD, root, count, BASE, BASE + 1)
    assert based.audit(based.store, based.later)[:5] == (HEAD, root, count, BASE, LATER + 1)
    assert based.audit(based.store, based.none)[:5] == (HEAD, root, count, BASE, HEAD + 1)


def test_a_tree_kept_by_another_process_begins_with_the_snapshot(based: Based, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = based.audit(based.store, based.first)
    monkeypatch.setattr(audit, "BLOCKS_WORTH", 1)
    assert based.audit(based.store, based.first)[:-1] == alone[:-1]


def test_a_damaged_snapshot_is_passed_over_and_left_as_it_is(based: Based, tmp_path: Path) -> None:
    shelf = snapshot(grown(BASE), tmp_path)
    chunk = tmp_path / str(BASE) / shelf.kept[0].chunks[0].prefix
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    assert based.audit(based.store, shelf).replayed_from == HEAD + 1
    assert chunk.exists()


def test_a_chain_without_base_is_replayed_from_genesis(based: Based) -> None:
    chain = grown(5)
    assert isinstance(chain.store, MemoryStore)
    assert based.audit(chain.store, based.none)[:5] == (5, chain.ledger.head.state_root, 10, 0, 1)


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("shelf", ["none", "first"])
@pytest.mark.parametrize(
    ("family", "height", "why"),
    [
        (layout.HEADER, BASE, "height 12: "),
        (layout.CERTIFICATE, BASE, "height 12: its certificate"),
        (layout.HEADER, 30, "height 30: "),
        (layout.BODY, 30, "height 30: "),
        (layout.CERTIFICATE, 30, "height 30: its certificate"),
        (layout.RESULTS, 30, "height 30: its re"),
    ],
)
@pytest.mark.parametrize("change", [flipped, lambda data: None], ids=["flipped", "gone"])
def test_a_changed_block_is_found(
    based: Based, shelf: str, family: bytes, height: int, why: str, change: Callable[[bytes], bytes | None]
) -> None:
    store = based.store.copy()
    data = store.get(at_height(family, height))
    assert data is not None
    store.write({at_height(family, height): change(data)})
    with pytest.raises(RefusedError) as refusal:
        based.audit(store, getattr(based, shelf))
    assert refusal.value.code == "bad-chain" and refusal.value.message.startswith(why)


@pytest.mark.parametrize("family", [layout.STATE, layout.NODE, layout.TRANSACTION])
def test_a_changed_state_tree_or_index_is_found(based: Based, family: bytes) -> None:
    pairs = list(based.store.scan(family, after_prefix(family)))
    for key, value in (pairs[0], pairs[-1], pairs[len(pairs) // 2]):
        for change in ({key: flipped(value)}, {key: None}):
            store = based.store.copy()
            store.write(change)
            with pytest.raises((RefusedError, StoreFault)) as refusal:
                based.audit(store, based.none)
            assert refusal.value.code in ("bad-chain", "db-corrupt")


def test_a_base_that_nobody_certified_is_found(based: Based) -> None:
    forged = Chain(genesis=based.chain.genesis)
    for number in range(BASE):
        execution = forged.execute(forged.tx(0, number + 1, "add", name="gift", amount=10**6))
        forged.ledger.commit(execution, certify(execution, signers=(0, 1)))
    store = based.store.copy()
    data = forged.store.get(at_height(layout.CERTIFICATE, BASE))
    store.write({at_height(layout.CERTIFICATE, BASE): data})
    with pytest.raises(RefusedError, match="height 12: its certificate"):
        based.audit(store, based.first)
    with pytest.raises(CodecError, match="bad-certificate"):
        trust = Trust(based.chain.genesis.chain, (based.chain.genesis.epoch,), verify)
        header = forged.store.get(at_height(layout.HEADER, BASE))
        assert header is not None and data is not None
        trust.certified(header, data)


def test_blocks_beyond_the_head_are_found(based: Based) -> None:
    store = based.store.copy()
    store.write({at_height(layout.HEADER, HEAD + 1): b"?"})
    with pytest.raises(RefusedError, match=f"height {HEAD + 1}"):
        based.audit(store, based.none)
