"""The season, slot by slot: brokers trade, stores are controlled, meters report, the ledger settles.

Of a slot brokers know, at its beginning, all that was measured before it. They order then for the first auction; late
in the slot they order anew for the last tick before its gate, knowing what was filled. Battery and vehicle follow, part
by part of the slot, what is contracted by then, where that pays (``broker.planning.control``), and the meters report
what has flowed in sum.

The exchange may run in this process or on nodes: times are nominal, and nothing hangs on how long anything took.
"""

from collections.abc import Callable, Sequence
from typing import cast

from broker.backtest.books import Books
from broker.backtest.foresight import Foresight
from broker.backtest.house import first_track
from broker.backtest.meters import Meters, Sign, unsigned
from broker.backtest.origins import LedgerOrigins
from broker.backtest.plugs import Plugs
from broker.backtest.scene import Scene
from broker.backtest.trader import Tokens, Trader
from broker.bills import Accounts
from broker.exchange import Call, Exchange
from broker.office import Office
from broker.prices import PriceBook
from broker.strategies.table import STRATEGIES
from broker.view import Prices
from broker.world import DAY_S
from chaincode.contract import Event


class Replay:
    """A season on an exchange. ``exchange``: at ``scene.world.time_origin`` or a little later, with nothing done;
    ``sign``: what a collector's rows are signed with; ``origins``: who follows where vehicles' energy came from, which
    costs two queries a home and slot; nobody by default."""

    def __init__(
        self,
        scene: Scene,
        foresight: Foresight,
        exchange: Exchange,
        sign: Sign = unsigned,
        origins: LedgerOrigins | None = None,
    ) -> None:
        self._scene, self._foresight, self._exchange = scene, foresight, exchange
        self._world = scene.world
        strategy = STRATEGIES[scene.run.strategy]
        self._traders = [Trader(house, scene.world, strategy, scene.run.seed) for house in scene.houses]
        self._by_network = {trader.network: trader for trader in self._traders}
        self._network_of = {key: network for network, key in scene.world.keys.brokers.items()}
        self._prices = PriceBook(scene.world.slot_seconds)
        self._meters = Meters(scene.world, sign)
        self._plugs = Plugs(scene)
        self.tracks = [first_track(house, scene.span.first) for house in scene.houses]
        self.accounts = Accounts(scene.world, exchange)
        self.books = Books()
        self._origins = origins

    def run(self, tell: Callable[[float], None]) -> None:
        """The whole season, until all of it is settled and final. ``tell``: how much of it is done, 0 to 1."""
        world, exchange, count = self._world, self._exchange, self._scene.span.count
        office = Office(world, exchange)
        for time in (*range(exchange.now, world.start, DAY_S), world.start):
            self._advance(time)
            office.work()
        for index in range(count):
            if index % self._scene.homes.slots_per_day == 0:
                office.work()
                tell(index / count)
            self._slot(index)
        self._submit(self._meters.report())
        self._advance(world.settled_at)
        tell(1.0)

    def _slot(self, index: int) -> None:
        world, scene, exchange = self._world, self._scene, self._exchange
        slot, at = world.first_slot + index, scene.span.first + index
        start = slot * world.slot_seconds
        terms = scene.terms(index)
        self._think(index, range(slot, slot + len(terms)), terms)
        calls = self._meters.report()
        if moves := self._plugs.at_start(slot, at):
            self._submit([*calls, *moves])  # orders of a device that moves in the same block would be cancelled
            calls = []
        for turn, (order, auction) in enumerate(self._auctions(start)):
            if order > start:
                self._advance(order)
            for trader in self._traders:
                trader.waits(auction - start)
                calls += trader.orders(slot, turn, exchange.now, self._prices, self._tokens(trader, slot))
            self._submit(calls)
            self._advance(auction)
            self._learn(slot, terms[0])
            calls = []
        gate = self._gate(start)
        for trader in self._traders:
            trader.waits(gate - start)
        self._advance(gate)  # orders that were late for their auction have found another one
        contracts = self.books.contracts[slot] = {}
        for trader, track in zip(self._traders, self.tracks, strict=True):
            course = trader.control(at, track)
            contracts |= {(trader.network, bus): found for bus, found in trader.contracts().items()}
            self._meters.measure(trader.house, slot, at, *course.done)
            track.follow(trader.house, at, course)
            trader.desk.clear()
        self._submit(self._plugs.at_gate(slot, at))
        self._advance(start + world.slot_seconds)

    def _gate(self, start: int) -> int:
        return start + self._world.slot_seconds - self._world.windows.gate_before_end_s

    def _auctions(self, start: int) -> list[tuple[int, int]]:
        """Of the slot that begins at ``start``: when brokers order, and the auction that they order for, which is the
        next one. The first tick, and the last before the gate."""
        tick_s = self._world.windows.tick_s
        first, last = (start // tick_s + 1) * tick_s, (self._gate(start) - 1) // tick_s * tick_s
        return [(start, first), (last - tick_s, last)]

    def _think(self, index: int, slots: range, terms: Sequence[tuple[int, int]]) -> None:
        outlooks: dict[str, Prices] = {}
        for number, (trader, track) in enumerate(zip(self._traders, self.tracks, strict=True)):
            garage = trader.house.garage
            buses = [trader.house.site.bus, *([garage.work_bus] if garage is not None and garage.work_bus else [])]
            for bus in buses:
                if bus not in outlooks:
                    outlooks[bus] = self._prices.outlook(bus, slots, terms)
            home, *others = buses
            away = {bus: outlooks[bus] for bus in others}
            trader.think(self._foresight.outlook(number, index, track, outlooks[home], away))

    def _tokens(self, trader: Trader, slot: int) -> Tokens:
        args = {"network": trader.network, "period": self._world.period_of(slot).number}
        rows = cast("tuple[tuple[str, tuple[int, ...]], ...]", self._exchange.query("budget", "books", args))
        return Tokens({device: book[0] for device, book in rows}, sum(book[2] for _, book in rows))

    def _submit(self, calls: Sequence[Call]) -> None:
        if not calls:
            return
        for call, answer in zip(calls, self._exchange.submit(calls), strict=True):
            if call.contract == "market":
                self.books.orders[self._network_of[call.key]] += len(call.args.get("orders", "1"))
            if answer.code != "ok":
                (self.books.refused if call.contract == "market" else self.books.lost)[answer.code] += 1

    def _advance(self, time: int) -> None:
        """Let block time go on; tell everybody what has happened."""
        events = self._exchange.advance(time)
        self.accounts.observe(events)
        if self._origins is not None:
            self._origins.observe(events)
        for event in events:
            if event.contract == "market" and event.topic == "order":
                self._by_network[event.keys[1]].desk.order(event)
            elif event.contract == "market" and event.topic == "fill":
                self._by_network[event.keys[1]].desk.fill(event)
            elif event.topic == "shared":
                self._note_share(event)

    def _note_share(self, event: Event) -> None:
        _, amount, *_ = cast("tuple[int, int, bytes, str, str]", event.data)
        for name in event.keys:
            if name in self._by_network:
                self.books.shared[name] += amount

    def _learn(self, slot: int, terms: tuple[int, int]) -> None:
        """What everybody saw of the slot's last auction."""
        answer = self._exchange.query("market", "prices", {"slot": slot})
        if answer is None:
            return
        _, _, prices = cast("tuple[int, int, tuple[tuple[str, int], ...]]", answer)
        self.books.price[slot] = dict(prices)
        traded = sum(trader.desk.all_bought_wh for trader in self._traders)
        for bus, price in prices:
            self._prices.observe(slot, bus, price, traded, *terms)
