"""Every device's meter and its registers, and the collector that hands in what they signed."""

from collections.abc import Callable
from typing import TypeAlias

from broker.backtest.house import House
from broker.exchange import Call
from broker.world import World
from chaincode.settlement_metering import MAX_COLLECTED_ROWS

Row: TypeAlias = tuple[str, int, int, int, int, int]
"""A meter's: device, slot, import and export in Wh, import and export register."""
Sign: TypeAlias = Callable[[str, Row], bytes]
"""The signature of a network's meter under a row."""


def unsigned(network: str, row: Row) -> bytes:
    """Where every meter is believed."""
    return bytes(64)


class Meters:
    """Of all homes."""

    def __init__(self, world: World, sign: Sign) -> None:
        self._collector, self._sign = world.keys.collector, sign
        self._registers: dict[str, tuple[int, int]] = {}
        self._rows: list[tuple[str, Row]] = []

    def measure(self, house: House, slot: int, at: int, battery_wh: int, vehicle_wh: int) -> None:
        """What flowed in a home, in slot ``at`` of the data."""
        site = house.site
        self._add(site.network, site.load, slot, house.load_wh[at])
        if site.panels is not None:
            self._add(site.network, site.panels.device, slot, -house.sun_wh[at])
        if site.battery is not None:
            self._add(site.network, site.battery.device, slot, battery_wh)
        if site.vehicle is not None:
            self._add(site.network, site.vehicle.device, slot, vehicle_wh)

    def report(self) -> list[Call]:
        """What has not been handed in yet."""
        signed = [(*row, self._sign(network, row)) for network, row in self._rows]
        self._rows = []
        parts = [tuple(signed[at : at + MAX_COLLECTED_ROWS]) for at in range(0, len(signed), MAX_COLLECTED_ROWS)]
        return [Call(self._collector, "settlement", "collect", {"rows": part}) for part in parts]

    def _add(self, network: str, device: str, slot: int, wh: int) -> None:
        import_wh, export_wh = max(wh, 0), max(-wh, 0)
        before = self._registers.get(device, (0, 0))
        registers = self._registers[device] = (before[0] + import_wh, before[1] + export_wh)
        self._rows.append((network, (device, slot, import_wh, export_wh, *registers)))
