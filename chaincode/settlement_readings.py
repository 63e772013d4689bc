"""What is known of every meter in every slot: readings, what stands in for them, and what they replaced.

A *row* is what holds for a device in a slot. It is *read* (the meter says so, with its registers), *estimated* (the
metering window ended without a reading), or *spread* (estimated once, and then given its part of what the registers of
later readings showed; ``settlement_gaps``). A row that is replaced stays readable as an earlier revision.

A device without a reading when the metering window ends is estimated so that silence never pays: import = the larger
of its contract and the mean of the same slot on the seven days before, export = the smaller of the two; without
history the mean is 0. Only what was read is history. How many estimates stand is counted per device and period of
the consortium; with more than the setting ``max_estimates`` the device may not sell there.

State: table ``reading/``: device, slot(8) -> Reading and a blind (``Context.blind``), so that no hash of it can be
guessed; ``reading-was/``: device, slot(8) revision(4) -> an earlier Reading, the same way; ``meter/``: device -> the
slots in ``_Extent``; ``meter-gap/``: device, slot(8) that was read -> the last slot before it that was, if that is not
the one before; ``estimates/``: device, period(8) -> how many stand.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final, NamedTuple, cast

from chaincode import market_products
from chaincode.contract import Context
from chaincode.keys import text, uint
from chaincode.market_orders import Position
from chaincode.market_products import DAY_S, Product

READING_TABLES: Final = (b"reading/", b"reading-was/")
_READING, _WAS = READING_TABLES
_METER: Final = b"meter/"
_GAP: Final = b"meter-gap/"
_ESTIMATES: Final = b"estimates/"
BLIND_BYTES: Final = 16
HISTORY_DAYS: Final = 7
MAX_GAP_SLOTS: Final = 17_568
"""How far apart two readings may be and still be neighbours: a year of half hours. Work per gap is bounded by it."""


class Reading(NamedTuple):
    """Wh in and out during the slot; the meter's registers at its end in Wh, 0 if it was not read; ``cause``: the
    transaction (of an estimate: the block's hook) that it comes from, and its block; ``revision``: how many rows it
    replaced; ``usual``: (import, export) that its gap is divided by (``usual``), empty if the slot was read.
    """

    import_wh: int
    export_wh: int
    import_register: int
    export_register: int
    estimated: bool
    cause: bytes
    height: int
    revision: int
    usual: tuple[int, ...]

    @property
    def is_read(self) -> bool:
        """Whether the meter said so for this very slot."""
        return not self.usual

    @property
    def energy(self) -> tuple[int, int]:
        return self.import_wh, self.export_wh

    @property
    def registers(self) -> tuple[int, int]:
        return self.import_register, self.export_register

    @property
    def start(self) -> tuple[int, int]:
        """What the registers were when the slot began."""
        return self.import_register - self.import_wh, self.export_register - self.export_wh


class _Extent(NamedTuple):
    """The first and the last slot of a device that were read."""

    first: int
    last: int


def read(ctx: Context, energy: tuple[int, int], registers: tuple[int, int]) -> Reading:
    """A row as the meter says it in this transaction."""
    return Reading(*energy, *registers, False, ctx.tx_id, ctx.height, 0, ())


def find(ctx: Context, device: str, slot: int) -> Reading | None:
    """The row of a device in a slot: a reading, or what stands in for it."""
    raw = ctx.get(_READING + text(device) + uint(slot))
    return None if raw is None else _row(raw)


def earlier(ctx: Context, device: str, slot: int, revision: int) -> Reading | None:
    """A row that was replaced."""
    raw = ctx.get(_WAS + text(device) + uint(slot) + uint(revision, 4))
    return None if raw is None else _row(raw)


def history(ctx: Context, device: str, slot: int) -> list[Reading]:
    """The row of a slot and all that it replaced, newest first."""
    row = find(ctx, device, slot)
    if row is None:
        return []
    before = [earlier(ctx, device, slot, revision) for revision in range(row.revision - 1, -1, -1)]
    return [row, *[old for old in before if old is not None]]


def keep(ctx: Context, device: str, slot: int, row: Reading) -> None:
    """Write the first row of a slot, or one that replaces it (and then is told apart by its revision)."""
    _put(ctx, _READING + text(device) + uint(slot), row)
    if row.is_read:
        _note_read(ctx, device, slot)


def replace(ctx: Context, device: str, slot: int, period: int, old: Reading, row: Reading) -> Reading:
    """Let ``row`` hold instead of ``old``, which stays readable; ``period``: the slot's."""
    row = row._replace(revision=old.revision + 1)
    _put(ctx, _WAS + text(device) + uint(slot) + uint(old.revision, 4), old)
    keep(ctx, device, slot, row)
    if old.estimated:
        _count(ctx, device, period, -1)
    return row


def read_before(ctx: Context, device: str, slot: int) -> tuple[int, Reading] | None:
    """The nearest slot before that was read, and its row; None if there is none, or its details are gone."""
    known = _extent(ctx, device)
    if known is None or known.first >= slot:
        return None
    near = known.last
    if slot <= near:
        gap = _gap_behind(ctx, device, slot)
        before = gap[0] if gap is not None and gap[0] < slot else ctx.get(_GAP + text(device) + uint(slot))
        near = before if isinstance(before, int) else slot - 1
    row = find(ctx, device, near)
    return None if row is None else (near, row)


def read_after(ctx: Context, device: str, slot: int) -> tuple[int, Reading] | None:
    """The nearest slot behind that was read, and its row; None if there is none, or none within ``MAX_GAP_SLOTS``."""
    known = _extent(ctx, device)
    if known is None or known.last <= slot:
        return None
    near = known.first
    if slot >= near:
        gap = _gap_behind(ctx, device, slot)
        near = gap[1] if gap is not None and gap[0] <= slot else slot + 1
    row = find(ctx, device, near) if near <= slot + MAX_GAP_SLOTS else None
    return None if row is None else (near, row)


def rows_before(ctx: Context, device: str, slot: int) -> Iterator[tuple[int, Reading]]:
    """The rows of the ``MAX_GAP_SLOTS`` slots before ``slot``, newest first. Do not write rows meanwhile."""
    start = _READING + text(device)
    for key, raw in ctx.scan(start, after=start + uint(slot), reverse=True):
        other = int.from_bytes(key[-8:], "big")
        if other < slot - MAX_GAP_SLOTS:
            return
        yield other, _row(raw)


def usual(ctx: Context, device: str, slot: int, product: Product) -> tuple[int, int]:
    """What a device takes and gives in this slot of the day: the mean (import, export) of the seven days before, in Wh,
    floor; 0 without history."""
    return _means(ctx, device, slot, DAY_S // (product.ends - product.starts))


def estimate(means: tuple[int, int], position: Position | None) -> tuple[int, int]:
    """What a missing reading is taken to have been, (imported, exported) Wh, so that silence never pays: as much as was
    contracted or is ``usual``, if that is more; and no more than both."""
    net = 0 if position is None else position.bought_wh - position.sold_wh
    return max(net, 0, means[0]), min(max(-net, 0), means[1])


def keep_estimate(
    ctx: Context, device: str, slot: int, period: int, guess: tuple[int, int], means: tuple[int, int]
) -> Reading:
    """Let an estimate stand for a slot without a row."""
    row = Reading(*guess, 0, 0, True, ctx.tx_id, ctx.height, 0, means)
    keep(ctx, device, slot, row)
    _count(ctx, device, period, 1)
    return row


def estimates(ctx: Context, device: str, period: int) -> int:
    """How many estimates of a device stand in a billing period."""
    count = ctx.get(_ESTIMATES + text(device) + uint(period))
    return count if isinstance(count, int) else 0


def may_sell(ctx: Context, device: str, period: int) -> bool:
    """Whether so few estimates stand that the device may offer energy in ``period``."""
    standing = estimates(ctx, device, period)  # mostly none, and every sell asks
    return standing == 0 or standing <= market_products.settings_of(ctx).max_estimates


def last_read(ctx: Context, device: str) -> int | None:
    """The last slot of a device that was read; None if none was."""
    known = _extent(ctx, device)
    return None if known is None else known.last


def keys_of(ctx: Context, device: str, slot: int) -> list[bytes]:
    """Where the rows of a slot lie, the one that holds first, then those that were replaced; none if it has none."""
    row, at = find(ctx, device, slot), text(device) + uint(slot)
    if row is None:
        return []
    return [_READING + at, *(_WAS + at + uint(revision, 4) for revision in range(row.revision))]


def _count(ctx: Context, device: str, period: int, change: int) -> None:
    count = estimates(ctx, device, period) + change
    assert count >= 0, "more estimates resolved than made"
    ctx.put(_ESTIMATES + text(device) + uint(period), count)


def _means(ctx: Context, device: str, slot: int, slots_per_day: int) -> tuple[int, int]:
    days_before = []
    for days in range(1, HISTORY_DAYS + 1):
        before = slot - days * slots_per_day
        row = find(ctx, device, before) if before >= 0 else None
        if row is not None and row.is_read:
            days_before.append(row)
    if not days_before:
        return 0, 0
    imported = sum([row.import_wh for row in days_before])
    exported = sum([row.export_wh for row in days_before])
    return imported // len(days_before), exported // len(days_before)


def _note_read(ctx: Context, device: str, slot: int) -> None:
    """A slot has been read: neighbours are found by it from now on, without looking through what lies between."""
    known, gaps = _extent(ctx, device), _GAP + text(device)
    if known is None or slot > known.last:
        if known is not None and slot > known.last + 1:
            ctx.put(gaps + uint(slot), known.last)
        ctx.put(_METER + text(device), (slot if known is None else known.first, slot))
    elif slot < known.first:
        if slot < known.first - 1:
            ctx.put(gaps + uint(known.first), slot)
        ctx.put(_METER + text(device), (slot, known.last))
    elif (gap := _gap_behind(ctx, device, slot)) is not None and gap[0] < slot < known.last:
        if gap[0] < slot - 1:
            ctx.put(gaps + uint(slot), gap[0])
        if slot < gap[1] - 1:
            ctx.put(gaps + uint(gap[1]), slot)
        else:
            ctx.delete(gaps + uint(gap[1]))


def _gap_behind(ctx: Context, device: str, slot: int) -> tuple[int, int] | None:
    """Of the gaps of a device, the first that ends behind ``slot``: the two slots that were read beside it."""
    gaps = _GAP + text(device)
    found = next(ctx.scan(gaps, after=gaps + uint(slot)), None)
    return None if found is None else (cast("int", found[1]), int.from_bytes(found[0][-8:], "big"))


def _extent(ctx: Context, device: str) -> _Extent | None:
    raw = ctx.get(_METER + text(device))
    return None if raw is None else _Extent(*cast("_Extent", raw))


def _put(ctx: Context, key: bytes, row: Reading) -> None:
    ctx.put(key, (*row, sha256(ctx.blind + key).digest()[:BLIND_BYTES]))


def _row(raw: object) -> Reading:
    *fields, _ = cast("tuple[Any, ...]", raw)
    return Reading(*fields)
