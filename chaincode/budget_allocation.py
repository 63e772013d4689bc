"""Allocating a network's pool of a period among its devices, and taking it back.

All of it is all or nothing, nobody gets more than its limit has room for (``budget_policy.room_of``), and what the
network owes is paid first. What a rule divides, it divides in proportion by largest remainder; what a device has no
room for goes to the others in the same way.

The policy's rule brings devices up to something, so that following it twice is the same as once:

=========  ===================================================================================================
fixed      each to its amount, or to its share of the network's budget: pool + allocated - withdrawn
history    all that there is, but the pool's floor, in proportion to what each used in the last period that is over
forecast   each to its forecast; if there is too little, but the pool's floor, in proportion to the forecasts
=========  ===================================================================================================

What there is: pool + allocated - withdrawn. A device that the rule finds above its target keeps what it has.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from chaincode import accounts, budget_alerts, budget_charge, budget_policy, budget_state, identity, slots
from chaincode.apportion import apportion, apportion_to_rooms
from chaincode.budget_calendar import period_of
from chaincode.budget_policy import BY_HAND, FIXED, HISTORY, PERMILLE
from chaincode.contract import Context, ContractError

Amounts: TypeAlias = tuple[tuple[str, int], ...]
"""Devices, and base units."""

MAX_GIVEN: Final = 128
"""Devices that one call gives something by policy: what is told of them must fit into what a transaction may tell."""


def allocate(ctx: Context, network: str, period: int, amounts: Amounts) -> int:
    """From the pool to devices; what the pool still has. Raises ContractError: unknown-device, other-network,
    bad-amount, over-limit, insufficient-funds.
    """
    budget_charge.pay_owed(ctx, network, period, ctx.tx_id)
    _move(ctx, network, period, amounts)
    return accounts.network_book(ctx, network, period).pool


def withdraw(ctx: Context, network: str, period: int, amounts: Amounts) -> int:
    """From devices back into the pool; what the pool has then. What the network owes is paid out of it.

    Raises ContractError: unknown-device, other-network, bad-amount, insufficient-funds.
    """
    for device, amount in amounts:
        budget_policy.require_in_network(ctx, device, network)
        before = accounts.withdraw(ctx, device, network, period, amount, "withdraw", ctx.tx_id)
        budget_state.note_change(ctx, device, period, before)
    budget_charge.pay_owed(ctx, network, period, ctx.tx_id)
    return accounts.network_book(ctx, network, period).pool


def by_history(ctx: Context, network: str, period: int, amount: int, devices: Sequence[str]) -> Amounts:
    """``amount`` among ``devices`` in proportion to what each used in the last period that is over by now; equally
    if none used anything. Raises ContractError: over-limit (they have not room for all of it), and as ``allocate``.
    """
    return _divided(ctx, network, period, amount, devices, _used(ctx, network, period, devices))


def by_forecast(ctx: Context, network: str, period: int, amount: int, devices: Sequence[str]) -> Amounts:
    """``amount`` among ``devices`` in proportion to their forecasts.

    Raises ContractError: no-forecast (none has one), over-limit, and as ``allocate``.
    """
    forecasts = [budget_alerts.watch_of(ctx, device, period).forecast for device in devices]
    if not any(forecasts):
        raise ContractError("no-forecast", f"no device has a forecast for period {period}")
    return _divided(ctx, network, period, amount, devices, forecasts)


def by_policy(ctx: Context, network: str, period: int) -> Amounts:
    """What the rule of the policy gives, to MAX_GIVEN devices at a time: the next call goes on; empty if there is
    nothing to give.

    Raises ContractError: no-rule (allocation is by hand), insufficient-funds (less than what is fixed).
    """
    policy = budget_policy.policy_of(ctx, network)
    if policy.allocation == BY_HAND:
        raise ContractError("no-rule", f"the policy of {network} leaves allocation to its owner")
    budget_charge.pay_owed(ctx, network, period, ctx.tx_id)
    devices = identity.devices_of(ctx, network)
    pool = accounts.network_book(ctx, network, period).pool
    spare = pool if policy.allocation == FIXED else max(0, pool - policy.pool_floor)
    have = [_kept(ctx, device, period) for device in devices]
    rooms = _rooms(ctx, period, devices)
    most = [None if room is None else mine + room for mine, room in zip(have, rooms, strict=True)]
    targets = _targets(ctx, network, period, policy.allocation, devices, spare + sum(have), most)
    parts = [max(0, target - mine) for target, mine in zip(targets, have, strict=True)]
    if sum(parts) > spare:
        if policy.allocation == FIXED:
            raise ContractError("insufficient-funds", f"the pool has {pool}", (pool, sum(parts)))
        parts = _levelled(spare, targets, have, devices)
    given = [i for i, part in enumerate(parts) if part][:MAX_GIVEN]
    return _give(ctx, network, period, [devices[i] for i in given], [parts[i] for i in given])


def _divided(
    ctx: Context, network: str, period: int, amount: int, devices: Sequence[str], weights: Sequence[int]
) -> Amounts:
    """Allocate ``amount`` in proportion to ``weights``."""
    if amount <= 0 or not devices or len(dict.fromkeys(devices)) != len(devices):
        raise ContractError("bad-amount", "a positive amount for devices named once each")
    budget_charge.pay_owed(ctx, network, period, ctx.tx_id)
    parts = apportion_to_rooms(amount, weights, devices, _rooms(ctx, period, devices))
    if sum(parts) < amount:
        raise ContractError("over-limit", f"the devices have room for {sum(parts)}", (sum(parts), amount))
    return _give(ctx, network, period, devices, parts)


def _move(ctx: Context, network: str, period: int, amounts: Amounts) -> None:
    for device, amount in amounts:
        budget_policy.require_in_network(ctx, device, network)
        budget_policy.require_within_limit(ctx, device, period, amount)
        before = accounts.device_book(ctx, device, period)
        names = f"pool:{network}:{period}", f"device:{device}:{period}"
        accounts.transfer(ctx, *names, amount, "allocate", ctx.tx_id)
        budget_state.note_change(ctx, device, period, before)


def _give(ctx: Context, network: str, period: int, devices: Sequence[str], parts: Sequence[int]) -> Amounts:
    amounts = tuple([(device, part) for device, part in zip(devices, parts, strict=True) if part])
    _move(ctx, network, period, amounts)
    return amounts


def _levelled(spare: int, targets: Sequence[int], have: Sequence[int], devices: Sequence[str]) -> list[int]:
    """Divide ``spare``, which is too little for all: every device is brought up to the same part of its target, but
    for those that have more already and keep it. So who is served by a later call gets what it would have got now.
    """
    parts = [0] * len(devices)
    below = [index for index, target in enumerate(targets) if target > have[index]]
    while spare:
        whole, wanted = spare + sum([have[index] for index in below]), sum([targets[index] for index in below])
        short = [index for index in below if have[index] * wanted < targets[index] * whole]
        if len(short) == len(below):
            levels = apportion(whole, [targets[index] for index in below], [devices[index] for index in below])
            for index, level in zip(below, levels, strict=True):
                parts[index] = level - have[index]
            break
        below = short
    return parts


def _targets(
    ctx: Context,
    network: str,
    period: int,
    rule: str,
    devices: Sequence[str],
    whole: int,
    most: Sequence[int | None],
) -> list[int]:
    """What the rule brings each device up to. ``whole``: what there is to divide, with what devices have been given;
    ``most``: what each may have been given.
    """
    if rule == HISTORY:
        return apportion_to_rooms(whole, _used(ctx, network, period, devices), devices, most)
    if rule == FIXED:
        terms = [budget_policy.donor_of(ctx, device) for device in devices]
        wanted = [donor.amount or whole * donor.share // PERMILLE for donor in terms]
    else:
        wanted = [budget_alerts.watch_of(ctx, device, period).forecast for device in devices]
    targets = [want if limit is None else min(want, limit) for want, limit in zip(wanted, most, strict=True)]
    return targets if rule == FIXED or sum(targets) <= whole else apportion(whole, targets, devices)


def _kept(ctx: Context, device: str, period: int) -> int:
    """What the device has been given from the pool, and not taken back."""
    book = accounts.device_book(ctx, device, period)
    return max(0, book.allocated - book.withdrawn)


def _rooms(ctx: Context, period: int, devices: Sequence[str]) -> list[int | None]:
    return [budget_policy.room_of(ctx, device, period) for device in devices]


def _used(ctx: Context, network: str, period: int, devices: Sequence[str]) -> list[int]:
    """What each used in the network's newest period before ``period`` that is over by now; zeros without one."""
    last = min(period, period_of(ctx, network, slots.current(ctx))) - 1
    return [0 if last < 0 else budget_alerts.watch_of(ctx, device, last).used for device in devices]
