"""The cases of a season side by side: what each home's bill came to, and where the community's energy came from.

A *case* is what all homes did (utility-only, alone, broker, optimum), as arrays over homes and slots, Wh at the plug.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from broker.backtest.house import House, Track, first_track
from broker.backtest.optimal import stock_price
from broker.backtest.result import Case
from broker.backtest.scene import Scene
from broker.planning.optimum import Optimum

Wh = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Flows:
    """Arrays of homes x slots. ``load`` and ``sun`` as measured; ``battery`` and ``vehicle``: taken positive;
    ``local``: bought from neighbours at home, ``local_away``: at work."""

    load: Wh
    sun: Wh
    battery: Wh
    vehicle: Wh
    is_home: npt.NDArray[np.bool_]
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
    none = np.zeros_like(battery)
    return _flows(scene, battery, vehicle, none if local is None else local, none if local_away is None else local_away)


def of_optimum(scene: Scene, optimum: Optimum) -> Flows:
    """The optimum's flows. What is bought from neighbours is told for home and work together; it counts for home."""
    battery = np.array([share.battery_wh for share in optimum.shares], dtype=np.int64)
    vehicle = np.array([share.vehicle_wh for share in optimum.shares], dtype=np.int64)
    local = np.maximum(np.array([share.trade_wh for share in optimum.shares], dtype=np.int64), 0)
    return _flows(scene, battery, vehicle, local, np.zeros_like(local))


def _flows(scene: Scene, battery: Wh, vehicle: Wh, local: Wh, local_away: Wh) -> Flows:
    at = slice(scene.span.first, scene.span.first + scene.span.count)
    is_home = [[house.bus(slot) == house.site.bus for slot in range(at.start, at.stop)] for house in scene.houses]
    return Flows(
        np.array([house.load_wh[at] for house in scene.houses], dtype=np.int64),
        np.array([house.sun_wh[at] for house in scene.houses], dtype=np.int64),
        battery,
        vehicle,
        np.array(is_home, dtype=np.bool_),
        local,
        local_away,
    )


def case(scene: Scene, flows: Flows, green: Wh) -> Case:
    """The community's figures. ``green``: of each vehicle's charge in each slot, from the sun."""
    net = (flows.home + flows.away).sum(axis=0)
    imported = np.maximum(net, 0)
    used = int(flows.load.sum() + np.maximum(flows.vehicle, 0).sum())
    charged = int(np.maximum(flows.vehicle, 0).sum())
    at = slice(scene.span.first, scene.span.first + scene.span.count)
    carbon = scene.homes.carbon
    return Case(
        imported_wh=int(imported.sum()),
        exported_wh=int(np.maximum(-net, 0).sum()),
        self_sufficiency=share(used - int(imported.sum()), used),
        co2_kg=round(float((imported * carbon[at]).sum()) / 1e6, 3) if carbon is not None else None,
        renewable_driving=share(int(green.sum()), charged) if charged else None,
    )


def share(part: float, whole: float) -> float:
    """From 0 to 1, four decimals; 0 of nothing."""
    return round(min(1.0, max(0.0, part / whole)), 4) if whole else 0.0


def extra_cost(scene: Scene, house: House, track: Track) -> int:
    """Base units of a bill that no ledger knows: what trips lacked, less what its stores have gained."""
    short = sum(track.short_wh) * house.garage.shortage_price if house.garage is not None else 0
    return short + stock_cost(scene, house, track)


def stock_cost(scene: Scene, house: House, track: Track) -> int:
    """What it takes to have in its stores what was there at first, base units; negative if there is more."""
    begun = first_track(house)
    lost = begun.battery_level - track.battery_level + begun.vehicle_level - track.vehicle_level
    return lost * stock_price(scene)


def sun_charged(scene: Scene, flows: Flows) -> Wh:
    """Of what each vehicle charged, how much was sun: its home's own, what a store had of it, or a neighbour's.

    Within a home and slot all that is used is of one mixture: own sun, what stores give, with the sun that is in them,
    and what comes in; of that, what was bought from neighbours is as sunny as what they all sell in the slot, and what
    the utility delivers is not counted as sun. Homes that sell do not buy in the same slot.
    """
    homes, slots = flows.load.shape
    green = np.zeros_like(flows.vehicle)
    stores = [_SunInStores(house) for house in scene.houses]
    net_home = flows.home
    for slot in range(slots):
        mixtures = [stores[home].given(flows, home, slot) for home in range(homes)]
        sold = np.maximum(-net_home[:, slot], 0)
        pool = float(np.dot(sold, mixtures) / sold.sum()) if sold.any() else 0.0
        for home in range(homes):
            green[home, slot] = stores[home].took(flows, home, slot, int(net_home[home, slot]), pool)
            garage = scene.houses[home].garage
            if garage is not None:
                stores[home].drive(garage.trips.used_wh[scene.span.first + slot])
    return green


class _SunInStores:
    """How much of what a home's stores hold is sun, Wh."""

    def __init__(self, house: House) -> None:
        begun = first_track(house)
        self._kept = [
            each.efficiency_permille / 1000 if each is not None else 0.0
            for each in (house.site.battery, house.site.vehicle)
        ]
        self._levels = [float(begun.battery_level), float(begun.vehicle_level)]
        self._sun = [0.0, 0.0]
        self._own = 0.0
        self._total = 0.0

    def given(self, flows: Flows, home: int, slot: int) -> float:
        """How sunny it is what the home has of its own in a slot."""
        self._total = self._own = float(flows.sun[home, slot])
        for store, flow in enumerate((flows.battery[home, slot], flows.vehicle[home, slot])):
            if flow < 0 and (store == 0 or flows.is_home[home, slot]):
                self._total -= float(flow)
                self._own -= float(flow) * self._part(store)
        return self._own / self._total if self._total else 0.0

    def took(self, flows: Flows, home: int, slot: int, net: int, pool: float) -> int:
        """The slot's mixture goes into the stores; how much sun the vehicle took."""
        bought = min(int(flows.local[home, slot]), max(net, 0))
        whole = self._total + max(net, 0)
        mixture = (self._own + bought * pool) / whole if whole else 0.0
        taken = 0
        for store, flow in enumerate((int(flows.battery[home, slot]), int(flows.vehicle[home, slot]))):
            part = mixture
            if store == 1 and not flows.is_home[home, slot]:
                part = pool * min(1.0, flows.local_away[home, slot] / flow) if flow > 0 else 0.0
            if flow > 0:
                self._sun[store] += flow * self._kept[store] * part
                self._levels[store] += flow * self._kept[store]
                taken = round(flow * part) if store == 1 else taken
            elif flow < 0:
                self._give(store, -flow)
        return taken

    def drive(self, wh: int) -> None:
        """The vehicle has used so much."""
        self._give(1, wh)

    def _give(self, store: int, wh: float) -> None:
        given = min(wh, self._levels[store])
        self._sun[store] -= given * self._part(store)
        self._levels[store] -= given

    def _part(self, store: int) -> float:
        return min(1.0, max(0.0, self._sun[store] / self._levels[store])) if self._levels[store] > 0 else 0.0
