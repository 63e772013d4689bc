"""A disk that forgets what was not synced, down to single bytes, and a machine that dies in the middle of a call.

``SimDisk`` is the vote log's ``Directory``. Every operation is a point where the node may die: ``Fuse`` counts them
down and raises ``Crash``, which is no ``Exception``, so that nothing in the node can take it for an error of its own.
``crash`` then decides, with the seed's dice, what had reached the platter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

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


@dataclass(slots=True, eq=False)
class _Inode:
    """A file's content as a process sees it; ``synced``: how it stands on the platter."""

    content: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


class SimFile:
    """An open file of a ``SimDisk``."""

    def __init__(self, inode: _Inode, fuse: Fuse) -> None:
        self._inode = inode
        self._fuse = fuse

    def append(self, data: bytes) -> None:
        half = len(data) // 2
        self._inode.content += data[:half]
        self._fuse.burn()
        self._inode.content += data[half:]
        self._fuse.burn()

    def truncate(self, size: int) -> None:
        del self._inode.content[size:]
        self._fuse.burn()

    def sync(self) -> None:
        self._fuse.burn()
        self._inode.synced = bytes(self._inode.content)
        self._fuse.burn()

    def close(self) -> None:
        """Nothing to release."""


class SimDisk:
    """One node's directory, and its key-value store."""

    def __init__(self, dice: Random, fuse: Fuse) -> None:
        self._dice = dice
        self._fuse = fuse
        self._names: dict[str, _Inode] = {}
        self._synced_names: dict[str, _Inode] = {}
        self.store = SimStore(fuse)

    def read(self, name: str) -> bytes | None:
        inode = self._names.get(name)
        return bytes(inode.content) if inode is not None else None

    def create(self, name: str) -> SimFile:
        inode = self._names[name] = _Inode()
        self._fuse.burn()
        return SimFile(inode, self._fuse)

    def open(self, name: str) -> SimFile:
        return SimFile(self._names[name], self._fuse)

    def rename(self, old: str, new: str) -> None:
        self._names[new] = self._names.pop(old)
        self._fuse.burn()

    def sync(self) -> None:
        self._fuse.burn()
        self._synced_names = dict(self._names)
        self._fuse.burn()

    def durable(self, name: str) -> bytes:
        """What the platter holds under ``name`` for certain."""
        inode = self._synced_names.get(name)
        return inode.synced if inode is not None else b""

    def crash(self, *, power_loss: bool) -> None:
        """The process died; with ``power_loss`` so did the machine, and what was not synced is in the dice's hands."""
        self._fuse.left = None
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


class SimStore(MemoryStore):
    """The key-value store: a write is there as a whole or not at all; the node may die before it or after."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def write(self, puts: Mapping[bytes, bytes | None]) -> None:
        self._fuse.burn()
        super().write(puts)
        self._fuse.burn()

    def close(self) -> None:
        """The content outlives the process that closes it."""
