"""Whether a statement agrees with the ledger: slot by slot, trade by trade, and with the sums kept of the period.

Each check raises RefusedError("statement-mismatch"): then what the node shows contradicts itself, or changed while it
was asked.
"""

from collections.abc import Callable, Iterable, Sequence

from chaincode.settlement_ledger import Entry, Settled
from chaincode.settlement_lines import BOUGHT, FEED_IN, INTERNAL, RETAIL, SOLD, TOLL
from cli.statement_facts import Facts, Slot
from cli.statement_lines import MISMATCH, Item
from node.errors import RefusedError


def check_slots(settled: Iterable[Slot]) -> None:
    """Each slot's entries add up to its sums, and were booked in a block each."""
    for slot in settled:
        assert slot.sums is not None
        inside = [entry for entry in slot.entries if entry.reason == INTERNAL]
        if any(not 0 <= entry.revision < len(slot.blocks) for entry in slot.entries):
            raise RefusedError(MISMATCH, f"an entry of slot {slot.slot} was booked in no block")
        if _sums_of(slot.entries) != slot.sums[:13] or sum([entry.amount for entry in inside]) != 0:
            raise RefusedError(MISMATCH, f"the entries of slot {slot.slot} do not add up to its sums")


def _sums_of(entries: Sequence[Entry]) -> tuple[int, ...]:
    """The first fields of ``Settled``, added up again from entries, reversals included."""

    def add(reason: str, figure: Callable[[Entry], int]) -> int:
        return sum([figure(entry) for entry in entries if entry.reason == reason])

    def energy(entry: Entry) -> int:
        return entry.energy_wh

    def money(entry: Entry) -> int:
        return entry.amount

    def paid(entry: Entry) -> int:
        return -entry.amount if (entry.amount > 0) == (entry.energy_wh < 0) else 0

    return (
        len(entries),
        add(BOUGHT, energy), -add(BOUGHT, money), -add(TOLL, money),
        add(SOLD, energy), add(SOLD, money),
        add(INTERNAL, energy) // 2, add(INTERNAL, paid),
        add(RETAIL, energy), -add(RETAIL, money),
        add(FEED_IN, energy), add(FEED_IN, money),
        sum([entry.owed for entry in entries]),
    )  # fmt: skip


def check_period(facts: Facts, settled: Sequence[Slot]) -> Settled:
    """The slots add up to the period's sums, but for those whose details are gone: what these come to."""
    sums = Settled()
    for slot in settled:
        assert slot.sums is not None
        sums = sums.plus(slot.sums)
    gone = facts.kept.less(sums)
    pruned = [slot for slot in facts.slots.values() if slot.note == "pruned"]
    if not pruned and (gone != Settled() or facts.settled_slots != len(settled)):
        raise RefusedError(MISMATCH, "the slots do not add up to the period's sums")
    return gone


def check_origins(facts: Facts) -> tuple[int, int]:
    """The origins known for good add up to the period's: (Wh used, Wh renewable) of those whose details are gone."""
    known = [part for origin in facts.origins.values() if origin.is_final for part in origin.used]
    used = facts.kept_origin.used_wh - sum([part.wh for part in known])
    renewable = facts.kept_origin.renewable_wh - sum([part.renewable_wh for part in known])
    if (used or renewable) and not [slot for slot in facts.slots.values() if slot.note == "pruned"]:
        raise RefusedError(MISMATCH, "the origins of slots do not add up to the period's")
    return used, renewable


def check_trades(facts: Facts, traded: Sequence[Item]) -> None:
    """Each device's trades in a slot are what was booked for it."""
    booked: dict[tuple[int, str, str], tuple[int, int]] = {}
    for slot in facts.slots.values():
        for entry in slot.entries:
            if entry.reason in (BOUGHT, TOLL, SOLD):
                energy_wh = 0 if entry.reason == TOLL else entry.energy_wh
                _add(booked, (slot.slot, entry.device, entry.reason), energy_wh, entry.amount)
    found: dict[tuple[int, str, str], tuple[int, int]] = {}
    for item in traded:
        energy_wh = 0 if item.reason == TOLL else item.energy_wh
        _add(found, (item.slot, item.device, item.reason), energy_wh, item.amount)
    for key in sorted({**booked, **found}):
        if booked.get(key, (0, 0)) != found.get(key, (0, 0)):
            slot_number, device, reason = key
            raise RefusedError(MISMATCH, f"the trades of {device} in slot {slot_number} are not what it {reason}")


def _add(sums: dict[tuple[int, str, str], tuple[int, int]], key: tuple[int, str, str], wh: int, amount: int) -> None:
    before = sums.get(key, (0, 0))
    sums[key] = before[0] + wh, before[1] + amount
