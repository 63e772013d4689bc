"""Own sun first: what the devices of one network at one bus settle among themselves, and what with the utility.

A pure function of their deviations. For each device D = metered - contracted net import, in Wh. S is the sum of the
positive ones (short), X that of the negative ones (surplus), Q = min(S, X). The smaller side settles wholly
inside the network; of the larger side each device settles its share of Q inside, in proportion to D (largest
remainder, then device id), and the rest of its deviation with the utility.
"""

from collections.abc import Sequence
from typing import NamedTuple

from chaincode.apportion import apportion


class Netted(NamedTuple):
    """A device's deviation in Wh (positive: short), and how it splits: ``internal_wh`` + ``utility_wh`` = its
    magnitude.
    """

    device: str
    deviation_wh: int
    internal_wh: int
    utility_wh: int


def net(deviations: Sequence[tuple[str, int]]) -> list[Netted]:
    """Split the deviations of one network's devices at one bus in one slot; devices distinct, in the order given."""
    short = [(device, wh) for device, wh in deviations if wh > 0]
    surplus = [(device, -wh) for device, wh in deviations if wh < 0]
    inside = min(sum([wh for _, wh in short]), sum([wh for _, wh in surplus]))
    internal: dict[str, int] = {}
    for side in (short, surplus):
        if side:
            shares = apportion(inside, [wh for _, wh in side], [device for device, _ in side])
            internal.update(zip([device for device, _ in side], shares, strict=True))
    return [Netted(device, wh, internal.get(device, 0), abs(wh) - internal.get(device, 0)) for device, wh in deviations]
