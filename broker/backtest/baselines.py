"""The same homes without an exchange: by plain rules, and with a broker that can only plan."""

from collections.abc import Callable

from broker.backtest.foresight import Foresight
from broker.backtest.house import House, Track, by_rule, first_track
from broker.backtest.scene import Scene
from broker.backtest.trader import Known, done
from broker.planning.planner import Planner
from broker.view import Prices


def utility_only(scene: Scene) -> list[Track]:
    """All by the plain rules."""
    return [_by_rule(scene, house) for house in scene.houses]


def alone(scene: Scene, foresight: Foresight, tell: Callable[[float], None]) -> list[Track]:
    """The broker's own plans and control, with the utility's prices on both sides."""
    tracks = [first_track(house, scene.span.first) for house in scene.houses]
    planners = [Planner(house.site) for house in scene.houses]
    whole = [Known(scene.world.slot_seconds, {})]
    for index in range(scene.span.count):
        tell(index / scene.span.count)
        terms = scene.terms(index)
        retail, feed_in = tuple(row[0] for row in terms), tuple(row[1] for row in terms)
        prices = Prices(retail, feed_in, retail, feed_in)
        at = scene.span.first + index
        for number, (house, track) in enumerate(zip(scene.houses, tracks, strict=True)):
            away = {house.garage.work_bus: prices} if house.garage is not None and house.garage.work_bus else {}
            outlook = foresight.outlook(number, index, track, prices, away)
            course = done(house, track, at, outlook, planners[number].plan(outlook), whole)
            track.follow(house, at, course)
            track.cost.append(utility_cost(house, at, *course.done, terms[0]))
            track.local_wh.append(0)
    return tracks


def utility_cost(house: House, at: int, battery_wh: int, vehicle_wh: int, terms: tuple[int, int]) -> int:
    """What the utility alone asks for slot ``at`` of the data, base units, own sun first at each bus. ``terms``: retail
    and feed-in."""
    at_home = house.bus(at) == house.site.bus
    home = house.load_wh[at] - house.sun_wh[at] + battery_wh + (vehicle_wh if at_home else 0)
    elsewhere = 0 if at_home else vehicle_wh
    return sum(wh * terms[0] if wh > 0 else wh * terms[1] for wh in (home, elsewhere))


def _by_rule(scene: Scene, house: House) -> Track:
    track = first_track(house, scene.span.first)
    for index in range(scene.span.count):
        at = scene.span.first + index
        battery_wh, vehicle_wh = by_rule(house, track, at)
        track.flow(house, at, battery_wh, vehicle_wh)
        track.cost.append(utility_cost(house, at, battery_wh, vehicle_wh, scene.terms(index)[0]))
        track.local_wh.append(0)
    return track
