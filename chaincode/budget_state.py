"""What the budget's modules share: settings, periods, and the states of a device.

A billing *period* is a run of slots of a network's calendar (``budget_calendar``). It is PLANNED before its first
slot begins, ACTIVE until its last one ends, then CLOSING: settled further, but no longer issued to or allocated from;
and CLOSED when its rest has moved on (``budget_close``).

A device's state in a period:

========  ==============================================================================================
ACTIVE    it has what it needs
LOW       available is below ``low_permille`` of its budget: what it was allocated and keeps (allocated - withdrawn)
DEPLETED  available is at most ``depleted_permille`` of it; so is whoever was allocated nothing and has nothing
LIMITED   depleted, and nobody could help when it had to pay: it may not buy (event ``curtail``, for the plug)
GRACE     the same for a critical device: it may not buy either, but runs on, owing
========  ==============================================================================================

The first three follow from the book alone. LIMITED and GRACE are remembered (``stopped``) and end when the device has
more than the depleted threshold again and owes nothing for the period. They concern their period alone: a new one
begins afresh. ``budget_plug`` tells the plug (``curtail``, ``restore``).

Each change of a state is told once, by the event ``budget-state``, and remembered (``Since``); a device begins its
period DEPLETED, until it is allocated something.

State: ``bud-settings/`` -> Settings; ``bud-since/`` device NUL period(4) -> Since; ``bud-owed/`` network -> (total,
((device, period, amount), ...)), oldest first.
"""

from typing import Final, NamedTuple, cast

from chaincode import accounts, budget_calendar, budget_closed, budget_plug, identity, slots
from chaincode.accounts import DeviceBook
from chaincode.contract import Context, ContractError

PLANNED: Final = "planned"
CLOSING: Final = "closing"
CLOSED: Final = budget_closed.CLOSED
ACTIVE: Final = "active"
LOW: Final = "low"
DEPLETED: Final = "depleted"
LIMITED: Final = "limited"
GRACE: Final = "grace"

PERIODS_AHEAD: Final = 400
"""How far ahead a period may be planned."""

_SETTINGS: Final = b"bud-settings/"
_OWED: Final = b"bud-owed/"
_ARREARS: Final = b"bud-arrears/"
_SINCE: Final = b"bud-since/"

BY_MONEY: Final = "money"
BY_ORDER: Final = "order"
BY_DEBT: Final = "debt"
BY_HELP: Final = "help"


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


class Since(NamedTuple):
    """A device is in ``state`` since block ``height`` of ``time`` (s), by the transaction or block hook ``tx_id``.

    ``why``: BY_MONEY came or went; BY_ORDER or BY_DEBT, which it could not pay, and nobody for it: the hold or charge
    ``reference``; BY_HELP: it can pay again, after it was stopped.
    """

    state: str
    time: int
    height: int
    tx_id: bytes
    why: str
    reference: bytes


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
    """ "planned", "active", "closing" or "closed". Raises ContractError("unknown-period")."""
    require_period(ctx, network, period)
    first, end = budget_calendar.slots_of(ctx, network, period)
    now = slots.current(ctx)
    if now < end:
        return PLANNED if now < first else ACTIVE
    return CLOSED if budget_closed.is_closed(ctx, "pool", network, period, end) else CLOSING


def require_period(ctx: Context, network: str, period: int) -> None:
    """Raises ContractError("unknown-period") for a negative one, or one too far ahead."""
    latest = budget_calendar.period_of(ctx, network, slots.current(ctx)) + PERIODS_AHEAD
    if not 0 <= period <= latest:
        raise ContractError("unknown-period", f"period {period} is not between 0 and {latest}")


def require_open_period(ctx: Context, network: str, period: int) -> None:
    """Raises ContractError: unknown-period, period-closing, period-over."""
    require_open(status_of(ctx, network, period), period)


def require_open(status: str, period: int) -> None:
    """Raises ContractError: period-closing, period-over, if a period of this status is."""
    if status in (CLOSING, CLOSED):
        code = "period-closing" if status == CLOSING else "period-over"
        raise ContractError(code, f"period {period} is {status}")


def budget_of(book: DeviceBook) -> int:
    """What thresholds are shares of: what a device was allocated and keeps, at least 0."""
    return max(0, book.allocated - book.withdrawn)


def level_of(book: DeviceBook, settings: Settings) -> str:
    """ACTIVE, LOW or DEPLETED, by the book alone."""
    thousandfold, budget = book.available * 1000, budget_of(book)
    if thousandfold <= budget * settings.depleted_permille:
        return DEPLETED
    return LOW if thousandfold < budget * settings.low_permille else ACTIVE


def matters(ctx: Context, before: DeviceBook, change: int) -> bool:
    """Whether ``change`` of what is available may change the device's state: what every hold asks first."""
    if before.stopped:
        return True
    settings, budget = settings_of(ctx), budget_of(before)
    one, other = before.available * 1000, (before.available + change) * 1000
    low, depleted = budget * settings.low_permille, budget * settings.depleted_permille
    return (one < low) != (other < low) or (one <= depleted) != (other <= depleted)


def state_of(ctx: Context, device: str, period: int) -> str:
    """The state of ``device`` in ``period``. Raises ContractError("unknown-device") where it matters."""
    book = accounts.device_book(ctx, device, period)
    if book.stopped:
        return GRACE if identity.device_of(ctx, device).critical else LIMITED
    return level_of(book, settings_of(ctx))


def since_of(ctx: Context, device: str, period: int) -> Since | None:
    """The last change of its state in ``period`` that was told; None before the first."""
    value = ctx.get(_since_key(device, period))
    return None if value is None else Since(*cast("Since", value))


def stop(ctx: Context, device: str, period: int, why: str = BY_MONEY, reference: bytes = b"") -> None:
    """The device could not pay, and nobody could help: LIMITED, or GRACE if critical. ``why``: BY_ORDER or BY_DEBT,
    with the hold or charge that it could not pay.
    """
    if accounts.device_book(ctx, device, period).stopped:
        return
    accounts.set_stopped(ctx, device, period, True)
    state = GRACE if identity.device_of(ctx, device).critical else LIMITED
    _tell(ctx, device, period, state, why, reference)
    budget_plug.curtail(ctx, device, period)


def note_change(ctx: Context, device: str, period: int, before: DeviceBook) -> None:
    """Tell if the device's state is not what it was with the book ``before``; lift a stop that has lost its reason."""
    settings = settings_of(ctx)
    after = accounts.device_book(ctx, device, period)
    level = level_of(after, settings)
    if after.stopped:
        if level == DEPLETED or _owes(ctx, device, period):
            return
        accounts.set_stopped(ctx, device, period, False)
        _tell(ctx, device, period, level, BY_HELP, b"")
        budget_plug.restore(ctx, device, period)
    elif level != level_of(before, settings):
        # Between two movements of one step a device may seem richer than it was: what counts is what was told last.
        told = since_of(ctx, device, period)
        if level != (DEPLETED if told is None else told.state):
            _tell(ctx, device, period, level, BY_MONEY, b"")


def debt_of(ctx: Context, network: str) -> int:
    """All that ``network`` owes the utility, without a look at the claims: they may be hundreds."""
    return cast("tuple[int, object]", ctx.get(_OWED + network.encode()) or (0, ()))[0]


def owed_of(ctx: Context, network: str) -> tuple[int, tuple[Owed, ...]]:
    """(total, claims oldest first) of the utility on ``network``."""
    total, claims = cast("tuple[int, tuple[Owed, ...]]", ctx.get(_OWED + network.encode()) or (0, ()))
    return total, tuple([Owed(*claim) for claim in claims])


def put_owed(ctx: Context, network: str, claims: tuple[Owed, ...]) -> None:
    """Replace the claims on ``network``."""
    if bool(claims) != bool(debt_of(ctx, network)):
        member = identity.network_of(ctx, network).member
        ctx.put(_ARREARS + member.encode(), arrears_of(ctx, member) + (1 if claims else -1))
    if claims:
        total = sum([claim.amount for claim in claims])
        ctx.put(_OWED + network.encode(), (total, tuple([tuple(claim) for claim in claims])))
    else:
        ctx.delete(_OWED + network.encode())


def arrears_of(ctx: Context, member: str) -> int:
    """How many networks of a company owe the utility."""
    return cast("int | None", ctx.get(_ARREARS + member.encode())) or 0


def _tell(ctx: Context, device: str, period: int, state: str, why: str, reference: bytes) -> None:
    ctx.put(_since_key(device, period), (state, ctx.time, ctx.height, ctx.tx_id, why, reference))
    ctx.emit("budget-state", (device, identity.device_of(ctx, device).network), (period, state))


def _since_key(device: str, period: int) -> bytes:
    return _SINCE + device.encode() + b"\0" + period.to_bytes(4, "big")


def _owes(ctx: Context, device: str, period: int) -> bool:
    _, claims = owed_of(ctx, identity.device_of(ctx, device).network)
    return any(claim.device == device and claim.period == period for claim in claims)
