"""Many orders at once, and what becomes of the orders that wait for money at the end of the block.

``place_many`` takes a list of orders of one device, for as many slots, all or nothing: if one breaks a rule, none is
placed. If the device's own money covers all, they enter the book at once. If not, all of them wait, sells too, and the
end of the block finds the money for all or rejects all (``budget_needs``): then what others gave for them is theirs
again, since none of it has moved.

State: table ``bulk/``: transaction id(32) -> the ids of the orders that it placed, while they wait.
"""

from collections.abc import Sequence
from typing import Final, cast

from chaincode import budget, identity, market_orders, market_trading
from chaincode.contract import Context, ContractError
from chaincode.market_orders import Order
from chaincode.market_trading import Wanted

MAX_BULK: Final = 96
"""Orders of one transaction: two days of half hours, or one of quarters."""

_BULK: Final = b"bulk/"


def place_many(ctx: Context, device_id: str, rows: Sequence[Wanted]) -> tuple[bytes, ...]:
    """Place all orders of ``rows``, each of ``device_id``, or none. Their ids, in the order given.

    Raises ContractError: bad-args for no row, too-many for more than ``MAX_BULK``, and what refuses a row, whose number
    is then the first detail, before that refusal's own.
    """
    device = identity.require_device_key(ctx, device_id)
    if not rows:
        raise ContractError("bad-args", "a list of orders has at least one")
    if len(rows) > MAX_BULK:
        raise ContractError("too-many", f"one transaction places at most {MAX_BULK} orders")
    orders: list[tuple[bytes, Order]] = []
    holds: list[tuple[int, bytes, int]] = []
    for number, wanted in enumerate(rows):
        try:
            meant = market_trading.meaning(ctx, device, wanted, number)
            order, period, amount = market_trading.admit(ctx, device, wanted, meant)
        except ContractError as refusal:
            raise ContractError(
                refusal.code, f"order {number}: {refusal.message}", (number, *refusal.details)
            ) from None
        order_id = meant[3]
        market_orders.put_order(ctx, order_id, order)
        orders.append((order_id, order))
        if amount:
            holds.append((period, order_id, amount))
    ids = tuple([order_id for order_id, _ in orders])
    if budget.hold_all(ctx, device_id, ctx.tx_id, holds):
        for order_id, order in orders:
            market_trading.enter(ctx, order_id, order)
    else:
        ctx.put(_BULK + ctx.tx_id, ids)
    return ids


def decide_waiting(ctx: Context) -> None:
    """At the end of the block: orders whose money has been found enter the book, the others are rejected.

    What cannot enter is parked, an order or all of a list, and what it holds is given back.
    """
    for reference, granted in budget.resolve_needs(ctx):
        ids = ctx.get(_BULK + reference)
        if ids is None:
            _decide_apart(ctx, (reference,), granted)
        else:
            ctx.delete(_BULK + reference)
            _decide_apart(ctx, cast("tuple[bytes, ...]", ids), granted)


def _decide_apart(ctx: Context, orders: Sequence[bytes], granted: bool) -> None:
    failure = ctx.attempt(lambda: _decide(ctx, orders, granted))
    if failure is not None:
        market_trading.park(ctx, f"order {orders[0].hex()}", failure)
        for order_id in orders if granted else ():
            _free_apart(ctx, order_id)


def _free_apart(ctx: Context, order_id: bytes) -> None:
    ctx.attempt(lambda: budget.release(ctx, order_id, None))


def _decide(ctx: Context, orders: Sequence[bytes], granted: bool) -> None:
    for order_id in orders:
        order = market_orders.require_order(ctx, order_id)
        if granted:
            market_trading.enter(ctx, order_id, order)
        else:
            market_trading.close(ctx, order_id, order, market_orders.REJECTED)
