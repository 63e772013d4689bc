"""Metering and settlement: what was delivered, against what was contracted.

When a slot is over its meters report. When the metering window ends, in ``begin_block`` of the first block from then
on:

    step        per network, in the order of registration               then the product is
    estimate    stand-ins for missing readings                          METERED, or ESTIMATED if there were any
    settle      deviations netted, charged and credited                 SETTLED; tolls and rent are paid out

and when the dispute window ends, FINAL. A block does a bounded part of this (``WORK_PER_BLOCK`` devices) and leaves a
cursor in the calendar; products are settled one after the other, in order of time.

Each network in each slot is a unit by itself: one that fails is undone alone and parked (``settlement_parking``), and
the calendar goes on.

The rules of readings and estimates stand in ``settlement_readings``, of netting in ``settlement_netting``, of payment
in ``settlement_run``. There are no genesis settings of its own: the windows are the market's.

State: as these modules say, and the table ``settling/`` of ``market_calendar``.
"""

from typing import Final

from chaincode import (
    identity,
    market_calendar,
    settlement_events,
    settlement_ledger,
    settlement_parking,
    settlement_readings,
)
from chaincode.contract import Context, Contract, ContractError, Value, query, transaction
from chaincode.market_calendar import SETTLEMENT
from chaincode.settlement_ledger import Settled

MAX_BILL_SLOTS: Final = 10_000
MAX_LISTED: Final = 500


class Settlement(Contract):
    """Readings in; charges, credits and bills out."""

    name = "settlement"
    indexed = (market_calendar.SETTLEMENT,)

    def begin_block(self, ctx: Context) -> None:
        settlement_events.go_on(ctx)

    def next_event(self, ctx: Context) -> int | None:
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
        settlement_readings.report(ctx, device, slot, (import_wh, export_wh), (import_register, export_register))
        return None

    @query
    def reading(self, ctx: Context, *, device: str, slot: int) -> Value:
        """(import_wh, export_wh, import register, export register, estimated, cause, block), or None."""
        reading = settlement_readings.find(ctx, device, slot)
        return None if reading is None else tuple(reading)

    @query
    def settled(self, ctx: Context, *, network: str, slot: int) -> Value:
        """A network's settlement of a slot: (sums, entries, blocks), the fields of ``settlement_ledger.Settled`` and
        ``Entry``; None before.

        Sums are those of the newest revision; entries are all that were ever booked, reversals included; ``blocks``:
        the height at which each revision was booked.
        """
        settled = settlement_ledger.settled_of(ctx, network, slot)
        if settled is None:
            return None
        entries = settlement_ledger.entries_of(ctx, network, slot)
        return (
            tuple(settled),
            tuple([tuple(entry) for entry in entries]),
            settlement_ledger.blocks_of(ctx, network, slot),
        )

    @query
    def parked(self, ctx: Context, *, first: int = 0) -> Value:
        """What could not be settled, from number ``first`` on, at most 500, oldest first: (network, slot, code, time);
        network "": the slot itself. Raises ContractError: bad-range.
        """
        if first < 0:
            raise ContractError("bad-range", "the first number of a list is 0")
        return tuple([tuple(row) for row in settlement_parking.parked(ctx, first, MAX_LISTED)])

    @query
    def bill(self, ctx: Context, *, network: str, first_slot: int, last_slot: int) -> Value:
        """A network's sums over slots, both included: (slots settled, cost, utility-only cost, the other fields of
        ``Settled``).

        ``cost`` = bought + tolls + retail - sold - feed-in, in base units; what devices of the network pay each other
        cancels out. ``utility-only``: what the same metered energy would have cost with the utility alone.
        Raises ContractError: unknown-network, bad-range.
        """
        identity.network_of(ctx, network)
        if not 0 <= first_slot <= last_slot < first_slot + MAX_BILL_SLOTS:
            raise ContractError("bad-range", f"a bill covers 1 to {MAX_BILL_SLOTS} slots")
        slots_settled, sums = 0, Settled()
        for slot in range(first_slot, last_slot + 1):
            settled = settlement_ledger.settled_of(ctx, network, slot)
            if settled is not None:
                slots_settled += 1
                sums = sums.plus(settled)
        return (slots_settled, sums.cost(), sums.utility_only, *sums)
