"""`watt market clear`: a file of orders in, prices and trades out; the chain's own clearing at a user's hand."""

import msgspec

from chaincode.auction import BUY, SELL, Order, clear
from chaincode.contract import MAX_AMOUNT, ContractError
from chaincode.tree import Line, Tree
from node.errors import RefusedError


class FileLine(msgspec.Struct, forbid_unknown_fields=True):
    """A line from parent to child. Toll: base units per Wh; limits: Wh, null or absent = none."""

    parent: str = msgspec.field(name="from")
    child: str = msgspec.field(name="to")
    toll: int
    limit_down_wh: int | None = None
    limit_up_wh: int | None = None


class FileGrid(msgspec.Struct, forbid_unknown_fields=True):
    root: str
    lines: list[FileLine]


class FileOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Price: base units per Wh; ``age`` 0 is the oldest; ``renewable``: a seller's tag, a buyer's wish."""

    id: str
    bus: str
    side: str
    price: int
    energy_wh: int
    age: int = 0
    renewable: bool = False


class ClearingFile(msgspec.Struct, forbid_unknown_fields=True):
    grid: FileGrid
    orders: list[FileOrder]


def clear_file(data: bytes) -> dict[str, object]:
    """Clear the auction that the JSON text ``data`` describes.

    Returns ``prices`` {bus: base units per Wh}, ``trades``, ``flows`` (Wh per line, parent to child positive) and
    ``welfare`` (base units). RefusedError: bad-json (malformed, or not of this shape; the message says where),
    unknown-bus, bad-side, bad-order, duplicate-order, and the codes of a grid that is no radial tree
    (bad-bus, bad-toll, bad-limit, self-loop, two-parents, cyclic-grid, disconnected-grid, too-many-buses).
    """
    try:
        content = msgspec.json.decode(data, type=ClearingFile)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise RefusedError("bad-json", str(error)) from None
    try:
        tree = Tree.build(
            content.grid.root,
            (
                Line(line.parent, line.child, line.toll, line.limit_down_wh, line.limit_up_wh)
                for line in content.grid.lines
            ),
        )
        index_of = tree.index_of()
        orders = [_order(order, index_of) for order in content.orders]
        clearing = clear(tree, tree.limit_down_wh, tree.limit_up_wh, orders)
    except ContractError as error:
        raise RefusedError(error.code, error.message) from None
    return {
        "prices": dict(zip(tree.buses, clearing.prices, strict=True)),
        "trades": [
            {
                "buy": trade.buy.decode(),
                "sell": trade.sell.decode(),
                "energy_wh": trade.energy_wh,
                "buyer_price": trade.buyer_price,
                "seller_price": trade.seller_price,
            }
            for trade in clearing.trades
        ],
        "flows": [
            {"from": tree.buses[tree.parent[line]], "to": tree.buses[line], "energy_wh": clearing.flows[line]}
            for line in range(1, len(tree.buses))
        ],
        "welfare": clearing.welfare,
    }


def _order(order: FileOrder, index_of: dict[str, int]) -> Order:
    bounds = (("price", order.price, 0), ("energy_wh", order.energy_wh, 1), ("age", order.age, 0))
    for name, value, least in bounds:
        if not least <= value <= MAX_AMOUNT:
            raise RefusedError("bad-order", f"order {order.id!r}: {name} is {least} to 2^63-1, not {str(value)[:40]}")
    if order.bus not in index_of:
        raise RefusedError("unknown-bus", f"order {order.id!r}: the grid has no bus {order.bus!r}")
    if order.side not in ("buy", "sell"):
        raise RefusedError("bad-side", f"order {order.id!r}: the side is buy or sell, not {order.side!r}")
    return Order(
        order.id.encode(),
        index_of[order.bus],
        BUY if order.side == "buy" else SELL,
        order.price,
        order.energy_wh,
        order.age,
        order.renewable,
    )
