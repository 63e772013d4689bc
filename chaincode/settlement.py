"""Metering and settlement: what was delivered, against what was contracted.

When a slot is over its meters report. When the metering window ends, in ``begin_block`` of the first block from then
on:

    step        per network, in the order of registration               then the product is
    estimate    stand-ins for missing readings                          METERED, or ESTIMATED if there were any
    settle      deviations netted, charged and credited                 SETTLED; tolls and rent are paid out

and when the dispute window ends, FINAL. A block does a bounded part of this (``WORK_PER_BLOCK`` devices) and leaves a
cursor in the calendar; products are settled one after the other, in order of time.

Until then a network whose readings change is settled anew (``settlement_corrections``, ``settlement_anew``). When all
slots of a billing period are FINAL its congestion rent goes back to the networks (``settlement_rent``).

Each network in each slot is a unit by itself: one that fails is undone alone and parked (``settlement_parking``), the
calendar goes on, and an admin has it done again (``release``).

The rules of readings and estimates stand in ``settlement_readings``, of netting in ``settlement_netting``, of what a
slot comes to in ``settlement_lines``, of payment in ``settlement_run``, and what is written down in
``settlement_ledger``. There are no genesis settings of its own: the windows are the market's.

State: as these modules say, and the table ``settling/`` of ``market_calendar``.
"""

from typing import Final

from chaincode import (
    accounts,
    budget_calendar,
    identity,
    market_calendar,
    market_products,
    pruned,
    roles,
    settlement_amendments,
    settlement_corrections,
    settlement_events,
    settlement_feeder,
    settlement_gaps,
    settlement_ledger,
    settlement_losses,
    settlement_metering,
    settlement_parking,
    settlement_queue,
    settlement_readings,
    settlement_rent,
)
from chaincode.arguments import CommonPeriod, NetworkPeriod, Slot
from chaincode.contract import Context, Contract, ContractError, Value, query, transaction
from chaincode.market_calendar import SETTLEMENT
from chaincode.settlement_checks import Claim
from chaincode.settlement_ledger import Settled
from chaincode.settlement_metering import CollectedRow, DayRow
from chaincode.subjects import READINGS, REGISTRY, a_device, a_network, a_role, closed, the_consortium

MAX_BILL_SLOTS: Final = 10_000
MAX_LISTED: Final = 500


class Settlement(Contract):
    """Readings in; charges, credits and bills out."""

    name = "settlement"
    results = READINGS
    indexed = (
        market_calendar.SETTLEMENT,
        settlement_queue.GAPS,
        settlement_corrections.REOPENED,
        settlement_parking.RELEASING,
    )

    def begin_block(self, ctx: Context) -> None:
        settlement_events.go_on(ctx)

    def end_block(self, ctx: Context) -> None:
        settlement_gaps.go_on(ctx)

    def next_event(self, ctx: Context) -> int | None:
        if not settlement_queue.is_empty(ctx):
            return ctx.time
        entry = market_calendar.first(ctx, SETTLEMENT)
        return None if entry is None else entry.time

    @transaction
    def report(
        self,
        ctx: Context,
        *,
        device: str,
        slot: int,
        import_wh: int,
        export_wh: int,
        import_register: int,
        export_register: int,
    ) -> Value:
        """A meter's reading of a slot that is over: Wh in and out, and its registers at the slot's end.

        By the meter's key. Raises ContractError: unknown-device, wrong-key, negative, no-product, too-early, late,
        not-connected, duplicate, conflict, out-of-limit, register-mismatch.
        """
        claim = Claim(slot, (import_wh, export_wh), (import_register, export_register))
        settlement_metering.report(ctx, device, claim)
        return None

    @transaction
    def report_day(self, ctx: Context, *, device: str, first_slot: int, rows: tuple[DayRow, ...]) -> Value:
        """A meter's readings of up to 96 consecutive slots, each (import Wh, export Wh, import register, export
        register); returns the rows that were refused, ((index, code), ...), the others are kept.

        By the meter's key. Raises ContractError: unknown-device, wrong-key, bad-rows; the first row's code if none is
        taken, as ``report`` raises it.
        """
        return settlement_metering.report_day(ctx, device, first_slot, rows)

    @transaction
    def collect(self, ctx: Context, *, rows: tuple[CollectedRow, ...]) -> Value:
        """Readings of many meters, up to 128, each (device, slot, import Wh, export Wh, import register, export
        register, the meter's signature); returns the rows that were refused, ((index, code), ...).

        By a member with the role aggregator. Raises ContractError: not-allowed, bad-rows, bad-signature; the first
        row's code if none is taken: unknown-device or as ``report`` raises it.
        """
        return settlement_metering.collect(ctx, rows)

    @transaction
    def correct(self, ctx: Context, *, device: str, first_slot: int, rows: tuple[DayRow, ...]) -> Value:
        """What the meter says of up to 96 consecutive slots after all, until they are FINAL: as a whole or not at
        all; returns how many of them have changed.

        By the meter's key. Raises ContractError: unknown-device, wrong-key, bad-rows, negative, no-product, too-early,
        late, not-connected, out-of-limit, register-mismatch, too-many, duplicate.
        """
        return settlement_amendments.correct(ctx, device, first_slot, rows)

    @transaction
    def report_feeder(
        self,
        ctx: Context,
        *,
        slot: int,
        import_wh: int,
        export_wh: int,
        import_register: int,
        export_register: int,
    ) -> Value:
        """What passed the transformer in a slot that is over: Wh into the grid and out of it, and the registers.

        By the feeder meter's key. Raises ContractError: no-feeder-meter, wrong-key, negative, no-product, too-early,
        late, duplicate, conflict, out-of-limit, register-mismatch.
        """
        settlement_feeder.report(ctx, Claim(slot, (import_wh, export_wh), (import_register, export_register)))
        settlement_losses.tell(ctx, slot)
        return None

    @transaction
    def correct_feeder(self, ctx: Context, *, first_slot: int, rows: tuple[DayRow, ...]) -> Value:
        """``correct`` for the feeder's meter, by its key. Raises ContractError: no-feeder-meter, wrong-key, bad-rows,
        negative, no-product, too-early, late, out-of-limit, register-mismatch, too-many, duplicate.
        """
        changed = settlement_feeder.correct(ctx, first_slot, rows)
        for slot in range(first_slot, first_slot + len(rows)):
            settlement_losses.tell(ctx, slot)
        return changed

    @transaction
    def release(self, ctx: Context, *, index: int) -> Value:
        """Have a parked unit, by its number in ``parked``, done again in the next block, once its reason is gone.
        By an admin. If it fails again it stays parked.

        Raises ContractError: not-allowed, unknown-unit, not-parked (it has been done since), final (a correction of a
        slot that cannot change any more).
        """
        roles.require_right(ctx, "release")
        settlement_parking.release(ctx, index)
        return None

    @query(of=a_device(READINGS))
    def reading(self, ctx: Context, *, device: str, slot: Slot) -> Value:
        """What holds for a device in a slot, the fields of ``settlement_readings.Reading``; None before. Raises
        ContractError("pruned").
        """
        reading = settlement_readings.find(ctx, device, slot)
        if reading is None:
            pruned.require_kept(ctx, slot, *_holders(ctx, device))
            return None
        return tuple(reading)

    @query(of=a_device(READINGS))
    def readings(self, ctx: Context, *, device: str, slot: Slot) -> Value:
        """The same with all that it replaced, newest first. Raises ContractError("pruned")."""
        return _history(ctx, device, slot)

    @query(of=a_role(roles.GRID_OPERATOR, READINGS))
    def feeder_readings(self, ctx: Context, *, slot: Slot) -> Value:
        """What the feeder's meter says of a slot, and what that replaced, newest first. Raises
        ContractError("pruned").
        """
        return _history(ctx, settlement_feeder.FEEDER, slot)

    @query(of=a_device(READINGS))
    def estimates(self, ctx: Context, *, device: str, period: CommonPeriod) -> Value:
        """(how many estimates of a device stand in a billing period, whether it may sell there)."""
        count = settlement_readings.estimates(ctx, device, period)
        return count, settlement_readings.may_sell(ctx, device, period)

    @query(of=a_network(READINGS))
    def settled(self, ctx: Context, *, network: str, slot: Slot) -> Value:
        """A network's settlement of a slot: (sums, entries, blocks), the fields of ``settlement_ledger.Settled`` and
        ``Entry``; None before.

        Sums are those of the newest revision; entries are all that were ever booked, reversals included; ``blocks``:
        the height at which each revision was booked. Raises ContractError("pruned").
        """
        settled = settlement_ledger.settled_of(ctx, network, slot)
        if settled is None:
            pruned.require_kept(ctx, slot, network)
            return None
        entries = settlement_ledger.entries_of(ctx, network, slot)
        return (
            tuple(settled),
            tuple([tuple(entry) for entry in entries]),
            settlement_ledger.blocks_of(ctx, network, slot),
        )

    @query(of=the_consortium(REGISTRY))
    def parked(self, ctx: Context, *, first: int = 0) -> Value:
        """What could not be settled, from number ``first`` on, at most 500, oldest first: (network, slot, code, time,
        unit, time of its release or 0); network "": the slot itself. The units: ``settlement_parking``.

        Raises ContractError("bad-range").
        """
        if first < 0:
            raise ContractError("bad-range", "the first number of a list is 0")
        return tuple([row[:6] for row in settlement_parking.parked(ctx, first, MAX_LISTED)])

    @query(of=a_network(READINGS))
    def bill(self, ctx: Context, *, network: str, first_slot: int, last_slot: int) -> Value:
        """A network's sums over slots, both included: (slots settled, cost, utility-only cost, the other fields of
        ``Settled``).

        ``cost`` = bought + tolls + retail - sold - feed-in, in base units; what devices of the network pay each other
        cancels out. ``utility-only``: what the same metered energy would have cost with the utility alone.
        Raises ContractError: unknown-network, bad-range, pruned.
        """
        identity.network_of(ctx, network)
        if not 0 <= first_slot <= last_slot < first_slot + MAX_BILL_SLOTS:
            raise ContractError("bad-range", f"a bill covers 1 to {MAX_BILL_SLOTS} slots")
        slots_settled, sums = 0, Settled()
        for slot in market_products.opened_within(ctx, first_slot, last_slot + 1):
            settled = settlement_ledger.settled_of(ctx, network, slot)
            if settled is None:
                pruned.require_kept(ctx, slot, network)
            else:
                slots_settled += 1
                sums = sums.plus(settled)
        return (slots_settled, sums.cost(), sums.utility_only, *sums)

    @query(of=a_network(READINGS))
    def bill_of_period(self, ctx: Context, *, network: str, period: NetworkPeriod) -> Value:
        """A network's sums over what is settled of a billing period: (slots settled, cost, utility-only cost, rent that
        came back, the fields of ``Settled``). They stay when the details of slots are gone. Rent: of the consortium's
        periods that end within this one.

        Raises ContractError: unknown-network, unknown-period.
        """
        of = settlement_ledger.period_sums(ctx, network, period)
        within = settlement_rent.periods_within(ctx, *budget_calendar.slots_of(ctx, network, period))
        rent = sum([settlement_ledger.rent_part(ctx, network, common).rent for common in within])
        return (of.slots, of.sums.cost(), of.sums.utility_only, rent, *of.sums)

    @query(of=closed)
    def rent(self, ctx: Context, *, period: int, first: int = 0) -> Value:
        """The congestion rent of a period of the consortium: (state, rent, carried from the period before, tolls that
        count, returned, rows), in base units. State: "collecting", "returning", "returned", or "carried" to the next
        period. Rows: (network, its tolls that count, rent that came back, its block, the hook that paid it) of 500
        networks from number ``first`` on, of those that have either; block 0 and no hook before.

        Raises ContractError("bad-range").
        """
        _require_period(period)
        if first < 0:
            raise ContractError("bad-range", "the first number of a list is 0")
        of, rows = settlement_rent.rent_of(ctx, period), []
        for network in identity.networks_of(ctx, first, MAX_LISTED):
            part = settlement_ledger.rent_part(ctx, network, period)
            if part.rent or part.tolls:
                rows.append((network, *part))
        return (of.state, of.rent, of.carried, of.tolls, of.returned, tuple(rows))

    @query(of=a_role(roles.GRID_OPERATOR, READINGS))
    def feeder(self, ctx: Context, *, slot: Slot) -> Value:
        """The feeder check of a slot, the fields of ``settlement_losses.Check``: Wh in and out at the feeder's meter,
        in and out at the homes', lost between, readings estimated, networks settled. None without a feeder's reading.

        Raises ContractError("pruned").
        """
        check = settlement_losses.check_of(ctx, slot)
        if check is None:
            pruned.require_kept(ctx, slot)
            return None
        return tuple(check)


def _require_period(period: int) -> None:
    if not 0 <= period <= accounts.MAX_PERIOD:
        raise ContractError("bad-range", f"a period is 0 to {accounts.MAX_PERIOD}")


def _history(ctx: Context, subject: str, slot: int) -> Value:
    """The rows of a device's slot, or of the feeder's, as they are answered."""
    rows = settlement_readings.history(ctx, subject, slot)
    if not rows:
        pruned.require_kept(ctx, slot, *_holders(ctx, subject))
    return tuple([tuple(row) for row in rows])


def _holders(ctx: Context, device: str) -> tuple[str, ...]:
    """Of which network and device they could have been erased; none for the feeder."""
    try:
        return identity.device_of(ctx, device).network, device
    except ContractError:
        return ()
