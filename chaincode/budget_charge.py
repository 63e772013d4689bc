"""Charges and credits of settlement: what a device must pay whether it can or not, and what it earns.

A charge is paid from what the device has available, then by what other devices of its network can spare, then from the
pool, then by other networks under automatic agreements; what is left is *owed*: the utility's claim, no balance.
Several charges of one network are paid step by step together, so that none is better off for standing first; what
cannot cover all of them is divided pro rata (largest remainder, then device). A device that owes is stopped: LIMITED,
or GRACE if critical. What devices and other networks give counts towards the limit of what a device may be given; what
the pool pays of a charge goes to the utility and not to the device, and does not.

Owed is paid, oldest first, before anything else from what next comes into the network's pool, and counts as spent in
the period that pays. Proceeds go to the pool, or by policy to the device that earned them.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from chaincode import (
    account_books,
    accounts,
    budget_policy,
    budget_secured,
    budget_share,
    budget_state,
    identity,
    slots,
)
from chaincode.accounts import DeviceBook
from chaincode.apportion import apportion
from chaincode.budget_division import Need
from chaincode.budget_share import POOL, Gift, Share, Spare
from chaincode.budget_state import Owed
from chaincode.contract import MAX_AMOUNT, Context, ContractError

MAX_CLAIMS_PAID: Final = 64
"""Claims paid at one time: four events each must fit into what one transaction may tell."""
MAX_CLAIMS: Final = 512
"""From this many claims on a network, a device's debt of a further period is added to the newest it has. With one for
each device (``identity.MAX_DEVICES``) on top, the list of claims stays a value that a transaction may write."""


class Charge(NamedTuple):
    """``device`` must pay ``amount`` base units."""

    device: str
    amount: int


class _Run(NamedTuple):
    """Charges of devices of ``network`` in ``period``, paid to ``target`` for ``reason`` under ``reference``."""

    network: str
    period: int
    target: str
    reason: str
    reference: bytes


def charge(ctx: Context, device: str, period: int, amount: int, target: str, reason: str, reference: bytes) -> int:
    """``charge_all`` for one device; what was paid to ``target``."""
    network = identity.device_of(ctx, device).network
    return charge_all(ctx, network, period, (Charge(device, amount),), target, reason, reference)[0]


def charge_all(
    ctx: Context, network: str, period: int, charges: Sequence[Charge], target: str, reason: str, reference: bytes
) -> tuple[int, ...]:
    """Let devices of ``network`` pay ``charges`` (each device once) to ``target``; what each paid, in order.

    What is missing is owed to the utility from now on; if ``target`` is not the utility, the caller lets the utility
    advance it. Raises ContractError: unknown-device, other-network, bad-amount, bad-account.
    """
    for device, amount in charges:
        budget_policy.require_in_network(ctx, device, network)
        if not 0 <= amount <= MAX_AMOUNT:
            raise ContractError("bad-amount", "a charge is an integer from 0 to 2^63-1")
    before = {device: accounts.device_book(ctx, device, period) for device, _ in charges}
    this = _Run(network, period, target, reason, reference)
    due = _pay_own(ctx, this, charges, [amount for _, amount in charges], before)
    if any(due):
        givers = budget_share.spares(ctx, network, period, _short(charges, due))
        due = _pay_by_gifts(ctx, this, charges, due, givers)
    if any(due):
        due = _pay_from_pool(ctx, this, charges, due)
    if any(due):
        givers = budget_share.outside_spares(ctx, network, period, _short(charges, due))
        due = _pay_by_gifts(ctx, this, charges, due, givers)
    for device, book in before.items():
        budget_state.note_change(ctx, device, period, book)
    if any(due):
        _owe(ctx, this, [Owed(device, period, left) for (device, _), left in zip(charges, due, strict=True) if left])
    return tuple([amount - left for (_, amount), left in zip(charges, due, strict=True)])


def credit(ctx: Context, device: str, period: int, amount: int, source: str, reason: str, reference: bytes) -> None:
    """Pay what ``device`` earned out of the account ``source``: to its network's pool, or by policy to itself.

    Raises ContractError: unknown-device, bad-amount, insufficient-funds, bad-account.
    """
    network = identity.device_of(ctx, device).network
    if budget_policy.earns_itself(ctx, network):
        before = accounts.device_book(ctx, device, period)
        account_books.open_pool(ctx, network, period)
        accounts.transfer(ctx, source, f"device:{device}:{period}", amount, reason, reference)
        budget_state.note_change(ctx, device, period, before)
    else:
        accounts.transfer(ctx, source, f"pool:{network}:{period}", amount, reason, reference)
        pay_owed(ctx, network, period, reference)


def refund(ctx: Context, device: str, period: int, amount: int, source: str, reason: str, reference: bytes) -> None:
    """``credit`` of what was settled wrongly, but whatever the policy says debts are paid first: a charge that nobody
    paid and that is taken back would else be money in the device's hands, with its debt still open.

    Raises ContractError as ``credit`` does.
    """
    network = identity.device_of(ctx, device).network
    to_debts = min(amount, budget_state.debt_of(ctx, network))
    if to_debts:
        accounts.transfer(ctx, source, f"pool:{network}:{period}", to_debts, reason, reference)
        pay_owed(ctx, network, period, reference)
    if to_debts < amount:
        credit(ctx, device, period, amount - to_debts, source, reason, reference)


def pay_owed(ctx: Context, network: str, period: int, reference: bytes) -> None:
    """Pay what ``network`` owes, oldest first, as far as its pool of ``period`` goes, at most MAX_CLAIMS_PAID claims;
    others stay owed until the next issue, allocation or credit.
    """
    _, claims = budget_state.owed_of(ctx, network)
    pool = accounts.network_book(ctx, network, period).pool if claims else 0
    left: list[Owed] = []
    paid_off: list[Owed] = []
    for claim in claims[:MAX_CLAIMS_PAID]:
        part = min(claim.amount, pool)
        if part:
            pool -= part
            accounts.transfer(ctx, f"pool:{network}:{period}", accounts.UTILITY, part, "owed", reference)
            ctx.emit("owed-paid", (claim.device, network), (claim.period, part, reference))
        if part < claim.amount:
            left.append(claim._replace(amount=claim.amount - part))
        else:
            paid_off.append(claim)
    left += claims[MAX_CLAIMS_PAID:]
    if left != list(claims):
        budget_state.put_owed(ctx, network, tuple(left))
    for claim in paid_off:
        book = accounts.device_book(ctx, claim.device, claim.period)
        budget_state.note_change(ctx, claim.device, claim.period, book)


def _short(charges: Sequence[Charge], due: Sequence[int]) -> dict[str, int]:
    """What is due of each device that cannot pay."""
    return {device: left for (device, _), left in zip(charges, due, strict=True) if left}


def _pay_own(
    ctx: Context, this: _Run, charges: Sequence[Charge], due: Sequence[int], books: Mapping[str, DeviceBook]
) -> list[int]:
    """Each pays what it can from its own available, which is in ``books``; what is still due."""
    left = []
    for (device, _), amount in zip(charges, due, strict=True):
        part = min(books[device].available, amount)
        if part:
            source = f"device:{device}:{this.period}"
            accounts.transfer(ctx, source, this.target, part, this.reason, this.reference)
        left.append(amount - part)
    return left


def _pay_by_gifts(
    ctx: Context, this: _Run, charges: Sequence[Charge], due: Sequence[int], givers: Sequence[Spare]
) -> list[int]:
    """What ``givers`` can give goes to the devices, each within its limit, and pays; what is still due."""
    needs = []
    for device, left in _short(charges, due).items() if givers else ():
        room = budget_secured.room_of(ctx, device, this.period)
        amount = left if room is None else min(left, room)
        if amount:
            needs.append(Need(this.reference, device, amount))
    if not needs:
        return list(due)
    gifts = budget_share.give(ctx, this.network, this.period, needs, givers, this.reason)
    for need, given in zip(needs, gifts, strict=True):
        budget_secured.secure(ctx, need.device, this.period, given)
    books = {device: accounts.device_book(ctx, device, this.period) for device, _ in charges}
    return _pay_own(ctx, this, charges, due, books)


def _pay_from_pool(ctx: Context, this: _Run, charges: Sequence[Charge], due: Sequence[int]) -> list[int]:
    """The pool pays what it can, pro rata if it cannot pay all; what is still due."""
    source = f"pool:{this.network}:{this.period}"
    pool = accounts.balance(ctx, source)
    parts = due if pool >= sum(due) else apportion(pool, due, [device for device, _ in charges])
    slot = slots.current(ctx)
    for (device, _), part in zip(charges, parts, strict=True):
        if part:
            accounts.transfer(ctx, source, this.target, part, this.reason, this.reference)
            share = Share(POOL, device, part, 0, this.reference, slot, ctx.tx_id, this.reason, "pool")
            number = budget_share.record(ctx, this.network, this.period, share)
            budget_secured.secure(ctx, device, this.period, (Gift(POOL, part, number),))
    return [amount - part for amount, part in zip(due, parts, strict=True)]


def _owe(ctx: Context, this: _Run, new: Sequence[Owed]) -> None:
    """Add to what devices owe, each named once, and stop them."""
    _, claims = budget_state.owed_of(ctx, this.network)
    merged = list(claims)
    of_period = {(claim.device, claim.period): index for index, claim in enumerate(merged)}
    newest = {claim.device: index for index, claim in enumerate(merged)}
    for claim in new:
        index = of_period.get((claim.device, claim.period))
        if index is None and len(merged) >= MAX_CLAIMS:
            index = newest.get(claim.device)
        if index is None:
            merged.append(claim)
        else:
            older = merged[index]
            merged[index] = older._replace(amount=older.amount + claim.amount)
    budget_state.put_owed(ctx, this.network, tuple(merged))
    for claim in new:
        told = claim.period, claim.amount, this.reason, this.reference
        ctx.emit("owed", (claim.device, this.network), told)
        budget_state.stop(ctx, claim.device, claim.period, budget_state.BY_DEBT, this.reference)
