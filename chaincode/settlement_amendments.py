"""Late corrections: what a meter says of slots after all, until they are FINAL.

A correction is one statement about consecutive slots, taken as a whole or not at all: its registers join one another
and the readings around it. It replaces readings, estimates and what was spread, and gaps beside it are divided anew.
What it replaced stays readable, and a network that has been settled in such a slot is settled anew.
"""

from collections.abc import Sequence
from typing import Final

from chaincode import (
    identity,
    market_products,
    settlement_checks,
    settlement_corrections,
    settlement_gaps,
    settlement_metering,
    settlement_readings,
)
from chaincode.contract import Context, ContractError
from chaincode.identity import Device
from chaincode.market_products import Product
from chaincode.settlement_checks import Claim
from chaincode.settlement_metering import DayRow
from chaincode.settlement_readings import Reading

MAX_REVISIONS: Final = 16
"""So often can the meter's word about one slot change."""


def correct(ctx: Context, device_id: str, first_slot: int, rows: Sequence[DayRow]) -> int:
    """Take the meter's new word for consecutive slots; how many of them have changed.

    Raises ContractError: unknown-device, wrong-key, bad-rows, negative, no-product, too-early, late, not-connected,
    out-of-limit, register-mismatch, too-many, duplicate (nothing would change).
    """
    settlement_metering.require_rows(rows, settlement_metering.MAX_DAY_ROWS)
    device = identity.require_meter(ctx, device_id)
    claims = claims_of(first_slot, rows)
    products = [require_product(ctx, claim) for claim in claims]
    for claim, product in zip(claims, products, strict=True):
        fault = settlement_checks.impossible(device, claim, product)
        if fault is not None:
            raise fault
    joint = settlement_checks.joint(ctx, device_id, claims)
    if isinstance(joint, ContractError):
        raise joint
    changed = 0
    for claim, product in zip(claims, products, strict=True):
        changed += _amend(ctx, device, claim, product)
    if not changed:
        raise ContractError("duplicate", "these slots have these readings already")
    settlement_gaps.note(ctx, device_id, claims[0].slot, claims[-1].slot, joint)
    return changed


def claims_of(first_slot: int, rows: Sequence[DayRow]) -> list[Claim]:
    """What rows of consecutive slots say."""
    return [Claim(first_slot + index, row[:2], row[2:]) for index, row in enumerate(rows)]


def require_product(ctx: Context, claim: Claim) -> Product:
    """The product of a slot of which something may be said until it is FINAL.

    Raises ContractError: negative, no-product, too-early, late.
    """
    product = market_products.find(ctx, claim.slot) if claim.slot >= 0 else None
    fault = settlement_checks.untimely(ctx, claim, product, 0 if product is None else product.final_at)
    if fault is not None or product is None:
        raise fault or ContractError("no-product", "the slot is not open yet")
    return product


def replaced(ctx: Context, subject: str, claim: Claim, period: int) -> tuple[Reading | None, Reading] | None:
    """Keep what a claim says: (what held before, what holds now); None if it says what is known.

    Raises ContractError("too-many").
    """
    old = settlement_readings.find(ctx, subject, claim.slot)
    row = settlement_readings.read(ctx, claim.energy, claim.registers)
    if old is None:
        settlement_readings.keep(ctx, subject, claim.slot, row)
        return None, row
    if old.is_read and old[:4] == row[:4]:
        return None
    if old.is_read and old.revision >= MAX_REVISIONS:
        raise ContractError("too-many", "this slot has been corrected too often", (claim.slot,))
    return old, settlement_readings.replace(ctx, subject, claim.slot, period, old, row)


def _amend(ctx: Context, device: Device, claim: Claim, product: Product) -> bool:
    """Whether the claim changed something."""
    change = replaced(ctx, device.id, claim, product.period)
    if change is None:
        return False
    if change[0] is None:  # its window is open still, and nothing had come
        ctx.emit("reading", (device.id, device.network), (claim.slot, *claim.energy, *claim.registers))
        return True
    row = change[1]
    ctx.emit("corrected", (device.id, device.network), (claim.slot, row.revision, *claim.energy, *claim.registers))
    settlement_corrections.reopen(ctx, device.network, claim.slot)
    return True
