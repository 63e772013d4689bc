"""A network's bill for a billing period, each figure of it resting on what the ledger booked. Pure functions.

A statement has numbered lines. A line's figures are the sums of its *items*, one for each trade, settlement entry or
reading, and each item names what it rests on, down to transactions and their blocks. What the lines come to is compared
with what settlement has booked in each slot, and with the sums that it keeps of the period: a statement that does not
agree with the ledger is refused ("statement-mismatch").

Signs are those of the ledger: what the network received is positive, what it paid negative.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chaincode.settlement_ledger import Settled
from chaincode.settlement_lines import BOUGHT, FEED_IN, INTERNAL, RETAIL, SOLD, TOLL
from cli.statement_checks import check_origins, check_period, check_slots, check_trades
from cli.statement_facts import Facts
from cli.statement_items import booked, metered, rent_items, traded, used, with_utility_alone
from cli.statement_lines import (
    DIFFERENCE,
    EXPORTED,
    IMPORTED,
    INTERNAL_PAID,
    INTERNAL_RECEIVED,
    MISMATCH,
    MONEY_KINDS,
    OWED,
    RENEWABLE,
    RENT,
    TOTAL,
    USED,
    UTILITY_ONLY,
    Item,
    Line,
)
from node.errors import RefusedError


class Pending(NamedTuple):
    """What is contracted in slots that are not settled yet: in no line, since nothing of it is booked. Wh and base
    units.
    """

    slots: int = 0
    bought_wh: int = 0
    paid: int = 0
    sold_wh: int = 0
    proceeds: int = 0


class Statement(NamedTuple):
    """A bill. Slots by number: how many are settled and of these final, which are parked or have lost their details."""

    facts: Facts
    lines: tuple[Line, ...]
    settled: int
    final: int
    estimated: int
    corrected: int
    parked: tuple[int, ...]
    pruned: tuple[int, ...]
    pending: Pending

    @property
    def of_unknown_origin(self) -> int:
        """How many settled slots nothing is known of where what was used came from."""
        return max(self.settled - len(self.facts.origins) - len(self.pruned), 0)

    @property
    def is_so_far(self) -> bool:
        """Whether the period is not over, or some of its slots are not settled yet."""
        return self.facts.status in ("planned", "active") or self.pending.slots > 0

    def line(self, kind: str) -> Line:
        """The one line of its kind."""
        return next(line for line in self.lines if line.kind == kind)

    def of_kind(self, kind: str) -> list[Line]:
        """All lines of a kind."""
        return [line for line in self.lines if line.kind == kind]

    def numbered(self, number: int) -> Line:
        """The line with this number. Raises RefusedError: no-line, and pruned if it cannot be traced any more."""
        if not 1 <= number <= len(self.lines):
            raise RefusedError("no-line", f"the statement has lines 1 to {len(self.lines)}")
        line = self.lines[number - 1]
        if line.gone or line.gone_wh:
            raise RefusedError(
                "pruned", f"line {number} rests on {len(self.pruned)} slots whose details have been deleted"
            )
        return line


def make_statement(facts: Facts) -> Statement:
    """Add up a network's period. Raises RefusedError("statement-mismatch") if the ledger says something else."""
    slots = list(facts.slots.values())
    settled = [slot for slot in slots if slot.sums is not None]
    check_slots(settled)
    gone = check_period(facts, settled)
    trades = traded(facts)
    check_trades(facts, trades)
    lines = _money_lines(facts, trades, gone)
    lines += _other_lines(facts, lines, gone)
    lines = [line._replace(number=number) for number, line in enumerate(lines, 1)]
    statement = Statement(
        facts=facts,
        lines=tuple(lines),
        settled=facts.settled_slots,
        final=len([slot for slot in slots if slot.is_final and (slot.sums is not None or slot.note == "pruned")]),
        estimated=facts.kept.estimated,
        corrected=len([slot for slot in settled if len(slot.blocks) > 1]),
        parked=tuple([slot.slot for slot in slots if slot.note == "parked"]),
        pruned=tuple([slot.slot for slot in slots if slot.note == "pruned"]),
        pending=_pending(facts),
    )
    _check_lines(statement)
    return statement


def _money_lines(facts: Facts, trades: Sequence[Item], gone: Settled) -> list[Line]:
    """What the bill is the sum of; ``gone``: the sums of slots whose details have been deleted."""
    slots = facts.slots.values()
    entries = [
        booked(facts, slot, entry)
        for slot in slots
        for entry in slot.entries
        if entry.reason in (RETAIL, FEED_IN, INTERNAL)
    ]
    inside = _of(entries, INTERNAL)
    paid, received = [item for item in inside if item.pays], [item for item in inside if not item.pays]
    return [
        *_by_counterpart(BOUGHT, trades, gone.bought_wh, -gone.bought),
        Line(0, TOLL, "", _of(trades, TOLL), 0, -gone.tolls),
        Line(0, RETAIL, "", _of(entries, RETAIL), gone.retail_wh, -gone.retail),
        Line(0, INTERNAL_PAID, "", tuple(paid), gone.internal_wh, -gone.internal),
        *_by_counterpart(SOLD, trades, gone.sold_wh, gone.sold),
        Line(0, FEED_IN, "", _of(entries, FEED_IN), gone.feed_in_wh, gone.feed_in),
        Line(0, INTERNAL_RECEIVED, "", tuple(received), gone.internal_wh, gone.internal),
        Line(0, RENT, "", rent_items(facts)),
    ]


def _by_counterpart(kind: str, trades: Sequence[Item], gone_wh: int, gone: int) -> list[Line]:
    """One line for each network that was traded with, most energy first; what cannot be told any more comes last."""
    of_kind = _of(trades, kind)
    others = dict.fromkeys([item.other_network for item in of_kind])
    lines = [Line(0, kind, other, tuple([item for item in of_kind if item.other_network == other])) for other in others]
    lines.sort(key=lambda line: (-line.energy_wh, line.counterpart))
    if gone_wh or not lines:
        lines.append(Line(0, kind, "", (), gone_wh, gone))
    return lines


def _other_lines(facts: Facts, money: Sequence[Line], gone: Settled) -> list[Line]:
    """The bill's total, what it is compared with, and what stands beside it."""
    settled = [slot for slot in facts.slots.values() if slot.sums is not None]
    gone_used, gone_renewable = check_origins(facts)
    may_change = not all(slot.is_final for slot in settled)
    items = tuple([item for line in money for item in line.items])
    total = Line(0, TOTAL, "", items, 0, sum([line.gone for line in money]), may_change)
    compared = tuple([with_utility_alone(facts, slot) for slot in settled])
    alone = Line(0, UTILITY_ONLY, "", compared, gone.import_wh - gone.export_wh, -gone.utility_only)
    turned = [item._replace(amount=-item.amount) for item in alone.items]
    owing = [booked(facts, slot, entry) for slot in settled for entry in slot.entries if entry.owed]
    return [
        total,
        alone,
        Line(0, DIFFERENCE, "", (*total.items, *turned), 0, total.gone - alone.gone, may_change),
        Line(0, OWED, "", tuple([item._replace(amount=-item.owed) for item in owing]), 0, -gone.owed),
        Line(0, IMPORTED, "", metered(facts, IMPORTED), gone.import_wh),
        Line(0, EXPORTED, "", metered(facts, EXPORTED), gone.export_wh),
        Line(0, USED, "", used(facts, USED), gone_used),
        Line(0, RENEWABLE, "", used(facts, RENEWABLE), gone_renewable),
    ]


def _of(items: Iterable[Item], reason: str) -> tuple[Item, ...]:
    return tuple([item for item in items if item.reason == reason])


def _pending(facts: Facts) -> Pending:
    pending = Pending(len([slot for slot in facts.slots.values() if slot.sums is None and not slot.note]))
    for of_device in facts.devices.values():
        for held in of_device.held.values():
            slot, position = facts.slots.get(held.slot), held.position
            if position is not None and slot is not None and slot.sums is None and not slot.note:
                sums = (position.bought_wh, position.paid, position.sold_wh, position.proceeds)
                pending = Pending(pending.slots, *[one + more for one, more in zip(pending[1:], sums, strict=True)])
    return pending


def _check_lines(statement: Statement) -> None:
    """The lines come to what the ledger keeps of the period."""
    kept = statement.facts.kept
    total, alone = statement.line(TOTAL).amount, statement.line(UTILITY_ONLY).amount
    sound = (
        total == statement.facts.rent - kept.cost()
        and total == sum([line.amount for line in statement.lines if line.kind in MONEY_KINDS])
        and alone == -kept.utility_only
        and statement.line(DIFFERENCE).amount == total - alone
        and statement.line(OWED).amount == -kept.owed
        and statement.line(IMPORTED).energy_wh == kept.import_wh
        and statement.line(EXPORTED).energy_wh == kept.export_wh
    )
    if not sound:
        raise RefusedError(MISMATCH, "the lines do not add up to what the ledger keeps of the period")
