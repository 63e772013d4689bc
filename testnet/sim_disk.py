"""A disk that forgets what was not synced, down to single bytes, and a machine that dies in the middle of a call.

``SimDisk`` is the vote log's ``Directory``. Every operation is a point where the node may die: ``Fuse`` counts them
down and raises ``Crash``, which is no ``Exception``, so that nothing in the node can take it for an error of its own.
``crash`` then decides, with the seed's dice, what had reached the platter.

Worse things than a crash happen to few disks (``sim_disk_faults``): they are wiped, an old backup is put back, bits
rot, no space is left, a sync fails.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random

from chaincode.upgrades import Bundle
from node.errors import StoreFault
from node.ledger.store import MemoryStore


class Crash(BaseException):
    """The simulated machine died here."""


@dataclass(slots=True)
class Fuse:
    """Burns down by one at every operation on disk, and on the network unless ``disk_only``; None: not lit."""

    left: int | None = None
    disk_only: bool = False

    def burn(self, *, on_disk: bool = True) -> None:
        """Raises Crash when the fuse has burnt down."""
        if self.left is not None and (on_disk or not self.disk_only):
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Crash


@dataclass(slots=True)
class Ailment:
    """What a disk suffers from. ``room``: bytes that can still be written (None: any number); ``failing_syncs``: how
    many syncs, from the next on, fail."""

    room: int | None = None
    failing_syncs: int = 0

    def write(self, data: bytes) -> bytes:
        """As much of ``data`` as there is room for."""
        if self.room is None:
            return data
        written = data[: self.room]
        self.room -= len(written)
        return written


@dataclass(slots=True, eq=False)
class _Inode:
    """A file's content as a process sees it; ``synced``: how it stands on the platter."""

    content: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


class SimFile:
    """An open file of a ``SimDisk``."""

    def __init__(self, inode: _Inode, disk: "SimDisk") -> None:
        self._inode = inode
        self._disk = disk
        self._fuse = disk.fuse

    def append(self, data: bytes) -> None:
        written = self._disk.ailment.write(data)
        half = len(written) // 2
        self._inode.content += written[:half]
        self._fuse.burn()
        self._inode.content += written[half:]
        self._fuse.burn()
        if len(written) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def truncate(self, size: int) -> None:
        del self._inode.content[size:]
        self._fuse.burn()

    def sync(self) -> None:
        self._fuse.burn()
        self._disk.sync_inode(self._inode)
        self._fuse.burn()

    def close(self) -> None:
        """Nothing to release."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A disk as it was."""

    files: dict[str, bytes]
    store: dict[bytes, bytes]
    bundles: dict[bytes, Bundle]


class SimDisk:
    """One node's directory, and its key-value store."""

    def __init__(self, dice: Random, fuse: Fuse) -> None:
        self._dice = dice
        self.fuse = fuse
        self.ailment = Ailment()
        self._names: dict[str, _Inode] = {}
        self._synced_names: dict[str, _Inode] = {}
        self.store = SimStore(fuse, self.ailment)
        self.bundles: dict[bytes, Bundle] = {}
        """The upgrades that the operator has installed, by digest: with the store and the files, all that there is."""

    def read(self, name: str) -> bytes | None:
        inode = self._names.get(name)
        return bytes(inode.content) if inode is not None else None

    def create(self, name: str) -> SimFile:
        inode = self._names[name] = _Inode()
        self.fuse.burn()
        return SimFile(inode, self)

    def open(self, name: str) -> SimFile:
        return SimFile(self._names[name], self)

    def rename(self, old: str, new: str) -> None:
        self._names[new] = self._names.pop(old)
        self.fuse.burn()

    def sync(self) -> None:
        self.fuse.burn()
        self._synced_names = dict(self._names)
        self.fuse.burn()

    def sync_inode(self, inode: _Inode) -> None:
        """Bring a file's content to the platter; or fail, and then nobody knows how much of it got there."""
        if self.ailment.failing_syncs:
            self.ailment.failing_syncs -= 1
            inode.content = bytearray(self._settle(inode))
            inode.synced = bytes(inode.content)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        inode.synced = bytes(inode.content)

    def durable(self, name: str) -> bytes:
        """What the platter holds under ``name`` for certain."""
        inode = self._synced_names.get(name)
        return inode.synced if inode is not None else b""

    def crash(self, *, power_loss: bool) -> None:
        """The process died; with ``power_loss`` so did the machine, and what was not synced is in the dice's hands."""
        self.fuse.left = None
        if not power_loss:
            return
        # Names not synced may have reached the platter or not; all changes since the last sync are one journal entry.
        if self._dice.random() < 0.5:
            self._names = dict(self._synced_names)
        self._synced_names = dict(self._names)
        for inode in self._names.values():
            inode.content = bytearray(self._settle(inode))
            inode.synced = bytes(inode.content)

    def _settle(self, inode: _Inode) -> bytes:
        """What was written since the last sync: all, none, a prefix, or with a hole of zeros or noise."""
        content, synced = bytes(inode.content), inode.synced
        if not content.startswith(synced):  # truncated, and not synced: either length may be found again
            return content if self._dice.random() < 0.5 else synced
        kept = self._dice.randint(len(synced), len(content))
        resumed = self._dice.randint(kept, len(content))
        fates = (
            content,
            synced,
            content[:kept],
            content[:kept] + bytes(resumed - kept),
            content[:kept] + bytes(resumed - kept) + content[resumed:],
            content[:kept] + self._dice.randbytes(resumed - kept) + content[resumed:],
        )
        return self._dice.choice(fates)

    # What happens to a disk while its node is down.

    def wipe(self, *, store: bool, files: bool) -> None:
        """All of it is gone: the key-value store, the files, or both, and then what was installed, too."""
        if store:
            self.store.replace({})
        if files:
            self._names, self._synced_names = {}, {}
        if store and files:
            self.bundles = {}

    def backup(self) -> Backup:
        """A copy of what is on the platter."""
        return Backup(
            {name: inode.synced for name, inode in self._synced_names.items()}, self.store.items(), dict(self.bundles)
        )

    def restore(self, backup: Backup, *, store: bool, files: bool) -> None:
        """Put an old copy back: of the key-value store, of the files, or of both."""
        if store:
            self.store.replace(backup.store)
        if files:
            self._names = {name: _Inode(bytearray(data), data) for name, data in backup.files.items()}
            self._synced_names = dict(self._names)
        if store and files:
            self.bundles = dict(backup.bundles)

    def rot_file(self, name: str) -> None:
        """Some bits of a file turn over."""
        inode = self._names.get(name)
        if inode is not None and inode.content:
            for _ in range(self._dice.choice((1, 1, 3))):
                inode.content[self._dice.randrange(len(inode.content))] ^= 1 << self._dice.randrange(8)
            inode.synced = bytes(inode.content)

    def rot_store(self) -> None:
        """Some values cannot be read any more: their checksums are wrong."""
        self.store.rot(self._dice)


class SimStore(MemoryStore):
    """The key-value store: a write is there as a whole or not at all; the node may die before it or after."""

    def __init__(self, fuse: Fuse, ailment: Ailment) -> None:
        super().__init__()
        self._fuse = fuse
        self._ailment = ailment
        self._rotten: set[bytes] = set()

    def get(self, key: bytes) -> bytes | None:
        if key in self._rotten:
            raise _rotten(key)
        return super().get(key)

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        for key, value in super().scan(start, end, reverse):
            if key in self._rotten:
                raise _rotten(key)
            yield key, value

    def write(self, puts: Mapping[bytes, bytes | None]) -> None:
        self._fuse.burn()
        if self._ailment.room is not None:
            size = sum(len(key) + len(value or b"") for key, value in puts.items())
            if len(self._ailment.write(bytes(size))) < size:
                raise StoreFault("db-failed", "the database failed: No space left on device")
        super().write(puts)
        if self._rotten:
            self._rotten.difference_update(puts)
        self._fuse.burn()

    def close(self) -> None:
        """The content outlives the process that closes it."""

    def items(self) -> dict[bytes, bytes]:
        """A copy of the content."""
        return dict(self._items)

    def replace(self, items: dict[bytes, bytes]) -> None:
        """Hold these, and nothing else."""
        self._items.clear()
        self._items.update(items)
        self._rotten.clear()

    @property
    def is_rotten(self) -> bool:
        """Whether some value cannot be read."""
        return bool(self._rotten)

    def rot(self, dice: Random) -> None:
        """Some values cannot be read any more."""
        keys = self._items.keys()
        self._rotten.update(keys[dice.randrange(len(keys))] for _ in range(min(len(keys), dice.choice((1, 10, 1000)))))


def _rotten(key: bytes) -> StoreFault:
    return StoreFault("db-corrupt", f"the database failed: the value at {key.hex()} does not have its checksum")
