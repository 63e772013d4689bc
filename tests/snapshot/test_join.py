"""A node joins over the wire: from several nodes, past those who lie, and on from where it was cut short."""

import asyncio
import shutil
from pathlib import Path

import pytest

from node.errors import ConfigError, RefusedError
from node.gateway.guard import Context
from node.gateway.snapshots import SnapshotService
from node.ledger.store import LevelStore
from node.limits import SERVED_BYTES_BURST
from node.setup import DATABASE_NAME
from node.snapshot.fetch import AskList
from node.snapshot.join import JoinPlan, join
from node.snapshot.remote import Remote
from node.snapshot.shelf import COMPLETE_NAME, JOINING_NAME, Shelf, require_joined
from protos import gateway_pb2 as pb
from tests.ledger.chains import Chain, make_genesis
from tests.snapshot.harness import Seen, everybody, grown, joined, opened, served, service, snapshot, state_of


def same(chain: Chain, data: Path) -> int:
    """Whether what was joined is the chain; the base."""
    store, ledger = opened(chain, data)
    try:
        assert ledger.head == chain.ledger.head
        assert ledger.tree.root == chain.ledger.head.state_root
        assert state_of(store) == state_of(chain.store)
        for height in range(ledger.base + 1, ledger.head.height + 1):
            assert ledger.block(height) == chain.ledger.block(height)
            assert ledger.receipts(height) == chain.ledger.receipts(height)
        assert ledger.base == 0 or ledger.block(ledger.base) is None
        return ledger.base
    finally:
        store.close()


def test_a_snapshot_and_the_blocks_after_it(tmp_path: Path) -> None:
    chain = grown(20)
    shelf = snapshot(chain, tmp_path / "shelf")
    grown(30, chain)
    seen = Seen()
    report = joined(chain, tmp_path / "data", [service(chain, shelf)], seen)
    assert (report.height, report.snapshot_height, report.blocks) == (50, 20, 30)
    assert same(chain, tmp_path / "data") == 20
    assert report.chunks == len(shelf.kept[0].chunks)
    assert seen.steps[-1] == ("blocks", 50, 50)
    assert not (tmp_path / "data" / JOINING_NAME).exists()
    again = Shelf(tmp_path / "data" / "snapshots")  # it serves what it has taken over
    prefix = shelf.kept[0].chunks[0].prefix
    assert again.chunk(20, 1, prefix) == shelf.chunk(20, 1, prefix)


def test_by_blocks_alone_when_nobody_has_a_snapshot_or_on_demand(tmp_path: Path) -> None:
    chain = grown(150)
    empty, full = Shelf(tmp_path / "none"), snapshot(chain, tmp_path / "shelf")
    report = joined(chain, tmp_path / "data", [service(chain, empty), service(chain, empty)])
    assert (report.height, report.snapshot_height, report.blocks) == (150, 0, 150)
    assert same(chain, tmp_path / "data") == 0
    assert joined(chain, tmp_path / "other", [service(chain, full)], blocks_only=True).snapshot_height == 0
    assert same(chain, tmp_path / "other") == 0


class Corrupting(SnapshotService):
    """Changes a byte of every chunk and of every body that it sends."""

    async def Chunk(self, request: pb.SnapshotChunkRequest, context: Context) -> pb.SnapshotChunkReply:
        reply = await super().Chunk(request, context)
        return pb.SnapshotChunkReply(data=reply.data[:-1] + bytes([reply.data[-1] ^ 1]))

    async def Blocks(self, request: pb.BlocksRequest, context: Context) -> pb.BlocksReply:
        reply = await super().Blocks(request, context)
        for block in reply.blocks:
            block.body = block.body[:-1] + bytes([block.body[-1] ^ 1])
        return reply


class Withholding(SnapshotService):
    """Says what it has, and gives nothing."""

    async def Chunk(self, request: pb.SnapshotChunkRequest, context: Context) -> pb.SnapshotChunkReply:
        raise RefusedError("no-snapshot", "not here")

    async def Blocks(self, request: pb.BlocksRequest, context: Context) -> pb.BlocksReply:
        return pb.BlocksReply()


class Boasting(SnapshotService):
    """Claims a head that nobody has certified."""

    async def List(self, request: pb.SnapshotsRequest, context: Context) -> pb.SnapshotsReply:
        reply = await super().List(request, context)
        reply.header = reply.header.replace(b"\x00" * 8, b"\x01" * 8, 1)[:-1] + b"\x00"
        return reply


class Poor(SnapshotService):
    """Has a genuine, old head and no snapshot: it keeps the newest blocks to itself."""

    async def List(self, request: pb.SnapshotsRequest, context: Context) -> pb.SnapshotsReply:
        reply = await super().List(request, context)
        old = await super().Blocks(pb.BlocksRequest(first=1, count=1), context)
        reply.header, reply.certificate = old.blocks[0].header, old.blocks[0].certificate
        del reply.snapshots[:]
        return reply


def lying(kind: type[SnapshotService], chain: Chain, shelf: Shelf) -> SnapshotService:
    return kind(chain.genesis.chain, chain.ledger, shelf, everybody)


@pytest.mark.parametrize("blocks_only", [False, True])
def test_who_lies_is_named_and_another_is_asked(tmp_path: Path, blocks_only: bool) -> None:
    """Checklist 40 and 42: corrupt, withheld, unproven and outdated answers cost time, and nothing else."""
    chain = grown(20)
    shelf = snapshot(chain, tmp_path / "shelf")
    grown(300, chain)
    kinds = (Corrupting, Withholding, Boasting, Poor)
    liars = [lying(kind, chain, shelf) for kind in kinds]
    seen = Seen()
    report = joined(chain, tmp_path / "data", [*liars, service(chain, shelf)], seen, blocks_only=blocks_only)
    assert report.height == 320
    assert same(chain, tmp_path / "data") == (0 if blocks_only else 20)
    verdicts = list(seen.verdicts.values())
    assert [verdict.code for verdict in verdicts if verdict.lied].count("malformed") <= 1
    codes = {verdict.code for verdict in verdicts}
    assert "withheld" in codes and codes & {"wrong-hash", "malformed", "non-canonical", "bad-signature"}
    assert len(verdicts) == 3 and dict(report.dropped).keys() == seen.verdicts.keys()


def test_whoever_asks_for_lists_without_end_leaves_the_others_their_share(tmp_path: Path) -> None:
    """Checklist 52: a list is served while there are bytes left for this second, like all else, and not on credit."""
    chain = grown(20)
    host = service(chain, snapshot(chain, tmp_path / "shelf"))
    host._bytes.spend("", 4 * SERVED_BYTES_BURST)

    async def ask() -> None:
        async with served(host) as addresses, Remote() as remote:
            asked = asyncio.create_task(remote.listing(AskList(addresses[0])))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asked), 0.05)
            host._bytes.spend("", -4 * SERVED_BYTES_BURST)
            assert (await asked).chain == chain.genesis.chain

    asyncio.run(ask())


def test_when_nobody_can_be_used_it_says_why(tmp_path: Path) -> None:
    chain = grown(5)
    shelf = snapshot(chain, tmp_path / "shelf")
    data = tmp_path / "data"
    with pytest.raises(RefusedError, match=r"wrong-hash|malformed") as refusal:
        joined(chain, data, [lying(Corrupting, chain, shelf), lying(Corrupting, chain, shelf)])
    assert refusal.value.code == "no-source"
    stranger = Chain(genesis=make_genesis("another"))
    with pytest.raises(RefusedError, match="it is of chain") as refusal:
        joined(chain, data, [service(grown(3, stranger), Shelf(tmp_path / "none"))])
    assert refusal.value.code == "wrong-genesis"
    with pytest.raises(RefusedError) as refusal:
        asyncio.run(join(JoinPlan(data, chain.genesis, ("127.0.0.1:1",)), chain.registry, Seen()))
    assert refusal.value.code == "unreachable"
    assert not (data / DATABASE_NAME).exists()


class Dying(SnapshotService):
    """Sends so many chunks, or so many lists of blocks, and then nothing any more."""

    left = 5

    async def Chunk(self, request: pb.SnapshotChunkRequest, context: Context) -> pb.SnapshotChunkReply:
        self._use()
        return await super().Chunk(request, context)

    async def Blocks(self, request: pb.BlocksRequest, context: Context) -> pb.BlocksReply:
        self._use()
        return await super().Blocks(request, context)

    def _use(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise RefusedError("stopping", "enough")


def test_a_join_that_was_cut_short_goes_on(tmp_path: Path) -> None:
    chain = grown(40)
    shelf = snapshot(chain, tmp_path / "shelf")
    grown(500, chain)
    data = tmp_path / "data"
    total = len(shelf.kept[0].chunks)
    with pytest.raises(RefusedError, match="stopping"):
        joined(chain, data, [lying(Dying, chain, shelf)])
    kept = [path for path in (data / JOINING_NAME / "snapshot.part").iterdir() if len(path.name) == 1]
    # Two answers are under way at a time: one that comes after the third refusal is not looked at any more.
    assert len(kept) in (4, 5)
    kept[0].write_bytes(b"damaged meanwhile")
    dying = lying(Dying, chain, shelf)
    dying.left = total - (len(kept) - 1) + 2  # type: ignore[attr-defined]
    seen = Seen()
    with pytest.raises(RefusedError, match="stopping"):  # now in the midst of the blocks
        joined(chain, data, [dying], seen)
    assert next(step for step in seen.steps if step[0] == "chunks") == ("chunks", len(kept), total)
    assert not (data / DATABASE_NAME).exists()
    report = joined(chain, data, [service(chain, shelf)])
    assert report.chunks == 0 and 0 < report.blocks <= 500 - 64
    assert same(chain, data) == 40


def with_data(chain: Chain, data: Path) -> None:
    """Make the data directory of a node that has the whole chain, and a vote log."""
    store = LevelStore(data / DATABASE_NAME, create=True)
    store.write(dict(chain.store.scan(b"", b"\xff")))
    store.close()
    (data / "votes").mkdir()
    (data / "votes" / "votes.log").write_bytes(b"old")


def test_old_data_are_replaced_when_the_new_are_whole_and_not_before(tmp_path: Path) -> None:
    chain, data = grown(10), tmp_path / "data"
    (data / DATABASE_NAME).mkdir(parents=True)
    with_data(chain, data)
    old = state_of(chain.store)
    grown(30, chain)
    shelf = snapshot(chain, tmp_path / "shelf")
    with pytest.raises(RefusedError, match="no-source"):
        joined(chain, data, [lying(Corrupting, chain, shelf)])
    store, ledger = opened(chain, data)
    assert (ledger.head.height, state_of(store)) == (10, old)
    with pytest.raises(ConfigError) as refusal:  # a node runs on it
        joined(chain, data, [service(chain, shelf)])
    assert refusal.value.code == "db-locked"
    store.close()
    assert (data / "votes" / "votes.log").exists()
    joined(chain, data, [service(chain, shelf)])
    assert same(chain, data) == 40
    assert not (data / "votes").exists()  # it votes again when that is safe
    with pytest.raises(ConfigError) as refusal:
        joined(chain, data, [service(chain, shelf)])
    assert refusal.value.code == "data-ahead"
    with pytest.raises(ConfigError) as refusal:
        joined(Chain(genesis=make_genesis("another")), data, [])
    assert refusal.value.code == "db-other-chain"


def test_damaged_data_are_replaced_too(tmp_path: Path) -> None:
    chain, data = grown(10), tmp_path / "data"
    shelf = snapshot(chain, tmp_path / "shelf")
    (data / DATABASE_NAME).mkdir(parents=True)
    with_data(chain, data)
    for path in (data / DATABASE_NAME).glob("MANIFEST*"):
        path.write_bytes(b"rot")
    joined(chain, data, [service(chain, shelf)])
    assert same(chain, data) == 10


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_join_cut_short_while_files_take_their_place_is_finished_by_the_next(tmp_path: Path, moved: int) -> None:
    chain, data = grown(10), tmp_path / "data"
    (data / DATABASE_NAME).mkdir(parents=True)
    with_data(chain, data)
    grown(10, chain)
    shelf = snapshot(chain, tmp_path / "shelf")
    joined(chain, tmp_path / "new", [service(chain, shelf)])
    place = data / JOINING_NAME
    shutil.copytree(tmp_path / "new", place)
    (place / COMPLETE_NAME).touch()
    for name in ("votes", DATABASE_NAME)[:moved]:
        (data / name).rename(place / f"old-{name}")
    with pytest.raises(ConfigError, match="join-unfinished"):
        require_joined(data)
    report = joined(chain, data, [])
    assert report.height == 20
    assert same(chain, data) == 20
    assert not place.exists() and not (data / "votes").exists()
    require_joined(data)
