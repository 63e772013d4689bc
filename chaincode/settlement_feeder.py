"""The feeder's meter: what passed the transformer, in each slot.

Its import is what came into the grid from above, its export what went out. The grid operator names its key
(``grid.feeder_meter``). Its readings are taken and corrected until a slot is FINAL; nobody is charged by them: together
with the sum of the homes' meters they tell what was lost on the way. Its registers join as those of other meters do,
from the slot on in which it took the place of another meter; no device's limit is its, and nothing stands in for what
it does not say.

State: rows as in ``settlement_readings``, under a name that no device can have.
"""

from collections.abc import Sequence
from typing import Final

from chaincode import (
    grid,
    roles,
    settlement_amendments,
    settlement_checks,
    settlement_metering,
    settlement_readings,
    slots,
)
from chaincode.contract import Context, ContractError
from chaincode.settlement_checks import Claim
from chaincode.settlement_metering import DayRow
from chaincode.settlement_readings import Reading

FEEDER: Final = "~feeder"
"""Device ids begin with a letter or digit."""
MAX_SLOT_WH: Final = 2**60
"""More than any transformer passes in a slot, and little enough to be added to the sums of all meters."""


def find(ctx: Context, slot: int) -> Reading | None:
    """What the feeder's meter says of a slot."""
    return settlement_readings.find(ctx, FEEDER, slot)


def report(ctx: Context, claim: Claim) -> None:
    """Check and keep what the feeder's meter says of one slot.

    Raises ContractError: no-feeder-meter, wrong-key, negative, no-product, too-early, late, duplicate, conflict,
    out-of-limit, register-mismatch.
    """
    _require_key(ctx)
    product = settlement_amendments.require_product(ctx, claim)
    fault = settlement_checks.known_already(claim, find(ctx, claim.slot))
    if fault is not None:
        raise fault
    _require_fit(ctx, [claim])
    settlement_amendments.replaced(ctx, FEEDER, claim, product.period)
    ctx.emit("feeder-reading", (), (claim.slot, 0, *claim.energy, *claim.registers))


def correct(ctx: Context, first_slot: int, rows: Sequence[DayRow]) -> int:
    """Take the meter's new word for consecutive slots, as a whole or not at all; how many of them have changed.

    Raises ContractError: no-feeder-meter, wrong-key, bad-rows, negative, no-product, too-early, late, out-of-limit,
    register-mismatch, too-many, duplicate (nothing would change).
    """
    settlement_metering.require_rows(rows, settlement_metering.MAX_DAY_ROWS)
    _require_key(ctx)
    claims = settlement_amendments.claims_of(first_slot, rows)
    products = [settlement_amendments.require_product(ctx, claim) for claim in claims]
    _require_fit(ctx, claims)
    changed = 0
    for claim, product in zip(claims, products, strict=True):
        change = settlement_amendments.replaced(ctx, FEEDER, claim, product.period)
        if change is not None:
            ctx.emit("feeder-reading", (), (claim.slot, change[1].revision, *claim.energy, *claim.registers))
            changed += 1
    if not changed:
        raise ContractError("duplicate", "these slots have these readings already")
    return changed


def _require_key(ctx: Context) -> None:
    key = grid.feeder_meter(ctx)
    if key is None:
        raise ContractError("no-feeder-meter", "the grid operator has named no meter at the transformer")
    if not roles.has_right(ctx, "report-feeder", {"feeder-meter": (key,)}):
        raise ContractError("wrong-key", "not the key of the feeder's meter")


def _require_fit(ctx: Context, claims: Sequence[Claim]) -> None:
    for claim in claims:
        fault = settlement_checks.beyond_count(claim)
        if fault is None and max(claim.energy) > MAX_SLOT_WH:
            fault = ContractError("out-of-limit", "more than any transformer passes", (MAX_SLOT_WH, max(claim.energy)))
        if fault is not None:
            raise fault
    since = grid.feeder_meter_since(ctx) // slots.seconds(ctx)
    for part in ([claim for claim in claims if claim.slot < since], [claim for claim in claims if claim.slot >= since]):
        joint = settlement_checks.joint(ctx, FEEDER, part, since) if part else None
        if isinstance(joint, ContractError):
            raise joint
