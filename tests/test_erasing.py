"""Erasing from stored blocks: the chain stays what it was, nobody can guess what is gone, a crash leaves no half."""

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaincode.contract import Event
from chaincode.registry import default_registry
from node.audit import AuditReport
from node.backup import Backup
from node.eraser import Eraser, horizon
from node.errors import RefusedError, StoreFault
from node.executor import Executor
from node.gateway.snapshots import require_whole
from node.ledger import layout
from node.ledger.chain import Ledger
from node.ledger.erasing import Erased, compacted, erase_all, erased_in, newest_erased, to_compact
from node.ledger.layout import after_prefix, at_height
from node.ledger.store import LevelStore, MemoryStore, Store
from node.model.block import NULL_BATCH, decode_batch, decode_stored_batch, without_transactions
from node.model.codec import encode
from node.model.keys import TAG_EVENT, TAG_RECEIPT, TAG_TX_DIGEST, TAG_TX_ID
from node.model.receipt import Receipt, decode_results, encode_event, encode_receipt, encode_results
from node.model.transaction import Transaction
from node.snapshot.audit import verify_data
from node.snapshot.maker import make_now
from node.snapshot.shelf import Shelf
from node.supply import block_reply
from node.upgrades.library import Library
from tests.chaincode.market_chain import MarketChain
from tests.chaincode.marketplace import DEVICES, SLOT_S

SLOTS = 4
FINAL_AT = (SLOTS + 1) * SLOT_S + 2_700


class Street:
    """A chain on which all meters have reported four slots, one home by a collector's hand; all of them are FINAL, and
    home-2 has asked that its first three go. The snapshot is of the head, the blocks are whole."""

    def __init__(self, store: Store, shelf: Shelf) -> None:
        self.chain = MarketChain(store=store, retention_s=0)
        self.shelf = shelf
        self.readings: list[Transaction] = []
        self.block(0)
        for slot in range(SLOTS):
            self.until((slot + 1) * SLOT_S)
            told = [self.reading(device, slot) for device in DEVICES]
            self.readings += told
            self.block((slot + 1) * SLOT_S, *told, self.reading("home-2/pv", slot))
        self.until(FINAL_AT)
        self.block(FINAL_AT + 1, self.chain.tx("home-2", "erasure", "erase", network="home-2", last_slot=2))
        self.block(FINAL_AT + 2)
        make_now(store, self.chain.ledger, shelf)

    def reading(self, device: str, slot: int) -> Transaction:
        wh = {"import_wh": 300, "export_wh": 0} if device.endswith("load") else {"import_wh": 0, "export_wh": 0}
        registers = {"import_register": wh["import_wh"] * (slot + 1), "export_register": 0}
        return self.chain.tx(f"meter {device}", "settlement", "report", device=device, slot=slot, **wh, **registers)

    def block(self, at: int, *transactions: Transaction) -> None:
        self.chain.commit(self.chain.execute(at, list(transactions)))

    def until(self, at: int) -> None:
        while (due := self.chain.executor.next_event()) is not None and due <= at:
            self.block(max(due, self.chain.ledger.head.time))


@cache
def street() -> Street:
    return Street(MemoryStore(), Shelf(Path(tempfile.mkdtemp(prefix="watt-street-"))))


def copy() -> MemoryStore:
    store = street().chain.store
    assert isinstance(store, MemoryStore)
    return store.copy()


def erase_now(store: Store, ledger: Ledger, shelf: Shelf) -> Erased:
    """A whole round on a ledger at rest, compaction included."""
    done = Erased()
    for step in erase_all(store, ledger, horizon(shelf), asked=True):
        done = done.plus(step)
    if ranges := to_compact(store):
        for start, end in ranges:
            store.compact(start, end)
        compacted(store)
    return done


def opened(store: Store) -> Ledger:
    return Ledger.open(store, street().chain.genesis, default_registry())


def audited(store: Store, shelf: Shelf | None = None) -> AuditReport:
    return verify_data(store, street().chain.genesis, default_registry(), shelf or street().shelf, jobs=0)


def content(store: Store) -> dict[bytes, bytes]:
    return dict(store.scan(b"", b"\xff"))


@cache
def erased_content() -> tuple[MemoryStore, Erased]:
    store = copy()
    return store, erase_now(store, opened(store), street().shelf)


def test_what_was_asked_for_goes_and_the_chain_stays_what_it_was() -> None:
    whole = audited(street().chain.store)
    store, done = erased_content()
    assert done.transactions == 9, "three slots of two meters, and one that reported twice"
    report = audited(store)
    assert report[:2] == whole[:2] and report.transactions == whole.transactions - done.transactions
    assert report.erased == done.transactions and report.erased_blocks > 3
    assert report.replayed_to > 0 and report.replayed_from == street().shelf.kept[0].height + 1
    assert whole.erased == 0 and whole.replayed_from == 1
    ledger, values = opened(store), b"".join(content(store).values())
    for tx in street().readings:
        device, slot = tx.payload.args["device"], tx.payload.args["slot"]
        is_gone = device.startswith("home-2") and slot <= 2
        assert (tx.raw in values, ledger.find(tx.id) is not None) == (not is_gone, not is_gone)
        if is_gone:
            assert not any(tx.id in each for key, each in content(store).items() if key[:1] in b"bcrt")
            assert layout.TRANSACTION + tx.id not in content(store)
    for family in (layout.HEADER, layout.CERTIFICATE, layout.STATE, layout.NODE):
        assert list(store.scan(family, after_prefix(family))) == list(
            street().chain.store.scan(family, after_prefix(family))
        )


def test_it_is_done_once_and_blocks_above_the_horizon_are_left_alone() -> None:
    store, _ = erased_content()
    again = store.copy()
    assert erase_now(again, opened(again), street().shelf) == Erased()
    assert content(again) == content(store)
    fresh = copy()
    assert sum([step.results for step in erase_all(fresh, opened(fresh), 0, asked=True)]) == 0
    assert newest_erased(fresh) == 0
    below = newest_erased(store) - 1
    for _ in erase_all(fresh, opened(fresh), below, asked=True):
        assert newest_erased(fresh) <= below
    fresh = copy()
    assert sum([step.results for step in erase_all(fresh, opened(fresh), 10**6, asked=False)]) == 0, "only retention"


def test_nobody_is_given_a_block_that_cannot_be_executed(tmp_path: Path) -> None:
    store, _ = erased_content()
    ledger, first = opened(store), next(height for height in range(1, 10**6) if erased_in(store, height) != Erased())
    reply = block_reply(ledger, 1)
    assert reply is not None and len(reply.blocks) == min(first - 1, len(reply.blocks))
    assert block_reply(ledger, first) is None
    require_whole(ledger, first - 1)
    with pytest.raises(RefusedError, match="erased: block"):
        require_whole(ledger, first)
    block = ledger.block(first)
    assert block is not None
    with pytest.raises(Exception, match="malformed"):
        decode_batch(block.body)
    assert horizon(Shelf(tmp_path)) == 0, "without a snapshot nothing is erased"


def test_without_a_snapshot_above_it_what_is_left_is_still_checked(tmp_path: Path) -> None:
    store, done = erased_content()
    report = audited(store, Shelf(tmp_path))
    assert report.replayed_from == report.height + 1 and report.erased == done.transactions


def guesses(tx: Transaction) -> list[bytes]:
    """What somebody can compute of a reading who has guessed all of its content, and has not got the signature."""
    body, args = tx.raw[64:], tx.payload.args
    told: Any = (args["slot"], args["import_wh"], args["export_wh"], args["import_register"], args["export_register"])
    event = encode_event(Event("settlement", "reading", (args["device"], args["device"].split("/")[0]), told))
    receipt = encode_receipt(Receipt(tx.id, "ok", (), None))
    found = [tx.id, sha256(body).digest(), sha256(tx.raw[64:]).digest()]
    for prefix, tag, item in product(
        (b"", b"\0"),
        (b"", TAG_TX_ID, TAG_TX_DIGEST, TAG_RECEIPT, TAG_EVENT),
        (body, bytes(64) + body, tx.id, receipt, event, bytes(16) + receipt, bytes(16) + event),
    ):
        found.append(sha256(prefix + tag + item).digest())
    return found


def test_nothing_that_is_left_of_a_reading_can_be_guessed_without_its_signature() -> None:
    """What stays in the block is a digest over the signature, and leaves that hide behind a blind."""
    store, _ = erased_content()
    blocks = b"".join([value for key, value in content(store).items() if key[:1] in b"hbcrt"])
    keys = b"".join([key for key in content(store) if key[:1] in b"hbcrt"])
    for tx in street().readings:
        if tx.payload.args["device"].startswith("home-2") and tx.payload.args["slot"] <= 2:
            assert sha256(TAG_TX_DIGEST + tx.raw).digest() in blocks, "with the signature it can be shown"
            for guess in guesses(tx):
                assert guess not in blocks and guess not in keys
    rows = [value[-16:] for key, value in content(store).items() if key.startswith(b"sreading/")]
    assert len(set(rows)) == len(rows) > 0, "a blind beside each reading in the state"


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_erasures_never_change_what_is_said_of_the_rest(data: st.DataObject) -> None:
    whole, store = audited(street().chain.store), copy()
    newest = street().shelf.kept[0].height
    heights = data.draw(st.lists(st.integers(1, newest), max_size=4, unique=True))
    gone = 0
    for height in heights:
        body, results = store.get(at_height(layout.BODY, height)), store.get(at_height(layout.RESULTS, height))
        assert body is not None and results is not None
        known = decode_results(results)
        stored = decode_stored_batch(body)
        places = data.draw(st.sets(st.sampled_from(stored.places), max_size=5)) if stored.places else set()
        events = data.draw(st.sets(st.integers(0, max(0, len(known.blinds or ()) + 3)), max_size=3))
        events = {each for each in events if each < len(opened(store).events(height))}
        txs = {place: tx for place, tx in zip(stored.places, stored.transactions, strict=True) if place in places}
        if not txs and not events:
            continue
        without = known.without(places, events)
        puts: dict[bytes, bytes | None] = {layout.TRANSACTION + tx.id: None for tx in txs.values()}
        puts[at_height(layout.BODY, height)] = without_transactions(
            stored.batch, {place: tx.digest for place, tx in txs.items()}
        )
        puts[at_height(layout.RESULTS, height)] = encode_results(without)
        puts[at_height(layout.ERASED, height)] = encode((len(txs), len(txs) + len(events)))
        store.write(puts)
        gone += len(txs)
        again = decode_results(encode_results(without))
        assert again.root == known.root and again.without(places, events) == again
    report = audited(store)
    assert report[:2] == whole[:2] and report.transactions + report.erased == whole.transactions
    assert report.erased == gone
    if heights and gone:
        height = max(height for height in heights if erased_in(store, height).transactions)
        for family in (layout.BODY, layout.RESULTS, layout.ERASED):
            value = store.get(at_height(family, height))
            assert value is not None
            at = data.draw(st.integers(0, len(value) - 1))
            damaged = store.copy()
            damaged.write({at_height(family, height): value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]})
            with pytest.raises(Exception, match=r"height|db-corrupt|cannot be read"):
                audited(damaged)


class Stopped(Exception):
    """The machine stops."""


class StoppingStore(MemoryStore):
    """Stops at a write, before it or after it."""

    def __init__(self, items: MemoryStore, stop_at: int, *, is_done: bool) -> None:
        super().__init__()
        self._items = items.copy()._items
        self._left, self._is_done = stop_at, is_done

    def write(self, puts: Mapping[bytes, bytes | None]) -> None:
        self._left -= 1
        if self._left or self._is_done:
            super().write(puts)
        if not self._left:
            raise Stopped


@pytest.mark.parametrize("is_done", [False, True])
def test_a_crash_at_any_write_leaves_nothing_that_the_next_round_does_not_finish(is_done: bool) -> None:
    expected = content(erased_content()[0])
    stop_at = 0
    while True:
        stop_at += 1
        store = StoppingStore(copy(), stop_at, is_done=is_done)
        try:
            erase_now(store, opened(store), street().shelf)
            break
        except Stopped:
            if stop_at % 4 == 1:
                audited(store)
            left = store.copy()
            erase_now(left, opened(left), street().shelf)
            assert content(left) == expected
    assert stop_at > 8


class Refusing(MemoryStore):
    """Loses the disk when something is erased."""

    def write(self, puts: Mapping[bytes, bytes | None]) -> None:
        raise StoreFault("db-failed", "no disk")


async def rounds(store: Store, shelf: Shelf, *, busy: bool = False) -> list[StoreFault]:
    """What a node's eraser does when a block is stored, to its end; the faults that it tells of."""
    faults: list[StoreFault] = []
    ledger = opened(store)
    eraser = Eraser(store, ledger, shelf, lambda: busy, faults.append)
    last = Executor(ledger, default_registry(), street().chain.genesis).execute(ledger.head.height + 1, NULL_BATCH)
    eraser.committed(last)
    while eraser._task is not None:
        await asyncio.sleep(0.001)
    eraser.committed(last)
    assert eraser._task is None, "nothing is left to do"
    await eraser.stop()
    return faults


def test_a_running_node_erases_at_its_start_and_compacts_when_no_snapshot_is_made(tmp_path: Path) -> None:
    store = copy()
    assert asyncio.run(rounds(store, Shelf(tmp_path))) == [] and newest_erased(store) == 0, "without a snapshot"
    assert asyncio.run(rounds(store, street().shelf)) == []
    assert content(store) == content(erased_content()[0])
    kept = copy()
    assert asyncio.run(rounds(kept, street().shelf, busy=True)) == []
    assert kept.get(layout.UNCOMPACTED) is not None and newest_erased(kept) > 0
    broken = Refusing()
    broken._items = copy()._items
    assert [fault.code for fault in asyncio.run(rounds(broken, street().shelf))][:1] == ["db-failed"]


def test_killed_in_the_middle_and_gone_from_the_files(tmp_path: Path) -> None:
    """With LevelDB: kill -9 while it erases; afterwards no file has a byte of what was erased, and no backup."""
    store = LevelStore(tmp_path / "db", create=True)
    shelf = Shelf(tmp_path / "shelf")
    street_here = Street(store, shelf)
    store.close()
    source = f"""
import sys, time
from tests.test_erasing import opened, Street
from node.ledger.store import LevelStore
from node.ledger.erasing import erase_all
from node.eraser import horizon
from node.snapshot.shelf import Shelf
from pathlib import Path
store = LevelStore(Path({str(tmp_path / "db")!r}), create=False)
from chaincode.registry import default_registry
from node.ledger.chain import Ledger
from tests.chaincode.market_chain import genesis
ledger = Ledger.open(store, genesis(retention_s=0), default_registry())
for number, step in enumerate(erase_all(store, ledger, horizon(Shelf(Path({str(tmp_path / "shelf")!r}))), asked=True)):
    if step.results:
        print(number, flush=True)
        time.sleep(0.02)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    store = LevelStore(tmp_path / "db", create=False)
    try:
        ledger = Ledger.open(store, street_here.chain.genesis, default_registry())
        verify_data(store, street_here.chain.genesis, default_registry(), shelf, jobs=0)
        assert newest_erased(store) > 0
        erase_now(store, ledger, shelf)
        assert verify_data(store, street_here.chain.genesis, default_registry(), shelf, jobs=0).erased == 9
        bundles = Library(tmp_path / "none")
        Backup(store, ledger, bundles, street_here.chain.genesis, "ann", tmp_path / "backup").run()
    finally:
        store.close()
    for place in (tmp_path / "db", tmp_path / "backup" / "db"):
        files = b"".join([path.read_bytes() for path in place.iterdir() if path.is_file()])
        for tx in street_here.readings:
            is_gone = tx.payload.args["device"].startswith("home-2") and tx.payload.args["slot"] <= 2
            assert (tx.raw[:64] in files) is not is_gone
