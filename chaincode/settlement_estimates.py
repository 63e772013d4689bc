"""What stands in for a reading that never came, at the end of its metering window.

If the slots on both sides were read, their registers say exactly what flowed, and the row is *spread* at once.
Otherwise it is estimated so that silence never pays (``settlement_readings.estimate``), and given its part of what
later registers show when the whole gap is known (``settlement_gaps``).
"""

from chaincode import identity, settlement_checks, settlement_queue, settlement_readings
from chaincode.contract import Context
from chaincode.market_orders import Position
from chaincode.market_products import Product
from chaincode.settlement_readings import Reading


def stand_in(ctx: Context, device_id: str, slot: int, product: Product, position: Position | None) -> Reading:
    """Give a slot without a reading its row, and tell."""
    device = identity.device_of(ctx, device_id)
    means = settlement_readings.usual(ctx, device_id, slot, product)
    before = settlement_readings.find(ctx, device_id, slot - 1) if slot else None
    after = settlement_readings.read_after(ctx, device_id, slot)
    if before is not None and before.is_read and after is not None and after[0] == slot + 1:
        flowed = [late - early for late, early in zip(after[1].start, before.registers, strict=True)]
        energy = [min(wh, most) for wh, most in zip(flowed, settlement_checks.limits_wh(device, product), strict=True)]
        row = Reading(energy[0], energy[1], 0, 0, False, after[1].cause, after[1].height, 0, means)
        settlement_readings.keep(ctx, device_id, slot, row)
        settlement_queue.tell_spread(ctx, device, slot, row)
        settlement_queue.tell_rest(ctx, device, (slot, slot), (flowed[0] - energy[0], flowed[1] - energy[1]))
        return row
    if after is not None:
        settlement_queue.put(ctx, device_id, after[0])
    guess = settlement_readings.estimate(means, position)
    row = settlement_readings.keep_estimate(ctx, device_id, slot, product.period, guess, means)
    ctx.emit("estimated", (device_id, device.network), (slot, row.import_wh, row.export_wh))
    return row
