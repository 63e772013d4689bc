"""What the utility issues and redeems, and what owners give back: caps, companies' tokens, redemptions, returns.

The contract; its rules are in ``budget_supply``. A network is issued to by ``budget.issue``, and the utility takes
tokens of its own account out of the world by ``budget.redeem``: on the ledger there is at all times what was issued
less what was redeemed (``accounts.supply``).

``kind`` is "network" or "company" in every call; ``name`` is the network's, or the member's.
"""

from typing import Any, Final

from chaincode import budget_supply, identity, roles
from chaincode.arguments import HolderPeriod
from chaincode.budget_supply import COMPANY, Redemption
from chaincode.contract import Context, Contract, ContractError, Subject, Value, query, transaction
from chaincode.subjects import BUDGET, MEMBER, NETWORK, ROLE, a_role, public

MAX_LISTED: Final = 500


def _of_holder_alone(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    """The holder of tokens."""
    return (Subject(MEMBER if args["kind"] == COMPANY else NETWORK, args["name"], BUDGET),)


def _of_holder(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    """The holder of tokens, and the utility that issues and redeems them."""
    return *_of_holder_alone(ctx, args), Subject(ROLE, roles.UTILITY, BUDGET)


def _of_redemption(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    found = budget_supply.redemption_of(ctx, args["number"])
    return _of_holder(ctx, {"kind": found.kind, "name": found.name})


class Supply(Contract):
    """Caps, issue to companies, redemption and return. Amounts are in base units."""

    name = "supply"
    results = BUDGET

    @transaction
    def set_cap(self, ctx: Context, *, kind: str, name: str, period: int | None, amount: int | None) -> Value:
        """What is issued to a holder in ``period`` at most, or without a period in every one that has no cap of its
        own; no amount: that cap is lifted. Below what is issued it stops further issue. Utility only.

        Raises ContractError: not-allowed, bad-args, unknown-network, unknown-member, unknown-period, period-closing,
        period-over, bad-amount, no-change.
        """
        roles.require_right(ctx, "issue")
        budget_supply.set_cap(ctx, kind, name, period, amount)
        return None

    @transaction
    def issue_company(self, ctx: Context, *, member: str, period: int, amount: int, reference: bytes) -> Value:
        """New tokens for a company, in its ``period``, under a reference not used there before. Utility only. Returns
        the period's total.

        Raises ContractError: not-allowed, unknown-member, no-networks, unknown-period, period-closing, period-over,
        bad-reference, duplicate-id, bad-amount, over-cap (details: the cap, what is issued).
        """
        roles.require_right(ctx, "issue")
        roles.member_of(ctx, member)
        if not identity.networks_of_member(ctx, member, 0, 1):
            raise ContractError("no-networks", f"{member} has no network that could use tokens")
        return budget_supply.issue(ctx, COMPANY, member, period, amount, reference)

    @transaction
    def publish_price(self, ctx: Context, *, permille: int, from_slot: int) -> Value:
        """What the utility pays for redeemed tokens from a slot on that has not begun, in thousandths of par; 0:
        nothing is redeemed then. In place of what was published for later slots. Utility only.

        Raises ContractError: not-allowed, bad-price, slot-begun (details: the first slot that has not), no-change,
        too-many.
        """
        roles.require_right(ctx, "redeem")
        budget_supply.publish_price(ctx, permille, from_slot)
        return None

    @transaction
    def redeem(
        self, ctx: Context, *, kind: str, name: str, period: int, amount: int, reference: bytes, least: int
    ) -> Value:
        """Give tokens of the pool to the utility at its price, if that is at least ``least`` permille of par; they are
        burnt. Under a reference not used before. By the network's owner, or the company itself. Returns (number of the
        record, price in permille, credit in base units).

        What the network owes is paid first. Raises ContractError: unknown-network, unknown-member, bad-args, wrong-key,
        unknown-period, period-closing, period-over, bad-reference, duplicate-id, no-redemption, price-changed (details:
        the price, ``least``), bad-amount, in-arrears, insufficient-funds (details: what the pool has, ``amount``).
        """
        _require_manager(ctx, kind, name)
        return budget_supply.redeem(ctx, kind, name, period, amount, reference, least)

    @transaction
    def credit(self, ctx: Context, *, redemption: int, bill: bytes) -> Value:
        """What was redeemed under this number stands to the holder's credit on ``bill``. Once. Utility only.

        Raises ContractError: not-allowed, bad-reference, unknown-redemption, already-credited.
        """
        roles.require_right(ctx, "redeem")
        budget_supply.credit(ctx, redemption, bill)
        return None

    @transaction
    def return_tokens(self, ctx: Context, *, kind: str, name: str, period: int, amount: int, reference: bytes) -> Value:
        """Tokens of the pool go back to the utility, for nothing. By the network's owner, or the company itself.

        What the network owes is paid first. Raises ContractError: unknown-network, unknown-member, bad-args, wrong-key,
        unknown-period, period-closing, period-over, bad-reference, bad-amount, in-arrears, insufficient-funds (details:
        what the pool has, ``amount``).
        """
        _require_manager(ctx, kind, name)
        budget_supply.give_back(ctx, kind, name, period, amount, reference)
        return None

    @query(of=_of_holder, proven=_of_holder_alone)  # what is issued stands in the book, beside what it has
    def cap(self, ctx: Context, *, kind: str, name: str, period: HolderPeriod) -> Value:
        """(the period's own cap, the cap of every period, what is issued in the period); None where there is no cap."""
        budget_supply.require_holder(ctx, kind, name)
        caps = budget_supply.caps_of(ctx, kind, name, _period(period))
        return (*caps, budget_supply.issued_to(ctx, kind, name, period))

    @query(of=public)
    def prices(self, ctx: Context) -> Value:
        """The redemption prices, ((from slot, permille of par), ...): the one in force first, then those to come."""
        return budget_supply.prices(ctx)

    @query(of=_of_holder)
    def redemptions(self, ctx: Context, *, kind: str, name: str, first: int = 0) -> Value:
        """What a holder has redeemed, from its ``first`` on, oldest first, at most 500: (number, the fields of
        ``budget_supply.Redemption``)."""
        budget_supply.require_holder(ctx, kind, name)
        return _rows(budget_supply.redemptions_of(ctx, kind, name, _at_least_0(first), MAX_LISTED))

    @query(of=a_role(roles.UTILITY, BUDGET))
    def open_redemptions(self, ctx: Context, *, first: int = 0) -> Value:
        """What is not credited yet, from number ``first`` on, oldest first, at most 500; rows as of ``redemptions``."""
        return _rows(budget_supply.open_redemptions(ctx, _at_least_0(first), MAX_LISTED))

    @query(of=_of_redemption)
    def redemption(self, ctx: Context, *, number: int) -> Value:
        """The row of ``redemptions`` with this number. Raises ContractError("unknown-redemption")."""
        return (number, *budget_supply.redemption_of(ctx, number))


def _require_manager(ctx: Context, kind: str, name: str) -> None:
    """The sender manages what the holder has."""
    budget_supply.require_holder(ctx, kind, name)
    if kind == COMPANY:
        identity.require_member(ctx, name)
    else:
        identity.require_owner(ctx, name)


def _rows(found: tuple[tuple[int, Redemption], ...]) -> Value:
    return tuple([(number, *record) for number, record in found])


def _period(number: int) -> int:
    if not 0 <= number < 2**32:
        raise ContractError("unknown-period", "a period's number is 0 to 2^32-1")
    return number


def _at_least_0(first: int) -> int:
    if first < 0:
        raise ContractError("bad-args", "the first number of a list is 0")
    return first
