"""Needs: holds that a device's own money does not cover, decided together at the end of the block.

No order within a block is better off for standing first: a network's needs are met in full out of the devices' own
money and what others can spare (``budget_share``: devices, the pool, other networks), or not at all. While they are
more than can be met in some period, the one that lacks most there is refused (equal ones: the larger reference), first
among the needs of a device that has reached the limit of what it may be given, then among all of the network
(``budget_division``). What was asked under one reference (``budget_hold.hold_all``) is met in all its periods or in
none, so all periods of a network are decided before any money moves.

What others give to several holds under one reference is one share each; the holds' own money goes to the first ones
in the order given, the gifts to the last.

The work of a block is bounded, and what is beyond the bounds is refused without regard to where it stands in the block:
of a network and period the MAX_NEEDS smallest needs are considered (equal ones: the smaller references); of all
networks those with the fewest needs first, equal ones in an order that every block draws anew, until MAX_WORK is
done. Who is refused by these bounds may ask again in the next block, and is not stopped for it.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from chaincode import (
    accounts,
    budget_charge,
    budget_division,
    budget_hold,
    budget_policy,
    budget_secured,
    budget_share,
    budget_state,
    identity,
)
from chaincode.budget_division import Need
from chaincode.budget_hold import Asked, Hold
from chaincode.budget_hold import Part as HoldPart
from chaincode.budget_share import Gift, Spare
from chaincode.contract import Context

MAX_NEEDS: Final = 1_024
"""Needs of one network and period that one block considers."""
MAX_WORK: Final = 16_384
"""Devices looked at and shares made, of all networks in one block; the last network may go beyond by its own."""

Decision: TypeAlias = tuple[bytes, bool]


class _Period(NamedTuple):
    """What a network's devices need in period ``number``, in the order recorded; what each of these devices has of its
    own; how much it may be given, if it has a limit; who can help.
    """

    number: int
    asked: list[Asked]
    needs: list[Need]
    available: dict[str, int]
    rooms: dict[str, int]
    givers: list[Spare]


class _Outcome(NamedTuple):
    """The references that go without, and the work done."""

    refused: dict[bytes, None]
    work: int


def resolve_needs(ctx: Context) -> tuple[Decision, ...]:
    """Decide all needs of this block: (reference, whether it is held now), by network, period and recording.

    A refused device that is depleted is stopped, unless the period is still planned: LIMITED, or GRACE if critical.
    A network whose needs cannot be decided, by a mistake in the rules or in its records, is refused them all and
    the event ``needs-refused`` says why: no other network waits for it. "too-many" says that the bounds of a block
    refused them, or some of them.
    """
    networks: dict[str, list[Asked]] = {}
    for need in budget_hold.take_needs(ctx):
        networks.setdefault(identity.device_of(ctx, need.device).network, []).append(need)
    drawn = {network: sha256(b"%d %b" % (ctx.height, network.encode())).digest() for network in networks}
    refused: dict[str, dict[bytes, None]] = {}
    work = 0
    for network in sorted(networks, key=lambda network: (len(networks[network]), drawn[network])):
        asked = sorted(networks[network], key=lambda need: need.period)
        if work < MAX_WORK:
            refused[network], done = _resolve_apart(ctx, network, asked, tuple(networks))
            work += done
        else:
            refused[network] = _refuse_all(ctx, network, asked, "too-many")
    decisions: list[Decision] = []
    for network in sorted(networks):
        references = dict.fromkeys([need.reference for need in sorted(networks[network], key=_period_of)])
        decisions += [(reference, reference not in refused[network]) for reference in references]
    return tuple(decisions)


def _resolve_apart(
    ctx: Context, network: str, asked: list[Asked], needy: Sequence[str]
) -> tuple[dict[bytes, None], int]:
    """``_resolve`` as a unit that can fail alone: the references refused, and the work done."""
    outcomes: list[_Outcome] = []
    failure = ctx.attempt(lambda: outcomes.append(_resolve(ctx, network, asked, needy)))
    if failure is not None:
        return _refuse_all(ctx, network, asked, failure.code), identity.MAX_DEVICES
    return outcomes[0].refused, outcomes[0].work


def _refuse_all(ctx: Context, network: str, asked: Sequence[Asked], code: str) -> dict[bytes, None]:
    for period in dict.fromkeys([need.period for need in asked]):
        ctx.emit("needs-refused", (network,), (period, code))
    return dict.fromkeys([need.reference for need in asked])


def _resolve(ctx: Context, network: str, asked: list[Asked], needy: Sequence[str]) -> _Outcome:
    """Decide a network's needs, given by period, and move the money. ``needy``: the networks that need help."""
    periods = [
        _period(ctx, network, number, [need for need in asked if need.period == number], needy)
        for number in dict.fromkeys([need.period for need in asked])
    ]
    beyond = _beyond(periods)
    refused = dict(beyond)
    for period in periods:
        _refuse(period, refused)
    work = 0
    for period in periods:
        work += identity.network_of(ctx, network).devices
        work += _meet(ctx, network, period, refused)
        if any(need.reference in beyond for need in period.needs):
            ctx.emit("needs-refused", (network,), (period.number, "too-many"))
        if budget_state.status_of(ctx, network, period.number) == "planned":
            continue  # nobody runs short before it begins
        considered = [need for need in period.needs if need.reference not in beyond]
        _stop(ctx, period, [need for need in considered if need.reference in refused])
    return _Outcome(refused, work)


def _period(ctx: Context, network: str, number: int, asked: list[Asked], needy: Sequence[str]) -> _Period:
    """What is asked in one period, and who can help there."""
    needs = [Need(need.reference, need.device, sum([amount for _, amount in need.parts])) for need in asked]
    available = {need.device: 0 for need in needs}
    rooms = {}
    for device in available:
        available[device] = accounts.device_book(ctx, device, number).available
        room = budget_secured.room_of(ctx, device, number)
        if room is not None:
            rooms[device] = room
    if budget_policy.policy_of(ctx, network).pool_helps:
        budget_charge.pay_owed(ctx, network, number, ctx.tx_id)  # before anything is allocated from the pool
    givers = budget_share.spares(ctx, network, number, available)
    outside = _outside(ctx, network, number, available, needy)
    givers += budget_share.pool_spare(ctx, network, number, available, whole=bool(outside))
    givers += outside
    return _Period(number, asked, needs, available, rooms, givers)


def _outside(ctx: Context, network: str, period: int, available: dict[str, int], needy: Sequence[str]) -> list[Spare]:
    """The other networks that can help: none while this one owes, for what comes into its pool pays debts first."""
    if budget_state.debt_of(ctx, network):
        return []
    return budget_share.outside_spares(ctx, network, period, available, needy)


def _beyond(periods: Sequence[_Period]) -> dict[bytes, None]:
    """The references that no block considers: all but the MAX_NEEDS smallest needs of a period."""
    beyond: dict[bytes, None] = {}
    for period in periods:
        if len(period.needs) > MAX_NEEDS:
            by_size = sorted(period.needs, key=lambda need: (need.amount, need.reference))
            beyond |= dict.fromkeys([need.reference for need in by_size[MAX_NEEDS:]])
    return beyond


def _refuse(period: _Period, refused: dict[bytes, None]) -> None:
    """Add to ``refused`` the references that go without: so many that all others can be met in full."""
    limited: dict[str, list[Need]] = {device: [] for device in period.rooms}
    for need in period.needs:
        if need.device in limited and need.reference not in refused:
            limited[need.device].append(need)
    for device, mine in limited.items():
        refused |= budget_division.refused(mine, period.available, period.rooms[device])
    in_reach = sum([giver.amount for giver in period.givers])
    kept = [need for need in period.needs if need.reference not in refused]
    refused |= budget_division.refused(kept, period.available, in_reach)


def _meet(ctx: Context, network: str, period: _Period, refused: dict[bytes, None]) -> int:
    """Let the givers give what is lacking for all but the ``refused``, and hold it; how many shares were made."""
    met = [need for need in period.needs if need.reference not in refused]
    before = {need.device: accounts.device_book(ctx, need.device, period.number) for need in met}
    short = [lack for lack in budget_division.lacking(met, period.available) if lack.amount]
    gifts = budget_share.give(ctx, network, period.number, short, period.givers, budget_share.ORDER)
    gifts_of = dict(zip([lack.reference for lack in short], gifts, strict=True))
    for need in period.asked:
        if need.reference in refused:
            continue
        for (reference, amount), given in _spread(need.parts, gifts_of.get(need.reference, [])):
            held = accounts.hold(ctx, need.device, period.number, amount, reference)
            assert held is not None, "a need was met, but not with enough"
            kept = budget_secured.hold_gifts(ctx, need.device, period.number, given, held)
            budget_hold.write(ctx, reference, Hold(need.device, period.number, amount, kept))
    for device, book in before.items():
        budget_state.note_change(ctx, device, period.number, book)
    return sum([len(got) for got in gifts])


def _stop(ctx: Context, period: _Period, refused: Sequence[Need]) -> None:
    """Stop the devices of needs that were refused for lack of money, if they are depleted."""
    settings = budget_state.settings_of(ctx)
    for device, reference in {need.device: need.reference for need in reversed(refused)}.items():
        book = accounts.device_book(ctx, device, period.number)
        if budget_state.level_of(book, settings) == budget_state.DEPLETED:
            budget_state.stop(ctx, device, period.number, budget_state.BY_ORDER, reference)


def _spread(parts: Sequence[HoldPart], gifts: Sequence[Gift]) -> list[tuple[HoldPart, tuple[Gift, ...]]]:
    """Which gifts are in which hold: the first ones are filled with the device's own money, the last with gifts."""
    own = sum([amount for _, amount in parts]) - sum([gift.amount for gift in gifts])
    waiting = list(reversed(gifts))
    spread: list[tuple[HoldPart, tuple[Gift, ...]]] = []
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


def _period_of(need: Asked) -> int:
    return need.period
