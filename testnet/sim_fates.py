"""Who is faulty in a history, and how, and what its members decide: drawn from the seed before anything happens."""

from collections.abc import Collection, Sequence
from random import Random

from chaincode.governance import ROTATE
from testnet.byzantine import BYZANTINE_KINDS
from testnet.sim_contract import Package
from testnet.sim_disk_faults import FORGETFUL, draw_faulty
from testnet.sim_members import GOVERNED_SHARE, MOST_ADDED, Change, draw_plan
from testnet.sim_upgrades import UPGRADED_SHARE, UPGRADED_WITH_MEMBERS, UpgradePlan, draw_upgrades


class Fates:
    """What is drawn. Decisions have dice of their own, so that histories without any are the same ones with and without
    these kinds: ``dice`` for the members', ``code_dice`` for the contracts'."""

    def __init__(self, seed: int, kinds: Collection[str], packages: Sequence[Package]) -> None:
        """``kinds``: what may strike; ``packages``: the upgrades that there are."""
        self._kinds = frozenset(kinds)
        self._packages = packages
        self.dice = Random(f"members of {seed}")
        self._is_governed = "members" in kinds and self.dice.random() < GOVERNED_SHARE
        self.code_dice = Random(f"upgrades of {seed}")
        share = UPGRADED_WITH_MEMBERS if self._is_governed else UPGRADED_SHARE
        self.is_upgraded = "upgrades" in kinds and len(packages) > 0 and self.code_dice.random() < share
        self.faulty: dict[int, str] = {}
        """Machine to what is wrong with it: at most f of every set of members."""
        self.members: list[Change] = []
        self.upgrades = UpgradePlan()

    @property
    def has_votes(self) -> bool:
        """Whether anything is decided: then it takes time."""
        return self._is_governed or self.is_upgraded

    def draw(self, dice: Random, count: int) -> None:
        """Let fate strike ``count`` members; ``dice``: the history's."""
        self.faulty = draw_faulty(dice, self._kinds, count)
        if self.is_upgraded:
            crashes = "crash" in self._kinds
            machines = count + MOST_ADDED
            self.upgrades = draw_upgrades(self.code_dice, self._packages, count, machines, self.faulty, crashes=crashes)
        if self._is_governed:
            self.members = draw_plan(self.dice, count, {*self.faulty, *self.held})

    @property
    def held(self) -> frozenset[int]:
        """Who installs no upgrade before the end."""
        return frozenset() if self.upgrades.holdout is None else frozenset((self.upgrades.holdout,))

    @property
    def going(self) -> frozenset[int]:
        """Who comes or goes."""
        return frozenset(change.machine for change in self.members if change.kind != ROTATE)

    @property
    def liars(self) -> dict[int, str]:
        """The faulty ones that do what they like."""
        return {index: kind for index, kind in self.faulty.items() if kind in BYZANTINE_KINDS}

    @property
    def bad_disks(self) -> dict[int, str]:
        """The faulty ones whose disks break their promises."""
        return {index: kind for index, kind in self.faulty.items() if kind not in BYZANTINE_KINDS}

    @property
    def forgetful(self) -> frozenset[int]:
        """Those who may forget what they had synced."""
        return frozenset(index for index, kind in self.bad_disks.items() if kind in FORGETFUL)

    @property
    def pardoned(self) -> frozenset[int]:
        """Those of them who may vote twice: with the liars, these are at most f.

        An old copy of a disk, or a log that lost its tail, cannot be told from the newest if nobody who answers has
        seen what is missing; and a liar may deny it.
        """
        return frozenset(index for index in self.forgetful if self.liars or self.faulty[index] != "wipe")
