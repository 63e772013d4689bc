"""Gates and tariffs by slot, as the ledger pins them: the rules may be changed by vote while a broker runs."""

from collections.abc import Iterable

from chaincode.contract import Event
from chaincode.market_products import OPEN, Settings


class Terms:
    """The rules of every slot: those under which its product opened, and for one that has not the newest.

    Learnt from the blocks' events, from the first block on; ``settings``: the rules of the genesis document.
    """

    def __init__(self, settings: Settings, slots_ahead: int) -> None:
        self._newest = settings
        self._pinned: dict[int, Settings] = {}
        self.slots_ahead = slots_ahead

    def apply(self, events: Iterable[Event]) -> None:
        """Take in what a block has brought."""
        for event in events:
            match event.contract, event.topic, event.data:
                case "market", "rules", (int(), *fields) if len(fields) == len(Settings._fields):
                    self._newest = Settings(*fields)  # type: ignore[arg-type]
                case "market", "product", (int(slot), str(state)) if state == OPEN:
                    self._pinned[slot] = self._newest

    def forget_before(self, slot: int) -> None:
        """Let go of what was before ``slot``."""
        for old in [each for each in self._pinned if each < slot]:
            del self._pinned[old]

    def gate(self, slot: int) -> int:
        """The block time at which trading of ``slot`` ends."""
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
        return (self.gate(slot), *self._of(slot).tariff(slot))

    def _of(self, slot: int) -> Settings:
        return self._pinned.get(slot, self._newest)
