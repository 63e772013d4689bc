"""Needs: holds that a device's own money does not cover, decided together at the end of the block.

No order within a block is better off for standing first: a network's needs are met in full out of the devices' own
money and what others can spare, or not at all. While they are more than can be met in some period, the one that lacks
most there is refused (equal ones: the larger reference). What was asked under one reference (``budget_hold.hold_all``)
is met in all its periods or in none, so all periods of a network are decided before any money moves.

What others give to several holds under one reference is one share each; the holds' own money goes to the first ones
in the order given, the gifts to the last.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from chaincode import accounts, budget_hold, budget_share, budget_state, identity
from chaincode.budget_hold import Asked, Hold, Part
from chaincode.budget_share import Gift, Need, Spare
from chaincode.contract import Context

MAX_NEEDS: Final = 64
"""Needs of one network and period that one block considers; further ones are refused."""

Decision: TypeAlias = tuple[bytes, bool]


class _Period(NamedTuple):
    """What a network's devices need in period ``number``: in the order recorded; what each of these devices has of its
    own; who can help.
    """

    number: int
    needs: list[Asked]
    available: dict[str, int]
    donors: list[Spare]


def resolve_needs(ctx: Context) -> tuple[Decision, ...]:
    """Decide all needs of this block: (reference, whether it is held now), by network, period and recording.

    A refused device that is depleted is stopped, unless the period is still planned: LIMITED, or GRACE if critical.
    A network whose needs cannot be decided, by a mistake in the rules or in its records, is refused them all and
    the event ``needs-refused`` says why: no other network waits for it.
    """
    networks: dict[str, list[Asked]] = {}
    for need in budget_hold.take_needs(ctx):
        networks.setdefault(identity.device_of(ctx, need.device).network, []).append(need)
    decisions: list[Decision] = []
    for network in sorted(networks):
        decisions += _resolve_apart(ctx, network, sorted(networks[network], key=lambda need: need.period))
    return tuple(decisions)


def _resolve_apart(ctx: Context, network: str, needs: list[Asked]) -> list[Decision]:
    """``_resolve`` as a unit that can fail alone."""
    references = dict.fromkeys([need.reference for need in needs])
    granted: dict[bytes, None] = {}
    failure = ctx.attempt(lambda: granted.update(_resolve(ctx, network, needs)))
    if failure is not None:
        for period in dict.fromkeys([need.period for need in needs]):
            ctx.emit("needs-refused", (network,), (period, failure.code))
        return [(reference, False) for reference in references]
    return [(reference, reference in granted) for reference in references]


def _resolve(ctx: Context, network: str, needs: list[Asked]) -> dict[bytes, None]:
    """Decide a network's needs, given by period, and move the money; the references that are held now."""
    periods = []
    for number in dict.fromkeys([need.period for need in needs]):
        here = [need for need in needs if need.period == number]
        needy = [need.device for need in here]
        available = {device: accounts.device_book(ctx, device, number).available for device in needy}
        periods.append(_Period(number, here, available, budget_share.spares(ctx, network, number, needy)))
    refused = _refused(periods)
    for period in periods:
        _meet(ctx, network, period, [need for need in period.needs if need.reference not in refused])
        if budget_state.status_of(ctx, network, period.number) == "planned":
            continue  # nobody runs short before it begins
        settings = budget_state.settings_of(ctx)
        for need in period.needs:
            book = accounts.device_book(ctx, need.device, period.number)
            if need.reference in refused and budget_state.level_of(book, settings) == budget_state.DEPLETED:
                budget_state.stop(ctx, need.device, period.number)
    return dict.fromkeys([need.reference for need in needs if need.reference not in refused])


def _refused(periods: Sequence[_Period]) -> dict[bytes, None]:
    """The references that go without: so many that all others can be met in full."""
    refused = dict.fromkeys([need.reference for period in periods for need in period.needs[MAX_NEEDS:]])
    for period in periods:
        in_reach = sum([donor.amount for donor in period.donors])
        while True:
            kept = [need for need in period.needs if need.reference not in refused]
            lacking = _lacking(kept, period.available)
            if sum([lack.amount for lack in lacking]) <= in_reach:
                break
            refused[max(lacking, key=lambda lack: (lack.amount, lack.reference)).reference] = None
    return refused


def _lacking(needs: Sequence[Asked], available: dict[str, int]) -> list[Need]:
    """What each need lacks once the devices' own money has gone to their needs in the order given."""
    left = dict(available)
    lacking = []
    for need in needs:
        amount = _amount(need)
        own = min(left[need.device], amount)
        left[need.device] -= own
        lacking.append(Need(need.reference, need.device, amount - own))
    return lacking


def _meet(ctx: Context, network: str, period: _Period, met: Sequence[Asked]) -> None:
    """Let the donors give what ``met`` lacks, and hold it."""
    short = [lack for lack in _lacking(met, period.available) if lack.amount]
    gifts = budget_share.give(ctx, network, period.number, short, period.donors, budget_share.ORDER)
    gifts_of = dict(zip([lack.reference for lack in short], gifts, strict=True))
    for need in met:
        before = accounts.device_book(ctx, need.device, period.number)
        for (reference, amount), given in _spread(need.parts, gifts_of.get(need.reference, [])):
            held = accounts.hold(ctx, need.device, period.number, amount, reference)
            assert held is not None, "a need was met, but not with enough"
            budget_hold.write(ctx, reference, Hold(need.device, period.number, amount, given))
        budget_state.note_change(ctx, need.device, period.number, before)


def _spread(parts: Sequence[Part], gifts: Sequence[Gift]) -> list[tuple[Part, tuple[Gift, ...]]]:
    """Which gifts are in which hold: the first ones are filled with the device's own money, the last with gifts."""
    own = sum([amount for _, amount in parts]) - sum([gift.amount for gift in gifts])
    waiting = list(reversed(gifts))
    spread: list[tuple[Part, tuple[Gift, ...]]] = []
    for part in parts:
        mine = min(own, part[1])
        own -= mine
        lacks = part[1] - mine
        given = []
        while lacks:
            gift = waiting.pop()
            taken = min(gift.amount, lacks)
            lacks -= taken
            given.append(gift._replace(amount=taken))
            if taken < gift.amount:
                waiting.append(gift._replace(amount=gift.amount - taken))
        spread.append((part, tuple(given)))
    return spread


def _amount(need: Asked) -> int:
    return sum([amount for _, amount in need.parts])
