"""Watching what devices use: forecasts, counters, and alerts with their evidence.

An alert is raised once per device, period and cause, and stays on the ledger:

==================  ==========================================================================================
``ahead``           what it used is above its budget's elapsed share, by more than ``ahead_permille`` of the budget
``borrowed``        others paid for it: devices of its network, the pool, another network
``borrowed-often``  they did so ``borrow_alert`` times
``above-forecast``  ``above_alert_slots`` settled slots in a row cost more than an even share of its forecast
``estimated``       a slot was settled without its meter's reading
==================  ==========================================================================================

*Used* is what settled slots cost it, as corrected since; its *budget* what its owner allocated and left it (allocated -
withdrawn, but for what pool or other networks added when it was short, and what the end of the period took). The
tolerance is a part of the whole budget, not of the elapsed share, or the first busy half hour of a month would be an
alert (decision 0024). *Borrowed* counts what happened by rule, or by another owner's decision: what an owner moves
between devices of its own it knows.

The evidence are the newest MAX_EVIDENCE things that the alert rests on, oldest first, each a ``Proof``: what it is, in
which block, by which transaction, and for how much. Shares, alerts and these figures are never deleted; of a slot
whose details have been, the block and the transaction remain.

State: ``bud-watch/`` device, period(4) -> Watch; ``bud-alerts/`` network NUL -> count; ``bud-alerts/`` network NUL
index(4) -> Alert.
"""

from typing import Final, NamedTuple, cast

from chaincode import accounts, budget_calendar, budget_state, identity, slots
from chaincode.contract import MAX_AMOUNT, Context, ContractError, Value

AHEAD: Final = "ahead"
BORROWED: Final = "borrowed"
BORROWED_OFTEN: Final = "borrowed-often"
ABOVE_FORECAST: Final = "above-forecast"
ESTIMATED: Final = "estimated"

SLOT: Final = "slot"
ESTIMATE: Final = "estimate"
CORRECTION: Final = "correction"
SHARE: Final = "share"
MAX_EVIDENCE: Final = 16

_WATCHES: Final = b"bud-watch/"
_ALERTS: Final = b"bud-alerts/"


class Proof(NamedTuple):
    """What an alert rests on.

    ==============  ===============================================================  ====================
    kind            number, height, reference                                        amount, base units
    ==============  ===============================================================  ====================
    ``slot``        a settled slot; its meter's reading: block and transaction       what it cost
    ``estimate``    a settled slot; the estimate in its place: block and block hook  what it cost
    ``correction``  a settled slot; what changed its readings: block, transaction    by how much more it cost
    ``share``       number of the share in the period's list; block, what it served  what was given
    ==============  ===============================================================  ====================

    What a share served is an order, or the list or request that it came in, by transaction, or a charge of settlement.
    """

    kind: str
    number: int
    height: int
    reference: bytes
    amount: int


class Watch(NamedTuple):
    """What is known of a device in a period. ``forecast``, ``used``: base units; ``last_slot``: the last one
    settled (-1: none); ``above``: how many slots in a row were above the forecast, and the newest of them;
    ``times``: how often others paid for it, and one share for each of the newest times; ``by_rule``: what pool and
    other networks put into its allocated, less what the end of the period took out of it, base units; ``raised``:
    causes alerted already.
    """

    forecast: int = 0
    used: int = 0
    used_wh: int = 0
    last_slot: int = -1
    above: int = 0
    above_slots: tuple[Proof, ...] = ()
    times: int = 0
    shares: tuple[Proof, ...] = ()
    by_rule: int = 0
    raised: tuple[str, ...] = ()


class Alert(NamedTuple):
    """``slot``: in which it was noticed; ``time`` and ``height``: block time, s, and block; ``evidence``: oldest first;
    ``acknowledged``: block time, 0 before. ``figures`` say how it came, amounts in base units:

    - ahead: used, budget, slots of the period that were over, slots of the period, thousandths tolerated
    - borrowed: what the first share gave; borrowed-often: how many times
    - above-forecast: slots in a row, forecast, slots of the period
    - estimated: what the slot cost, Wh imported
    """

    device: str
    period: int
    cause: str
    slot: int
    time: int
    height: int
    figures: tuple[int, ...]
    evidence: tuple[Proof, ...]
    acknowledged: int


def watch_of(ctx: Context, device: str, period: int) -> Watch:
    """What is known of ``device`` in ``period``."""
    value = ctx.get(_watch_key(device, period))
    if value is None:
        return Watch()
    watch = Watch(*cast("Watch", value))
    if not watch.above_slots and not watch.shares:
        return watch
    return watch._replace(above_slots=_proofs(watch.above_slots), shares=_proofs(watch.shares))


def budget_of(ctx: Context, device: str, period: int, watch: Watch) -> int:
    """What its owner allocated to ``device`` and left it, base units, at least 0."""
    book = accounts.device_book(ctx, device, period)
    return max(0, book.allocated - book.withdrawn - watch.by_rule)


def has_budget(ctx: Context, device: str, period: int) -> bool:
    """Whether its owner has allocated ``device`` anything that it still has, or has spent."""
    return budget_of(ctx, device, period, watch_of(ctx, device, period)) > 0


def set_forecast(ctx: Context, device: str, period: int, amount: int) -> None:
    """What the device is expected to spend in the whole period, base units; 0: no forecast.

    Raises ContractError("bad-amount").
    """
    if not 0 <= amount <= MAX_AMOUNT:
        raise ContractError("bad-amount", "a forecast is an integer from 0 to 2^63-1")
    watch = watch_of(ctx, device, period)._replace(forecast=amount)
    _put_watch(ctx, device, period, watch)


def note_use(
    ctx: Context,
    device: str,
    slot: int,
    spent: int,
    energy_wh: int,
    estimated: bool = False,
    reference: bytes = b"",
    height: int = 0,
) -> None:
    """Settlement: ``slot`` cost ``device`` ``spent`` base units for ``energy_wh`` imported. Slots of a device ascend.

    ``estimated``: without its meter's reading; ``reference`` and ``height``: the transaction (or hook) that the figures
    rest on, and its block (default: this call).
    """
    settings = budget_state.settings_of(ctx)
    network = identity.device_of(ctx, device).network
    period = budget_calendar.period_of(ctx, network, slot)
    first, end = budget_calendar.slots_of(ctx, network, period)
    proof = Proof(ESTIMATE if estimated else SLOT, slot, height or ctx.height, reference or ctx.tx_id, spent)
    watch = watch_of(ctx, device, period)
    is_above = watch.forecast > 0 and spent * (end - first) > watch.forecast
    watch = watch._replace(
        used=watch.used + spent,
        used_wh=watch.used_wh + energy_wh,
        last_slot=max(watch.last_slot, slot),
        above=watch.above + 1 if is_above else 0,
        above_slots=(*watch.above_slots, proof)[-min(settings.above_alert_slots, MAX_EVIDENCE) :] if is_above else (),
    )
    watch = _check_ahead(ctx, device, period, watch, proof)
    if watch.above == settings.above_alert_slots:
        figures = watch.above, watch.forecast, end - first
        watch = _raise(ctx, device, period, watch, ABOVE_FORECAST, figures, watch.above_slots)
    if estimated:
        watch = _raise(ctx, device, period, watch, ESTIMATED, (spent, energy_wh), (proof,))
    _put_watch(ctx, device, period, watch)


def note_correction(
    ctx: Context, device: str, slot: int, spent: int, energy_wh: int, reference: bytes, height: int = 0
) -> None:
    """Settlement: a ``slot`` already noted has cost ``spent`` base units and taken ``energy_wh`` more (negative: less)
    than was said, because of the transaction ``reference`` of block ``height`` (default: this one). Alerts raised
    stand; what is used now may raise ``ahead``.
    """
    period = budget_calendar.period_of(ctx, identity.device_of(ctx, device).network, slot)
    watch = watch_of(ctx, device, period)
    watch = watch._replace(used=watch.used + spent, used_wh=watch.used_wh + energy_wh)
    if spent > 0:
        proof = Proof(CORRECTION, slot, height or ctx.height, reference, spent)
        watch = _check_ahead(ctx, device, period, watch, proof)
    _put_watch(ctx, device, period, watch)


def note_share(ctx: Context, device: str, period: int, number: int, amount: int, reference: bytes) -> None:
    """Others paid ``amount`` for ``device`` by the share ``number`` of its network's list, for the hold or charge
    ``reference``. What several give for one thing in one block is one time.
    """
    watch = watch_of(ctx, device, period)
    proof = Proof(SHARE, number, ctx.height, reference or ctx.tx_id, amount)
    if watch.shares and watch.shares[-1][2:4] == proof[2:4]:
        return
    often = budget_state.settings_of(ctx).borrow_alert
    shares = (*watch.shares, proof)[-min(often, MAX_EVIDENCE) :]
    watch = watch._replace(times=watch.times + 1, shares=shares)
    watch = _raise(ctx, device, period, watch, BORROWED, (amount,), (proof,))
    if watch.times == often:
        watch = _raise(ctx, device, period, watch, BORROWED_OFTEN, (often,), shares)
    _put_watch(ctx, device, period, watch)


def note_by_rule(ctx: Context, device: str, period: int, amount: int) -> None:
    """Pool or another network put ``amount`` into what ``device`` is allocated (negative: it went back, or the end of
    the period took what was left): nothing that its owner has decided.
    """
    watch = watch_of(ctx, device, period)
    _put_watch(ctx, device, period, watch._replace(by_rule=watch.by_rule + amount))


def alerts_of(ctx: Context, network: str, first: int, most: int) -> tuple[Alert, ...]:
    """The alerts of ``network`` from number ``first`` on, oldest first, at most ``most``."""
    start = _ALERTS + network.encode() + b"\0"
    end = min(_count(ctx, start), first + most)
    return tuple([_alert(ctx, start, index) for index in range(first, end)])


def acknowledge(ctx: Context, network: str, index: int) -> None:
    """The owner has seen it; the time of the first time stays. Raises ContractError("unknown-alert")."""
    start = _ALERTS + network.encode() + b"\0"
    if not 0 <= index < _count(ctx, start):
        raise ContractError("unknown-alert", f"{network} has no alert {index}")
    alert = _alert(ctx, start, index)
    if not alert.acknowledged:
        ctx.put(start + index.to_bytes(4, "big"), row_of(alert._replace(acknowledged=ctx.time)))
        ctx.emit("alert-acknowledged", (alert.device, network), index)


def row_of(alert: Alert) -> tuple[Value, ...]:
    """An alert as it is stored and answered."""
    return (*alert[:7], _rows(alert.evidence), alert.acknowledged)


def _check_ahead(ctx: Context, device: str, period: int, watch: Watch, proof: Proof) -> Watch:
    """Raise the alert if the device has used more than the elapsed share of its budget, and the tolerance."""
    first, end = budget_calendar.slots_of(ctx, identity.device_of(ctx, device).network, period)
    tolerated = budget_state.settings_of(ctx).ahead_permille
    budget = budget_of(ctx, device, period, watch)
    elapsed, length = watch.last_slot - first + 1, end - first
    if budget and watch.used * 1000 * length > budget * (1000 * elapsed + tolerated * length):
        figures = watch.used, budget, elapsed, length, tolerated
        return _raise(ctx, device, period, watch, AHEAD, figures, (proof,))
    return watch


def _raise(
    ctx: Context,
    device: str,
    period: int,
    watch: Watch,
    cause: str,
    figures: tuple[int, ...],
    evidence: tuple[Proof, ...],
) -> Watch:
    if cause in watch.raised:
        return watch
    network = identity.device_of(ctx, device).network
    start = _ALERTS + network.encode() + b"\0"
    index = _count(ctx, start)
    now = slots.current(ctx)
    alert = Alert(device, period, cause, now, ctx.time, ctx.height, figures, evidence, 0)
    ctx.put(start + index.to_bytes(4, "big"), row_of(alert))
    ctx.put(start, index + 1)
    ctx.emit("alert", (device, network), (index, period, cause, now, figures, _rows(evidence)))
    return watch._replace(raised=(*watch.raised, cause))


def _count(ctx: Context, start: bytes) -> int:
    return cast("int | None", ctx.get(start)) or 0


def _alert(ctx: Context, start: bytes, index: int) -> Alert:
    alert = Alert(*cast("Alert", ctx.get(start + index.to_bytes(4, "big"))))
    return alert._replace(evidence=_proofs(alert.evidence))


def _proofs(rows: tuple[Proof, ...]) -> tuple[Proof, ...]:
    return tuple([Proof(*row) for row in rows])


def _rows(proofs: tuple[Proof, ...]) -> tuple[Value, ...]:
    return tuple([tuple(proof) for proof in proofs])


def _put_watch(ctx: Context, device: str, period: int, watch: Watch) -> None:
    plain = (*watch[:5], _rows(watch.above_slots), watch.times, _rows(watch.shares), *watch[8:])
    ctx.put(_watch_key(device, period), plain)


def _watch_key(device: str, period: int) -> bytes:
    return _WATCHES + device.encode() + b"\0" + period.to_bytes(4, "big")
