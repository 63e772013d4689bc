"""What the budget's modules share: settings, periods, and the states of a device.

A billing *period* is a run of slots of a network's calendar (``budget_calendar``). It is PLANNED before its first
slot begins, ACTIVE until its last one ends, then CLOSING: settled further, but no longer issued to or allocated from;
and CLOSED when its rest has moved on (``budget_close``).

A device's state in a period:

========  ==============================================================================================
ACTIVE    it has what it needs
LOW       available is below ``low_permille`` of what it was allocated
DEPLETED  available is at most ``depleted_permille`` of it
LIMITED   depleted, and nobody could help when it had to pay: it may not buy (event ``curtail``, for the plug)
GRACE     the same for a critical device: it may not buy either, but runs on, owing
========  ==============================================================================================

The first three follow from the book alone. LIMITED and GRACE are remembered (``stopped``) and end when the device has
more than the depleted threshold again and owes nothing (event ``restore``). They concern their period alone: the
events for the plug are emitted while it is active, and a new period begins afresh.

State: ``bud-settings/`` -> Settings; ``bud-owed/`` network -> (total, ((device, period, amount), ...)), oldest first.
"""

from typing import Final, NamedTuple, cast

from chaincode import accounts, budget_calendar, budget_closed, identity, slots
from chaincode.accounts import DeviceBook
from chaincode.contract import Context, ContractError

ACTIVE: Final = "active"
LOW: Final = "low"
DEPLETED: Final = "depleted"
LIMITED: Final = "limited"
PLANNED: Final = "planned"
CLOSING: Final = "closing"
CLOSED: Final = budget_closed.CLOSED
GRACE: Final = "grace"

PERIODS_AHEAD: Final = 400
"""How far ahead a period may be planned."""

_SETTINGS: Final = b"bud-settings/"
_OWED: Final = b"bud-owed/"


class Settings(NamedTuple):
    """``period_slots``: slots of a period; thresholds in thousandths of the allocation: ``low_permille``,
    ``depleted_permille``; alerts: ``ahead_permille``, tolerated above the elapsed share; ``borrow_alert``, shares
    received; ``above_alert_slots``, slots in a row above the forecast.
    """

    period_slots: int
    low_permille: int = 200
    depleted_permille: int = 10
    ahead_permille: int = 100
    borrow_alert: int = 3
    above_alert_slots: int = 4


class Owed(NamedTuple):
    """The utility's claim on one device, in base units, from the settlement of ``period``."""

    device: str
    period: int
    amount: int


def configure(ctx: Context, settings: Settings) -> None:
    """Set once, at genesis. Raises ContractError("bad-settings")."""
    limits = (100_000, 1000, 1000, 100_000, 1000, 1000)
    for name, value, most in zip(Settings._fields, settings, limits, strict=True):
        least = 0 if name.endswith("permille") else 1
        if type(value) is not int or not least <= value <= most:
            raise ContractError("bad-settings", f"budget: {name} is {least} to {most}")
    ctx.put(_SETTINGS, tuple(settings))
    budget_calendar.configure(ctx, settings.period_slots)


def settings_of(ctx: Context) -> Settings:
    """Raises ContractError("not-configured") without genesis settings."""
    value = ctx.get(_SETTINGS)
    if value is None:
        raise ContractError("not-configured", "the genesis settings have no budget")
    return Settings(*cast("Settings", value))


def rest_of(ctx: Context, network: str, period: int) -> int:
    """How many slots of a network's ``period`` are not over yet, the one under way included."""
    first, end = budget_calendar.slots_of(ctx, network, period)
    return min(max(end - slots.current(ctx), 0), end - first)


def status_of(ctx: Context, network: str, period: int) -> str:
    """ "planned", "active" or "over". Raises ContractError("unknown-period")."""
    require_period(ctx, network, period)
    first, end = budget_calendar.slots_of(ctx, network, period)
    now = slots.current(ctx)
    if now < end:
        return PLANNED if now < first else ACTIVE
    return CLOSED if budget_closed.is_closed(ctx, "pool", network, period) else CLOSING


def require_period(ctx: Context, network: str, period: int) -> None:
    """Raises ContractError("unknown-period") for a negative one, or one too far ahead."""
    latest = budget_calendar.period_of(ctx, network, slots.current(ctx)) + PERIODS_AHEAD
    if not 0 <= period <= latest:
        raise ContractError("unknown-period", f"period {period} is not between 0 and {latest}")


def require_open_period(ctx: Context, network: str, period: int) -> None:
    """Raises ContractError: unknown-period, period-closing, period-over."""
    status = status_of(ctx, network, period)
    if status in (CLOSING, CLOSED):
        code = "period-closing" if status == CLOSING else "period-over"
        raise ContractError(code, f"period {period} is {status}")


def budget_of(book: DeviceBook) -> int:
    """What thresholds are shares of: what a device was allocated and keeps, at least 0."""
    return max(0, book.allocated - book.withdrawn)


def level_of(book: DeviceBook, settings: Settings) -> str:
    """ACTIVE, LOW or DEPLETED, by the book alone."""
    thousandfold = book.available * 1000
    if thousandfold <= book.allocated * settings.depleted_permille:
        return DEPLETED
    return LOW if thousandfold < book.allocated * settings.low_permille else ACTIVE


def matters(ctx: Context, before: DeviceBook, change: int) -> bool:
    """Whether ``change`` of what is available may change the device's state: what every hold asks first."""
    if before.stopped:
        return True
    settings = settings_of(ctx)
    one, other = before.available * 1000, (before.available + change) * 1000
    low, depleted = before.allocated * settings.low_permille, before.allocated * settings.depleted_permille
    return (one < low) != (other < low) or (one <= depleted) != (other <= depleted)


def state_of(ctx: Context, device: str, period: int) -> str:
    """The state of ``device`` in ``period``. Raises ContractError("unknown-device") where it matters."""
    book = accounts.device_book(ctx, device, period)
    if book.stopped:
        return GRACE if identity.device_of(ctx, device).critical else LIMITED
    return level_of(book, settings_of(ctx))


def stop(ctx: Context, device: str, period: int) -> None:
    """The device could not pay, and nobody could help: LIMITED, or GRACE if critical."""
    if accounts.device_book(ctx, device, period).stopped:
        return
    accounts.set_stopped(ctx, device, period, True)
    found = identity.device_of(ctx, device)
    keys = (device, found.network)
    ctx.emit("budget-state", keys, (period, GRACE if found.critical else LIMITED))
    if not found.critical and _is_active(ctx, found.network, period):
        ctx.emit("curtail", keys, period)


def note_change(ctx: Context, device: str, period: int, before: DeviceBook) -> None:
    """Tell if the device's state is not what it was with the book ``before``; lift a stop that has lost its reason."""
    settings = settings_of(ctx)
    after = accounts.device_book(ctx, device, period)
    level = level_of(after, settings)
    if after.stopped:
        if level == DEPLETED or _owes(ctx, device, period):
            return
        accounts.set_stopped(ctx, device, period, False)
        network = identity.device_of(ctx, device).network
        ctx.emit("budget-state", (device, network), (period, level))
        if _is_active(ctx, network, period):
            ctx.emit("restore", (device, network), period)
    elif level != level_of(before, settings):
        ctx.emit("budget-state", (device, identity.device_of(ctx, device).network), (period, level))


def owed_of(ctx: Context, network: str) -> tuple[int, tuple[Owed, ...]]:
    """(total, claims oldest first) of the utility on ``network``."""
    total, claims = cast("tuple[int, tuple[Owed, ...]]", ctx.get(_OWED + network.encode()) or (0, ()))
    return total, tuple([Owed(*claim) for claim in claims])


def put_owed(ctx: Context, network: str, claims: tuple[Owed, ...]) -> None:
    """Replace the claims on ``network``."""
    if claims:
        total = sum([claim.amount for claim in claims])
        ctx.put(_OWED + network.encode(), (total, tuple([tuple(claim) for claim in claims])))
    else:
        ctx.delete(_OWED + network.encode())


def _is_active(ctx: Context, network: str, period: int) -> bool:
    first, end = budget_calendar.slots_of(ctx, network, period)
    return first <= slots.current(ctx) < end


def _owes(ctx: Context, device: str, period: int) -> bool:
    _, claims = owed_of(ctx, identity.device_of(ctx, device).network)
    return any(claim.device == device and claim.period == period for claim in claims)
