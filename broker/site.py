"""What a broker trades for: a site's devices and what they can do. Immutable; nothing here changes from slot to slot.

Energy in Wh, power in W, distance in km, integers all. Devices are named as on the ledger. Of what goes into a store,
``efficiency_permille`` of a thousand is kept (the whole round trip's loss is charged to the way in); what comes out
comes out whole.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

VehicleKind: TypeAlias = Literal["bev", "phev"]


@dataclass(frozen=True, slots=True)
class Panels:
    """``peak_w``: the most that they export."""

    device: str
    peak_w: int


@dataclass(frozen=True, slots=True)
class Battery:
    """``charge_w`` and ``discharge_w``: at the plug."""

    device: str
    capacity_wh: int
    charge_w: int
    discharge_w: int
    efficiency_permille: int


@dataclass(frozen=True, slots=True)
class Vehicle:
    """``capacity_wh``: usable. A "phev" drives on fuel once it is empty; a "bev" keeps ``reserve_wh`` for what is
    unforeseen. ``discharge_w``: 0 if it cannot give back."""

    device: str
    kind: VehicleKind
    capacity_wh: int
    charge_w: int
    discharge_w: int
    efficiency_permille: int
    wh_per_km: int
    reserve_wh: int

    @property
    def electric_range_km(self) -> int:
        """How far it drives on a full battery."""
        return self.capacity_wh // self.wh_per_km


@dataclass(frozen=True, slots=True)
class Site:
    """``network``: its name on the ledger; ``bus``: where all but a vehicle hang; ``load``: the device behind which all
    is that has no meter of its own. ``import_w`` and ``export_w``: by device, the ledger's limits."""

    network: str
    bus: str
    load: str
    panels: Panels | None
    battery: Battery | None
    vehicle: Vehicle | None
    slot_seconds: int
    import_w: dict[str, int]
    export_w: dict[str, int]

    @property
    def devices(self) -> tuple[str, ...]:
        """All, the load first."""
        others = (self.panels, self.battery, self.vehicle)
        return (self.load, *(each.device for each in others if each is not None))

    def slot_wh(self, power_w: int) -> int:
        """What ``power_w`` moves in one slot."""
        return power_w * self.slot_seconds // 3600
