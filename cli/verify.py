"""`watt market verify`: every stored auction checked again by its own certificate.

The auctions come from a node's gateway, as it shows them or each with a proof under a block's certificate; or offline
from a data directory. What is checked is that each is the clearing that the rules demand of the orders that it names
(``chaincode.market_certificate.check``); that those are the orders that were placed is what `watt node verify` proves,
by replaying the chain.
"""

from typing import NamedTuple, cast

from chaincode.auction_types import Trade
from chaincode.contract import ContractError
from chaincode.grid import LineSettings, build
from chaincode.market_certificate import Auction, OrderRow, check
from chaincode.tree import Tree
from cli.answers import PRODUCT, Reader, as_rows, record
from node.errors import RefusedError
from node.model.codec import Value


class Fault(NamedTuple):
    """An auction that is not what the rules demand; ``code`` and ``message`` say where."""

    slot: int
    auction: int
    code: str
    message: str


class Checked(NamedTuple):
    """How much was checked: auctions, and the orders, trades and Wh in them."""

    auctions: int
    orders: int
    trades: int
    energy_wh: int


async def stored_products(read: Reader, hint: Reader | None = None) -> list[int]:
    """The slots of all products that the ledger has, ascending.

    Products follow one another without a gap, so from any one of them the first and the last are found by asking for
    single ones. ``hint``: a reader to learn of one from, cheaper than ``read`` for a long list; it need not be trusted.
    """
    listed = as_rows(await (hint or read)("market", "products", {})) or as_rows(await read("market", "products", {}))
    if not listed:
        return []
    known = cast("int", as_rows(listed[-1])[0])
    if not await _has_product(read, known):
        raise RefusedError("bad-answer", f"the node lists slot {known}, which has no product")
    first, end = known, known + 1
    while first > 0 and await _has_product(read, first - 1):
        first -= 1
    while await _has_product(read, end):
        end += 1
    return list(range(first, end))


async def _has_product(read: Reader, slot: int) -> bool:
    try:
        await read("market", "product", {"slot": slot})
    except (RefusedError, ContractError) as error:
        if error.code != "no-product":
            raise
        return False
    return True


async def verify_product(read: Reader, slot: int, slot_seconds: int) -> tuple[Checked, list[Fault]]:
    """Check every auction of one product."""
    product = record(await read("market", "product", {"slot": slot}), PRODUCT)
    checked = Checked(0, 0, 0, 0)
    faults: list[Fault] = []
    if not product["auctions"]:
        return checked, faults
    tree = await _tree(read, product["grid_version"], slot_seconds)
    flows = (0,) * len(tree.buses)
    energy_wh = 0
    for number in range(product["auctions"]):
        answer = await read("market", "auction", {"slot": slot, "number": number})
        auction, orders, trades = _auction(answer)
        try:
            if auction.flows_before != flows:
                raise ContractError("wrong-flows", "the flows before it are not those of the auctions before it")
            check(tree, auction, orders, trades)
        except ContractError as error:
            faults.append(Fault(slot, number, error.code, error.message))
        flows = tuple(before + flow for before, flow in zip(flows, auction.flows, strict=True))
        energy_wh += auction.energy_wh
        checked = Checked(checked.auctions + 1, checked.orders + len(orders), checked.trades + len(trades), energy_wh)
    if energy_wh != product["energy_wh"]:
        faults.append(
            Fault(slot, product["auctions"] - 1, "wrong-total", "the product's total is not its auctions' sum")
        )
    return checked, faults


async def slot_seconds_of(read: Reader) -> int:
    """The length of a slot, from the market's settings."""
    return cast("int", as_rows(await read("market", "settings", {}))[0])


async def _tree(read: Reader, version: int, slot_seconds: int) -> Tree:
    match await read("grid", "tree", {"version": version}):
        case (_, str(root), int(rate), tuple(lines)):
            return build(root, rate, tuple(_line(line) for line in lines), slot_seconds).tree
        case _:
            raise RefusedError("bad-answer", "the node's answer is no grid: another version?")


def _line(line: Value) -> LineSettings:
    match line:
        case (str(parent), str(child), int(metres), int(step), (int() | None) as down_w, (int() | None) as up_w):
            return parent, child, metres, step, down_w, up_w
        case _:
            raise RefusedError("bad-answer", "the node's answer is no line of a grid: another version?")


def _auction(answer: Value) -> tuple[Auction, list[OrderRow], list[Trade]]:
    record_, orders, trades = as_rows(answer)
    try:
        return (
            Auction(*as_rows(record_)),  # type: ignore[arg-type]
            [OrderRow(*as_rows(row)) for row in as_rows(orders)],  # type: ignore[arg-type]
            [Trade(*as_rows(row)) for row in as_rows(trades)],  # type: ignore[arg-type]
        )
    except TypeError as error:
        raise RefusedError("bad-answer", f"the node's answer is no auction: {error}") from error
