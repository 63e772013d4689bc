"""Settling a network's slot anew, because a reading of it has changed: a reversal and new entries, never a rewrite.

The lines are computed again from what was contracted and what is metered now. A line that no longer holds is reversed,
the one that holds in its place is booked, and only the difference moves, device by device:

1. Who received too much, or paid too little, is charged through its budget: available, automatic share, pool, then
   owed. What is owed the utility advances.
2. The utility pays, or is paid, what its own part has changed by.
3. Who paid too much, or received too little, is credited; debts first, whatever the owner's policy.

The slot's escrow is the clearing house, and holds afterwards what it held before: a correction sums to zero over the
network's devices and the utility. Tolls and rent were settled by the auctions and do not change.

What a device has used (``budget_alerts``) and all sums are corrected by the difference as well. Money that was spent
and comes back counts as earned: counters of what went by never go back. Alerts that were raised stand.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from chaincode import (
    accounts,
    budget,
    budget_alerts,
    budget_closed,
    market_products,
    settlement_ledger,
    settlement_lines,
    settlement_run,
)
from chaincode.budget import Charge
from chaincode.contract import Context
from chaincode.keys import uint
from chaincode.settlement_ledger import Entry
from chaincode.settlement_lines import FEED_IN, RETAIL, Book, Line

CORRECTION: Final = "correction"
"""The reason of every movement of money that a correction makes."""
ROWS_WORK: Final = 25
"""So many entries read and written count as one device of a block's work."""


def settle_anew(ctx: Context, network: str, slot: int, causes: tuple[bytes, ...]) -> int:
    """Settle a network's slot as its readings are now; ``causes``: the transactions that changed them. The work."""
    product = market_products.require(ctx, slot)
    assert product.state != market_products.FINAL, "a final slot changes"
    before = settlement_ledger.settled_of(ctx, network, slot)
    assert before is not None, "settled anew before it was settled"
    books, terms = settlement_run.books_of(ctx, network, slot), settlement_run.terms_of(product)
    imports = settlement_ledger.imports_of(ctx, network, slot)
    standing = settlement_ledger.standing(settlement_ledger.entries_of(ctx, network, slot))
    new = settlement_lines.lines_of(books, terms)
    gone, come = _difference(standing, new, causes)
    owed = _pay(ctx, network, slot, budget_closed.booking_period(ctx, network, slot), gone, come)
    _note_use(ctx, slot, books, imports, (gone, come), causes[-1])
    entries = _entries(gone, come, owed, causes[-1], before.revision + 1)
    sums = settlement_ledger.sums_of(new, books, settlement_lines.utility_only(books, terms))
    period = budget.period_of(ctx, network, slot)
    sums = settlement_ledger.book(ctx, network, slot, period, entries, sums._replace(owed=sum(owed.values())), books)
    ctx.emit("settled-anew", (network,), (slot, *sums))
    return len(books) + (before.entries + len(entries)) // ROWS_WORK


def _difference(
    standing: Sequence[Entry], new: Sequence[Line], causes: tuple[bytes, ...]
) -> tuple[list[Entry], list[Line]]:
    """What no longer holds, and what holds in its place, each line with its cause: of a device whose own reading has
    changed that transaction, of another the last of ``causes``.
    """
    old = {(entry.device, entry.reason): entry for entry in standing}
    come = []
    for line in new:
        own = line.cause in causes
        entry = old.get((line.device, line.reason))
        if entry is not None and entry[:5] == line[:5] and (entry.cause == line.cause or not own):
            del old[line.device, line.reason]
        else:
            come.append(line if own else line._replace(cause=causes[-1]))
    return list(old.values()), come


def _entries(
    gone: Sequence[Entry], come: Sequence[Line], owed: Mapping[str, int], cause: bytes, revision: int
) -> list[Entry]:
    """The reversals, then what is booked; what a device owes now stands with what it is charged, as far as it goes."""
    rows = [Entry(*old[:3], -old.energy_wh, -old.amount, 0, cause, revision) for old in gone]
    rows += [Entry(*line[:5], 0, line.cause, revision) for line in come]
    unpaid = dict(owed)
    entries = []
    for row in rows:
        part = min(unpaid.get(row.device, 0), max(-row.amount, 0))
        if part:
            unpaid[row.device] -= part
        entries.append(row._replace(owed=part))
    return entries


def _pay(
    ctx: Context, network: str, slot: int, period: int, gone: Sequence[Entry], come: Sequence[Line]
) -> dict[str, int]:
    """Move what differs; what each device owes of it."""
    change: dict[str, int] = {}
    utility = 0
    for sign, lines in ((-1, gone), (1, come)):
        for line in lines:
            change[line.device] = change.get(line.device, 0) + sign * line.amount
            if line.reason in (RETAIL, FEED_IN):
                utility -= sign * line.amount
    assert sum(change.values()) + utility == 0, "a correction does not sum to zero"
    escrow, reference = f"escrow:{slot}", b"correct " + uint(slot)
    held = accounts.balance(ctx, escrow)
    charges = [Charge(device, -amount) for device, amount in sorted(change.items()) if amount < 0]
    owed: dict[str, int] = {}
    if charges:
        paid = budget.charge_all(ctx, network, period, charges, escrow, CORRECTION, reference)
        for (device, amount), part in zip(charges, paid, strict=True):
            if part < amount:
                owed[device] = amount - part
    received = utility - sum(owed.values())
    if received > 0:
        accounts.transfer(ctx, escrow, accounts.UTILITY, received, CORRECTION, reference)
    elif received < 0:
        settlement_run.fund_utility(ctx, -received, reference)
        accounts.transfer(ctx, accounts.UTILITY, escrow, -received, CORRECTION, reference)
    for device, amount in sorted(change.items()):
        if amount > 0:
            budget.refund(ctx, device, period, amount, escrow, CORRECTION, reference)
    assert accounts.balance(ctx, escrow) == held, "a correction does not sum to zero"
    return owed


def _note_use(
    ctx: Context,
    slot: int,
    books: Sequence[Book],
    imports: Sequence[int],
    differing: tuple[Sequence[Entry], Sequence[Line]],
    reference: bytes,
) -> None:
    """Tell the budgets by how much the slot cost each device more or less, and took more or less."""
    gone, come = [settlement_ledger.costs_of(lines) for lines in differing]
    height = next((book.height for book in books if book.cause == reference), ctx.height)
    for book, import_wh in zip(books, imports, strict=True):
        spent = come.get(book.device, 0) - gone.get(book.device, 0)
        if spent or import_wh != book.import_wh:
            more_wh = book.import_wh - import_wh
            budget_alerts.note_correction(ctx, book.device, slot, spent, more_wh, reference, height)
