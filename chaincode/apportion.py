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
