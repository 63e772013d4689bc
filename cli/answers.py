"""The answers of contracts' queries, from plain arrays to records with named fields."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from node.errors import RefusedError
from node.model.codec import Value

Reader: TypeAlias = Callable[[str, str, Mapping[str, Any]], Awaitable[Value]]
"""(contract, method, arguments) -> the query's answer: a client's ``query``, or the same on a database."""

ORDER = (
    "id", "device", "network", "slot", "bus", "side", "energy_wh", "price", "until", "renewable", "placed", "age",
    "state", "filled_wh", "money",
)  # fmt: skip
PRODUCT = (
    "slot", "state", "opens", "starts", "ends", "gate", "metered_by", "final_at", "grid_version", "retail", "feed_in",
    "period", "auctions", "trades", "energy_wh", "paid", "received", "tolls", "rent",
)  # fmt: skip
BOOK_LEVEL = ("bus", "side", "price", "energy_wh", "orders")
BUDGET = (
    "state", "available", "reserved", "allocated", "earned", "spent", "lent", "borrowed", "owed", "forecast", "used",
    "used_wh",
)  # fmt: skip
NETWORK_BUDGET = ("status", "issued", "earned", "pool", "available", "reserved", "spent", "owed")
ALERT = ("device", "period", "cause", "slot", "time", "evidence", "acknowledged")
SHARE = ("giver", "receiver", "amount", "returned", "reference", "slot", "tx_id")
DEVICE_TRADE = ("auction", "side", "order", "other_order", "energy_wh", "price", "other_price", "toll")


def record(value: Value, fields: Sequence[str]) -> dict[str, Any]:
    """One row as a dict. Raises RefusedError("bad-answer") if it has not as many entries as ``fields``."""
    if not isinstance(value, tuple) or len(value) != len(fields):
        raise RefusedError("bad-answer", f"the node's answer is not ({', '.join(fields)}): another version?")
    return dict(zip(fields, value, strict=True))


def records(value: Value, fields: Sequence[str]) -> list[dict[str, Any]]:
    """Rows as dicts. Raises RefusedError("bad-answer")."""
    return [record(row, fields) for row in as_rows(value)]


def as_rows(value: Value) -> tuple[Value, ...]:
    """An array. Raises RefusedError("bad-answer")."""
    if not isinstance(value, tuple):
        raise RefusedError("bad-answer", f"the node answered {type(value).__name__} where an array was expected")
    return value


async def all_records(
    read: Reader, contract: str, method: str, args: Mapping[str, Any], fields: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of a list that a query gives page by page, from number ``first`` on."""
    rows: list[dict[str, Any]] = []
    while page := records(await read(contract, method, {**args, "first": len(rows)}), fields):
        rows += page
    return rows
