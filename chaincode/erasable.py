"""What in a block holds somebody's readings, and whether it may be erased.

Transactions of meters hold them, those that were refused as well; and events that tell a reading, an estimate, or what
a network's readings came to in a slot. One may go when all its slots are FINAL, so that nothing can be corrected any
more, and one of its readings has gone from the state: by retention, or since its owner has asked for that
(``erasure.py``; then the state may follow later). A day's readings thus go together, and what a collector brought of
many homes goes with the first of them: their readings in the state stay.

What the grid operator's feeder meter says is of nobody alone, and stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from chaincode import market_products, pruned, settlement_ledger, settlement_readings
from chaincode.contract import Context, ContractError, Event
from chaincode.identity import device_of
from chaincode.market_products import MAX_SLOT

_OF_DEVICES: Final = frozenset({"reading", "corrected", "estimated", "spread", "gap-rest"})
"""Topics of settlement whose keys are (device, network) and whose data begin with the slot."""
_OF_NETWORKS: Final = frozenset({"settled", "settled-anew", "origin"})
"""Those of settlement and origin whose key is the network."""


class Held(NamedTuple):
    """A reading, or what a slot came to: of a device, or of a network (``device`` is empty)."""

    slot: int
    network: str
    device: str


def in_call(contract: str, method: str, args: Mapping[str, Any]) -> tuple[Held, ...]:
    """The readings in a transaction, none in any other. The arguments are as they came, unchecked."""
    if contract != "settlement":
        return ()
    rows = args.get("rows")
    if method == "report":
        found = [(args.get("device"), args.get("slot"))]
    elif method in ("report_day", "correct") and isinstance(rows, Sequence):
        first = args.get("first_slot")
        found = [(args.get("device"), first + index) for index in range(len(rows)) if type(first) is int]
    elif method == "collect" and isinstance(rows, Sequence):
        found = [(row[0], row[1]) for row in rows if isinstance(row, Sequence) and len(row) > 1]
    else:
        return ()
    return tuple([Held(slot, "", device) for device, slot in dict.fromkeys(_plain(found))])


def _plain(found: Sequence[tuple[object, object]]) -> list[tuple[str, int]]:
    return [
        (device, slot)
        for device, slot in found
        if type(device) is str and type(slot) is int and 0 <= slot <= MAX_SLOT and "\0" not in device
    ]


def in_event(event: Event) -> tuple[Held, ...]:
    """The reading that an event tells, or what it came to; none if it tells of something else."""
    data = event.data
    if event.contract not in ("settlement", "origin") or not isinstance(data, tuple) or not data:
        return ()
    slot = data[0]
    if type(slot) is not int or not event.keys:
        return ()
    if event.topic in _OF_DEVICES and len(event.keys) > 1:
        return (Held(slot, event.keys[1], event.keys[0]),)
    return (Held(slot, event.keys[0], ""),) if event.topic in _OF_NETWORKS else ()


def may_go(ctx: Context, held: Sequence[Held]) -> bool:
    """Whether what holds these may be erased, by the state at hand."""
    return (
        bool(held)
        and all(market_products.is_final(ctx, each.slot) for each in held)
        and any(_has_gone(ctx, each) for each in held)
    )


def _has_gone(ctx: Context, held: Held) -> bool:
    network = held.network
    if held.device:
        if settlement_readings.find(ctx, held.device, held.slot) is None:
            return True
        network = network or _network(ctx, held.device)
    elif settlement_ledger.settled_of(ctx, network, held.slot) is None:
        return True
    asked = [pruned.erased_of(ctx, network, each) for each in dict.fromkeys(("", held.device))]
    return any(erased is not None and held.slot <= erased.asked for erased in asked)


def _network(ctx: Context, device: str) -> str:
    try:
        return device_of(ctx, device).network
    except ContractError:
        return ""
