"""An auditor who stands outside: re-derives from events and queries what must hold of a market, by itself."""

from collections.abc import Iterable
from typing import Any, cast

from chaincode import accounts, grid, market_certificate, market_orders, market_products, slots
from chaincode.auction import Order, Trade, clear
from chaincode.contract import Context, Value
from chaincode.keys import text, uint
from chaincode.market_book import entries, find_pending
from chaincode.market_certificate import Auction, OrderRow
from chaincode.tree import Tree
from tests.chaincode.world import World


class Auditor:
    """Follows one world. ``check`` after whatever happened."""

    def __init__(self, world: World, devices: Iterable[str]) -> None:
        self.world = world
        self.devices = tuple(devices)
        self.contracts: dict[tuple[str, int], list[int]] = {}  # (device, slot): Wh bought, Wh sold, paid, due
        self.filled: dict[bytes, int] = {}
        self.flows: dict[int, tuple[int, ...]] = {}
        self.auctions = 0
        self._seen = 0

    def check(self) -> None:
        """Invariants 1 to 4 of the market, over all that happened since the last check."""
        issued, redeemed, whole = cast("tuple[int, int, int]", self.world.query("accounts", "audit"))
        assert whole == issued - redeemed, "the balances are not what was issued less what was redeemed"
        cleared: dict[int, None] = {}
        for event in self.world.events[self._seen :]:
            if event.contract != "market":
                continue
            data = cast("tuple[Any, ...]", event.data)
            if event.topic == "fill":
                self._fill(event.keys[0], *data)
            elif event.topic == "auction":
                self._auction(data[0], data[1])
                cleared[data[0]] = None
        self._seen = len(self.world.events)
        for slot in cleared:
            self._product(slot)
        self._sides()

    def _sides(self) -> None:
        """What is noted of each network's side at a bus is what its devices' open orders say."""
        sides: dict[bytes, tuple[int, int]] = {}
        with self.world.transaction() as ctx:
            noted: dict[bytes, Value] = dict(ctx.scan(b"side/"))
            seconds = slots.seconds(ctx)
            for slot in range(max(0, ctx.time // seconds - 1), market_products.next_to_open(ctx) or 0):
                for device in self.devices:
                    position = market_orders.find_position(ctx, device, slot)
                    if position is None or not position.open_orders:
                        continue
                    key = b"side/" + uint(slot) + text(position.network) + position.bus.encode()
                    side = market_orders.SIDES["buy" if position.open_buy_wh else "sell"]
                    assert not (position.open_buy_wh and position.open_sell_wh), "a device on both sides"
                    before = sides.get(key, (side, 0))
                    assert before[0] == side, "a network on both sides at a bus"
                    sides[key] = (side, before[1] + 1)
        assert noted == sides

    def _fill(
        self, device: str, order_id: bytes, state: str, slot: int, side: str, wh: int, price: int, filled_wh: int
    ) -> None:
        row = cast("tuple[Any, ...]", self.world.query("market", "order", order=order_id))
        energy_wh, limit = row[6], row[7]
        self.filled[order_id] = self.filled.get(order_id, 0) + wh
        assert wh > 0 and self.filled[order_id] == filled_wh <= energy_wh
        assert price <= limit if side == "buy" else price >= limit, "beyond the limit"
        sums = self.contracts.setdefault((device, slot), [0, 0, 0, 0])
        sums[0 if side == "buy" else 1] += wh
        sums[2 if side == "buy" else 3] += wh * price

    def _auction(self, slot: int, number: int) -> None:
        """The stored certificate proves the auction, and its trades are the fills that its orders got."""
        self.auctions += 1
        certificate = self.world.query("market", "auction", slot=slot, number=number)
        record, orders, trades = cast("tuple[Any, Any, Any]", certificate)
        auction = Auction(*record)
        tree = self.tree(auction.grid_version)
        before = self.flows.get(slot, (0,) * len(tree.buses))
        assert auction.flows_before == before
        market_certificate.check(tree, auction, [OrderRow(*row) for row in orders], [Trade(*row) for row in trades])
        for buy, sell, *_ in trades:
            assert self._network_and_bus(buy) != self._network_and_bus(sell), "a network traded with itself at a bus"
        self.flows[slot] = tuple([one + other for one, other in zip(before, auction.flows, strict=True)])
        for flow, down, up in zip(self.flows[slot], tree.limit_down_wh, tree.limit_up_wh, strict=True):
            assert (down is None or flow <= down) and (up is None or -flow <= up), "beyond a line's limit"

    def _network_and_bus(self, order_id: bytes) -> tuple[Value, Value]:
        row = cast("tuple[Value, ...]", self.world.query("market", "order", order=order_id))
        return row[2], row[4]

    def _product(self, slot: int) -> None:
        row = cast("tuple[Any, ...]", self.world.query("market", "product", slot=slot))
        energy_wh, paid, received, tolls, rent = row[17:22]
        of_slot = [sums for (_, number), sums in self.contracts.items() if number == slot]
        assert sum(sums[0] for sums in of_slot) == sum(sums[1] for sums in of_slot) == energy_wh
        assert sum(sums[2] for sums in of_slot) == paid
        assert sum(sums[3] for sums in of_slot) == received
        assert paid == received + tolls + rent and rent >= 0 and tolls >= 0
        if row[1] in ("OPEN", "CLOSED", "DELIVERED"):
            assert self.world.query("accounts", "account", account=f"escrow:{slot}") == paid
        self._nobody_else_could_trade(slot, row[8])

    def _nobody_else_could_trade(self, slot: int, version: int) -> None:
        """What was cleared rests without a gain: clearing it again, within what the lines have left, trades nothing."""
        tree = self.tree(version)
        down, up = market_certificate.capacities(tree, self.flows[slot])
        with self.world.transaction() as ctx:
            pending = dict.fromkeys(new_orders(ctx, slot))
            book = [order for order in whole_book(ctx, slot, tree) if order.id not in pending]
        assert clear(tree, down, up, book).fills == {}

    def tree(self, version: int) -> Tree:
        with self.world.transaction() as ctx:
            return grid.pinned(ctx, version).tree

    def settled(self, slot: int) -> None:
        """After settlement nothing is left in escrow."""
        with self.world.transaction() as ctx:
            assert accounts.balance(ctx, f"escrow:{slot}") == 0


def whole_book(ctx: Context, slot: int, tree: Tree) -> list[Order]:
    """All that rests in a product, as an auction sees it."""
    index_of = tree.index_of()
    return [
        Order(each.order, index_of[each.bus], each.side, each.price, each.left_wh, each.age, each.renewable)
        for each in entries(ctx, slot)
    ]


def new_orders(ctx: Context, slot: int) -> list[bytes]:
    """The orders that no auction has seen yet."""
    pending = find_pending(ctx, slot)
    return [] if pending is None else [each.order for each in entries(ctx, slot) if each.age == pending.auction]
