"""A running node makes snapshots while blocks go on; what goes wrong with one does not hurt it."""

import asyncio
import logging
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.errors import RefusedError, StoreFault
from node.ledger.layout import STATE
from node.ledger.store import LevelStore, MemoryStore, View
from node.limits import SNAPSHOTS_KEPT
from node.model.keys import verify
from node.snapshot.join import JoinPlan, join
from node.snapshot.load import load
from node.snapshot.maker import Maker, Making
from node.snapshot.offer import Offer, Trust, checked_offer
from node.snapshot.shelf import Draft, Shelf
from tests.ledger.chains import Chain
from tests.snapshot.harness import Seen, grown, served, service, snapshot, state_of

EVERY = 10


async def settled(maker: Maker) -> None:
    """Wait until no snapshot is under way."""
    while maker.is_busy:
        await asyncio.sleep(0.01)


def fatal(fault: StoreFault) -> None:
    raise AssertionError(fault)


@pytest.mark.parametrize("on_disk", [True, False])
def test_it_is_the_state_of_its_block_though_others_follow(tmp_path: Path, on_disk: bool) -> None:
    store = LevelStore(tmp_path / "db", create=True) if on_disk else MemoryStore()
    chain = grown(EVERY, Chain(store))
    shelf = Shelf(tmp_path / "shelf")
    maker = Maker(store, chain.ledger, shelf, fatal, EVERY)

    async def run() -> list[tuple[bytes, bytes]]:
        state = state_of(store)
        maker.committed()
        assert maker.is_busy
        for _ in range(EVERY - 1):
            grown(1, chain)
            maker.committed()
            await asyncio.sleep(0)
        await settled(maker)
        return state

    state = asyncio.run(run())
    (manifest,) = shelf.kept
    assert manifest.height == EVERY
    trust = Trust(chain.genesis.chain, (chain.genesis.epoch,), verify)
    copy = MemoryStore()
    target = checked_offer(manifest.offer, trust)
    load(copy, chain.genesis, target, (), lambda prefix: shelf.chunk(EVERY, target.depth, prefix))
    assert state_of(copy) == state != state_of(store)
    store.close()


def test_the_newest_are_kept_and_drafts_of_crashes_removed(tmp_path: Path) -> None:
    chain = Chain()
    (tmp_path / "7.part").mkdir()
    (tmp_path / "7.part" / "a").write_bytes(b"left")
    shelf = Shelf(tmp_path)
    maker = Maker(chain.store, chain.ledger, shelf, fatal, EVERY)

    async def run() -> None:
        for _ in range(4 * EVERY):
            grown(1, chain)
            maker.committed()
            await settled(maker)

    asyncio.run(run())
    heights = [4 * EVERY - EVERY * number for number in range(SNAPSHOTS_KEPT)]
    assert [manifest.height for manifest in shelf.kept] == heights
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(str(height) for height in heights)
    assert [manifest.height for manifest in Shelf(tmp_path).kept] == heights


def test_a_stopped_node_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.snapshot.maker.SNAPSHOT_SLICE_MS", 0)  # it is always in the middle of it
    chain = grown(EVERY)
    shelf = Shelf(tmp_path / "shelf")
    maker = Maker(chain.store, chain.ledger, shelf, fatal, EVERY)

    async def run() -> None:
        maker.committed()
        await asyncio.sleep(0)
        await maker.stop()
        assert not maker.is_busy

    asyncio.run(run())
    assert not shelf.kept
    assert list((tmp_path / "shelf").iterdir()) == []


class SlowShelf(Shelf):
    """Waits with a finished snapshot until it is told to go on."""

    entered = threading.Event()
    go_on = threading.Event()

    def add(self, draft: Draft, offer: Offer, height: int) -> None:
        self.entered.set()
        assert self.go_on.wait(10)
        super().add(draft, offer, height)


def test_a_node_that_stops_at_the_last_moment_leaves_the_whole_snapshot(tmp_path: Path) -> None:
    chain = grown(EVERY)
    shelf = SlowShelf(tmp_path)
    maker = Maker(chain.store, chain.ledger, shelf, fatal, EVERY)

    async def run() -> None:
        maker.committed()
        await asyncio.to_thread(shelf.entered.wait, 10)
        stopping = asyncio.create_task(maker.stop())
        await asyncio.sleep(0.05)
        assert not stopping.done()
        shelf.go_on.set()
        await stopping

    asyncio.run(run())
    again = Shelf(tmp_path)
    (manifest,) = again.kept
    assert all(again.chunk(EVERY, manifest.depth, chunk.prefix) for chunk in manifest.chunks)


def test_a_full_disk_is_logged_and_the_next_one_is_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Checklist 58, of what a node can do without: it goes on, and tries again later."""
    chain = grown(EVERY, names=200)
    shelf = Shelf(tmp_path)
    maker = Maker(chain.store, chain.ledger, shelf, fatal, EVERY)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def run() -> None:
        maker.committed()
        await settled(maker)

    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        asyncio.run(run())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "snapshot-failed height=10: [Errno 27] File too large" in caplog.text
    assert not shelf.kept and list(tmp_path.iterdir()) == []
    grown(EVERY, chain)
    asyncio.run(run())
    assert [manifest.height for manifest in shelf.kept] == [2 * EVERY]


class Rotten(MemoryStore):
    """Its views lose the state halfway."""

    def view(self) -> View:
        copy = Rotten()
        copy._items = self._items.copy()
        return copy

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        for number, pair in enumerate(super().scan(start, end, reverse)):
            if number == 5 and start[:1] == STATE and len(start) == 1:
                raise StoreFault("db-corrupt", "a bad block")
            yield pair


def test_a_database_that_cannot_be_read_ends_the_node(tmp_path: Path) -> None:
    chain = grown(EVERY, Chain(Rotten()))
    faults: list[StoreFault] = []
    maker = Maker(chain.store, chain.ledger, Shelf(tmp_path), faults.append, EVERY)

    async def run() -> None:
        maker.committed()
        await settled(maker)

    asyncio.run(run())
    assert [fault.code for fault in faults] == ["db-corrupt"]


def test_block_0_needs_no_snapshot(tmp_path: Path) -> None:
    chain = Chain()
    with pytest.raises(RefusedError, match="no-snapshot"):
        Making(chain.store, chain.ledger, Shelf(tmp_path))


def test_a_damaged_chunk_takes_its_snapshot_off_the_shelf(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chain = grown(EVERY)
    shelf = snapshot(chain, tmp_path)
    prefix = shelf.kept[0].chunks[0].prefix
    (tmp_path / str(EVERY) / prefix).write_bytes(b"rot")
    with pytest.raises(RefusedError, match="no-snapshot"):
        shelf.chunk(EVERY, 1, prefix)
    assert "snapshot-damaged height=10" in caplog.text
    assert not shelf.kept and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x97\x02"])
def test_a_damaged_manifest_is_no_snapshot(tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    snapshot(grown(EVERY), tmp_path)
    (tmp_path / str(EVERY) / "manifest").write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert not Shelf(tmp_path).kept
    assert "snapshot-unreadable" in caplog.text


def test_a_join_onto_a_full_disk_says_so_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    chain = grown(EVERY)
    shelf = snapshot(chain, tmp_path / "shelf")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def run() -> int:
        async with served(service(chain, shelf)) as addresses:
            plan = JoinPlan(tmp_path / "data", chain.genesis, addresses)
            resource.setrlimit(resource.RLIMIT_FSIZE, (150, before[1]))
            try:
                with pytest.raises(RefusedError) as refusal:
                    await join(plan, chain.registry, Seen())
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert refusal.value.code == "disk-full"
            return (await join(plan, chain.registry, Seen())).height

    assert asyncio.run(run()) == EVERY
