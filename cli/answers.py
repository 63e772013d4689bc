"""The answers of contracts' queries, from plain arrays to records with named fields."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from chaincode.grid import LineSettings
from chaincode.market_products import Settings
from chaincode.origin_state import Sums
from chaincode.settlement_ledger import Settled
from chaincode.settlement_losses import Check
from node.errors import RefusedError
from node.model.codec import Value

Reader: TypeAlias = Callable[[str, str, Mapping[str, Any]], Awaitable[Value]]
"""(contract, method, arguments) -> the query's answer: a client's ``query``, or the same on a database."""

HIDDEN = frozenset({"not-allowed", "sign-first"})
"""What whoever may not read something is told, whether it exists or not."""

ORDER = (
    "id", "device", "network", "slot", "bus", "side", "energy_wh", "price", "until", "renewable", "placed", "age",
    "state", "filled_wh", "money",
)  # fmt: skip
PRODUCT = (
    "slot", "state", "opens", "starts", "ends", "gate", "metered_by", "final_at", "grid_version", "retail", "feed_in",
    "period", "tick_s", "internal", "mix_permille", "auctions", "trades", "energy_wh", "paid", "received", "tolls",
    "rent",
)  # fmt: skip
DEPTH_LEVEL = ("side", "price", "energy_wh", "orders")
BOOK_LEVEL = ("bus", "side", "price", "energy_wh", "orders")
BUDGET = (
    "state", "available", "reserved", "allocated", "earned", "spent", "lent", "borrowed", "owed", "forecast", "used",
    "used_wh",
)  # fmt: skip
NETWORK_BUDGET = (
    "status", "issued", "earned", "pool", "available", "reserved", "spent", "owed",
    "carried_in", "received", "sent", "sold", "returned", "redeemed", "carried_out",
)  # fmt: skip
ALERT = ("device", "period", "cause", "slot", "time", "height", "figures", "evidence", "acknowledged")
PROOF = ("kind", "number", "height", "reference", "amount")
OVERVIEW = (
    "device", "state", "allocated", "withdrawn", "budget", "available", "reserved", "spent", "used", "used_wh",
    "borrowed", "lent", "owed", "forecast", "expected", "over", "alerts", "givers",
)  # fmt: skip
DEVICE_NOW = (
    "height", "time", "network", "period", "state", "since", "available", "reserved", "budget", "owed", "cut",
)  # fmt: skip
SHARE = ("giver", "receiver", "amount", "returned", "reference", "slot", "tx_id", "why", "rule")
PROPOSAL = (
    "proposal", "digest", "kind", "name", "public_key", "tls_certificate", "admin_key", "address", "first_height",
    "last_height", "proposer", "approved_by", "not_approved_by", "missing",
)  # fmt: skip
GRANT = ("reader", "classes", "until")
EPOCH = ("epoch", "first_height", "validators")
SEAT = ("name", "public_key", "tls_certificate", "admin_key", "address")
DEVICE_TRADE = ("auction", "side", "order", "other_order", "energy_wh", "price", "other_price", "toll")

_ORDER_EVENT = ("order", "state", "slot", "side", "energy_wh", "price", "filled_wh")
EVENTS: Mapping[str, Sequence[str]] = {
    "order": _ORDER_EVENT,
    "fill": _ORDER_EVENT,
    "auction": ("slot", "auctions", "orders", "trades", "energy_wh", "paid"),
    "product": ("slot", "state"),
    "pruned": ("slot", "entries"),
    "transfer": ("source", "target", "amount", "reason", "reference"),
    "needs-refused": ("period", "code"),
    "shared": ("period", "amount", "reference", "why", "rule"),
    "alert": ("number", "period", "cause", "slot", "figures", "evidence"),
    "alert-acknowledged": ("number",),
    "budget-state": ("period", "state"),
    "curtail": ("period",),
    "restore": ("period",),
    "owed": ("period", "amount", "reason", "reference"),
    "owed-paid": ("period", "amount", "reference"),
    "agreement": ("number", "kind", "state"),
    "request": ("number", "state", "giver", "period", "amount", "granted", "reason"),
    "sale": ("number", "agreement", "state", "amount", "due"),
    "period-planned": ("period", "first_slot", "lengths"),
    "period-closed": (
        "kind",
        "period",
        "devices",
        "collected",
        "owed",
        "carried",
        "returned",
        "redeemed",
        "sold",
        "into",
    ),
    "policy-set": ("policy", "devices"),
    "cap-set": ("kind", "period", "amount"),
    "redemption-price": ("permille", "from_slot"),
    "redeemed": ("number", "kind", "period", "amount", "permille", "credit"),
    "redemption-credited": ("number", "bill"),
    "network-limited": ("amount",),
    "network-classified": ("class",),
    "tariffs-published": ("version", "from_slot", "rows"),
    "tariff": ("slot", "retail", "feed_in"),
    "reading": ("slot", "import_wh", "export_wh", "import_register", "export_register"),
    "estimated": ("slot", "import_wh", "export_wh"),
    "spread": ("slot", "revision", "import_wh", "export_wh"),
    "corrected": ("slot", "revision", "import_wh", "export_wh", "import_register", "export_register"),
    "gap-rest": ("first_slot", "last_slot", "import_wh", "export_wh"),
    "gap-failed": ("slot", "code"),
    "feeder-reading": ("slot", "revision", "import_wh", "export_wh", "import_register", "export_register"),
    "settled": ("slot", *Settled._fields),
    "settled-anew": ("slot", *Settled._fields),
    "settlement-parked": ("network", "slot", "code"),
    "settlement-released": ("number", "unit", "network", "slot"),
    "feeder": ("slot", *Check._fields),
    "rent": ("period", "amount", "paid_in"),
    "rent-returned": ("period", "rent", "returned"),
    "grid-published": ("version",),
    "feeder-meter-set": ("key",),
    "member-registered": ("roles",),
    "network-registered": ("bus",),
    "device-registered": ("kind",),
    "device-moved": ("bus", "slot"),
    "key-changed": ("kind", "name", "how"),
    "membership-proposed": ("proposal", "kind", "first_height", "digest"),
    "membership-approved": ("proposal", "approvals", "missing"),
    "membership-scheduled": ("proposal", "kind", "epoch", "first_height"),
    "membership-withdrawn": ("proposal",),
    "membership-approval-withdrawn": ("proposal", "approvals"),
    "rules-proposed": ("proposal", "first_height", "digest"),
    "rules-approved": ("proposal", "approvals", "missing"),
    "rules-scheduled": ("proposal", "first_height"),
    "rules-withdrawn": ("proposal",),
    "rules-approval-withdrawn": ("proposal", "approvals"),
    "rules": ("version", *Settings._fields),
    "outage": ("since", "until"),
    "granted": ("kind", "reader", "classes", "until"),
    "revoked": ("kind", "reader"),
    "entropy-added": (),
    "erasure-asked": ("first_slot", "last_slot"),
    "erased": ("asked", "entries"),
    "erasure-failed": ("code",),
    "motion-proposed": ("proposal", "kind", "first_height", "digest"),
    "motion-approved": ("proposal", "approvals", "missing"),
    "motion-scheduled": ("proposal", "kind", "first_height"),
    "motion-withdrawn": ("proposal",),
    "motion-approval-withdrawn": ("proposal", "approvals"),
    "motion-in-force": ("proposal", "kind", "first_height", "outcome"),
    "motion-failed": ("proposal", "kind", "first_height", "outcome"),
    "upgrade-active": ("proposal", "name", "digest", "contracts"),
    "upgrade-canceled": ("proposal", "name", "digest"),
    "upgrade-failed": ("proposal", "name", "digest", "code"),
    "market-parked": ("what", "code"),
    "origin": ("slot", *Sums._fields),
    "origin-parked": ("what", "slot", "code"),
}
"""An event's topic -> the names of its data, as the contracts emit them; a single value stands for itself. In a
``fill``, ``energy_wh`` and ``price`` are those of the fill."""


def event_fields(topic: str, data: Value) -> dict[str, Any] | None:
    """An event's data by name; None if the topic, or what it brings, is not known here."""
    fields = EVENTS.get(topic)
    if fields is None:
        return None
    if data is None and not fields:
        return {}
    values = data if isinstance(data, tuple) and len(fields) > 1 else (data,)
    return dict(zip(fields, values, strict=True)) if len(values) == len(fields) else None


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


def grid_line(line: Value) -> LineSettings:
    """A line of a grid. Raises RefusedError("bad-answer")."""
    match line:
        case (str(parent), str(child), int(metres), int(step), (int() | None) as down_w, (int() | None) as up_w):
            return parent, child, metres, step, down_w, up_w
        case _:
            raise RefusedError("bad-answer", "the node's answer is no line of a grid: another version?")
