"""Origin: from whom each network's energy came, which part of it is renewable, and what became of what it generated.

Theory of operation
===================

Nothing is decided here that moves money. When a slot is FINAL, its generated Wh are assigned to whoever used them, each
Wh once: ``origin_lots`` follows the trades, ``origin_assign`` says where what was metered comes from, ``origin_events``
does so slot by slot. Until then a query works out the same from what is known at the moment and says that it is
provisional: readings may be missing or change, and what stores hold is as of the last slot assigned.

State: ``origin_state`` and ``origin_cursor`` name their tables.
"""

from typing import Any, Final

from chaincode import identity, market_products, origin_cursor, origin_events, origin_state, pruned
from chaincode.arguments import NetworkPeriod
from chaincode.contract import Context, Contract, ContractError, Subject, Value, query
from chaincode.origin_assign import Origin
from chaincode.subjects import NETWORK, READINGS, a_device, a_network, public

MAX_ROWS: Final = 500
MAX_SLOTS: Final = 3_000
"""Slots of one answer: a month of quarters of an hour."""


def _known_for_good(ctx: Context, args: dict[str, Any]) -> tuple[Subject, ...]:
    """Who may see what an answer rests on: before a slot's origins are written that is others' orders and readings,
    then what all devices of the network have used."""
    network = args["network"] if "network" in args else identity.device_of(ctx, args["device"]).network
    is_known = origin_state.read(ctx, network, args["slot"]) is not None
    return (Subject(NETWORK, network, READINGS),) if is_known else ()


class Origins(Contract):
    """Queries; and the hook that assigns."""

    name = "origin"

    def begin_block(self, ctx: Context) -> None:
        origin_events.go_on(ctx)

    def next_event(self, ctx: Context) -> int | None:
        return origin_events.due(ctx)

    @query(of=a_network(READINGS), proven=_known_for_good)
    def slot(self, ctx: Context, *, network: str, slot: int) -> Value:
        """(final, used_wh, renewable_wh, bought_wh, own_wh, undelivered_wh, utility_wh, generated_wh,
        generated_renewable_wh, sold_wh, shared_wh, fed_wh), as in ``origin_state.Sums``.

        Raises ContractError: unknown-network, no-product, pruned.
        """
        final, origin = _origin(ctx, network, slot)
        return final, *origin_state.sums(origin.used, origin.given)

    @query(of=a_device(READINGS), proven=_known_for_good)
    def device(self, ctx: Context, *, device: str, slot: int) -> Value:
        """The same for one device. Raises ContractError: unknown-device, no-product, pruned."""
        final, origin = _origin(ctx, identity.device_of(ctx, device).network, slot)
        used = [part for part in origin.used if part.device == device]
        given = [row for row in origin.given if row.device == device]
        return final, *origin_state.sums(used, given)

    @query(of=a_network(READINGS), proven=_known_for_good)
    def lots(self, ctx: Context, *, network: str, slot: int, first: int = 0) -> Value:
        """(final, ((device, how, source, wh, renewable_wh), ...)): what each device used, at most 500 rows from row
        ``first`` on.

        ``how``: bought, own (of the network's own generation), undelivered (promised by ``source``, delivered by the
        utility), utility; ``source``: the device that generated or promised it, "" the utility. Raises ContractError:
        unknown-network, no-product, pruned, bad-args.
        """
        if first < 0:
            raise ContractError("bad-args", "the first number of a list is 0")
        final, origin = _origin(ctx, network, slot)
        return final, tuple([tuple(part) for part in origin.used[first : first + MAX_ROWS]])

    @query(of=a_network(READINGS), proven=_known_for_good)
    def given(self, ctx: Context, *, network: str, slot: int) -> Value:
        """(final, ((device, generated_wh, renewable_wh, sold_wh, shared_wh, fed_wh), ...)).

        Raises ContractError: unknown-network, no-product, pruned.
        """
        final, origin = _origin(ctx, network, slot)
        return final, tuple([tuple(row) for row in origin.given])

    @query(of=a_network(READINGS))
    def slots(self, ctx: Context, *, network: str, first_slot: int, last_slot: int) -> Value:
        """(slots, used_wh, ... as in ``slot``): the sums over the slots of the range that are known for good, and kept.

        Raises ContractError: unknown-network, bad-args for more than 3,000 slots.
        """
        identity.network_of(ctx, network)
        if not 0 <= first_slot <= last_slot < first_slot + MAX_SLOTS or last_slot > market_products.MAX_SLOT:
            raise ContractError("bad-args", f"a range of at most {MAX_SLOTS} slots")
        opened = market_products.opened_within(ctx, first_slot, last_slot + 1)
        found = [origin_state.sums_of(ctx, network, slot) for slot in opened]
        added, slots = origin_state.Sums(), 0
        for sums in found:
            if sums is not None:
                added, slots = added.plus(sums), slots + 1
        return slots, *added

    @query(of=a_network(READINGS))
    def period(self, ctx: Context, *, network: str, period: NetworkPeriod) -> Value:
        """(slots, used_wh, ... as in ``slot``): the sums over a period's slots that are known for good; never deleted.

        Raises ContractError: unknown-network, unknown-period.
        """
        slots, sums = origin_state.period_sums(ctx, network, period)
        return slots, *sums

    @query(of=a_device(READINGS))
    def store(self, ctx: Context, *, device: str) -> Value:
        """(Wh, renewable Wh) that charged a battery, a car or a charger and were not given out again, after the last
        slot assigned. Raises ContractError("unknown-device").
        """
        identity.device_of(ctx, device)
        return origin_state.store_of(ctx, device, -1)

    @query(of=public)
    def assigned(self, ctx: Context) -> Value:
        """The first slot whose origins are not known for good; None before the first block."""
        cursor = origin_cursor.cursor_of(ctx)
        return None if cursor is None else cursor.slot


def _origin(ctx: Context, network: str, slot: int) -> tuple[bool, Origin]:
    """Whether it is known for good, and what is known."""
    identity.network_of(ctx, network)
    if not 0 <= slot <= market_products.MAX_SLOT:
        raise ContractError("no-product", "there is no such slot")
    origin = origin_state.read(ctx, network, slot)
    if origin is not None:
        return True, origin
    pruned.require_kept(ctx, slot, network)
    product = market_products.require(ctx, slot)
    return False, origin_state.origin_of(ctx, network, slot, product, origin_state.followed(ctx, slot))
