"""What brokers foresee: forecasts of net load, prices and the vehicle, put together into an outlook."""

from collections.abc import Mapping

from broker.backtest.forecasts import Forecasts
from broker.backtest.house import House, Track
from broker.backtest.scene import Scene
from broker.vehicles.history import DrivingHistory
from broker.vehicles.outlook import outlook
from broker.view import Outlook, Prices, VehicleOutlook


class Foresight:
    """Of the homes of a scene, as their brokers have it. To be asked slot by slot."""

    def __init__(self, scene: Scene, forecasts: Forecasts) -> None:
        self._scene, self._forecasts = scene, forecasts
        self._seen = [self._driving(house) for house in scene.houses]

    def outlook(self, home: int, index: int, track: Track, prices: Prices, away: Mapping[str, Prices]) -> Outlook:
        """Of home number ``home`` at the beginning of slot ``index`` of the season."""
        net = self._forecasts.net(home, index)[: len(prices.retail)]
        return Outlook(net, prices, track.battery_level, self._vehicle(home, index, track, prices), away)

    def _driving(self, house: House) -> DrivingHistory | None:
        """What was seen before the season."""
        if house.garage is None:
            return None
        seen = DrivingHistory(self._scene.homes.slot_seconds)
        trips = house.garage.trips
        for at in range(self._scene.span.first):
            seen.append(self._scene.homes.first_slot + at, trips.places[at], trips.km[at])
        return seen

    def _vehicle(self, home: int, index: int, track: Track, prices: Prices) -> VehicleOutlook | None:
        house, seen = self._scene.houses[home], self._seen[home]
        if house.garage is None or house.site.vehicle is None or seen is None:
            return None
        at = self._scene.span.first + index
        slot = self._scene.homes.first_slot + at
        if index and seen.next_slot == slot - 1:
            seen.append(slot - 1, house.garage.trips.places[at - 1], house.garage.trips.km[at - 1])
        seen.stands(house.stands(at))
        return outlook(
            house.site.vehicle,
            seen,
            track.vehicle_level,
            slot,
            len(prices.retail),
            house.site.bus,
            house.garage.work_bus,
            house.garage.shortage_price,
            self._scene.homes.slot_seconds,
            prices,
        )
