"""Shares between the devices of one network: who can help, how much, and the record of it.

When a device cannot pay, donors are asked by the owner's policy: rank, then the largest spare, then id. Each gives up
to its spare, several needs on one donor share pro rata (largest remainder).

    spare = available - need - floor
    need  = the largest of forecast, use so far and allocation, each pro rata of the rest of the period, rounded up

A device that needs help itself, or received some in this slot, is not asked. Nobody is asked for more than the
counters *lent* and *borrowed* have room for; shares by hand fill them to ``MAX_BY_HAND`` only.

State: ``bud-share/`` network NUL period(4) -> count; ``bud-share/`` network NUL period(4) index(4) -> Share.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from chaincode import (
    accounts,
    budget_alerts,
    budget_calendar,
    budget_paid,
    budget_policy,
    budget_state,
    identity,
    slots,
)
from chaincode.apportion import apportion
from chaincode.contract import MAX_AMOUNT, Context, ContractError

POOL: Final = ""
"""The giver of a share that the network's own pool paid."""
OTHER: Final = "@"
"""Before the name of a network: the giver of a share that the pool of another network paid."""

ORDER: Final = "order"
BY_HAND: Final = "by-hand"
GRANT: Final = "grant"
OWNER: Final = "owner"

MAX_BY_HAND: Final = 2**62
"""Shares by hand stop where they would take *lent* or *borrowed* past it: money that an owner moves in circles must
leave room for the automatic shares, whose failure would be the settlement's."""

_SHARES: Final = b"bud-share/"


class Share(NamedTuple):
    """``giver`` paid ``amount`` for ``receiver``; ``returned``: what came back unspent; ``reference``: the hold or
    charge that it served, empty if the owner shared by hand; ``slot``: when; ``tx_id``: the transaction or block hook.

    ``giver``: a device, POOL, or OTHER and the name of a network. ``why``: ORDER, BY_HAND, GRANT, or the reason of the
    charge: "retail", "internal", "correction". ``rule``: by what the giver was the one to pay: "rank 3" of a device,
    "pool", "agreement 7" of a network, "request 4" that was granted, OWNER by hand.
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


class Need(NamedTuple):
    """``device`` is short of ``amount`` base units for the hold or charge ``reference``."""

    reference: bytes
    device: str
    amount: int


class Gift(NamedTuple):
    """A giver's part in one need; ``giver``: as in a Share; ``record``: its number among the network's shares."""

    giver: str
    amount: int
    record: int


class Spare(NamedTuple):
    """What ``device`` can give; ``rank``: its place in the owner's policy."""

    device: str
    amount: int
    rank: int


def spare_of(ctx: Context, device: str, period: int) -> int:
    """What ``device`` has above its need for the rest of ``period`` and its floor; at least 0."""
    book = accounts.device_book(ctx, device, period)
    floor = budget_policy.donor_of(ctx, device).floor
    watch = budget_alerts.watch_of(ctx, device, period)
    network = identity.device_of(ctx, device).network
    first, end = budget_calendar.slots_of(ctx, network, period)
    rest = budget_state.rest_of(ctx, network, period)
    by_plan = _ceil(max(watch.forecast, book.allocated) * rest, end - first)
    by_use = _ceil(watch.used * rest, watch.last_slot - first + 1) if watch.last_slot >= first else 0
    return max(0, book.available - max(by_plan, by_use) - floor)


def spares(ctx: Context, network: str, period: int, needy: Sequence[str]) -> list[Spare]:
    """Who of ``network`` can give, in the order of asking, without the devices ``needy``.

    Nobody can, if all that they have might take what one of the needy has borrowed past 63 bits.
    """
    now = slots.current(ctx)
    found = []
    for device in identity.devices_of(ctx, network):
        book = accounts.device_book(ctx, device, period)
        donor = budget_policy.donor_of(ctx, device)
        if device in needy or not donor.gives or book.received_slot >= now or book.available == 0:
            continue
        amount = min(spare_of(ctx, device, period), MAX_AMOUNT - book.lent)
        if amount:
            found.append((donor.rank, -amount, device))
    in_reach = -sum([minus for _, minus, _ in found])
    most = max([accounts.device_book(ctx, device, period).borrowed for device in needy], default=0)
    if most > MAX_AMOUNT - in_reach:
        return []
    return [Spare(device, -minus, rank) for rank, minus, device in sorted(found)]


def give(
    ctx: Context, network: str, period: int, needs: Sequence[Need], donors: Sequence[Spare], why: str
) -> list[list[Gift]]:
    """Let ``donors`` fill ``needs`` as far as they can; the gifts to each need, in the order given.

    Moves the money to the receivers' available, records every share, raises the alerts.
    """
    missing = [need.amount for need in needs]
    gifts: list[list[Gift]] = [[] for _ in needs]
    for donor in donors:
        wanted = sum(missing)
        if wanted == 0:
            break
        before = accounts.device_book(ctx, donor.device, period)
        parts = missing
        if donor.amount < wanted:
            parts = apportion(donor.amount, missing, [(need.device, need.reference) for need in needs])
        for number, (need, part) in enumerate(zip(needs, parts, strict=True)):
            if part:
                rule = f"rank {donor.rank}"
                index = lend(ctx, network, donor.device, need.device, period, part, need.reference, why, rule)
                gifts[number].append(Gift(donor.device, part, index))
        missing = [lack - part for lack, part in zip(missing, parts, strict=True)]
        budget_state.note_change(ctx, donor.device, period, before)
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
    """Move and record one share; the index of its record. Raises ContractError: bad-amount, insufficient-funds."""
    slot = slots.current(ctx)
    accounts.lend(ctx, giver, receiver, period, amount, slot, reference or ctx.tx_id)
    return record(ctx, network, period, Share(giver, receiver, amount, 0, reference, slot, ctx.tx_id, why, rule))


def record(ctx: Context, network: str, period: int, share: Share) -> int:
    """Enter ``share`` into the network's list of ``period``; its index."""
    start = _start(network, period)
    index = cast("int | None", ctx.get(start)) or 0
    ctx.put(start + index.to_bytes(4, "big"), tuple(share))
    ctx.put(start, index + 1)
    keys = (share.giver.removeprefix(OTHER) or network, share.receiver)
    ctx.emit("shared", keys, (period, share.amount, share.reference, share.why, share.rule))
    if share.receiver != POOL:
        _note_paid(ctx, period, share, share.amount)
        if _is_news(ctx, network, period, share):
            budget_alerts.note_share(ctx, share.receiver, period, index, share.amount, share.reference)
    return index


def take_back(ctx: Context, receiver: str, period: int, gift: Gift, amount: int, reference: bytes) -> None:
    """Give ``amount`` of ``gift`` back to its donor out of the receiver's reserved."""
    network = identity.device_of(ctx, receiver).network
    before = accounts.device_book(ctx, gift.giver, period)
    accounts.give_back(ctx, receiver, gift.giver, period, amount, reference)
    key = _start(network, period) + gift.record.to_bytes(4, "big")
    share = Share(*cast("Share", ctx.get(key)))
    ctx.put(key, tuple(share._replace(returned=share.returned + amount)))
    _note_paid(ctx, period, share, -amount)
    budget_state.note_change(ctx, gift.giver, period, before)


def shares_of(ctx: Context, network: str, period: int, first: int, most: int) -> tuple[Share, ...]:
    """The shares within ``network`` in ``period`` from number ``first`` on, oldest first, at most ``most``."""
    start = _start(network, period)
    end = min(cast("int | None", ctx.get(start)) or 0, first + most)
    return tuple([Share(*cast("Share", ctx.get(start + index.to_bytes(4, "big")))) for index in range(first, end)])


def _note_paid(ctx: Context, period: int, share: Share, amount: int) -> None:
    """``amount`` of ``share`` was given, or came back (negative). What pool or networks give is allocated, but for what
    the pool pays of a charge, which passes the device by."""
    budget_paid.note(ctx, share.receiver, period, share.giver, amount)
    if share.giver.startswith(OTHER) or (share.giver == POOL and share.why in (ORDER, GRANT)):
        budget_alerts.note_top_up(ctx, share.receiver, period, amount)


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
    return identity.network_of(ctx, other).owner_key != identity.network_of(ctx, network).owner_key


def _start(network: str, period: int) -> bytes:
    return _SHARES + network.encode() + b"\0" + period.to_bytes(4, "big")


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
