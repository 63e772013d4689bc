"""Help from other networks: what automatic agreements bring when a network's own devices and pool do not suffice.

Money goes from pool to pool, and from there to the device that needs it. Helpers are asked in the order of the
agreements' ranks, then numbers. Each gives at most

    min(its pool - the floor that its owner has set, what the agreement's cap has left in the period of either side)

and nothing at all if the agreement is not in force in the slot under way, or is for one class and the networks are
not of one; if its periods and those of the network in need do not cover the same slots; if it owes the utility
itself; or if it received automatic help in this slot, from whom ever: so nothing goes round in a circle, and a path of
agreements is none.

Networks in need of one helper are served one after the other (``budget_needs`` and settlement say in which order, never
that of transactions); what each can take of it is bounded by the cap of its own agreement (docs/agreements.md).

State: ``agr-helped/`` network -> the last slot in which it received automatic help; ``agr-gift/`` network NUL
period(4) record(4) -> (agreement, the giver's period): under which agreement a share came, by its number among the
taker's shares.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from chaincode import account_books, accounts, agreement_book, budget_calendar, budget_policy, budget_state, slots
from chaincode.agreement_book import Agreement, Movement
from chaincode.contract import MAX_AMOUNT, Context
from chaincode.identity import device_of
from chaincode.network_classes import are_alike

_HELPED: Final = b"agr-helped/"
_GIFTS: Final = b"agr-gift/"
_REASON: Final = "share"


class Helper(NamedTuple):
    """``network`` can give ``amount`` base units at most, of its ``period``, under ``agreement``."""

    network: str
    period: int
    amount: int
    agreement: int


def rule_of(agreement: int) -> str:
    """What the record of a share says about the rule by which it came."""
    return f"agreement {agreement}"


def helpers(
    ctx: Context, network: str, period: int, devices: Sequence[str], without: Sequence[str] = ()
) -> list[Helper]:
    """Who can help ``devices`` of ``network`` in ``period``, in the order of asking, but for the networks ``without``:
    those that need help themselves.

    Nobody can, if all that they have might take a counter of the network or of one of the devices past 63 bits.
    """
    numbers = agreement_book.listed(ctx, agreement_book.TAKES, network)
    if not numbers:
        return []
    now = slots.current(ctx)
    agreements = [(number, agreement_book.agreement_of(ctx, number)) for number in numbers]
    found = []
    for number, agreement in sorted(agreements, key=_order):
        if agreement.giver not in without and agreement.automatic and _allows(ctx, agreement, now):
            helper = _helper(ctx, number, agreement, period)
            if helper is not None:
                found.append(helper)
    book = accounts.network_book(ctx, network, period)
    counted = [accounts.device_book(ctx, device, period).allocated for device in devices]
    room = MAX_AMOUNT - max([book.received, book.allocated, *counted])
    return found if sum([helper.amount for helper in found]) <= room else []


def bring(
    ctx: Context, helper: Helper, network: str, device: str, period: int, amount: int, reference: bytes, record: int
) -> None:
    """From the helper's pool through that of ``network`` to the device's available; it counts as sent, received and
    allocated. ``record``: its number among the shares of ``network`` in ``period``, where the caller has entered it.

    Raises ContractError("insufficient-funds") for more than the helper has.
    """
    slot = slots.current(ctx)
    pool = f"pool:{network}:{period}"
    accounts.give(ctx, f"pool:{helper.network}:{helper.period}", pool, amount, _REASON, reference)
    accounts.transfer(ctx, pool, f"device:{device}:{period}", amount, _REASON, reference)
    book = accounts.device_book(ctx, device, period)
    account_books.put_device(ctx, device, period, book._replace(received_slot=max(book.received_slot, slot)))
    agreement_book.use(ctx, helper.agreement, helper.period, period, amount)
    agreement_book.add_movement(ctx, helper.agreement, Movement(helper.period, period, record))
    ctx.put(_gift_key(network, period, record), (helper.agreement, helper.period))
    ctx.put(_HELPED + network.encode(), slot)


def send_back(ctx: Context, device: str, period: int, record: int, amount: int, reference: bytes) -> None:
    """``amount`` of a share, number ``record`` of the network's shares in ``period``, goes back out of the device's
    reserved into the pool that it came from; it comes off all that was counted, and off the use of the agreement's
    cap, whether or not that is still in force.

    Raises ContractError("insufficient-funds") for more than is reserved.
    """
    network = device_of(ctx, device).network
    number, giver_period = cast("tuple[int, int]", ctx.get(_gift_key(network, period, record)))
    giver = agreement_book.agreement_of(ctx, number).giver
    before = accounts.device_book(ctx, device, period)
    accounts.ungive(ctx, device, period, f"pool:{giver}:{giver_period}", network, amount, reference)
    agreement_book.use(ctx, number, giver_period, period, -amount)
    budget_state.note_change(ctx, device, period, before)


def _order(numbered: tuple[int, Agreement]) -> tuple[int, int]:
    return numbered[1].rank, numbered[0]


def _allows(ctx: Context, agreement: Agreement, slot: int) -> bool:
    """Whether something may be shared under ``agreement`` in ``slot``."""
    if agreement.kind != agreement_book.SHARE or not agreement_book.is_in_force(agreement, slot):
        return False
    return not agreement.same_class or are_alike(ctx, agreement.giver, agreement.taker)


def _helper(ctx: Context, number: int, agreement: Agreement, period: int) -> Helper | None:
    """What the giver of an agreement in force can give to the taker's ``period``; None if nothing."""
    giver = agreement.giver
    if _helped_in(ctx, giver) >= slots.current(ctx) or budget_state.debt_of(ctx, giver):
        return None
    covered = budget_calendar.slots_of(ctx, agreement.taker, period)
    own = budget_calendar.period_of(ctx, giver, covered[0])
    if budget_calendar.slots_of(ctx, giver, own) != covered:
        return None
    book = accounts.network_book(ctx, giver, own)
    left = agreement_book.left(ctx, number, own, period)
    above = book.pool - budget_policy.policy_of(ctx, giver).pool_floor
    amount = min(above, left, MAX_AMOUNT - book.sent)
    return Helper(giver, own, amount, number) if amount > 0 else None


def _helped_in(ctx: Context, network: str) -> int:
    """The last slot in which ``network`` received automatic help; -1: never."""
    slot = cast("int | None", ctx.get(_HELPED + network.encode()))
    return -1 if slot is None else slot


def _gift_key(network: str, period: int, record: int) -> bytes:
    return _GIFTS + network.encode() + b"\0" + period.to_bytes(4, "big") + record.to_bytes(4, "big")
