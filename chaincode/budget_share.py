"""Shares within a network: who can help, the giving, and the record of it.

When devices cannot pay, others are asked, each for what it can spare at most (``budget_division``: who gives to whom):

1. devices of the network, by the owner's policy: rank, then the largest spare, then id; the first MAX_DONORS of them;

       spare = available - need - floor
       need  = the largest of forecast, use so far and allocation, each pro rata of the rest of the period, rounded up

2. the network's pool, for an order only if the policy says so, down to the pool's floor; or all of it, if others come
   after it;
3. other networks under automatic agreements (``budget_outside``), the first MAX_HELPERS of them; for an order only if
   the network owes nothing.

A device that needs help itself, or received some in this slot, is not asked, so that what is given goes round in no
circle. Nobody is asked for more than the counters of a book have room for; shares by hand fill them to ``MAX_BY_HAND``
only.

State: ``bud-share/`` network NUL period(4) -> count; ``bud-share/`` network NUL period(4) index(4) -> Share.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, cast

from chaincode import (
    account_books,
    accounts,
    budget_alerts,
    budget_calendar,
    budget_outside,
    budget_paid,
    budget_policy,
    budget_state,
    identity,
    roles,
    slots,
)
from chaincode.accounts import DeviceBook
from chaincode.budget_division import Need, divide
from chaincode.budget_outside import Helper
from chaincode.contract import MAX_AMOUNT, Context, ContractError

POOL: Final = ""
"""The giver of a share that the network's own pool paid."""
OTHER: Final = "@"
"""Before the name of a network: the giver of a share that the pool of another network paid."""

ORDER: Final = "order"
BY_HAND: Final = "by-hand"
GRANT: Final = "grant"
OWNER: Final = "owner"

MAX_DONORS: Final = 104
"""Devices that are asked at one time."""
MAX_HELPERS: Final = 15
"""Networks that are asked at one time. With as many givers as all these, and the pool, in one hold, and those of shares
that are secured (``budget_secured``), what a transaction tells that releases it stays within what one may tell."""
MAX_BY_HAND: Final = 2**62
"""Shares by hand stop where they would take *lent* or *borrowed* past it: money that an owner moves in circles must
leave room for the automatic shares, whose failure would be the settlement's."""

_SHARES: Final = b"bud-share/"


class Share(NamedTuple):
    """``giver`` paid ``amount`` for ``receiver``; ``returned``: what came back unspent; ``reference``: the hold or
    charge that it served, empty if the owner shared by hand; ``slot``: when; ``tx_id``: the transaction or block hook.

    ``giver``: a device, POOL, or OTHER and the name of a network; ``receiver``: a device, or POOL.
    ``why``: ORDER, BY_HAND, GRANT, or the reason of the charge: "retail", "internal", "correction". ``rule``: by what
    the giver was the one to pay: "rank 3" of a device, "pool", "agreement 7" of a network, "request 4" that was
    granted, OWNER by hand.
    """

    giver: str
    receiver: str
    amount: int
    returned: int
    reference: bytes
    slot: int
    tx_id: bytes
    why: str
    rule: str


class Gift(NamedTuple):
    """A giver's part in one need; ``giver``: as in a Share; ``record``: its number among the network's shares. In a
    hold: what is there of it, unspent; 0 if it is spent, has come back, or is secured elsewhere (``budget_secured``).
    """

    giver: str
    amount: int
    record: int


class Spare(NamedTuple):
    """What ``giver`` (as in a Share) can give, and by which ``rule``; ``helper``: what is known of another network."""

    giver: str
    amount: int
    rule: str
    helper: Helper | None = None


def spares(ctx: Context, network: str, period: int, needy: Mapping[str, object]) -> list[Spare]:
    """Which devices of ``network`` can give, in the order of asking, without the devices ``needy``.

    Nobody can, if all that they have might take what one of the needy has borrowed past 63 bits.
    """
    now = slots.current(ctx)
    first, end = budget_calendar.slots_of(ctx, network, period)
    rest = budget_state.rest_of(ctx, network, period)
    found = []
    for device in identity.devices_of(ctx, network):
        if device in needy:
            continue
        book = accounts.device_book(ctx, device, period)
        if book.available == 0 or book.received_slot >= now:
            continue
        donor = budget_policy.donor_of(ctx, device)
        if donor.gives:
            need = _need(ctx, device, period, book, (first, end, rest))
            amount = min(book.available - need - donor.floor, MAX_AMOUNT - book.lent)
            if amount > 0:
                found.append((donor.rank, -amount, device))
    asked = sorted(found)[:MAX_DONORS]
    in_reach = -sum([minus for _, minus, _ in asked])
    most = max([accounts.device_book(ctx, device, period).borrowed for device in needy], default=0)
    if most > MAX_AMOUNT - in_reach:
        return []
    return [Spare(device, -minus, f"rank {rank}") for rank, minus, device in asked]


def pool_spare(
    ctx: Context, network: str, period: int, needy: Mapping[str, object], whole: bool = False
) -> list[Spare]:
    """What the pool of ``network`` gives to orders of the devices ``needy``: what the policy says, nothing unless it
    says so; or, ``whole``, all that it has, since others are asked after it and do not pay for what it saves.
    """
    policy = budget_policy.policy_of(ctx, network)
    if not policy.pool_helps and not whole:
        return []
    book = accounts.network_book(ctx, network, period)
    allocated = [accounts.device_book(ctx, device, period).allocated for device in needy]
    floor = 0 if whole else policy.pool_floor
    amount = min(book.pool - floor, MAX_AMOUNT - max([book.allocated, *allocated]))
    return [Spare(POOL, amount, "pool")] if amount > 0 else []


def outside_spares(
    ctx: Context, network: str, period: int, needy: Mapping[str, object], without: Sequence[str] = ()
) -> list[Spare]:
    """What other networks can give to the devices ``needy``, in the order of asking, but for those in ``without``."""
    helpers = budget_outside.helpers(ctx, network, period, tuple(needy), without)
    return [
        Spare(OTHER + helper.network, helper.amount, budget_outside.rule_of(helper.agreement), helper)
        for helper in helpers[:MAX_HELPERS]
    ]


def give(
    ctx: Context, network: str, period: int, needs: Sequence[Need], givers: Sequence[Spare], why: str
) -> list[list[Gift]]:
    """Let ``givers`` fill ``needs`` as far as they can; the gifts to each need, in the order given.

    Moves the money to the receivers' available, records every share, raises the alerts of the receivers.
    """
    gifts: list[list[Gift]] = [[] for _ in needs]
    before: dict[str, DeviceBook] = {}
    for number, place, amount in divide([giver.amount for giver in givers], needs):
        giver, need = givers[number], needs[place]
        if _is_device(giver.giver) and giver.giver not in before:
            before[giver.giver] = accounts.device_book(ctx, giver.giver, period)
        index = _move(ctx, network, period, giver, need, amount, why)
        gifts[place].append(Gift(giver.giver, amount, index))
    for device, book in before.items():
        budget_state.note_change(ctx, device, period, book)
    return gifts


def require_room(ctx: Context, giver: str, receiver: str, period: int, amount: int) -> None:
    """Raises ContractError("bad-amount") if a share by hand would fill a counter that automatic shares need."""
    lent = accounts.device_book(ctx, giver, period).lent
    borrowed = accounts.device_book(ctx, receiver, period).borrowed
    if max(lent, borrowed) + amount > MAX_BY_HAND:
        raise ContractError("bad-amount", f"{giver} has lent {lent}, {receiver} borrowed {borrowed}", (lent, borrowed))


def lend(
    ctx: Context,
    network: str,
    giver: str,
    receiver: str,
    period: int,
    amount: int,
    reference: bytes,
    why: str,
    rule: str,
) -> int:
    """Move and record one share of a device; the index of its record.

    Raises ContractError: bad-amount, insufficient-funds.
    """
    slot = slots.current(ctx)
    accounts.lend(ctx, giver, receiver, period, amount, slot, reference or ctx.tx_id)
    return record(ctx, network, period, Share(giver, receiver, amount, 0, reference, slot, ctx.tx_id, why, rule))


def help_out(
    ctx: Context, network: str, receiver: str, period: int, amount: int, reference: bytes, why: str, rule: str
) -> int:
    """Move and record one share of the network's pool to a device, which counts as allocated; the index of its record.

    Raises ContractError: bad-amount, insufficient-funds.
    """
    slot = slots.current(ctx)
    names = f"pool:{network}:{period}", f"device:{receiver}:{period}"
    accounts.transfer(ctx, *names, amount, "share", reference or ctx.tx_id)
    book = accounts.device_book(ctx, receiver, period)
    account_books.put_device(ctx, receiver, period, book._replace(received_slot=max(book.received_slot, slot)))
    return record(ctx, network, period, Share(POOL, receiver, amount, 0, reference, slot, ctx.tx_id, why, rule))


def record(ctx: Context, network: str, period: int, share: Share) -> int:
    """Enter ``share`` into the network's list of ``period``; its index."""
    start = _start(network, period)
    index = cast("int | None", ctx.get(start)) or 0
    ctx.put(start + index.to_bytes(4, "big"), tuple(share))
    ctx.put(start, index + 1)
    keys = (share.giver.removeprefix(OTHER) or network, share.receiver or network)
    ctx.emit("shared", keys, (period, share.amount, share.reference, share.why, share.rule))
    if share.receiver != POOL:
        _note_paid(ctx, period, share, share.amount)
        if _is_news(ctx, network, period, share):
            budget_alerts.note_share(ctx, share.receiver, period, index, share.amount, share.reference)
    return index


def take_back(
    ctx: Context, receiver: str, period: int, giver: str, parts: Sequence[tuple[int, int]], reference: bytes
) -> None:
    """Give parts of shares, (number of the share, amount) each, back to their ``giver`` out of the receiver's reserved.

    All are by one rule, and either for orders or for charges.
    """
    network = identity.device_of(ctx, receiver).network
    amount = sum([part for _, part in parts])
    number = parts[0][0]
    share = share_of(ctx, network, period, number)
    if giver == POOL and share.why != ORDER:
        to_pool(ctx, receiver, period, amount, reference)  # the pool has spent it, the device was allocated nothing
    elif giver == POOL:
        before = accounts.device_book(ctx, receiver, period)
        accounts.ungive(ctx, receiver, period, f"pool:{network}:{period}", network, amount, reference)
        budget_state.note_change(ctx, receiver, period, before)
    elif giver.startswith(OTHER):
        budget_outside.send_back(ctx, receiver, period, number, amount, reference)
    else:
        before = accounts.device_book(ctx, giver, period)
        accounts.give_back(ctx, receiver, giver, period, amount, reference)
        budget_state.note_change(ctx, giver, period, before)
    _note_paid(ctx, period, share, -amount)
    for index, part in parts:
        share = share_of(ctx, network, period, index)
        share = share._replace(returned=share.returned + part)
        ctx.put(_start(network, period) + index.to_bytes(4, "big"), tuple(share))


def to_pool(ctx: Context, device: str, period: int, amount: int, reference: bytes) -> None:
    """``amount`` of the device's own reserved goes to its network's pool, counted as withdrawn."""
    network = identity.device_of(ctx, device).network
    before = accounts.device_book(ctx, device, period)
    accounts.unhold(ctx, device, period, amount, reference, free=True)
    accounts.withdraw(ctx, device, network, period, amount, "give-back", reference)
    budget_state.note_change(ctx, device, period, before)


def share_of(ctx: Context, network: str, period: int, index: int) -> Share:
    """The share with this number, which is there."""
    return Share(*cast("Share", ctx.get(_start(network, period) + index.to_bytes(4, "big"))))


def shares_of(ctx: Context, network: str, period: int, first: int, most: int) -> tuple[Share, ...]:
    """The shares within ``network`` in ``period`` from number ``first`` on, oldest first, at most ``most``."""
    start = _start(network, period)
    end = min(count_of(ctx, network, period), first + most)
    return tuple([Share(*cast("Share", ctx.get(start + index.to_bytes(4, "big")))) for index in range(first, end)])


def count_of(ctx: Context, network: str, period: int) -> int:
    """How many shares there have been within ``network`` in ``period``."""
    return cast("int | None", ctx.get(_start(network, period))) or 0


def _note_paid(ctx: Context, period: int, share: Share, amount: int) -> None:
    """``amount`` of ``share`` was given, or came back (negative). What pool or networks give is allocated, but for what
    the pool pays of a charge, which passes the device by."""
    budget_paid.note(ctx, share.receiver, period, share.giver, amount)
    if share.giver.startswith(OTHER) or (share.giver == POOL and share.why in (ORDER, GRANT)):
        budget_alerts.note_by_rule(ctx, share.receiver, period, amount)


def _is_news(ctx: Context, network: str, period: int, share: Share) -> bool:
    """Whether the owner is alerted that others paid. What an owner moves by hand, or grants, within its own networks
    it knows; and a device that was allocated nothing lives off the pool on purpose.
    """
    if share.why not in (BY_HAND, GRANT):
        return share.giver != POOL or budget_alerts.has_budget(ctx, share.receiver, period)
    giver = share.giver
    if giver == POOL:
        return False
    other = giver.removeprefix(OTHER) if giver.startswith(OTHER) else identity.device_of(ctx, giver).network
    owner = identity.network_of(ctx, network).owner_key
    return owner == roles.NO_KEY or identity.network_of(ctx, other).owner_key != owner


def _move(ctx: Context, network: str, period: int, giver: Spare, need: Need, amount: int, why: str) -> int:
    """One part of a gift; the index of its record."""
    to = need.device
    if giver.helper is not None:
        share = Share(giver.giver, to, amount, 0, need.reference, slots.current(ctx), ctx.tx_id, why, giver.rule)
        index = record(ctx, network, period, share)
        budget_outside.bring(ctx, giver.helper, network, to, period, amount, need.reference, index)
        return index
    if giver.giver == POOL:
        return help_out(ctx, network, to, period, amount, need.reference, why, giver.rule)
    return lend(ctx, network, giver.giver, to, period, amount, need.reference, why, giver.rule)


def _need(ctx: Context, device: str, period: int, book: DeviceBook, bounds: tuple[int, int, int]) -> int:
    """What a device is going to need for the rest of a period; ``bounds``: its first slot, its end, the slots left."""
    first, end, rest = bounds
    watch = budget_alerts.watch_of(ctx, device, period)
    allocated = max(0, book.allocated - book.withdrawn)
    by_plan = _ceil(max(watch.forecast, allocated) * rest, end - first)
    by_use = _ceil(watch.used * rest, watch.last_slot - first + 1) if watch.last_slot >= first else 0
    return max(by_plan, by_use)


def _is_device(giver: str) -> bool:
    return giver != POOL and not giver.startswith(OTHER)


def _start(network: str, period: int) -> bytes:
    return _SHARES + network.encode() + b"\0" + period.to_bytes(4, "big")


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
