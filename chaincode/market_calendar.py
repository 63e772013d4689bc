"""The market's calendar: what block time has to bring about, found by key and never by looking through products.

An entry is an event of one slot at one time. Entries lie in a table in order of (time, kind, slot); a hook takes the
first, as long as its time has come, and removes it when its work is done. An entry may hold a cursor: work that is
more than one block should do leaves it there and goes on in the next block. Two calendars use this: the market's own
and that of settlement (both tables are scanned in every block and hold a few entries per open product).

State: table ``calendar/`` or ``settling/``: time(8) kind(1) slot(8) -> the cursor, a tuple.
"""

from itertools import islice
from typing import Final, NamedTuple

from chaincode.contract import Context, Value
from chaincode.keys import UINT_BYTES, uint

MARKET: Final = b"calendar/"
SETTLEMENT: Final = b"settling/"

# Kinds, in the order in which events of one moment take place.
OPEN: Final = 0
TICK: Final = 1
GATE: Final = 2
DELIVERED: Final = 3
METERED: Final = 4
FINAL: Final = 5
PRUNE: Final = 6
AGAIN: Final = 7
"""Something of a slot that has been settled, or was parked, is to be done again."""
RENT: Final = 8
"""The rent of a billing period, whose last slot it is, goes back."""
PERIOD: Final = 9
"""Billing periods that are over are closed; an entry of no slot alone."""


class Entry(NamedTuple):
    """``kind`` is to happen to ``slot`` at block time ``time`` (s); ``cursor``: how far it has got."""

    time: int
    kind: int
    slot: int
    cursor: Value


def put(ctx: Context, table: bytes, entry: Entry) -> None:
    """Enter ``entry``, or move its cursor."""
    ctx.put(_key(table, entry.time, entry.kind, entry.slot), entry.cursor)


def remove(ctx: Context, table: bytes, time: int, kind: int, slot: int) -> None:
    """Strike an entry out."""
    ctx.delete(_key(table, time, kind, slot))


def first(ctx: Context, table: bytes) -> Entry | None:
    """The earliest entry, due or not."""
    found = next(ctx.scan(table), None)
    return None if found is None else _entry(table, *found)


def find(ctx: Context, table: bytes, kind: int) -> Entry | None:
    """The earliest entry of a kind. It reads all that are before."""
    for key, cursor in ctx.scan(table):
        entry = _entry(table, key, cursor)
        if entry.kind == kind:
            return entry
    return None


def last(ctx: Context, table: bytes, kinds: tuple[int, ...], before: bytes, most: int) -> list[tuple[bytes, Entry]]:
    """The latest entries of some kinds, at most ``most`` of them, each with its key; with ``before``, those before that
    key."""
    at = len(table) + UINT_BYTES
    found = (pair for pair in ctx.scan(table, after=before, reverse=True) if pair[0][at] in kinds)
    return [(key, _entry(table, key, cursor)) for key, cursor in islice(found, most)]


def _entry(table: bytes, key: bytes, cursor: Value) -> Entry:
    at = len(table)
    time, slot = int.from_bytes(key[at : at + 8], "big"), int.from_bytes(key[at + 9 : at + 17], "big")
    return Entry(time, key[at + 8], slot, cursor)


def _key(table: bytes, time: int, kind: int, slot: int) -> bytes:
    return table + uint(time) + uint(kind, 1) + uint(slot)
