"""Upgrades of contracts while all else goes wrong: decided by vote, and installed by some in time, by others too late.

Some histories have a *plan*: which upgrades, one after another. Each is proposed and approved by real transactions of
the members' admins, as often as it takes, for a height some fifty blocks ahead, which may be that of a change of the
members, too. A node has the bundle from the beginning, or gets it some time after the vote began, or only when it has
stopped for want of it; nodes are apt to crash close to the height. An upgrade may be called off again before its
height, and there is one whose migration fails.

Whoever stops is started again by whatever watches it, in vain; its operator installs what is missing after a while.
One of them, where f has room for one more, does not before everything else is well again: so long the others go on
without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

from chaincode.motions import CANCEL, UPGRADE
from chaincode.upgrades import Scheduled
from node.consensus.quorum import max_faulty
from node.executor import Executor
from node.ledger.chain import Ledger
from testnet.sim_admins import NO_PROPOSAL, Admins
from testnet.sim_contract import Package
from testnet.sim_disk import SimDisk
from testnet.sim_epochs import member_name
from testnet.sim_world import MS, SECOND, Agenda

UPGRADE_KINDS: Final = ("upgrades",)
"""
upgrades    contracts are upgraded at voted heights
"""

UPGRADED_SHARE: Final = 0.05
UPGRADED_WITH_MEMBERS: Final = 0.25
"""In so many histories contracts are upgraded: where members change anyhow, it costs few blocks more."""

UPGRADE_TROUBLE: Final = 20 * SECOND
"""For so long at most faults wait for an upgrade to be close, and for its height: they are to strike there."""

AT_ONCE, SOMETIME, WHEN_STOPPED = "at once", "sometime", "when stopped"
_HABITS: Final = ((AT_ONCE,), (AT_ONCE, AT_ONCE, SOMETIME), (AT_ONCE, SOMETIME, WHEN_STOPPED), (WHEN_STOPPED,))
_CLOSE: Final = 3
"""So many heights before an upgrade's nodes begin to crash more often."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """One of a plan. ``is_called_off``: the admins think better of it once it is scheduled."""

    package: Package
    is_called_off: bool

    def __str__(self) -> str:
        return f"upgrade to {self.package.name}{', called off' if self.is_called_off else ''}"


@dataclass(frozen=True, slots=True)
class UpgradePlan:
    """``habits``: when the operator of a machine installs; ``holdout``: the machine that gets nothing before the end;
    ``is_joint``: members change at the same heights; ``crashes``: how many more nodes crash close to them;
    ``trouble_ahead``: how many heights before the first of them faults begin to strike, None for all the time."""

    upgrades: tuple[Upgrade, ...] = ()
    habits: tuple[str, ...] = ()
    holdout: int | None = None
    is_joint: bool = False
    crashes: int = 0
    trouble_ahead: int | None = None

    def told(self) -> list[str]:
        """In words."""
        held = [] if self.holdout is None else [f"{member_name(self.holdout)}: installs nothing"]
        return [*map(str, self.upgrades), *held]


def draw_upgrades(
    dice: Random, packages: Sequence[Package], count: int, machines: int, faulty: dict[int, str], *, crashes: bool
) -> UpgradePlan:
    """What is upgraded in a history of ``count`` members, on the first of the ``machines``. If one of them is to hold
    out and there are f ``faulty`` ones, one of these is taken out to make room for it."""
    chosen = dice.sample(packages, dice.choice((1, 1, 2)))
    upgrades = tuple(Upgrade(package, dice.random() < 0.15) for package in chosen)
    habits = dice.choice(_HABITS)
    holdout = None
    if dice.random() < 0.4:
        if len(faulty) == max_faulty(count):
            del faulty[dice.choice(sorted(faulty))]
        holdout = dice.choice([machine for machine in range(count) if machine not in faulty])
    own_habits = tuple(dice.choice(habits) for _ in range(machines))
    ahead = dice.choice((1, 1, 2, 3, 4, 6)) if dice.random() < 0.7 else None
    struck = dice.choice((0, 1, 2, 4)) if crashes else 0
    return UpgradePlan(upgrades, own_habits, holdout, dice.random() < 0.6, struck, ahead)


class Machine(Protocol):
    """A node as its operator sees it."""

    index: int
    disk: SimDisk

    @property
    def is_up(self) -> bool: ...

    def start(self) -> None: ...

    def light_fuse(self, operations: int | None, *, disk_only: bool = False) -> None: ...


class Upgrades:
    """The admins who decide about code, and the operators who install it."""

    def __init__(
        self, plan: UpgradePlan, agenda: Agenda, dice: Random, admins: Admins, machines: Sequence[Machine]
    ) -> None:
        """``machines``: all nodes, twins too."""
        self.plan = plan
        self._agenda = agenda
        self._dice = dice
        self._admins = admins
        self._machines = machines
        self._begun = 0
        self._wanted = len(plan.upgrades)
        self._crashes_left = plan.crashes
        self.holdout = plan.holdout
        """The machine that lacks what it needs for now, and is not waited for."""

    def begin(self) -> None:
        """Some have everything at once. The admins meet, some time from now."""
        if self.plan.upgrades:
            for node in self._machines:
                if self.plan.habits[node.index] == AT_ONCE:
                    self._install(node)
            self._admins.convene(self._meet)

    def heal(self) -> None:
        """No more upgrades than the first, and the one that was begun."""
        self._crashes_left = 0
        self._wanted = min(len(self.plan.upgrades), max(1, self._begun))

    def release(self) -> None:
        """The holdout gets what it lacks, and is started."""
        index, self.holdout = self.holdout, None
        for node in self._machines:
            if node.index == index:
                self._install(node)
                if not node.is_up:
                    node.start()

    def stopped(self, node: Machine) -> None:
        """A node stopped for want of a bundle: its operator sees to it after a while."""
        self._agenda.after(int(self._dice.uniform(0.1, 6.0) * SECOND), self._install, node)

    @property
    def is_done(self) -> bool:
        """Whether all upgrades that are wanted have taken effect, or did not, for good."""
        if not self.plan.upgrades:
            return True
        node, is_done = self._admins.best, False

        def ask() -> None:
            nonlocal is_done
            if node is not None and node.executor is not None:
                is_done = not self._left(node.executor)

        if node is not None:
            node.ask(ask)
        return is_done

    def _install(self, node: Machine) -> None:
        """Everything that the plan may bring, unless it holds out."""
        if node.index != self.holdout:
            node.disk.bundles.update({each.package.digest: each.package.bundle for each in self.plan.upgrades})

    def _left(self, executor: Executor) -> list[Upgrade]:
        """The wanted ones that are not over."""
        rows: Any = executor.query("motions", "history", {})
        over = {subject[1] for _, kind, subject, _, _, _, ended in rows if kind == UPGRADE and ended is not None}
        return [each for each in self.plan.upgrades[: self._wanted] if each.package.digest not in over]

    def _meet(self, ledger: Ledger, executor: Executor) -> int:
        """Do what is next; returns after how many microseconds to look again."""
        left = self._left(executor)
        if not left:
            return SECOND
        self._prepare(self.plan.upgrades.index(left[0]))
        names = [member.name for member in ledger.epoch_at(ledger.head.height + 1).members]
        coming = executor.coming_upgrade()
        rows: Any = executor.query("motions", "proposals", {})
        if coming is not None:
            self._wait(left[0], coming[0], ledger, names, rows)
            return 60 * MS
        package = left[0].package
        mine = [row for row in rows if row[2:4] == (UPGRADE, (package.name, package.digest))]
        if mine:
            self._approve(ledger, mine[0])
        else:
            what = {"name": package.name, "digest": package.digest, "first_height": self._admins.first_height(ledger)}
            self._admins.submit(ledger, self._dice.choice(names), "motions", "propose_upgrade", **what)
        return 150 * MS

    def _prepare(self, place: int) -> None:
        if place < self._begun:
            return
        self._begun = place + 1
        for node in self._machines:
            if self.plan.habits[node.index] == SOMETIME:
                self._agenda.after(int(self._dice.uniform(0.0, 12.0) * SECOND), self._install, node)

    def _wait(self, upgrade: Upgrade, coming: Scheduled, ledger: Ledger, names: list[str], rows: Any) -> None:
        """It is scheduled. Blocks are wanted, and this makes some."""
        name = self._dice.choice(names)
        if not upgrade.is_called_off:
            self._admins.submit(ledger, name, "motions", "approve", proposal=NO_PROPOSAL, digest=bytes(32))
        elif mine := [row for row in rows if row[2:4] == (CANCEL, (coming.name, coming.digest))]:
            self._approve(ledger, mine[0])
        else:
            self._admins.submit(ledger, name, "motions", "cancel_upgrade", digest=coming.digest)
        is_close = coming.first_height - ledger.head.height <= _CLOSE
        if is_close and self._crashes_left and self._dice.random() < 0.5:
            self._crashes_left -= 1
            node = self._dice.choice(self._machines)
            if node.is_up:
                node.light_fuse(self._dice.randint(0, 30))

    def _approve(self, ledger: Ledger, row: Any) -> None:
        """``row``: of ``motions.proposals``; most of those who have not approved it do."""
        for name in row[8]:
            if self._dice.random() < 0.8:
                self._admins.submit(ledger, name, "motions", "approve", proposal=row[0], digest=row[1])
