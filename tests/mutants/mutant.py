"""What a mutant is: one small mistake, of the kind that real implementations of this protocol have made.

``caught_by``: "seeds" (the simulator), "small-scope", or "tests" (the unit tests that are named); what it was when the
mutant was written down, and what ``run.py`` tries first.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """``old`` stands in ``file`` exactly once; ``breaks``: what no longer holds; ``faults``: what strikes the
    histories, for a mistake that shows only in a trouble that is rare among all kinds."""

    name: str
    breaks: str
    file: str
    old: str
    new: str
    caught_by: str = "seeds"
    tests: tuple[str, ...] = ("tests/consensus",)
    faults: str = "all"
