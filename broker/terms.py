"""Gates and tariffs by slot, as the ledger pins them: the rules may be changed by vote while a broker runs, and the
utility may have published a better tariff than was voted, which is told when a slot opens."""

from collections.abc import Iterable

from chaincode.contract import Event
from chaincode.market_products import OPEN, Settings


class TermsBook:
    """The rules of every slot: those under which its product opened, and for one that has not the newest.

    Learnt from the blocks' events; ``settings``: the rules in force when the following begins. What had opened before
    that is told by ``seed``.
    """

    def __init__(self, settings: Settings) -> None:
        self._newest = settings
        self._pinned: dict[int, Settings] = {}
        self._published: dict[int, tuple[int, int]] = {}
        self._seeded: dict[int, tuple[int, int, int]] = {}

    def seed(self, rows: Iterable[tuple[int, int, int, int]]) -> None:
        """Know the products that have opened before anything was followed: (slot, gate, retail, feed-in)."""
        for slot, gate, retail, feed_in in rows:
            self._seeded[slot] = gate, retail, feed_in

    def apply(self, events: Iterable[Event]) -> None:
        """Take in what a block has brought."""
        for event in events:
            match event.contract, event.topic, event.data:
                case "market", "rules", (int(), *fields) if len(fields) == len(Settings._fields):
                    self._newest = Settings(*fields)  # type: ignore[arg-type]
                case "market", "product", (int(slot), str(state)) if state == OPEN:
                    self._pinned[slot] = self._newest
                case "market", "tariff", (int(slot), int(retail), int(feed_in)):
                    self._published[slot] = retail, feed_in

    def forget_before(self, slot: int) -> None:
        """Let go of what was before ``slot``."""
        for old in [each for each in self._pinned if each < slot]:
            del self._pinned[old]
        for old in [each for each in self._published if each < slot]:
            del self._published[old]
        for old in [each for each in self._seeded if each < slot]:
            del self._seeded[old]

    def gate(self, slot: int) -> int:
        """The block time at which trading of ``slot`` ends."""
        if slot in self._seeded:
            return self._seeded[slot][0]
        rules = self._of(slot)
        return (slot + 1) * rules.slot_seconds - rules.gate_before_end_s

    def first_open(self, time: int) -> int:
        """The earliest slot whose gate has not passed."""
        slot = time // self._newest.slot_seconds
        while self.gate(slot) <= time:
            slot += 1
        return slot

    def of(self, slot: int) -> tuple[int, int, int]:
        """(gate, retail, feed-in)."""
        if slot in self._seeded:
            return self._seeded[slot]
        return (self.gate(slot), *(self._published.get(slot) or self._of(slot).tariff(slot)))

    def _of(self, slot: int) -> Settings:
        return self._pinned.get(slot, self._newest)
