"""Settling one network in one slot: who pays whom for what was metered against what was contracted.

Money, in this order, per network:

1. A seller's own charges are paid from its proceeds in escrow: to the utility first, then inside the network.
2. What is left of its proceeds is credited to it; and the utility pays its feed-in for what was fed in beyond the
   contracts.
3. The other charges are taken from the devices' budgets (available, automatic share, pool); what none of these covers
   is owed to the utility, which for a charge inside the network pays the neighbour in its place.
4. What devices of the network owe each other has now passed into escrow, and is credited from there.

If the utility's account does not suffice for what it has to pay, the difference is issued, with the reason ``feed-in``.
The escrow is the clearing house: after each network it holds exactly that network's proceeds less than before.

State: table ``settled/``: network, slot(8) -> Settled; table ``settled-entry/``: network, slot(8) page(4) -> (Entry,
...).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from chaincode import accounts, budget, identity, market_orders, settlement_readings
from chaincode.budget import Charge
from chaincode.contract import Context, ContractError, Value
from chaincode.keys import text, uint
from chaincode.market_orders import Position
from chaincode.market_products import Product
from chaincode.settlement_netting import Netted, net
from chaincode.settlement_readings import Reading

_SETTLED: Final = b"settled/"
_ENTRIES: Final = b"settled-entry/"
PAGE_ROWS: Final = 128

# What an entry is for.
BOUGHT: Final = "bought"
TOLL: Final = "toll"
SOLD: Final = "sold"
INTERNAL: Final = "internal"
RETAIL: Final = "retail"
FEED_IN: Final = "feed-in"


class Entry(NamedTuple):
    """One line of a network's settlement. ``amount`` in base units, positive what the device received, negative what
    it was charged; ``owed``: how much of a charge nobody has paid yet; ``cause``: the order (``bought``, ``toll``,
    ``sold``: the device's last one in this slot, which leads to those before it), or the transaction of the reading,
    or the hook that made the estimate.
    """

    device: str
    bus: str
    reason: str
    energy_wh: int
    amount: int
    owed: int
    cause: bytes


class Settled(NamedTuple):
    """The sums of a network's settlement in one slot: Wh and base units, all positive; ``entries``: how many it has.

    ``utility_only``: what the same metered energy would have cost (negative: earned) with the utility alone, each
    bus's own sun first.
    """

    entries: int = 0
    bought_wh: int = 0
    bought: int = 0
    tolls: int = 0
    sold_wh: int = 0
    sold: int = 0
    internal_wh: int = 0
    internal: int = 0
    retail_wh: int = 0
    retail: int = 0
    feed_in_wh: int = 0
    feed_in: int = 0
    owed: int = 0
    utility_only: int = 0
    import_wh: int = 0
    export_wh: int = 0
    estimated: int = 0


class _Account(NamedTuple):
    """A device in this settlement."""

    device: str
    bus: str
    position: Position | None
    reading: Reading

    def deviation_wh(self) -> int:
        contracted = 0 if self.position is None else self.position.bought_wh - self.position.sold_wh
        return self.reading.import_wh - self.reading.export_wh - contracted

    def proceeds(self) -> int:
        return 0 if self.position is None else self.position.proceeds


class _Slot(NamedTuple):
    """What all of a settlement's steps need to know."""

    slot: int
    product: Product
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
            reading = settlement_readings.estimate(ctx, device, slot, product.ends - product.starts, position)
            ctx.emit("estimated", (device, network), (slot, reading.import_wh, reading.export_wh))
            estimated += 1
    return len(devices), estimated


def settle_network(ctx: Context, network: str, slot: int, product: Product) -> int:
    """Settle one network in one slot; every connected device has a reading by now. How many devices it has."""
    this = _Slot(slot, product, b"settle " + uint(slot))
    books = []
    for device, bus in _connected(ctx, network, slot):
        reading = settlement_readings.find(ctx, device, slot)
        if reading is None:
            raise ContractError("not-metered", f"{device} has neither a reading nor an estimate")
        books.append(_Account(device, bus, market_orders.find_position(ctx, device, slot), reading))
    netted: list[tuple[_Account, Netted]] = []
    utility_only = 0
    for bus in sorted(dict.fromkeys([book.bus for book in books])):
        at_bus = sorted([book for book in books if book.bus == bus])
        netted += zip(at_bus, net([(book.device, book.deviation_wh()) for book in at_bus]), strict=True)
        flow = sum([book.reading.import_wh - book.reading.export_wh for book in at_bus])
        utility_only += flow * (product.retail if flow > 0 else product.feed_in)
    before = accounts.balance(ctx, this.escrow)
    entries = _pay(ctx, this, network, netted)
    proceeds = sum([book.proceeds() for book in books])
    assert accounts.balance(ctx, this.escrow) == before - proceeds, "a settlement does not sum to zero"
    _note_use(ctx, slot, books, entries)
    _write(ctx, network, slot, entries, _sums(entries, books, utility_only))
    return len(books)


def settled_of(ctx: Context, network: str, slot: int) -> Settled | None:
    """A network's sums for a slot; None before it is settled."""
    raw = ctx.get(_SETTLED + text(network) + uint(slot))
    return None if raw is None else Settled(*cast("Settled", raw))


def entries_of(ctx: Context, network: str, slot: int) -> list[Entry]:
    """A network's entries for a slot, in the order of buses and devices."""
    settled = settled_of(ctx, network, slot)
    entries: list[Entry] = []
    for page in range(0, 0 if settled is None else settled.entries, PAGE_ROWS):
        rows = ctx.get(_ENTRIES + text(network) + uint(slot) + uint(page // PAGE_ROWS, 4))
        entries += [Entry(*row) for row in cast("tuple[Entry, ...]", rows)]
    return entries


def pay_lines(ctx: Context, slot: int, tolls: int, rent: int) -> None:
    """Tolls to the grid operator, rent to the congestion account, out of the slot's escrow."""
    reference = b"settle " + uint(slot)
    if tolls:
        accounts.transfer(ctx, f"escrow:{slot}", accounts.GRID_OPERATOR, tolls, "toll", reference)
    if rent:
        accounts.transfer(ctx, f"escrow:{slot}", accounts.CONGESTION, rent, "rent", reference)


def _connected(ctx: Context, network: str, slot: int) -> list[tuple[str, str]]:
    """(device, bus) of a network's devices that were connected in the slot, by id."""
    found = []
    for device in identity.devices_of(ctx, network):
        bus = identity.bus_at(ctx, device, slot)
        if bus is not None:
            found.append((device, bus))
    return sorted(found)


def _pay(ctx: Context, this: _Slot, network: str, netted: Sequence[tuple[_Account, Netted]]) -> list[Entry]:
    """Move the money of one network; its entries."""
    charges = [_from_proceeds(ctx, this, book, share) for book, share in netted]
    entries = []
    for book, share in netted:
        entries += _contract_entries(book)
        if share.deviation_wh < 0 and share.utility_wh:
            amount = share.utility_wh * this.product.feed_in
            _fund_utility(ctx, this, amount)
            _credit(ctx, this, book.device, amount, accounts.UTILITY, FEED_IN)
            entries.append(Entry(book.device, book.bus, FEED_IN, share.utility_wh, amount, 0, book.reading.cause))
    owed_retail = _charge(ctx, this, network, accounts.UTILITY, [charge for charge, _ in charges], netted)
    owed_internal = _charge(ctx, this, network, this.escrow, [charge for _, charge in charges], netted)
    advance = sum(owed_internal.values())
    if advance:
        _fund_utility(ctx, this, advance)
        accounts.transfer(ctx, accounts.UTILITY, this.escrow, advance, "advance", this.reference)
    for book, share in netted:
        device, bus, cause = book.device, book.bus, book.reading.cause
        money = share.internal_wh * this.product.internal
        if share.deviation_wh < 0:
            _credit(ctx, this, device, money, this.escrow, INTERNAL)
            if share.internal_wh:
                entries.append(Entry(device, bus, INTERNAL, share.internal_wh, money, 0, cause))
            continue
        if share.internal_wh:
            entries.append(Entry(device, bus, INTERNAL, share.internal_wh, -money, owed_internal.get(device, 0), cause))
        if share.utility_wh:
            money = share.utility_wh * this.product.retail
            entries.append(Entry(device, bus, RETAIL, share.utility_wh, -money, owed_retail.get(device, 0), cause))
    return entries


def _from_proceeds(ctx: Context, this: _Slot, book: _Account, share: Netted) -> tuple[int, int]:
    """Let a device's proceeds pay its own charges, and credit the rest. What it must still pay: to the utility,
    inside.
    """
    retail = internal = 0
    if share.deviation_wh > 0:
        retail, internal = share.utility_wh * this.product.retail, share.internal_wh * this.product.internal
    to_utility = min(book.proceeds(), retail)
    inside = min(book.proceeds() - to_utility, internal)
    if to_utility:
        accounts.transfer(ctx, this.escrow, accounts.UTILITY, to_utility, RETAIL, this.reference)
    _credit(ctx, this, book.device, book.proceeds() - to_utility - inside, this.escrow, SOLD)
    return retail - to_utility, internal - inside


def _charge(
    ctx: Context, this: _Slot, network: str, target: str, due: Sequence[int], netted: Sequence[tuple[_Account, Netted]]
) -> dict[str, int]:
    """Charge the budgets of a network what is ``due`` of each device, all together; what each then owes."""
    charges = [Charge(book.device, amount) for (book, _), amount in zip(netted, due, strict=True) if amount]
    if not charges:
        return {}
    reason = RETAIL if target == accounts.UTILITY else INTERNAL
    paid = budget.charge_all(ctx, network, this.product.period, charges, target, reason, this.reference)
    return {device: amount - part for (device, amount), part in zip(charges, paid, strict=True)}


def _contract_entries(book: _Account) -> list[Entry]:
    """What the device's contracts brought; buyers have paid at clearing."""
    position = book.position
    if position is None:
        return []
    entries = []
    if position.bought_wh:
        paid = position.tolls - position.paid
        entries.append(Entry(book.device, book.bus, BOUGHT, position.bought_wh, paid, 0, position.last_order))
    if position.tolls:
        entries.append(Entry(book.device, book.bus, TOLL, position.bought_wh, -position.tolls, 0, position.last_order))
    if position.sold_wh:
        entries.append(Entry(book.device, book.bus, SOLD, position.sold_wh, position.proceeds, 0, position.last_order))
    return entries


def _credit(ctx: Context, this: _Slot, device: str, amount: int, source: str, reason: str) -> None:
    if amount:
        budget.credit(ctx, device, this.product.period, amount, source, reason, this.reference)


def _fund_utility(ctx: Context, this: _Slot, amount: int) -> None:
    """See to it that the utility can pay ``amount``: what it lacks is issued."""
    lacking = amount - accounts.balance(ctx, accounts.UTILITY)
    if lacking > 0:
        accounts.mint(ctx, accounts.UTILITY, lacking, FEED_IN, this.reference)


def _note_use(ctx: Context, slot: int, books: Sequence[_Account], entries: Sequence[Entry]) -> None:
    """Tell the budgets what the slot cost each device."""
    cost: dict[str, int] = {}
    for entry in entries:
        if entry.amount < 0:
            cost[entry.device] = cost.get(entry.device, 0) - entry.amount
    for book in books:
        reading = book.reading
        spent = cost.get(book.device, 0)
        budget.note_use(ctx, book.device, slot, spent, reading.import_wh, reading.estimated, reading.cause)


def _sums(entries: Sequence[Entry], books: Sequence[_Account], utility_only: int) -> Settled:
    def add(reason: str, field: str, sign: int) -> int:
        of_reason = [entry for entry in entries if entry.reason == reason and entry.amount * sign >= 0]
        return sum([entry.energy_wh if field == "energy" else abs(entry.amount) for entry in of_reason])

    return Settled(
        entries=len(entries),
        bought_wh=add(BOUGHT, "energy", -1),
        bought=add(BOUGHT, "money", -1),
        tolls=add(TOLL, "money", -1),
        sold_wh=add(SOLD, "energy", 1),
        sold=add(SOLD, "money", 1),
        internal_wh=add(INTERNAL, "energy", -1),
        internal=add(INTERNAL, "money", -1),
        retail_wh=add(RETAIL, "energy", -1),
        retail=add(RETAIL, "money", -1),
        feed_in_wh=add(FEED_IN, "energy", 1),
        feed_in=add(FEED_IN, "money", 1),
        owed=sum([entry.owed for entry in entries]),
        utility_only=utility_only,
        import_wh=sum([book.reading.import_wh for book in books]),
        export_wh=sum([book.reading.export_wh for book in books]),
        estimated=sum([book.reading.estimated for book in books]),
    )


def _write(ctx: Context, network: str, slot: int, entries: Sequence[Entry], sums: Settled) -> None:
    at = text(network) + uint(slot)
    assert ctx.get(_SETTLED + at) is None, "settled twice"
    ctx.put(_SETTLED + at, tuple(sums))
    for page in range(0, len(entries), PAGE_ROWS):
        rows: Value = tuple([tuple(entry) for entry in entries[page : page + PAGE_ROWS]])
        ctx.put(_ENTRIES + at + uint(page // PAGE_ROWS, 4), rows)
    ctx.emit("settled", (network,), (slot, *sums))
