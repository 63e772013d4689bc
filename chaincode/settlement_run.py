"""Settling one network in one slot for the first time: moving the money that its lines say (``settlement_lines``).

Money, in this order, per network:

1. A seller's own charges are paid from its proceeds in escrow: to the utility first, then inside the network.
2. What is left of its proceeds is credited to it; and the utility pays its feed-in for what was fed in beyond the
   contracts.
3. The other charges are taken from the devices' budgets (available, automatic share, pool); what none of these covers
   is owed to the utility, which for a charge inside the network pays the neighbour in its place.
4. What devices of the network owe each other has now passed into escrow, and is credited from there.

If the utility's account does not suffice for what it has to pay, the difference is issued, with the reason ``feed-in``.
The escrow is the clearing house: after each network it holds exactly that network's proceeds less than before.
"""

from collections.abc import Sequence
from typing import NamedTuple

from chaincode import (
    accounts,
    budget,
    budget_closed,
    identity,
    market_orders,
    settlement_estimates,
    settlement_ledger,
    settlement_lines,
    settlement_readings,
)
from chaincode.budget import Charge
from chaincode.contract import Context, ContractError
from chaincode.keys import uint
from chaincode.market_products import Product
from chaincode.settlement_ledger import Entry
from chaincode.settlement_lines import FEED_IN, INTERNAL, RETAIL, SOLD, Book, Line, Terms


class _Slot(NamedTuple):
    """What all of a settlement's steps need to know; ``period``: the one that pays and is paid."""

    slot: int
    network: str
    period: int
    reference: bytes

    @property
    def escrow(self) -> str:
        return f"escrow:{self.slot}"


def estimate_network(ctx: Context, network: str, slot: int, product: Product) -> tuple[int, int]:
    """Estimate what is missing of a network's readings. (devices looked at, readings estimated)."""
    estimated = 0
    devices = _connected(ctx, network, slot)
    for device, _ in devices:
        if settlement_readings.find(ctx, device, slot) is None:
            position = market_orders.find_position(ctx, device, slot)
            estimated += settlement_estimates.stand_in(ctx, device, slot, product, position).estimated
    return len(devices), estimated


def settle_network(ctx: Context, network: str, slot: int, product: Product) -> tuple[int, int]:
    """Settle one network in one slot; every connected device has a reading by now. (how many it has, the tolls that
    count when rent is divided).
    """
    assert settlement_ledger.settled_of(ctx, network, slot) is None, "settled twice"
    this = _Slot(slot, network, budget_closed.booking_period(ctx, network, slot), b"settle " + uint(slot))
    books, terms = books_of(ctx, network, slot), terms_of(product)
    lines = settlement_lines.lines_of(books, terms)
    before = accounts.balance(ctx, this.escrow)
    owed = _pay(ctx, this, books, lines)
    proceeds = sum([book.proceeds() for book in books])
    assert accounts.balance(ctx, this.escrow) == before - proceeds, "a settlement does not sum to zero"
    _note_use(ctx, slot, books, lines)
    sums = settlement_ledger.sums_of(lines, books, settlement_lines.utility_only(books, terms))
    entries = [Entry(*line[:5], owed.get((line.device, line.reason), 0), line.cause, 0) for line in lines]
    sums = sums._replace(owed=sum(owed.values()))
    period = budget.period_of(ctx, network, slot)
    sums = settlement_ledger.book(ctx, network, slot, period, entries, sums, books)
    ctx.emit("settled", (network,), (slot, *sums))
    return len(books), settlement_lines.lasting_tolls(books)


def books_of(ctx: Context, network: str, slot: int) -> list[Book]:
    """The network's devices that were connected in the slot, with what they contracted and what was metered.

    Raises ContractError("not-metered") if one has neither a reading nor an estimate.
    """
    books = []
    for device, bus in _connected(ctx, network, slot):
        reading = settlement_readings.find(ctx, device, slot)
        if reading is None:
            raise ContractError("not-metered", f"{device} has neither a reading nor an estimate")
        position = market_orders.find_position(ctx, device, slot)
        wh = reading.import_wh, reading.export_wh
        books.append(Book(device, bus, position, *wh, reading.estimated, reading.cause, reading.height))
    return books


def terms_of(product: Product) -> Terms:
    """The prices that a product has pinned."""
    return Terms(product.retail, product.feed_in, product.internal)


def pay_lines(ctx: Context, slot: int, tolls: int, rent: int) -> None:
    """Tolls to the grid operator, rent to the congestion account, out of the slot's escrow."""
    reference = b"settle " + uint(slot)
    if tolls:
        accounts.transfer(ctx, f"escrow:{slot}", accounts.GRID_OPERATOR, tolls, "toll", reference)
    if rent:
        accounts.transfer(ctx, f"escrow:{slot}", accounts.CONGESTION, rent, "rent", reference)


def fund_utility(ctx: Context, amount: int, reference: bytes) -> None:
    """See to it that the utility can pay ``amount``: what it lacks is issued."""
    lacking = amount - accounts.balance(ctx, accounts.UTILITY)
    if lacking > 0:
        accounts.mint(ctx, accounts.UTILITY, lacking, FEED_IN, reference)


def _connected(ctx: Context, network: str, slot: int) -> list[tuple[str, str]]:
    """(device, bus) of a network's devices that were connected in the slot, by id."""
    found = []
    for device in identity.devices_of(ctx, network):
        bus = identity.bus_at(ctx, device, slot)
        if bus is not None:
            found.append((device, bus))
    return sorted(found)


def _pay(ctx: Context, this: _Slot, books: Sequence[Book], lines: Sequence[Line]) -> dict[tuple[str, str], int]:
    """Move the money of one network; what is owed of each (device, reason)."""
    charges: dict[tuple[str, str], int] = {}
    for line in lines:
        if line.reason in (RETAIL, INTERNAL) and line.amount < 0:
            charges[line.device, line.reason] = -line.amount
    for book in books:
        _from_proceeds(ctx, this, book, charges)
    for line in lines:
        if line.reason == FEED_IN:
            fund_utility(ctx, line.amount, this.reference)
            _credit(ctx, this, line.device, line.amount, accounts.UTILITY, FEED_IN)
    owed = _charge(ctx, this, RETAIL, accounts.UTILITY, charges)
    advanced = _charge(ctx, this, INTERNAL, this.escrow, charges)
    if advanced:
        fund_utility(ctx, sum(advanced.values()), this.reference)
        accounts.transfer(ctx, accounts.UTILITY, this.escrow, sum(advanced.values()), "advance", this.reference)
    for line in lines:
        if line.reason == INTERNAL and line.amount > 0:
            _credit(ctx, this, line.device, line.amount, this.escrow, INTERNAL)
    return owed | advanced


def _from_proceeds(ctx: Context, this: _Slot, book: Book, charges: dict[tuple[str, str], int]) -> None:
    """Let a device's proceeds pay its own charges, which are less by that then, and credit the rest."""
    left = book.proceeds()
    for reason in (RETAIL, INTERNAL):
        part = min(left, charges.get((book.device, reason), 0))
        if part:
            charges[book.device, reason] -= part
            left -= part
            if reason == RETAIL:
                accounts.transfer(ctx, this.escrow, accounts.UTILITY, part, RETAIL, this.reference)
    _credit(ctx, this, book.device, left, this.escrow, SOLD)


def _charge(
    ctx: Context, this: _Slot, reason: str, target: str, charges: dict[tuple[str, str], int]
) -> dict[tuple[str, str], int]:
    """Charge the budgets what is due for ``reason``, all together; what each then owes of it."""
    due = [Charge(device, amount) for (device, of), amount in charges.items() if of == reason and amount]
    if not due:
        return {}
    paid = budget.charge_all(ctx, this.network, this.period, due, target, reason, this.reference)
    left = [amount - part for (_, amount), part in zip(due, paid, strict=True)]
    return {(charge.device, reason): amount for charge, amount in zip(due, left, strict=True) if amount}


def _credit(ctx: Context, this: _Slot, device: str, amount: int, source: str, reason: str) -> None:
    if amount:
        budget.credit(ctx, device, this.period, amount, source, reason, this.reference)


def _note_use(ctx: Context, slot: int, books: Sequence[Book], lines: Sequence[Line]) -> None:
    """Tell the budgets what the slot cost each device."""
    cost = settlement_ledger.costs_of(lines)
    for book in books:
        spent = cost.get(book.device, 0)
        budget.note_use(ctx, book.device, slot, spent, book.import_wh, book.estimated, book.cause, book.height)
