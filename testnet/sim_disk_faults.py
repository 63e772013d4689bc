"""Disks that lose what they had promised to keep: to few nodes only, at most f together with Byzantine ones.

A node that finds such a fault out stops, and whoever watches it (in production: systemd) starts it again. Nobody does
anything else for it, except that a database that says of itself that it is damaged is deleted.
"""

from random import Random
from typing import Final, Protocol

from node.consensus.quorum import max_faulty
from node.votelog import LOG_NAME
from testnet.sim_disk import Backup, SimDisk
from testnet.sim_world import SECOND, Agenda

DISK_KINDS: Final = ("wipe", "backup", "rot", "full", "sync")
"""
wipe     a disk is wiped: the store, the vote log, or both
backup   an old copy is put back: of the store, of the vote log, or of both
rot      bits turn over in the vote log, or values of the store cannot be read
full     no space is left; later there is again
sync     a sync fails, once or a few times
"""

FORGETFUL: Final = frozenset(("wipe", "backup", "rot"))
"""What makes a node forget what it had synced."""

EXCUSES: Final = {
    "wipe": ("db-corrupt",),
    "backup": (),
    "rot": ("db-corrupt",),
    "full": ("vote-log-failed", "db-failed"),
    "sync": ("vote-log-failed",),
}
"""With which codes a node may stop that suffers from this."""


_BYZANTINE_WEIGHT: Final = 6
_TWIN_WEIGHT: Final = 3


def draw_faulty(dice: Random, kinds: frozenset[str], count: int) -> dict[int, str]:
    """Which members are faulty in a history, and how: at most f of them, often as many."""
    weights = {"byzantine": _BYZANTINE_WEIGHT, "twin": _TWIN_WEIGHT, **dict.fromkeys(DISK_KINDS, 1)}
    bag = [kind for kind, weight in weights.items() if kind in kinds for _ in range(weight)]
    f = max_faulty(count)
    number = f if dice.random() < 0.7 else dice.randint(0, f)
    members = dice.sample(range(count), number)
    if members and 0 not in members and dice.random() < 0.5:
        members[0] = 0  # the first primary
    members.sort()
    return {member: dice.choice(bag) for member in members} if bag else {}


class Patient(Protocol):
    """A node whose disk is bad."""

    index: int
    disk: SimDisk

    @property
    def is_up(self) -> bool: ...

    def crash(self, *, power_loss: bool) -> None: ...


class DiskFaults:
    """Makes the disks of some nodes fail until ``heal``."""

    def __init__(self, kinds: dict[int, str], agenda: Agenda, dice: Random, nodes: list[Patient]) -> None:
        """``kinds``: by the index of the node, what its disk does, of ``DISK_KINDS``."""
        self.kinds = kinds
        self._agenda = agenda
        self._dice = dice
        self._nodes = [node for node in nodes if node.index in kinds]
        self._over = False

    def begin(self) -> None:
        """The first faults are put on the agenda."""
        for node in self._nodes:
            self._again(node)

    def heal(self) -> None:
        """There is space, syncs succeed, and what has rotted unread is found; what was lost stays lost."""
        self._over = True
        for node in self._nodes:
            node.disk.ailment.room, node.disk.ailment.failing_syncs = None, 0
            if node.disk.store.is_rotten:
                node.crash(power_loss=False)
                node.disk.wipe(store=True, files=False)

    def excuses(self, index: int, code: str) -> bool:
        """Whether the node at ``index`` may stop with ``code``."""
        return code in EXCUSES.get(self.kinds.get(index, ""), ())

    def _again(self, node: Patient) -> None:
        self._agenda.after(int(self._dice.uniform(0.5, 8.0) * SECOND), self._strike, node)

    def _strike(self, node: Patient) -> None:
        if self._over:
            return
        dice = self._dice
        match self.kinds[node.index]:
            case "wipe":
                node.crash(power_loss=False)
                node.disk.wipe(**self._parts())
            case "backup":
                self._agenda.after(int(dice.uniform(0.2, 8.0) * SECOND), self._restore, node, node.disk.backup())
                return
            case "rot":
                if dice.random() < 0.3:
                    node.disk.rot_store()
                else:
                    node.crash(power_loss=False)
                    node.disk.rot_file(LOG_NAME)
            case "full":
                node.disk.ailment.room = dice.choice((0, 0, 100, 3000))
                self._agenda.after(int(dice.uniform(0.5, 8.0) * SECOND), self._make_room, node)
            case "sync":
                node.disk.ailment.failing_syncs = dice.choice((1, 1, 3))
        self._again(node)

    def _restore(self, node: Patient, backup: Backup) -> None:
        if not self._over:
            node.crash(power_loss=False)
            node.disk.restore(backup, **self._parts())
            self._again(node)

    def _make_room(self, node: Patient) -> None:
        node.disk.ailment.room = None

    def _parts(self) -> dict[str, bool]:
        """Store, files or both: both most often."""
        return self._dice.choice(
            (
                {"store": True, "files": True},
                {"store": True, "files": True},
                {"store": True, "files": False},
                {"store": False, "files": True},
            )
        )
