"""Taking readings: one by one, a meter's day at once, or many meters' by a collector.

A reading is taken from the slot's end until its metering window ends. Of many in one transaction each row counts by
itself: those that cannot be taken are listed in the result, the others are kept; if none can be, the transaction is
refused with the first row's code, and the details name every row's (their places in ``ROW_CODES``). Nothing is lost
that way: what a collector brings is as many meters' word as it has rows, and none of them can spoil another's.

A collector is a member with the role aggregator. Each of its rows carries its meter's own signature
(``settlement_messages``), so that it can leave out and delay, but not invent. A row with a bad signature refuses the
whole transaction: the collector could have told, and forged rows would otherwise make every node check signatures for
nothing.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from chaincode import (
    identity,
    market_products,
    roles,
    settlement_checks,
    settlement_corrections,
    settlement_gaps,
    settlement_readings,
)
from chaincode.contract import Context, ContractError
from chaincode.identity import Device
from chaincode.settlement_checks import Claim, Joint
from chaincode.settlement_messages import reading_message
from chaincode.settlement_readings import Reading

DayRow: TypeAlias = tuple[int, int, int, int]
"""Import and export in Wh, import and export register."""
CollectedRow: TypeAlias = tuple[str, int, int, int, int, int, bytes]
"""Device, slot, import and export in Wh, import and export register, the meter's signature."""
Refused: TypeAlias = tuple[tuple[int, str], ...]
"""(index of the row, code), ascending."""

MAX_DAY_ROWS: Final = 96
"""Of one meter in one transaction: a day of quarter hours."""
MAX_COLLECTED_ROWS: Final = 128
"""Of all meters in one transaction: their signatures are most of what its steps allow."""

ROW_CODES: Final = (
    "unknown-device",
    "negative",
    "no-product",
    "too-early",
    "late",
    "duplicate",
    "conflict",
    "not-connected",
    "out-of-limit",
    "register-mismatch",
)
"""Why a row of many is not taken."""


def report(ctx: Context, device_id: str, claim: Claim) -> None:
    """Check and keep what a meter says of one slot.

    Raises ContractError: unknown-device, wrong-key, negative, no-product, too-early, late, duplicate, conflict,
    not-connected, out-of-limit (details: limit, reading), register-mismatch.
    """
    device = identity.require_meter(ctx, device_id)
    found = _check(ctx, device, claim)
    if isinstance(found, ContractError):
        raise found
    _keep(ctx, device, claim, found)


def report_day(ctx: Context, device_id: str, first_slot: int, rows: Sequence[DayRow]) -> Refused:
    """Keep what a meter says of consecutive slots; the rows that were refused.

    Raises ContractError: unknown-device, wrong-key, bad-rows; if no row is taken, the first one's code (details: the
    place of every row's in ``ROW_CODES``).
    """
    require_rows(rows, MAX_DAY_ROWS)
    device = identity.require_meter(ctx, device_id)
    refused: list[tuple[int, ContractError]] = []
    for index, row in enumerate(rows):
        claim = Claim(first_slot + index, row[:2], row[2:])
        found = _check(ctx, device, claim)
        if isinstance(found, ContractError):
            refused.append((index, found))
        else:
            _keep(ctx, device, claim, found)
    return _told(refused, len(rows))


def collect(ctx: Context, rows: Sequence[CollectedRow]) -> Refused:
    """Keep what many meters say, each of whose rows its own meter has signed; the rows that were refused.

    Raises ContractError: not-allowed, bad-rows, bad-signature (details: the row's index); if no row is taken, the
    first one's code (details: the place of every row's in ``ROW_CODES``).
    """
    roles.require_right(ctx, "collect")
    require_rows(rows, MAX_COLLECTED_ROWS)
    refused: list[tuple[int, ContractError]] = []
    devices: dict[str, Device | None] = {}
    for index, (device_id, slot, *figures, signature) in enumerate(rows):
        if device_id not in devices:
            devices[device_id] = _device(ctx, device_id)
        device = devices[device_id]
        if device is None:
            refused.append((index, ContractError("unknown-device", "there is no such device")))
            continue
        claim = Claim(slot, (figures[0], figures[1]), (figures[2], figures[3]))
        found = _check(ctx, device, claim)
        if isinstance(found, ContractError):
            refused.append((index, found))
            continue
        message = reading_message(ctx.chain, device_id, slot, claim.energy, claim.registers)
        if not ctx.verify(device.meter_key, message, signature):
            raise ContractError("bad-signature", f"row {index} is not signed by the meter of {device_id}", (index,))
        _keep(ctx, device, claim, found)
    return _told(refused, len(rows))


def require_rows(rows: Sequence[object], most: int) -> None:
    """Raises ContractError("bad-rows") for none, or more than ``most`` (details: most, rows)."""
    if not 0 < len(rows) <= most:
        raise ContractError("bad-rows", f"1 to {most} rows, not {len(rows)}", (most, len(rows)))


def _device(ctx: Context, device_id: str) -> Device | None:
    try:
        return identity.device_of(ctx, device_id)
    except ContractError as error:
        if error.code != "unknown-device":
            raise
        return None


class _Fit(NamedTuple):
    """Where a reading joins those around it, what holds in its slot until now, and the slot's billing period."""

    joint: Joint
    known: Reading | None
    period: int


def _check(ctx: Context, device: Device, claim: Claim) -> _Fit | ContractError:
    """How the reading fits in, or why it is refused."""
    product = market_products.find(ctx, claim.slot) if claim.slot >= 0 else None
    fault = settlement_checks.untimely(ctx, claim, product, 0 if product is None else product.metered_by)
    if fault is not None or product is None:
        return fault or ContractError("no-product", "the slot is not open yet")
    known = settlement_readings.find(ctx, device.id, claim.slot)
    fault = settlement_checks.known_already(claim, known) or settlement_checks.impossible(device, claim, product)
    if fault is not None:
        return fault
    joint = settlement_checks.joint(ctx, device.id, [claim])
    return joint if isinstance(joint, ContractError) else _Fit(joint, known, product.period)


def _keep(ctx: Context, device: Device, claim: Claim, fit: _Fit) -> None:
    row = settlement_readings.read(ctx, claim.energy, claim.registers)
    if fit.known is None:
        settlement_readings.keep(ctx, device.id, claim.slot, row)
    else:  # estimated when the window seemed to be over, before an outage gave it more time
        settlement_readings.replace(ctx, device.id, claim.slot, fit.period, fit.known, row)
        settlement_corrections.reopen(ctx, device.network, claim.slot)
    settlement_gaps.note(ctx, device.id, claim.slot, claim.slot, fit.joint)
    ctx.emit("reading", (device.id, device.network), (claim.slot, *claim.energy, *claim.registers))


def _told(refused: Sequence[tuple[int, ContractError]], rows: int) -> Refused:
    if len(refused) == rows:
        found = [fault.code for _, fault in refused]
        raise ContractError(found[0], "no row is taken", tuple([ROW_CODES.index(code) for code in found]))
    return tuple([(index, fault.code) for index, fault in refused])
