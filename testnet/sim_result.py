"""What is said of a history when it is over."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SeedResult:
    """What became of one history. ``failure`` is None if all was well; times in virtual milliseconds.

    ``stops``: how often a node stopped by itself because of its disk, or for want of an upgrade; ``accusations``:
    findings of evidence; ``inclusion_ms``: the longest that a transaction waited in fair weather with liars among the
    members, else 0; ``lies``: messages that Byzantine members changed, kept or made up; ``epochs``: changes of the
    membership in force at the end; ``upgrades``: those of contracts that took effect; ``faulty``: who was faulty, and
    how, and what was to change.
    """

    seed: int
    failure: str | None
    nodes: int
    height: int
    transactions: int
    highest_view: int
    crashes: int
    messages: int
    fault_ms: int
    recovery_ms: int
    stops: int = 0
    accusations: int = 0
    inclusion_ms: int = 0
    lies: int = 0
    epochs: int = 0
    upgrades: int = 0
    faulty: str = ""
    detail: str = ""


@dataclass(slots=True)
class Tally:
    """What is counted while a history runs; times in virtual microseconds."""

    crashes: int = 0
    stops: int = 0
    accused: int = 0
    highest_view: int = 0
    healed_at: int = 0
    recovered_at: int = 0
