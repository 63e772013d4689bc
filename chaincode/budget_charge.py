"""Charges and credits of settlement: what a device must pay whether it can or not, and what it earns.

A charge is paid from what the device has available, then by the automatic share of its network, then from the pool;
what is left is *owed*: the utility's claim, no balance. Several charges of one network are paid step by step together,
so that none is better off for standing first; what cannot cover all of them is divided pro rata (largest
remainder, then device). A device that owes is stopped: LIMITED, or GRACE if critical.

Owed is paid, oldest first, before anything else from what next comes into the network's pool, and counts as spent in
the period that pays. Proceeds go to the pool, or by policy to the device that earned them.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from chaincode import accounts, budget_policy, budget_share, budget_state, identity, slots
from chaincode.apportion import apportion
from chaincode.budget_share import POOL, Need, Share
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
    due = [amount for _, amount in charges]
    due = _pay_own(ctx, period, charges, due, target, reason, reference)
    if any(due):
        needs = [Need(reference, device, left) for (device, _), left in zip(charges, due, strict=True) if left]
        donors = budget_share.spares(ctx, network, period, [need.device for need in needs])
        budget_share.give(ctx, network, period, needs, donors, reason)
        due = _pay_own(ctx, period, charges, due, target, reason, reference)
    if any(due):
        due = _pay_from_pool(ctx, network, period, charges, due, target, reason, reference)
    for (device, _), left in zip(charges, due, strict=True):
        if left:
            _owe(ctx, network, Owed(device, period, left), reason, reference)
    return tuple([amount - left for (_, amount), left in zip(charges, due, strict=True)])


def credit(ctx: Context, device: str, period: int, amount: int, source: str, reason: str, reference: bytes) -> None:
    """Pay what ``device`` earned out of the account ``source``: to its network's pool, or by policy to itself.

    Raises ContractError: unknown-device, bad-amount, insufficient-funds, bad-account.
    """
    network = identity.device_of(ctx, device).network
    if budget_policy.earns_itself(ctx, network):
        before = accounts.device_book(ctx, device, period)
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
    to_debts = min(amount, budget_state.owed_of(ctx, network)[0])
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


def _pay_own(
    ctx: Context, period: int, charges: Sequence[Charge], due: list[int], target: str, reason: str, reference: bytes
) -> list[int]:
    """Each pays what it can from its own available; what is still due."""
    left = []
    for (device, _), amount in zip(charges, due, strict=True):
        before = accounts.device_book(ctx, device, period)
        part = min(before.available, amount)
        if part:
            accounts.transfer(ctx, f"device:{device}:{period}", target, part, reason, reference)
            budget_state.note_change(ctx, device, period, before)
        left.append(amount - part)
    return left


def _pay_from_pool(
    ctx: Context,
    network: str,
    period: int,
    charges: Sequence[Charge],
    due: list[int],
    target: str,
    reason: str,
    reference: bytes,
) -> list[int]:
    """The pool pays what it can, pro rata if it cannot pay all; what is still due."""
    pool = accounts.network_book(ctx, network, period).pool
    parts = due if pool >= sum(due) else apportion(pool, due, [device for device, _ in charges])
    for (device, _), part in zip(charges, parts, strict=True):
        if part:
            accounts.transfer(ctx, f"pool:{network}:{period}", target, part, reason, reference)
            share = Share(POOL, device, part, 0, reference, slots.current(ctx), ctx.tx_id, reason, "pool")
            budget_share.record(ctx, network, period, share)
    return [amount - part for amount, part in zip(due, parts, strict=True)]


def _owe(ctx: Context, network: str, claim: Owed, reason: str, reference: bytes) -> None:
    """Add to what a device owes, and stop it."""
    _, claims = budget_state.owed_of(ctx, network)
    merged = list(claims)
    of_device = [index for index, older in enumerate(merged) if older.device == claim.device]
    same = [index for index in of_device if merged[index].period == claim.period]
    if not same and len(merged) >= MAX_CLAIMS:
        same = of_device[-1:]
    if same:
        older = merged[same[0]]
        merged[same[0]] = older._replace(amount=older.amount + claim.amount)
    else:
        merged.append(claim)
    budget_state.put_owed(ctx, network, tuple(merged))
    ctx.emit("owed", (claim.device, network), (claim.period, claim.amount, reason, reference))
    budget_state.stop(ctx, claim.device, claim.period)
