"""The chain in its store: block 0, commit, restart, finding transactions, and databases that are not ours."""

from pathlib import Path
from typing import Any

import pytest

from node.errors import ConfigError, NodeFault
from node.ledger import layout
from node.ledger.blinding import ENTRY_BYTES
from node.ledger.chain import Ledger
from node.ledger.nonces import NONCES
from node.ledger.store import LevelStore, MemoryStore
from node.ledger.tree import ROUND_BLOCKS
from node.light import verify_proof
from node.model.block import NULL_DIGEST
from node.model.codec import encode, sha256
from tests.chaincode.samples import COUNTS
from tests.ledger.chains import SENDERS, START, Chain, certify, make_genesis


def test_block_0_is_made_from_the_genesis_alone() -> None:
    chain = Chain(genesis=make_genesis(sample={"start": 7}))
    header = chain.ledger.head
    assert (header.height, header.time, header.parent_hash) == (0, START, bytes(32))
    assert header.batch_digest == NULL_DIGEST
    assert chain.ledger.head_certificate is None
    assert chain.executor.query("sample", "count", {}) == 7
    again = Chain(genesis=make_genesis(sample={"start": 7}))
    assert again.ledger.head_hash == chain.ledger.head_hash
    other = Chain(genesis=make_genesis(sample={"start": 8}))
    assert other.ledger.head.state_root != header.state_root


@pytest.mark.parametrize(
    "contracts", [{"nobody": {}}, {"sample": {"start": "seven"}}, {"sample": {"start": 1.5}}, {"sample": {"x": [{}]}}]
)
def test_a_genesis_that_the_contracts_refuse(contracts: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="bad-genesis"):
        Chain(genesis=make_genesis(**contracts))


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    """Checklist 27."""
    store = LevelStore(tmp_path / "db", create=True)
    chain = Chain(store)
    first = chain.add(chain.tx(0, 1, "add", name="a", amount=5), chain.tx(1, 1, "rest", price=3))
    chain.add_null()
    third = chain.add(chain.tx(0, 2, "add", name="a", amount=-9), chain.tx(1, 3, "rest", price=2))
    head, certificate = chain.ledger.head, chain.ledger.head_certificate
    store.close()

    chain.store = LevelStore(tmp_path / "db", create=False)
    chain.reopen()
    ledger = chain.ledger
    assert (ledger.head, ledger.head_hash, ledger.head_certificate) == (head, third.block_hash, certificate)
    assert ledger.block(1) == first.block
    assert ledger.certificate(1) == certify(first)
    assert ledger.receipts(3) == third.receipts
    assert ledger.events(3) == third.events
    assert [receipt.code for receipt in third.receipts] == ["below-zero", "ok"]
    assert ledger.receipts(2) == ()
    assert chain.executor.query("sample", "book", {}) == ((2, 3), (3, 1))
    assert ledger.highest_nonce(SENDERS[1].public_key) == 3
    assert ledger.nonce_acceptable(SENDERS[1].public_key, 2)
    assert not ledger.nonce_acceptable(SENDERS[1].public_key, 3)
    chain.add(chain.tx(0, 3, "take"))
    assert chain.executor.query("sample", "book", {}) == ((3, 1),)
    chain.store.close()


def test_unknown_heights_and_transactions() -> None:
    ledger = Chain().ledger
    for height in (-1, 1, 2**40):
        assert ledger.block(height) is None
        assert ledger.certificate(height) is None
        assert ledger.receipts(height) == ()
        assert ledger.events(height) == ()
    assert ledger.find(bytes(32)) is None


def test_a_transaction_included_twice_is_found_where_it_was_executed() -> None:
    chain = Chain()
    once = chain.tx(0, 1, "add", name="a", amount=5)
    chain.add(chain.tx(1, 1, "take"), once)
    chain.add(once)
    assert [receipt.code for receipt in chain.ledger.receipts(2)] == ["nonce-used"]
    found = chain.ledger.find(once.id)
    assert found is not None
    assert (found[0], found[1], found[2].code, found[2].result) == (1, 1, "ok", 5)
    assert chain.executor.query("sample", "count", {}) == 5


def test_a_transaction_too_early_at_first_is_found_where_it_was_executed() -> None:
    """Its nonce lay beyond the window when it was first included, so it could still be executed later."""
    chain = Chain()
    early = chain.tx(0, 400, "add", name="a", amount=5)
    chain.add(early)
    found = chain.ledger.find(early.id)
    assert found is not None and found[2].code == "nonce-out-of-window"
    chain.add(chain.tx(0, 200, "take"))
    chain.add(early)
    found = chain.ledger.find(early.id)
    assert found is not None and (found[0], found[2].code) == (3, "ok")


def test_what_is_committed_follows_the_head_and_is_certified() -> None:
    """Checklist 46: nothing is stored twice, out of turn, or under another block's certificate."""
    chain = Chain()
    stale = chain.execute(chain.tx(0, 1, "take"))
    other = chain.execute(chain.tx(1, 1, "take"))
    with pytest.raises(NodeFault, match="wrong-block"):
        chain.ledger.commit(stale, certify(other))
    chain.ledger.commit(other, certify(other))
    with pytest.raises(NodeFault, match="wrong-block"):
        chain.ledger.commit(stale, certify(stale))
    assert chain.ledger.head_hash == other.block_hash


def test_a_dropped_execution_leaves_no_trace() -> None:
    chain, twin = Chain(), Chain()
    for number in range(1, 4):
        chain.execute(chain.tx(1, number, "rest", price=9), chain.tx(2, number, "add", name="x", amount=1))
        for one in (chain, twin):
            one.add(one.tx(0, number, "rest", price=number))
    assert chain.ledger.head_hash == twin.ledger.head_hash
    assert list(chain.store.scan(b"", b"\xff")) == list(twin.store.scan(b"", b"\xff"))


def test_proofs_of_presence_and_absence_at_the_head() -> None:
    chain = Chain()
    chain.add(*(chain.tx(sender, 1, "add", name=f"n{sender}", amount=sender + 1) for sender in range(6)))
    root = chain.ledger.head.state_root
    for key, expected in [
        (COUNTS + b"n3\0", encode(4)),
        (COUNTS + b"n9\0", None),
        (NONCES + SENDERS[0].public_key, encode((1, (1).to_bytes(32, "big")))),
    ]:
        value, proof = chain.ledger.prove(key)
        assert (value if value is None else value[ENTRY_BYTES:]) == expected
        assert verify_proof(root, key, value, proof)


def test_no_proof_shows_a_digest_by_which_a_value_could_be_tried() -> None:
    """Whoever asks may choose beside which entry its key lies: so digests are of more than what can be guessed."""
    chain = Chain()
    chain.add(*(chain.tx(sender, 1, "add", name=f"n{sender}", amount=7) for sender in range(6)))
    first = {key: chain.ledger.prove(key) for key in [COUNTS + f"n{sender}\0".encode() for sender in range(6)]}
    nodes = b"".join([node for _, proof in first.values() for node in proof])
    values = [value for value, _ in first.values() if value is not None]
    assert {value[ENTRY_BYTES:] for value in values} == {encode(7)} and len(set(values)) == 6
    assert sha256(values[0]) in nodes and sha256(encode(7)) not in nodes
    chain.add(chain.tx(0, 2, "add", name="n0", amount=0))
    again, _ = chain.ledger.prove(COUNTS + b"n0\0")
    assert again is not None and again != first[COUNTS + b"n0\0"][0], "a rewritten entry has another blind"


def test_a_database_of_another_chain_or_format_or_none_of_ours() -> None:
    chain = Chain()
    with pytest.raises(ConfigError, match="db-other-chain"):
        Ledger.open(chain.store, make_genesis("another"), chain.registry)
    mark = chain.store.get(layout.FORMAT)
    for other in (layout.DATABASE_FORMAT + 1, layout.DATABASE_FORMAT - 1):
        chain.store.write({layout.FORMAT: encode((other, chain.genesis.chain))})
        told = f"db-newer-format: .* has format {other}, this program reads format {layout.DATABASE_FORMAT}"
        with pytest.raises(ConfigError, match=told):
            chain.reopen()
    chain.store.write({layout.FORMAT: b"\xc1"})
    with pytest.raises(ConfigError, match="db-corrupt"):
        chain.reopen()
    chain.store.write({layout.FORMAT: mark, layout.HEAD: (9).to_bytes(8, "big")})
    with pytest.raises(ConfigError, match="db-corrupt"):
        chain.reopen()
    strange = MemoryStore()
    strange.write({b"x": b"y"})
    with pytest.raises(ConfigError, match="db-corrupt"):
        Ledger.open(strange, chain.genesis, chain.registry)


def test_a_tree_that_is_not_the_heads_is_found_at_opening() -> None:
    chain = Chain()
    chain.add(chain.tx(0, 1, "rest", price=3))
    for _ in range(ROUND_BLOCKS):
        chain.add_null()
    chain.reopen()
    node = next(key for key, _ in chain.store.scan(layout.NODE, layout.after_prefix(layout.NODE)))
    chain.store.write({node: None})
    with pytest.raises(ConfigError, match="db-corrupt"):
        chain.reopen()
