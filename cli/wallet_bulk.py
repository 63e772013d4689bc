"""`watt wallet bulk`: a file of orders of one device, placed in one transaction; and orders as people write them."""

import csv
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, cast

import click

from chaincode.market_bulk import MAX_BULK
from chaincode.market_orders import REJECTED
from cli.answers import ORDER, record
from cli.output import print_json, print_table
from cli.session import Signing, ask, signed, transact
from cli.slots import SLOT, TITLE, Slot, slot_seconds_of, slot_shown
from cli.units import ENERGY, REFERENCE, TOKENS, base_units_per_wh, kwh
from node.errors import RefusedError
from node.files import read_given
from node.gateway.client import Client

_REQUIRED = ("side", "energy", "slot", "price")
_OPTIONAL = ("until", "renewable", "reference")
_BOOLEANS = {"": False, "no": False, "false": False, "yes": True, "true": True}
MAX_FILE_BYTES = 1 << 20


class Wanted(NamedTuple):
    """An order as people write it: ``energy`` in Wh, ``price`` in tokens per kWh."""

    side: str
    energy: int
    slot: Slot
    price: Decimal
    until: str
    renewable: bool
    reference: bytes


async def units_of(client: Client) -> tuple[int, int]:
    """(decimals of a token, seconds of a slot): what ``order_args`` needs to know."""
    return (await client.node_info()).token_decimals, await slot_seconds_of(client.query)


def order_args(wanted: Wanted, decimals: int, slot_seconds: int) -> dict[str, Any]:
    """The same in the ledger's units: side, slot, energy_wh, price, until, renewable, reference."""
    return {
        "side": wanted.side,
        "slot": wanted.slot.at(slot_seconds),
        "energy_wh": wanted.energy,
        "price": base_units_per_wh(wanted.price, decimals),
        "until": wanted.until,
        "renewable": wanted.renewable,
        "reference": wanted.reference,
    }


@click.command()
@click.argument("device")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--reference",
    type=REFERENCE,
    default="",
    help="Your name for this list: each order gets it with its number, so that sending the file again places nothing "
    "twice.",
)
@signed
def bulk(
    device: str,
    file: Path,
    reference: bytes,
    signing: Signing,
    as_json: bool,
) -> None:
    """Place all orders of FILE for DEVICE in one transaction: all of them, or none. Prints their ids.

    FILE is CSV with a line of names, side,energy,slot,price and if you like until,renewable,reference; or JSON: an
    array of objects with these names. At most 96 orders. Figures are written as for `watt wallet order`.

    Example: watt wallet bulk home-03/ev tonight.csv --reference tonight --key ev.key
    """
    rows = list(read_orders(file, reference))
    slot_seconds = 0

    async def args(client: Client) -> dict[str, Any]:
        nonlocal slot_seconds
        decimals, slot_seconds = await units_of(client)
        return {"device": device, "orders": [tuple(order_args(row, decimals, slot_seconds).values()) for row in rows]}

    status = transact(*signing, "market", "place_many", args)
    if not isinstance(status.result, tuple) or len(status.result) != len(rows):
        raise RefusedError("bad-answer", "the receipt does not name the orders: another version?")
    if as_json:
        print_json({"orders": status.result, "height": status.height})
        return require_not_rejected(signing.nodes, cast("bytes", status.result[0]))
    print_table(
        f"Orders of {device}, placed in block {status.height}",
        ("Order", TITLE, "Side", ">kWh", ">Limit"),
        (
            (order_id, slot_shown(row.slot.at(slot_seconds), slot_seconds), row.side, kwh(row.energy), str(row.price))
            for order_id, row in zip(status.result, rows, strict=True)
        ),
    )
    require_not_rejected(signing.nodes, cast("bytes", status.result[0]))


def require_not_rejected(nodes: tuple[str, ...], order: bytes) -> None:
    """Whether anybody could pay for an order is decided at the end of its block, for a list as a whole, so its
    transaction is well. Raises RefusedError("over-budget") if nobody could.
    """

    async def state(client: Client) -> object:
        try:
            return record(await client.query("market", "order", {"order": order}), ORDER)["state"]
        except RefusedError as error:
            if error.code == "unknown-order":  # a node that is behind
                return None
            raise

    if ask(nodes, state) == REJECTED:
        text = (
            "the device's tokens do not suffice, and neither another device nor the pool helps: the order is REJECTED"
        )
        raise RefusedError("over-budget", f"{text}. See `watt wallet balance`; the pool helps if the policy says so")


def read_orders(file: Path, reference: bytes) -> Iterator[Wanted]:
    """The orders of a CSV or JSON file. Raises RefusedError("bad-file") naming the row."""
    rows = _rows(file)
    if not 0 < len(rows) <= MAX_BULK:
        raise RefusedError("bad-file", f"{file} has {len(rows)} orders; one transaction places 1 to {MAX_BULK}")
    for number, row in enumerate(rows, 1):
        try:
            wanted = _wanted(row)
            if reference and not wanted.reference:
                wanted = wanted._replace(reference=REFERENCE.convert(reference + b"/%d" % number, None, None))
        except (click.BadParameter, ValueError) as error:
            words = error.message if isinstance(error, click.BadParameter) else str(error)
            raise RefusedError("bad-file", f"{file}, order {number}: {words}") from error
        yield wanted


def _rows(file: Path) -> list[Mapping[str, Any]]:
    try:
        text = read_given(file, MAX_FILE_BYTES).decode("utf-8-sig")
        if file.suffix.lower() == ".json" or text.lstrip()[:1] in ("[", "{"):  # no line of names begins so
            rows = json.loads(text, parse_float=str)
        else:
            rows = list(csv.DictReader(text.splitlines(), strict=True))
    except OSError as error:
        raise RefusedError("bad-file", f"{file}: {error.strerror}") from error
    except (ValueError, RecursionError, csv.Error) as error:
        raise RefusedError("bad-file", f"{file}: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RefusedError("bad-file", f"{file} is no array of objects")
    return rows


def _wanted(row: Mapping[str, Any]) -> Wanted:
    """One row. Raises ValueError, click.BadParameter."""
    if None in row:  # csv.DictReader's name for what stands behind the last column
        raise ValueError("more cells than columns")
    unknown = [name for name in row if name not in (*_REQUIRED, *_OPTIONAL)]
    missing = [name for name in _REQUIRED if not _text(row, name)]
    if unknown or missing:
        wrong = f"{str(unknown[0])[:40]!r} is no name of a column" if unknown else f"there is no {missing[0]}"
        raise ValueError(f"{wrong}; columns are {', '.join(_REQUIRED)}, and {', '.join(_OPTIONAL)} if you like")
    side, until = _text(row, "side"), _text(row, "until") or "gate"
    renewable = _BOOLEANS.get(_text(row, "renewable").lower())
    if side not in ("buy", "sell") or until not in ("gate", "auction") or renewable is None:
        raise ValueError("side is buy or sell, until is gate or auction, renewable is yes or no")
    return Wanted(
        side,
        ENERGY.convert(_text(row, "energy"), None, None),
        SLOT.convert(_text(row, "slot"), None, None),
        TOKENS.convert(_text(row, "price"), None, None),
        until,
        renewable,
        REFERENCE.convert(_text(row, "reference"), None, None),
    )


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value).strip()
