"""What is wrong with what a meter says, by code: the same for one reading, for many, and for corrections.

The cheap checks come first, so that a row that cannot count costs little. With cumulative registers a lost reading
shows: readings of neighbouring slots join without a gap, and over a gap the registers cannot have run less than the
slot says.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from chaincode import identity, market_products, settlement_readings
from chaincode.contract import MAX_AMOUNT, Context, ContractError
from chaincode.identity import Device
from chaincode.market_products import Product
from chaincode.settlement_readings import Reading


class Claim(NamedTuple):
    """What a meter says of one slot: (imported, exported) Wh, and its registers at the slot's end, in Wh."""

    slot: int
    energy: tuple[int, int]
    registers: tuple[int, int]


def untimely(ctx: Context, claim: Claim, product: Product | None, closes: int) -> ContractError | None:
    """Why nothing can be said of this slot now: negative, no-product, too-early, late (from block time ``closes``)."""
    if min(*claim.energy, *claim.registers) < 0:
        return ContractError("negative", "energies and registers are not below zero")
    if product is None:
        return ContractError("no-product", "the slot is not open yet, or older than the chain")
    if ctx.time < product.ends:
        return ContractError("too-early", "the slot is not over", (product.ends,))
    if ctx.time >= closes or product.state == market_products.FINAL:
        return ContractError("late", "readings of this slot are not taken any more", (closes,))
    return None


def known_already(claim: Claim, known: Reading | None) -> ContractError | None:
    """duplicate or conflict, if the slot has been read."""
    if known is None or not known.is_read:
        return None
    code = "duplicate" if (known.energy, known.registers) == (claim.energy, claim.registers) else "conflict"
    return ContractError(code, "this slot has a reading already", known[:4])


def impossible(device: Device, claim: Claim, product: Product) -> ContractError | None:
    """not-connected, or out-of-limit (details: limit, claimed)."""
    if identity.place_at(device, claim.slot) is None:
        return ContractError("not-connected", "the device was connected nowhere in this slot")
    for wh, limit_wh in zip(claim.energy, limits_wh(device, product), strict=True):
        if wh > limit_wh:
            return ContractError("out-of-limit", "more than the connection carries", (limit_wh, wh))
    return beyond_count(claim)


def beyond_count(claim: Claim) -> ContractError | None:
    """out-of-limit for a figure that is more than the ledger counts."""
    most = max(*claim.energy, *claim.registers)
    return ContractError("out-of-limit", "more than 63 bits", (MAX_AMOUNT, most)) if most > MAX_AMOUNT else None


def limits_wh(device: Device, product: Product) -> tuple[int, int]:
    """What the device's connection carries in a slot: (import, export) Wh."""
    seconds = product.ends - product.starts
    return device.import_w * seconds // 3600, device.export_w * seconds // 3600


class Joint(NamedTuple):
    """The slots that were read on either side of some others, None if there is none."""

    before: int | None
    after: int | None


def joint(ctx: Context, subject: str, claims: Sequence[Claim], since: int = 0) -> Joint | ContractError:
    """Where the readings of consecutive slots join those around them, or register-mismatch.

    ``subject``: a device, or the feeder's meter; ``since``: the slot from which on it is another meter than before.
    The claims are of slots on one side of it.
    """
    first, last = claims[0], claims[-1]
    before = settlement_readings.read_before(ctx, subject, first.slot)
    after = settlement_readings.read_after(ctx, subject, last.slot)
    if before is not None and before[0] < since <= first.slot:
        before = None
    if after is not None and last.slot < since <= after[0]:
        after = None
    # A register begins at 0 at the earliest: the one at a slot's end holds at least what flowed in the slot.
    fits = _joins((0, 0), first, False) and all(_joins(one.registers, other, True) for one, other in pairwise(claims))
    if before is not None:
        fits = fits and _joins(before[1].registers, first, before[0] == first.slot - 1)
    if after is not None:
        there = Claim(after[0], after[1].energy, after[1].registers)
        fits = fits and _joins(last.registers, there, after[0] == last.slot + 1)
    if not fits:
        return ContractError("register-mismatch", "the registers do not join those of the other slots")
    return Joint(None if before is None else before[0], None if after is None else after[0])


def _joins(registers: tuple[int, int], later: Claim, next_to: bool) -> bool:
    """Whether ``later`` begins where the registers stood (if it follows next), or at least not before."""
    start = later.registers[0] - later.energy[0], later.registers[1] - later.energy[1]
    return start == registers if next_to else start[0] >= registers[0] and start[1] >= registers[1]
