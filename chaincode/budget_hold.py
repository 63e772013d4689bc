"""Holds: money of a device's budget set aside for an order, then posted, released, or both in parts.

``hold`` succeeds at once if the device has enough available. If not, it records a need, which ``budget_needs`` decides
together with all others at the end of the block. ``hold_all`` does the same for several holds that stand or fall
together: while one of them waits, none of them holds anything.

What shares put into a hold is spent last, first giver first; what is released unspent goes back to the givers first,
last in, first out, and then to the device itself; but what others gave because this money was in a hold is theirs
before it is the device's (``budget_secured``).

State: ``bud-hold/`` reference -> (device, period, amount still held, gifts in the order given);
``bud-need/`` -> count; ``bud-need/`` index(4) -> Asked.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias, cast

from chaincode import accounts, budget_secured, budget_state
from chaincode.budget_share import Gift
from chaincode.contract import Context, ContractError

MAX_REFERENCE: Final = 64

_HOLDS: Final = b"bud-hold/"
_NEEDS: Final = b"bud-need/"

Part: TypeAlias = tuple[bytes, int]
"""The reference of a hold, and its amount."""


class Hold(NamedTuple):
    """``amount`` base units of ``device`` are set aside; the gifts in it are never more than that."""

    device: str
    period: int
    amount: int
    gifts: tuple[Gift, ...]


class Asked(NamedTuple):
    """Holds of ``device`` in ``period`` that its own money did not cover. ``reference``: the hold's; of ``hold_all``
    the one given there, under which there is one need for each period.
    """

    reference: bytes
    device: str
    period: int
    parts: tuple[Part, ...]


def hold(ctx: Context, device: str, period: int, ref: bytes, amount: int) -> bool:
    """Set ``amount`` aside under the new reference ``ref`` (1 to 64 bytes, such as an order's id).

    True: done. False: too little is available, and a need is recorded, which ``budget_needs`` decides at the end
    of the block. Raises ContractError("bad-amount").
    """
    before = accounts.hold(ctx, device, period, amount, ref)
    if before is None:
        _ask(ctx, Asked(ref, device, period, ((ref, amount),)))
        return False
    ctx.put(_HOLDS + ref, (device, period, amount, ()))
    if budget_state.matters(ctx, before, -amount):
        budget_state.note_change(ctx, device, period, before)
    return True


def hold_all(ctx: Context, device: str, group: bytes, parts: Sequence[tuple[int, bytes, int]]) -> bool:
    """``hold`` for every (period, reference, amount) of ``parts``, or for none of them.

    True: done. False: in some period too little is available; nothing is held, and the needs of all periods are decided
    together at the end of the block, under the reference ``group``. Raises ContractError("bad-amount").
    """
    of_period: dict[int, list[Part]] = {}
    for period, ref, amount in parts:
        of_period.setdefault(period, []).append((ref, amount))
    for period, holds in of_period.items():
        if accounts.device_book(ctx, device, period).available < sum([amount for _, amount in holds]):
            break
    else:
        for period, ref, amount in parts:
            hold(ctx, device, period, ref, amount)
        return True
    for period, holds in of_period.items():
        _ask(ctx, Asked(group, device, period, tuple(holds)))
    return False


def take_needs(ctx: Context) -> list[Asked]:
    """The needs that were recorded in this block, in that order; forgotten hereby."""
    count = cast("int | None", ctx.get(_NEEDS)) or 0
    needs = []
    for index in range(count):
        key = _NEEDS + index.to_bytes(4, "big")
        needs.append(Asked(*cast("Asked", ctx.get(key))))
        ctx.delete(key)
    if count:
        ctx.delete(_NEEDS)
    return needs


def write(ctx: Context, ref: bytes, found: Hold) -> None:
    """What is held under ``ref`` from now on; nothing, and no record, if the amount is 0."""
    device, period, amount, gifts = found
    if amount:
        ctx.put(_HOLDS + ref, (device, period, amount, tuple([tuple(gift) for gift in gifts]) if gifts else ()))
    else:
        ctx.delete(_HOLDS + ref)


def hold_of(ctx: Context, ref: bytes) -> Hold | None:
    """What is held under ``ref``; None if nothing is."""
    value = ctx.get(_HOLDS + ref)
    if value is None:
        return None
    device, period, amount, gifts = cast("tuple[str, int, int, tuple[Gift, ...]]", value)
    return Hold(device, period, amount, tuple([Gift(*gift) for gift in gifts]) if gifts else ())


def post(ctx: Context, ref: bytes, amount: int, target: str, reason: str) -> None:
    """Pay ``amount`` out of the hold to the account ``target``; it counts as spent. The rest stays held.

    Raises ContractError: unknown-hold, bad-amount, over-budget (more than is held), bad-account.
    """
    found = _require(ctx, ref)
    left = found.amount - amount
    if left < 0:
        raise ContractError("over-budget", f"{found.amount} is held", (found.amount,))
    before = accounts.pay_reserved(ctx, found.device, found.period, amount, 0, target, reason, ref)
    kept = _spent_down(found.gifts, left)
    write(ctx, ref, Hold(found.device, found.period, left, kept))
    if before.claimed:
        budget_secured.spent(ctx, found.device, found.period, found.gifts, _sum(found.gifts) - _sum(kept))


def settle(ctx: Context, ref: bytes, amount: int, back: int, target: str, reason: str) -> None:
    """``post`` of ``amount`` (0: nothing is paid) and ``release`` of ``back`` (0: nothing) in one step: what every
    filled buy does. Raises as they do.
    """
    found = _require(ctx, ref)
    left = found.amount - amount - back
    if found.gifts or not amount or left < 0:
        if amount:
            post(ctx, ref, amount, target, reason)
        if back:
            release(ctx, ref, back)
        return
    before = accounts.pay_reserved(ctx, found.device, found.period, amount, back, target, reason, ref)
    if before.claimed:
        write(ctx, ref, Hold(found.device, found.period, left + back, ()))
        budget_secured.spent(ctx, found.device, found.period, (), 0)
        if back:
            release(ctx, ref, back)
        return
    if back and budget_state.matters(ctx, before, back):
        budget_state.note_change(ctx, found.device, found.period, before)
    write(ctx, ref, Hold(found.device, found.period, left, ()))


def release(ctx: Context, ref: bytes, amount: int | None) -> None:
    """Give back ``amount`` of the hold, or with None all that is left (nothing, if the hold is gone).

    Raises ContractError: unknown-hold, bad-amount, over-budget (more than is held).
    """
    found = hold_of(ctx, ref) if amount is None else _require(ctx, ref)
    if found is None:
        return
    back = found.amount if amount is None else amount
    if not 0 < back <= found.amount:
        raise ContractError("bad-amount" if back <= 0 else "over-budget", f"{found.amount} is held", (found.amount,))
    device, period, gifts, own = found.device, found.period, list(found.gifts), back
    for place in reversed(range(len(gifts))):
        gift = gifts[place]
        part = min(gift.amount, own)
        if part:
            budget_secured.take_back(ctx, device, period, gift, part, ref)
            gifts[place] = gift._replace(amount=gift.amount - part)
            own -= part
    if own:
        _free(ctx, ref, found, own)
    write(ctx, ref, Hold(device, period, found.amount - back, tuple(gifts)))


def _free(ctx: Context, ref: bytes, found: Hold, own: int) -> None:
    """``own`` of a hold was the device's, and is again, unless it is claimed."""
    device, period = found.device, found.period
    before = accounts.unhold(ctx, device, period, own, ref)
    if before is None:
        own = budget_secured.repay(ctx, device, period, found.gifts, own, ref)
        before = accounts.unhold(ctx, device, period, own, ref, free=True) if own else None
    if before is not None and budget_state.matters(ctx, before, own):
        budget_state.note_change(ctx, device, period, before)


def _spent_down(gifts: tuple[Gift, ...], left: int) -> tuple[Gift, ...]:
    """The gifts in a hold of which ``left`` remains: own money is spent first, then the first giver's."""
    if not gifts:
        return ()
    over = _sum(gifts) - left
    kept = []
    for gift in gifts:
        gone = min(max(over, 0), gift.amount)
        over -= gone
        kept.append(gift._replace(amount=gift.amount - gone))
    return tuple(kept)


def _sum(gifts: Sequence[Gift]) -> int:
    return sum([gift.amount for gift in gifts])


def _require(ctx: Context, ref: bytes) -> Hold:
    found = hold_of(ctx, ref)
    if found is None:
        raise ContractError("unknown-hold", "nothing is held under this reference")
    return found


def _ask(ctx: Context, asked: Asked) -> None:
    count = cast("int | None", ctx.get(_NEEDS)) or 0
    ctx.put(_NEEDS + count.to_bytes(4, "big"), tuple(asked))
    ctx.put(_NEEDS, count + 1)
