"""Companies: members with several networks, and the tokens that they divide among them.

What the utility issues to a company (``supply.issue_company``) lies in its own account until the company *assigns* it
to networks of its own. What it has assigned to a network in a period it may take back, as far as it is still in the
network's pool: never more than it gave, nothing that devices have, and nothing that came from elsewhere. One token is
like another; what leaves the pool after it has assigned something is taken to be the company's first. It may *limit*
what a network has of it in a period, and names a *class* for each network ("cooling"), by which agreements may be
restricted.

Company and network each have their own calendar (``budget_calendar``); mostly it is the same one. ``period`` is the
company's, ``network_period`` the network's. The two have at least one slot in common (``period-mismatch``); unless it
is named it is the one in which the company's period begins, or in which the slot under way lies, if that is later.

What is left in a company's period is carried over whole when the period closes (``budget_close``).

Limits hold level by level: the cap of the utility on what it issues, the limit of the company on what a network has of
it, the limit of the network's owner on what a device has (``budget_policy``).

State: ``company-limit/`` network -> base units; ``company-given/`` network NUL period(4) -> _Given, in that period of
the network's own.
"""

from typing import Final, NamedTuple, cast

from chaincode import (
    account_books,
    accounts,
    budget_calendar,
    budget_charge,
    budget_state,
    budget_supply,
    identity,
    network_classes,
    roles,
    slots,
)
from chaincode.arguments import CompanyPeriod
from chaincode.budget_share import MAX_BY_HAND
from chaincode.budget_supply import COMPANY
from chaincode.contract import MAX_AMOUNT, Context, Contract, ContractError, Value, query, transaction
from chaincode.subjects import BUDGET, REGISTRY, a_company

MAX_CLASS: Final = 32
MAX_LISTED: Final = 50
"""Networks of one answer: so many that it can be proven."""

_CLASS_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789-"
_LIMITS: Final = b"company-limit/"
_GIVEN: Final = b"company-given/"


def limit_of(ctx: Context, network: str) -> int | None:
    """What a network may have of its company in a period, in base units; None: as much as there is."""
    return cast("int | None", ctx.get(_LIMITS + network.encode()))


def given_to(ctx: Context, network: str, period: int) -> int:
    """What a network has of its company in ``period``: assigned less taken back, in base units."""
    of = _given(ctx, network, period)
    return of.assigned - of.back


class _Given(NamedTuple):
    """What a company has assigned to a network in a period, and what it has taken back; and of the last time that it
    assigned something: what was in the pool before that was not its own, and what had come in from elsewhere by then.
    """

    assigned: int = 0
    back: int = 0
    own: int = 0
    elsewhere: int = 0


class Companies(Contract):
    """What a company holds, and what it gives to its networks. Amounts are in base units."""

    name = "companies"
    results = BUDGET

    @transaction
    def assign(
        self, ctx: Context, *, network: str, period: int, amount: int, network_period: int | None = None
    ) -> Value:
        """From the company's ``period`` into the pool of one of its networks. What that owes is paid out of it first.
        By the company. Returns what the company has left.

        Raises ContractError: unknown-network, wrong-key, unknown-period, period-closing, period-over, period-mismatch,
        bad-amount, over-limit (details: the room left, ``amount``), insufficient-funds (details: what the company has,
        ``amount``).
        """
        member, into = _required(ctx, network, period, network_period)
        _require_amount(amount)
        of = _given(ctx, network, into)
        given, limit = of.assigned - of.back, limit_of(ctx, network)
        if limit is not None and given + amount > limit:
            room = max(0, limit - given)
            raise ContractError("over-limit", f"{network} has {given} of at most {limit}", (room, amount))
        held = accounts.company_book(ctx, member, period).pool
        if held < amount:
            raise ContractError("insufficient-funds", f"{member} has {held}", (held, amount))
        own = accounts.network_book(ctx, network, into).pool - _left(ctx, network, into, of)
        elsewhere = _from_elsewhere(ctx, network, into, of.assigned)
        _move(ctx, f"company:{member}:{period}", f"pool:{network}:{into}", amount)
        ctx.put(_given_key(network, into), (of.assigned + amount, of.back, own, elsewhere))
        budget_charge.pay_owed(ctx, network, into, ctx.tx_id)
        return held - amount

    @transaction
    def take_back(
        self, ctx: Context, *, network: str, period: int, amount: int, network_period: int | None = None
    ) -> Value:
        """From the pool of a network back into the company's ``period``, at most what is there of the company: nothing
        that was issued to the network, earned, carried over or given by others. What it owes is paid first. By the
        company. Returns what the company has then.

        Raises ContractError: unknown-network, wrong-key, unknown-period, period-closing, period-over, period-mismatch,
        bad-amount, insufficient-funds (details: what can be taken back, ``amount``).
        """
        member, source = _required(ctx, network, period, network_period)
        _require_amount(amount)
        budget_charge.pay_owed(ctx, network, source, ctx.tx_id)
        of = _given(ctx, network, source)
        free = _left(ctx, network, source, of)
        if free < amount:
            raise ContractError("insufficient-funds", f"{network} has {free} to give back", (free, amount))
        _move(ctx, f"pool:{network}:{source}", f"company:{member}:{period}", amount)
        ctx.put(_given_key(network, source), tuple(of._replace(back=of.back + amount)))
        return accounts.company_book(ctx, member, period).pool

    @transaction
    def limit_network(self, ctx: Context, *, network: str, amount: int | None) -> Value:
        """What the network may have of the company in each period from now on; None: no limit. Below what it has, it
        gets no more. By the company. Raises ContractError: unknown-network, wrong-key, bad-amount, no-change.
        """
        _require_company(ctx, network)
        if amount is not None and not 0 <= amount <= MAX_AMOUNT:
            raise ContractError("bad-amount", "a limit is an integer from 0 to 2^63-1")
        if limit_of(ctx, network) == amount:
            raise ContractError("no-change", "this is the limit already")
        if amount is None:
            ctx.delete(_LIMITS + network.encode())
        else:
            ctx.put(_LIMITS + network.encode(), amount)
        ctx.emit("network-limited", (network,), amount)
        return None

    @transaction
    def classify(self, ctx: Context, *, network: str, class_name: str) -> Value:
        """The network's class, 1 to 32 of a-z, 0-9 and '-'; "": none. By the company.

        Raises ContractError: unknown-network, wrong-key, bad-class, no-change.
        """
        _require_company(ctx, network)
        if len(class_name) > MAX_CLASS or not all(letter in _CLASS_LETTERS for letter in class_name):
            raise ContractError("bad-class", f"a class is 1 to {MAX_CLASS} of a-z 0-9 -")
        if network_classes.class_of(ctx, network) == class_name:
            raise ContractError("no-change", "this is its class already")
        network_classes.put_class(ctx, network, class_name)
        ctx.emit("network-classified", (network,), class_name)
        return None

    @query(of=a_company(REGISTRY))
    def period(self, ctx: Context, *, member: str, slot: int) -> Value:
        """(a company's period of the slot, its first slot, first slot of the next, "planned", "active", "closing" or
        "closed").
        """
        roles.member_of(ctx, member)
        period = budget_calendar.company_period_of(ctx, member, slot)
        slots_of = budget_calendar.company_slots_of(ctx, member, period)
        return (period, *slots_of, budget_supply.company_status(ctx, member, period))

    @query(of=a_company(BUDGET))
    def company(self, ctx: Context, *, member: str, period: CompanyPeriod) -> Value:
        """(status of the period, the fields of ``accounts.NetworkBook``): a company's book of a period of its own."""
        roles.member_of(ctx, member)
        return (budget_supply.company_status(ctx, member, period), *accounts.company_book(ctx, member, period))

    @query(of=a_company(BUDGET))
    def networks(self, ctx: Context, *, member: str, period: CompanyPeriod, first: int = 0) -> Value:
        """The networks of a company from number ``first`` on, at most 50, in the order of their registration:
        (network, class, limit or None, its period that ``assign`` would take, and in that: what it has of the company,
        what its pool holds, what it has allocated).
        """
        roles.member_of(ctx, member)
        budget_supply.company_status(ctx, member, period)
        if first < 0:
            raise ContractError("bad-args", "the first number of a list is 0")
        rows: list[Value] = []
        for network in identity.networks_of_member(ctx, member, first, MAX_LISTED):
            own = _period_of_network(ctx, member, period, network)
            book, terms = (
                accounts.network_book(ctx, network, own),
                (network_classes.class_of(ctx, network), limit_of(ctx, network)),
            )
            rows.append((network, *terms, own, given_to(ctx, network, own), book.pool, book.allocated))
        return tuple(rows)


def _require_company(ctx: Context, network: str) -> str:
    """The sender is the company that ``network`` belongs to. Its id."""
    return identity.require_member(ctx, identity.network_of(ctx, network).member).id


def _required(ctx: Context, network: str, period: int, network_period: int | None) -> tuple[str, int]:
    """The company and the network's period, of a movement between them that the sender may make."""
    member = _require_company(ctx, network)
    budget_supply.require_open(ctx, COMPANY, member, period)
    own = _period_of_network(ctx, member, period, network) if network_period is None else network_period
    budget_state.require_open_period(ctx, network, own)
    first, end = budget_calendar.company_slots_of(ctx, member, period)
    own_first, own_end = budget_calendar.slots_of(ctx, network, own)
    if own_end <= first or end <= own_first:
        raise ContractError(
            "period-mismatch", f"period {own} of {network} and {period} of {member} have no slot in common"
        )
    return member, own


def _period_of_network(ctx: Context, member: str, period: int, network: str) -> int:
    first, end = budget_calendar.company_slots_of(ctx, member, period)
    return budget_calendar.period_of(ctx, network, min(max(first, slots.current(ctx)), end - 1))


def _move(ctx: Context, source: str, target: str, amount: int) -> None:
    """A share. Raises ContractError("bad-amount") if too much has gone back and forth."""
    gives, gets = (account_books.pool_book(ctx, *account_books.parse(account)) for account in (source, target))
    if max(gives.sent, gets.received) + amount > MAX_BY_HAND:
        raise ContractError("bad-amount", f"at most {MAX_BY_HAND} base units pass there in a period")
    accounts.give(ctx, source, target, amount, "share", ctx.tx_id)


def _from_elsewhere(ctx: Context, network: str, period: int, assigned: int) -> int:
    """What came into a network's pool in ``period`` that its company did not assign, whether or not it is there yet:
    what devices earned themselves and gave up to the pool, too.
    """
    book = accounts.network_book(ctx, network, period)
    devices = identity.devices_of(ctx, network) if book.withdrawn else ()
    books = [accounts.device_book(ctx, device, period) for device in devices]
    given_up = sum([min(each.withdrawn, each.earned) for each in books])
    return book.issued + book.earned + book.carried_in + book.received - assigned + given_up


def _left(ctx: Context, network: str, period: int, of: _Given) -> int:
    """What is still in a network's pool of what its company has assigned to it: what has left the pool since the last
    time was the company's first.
    """
    came = max(0, _from_elsewhere(ctx, network, period, of.assigned) - of.elsewhere)
    pool = accounts.network_book(ctx, network, period).pool
    return max(0, min(of.assigned - of.back, pool - of.own - came))


def _given(ctx: Context, network: str, period: int) -> _Given:
    return _Given(*cast("_Given", ctx.get(_given_key(network, period)) or ()))


def _given_key(network: str, period: int) -> bytes:
    return _GIVEN + network.encode() + b"\0" + period.to_bytes(4, "big")


def _require_amount(amount: int) -> None:
    if not 0 < amount <= MAX_AMOUNT:
        raise ContractError("bad-amount", "an amount is an integer from 1 to 2^63-1")
