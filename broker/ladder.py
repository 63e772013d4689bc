"""What strategies share: what a slot's curve offers to either side of the market, and orders that the market takes.

A site's *position* lies somewhere on its curve. The steps beyond it are worth buying, each up to its value; the steps
up to it are worth selling, each from its value. A site may stand on one side only, so a strategy asks for `better`,
the side from which more is expected at the prices that the view expects, sets a limit for each rung, and leaves it to
`orders` to make of them what the market accepts: small rungs merged, nothing beyond a device's connection, nothing
that its tokens do not cover.

Energy in Wh, prices in base units per Wh.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from broker.view import Side, SlotView, Step, Wish

MIN_ORDER_WH: Final = 100
"""The market takes no smaller order."""
GRAIN: Final = 24
"""Rungs of one device whose limits lie within this part of the span from feed-in to retail are one order."""
MOST_ORDERS: Final = 8
"""Of one device in one slot: a ladder of more rungs is not worth what they cost everybody."""


class Rung(NamedTuple):
    """So much energy, worth ``value`` a Wh; ``limit``: what the order for it says."""

    device: str
    energy_wh: int
    value: int
    limit: int
    why: str


def a_kwh(price: int) -> str:
    """Base units per Wh in words, as tokens a kWh."""
    return f"{price / 1_000_000:.3f} a kWh"


def tradable(view: SlotView) -> bool:
    """Whether there is anything to be gained: before the gate, where retail is above feed-in and neither negative."""
    return view.now < view.gate and 0 <= view.feed_in < view.retail


def rungs(view: SlotView, side: Side) -> tuple[Rung, ...]:
    """What could be bought, the dearest first, or sold, the cheapest first; the limits are the values.

    A purchase that is worth more than retail is worth retail, since the utility sells at that; one that is worth less
    than feed-in is none, and so with sales.
    """
    if not tradable(view):
        return ()
    steps = _beyond(view) if side == "buy" else _held(view)
    low, high = view.feed_in, view.retail
    if side == "buy":
        return tuple(_rung(step, min(step.value, high)) for step in steps if step.value >= low)
    return tuple(_rung(step, max(step.value, low)) for step in steps if step.value <= high)


def gain(view: SlotView, side: Side, ladder: Sequence[Rung]) -> int:
    """What ``ladder`` is expected to bring if its limits are what it is worth, base units: the mean over the prices
    expected."""
    prices = sorted(view.expected)
    sums = [0, *accumulate(prices)]
    total = 0
    for rung in ladder:
        below = bisect_left(prices, rung.limit)
        if side == "buy":
            total += (below * rung.limit - sums[below]) * rung.energy_wh
        else:
            total += (sums[-1] - sums[below] - (len(prices) - below) * rung.limit) * rung.energy_wh
    return total // max(1, len(prices))


def better(view: SlotView) -> tuple[Side, tuple[Rung, ...]]:
    """The side from which more is to be expected at the site's values, and its rungs."""
    return better_of(view, rungs(view, "buy"), rungs(view, "sell"))


def better_of(view: SlotView, buys: tuple[Rung, ...], sells: tuple[Rung, ...]) -> tuple[Side, tuple[Rung, ...]]:
    """The side from which more is to be expected at the rungs' limits; where neither promises anything, the one that
    the price is nearer to. Without tokens a site can only sell."""
    if not any(view.available.get(device, 0) > 0 for device in view.positions):
        buys = ()
    if not buys or not sells:
        return ("sell", sells) if sells else ("buy", buys)
    bought, sold = gain(view, "buy", buys), gain(view, "sell", sells)
    if bought == sold:
        middle = sum(view.expected) // max(1, len(view.expected))
        return ("buy", buys) if middle - buys[0].limit <= sells[0].limit - middle else ("sell", sells)
    return ("buy", buys) if bought > sold else ("sell", sells)


def orders(view: SlotView, side: Side, ladder: Sequence[Rung], *, renewable: bool = False) -> tuple[Wish, ...]:
    """The orders for ``ladder``, at limits no worse for the site than those of its rungs and within the tariffs.

    What a device cannot carry is sold by another one of the site at the bus, or bought back by one that has sold, and
    by no other, so that no device spends its tokens on another one's needs: the site is settled as a whole. Where
    small rungs merge, the least eager limit is that of all.
    """
    rooms = {device: _room(view, device, side) for device in view.positions}
    limits = {device: _limit(view, device, side) for device in view.positions}
    carriers = {device: _carriers(view, device) for device in {rung.device for rung in ladder}}
    by_device: dict[str, list[Rung]] = {}
    for rung in ladder:
        left = rung.energy_wh
        for device in carriers[rung.device]:
            part = min(left, rooms[device])
            if device != rung.device and side == "buy":
                part = min(part, rooms[device] - limits[device])
            if part > 0:
                rooms[device] -= part
                left -= part
                by_device.setdefault(device, []).append(Rung(device, part, rung.value, rung.limit, rung.why))
            if left <= 0:
                break
    sign = 1 if side == "buy" else -1
    wishes: list[Wish] = []
    for device, parts in by_device.items():
        parts.sort(key=lambda rung: -sign * rung.limit)
        tokens = view.available.get(device, 0) if side == "buy" else None
        wishes += _device_orders(view, side, device, _merged(view, parts), tokens, renewable)
    return tuple(wishes)


def _beyond(view: SlotView) -> list[Step]:
    """The steps above the position, the dearest first. What lacks at any price, as what has been sold beyond all that
    can be, comes before them."""
    skip = view.position_wh - view.curve.start_wh
    lacking, skip = max(0, -skip), max(0, skip)
    steps: list[Step] = []
    for step in view.curve.steps:
        passed = min(skip, step.energy_wh)
        skip -= passed
        if step.energy_wh > passed:
            steps.append(step._replace(energy_wh=step.energy_wh - passed) if passed else step)
    return _had_anyway(view, lacking, steps) + steps if lacking else steps


def _had_anyway(view: SlotView, lacking: int, steps: Sequence[Step]) -> list[Step]:
    """Who buys what lacks at any price: whose position is least, within what its connection carries beyond its own
    steps, so that these are not lost; what is left then goes before them."""
    why = "sold more than there is" if view.position_wh < 0 else "has to be had in any case"
    rooms = {device: max(0, _room(view, device, "buy")) for device in view.positions}
    kept = dict.fromkeys(rooms, 0)
    for step in steps:
        if step.device in kept:
            kept[step.device] = min(rooms[step.device], kept[step.device] + step.energy_wh)
    shares = dict.fromkeys(sorted(rooms, key=lambda device: (view.positions[device], device)), 0)
    for spared in (kept, dict.fromkeys(rooms, 0)):
        for device, share in shares.items():
            part = min(lacking, max(0, rooms[device] - share - spared[device]))
            shares[device] += part
            lacking -= part
    return [Step(device, share, view.retail, why) for device, share in shares.items() if share]


def _held(view: SlotView) -> list[Step]:
    """The steps below the position, the cheapest first. What is held beyond all use is worth what the utility gives."""
    left = view.position_wh - view.curve.start_wh
    steps: list[Step] = []
    for step in view.curve.steps:
        part = min(left, step.energy_wh)
        if part > 0:
            steps.append(step if part == step.energy_wh else step._replace(energy_wh=part))
            left -= part
    if left > 0 and view.positions:
        device = max(view.positions, key=lambda device: (view.positions[device], device))
        steps.append(Step(device, left, view.feed_in, "more than is of use"))
    return steps[::-1]


def _rung(step: Step, value: int) -> Rung:
    return Rung(step.device, step.energy_wh, value, value, step.why)


def _limit(view: SlotView, device: str, side: Side) -> int:
    """What the device's connection carries in the slot."""
    limits = view.site.import_w if side == "buy" else view.site.export_w
    return view.site.slot_wh(limits.get(device, 0))


def _room(view: SlotView, device: str, side: Side) -> int:
    """How much more of an order on ``side`` its connection carries, beyond what it has contracted."""
    position = view.positions[device]
    return _limit(view, device, side) - (position if side == "buy" else -position)


def _carriers(view: SlotView, device: str) -> list[str]:
    others = sorted(view.positions, key=lambda other: (-abs(view.positions[other]), other))
    return ([device] if device in view.positions else []) + [other for other in others if other != device]


def _merged(view: SlotView, parts: list[Rung]) -> list[Rung]:
    """Rungs of one device, the most eager first, as few orders: each of at least MIN_ORDER_WH."""
    grain = (view.retail - view.feed_in) // GRAIN
    merged: list[Rung] = []
    first_limit = 0
    for rung in parts:
        last = merged[-1] if merged else None
        if last is not None and (last.energy_wh < MIN_ORDER_WH or abs(first_limit - rung.limit) <= grain):
            words = last.why if rung.why in last.why else f"{last.why}, {rung.why}"
            merged[-1] = Rung(rung.device, last.energy_wh + rung.energy_wh, rung.value, rung.limit, words)
        else:
            merged.append(rung)
            first_limit = rung.limit
    while len(merged) > MOST_ORDERS:
        near = min(range(1, len(merged)), key=lambda at: merged[at - 1].energy_wh * _step_down(merged, at))
        first, second = merged[near - 1 : near + 1]
        merged[near - 1 : near + 1] = [second._replace(energy_wh=first.energy_wh + second.energy_wh)]
    return merged


def _step_down(parts: list[Rung], at: int) -> int:
    return abs(parts[at - 1].limit - parts[at].limit)


def _device_orders(
    view: SlotView, side: Side, device: str, parts: list[Rung], tokens: int | None, renewable: bool
) -> Iterable[Wish]:
    for rung in parts:
        limit = min(max(rung.limit, view.feed_in), view.retail)
        energy = rung.energy_wh if tokens is None or limit == 0 else min(rung.energy_wh, max(0, tokens) // limit)
        if energy < MIN_ORDER_WH:
            continue
        if tokens is not None:
            tokens -= energy * limit
        short = "" if energy == rung.energy_wh else f", cut from {rung.energy_wh} Wh by its tokens"
        words = f"{rung.why}: worth {a_kwh(rung.value)} to us{short}"
        yield Wish(device, side, energy, limit, renewable, words)
