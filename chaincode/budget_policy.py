"""What a network's owner has decided: a whole policy, set at once, and what every device may, must and shall have.

The terms of the network are a ``Policy``, those of a device a ``Donor``; who is not named has the defaults. What
contradicts itself is refused (``budget_contradictions``). A policy replaces the one before, of which the last ones are
kept, so that an owner can see what a period was under (``policy_at``).

A device's *limit* is the most that it may have been given in a period: allocated - withdrawn + borrowed. Whoever gives
it more asks ``room_of`` first: allocation, sharing by hand, automatic sharing.

State: ``bud-policy/`` network -> Policy; ``bud-donor/`` device -> Donor; ``bud-past/`` network NUL -> count;
``bud-past/`` network NUL index(4) -> (slot in which it was replaced, policy, rows), the newest MAX_PAST.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias, cast

from chaincode import accounts, agreement_book, identity, slots
from chaincode.contract import MAX_AMOUNT, Context, ContractError

MAX_RANK: Final = 1_000
DEFAULT_RANK: Final = 100
MAX_PAST: Final = 16
"""Replaced policies of a network that are kept."""
PERMILLE: Final = 1_000

POOL: Final = "pool"
DEVICE: Final = "device"
RETURN: Final = "return"
REDEEM: Final = "redeem"
SELL: Final = "sell"
BY_HAND: Final = "by-hand"
FIXED: Final = "fixed"
HISTORY: Final = "history"
FORECAST: Final = "forecast"

_POLICIES: Final = b"bud-policy/"
_DONORS: Final = b"bud-donor/"
_PAST: Final = b"bud-past/"


class Policy(NamedTuple):
    """What the owner of a network has decided. Amounts in base units.

    ``proceeds``: who gets what a device earns, POOL or DEVICE. ``pool_helps``: whether the pool tops up a device whose
    order nobody else can cover. ``pool_floor``: what the pool keeps when it does, when it shares with another network,
    and when it is allocated by the policy. At the close of a period at most ``carry_cap`` is carried over into the
    next; a token is carried at most ``carry_periods`` times (0: for ever). What is left then is ``excess``: RETURN to
    the utility, REDEEM at its price, or SELL under the agreement ``sale``. ``allocation``: what ``allocate_by_policy``
    gives to devices: BY_HAND (nothing), FIXED amounts and shares, by HISTORY of use or by FORECAST.
    """

    proceeds: str = POOL
    pool_helps: bool = False
    pool_floor: int = 0
    carry_cap: int = MAX_AMOUNT
    carry_periods: int = 0
    excess: str = RETURN
    sale: int = 0
    allocation: str = BY_HAND


class Donor(NamedTuple):
    """The terms of a device, amounts in base units. How it gives in automatic shares: ``rank``, the smaller is asked
    first; ``floor``, what it keeps in any case; ``gives``, False if it is never asked. What it gets: ``limit``, the
    most in a period (None: no limit); by the rule FIXED either ``amount``, or ``share`` thousandths of the network's
    budget.
    """

    rank: int = DEFAULT_RANK
    floor: int = 0
    gives: bool = True
    limit: int | None = None
    amount: int = 0
    share: int = 0


Row: TypeAlias = tuple[str, int, int, bool, int | None, int, int]
"""A device and its Donor."""


class Past(NamedTuple):
    """A policy that was in force until it was replaced in the slot ``until``."""

    until: int
    policy: Policy
    rows: tuple[Row, ...]


def policy_of(ctx: Context, network: str) -> Policy:
    """The policy of ``network``."""
    value = ctx.get(_POLICIES + network.encode())
    return Policy() if value is None else Policy(*cast("Policy", value))


def earns_itself(ctx: Context, network: str) -> bool:
    """Whether proceeds go to the selling device instead of the pool."""
    return policy_of(ctx, network).proceeds == DEVICE


def donor_of(ctx: Context, device: str) -> Donor:
    """The terms of ``device``."""
    value = ctx.get(_DONORS + device.encode())
    return Donor() if value is None else Donor(*cast("Donor", value))


def room_of(ctx: Context, device: str, period: int) -> int | None:
    """What ``device`` may still be given in ``period``, base units; None if it has no limit."""
    limit = donor_of(ctx, device).limit
    if limit is None:
        return None
    book = accounts.device_book(ctx, device, period)
    return max(0, limit - max(0, book.allocated - book.withdrawn + book.borrowed))


def require_within_limit(ctx: Context, device: str, period: int, amount: int) -> None:
    """Raises ContractError("over-limit", details: (room, amount)) if ``device`` may not be given ``amount``."""
    room = room_of(ctx, device, period)
    if room is not None and amount > room:
        raise ContractError("over-limit", f"{device} may be given {room} more in period {period}", (room, amount))


def rows_of(ctx: Context, network: str) -> tuple[Row, ...]:
    """The devices of ``network`` that have terms of their own, in the order of their registration."""
    found = [(device, donor_of(ctx, device)) for device in identity.devices_of(ctx, network)]
    return tuple([(device, *donor) for device, donor in found if donor != _NO_TERMS])


def replace(ctx: Context, network: str, policy: Policy, rows: Sequence[Row]) -> None:
    """Let ``policy`` and ``rows``, which have been found free of contradictions, be what ``network`` is under.

    Raises ContractError: unknown-device, other-network.
    """
    for row in rows:
        require_in_network(ctx, row[0], network)
    before = Past(slots.current(ctx), policy_of(ctx, network), rows_of(ctx, network))
    for device, *_ in before.rows:
        ctx.delete(_DONORS + device.encode())
    ctx.put(_POLICIES + network.encode(), tuple(policy))
    for device, *terms in rows:
        if Donor(*terms) != _NO_TERMS:  # type: ignore[arg-type]
            ctx.put(_DONORS + device.encode(), tuple(terms))
    _keep(ctx, network, before)
    ctx.emit("policy-set", (network,), (tuple(policy), tuple(rows)))


def policy_at(ctx: Context, network: str, slot: int) -> tuple[Policy, tuple[Row, ...]]:
    """What ``network`` was under at the end of ``slot``: what nobody had replaced by then, or the oldest kept."""
    start, count, oldest = _past(ctx, network)
    for index in range(oldest, count):
        until, policy, rows = cast("tuple[int, Policy, tuple[Row, ...]]", ctx.get(start + index.to_bytes(4, "big")))
        if until > slot:
            return Policy(*policy), rows
    return policy_of(ctx, network), rows_of(ctx, network)


def require_sale(ctx: Context, network: str, policy: Policy) -> None:
    """What is left can be sold under the agreement that ``policy`` names, if it names one; whether that is in force is
    seen when it is. Raises ContractError: unknown-agreement, wrong-kind, other-network (it is another one's sale).
    """
    if policy.sale:
        found = agreement_book.agreement_of(ctx, policy.sale)
        if found.kind != agreement_book.SALE:
            raise ContractError("wrong-kind", f"agreement {policy.sale} is about a {found.kind}")
        if not found.automatic:
            raise ContractError("wrong-kind", f"agreement {policy.sale} is no standing sale: it is not automatic")
        if found.giver != network:
            raise ContractError("other-network", f"agreement {policy.sale} is a sale by {found.giver}")


def require_in_network(ctx: Context, device: str, network: str) -> None:
    """Raises ContractError: unknown-device, other-network."""
    if identity.device_of(ctx, device).network != network:
        raise ContractError("other-network", f"{device} is no device of {network}")


_NO_TERMS: Final = Donor()


def _keep(ctx: Context, network: str, past: Past) -> None:
    """Remember what has been replaced, and forget the oldest beyond MAX_PAST."""
    start, count, _ = _past(ctx, network)
    ctx.put(start + count.to_bytes(4, "big"), (past.until, tuple(past.policy), past.rows))
    ctx.put(start, count + 1)
    if count >= MAX_PAST:
        ctx.delete(start + (count - MAX_PAST).to_bytes(4, "big"))


def _past(ctx: Context, network: str) -> tuple[bytes, int, int]:
    """Where the replaced policies of ``network`` are, how many there have been, and the number of the oldest kept."""
    start = _PAST + network.encode() + b"\0"
    count = cast("int | None", ctx.get(start)) or 0
    return start, count, max(0, count - MAX_PAST)
