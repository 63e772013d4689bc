"""Watching what devices use: forecasts, counters, and alerts with their evidence.

An alert is raised once per device, period and cause, and stays on the ledger:

==================  ==========================================================================================
``ahead``           what it used so far is above its allocation's elapsed share, with ``ahead_permille`` tolerated
``borrowed``        others of its network paid for it
``borrowed-often``  they did so ``borrow_alert`` times
``above-forecast``  ``above_alert_slots`` settled slots in a row cost more than an even share of its forecast
``estimated``       a slot was settled without its meter's reading
==================  ==========================================================================================

The evidence of an alert: references (transaction or order ids) of what it rests on.

State: ``bud-watch/`` device, period(4) -> Watch; ``bud-alerts/`` network NUL -> count; ``bud-alerts/`` network NUL
index(4) -> Alert.
"""

from typing import Final, NamedTuple, cast

from chaincode import accounts, budget_calendar, budget_state, identity, slots
from chaincode.contract import MAX_AMOUNT, Context, ContractError

AHEAD: Final = "ahead"
BORROWED: Final = "borrowed"
BORROWED_OFTEN: Final = "borrowed-often"
ABOVE_FORECAST: Final = "above-forecast"
ESTIMATED: Final = "estimated"
CAUSES: Final = (AHEAD, BORROWED, BORROWED_OFTEN, ABOVE_FORECAST, ESTIMATED)

_WATCHES: Final = b"bud-watch/"
_ALERTS: Final = b"bud-alerts/"


class Watch(NamedTuple):
    """What is known of a device in a period. ``forecast``, ``used``: base units; ``last_slot``: the last one
    settled (-1: none); ``above``: references of the slots in a row above the forecast; ``borrowed_for``: references
    of what others paid for, at most ``borrow_alert``; ``raised``: causes alerted already.
    """

    forecast: int = 0
    used: int = 0
    used_wh: int = 0
    last_slot: int = -1
    above: tuple[bytes, ...] = ()
    borrowed_for: tuple[bytes, ...] = ()
    raised: tuple[str, ...] = ()


class Alert(NamedTuple):
    """``slot``: in which it was noticed; ``time``: block time, s; ``evidence``: references, oldest first."""

    device: str
    period: int
    cause: str
    slot: int
    time: int
    evidence: tuple[bytes, ...]
    acknowledged: bool


def watch_of(ctx: Context, device: str, period: int) -> Watch:
    """What is known of ``device`` in ``period``."""
    value = ctx.get(_watch_key(device, period))
    return Watch() if value is None else Watch(*cast("Watch", value))


def set_forecast(ctx: Context, device: str, period: int, amount: int) -> None:
    """What the device is expected to spend in the whole period, base units; 0: no forecast.

    Raises ContractError("bad-amount").
    """
    if not 0 <= amount <= MAX_AMOUNT:
        raise ContractError("bad-amount", "a forecast is an integer from 0 to 2^63-1")
    watch = watch_of(ctx, device, period)._replace(forecast=amount)
    ctx.put(_watch_key(device, period), tuple(watch))


def note_use(
    ctx: Context,
    device: str,
    slot: int,
    spent: int,
    energy_wh: int,
    estimated: bool = False,
    reference: bytes = b"",
) -> None:
    """Settlement: ``slot`` cost ``device`` ``spent`` base units for ``energy_wh`` imported. Slots of a device ascend.

    ``estimated``: without its meter's reading; ``reference``: what the figures rest on (default: this call).
    """
    settings = budget_state.settings_of(ctx)
    network = identity.device_of(ctx, device).network
    period = budget_calendar.period_of(ctx, network, slot)
    first, end = budget_calendar.slots_of(ctx, network, period)
    evidence = reference or ctx.tx_id
    watch = watch_of(ctx, device, period)
    is_above = watch.forecast > 0 and spent * (end - first) > watch.forecast
    watch = watch._replace(
        used=watch.used + spent,
        used_wh=watch.used_wh + energy_wh,
        last_slot=max(watch.last_slot, slot),
        above=(*watch.above, evidence)[-settings.above_alert_slots :] if is_above else (),
    )
    watch = _check_ahead(ctx, device, period, watch, evidence)
    if len(watch.above) == settings.above_alert_slots:
        watch = _raise(ctx, device, period, watch, ABOVE_FORECAST, watch.above)
    if estimated:
        watch = _raise(ctx, device, period, watch, ESTIMATED, (evidence,))
    ctx.put(_watch_key(device, period), tuple(watch))


def note_correction(ctx: Context, device: str, slot: int, spent: int, energy_wh: int, reference: bytes) -> None:
    """Settlement: a ``slot`` already noted has cost ``spent`` base units and taken ``energy_wh`` more (negative: less)
    than was said. Alerts raised stand; what is used now may raise ``ahead``.
    """
    period = budget_calendar.period_of(ctx, identity.device_of(ctx, device).network, slot)
    watch = watch_of(ctx, device, period)
    watch = watch._replace(used=watch.used + spent, used_wh=watch.used_wh + energy_wh)
    if spent > 0:
        watch = _check_ahead(ctx, device, period, watch, reference)
    ctx.put(_watch_key(device, period), tuple(watch))


def note_borrowed(ctx: Context, device: str, period: int, reference: bytes) -> None:
    """Others of its network paid for ``device``, for the hold or charge ``reference``."""
    often = budget_state.settings_of(ctx).borrow_alert
    watch = watch_of(ctx, device, period)
    evidence = reference or ctx.tx_id
    watch = watch._replace(borrowed_for=(*watch.borrowed_for, evidence)[-often:])
    watch = _raise(ctx, device, period, watch, BORROWED, (evidence,))
    if len(watch.borrowed_for) == often:
        watch = _raise(ctx, device, period, watch, BORROWED_OFTEN, watch.borrowed_for)
    ctx.put(_watch_key(device, period), tuple(watch))


def alerts_of(ctx: Context, network: str, first: int, most: int) -> tuple[Alert, ...]:
    """The alerts of ``network`` from number ``first`` on, oldest first, at most ``most``."""
    start = _ALERTS + network.encode() + b"\0"
    end = min(_count(ctx, start), first + most)
    return tuple([_alert(ctx, start, index) for index in range(first, end)])


def acknowledge(ctx: Context, network: str, index: int) -> None:
    """The owner has seen it. Raises ContractError("unknown-alert")."""
    start = _ALERTS + network.encode() + b"\0"
    if not 0 <= index < _count(ctx, start):
        raise ContractError("unknown-alert", f"{network} has no alert {index}")
    ctx.put(start + index.to_bytes(4, "big"), tuple(_alert(ctx, start, index)._replace(acknowledged=True)))


def _check_ahead(ctx: Context, device: str, period: int, watch: Watch, evidence: bytes) -> Watch:
    """Raise the alert if the device has used more than the elapsed share of its allocation."""
    first, end = budget_calendar.slots_of(ctx, identity.device_of(ctx, device).network, period)
    tolerated = 1000 + budget_state.settings_of(ctx).ahead_permille
    allocated = accounts.device_book(ctx, device, period).allocated
    elapsed = watch.last_slot - first + 1
    if allocated and watch.used * 1000 * (end - first) > allocated * elapsed * tolerated:
        return _raise(ctx, device, period, watch, AHEAD, (evidence,))
    return watch


def _raise(ctx: Context, device: str, period: int, watch: Watch, cause: str, evidence: tuple[bytes, ...]) -> Watch:
    if cause in watch.raised:
        return watch
    network = identity.device_of(ctx, device).network
    start = _ALERTS + network.encode() + b"\0"
    index = _count(ctx, start)
    alert = Alert(device, period, cause, slots.current(ctx), ctx.time, evidence, False)
    ctx.put(start + index.to_bytes(4, "big"), tuple(alert))
    ctx.put(start, index + 1)
    ctx.emit("alert", (device, network), (index, *alert[1:6]))
    return watch._replace(raised=(*watch.raised, cause))


def _count(ctx: Context, start: bytes) -> int:
    return cast("int | None", ctx.get(start)) or 0


def _alert(ctx: Context, start: bytes, index: int) -> Alert:
    return Alert(*cast("Alert", ctx.get(start + index.to_bytes(4, "big"))))


def _watch_key(device: str, period: int) -> bytes:
    return _WATCHES + device.encode() + b"\0" + period.to_bytes(4, "big")
