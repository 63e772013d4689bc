"""`watt market verify`: the market of every product checked again by its own certificates.

The auctions come from a node's gateway, as it shows them or each with a proof under a block's certificate; from a
stopped node's data; or from an exported file. What is checked, in one pass and without a solver:

- each auction is the clearing that the rules demand of the orders that it names (``market_certificate.check``):
  feasible, optimal, the right prices, ties, trades and money, within what the lines have left;
- flows add up from nothing to what the lines carry, auction after auction;
- each order is the same one in all auctions, and what is filled of it is never more than what was left;
- the auctions' sums are the product's, and escrow holds what buyers paid until the slot is settled.

Of a product whose details have been deleted only its own sums are left, and its escrow, which must be empty.

That the orders are those that were placed is what `watt node verify` proves, by replaying the chain.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from chaincode import market_certificate, market_products, pruned
from chaincode.auction_types import Trade
from chaincode.contract import ContractError, Value
from chaincode.grid import build
from chaincode.market_certificate import Auction, OrderRow, check
from chaincode.pruned import Part
from chaincode.tree import Tree
from cli.answers import PRODUCT, Reader, as_rows, grid_line, record
from cli.slots import slot_seconds_of
from node.errors import RefusedError
from node.model.codec import encode

_TRADING: Final = (market_products.OPEN, market_products.CLOSED, market_products.DELIVERED)
_SETTLED: Final = (market_products.SETTLED, market_products.FINAL)
_TRIES: Final = 5
PRUNED: Final = "pruned"
MAX_PRODUCTS: Final = 10_000_000
"""More than 500 years of half hours: no chain has them."""


class Fault(NamedTuple):
    """What is not as the rules demand; ``code`` and ``message`` say where. ``auction``: -1 for the product itself."""

    slot: int
    auction: int
    code: str
    message: str


class Checked(NamedTuple):
    """How much was checked: products, those of which only a digest is left, auctions, orders, trades and Wh in them."""

    products: int = 0
    pruned: int = 0
    auctions: int = 0
    orders: int = 0
    trades: int = 0
    energy_wh: int = 0

    def plus(self, other: "Checked") -> "Checked":
        """The sums of both."""
        return Checked(*[one + more for one, more in zip(self, other, strict=True)])


class Outcome(NamedTuple):
    """Of one product. ``details``: how many entries of each table its auctions are, with the digest that stays when
    they are deleted.
    """

    slot: int
    checked: Checked
    faults: tuple[Fault, ...]
    details: tuple[Part, ...]


async def verify_products(read: Reader, slot: int | None) -> AsyncIterator[Outcome]:
    """Check the product of ``slot``, or one after the other all that there are."""
    slot_seconds = await slot_seconds_of(read)
    if slot is not None:
        yield await verify_product(read, slot, slot_seconds)
        return
    for each in await _span(read):
        try:
            yield await verify_product(read, each, slot_seconds)
        except (RefusedError, ContractError) as error:
            if error.code != "no-product":  # a slot that could not be opened is left out by the rules
                raise


async def _span(read: Reader) -> range:
    """Where the products are of which the ledger has any."""
    match await read("market", "span", {}):
        case None:
            return range(0)
        case (int(first), int(end)) if 0 <= first <= end <= first + MAX_PRODUCTS:
            return range(first, end)
        case _:
            raise RefusedError("bad-answer", "the node does not say which slots have products: another version?")


async def verify_product(read: Reader, slot: int, slot_seconds: int) -> Outcome:
    """Check one product. Raises RefusedError or ContractError("no-product")."""
    product, escrow = await _product_and_escrow(read, slot)
    if await read("market", PRUNED, {"slot": slot}) is not None:
        return await _without_details(read, slot, product, escrow)
    audit = _Audit(slot, product)
    if product["auctions"]:
        audit.tree = await _tree(read, product["grid_version"], slot_seconds)
        try:
            for number in range(product["auctions"]):
                audit.auction(number, *await _auction(read, slot, number))
        except (RefusedError, ContractError) as error:
            if error.code != PRUNED:  # since it was asked
                raise
            return await _without_details(read, slot, product, escrow)
    audit.totals()
    if escrow is not None and (fault := await _escrow_fault(read, slot, product, escrow)) is not None:
        audit.fault(-1, "wrong-escrow", fault)
    return audit.outcome()


class _Audit:
    """One product under way: what its auctions have added up to, and what is left of each order."""

    def __init__(self, slot: int, product: Mapping[str, Any]) -> None:
        self._slot = slot
        self._product = product
        self._sums = dict.fromkeys(("trades", "energy_wh", "paid", "received", "tolls", "rent"), 0)
        self._orders: dict[bytes, tuple[OrderRow, int]] = {}
        self._rows = 0
        self._time = 0
        self._flows: tuple[int, ...] = ()
        self._faults: list[Fault] = []
        self._details: dict[str, Part] = {}
        self.tree = Tree((), (), (), (), ())

    def auction(self, number: int, auction: Auction, orders: Sequence[OrderRow], trades: Sequence[Trade]) -> None:
        """Check one auction, and count it."""
        try:
            self._continues(auction)
            check(self.tree, auction, orders, trades)
            for row in orders:
                self._order(number, row)
        except ContractError as error:
            self.fault(number, error.code, error.message)
        before = self._flows or (0,) * len(auction.flows)
        if len(before) == len(auction.flows):
            self._flows = tuple([old + new for old, new in zip(before, auction.flows, strict=True)])
        self._time = max(self._time, auction.time)
        self._rows += len(orders)
        for name in self._sums:
            self._sums[name] += getattr(auction, name)
        for key, value in market_certificate.entries(self._slot, number, auction, orders, trades):
            table = key[: key.index(b"/")].decode()
            part = self._details.get(table, Part(table, 0, pruned.NO_ENTRIES))
            digest = pruned.chained(part.digest, key, encode(value))
            self._details[table] = Part(table, part.entries + 1, digest)

    def totals(self) -> None:
        """After the last auction: the sums are the product's, and what buyers paid is what others get."""
        for name, total in self._sums.items():
            if total != self._product[name]:
                text = f"{name}: {self._product[name]}, its auctions' sum is {total}"
                self.fault(-1, "wrong-total", text)
        if (fault := _sum_fault(self._sums)) is not None:
            self.fault(-1, "wrong-sum", fault)

    def fault(self, auction: int, code: str, message: str) -> None:
        """Note what is wrong."""
        self._faults.append(Fault(self._slot, auction, code, message))

    def outcome(self) -> Outcome:
        """What was found."""
        energy_wh, trades = self._sums["energy_wh"], self._sums["trades"]
        checked = Checked(1, 0, self._product["auctions"], self._rows, trades, energy_wh)
        return Outcome(self._slot, checked, tuple(self._faults), tuple(self._details.values()))

    def _continues(self, auction: Auction) -> None:
        if auction.grid_version != self._product["grid_version"]:
            raise ContractError("wrong-grid", "not the grid that the product pinned when it opened")
        if auction.flows_before != (self._flows or (0,) * len(self.tree.buses)):
            raise ContractError("wrong-flows", "the flows before it are not those of the auctions before it")
        if auction.time < max(self._time, self._product["opens"]):
            raise ContractError("wrong-time", "it was held before the one before it, or before the product opened")

    def _order(self, number: int, row: OrderRow) -> None:
        """An order may come in several auctions: the same each time, with what the last one left."""
        left_wh = row.energy_wh - row.filled_wh
        known = self._orders.get(row.id)
        if not self._product["feed_in"] <= row.price <= self._product["retail"]:
            raise ContractError("bad-price", f"order {row.id.hex()}: its limit is not from feed-in to retail")
        if row.age > number:
            raise ContractError("wrong-order", f"order {row.id.hex()} is younger than the auction")
        if known is not None:
            first, rest_wh = known
            if row._replace(energy_wh=0, filled_wh=0) != first._replace(energy_wh=0, filled_wh=0):
                raise ContractError("wrong-order", f"order {row.id.hex()} is another one than in an earlier auction")
            if row.energy_wh != rest_wh:
                text = f"order {row.id.hex()}: {row.energy_wh} Wh, but {rest_wh} were left"
                raise ContractError("wrong-order", text)
        self._orders[row.id] = row, left_wh


async def _product_and_escrow(read: Reader, slot: int) -> tuple[dict[str, Any], int | None]:
    """The product, and what its escrow held while it was so; None if it changed whenever it was asked for."""
    product = await _product(read, slot)
    for _ in range(_TRIES):
        escrow = await read("accounts", "account", {"account": f"escrow:{slot}"})
        again = await _product(read, slot)
        if again == product and isinstance(escrow, int):
            return product, escrow
        product = again
    return product, None


async def _product(read: Reader, slot: int) -> dict[str, Any]:
    product = record(await read("market", "product", {"slot": slot}), PRODUCT)
    if any(type(value) is not int for name, value in product.items() if name != "state"):
        raise RefusedError("bad-answer", f"the node's answer is no product of slot {slot}: another version?")
    return product


async def _without_details(read: Reader, slot: int, product: Mapping[str, Any], escrow: int | None) -> Outcome:
    """What can be checked of a product whose auctions have been deleted: its sums, which stay, and its escrow."""
    faults = []
    if (fault := _sum_fault(product)) is not None:
        faults.append(Fault(slot, -1, "wrong-sum", fault))
    if escrow is not None and (fault := await _escrow_fault(read, slot, product, escrow)) is not None:
        faults.append(Fault(slot, -1, "wrong-escrow", fault))
    return Outcome(slot, Checked(products=1, pruned=1), tuple(faults), ())


def _sum_fault(sums: Mapping[str, int]) -> str | None:
    if sums["paid"] != sums["received"] + sums["tolls"] + sums["rent"]:
        return "what buyers paid is not what sellers, tolls and rent come to"
    return None


async def _escrow_fault(read: Reader, slot: int, product: Mapping[str, Any], escrow: int) -> str | None:
    """What is wrong with the escrow: until the slot is metered it holds what buyers paid; once settled, nothing but
    what belongs to units that could not be."""
    if product["state"] in _TRADING and escrow != product["paid"]:
        return f"escrow holds {escrow}, buyers have paid {product['paid']}"
    if product["state"] in _SETTLED and escrow:
        if escrow > product["paid"]:
            return f"escrow holds {escrow}, more than the {product['paid']} that buyers paid"
        first = 0
        while rows := as_rows(await read("settlement", "parked", {"first": first})):
            if any(as_rows(row)[1] == slot for row in rows):
                return None
            first += len(rows)
        return f"escrow holds {escrow} when everybody has been paid"
    return None


async def _tree(read: Reader, version: int, slot_seconds: int) -> Tree:
    match await read("grid", "tree", {"version": version}):
        case (_, str(root), int(rate), tuple(lines)):
            return build(root, rate, tuple(grid_line(line) for line in lines), slot_seconds).tree
        case _:
            raise RefusedError("bad-answer", "the node's answer is no grid: another version?")


async def _auction(read: Reader, slot: int, number: int) -> tuple[Auction, list[OrderRow], list[Trade]]:
    """One auction, however many pages its orders and trades have."""
    asked = {"slot": slot, "number": number}
    auction, orders, trades = _certificate(await read("market", "auction", asked))
    first = 0
    while len(orders) < auction.orders or len(trades) < auction.trades:
        first += market_certificate.ANSWER_PAGES
        same, more_orders, more_trades = _certificate(await read("market", "auction", {**asked, "first": first}))
        if same != auction or not (more_orders or more_trades):
            raise RefusedError("bad-answer", f"slot {slot}, auction {number}: its pages do not fit together")
        orders += more_orders
        trades += more_trades
    return auction, orders, trades


def _certificate(answer: Value) -> tuple[Auction, list[OrderRow], list[Trade]]:
    try:
        return msgspec.convert(answer, tuple[Auction, list[OrderRow], list[Trade]], builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise RefusedError("bad-answer", f"the node's answer is no auction: {error}") from error
