"""Where the energy of one network in one slot comes from: a pure function of meters, trades and the utility's mix.

For each device: generated = what its meter exported, used = what it imported. A generated Wh goes first to what the
device promised in contracts (in trade order), then to use inside its network at its bus (its own first), then to the
utility. What a device uses is taken first from what it holds of contracts, then from its own generation, then from its
network's surplus, its generation before what it bought too much, then from the utility. A promise that was not
generated is the utility's energy, in its mix; what a device must get for it from elsewhere it does not use.

Which part is renewable: all that a device registered as renewable generates; of a store (battery, car, charger) the
share that what it holds has, in whole Wh, rounded down; of the utility's energy the product's mix, rounded down. A
device's renewable Wh are spread over its generated Wh evenly, in their order, so that the parts add up.

    used = bought + own + undelivered + utility          generated = sold + shared + fed
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from chaincode.origin_lots import NOTHING, Holding, Lot
from chaincode.settlement_netting import net

# How a device came by what it used.
BOUGHT: Final = "bought"
OWN: Final = "own"
UNDELIVERED: Final = "undelivered"
UTILITY: Final = "utility"


class Generated(NamedTuple):
    """What a device gave out in a slot, and how much of it is renewable, in Wh."""

    wh: int
    renewable_wh: int

    def part(self, start: int, wh: int) -> tuple[int, int]:
        """Of the ``wh`` Wh after the first ``start``: how many were generated, how many of these are renewable."""
        begin, end = min(start, self.wh), min(start + wh, self.wh)
        if begin == end:
            return 0, 0
        return end - begin, self.renewable_wh * end // self.wh - self.renewable_wh * begin // self.wh


class Metered(NamedTuple):
    """A device that was connected and metered."""

    device: str
    bus: str
    import_wh: int
    generated: Generated


class Used(NamedTuple):
    """``wh`` Wh that ``device`` used: how it came by them, and who generated them ("" for the utility; of what was
    ``undelivered``: who promised it).
    """

    device: str
    how: str
    source: str
    wh: int
    renewable_wh: int


class Given(NamedTuple):
    """What became of a device's generation, in Wh: sold in contracts, used in its network, fed to the utility."""

    device: str
    wh: int
    renewable_wh: int
    sold_wh: int
    shared_wh: int
    fed_wh: int


class Origin(NamedTuple):
    """The origin of one network's energy in one slot: by device, each device's in the order of its sources."""

    used: tuple[Used, ...]
    given: tuple[Given, ...]


class _Device:
    """A device while its energy is assigned. ``unmet_wh``: what it still uses; ``unfilled_wh``: what it promised and
    must still get from elsewhere; ``left``: what it has and did not use, its own first.
    """

    def __init__(self, metered: Metered, holding: Holding, generated: Mapping[str, Generated], mix: int) -> None:
        self.metered = metered
        self.used: list[Used] = []
        self.sold_wh = min(metered.generated.wh, holding.promised_wh)
        self.shared_wh = self.fed_wh = 0
        self.unmet_wh = metered.import_wh
        self.unfilled_wh = holding.promised_wh - self.sold_wh
        bought = [part for lot in holding.lots for part in _contents(metered.device, lot, generated, mix)]
        own_wh = metered.generated.wh - self.sold_wh
        own = Used(metered.device, OWN, metered.device, *metered.generated.part(self.sold_wh, own_wh))
        bought = self.take(bought)
        self.shared_wh += min(self.unmet_wh, own.wh)
        own_left = self.take([own] if own.wh else [])
        filled, bought = _split(bought, self.unfilled_wh)
        self.unfilled_wh -= _wh(filled)
        self.left = own_left + bought

    @property
    def deviation_wh(self) -> int:
        """What it lacks, or, below zero, has left."""
        return self.unmet_wh + self.unfilled_wh - _wh(self.left)

    def take(self, parts: Sequence[Used]) -> list[Used]:
        """Use as much as is unmet; what remains of ``parts``."""
        taken, rest = _split(parts, self.unmet_wh)
        self.unmet_wh -= _wh(taken)
        self.used += taken
        return rest

    def give(self, wh: int) -> list[Used]:
        """Let ``wh`` Wh of what is left go into the network, the rest to the utility."""
        given, fed = _split(self.left, wh)
        self.left = []
        self.shared_wh += _wh([part for part in given if part.how == OWN])
        self.fed_wh += _wh([part for part in fed if part.how == OWN])
        return given


def assign(
    metered: Sequence[Metered], holdings: Mapping[str, Holding], generated: Mapping[str, Generated], mix_permille: int
) -> Origin:
    """Where what one network's devices used comes from, and where what they generated went.

    ``metered``: the devices, distinct; ``holdings``: of them after all trades; ``generated``: of every device that a
    lot in them names (who has no meter's word has generated nothing).
    """
    devices = [
        _Device(each, holdings.get(each.device, NOTHING), generated, mix_permille)
        for each in sorted(metered, key=lambda one: one.device)
    ]
    for bus in sorted(dict.fromkeys([device.metered.bus for device in devices])):
        _share([device for device in devices if device.metered.bus == bus], mix_permille)
    return Origin(
        tuple([part for device in devices for part in device.used]),
        tuple(
            [
                Given(device.metered.device, *device.metered.generated, device.sold_wh, device.shared_wh, device.fed_wh)
                for device in devices
            ]
        ),
    )


def _share(devices: Sequence[_Device], mix: int) -> None:
    """Settle the deviations at one bus as the money is: inside as far as both sides go, the rest with the utility."""
    netted = net([(device.metered.device, device.deviation_wh) for device in devices])
    inside: list[Used] = []
    for device, share in zip(devices, netted, strict=True):
        if share.deviation_wh <= 0:
            inside += device.give(share.internal_wh)
    for device, share in zip(devices, netted, strict=True):
        if share.deviation_wh > 0:
            got, inside = _split(inside, share.internal_wh)
            name = device.metered.device
            device.take([part._replace(device=name) for part in got])
            rest = device.unmet_wh
            device.take([Used(name, UTILITY, "", rest, rest * mix // 1_000)] if rest else [])


def _contents(device: str, lot: Lot, generated: Mapping[str, Generated], mix: int) -> list[Used]:
    """What a lot turned out to be: what its source generated of it, and the utility's energy for the rest."""
    wh, renewable_wh = generated.get(lot.source, Generated(0, 0)).part(lot.start, lot.wh)
    parts = [Used(device, BOUGHT, lot.source, wh, renewable_wh)] if wh else []
    lacking = lot.wh - wh
    if lacking:
        parts.append(Used(device, UNDELIVERED, lot.source, lacking, lacking * mix // 1_000))
    return parts


def _split(parts: Sequence[Used], wh: int) -> tuple[list[Used], list[Used]]:
    """The first ``wh`` Wh of ``parts``, or all if they are less, and the rest."""
    first: list[Used] = []
    for number, part in enumerate(parts):
        if wh >= part.wh:
            first.append(part)
            wh -= part.wh
            continue
        if wh == 0:
            return first, list(parts[number:])
        renewable_wh = part.renewable_wh * wh // part.wh
        first.append(part._replace(wh=wh, renewable_wh=renewable_wh))
        rest = part._replace(wh=part.wh - wh, renewable_wh=part.renewable_wh - renewable_wh)
        return first, [rest, *parts[number + 1 :]]
    return first, []


def _wh(parts: Sequence[Used]) -> int:
    return sum([part.wh for part in parts])
