"""The strategy: an observation in, orders out. Pure: no clock, no chance, no memory; the same view, the same orders.

It trades the home's planned net: what the home will lack it bids for, what it will have too much of it offers.
The price runs with the time left until the gate: far from it the home waits for a bargain, near it a buyer goes
almost to the utility's retail price and a seller almost down to the feed-in tariff, because those are what they
get otherwise. An EV that leaves late, and a battery that only wants to earn, bid less.

Open orders that still say what is wanted stay; the others are cancelled and replaced in the same step.
"""

from collections.abc import Iterable
from typing import NamedTuple

from broker.observation import Action, Cancel, HomeModel, Observation, OpenOrder, Place, Side, SlotView
from broker.plan import Plan, make_plan

URGENCY_PERMILLE = ((1200, 920), (2400, 750), (4800, 550), (9000, 350), (14400, 150))
"""(At most so many seconds before the gate, the urgency); farther away nothing is ordered."""
STORE_WORTH_PERMILLE = 850
"""What stored energy is taken to be worth, of the dearest retail price ahead, after the battery's losses."""


class _Wish(NamedTuple):
    side: Side
    energy_wh: int
    price: int


def decide(home: HomeModel, seen: Observation) -> tuple[Action, ...]:
    """The cancellations and orders that bring the home's open orders in line with its plan."""
    plan = make_plan(home, seen)
    actions: list[Action] = []
    for index, view in enumerate(seen.slots):
        urgency = urgency_permille(view.gate - seen.time)
        if urgency is not None:
            actions += _change(view, _wishes(home, seen, plan, index, urgency))
    return tuple(actions)


def urgency_permille(seconds_to_gate: int) -> int | None:
    """0 to 1000; None if the slot is too far away, or its gate has passed."""
    if seconds_to_gate <= 0:
        return None
    return next((urgency for limit, urgency in URGENCY_PERMILLE if seconds_to_gate <= limit), None)


def _wishes(home: HomeModel, seen: Observation, plan: Plan, index: int, urgency: int) -> dict[str, _Wish]:
    """By device, what it should have open in this slot: all on one side, as the market asks of a home."""
    view = seen.slots[index]
    # What the battery has traded lies in the plan already.
    lacking = plan.net[index] - sum(wh for device, wh in view.positions.items() if device != home.battery)
    if lacking >= home.min_order_wh:
        return _purchases(home, seen, plan, index, urgency, lacking)
    if lacking <= -home.min_order_wh or plan.spare[index] >= home.min_order_wh:
        return _sales(home, view, -lacking, plan.spare[index], urgency)
    if home.battery is not None and plan.store[index] >= home.min_order_wh:
        return {home.battery: _Wish("buy", plan.store[index], _store_price(home, seen, index, urgency))}
    return {}


def _purchases(
    home: HomeModel, seen: Observation, plan: Plan, index: int, urgency: int, lacking: int
) -> dict[str, _Wish]:
    view = seen.slots[index]
    wishes: dict[str, _Wish] = {}
    if home.ev is not None:
        ev_wh = min(lacking, plan.ev[index] - view.positions.get(home.ev, 0))
        if ev_wh >= home.min_order_wh:
            wishes[home.ev] = _Wish("buy", ev_wh, _bid(view, urgency * _haste_permille(home, seen, view) // 1000))
            lacking -= ev_wh
    if lacking >= home.min_order_wh:
        wishes[home.load] = _Wish("buy", lacking, _bid(view, urgency))
    return wishes


def _sales(home: HomeModel, view: SlotView, surplus: int, spare: int, urgency: int) -> dict[str, _Wish]:
    """Sun is sold by the panels, spare charge by the battery, and what was bought too much by who holds most of it."""
    price = view.retail - (view.retail - view.feed_in) * urgency // 1000
    wishes: dict[str, _Wish] = {}
    if home.battery is not None and spare >= home.min_order_wh:
        wishes[home.battery] = _Wish("sell", spare, price)
    if home.pv is not None and surplus >= home.min_order_wh:
        sun = min(surplus, home.slot_wh(home.pv_w) + view.positions.get(home.pv, 0)) if view.sun_wh > 0 else 0
        if sun >= home.min_order_wh:
            wishes[home.pv] = _Wish("sell", sun, price)
            surplus -= sun
    if surplus >= home.min_order_wh and not wishes:
        holder = max(sorted(view.positions), key=lambda device: view.positions[device], default=None)
        if holder is not None and view.positions[holder] >= home.min_order_wh:
            wishes[holder] = _Wish("sell", min(surplus, view.positions[holder]), price)
    return wishes


def _haste_permille(home: HomeModel, seen: Observation, view: SlotView) -> int:
    """Between 500 (all the time in the world) and 1000 (every slot until departure is needed)."""
    possible = home.slot_wh(home.ev_power_w) * (seen.ev_departure_slot - max(seen.ev_first_slot, view.slot))
    return 500 + 500 * min(seen.ev_need_wh, possible) // possible if possible > 0 else 1000


def _store_price(home: HomeModel, seen: Observation, index: int, urgency: int) -> int:
    """What charge is worth later, approached with urgency from the feed-in tariff."""
    view = seen.slots[index]
    dearest = max(later.retail for later in seen.slots[index:])
    worth = dearest * home.battery_efficiency_permille // 1000 * STORE_WORTH_PERMILLE // 1000
    ceiling = max(view.feed_in, min(worth, (view.feed_in + view.retail) // 2))
    return view.feed_in + (ceiling - view.feed_in) * urgency // 1000


def _bid(view: SlotView, urgency: int) -> int:
    return view.feed_in + (view.retail - view.feed_in) * urgency // 1000


def _change(view: SlotView, wishes: dict[str, _Wish]) -> Iterable[Action]:
    """Cancellations first, so that what they held is free for the new orders."""
    kept: set[str] = set()
    for order in view.orders:
        wish = wishes.get(order.device)
        if wish is not None and order.device not in kept and _still_good(order, wish):
            kept.add(order.device)
        else:
            yield Cancel(order.id)
    for device, wish in sorted(wishes.items()):
        if device not in kept:
            yield Place(device, wish.side, view.slot, wish.energy_wh, wish.price)


def _still_good(order: OpenOrder, wish: _Wish) -> bool:
    near = max(100, wish.energy_wh // 10)
    return order.side == wish.side and order.price == wish.price and abs(order.energy_wh - wish.energy_wh) <= near
