"""The cases of a season side by side: what each home's bill came to, and where the community's energy came from.

A *case* is what all homes did (utility-only, alone, broker, optimum), as arrays over homes and slots, Wh at the plug.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from broker.backtest.house import House, Track, first_track
from broker.backtest.optimal import stock_price
from broker.backtest.result import Case
from broker.backtest.scene import FUEL_CO2_G, Scene
from broker.planning.optimum import Optimum, Share
from broker.planning.season import stored_price
from broker.site import Battery, Vehicle

Wh = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Kept(NamedTuple):
    """What a vehicle charged and has not given back, Wh at the plug. ``sun_wh``: of it from the sun;
    ``renewable_wh``: with the utility's mix."""

    wh: float = 0.0
    renewable_wh: float = 0.0
    sun_wh: float = 0.0

    def plus(self, other: "Kept") -> "Kept":
        """Both."""
        return Kept(self.wh + other.wh, self.renewable_wh + other.renewable_wh, self.sun_wh + other.sun_wh)


@dataclass(frozen=True, slots=True)
class Flows:
    """Arrays of homes x slots. ``load`` and ``sun`` as measured; ``battery`` and ``vehicle``: taken positive;
    ``short``: what trips lacked; ``local``: bought from neighbours at home, ``local_away``: at work. ``gained``: homes
    x (battery, vehicle), what is in them at the end less what was at the beginning."""

    load: Wh
    sun: Wh
    battery: Wh
    vehicle: Wh
    is_home: npt.NDArray[np.bool_]
    short: Wh
    gained: Wh
    local: Wh
    local_away: Wh

    @property
    def home(self) -> Wh:
        """The net at each home's bus: imported positive."""
        return self.load - self.sun + self.battery + np.where(self.is_home, self.vehicle, 0)

    @property
    def away(self) -> Wh:
        """The net at work."""
        return np.where(self.is_home, 0, self.vehicle)


def of_tracks(scene: Scene, tracks: Sequence[Track], local: Wh | None = None, local_away: Wh | None = None) -> Flows:
    """What was done, and what of it came from neighbours, nothing by default."""
    battery = np.array([track.battery_wh for track in tracks], dtype=np.int64)
    vehicle = np.array([track.vehicle_wh for track in tracks], dtype=np.int64)
    short = np.array([track.short_wh for track in tracks], dtype=np.int64)
    gained = [gained_wh(scene, house, track) for house, track in zip(scene.houses, tracks, strict=True)]
    none = np.zeros_like(battery)
    return _flows(
        scene,
        (battery, vehicle, short, np.array(gained, dtype=np.int64)),
        (none if local is None else local, none if local_away is None else local_away),
    )


def of_optimum(scene: Scene, optimum: Optimum) -> Flows:
    """The optimum's flows. What is bought from neighbours is told for home and work together; it counts for home."""
    shares = optimum.shares
    battery = np.array([share.battery_wh for share in shares], dtype=np.int64)
    vehicle = np.array([share.vehicle_wh for share in shares], dtype=np.int64)
    short = np.array([share.short_wh for share in shares], dtype=np.int64)
    local = np.maximum(np.array([share.trade_wh for share in shares], dtype=np.int64), 0)
    gained = [_gained(scene, house, share) for house, share in zip(scene.houses, shares, strict=True)]
    return _flows(scene, (battery, vehicle, short, np.array(gained, dtype=np.int64)), (local, np.zeros_like(local)))


def gained_wh(scene: Scene, house: House, track: Track) -> tuple[int, int]:
    """What its battery and its vehicle hold more at the end than at the beginning, Wh."""
    begun = first_track(house, scene.span.first)
    return track.battery_level - begun.battery_level, track.vehicle_level - begun.vehicle_level


def _gained(scene: Scene, house: House, part: Share) -> tuple[int, int]:
    """The same of a part of the optimum."""
    gained = []
    for store, flow in ((house.site.battery, part.battery_wh), (house.site.vehicle, part.vehicle_wh)):
        kept = store.efficiency_permille if store is not None else 0
        gained.append(int(np.maximum(flow, 0).sum()) * kept // 1000 + int(np.minimum(flow, 0).sum()))
    if house.garage is not None:
        used = house.garage.trips.used_wh[scene.span.first : scene.span.first + scene.span.count]
        gained[1] -= sum(used) - int(part.short_wh.sum())
    return gained[0], gained[1]


def _flows(scene: Scene, done: tuple[Wh, Wh, Wh, Wh], bought: tuple[Wh, Wh]) -> Flows:
    """``done``: battery, vehicle, short, gained; ``bought``: local, and at work."""
    at = slice(scene.span.first, scene.span.first + scene.span.count)
    is_home = [[house.bus(slot) == house.site.bus for slot in range(at.start, at.stop)] for house in scene.houses]
    battery, vehicle, short, gained = done
    return Flows(
        np.array([house.load_wh[at] for house in scene.houses], dtype=np.int64),
        np.array([house.sun_wh[at] for house in scene.houses], dtype=np.int64),
        battery,
        vehicle,
        np.array(is_home, dtype=np.bool_),
        short,
        gained,
        *bought,
    )


def case(scene: Scene, flows: Flows, driven: Kept) -> Case:
    """The community's figures. ``driven``: what all vehicles charged and kept.

    What stores hold more or less at the end is taken off what was imported, as much as it takes at the plug, at the
    mean carbon of what was imported; what trips lacked was had elsewhere, and counts as used and as not its own.
    """
    net = (flows.home + flows.away).sum(axis=0)
    imported = np.maximum(net, 0)
    stock = _stock_at_plug(scene, flows)
    lacked = _lacked_at_plug(scene, flows)
    bought = float(imported.sum() - stock.sum())
    used = float(flows.load.sum() + flows.vehicle.sum() - stock[:, 1].sum() + lacked.sum())
    return Case(
        imported_wh=round(bought),
        exported_wh=int(np.maximum(-net, 0).sum()),
        stock_wh=round(float(stock.sum())),
        short_wh=int(flows.short.sum()),
        self_sufficiency=share(used - bought - float(lacked.sum()), used),
        co2_kg=_co2_kg(scene, flows, imported, float(stock.sum()), lacked),
        renewable_driving=share(driven.sun_wh, driven.wh) if driven.wh > 0 else None,
        renewable_driving_with_mix=share(driven.renewable_wh, driven.wh) if driven.wh > 0 else None,
    )


def _stock_at_plug(scene: Scene, flows: Flows) -> Floats:
    """What it took to gain what stores have gained: homes x (battery, vehicle)."""
    kept = [[_kept(store) for store in (house.site.battery, house.site.vehicle)] for house in scene.houses]
    at_plug: Floats = flows.gained / np.array(kept)
    return at_plug


def _lacked_at_plug(scene: Scene, flows: Flows) -> Floats:
    """What charging would have taken for what trips lacked, homes x slots."""
    at_plug: Floats = flows.short / np.array([[_kept(house.site.vehicle)] for house in scene.houses])
    return at_plug


def _kept(store: Battery | Vehicle | None) -> float:
    """Of a Wh that goes in; 1 where nothing can."""
    return store.efficiency_permille / 1000 if store is not None and store.efficiency_permille else 1.0


def _co2_kg(scene: Scene, flows: Flows, imported: Wh, stock_wh: float, lacked: Floats) -> float | None:
    """Of what was imported, and of what trips lacked: at a public charger as dirty as the utility's in the slot, or on
    a hybrid's fuel."""
    if scene.homes.carbon is None:
        return None
    carbon = scene.homes.carbon[scene.span.first : scene.span.first + scene.span.count]
    mean = float((imported * carbon).sum() / imported.sum()) if imported.any() else float(carbon.mean())
    mg = float((imported * carbon).sum()) - stock_wh * mean
    for number, house in enumerate(scene.houses):
        vehicle = house.site.vehicle
        if vehicle is not None and vehicle.kind == "phev":
            mg += float(flows.short[number].sum()) / vehicle.wh_per_km * FUEL_CO2_G * 1000
        else:
            mg += float((lacked[number] * carbon).sum())
    return round(mg / 1e6, 3)


def share(part: float, whole: float) -> float:
    """From 0 to 1, four decimals; 0 of nothing."""
    return round(min(1.0, max(0.0, part / whole)), 4) if whole else 0.0


def extra_cost(scene: Scene, house: House, track: Track) -> int:
    """Base units of a bill that no ledger knows: what trips lacked, less what its stores have gained."""
    short = sum(track.short_wh) * house.garage.shortage_price if house.garage is not None else 0
    return short + stock_cost(scene, house, track)


def stock_cost(scene: Scene, house: House, track: Track) -> int:
    """What it takes to have in its stores what was there at first, base units; negative if there is more."""
    price = stock_price(scene)
    stores = (house.site.battery, house.site.vehicle)
    pairs = zip(stores, gained_wh(scene, house, track), strict=True)
    return -sum(gained * stored_price(price, store) for store, gained in pairs if store is not None)
