"""Shares secured on what a device holds: own money hidden in orders is no reason to be helped.

A device whose own money lies in holds may be short of available, and is helped. But what it takes out of these holds
later goes to its givers before it is its own again: money comes free when an order is cancelled, expires, is replaced
or filled for less; and however it does, the device's own part of it goes first to the givers of *secured* shares, the
last ones first, each to where it came from. Without that, orders that never clear would let others pay.

- Secured is a share that others make by the rules, for an order or a charge, up to what the device has of its own in
  other holds that is not claimed yet. What owners share by hand or grant is not.
- What is secured on a hold's money is not also a gift in the hold that it was for: that has so much of the device's
  own instead. So each giver has one claim, and it does not matter which of the holds comes back first.
- Other networks, which are asked last, come first: where there is too little to secure what they give, they take the
  place of the device's own network, whose shares become gifts in the new hold (or, after a charge, are for good). So
  nobody's own donors are repaid with what strangers should have.
- Held money that is spent secures nothing: what is left of the claims is never more than what is left in holds. A
  share is for good, and no loan on money that comes later.

``DeviceBook.claimed`` is what is claimed of a device's reserved: the gifts in its holds, and all that is secured. As
long as it is 0, nothing here is read.

Bounds: one release repays MAX_REPAID givers, a hold takes up MAX_DISPLACED; what is due to more of them goes to the
pool of their network. Who has MAX_SECURED shares secured is helped no more until some are settled; what its pool pays
of its charges then is secured as one sum (_REST).

State: ``bud-secured/`` device NUL period(4) kind(1) record(4) -> base units; kind: 1 of another network, else 0;
record: the share's number among those of the device's network.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias, cast

from chaincode import account_books, accounts, budget_policy, budget_share, identity
from chaincode.accounts import DeviceBook
from chaincode.budget_share import OTHER, POOL, Gift
from chaincode.contract import Context

MAX_SECURED: Final = 512
MAX_REPAID: Final = 20
MAX_DISPLACED: Final = 4
"""With as many gifts in one hold as ``budget_share`` allows, what a release tells stays within what one may tell."""

_SECURED: Final = b"bud-secured/"
_OF_ITS_OWN: Final = b"\0"
_OF_OTHERS: Final = b"\1"
_REST: Final = 2**32 - 1

Row: TypeAlias = tuple[int, int]
"""The number of a share, and base units of it."""


def room_of(ctx: Context, device: str, period: int) -> int | None:
    """How much ``device`` may still be given in ``period``; None: any amount."""
    if accounts.device_book(ctx, device, period).claimed and _is_full(ctx, device, period):
        return 0
    return budget_policy.room_of(ctx, device, period)


def hold_gifts(ctx: Context, device: str, period: int, gifts: Sequence[Gift], before: DeviceBook) -> tuple[Gift, ...]:
    """Secure what can be of ``gifts`` that are in a new hold, the last ones first; ``before``: the device's book before
    that hold.

    What is in the hold then: what others lose to a network that is secured in their stead, and these gifts, each with
    what is left in the hold of it: 0, if all of it is secured elsewhere.
    """
    if not gifts:
        return ()
    free = before.reserved - before.claimed
    kept: list[Gift] = []
    displaced: list[Row] = []
    for gift in reversed(gifts):
        part = min(gift.amount, free)
        free -= part
        rows = _displace(ctx, device, period, gift, gift.amount - part)
        displaced += rows
        part += _sum(rows)
        _secure(ctx, device, period, gift.giver, gift.record, part)
        kept.append(gift._replace(amount=gift.amount - part))
    claim(ctx, device, period, sum([gift.amount for gift in gifts]))
    return (*_as_gifts(ctx, device, period, displaced), *reversed(kept))


def secure(ctx: Context, device: str, period: int, gifts: Sequence[Gift]) -> None:
    """Secure what can be of ``gifts`` that have paid a charge, the last ones first."""
    book = accounts.device_book(ctx, device, period)
    if not book.reserved:
        return
    left = book.reserved - book.claimed
    is_full = book.claimed > 0 and _is_full(ctx, device, period)
    for gift in reversed(gifts):
        part = min(gift.amount, left)
        left -= part
        claim(ctx, device, period, part)
        part += _sum(_displace(ctx, device, period, gift, gift.amount - part))
        _secure(ctx, device, period, gift.giver, _REST if is_full else gift.record, part)


def spent(ctx: Context, device: str, period: int, gifts: Sequence[Gift], amount: int) -> None:
    """Something was paid out of a hold with these ``gifts``, ``amount`` of them: what secures nothing any more ends,
    that of shares for this hold first, then the oldest, other networks last.
    """
    claim(ctx, device, period, -amount)
    book = accounts.device_book(ctx, device, period)
    if book.claimed > book.reserved:
        over = book.claimed - book.reserved
        _take(ctx, device, period, over, _keys(device, period, gifts), newest=False)
        claim(ctx, device, period, -over)


def repay(ctx: Context, device: str, period: int, gifts: Sequence[Gift], amount: int, reference: bytes) -> int:
    """``amount`` of the device's own comes free from a hold with these ``gifts``: it goes to the givers of secured
    shares, first those for this hold, then other networks, then the newest. What is left of it for the device.
    """
    rows = _take(ctx, device, period, amount, _keys(device, period, gifts[::-1]), newest=True)
    if not rows:
        return amount
    network = identity.device_of(ctx, device).network
    of_giver: dict[tuple[str, str, str], list[Row]] = {}
    to_pool = 0
    for record, part in rows:
        if record == _REST:
            to_pool += part
        else:
            share = budget_share.share_of(ctx, network, period, record)
            of_giver.setdefault((share.giver, share.rule, share.why), []).append((record, part))
    groups = list(of_giver.items())
    if len(groups) > MAX_REPAID:
        groups.sort(key=lambda group: (not group[0][0].startswith(OTHER), -_sum(group[1])))
    for (giver, _, _), of_shares in groups[:MAX_REPAID]:
        budget_share.take_back(ctx, device, period, giver, of_shares, reference)
    to_pool += sum([_sum(of_shares) for _, of_shares in groups[MAX_REPAID:]])
    if to_pool:
        budget_share.to_pool(ctx, device, period, to_pool, reference)
    repaid = _sum(rows)
    claim(ctx, device, period, -repaid)
    return amount - repaid


def claim(ctx: Context, device: str, period: int, change: int) -> None:
    """So much more, or less, of what the device has reserved is others'."""
    if change:
        book = accounts.device_book(ctx, device, period)
        account_books.put_device(ctx, device, period, book._replace(claimed=book.claimed + change))


def take_back(ctx: Context, device: str, period: int, gift: Gift, amount: int, reference: bytes) -> None:
    """``amount`` of ``gift``, which is in a hold, goes back to its giver."""
    if gift.record == _REST:
        budget_share.to_pool(ctx, device, period, amount, reference)
    else:
        budget_share.take_back(ctx, device, period, gift.giver, ((gift.record, amount),), reference)
    claim(ctx, device, period, -amount)


def _secure(ctx: Context, device: str, period: int, giver: str, record: int, amount: int) -> None:
    if amount:
        key = _key(device, period, giver, record)
        ctx.put(key, (cast("int | None", ctx.get(key)) or 0) + amount)


def _displace(ctx: Context, device: str, period: int, gift: Gift, amount: int) -> list[Row]:
    """A gift of another network that finds no money to be secured on takes the place of the device's own network."""
    if not amount or not gift.giver.startswith(OTHER):
        return []
    return _take(ctx, device, period, amount, (), newest=True, kinds=_OF_ITS_OWN)


def _as_gifts(ctx: Context, device: str, period: int, rows: Sequence[Row]) -> list[Gift]:
    """Parts of its own network's shares as gifts in a hold: MAX_DISPLACED of devices, the largest, or of the pool where
    there is room; the others as one gift of the pool.
    """
    network = identity.device_of(ctx, device).network
    named = [
        Gift(POOL if record == _REST else budget_share.share_of(ctx, network, period, record).giver, part, record)
        for record, part in rows
    ]
    named.sort(key=lambda gift: (gift.record == _REST, gift.giver == POOL, -gift.amount, gift.record))
    gifts = [gift for gift in named[:MAX_DISPLACED] if gift.record != _REST]
    rest = sum([gift.amount for gift in named]) - sum([gift.amount for gift in gifts])
    return [*gifts, Gift(POOL, rest, _REST)] if rest else gifts


def _take(
    ctx: Context, device: str, period: int, amount: int, first: Sequence[bytes], newest: bool, kinds: bytes = b""
) -> list[Row]:
    """Take at most ``amount`` off what is secured: at the keys ``first``, then from the newest shares on, other
    networks' before all, or from the oldest on, other networks' last. ``kinds``: only of these givers.
    """
    taken: dict[bytes, Row] = {}  # what is secured, and how much of it is taken
    for key, secured in _secured(ctx, _start(device, period) + kinds, first, newest):
        if not amount:
            break
        if key not in taken:
            part = min(secured, amount)
            amount -= part
            taken[key] = secured, part
    for key, (secured, part) in taken.items():
        if part < secured:
            ctx.put(key, secured - part)
        else:
            ctx.delete(key)
    return [(int.from_bytes(key[-4:], "big"), part) for key, (_, part) in taken.items()]


def _secured(ctx: Context, start: bytes, first: Sequence[bytes], newest: bool) -> Iterator[tuple[bytes, int]]:
    for key in first:
        secured = cast("int | None", ctx.get(key))
        if secured:
            yield key, secured
    yield from cast("Iterator[tuple[bytes, int]]", ctx.scan(start, reverse=newest))


def _sum(rows: Sequence[Row]) -> int:
    return sum([part for _, part in rows])


def _is_full(ctx: Context, device: str, period: int) -> bool:
    return len(list(islice(ctx.scan(_start(device, period)), MAX_SECURED))) == MAX_SECURED


def _start(device: str, period: int) -> bytes:
    return _SECURED + device.encode() + b"\0" + period.to_bytes(4, "big")


def _key(device: str, period: int, giver: str, record: int) -> bytes:
    kind = _OF_OTHERS if giver.startswith(OTHER) else _OF_ITS_OWN
    return _start(device, period) + kind + record.to_bytes(4, "big")


def _keys(device: str, period: int, gifts: Sequence[Gift]) -> list[bytes]:
    return [_key(device, period, gift.giver, gift.record) for gift in gifts]
