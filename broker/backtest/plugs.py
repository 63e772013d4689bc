"""Where vehicles that can charge at work are connected on the ledger.

When one is unplugged this is known at once, and it is disconnected from the next slot on; when it stands somewhere as a
slot begins it is connected there. One that has no plug at work stays where it is.
"""

from broker.backtest.house import House
from broker.backtest.scene import Scene
from broker.exchange import Call


class Plugs:
    """Of all homes. Slots ``at`` are those of the data, ``slot`` the ledger's."""

    def __init__(self, scene: Scene) -> None:
        self._owners = scene.world.keys.owners
        movers = [house for house in scene.houses if house.garage is not None and house.garage.work_bus]
        self._houses = {house.site.network: house for house in movers}
        self._buses = {house.site.network: house.site.bus for house in movers}

    def at_start(self, slot: int, at: int) -> list[Call]:
        """Connect those that have come."""
        calls: list[Call] = []
        for network, house in self._houses.items():
            bus = house.stands_at(at)
            if bus and not self._buses[network]:
                self._buses[network] = bus
                calls.append(self._call(house, "connect", {"bus": bus, "slot": slot}))
        return calls

    def at_gate(self, slot: int, at: int) -> list[Call]:
        """Disconnect those that have gone."""
        calls: list[Call] = []
        for network, house in self._houses.items():
            if not house.bus(at) and self._buses[network]:
                self._buses[network] = ""
                calls.append(self._call(house, "disconnect", {"slot": slot + 1}))
        return calls

    def _call(self, house: House, method: str, args: dict[str, object]) -> Call:
        assert house.site.vehicle is not None
        device = {"device": house.site.vehicle.device}
        return Call(self._owners[house.site.network], "identity", method, {**device, **args})
