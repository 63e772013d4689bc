"""Who gets help when there is too little, and who gives to whom: pure functions over what is asked and offered.

**Who goes without.** Needs are met in full or not at all, out of the devices' own money, which goes to their needs in
the order given, and out of what is in reach of them all. While they lack more than that, the one that lacks most goes
without (equal ones: the larger reference); own money that it would have had goes to its device's next needs.

**Who gives to whom.** Givers are asked in their order. Several needs on one giver share pro rata of what they still
lack (largest remainder, then device and reference), as long as no more than MAX_PARTS parts can come of it. Beyond, the
amounts are the same, but every giver serves needs one after the other, in the order of device and reference: so many
parts as givers and needs together at the most.
"""

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from chaincode.apportion import apportion

MAX_PARTS: Final = 1_024
"""Givers times needs up to which every giver gives a part to every need."""


class Need(NamedTuple):
    """``device`` wants ``amount`` base units for the hold or charge ``reference``."""

    reference: bytes
    device: str
    amount: int


class Part(NamedTuple):
    """Giver number ``giver`` gives ``amount`` to need number ``need``, each by its place in the lists given."""

    giver: int
    need: int
    amount: int


def lacking(needs: Sequence[Need], own: Mapping[str, int]) -> list[Need]:
    """What each need lacks once the devices' ``own`` money has gone to their needs in the order given."""
    left = dict(own)
    lacks = []
    for need in needs:
        mine = min(left[need.device], need.amount)
        left[need.device] -= mine
        lacks.append(need._replace(amount=need.amount - mine))
    return lacks


def refused(needs: Sequence[Need], own: Mapping[str, int], reach: int) -> dict[bytes, None]:
    """The references that go without, so that ``own`` and ``reach`` cover all others. One reference each.

    O(n log n): a refusal changes what later needs of its device lack, and only until its own money is placed again.
    """
    lacks = [need.amount for need in lacking(needs, own)]
    missing = sum(lacks)
    if missing <= reach:
        return {}
    of_device: dict[str, list[int]] = {}
    following: list[int] = []  # a need's place in its device's list, plus one
    for index, need in enumerate(needs):
        mine = of_device.setdefault(need.device, [])
        mine.append(index)
        following.append(len(mine))
    by_reference = sorted(range(len(needs)), key=lambda index: needs[index].reference)
    rank = dict(zip(by_reference, range(len(needs)), strict=True))
    heap = [(-lack, -rank[index], index) for index, lack in enumerate(lacks) if lack]
    heapify(heap)
    gone: dict[bytes, None] = {}
    while missing > reach:
        minus, _, index = heappop(heap)
        if needs[index].reference in gone or lacks[index] != -minus:
            continue  # it is out already, or lacks less by now
        need = needs[index]
        gone[need.reference] = None
        missing -= lacks[index]
        free = need.amount - lacks[index]
        mine = of_device[need.device]
        for place in range(following[index], len(mine)):
            if not free:
                break
            later = mine[place]
            if needs[later].reference not in gone:
                part = min(free, lacks[later])
                free -= part
                missing -= part
                lacks[later] -= part
                if lacks[later]:
                    heappush(heap, (-lacks[later], -rank[later], later))
    return gone


def divide(offers: Sequence[int], needs: Sequence[Need]) -> list[Part]:
    """Who gives what to whom, as far as the ``offers`` go: by giver, in their order, and then by need."""
    wanted = sum([need.amount for need in needs])
    used: list[int] = []
    left = wanted
    for offer in offers:
        if not left:
            break
        used.append(min(offer, left))
        left -= used[-1]
    if len(used) * len(needs) <= MAX_PARTS:
        return _each_to_each(used, needs)
    return _in_turn(used, needs)


def _each_to_each(used: Sequence[int], needs: Sequence[Need]) -> list[Part]:
    """Every giver gives to every need, pro rata of what it still lacks."""
    names = [(need.device, need.reference) for need in needs]
    missing = [need.amount for need in needs]
    parts: list[Part] = []
    for giver, amount in enumerate(used):
        shares = missing if amount == sum(missing) else apportion(amount, missing, names)
        parts += [Part(giver, number, share) for number, share in enumerate(shares) if share]
        missing = [lack - share for lack, share in zip(missing, shares, strict=True)]
    return parts


def _in_turn(used: Sequence[int], needs: Sequence[Need]) -> list[Part]:
    """All givers together give to every need pro rata, and each serves one need after the other."""
    names = [(need.device, need.reference) for need in needs]
    amounts = apportion(sum(used), [need.amount for need in needs], names)
    waiting = [(amounts[number], number) for number in sorted(range(len(needs)), key=lambda number: names[number])]
    waiting.reverse()
    parts: list[Part] = []
    for giver, amount in enumerate(used):
        left = amount
        while left:
            wants, number = waiting.pop()
            share = min(left, wants)
            left -= share
            if share:
                parts.append(Part(giver, number, share))
            if share < wants:
                waiting.append((wants - share, number))
    return parts
