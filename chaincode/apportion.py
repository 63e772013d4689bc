"""Dividing a whole number into whole parts, in proportion, so that the parts add up: the largest remainder.

Everybody first gets the floor of an exact share; the units left over go one each to the largest remainders,
equal remainders to the smaller name. Used wherever the rules say "pro rata".
"""

from collections.abc import Sequence
from typing import TypeAlias

from chaincode.contract import ContractError

Name: TypeAlias = str | bytes | int | tuple[str, bytes]


def apportion(total: int, weights: Sequence[int], names: Sequence[Name]) -> list[int]:
    """``total`` divided in proportion to ``weights``; the parts, in the order given, sum to ``total``.

    ``names`` decide ties; all of one type (equal names: the order given). All weights 0: equal parts. No part exceeds
    its weight if ``total`` does not exceed their sum. Raises ContractError("bad-amount") if anything is negative, or
    there is nobody.
    """
    if total < 0 or not weights or min(weights) < 0:
        raise ContractError("bad-amount", "nothing to divide, or nobody to divide it among")
    whole = sum(weights)
    if whole == 0:
        weights = [1] * len(weights)
        whole = len(weights)
    parts = [total * weight // whole for weight in weights]
    left = total - sum(parts)
    if left:
        order = sorted(range(len(parts)), key=lambda i: (-(total * weights[i] % whole), names[i]))
        for i in order[:left]:
            parts[i] += 1
    return parts


def apportion_within(total: int, weights: Sequence[int], names: Sequence[Name], cap: int) -> list[int]:
    """``apportion`` with no part above ``cap``: what a full part cannot take is divided among the others in the same
    way. The parts sum to ``total``, or are all ``cap`` if that is less.

    Raises ContractError("bad-amount") as ``apportion`` does, and for a negative ``cap``.
    """
    if cap < 0:
        raise ContractError("bad-amount", "a part cannot be less than nothing")
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], names[i]))
    rest = sum(weights)
    parts = [0] * len(weights)
    left = total
    for position, i in enumerate(order):
        share = -(-left * weights[i] // rest) if rest else -(-left // (len(order) - position))
        if share <= cap:  # the largest of those that are left, and so do all of them
            others = order[position:]
            shares = apportion(left, [weights[j] for j in others], [names[j] for j in others])
            for j, part in zip(others, shares, strict=True):
                parts[j] = part
            return parts
        parts[i] = cap
        left -= cap
        rest -= weights[i]
    return parts


def apportion_to_rooms(
    total: int, weights: Sequence[int], names: Sequence[Name], rooms: Sequence[int | None]
) -> list[int]:
    """``apportion`` where each has room for so much only (None: for any): what a full part cannot take is divided among
    the others in the same way. The parts sum to ``total``, or to all the rooms if that is less. A weight of 0 gets
    nothing, unless all are 0.

    Raises ContractError("bad-amount") as ``apportion`` does.
    """
    parts = [0] * len(weights)
    open_, left = [i for i, weight in enumerate(weights) if weight] or list(range(len(weights))), total
    while open_:
        shares = apportion(left, [weights[i] for i in open_], [names[i] for i in open_])
        full: list[int] = []
        for i, share in zip(open_, shares, strict=True):
            room = rooms[i]
            if room is None or share <= room:
                parts[i] = share
            else:
                parts[i] = room
                full.append(i)
        if not full:
            break
        left -= sum([parts[i] for i in full])
        open_ = [i for i in open_ if i not in full]
    return parts
