"""What an owner asks of devices: who uses more than it should and who paid for it, and what the plug is to do now.

Queries over the budgets' records, a page of devices at a time, each of them provable; and the hook that restores
what was cut off in a period that is over (``budget_plug``).

What a device is *expected* to have used at the end of a period goes on as it went so far, in whole base units:

    expected = used * slots of the period / slots from its first to the last settled one, rounded up

Before a slot is settled it is the forecast, 0 without one. It is *over* by expected - budget (negative: it has so much
to spare), where the budget is what the owner allocated and left it (``budget_alerts``).

State: that of ``budget_plug``.
"""

from typing import Final

from chaincode import (
    accounts,
    budget_alerts,
    budget_calendar,
    budget_paid,
    budget_plug,
    budget_share,
    budget_state,
    identity,
    roles,
    slots,
)
from chaincode.arguments import NetworkPeriod
from chaincode.budget_alerts import Watch
from chaincode.contract import Context, Contract, ContractError, Value, query
from chaincode.subjects import BUDGET, REGISTRY, a_company, a_device, a_network

MAX_LISTED: Final = 64
"""Devices of one answer: so many that it can be proven."""
MAX_NETWORKS: Final = 500
MAX_GIVERS: Final = 5


class Overview(Contract):
    """Devices at a glance, and their plugs."""

    name = "overview"
    indexed = (budget_plug.ENDS,)

    def begin_block(self, ctx: Context) -> None:
        budget_plug.turn(ctx)

    def next_event(self, ctx: Context) -> int | None:
        return budget_plug.next_turn(ctx)

    @query(of=a_network(BUDGET))
    def devices(self, ctx: Context, *, network: str, period: NetworkPeriod | None = None, first: int = 0) -> Value:
        """(period, its first slot, first slot of the next, how many devices the network has, rows): 64 devices from
        number ``first`` on, in the order of their registration; by default of the period under way.

        A row: (device, state, allocated, withdrawn, budget, available, reserved, spent, used, used_wh, borrowed, lent,
        owed, forecast, expected, over, causes of alerts, givers), in base units. Givers: the five that paid most for
        it, ((giver, amount), ...), the largest first; a giver is a device, "" for the pool, "@" and a network, or "*"
        for several. Raises ContractError: unknown-network, unknown-period, bad-args.
        """
        if first < 0:
            raise ContractError("bad-args", "the first number of a list is 0")
        number = budget_calendar.period_of(ctx, network, slots.current(ctx)) if period is None else period
        budget_state.require_period(ctx, network, number)
        bounds = budget_calendar.slots_of(ctx, network, number)
        names = identity.devices_of(ctx, network)
        owed = _owed(ctx, network, number)
        rows = [_row(ctx, device, number, bounds, owed.get(device, 0)) for device in names[first : first + MAX_LISTED]]
        return number, *bounds, len(names), tuple(rows)

    @query(of=a_device(BUDGET))
    def device(self, ctx: Context, *, device: str) -> Value:
        """A device now: (height, time, network, period, state, since, available, reserved, budget, owed, cut).

        ``height`` and ``time``: of the block that this is true after. Since: (time, height, tx id, why, reference),
        the fields of ``budget_state.Since``; None before the first change in the period. Cut: (period, time, height,
        tx id) if its plug is off, else None. Amounts in base units. Raises ContractError("unknown-device").
        """
        network = identity.device_of(ctx, device).network
        period = budget_calendar.period_of(ctx, network, slots.current(ctx))
        book = accounts.device_book(ctx, device, period)
        since = budget_state.since_of(ctx, device, period)
        cut = budget_plug.cut_of(ctx, device)
        return (
            ctx.height,
            ctx.time,
            network,
            period,
            budget_state.state_of(ctx, device, period),
            None if since is None else tuple(since[1:]),
            book.available,
            book.reserved,
            budget_state.budget_of(book),
            _owed(ctx, network, period).get(device, 0),
            None if cut is None else (cut.period, cut.time, cut.height, cut.tx_id),
        )

    @query(of=a_company(REGISTRY))
    def networks(self, ctx: Context, *, member: str, first: int = 0) -> Value:
        """The ids of a member's networks from number ``first`` on, at most 500, in the order of their registration.

        Raises ContractError: unknown-member, bad-args.
        """
        if first < 0:
            raise ContractError("bad-args", "the first number of a list is 0")
        roles.member_of(ctx, member)
        return identity.networks_of_member(ctx, member, first, MAX_NETWORKS)

    @query(of=a_network(BUDGET))
    def alert(self, ctx: Context, *, network: str, number: int) -> Value:
        """One alert by its number, the fields of ``budget_alerts.Alert``.

        Raises ContractError: unknown-network, unknown-alert.
        """
        identity.network_of(ctx, network)
        found = budget_alerts.alerts_of(ctx, network, number, 1) if number >= 0 else ()
        if not found:
            raise ContractError("unknown-alert", f"{network} has no alert {number}")
        return budget_alerts.row_of(found[0])

    @query(of=a_network(BUDGET))
    def share(self, ctx: Context, *, network: str, period: NetworkPeriod, number: int) -> Value:
        """The share with this number in the list of a network and period, the fields of ``budget_share.Share``.

        Raises ContractError: unknown-network, unknown-period, unknown-share.
        """
        identity.network_of(ctx, network)
        budget_state.require_period(ctx, network, period)
        found = budget_share.shares_of(ctx, network, period, number, 1) if number >= 0 else ()
        if not found:
            raise ContractError("unknown-share", f"{network} has no share {number} in period {period}")
        return tuple(found[0])


def expected_of(watch: Watch, first: int, end: int) -> int:
    """What a device will have used at the end of the period from slot ``first`` to before ``end``; base units."""
    if watch.last_slot < first:
        return watch.forecast
    return -(-watch.used * (end - first) // (watch.last_slot - first + 1))


def _row(ctx: Context, device: str, period: int, bounds: tuple[int, int], owed: int) -> Value:
    book = accounts.device_book(ctx, device, period)
    watch = budget_alerts.watch_of(ctx, device, period)
    budget = budget_alerts.budget_of(ctx, device, period, watch)
    expected = expected_of(watch, *bounds)
    givers = sorted(budget_paid.paid_of(ctx, device, period), key=lambda paid: (-paid.amount, paid.giver))
    return (
        device,
        budget_state.state_of(ctx, device, period),
        book.allocated,
        book.withdrawn,
        budget,
        book.available,
        book.reserved,
        book.spent,
        watch.used,
        watch.used_wh,
        book.borrowed,
        book.lent,
        owed,
        watch.forecast,
        expected,
        expected - budget,
        watch.raised,
        tuple([tuple(paid) for paid in givers[:MAX_GIVERS] if paid.amount]),
    )


def _owed(ctx: Context, network: str, period: int) -> dict[str, int]:
    """What each device owes of ``period``, base units."""
    owed: dict[str, int] = {}
    for claim in budget_state.owed_of(ctx, network)[1]:
        if claim.period == period:
            owed[claim.device] = owed.get(claim.device, 0) + claim.amount
    return owed
