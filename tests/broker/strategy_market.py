"""A small community in which strategies meet: the market's own auction, curves by chance, many days of one hour.

Each day every site draws its net load's forecast and what its battery's charge is worth, orders, is cleared, orders
again for what is left, and is cleared at the gate. What a position is worth is what the site's curve says, so gains
are exact and comparable. `python -m tests.broker.strategy_market` prints the table of docs/strategies.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from broker import ladder
from broker.prices import PriceBook
from broker.site import Battery, Panels, Site
from broker.strategies.table import STRATEGIES, Strategy
from broker.view import Curve, SlotView, Step, Wish
from chaincode import auction
from chaincode.tree import Line, Tree
from tests.broker.strategy_views import value_between

RETAIL, FEED_IN, TOLL = 220_000, 80_000, 10_000
FIRST_DAY = 20_000
HOUR = 12


def shader(permille: int) -> Strategy:
    """A strategy that keeps back so much of the span from feed-in to retail, always."""

    def wishes(view: SlotView) -> tuple[Wish, ...]:
        side, rungs = ladder.better(view)
        shade = (view.retail - view.feed_in) * permille // 1000 * (-1 if side == "buy" else 1)
        return ladder.orders(view, side, [rung._replace(limit=rung.value + shade) for rung in rungs])

    return wishes


SHADERS: Mapping[str, Strategy] = {f"shade {permille}": shader(permille) for permille in (50, 100, 200, 400)}
KNOWN = {**STRATEGIES, **SHADERS}


@dataclass(frozen=True)
class Trader:
    """A site, where it hangs, what it does; ``sun``: the most its panels give in the hour, 0 without panels."""

    site: Site
    bus: int
    strategy: str
    sun_wh: int


def community(strategies: Sequence[str], seed: int = 0) -> tuple[Tree, list[Trader]]:
    """A site for each strategy, two of three with panels, three sites to a bus."""
    chance = Random(f"community {seed}")
    buses = -(-len(strategies) // 3)
    tree = Tree.build("root", [Line("root", f"bus-{each}", TOLL) for each in range(buses)])
    traders = []
    for number, strategy in enumerate(strategies):
        name, bus = f"home-{number:02}", f"bus-{number // 3}"
        load, pv, battery = (f"{name}/{each}" for each in ("load", "pv", "battery"))
        site = Site(
            name, bus, load, Panels(pv, 5000), Battery(battery, 6400, 4000, 4000, 900), None, 3600,
            {load: 10_000, pv: 0, battery: 4000}, {load: 0, pv: 5000, battery: 4000},
        )  # fmt: skip
        traders.append(Trader(site, tree.index_of()[bus], strategy, chance.randint(2000, 5000) if number % 3 else 0))
    return tree, traders


def curve_by_chance(trader: Trader, sunny: float, chance: Random) -> Curve:
    """Ten quantiles of a net load, each a tenth less likely to be exceeded, and a battery that gives and takes."""
    load, battery = trader.site.load, trader.site.devices[2]
    sun = trader.sun_wh * sunny * chance.uniform(0.7, 1.0)
    middle = chance.uniform(300, 2500) - sun
    spread = 100 + 0.25 * abs(middle)
    nets = [round(middle + spread * (each - 4.5) / 4.5) for each in range(10)]
    device = load if nets[0] > 0 else trader.site.devices[1]
    steps = [Step(device, nets[0], RETAIL, "load")] if nets[0] > 0 else []
    for at in range(9):
        value = FEED_IN + (RETAIL - FEED_IN) * (9 - at) // 10
        steps.append(Step(device, nets[at + 1] - nets[at], value, "load"))
    stored, taken = chance.randint(0, 4000), chance.randint(0, 4000)
    worth = chance.randint(110_000, 200_000)
    steps += [Step(battery, stored, worth, "store"), Step(battery, taken, worth * 9 // 10, "store")]
    steps = sorted((step for step in steps if step.energy_wh > 0), key=lambda step: -step.value)
    return Curve(min(0, nets[0]) - stored, tuple(steps))


def day(tree: Tree, traders: Sequence[Trader], book: PriceBook, number: int, seed: int) -> dict[str, int]:
    """By network, what it gained, base units. The book learns the day's prices."""
    chance = Random(f"{seed} {number}")
    slot = FIRST_DAY * 24 + number * 24 + HOUR
    gate = (slot + 1) * 3600 - 600
    sunny = chance.choice([0.1, 0.5, 0.8, 1.0])
    views: dict[str, SlotView] = {}
    for trader in traders:
        expected, experience = book.expected(trader.site.bus, slot, RETAIL, FEED_IN)
        views[trader.site.network] = SlotView(
            trader.site, trader.site.bus, 0, slot, gate, RETAIL, FEED_IN, curve_by_chance(trader, sunny, chance),
            dict.fromkeys(trader.site.devices, 0), expected, experience, dict.fromkeys(trader.site.devices, 10**15),
            1000, 1000, 200, chance.randrange(2**32),
        )  # fmt: skip
    gains = dict.fromkeys(views, 0)
    flowed = [0] * len(tree.buses)
    traded = 0
    for left in (3000, 1200):
        orders: dict[bytes, tuple[Trader, Wish]] = {}
        for trader in traders:
            view = views[trader.site.network] = replace(views[trader.site.network], now=gate - left)
            for row, wish in enumerate(KNOWN[trader.strategy](view)):
                orders[f"{trader.site.network} {row:03}".encode()] = (trader, wish)
        cleared = auction.clear(tree, [None] * len(flowed), [None] * len(flowed), rows(orders))
        for order, wh in cleared.fills.items():
            trader, wish = orders[order]
            sign = 1 if wish.side == "buy" else -1
            view = views[trader.site.network]
            positions = dict(view.positions)
            positions[wish.device] += sign * wh
            value = value_between(view, view.position_wh, view.position_wh + sign * wh)
            gains[trader.site.network] += value - sign * wh * cleared.prices[trader.bus]
            views[trader.site.network] = replace(view, positions=positions)
            traded += wh
        for index, bus in enumerate(tree.buses[1:], 1):
            book.observe(slot, bus, cleared.prices[index], traded, RETAIL, FEED_IN)
        for network, view in views.items():
            expected, experience = book.expected(view.bus, slot, RETAIL, FEED_IN)
            views[network] = replace(view, expected=expected, experience=experience)
    return gains


def rows(orders: Mapping[bytes, tuple[Trader, Wish]]) -> list[auction.Order]:
    """As the auction takes them."""
    sides = {"buy": auction.BUY, "sell": auction.SELL}
    return [
        auction.Order(order, trader.bus, sides[wish.side], wish.price, wish.energy_wh)
        for order, (trader, wish) in orders.items()
    ]


def season(strategies: Sequence[str], days: int, seed: int = 0, *, learn: int = 10) -> list[int]:
    """By site, what it gained in ``days`` after ``learn`` days of learning, base units a day."""
    tree, traders = community(strategies, seed)
    book = PriceBook(3600)
    total = [0] * len(traders)
    for number in range(learn + days):
        gains = day(tree, traders, book, number, seed)
        if number >= learn:
            total = [sum(each) for each in zip(total, gains.values(), strict=True)]
    return [each // days for each in total]


def main() -> None:
    """Print the table of docs/strategies.md: gains by those of a community of truthful sites."""
    print("sites  strategy          all alike   one alone   the others then")
    for sites in (6, 18):
        usual = sum(sum(season(["truthful"] * sites, 40, seed)) for seed in range(2))
        for name in (*STRATEGIES, *SHADERS):
            alike = sum(sum(season([name] * sites, 40, seed)) for seed in range(2)) / usual
            own, others = alone(name, sites)
            print(f"{sites:5}  {name:16}  {alike:9.3f}   {own:9.3f}   {others:15.4f}")


def alone(name: str, sites: int, seeds: int = 2, days: int = 40) -> tuple[float, float]:
    """One site's gain with a strategy of its own, by its gain when truthful; and that of the others. The mean over
    sites and seeds."""
    own = truthful = others = others_before = 0
    for seed in range(seeds):
        usual = season(["truthful"] * sites, days, seed)
        for site in range(3):  # one without panels, two with
            mixed = season([name if each == site else "truthful" for each in range(sites)], days, seed)
            own, truthful = own + mixed[site], truthful + usual[site]
            others, others_before = others + sum(mixed) - mixed[site], others_before + sum(usual) - usual[site]
    return own / truthful, others / others_before


if __name__ == "__main__":
    main()
