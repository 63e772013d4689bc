"""Holds: money of a device's budget set aside for an order, then posted, released, or both in parts.

``hold`` succeeds at once if the device has enough available. If not, it records a need, and ``resolve_needs`` decides
all needs of the block together at its end, so that no order within a block is better off for standing first: a
network's needs are met in full out of the devices' own money and what others can spare, or not at all. While they are
more than can be met, the one that lacks most is refused (equal ones: the larger reference).

What shares put into a hold is spent last, first giver first; what is released unspent goes back to the givers first,
last in, first out, and then to the device itself.

State: ``bud-hold/`` reference -> (device, period, amount still held, gifts unspent in the order given);
``bud-need/`` -> count; ``bud-need/`` index(4) -> (reference, device, period, amount).
"""

from typing import Final, NamedTuple, TypeAlias, cast

from chaincode import accounts, budget_share, budget_state, identity
from chaincode.budget_share import Gift, Need
from chaincode.contract import Context, ContractError

MAX_NEEDS: Final = 64
"""Needs of one network and period that one block considers; further ones are refused."""
MAX_REFERENCE: Final = 64

_HOLDS: Final = b"bud-hold/"
_NEEDS: Final = b"bud-need/"

Decision: TypeAlias = tuple[bytes, bool]


class Hold(NamedTuple):
    """``amount`` base units of ``device`` are set aside; the gifts in it are never more than that."""

    device: str
    period: int
    amount: int
    gifts: tuple[Gift, ...]


def hold(ctx: Context, device: str, period: int, ref: bytes, amount: int) -> bool:
    """Set ``amount`` aside under the new reference ``ref`` (1 to 64 bytes, such as an order's id).

    True: done. False: too little is available, and a need is recorded, which ``resolve_needs`` decides at the end
    of the block. Raises ContractError("bad-amount").
    """
    before = accounts.hold(ctx, device, period, amount, ref)
    if before is None:
        count = cast("int | None", ctx.get(_NEEDS)) or 0
        ctx.put(_NEEDS + count.to_bytes(4, "big"), (ref, device, period, amount))
        ctx.put(_NEEDS, count + 1)
        return False
    ctx.put(_HOLDS + ref, (device, period, amount, ()))
    if budget_state.matters(ctx, before, -amount):
        budget_state.note_change(ctx, device, period, before)
    return True


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
    accounts.pay_reserved(ctx, found.device, found.period, amount, 0, target, reason, ref)
    _put(ctx, ref, Hold(found.device, found.period, left, _spent_down(found.gifts, left)))


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
    if back and budget_state.matters(ctx, before, back):
        budget_state.note_change(ctx, found.device, found.period, before)
    _put(ctx, ref, Hold(found.device, found.period, left, ()))


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
    gifts, own = list(found.gifts), back
    while gifts and own:
        gift = gifts.pop()
        part = min(gift.amount, own)
        budget_share.take_back(ctx, found.device, found.period, gift, part, ref)
        own -= part
        if part < gift.amount:
            gifts.append(gift._replace(amount=gift.amount - part))
    if own:
        before = accounts.unhold(ctx, found.device, found.period, own, ref)
        if budget_state.matters(ctx, before, own):
            budget_state.note_change(ctx, found.device, found.period, before)
    _put(ctx, ref, Hold(found.device, found.period, found.amount - back, tuple(gifts)))


def resolve_needs(ctx: Context) -> tuple[Decision, ...]:
    """Decide all needs of this block: (reference, whether it is held now), by network, period and recording.

    A refused device that is depleted is stopped, unless the period is still planned: LIMITED, or GRACE if critical.
    A network whose needs cannot be decided, by a mistake in the rules or in its records, is refused them all and
    the event ``needs-refused`` says why: no other network waits for it.
    """
    count = cast("int | None", ctx.get(_NEEDS)) or 0
    if count == 0:
        return ()
    groups: dict[tuple[str, int], list[Need]] = {}
    for index in range(count):
        key = _NEEDS + index.to_bytes(4, "big")
        ref, device, period, amount = cast("tuple[bytes, str, int, int]", ctx.get(key))
        ctx.delete(key)
        network = identity.device_of(ctx, device).network
        groups.setdefault((network, period), []).append(Need(ref, device, amount))
    ctx.delete(_NEEDS)
    decisions: list[Decision] = []
    for network, period in sorted(groups):
        decisions += _resolve_apart(ctx, network, period, groups[network, period])
    return tuple(decisions)


def _resolve_apart(ctx: Context, network: str, period: int, needs: list[Need]) -> list[Decision]:
    """``_resolve`` as a unit that can fail alone."""
    decided: list[Decision] = []
    failure = ctx.attempt(lambda: _resolve(ctx, network, period, needs, decided))
    if failure is None:
        return decided
    ctx.emit("needs-refused", (network,), (period, failure.code))
    return [(need.reference, False) for need in needs]


def _resolve(ctx: Context, network: str, period: int, needs: list[Need], decided: list[Decision]) -> None:
    """Decide the needs of one network and period; append to ``decided``."""
    needy = [need.device for need in needs]
    donors = budget_share.spares(ctx, network, period, needy)
    in_reach = sum([donor.amount for donor in donors])
    available = {device: accounts.device_book(ctx, device, period).available for device in needy}
    met = _affordable(needs[:MAX_NEEDS], available, in_reach)
    short = [need for need in _shortages(met, available) if need.amount]
    gifts_of = dict(
        zip([need.reference for need in short], budget_share.give(ctx, network, period, short, donors), strict=True)
    )
    for need in met:
        before = accounts.device_book(ctx, need.device, period)
        held = accounts.hold(ctx, need.device, period, need.amount, need.reference)
        assert held is not None, "a need was met, but not with enough"
        gifts = tuple(gifts_of.get(need.reference, ()))
        _put(ctx, need.reference, Hold(need.device, period, need.amount, gifts))
        budget_state.note_change(ctx, need.device, period, before)
    granted = dict.fromkeys([need.reference for need in met])
    is_planned = budget_state.status_of(ctx, period) == "planned"  # nobody runs short before it begins
    settings = budget_state.settings_of(ctx)
    for need in needs:
        if need.reference not in granted and not is_planned:
            book = accounts.device_book(ctx, need.device, period)
            if budget_state.level_of(book, settings) == budget_state.DEPLETED:
                budget_state.stop(ctx, need.device, period)
    decided += [(need.reference, need.reference in granted) for need in needs]


def _affordable(needs: list[Need], available: dict[str, int], in_reach: int) -> list[Need]:
    """The needs that can all be met in full, in the order given: those that lack most are left out one by one."""
    kept = list(needs)
    while kept:
        lacking = _shortages(kept, available)
        if sum([need.amount for need in lacking]) <= in_reach:
            return kept
        worst = max(range(len(kept)), key=lambda i: (lacking[i].amount, lacking[i].reference))
        del kept[worst]
    return kept


def _shortages(needs: list[Need], available: dict[str, int]) -> list[Need]:
    """What each need lacks once the devices' own money has gone to their needs in the order given."""
    left = dict(available)
    lacking = []
    for need in needs:
        own = min(left[need.device], need.amount)
        left[need.device] -= own
        lacking.append(need._replace(amount=need.amount - own))
    return lacking


def _spent_down(gifts: tuple[Gift, ...], left: int) -> tuple[Gift, ...]:
    """The gifts still in a hold of which ``left`` remains: own money is spent first, then the first giver's."""
    if not gifts:
        return ()
    over = sum([gift.amount for gift in gifts]) - left
    kept = []
    for gift in gifts:
        spent = min(max(over, 0), gift.amount)
        over -= spent
        if spent < gift.amount:
            kept.append(gift._replace(amount=gift.amount - spent))
    return tuple(kept)


def _require(ctx: Context, ref: bytes) -> Hold:
    found = hold_of(ctx, ref)
    if found is None:
        raise ContractError("unknown-hold", "nothing is held under this reference")
    return found


def _put(ctx: Context, ref: bytes, found: Hold) -> None:
    device, period, amount, gifts = found
    if amount:
        ctx.put(_HOLDS + ref, (device, period, amount, tuple([tuple(gift) for gift in gifts]) if gifts else ()))
    else:
        ctx.delete(_HOLDS + ref)
