"""Retention: the details of a slot that is FINAL are deleted when they have been kept for as long as the rules say.

If the setting ``retention_s`` is not 0, a slot that becomes FINAL is entered in settlement's calendar, to be pruned so
much later. Its tables are then emptied one after the other (``_TABLES``), some entries in every block, with a cursor in
the calendar, and each table's count and digest stay behind (``pruned``). What stays for ever: the product, its totals
without the flows, the sums of networks and periods, and everything of money.

Nothing goes that a later rule needs:

- readings, from which the estimates of the week after are made, stay until the same slot of each of the seven days
  after it is FINAL, however short the retention, and every older slot that they may be neighbours of; of each meter the
  last one, which the next reading's registers must join; and what stands in for readings since then, until the gap is
  too long for the registers to say anything of it;
- a slot in which a unit is parked, or money left, is not pruned until that has been settled; nor one whose origins are
  not assigned yet.

The order within a table, which the digest follows: by key if the key begins with the slot; by network, or by network
and device, in the order of their registration if it begins with those; a device's orders from the newest on. The
feeder's readings come behind those of all devices.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, cast

from chaincode import (
    accounts,
    identity,
    market_calendar,
    market_orders,
    market_products,
    market_trading,
    origin_cursor,
    pruned,
    settlement_feeder,
    settlement_parking,
    settlement_readings,
)
from chaincode.contract import Context, Value
from chaincode.keys import text, uint
from chaincode.market_calendar import PRUNE, SETTLEMENT, Entry
from chaincode.market_products import DAY_S
from chaincode.pruned import Part

_AGAIN_S: Final = 3_600
"""When a slot that had to be kept is looked at again."""
LOOKS_PER_WORK: Final = 8
"""Devices or networks without an entry that count as much as one deleted entry."""

SLOT: Final = "slot"
NETWORK: Final = "network"
DEVICE: Final = "device"
ORDERS: Final = "orders"
READINGS: Final = "readings"

_TABLES: Final = (
    ("auction", SLOT),
    ("auction-order", SLOT),
    ("auction-trade", SLOT),
    ("book", SLOT),
    ("instant", SLOT),
    ("pending", SLOT),
    ("side", SLOT),
    ("reopened", SLOT),
    ("acc-escrow", SLOT),
    ("settled", NETWORK),
    ("settled-entry", NETWORK),
    ("origin-hold", SLOT),
    ("origin-slot", NETWORK),
    ("origin-used", NETWORK),
    ("order", ORDERS),
    ("position", DEVICE),
    ("reading", READINGS),
)
"""Where details lie, and what their keys begin with. ``order``, whose keys say nothing, is found by the positions and
so goes before them; ``reading``, with the rows that were replaced, goes last, for it may have to wait."""

_READINGS: Final = len(_TABLES) - 1


class _Cursor(NamedTuple):
    """The table under way, how many of its networks and of the next one's devices are done, what went from it."""

    table: int = 0
    networks: int = 0
    devices: int = 0
    entries: int = 0
    digest: bytes = pruned.NO_ENTRIES


def schedule(ctx: Context, slot: int, final_at: int) -> None:
    """A slot has become FINAL: enter when its details go, if they ever do. Later votes change nothing of it."""
    retention_s = market_products.settings_of(ctx).retention_s
    if retention_s:
        market_calendar.put(ctx, SETTLEMENT, Entry(final_at + retention_s, PRUNE, slot, ()))


def go_on(ctx: Context, entry: Entry, work: int) -> int:
    """Delete details of a slot, about ``work`` entries; how many it was. What is left stays in the calendar."""
    market_calendar.remove(ctx, SETTLEMENT, entry.time, PRUNE, entry.slot)
    if not entry.cursor:
        if is_needed(ctx, entry.slot):
            market_calendar.put(ctx, SETTLEMENT, entry._replace(time=entry.time + _AGAIN_S))
            return 1
        pruned.put_parts(ctx, entry.slot, ())
    run = _Run(ctx, entry.slot, _Cursor(*cast("tuple[int, int, int, int, bytes]", entry.cursor or ())), work)
    while run.cursor.table < len(_TABLES) and run.work > 0:
        if run.cursor == _Cursor(_READINGS) and not is_history_over(ctx, entry.slot):
            later = max(market_products.require(ctx, entry.slot).final_at + _HISTORY_S, entry.time + _AGAIN_S)
            market_calendar.put(ctx, SETTLEMENT, Entry(later, PRUNE, entry.slot, tuple(run.cursor)))
            return work - run.work + 1
        run.table()
    if run.cursor.table < len(_TABLES):
        market_calendar.put(ctx, SETTLEMENT, entry._replace(cursor=tuple(run.cursor)))
    else:
        _finish(ctx, entry.slot)
    return work - run.work


_HISTORY_S: Final = settlement_readings.HISTORY_DAYS * DAY_S


class _Run:
    """The work of one block on one slot. ``work``: entries that may still go."""

    def __init__(self, ctx: Context, slot: int, cursor: _Cursor, work: int) -> None:
        self._ctx = ctx
        self._slot = slot
        self.cursor = cursor
        self.work = work

    def table(self) -> None:
        """Go on with the table under way until it is empty or the work done; then on to the next one."""
        name, kind = _TABLES[self.cursor.table]
        table = name.encode() + b"/"
        if kind == SLOT:
            done = self._empty(table + uint(self._slot))
        elif kind == NETWORK:
            done = self._networks(table)
        else:
            done = self._devices(table, kind)
        if done:
            parts = pruned.parts_of(self._ctx, self._slot) or ()
            if self.cursor.entries:
                part = Part(name, self.cursor.entries, self.cursor.digest)
                pruned.put_parts(self._ctx, self._slot, (*parts, part))
            self.cursor = _Cursor(self.cursor.table + 1)

    def _networks(self, table: bytes) -> bool:
        for index, network in enumerate(identity.networks_of(self._ctx, self.cursor.networks), self.cursor.networks):
            if self.work <= 0:
                return False
            self._look(index)
            if not self._empty(table + text(network) + uint(self._slot)):
                return False
            self.cursor = self.cursor._replace(networks=index + 1)
        return True

    def _devices(self, table: bytes, kind: str) -> bool:
        for index, network in enumerate(identity.networks_of(self._ctx, self.cursor.networks), self.cursor.networks):
            devices = identity.devices_of(self._ctx, network)
            for number in range(self.cursor.devices, len(devices)):
                if self.work <= 0:
                    return False
                self._look(number)
                for key in self._device_keys(table, kind, devices[number]):
                    self._delete(key)
                self.cursor = self.cursor._replace(devices=number + 1)
            self.cursor = self.cursor._replace(networks=index + 1, devices=0)
        if kind == READINGS:
            for key in reading_keys(self._ctx, settlement_feeder.FEEDER, self._slot):
                self._delete(key)
        return True

    def _device_keys(self, table: bytes, kind: str, device: str) -> Iterator[bytes]:
        if kind == ORDERS:
            for order_id, _ in market_orders.orders_of(self._ctx, device, self._slot, market_trading.MAX_ORDERS):
                yield table + order_id
        elif kind == READINGS:
            yield from reading_keys(self._ctx, device, self._slot)
        else:
            yield table + text(device) + uint(self._slot)

    def _empty(self, prefix: bytes) -> bool:
        """Delete what begins with ``prefix``, as far as the work goes; whether it is all."""
        keys: list[bytes] = []
        for key, _ in self._ctx.scan(prefix):
            if len(keys) >= self.work:
                break
            keys.append(key)
        else:
            self._delete_all(keys)
            return True
        self._delete_all(keys)
        return False

    def _delete_all(self, keys: list[bytes]) -> None:
        for key in keys:
            self._delete(key)

    def _delete(self, key: bytes) -> None:
        encoded = self._ctx.encoded(key)
        if encoded is not None:
            before = self.cursor.digest
            if not self.cursor.entries:
                before = pruned.beginning(self._ctx, _TABLES[self.cursor.table][0])
            digest = pruned.chained(before, key, encoded)
            self.cursor = self.cursor._replace(entries=self.cursor.entries + 1, digest=digest)
            self._ctx.delete(key)
            self.work -= 1

    def _look(self, number: int) -> None:
        if number % LOOKS_PER_WORK == 0:
            self.work -= 1


def is_needed(ctx: Context, slot: int) -> bool:
    """Whether something is still to be done that the slot's details say."""
    origins = origin_cursor.cursor_of(ctx)
    if origins is not None and origins.slot <= slot:
        return True
    return settlement_parking.in_slot(ctx, slot) > 0 or accounts.balance(ctx, f"escrow:{slot}") > 0


def is_history_over(ctx: Context, slot: int) -> bool:
    """Whether nothing can still be worked out from the slot's readings: a reading of an older slot, which may be open
    for longer if the rules were others then, or an estimate of a later one."""
    if slot - settlement_readings.MAX_GAP_SLOTS <= market_products.oldest_unfinished(ctx) <= slot:
        return False
    slots_per_day = DAY_S // market_products.settings_of(ctx).slot_seconds
    days = range(1, settlement_readings.HISTORY_DAYS + 1)
    return all(market_products.is_final(ctx, slot + day * slots_per_day) for day in days)


def reading_keys(ctx: Context, device: str, slot: int) -> Iterator[bytes]:
    """The rows of a slot that can go; and those that had to stay when it was the turn of the slot a longest gap ago."""
    last = settlement_readings.last_read(ctx, device)
    if last is None or (slot < last and not _is_in_open_gap(ctx, device, slot)):
        yield from settlement_readings.keys_of(ctx, device, slot)
    old = slot - settlement_readings.MAX_GAP_SLOTS
    if old >= 0 and old != last:
        yield from settlement_readings.keys_of(ctx, device, old)


def _is_in_open_gap(ctx: Context, device: str, slot: int) -> bool:
    """Whether a slot of the gap that holds this row, or that it begins, may still be corrected, and the gap divided."""
    after = settlement_readings.read_after(ctx, device, slot)
    return after is not None and after[0] - 1 > slot and not market_products.is_final(ctx, after[0] - 1)


def _finish(ctx: Context, slot: int) -> None:
    """All details are gone: what is left of the slot is made small, and told."""
    market_products.put_flows(ctx, slot, ())
    parts = pruned.parts_of(ctx, slot) or ()
    data: Value = (slot, sum([part.entries for part in parts]))
    ctx.emit("pruned", (), data)
