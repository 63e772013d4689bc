"""`watt market`: products, books and prices; clear a file of orders; verify and export past auctions."""

from pathlib import Path
from typing import Any, Final, cast

import click

from cli.answers import BOOK_LEVEL, DEPTH_LEVEL, PRODUCT, records
from cli.lazy import Commands, LazyGroup
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import ask, node_option
from cli.slots import SLOT, TITLE, Slot, slot_seconds_of, slot_shown, slot_words
from cli.units import clock, kwh, per_kwh
from node.errors import RefusedError
from node.files import read_given
from node.gateway.client import Client
from node.model.codec import Value

_PATH = click.Path(path_type=Path)


COMMANDS: Final[Commands] = {
    "book": ("cli.market:book", "Show the orders that rest in a slot, by price."),
    "clear": ("cli.market:clear", "Clear a file of orders with the chain's own auction. Needs no node."),
    "export": ("cli.market_verify:export", "Write auctions to a file that proves itself."),
    "prices": ("cli.market:prices", "Show the price at every bus in the last auction of a slot."),
    "products": ("cli.market:products", "List the delivery slots that are open, or not yet final."),
    "replay": ("cli.replay:replay", "Execute past blocks again under changed rules: what would it have cost whom?"),
    "verify": ("cli.market_verify:verify", "Check past auctions: that each is what the rules demand of its orders."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def market() -> None:
    """Products, books, prices; clear, verify and export auctions."""


@click.command()
@node_option
@json_option
@refusals_to_exit_codes
def products(nodes: tuple[str, ...], as_json: bool) -> None:
    """List the delivery slots that are open, or not yet final. Prices in tokens per kWh, times in UTC.

    Example: watt market products --node 127.0.0.1:7401
    """

    async def read(client: Client) -> tuple[Value, int]:
        return await client.query("market", "products"), (await client.node_info()).token_decimals

    answer, decimals = ask(nodes, read)
    rows = records(answer, PRODUCT)
    if as_json:
        return print_json(rows)
    print_table(
        "Products",
        (TITLE, "State", "Gate (UTC)", ">Retail", ">Feed-in", "?>Auctions", "?>Trades", ">kWh traded"),
        (
            (
                slot_shown(row["slot"], row["ends"] - row["starts"]),
                row["state"],
                clock(row["gate"])[11:],
                per_kwh(row["retail"], decimals),
                per_kwh(row["feed_in"], decimals),
                row["auctions"],
                row["trades"],
                kwh(row["energy_wh"]),
            )
            for row in rows
        ),
    )


@click.command()
@click.argument("slot", type=SLOT)
@click.option("--buses", is_flag=True, help="By bus, too: for validators and auditors, a bus may be one household's.")
@node_option
@json_option
@refusals_to_exit_codes
def book(slot: Slot, buses: bool, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show the orders that rest in SLOT (its number, or a UTC time in it), by price.

    Example: watt market book 2017-06-16T12:30
    """

    async def read(client: Client) -> tuple[Value, str, int]:
        slot_seconds = await slot_seconds_of(client.query)
        number = slot.at(slot_seconds)
        answer = await client.query("market", "book" if buses else "depth", {"slot": number})
        return answer, slot_words(number, slot_seconds), (await client.node_info()).token_decimals

    answer, words, decimals = ask(nodes, read)
    rows = records(answer, BOOK_LEVEL if buses else DEPTH_LEVEL)
    if as_json:
        return print_json(rows)
    bus = ["bus"] if buses else []
    print_table(
        f"Book of {words}",
        (*(name.capitalize() for name in bus), "Side", ">Tokens per kWh", ">kWh", ">Orders"),
        (
            (
                *(row[name] for name in bus),
                row["side"],
                per_kwh(row["price"], decimals),
                kwh(row["energy_wh"]),
                row["orders"],
            )
            for row in rows
        ),
    )


@click.command()
@click.argument("slot", type=SLOT)
@node_option
@json_option
@refusals_to_exit_codes
def prices(slot: Slot, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show the price at every bus in the last auction of SLOT (its number, or a UTC time in it).

    Example: watt market prices 2017-06-16T12:30
    """

    async def read(client: Client) -> tuple[Value, str, int]:
        slot_seconds = await slot_seconds_of(client.query)
        number = slot.at(slot_seconds)
        answer = await client.query("market", "prices", {"slot": number})
        return answer, slot_words(number, slot_seconds), (await client.node_info()).token_decimals

    answer, words, decimals = ask(nodes, read)
    match answer:
        case (int(number), int(time), tuple(pairs)):
            by_bus = {row["bus"]: row["price"] for row in records(pairs, ("bus", "price"))}
        case None:
            raise RefusedError("no-auction", f"{words} has had no auction yet")
        case _:
            raise RefusedError("bad-answer", "the node's answer is no price list: another version?")
    if as_json:
        return print_json({"auction": number, "time": time, "prices": by_bus})
    print_table(
        f"Auction {number} of {words}, held {clock(time)}",
        ("Bus", ">Tokens per kWh"),
        ((bus, per_kwh(price, decimals)) for bus, price in by_bus.items()),
    )


@click.command()
@click.option("--input", "input_file", type=_PATH, required=True, help="A JSON file of grid and orders.")
@json_option
@refusals_to_exit_codes
def clear(input_file: Path, as_json: bool) -> None:
    """Clear a file of orders with the chain's own auction: prices, trades and flows. Needs no node.

    The file: {"grid": {"root": BUS, "lines": [{"from": BUS, "to": BUS, "toll": INT, "limit_down_wh": INT or null,
    "limit_up_wh": INT or null}]}, "orders": [{"id", "bus", "side": "buy" or "sell", "price", "energy_wh", "age"}]},
    prices and tolls in base units per Wh.

    Example: watt market clear --input orders.json --json
    """
    from cli.clearing_file import clear_file  # noqa: PLC0415 - the auction, which none of the others needs

    try:
        data = read_given(input_file)
    except OSError as error:
        raise RefusedError("no-input", f"{input_file}: {error.strerror}") from error
    result = clear_file(data)
    if as_json:
        return print_json(result)
    by_bus = cast("dict[str, int]", result["prices"])
    print_table("Prices, base units per Wh", ("Bus", ">Price"), by_bus.items())
    trades = cast("list[dict[str, Any]]", result["trades"])
    print_table(
        f"Trades, welfare {result['welfare']:,}",
        ("Buy", "Sell", ">Wh", ">Buyer pays", ">Seller gets"),
        (
            (trade["buy"], trade["sell"], trade["energy_wh"], trade["buyer_price"], trade["seller_price"])
            for trade in trades
        ),
    )
