"""Budgets: what a device may spend in a billing period, on energy from neighbours or from the utility.

The utility issues a network a capped total per period; the owner allocates it among devices; orders hold, clearing
posts, settlement charges; devices of one network help one another. This module is the contract, and the door to what
other contracts use: ``budget_hold`` (hold, post, release), ``budget_needs`` (resolve_needs), ``budget_charge`` (charge,
credit, refund), ``budget_alerts`` (note_use), ``budget_share``, ``budget_policy`` and ``budget_state``, each with its
rules at its head.

Genesis settings: ``period_slots`` (required): length of a period in slots; optional, with defaults:
``low_permille`` 200, ``depleted_permille`` 10, ``ahead_permille`` 100, ``borrow_alert`` 3, ``above_alert_slots`` 4
(see ``budget_state.Settings``).
"""

from typing import Final

from chaincode import (
    accounts,
    budget_alerts,
    budget_allocation,
    budget_audit,
    budget_calendar,
    budget_contradictions,
    budget_policy,
    budget_share,
    budget_state,
    budget_supply,
    identity,
    roles,
)
from chaincode.accounts import UTILITY
from chaincode.arguments import DevicePeriod, NetworkPeriod
from chaincode.budget_alerts import note_use
from chaincode.budget_calendar import common_period, common_slots, period_of
from chaincode.budget_charge import Charge, charge, charge_all, credit, refund
from chaincode.budget_hold import hold, hold_all, hold_of, post, release, settle
from chaincode.budget_needs import resolve_needs
from chaincode.budget_state import Settings
from chaincode.contract import MAX_AMOUNT, Context, Contract, ContractError, Value, query, transaction
from chaincode.subjects import BUDGET, REGISTRY, a_device, a_network, public

__all__ = [
    "Budget",
    "Charge",
    "charge",
    "charge_all",
    "common_period",
    "common_slots",
    "credit",
    "hold",
    "hold_all",
    "hold_of",
    "in_arrears",
    "may_buy",
    "note_use",
    "period_of",
    "post",
    "refund",
    "release",
    "resolve_needs",
    "settle",
]

MAX_LISTED: Final = 500


def may_buy(ctx: Context, device: str, period: int) -> str | None:
    """None if ``device`` may buy; "over-budget" while it is LIMITED or in GRACE in ``period``."""
    return "over-budget" if accounts.device_book(ctx, device, period).stopped else None


def in_arrears(ctx: Context, network: str) -> bool:
    """Whether ``network`` owes the utility: it may not sell then."""
    return budget_state.debt_of(ctx, network) > 0


class Budget(Contract):
    """Issuing, allocating, sharing and watching budgets. Amounts are in base units."""

    name = "budget"
    results = BUDGET

    def genesis(self, ctx: Context, settings: dict[str, Value]) -> None:
        if not settings:
            return
        unknown = [name for name in settings if name not in Settings._fields]
        if unknown or "period_slots" not in settings:
            raise ContractError("bad-settings", f"budget: period_slots is missing, or {unknown} unknown")
        budget_state.configure(ctx, Settings(**settings))  # type: ignore[arg-type]

    @transaction
    def issue(self, ctx: Context, *, network: str, period: int, amount: int, reference: bytes) -> Value:
        """New tokens into a network's pool of ``period``, under a reference not used there before. Utility only.

        What the network owes is paid out of it first, 64 claims at a time. Returns the period's total.
        Raises ContractError: not-allowed, unknown-network, unknown-period, period-over, bad-amount, bad-reference,
        duplicate-id, over-cap (details: the cap, what is issued).
        """
        roles.require_right(ctx, "issue")
        return budget_supply.issue(ctx, budget_supply.NETWORK, network, period, amount, reference)

    @transaction
    def redeem(self, ctx: Context, *, amount: int, reference: bytes) -> Value:
        """Take tokens of the utility's own account out of the world. Utility only.

        Raises ContractError: not-allowed, bad-amount, bad-reference, insufficient-funds.
        """
        roles.require_right(ctx, "redeem")
        budget_supply.require_reference(reference)
        accounts.burn(ctx, UTILITY, amount, "redeem", reference)
        return None

    @transaction
    def allocate(self, ctx: Context, *, network: str, period: int, amounts: tuple[tuple[str, int], ...]) -> Value:
        """From the pool to devices, fixed amounts, all or nothing. Owner only. Returns what the pool still has.

        What the network owes is paid first. Raises ContractError: unknown-network, wrong-key, unknown-period,
        period-closing, period-over, unknown-device, other-network, bad-amount, over-limit, insufficient-funds.
        """
        identity.require_owner(ctx, network)
        budget_state.require_open_period(ctx, network, period)
        return budget_allocation.allocate(ctx, network, period, amounts)

    @transaction
    def allocate_by_history(
        self, ctx: Context, *, network: str, period: int, amount: int, devices: tuple[str, ...]
    ) -> Value:
        """``amount`` from the pool to ``devices`` in proportion to what each used in the last period that is over by
        now (largest remainder, then id; equally if none used anything). Owner only. Returns (device, amount) pairs.

        What the network owes is paid first. Raises as ``allocate`` does.
        """
        identity.require_owner(ctx, network)
        budget_state.require_open_period(ctx, network, period)
        return budget_allocation.by_history(ctx, network, period, amount, devices)

    @transaction
    def allocate_by_forecast(
        self, ctx: Context, *, network: str, period: int, amount: int, devices: tuple[str, ...]
    ) -> Value:
        """``amount`` from the pool to ``devices`` in proportion to their forecasts (``set_forecast``). Owner only.
        Returns (device, amount) pairs. Raises as ``allocate`` does, and ContractError("no-forecast").
        """
        identity.require_owner(ctx, network)
        budget_state.require_open_period(ctx, network, period)
        return budget_allocation.by_forecast(ctx, network, period, amount, devices)

    @transaction
    def allocate_by_policy(self, ctx: Context, *, network: str, period: int) -> Value:
        """What the policy's rule gives to the devices (``budget_allocation``). Owner only. Returns (device, amount)
        pairs. Raises as ``allocate`` does, and ContractError("no-rule").
        """
        identity.require_owner(ctx, network)
        budget_state.require_open_period(ctx, network, period)
        return budget_allocation.by_policy(ctx, network, period)

    @transaction
    def withdraw(self, ctx: Context, *, network: str, period: int, amounts: tuple[tuple[str, int], ...]) -> Value:
        """Available tokens of devices back into the pool, to be allocated anew, all or nothing. Owner only. Returns
        what the pool has then.

        Raises ContractError: unknown-network, wrong-key, unknown-period, period-closing, period-over, unknown-device,
        other-network, bad-amount, insufficient-funds.
        """
        identity.require_owner(ctx, network)
        budget_state.require_open_period(ctx, network, period)
        return budget_allocation.withdraw(ctx, network, period, amounts)

    @transaction
    def share(self, ctx: Context, *, giver: str, receiver: str, period: int, amount: int) -> Value:
        """Move available tokens between two devices of one network, at any time, for good. Owner only.

        What a device has lent or borrowed in the period stays within ``budget_share.MAX_BY_HAND`` (bad-amount).

        Raises ContractError: unknown-device, wrong-key, other-network, unknown-period, period-closing, period-over,
        bad-amount, over-limit, bad-account, insufficient-funds.
        """
        network = identity.device_of(ctx, giver).network
        identity.require_owner(ctx, network)
        budget_policy.require_in_network(ctx, receiver, network)
        budget_state.require_open_period(ctx, network, period)
        gives, gets = accounts.device_book(ctx, giver, period), accounts.device_book(ctx, receiver, period)
        budget_share.require_room(ctx, giver, receiver, period, amount)
        budget_policy.require_within_limit(ctx, receiver, period, amount)
        by_hand, rule = budget_share.BY_HAND, budget_share.OWNER
        budget_share.lend(ctx, network, giver, receiver, period, amount, b"", by_hand, rule)
        budget_state.note_change(ctx, giver, period, gives)
        budget_state.note_change(ctx, receiver, period, gets)
        return None

    @transaction
    def set_policy(
        self,
        ctx: Context,
        *,
        network: str,
        proceeds: str = budget_policy.POOL,
        pool_helps: bool = False,
        pool_floor: int = 0,
        carry_cap: int = MAX_AMOUNT,
        carry_periods: int = 0,
        excess: str = budget_policy.RETURN,
        sale: int = 0,
        allocation: str = budget_policy.BY_HAND,
        devices: tuple[tuple[str, int, int, bool, int | None, int, int], ...] = (),
    ) -> Value:
        """The whole policy of a network, in place of the one before: ``budget_policy.Policy``. Owner only.

        ``devices``: those with terms of their own, ``Donor``: (device, rank, floor, gives, limit, amount, share).

        Raises ContractError: unknown-network, wrong-key, bad-policy (details: number of the fault in
        ``budget_contradictions``, row of the device or -1), unknown-device, other-network, unknown-agreement,
        wrong-kind.
        """
        identity.require_owner(ctx, network)
        terms = proceeds, pool_helps, pool_floor, carry_cap, carry_periods, excess, sale, allocation
        policy = budget_policy.Policy(*terms)
        budget_contradictions.require_none(policy, devices)
        budget_policy.require_sale(ctx, network, policy)
        budget_policy.replace(ctx, network, policy, devices)
        return None

    @transaction
    def set_forecast(self, ctx: Context, *, device: str, period: int, amount: int) -> Value:
        """What the device is expected to spend in the period; 0: no forecast. Owner only: budgets are divided by
        forecasts, and a device must not decide its own part.

        Raises ContractError: unknown-device, wrong-key, unknown-period, period-closing, period-over, bad-amount.
        """
        network = identity.require_forecaster(ctx, device).network
        budget_state.require_open_period(ctx, network, period)
        budget_alerts.set_forecast(ctx, device, period, amount)
        return None

    @transaction
    def acknowledge(self, ctx: Context, *, network: str, alert: int) -> Value:
        """The owner has seen the alert with this number.

        Raises ContractError: unknown-network, wrong-key, unknown-alert.
        """
        identity.require_owner(ctx, network)
        budget_alerts.acknowledge(ctx, network, alert)
        return None

    @query(of=a_device(BUDGET))
    def budget(self, ctx: Context, *, device: str, period: DevicePeriod) -> Value:
        """(state, available, reserved, allocated, earned, spent, lent, borrowed, owed, forecast, used, used_wh)."""
        network = identity.device_of(ctx, device).network
        budget_state.require_period(ctx, network, period)
        book = accounts.device_book(ctx, device, period)
        watch = budget_alerts.watch_of(ctx, device, period)
        _, claims = budget_state.owed_of(ctx, network)
        owed = sum([claim.amount for claim in claims if (claim.device, claim.period) == (device, period)])
        return (budget_state.state_of(ctx, device, period), *book[:7], owed, *watch[:3])

    @query(of=a_network(BUDGET))
    def network_budget(self, ctx: Context, *, network: str, period: NetworkPeriod) -> Value:
        """(status of the period, issued, earned, pool, available, reserved, spent, owed, carried in, received, sent,
        sold, returned, redeemed, carried out).

        Pool and devices together, as ``budget_audit`` adds them up. Owed: of all periods.
        """
        status = budget_state.status_of(ctx, network, period)
        totals = budget_audit.totals_of(ctx, network, period)
        return (status, *totals[:6], budget_state.debt_of(ctx, network), *totals[6:])

    @query(of=a_network(BUDGET))
    def books(self, ctx: Context, *, network: str, period: NetworkPeriod) -> Value:
        """The books of a network's devices: ((device, the fields of ``accounts.DeviceBook``), ...)."""
        budget_state.require_period(ctx, network, period)
        devices = identity.devices_of(ctx, network)
        return tuple([(device, tuple(accounts.device_book(ctx, device, period))) for device in devices])

    @query(of=public)
    def settings(self, ctx: Context) -> Value:
        """The fields of ``budget_state.Settings``."""
        return tuple(budget_state.settings_of(ctx))

    @query(of=a_network(BUDGET))
    def alerts(self, ctx: Context, *, network: str, first: int = 0) -> Value:
        """Alerts from number ``first`` on, at most 500, the fields of ``budget_alerts.Alert``."""
        identity.network_of(ctx, network)
        found = budget_alerts.alerts_of(ctx, network, _at_least_0(first), MAX_LISTED)
        return tuple([budget_alerts.row_of(alert) for alert in found])

    @query(of=a_network(BUDGET))
    def shares(self, ctx: Context, *, network: str, period: NetworkPeriod, first: int = 0) -> Value:
        """Shares from number ``first`` on, at most 500, oldest first:
        (giver, receiver, amount, returned, reference, slot, tx id, why, rule), see ``budget_share.Share``.
        """
        identity.network_of(ctx, network)
        budget_state.require_period(ctx, network, period)
        found = budget_share.shares_of(ctx, network, period, _at_least_0(first), MAX_LISTED)
        return tuple([tuple(share) for share in found])

    @query(of=a_network(BUDGET))
    def policy(self, ctx: Context, *, network: str, slot: int | None = None) -> Value:
        """((proceeds, pool_helps, pool_floor, carry_cap, carry_periods, excess, sale, allocation), ((device, rank,
        floor, gives, limit or None, amount, share), ...)), devices with terms of their own, as they are, or as they
        were at the end of ``slot``; of replaced policies the newest 16 are known.
        """
        identity.network_of(ctx, network)
        if slot is not None:
            policy, rows = budget_policy.policy_at(ctx, network, slot)
            return (tuple(policy), rows)
        return (tuple(budget_policy.policy_of(ctx, network)), budget_policy.rows_of(ctx, network))

    @query(of=a_network(REGISTRY))
    def period(self, ctx: Context, *, network: str, slot: int) -> Value:
        """(a network's period of the slot, its first slot, first slot of the next, "planned", "active", "closing" or
        "closed").
        """
        period = period_of(ctx, network, slot)
        first, end = budget_calendar.slots_of(ctx, network, period)
        return (period, first, end, budget_state.status_of(ctx, network, period))

    @query(of=public)
    def common_period(self, ctx: Context, *, slot: int) -> Value:
        """(the consortium's period of the slot, its first slot, first slot of the next)."""
        period = common_period(ctx, slot)
        return (period, *common_slots(ctx, period))


def _at_least_0(first: int) -> int:
    if first < 0:
        raise ContractError("bad-args", "the first number of a list is 0")
    return first
