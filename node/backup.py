"""A copy of a node's database, made while it runs; and its way back.

A backup is a directory: ``db``, a LevelDB with every entry that the database had after one block, ``genesis.json``,
``upgrades`` with the bundles of contracts that are installed (``node/upgrades``), without which the node could not go
on, and ``backup.json``, written last, which says whose it is, how far it goes, what its entries hash to and which
bundles there are. It holds no keys and no vote log: what a member has voted for since must never be forgotten, so a
node that was restored listens until the others have shown that its votes cannot matter any more
(``node/snapshot/staging.py``).

The copy is made in a thread of its own, in short slices, from a view of the database at one moment: every block is one
atomic write, so any moment is the end of a block.
"""

import hashlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec

from node.errors import ConfigError, RefusedError, StoreFault
from node.files import read_given, sync_directory
from node.ledger.chain import Ledger
from node.ledger.store import LevelStore, Store, View, sync_files
from node.model.genesis import Genesis, dump_genesis
from node.setup import DATABASE_NAME
from node.upgrades.library import UPGRADES_NAME, Library

log = logging.getLogger("watt.backup")

BACKUP_FORMAT: Final = 2
READ_FORMATS: Final = (1, BACKUP_FORMAT)
"""Those of format 1 hold no bundles."""
MANIFEST_NAME: Final = "backup.json"
GENESIS_NAME: Final = "genesis.json"
PART_SUFFIX: Final = ".part"
"""What a backup is called until it is whole."""
SLICE_S: Final = 0.002
PAUSE_S: Final = 0.004
"""While a node runs, a third of one processor at most goes into the copy."""
BATCH_BYTES: Final = 64 * 1024

IDLE: Final = "idle"
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"

_END: Final = b"\xff"
"""Families of keys are ASCII letters."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``chain``, ``block_hash`` and ``digest`` in hex; ``digest``: SHA-256 over the lengths and bytes of every key and
    value in the order of keys; ``made``: UTC seconds; ``height``: of the newest block; ``upgrades``: the digests of the
    bundles in it, in hex."""

    format: int
    chain: str
    member: str
    height: int
    block_hash: str
    entries: int
    bytes: int
    digest: str
    made: Annotated[int, msgspec.Meta(ge=0, lt=1 << 36)]
    upgrades: tuple[str, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """How the last backup of a running node stands. ``state``: IDLE (there was none), RUNNING, DONE, FAILED."""

    state: str = IDLE
    directory: str = ""
    height: int = 0
    bytes: int = 0
    message: str = ""


class Backup:
    """One backup: fixed to the ledger's head when it is made, copied by ``run``, in any thread."""

    def __init__(
        self, store: Store, ledger: Ledger, upgrades: Library, genesis: Genesis, member: str, place: Path
    ) -> None:
        """Raises ConfigError: "backup-exists" rather than overwrite anything, "cannot-write"."""
        self._upgrades = upgrades
        self._genesis = genesis
        self._member = member
        self._place = place
        self._part = place.with_name(place.name + PART_SUFFIX)
        self._cancelled = threading.Event()
        self.height = ledger.head.height
        self._block_hash = ledger.head_hash
        self.bytes = 0
        """Copied so far."""
        for path in (place, self._part):
            if path.exists():
                raise ConfigError("backup-exists", f"{path} is there already; it is never overwritten")
        try:
            (self._part / DATABASE_NAME).mkdir(parents=True, mode=0o700)
            self._part.chmod(0o700)
        except OSError as error:
            raise ConfigError("cannot-write", f"{self._part}: {error.strerror}") from error
        self._view: View = store.view()

    def run(self, pause: Callable[[], None] = lambda: None) -> Manifest:
        """Copy everything, and make it durable. ``pause`` is called between slices of SLICE_S.

        Raises ConfigError, StoreFault, OSError; RefusedError("cancelled"). What is not whole is removed.
        """
        try:
            return self._copy(pause)
        except BaseException:
            shutil.rmtree(self._part, ignore_errors=True)
            raise
        finally:
            self._view.close()

    def cancel(self) -> None:
        """Let ``run`` end at its next slice."""
        self._cancelled.set()

    def _copy(self, pause: Callable[[], None]) -> Manifest:
        digest, entries = hashlib.sha256(), 0
        target = LevelStore(self._part / DATABASE_NAME, create=True, synced=False)
        try:
            batch: dict[bytes, bytes | None] = {}
            waiting, until = 0, time.monotonic() + SLICE_S
            for key, value in self._view.scan(b"", _END):
                batch[key] = value
                _add(digest, key, value)
                waiting += len(key) + len(value)
                if waiting < BATCH_BYTES and time.monotonic() < until:
                    continue
                target.write(batch)
                entries, self.bytes, batch, waiting = entries + len(batch), self.bytes + waiting, {}, 0
                if self._cancelled.is_set():
                    raise RefusedError("cancelled", "the node stopped before the backup was whole")
                if time.monotonic() >= until:
                    pause()
                    until = time.monotonic() + SLICE_S
            target.write(batch)
            entries, self.bytes = entries + len(batch), self.bytes + waiting
        finally:
            target.close()
        return self._finish(digest.hexdigest(), entries)

    def _finish(self, digest: str, entries: int) -> Manifest:
        upgrades = self._upgrades.copy_to(Library(self._part / UPGRADES_NAME))
        made = Manifest(
            BACKUP_FORMAT,
            self._genesis.chain.hex(),
            self._member,
            self.height,
            self._block_hash.hex(),
            entries,
            self.bytes,
            digest,
            int(time.time()),
            tuple([upgrade.hex() for upgrade in upgrades]),
        )
        (self._part / GENESIS_NAME).write_bytes(dump_genesis(self._genesis))
        (self._part / MANIFEST_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
        sync_files(self._part / DATABASE_NAME)
        sync_files(self._part)
        self._part.rename(self._place)
        sync_directory(self._place.parent)
        return made


class Backups:
    """The backups of a running node: one at a time. ``failed``: told of a database that cannot be trusted."""

    def __init__(self, store: Store, ledger: Ledger, upgrades: Library, genesis: Genesis, member: str) -> None:
        self._parts = (store, ledger, upgrades, genesis, member)
        self._backup: Backup | None = None
        self._thread: threading.Thread | None = None
        self._ended: Status | None = None

    def start(self, place: Path) -> Status:
        """Begin one. Raises RefusedError: "backup-running", or as ``Backup`` does."""
        if self.status().state == RUNNING:
            raise RefusedError("backup-running", "a backup is under way; one is made at a time")
        try:
            backup = self._backup = Backup(*self._parts, place)
        except ConfigError as error:
            raise RefusedError(error.code, error.message) from error
        self._ended = None
        self._thread = threading.Thread(target=self._run, args=(backup, place), name="backup", daemon=True)
        self._thread.start()
        return self.status()

    def status(self) -> Status:
        """How the last one stands."""
        if self._ended is not None or self._backup is None:
            return self._ended or Status()
        return Status(RUNNING, height=self._backup.height, bytes=self._backup.bytes)

    def stop(self) -> None:
        """Give up what is under way. To be called before the store is closed."""
        if self._backup is not None:
            self._backup.cancel()
        if self._thread is not None:
            self._thread.join()

    def _run(self, backup: Backup, place: Path) -> None:
        began = time.monotonic()
        try:
            made = backup.run(lambda: time.sleep(PAUSE_S))
            ms = int(1000 * (time.monotonic() - began))
            log.info("backup height=%d bytes=%d ms=%d", made.height, made.bytes, ms)
            self._ended = Status(DONE, str(place), made.height, made.bytes)
        except (OSError, ConfigError, RefusedError, StoreFault) as error:
            log.error("backup-failed height=%d: %s", backup.height, error)
            self._ended = Status(FAILED, str(place), backup.height, backup.bytes, str(error))


def read_manifest(place: Path) -> Manifest:
    """What a backup says of itself. Raises ConfigError("bad-backup")."""
    try:
        manifest = msgspec.json.decode(read_given(place / MANIFEST_NAME), type=Manifest)
    except OSError as error:
        raise ConfigError("bad-backup", f"{place} holds no whole backup: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError("bad-backup", f"{place / MANIFEST_NAME}: {error}") from error
    if manifest.format not in READ_FORMATS:
        raise ConfigError("bad-backup", f"format {manifest.format}, this program reads up to {BACKUP_FORMAT}")
    return manifest


def install_bundles(place: Path, manifest: Manifest, upgrades: Library) -> None:
    """Copy the bundles of a backup, each if it is the one that was copied; none of them is run for it, since nothing
    but the backup vouches for them. Raises ConfigError("bad-backup"), ("cannot-write")."""
    for name in manifest.upgrades:
        try:
            upgrades.take(place / UPGRADES_NAME / name, bytes.fromhex(name))
        except (RefusedError, ValueError) as error:
            raise ConfigError("bad-backup", f"{place}: the upgrade {name[:64]}: {error}") from error


def entries_of(place: Path, manifest: Manifest) -> Iterator[dict[bytes, bytes | None]]:
    """The entries of a backup in batches, and at the end whether they are those that were copied.

    Raises ConfigError: "bad-backup", and as ``LevelStore`` if nothing is wrong with the copy itself.
    """
    digest, entries = hashlib.sha256(), 0
    source = _opened(place / DATABASE_NAME)
    try:
        batch: dict[bytes, bytes | None] = {}
        waiting = 0
        for key, value in source.scan(b"", _END):
            batch[key] = value
            _add(digest, key, value)
            entries += 1
            waiting += len(key) + len(value)
            if waiting >= BATCH_BYTES:
                yield batch
                batch, waiting = {}, 0
        yield batch
    except StoreFault as fault:
        raise ConfigError("bad-backup", f"{place}: {fault.message}") from fault
    finally:
        source.close()
    if (entries, digest.hexdigest()) != (manifest.entries, manifest.digest):
        raise ConfigError("bad-backup", f"{place}: its entries are not those that were copied")


def _opened(path: Path) -> LevelStore:
    """The copied database. One that is damaged is no node's, for which "db-corrupt" says what to do."""
    try:
        return LevelStore(path, create=False)
    except ConfigError as error:
        if error.code not in ("db-corrupt", "db-missing"):
            raise
        raise ConfigError("bad-backup", error.message) from error


def _add(digest: "hashlib._Hash", key: bytes, value: bytes) -> None:
    digest.update(len(key).to_bytes(4, "big") + len(value).to_bytes(4, "big"))
    digest.update(key)
    digest.update(value)
