"""Every small history there is: four members, one of them a twin, three views, and in each every split of the network.

After the Twins method (Bano et al., 2021): instead of inventing lies, run two honest copies of one member with one key.
Behind different sides of a split they equivocate, forget and contradict each other as a Byzantine member would,
and every one of their statements is well-formed. Five participants, the second copy counted, stand on one of two sides:
16 splits, the whole network among them. Three splits in a row, one for each view, are 16^3 = 4,096 histories.
``small_world`` runs them.

A split takes hold some hops of the network after a view began: before anybody has heard its prepares, or its commits,
or when all is said. The *ear* of such a cut is a participant that still hears what is under way at that moment, so
that one member alone may know of a decision.

A *shy* twin's copies fall silent as honest ones do when they meet votes of their own key that they do not know. By
default they do not care, as befits a Byzantine member.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

MEMBERS: Final = 4
QUORUM: Final = 3
"""Of four members; written out, since the code under test has its own rule for it."""
COPY: Final = MEMBERS
"""The participant that is the twin's second copy."""
VIEWS: Final = 3
SPLITS: Final = 2**MEMBERS
"""Bit i of a split: participant i + 1 stands on the other side than participant 0. 0 is the whole network."""
BEFORE_PREPARES, BEFORE_COMMITS, AT_THE_END = 1, 2, 9
"""Hops: a proposal takes one, prepares another; by the ninth everything has arrived."""
CUTS: Final = (BEFORE_PREPARES, BEFORE_COMMITS, AT_THE_END)
NOBODY: Final = 9
"""No ear."""


@dataclass(frozen=True, slots=True)
class History:
    """One history: who is the twin; for each view its split, and when and past whom the next split takes hold."""

    twin: int
    splits: tuple[int, ...]
    cuts: tuple[int, ...]
    ears: tuple[int, ...]
    is_shy: bool = False

    @property
    def name(self) -> str:
        """Four groups of digits, as ``watt sim small-scope --history`` takes them."""
        groups = ((self.twin,), self.cuts, self.ears, self.splits)
        name = "-".join("".join(f"{number:x}" for number in group) for group in groups)
        return name + "-shy" * self.is_shy


def history_of(name: str) -> History:
    """The history with this name. Raises ValueError."""
    twin, cuts, ears, splits = name.removesuffix("-shy").split("-")
    history = History(
        int(twin),
        tuple(int(digit, 16) for digit in splits),
        tuple(map(int, cuts)),
        tuple(map(int, ears)),
        name.endswith("-shy"),
    )
    if history.name != name or not len(cuts) == len(ears) == len(splits) or history.twin not in range(MEMBERS):
        raise ValueError(f"{name!r} names no history")
    return history


def every_history(twin: int, cut: int) -> list[History]:
    """All 4,096 of them, in order: the first split changes most slowly."""
    size = SPLITS**VIEWS
    splits = [tuple(number // SPLITS**place % SPLITS for place in (2, 1, 0)) for number in range(size)]
    return [History(twin, split, (cut,) * VIEWS, (NOBODY,) * VIEWS) for split in splits]


def drawn_history(seed: int) -> History:
    """One of the many more in which each view, and there may be four, has a cut of its own, and an ear.

    Drawn mostly where something can go wrong: cuts in the middle of a view, splits with a side that can decide.
    """
    dice = Random(seed)
    views = dice.choice((VIEWS, VIEWS + 1))
    twin = dice.randrange(MEMBERS)
    deciding = [split for split in range(SPLITS) if _has_quorum(split, twin)]
    return History(
        twin,
        tuple(dice.choice(deciding) if dice.random() < 0.9 else dice.randrange(SPLITS) for _ in range(views)),
        tuple(dice.choices(CUTS, (5, 5, 1), k=views)),
        tuple(dice.choice((*range(MEMBERS), NOBODY)) for _ in range(views)),
        dice.random() < 0.1,
    )


def side_of(split: int, participant: int) -> int:
    """On which side of a split a participant stands: 0, with participant 0, or 1."""
    return (split << 1) >> participant & 1


def _has_quorum(split: int, twin: int) -> bool:
    """Whether three different members are on one side."""
    sides: tuple[set[int], set[int]] = (set(), set())
    for participant in range(COPY + 1):
        sides[side_of(split, participant)].add(twin if participant == COPY else participant)
    return max(map(len, sides)) >= QUORUM
