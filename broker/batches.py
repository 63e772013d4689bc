"""From a decision's actions to the market's methods: what goes into one transaction, and how it is called."""

from collections.abc import Iterator, Sequence
from typing import Any

from broker.changes import Action, Cancel, Place, Replace


def batches(actions: Sequence[Action]) -> Iterator[tuple[Action, ...]]:
    """What goes into one transaction: all new orders of a device, which come last, and everything else by itself."""
    places: dict[str, list[Action]] = {}
    for action in actions:
        if isinstance(action, Place):
            places.setdefault(action.device, []).append(action)
        else:
            yield (action,)
    yield from map(tuple, places.values())


def call_of(batch: tuple[Action, ...]) -> tuple[str, dict[str, Any]]:
    """The method of the market, and its arguments."""
    first = batch[0]
    if isinstance(first, Cancel):
        return "cancel", {"order": first.order}
    if isinstance(first, Replace):
        return "replace", {"order": first.order, "device": first.new.device, **_order(first.new)}
    orders = [_order(action) for action in batch if isinstance(action, Place)]
    if len(orders) == 1:
        return "place", {"device": first.device, **orders[0]}
    return "place_many", {"device": first.device, "orders": [tuple(order.values()) for order in orders]}


def _order(place: Place) -> dict[str, Any]:
    """An order's terms, in the order of a list's rows."""
    return {
        "side": place.side,
        "slot": place.slot,
        "energy_wh": place.energy_wh,
        "price": place.price,
        "until": "gate",
        "renewable": place.renewable,
        "reference": place.reference,
    }
