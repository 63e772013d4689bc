"""A statement as JSON and as CSV: every figure in the ledger's own integers.

The CSV has one row for each item of a line: a trade, an entry of settlement, a reading. Its cells are safe to open in a
spreadsheet: they are integers, hex digits, UTC times and ids, which by the rules of names begin with a letter or a
digit; none can begin with ``=``, ``+`` or ``@``, and only numbers begin with ``-``.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any, Final

from cli.statement import Statement
from cli.statement_lines import DIFFERENCE, TOTAL, Item, Line, Source
from cli.statement_words import Token, average, energy_of, name_of
from cli.units import clock

COLUMNS: Final = (
    "line", "kind", "slot", "starts", "final", "device", "bus", "other_network", "other_device", "energy_wh", "price",
    "amount", "amount_tokens", "owed", "revision", "auction", "auction_block", "order", "order_tx", "order_block",
    "other_order", "other_tx", "other_block", "reading", "reading_tx", "reading_block", "settled_block",
)  # fmt: skip
"""Prices in base units per Wh, amounts in base units (what was paid is negative), ``amount_tokens`` the same in tokens,
exact. Where an item rests on several readings they stand in one cell, separated by spaces."""


def statement_csv(statement: Statement, token: Token) -> str:
    """The items of all lines but the total and the difference, which are made of the others."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in statement.lines:
        if line.kind not in (TOTAL, DIFFERENCE):
            for item in sorted(line.items, key=lambda item: item.slot):
                writer.writerow(_row(statement, line, item, token))
    return out.getvalue()


def _row(statement: Statement, line: Line, item: Item, token: Token) -> tuple[object, ...]:
    starts = clock(item.slot * statement.facts.slot_seconds)
    order, other = _of(item, "order"), _of(item, "other order")
    readings = [source for source in item.sources if source.what in ("reading", "estimate")]
    settled = _of(item, "settlement") or _of(item, "payment")
    auction = ("", "") if item.auction is None else (item.auction[0], item.auction[2])
    return (
        line.number, line.kind, item.slot, starts, int(item.is_final), item.device, item.bus, item.other_network,
        item.other_device, item.energy_wh, "" if item.price is None else item.price, item.amount,
        token.exact(item.amount), item.owed, item.revision, *auction, *_cells(order), *_cells(other),
        _joined(source.what for source in readings), _joined(source.tx.hex() for source in readings),
        _joined(source.height for source in readings), *_cells(settled)[2:],
    )  # fmt: skip


def _of(item: Item, what: str) -> Source | None:
    return next((source for source in item.sources if source.what == what), None)


def _cells(source: Source | None) -> tuple[object, object, object]:
    if source is None:
        return "", "", ""
    return source.id.hex(), source.tx.hex(), source.height


def _joined(values: Any) -> str:
    return " ".join(str(value) for value in values)


def statement_json(statement: Statement, token: Token, read: str) -> dict[str, Any]:
    """The statement without its items; ``read``: where its figures come from."""
    facts = statement.facts
    return {
        "network": facts.network,
        "period": facts.period,
        "status": facts.status,
        "so_far": statement.is_so_far,
        "first_slot": facts.first_slot,
        "end_slot": facts.end_slot,
        "starts": facts.first_slot * facts.slot_seconds,
        "ends": facts.end_slot * facts.slot_seconds,
        "token": token._asdict(),
        "slots": {
            "settled": statement.settled,
            "final": statement.final,
            "corrected": statement.corrected,
            "parked": statement.parked,
            "pruned": statement.pruned,
        },
        "slots_of_unknown_origin": statement.of_unknown_origin,
        "estimated_readings": statement.estimated,
        "pending": statement.pending._asdict(),
        "owed_now": facts.owed_now,
        "lines": [line_json(line) for line in statement.lines],
        "read": read,
    }


def line_json(line: Line) -> dict[str, Any]:
    """A line's figures; prices are base units per Wh. What has no energy of its own has None."""
    low, high = line.prices or (None, None)
    return {
        "line": line.number,
        "kind": line.kind,
        "name": name_of(line),
        "counterpart": line.counterpart,
        "devices": sorted({item.other_device for item in line.items if item.other_device}),
        "energy_wh": energy_of(line),
        "amount": line.amount,
        "provisional": line.provisional,
        "is_provisional": line.is_provisional,
        "price_average": average(line),
        "price_from": low,
        "price_to": high,
        "details_deleted": bool(line.gone or line.gone_wh),
    }


def explanation_json(line: Line) -> dict[str, Any]:
    """A line with its items; the amounts of these are its amount."""
    return {**line_json(line), "items": _items_json(sorted(line.items, key=lambda item: item.slot))}


def _items_json(items: Sequence[Item]) -> list[dict[str, Any]]:
    found = []
    for item in items:
        auction = None if item.auction is None else dict(zip(("number", "time", "block"), item.auction, strict=True))
        sources = [source._asdict() for source in item.sources]
        found.append({**item._asdict(), "auction": auction, "sources": sources})
    return found
