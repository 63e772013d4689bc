"""What becomes of the calendar when no block could be made for a while.

Whenever an entry of the calendar is due, the nodes make a block. So a block whose time is more than ``outage_s`` after
the first entry that was due, and after its parent, says that nobody could make one: an *outage*, from that moment
until the block's time. It is noticed in ``begin_block``, before anything else happens. A chain on which nothing was due
was idle, and that is no outage.

The clocks of meters and disputes have stood still meanwhile:

- a product that is DELIVERED already has its metering window, if that had not ended when the outage began, and its
  dispute window end later by the outage;
- one whose slot ended during the outage has both later by what was lost of them: from its end until the block.

So meters have as long for their readings as they would have had. Gates have not: an order that was placed before the
gate is binding, and none could be placed; one auction makes up for the ticks that were missed, what rests then expires,
and later orders are refused. A product whose whole trading time fell into the outage opens and closes without a trade.
Every product passes through all its states, in order, as if the blocks had been there.

To move entries is bounded work, too: as many as ``MOVES_PER_BLOCK`` a block, latest first, and the calendars wait until
all are done. Each is a unit by itself: one that fails stays where it is, and the event ``market-parked`` tells.

State: ``outage/`` -> count; ``outage/`` number(8) -> (since, until, height); ``outage-moves/`` -> what is left to be
moved: (since, until, key before which it goes on) each.
"""

from typing import Final, NamedTuple, TypeAlias, cast

from chaincode import market_calendar, market_products, market_trading
from chaincode.contract import Context
from chaincode.keys import key
from chaincode.market_calendar import FINAL, MARKET, METERED, SETTLEMENT, Entry
from chaincode.market_products import Product

MOVES_PER_BLOCK: Final = 1_000

_OUTAGES: Final = b"outage/"
_MOVES: Final = b"outage-moves/"

_Move: TypeAlias = tuple[int, int, bytes]


class Outage(NamedTuple):
    """From block time ``since`` until ``until``, which is that of the block at ``height``."""

    since: int
    until: int
    height: int


def notice(ctx: Context) -> None:
    """Whether this block ends an outage: then note it. And give back what is to be given back, as far as one block
    goes."""
    if ctx.time > ctx.previous_time and market_products.next_to_open(ctx) is not None:
        _notice(ctx)
    moves = _moves(ctx)
    if moves:
        since, until, before = moves[0]
        left = _move(ctx, since, until, before)
        _put_moves(ctx, moves[1:] if left is None else ((since, until, left), *moves[1:]))


def is_busy(ctx: Context) -> bool:
    """Whether there are entries to be moved: the calendars wait."""
    return bool(_moves(ctx))


def give_up(ctx: Context) -> None:
    """What cannot be moved, by a mistake in the contract, stays where it is."""
    _put_moves(ctx, ())


def given_back(ctx: Context, product: Product) -> Product:
    """A product that is delivered now, with the time that outages since its end took from its windows: more than one,
    if work of the first was still waiting when the next began."""
    lost_s = 0
    for number in range(outage_count(ctx) - 1, -1, -1):
        outage = outage_of(ctx, number)
        if outage.until <= product.ends:
            break
        lost_s += outage.until - max(product.ends, outage.since)
    return product._replace(metered_by=product.metered_by + lost_s, final_at=product.final_at + lost_s)


def outage_count(ctx: Context) -> int:
    """How many outages there have been."""
    return cast("int | None", ctx.get(_OUTAGES)) or 0


def outage_of(ctx: Context, number: int) -> Outage:
    """The outage ``number``, which there was."""
    return Outage(*cast("Outage", ctx.get(key(_OUTAGES, number))))


def _notice(ctx: Context) -> None:
    outage_s = market_products.settings_of(ctx).outage_s
    if ctx.time - ctx.previous_time <= outage_s:
        return
    firsts = [market_calendar.first(ctx, table) for table in (MARKET, SETTLEMENT)]
    due = [entry.time for entry in firsts if entry is not None]
    if not due or ctx.time - min(due) <= outage_s:
        return
    since = max(min(due), ctx.previous_time)
    number = outage_count(ctx)
    ctx.put(key(_OUTAGES, number), (since, ctx.time, ctx.height))
    ctx.put(_OUTAGES, number + 1)
    _put_moves(ctx, (*_moves(ctx), (since, ctx.time, b"")))
    ctx.emit("outage", (), (since, ctx.time))


def _move(ctx: Context, since: int, until: int, before: bytes) -> bytes | None:
    """Move entries of settlement's calendar from the latest to the earliest, so that none is met twice: the key before
    which to go on, or None at the end."""
    found = market_calendar.last(ctx, SETTLEMENT, (METERED, FINAL), before, MOVES_PER_BLOCK)
    for _, entry in found:
        _give_back(ctx, entry, since, until - since)
    return found[-1][0] if len(found) == MOVES_PER_BLOCK else None


def _give_back(ctx: Context, entry: Entry, since: int, lost_s: int) -> None:
    failure = ctx.attempt(lambda: _move_later(ctx, entry, since, lost_s))
    if failure is not None:
        market_trading.park(ctx, f"outage {entry.slot}", failure)


def _move_later(ctx: Context, entry: Entry, since: int, lost_s: int) -> None:
    product = market_products.require(ctx, entry.slot)
    if entry.kind == METERED and entry.time <= since:
        # Its metering window had ended: it is being settled. What it has left for disputes is given back.
        market_products.put(ctx, entry.slot, product._replace(final_at=product.final_at + lost_s))
        return
    if entry.time <= since:
        return
    metered_by = product.metered_by + lost_s if entry.kind == METERED else product.metered_by
    market_products.put(ctx, entry.slot, product._replace(metered_by=metered_by, final_at=product.final_at + lost_s))
    market_calendar.remove(ctx, SETTLEMENT, entry.time, entry.kind, entry.slot)
    market_calendar.put(ctx, SETTLEMENT, entry._replace(time=entry.time + lost_s))


def _moves(ctx: Context) -> tuple[_Move, ...]:
    return cast("tuple[_Move, ...]", ctx.get(_MOVES) or ())


def _put_moves(ctx: Context, moves: tuple[_Move, ...]) -> None:
    if moves:
        ctx.put(_MOVES, moves)
    else:
        ctx.delete(_MOVES)
