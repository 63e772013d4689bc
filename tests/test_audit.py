"""The audit: a good chain passes, and whatever is changed in the database is found, with its height."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from node.audit import AuditReport, verify_chain
from node.errors import ConfigError, RefusedError, StoreFault
from node.ledger import layout
from node.ledger.layout import at_height
from node.ledger.store import LevelStore, MemoryStore
from node.model.block import Batch, decode_batch, decode_header, encode_batch, encode_header
from node.model.certificate import decode_certificate, encode_certificate
from node.model.receipt import decode_results, encode_results
from tests.ledger.chains import START, Chain, certify, make_genesis

HEIGHT = 3


@cache
def audited() -> Chain:
    chain = Chain()
    chain.add(chain.tx(0, 1, "add", name="a", amount=5), chain.tx(1, 1, "rest", price=3))
    chain.add_null()
    chain.add(chain.tx(0, 2, "add", name="a", amount=-9), chain.tx(2, 1, "rest", price=2))
    chain.add(chain.tx(3, 1, "take"))
    return chain


def verify(store: MemoryStore) -> AuditReport:
    chain = audited()
    return verify_chain(store, chain.genesis, chain.registry)


def refused(store: MemoryStore) -> str:
    with pytest.raises(RefusedError) as refusal:
        verify(store)
    assert refusal.value.code == "bad-chain"
    return refusal.value.message


def changed(family: bytes, change: Callable[[bytes], bytes | None], height: int = HEIGHT) -> MemoryStore:
    store = audited_store()
    key = at_height(family, height)
    data = store.get(key)
    assert data is not None
    store.write({key: change(data)})
    return store


def audited_store() -> MemoryStore:
    store = audited().store
    assert isinstance(store, MemoryStore)
    return store.copy()


def test_a_good_chain_passes_and_progress_is_told() -> None:
    chain = audited()
    steps: list[tuple[int, int]] = []
    before = list(chain.store.scan(b"", b"\xff"))
    report = verify_chain(chain.store, chain.genesis, chain.registry, lambda done, total: steps.append((done, total)))
    assert report[:5] == (4, chain.ledger.head.state_root, 5, 0, 1)
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert list(chain.store.scan(b"", b"\xff")) == before


def test_no_chain_and_another_chain() -> None:
    assert "there is no chain" in refused(MemoryStore())
    with pytest.raises(ConfigError, match="db-other-chain"):
        verify_chain(audited_store(), make_genesis("another"), audited().registry)


def forge_signature(body: bytes) -> bytes:
    batch = decode_batch(body).batch
    raw = batch.transactions[0]
    forged = bytes([raw[0] ^ 1]) + raw[1:]
    return encode_batch(Batch(batch.chain, 0, 0, batch.time, (forged, *batch.transactions[1:])))


def forge_root(header: bytes) -> bytes:
    fields = decode_header(header)
    return encode_header(
        type(fields)(**{**{f: getattr(fields, f) for f in fields.__struct_fields__}, "state_root": bytes(32)})
    )


def forge_vote(data: bytes) -> bytes:
    certificate = decode_certificate(data)
    votes = tuple((index, bytes(64)) for index, _ in certificate.votes)
    return encode_certificate(type(certificate)(0, 0, certificate.height, certificate.block_hash, votes))


def forge_result(data: bytes) -> bytes:
    results = decode_results(data)
    return encode_results(results._replace(receipts=results.receipts[::-1]))


@pytest.mark.parametrize(
    ("family", "change", "why"),
    [
        (layout.BODY, lambda data: None, "its body is missing"),
        (layout.BODY, lambda data: b"garbage", "its body is no batch"),
        (layout.BODY, forge_signature, "a transaction is not signed by its sender"),
        (layout.BODY, lambda data: b"", "its header is not what execution gives"),
        (layout.HEADER, forge_root, "its header is not what execution gives"),
        (layout.CERTIFICATE, lambda data: None, "its certificate is missing"),
        (layout.CERTIFICATE, lambda data: b"\x00", "its certificate cannot be read"),
        (layout.CERTIFICATE, forge_vote, "its certificate does not hold"),
        (layout.RESULTS, forge_result, "its receipts or events are not"),
    ],
)
def test_the_first_block_at_fault_is_named(family: bytes, change: Callable[[bytes], bytes | None], why: str) -> None:
    assert refused(changed(family, change)).startswith(f"height {HEIGHT}: {why}")


@pytest.mark.parametrize("height", [2, 3])
def test_the_first_block_that_cannot_be_read_is_named(tmp_path: Path, height: int) -> None:
    store = LevelStore(tmp_path / "db", create=True)
    chain = Chain(store)
    for number in range(1, 5):  # each so long that it has a block of the table to itself
        chain.add(chain.tx(0, number, "take", surplus=f"{number}" * 6000))
    store.close()
    LevelStore(tmp_path / "db", create=False).close()  # moves the log into a table
    for table in (tmp_path / "db").glob("*.ldb"):
        table.write_bytes(table.read_bytes().replace(f"{height}".encode() * 6000, f"{height}".encode() * 5999 + b"!"))
    store = LevelStore(tmp_path / "db", create=False)
    with pytest.raises(StoreFault) as fault:
        verify_chain(store, chain.genesis, chain.registry)
    store.close()
    assert fault.value.code == "db-corrupt"
    assert fault.value.message.startswith(f"height {height}: the database failed: Corruption: ")


class Unreadable(MemoryStore):
    """A store that loses one family of entries from a height on."""

    def __init__(self, start: bytes) -> None:
        super().__init__()
        self.write(dict(audited_store().scan(b"", b"\xff")))
        self._start = start

    def get(self, key: bytes) -> bytes | None:
        self._touch(key)
        return super().get(key)

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        for key, value in super().scan(start, end, reverse):
            self._touch(key)
            yield key, value

    def _touch(self, key: bytes) -> None:
        if key[0] == self._start[0] and key >= self._start:
            raise StoreFault("db-corrupt", "the database failed")


@pytest.mark.parametrize(
    ("start", "where"),
    [
        (layout.HEAD, "the head: "),
        (at_height(layout.HEADER, 0), "height 0: "),
        (at_height(layout.BODY, HEIGHT), f"height {HEIGHT}: "),
        (at_height(layout.HEADER, HEIGHT), f"height {HEIGHT}: "),
        (at_height(layout.CERTIFICATE, HEIGHT), f"height {HEIGHT}: "),
        (at_height(layout.RESULTS, HEIGHT), f"height {HEIGHT}: "),
        (layout.STATE, "height 4: an entry of the state: "),
        (layout.NODE, "height 4: a node of the state tree: "),
        (layout.TRANSACTION, "height 4: the place of a transaction: "),
    ],
)
def test_whatever_cannot_be_read_has_its_place(start: bytes, where: str) -> None:
    with pytest.raises(StoreFault) as fault:
        verify(Unreadable(start))
    assert (fault.value.code, fault.value.message) == ("db-corrupt", where + "the database failed")


def test_large_batches_are_checked_in_other_processes() -> None:
    chain = Chain()
    batch = [chain.tx(number % 6, number // 6 + 1, "add", name="a", amount=1) for number in range(60)]
    chain.add(*batch)
    assert verify_chain(chain.store, chain.genesis, chain.registry).transactions == 60
    forged = bytes([batch[50].raw[0] ^ 1]) + batch[50].raw[1:]
    body = encode_batch(Batch(chain.genesis.chain, 0, 0, START + 1, (*(tx.raw for tx in batch[:50]), forged)))
    chain.store.write({at_height(layout.BODY, 1): body})
    with pytest.raises(RefusedError, match="height 1: a transaction is not signed"):
        verify_chain(chain.store, chain.genesis, chain.registry)


def test_too_few_votes_and_anothers_votes() -> None:
    """Checklist 8: the head block, too, is proven by the certificate stored with it, without a block after it."""
    chain = Chain()
    execution = chain.execute(chain.tx(0, 1, "take"))
    chain.ledger.commit(execution, certify(execution, signers=(0, 2)))
    assert isinstance(chain.store, MemoryStore)
    assert "2 votes, a quorum is 3" in refused(chain.store)
    other = at_height(layout.CERTIFICATE, 4)
    swapped = changed(layout.CERTIFICATE, lambda data: audited().store.get(other))
    assert refused(swapped).startswith(
        f"height {HEIGHT}: its certificate does not hold: the certificate is of height 4"
    )


def test_block_0_is_not_believed_either() -> None:
    assert refused(changed(layout.HEADER, forge_root, 0)).startswith("height 0: ")


def test_a_changed_state_tree_or_index_is_found() -> None:
    for family in (layout.STATE, layout.NODE, layout.TRANSACTION):
        store = audited_store()
        key, value = next(store.scan(family, bytes([family[0] + 1])))
        for puts in ({key: value + b"x"}, {key: None}, {key + b"x": b"y"}):
            damaged = store.copy()
            damaged.write(puts)
            assert "differs from the replay's" in refused(damaged)


def test_blocks_beyond_the_head_are_found() -> None:
    store = audited_store()
    store.write({layout.HEAD: (3).to_bytes(8, "big")})
    assert refused(store).startswith("height 4: ")
