"""Where a node's new data are built while the old ones stay as they are: the directory ``joining`` within its data.

    joining/snapshot.part   chunks as they come, each checked before it is kept
    joining/snapshots/N     the finished snapshot: the node serves it to others, and can audit itself from it
    joining/db              the database: made of the chunks, then fed with blocks
    joining/complete        written last: from here on the new data take the place of the old

Interrupted at any point, the next attempt goes on from what is there. Taking the place of the old data is renaming,
in an order that can be repeated. The old vote log is not taken over: it may be older than what this member has voted
for, and without one the node does not vote until that is safe.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from chaincode.registry import Registry
from node.errors import CodecError, ConfigError, StoreFault
from node.files import sync_directory
from node.ledger import layout
from node.ledger.chain import Ledger, check_mark
from node.ledger.store import LevelStore, sync_files
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.model.epoch import Boundary
from node.model.genesis import Genesis
from node.setup import DATABASE_NAME, VOTES_NAME
from node.snapshot.chunks import checked_entries, listed
from node.snapshot.fetch import TargetName
from node.snapshot.load import load
from node.snapshot.offer import Offer, Target
from node.snapshot.shelf import COMPLETE_NAME, JOINING_NAME, SNAPSHOTS_NAME, Draft, Shelf

DRAFT_NAME = "snapshot.part"
TARGET_NAME = "target"
LOCK_NAME = "lock"
OLD_PREFIX = "old-"


class Staging:
    """The new data of the node whose data directory is ``data``. Also where ``Fetch`` puts chunks.

    Methods raise OSError, StoreFault and ConfigError if the disk or a database fails.
    """

    def __init__(self, data: Path, genesis: Genesis, registry: Registry) -> None:
        """Raises ConfigError: "db-locked" if a node runs on these data, or another join is under way; as
        ``check_mark`` if the data are of another chain."""
        self._data = data
        self._place = data / JOINING_NAME
        self._genesis = genesis
        self._registry = registry
        self._store: LevelStore | None = None
        self._draft: Draft | None = None
        self._target: Target | None = None
        self._place.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._place / LOCK_NAME)
        self._old: LevelStore | None = None
        self.old_height: int | None = None
        """The head of the data that are there already; None if there are none, or they are damaged."""
        try:
            self._hold_old()
        except ConfigError:
            self.close()
            raise
        for left in self._place.glob(f"{OLD_PREFIX}*"):
            if not self.is_complete:
                shutil.rmtree(left)

    @property
    def is_complete(self) -> bool:
        """Whether an earlier attempt was interrupted when only ``finish`` was left."""
        return (self._place / COMPLETE_NAME).exists()

    @property
    def preferred(self) -> TargetName | None:
        """The snapshot of which an earlier attempt has kept chunks."""
        with suppress(OSError, msgspec.MsgspecError):
            name: TargetName = msgspec.json.decode(
                (self._place / DRAFT_NAME / TARGET_NAME).read_bytes(), type=TargetName
            )
            return name
        return None

    def begin(self, target: Target) -> set[str]:
        """A snapshot was chosen. The chunks of it that an earlier attempt has left are checked again."""
        directory = self._place / DRAFT_NAME
        if self.preferred != target.name:
            shutil.rmtree(directory, ignore_errors=True)
        self._draft, self._target = Draft(directory), target
        (directory / TARGET_NAME).write_bytes(msgspec.json.encode(target.name))
        have = set()
        for prefix, top in target.tops.items():
            with suppress(OSError, CodecError):
                data = (directory / prefix).read_bytes()
                checked_entries(prefix, top, data)
                self._draft.adopt(prefix, data)
                have.add(prefix)
        return have

    def put(self, prefix: str, data: bytes) -> None:
        """Keep a checked chunk."""
        assert self._draft is not None
        self._draft.put(prefix, data)

    def opened(self) -> Ledger | None:
        """The ledger that an earlier attempt has made; None, and no trace of it, if it was not finished."""
        directory = self._place / DATABASE_NAME
        with suppress(ConfigError):
            self._store = LevelStore(directory, create=False, synced=False)
            if self._store.get(layout.FORMAT) is not None:
                return Ledger.open(self._store, self._genesis, self._registry)
        self._forget()
        return None

    def from_genesis(self) -> Ledger:
        """A ledger that has block 0 only."""
        self._forget()
        return Ledger.open(self._new_store(), self._genesis, self._registry)

    def from_snapshot(self, boundaries: Sequence[Boundary], progress: Callable[[], None]) -> Ledger:
        """A ledger made of the chunks, every one of which is read back and checked once more."""
        assert self._draft is not None and self._target is not None
        target = self._target
        self._forget()
        store = self._new_store()
        directory = self._draft.directory
        load(store, self._genesis, target, boundaries, lambda prefix: (directory / prefix).read_bytes(), progress)
        (self._draft.directory / TARGET_NAME).unlink()
        offer = Offer(
            encode_header(target.header), encode_certificate(target.certificate), target.depth, listed(target.upper)
        )
        Shelf(self._place / SNAPSHOTS_NAME).add(self._draft, offer, target.height)
        return Ledger.open(store, self._genesis, self._registry)

    def from_entries(self, batches: Iterable[Mapping[bytes, bytes | None]]) -> Ledger:
        """A ledger made of a database's own entries, as a backup has them."""
        self._forget()
        store = self._new_store()
        for batch in batches:
            store.write(batch)
        return Ledger.open(store, self._genesis, self._registry)

    def finish(self) -> None:
        """Make all durable and put it in the place of the old data, which are removed. Repeats what was cut short."""
        self._close_store()
        if not self.is_complete:
            self._hold_old()  # nobody may have started a node meanwhile
            sync_files(self._place / DATABASE_NAME)
            (self._place / COMPLETE_NAME).touch()
            sync_files(self._place)
        self._let_go_of_old()
        if (self._place / DATABASE_NAME).exists():
            for name in (VOTES_NAME, DATABASE_NAME):
                if (self._data / name).exists():
                    self._move(self._data / name, self._place / f"{OLD_PREFIX}{name}")
            self._move(self._place / DATABASE_NAME, self._data / DATABASE_NAME)
        (self._data / SNAPSHOTS_NAME).mkdir(exist_ok=True)
        for snapshot in sorted((self._place / SNAPSHOTS_NAME).glob("*")):
            shutil.rmtree(self._data / SNAPSHOTS_NAME / snapshot.name, ignore_errors=True)
            self._move(snapshot, self._data / SNAPSHOTS_NAME / snapshot.name)
        (self._place / COMPLETE_NAME).unlink()
        shutil.rmtree(self._place)

    def close(self) -> None:
        """Release all files; what has been done stays for the next attempt."""
        self._close_store()
        self._let_go_of_old()
        os.close(self._lock)

    def _hold_old(self) -> None:
        """Open the old database, so that nobody else does. A damaged one is as good as none."""
        if self._old is not None:
            return
        try:
            self._old = LevelStore(self._data / DATABASE_NAME, create=False)
            mark, head = self._old.get(layout.FORMAT), self._old.get(layout.HEAD)
        except ConfigError as error:
            if error.code not in ("db-missing", "db-corrupt"):
                raise
            return
        except StoreFault:
            return
        if mark is not None and head is not None:
            check_mark(mark, self._genesis.chain)
            self.old_height = int.from_bytes(head, "big")

    def _new_store(self) -> LevelStore:
        directory = self._place / DATABASE_NAME
        directory.mkdir()
        self._store = LevelStore(directory, create=True, synced=False)
        return self._store

    def _forget(self) -> None:
        """Remove the database that is being built."""
        self._close_store()
        shutil.rmtree(self._place / DATABASE_NAME, ignore_errors=True)

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _let_go_of_old(self) -> None:
        if self._old is not None:
            self._old.close()
            self._old = None

    def _move(self, source: Path, place: Path) -> None:
        """Rename, durably."""
        source.rename(place)
        for directory in {source.parent, place.parent}:
            sync_directory(directory)


def _locked(path: Path) -> int:
    """The file at ``path``, open and locked: by one process at a time."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise ConfigError("db-locked", f"another join into {path.parent} is under way") from error
    return handle
