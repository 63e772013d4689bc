"""Closing billing periods: what is left of a network's budget moves on, in bounded calendar work.

When all slots of a period are over, network after network is closed: what its devices still have available goes back
into the pool; debts are paid; of the rest the owner's policy says how much is carried over (``budget_lots``) into the
next period, or if that is over by then the one that runs, and whether what is left then is returned to the utility,
redeemed at its price, or sold under an agreement; what nobody redeems or buys is returned. What a company holds itself
is carried over whole.

Nothing is looked for at every slot. At the end of a period the calendar that has it is *due*: then all its networks are
looked at, some in a block, and those that had money in a period that is over are queued, in order of the period's end.
A block closes as many as its work goes. Each network is a unit by itself: one that fails is parked
(``settlement_parking``), and when it is released it is queued again. Closing a period that is closed moves what has
come there since, and nothing else. If orders of a slot that was struck out still hold money the rest is moved, and the
period is parked as well: when they are cancelled, and it is released, it moves what they held.

State: table ``period-due/``: end slot(8) scope (``budget_calendar``; empty: the consortium's) -> index of the network
at which to go on; table ``period-queue/``: end slot(8) kind NUL owner NUL period(4) -> True; ``period-work/`` -> (time
of the entry in settlement's calendar, first slot that is not over), while there is work.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from chaincode import (
    account_books,
    accounts,
    budget_alerts,
    budget_calendar,
    budget_charge,
    budget_closed,
    budget_lots,
    budget_policy,
    budget_state,
    budget_supply,
    identity,
    market_calendar,
    sales,
    settlement_parking,
    slots,
)
from chaincode.budget_closed import CLOSED, PARKED, QUEUED, Closing
from chaincode.budget_lots import Lot
from chaincode.contract import Context, ContractError
from chaincode.keys import text, uint
from chaincode.market_calendar import PERIOD, SETTLEMENT, Entry
from chaincode.settlement_parking import Unit

COMPANY: Final = "company"
POOL: Final = "pool"

NETWORKS_LOOKED_AT: Final = 50
"""At one time, for money in periods that are over."""
NETWORKS_OF_WORK: Final = 10
"""To look at so many takes as long as to settle one device."""
DEVICES_OF_WORK: Final = 2
"""To close so many devices takes as long as to settle one."""
CLOSE_WORK: Final = 2
"""What a network's close counts besides."""

DUE: Final = b"period-due/"
QUEUE: Final = b"period-queue/"
_WORK: Final = b"period-work/"


class _Queued(NamedTuple):
    """A period of a network or company (``kind``, ``owner``) that is to be closed; ``end``: the slot after its last."""

    end: int
    kind: str
    owner: str
    period: int


def note_end(ctx: Context, end: int, scope: bytes) -> None:
    """A period of the calendar of ``scope`` ends before slot ``end``: then its networks are looked at."""
    ctx.put(DUE + uint(end) + scope, 0)


def note_calendar(ctx: Context, scope: bytes, slot: int) -> None:
    """``scope`` has got a calendar of its own; the first slot that is not over is ``slot``."""
    note_end(ctx, _end_at(ctx, scope, slot), scope)


def look(ctx: Context, slot: int) -> None:
    """The first slot that is not over is ``slot`` now: see whether there are periods to be closed."""
    due = next(ctx.scan(DUE), None)
    if due is not None and _end_of(due[0], DUE) <= slot:
        _schedule(ctx, slot)


def go_on(ctx: Context, entry: Entry, work: int) -> int:
    """Close what is queued, and queue what is due, as far as ``work`` devices go; the work that it took."""
    slot, done = cast("int", entry.cursor), 0
    while done < work:
        queued = next(ctx.scan(QUEUE), None)
        if queued is not None:
            done += _close_apart(ctx, _queued(queued[0]))
            continue
        due = next(ctx.scan(DUE), None)
        if due is None or _end_of(due[0], DUE) > slot:
            market_calendar.remove(ctx, SETTLEMENT, entry.time, PERIOD, 0)
            ctx.delete(_WORK)
            return done
        done += 1 + _look_at_networks(ctx, due[0], cast("int", due[1]), slot)
    return done


def release(ctx: Context, kind: str, owner: str, period: int, slot: int) -> None:
    """Queue a period that could not be closed, or a network that could not even be looked at (period -1). ``slot``: the
    last of the period.
    """
    if period < 0:
        _queue_over(ctx, kind, owner, slot + 1)
    else:
        _put(ctx, _Queued(slot + 1, kind, owner, period))
    _schedule(ctx, slot + 1)


def _schedule(ctx: Context, slot: int) -> None:
    """See to it that the calendar has an entry, and knows how far slots are over."""
    time, known = cast("tuple[int, int]", ctx.get(_WORK) or (ctx.time, slot))
    ctx.put(_WORK, (time, max(known, slot)))
    market_calendar.put(ctx, SETTLEMENT, Entry(time, PERIOD, 0, max(known, slot)))


def _look_at_networks(ctx: Context, key: bytes, index: int, slot: int) -> int:
    """Queue what some networks of a calendar have to close; after the last ones note when it is due next. The work."""
    scope = key[len(DUE) + 8 :]
    networks = _networks_of(ctx, scope, index)
    work = len(networks) // NETWORKS_OF_WORK
    for network in networks:
        work += _look_at(ctx, POOL, network, slot)
        work += _look_at(ctx, COMPANY, identity.network_of(ctx, network).member, slot)
    if len(networks) == NETWORKS_LOOKED_AT:
        ctx.put(key, index + NETWORKS_LOOKED_AT)
        return work
    ctx.delete(key)
    if scope:
        note_end(ctx, _end_at(ctx, scope, slot), scope)
    return work


def _networks_of(ctx: Context, scope: bytes, first: int) -> Sequence[str]:
    kind, _, owner = scope.partition(b"\0")
    if kind == b"network":
        return (owner.decode(),)
    if kind == b"company":
        return identity.networks_of_member(ctx, owner.decode(), first, NETWORKS_LOOKED_AT)
    return identity.networks_of(ctx, first, NETWORKS_LOOKED_AT)


def _look_at(ctx: Context, kind: str, owner: str, slot: int) -> int:
    """Queue what is over, or park the unit; the work of that."""
    failure = ctx.attempt(lambda: _queue_over(ctx, kind, owner, slot))
    if failure is None:
        return 0
    return settlement_parking.park(ctx, _unit(kind, owner, -1, slot - 1), failure)


def _queue_over(ctx: Context, kind: str, owner: str, slot: int) -> None:
    """Queue all periods of a network or company that are over before ``slot``, and had money, and are not queued yet.
    From now on nothing is settled into them.
    """
    scope = _scope_of(ctx, kind, owner)
    running = budget_calendar.scope_period(ctx, scope, slot)
    first = budget_closed.settled_before(ctx, kind, owner)
    if running <= first:
        return
    for period in account_books.periods_of(ctx, kind, owner, first, running):
        _put(ctx, _Queued(budget_calendar.scope_slots(ctx, scope, period)[1], kind, owner, period))
    budget_closed.set_settled_before(ctx, kind, owner, running)


def _close_apart(ctx: Context, queued: _Queued) -> int:
    """Close a period of one network, or park it; the work."""
    end, kind, owner, period = queued
    ctx.delete(_queue_key(queued))
    took: list[tuple[int, int]] = []
    failure = ctx.attempt(lambda: took.append(_close(ctx, queued)))
    if failure is None:
        work, held = took[0]
        if not held:
            return work
        failure = ContractError("orders-open", f"orders hold {held}")
    closing = budget_closed.closing_of(ctx, kind, owner, period) or Closing()
    budget_closed.put_closing(ctx, kind, owner, period, closing._replace(state=PARKED))
    return settlement_parking.park(ctx, _unit(kind, owner, period, end - 1), failure)


def _close(ctx: Context, queued: _Queued) -> tuple[int, int]:
    """Move what is left in a period; the work, and what holds keep there."""
    end, kind, owner, period = queued
    before = budget_closed.closing_of(ctx, kind, owner, period) or Closing()
    reference = b"close " + uint(end)
    if kind == COMPANY:
        devices, held, moved = 0, 0, Closing(carried=accounts.company_book(ctx, owner, period).pool)
    else:
        devices, held, moved = _empty_network(ctx, owner, period, reference)
    into = _next_period(ctx, kind, owner, period)
    if moved.carried:
        accounts.give(ctx, f"{kind}:{owner}:{period}", f"{kind}:{owner}:{into}", moved.carried, "carry", reference)
    sums = [one + more for one, more in zip(before[1:-1], moved[1:-1], strict=True)]
    budget_closed.put_closing(ctx, kind, owner, period, Closing(CLOSED, *sums)._replace(height=ctx.height))
    ctx.emit("period-closed", (owner,), (kind, period, *moved[1:-1], into))
    return CLOSE_WORK + devices // DEVICES_OF_WORK, held


def _next_period(ctx: Context, kind: str, owner: str, period: int) -> int:
    """Where the carry-over of a period goes: into the next one, or the one that runs if that is over by now."""
    running = budget_calendar.scope_period(ctx, _scope_of(ctx, kind, owner), slots.current(ctx))
    return max(period + 1, running)


def _empty_network(ctx: Context, network: str, period: int, reference: bytes) -> tuple[int, int, Closing]:
    """Collect, pay debts, and give the rest away as the policy says; (devices looked at, what holds keep, what was
    moved). What is to be carried over is left in the pool.
    """
    devices = identity.devices_of(ctx, network)
    collected = [_collect(ctx, device, network, period, reference) for device in devices]
    had, held = [amount for amount, _ in collected], sum([reserved for _, reserved in collected])
    owed = _pay_debts(ctx, network, period, reference)
    book = accounts.network_book(ctx, network, period)
    policy = budget_policy.policy_of(ctx, network)
    fresh = Lot(period, 0, book.issued + book.received + book.earned)
    parts = budget_lots.left(budget_lots.lots_of(ctx, network, period), fresh, book.pool)
    into = _next_period(ctx, POOL, network, period)
    cap = max(0, policy.carry_cap - accounts.network_book(ctx, network, into).carried_in)
    carried = budget_lots.kept(parts, cap, policy.carry_periods)
    budget_lots.forget(ctx, network, period)
    budget_lots.add(ctx, network, into, carried)
    whole = sum([lot.amount for lot in carried])
    returned, redeemed, sold = _give_away(ctx, network, period, book.pool - whole, policy.excess, reference)
    moved = Closing("", sum([amount > 0 for amount in had]), sum(had), owed, whole, returned, redeemed, sold)
    return len(devices), held, moved


def _collect(ctx: Context, device: str, network: str, period: int, reference: bytes) -> tuple[int, int]:
    """What a device still has goes into the pool; how much, and what its holds keep."""
    book = accounts.device_book(ctx, device, period)
    if book.available:
        accounts.withdraw(ctx, device, network, period, book.available, "close", reference)
        budget_alerts.note_by_rule(ctx, device, period, -book.available)
    return book.available, book.reserved


def _pay_debts(ctx: Context, network: str, period: int, reference: bytes) -> int:
    """Pay what the network owes as far as the pool goes; how much."""
    before = accounts.network_book(ctx, network, period).pool
    pool = before
    while pool and budget_state.debt_of(ctx, network):
        budget_charge.pay_owed(ctx, network, period, reference)
        pool = accounts.network_book(ctx, network, period).pool
    return before - pool


def _give_away(
    ctx: Context, network: str, period: int, amount: int, excess: str, reference: bytes
) -> tuple[int, int, int]:
    """What is not carried over: (returned, redeemed, sold)."""
    redeemed = sold = 0
    if amount and excess == budget_policy.REDEEM:
        redeemed = budget_supply.redeem_at_close(ctx, network, period, amount, reference)
    elif amount and excess == budget_policy.SELL:
        sold = sales.at_close(ctx, network, period, amount)
    returned = amount - redeemed - sold
    if returned:
        accounts.transfer(ctx, f"pool:{network}:{period}", accounts.UTILITY, returned, "return", reference)
    return returned, redeemed, sold


def _put(ctx: Context, queued: _Queued) -> None:
    _, kind, owner, period = queued
    closing = budget_closed.closing_of(ctx, kind, owner, period) or Closing()
    budget_closed.put_closing(ctx, kind, owner, period, closing._replace(state=QUEUED))
    ctx.put(_queue_key(queued), True)


def _queue_key(queued: _Queued) -> bytes:
    end, kind, owner, period = queued
    return QUEUE + uint(end) + text(kind) + text(owner) + uint(period, 4)


def _queued(key: bytes) -> _Queued:
    kind, owner, _ = key[len(QUEUE) + 8 :].split(b"\0", 2)
    return _Queued(_end_of(key, QUEUE), kind.decode(), owner.decode(), int.from_bytes(key[-4:], "big"))


def _end_of(key: bytes, table: bytes) -> int:
    return int.from_bytes(key[len(table) : len(table) + 8], "big")


def _end_at(ctx: Context, scope: bytes, slot: int) -> int:
    """The end of the period of that calendar in which ``slot`` lies."""
    return budget_calendar.scope_slots(ctx, scope, budget_calendar.scope_period(ctx, scope, slot))[1]


def _scope_of(ctx: Context, kind: str, owner: str) -> bytes:
    """Whose calendar a network, or a company, has."""
    if kind == POOL:
        return budget_calendar.scope_of(ctx, owner)
    scope = budget_calendar.company_scope(owner)
    return scope if budget_calendar.is_made(ctx, scope) else b""


def _unit(kind: str, owner: str, period: int, slot: int) -> Unit:
    return Unit(settlement_parking.PERIOD, owner if kind == POOL else "", slot, (kind, owner, period))
