"""The nouns of a statement: numbered lines, the items that they are the sums of, and what each item rests on.

Signs are those of the ledger: what the network received is positive, what it paid negative.
"""

from typing import Final, NamedTuple

from chaincode.settlement_lines import BOUGHT, FEED_IN, RETAIL, SOLD, TOLL

MISMATCH: Final = "statement-mismatch"
RENT: Final = "rent"
INTERNAL_PAID: Final = "internal-paid"
INTERNAL_RECEIVED: Final = "internal-received"
TOTAL: Final = "total"
UTILITY_ONLY: Final = "utility-only"
DIFFERENCE: Final = "difference"
OWED: Final = "owed"
IMPORTED: Final = "imported"
EXPORTED: Final = "exported"
USED: Final = "used"
RENEWABLE: Final = "renewable"

MONEY_KINDS: Final = (BOUGHT, TOLL, RETAIL, INTERNAL_PAID, SOLD, FEED_IN, INTERNAL_RECEIVED, RENT)
"""What a bill is the sum of, in the order in which it is shown."""


class Source(NamedTuple):
    """Something that a figure rests on. ``what``: order, other order, reading, estimate, settlement, payment (of
    rent); ``id``: the order's; ``tx``: the transaction (of an estimate or a payment, the block's hook), empty for a
    settlement; ``height``: its block.
    """

    what: str
    id: bytes
    tx: bytes
    height: int


class Item(NamedTuple):
    """A line's part of one slot. Energy in Wh, price in base units per Wh (None where there is none), amount and owed
    in base units; a reversal has both energy and amount turned round. ``auction``: number, time and block of the one
    that made the trade; ``revision``: of the slot's settlement; ``pays``: whether the device is the one charged.
    """

    slot: int
    is_final: bool
    reason: str
    device: str
    bus: str
    other_network: str
    other_device: str
    energy_wh: int
    price: int | None
    amount: int
    owed: int = 0
    revision: int = 0
    auction: tuple[int, int, int] | None = None
    sources: tuple[Source, ...] = ()
    pays: bool = False


class Line(NamedTuple):
    """A numbered figure. ``counterpart``: of a trade, the other network; ``gone_wh`` and ``gone``: what of its sums
    belongs to slots whose details have been deleted, and is in no item; ``may_change``: whether a slot in it is not
    final, even one that it has no item of: a correction may bring one.
    """

    number: int
    kind: str
    counterpart: str
    items: tuple[Item, ...]
    gone_wh: int = 0
    gone: int = 0
    may_change: bool = False

    @property
    def energy_wh(self) -> int:
        """Wh in all."""
        return self.gone_wh + sum([item.energy_wh for item in self.items])

    @property
    def amount(self) -> int:
        """Base units in all."""
        return self.gone + sum([item.amount for item in self.items])

    @property
    def provisional(self) -> int:
        """What of the amount lies in slots that are not final yet."""
        return sum([item.amount for item in self.items if not item.is_final])

    @property
    def is_provisional(self) -> bool:
        """Whether any of its items, or all of it, may still change."""
        return self.may_change or not all(item.is_final for item in self.items)

    @property
    def prices(self) -> tuple[int, int] | None:
        """The lowest and the highest price of its items, base units per Wh."""
        found = [item.price for item in self.items if item.price is not None and item.energy_wh > 0]
        return (min(found), max(found)) if found else None
