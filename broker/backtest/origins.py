"""Where the energy of vehicles came from: by the ledger's own rule and, of what was played, by its own records.

Of each Wh that a device used the ledger says who generated it, and of a store which part of what charged it is
renewable (``chaincode.origin_assign``). A store that charges another one is followed here in the same way for the sun
alone, so that there are two figures: with the utility's assumed mix, and without it. What a vehicle took counts less
what it gave back. Of what no ledger has seen, plain rules and the optimum, the same rule says it; there, what comes in
from neighbours is as sunny as all that homes send out in the slot.
"""

from collections.abc import Iterable, Sequence
from typing import cast

from broker.backtest.cases import Flows, Kept
from broker.backtest.house import House
from broker.backtest.scene import Scene
from broker.exchange import Exchange
from chaincode.contract import Event
from chaincode.origin_assign import BOUGHT, OWN, UTILITY, Generated, Given, Metered, Origin, Used, assign


class Stores:
    """All homes' stores, slot by slot. As on the ledger they hold what charged them and was not given out, with its
    mean share; what was in them before the season counts as grid's."""

    def __init__(self, houses: Sequence[House]) -> None:
        stores = [each for house in houses for each in (house.site.battery, house.site.vehicle) if each is not None]
        self._held = {store.device: Kept() for store in stores}
        self._vehicles = [house.site.vehicle.device for house in houses if house.site.vehicle is not None]

    @property
    def kept(self) -> dict[str, Kept]:
        """By vehicle. What it gave back that it had before the season is off neither side."""
        return {device: self._held[device] for device in self._vehicles}

    def generated(self, device: str, wh: int) -> Generated:
        """What a store gives out."""
        held = self._held[device]
        return Generated(wh, int(held.renewable_wh * min(wh, held.wh) / held.wh) if held.wh else 0)

    def slot(self, origins: Sequence[Origin], local: Sequence[float] = ()) -> None:
        """A slot has passed. ``local``: of what each network had from the utility as the origin says it, how much came
        from neighbours; nothing if not given."""
        given = {row.device: self._given(row) for origin in origins for row in origin.given if row.wh}
        sun = {device: out.sun_wh / out.wh for device, out in given.items()}
        pool = _pool([row for origin in origins for row in origin.given if row.wh], sun)
        taken = [
            (row.device, _taken(row, sun, pool, part))
            for origin, part in zip(origins, local or [0.0] * len(origins), strict=True)
            for row in origin.used
        ]
        for device, out in given.items():
            if device in self._held:
                held = self._held[device]
                self._held[device] = Kept(
                    held.wh - min(out.wh, held.wh), held.renewable_wh - out.renewable_wh, held.sun_wh - out.sun_wh
                )
        for device, part_taken in taken:
            if device in self._held:
                self._held[device] = self._held[device].plus(part_taken)

    def _given(self, row: Given) -> Kept:
        """What a device gave out: of what is no store, all that is renewable is sun."""
        held = self._held.get(row.device)
        if held is None:
            return Kept(row.wh, row.renewable_wh, row.renewable_wh)
        return Kept(row.wh, row.renewable_wh, held.sun_wh * min(row.wh, held.wh) / held.wh if held.wh else 0.0)


def _pool(given: Iterable[Given], sun: dict[str, float]) -> Kept:
    """All that leaves homes in a slot."""
    pool = Kept()
    for row in given:
        pool = pool.plus(Kept(row.fed_wh, row.renewable_wh * row.fed_wh / row.wh, sun[row.device] * row.fed_wh))
    return pool


def _taken(row: Used, sun: dict[str, float], pool: Kept, local: float) -> Kept:
    """What a device used of one source. ``local``: the part of the utility's that came from neighbours."""
    if row.how in (BOUGHT, OWN):
        return Kept(row.wh, row.renewable_wh, row.wh * sun.get(row.source, 0.0))
    if row.how != UTILITY or not local or not pool.wh:
        return Kept(row.wh, row.renewable_wh)
    part = row.wh * local
    return Kept(
        row.wh,
        row.renewable_wh * (1 - local) + part * pool.renewable_wh / pool.wh,
        part * pool.sun_wh / pool.wh,
    )


class LedgerOrigins:
    """Of a season that is played: ``observe`` all that happens, before the ledger deletes details."""

    def __init__(self, scene: Scene, exchange: Exchange) -> None:
        self._exchange, self._first_slot = exchange, scene.world.first_slot
        self._stores = Stores(scene.houses)
        self._slot, self._waiting = -1, list[Origin]()

    def observe(self, events: Iterable[Event]) -> None:
        """Take over what is known for good: slots come in their order."""
        for event in events:
            if event.topic == "origin":
                slot = cast("tuple[int, ...]", event.data)[0]
                if slot != self._slot:
                    self._pass()
                    self._slot = slot
                if slot >= self._first_slot:
                    self._waiting.append(self._origin(event.keys[0], slot))

    def kept(self) -> dict[str, Kept]:
        """By vehicle, when the season is over."""
        self._pass()
        return self._stores.kept

    def _pass(self) -> None:
        self._stores.slot(self._waiting)
        self._waiting = []

    def _origin(self, network: str, slot: int) -> Origin:
        args = {"network": network, "slot": slot}
        _, used = cast("tuple[bool, tuple[Used, ...]]", self._exchange.query("origin", "lots", {**args, "first": 0}))
        _, given = cast("tuple[bool, tuple[Given, ...]]", self._exchange.query("origin", "given", args))
        return Origin(tuple([Used(*row) for row in used]), tuple([Given(*row) for row in given]))


def kept_of(scene: Scene, flows: Flows) -> dict[str, Kept]:
    """By vehicle, of what no ledger has seen."""
    stores = Stores(scene.houses)
    for slot in range(flows.load.shape[1]):
        origins, local = [], []
        for number, house in enumerate(scene.houses):
            metered = _metered(stores, flows, house, number, slot)
            origin = assign(metered, {}, {}, scene.world.mix_permille)
            utility = sum([row.wh for row in origin.used if row.how == UTILITY])
            bought = int(flows.local[number, slot] + flows.local_away[number, slot])
            origins.append(origin)
            local.append(min(1.0, bought / utility) if utility else 0.0)
        stores.slot(origins, local)
    return stores.kept


def _metered(stores: Stores, flows: Flows, house: House, number: int, slot: int) -> list[Metered]:
    site = house.site
    load, sun = int(flows.load[number, slot]), int(flows.sun[number, slot])
    found = [Metered(site.load, site.bus, max(load, 0), Generated(max(-load, 0), 0))]
    if site.panels is not None:
        found.append(Metered(site.panels.device, site.bus, 0, Generated(sun, sun)))
    elsewhere = "" if flows.is_home[number, slot] else "elsewhere"
    pairs = ((site.battery, flows.battery, site.bus), (site.vehicle, flows.vehicle, elsewhere or site.bus))
    for store, table, bus in pairs:
        if store is not None:
            wh = int(table[number, slot])
            found.append(Metered(store.device, bus, max(wh, 0), stores.generated(store.device, max(-wh, 0))))
    return found
