"""What settlement writes down: the entries of each network and slot, and the sums over networks, slots and periods.

An entry is never changed. When a slot is settled anew, the entries that no longer hold are *reversed*, by an entry of
the same reason with the opposite energy and amount, and those that hold instead are added: the *revision* counts how
often that happened, and sums are always those of the newest one.

Sums are kept as slots settle, and kept right as they are corrected, so that they stay when a slot's details go:

    a network in a slot       ``Settled``
    a network in a period     ``PeriodSums``, the same added up
    a network and its rent    ``RentPart``, by the consortium's periods: rent is divided among all
    all networks in a slot    ``Metered``, for the check against the feeder's meter

State: table ``settled/``: network, slot(8) -> (Settled, (block of each revision, ...), (Wh imported by each device as
last settled, ...)); table ``settled-entry/``:
network, slot(8) page(4) -> (Entry, ...); table ``settled-period/``: network, period(4) -> PeriodSums; table
``settled-rent/``: network, the consortium's period(4) -> RentPart; table ``metered/``: slot(8) -> Metered.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from chaincode.contract import Context, Value
from chaincode.keys import text, uint
from chaincode.settlement_lines import BOUGHT, FEED_IN, INTERNAL, RETAIL, SOLD, TOLL, Book, Line

_SETTLED: Final = b"settled/"
_ENTRIES: Final = b"settled-entry/"
_PERIODS: Final = b"settled-period/"
_RENTS: Final = b"settled-rent/"
_METERED: Final = b"metered/"
PAGE_ROWS: Final = 128


class Entry(NamedTuple):
    """One line of a network's settlement, as booked. ``amount`` in base units, positive what the device received,
    negative what it was charged; a reversal has both ``energy_wh`` and ``amount`` turned round. ``owed``: how much of
    what it took nobody could pay when it was booked. ``cause``: the order (``bought``, ``toll``, ``sold``: the device's
    last one in this slot, which leads to those before it), or the transaction of the reading, or the hook that made the
    estimate; in a later revision, the transaction that corrected a reading. ``revision``: from 0.
    """

    device: str
    bus: str
    reason: str
    energy_wh: int
    amount: int
    owed: int
    cause: bytes
    revision: int


class Settled(NamedTuple):
    """The sums of a network's settlement in one slot: Wh and base units, all positive. ``entries``: how many it has,
    reversals included; ``owed``: what was not paid when it was booked; ``estimated``: readings that are estimates;
    ``revision``: how often it was settled anew.

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
    revision: int = 0

    def plus(self, other: "Settled") -> "Settled":
        """The sums of both."""
        return Settled(*[one + more for one, more in zip(self, other, strict=True)])

    def less(self, other: "Settled") -> "Settled":
        """What to add to ``other`` to get these."""
        return Settled(*[one - less for one, less in zip(self, other, strict=True)])

    def cost(self) -> int:
        """What the energy cost the network in all, in base units (negative: it earned); what its devices paid each
        other cancels out.
        """
        return self.bought + self.tolls + self.retail - self.sold - self.feed_in


class PeriodSums(NamedTuple):
    """A network's sums over the slots of a billing period of its own that are settled: how many; the sums."""

    slots: int
    sums: Settled


class RentPart(NamedTuple):
    """Of a network in a period of the consortium, in base units: the ``tolls`` that count when the period's congestion
    rent is divided; the ``rent`` that came back, in which ``block``, and the hook that paid it, 0 and empty before.
    """

    tolls: int = 0
    rent: int = 0
    block: int = 0
    cause: bytes = b""


class Metered(NamedTuple):
    """What all networks settled in a slot have metered, in Wh; ``estimated``: how many of the readings are estimates;
    ``networks``: how many are settled.
    """

    import_wh: int = 0
    export_wh: int = 0
    estimated: int = 0
    networks: int = 0


def settled_of(ctx: Context, network: str, slot: int) -> Settled | None:
    """A network's sums for a slot; None before it is settled, and once its details are gone."""
    row = _read(ctx, network, slot)
    return None if row is None else row.sums


def blocks_of(ctx: Context, network: str, slot: int) -> tuple[int, ...]:
    """The height of the block in which each revision of a network's slot was booked; none before it is settled."""
    row = _read(ctx, network, slot)
    return () if row is None else row.blocks


def imports_of(ctx: Context, network: str, slot: int) -> tuple[int, ...]:
    """What each of the network's devices imported in the slot, in Wh, as last settled; in the order of their ids."""
    row = _read(ctx, network, slot)
    return () if row is None else row.imports


def entries_of(ctx: Context, network: str, slot: int) -> list[Entry]:
    """A network's entries for a slot, oldest revision first; in each the reversals first, then by bus and device."""
    settled = settled_of(ctx, network, slot)
    entries: list[Entry] = []
    for page in range(0, 0 if settled is None else settled.entries, PAGE_ROWS):
        entries += _page(ctx, network, slot, page // PAGE_ROWS)
    return entries


def standing(entries: Sequence[Entry]) -> list[Entry]:
    """The entries that hold now: without reversals and what they reverse. At most one for a device and reason."""
    held: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        if entry.energy_wh < 0:
            del held[entry.device, entry.reason]
        else:
            held[entry.device, entry.reason] = entry
    return list(held.values())


def sums_of(lines: Sequence[Line], books: Sequence[Book], utility_only: int) -> Settled:
    """Add up what holds; ``entries``, ``owed`` and ``revision`` are still to be said."""

    def energy(reason: str) -> int:
        return sum([line.energy_wh for line in lines if line.reason == reason])

    def money(reason: str) -> int:
        return sum([abs(line.amount) for line in lines if line.reason == reason])

    return Settled(
        bought_wh=energy(BOUGHT),
        bought=money(BOUGHT),
        tolls=money(TOLL),
        sold_wh=energy(SOLD),
        sold=money(SOLD),
        internal_wh=energy(INTERNAL) // 2,  # what one device pays, another receives
        internal=money(INTERNAL) // 2,
        retail_wh=energy(RETAIL),
        retail=money(RETAIL),
        feed_in_wh=energy(FEED_IN),
        feed_in=money(FEED_IN),
        utility_only=utility_only,
        import_wh=sum([book.import_wh for book in books]),
        export_wh=sum([book.export_wh for book in books]),
        estimated=sum([book.estimated for book in books]),
    )


def costs_of(lines: Sequence[Line | Entry]) -> dict[str, int]:
    """What each device was charged, in base units."""
    costs: dict[str, int] = {}
    for line in lines:
        if line.amount < 0:
            costs[line.device] = costs.get(line.device, 0) - line.amount
    return costs


def book(
    ctx: Context,
    network: str,
    slot: int,
    period: int,
    entries: Sequence[Entry],
    sums: Settled,
    books: Sequence[Book],
) -> Settled:
    """Write a revision down: its entries behind those before it, its sums in their place. The sums as written.

    ``sums.owed``: of these entries alone.
    """
    row = _read(ctx, network, slot)
    old = Settled() if row is None else row.sums
    sums = sums._replace(
        entries=old.entries + len(entries), owed=old.owed + sums.owed, revision=0 if row is None else old.revision + 1
    )
    blocks = (ctx.height,) if row is None else (*row.blocks, ctx.height)
    imports = tuple([book.import_wh for book in books])
    ctx.put(_SETTLED + text(network) + uint(slot), (tuple(sums), blocks, imports))
    _append(ctx, network, slot, old.entries, entries)
    change = sums.less(old)
    of_period = period_sums(ctx, network, period)
    of_period = of_period._replace(slots=of_period.slots + (row is None), sums=of_period.sums.plus(change))
    _put_period(ctx, network, period, of_period)
    metered = metered_of(ctx, slot)
    metered = Metered(
        metered.import_wh + change.import_wh,
        metered.export_wh + change.export_wh,
        metered.estimated + change.estimated,
        metered.networks + (row is None),
    )
    ctx.put(_METERED + uint(slot), tuple(metered))
    return sums


def period_sums(ctx: Context, network: str, period: int) -> PeriodSums:
    """A network's sums over what is settled of a billing period of its own."""
    raw = ctx.get(_PERIODS + text(network) + uint(period, 4))
    if raw is None:
        return PeriodSums(0, Settled())
    count, sums = cast("tuple[int, Settled]", raw)
    return PeriodSums(count, Settled(*sums))


def rent_part(ctx: Context, network: str, period: int) -> RentPart:
    """A network's part in the rent of a period of the consortium."""
    raw = ctx.get(_RENTS + text(network) + uint(period, 4))
    return RentPart() if raw is None else RentPart(*cast("RentPart", raw))


def note_rent(ctx: Context, network: str, period: int, amount: int) -> None:
    """``amount`` base units of the rent of the consortium's ``period`` have come back to ``network``, in this block and
    all at once.
    """
    part = rent_part(ctx, network, period)
    part = part._replace(rent=part.rent + amount, block=ctx.height, cause=ctx.tx_id)
    ctx.put(_RENTS + text(network) + uint(period, 4), tuple(part))


def note_counted(ctx: Context, network: str, period: int, tolls: int) -> None:
    """``tolls`` of ``network``, in base units, count when the rent of the consortium's ``period`` is divided."""
    part = rent_part(ctx, network, period)
    ctx.put(_RENTS + text(network) + uint(period, 4), tuple(part._replace(tolls=part.tolls + tolls)))


def metered_of(ctx: Context, slot: int) -> Metered:
    """What all networks settled so far have metered in a slot."""
    raw = ctx.get(_METERED + uint(slot))
    return Metered() if raw is None else Metered(*cast("Metered", raw))


class _Row(NamedTuple):
    """What is kept of a network's slot besides its entries."""

    sums: Settled
    blocks: tuple[int, ...]
    imports: tuple[int, ...]


def _read(ctx: Context, network: str, slot: int) -> _Row | None:
    raw = ctx.get(_SETTLED + text(network) + uint(slot))
    if raw is None:
        return None
    sums, blocks, imports = cast("tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]", raw)
    return _Row(Settled(*sums), blocks, imports)


def _append(ctx: Context, network: str, slot: int, count: int, entries: Sequence[Entry]) -> None:
    """Write entries behind the ``count`` that there are, page by page."""
    rows: list[Value] = [tuple(entry) for entry in entries]
    while rows:
        page, filled = divmod(count, PAGE_ROWS)
        older: list[Value] = [tuple(entry) for entry in _page(ctx, network, slot, page)] if filled else []
        fits = rows[: PAGE_ROWS - filled]
        ctx.put(_ENTRIES + text(network) + uint(slot) + uint(page, 4), (*older, *fits))
        rows, count = rows[len(fits) :], count + len(fits)


def _page(ctx: Context, network: str, slot: int, page: int) -> list[Entry]:
    rows = ctx.get(_ENTRIES + text(network) + uint(slot) + uint(page, 4))
    return [Entry(*row) for row in cast("tuple[Entry, ...]", rows)]


def _put_period(ctx: Context, network: str, period: int, sums: PeriodSums) -> None:
    ctx.put(_PERIODS + text(network) + uint(period, 4), (sums.slots, tuple(sums.sums)))
